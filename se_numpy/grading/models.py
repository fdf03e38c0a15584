"""Grading results as plain data, without code from a submission; used by every report format."""

from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

# The status of a task, or why a call returned no arrays.
STATUSES = {
    "passed": "every check passed",
    "failed": "a check failed",
    "error": "the function raised an exception",
    "timeout": "the function exceeded the time limit and was stopped",
    "memory": "the function exceeded the memory limit",
    "crashed": "the process ended while the function was running",
    "refused": "the function did not return arrays of numbers",
    "missing": "the submission has no function with this name, or only a stub",
    "unreadable": "the submission cannot be run",
    "ungraded": "the grader failed, which is not the submission's fault",
}

VISIBLE, HIDDEN = "visible", "hidden"  # to students, who are not shown what is hidden
ENDED = ("timeout", "memory", "crashed", "missing", "unreadable")  # no further calls are made after one of these


class DeadlinePassed(Exception):
    """The time for a whole submission, or for the class, is used up."""


@dataclass(frozen=True)
class Reply:
    """The result of one call of a submitted function."""

    status: str  # "ok", or a key of STATUSES other than "passed" and "failed"
    outputs: tuple[np.ndarray, ...] = ()
    mutated: tuple[int, ...] = ()  # indices of the arguments that the function modified
    message: str = ""  # the exception's text or another error, for the submission's author
    stdout: str = ""  # output printed during the call, truncated
    listed: bool = False  # whether the outputs were returned in a list


@dataclass(frozen=True)
class Check:
    """The outcome of one check of a task."""

    name: str  # "shape", "dtype", "values of dU", "special cases", "inputs untouched", "repeatable", "extremes"
    points: float
    max_points: float
    passed: bool | None  # None if it could not be checked because an earlier step failed
    message: str = ""
    error: float | None = None  # the largest error divided by the tolerance; at most 1 for right values
    visibility: str = VISIBLE  # to students, as in an assignment


@dataclass(frozen=True)
class Counterexample:
    """The smallest input found on which the submission is wrong."""

    arguments: dict[str, Any]  # name -> array or number, in the order of the signature
    expected: dict[str, np.ndarray]  # output's name -> array
    got: dict[str, np.ndarray]  # empty if the call returned no arrays
    problem: str  # one sentence that describes the error
    repro: str  # a few lines of Python that reproduce it


@dataclass(frozen=True)
class Diagnosis:
    """A known mistake with the same results as the submission on every informative input."""

    mistake: str  # its name
    text: str  # one or two sentences: what was done and what should be done
    equation: str
    agreed: int  # the number of informative inputs with the same results
    of: int  # the number of informative inputs, those on which the mistake gives wrong results


@dataclass(frozen=True)
class TaskReport:
    """The verdict on one task."""

    task: str
    title: str
    equation: str
    signature: str
    status: str  # a key of STATUSES
    points: float
    max_points: float
    checks: tuple[Check, ...] = ()
    counterexample: Counterexample | None = None
    diagnosis: Diagnosis | None = None
    features: tuple[str, ...] = ()  # features shared by all wrong results, if no known mistake matches
    hints: tuple[str, ...] = ()  # remarks that cost no points, for example about single precision
    message: str = ""  # why values could not be compared, if so
    stdout: str = ""
    seconds: float = 0.0
    calls: int = 0
    visibility: str = VISIBLE  # to students, as in an assignment
    extra: bool = False  # extra credit: its points are not part of the most that can be reached
    hidden_points: float = 0.0  # the most points of the checks that students are not shown
    by_hand: float = 0.0  # the part of the points that the instructor added
    comment: str = ""  # the instructor's, on these points or anything else

    def for_student(self) -> "TaskReport | None":
        """Return the report without its hidden checks, or None if the task is hidden.

        If only hidden checks failed, the student sees a task that passed.
        """
        if self.visibility == HIDDEN:
            return None
        shown = tuple(check for check in self.checks if check.visibility != HIDDEN)
        hidden = sum(check.points for check in self.checks if check.visibility == HIDDEN)
        rest = replace(self, checks=shown, points=self.points - hidden, max_points=self.max_points - self.hidden_points)
        if len(shown) == len(self.checks):
            return rest
        if self.status == "failed" and all(check.passed for check in shown):
            return replace(rest, status="passed", counterexample=None, diagnosis=None, features=(), hints=())
        return rest

    @property
    def only(self) -> str:
        """The failed checks, if the values are right on all random inputs; otherwise an empty string."""
        failed = [check.name for check in self.checks if check.passed is False]
        wrong = any(name.startswith("values") for name in failed)
        if wrong or not failed or self.status != "failed":
            return ""
        return f"failed only: {', '.join(failed)}"


NOT_ALL = "The grade also counts checks that are not shown here, so its points may differ."
NOT_RUN = "nothing was run"  # the backend in the report of a submission that could not be parsed


@dataclass(frozen=True)
class Report:
    """The verdict on one submission."""

    name: str
    sha256: str
    level: str  # the isolation level: "L0" to "L3"
    backend: str  # "in process", "plain child", "landlock", "bubblewrap" or NOT_RUN
    missing: tuple[str, ...]  # what stronger isolation would require on this machine, one sentence each
    seed_id: str  # equal for runs with the same secret, which it does not reveal
    started: str  # ISO 8601
    seconds: float
    tasks: tuple[TaskReport, ...] = ()
    message: str = ""  # why the file could not be graded as a whole, if so
    versions: dict[str, str] = field(default_factory=dict)
    student: str = ""  # whose submission it is: the key that its inputs follow
    added: float = 0.0  # points that the instructor added to the sum of the tasks
    comment: str = ""  # the instructor's, on the whole submission
    trees: dict[str, str] = field(default_factory=dict)  # function -> digest of its syntax tree without names
    notes: tuple[str, ...] = ()  # which files were graded, and in what form, if it is not a single plain file

    @property
    def points(self) -> float:
        return sum(task.points for task in self.tasks) + self.added

    @property
    def max_points(self) -> float:
        """The sum of the tasks' points, except for extra credit."""
        return sum(task.max_points for task in self.tasks if not task.extra)

    @property
    def passed(self) -> bool:
        """True if every task passed; extra credit may be left out."""
        needed = [task for task in self.tasks if not task.extra] or self.tasks
        return bool(needed) and all(task.status == "passed" for task in needed)

    @property
    def hides(self) -> bool:
        """True if students are not shown every task and check."""
        return any(
            task.hidden_points or HIDDEN in (task.visibility, *(check.visibility for check in task.checks))
            for task in self.tasks
        )

    def for_student(self) -> "Report":
        """Return the report without hidden tasks and checks, and without what serves the instructor only.

        A note says that the points shown are not all, because the grade would otherwise look wrong.
        """
        notes = (*self.notes, NOT_ALL) if self.hides else self.notes
        tasks = tuple(shown for task in self.tasks if (shown := task.for_student()) is not None)
        return replace(self, tasks=tasks, trees={}, notes=notes)
