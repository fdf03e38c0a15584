"""Explanations of wrong results: functions that give the same results, each with its sentence.

An explanation is a known mistake, or the correct function with changed arguments ("for stride = 1"), or either with a
changed result ("N times ..."). The first is a table of its task, the others are the tables CHANGES and RESULTS below.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import combinations, pairwise
from typing import Any

import numpy as np

from se_numpy.grading.compare import Expected, agree
from se_numpy.grading.probes import Tried, probes
from se_numpy.grading.task import Mistake, Sizes, Task, attempt

Results = tuple[np.ndarray, ...]
Function = Callable[..., Any]


@dataclass(frozen=True, eq=False)
class Explanation:
    """A function whose results are compared with a submission's; ``about`` completes "dX is ...".

    A ``family`` returns the function for a constant, which is found by fitting.
    """

    about: str
    function: Function
    mistake: Mistake | None = None
    family: Callable[[float], Function] | None = None
    result: Callable[..., Any] | None = None  # applied to one output and the case


class Predictions:
    """The results of explanations; those on the probes are kept."""

    def __init__(self, task: Task) -> None:
        self.task = task
        self.kept = {id(expected) for expected in probes(task)}
        self.known: dict[tuple[Function, int], Results | None] = {}
        self.members: dict[tuple[Callable[[float], Function], float, int], Results | None] = {}

    def __call__(self, function: Function, expected: Expected, keep: bool = True) -> Results | None:
        key = (function, id(expected))
        if key in self.known:
            return self.known[key]
        answer = attempt(self.task, expected.case, function)
        if keep and id(expected) in self.kept:
            self.known[key] = answer
        return answer

    def of_family(self, family: Callable[[float], Function], c: float, expected: Expected) -> Results | None:
        """Return the results of a member of a family."""
        key = (family, c, id(expected))
        if key not in self.members:
            answer = attempt(self.task, expected.case, family(c))
            if id(expected) not in self.kept:
                return answer
            self.members[key] = answer
        return self.members[key]


def agrees(task: Task, theirs: Results | None, one: Tried, k: int | None) -> bool:
    """Return True if the submission's results, or only its k-th, equal ``theirs``."""
    found = one.found
    if found is None or theirs is None:
        return found is None and theirs is None
    if k is None:
        return agree(found, theirs, one.expected.tolerances)
    if len(found) != len(task.outputs) or len(theirs) != len(task.outputs):
        return False
    return agree(found[k : k + 1], theirs[k : k + 1], one.expected.tolerances[k : k + 1])


def is_informative(task: Task, theirs: Results | None, one: Tried, k: int | None) -> bool:
    """Return True if both returned results and these are wrong."""
    if theirs is None or one.found is None:
        return False
    right, tolerances = one.expected.right, one.expected.tolerances
    if k is None:
        return not agree(theirs, right, tolerances)
    return len(theirs) != len(right) or not agree(theirs[k : k + 1], right[k : k + 1], tolerances[k : k + 1])


# ------------------------------------------------------------------------------------------- changed arguments


def _each(change: Callable[[Any], Any], *names: str) -> Callable[[dict[str, Any]], dict[str, Any]]:
    return lambda given: {**given, **{name: change(given[name]) for name in names}}


def _exchange(a: str, b: str) -> Callable[[dict[str, Any]], dict[str, Any]]:
    return lambda given: {**given, a: given[b], b: given[a]}


def _instead(a: str, b: str) -> Callable[[dict[str, Any]], dict[str, Any]]:
    return lambda given: {**given, a: given[b]}


