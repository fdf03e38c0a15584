"""Inputs on which a sentence about a submission is tried before it is said.

They are drawn from a wider range than the graded cases: sizes from 1 upwards, other hyperparameters, small and large
values. They do not depend on the seed, so that the same submission gets the same words on every seed.
"""

import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from itertools import count, islice
from typing import Any, NamedTuple

import numpy as np

from se_numpy.grading.compare import Expected, expect
from se_numpy.grading.models import ENDED, Reply
from se_numpy.grading.task import Arguments, Case, Sizes, Task, fill

WIDE = 24  # random probes
ENOUGH = 30  # fresh inputs inside and outside a condition
ATTEMPTS = 40  # draws for each input of a condition
SCALES = (1.0, 0.5, 1.0, 2.0)  # factors on values that may have any size
SCALED = ("normal", "maps", "weights")

Holds = Callable[[Case], bool]
Change = Callable[[Arguments], Arguments]


class Tried(NamedTuple):
    """A case with its correct results and the submission's reply."""

    expected: Expected
    reply: Reply

    @property
    def found(self) -> tuple[np.ndarray, ...] | None:
        return self.reply.outputs if self.reply.status == "ok" else None

    @property
    def extreme(self) -> bool:
        return self.expected.case.kind == "extreme"


class OutOfTrials(Exception):
    """The submission takes too long, or a call ended its process, so that nothing can be tried on it."""


class Trials:
    """The submission's replies to fixed inputs, each called once, for ``seconds`` in all."""

    def __init__(self, task: Task, one: Callable[[Case], Reply], seconds: float) -> None:
        self.task, self.one, self.left = task, one, seconds
        self.known: dict[int, Tried] = {}

    def __call__(self, expected: Expected) -> Tried:
        """Return the reply to one input.

        Raises
        ------
        OutOfTrials
            If the time is up, or if the call ended its process.
        """
        if id(expected) not in self.known:
            if self.left < 0:
                raise OutOfTrials
            start = time.monotonic()
            reply = self.one(expected.case)
            self.left -= time.monotonic() - start
            if reply.status in ENDED:
                raise OutOfTrials
            self.known[id(expected)] = Tried(expected, reply)
        return self.known[id(expected)]


class Pool:
    """Inputs that are drawn when they are first needed, and kept."""

    def __init__(self, source: Iterator[Expected]) -> None:
        self.source, self.drawn = source, list[Expected]()

    def __iter__(self) -> Iterator[Expected]:
        for number in count():
            if number == len(self.drawn):
                more = next(self.source, None)
                if more is None:
                    return
                self.drawn.append(more)
            yield self.drawn[number]


_POOLS: dict[tuple[int, str], tuple[Task, Pool]] = {}  # the task is kept so that its id stays its own


def _pool(task: Task, key: str, make: Callable[[np.random.Generator], Iterator[Expected]]) -> Pool:
    if (id(task), key) not in _POOLS:
        rng = np.random.default_rng([20, *f"{task.name} {key}".encode()])
        _POOLS[id(task), key] = task, Pool(make(rng))
    return _POOLS[id(task), key][1]


def probes(task: Task) -> Pool:
    """Return the inputs that every sentence about a submission must hold on."""
    return _pool(task, "probes", lambda rng: _probes(task, rng))


def _probes(task: Task, rng: np.random.Generator) -> Iterator[Expected]:
    for number in range(WIDE):
        case = draw_wide(task, rng, {}, number)
        if case is not None:
            yield expect_quickly(task, case)
    for kind, specials, times in (("special", task.specials, 2), ("extreme", task.extremes, 3)):
        for special in specials:
            for number in range(times):
                case = draw_wide(task, rng, special.fixed, number) if kind == "special" else None
                case = case or task.draw(rng, special.name, kind, special.fixed)
                changed = replace(case, name=special.name, arguments=special.change(case.arguments), kind=kind)
                yield expect_quickly(task, changed)


