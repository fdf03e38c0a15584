"""The checks a verdict is made of: what was looked at, what was seen there, how many points that is."""

import re
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

from se_numpy.grading.compare import DOUBLE_OVER_SINGLE, EXACT, LENIENT, Verdict
from se_numpy.grading.diagnose import Tried
from se_numpy.grading.models import Check, Reply
from se_numpy.grading.task import Task

# Shares of a task's points; what a submission gets for manners it gets only if some values are right.
SHARES = {"shape": 1.0, "dtype": 0.5, "values": 5.0, "special cases": 1.5, "inputs untouched": 0.5, "repeatable": 0.5,
          "extremes": 1.0}  # fmt: skip


class _Seen(NamedTuple):
    """One check before it has points; ``where`` is the case that the text is of, if it is of one."""

    name: str
    share: float
    passed: bool | None
    text: str = ""
    where: str = ""
    error: float | None = None


Judged = Sequence[tuple[Tried, list[Verdict] | None]]


def checks_of(
    task: Task, tried: Sequence[Tried], verdicts: Sequence[list[Verdict] | None], again: Reply, max_points: float
) -> list[Check]:
    """Every check of a task with its points; ``again`` is a second answer to the first case."""
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


def hints_of(task: Task, tried: Sequence[Tried], verdicts: Sequence[list[Verdict] | None]) -> list[str]:
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
