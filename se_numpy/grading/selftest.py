"""Verify tasks: ``se-numpy verify-task NAME|FILE``.

A task is accepted if, on every seed, each alternative is right in both precisions (within a quarter of the tolerance
measured without it), each mistake is off by at least 100 times the tolerance, no two mistakes give the same results,
a backward oracle is the derivative of its forward function, and no call is slow.
"""

import importlib.util
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from se_numpy.gradcheck import FunctionError, GradientError, check_backward
from se_numpy.grading.compare import EXACT, LENIENT, Expected, agree, compare, expect
from se_numpy.grading.grade import prepare
from se_numpy.grading.task import Case, Task, attempt

SEEDS = 50
MARGIN = 100.0  # the smallest error accepted for a mistake on its worst case, relative to the tolerance
QUARTER = 0.25
SLOW = 0.05  # the longest allowed call in seconds


@dataclass(frozen=True)
class Verification:
    """The verification of a task; ``problems`` is empty if the task is accepted."""

    task: str
    cases: int
    checks: int
    mistakes: int
    alternates: int
    weakest: str  # the mistake that came closest to passing
    margin: float  # its error relative to the tolerance
    worst_alternate: float  # the largest error of correct code relative to the tolerance
    gradient: float | None  # the oracle's relative error against a complex step
    slowest: float  # duration of the longest call, in seconds
    problems: tuple[str, ...]


def verify(task: Task, *, seeds: Sequence[int] = range(SEEDS)) -> Verification:
    """Verify a task on all seeds."""
    problems: list[str] = []
    margins = {mistake.name: np.inf for mistake in task.mistakes}
    apart = {(a.name, b.name) for i, a in enumerate(task.mistakes) for b in task.mistakes[:i]}
    worst, number = 0.0, 0
    for seed in seeds:
        cases = prepare(task, seed)
        number = len(cases)
        worst = max([worst, *(_alternate(task, k, cases, problems) for k in range(len(task.alternates)))])
        answers = {m.name: [attempt(task, e.case, m.wrong) for e in cases] for m in task.mistakes}
        for name, found in answers.items():
            margins[name] = min(margins[name], _beyond(task, cases, found))
        apart -= {pair for pair in apart if not _same(answers[pair[0]], answers[pair[1]], cases)}
    problems += [f"{a!r} and {b!r} give the same results; keep one, or add a case that distinguishes them"
                 for a, b in apart]  # fmt: skip
    for name, margin in margins.items():
        if margin < MARGIN:
            problems.append(f"the mistake {name!r} is off by only {margin:.2g} times the tolerance; add sizes or "
                            "special cases that reveal it")  # fmt: skip
    gradient = _gradient(task, problems)
    slowest = _slowest(task, [one.case for one in cases])
    if slowest > SLOW:
        problems.append(f"a call takes {1e3 * slowest:.0f} ms; expected at most {1e3 * SLOW:.0f}; use smaller sizes")
    if not task.mistakes or not task.alternates:
        problems.append("a task needs at least one mistake and at least one alternative")
    if task.written is not None and task.written not in task.alternates:
        problems.append("``written`` is not in ``alternates``, so it is not verified; add it there")
    weakest = min(margins, key=lambda name: margins[name], default="")
    checks = 4 + len(task.outputs) + bool(task.specials) + bool(task.extremes)
    return Verification(
        task.name, number, checks, len(task.mistakes), len(task.alternates), weakest,
        float(margins.get(weakest, np.inf)), worst, gradient, slowest, tuple(dict.fromkeys(problems)),
    )  # fmt: skip


def _alternate(task: Task, k: int, cases: Sequence[Expected], problems: list[str]) -> float:
    """Return the largest error of one alternative, relative to tolerances measured without it."""
    without = replace(task, alternates=task.alternates[:k] + task.alternates[k + 1 :])
    worst = 0.0
    for one in cases:
        if one.case.kind == "extreme":
            continue
        expected = expect(without, one.case)
        for dtype, unit in ((np.float64, EXACT), (np.float32, 1.0)):
            found = task.answer(one.case, task.alternates[k], dtype)
            verdicts = compare(task, expected, found)
            error = max(v.error for v in verdicts) / unit
            message = next((v.shape or v.values for v in verdicts if v.shape or v.values), "")
            if error > QUARTER or message:
                where = f"in {dtype.__name__} on {one.case.name!r}"
                problems.append(f"alternative {k + 1} fails {where}: {message or error}")
            worst = max(worst, error)
    return worst


def _beyond(task: Task, cases: Sequence[Expected], answers: Sequence[Any]) -> float:
    """Return the error of a wrong version on its worst case, relative to the tolerance."""
    beyond = 0.0
    for one, found in zip(cases, answers, strict=True):
        error = np.inf if found is None else max(v.error for v in compare(task, one, found))
        beyond = max(beyond, error / (LENIENT if one.case.kind == "extreme" else 1))
    return beyond


def _same(one: Sequence[Any], other: Sequence[Any], cases: Sequence[Expected]) -> bool:
    for a, b, expected in zip(one, other, cases, strict=True):
        if (a is None) != (b is None) or (a is not None and not agree(a, b, expected.tolerances)):
            return False
    return True


def _gradient(task: Task, problems: list[str]) -> float | None:
    """Return the worst relative error of a backward oracle against derivatives of its forward function."""
    if task.forward is None:
        return None
    worst, rng = 0.0, np.random.default_rng(0)
    for _ in range(5):
        case = task.draw(rng, "gradient", "random", {})
        arguments = list(case.arguments.values())[1:]
        wanted = len([a for a in arguments if isinstance(a, np.ndarray) and a.dtype.kind == "f"])
        if len(task.outputs) != wanted:
            return None  # some arguments have no gradient; the library's tests cover these oracles
        try:
            found = check_backward(task.forward, task.oracle, *arguments, method="complex", **case.hyper)
        except (GradientError, TypeError, ValueError):
            try:
                found = check_backward(task.forward, task.oracle, *arguments, **case.hyper)
            except GradientError as error:
                problems.append(f"the oracle is not the derivative of its forward function: {error}")
                return None
            except FunctionError as error:
                problems.append(f"the forward function has no derivative to compare with: {error}")
                return None
        worst = max([worst, *(one.relative for one in found)])
    return worst


def _slowest(task: Task, cases: Sequence[Case]) -> float:
    """Return the duration of the oracle's longest call, in seconds; each is the best of three, to reduce noise."""

    def seconds(case: Case) -> float:
        start = time.perf_counter()
        task.answer(case)
        return time.perf_counter() - start

    return max((min(seconds(case) for _ in range(3)) for case in cases), default=0.0)


def from_file(path: str | Path) -> list[Task]:
    """Return the tasks defined in a Python file.  The file is executed, so it must be trusted.

    Raises
    ------
    ValueError
        If the file does not exist, cannot be run, or defines no Task.
    """
    path = Path(path)
    if not path.exists():
        raise ValueError(f"{path} does not exist; `se-numpy new-task NAME` writes a template")
    spec = importlib.util.spec_from_file_location(path.stem, path)
    if spec is None or spec.loader is None:
        raise ValueError(f"{path} is not a Python file; expected NAME.py")
    module = importlib.util.module_from_spec(spec)
    try:
        spec.loader.exec_module(module)
    except Exception as error:
        raise ValueError(f"{path} cannot be run: {type(error).__name__}: {error}") from error
    found = [value for value in vars(module).values() if isinstance(value, Task)]
    if not found:
        raise ValueError(f"{path} defines no Task; `se-numpy new-task NAME` writes a template")
    return found
