"""A task: one function that students write, and all that is known about it.

What it is called with is drawn from one line of axes ("U: N H W C, W1: R C"), so the same task gives random cases,
special ones, the smallest ones, and the conversion to channels-first arrays. The right answers come from the library's
own function; nothing is written a second time.
"""

import warnings
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

Sizes = dict[str, int]
Arguments = dict[str, Any]  # name -> array or number, in the order of the signature
Fill = Callable[[str, tuple[int, ...], Sizes], np.ndarray]  # kind of numbers, shape, all sizes -> array


@dataclass(frozen=True)
class Mistake:
    """A wrong version that people write: what it is called, what was done, and what the equation says instead."""

    name: str
    text: str
    wrong: Callable[..., Any]
    equation: str = ""  # where not the task's own


@dataclass(frozen=True)
class Case:
    """One call: what the function is given."""

    name: str
    arguments: Arguments
    hyper: Mapping[str, Any]
    kind: str  # "random", "special" or "extreme"
    sizes: Sizes = field(default_factory=dict)


@dataclass(frozen=True)
class Special:
    """A case with a name of its own: some sizes or hyperparameters fixed, its arguments perhaps changed."""

    name: str
    fixed: Mapping[str, Any] = field(default_factory=dict)
    change: Callable[[Arguments], Arguments] = lambda arguments: arguments


@dataclass(frozen=True)
class Task:
    """One function to write.

    ``signature`` is "excite(z, W1, W2) -> s"; ``axes`` gives the axes of every array in it. Letters that ``sizes`` has
    are drawn from its range, others come from ``derive``, which may also refuse sizes by returning None. ``fill`` says
    what kind of numbers an argument holds, if not normal ones; ``hyper`` what is passed by keyword, and its choices.
    ``prepare`` gets arguments as they were drawn and may set those that depend on others.  ``forward`` is what a
    backward task differentiates. ``rounds`` is how many random cases there are.  ``written`` is the alternate that
    ``solution`` shows first, for a task whose oracle is hard to read by itself; it calls no helper of its file.
    ``library`` is the function of the library that the oracle adapts, for a task whose arguments differ.
    """

    signature: str
    equation: str
    title: str
    oracle: Callable[..., Any]
    axes: str
    sizes: Mapping[str, tuple[int, int]]
    mistakes: tuple[Mistake, ...]
    alternates: tuple[Callable[..., Any], ...]
    written: Callable[..., Any] | None = None
    library: Callable[..., Any] | None = None
    points: float = 2.0
    rounds: int = 12
    fill: Mapping[str, str] = field(default_factory=dict)
    hyper: Mapping[str, tuple[Any, ...]] = field(default_factory=dict)
    derive: Callable[[Sizes], Sizes | None] = lambda sizes: {}
    prepare: Callable[[Arguments], Arguments] = lambda arguments: arguments
    specials: tuple[Special, ...] = ()
    extremes: tuple[Special, ...] = ()
    forward: Callable[..., Any] | None = None
    hint: str = ""
    likely: tuple[str, ...] = ()  # names of the mistakes that a hint tells; where there are none, the first few

    @property
    def name(self) -> str:
        return self.signature.partition("(")[0]

    @property
    def inputs(self) -> list[str]:
        """Names of what is passed by position."""
        inside = self.signature.partition("(")[2].partition(")")[0]
        return [name for name in (word.strip() for word in inside.split(",")) if name not in self.hyper]

    @property
    def outputs(self) -> list[str]:
        return [name.strip() for name in self.signature.partition(" -> ")[2].split(",")]

    def letters(self, name: str) -> tuple[str, ...] | None:
        """The axes of an argument or a result; None for a plain number."""
        for part in self.axes.split(", "):
            known, _, letters = part.partition(": ")
            if known == name:
                return tuple(letters.split())
        return None

    def is_filter(self, name: str) -> bool:
        """Whether this is a stack of filters, whose axes stand otherwise in channels-first code than those of maps."""
        return name.lstrip("d").startswith("V")

    def answer(self, case: Case, function: Callable[..., Any] | None = None, dtype: Any = np.float64) -> tuple:
        """What the oracle, or another function, returns for a case: plain arrays.  Inputs are copies."""
        arguments = [cast(value, dtype) for value in case.arguments.values()]
        found = (function or self.oracle)(*arguments, **case.hyper)
        return tuple(np.asarray(part) for part in (found if isinstance(found, (tuple, list)) else (found,)))

    def case(self, name: str, kind: str, sizes: Sizes, fill: Fill) -> Case | None:
        """The case of these sizes and hyperparameters; None where they make no sense together."""
        derived = self.derive(sizes)
        if derived is None:
            return None
        sizes = {**sizes, **derived}
        arguments = {}
        for argument in self.inputs:
            letters = self.letters(argument)
            shape = () if letters is None else tuple(int(a) if a.isdigit() else sizes[a] for a in letters)
            value = fill(self.fill.get(argument, "normal"), shape, sizes)
            arguments[argument] = float(value) if letters is None else value
        return Case(name, self.prepare(arguments), {k: sizes[k] for k in self.hyper}, kind, sizes)

    def draw(self, rng: np.random.Generator, name: str, kind: str, fixed: Mapping[str, Any]) -> Case:
        """A random case; its sizes are pairwise different where that can be, so that no two axes can be mixed up."""
        for attempt in range(200):
            sizes = {letter: int(rng.integers(low, high + 1)) for letter, (low, high) in self.sizes.items()}
            sizes |= {k: choices[rng.integers(len(choices))] for k, choices in self.hyper.items()}
            free = [n for letter, n in sizes.items() if letter in self.sizes and letter not in fixed]
            sizes |= fixed
            if attempt < 150 and len(set(free)) < len(free):
                continue
            case = self.case(name, kind, sizes, lambda *what: fill(rng, *what))
            if case is not None:
                return case
        raise ValueError(f"{self.name}: no sizes fit {dict(fixed)}; expected ranges wide enough in ``sizes``")

    def cases(self, seed: int, number: int | None = None) -> Iterator[Case]:
        """What a submission is tried on: random cases that tell mistakes from the truth, special ones, extremes."""
        rng = np.random.default_rng([seed, *self.name.encode()])
        for k in range(number or self.rounds):
            yield self.informative(rng, f"random {k + 1}")
        for kind, specials in (("special", self.specials), ("extreme", self.extremes)):
            for special in specials:
                case = self.draw(rng, special.name, kind, special.fixed)
                yield Case(case.name, special.change(case.arguments), case.hyper, kind, case.sizes)

    def informative(self, rng: np.random.Generator, name: str) -> Case:
        """The first random case on which at least half of the known mistakes are clearly wrong."""
        for _ in range(20):
            case = self.draw(rng, name, "random", {})
            right = self.answer(case)
            told, needed = 0, len(self.mistakes) / 2
            for mistake in self.mistakes:
                told += differs(attempt(self, case, mistake.wrong), right)
                if told >= needed:
                    return case
        return case


