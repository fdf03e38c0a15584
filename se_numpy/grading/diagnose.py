"""Diagnose wrong submissions: a known mistake, or features that all wrong results share.

A mistake is named only if the submission agrees with its wrong version on every input, including inputs on which that
version happens to be right, because a wrong diagnosis does more harm than none.
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np

from se_numpy.grading.compare import SINGLE, Expected, agree, compare
from se_numpy.grading.models import Diagnosis, Reply
from se_numpy.grading.task import Sizes, Task, attempt

Answer = tuple[np.ndarray, ...]


class Tried(NamedTuple):
    """A case with its correct results and the submission's reply."""

    expected: Expected
    reply: Reply

    @property
    def found(self) -> Answer | None:
        return self.reply.outputs if self.reply.status == "ok" else None


def known_mistake(task: Task, tried: Sequence[Tried]) -> Diagnosis | None:
    """Return the mistake whose results equal the submission's on all inputs, or None.

    Extreme cases may distinguish two mistakes that otherwise give the same results, so a mistake that agrees there too
    is preferred; agreement on the usual inputs is enough.
    """
    best = None
    for mistake in task.mistakes:
        usual, extreme = (_agreed(task, mistake.wrong, _of_kind(tried, kind)) for kind in (False, True))
        count = 0 if usual is None else usual + (extreme or 0)
        if not count:
            continue
        found = Diagnosis(mistake.name, mistake.text, mistake.equation or task.equation, count, count)
        if extreme is not None:
            return found
        best = best or found
    return best


def _of_kind(tried: Sequence[Tried], extreme: bool) -> list[Tried]:
    return [one for one in tried if (one.expected.case.kind == "extreme") == extreme]


def _agreed(task: Task, wrong: Callable, tried: Sequence[Tried]) -> int | None:
    """Count the inputs on which ``wrong`` is wrong; return None if the submission differs from it on any input."""
    count = 0
    for one in tried:
        theirs = attempt(task, one.expected.case, wrong)
        if (one.found is None) != (theirs is None):
            return None
        if one.found is None or theirs is None:
            continue
        if not agree(one.found, theirs, one.expected.tolerances):
            return None
        count += not agree(theirs, one.expected.right, one.expected.tolerances)
    return count


# Constant factors to look for, in the task's letters; a factor is skipped if the task lacks one of its sizes.
FACTORS: dict[str, Callable[[Sizes], float]] = {
    "-1": lambda s: -1,
    "2": lambda s: 2,
    "1/2": lambda s: 0.5,
    "N": lambda s: s["N"],
    "1/N": lambda s: 1 / s["N"],
    "H·W": lambda s: s["H"] * s["W"],
    "1/(H·W)": lambda s: 1 / (s["H"] * s["W"]),
    "N·H·W": lambda s: s["N"] * s["H"] * s["W"],
    "1/(N·H·W)": lambda s: 1 / (s["N"] * s["H"] * s["W"]),
    "C": lambda s: s["C"],
    "1/C": lambda s: 1 / s["C"],
    "C/r": lambda s: s["R"],
    "-N": lambda s: -s["N"],
    "-1/N": lambda s: -1 / s["N"],
}


def features(task: Task, tried: Sequence[Tried]) -> list[str]:
    """Return up to four features that all wrong results share, one clause each, the most informative first."""
    sentences: list[str] = []
    answered = [one for one in tried if one.found is not None and len(one.found) == len(task.outputs)]
    if not answered:
        return sentences
    right = [[v.right and not v.shape for v in compare(task, one.expected, one.reply.outputs)] for one in answered]
    for k, name in enumerate(task.outputs):
        wrong = [one for one, ok in zip(answered, right, strict=True) if not ok[k]]
        if not wrong:
            continue
        pairs = [(one.found[k], one.expected.right[k], one.expected) for one in wrong]  # type: ignore[index]
        feature = _first_feature(name, pairs)
        if feature:
            sentences.append(feature)
    wrong_names = [n for k, n in enumerate(task.outputs) if any(not ok[k] for ok in right)]
    if 0 < len(wrong_names) < len(task.outputs):
        fine = [n for n in task.outputs if n not in wrong_names]
        sentences.append(f"{_joined(fine)} {'is' if len(fine) == 1 else 'are'} right on every input")
    fine_sizes = [o.expected.case.sizes for o, ok in zip(answered, right, strict=True) if all(ok)]
    bad_sizes = [o.expected.case.sizes for o, ok in zip(answered, right, strict=True) if not all(ok)]
    sentences += _conditions(fine_sizes, bad_sizes)
    return sentences[:4]


Pairs = Sequence[tuple[np.ndarray, np.ndarray, Expected]]