# What an array may be replaced by: text -> function; {} is the argument's name.
CHANGES: dict[str, Callable[[Any], Any]] = {
    "{} = 0 everywhere": lambda a: 0 * a,
    "{} = 1 everywhere": lambda a: 0 * a + 1,
    "-{} in place of {}": lambda a: -a,
    "|{}| in place of {}": np.abs,
    "max({}, 0) in place of {}": lambda a: np.maximum(a, 0),
    "{}² in place of {}": lambda a: a * a,
    "{}/2 in place of {}": lambda a: a / 2,
    "2 {} in place of {}": lambda a: 2 * a,
    "1 + {} in place of {}": lambda a: 1 + a,
    "1 - {} in place of {}": lambda a: 1 - a,
    "the square root of {} in place of {}": np.sqrt,
}
BATCHES: dict[str, Callable[[Any], Any]] = {  # for arrays whose first axis is the batch
    "the first image's {} in place of every image's": lambda a: np.repeat(a[:1], len(a), 0),
    "the batch mean of {} in place of {}": lambda a: np.repeat(a.mean(0, keepdims=True), len(a), 0),
    "{} of the images in reverse order": lambda a: a[::-1],
}
MATRICES: dict[str, Callable[[Any], Any]] = {
    "{} transposed": lambda a: a.T,
    "{} reshaped, not transposed, to its transpose's shape": lambda a: a.reshape(a.shape[::-1]),
    "{} read column by column": lambda a: a.T.reshape(a.shape),
}
MAPS: dict[str, Callable[[Any], Any]] = {
    "{} averaged over its pixels": lambda a: a.mean((1, 2), keepdims=True) + 0 * a,
    "{} summed over its pixels": lambda a: a.sum((1, 2), keepdims=True) + 0 * a,
    "{} averaged over its channels": lambda a: a.mean(3, keepdims=True) + 0 * a,
    "{} with height and width swapped": lambda a: a.swapaxes(1, 2),
    "{} flipped upside down": lambda a: a[:, ::-1],
    "{} flipped left to right": lambda a: a[:, :, ::-1],
}
FILTERS: dict[str, Callable[[Any], Any]] = {
    "{} rotated by 180°": lambda a: a[::-1, ::-1],
    "{} flipped upside down": lambda a: a[::-1],
    "{} flipped left to right": lambda a: a[:, ::-1],
    "{} with rows and columns swapped": lambda a: a.swapaxes(0, 1),
    "{} with its channels swapped": lambda a: a.swapaxes(2, 3),
}
LABELS: dict[str, Callable[[Any], Any]] = {
    "the first class as every label": lambda a: 0 * a,
    "{} of the images in reverse order": lambda a: a[::-1],
}
NUMBERS: dict[str, Callable[[Any], Any]] = {  # hyperparameters and other plain numbers
    "{} = 0": lambda a: 0,
    "{} = 1": lambda a: 1,
    "{} = 2": lambda a: 2,
    "-{} in place of {}": lambda a: -a,
    "{} + 1 in place of {}": lambda a: a + 1,
    "{} - 1 in place of {}": lambda a: a - 1,
    "1 - {} in place of {}": lambda a: 1 - a,
    "2 {} in place of {}": lambda a: 2 * a,
    "half of {} in place of {}": lambda a: a // 2 if isinstance(a, int) else a / 2,
    "{}² in place of {}": lambda a: a * a,
    "the square root of {} in place of {}": lambda a: a**0.5,
    "1/{} in place of {}": lambda a: 1 / a,
}


MANY = 4  # constants are looked for only in tasks with at most this number of arrays


def explanations(task: Task) -> list[Explanation]:
    """Return every explanation of a task, the known mistakes first."""
    known = [Explanation(m.name, m.wrong, m, m.family) for m in task.mistakes]
    return known + [Explanation(f"the correct result for {about}", _with(task, change))
                    for about, change in _changes(task)] + _constants(task)  # fmt: skip


def _with(task: Task, change: Callable[[dict[str, Any]], dict[str, Any]]) -> Function:
    """Return the oracle, called with changed arguments."""

    def function(*arguments: Any, **hyper: Any) -> Any:
        given = change(dict(zip(task.inputs, arguments, strict=True)) | hyper)
        return task.oracle(*(given[name] for name in task.inputs), **{name: given[name] for name in hyper})

    return function


