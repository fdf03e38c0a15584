"""An exercise: a function to fill in, and the card that says how far it is right."""

import dis
import os
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from se_numpy.engine import single_threaded_blas
from se_numpy.grading.assignment import find
from se_numpy.grading.grade import FOR_POINTS, grade_task
from se_numpy.grading.inprocess import caller
from se_numpy.grading.lessons.display import NotYet, display, say
from se_numpy.grading.notebook import PUBLIC_SEED
from se_numpy.grading.notebook_card import Card

Function = Callable[..., Any]
SOLVED = "SE_NUMPY_SOLUTIONS"  # this environment variable at 1 puts the library's functions in place of the stubs
SECONDS = 60.0  # a search on a machine that is busy elsewhere should end where it ends on an idle one
IDLE = {"RESUME", "NOP", "LOAD_CONST", "LOAD_COMMON_CONSTANT", "RETURN_CONST", "RETURN_VALUE"}


def exercise(function: Function) -> Function:
    """The function as it stands; with the environment variable SE_NUMPY_SOLUTIONS at 1 the library's own instead.

    Raises ValueError where there is no task of the function's name.
    """
    task = find(function.__name__)
    if os.environ.get(SOLVED) != "1":
        return function
    say(f"{task.name}: the library's own function stands here, because {SOLVED} is 1.")
    return task.oracle


def check(name: str, function: Function, *, layout: str = "NHWC") -> Card | NotYet:
    """The verdict on a function, as a card; a function with nothing in it is "not attempted yet", and no error.

    ``layout`` "NCHW" is for a function that takes and gives channels-first arrays.  Raises ValueError for a task that
    there is not, or a layout.
    """
    task = find(name)
    if layout not in ("NHWC", "NCHW"):
        raise ValueError(f"layout is {layout!r}; expected 'NHWC' or 'NCHW'")
    if not callable(function):
        raise TypeError(f"got a {type(function).__name__}; expected the function, as in check({name!r}, {name})")
    if not attempted(function):
        start = f"{name}: not attempted yet."
        then = "Write its body, then run this cell again."
        ask, tell = f'hint("{name}")', f'solution("{name}")'
        return display(NotYet(f"{start} {then}\nStuck? {ask} helps, {tell} tells.",
                            f"**{start}** {then} Stuck? `{ask}` helps, `{tell}` tells."))  # fmt: skip
    with single_threaded_blas():  # products of small arrays: BLAS's threads would wait for each other
        report = grade_task(task, caller(function), seed=PUBLIC_SEED, layout=layout, seconds=SECONDS)
    report = replace(report, hints=tuple(hint for hint in report.hints if hint != FOR_POINTS))
    if report.counterexample:  # how to see it again from a file is of no use where the function stands above
        report = replace(report, counterexample=replace(report.counterexample, repro=""))
    note = "This is the library's own function." if function is task.oracle else ""
    return display(Card(report, note))


def attempted(function: Function) -> bool:
    """Whether there is anything in the function's body: more than a docstring, `...`, `pass` or `return`."""
    code = getattr(function, "__code__", None)
    if code is None:
        return True
    steps = list(dis.get_instructions(code))
    values = [step.argval for step in steps if step.opname.endswith("_CONST")]
    return any(step.opname not in IDLE for step in steps) or any(v is not None and v is not ... for v in values)
