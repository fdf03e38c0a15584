"""The checks of a task: shape, dtype, values, special cases and the rest, each with its message and points."""

import re
from collections.abc import Mapping, Sequence
from difflib import get_close_matches
from typing import NamedTuple

import numpy as np

from se_numpy.grading.compare import DOUBLE_OVER_SINGLE, EXACT, LENIENT, Verdict
from se_numpy.grading.models import Check, Reply
from se_numpy.grading.probes import Tried
from se_numpy.grading.task import Task

# Shares of a task's points; checks other than values count only if the values of at least one output are right.
SHARES = {"shape": 1.0, "dtype": 0.5, "values": 5.0, "special cases": 1.5, "inputs untouched": 0.5, "repeatable": 0.5,
          "extremes": 1.0}  # fmt: skip


COPY = "work on a copy, for example x = x.copy(), and write y = y + 1 in place of y += 1"


class _Outcome(NamedTuple):
    """A check before its points are assigned; ``where`` names the case that ``text`` is about, if any."""

    name: str
    passed: bool | None
    text: str = ""
    where: str = ""
    error: float | None = None
    right: float | None = None  # the share of inputs answered rightly; by default 1 or 0, as ``passed`` says

    @property
    def earned(self) -> float:
        return float(self.passed or 0) if self.right is None else self.right


def shares_of(task: Task) -> dict[str, float]:
    """Return the checks of a task, each with its share of the points."""
    outputs = [f"values of {name}" for name in task.outputs]
    shares = {"shape": SHARES["shape"], "dtype": SHARES["dtype"]}
    shares |= dict.fromkeys(outputs, SHARES["values"] / len(outputs))
    shares |= {"special cases": SHARES["special cases"]} if task.specials else {}
    shares |= {"extremes": SHARES["extremes"]} if task.extremes else {}
    return shares | {name: SHARES[name] for name in ("inputs untouched", "repeatable")}


def checks_named(task: Task, name: str) -> list[str]:
    """Return the checks that a name stands for: "values" stands for those of all outputs.

    Raises
    ------
    ValueError
        If the task has no such check; the message suggests the nearest one.
    """
    checks = list(shares_of(task))
    if name == "values":
        return [check for check in checks if check.startswith("values of ")]
    if name not in checks:
        known = ["values", *checks]
        near = get_close_matches(name, known, n=1)
        hint = f"did you mean {near[0]!r}?" if near else f"expected one of {', '.join(known)}"
        raise ValueError(f"{task.name} has no check {name!r}; {hint}")
    return [name]


def points_of(task: Task, max_points: float, fixed: Mapping[str, float] | None = None) -> dict[str, float]:
    """Return the points of each check.  Those that are not fixed share the rest as ``SHARES`` says.

    Raises
    ------
    ValueError
        If a fixed check does not exist, or the fixed points and the task's do not fit together.
    """
    points: dict[str, float] = {}
    for name, most in (fixed or {}).items():
        checks = checks_named(task, name)
        points |= dict.fromkeys(checks, most / len(checks))
    shares = shares_of(task)
    left = {name: share for name, share in shares.items() if name not in points}
    rest = max_points - sum(points.values())
    if rest < -1e-9 or (rest > 1e-9 and not left):
        raise ValueError(f"the checks of {task.name} have {sum(points.values()):g} points and the task has "
                         f"{max_points:g}; expected the same sum, or a smaller one and other checks")  # fmt: skip
    whole = sum(left.values()) or 1.0
    return {name: points.get(name, max(0.0, rest) * share / whole) for name, share in shares.items()}


Judged = Sequence[tuple[Tried, list[Verdict] | None]]


def checks_of(
    task: Task, tried: Sequence[Tried], verdicts: Sequence[list[Verdict] | None], again: Reply,
    points: Mapping[str, float],
) -> list[Check]:  # fmt: skip
    """Return every check of a task with its points; ``again`` is a second reply to the first case.

    ``points`` maps each check to the most points that it gives, as ``points_of`` does.
    """
    kinds: dict[str, list[tuple[Tried, list[Verdict] | None]]] = {}
    for call, verdict in zip(tried, verdicts, strict=True):
        kinds.setdefault(call.expected.case.kind, []).append((call, verdict))
    seen = [*_check_values(task, kinds.get("random", [])), *_check_kinds(kinds)]
    answered = any(v is not None for _, v in kinds.get("random", []))
    seen += _check_side_effects(task, tried, again, answered)
    values_right = any(one.earned for one in seen if one.name.startswith("values"))
    reported: dict[str, str] = {}  # text -> the first check with that text, to which the others refer
    checks = []
    for one in seen:
        # Exception messages are compared without digits, because sizes differ between inputs.
        first = reported.setdefault(re.sub(r"\d+", "", one.text) if "(line " in one.text else one.text, one.name)
        text = one.text if first == one.name or not one.text else f"same as {first}"
        most = points[one.name]
        earned = most * one.earned if values_right or one.name.startswith("values") else 0.0
        message = f"{one.where}: {text}" if one.where else text
        checks.append(Check(one.name, earned, most, one.passed, message, one.error))
    return checks


