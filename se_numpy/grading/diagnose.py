"""Diagnose wrong submissions: a known mistake, or sentences that hold for all wrong results.

A wrong sentence does more harm than none, so each is tried on the probes, which are the same on every seed, and on the
graded inputs; conditions are also tried on fresh inputs. Calls that raise count as wrong. FEATURES is the table of
sentences about one output, in the order in which they are tried.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np

from se_numpy.grading.compare import SINGLE, agree, compare
from se_numpy.grading.conditions import is_right, tell_condition
from se_numpy.grading.explain import (
    OPERATORS,
    RESULTS,
    Explanation,
    Function,
    Predictions,
    agrees,
    explanations,
    factor_text,
    factors,
    fit,
    is_informative,
    ratio,
)
from se_numpy.grading.models import Diagnosis, Reply
from se_numpy.grading.probes import ENOUGH, OutOfTrials, Trials, Tried, probes, redrawn
from se_numpy.grading.task import Case, Task

SECONDS = 10.0  # after this time in the submission's calls, nothing further is tried
INFORMATIVE = 2  # the least number of inputs on which an explanation must be wrong
ArrayChange = Callable[[np.ndarray], np.ndarray]
ResultChange = Callable[[np.ndarray, Case], np.ndarray]
MANY_WRONG = 10  # the least number of wrong results that a sentence in FEATURES is read off
_TASKS: dict[int, tuple[Task, list[Explanation], Predictions]] = {}


def diagnose(
    task: Task, one: Callable[[Case], Reply], tried: Sequence[Tried], seconds: float = SECONDS
) -> tuple[Diagnosis | None, tuple[str, ...]]:
    """Return the known mistake that a submission makes, or None with sentences about its wrong results.

    ``tried`` are its graded calls; ``one`` calls it on further inputs.
    """
    try:
        evidence = Evidence(task, Trials(task, one, seconds), tried)
    except OutOfTrials:
        return None, ()
    found = known_mistake(evidence)
    return found, () if found else tuple(features(evidence))


class Evidence:
    """A submission's replies to the probes and to the graded inputs."""

    def __init__(self, task: Task, trials: Trials, tried: Sequence[Tried]) -> None:
        if id(task) not in _TASKS:
            _TASKS[id(task)] = task, explanations(task), Predictions(task)
        self.task, self.trials, self.graded = task, trials, list(tried)
        _, self.explanations, self.predictions = _TASKS[id(task)]
        self.probes = [trials(expected) for expected in probes(task)]
        # Wrong results tell explanations apart, so they come first.
        self.probes.sort(key=lambda one: (one.found is None, one.extreme, is_right(task, one)))

    def predict(self, function: Function, one: Tried, keep: bool = True) -> tuple[np.ndarray, ...] | None:
        return self.predictions(function, one.expected, keep)

    def everything(self) -> list[Tried]:
        return self.probes + self.graded

    def usual(self) -> list[Tried]:
        return [one for one in self.everything() if not one.extreme]


# ------------------------------------------------------------------------------------------------ known mistakes


def known_mistake(evidence: Evidence) -> Diagnosis | None:
    """Return the mistake whose results equal the submission's on all inputs, or None."""
    for explanation in evidence.explanations:
        mistake = explanation.mistake
        if mistake is None:
            continue
        for function in (mistake.wrong, *mistake.also):
            count = _agreed(evidence, function, None)
            if count:
                return Diagnosis(mistake.name, mistake.text, mistake.equation or evidence.task.equation, count, count)
    for explanation in evidence.explanations:
        if (mistake := explanation.mistake) is None or mistake.family is None:
            continue
        for function in fit(evidence.predictions, mistake.family, evidence.probes, None):
            count = _agreed(evidence, function, None, keep=False)
            if count:
                return Diagnosis(mistake.name, mistake.text, mistake.equation or evidence.task.equation, count, count)
    return None


