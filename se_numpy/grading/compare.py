"""Compare results with the oracle's, within measured tolerances.

Rounding errors depend on the operation and its size, so each case's tolerance is measured: the oracle and every
other correct version of the task run in single precision, and the oracle also runs on inputs perturbed by one rounding.
The tolerance is 32 times the largest deviation, and at least 64 rounding errors of the largest value. Single-precision
results are within the tolerance; a result within 2⁻²⁰ times the tolerance was computed in double precision throughout.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from se_numpy.grading.task import Case, Task

SINGLE = 2.0**-24
DOUBLE_OVER_SINGLE = 2.0**-29
NUDGES = 3
LENIENT = 1e3  # factor on the tolerance in extreme cases: values must be finite, their first digits right
EXACT = 2.0**-20  # fraction of the tolerance that double precision stays within: 2⁻²⁹, plus a margin
TINY = 1e-37  # the smallest tolerance; smaller values are 0 in single precision


class Expected(NamedTuple):
    """A case with its correct results and the tolerance for each."""

    case: Case
    right: tuple[np.ndarray, ...]
    tolerances: tuple[float, ...]


class Verdict(NamedTuple):
    """The comparison of one output of one call; a message is "" if nothing is wrong."""

    shape: str  # a message about the shape
    dtype: str
    values: str
    error: float  # relative to the tolerance; inf if the values cannot be compared

    @property
    def right(self) -> bool:
        return not self.values and self.error <= 1


def expect(task: Task, case: Case, quickly: bool = False) -> Expected:
    """Return the correct results for a case with their tolerances, ``quickly`` measured by fewer runs."""
    with np.errstate(all="ignore"):
        right = task.answer(case)
        runs = [task.answer(case, f, np.float32) for f in (task.oracle, *(() if quickly else task.alternates))]
        runs += [task.answer(_nudged(case, k)) for k in range(1 if quickly else NUDGES)]
        doubles = [task.answer(case, f) for f in task.alternates]
    tolerances = []
    for k, array in enumerate(right):
        size = np.abs(array[np.isfinite(array)]).max(initial=0.0)
        off = max(_distance(run[k], array) for run in runs)
        off = max([off, *(_distance(run[k], array) / DOUBLE_OVER_SINGLE for run in doubles)])
        tolerances.append(float(max(64 * SINGLE * size, 32 * off, TINY)))
    return Expected(case, right, tuple(tolerances))


def _nudged(case: Case, seed: int) -> Case:
    """Return the case with every value moved up or down by one single-precision rounding error."""
    rng = np.random.default_rng(seed)
    arguments = {
        name: value * (1 + SINGLE * rng.choice([-1.0, 1.0], value.shape))
        if isinstance(value, np.ndarray) and value.dtype.kind == "f" else value
        for name, value in case.arguments.items()
    }  # fmt: skip
    return Case(case.name, arguments, case.hyper, case.kind, case.sizes)


def _distance(found: np.ndarray, right: np.ndarray) -> float:
    if found.shape != right.shape:
        return 0.0
    finite = np.isfinite(found) & np.isfinite(right)
    return float(np.abs(found[finite].astype(np.float64) - right[finite]).max(initial=0.0)) if finite.all() else 0.0


def compare(task: Task, expected: Expected, outputs: Sequence[np.ndarray], listed: bool = False,
            order: bool = True) -> list[Verdict]:  # fmt: skip
    """Return a verdict on each output; if the number of outputs is wrong, every verdict says so.

    ``listed`` means that the outputs were returned in a list rather than a tuple; ``order`` also looks for outputs in
    the wrong order.
    """
    names = task.outputs
    rows = listed and len(names) == 1 and [found.shape for found in outputs] != [expected.right[0].shape]
    if len(outputs) != len(names) or rows:
        message = wrong_number(task, f"{len(outputs)} {'array' if len(outputs) == 1 else 'arrays'}")
        if rows:
            message = f"returned a list; expected {names[0]} as one array"
        return [Verdict(message, "", message, np.inf)] * len(names)
    verdicts = [
        _judge_one(name, found, right, tolerance)
        for name, found, right, tolerance in zip(names, outputs, expected.right, expected.tolerances, strict=True)
    ]
    wrong = [v.shape != "" or not v.right for v in verdicts]
    message = _wrong_order(names, expected, outputs) if order and sum(wrong) > 1 else ""
    if not message:
        return verdicts
    return [v._replace(shape=message if v.shape else "", values=message) if w else v
            for v, w in zip(verdicts, wrong, strict=True)]  # fmt: skip


def wrong_number(task: Task, returned: str) -> str:
    """Return a message about a wrong number of outputs."""
    names = task.outputs
    wanted = f"{len(names)}: {', '.join(names)}" if len(names) > 1 else f"{names[0]} alone"
    return f"returned {returned}; expected {wanted}"


def _wrong_order(names: Sequence[str], expected: Expected, outputs: Sequence[np.ndarray]) -> str:
    """Return a message if the outputs, or at least their shapes, are right but in the wrong order, else ""."""
    wanted = f"expected ({', '.join(names)})"
    places: list[int] = []
    for i, (right, tolerance) in enumerate(zip(expected.right, expected.tolerances, strict=True)):
        free = [k for k in sorted(range(len(names)), key=lambda k: (k != i, k)) if k not in places]  # i first
        fit = (k for k in free if outputs[k].shape == right.shape
               and _judge_one("", outputs[k], right, tolerance).right)  # fmt: skip
        places.append(next(fit, -1))
    if -1 not in places:
        return f"returned in the wrong order; {wanted}"
    shapes = [(found.shape, right.shape) for found, right in zip(outputs, expected.right, strict=True)]
    mismatches = [(a, b) for a, b in shapes if a != b]
    transposed = all(a == b[::-1] for a, b in mismatches)  # transposed or exchanged: ambiguous
    same = sorted(a for a, _ in shapes) == sorted(b for _, b in shapes)
    return f"the shapes are in the wrong order; {wanted}" if mismatches and same and not transposed else ""


def _judge_one(name: str, found: np.ndarray, right: np.ndarray, tolerance: float) -> Verdict:
    shape = dtype = ""
    if found.shape != right.shape:
        shape = f"{name} has shape {found.shape}; expected {right.shape}"
        alike = found.size == right.size and _squeezed(found.shape) == _squeezed(right.shape)
        missing = right.ndim - found.ndim
        if missing > 0:
            shape += " (an axis is missing)" if missing == 1 else f" ({missing} axes are missing)"
        elif missing < 0 and alike:
            shape += " (extra axes of length 1: did you use keepdims=True?)"
        elif found.ndim == 2 and found.T.shape == right.shape:
            shape += " (transposed?)"
        if not alike:
            return Verdict(shape, dtype, shape, np.inf)
        found = found.reshape(right.shape)  # the values may still be right
    if found.dtype.kind not in "f":
        dtype = f"{name} has dtype {found.dtype}; expected float64, like the inputs"
        if found.dtype.kind not in "iub":
            return Verdict(shape, dtype, dtype, np.inf)
    found = found.astype(np.float64)
    same = (found == right) | (np.isnan(found) & np.isnan(right))  # includes equal infinities
    if not np.isfinite(found[~same]).all():
        where = tuple(int(i) for i in np.argwhere(~np.isfinite(found) & ~same)[0])
        return Verdict(shape, dtype, _differs(name, where, found, right), np.inf)
    d = np.where(same, 0, np.abs(np.where(same, 0, found) - np.where(same, 0, right)))
    error = float(d.max(initial=0.0)) / tolerance
    if error <= 1:
        return Verdict(shape, dtype, "", error)
    where = tuple(int(i) for i in np.unravel_index(np.argmax(d), d.shape))
    return Verdict(shape, dtype, _differs(name, where, found, right), error)


def agree(found: Sequence[np.ndarray], other: Sequence[np.ndarray], tolerances: Sequence[float]) -> bool:
    """Return True if two sets of results are equal to within rounding."""
    if len(found) != len(other):
        return False
    for a, b, tolerance in zip(found, other, tolerances, strict=False):  # both may lack outputs
        if a.shape != b.shape:
            return False
        a, b = a.astype(np.float64), b.astype(np.float64)
        finite = np.isfinite(a) & np.isfinite(b)
        if not np.array_equal(a[~finite], b[~finite], equal_nan=True):
            return False
        size = np.abs(b[finite]).max(initial=0.0)
        if (np.abs(a[finite] - b[finite]) > tolerance + 64 * SINGLE * size).any():
            return False
    return True


def _squeezed(shape: tuple[int, ...]) -> tuple[int, ...]:
    return tuple(n for n in shape if n != 1)


def _differs(name: str, where: tuple[int, ...], found: np.ndarray, right: np.ndarray) -> str:
    place = f"{name}[{', '.join(map(str, where))}]" if where else name
    return f"{place} is {found[where] + 0.0:.6g}; expected {right[where] + 0.0:.6g}"  # + 0.0: no -0
