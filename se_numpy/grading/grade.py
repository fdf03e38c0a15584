"""One task, one submission, one verdict.

``call(arguments, hyper)`` runs the submitted function somewhere and brings back a Reply; where and how safely is not
known here. Everything is compared here, on plain copies.
"""

import re
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np

from se_numpy.grading.diagnose import Tried, features, known_mistake
from se_numpy.grading.judge import DOUBLE_OVER_SINGLE, EXACT, LENIENT, Expected, Verdict, agree, expect, judge
from se_numpy.grading.layout import ours, theirs
from se_numpy.grading.record import STATUSES, Check, Counterexample, Reply, TaskReport
from se_numpy.grading.runner import TAKES
from se_numpy.grading.search import smallest
from se_numpy.grading.task import Case, Task, attempt

Call = Callable[[Sequence[Any], Mapping[str, Any]], Reply]
SEARCH_SECONDS = 0.5
ENDED = ("timeout", "memory", "crashed", "missing", "unreadable")  # a call that ended so is not worth a second one

FOR_POINTS = "What is ok gives points as soon as the values of one output are right."

# Shares of a task's points; what a submission gets for manners it gets only if some values are right.
SHARES = {"shape": 1.0, "dtype": 0.5, "values": 5.0, "special cases": 1.5, "inputs untouched": 0.5, "repeatable": 0.5,
          "extremes": 1.0}  # fmt: skip


def grade_task(
    task: Task, call: Call, *, seed: int, layout: str = "NHWC", points: float | None = None,
    seconds: float = SEARCH_SECONDS, prepared: Sequence[Expected] | None = None,
) -> TaskReport:  # fmt: skip
    """The verdict on one function.  ``seconds`` is how long the smallest failing input may be looked for."""
    started, one = time.perf_counter(), _Counted(task, call, layout)
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
        if status == "error" and message.startswith("NotImplementedError"):  # a stub, as it came
            status, message = "missing", f"{task.name} is still to be written: it raises NotImplementedError"
        return replace(report, status=status, message=message, seconds=time.perf_counter() - started, calls=one.calls)
    verdicts = [_judged(task, t.expected, t.reply) for t in tried]
    again = one(first.expected.case)
    checks = tuple(_checks(task, tried, verdicts, again, max_points))
    hints = tuple(_hints(task, tried, verdicts))
    if any(check.passed and not check.points for check in checks):
        hints += (FOR_POINTS,)
    total = round(sum(check.points for check in checks), 6)
    report = replace(report, checks=checks, points=total, hints=hints)
    if all(check.passed for check in checks):
        return replace(report, status="passed", seconds=time.perf_counter() - started, calls=one.calls)
    diagnosis = known_mistake(task, tried)
    usual = [t for t in tried if t.expected.case.kind != "extreme"]
    wrong = any(v is None or not all(x.right for x in v) for v in verdicts[: len(usual)])
    report = replace(report, diagnosis=diagnosis)
    if wrong:
        found = _counterexample(task, one, diagnosis.mistake if diagnosis else None, seed, seconds)
        more = () if diagnosis else tuple(features(task, usual))
        report = replace(report, counterexample=found, features=more)
    return replace(report, seconds=time.perf_counter() - started, calls=one.calls)


def prepare(task: Task, seed: int) -> list[Expected]:
    """The cases of a task with their answers."""
    return [expect(task, case) for case in task.cases(seed)]


class _Counted:
    """The submission's function in our layout, and how often it was called."""

    def __init__(self, task: Task, call: Call, layout: str) -> None:
        self.task, self.call, self.layout, self.calls = task, call, layout, 0

    def __call__(self, case: Case) -> Reply:
        self.calls += 1
        arguments = [self.to_theirs(name, value) for name, value in case.arguments.items()]
        reply = _explained(self.task, case, self.call(arguments, case.hyper))
        if self.layout == "NHWC" or reply.status != "ok" or len(reply.outputs) != len(self.task.outputs):
            return reply
        names = zip(self.task.outputs, reply.outputs, strict=True)
        return replace(reply, outputs=tuple(ours(self.task, name, array, self.layout) for name, array in names))

    def to_theirs(self, name: str, value: Any) -> Any:
        value = value.copy() if isinstance(value, np.ndarray) else value
        return theirs(self.task, name, value, self.layout)


