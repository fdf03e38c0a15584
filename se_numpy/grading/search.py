"""Search for the smallest input on which a submission is wrong.

Increasing sizes are tried first; then hypothesis, if it is installed, draws sizes and small integers and
shrinks failing inputs. On [[0, 1]] the maximum, the sum and twice the mean are equal, so the search prefers an input
on which no other known mistake gives the submission's results.
"""

import time
from collections.abc import Callable, Iterator
from functools import partial
from itertools import product
from random import Random

import numpy as np

from se_numpy.grading.task import Case, Sizes, Task

Fails = Callable[[Case], bool]
SMALL = 40  # arrays up to this size are drawn element by element; larger ones from a drawn seed


class _OutOfTime(Exception):
    pass


def smallest(task: Task, fails: Fails, *, seed: int, seconds: float) -> Case | None:
    """Return the simplest case found within ``seconds`` for which ``fails`` returns True, or None."""
    end = time.monotonic() + seconds
    seen: dict[bytes, bool] = {}
    best: list[tuple[tuple[float, ...], Case]] = []

    def check(case: Case) -> bool:
        key = _key(case)
        if key not in seen:
            if time.monotonic() > end:
                raise _OutOfTime
            seen[key] = fails(case)  # hypothesis repeats calls and expects the same result
            if seen[key]:
                best.append((_weight(case), case))
        return seen[key]

    try:
        if any(check(case) for case in _ladder(task, seed)):
            end = min(end, time.monotonic() + seconds / 2)
        _by_hypothesis(task, check, seed)
    except _OutOfTime:
        pass
    return min(best, key=lambda one: one[0])[1] if best else None


def _weight(case: Case) -> tuple[float, ...]:
    """Return a sort key: fewer values first, then simpler ones."""
    arrays = [a for a in case.arguments.values() if isinstance(a, np.ndarray)]
    flat = np.concatenate([a.ravel() for a in arrays]) if arrays else np.zeros(0)
    return (float(flat.size), float((flat != np.round(flat)).sum()), float(np.abs(flat).sum()), float((flat < 0).sum()))


def _key(case: Case) -> bytes:
    parts = [repr(sorted(case.hyper.items())).encode()]
    for value in case.arguments.values():
        array = np.asarray(value)
        parts += [repr(array.shape).encode(), array.tobytes()]
    return b"|".join(parts)


def _ladder(task: Task, seed: int) -> Iterator[Case]:
    """Yield cases with small integers, from the smallest sizes upwards."""
    rng = np.random.default_rng(seed)
    names = list(task.sizes)
    rungs = [(min(top, 3), 24 * top, partial(_choices, task, rng)) for top in (1, 2, 3, 4)]
    rungs.append((4, 160, partial(_all_choices, task)))  # windows that are two pixels apart need four pixels
    for top, number, choices in rungs:
        grid = [dict(zip(names, sizes, strict=True)) for sizes in np.ndindex(*(top,) * len(names))]
        grid.sort(key=lambda sizes: sum(sizes.values()))
        for sizes in grid[:number]:
            for hyper in choices():
                chosen = {k: n + 1 for k, n in sizes.items()} | hyper
                case = task.case("smallest", "random", chosen, lambda *what: whole(rng, *what))
                if case is not None:
                    yield case
    for _ in range(20):  # if no small case fails, try random cases with the usual sizes
        yield task.draw(rng, "smallest", "random", {})


def _choices(task: Task, rng: np.random.Generator) -> Iterator[Sizes]:
    """Yield two settings of the hyperparameters: the first choice for each, then random choices."""
    yield {k: choices[0] for k, choices in task.hyper.items()}
    yield {k: choices[rng.integers(len(choices))] for k, choices in task.hyper.items()}


def _all_choices(task: Task) -> Iterator[Sizes]:
    """Yield every setting of the hyperparameters."""
    for chosen in product(*task.hyper.values()):
        yield dict(zip(task.hyper, chosen, strict=True))


def whole(rng: np.random.Generator, kind: str, shape: tuple[int, ...], sizes: Sizes) -> np.ndarray:
    """Return small integers, or multiples of 1/4 for gates and small factors, and of 1/2 for weights."""
    size = int(np.prod(shape))
    if kind == "labels":
        return rng.integers(0, sizes["K"], shape)
    if kind in ("gates", "small"):
        return rng.integers(1, 4, shape) / 4
    if kind == "weights":  # multiples of 1/2, so that gates stay open
        return rng.integers(-2, 3, shape) / 2
    if kind == "positive":
        return rng.integers(1, 4, shape).astype(float)
    if kind == "apart":
        return rng.permutation(size).reshape(shape) - float(rng.integers(0, size + 1))
    return rng.integers(-3, 4, shape).astype(float)


def _by_hypothesis(task: Task, check: Fails, seed: int) -> None:
    """Let hypothesis find and shrink a failing case; ``check`` records the failing cases."""
    try:
        from hypothesis import HealthCheck, Phase, find, settings
        from hypothesis import strategies as st
        from hypothesis.errors import HypothesisException
    except ImportError:
        return

    def numbers(draw: Callable, kind: str, shape: tuple[int, ...], sizes: Sizes) -> np.ndarray:
        size = int(np.prod(shape))
        if size > SMALL:
            return whole(np.random.default_rng(draw(st.integers(0, 99))), kind, shape, sizes)
        low, high, part = {
            "labels": (0, sizes.get("K", 1) - 1, 1), "gates": (1, 3, 4), "small": (1, 3, 4), "positive": (1, 3, 1),
            "weights": (-2, 2, 2),
        }.get(kind, (-3, 3, 1))  # fmt: skip
        if kind == "apart":
            return np.array(draw(st.permutations(range(size))), float).reshape(shape) - draw(st.integers(0, size))
        drawn = np.array(draw(st.lists(st.integers(low, high), min_size=size, max_size=size))).reshape(shape)
        return drawn.astype(np.int64) if kind == "labels" else drawn / part

    @st.composite
    def cases(draw: Callable) -> Case | None:
        sizes = {name: draw(st.integers(1, min(high, 4))) for name, (_, high) in task.sizes.items()}
        sizes |= {name: draw(st.sampled_from(choices)) for name, choices in task.hyper.items()}
        return task.case("smallest", "random", sizes, lambda *what: numbers(draw, *what))

    quiet = settings(
        max_examples=200, database=None, deadline=None, derandomize=False, suppress_health_check=list(HealthCheck),
        phases=[Phase.generate, Phase.shrink],
    )  # fmt: skip
    try:
        find(cases(), lambda case: case is not None and check(case), settings=quiet, random=Random(seed))
    except HypothesisException:  # no failing case found, or the search was abandoned
        return