def fill(rng: np.random.Generator, kind: str, shape: tuple[int, ...], sizes: Sizes) -> np.ndarray:
    """Numbers of a kind.  All are exact in float32, so that single precision sees the same inputs."""
    x = rng.standard_normal(shape)
    if kind == "maps":  # every channel with an offset of its own, so that no mean is near 0
        x = x + rng.uniform(0.5, 2, shape[-1:]) * rng.choice([-1, 1], shape[-1:])
    elif kind == "weights":  # gates spread well without being shut
        x = 1.2 * x / max(1, shape[-1]) ** 0.5
    elif kind == "gates":
        x = rng.uniform(0.05, 0.95, shape)
    elif kind == "positive":
        x = rng.uniform(0.5, 3, shape)
    elif kind == "small":
        x = rng.uniform(0.05, 0.5, shape)
    elif kind == "labels":
        return rng.integers(0, sizes["K"], shape)
    elif kind == "apart":  # no two equal, so that a maximum has one place
        x = (rng.permutation(int(np.prod(shape))).reshape(shape) - np.prod(shape) // 2) / 7 - 0.03
    elif kind != "normal":
        raise ValueError(f"unknown kind of numbers {kind!r}")
    return np.asarray(x, np.float32).astype(np.float64)


def cast(value: Any, dtype: Any) -> Any:
    """A copy of an array, reals as ``dtype``; numbers as they are."""
    if not isinstance(value, np.ndarray):
        return value
    return value.astype(dtype) if value.dtype.kind == "f" else value.copy()


def attempt(task: Task, case: Case, function: Callable[..., Any]) -> tuple | None:
    """What a function that may be wrong returns; None where it raises."""
    try:
        with np.errstate(all="ignore"), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return task.answer(case, function)
    except Exception:
        return None


def differs(found: tuple | None, right: tuple) -> bool:
    """Whether an answer is clearly another one, whatever the tolerance."""
    if found is None or len(found) != len(right):
        return True
    for a, b in zip(found, right, strict=True):
        if a.shape != b.shape or not np.isfinite(a).all() or np.abs(a - b).max() > 1e-3 * (np.abs(b).max() + 1e-30):
            return True
    return False