def _agreed(evidence: Evidence, function: Function, k: int | None, keep: bool = True) -> int:
    """Count the inputs on which ``function`` is wrong; return 0 if the submission differs from it on any input."""
    count = 0
    for one in evidence.everything():
        theirs = evidence.predict(function, one, keep)
        if not agrees(evidence.task, theirs, one, k):
            return 0
        count += is_informative(evidence.task, theirs, one, k)
    return count if count >= INFORMATIVE else 0


# ---------------------------------------------------------------------------------------------------- features


@dataclass(frozen=True)
class Pair:
    """One output of one call with the correct result."""

    found: np.ndarray
    right: np.ndarray
    one: Tried
    letters: tuple[str, ...]

    @property
    def wrong(self) -> bool:
        return not _close(self.found, self.right)


@dataclass(frozen=True)
class Feature:
    """A sentence about one output that is said if ``holds`` is true for every pair of results.

    Extremes are left out; ``wrong`` leaves out the pairs that are right too.
    """

    sentence: str
    holds: Callable[[Pair], bool]
    wrong: bool = True


def features(evidence: Evidence) -> list[str]:
    """Return up to four sentences, the most informative first."""
    task = evidence.task
    sentences: list[str] = []
    usual = evidence.usual()
    wrong_names, explained = [], 0
    told: dict[str, list[str]] = {}
    for k, name in enumerate(task.outputs):
        if all(_is_right(task, one, k) for one in usual):
            continue
        wrong_names.append(name)
        about, whole = _explained(evidence, k)
        explained += whole
        if about:
            told.setdefault(about, []).append(name)
    for about, names in told.items():
        one = len(names) == 1
        about = about.replace("{is}", "is" if one else "are").replace("{differs}", "differs" if one else "differ")
        sentences.append(about.replace("{names}", _joined(names)))
    if 0 < len(wrong_names) < len(task.outputs):
        fine = [n for n in task.outputs if n not in wrong_names]
        sentences.append(f"{_joined(fine)} {'is' if len(fine) == 1 else 'are'} right on every input")
    try:
        if not told and (ignored := _ignored(evidence)):
            sentences.append(ignored)
        if explained < len(wrong_names) and (condition := tell_condition(task, evidence.trials, usual)):
            sentences.append(condition)
    except OutOfTrials:
        pass
    return sentences[:4]


def _ignored(evidence: Evidence) -> str:
    """Return a sentence if the results do not depend on an argument that the correct results depend on, or ""."""
    task = evidence.task
    for name in task.inputs:
        if task.letters(name) is None:
            continue
        pairs = zip(probes(task), redrawn(task, name), strict=False)
        matters = number = 0
        for before, after in pairs:
            if before.case.kind == "extreme":
                continue
            number += 1
            old, new = evidence.trials(before).found, evidence.trials(after).found
            if old is None or new is None or not agree(old, new, before.tolerances):
                break
            matters += not agree(before.right, after.right, before.tolerances)
        else:
            if number >= ENOUGH and matters >= ENOUGH / 2:
                return f"the results do not depend on {name}"
    return ""


def _is_right(task: Task, one: Tried, k: int) -> bool:
    if one.found is None or len(one.found) != len(task.outputs):
        return False
    verdict = compare(task, one.expected, one.found, one.reply.listed)[k]
    return verdict.right and not verdict.shape


def _explained(evidence: Evidence, k: int) -> tuple[str, bool]:
    """Return a sentence about one output, or "", and whether it explains every wrong result."""
    task = evidence.task
    first = next((one for one in evidence.probes if one.found is not None and len(one.found) == len(task.outputs)
                  and not one.extreme and not _is_right(task, one, k)), None)  # fmt: skip
    if first is None:
        return "", False
    correct = Explanation("the correct result", task.oracle)
    for find in (
        lambda: _changed_result(evidence, k, first, [correct], {}),
        lambda: _first_feature(evidence, k, SIMPLE),
        lambda: _unchanged(evidence, k, first),
        lambda: _fitted(evidence, k),
        lambda: _changed_result(evidence, k, first, [correct, *evidence.explanations], RESULTS),
        lambda: _first_feature(evidence, k, FEATURES) or _right_part(evidence, k),
    ):
        if found := find():
            return found, "right" not in found and "amount" not in found
    return "", False


