"""Conditions under which a submission is right: each is tried on fresh inputs inside and outside before it is said."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import combinations
from typing import Any

import numpy as np

from se_numpy.grading.compare import Expected, compare
from se_numpy.grading.probes import (
    ENOUGH,
    Change,
    Holds,
    Pool,
    Trials,
    Tried,
    inside,
    outside,
    outside_and_small,
)
from se_numpy.grading.task import Case, Task

MOST = 0.5  # the share of other inputs that must be wrong for a condition to be worth saying


@dataclass(frozen=True)
class Condition:
    """A property of inputs: the clause that says it, a predicate, and how to draw inputs that have it."""

    clause: str
    holds: Holds
    fixed: Callable[[int], Mapping[str, Any]] = lambda number: {}
    change: Change = lambda arguments: arguments


NAMES = {"R": "C/r", "D": "C'", "P": "H'", "Q": "W'"}  # P alone is a number of parameters
CLAUSES = {"N": "for one image, N = 1", "C": "for one channel", "D": "for one input channel", "k": "for 1×1 kernels",
           "R": "for one hidden unit, C/r = 1"}  # fmt: skip


def conditions(task: Task) -> Iterator[Condition]:
    """Yield every condition on a task's sizes, hyperparameters and values."""
    yield from _of_sizes(task)
    yield from _of_hyper(task)
    if task.prepare is Task.prepare:  # otherwise arguments depend on each other and must not be changed one by one
        yield from _of_values(task)


def _is_one(task: Task, letter: str) -> Condition:
    name = NAMES.get(letter, letter) if letter != "P" or "Q" in task.sizes else "one parameter, P"
    return Condition(CLAUSES.get(letter, f"for {name} = 1"), lambda case: case.sizes[letter] == 1,
                     lambda n: {letter: 1})  # fmt: skip


def _equal(a: str, b: str, low: int, high: int) -> Condition:
    clause = {("H", "W"): "on square maps", ("P", "Q"): "on square images", ("C", "R"): "for r = 1"}.get((a, b))
    return Condition(
        clause or f"for {NAMES.get(a, a)} = {NAMES.get(b, b)}",
        lambda case: case.sizes[a] == case.sizes[b],
        lambda n: {letter: low + n % (high - low + 1) for letter in (a, b)},
    )


def _pixel(a: str, b: str) -> Condition:
    what = "maps" if a == "H" else "images"
    return Condition(
        f"on {what} of one pixel", lambda case: case.sizes[a] == case.sizes[b] == 1, lambda n: {a: 1, b: 1}
    )


def _of_sizes(task: Task) -> Iterator[Condition]:
    for a, b in (("H", "W"), ("P", "Q")):
        if a in task.sizes and b in task.sizes:
            yield _pixel(a, b)
    if "Q" in task.sizes:
        yield Condition("if the result has one pixel", lambda case: case.sizes["H"] == case.sizes["W"] == 1)
    for letter in task.sizes:
        if letter != "K":  # with a single class, every probability is 1
            yield _is_one(task, letter)
    for a, b in combinations(task.sizes, 2):
        yield _equal(a, b, 2, max(task.sizes[a][1], task.sizes[b][1]))


def _of_hyper(task: Task) -> Iterator[Condition]:
    for name, choices in task.hyper.items():
        if any(isinstance(c, bool) or not isinstance(c, int | float) for c in choices):
            continue
        for value in (0, 1, 2):
            if not isinstance(choices[0], int) or min(choices) <= value <= max(choices):
                yield _is_value(name, type(choices[0])(value))
    whole = [name for name, choices in task.hyper.items() if all(isinstance(c, int) for c in choices)]
    for a, b in combinations([*whole, *(letter for letter in "k" if letter in task.sizes)], 2):
        yield from _compared(a, b)
    if {"stride", "P"} <= {*task.hyper, *task.sizes}:
        yield Condition("if no row or column is left over", lambda case: _left(case, "P") == 0 == _left(case, "Q"))
        yield Condition("if no row is left over", lambda case: _left(case, "P") == 0)
        yield Condition("if no column is left over", lambda case: _left(case, "Q") == 0)