def _explained(task: Task, case: Case, reply: Reply) -> Reply:
    """The reply, its message with what the task alone knows: names and shapes."""
    more, message = "", reply.message
    if reply.status == "error" and message.startswith(TAKES):
        more = f"; it is called with ({', '.join([*case.arguments, *case.hyper])})"
    elif reply.status == "error" and ("matmul" in message or "not aligned" in message):
        shapes = {name: task.letters(name) or () for name in task.inputs}
        flat = [f"{name} is ({', '.join(axes)})" for name, axes in shapes.items() if len(axes) == 2]
        more = f"; {', '.join(flat)}".replace("R", "C/r") if flat else ""
    elif reply.status == "refused" and message.endswith(("missing?", "one by one")) and len(task.outputs) > 1:
        more = f"{' Expected' if message.endswith('?') else ', as in'}: return {', '.join(task.outputs)}"
    return replace(reply, message=message + more) if more else reply


def _judged(task: Task, expected: Expected, reply: Reply) -> list[Verdict] | None:
    return judge(task, expected, reply.outputs, reply.listed) if reply.status == "ok" else None


class _Seen(NamedTuple):
    """One check before it has points; ``where`` is the case that the text is of, if it is of one."""

    name: str
    share: float
    passed: bool | None
    text: str = ""
    where: str = ""
    error: float | None = None


Judged = Sequence[tuple[Tried, list[Verdict] | None]]


def _checks(
    task: Task, tried: Sequence[Tried], verdicts: Sequence[list[Verdict] | None], again: Reply, max_points: float
) -> list[Check]:
    kinds: dict[str, list[tuple[Tried, list[Verdict] | None]]] = {}
    for call, verdict in zip(tried, verdicts, strict=True):
        kinds.setdefault(call.expected.case.kind, []).append((call, verdict))
    seen = [*_values_seen(task, kinds.get("random", [])), *_kinds_seen(kinds)]
    answered = any(v is not None for _, v in kinds.get("random", []))
    seen += _manners_seen(task, tried, again, answered)
    values_right = any(one.passed for one in seen if one.name.startswith("values"))
    whole = sum(one.share for one in seen)
    told: dict[str, str] = {}  # text -> the check that tells it; the others refer to that
    checks = []
    for one in seen:
        # Of an exception, whose sizes change from input to input, only the words count.
        first = told.setdefault(re.sub(r"\d+", "", one.text) if "(line " in one.text else one.text, one.name)
        text = one.text if first == one.name or not one.text else f"as for {first}"
        most = max_points * one.share / whole
        earned = most if one.passed and (values_right or one.name.startswith("values")) else 0.0
        message = f"{one.where}: {text}" if one.where else text
        checks.append(Check(one.name, earned, most, one.passed, message, one.error))
    return checks


def _values_seen(task: Task, random: Judged) -> list[_Seen]:
    """Shapes, dtypes and values on random inputs."""
    failed = next((t for t, v in random if v is None), None)
    known = [v for _, v in random if v is not None]
    raised = (failed.reply.message, failed.expected.case.name) if failed else ("", "")

    def first(what: str, outputs: Sequence[int]) -> tuple[str, str]:
        return next(((text, "") for k in outputs for v in known if (text := getattr(v[k], what))), raised)

    every = range(len(task.outputs))
    said = first("shape", every)
    found = [_Seen("shape", SHARES["shape"], not said[0], *said)]
    said = first("dtype", every)
    found.append(_Seen("dtype", SHARES["dtype"], not said[0] if known else None, *(said if known else ())))
    for k, name in enumerate(task.outputs):
        name, share = f"values of {name}", SHARES["values"] / len(task.outputs)
        if not known:
            found.append(_Seen(name, share, None))
            continue
        error = max(v[k].error for v in known)
        found.append(_Seen(name, share, error <= 1 and not failed, *first("values", [k]), error))
    return found


def _kinds_seen(kinds: Mapping[str, Judged]) -> list[_Seen]:
    """Special cases and extremes, where the task has some."""
    found = []
    for kind, name in (("special", "special cases"), ("extreme", "extremes")):
        if kind in kinds:
            worst = [_worst(t, v) for t, v in kinds[kind]]
            text, where = next(((text, where) for text, where, _ in worst if text), ("", ""))
            found.append(_Seen(name, SHARES[name], not text, text, where, max(error for *_, error in worst)))
    return found


