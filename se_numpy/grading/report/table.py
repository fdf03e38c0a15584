"""Reports as CSV for a gradebook: a row for each submission, columns for each task's points and status."""

import csv
import io
import re
from collections.abc import Iterable, Sequence

from se_numpy.grading.models import Report
from se_numpy.grading.report.text import finite, line, points


def as_csv(report: Report) -> str:
    """Return a report as CSV with a header."""
    return write_table([report])


def write_table(
    reports: Sequence[Report], unreadable: Iterable[tuple[str, str]] = (), passed_over: Iterable[tuple[str, str]] = (),
    absent: Sequence[str] = (),
) -> str:  # fmt: skip
    """Return reports as CSV, followed by the name and reason for each submission without a report.

    Files that were passed over come next, without points, and last the students who submitted nothing. There is a
    column with the key of the student if reports or ``absent`` have any.
    """
    # Submissions may have been graded on different tasks.
    tasks = list(dict.fromkeys(line(task.task) for report in reports for task in report.tasks))
    head = ["submission", *(column for task in tasks for column in (f"{task} points", f"{task} status"))]
    head += ["points", "max points", "share", "message"]
    with_student = bool(absent) or any(report.student for report in reports)
    page = io.StringIO()
    writer = csv.writer(page, lineterminator="\n")
    writer.writerow([cell(column) for column in [*head, *["student"] * with_student]])
    for report in reports:
        found = {line(task.task): task for task in report.tasks}
        row = [line(report.name)]
        for name in tasks:
            row += [points(finite(found[name].points)), line(found[name].status)] if name in found else ["", ""]
        row += [points(finite(report.points)), points(finite(report.max_points))]
        row += [f"{_share(report):.4f}", line("; ".join(filter(None, (report.message, report.comment))))]
        row += [line(report.student)] * with_student
        writer.writerow([cell(entry) for entry in row])
    for name, why in unreadable:
        row = [line(name), *([""] * 2 * len(tasks)), "0", "", "0.0000", line(why), *[""] * with_student]
        writer.writerow([cell(entry) for entry in row])
    for name, why in passed_over:
        row = [line(name), *([""] * 2 * len(tasks)), "", "", "", f"passed over: {line(why)}", *[""] * with_student]
        writer.writerow([cell(entry) for entry in row])
    for student in absent:
        row = ["", *([""] * 2 * len(tasks)), "", "", "", "nothing was submitted", line(student)]
        writer.writerow([cell(entry) for entry in row])
    return page.getvalue()


def _share(report: Report) -> float:
    """Return the share of the points, which exceeds 1 with extra credit."""
    most = finite(report.max_points)
    return max(0.0, finite(report.points) / most) if most > 0 else 0.0


def cell(entry: str) -> str:
    """Return text that no spreadsheet interprets as a formula; numbers and a lone dash are unchanged."""
    formula = entry.lstrip().startswith(("=", "+", "-", "@"))
    harmless = not formula or re.fullmatch(r"-|-[0-9.]+(e[+-]?[0-9]+)?", entry)
    return entry if harmless else "'" + entry