def _unchanged(evidence: Evidence, k: int, first: Tried) -> str:
    """Return the first explanation whose k-th result equals the submission's, or ""."""
    several = len(evidence.task.outputs) > 1
    for explanation in evidence.explanations:
        if explanation.mistake and not several:
            continue
        for function in (explanation.function, *(explanation.mistake.also if explanation.mistake else ())):
            if agrees(evidence.task, evidence.predict(function, first), first, k) and _agreed(evidence, function, k):
                return _sentence(explanation)
    return ""


def _fitted(evidence: Evidence, k: int) -> str:
    """Return the first family with a member whose k-th result equals the submission's, or ""."""
    several = len(evidence.task.outputs) > 1
    for explanation in evidence.explanations:
        if explanation.family is None or (explanation.mistake and not several):
            continue
        for function in fit(evidence.predictions, explanation.family, evidence.probes, k):
            if _agreed(evidence, function, k, keep=False):
                return _sentence(explanation)
    return ""


def _sentence(explanation: Explanation) -> str:
    if explanation.mistake is None:
        return f"{{names}} {{is}} {explanation.about}"
    return f"{{names}} {{is}} what this mistake gives: {explanation.mistake.text.rstrip('.')}"


def _changed_result(
    evidence: Evidence, k: int, first: Tried, bases: Sequence[Explanation], table: Mapping[str, ArrayChange]
) -> str:
    """Return a sentence if an output is a multiple of the result of an explanation, or a function in the table."""
    task = evidence.task
    for explanation in bases:
        base = evidence.predict(explanation.function, first)
        if base is None or len(base) != len(task.outputs) or first.found is None:
            continue
        if explanation.function is not task.oracle and any(
            right.shape == base[k].shape and _close(base[k], right) for right in first.expected.right
        ):
            continue  # this mistake leaves the output as it is, or exchanges it with another
        plain = explanation.function is task.oracle or explanation.mistake is not None
        for about, change in _results(task, base[k], first, k, table if plain else {}):
            if all(_agrees_changed(evidence, explanation.function, change, one, k) for one in evidence.everything()):
                return f"{{names}} {{is}} {_told(about, explanation)}"
    return ""


def _told(about: str, explanation: Explanation) -> str:
    if explanation.mistake is None:
        return about.format(explanation.about)
    return f"{about.format('the result of this mistake')}: {explanation.mistake.text.rstrip('.')}"


def _results(
    task: Task, base: np.ndarray, first: Tried, k: int, table: Mapping[str, ArrayChange]
) -> list[tuple[str, ResultChange]]:
    """Return the changes of a result that agree with the submission on its first wrong result."""
    assert first.found is not None
    found = first.found[k].astype(np.float64)
    alike: list[tuple[str, ResultChange]] = []
    r = ratio(found, base) if found.size > 1 or found.ndim == 0 else None
    if r is not None and abs(r - 1) > 1e-6:
        for name, value in factors(task, first.expected.case.sizes).items():
            if abs(value - r) <= 2e-5 * abs(r):
                alike.append((factor_text(name), partial(_times, task=task, name=name)))
        alike.append((f"{r:.4g} times {{}}", partial(_times_constant, r=float(f"{r:.4g}"))))
        alike = alike[:6]
    for about, change in table.items():
        changed = _applied(change, base)
        if changed is not None and _agree(found, changed, first, k):
            alike.append((about, partial(_apply, change=change)))
    for about, combine in _with_arguments(task, k) if table else ():
        changed = _applied_to(combine, base, first.expected.case)
        if changed is not None and _agree(found, changed, first, k):
            alike.append((about, combine))
    return alike


def _with_arguments(task: Task, k: int) -> list[tuple[str, ResultChange]]:
    """Return the sums and products of a result with the arguments of its shape."""
    letters = task.letters(task.outputs[k])
    return [(f"{{}} {sign} {name}", partial(_combine, name=name, operator=operator))
            for name in task.inputs if letters and task.letters(name) == letters
            for sign, operator in OPERATORS.items()]  # fmt: skip