def _first_feature(name: str, pairs: Pairs) -> str:
    """Return the first feature that all wrong results of one output share, or ""."""
    if all(a.shape != b.shape for a, b, _ in pairs):
        if all(a.ndim == b.ndim == 2 and a.T.shape == b.shape and _close(a.T, b) for a, b, _ in pairs):
            return f"{name} is the correct result, transposed"
        return ""
    same = [(a.astype(np.float64), b, e) for a, b, e in pairs if a.shape == b.shape]
    if len(same) < len(pairs) or not all(np.isfinite(a).all() for a, _, _ in same):
        return ""
    if all(not a.any() for a, _, _ in same):
        return f"{name} is 0 everywhere"
    for factor, of in FACTORS.items():
        if all(_times(a, b, of, e) for a, b, e in same):
            return f"{name} is {_factor_text(factor)} the correct result on every input"
    if all(a.ndim == 2 and a.shape[0] == a.shape[1] and _close(a.T, b) for a, b, _ in same):
        return f"{name} is the correct result, transposed"
    if all(b.ndim == 4 and b.shape[1] == b.shape[2] and _close(a, b.swapaxes(1, 2)) for a, b, _ in same):
        return f"{name} has height and width swapped"
    ratio = {round(float(_ratio(a, b)), 6) for a, b, _ in same if _proportional(a, b)}
    if len(ratio) == 1 and all(_proportional(a, b) for a, b, _ in same):
        return f"{name} is {ratio.pop():g} times the correct result on every input"
    if all(_proportional(a, b) for a, b, _ in same):
        return f"{name} is proportional to the correct result, with a factor that depends on the input"
    if all(_constant(a - b, b) for a, b, _ in same) and any(a.size > 2 for a, _, _ in same):
        return f"{name} differs from the correct result by the same amount everywhere"
    if all(b.ndim == 4 and min(b.shape[1:3]) > 2 and _close(a[:, 1:-1, 1:-1], b[:, 1:-1, 1:-1]) for a, b, _ in same):
        return f"{name} is right except at the border"
    if all(b.ndim > 1 and len(b) > 1 and _close(a[0], b[0]) for a, b, _ in same):
        return f"{name} is right only for the first image of a batch"
    if all(np.abs(a - b).max() <= 1e-5 * np.abs(b).max() for a, b, _ in same):
        return f"{name} is right to five digits; a step in the computation is not precise enough"
    return ""


def _conditions(fine: Sequence[Sizes], bad: Sequence[Sizes]) -> list[str]:
    """Return the condition on the sizes, if any, that separates right results from wrong ones."""
    if not fine or not bad:
        return []
    conditions: dict[str, Callable[[Sizes], bool]] = {
        "for one image, N = 1": lambda s: s["N"] == 1,
        "on square maps": lambda s: s["H"] == s["W"],
        "on maps of one pixel": lambda s: s["H"] == s["W"] == 1,
        "for one channel": lambda s: s["C"] == 1,
        "at stride 1": lambda s: s["stride"] == 1,
        "without padding": lambda s: s["padding"] == 0,
        "for 1×1 kernels": lambda s: s["k"] == 1,
        "for r = 1": lambda s: s["C"] == s["R"],
    }
    for condition, holds in conditions.items():
        try:
            if all(map(holds, fine)) and not any(map(holds, bad)):
                return [f"right only {condition}"]
        except KeyError:
            continue
    return []


def _times(a: np.ndarray, b: np.ndarray, of: Callable[[Sizes], float], expected: Expected) -> bool:
    try:
        factor = of(expected.case.sizes)
    except KeyError:
        return False
    return abs(factor - 1) > 1e-9 and _close(a, factor * b)


def _factor_text(factor: str) -> str:
    return "minus" if factor == "-1" else f"{factor} times"


def _close(a: np.ndarray, b: np.ndarray) -> bool:
    size = np.abs(b).max(initial=0.0)
    return a.shape == b.shape and bool(size > 0) and bool(np.abs(a - b).max() <= 256 * SINGLE * size)


def _ratio(a: np.ndarray, b: np.ndarray) -> float:
    return float((a * b).sum() / (b * b).sum()) if b.any() else 0.0


def _proportional(a: np.ndarray, b: np.ndarray) -> bool:
    ratio = _ratio(a, b)
    return b.size > 1 and abs(ratio) > 1e-6 and abs(ratio - 1) > 1e-6 and _close(a, ratio * b)


def _constant(d: np.ndarray, b: np.ndarray) -> bool:
    return bool(np.ptp(d) <= 1e-6 * np.abs(b).max()) and bool(np.abs(d).max() > 1e-3 * np.abs(b).max())


def _joined(names: Sequence[str]) -> str:
    return " and ".join(filter(None, [", ".join(names[:-1]), names[-1]]))