def _is_value(name: str, value: float) -> Condition:
    clause = {"stride = 1": "at stride 1", "padding = 0": "without padding"}.get(f"{name} = {value}")
    return Condition(clause or f"for {name} = {value:g}", lambda case: bool(case.hyper[name] == value),
                     lambda n: {name: value})  # fmt: skip


def _compared(a: str, b: str) -> Iterator[Condition]:
    yield Condition(f"for {a} = {b}", lambda case: case.sizes[a] == case.sizes[b])
    yield Condition(f"for {a} < {b}", lambda case: case.sizes[a] < case.sizes[b])
    yield Condition(f"for {a} ≥ {b}", lambda case: case.sizes[a] >= case.sizes[b])


def _left(case: Case, letter: str) -> int:
    s = case.sizes
    return int((s[letter] + 2 * s.get("padding", 0) - s.get("kernel", s.get("k", 1))) % s["stride"])


def _of_values(task: Task) -> Iterator[Condition]:
    for name in task.inputs:
        if task.letters(name) is not None and task.fill.get(name) not in ("labels", "gates", "positive", "small"):
            yield _signed(name, "negative", 1)
            yield _signed(name, "positive", -1)


def _signed(name: str, excluded: str, sign: int) -> Condition:
    return Condition(
        f"if no value of {name} is {excluded}",
        lambda case: bool((sign * case.arguments[name] >= 0).all()),
        change=lambda given: {**given, name: sign * np.abs(given[name])},
    )


def is_right(task: Task, one: Tried) -> bool:
    """Return True if every output is right; a call that raised is wrong."""
    if one.found is None:
        return False
    verdicts = compare(task, one.expected, one.found, one.reply.listed)
    return all(v.right and not v.shape for v in verdicts)


def tell_condition(task: Task, trials: Trials, known: list[Tried]) -> str:
    """Return a sentence on when the submission is right or wrong, or "".

    ``known`` are the usual inputs already tried; every condition is then tried on at least ENOUGH fresh inputs of each
    kind, and is dropped if they are too few.
    """
    best, weight = "", 0.0
    tried = [(one.expected.case, is_right(task, one)) for one in known]
    for condition in conditions(task):
        flags = [(condition.holds(case), right) for case, right in tried]
        if not any(right for _, right in flags) or all(right for _, right in flags):
            return ""
        if all(right for holds, right in flags if holds):
            found = _right_inside(task, trials, condition, flags)
        elif all(right for holds, right in flags if not holds):
            found = _wrong_inside(task, trials, condition, flags)
        else:
            continue
        if found is not None and found[1] > weight:
            best, weight = found
    return best


Flags = list[tuple[bool, bool]]  # for every input: whether the condition holds, and whether the submission is right


def _right_inside(task: Task, trials: Trials, condition: Condition, flags: Flags) -> tuple[str, float] | None:
    if not _all_right(task, trials, _inside(task, condition)):
        return None
    others = [is_right(task, trials(one)) for one in outside(task, condition.holds)]
    if len(others) < ENOUGH:
        return None
    others += [right for holds, right in flags if not holds]
    wrong = 1 - sum(others) / len(others)
    if wrong <= MOST:
        return None
    if wrong == 1 and not any(is_right(task, trials(one)) for one in outside_and_small(task, condition.holds)):
        return f"right only {condition.clause}", 1.0
    return f"right {condition.clause}, wrong on many other inputs", min(wrong, 0.99)


def _wrong_inside(task: Task, trials: Trials, condition: Condition, flags: Flags) -> tuple[str, float] | None:
    if not _all_right(task, trials, outside(task, condition.holds)):
        return None
    drawn = [is_right(task, trials(one)) for one in _inside(task, condition)]
    wrong = 1 - sum(drawn) / max(1, len(drawn))
    return (f"wrong only {condition.clause}", 0.9 + 0.1 * wrong) if len(drawn) >= ENOUGH and wrong > 0 else None


def _inside(task: Task, condition: Condition) -> Pool:
    return inside(task, condition.clause, condition.fixed, condition.holds, condition.change)


def _all_right(task: Task, trials: Trials, inputs: Iterable[Expected]) -> bool:
    count = 0
    for one in inputs:
        if not is_right(task, trials(one)):
            return False
        count += 1
    return count >= ENOUGH
