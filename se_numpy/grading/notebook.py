"""Check your own functions in a notebook or in a test.

    from se_numpy.grading import check
    check("squeeze", squeeze)               # shows a card: verdict, minimal counterexample, likely mistake

    %load_ext se_numpy.grading              # then, as the first line of a cell that defines the function:
    %%check squeeze                         # runs the cell in a separate process with a time limit

``check`` runs the function in the current process, without a sandbox, and the card says so.
"""

import inspect
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from se_numpy.grading.assignment import find
from se_numpy.grading.grade import grade_task
from se_numpy.grading.inprocess import adapted, caller
from se_numpy.grading.layout import LAYOUTS
from se_numpy.grading.models import TaskReport
from se_numpy.grading.notebook_card import Card

PUBLIC_SEED = 0  # the seed for practice


def check(task: str, function: Callable[..., Any], *, layout: str = "NHWC", framework: str = "numpy") -> Card:
    """Check a function in this process and return a card with the verdict.

    With ``layout="NCHW"``, the function receives and returns channels-first arrays, and with ``framework="torch"`` or
    "jax", tensors. It may be a class with ``forward`` and ``backward``.

    The card has ``passed`` and ``task``, with ``points``, ``max_points``, ``checks``, ``diagnosis`` (None, or the known
    ``mistake`` and a ``text`` about it) and ``counterexample`` (None, or the smallest ``arguments`` with a wrong
    result, the ``expected`` and the ``got`` one). A notebook shows it as a card, and ``print`` as text.
    """
    return Card(_report(task, function, layout, framework), "Self-check: run in this process, without a sandbox.")


def assert_task(
    task: str, function: Callable[..., Any], *, layout: str = "NHWC", framework: str = "numpy"
) -> None:  # fmt: skip
    """Assert that a function passes every check in a task; for use in tests.

    Raises
    ------
    AssertionError
        If a check fails; the message is the full verdict.
    """
    report = _report(task, function, layout, framework)
    if report.status != "passed":
        raise AssertionError(str(Card(report)))


def points(
    task: str, function: Callable[..., Any], *, max_points: float | None = None, layout: str = "NHWC",
    framework: str = "numpy",
) -> float:  # fmt: skip
    """Return the points, between 0 and ``max_points``, for the last line of an nbgrader cell."""
    report = _report(task, function, layout, framework)
    share = report.points / report.max_points if report.max_points else 0.0
    return share * (report.max_points if max_points is None else max_points)


def _report(task: str, function: Callable[..., Any], layout: str, framework: str) -> TaskReport:
    found = find(task)
    if layout not in LAYOUTS:
        raise ValueError(f"layout is {layout!r}; expected one of {', '.join(LAYOUTS)}")
    if not callable(function):
        raise TypeError(f"got a {type(function).__name__}; expected a function, as in check({task!r}, {task})")
    if inspect.isclass(function) or framework != "numpy":
        function = adapted(function, found, layout, framework)
    return grade_task(found, caller(function), seed=PUBLIC_SEED, layout=layout)


def check_source(task: str, source: str) -> Card:
    """Check a function in Python source, which runs in a child process, and return a card with the verdict."""
    from se_numpy.grading.course import Options, grade_path

    find(task)
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "cell.py"
        file.write_text(source, encoding="utf-8")
        report = grade_path(file, Options(tasks=(task,)))
    return Card(report.tasks[0], f"Run in a separate process: isolation {report.level}, {report.backend}.")


def load_ipython_extension(ipython: Any) -> None:
    """Register the magic ``%%check``, for ``%load_ext se_numpy.grading``.

    A cell that begins with ``%%check squeeze`` and defines the function is then checked in a separate process with a
    time limit.
    """
    from IPython.display import display

    def check_cell(line: str, cell: str) -> None:
        name = line.strip()
        if not name:
            raise ValueError("%%check needs a task name, as in %%check squeeze")
        display(check_source(name, cell))

    ipython.register_magic_function(check_cell, "cell", "check")


__all__ = ["assert_task", "check", "check_source", "load_ipython_extension", "points"]