def _combine(a: np.ndarray, case: Case, name: str, operator: Callable[..., np.ndarray]) -> np.ndarray:
    return operator(a, case.arguments[name])


def _times(a: np.ndarray, case: Case, task: Task, name: str) -> np.ndarray:
    return a * factors(task, case.sizes).get(name, np.nan)


def _times_constant(a: np.ndarray, case: Case, r: float) -> np.ndarray:
    return a * r


def _apply(a: np.ndarray, case: Case, change: ArrayChange) -> np.ndarray:
    return change(a)


def _applied(change: Callable[[np.ndarray], np.ndarray], a: np.ndarray) -> np.ndarray | None:
    try:
        with np.errstate(all="ignore"):
            return np.asarray(change(a), np.float64)
    except (ValueError, IndexError, TypeError):  # too few axes
        return None


def _applied_to(change: ResultChange, a: np.ndarray, case: Case) -> np.ndarray | None:
    return _applied(lambda result: change(result, case), a)


def _agree(a: np.ndarray, b: np.ndarray, one: Tried, k: int) -> bool:
    return agree((a,), (b,), one.expected.tolerances[k : k + 1])


def _agrees_changed(evidence: Evidence, function: Function, change: ResultChange, one: Tried, k: int) -> bool:
    if one.found is None or len(one.found) != len(evidence.task.outputs):
        return False
    base = evidence.predict(function, one)
    if base is None or len(base) != len(evidence.task.outputs):
        return False
    changed = _applied_to(change, base[k], one.expected.case)
    return changed is not None and _agree(one.found[k], changed, one, k)


def _shape_is(found: np.ndarray, right: np.ndarray) -> bool:
    return found.shape == right.shape


def _border(pair: Pair) -> bool:
    a, b = pair.found, pair.right
    return b.ndim == 4 and _shape_is(a, b) and _equal(a[:, 1:-1, 1:-1], b[:, 1:-1, 1:-1], b)


SIMPLE = (
    Feature("{names} {is} 0 everywhere", lambda p: not p.found.any(), wrong=False),
    Feature("{names} {differs} from the correct result by the same amount everywhere",
            lambda p: p.found.size > 1 and _shape_is(p.found, p.right) and _constant(p.found - p.right, p.right)),
)  # fmt: skip
FEATURES = (
    Feature("{names} {is} proportional to the correct result, with a factor that depends on the input",
            lambda p: p.found.size > 2 and ratio(p.found, p.right) is not None),
    Feature("{names} {is} the correct result with a factor for each image",
            lambda p: p.letters[:1] == ("N",) and _by_slices(p, (0,))),
    Feature("{names} {is} the correct result with a factor for each channel",
            lambda p: p.letters[-1:] in (("C",), ("K",)) and _by_slices(p, (-1,))),
    Feature("{names} {is} the correct result with a factor for each channel of each image",
            lambda p: p.letters == ("N", "H", "W", "C") and _by_slices(p, (0, -1))),
    Feature("{names} {is} right except in the last row", lambda p: _sliced(p, np.s_[:, :-1])),
    Feature("{names} {is} right except in the last column", lambda p: _sliced(p, np.s_[:, :, :-1])),
    Feature("{names} {is} right except in the last row and column", lambda p: _sliced(p, np.s_[:, :-1, :-1])),
    Feature("{names} {is} right except in the first row and column", lambda p: _sliced(p, np.s_[:, 1:, 1:])),
    Feature("{names} {is} right except at the border", _border),
    Feature("{names} {is} right only for the first image of a batch",
            lambda p: p.letters[:1] == ("N",) and _sliced(p, np.s_[:1,])),
    Feature("{names} {is} right only for the last image of a batch",
            lambda p: p.letters[:1] == ("N",) and _sliced(p, np.s_[-1:,])),
    Feature("{names} {is} right only in the first channel",
            lambda p: p.letters[-1:] == ("C",) and _sliced(p, np.s_[..., :1])),
    Feature("{names} {is} right only in the last channel",
            lambda p: p.letters[-1:] == ("C",) and _sliced(p, np.s_[..., -1:])),
    Feature("{names} {is} right to five digits; a step in the computation is not precise enough",
            lambda p: _shape_is(p.found, p.right)
            and np.abs(p.found - p.right).max(initial=0) <= 1e-5 * np.abs(p.right).max(initial=0)),
)  # fmt: skip