def _changes(task: Task) -> Iterator[tuple[str, Callable[[dict[str, Any]], dict[str, Any]]]]:
    for name in task.inputs:
        letters = task.letters(name)
        tables: list[dict[str, Callable[[Any], Any]]] = []
        if letters is None or task.fill.get(name) == "labels":
            tables.append(NUMBERS if letters is None else LABELS)
        else:
            tables.append(CHANGES)
            if letters[:1] == ("N",):
                tables.append(BATCHES)
            if len(letters) == 2:
                tables.append(MATRICES)
            if len(letters) == 4:
                tables.append(FILTERS if task.is_filter(name) else MAPS)
        for table in tables:
            for about, change in table.items():
                yield about.replace("{}", name), _each(change, name)
    for name, choices in task.hyper.items():
        if not any(isinstance(choice, bool | str) for choice in choices):
            for about, change in NUMBERS.items():
                yield about.replace("{}", name), _each(change, name)
    for a, b in combinations([*task.inputs, *task.hyper], 2):
        if task.letters(a) != task.letters(b) or (a in task.hyper) != (b in task.hyper):
            continue
        yield f"{a} and {b} exchanged", _exchange(a, b)
        yield f"{b} in place of {a}", _instead(a, b)
        yield f"{a} in place of {b}", _instead(b, a)


def _constants(task: Task) -> list[Explanation]:
    """Return an explanation for every hyperparameter that may have been replaced by a constant."""
    found = []
    for name, choices in task.hyper.items():
        if all(isinstance(choice, float) for choice in choices):

            def family(c: float, name: str = name) -> Function:
                return _with(task, lambda given: {**given, name: c})

            about = f"the correct result for one fixed {name}, not for the {name} that is given"
            found.append(Explanation(about, family(0.0), None, family))
    arrays = [name for name in task.inputs if task.letters(name) is not None and task.fill.get(name) != "labels"]
    for name in arrays if len(arrays) <= MANY else []:

        def multiple(c: float, name: str = name) -> Function:
            return _with(task, lambda given: {**given, name: c * given[name]})

        def shifted(c: float, name: str = name) -> Function:
            return _with(task, lambda given: {**given, name: given[name] + c})

        found.append(Explanation(f"the correct result for {name} times a constant", multiple(1.0), None, multiple))
        found.append(Explanation(f"the correct result for {name} plus a constant", shifted(0.0), None, shifted))
    for about, limit in (("from above", np.minimum), ("from below", np.maximum)) if len(arrays) <= MANY else ():

        def limited(c: float, limit: Any = limit) -> Function:
            return lambda *a, **h: _map(lambda part: limit(part, c), task.oracle(*a, **h))

        found.append(Explanation(f"the correct result, limited {about} by a constant", limited(0.0), None, limited))
    return found


def _map(f: Callable[[Any], Any], found: Any) -> Any:
    return tuple(f(part) for part in found) if isinstance(found, tuple) else f(found)


# --------------------------------------------------------------------------------------------- changed results

