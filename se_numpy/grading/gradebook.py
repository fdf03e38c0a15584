"""Gradebooks that Canvas and Moodle import, in the columns of the roster that was read.

Canvas (``gradebook_importer.rb`` of canvas-lms) expects the columns Student, ID, optionally SIS User ID, SIS Login ID,
Integration ID and Root Account, and Section; then a column for each assignment, "Name (ID)", and a row with "Points
Possible" in the first column, which it would write to the assignment. An empty cell means no grade.

Moodle's grading worksheet (``importgradeslib.php`` of assignfeedback_offline) is recognised by its columns Identifier,
Grade and Last modified (grade), and takes Feedback comments; all of its other columns are kept as they were. For the
import into the gradebook the columns are chosen by hand, so a list of participants gets Grade and Feedback comments.
"""

import csv
import io
import re
from collections.abc import Sequence

from se_numpy.grading.grades import Grade
from se_numpy.grading.report.table import cell
from se_numpy.grading.roster import POINTS_POSSIBLE, Roster

_STUDENT_COLUMNS = {"Student", "LastName", "FirstName", "ID", "SIS User ID", "SIS Login ID", "Integration ID",
                    "Root Account", "Section"}  # fmt: skip
GRADE, FEEDBACK = "Grade", "Feedback comments"


def canvas_column(roster: Roster, wanted: str) -> str:
    """Return the column of an assignment: as it is called in the roster if its name, or name and ID, is there."""
    for column in roster.header:
        if wanted in (column, re.sub(r" \(\d+\)$", "", column)):
            return column
    return wanted


def points_possible(roster: Roster, column: str) -> float | None:
    """Return the most points of an assignment in Canvas, or None if the roster does not tell."""
    if column not in roster.header or not roster.points_row:
        return None
    try:
        return float(roster.points_row[roster.header.index(column)].replace(",", "."))
    except ValueError:
        return None


def as_canvas(roster: Roster, grades: Sequence[Grade], column: str) -> str:
    """Return the gradebook for Canvas.  The most points are the assignment's in Canvas, if the roster tells them."""
    kept = [k for k, name in enumerate(roster.header) if name in _STUDENT_COLUMNS]
    known = points_possible(roster, column)
    most = known if known is not None else max((grade.max_points for grade in grades), default=0.0)
    found = {grade.student: grade for grade in grades}
    rows = [[roster.header[k] for k in kept] + [column]]
    rows.append([f"    {POINTS_POSSIBLE}", *[""] * (len(kept) - 1), _number(most)])
    rows += [[student.row[k] for k in kept] + [_points(found[student.key])] for student in roster.students]
    return _table(rows)


def as_moodle(roster: Roster, grades: Sequence[Grade]) -> str:
    """Return the gradebook for Moodle: the roster's columns, with the grade and the comments by hand."""
    header = [*roster.header, *(name for name in (GRADE, FEEDBACK) if name not in roster.header)]
    rows, found = [header], {grade.student: grade for grade in grades}
    for student in roster.students:
        row = dict(zip(roster.header, student.row, strict=True))
        grade = found[student.key]
        row[GRADE] = _points(grade) or row.get(GRADE, "")
        row[FEEDBACK] = "<br>".join(grade.comments) or row.get(FEEDBACK, "")
        rows.append([row[name] for name in header])
    return _table(rows)


def _points(grade: Grade) -> str:
    return "" if grade.points is None else _number(grade.points)


def _number(value: float) -> str:
    """Return a number with up to two decimals, as Canvas shows it."""
    return f"{value:.2f}".rstrip("0").rstrip(".")


def _table(rows: Sequence[Sequence[str]]) -> str:
    page = io.StringIO()
    csv.writer(page, lineterminator="\n").writerows([cell(entry) for entry in row] for row in rows)
    return page.getvalue()
