"""Tasks: one function for students to write, with its oracle, cases and known mistakes.

One line of axes ("U: N H W C, W1: R C") describes the arguments; it serves random cases, special cases, small cases,
and the conversion to channels-first arrays. The correct results come from the library's own function.
"""

import warnings
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

Sizes = dict[str, int]
Arguments = dict[str, Any]  # name -> array or number, in the order of the signature
Fill = Callable[[str, tuple[int, ...], Sizes], np.ndarray]  # kind of values, shape, all sizes -> array


@dataclass(frozen=True)
class Mistake:
    """A common wrong version: its name, a message saying what was done and what is right, and its code."""

    name: str
    text: str
    wrong: Callable[..., Any]
    equation: str = ""  # if it differs from the task's equation
    family: Callable[[float], Callable[..., Any]] | None = None  # the code for a constant, ``wrong`` being one of them
    also: tuple[Callable[..., Any], ...] = ()  # other code for the same mistake, which differs on extremes


@dataclass(frozen=True)
class Case:
    """The arguments of one call."""

    name: str
    arguments: Arguments
    hyper: Mapping[str, Any]
    kind: str  # "random", "special" or "extreme"
    sizes: Sizes = field(default_factory=dict)


@dataclass(frozen=True)
class Special:
    """A named case with fixed sizes or hyperparameters, or with changed arguments."""

    name: str
    fixed: Mapping[str, Any] = field(default_factory=dict)
    change: Callable[[Arguments], Arguments] = lambda arguments: arguments


@dataclass(frozen=True)
class Task:
    """A function for students to write.

    ``signature`` is, for example, "excite(z, W1, W2) -> s", and ``axes`` gives the axes of every array in it. Letters
    in ``sizes`` are drawn from the range given there; the others come from ``derive``, which may also reject sizes by
    returning None. ``fill`` gives the kind of an argument's values if they are not normal; ``hyper`` gives the
    keyword arguments and their choices. ``prepare`` receives the drawn arguments and may set those that depend on
    others. ``forward`` is the function that a backward task differentiates, and ``rounds`` the number of random cases.
    ``written`` is the alternative that ``solution`` shows first, for a task whose oracle is hard to read by itself; it
    calls no helper from its file. ``library`` is the library function that the oracle adapts, if its arguments differ.
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
    likely: tuple[str, ...] = ()  # names of the mistakes that a hint lists; if empty, the first few

    @property
    def name(self) -> str:
        return self.signature.partition("(")[0]

    @property
    def inputs(self) -> list[str]:
        """The names of the positional arguments."""
        inside = self.signature.partition("(")[2].partition(")")[0]
        return [name for name in (word.strip() for word in inside.split(",")) if name not in self.hyper]

    @property
    def outputs(self) -> list[str]:
        return [name.strip() for name in self.signature.partition(" -> ")[2].split(",")]

    def letters(self, name: str) -> tuple[str, ...] | None:
        """Return the axes of an argument or a result, or None for a plain number."""
        for part in self.axes.split(", "):
            known, _, letters = part.partition(": ")
            if known == name:
                return tuple(letters.split())
        return None

    def is_filter(self, name: str) -> bool:
        """Return True for filters, whose axes are reordered differently from those of maps in channels-first code."""
        return name.lstrip("d").startswith("V")

    def answer(self, case: Case, function: Callable[..., Any] | None = None, dtype: Any = np.float64) -> tuple:
        """Return the results of the oracle, or of another function, as arrays; the function receives copies."""
        arguments = [cast(value, dtype) for value in case.arguments.values()]
        found = (function or self.oracle)(*arguments, **case.hyper)
        return tuple(np.asarray(part) for part in (found if isinstance(found, (tuple, list)) else (found,)))

    def case(self, name: str, kind: str, sizes: Sizes, fill: Fill) -> Case | None:
        """Return the case with these sizes and hyperparameters, or None if they do not fit together."""
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
        """Return a random case, if possible with pairwise different sizes, so that swapped axes are noticed.

        Raises
        ------
        ValueError
            If no sizes fit the fixed ones.
        """
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
        raise ValueError(f"{self.name}: no sizes fit {dict(fixed)}; expected wider ranges in ``sizes``")

    def cases(self, seed: int, number: int | None = None) -> Iterator[Case]:
        """Yield the cases that a submission is graded on: informative random cases, special cases and extremes."""
        rng = np.random.default_rng([seed, *self.name.encode()])
        for k in range(number or self.rounds):
            yield self.informative(rng, f"random {k + 1}")
        for kind, specials in (("special", self.specials), ("extreme", self.extremes)):
            for special in specials:
                case = self.draw(rng, special.name, kind, special.fixed)
                yield Case(case.name, special.change(case.arguments), case.hyper, kind, case.sizes)

    def informative(self, rng: np.random.Generator, name: str) -> Case:
        """Return the first of 20 random cases on which half of the known mistakes are clearly wrong, or the last."""
        for _ in range(20):
            case = self.draw(rng, name, "random", {})
            right = self.answer(case)
            wrong, needed = 0, len(self.mistakes) / 2
            for mistake in self.mistakes:
                wrong += differs(attempt(self, case, mistake.wrong), right)
                if wrong >= needed:
                    return case
        return case


def fill(rng: np.random.Generator, kind: str, shape: tuple[int, ...], sizes: Sizes) -> np.ndarray:
    """Return random values of a kind, exact in float32 so that single precision gets the same inputs.

    Raises
    ------
    ValueError
        If the kind is unknown.
    """
    x = rng.standard_normal(shape)
    if kind == "maps":  # every channel has its own offset, so that no mean is near 0
        x = x + rng.uniform(0.5, 2, shape[-1:]) * rng.choice([-1, 1], shape[-1:])
    elif kind == "weights":  # scaled so that gates vary without saturating
        x = 1.2 * x / max(1, shape[-1]) ** 0.5
    elif kind == "gates":
        x = rng.uniform(0.05, 0.95, shape)
    elif kind == "positive":
        x = rng.uniform(0.5, 3, shape)
    elif kind == "small":
        x = rng.uniform(0.05, 0.5, shape)
    elif kind == "labels":
        return rng.integers(0, sizes["K"], shape)
    elif kind == "apart":  # distinct values, so that every maximum is unique
        x = (rng.permutation(int(np.prod(shape))).reshape(shape) - np.prod(shape) // 2) / 7 - 0.03
    elif kind != "normal":
        raise ValueError(f"unknown kind of values {kind!r}")
    return np.asarray(x, np.float32).astype(np.float64)


def cast(value: Any, dtype: Any) -> Any:
    """Return a copy of an array, converted to ``dtype`` if it is real; return numbers unchanged."""
    if not isinstance(value, np.ndarray):
        return value
    return value.astype(dtype) if value.dtype.kind == "f" else value.copy()


def attempt(task: Task, case: Case, function: Callable[..., Any]) -> tuple | None:
    """Return the results of a function that may be wrong, or None if it raises."""
    try:
        with np.errstate(all="ignore"), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return task.answer(case, function)
    except Exception:
        return None


def differs(found: tuple | None, right: tuple) -> bool:
    """Return True if two results are clearly different, independently of the tolerance."""
    if found is None or len(found) != len(right):
        return True
    for a, b in zip(found, right, strict=True):
        if a.shape != b.shape or not np.isfinite(a).all() or np.abs(a - b).max() > 1e-3 * (np.abs(b).max() + 1e-30):
            return True
    return False