RESULTS: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "the absolute value of {}": np.abs,
    "the positive part of {}": lambda a: np.maximum(a, 0),
    "the negative part of {}": lambda a: np.minimum(a, 0),
    "the square of {}": lambda a: a * a,
    "the square root of {}": np.sqrt,
    "1 divided by {}": lambda a: 1 / a,
    "1 minus {}": lambda a: 1 - a,
    "1 plus {}": lambda a: 1 + a,
    "the sigmoid of {}": lambda a: 1 / (1 + np.exp(-a)),
    "the exponential of {}": np.exp,
    "the logarithm of {}": np.log,
    "tanh of {}": np.tanh,
    "{}, rounded down": np.floor,
    "{}, rounded": np.round,
    "the sign of {}": np.sign,
    "1 for every positive value of {}": lambda a: (a > 0) * 1.0,
    "{}, in reverse order along the first axis": lambda a: a[::-1],
    "{}, in reverse order along the last axis": lambda a: a[..., ::-1],
    "{}, transposed": lambda a: a.T,
    "{}, with its second and third axes swapped": lambda a: a.swapaxes(1, 2),
    "{}, with its first and last axes swapped": lambda a: a.swapaxes(0, -1),
    "{}, rotated by 180°": lambda a: a[::-1, ::-1],
    "{}, without its last row and column": lambda a: a[:, :-1, :-1],
    "{}, without its last row": lambda a: a[:, :-1],
    "{}, without its last column": lambda a: a[:, :, :-1],
    "{}, without its first row and column": lambda a: a[:, 1:, 1:],
    "{}, with the first image's values for every image": lambda a: np.repeat(a[:1], len(a), 0),
    "{}, with the batch mean for every image": lambda a: np.repeat(a.mean(0, keepdims=True), len(a), 0),
    "{}, with the sum over the batch for every image": lambda a: np.repeat(a.sum(0, keepdims=True), len(a), 0),
    "{}, summed over the first axis": lambda a: a.sum(0),
    "{}, averaged over the first axis": lambda a: a.mean(0),
    "{}, summed over the last axis": lambda a: a.sum(-1),
    "{}, with the mean over the channels for every channel": lambda a: a.mean(-1, keepdims=True) + 0 * a,
    "{}, with the sum over the channels for every channel": lambda a: a.sum(-1, keepdims=True) + 0 * a,
    "{}, divided by its sum over the last axis": lambda a: a / a.sum(-1, keepdims=True),
    "{}, divided by its sum over the first axis": lambda a: a / a.sum(0),
    "{}, minus its mean over the first axis": lambda a: a - a.mean(0),
    "{}, but 0 except in the first image": lambda a: np.concatenate([a[:1], 0 * a[1:]]),
    "{}, but 0 except in the last image": lambda a: np.concatenate([0 * a[:-1], a[-1:]]),
    "{}, but 0 except in the first channel": lambda a: np.concatenate([a[..., :1], 0 * a[..., 1:]], -1),
    "{}, but 0 except in the last channel": lambda a: np.concatenate([0 * a[..., :-1], a[..., -1:]], -1),
    "{}, but 0 except in the first row": lambda a: np.concatenate([a[:, :1], 0 * a[:, 1:]], 1),
    "{}, but 0 except in the last row and column": lambda a: a * _corner(a, -1),
    "{}, but 0 except in the first row and column": lambda a: a * _corner(a, 0),
}  # fmt: skip


# How a result may be combined with an argument of its shape.
OPERATORS = {"plus": np.add, "minus": np.subtract, "times": np.multiply, "divided by": np.divide}


def _corner(a: np.ndarray, at: int) -> np.ndarray:
    mask = np.zeros(a.shape[1:3])
    mask[at, at] = 1
    return mask[:, :, None]


# Factors in the task's letters; those that need a letter which the task lacks are left out.
POWERS: dict[str, Callable[[Sizes], float]] = {
    "N": lambda s: s["N"],
    "C": lambda s: s["C"],
    "K": lambda s: s["K"],
    "H": lambda s: s["H"],
    "W": lambda s: s["W"],
    "H·W": lambda s: s["H"] * s["W"],
    "H'·W'": lambda s: s["P"] * s["Q"],
    "N·H·W": lambda s: s["N"] * s["H"] * s["W"],
    "H·W·C": lambda s: s["H"] * s["W"] * s["C"],
    "N·H·W·C": lambda s: s["N"] * s["H"] * s["W"] * s["C"],
    "N·H": lambda s: s["N"] * s["H"],
    "N·W": lambda s: s["N"] * s["W"],
    "N·C": lambda s: s["N"] * s["C"],
    "N·K": lambda s: s["N"] * s["K"],
    "C'": lambda s: s["D"],
    "C/r": lambda s: s["R"],
    "k": lambda s: s["k"],
    "k²": lambda s: s["k"] ** 2,
    "kernel": lambda s: s["kernel"],
    "kernel²": lambda s: s["kernel"] ** 2,
    "stride": lambda s: s["stride"],
    "stride²": lambda s: s["stride"] ** 2,
    "(H + W)": lambda s: s["H"] + s["W"],
    "lr": lambda s: s["lr"],
    "momentum": lambda s: s["momentum"],
    "(N - 1)": lambda s: s["N"] - 1,
    "(H·W - 1)": lambda s: s["H"] * s["W"] - 1,
    "(N·H·W - 1)": lambda s: s["N"] * s["H"] * s["W"] - 1,
}


