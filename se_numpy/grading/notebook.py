"""Checking one's own function where it is written: in a notebook, and in a test.

    from se_numpy.grading import check
    check("squeeze", squeeze)               # a card: verdict, smallest failing input, what was probably done

    %load_ext se_numpy.grading              # then, above a cell that defines it:
    %%check squeeze                         # the cell runs in a process of its own, so a loop without end ends

``check`` runs the function in this very process: it is one's own. Nothing is protected, and the card says so.
"""

import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from se_numpy.grading.assignment import find
from se_numpy.grading.grade import grade_task
from se_numpy.grading.inprocess import caller
from se_numpy.grading.layout import LAYOUTS
from se_numpy.grading.models import TaskReport
from se_numpy.grading.notebook_card import Card

PUBLIC_SEED = 0  # what everybody practises with


def check(task: str, function: Callable[..., Any], *, layout: str = "NHWC") -> Card:
    """The verdict on a function of this process, as a card.  ``layout`` "NCHW" for channels-first arrays."""
    return Card(_report(task, function, layout), "Run in this very process: a check of oneself, without protection.")


def assert_task(task: str, function: Callable[..., Any], *, layout: str = "NHWC") -> None:
    """For a test: AssertionError with the whole verdict unless every check passes."""
    report = _report(task, function, layout)
    if report.status != "passed":
        raise AssertionError(str(Card(report)))


def points(task: str, function: Callable[..., Any], *, max_points: float | None = None, layout: str = "NHWC") -> float:
    """The points alone, between 0 and ``max_points``: what an nbgrader cell's last line is to be."""
    report = _report(task, function, layout)
    share = report.points / report.max_points if report.max_points else 0.0
    return share * (report.max_points if max_points is None else max_points)


def _report(task: str, function: Callable[..., Any], layout: str) -> TaskReport:
    if layout not in LAYOUTS:
        raise ValueError(f"layout is {layout!r}; expected one of {', '.join(LAYOUTS)}")
    if not callable(function):
        raise TypeError(f"got a {type(function).__name__}; expected the function, as in check({task!r}, {task})")
    return grade_task(find(task), caller(function), seed=PUBLIC_SEED, layout=layout)


def check_source(task: str, source: str) -> Card:
    """The verdict on a function in a text, which runs in a child process."""
    from se_numpy.grading.course import Options, grade_path

    find(task)
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "cell.py"
        file.write_text(source, encoding="utf-8")
        report = grade_path(file, Options(tasks=(task,)))
    return Card(report.tasks[0], f"Run in a process of its own: isolation {report.level}, {report.backend}.")


def load_ipython_extension(ipython: Any) -> None:
    """``%load_ext se_numpy.grading`` adds the magic ``%%check``."""
    from IPython.display import display

    def check_cell(line: str, cell: str) -> None:
        name = line.strip()
        if not name:
            raise ValueError("%%check needs a task's name, as in %%check squeeze")
        display(check_source(name, cell))

    ipython.register_magic_function(check_cell, "cell", "check")


__all__ = ["assert_task", "check", "check_source", "load_ipython_extension", "points"]
