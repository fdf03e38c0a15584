"""Exercises: functions to fill in, and the cards that grade them."""

import dis
import os
from collections.abc import Callable
from dataclasses import replace
from types import CodeType, FunctionType, ModuleType
from typing import Any

from se_numpy.engine import single_threaded_blas
from se_numpy.grading.assignment import find
from se_numpy.grading.grade import FOR_POINTS, grade_task
from se_numpy.grading.inprocess import caller
from se_numpy.grading.lessons.display import NotYet, display, say
from se_numpy.grading.notebook import PUBLIC_SEED
from se_numpy.grading.notebook_card import Card

Function = Callable[..., Any]
SOLVED = "SE_NUMPY_SOLUTIONS"  # if this environment variable is 1, the library's functions replace the stubs
SECONDS = 60.0  # long enough for the search to end with the same result on a busy machine
IDLE = {"RESUME", "NOP", "LOAD_CONST", "LOAD_COMMON_CONSTANT", "RETURN_CONST", "RETURN_VALUE"}


def exercise(function: Function) -> Function:
    """Return the function, or the library's own if the environment variable SE_NUMPY_SOLUTIONS is 1.

    Raises
    ------
    ValueError
        If no task has the function's name.
    """
    task = find(function.__name__)
    if os.environ.get(SOLVED) != "1":
        return function
    say(f"{task.name}: using the library's own function, because {SOLVED} is 1.")
    return task.oracle


def check(name: str, function: Function, *, layout: str = "NHWC") -> Card | NotYet:
    """Grade a function and return a card; a function without a body gets the card "not attempted yet".

    Set ``layout`` to "NCHW" for a function that takes and returns channels-first arrays.

    Raises
    ------
    ValueError
        If the task or the layout does not exist.
    TypeError
        If ``function`` is not callable.
    """
    task = find(name)
    if layout not in ("NHWC", "NCHW"):
        raise ValueError(f"layout is {layout!r}; expected 'NHWC' or 'NCHW'")
    if not callable(function):
        raise TypeError(f"got a {type(function).__name__}; expected a function, as in check({name!r}, {name})")
    if not attempted(function):
        start = f"{name}: not attempted yet."
        then = "Write its body, then run this cell again."
        ask, show = f'hint("{name}")', f'solution("{name}")'
        return display(NotYet(f"{start} {then}\nStuck? {ask} gives a hint, {show} shows a solution.",
                            f"**{start}** {then} Stuck? `{ask}` gives a hint, `{show}` shows a solution."))  # fmt: skip
    with single_threaded_blas():  # faster for small matrix products
        report = grade_task(task, caller(function), seed=PUBLIC_SEED, layout=layout, seconds=SECONDS)
    report = replace(report, hints=tuple(hint for hint in report.hints if hint != FOR_POINTS))
    if report.counterexample:  # a notebook needs no code to reproduce it
        report = replace(report, counterexample=replace(report.counterexample, repro=""))
    return display(Card(report, _note(function, task.oracle)))


def _note(function: Function, oracle: Function) -> str:
    """Return the last line of a card: whose function it is, or which variables of the notebook it reads."""
    if function is oracle:
        return "This is the library's own function."
    names = notebook_values(function)
    if not names:
        return ""
    variables = f"the global{'s' if len(names) > 1 else ''} {', '.join(names)}"
    return f"It uses {variables} of the notebook; a submission must take such values as arguments or compute them."


def notebook_values(function: Function) -> list[str]:
    """Return the notebook's variables that a function and its helpers read, without functions and modules."""
    found: set[str] = set()
    seen, waiting = set(), [function]
    while waiting:
        one = waiting.pop()
        if one in seen or not isinstance(one, FunctionType):
            continue
        seen.add(one)
        for name in _globals_read(one.__code__) & one.__globals__.keys():
            value = one.__globals__[name]
            if isinstance(value, FunctionType) and value.__globals__ is function.__globals__:
                waiting.append(value)
            elif not callable(value) and not isinstance(value, ModuleType):
                found.add(name)
    return sorted(found)


def _globals_read(code: CodeType) -> set[str]:
    """Return the names of the globals that code reads, and the functions inside it."""
    names = {step.argval for step in dis.get_instructions(code) if step.opname in ("LOAD_GLOBAL", "LOAD_NAME")}
    return names.union(*(_globals_read(inner) for inner in code.co_consts if isinstance(inner, CodeType)))


def attempted(function: Function) -> bool:
    """Return True if the function's body contains more than a docstring, `...`, `pass` or `return`."""
    code = getattr(function, "__code__", None)
    if code is None:
        return True
    steps = list(dis.get_instructions(code))
    values = [step.argval for step in steps if step.opname.endswith("_CONST")]
    return any(step.opname not in IDLE for step in steps) or any(v is not None and v is not ... for v in values)
