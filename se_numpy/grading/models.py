"""What grading leaves behind: plain records, without any code of a submission's, that every report is made of."""

from dataclasses import dataclass, field
from typing import Any

import numpy as np

# Why a call gave no arrays, or a task no verdict.
STATUSES = {
    "passed": "every check passed",
    "failed": "a check failed",
    "error": "the function raised an exception",
    "timeout": "the function ran out of time and was stopped",
    "memory": "the function ran out of memory",
    "crashed": "the process ended while the function ran",
    "refused": "what the function returned is not arrays of numbers",
    "missing": "the submission has no function of this name, or an empty one",
    "unreadable": "the submission cannot be run at all",
}


@dataclass(frozen=True)
class Reply:
    """What one call of a submitted function came to."""

    status: str  # "ok", or a key of STATUSES other than "passed" and "failed"
    outputs: tuple[np.ndarray, ...] = ()
    mutated: tuple[int, ...] = ()  # which of the arguments, counted from 0, it wrote into
    message: str = ""  # the exception's text or what else went wrong, for the author of the submission
    stdout: str = ""  # what it printed during the call, capped
    listed: bool = False  # whether the outputs came in a list


@dataclass(frozen=True)
class Check:
    """One thing that was looked at."""

    name: str  # "shape", "dtype", "values of dU", "special cases", "inputs untouched", "repeatable", "extremes"
    points: float
    max_points: float
    passed: bool | None  # None: could not be looked at, because something before it failed
    message: str = ""
    error: float | None = None  # the largest error over the tolerance: at most 1 where values are right


@dataclass(frozen=True)
class Counterexample:
    """The smallest input found on which the submission is wrong."""

    arguments: dict[str, Any]  # name -> array or number, in the order of the signature
    expected: dict[str, np.ndarray]  # output's name -> array
    got: dict[str, np.ndarray]  # empty if the call gave nothing
    problem: str  # one sentence: what is wrong here
    repro: str  # a few lines of Python that show it


@dataclass(frozen=True)
class Diagnosis:
    """A known mistake that the submission agrees with on every input that could tell."""

    mistake: str  # its name
    text: str  # one or two sentences: what was done, what the equation says
    equation: str
    agreed: int  # on how many inputs that tell it from the right answer
    of: int


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
    features: tuple[str, ...] = ()  # what holds of all wrong answers, where no known mistake does
    hints: tuple[str, ...] = ()  # what costs no points: single precision inside, another shape accepted
    message: str = ""  # what happened where there is no verdict on values
    stdout: str = ""
    seconds: float = 0.0
    calls: int = 0


@dataclass(frozen=True)
class Report:
    """The verdict on one submission."""

    name: str
    sha256: str
    level: str  # the isolation it ran under: "L0" to "L3"
    backend: str  # "in process", "plain child", "landlock", "bubblewrap"
    missing: tuple[str, ...]  # what stronger isolation would need here, one sentence each
    seed_id: str  # tells runs with the same inputs from others; not the secret itself
    started: str  # ISO 8601
    seconds: float
    tasks: tuple[TaskReport, ...] = ()
    message: str = ""  # why nothing could be graded, if so
    versions: dict[str, str] = field(default_factory=dict)

    @property
    def points(self) -> float:
        return sum(task.points for task in self.tasks)

    @property
    def max_points(self) -> float:
        return sum(task.max_points for task in self.tasks)

    @property
    def passed(self) -> bool:
        return bool(self.tasks) and all(task.status == "passed" for task in self.tasks)