def _check_values(task: Task, random: Judged) -> list[_Outcome]:
    """Check shapes, dtypes and values on random inputs."""
    failed = next((t for t, v in random if v is None), None)
    known = [v for _, v in random if v is not None]
    raised = (failed.reply.message, failed.expected.case.name) if failed else ("", "")

    def first(what: str, outputs: Sequence[int]) -> str:
        return next((text for k in outputs for v in known if (text := getattr(v[k], what))), "")

    every, found = range(len(task.outputs)), []
    for what in ("shape", "dtype"):  # of the calls that returned; the others had none
        text = first(what, every)
        found.append(_Outcome(what, not text if known else None, text))
    for k, name in enumerate(task.outputs):
        right = [v is not None and v[k].error <= 1 for _, v in random]
        text = first("values", [k])
        message = (text, "") if text else raised
        error = max((v[k].error for v in known), default=None)
        found.append(_Outcome(f"values of {name}", all(right), *message, error,
                              sum(right) / max(1, len(right))))  # fmt: skip
    return found


def _check_kinds(kinds: Mapping[str, Judged]) -> list[_Outcome]:
    """Check special cases and extremes, if the task has any."""
    found = []
    for kind, name in (("special", "special cases"), ("extreme", "extremes")):
        if kind in kinds:
            worst = [_worst(t, v) for t, v in kinds[kind]]
            text, where = next(((text, where) for text, where, _ in worst if text), ("", ""))
            right = sum(not text for text, *_ in worst) / len(worst)
            found.append(_Outcome(name, not text, text, where, max(error for *_, error in worst), right))
    return found


def _check_side_effects(task: Task, tried: Sequence[Tried], again: Reply, answered: bool) -> list[_Outcome]:
    """Check that inputs are unchanged and repeated calls return the same result; skipped if no call succeeded."""
    if not answered:
        return [_Outcome(name, None) for name in ("inputs untouched", "repeatable")]
    written = sorted({n for t in tried if t.reply.status == "ok" for n in t.reply.mutated})
    names = [task.inputs[n] for n in written if n < len(task.inputs)]
    inputs = f"input{'s' * (len(names) > 1)} {', '.join(names)}"
    text = f"the function modified its {inputs}; the caller still needs the old values; {COPY}" if names else ""
    same = tried[0].reply.status == again.status and _repeated(tried[0], again)
    twice = "" if same else "two calls with the same input returned different results"
    return [
        _Outcome("inputs untouched", not text, text),
        _Outcome("repeatable", same, twice),
    ]


def always_wrong_order(tried: Sequence[Tried], verdicts: Sequence[list[Verdict] | None]) -> bool:
    """Return True if the outputs are in the wrong order on every random input that can tell.

    If two results have the same shape, or one has the other's shape transposed, an input may not tell.
    """
    claims = [
        (len({tuple(sorted(array.shape)) for array in one.expected.right}) == len(v),
         any("wrong order" in output.values for output in v))
        for one, v in zip(tried, verdicts, strict=True)
        if one.expected.case.kind == "random" and v and any(output.shape or not output.right for output in v)
    ]  # fmt: skip
    telling = [claim for tells, claim in claims if tells] or [claim for _, claim in claims]
    return bool(telling) and all(telling)


def _repeated(before: Tried, again: Reply) -> bool:
    """Return True if two replies to the same input are equal to within double-precision rounding."""
    if len(before.reply.outputs) != len(again.outputs):
        return False
    for a, b, tolerance in zip(before.reply.outputs, again.outputs, before.expected.tolerances, strict=False):
        if a.shape != b.shape or not np.allclose(a, b, 0, tolerance * DOUBLE_OVER_SINGLE, equal_nan=True):
            return False
    return True


def _worst(one: Tried, verdicts: list[Verdict] | None) -> tuple[str, str, float]:
    """Return the message, name and error of a failed special case, or ("", "", error) for a passed one."""
    name = one.expected.case.name
    if verdicts is None:
        return one.reply.message, name, np.inf
    bad = next((v for v in verdicts if v.values or v.shape), None)
    if bad is not None and one.expected.case.kind == "extreme" and not bad.shape and bad.error < LENIENT:
        bad = None  # for extremes the tolerance is LENIENT times as large
    error = max(v.error for v in verdicts)
    return (bad.shape or bad.values, name, error) if bad else ("", "", min(error, 1.0))


def hints_of(task: Task, tried: Sequence[Tried], verdicts: Sequence[list[Verdict] | None]) -> list[str]:
    """Return remarks, which cost no points, about outputs that are right only to single precision.

    A submission that fails an extreme case gets no remarks, because its errors have another cause.
    """
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
    return [f"{', '.join(single)} {verb} right only to single precision: an intermediate result is float32."]