def factors(task: Task, sizes: Sizes) -> dict[str, float]:
    """Return every factor to look for, with its value for these sizes."""
    found = {"-1": -1.0, "2": 2.0, "1/2": 0.5, "-2": -2.0, "-1/2": -0.5}
    values: dict[str, float] = {}
    for name, of in POWERS.items():
        try:
            values[name] = float(of(sizes))
        except KeyError:
            continue
    for name, value in values.items():
        if value > 0:
            found |= {name: value, f"1/{_inner(name)}": 1 / value, f"-{name}": -value, f"-1/{_inner(name)}": -1 / value,
                      f"{name}²" if name[-1] not in "²)" else f"({name})²": value**2, f"1/{_inner(name)}²": value**-2,
                      f"√{_inner(name)}": value**0.5, f"1/√{_inner(name)}": value**-0.5,
                      f"2·{name}": 2 * value, f"1/(2·{name})": 0.5 / value}  # fmt: skip
    for (a, x), (b, y) in combinations(values.items(), 2):
        if min(x, y) > 0:
            found |= {f"{a}/{_inner(b)}": x / y, f"{b}/{_inner(a)}": y / x}
    return found


def _inner(name: str) -> str:
    return f"({name})" if "·" in name else name


def factor_text(factor: str) -> str:
    """Return a clause with a place for the result: "minus {}", or "N times {}"."""
    return "minus {}" if factor == "-1" else f"{factor} times {{}}"


def ratio(a: np.ndarray, b: np.ndarray) -> float | None:
    """Return the factor by which a is a multiple of b, or None; 0 arrays have none."""
    if a.shape != b.shape or not np.isfinite(a).all() or not np.isfinite(b).all() or not b.any():
        return None
    top = np.abs(b).max()
    found = float((a / top * (b / top)).sum() / ((b / top) ** 2).sum())
    return found if np.abs(a - found * b).max() <= 2e-5 * np.abs(found) * top and abs(found) > 1e-9 else None


# --------------------------------------------------------------------------------------------------- constants

GRID = (-100.0, -10.0, -2.0, -1.0, -0.5, -0.1, -1e-2, 0.0, 1e-8, 1e-5, 1e-3, 1e-2, 0.1, 0.2, 0.3, 0.5, 0.9, 1.0, 2.0,
        3.0, 6.0, 10.0, 100.0)  # fmt: skip


def fit(
    predict: Predictions, family: Callable[[float], Function], tried: Sequence[Tried], k: int | None
) -> list[Function]:
    """Return the members of a family that agree with the submission on the first input on which it is wrong."""
    task = predict.task
    one = next((t for t in tried if t.found is not None and not t.extreme and _wrong(task, t, k)), None)
    if one is None:
        return []
    gaps: list[tuple[float, float]] = []
    members = []
    for c in GRID:
        theirs = predict.of_family(family, c, one.expected)
        gap = _gap(one, theirs, k)
        if gap is not None:
            gaps.append((c, gap))
        if agrees(task, theirs, one, k):
            members.append(family(c))
    for (a, left), (b, right) in pairwise(gaps) if not members else ():
        if left * right < 0:
            for _ in range(60):
                middle = (a + b) / 2
                gap = _gap(one, attempt(task, one.expected.case, family(middle)), k)
                if gap is None:
                    break
                a, b = (middle, b) if gap * left > 0 else (a, middle)
            if agrees(task, attempt(task, one.expected.case, family((a + b) / 2)), one, k):
                members.append(family((a + b) / 2))
    return members[:3]


def _wrong(task: Task, one: Tried, k: int | None) -> bool:
    if one.found is None or (k is not None and len(one.found) != len(task.outputs)):
        return False
    part = slice(None) if k is None else slice(k, k + 1)
    return not agree(one.found[part], one.expected.right[part], one.expected.tolerances[part])


def _gap(one: Tried, theirs: Results | None, k: int | None) -> float | None:
    """Return a weighted sum of the differences, which has a zero where the results agree."""
    if theirs is None or one.found is None or len(theirs) != len(one.found):
        return None
    total = 0.0
    for n, (a, b) in enumerate(zip(theirs, one.found, strict=True)):
        if k is not None and n != k:
            continue
        if a.shape != b.shape or not np.isfinite(a).all() or not np.isfinite(b).all():
            return None
        weights = np.random.default_rng(n).uniform(0.5, 1.5, a.shape)
        total += float((weights * (a - b)).sum())
    return total