def expect_quickly(task: Task, case: Case) -> Expected:
    """Return the correct results, with a tolerance measured by fewer runs in single precision."""
    return expect(task, case, quickly=True)


def redrawn(task: Task, name: str) -> Pool:
    """Return the probes in their order, with other values for one argument."""

    def make(rng: np.random.Generator) -> Iterator[Expected]:
        for one in probes(task):
            case = one.case
            other = fill(rng, task.fill.get(name, "normal"), case.arguments[name].shape, case.sizes)
            yield expect_quickly(task, replace(case, arguments={**case.arguments, name: other}))

    return _pool(task, f"other {name}", make)


def inside(task: Task, key: str, fixed: Callable[[int], Mapping[str, Any]], holds: Holds, change: Change) -> Pool:
    """Return ENOUGH fresh inputs on which ``holds`` is true, or fewer, drawn with ``fixed(n)`` and ``change``."""

    def make(rng: np.random.Generator) -> Iterator[Expected]:
        found = 0
        for number in range(ATTEMPTS * ENOUGH):
            case = draw_wide(task, rng, fixed(number), number)
            if case is None:
                continue
            case = replace(case, arguments=change(case.arguments))
            if holds(case):
                yield expect_quickly(task, case)
                found += 1
            if found == ENOUGH:
                return

    return _pool(task, key, make)


def outside(task: Task, holds: Holds) -> list[Expected]:
    """Return ENOUGH fresh inputs on which ``holds`` is false, or fewer."""

    def make(rng: np.random.Generator) -> Iterator[Expected]:
        for number in range(5 * ENOUGH):
            case = draw_wide(task, rng, {}, number)
            if case is not None:
                yield expect_quickly(task, case)

    return list(islice((one for one in _pool(task, "outside", make) if not holds(one.case)), ENOUGH))


def outside_and_small(task: Task, holds: Holds) -> Iterator[Expected]:
    """Yield inputs with sizes up to 3 on which ``holds`` is false; wrong code is right on these by chance."""

    def make(rng: np.random.Generator) -> Iterator[Expected]:
        for number in range(4 * ENOUGH):
            case = draw_wide(task, rng, {}, number, most=3)
            if case is not None:
                yield expect_quickly(task, case)

    return (one for one in _pool(task, "small", make) if not holds(one.case))


def draw_wide(
    task: Task, rng: np.random.Generator, fixed: Mapping[str, Any], number: int, most: int = 99
) -> Case | None:
    """Return a random case from a wide range of sizes, hyperparameters and values, or None if it does not exist."""
    scale = SCALES[number % len(SCALES)]

    def values(kind: str, shape: tuple[int, ...], sizes: Sizes) -> np.ndarray:
        drawn = fill(rng, kind, shape, sizes)
        return drawn * scale if kind in SCALED else drawn

    for _ in range(ATTEMPTS):
        low = 1 if rng.random() < 0.5 else 2
        highest = {letter: max(low, min(high, most)) for letter, (_, high) in task.sizes.items()}
        sizes = {letter: int(rng.integers(low, high + 1)) for letter, high in highest.items()}
        sizes |= {name: _wide(rng, choices) for name, choices in task.hyper.items()}
        sizes |= fixed
        try:
            case = task.case(f"probe {number + 1}", "random", sizes, values)
            if case is not None and all(np.isfinite(part).all() for part in task.answer(case)):
                return case
        except (ValueError, ArithmeticError):  # outside the oracle's domain
            continue
    return None


def _wide(rng: np.random.Generator, choices: tuple[Any, ...]) -> Any:
    """Return a hyperparameter near the choices, or one of them if they are not numbers."""
    if rng.random() < 0.5 or any(isinstance(c, bool) or not isinstance(c, int | float) for c in choices):
        return choices[rng.integers(len(choices))]
    low, high = min(choices), max(choices)
    if all(isinstance(c, int) for c in choices):
        return int(rng.integers(low, high + 2))
    return float(np.exp(rng.uniform(np.log(low / 4), np.log(1.1 * high)))) if low > 0 else float(rng.uniform(low, high))
