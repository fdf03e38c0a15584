"""A report as Gradescope's results.json: one test for each task, plain text, finite numbers.

Fields and types follow Gradescope's "Autograder Specifications". The status only colours a test; its score counts. The
hidden checks of a task are a test of their own. By default, nothing is hidden, because one hidden test hides the total
from students.
"""

import json
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from se_numpy.grading.models import HIDDEN, VISIBLE, Check, Report, TaskReport
from se_numpy.grading.report.terminal import task_lines
from se_numpy.grading.report.text import clean, finite, isolation, line, missing, points, verdict

VISIBILITY = (VISIBLE, HIDDEN, "after_due_date", "after_published")
_LONGEST = 20_000  # characters of a test's output


def as_gradescope(report: Report, *, visibility: str | Mapping[str, str] | None = None) -> str:
    """Return results.json.

    ``visibility`` applies to all tasks, or maps task names to visibilities; tasks that it does not name are visible.
    Without it, each task has the visibility in its report.

    Raises
    ------
    ValueError
        If Gradescope does not know a visibility.
    """
    if visibility is None:
        visibility = {task.task: _known(task.visibility) for task in report.tasks}
    for word in (visibility,) if isinstance(visibility, str) else visibility.values():
        if word not in VISIBILITY:
            raise ValueError(f"visibility {word!r} is unknown to Gradescope; expected one of {', '.join(VISIBILITY)}")
    tests = []
    for number, task in enumerate(report.tasks, 1):
        seen = visibility if isinstance(visibility, str) else visibility.get(task.task, "visible")
        tests.append(_test(str(number), replace(task, visibility=VISIBLE).for_student() or task, seen))
        if hidden := [check for check in task.checks if check.visibility == HIDDEN]:
            tests.append(_hidden_checks(f"{number}.1", task, hidden))
    if report.added:
        tests.append(_test("", TaskReport("Points by hand", "", "", "", "passed", report.added, 0.0), VISIBLE))
    summary = [f"{points(report.points)} of {points(report.max_points)} points.", clean(report.message)]
    summary += [*map(clean, report.notes), clean(report.comment)]
    summary += [isolation(report), *(f"- {sentence}" for sentence in missing(report))]
    results: dict[str, Any] = {
        "score": _round(sum(test["score"] for test in tests)),
        "execution_time": _round(report.seconds),
        "output": clean("\n".join(filter(None, summary))),
        "output_format": "text",
        "test_output_format": "text",
        "test_name_format": "text",
        "visibility": "visible",
        "stdout_visibility": "hidden",
        "tests": tests,
        "extra_data": {
            "sha256": line(report.sha256),
            "seed_id": line(report.seed_id),
            "level": line(report.level),
            "student": line(report.student),
        },
    }
    return json.dumps(results, indent=1, ensure_ascii=False, allow_nan=False) + "\n"


def _known(visibility: str) -> str:
    """Return a visibility from a report, which may have been changed since: an unknown one hides."""
    return visibility if visibility in VISIBILITY else HIDDEN


def _hidden_checks(number: str, task: TaskReport, checks: list[Check]) -> dict[str, Any]:
    failed = any(check.passed is False for check in checks)
    rest = replace(
        task, title="hidden checks", status="failed" if failed else "passed", checks=tuple(checks), hints=(),
        points=sum(check.points for check in checks), max_points=sum(check.max_points for check in checks), comment="",
    )  # fmt: skip
    return _test(number, rest, HIDDEN)


def _test(number: str, task: TaskReport, visibility: str) -> dict[str, Any]:
    # Gradescope shows the name and points itself, so the first line of the terminal text is dropped.
    output = "\n".join([f"Verdict: {verdict(task.status)}.", *list(task_lines(task))[1:]])
    errors = [finite(check.error) for check in task.checks if check.error is not None]
    return {
        "number": number,
        "name": ": ".join(filter(None, [line(task.task), line(task.title)])),
        "name_format": "text",
        "score": _round(task.points),
        "max_score": _round(task.max_points),
        "status": "passed" if task.status == "passed" else "failed",
        "output": clean(output, _LONGEST),
        "output_format": "text",
        "tags": [line(task.equation, 60)] if line(task.equation) else [],
        "visibility": visibility,
        "extra_data": {
            "task": line(task.task),
            "status": line(task.status),
            "mistake": line(task.diagnosis.mistake) if task.diagnosis else None,
            "error_over_tolerance": max(errors, default=None),
            "seconds": _round(task.seconds),
            "calls": int(task.calls),
        },
    }


def _round(value: float) -> float:
    return round(finite(value), 4)
