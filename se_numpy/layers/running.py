"""Running statistics: how what a batch shows moves what evaluation will use."""

from math import prod

from se_numpy.arrays import Array
from se_numpy.shapes import check

MOMENTUM = 0.1  # the weight of the new, PyTorch's default


def unbiased(var: Array, m: int) -> Array:
    """Return var · m / (m - 1), for a variance over m numbers about their own mean (Bessel).       var (C,) -> (C,)"""
    return var * (m / max(m - 1, 1))


def check_spread(shape: tuple[int, ...]) -> None:
    """Raise ValueError unless maps (N, ..., C) hold at least 2 values per channel, as a variance of the batch needs.

    A single value minus its mean is always 0: the layer would return beta whatever it is given, and learn nothing.
    """
    if prod(shape[:-1]) < 2:
        raise ValueError(
            f"BatchNorm got maps of shape {tuple(shape)} in training, 1 value per channel; expected at least 2: use "
            "a larger batch or larger images, or train=False, which normalises by the running statistics"
        )


def update_running(running: Array, batch: Array, *, momentum: float = MOMENTUM) -> None:
    """Move running ← (1 - momentum) running + momentum · batch, in place.                           both of one shape

    ``batch`` holds means, and variances made ``unbiased``.  The only function here that writes to its argument.

    Raises ValueError where the shapes differ, TypeError for something that is not an array of float32 or float64.
    """
    check("running: ...", running)
    check("batch: ...", batch)
    if batch.shape != running.shape:
        raise ValueError(f"batch has shape {batch.shape}; expected the shape of running, {running.shape}")
    running += momentum * (batch - running)