def _pairs(evidence: Evidence, k: int) -> list[Pair]:
    """Return the k-th output on every usual input, or nothing if it is missing or not finite on one."""
    usual, outputs = evidence.usual(), evidence.task.outputs
    letters = evidence.task.letters(outputs[k]) or ()
    pairs = [Pair(one.found[k].astype(np.float64), one.expected.right[k], one, letters)
             for one in usual if one.found is not None and len(one.found) == len(outputs)]  # fmt: skip
    return pairs if len(pairs) == len(usual) and all(np.isfinite(pair.found).all() for pair in pairs) else []


def _first_feature(evidence: Evidence, k: int, table: Sequence[Feature]) -> str:
    """Return the first sentence in the table that holds for one output on every input, or ""."""
    pairs = _pairs(evidence, k)
    wrong = [pair for pair in pairs if pair.wrong and pair.right.size > 1]
    if len(wrong) < MANY_WRONG:
        return ""
    for feature in table:
        if all(feature.holds(pair) for pair in (wrong if feature.wrong else pairs)):
            return feature.sentence
    return ""


def _right_part(evidence: Evidence, k: int) -> str:
    """Return a sentence if an output is right where an argument of its shape has a sign, or ""."""
    pairs = _pairs(evidence, k)
    for name in evidence.task.inputs if pairs else ():
        if evidence.task.letters(name) == evidence.task.letters(evidence.task.outputs[k]):
            for sign, mask in (("positive", np.greater), ("negative", np.less), ("not 0", np.not_equal)):
                if _right_where(pairs, name, mask):
                    return f"{{names}} {{is}} right where {name} is {sign}"
    return ""


def _right_where(pairs: Sequence[Pair], name: str, mask: Callable[..., np.ndarray]) -> bool:
    inside = 0
    for pair in pairs:
        value = pair.one.expected.case.arguments[name]
        if not isinstance(value, np.ndarray) or value.shape != pair.right.shape or pair.found.shape != value.shape:
            return False
        where = mask(value, 0)
        inside += bool(where.any())
        if not _equal(pair.found[where], pair.right[where], pair.right):
            return False
    return inside >= INFORMATIVE


def _by_slices(pair: Pair, axes: tuple[int, ...]) -> bool:
    a, b = pair.found, pair.right
    if not _shape_is(a, b) or b.ndim < 2 or b.size == 0:
        return False
    others = tuple(n for n in range(b.ndim) if n not in [axis % b.ndim for axis in axes])
    if np.prod([b.shape[n] for n in others]) < 2:
        return False
    square = (b * b).sum(others, keepdims=True)
    factor = (a * b).sum(others, keepdims=True) / np.where(square > 0, square, 1)
    return _equal(a, factor * b, b)


def _sliced(pair: Pair, part: tuple) -> bool:
    a, b = pair.found, pair.right
    if not _shape_is(a, b) or b.ndim < 2 or (b.ndim < 4 and len(part) > 1 and part[0] is not Ellipsis):
        return False
    return b[part].size > 0 and _equal(a[part], b[part], b)


def _equal(a: np.ndarray, b: np.ndarray, scale: np.ndarray) -> bool:
    return bool(np.abs(a - b).max(initial=0) <= 256 * SINGLE * np.abs(scale).max(initial=0))


def _close(a: np.ndarray, b: np.ndarray) -> bool:
    return a.shape == b.shape and np.isfinite(a).all() and _equal(a, b, b)


def _constant(d: np.ndarray, b: np.ndarray) -> bool:
    return bool(np.ptp(d) <= 1e-6 * np.abs(b).max()) and bool(np.abs(d).max() > 1e-3 * np.abs(b).max())


def _joined(names: Sequence[str]) -> str:
    return " and ".join(filter(None, [", ".join(names[:-1]), names[-1]]))
