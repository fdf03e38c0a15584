"""Points and comments by hand, from a CSV file that the grader reads and never writes, so that a regrade keeps them.

The columns are student, task, points, add and comment; all but student may be left empty or out:

    student,task,points,add,comment
    12345,squeeze,1.5,,the right idea in the wrong axis
    12345,,,0.5,a clear derivation on paper
    Lovelace Ada,,,,please see me about exercise 4

``points`` replaces the points of the task, and ``add`` is added to them or, without a task, to the sum.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from difflib import get_close_matches
from pathlib import Path

from se_numpy.grading.models import Report, TaskReport
from se_numpy.grading.report.text import points as shown
from se_numpy.grading.roster import read_rows

COLUMNS = ("student", "task", "points", "add", "comment")


@dataclass(frozen=True)
class Entry:
    """One row: points or a comment on a task or, without a task, on the whole submission."""

    student: str  # the key of the student
    task: str = ""
    points: float | None = None
    add: float = 0.0
    comment: str = ""

    def explained(self, before: float) -> str:
        """Return the comment, after a sentence about the points if the row changes them."""
        if self.points is not None:
            said = f"Points set by hand: {shown(self.points + self.add)} in place of {shown(before)}."
        else:
            said = (
                f"Points {'added' if self.add > 0 else 'taken off'} by hand: {shown(abs(self.add))}."
                if self.add
                else ""
            )
        return " ".join(filter(None, (said, self.comment)))


@dataclass(frozen=True)
class Manual:
    """All rows of the file."""

    entries: tuple[Entry, ...] = ()

    @staticmethod
    def read(path: str | Path, tasks: Sequence[str], find: Callable[[str], str]) -> "Manual":
        """Read the file.  ``find`` returns the key of the student that a text names, or raises ValueError.

        Raises
        ------
        ValueError
            If the file cannot be read, or a row names an unknown student or task or has points that are not a number.
        """
        rows = read_rows(Path(path))
        header = [cell.strip().lower() for cell in rows[0]] if rows else []
        for name in header:
            if name not in COLUMNS:
                near = get_close_matches(name, COLUMNS, n=1)
                hint = f"did you mean {near[0]}?" if near else f"expected {', '.join(COLUMNS)}"
                raise ValueError(f"{path} has an unknown column {name!r}; {hint}")
        if "student" not in header:
            raise ValueError(f"{path} has no column student; expected {', '.join(COLUMNS)}")
        entries = []
        for number, row in enumerate(rows[1:], 2):
            cells = dict(zip(header, (cell.strip() for cell in row), strict=False))
            if any(cells.values()):
                entries.append(_entry(f"{path}, row {number}", cells, tasks, find))
        return Manual(tuple(entries))

    def of(self, student: str) -> list[Entry]:
        """Return the rows about a student."""
        return [entry for entry in self.entries if entry.student == student]

    def apply(self, report: Report) -> Report:
        """Return a report with the points and comments of its student."""
        entries = self.of(report.student)
        tasks = tuple(_applied(task, [e for e in entries if e.task == task.task]) for task in report.tasks)
        whole = [entry for entry in entries if not entry.task]
        comment = "\n".join(filter(None, (entry.explained(0.0) for entry in whole)))
        return replace(report, tasks=tasks, added=sum(entry.add for entry in whole), comment=comment)


def _applied(task: TaskReport, entries: Sequence[Entry]) -> TaskReport:
    comments, points = [], task.points
    for entry in entries:
        comments.append(entry.explained(points))
        points = (points if entry.points is None else entry.points) + entry.add
    return replace(task, points=points, by_hand=points - task.points, comment="\n".join(filter(None, comments)))


def _entry(where: str, cells: dict[str, str], tasks: Sequence[str], find: Callable[[str], str]) -> Entry:
    task = cells.get("task", "")
    if task and task not in tasks:
        near = get_close_matches(task, tasks, n=1)
        hint = f"did you mean {near[0]}?" if near else f"expected one of {', '.join(tasks)}"
        raise ValueError(f"{where}: unknown task {task!r}; {hint}")
    points, add = (_number(where, name, cells.get(name, "")) for name in ("points", "add"))
    if points is not None and not task:
        raise ValueError(
            f"{where}: points are for one task; expected a task, or the column add for the whole submission"
        )
    try:
        student = find(cells["student"])
    except ValueError as error:
        raise ValueError(f"{where}: {error}") from None
    return Entry(student, task, points, add or 0.0, cells.get("comment", ""))


def _number(where: str, name: str, text: str) -> float | None:
    try:
        value = float(text.replace(",", ".")) if text else None
    except ValueError:
        value = math.nan
    if value is not None and not math.isfinite(value):
        raise ValueError(f"{where}: {name} is {text!r}; expected a number")
    return value
