"""Grade one function against one task.

``call(arguments, hyper)`` runs the submitted function, in this process or in a sandbox, and returns a Reply. The
results are compared here, as plain copies.
"""

import re
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from typing import Any

import numpy as np

from se_numpy.grading.checks import always_wrong_order, checks_of, hints_of, points_of
from se_numpy.grading.compare import Expected, Verdict, agree, compare, expect, wrong_number
from se_numpy.grading.diagnose import diagnose
from se_numpy.grading.layout import ours, theirs
from se_numpy.grading.models import ENDED, STATUSES, Counterexample, DeadlinePassed, Reply, TaskReport
from se_numpy.grading.probes import Tried
from se_numpy.grading.sandbox_worker import TAKES
from se_numpy.grading.search import smallest
from se_numpy.grading.task import Case, Task, attempt

Call = Callable[[Sequence[Any], Mapping[str, Any]], Reply]
Lines = Callable[[Task, Sequence[str]], Sequence[str]]  # from the names of the hyperparameters
SEARCH_SECONDS = 0.5

FOR_POINTS = "Passed checks give points only if the values of at least one output are right."


def grade_task(
    task: Task, call: Call, *, seed: int, layout: str = "NHWC", points: float | None = None,
    seconds: float = SEARCH_SECONDS, prepared: Sequence[Expected] | None = None,
    check_points: Mapping[str, float] | None = None, lines: Lines | None = None,
) -> TaskReport:  # fmt: skip
    """Grade one function and return its report.

    ``seconds`` limits the search for the smallest failing input; ``check_points`` are the points of some checks.
    ``lines`` returns Python that calls the function on variables named as in the signature, for a function in another
    form.

    Raises
    ------
    DeadlinePassed
        If ``call`` raises it before all checks have been made.
    """
    started, one = time.perf_counter(), _Counted(task, call, layout, lines or _plain)
    max_points = task.points if points is None else points
    cases = prepared if prepared is not None else prepare(task, seed)
    tried: list[Tried] = []
    for expected in cases:
        tried.append(Tried(expected, one(expected.case)))
        if tried[-1].reply.status in ENDED:
            break
    first = tried[0]
    report = TaskReport(
        task.name, task.title, task.equation, task.signature, "failed", 0.0, max_points,
        stdout=next((t.reply.stdout for t in tried if t.reply.stdout), ""),
    )  # fmt: skip
    ended = next((t.reply for t in tried if t.reply.status in ENDED), None)
    if ended is None and all(t.reply.status != "ok" for t in tried):
        ended = first.reply
    if ended is not None:
        status, message = ended.status, ended.message or STATUSES.get(ended.status, "")
        if status == "error" and message.startswith("NotImplementedError"):  # an unchanged stub
            status, message = "missing", f"{task.name} is not implemented yet: it raises NotImplementedError"
        return replace(report, status=status, message=message, seconds=time.perf_counter() - started, calls=one.calls)
    verdicts = [_judged(task, t.expected, t.reply) for t in tried]
    if not always_wrong_order(tried, verdicts):  # on some inputs, results may be equal or of equal shapes by chance
        verdicts = [_judged(task, t.expected, t.reply, order=False) for t in tried]
    again = one(first.expected.case)
    checks = tuple(checks_of(task, tried, verdicts, again, points_of(task, max_points, check_points)))
    hints = tuple(hints_of(task, tried, verdicts))
    if any(check.passed and check.max_points and not check.points for check in checks):
        hints += (FOR_POINTS,)
    total = round(sum(check.points for check in checks), 6)
    report = replace(report, checks=checks, points=total, hints=hints)
    if all(check.passed for check in checks):
        return replace(report, status="passed", seconds=time.perf_counter() - started, calls=one.calls)
    wrong = [v is None or not all(x.right and not x.shape for x in v) for v in verdicts]
    with suppress(DeadlinePassed):  # the points are known
        if any(wrong):
            diagnosis, features = diagnose(task, one, tried)
            report = replace(report, diagnosis=diagnosis, features=features)
        if any(w for t, w in zip(tried, wrong, strict=True) if not t.extreme):
            found = _counterexample(task, one, diagnosis.mistake if diagnosis else None, seed, seconds)
            report = replace(report, counterexample=found)
    return replace(report, seconds=time.perf_counter() - started, calls=one.calls)


def prepare(task: Task, seed: int) -> list[Expected]:
    """Return a task's cases with their correct results and tolerances."""
    return [expect(task, case) for case in task.cases(seed)]


class _Counted:
    """The submitted function, adapted to the library's layout, with a count of its calls."""

    def __init__(self, task: Task, call: Call, layout: str, lines: Lines) -> None:
        self.task, self.call, self.layout, self.lines, self.calls = task, call, layout, lines, 0

    def __call__(self, case: Case) -> Reply:
        self.calls += 1
        arguments = [self.to_theirs(name, value) for name, value in case.arguments.items()]
        reply = _with_details(self.task, case, self.call(arguments, case.hyper))
        if self.layout == "NHWC" or reply.status != "ok" or len(reply.outputs) != len(self.task.outputs):
            return reply
        names = zip(self.task.outputs, reply.outputs, strict=True)
        return replace(reply, outputs=tuple(ours(self.task, name, array, self.layout) for name, array in names))

    def to_theirs(self, name: str, value: Any) -> Any:
        value = value.copy() if isinstance(value, np.ndarray) else value
        return theirs(self.task, name, value, self.layout)


