"""Reports as CSV for a gradebook: a row for each submission, columns for each task's points and status."""

import csv
import io
import re
from collections.abc import Iterable, Sequence

from se_numpy.grading.models import Report
from se_numpy.grading.report.text import finite, line, points, share


def as_csv(report: Report) -> str:
    """Return a report as CSV with a header."""
    return write_table([report])


def write_table(
    reports: Sequence[Report], unreadable: Iterable[tuple[str, str]] = (), passed_over: Iterable[tuple[str, str]] = ()
) -> str:
    """Return reports as CSV, followed by the name and reason for each submission without a report.

    Files that were passed over come last, without points.
    """
    # Submissions may have been graded on different tasks.
    tasks = list(dict.fromkeys(line(task.task) for report in reports for task in report.tasks))
    head = ["submission", *(column for task in tasks for column in (f"{task} points", f"{task} status"))]
    page = io.StringIO()
    writer = csv.writer(page, lineterminator="\n")
    writer.writerow([_cell(column) for column in [*head, "points", "max points", "share", "message"]])
    for report in reports:
        found = {line(task.task): task for task in report.tasks}
        row = [line(report.name)]
        for name in tasks:
            row += [points(finite(found[name].points)), line(found[name].status)] if name in found else ["", ""]
        row += [points(finite(report.points)), points(finite(report.max_points))]
        row += [f"{share(report.points, report.max_points):.4f}", line(report.message)]
        writer.writerow([_cell(entry) for entry in row])
    for name, why in unreadable:
        row = [line(name), *([""] * 2 * len(tasks)), "0", "", "0.0000", line(why)]
        writer.writerow([_cell(entry) for entry in row])
    for name, why in passed_over:
        row = [line(name), *([""] * 2 * len(tasks)), "", "", "", f"passed over: {line(why)}"]
        writer.writerow([_cell(entry) for entry in row])
    return page.getvalue()


def _cell(entry: str) -> str:
    """Return text that no spreadsheet interprets as a formula; numbers are unchanged."""
    harmless = not entry.startswith(("=", "+", "-", "@")) or re.fullmatch(r"-[0-9.]+(e[+-]?[0-9]+)?", entry)
    return entry if harmless else "'" + entry