def _manners_seen(task: Task, tried: Sequence[Tried], again: Reply, answered: bool) -> list[_Seen]:
    """Whether inputs stay and answers repeat; not looked at where there was no answer."""
    if not answered:
        return [_Seen(name, SHARES[name], None) for name in ("inputs untouched", "repeatable")]
    written = sorted({n for t in tried if t.reply.status == "ok" for n in t.reply.mutated})
    names = [task.inputs[n] for n in written if n < len(task.inputs)]
    text = f"{', '.join(names)} changed: the caller needs it as it was; work on a copy" if names else ""
    same = tried[0].reply.status == again.status and _repeated(tried[0], again)
    twice = "" if same else "the same input gave another answer the second time"
    return [
        _Seen("inputs untouched", SHARES["inputs untouched"], not text, text),
        _Seen("repeatable", SHARES["repeatable"], same, twice),
    ]


def _repeated(before: Tried, again: Reply) -> bool:
    """Whether two answers to one input are the same but for the last bits of double precision."""
    if len(before.reply.outputs) != len(again.outputs):
        return False
    for a, b, tolerance in zip(before.reply.outputs, again.outputs, before.expected.tolerances, strict=False):
        if a.shape != b.shape or not np.allclose(a, b, 0, tolerance * DOUBLE_OVER_SINGLE, equal_nan=True):
            return False
    return True


def _worst(one: Tried, verdicts: list[Verdict] | None) -> tuple[str, str, float]:
    """What is wrong with a special case, its name, and by how much; ("", "", error) where nothing is."""
    name = one.expected.case.name
    if verdicts is None:
        return one.reply.message, name, np.inf
    bad = next((v for v in verdicts if v.values or v.shape), None)
    if bad is not None and one.expected.case.kind == "extreme" and not bad.shape and bad.error < LENIENT:
        bad = None  # far out only finite numbers and six digits are asked for
    error = max(v.error for v in verdicts)
    return (bad.shape or bad.values, name, error) if bad else ("", "", min(error, 1.0))


def _hints(task: Task, tried: Sequence[Tried], verdicts: Sequence[list[Verdict] | None]) -> list[str]:
    """What is worth knowing and costs nothing; nothing of a submission that is wrong far out, for another reason."""
    pairs = list(zip(tried, verdicts, strict=True))
    far = [one.error for t, v in pairs if v and t.expected.case.kind == "extreme" for one in v]
    if not all(error <= LENIENT for error in far):
        return []
    single = []
    for k, name in enumerate(task.outputs):
        errors = [v[k].error for t, v in pairs if v and t.expected.case.kind != "extreme"]
        if errors and EXACT < max(errors) <= 1:
            single.append(name)
    if not single:
        return []
    verb = "is" if len(single) == 1 else "are"
    return [f"{', '.join(single)} {verb} right in single precision: somewhere inside numbers became float32."]


def _counterexample(task: Task, one: _Counted, mistake: str | None, seed: int, seconds: float) -> Counterexample | None:
    rivals = [m.wrong for m in task.mistakes if m.name != mistake]

    def fails(case: Case) -> bool:
        return bool(_problem(task, expect(task, case), one(case)))

    def tells(case: Case) -> bool:
        """Whether the submission is wrong here as no other known mistake is."""
        expected, reply = expect(task, case), one(case)
        if not _problem(task, expected, reply):
            return False
        if reply.status != "ok":
            return True
        others = (attempt(task, case, wrong) for wrong in rivals)
        return not any(o is not None and agree(reply.outputs, o, expected.tolerances) for o in others)

    case = smallest(task, tells, seed=seed, seconds=seconds)
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
    """What is wrong with one answer, or ""."""
    verdicts = _judged(task, expected, reply)
    if verdicts is None:
        return reply.message or STATUSES.get(reply.status, reply.status)
    for verdict in verdicts:
        if verdict.shape or verdict.values:
            return verdict.shape or verdict.values
    return ""


def _repro(task: Task, case: Case, one: _Counted) -> str:
    """Lines of Python that show the difference, for below the function."""
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
    given = ", ".join([*case.arguments, *(f"{k}={v}" for k, v in case.hyper.items())])
    lines.append(f"print({task.name}({given}))")
    return "\n".join(lines)