# What to write today, for messages of Python and NumPy that do not say it: a pattern and its advice.
ADVICE = {
    r"'float' object cannot be interpreted as an integer|indices must be integers|expected a sequence of integers":
        "in Python 3, / gives a float: write // for whole numbers",
    r"only (length-1|0-dimensional) arrays can be converted":
        "int() and float() take one number: write a.item() or a[0]",
    r"np\.mat\b|attribute 'mat'|to be a matrix": "use np.array, and @ for products of matrices",
    r"name 'xrange'": "write range",
    r"name '\w+' is not defined(?!.*left out)": "a function sees only its arguments and what its file defines",
    r"truth value of an array": "max, min, if, and, or take one number: use np.maximum, np.minimum, np.where, & or |",
}  # fmt: skip


def _with_details(task: Task, case: Case, reply: Reply) -> Reply:
    """Return the reply with the task's names, its shapes or advice added to its message."""
    more, message = "", reply.message
    values = re.match(r"value \d+ of (\d+)", message) if reply.status == "refused" else None
    if values and int(values[1]) != len(task.outputs):
        return replace(reply, message=wrong_number(task, f"{values[1]} values"))
    if reply.status == "error" and message.startswith(TAKES):
        more = f"; it is called with ({', '.join([*case.arguments, *case.hyper])})"
    elif reply.status == "error" and ("matmul" in message or "not aligned" in message):
        shapes = {name: task.letters(name) or () for name in task.inputs}
        flat = [f"{name} is ({', '.join(axes)})" for name, axes in shapes.items() if len(axes) == 2]
        more = f"; {', '.join(flat)}".replace("R", "C/r") if flat else ""
    elif reply.status == "error":
        more = next((f"; {advice}" for pattern, advice in ADVICE.items() if re.search(pattern, message)), "")
    elif reply.status == "refused" and message.endswith(("missing?", "one by one")) and len(task.outputs) > 1:
        more = f"{' Expected' if message.endswith('?') else ', as in'}: return {', '.join(task.outputs)}"
    return replace(reply, message=message + more) if more else reply


def _judged(task: Task, expected: Expected, reply: Reply, order: bool = True) -> list[Verdict] | None:
    return compare(task, expected, reply.outputs, reply.listed, order) if reply.status == "ok" else None


def _counterexample(task: Task, one: _Counted, mistake: str | None, seed: int, seconds: float) -> Counterexample | None:
    rivals = [m.wrong for m in task.mistakes if m.name != mistake]

    def fails(case: Case) -> bool:
        return bool(_problem(task, expect(task, case), one(case)))

    def is_distinctive(case: Case) -> bool:
        """Return True if the submission is wrong here and no other known mistake gives its results."""
        expected, reply = expect(task, case), one(case)
        if not _problem(task, expected, reply):
            return False
        if reply.status != "ok":
            return True
        others = (attempt(task, case, wrong) for wrong in rivals)
        return not any(o is not None and agree(reply.outputs, o, expected.tolerances) for o in others)

    case = smallest(task, is_distinctive, seed=seed, seconds=seconds)
    if case is None:
        case = smallest(task, fails, seed=seed, seconds=seconds / 2)
    if case is None:
        return None
    expected, reply = expect(task, case), one(case)
    names, layout = task.outputs, one.layout
    got = dict(zip(names, reply.outputs, strict=False)) if reply.status == "ok" else {}
    show = {k: one.to_theirs(k, v) for k, v in {**case.arguments, **case.hyper}.items()}
    return Counterexample(
        show,
        {k: theirs(task, k, v, layout) for k, v in zip(names, expected.right, strict=True)},
        {k: theirs(task, k, v, layout) for k, v in got.items()},
        _problem(task, expected, reply),
        _repro(task, case, one),
    )


def _problem(task: Task, expected: Expected, reply: Reply) -> str:
    """Return the first error message about a reply, or ""."""
    verdicts = _judged(task, expected, reply)
    if verdicts is None:
        return reply.message or STATUSES.get(reply.status, reply.status)
    for verdict in verdicts:
        if verdict.shape or verdict.values:
            return verdict.shape or verdict.values
    return ""


def _repro(task: Task, case: Case, one: _Counted) -> str:
    """Return Python lines that reproduce the failure when pasted below the function."""
    lines = ["import numpy as np"]
    for name, value in case.arguments.items():
        value = one.to_theirs(name, value)
        if isinstance(value, np.ndarray):
            text = " ".join(np.array2string(value, separator=", ", threshold=10**6).split())
        else:
            text = repr(value)
        whole = isinstance(value, np.ndarray) and value.dtype.kind == "f"
        lines.append(f"{name} = np.array({text}, float)" if whole else f"{name} = np.array({text})"
                     if isinstance(value, np.ndarray) else f"{name} = {text}")  # fmt: skip
    lines += [f"{name} = {value!r}" for name, value in case.hyper.items()]
    return "\n".join([*lines, *one.lines(task, list(case.hyper))])


def _plain(task: Task, hyper: Sequence[str]) -> list[str]:
    return [f"print({task.name}({', '.join([*task.inputs, *(f'{name}={name}' for name in hyper)])}))"]
