"""Estimate the time and the memory of a run before it starts, from a few steps on small batches."""

import time
from collections.abc import Callable
from importlib.util import find_spec
from math import log2, prod
from typing import TYPE_CHECKING

from se_numpy.layers import Layer, Shape, walk
from se_numpy.train.environment import available_memory

if TYPE_CHECKING:
    from se_numpy.train.session import Session

FIRST, GROWTH = 16, 4  # images in the first steps that are timed, and the factor to the next
LONG = 0.5  # seconds; a longer step is not repeated with more images
FORWARD_SHARE = 0.35  # the forward pass as a fraction of a step
DRAWING = 2.0  # seconds, for importing matplotlib and drawing the curves
KEPT = 0.6  # the part of all inputs of layers that is in memory at once: 0.5 to 0.8 were measured


def time_per_step(step: Callable[[int], object], batch: int) -> float:
    """Return the time of ``step(batch)`` in seconds; if that would take long, extrapolate from smaller batches."""
    size = min(FIRST, batch)
    while True:
        step(size)  # the first step with a new batch size also reserves memory
        seconds = _timed(step, size)
        if size == batch and seconds < LONG:
            return sorted((seconds, _timed(step, size), _timed(step, size)))[1]
        if size == batch or seconds > LONG:
            return seconds * batch / size
        size = min(GROWTH * size, batch)


def _timed(step: Callable[[int], object], size: int) -> float:
    start = time.perf_counter()
    step(size)
    return time.perf_counter() - start


def seconds_per_epoch(session: "Session", per_step: float) -> float:
    """Estimate the duration of an epoch from that of a step, both in seconds."""
    return per_step * (session.per_epoch + FORWARD_SHARE * len(session.validation) / session.batch)


def seconds_in_total(session: "Session", per_step: float) -> float:
    """Estimate the duration of a whole run: its epochs, the final test and the curves."""
    test = per_step * FORWARD_SHARE * len(session.dataset.test_labels) / session.batch
    drawing = DRAWING if find_spec("matplotlib") else 0.0
    return (session.config.epochs - session.config.continued) * seconds_per_epoch(session, per_step) + test + drawing


def check_memory(net: Layer, shape: Shape, batch: int, runs: int = 1) -> None:
    """Check that the memory is enough for a training step on ``batch`` images of this shape in each of several runs.

    Raises
    ------
    ValueError
        If it is not; the message suggests a batch size.
    """
    each = KEPT * 4 * sum(prod(inner) for _, _, inner in walk(net, shape))
    available, needed = available_memory(), runs * batch * each
    if available is None or needed <= available:
        return
    most = available / (2 * runs * each)
    hint = f"try --batch-size {2 ** int(log2(most))}" if most >= 1 else "use a smaller network"
    together = f" in each of {runs} runs at a time" if runs > 1 else ""
    raise ValueError(
        f"training on {batch:,} image{'s' * (batch != 1)} in one batch{together} needs about {needed / 1e9:,.1f} GB of "
        f"memory, but only {available / 1e9:,.1f} GB are available; {hint}"
    )
