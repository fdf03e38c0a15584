"""A report as one HTML page without scripts or external files, for screens, phones and paper."""

from typing import Any

from se_numpy import pages
from se_numpy.grading.models import Report, TaskReport
from se_numpy.grading.report import text
from se_numpy.grading.report.html_parts import task_body


def as_html(report: Report) -> str:
    """Return the report as a page.

    Raises
    ------
    RuntimeError
        If Jinja2 is not installed.
    """
    score = f"{text.points(report.points)} of {text.points(report.max_points)} points"
    passed = sum(task.status == "passed" for task in report.tasks)
    return pages.render(
        "grading_report.html", maker="se-numpy grade", title=f"{text.line(report.name)}: {score}",
        name=text.line(report.name), score=score, share=text.share(report.points, report.max_points),
        passed=f"{passed} of {len(report.tasks)} tasks passed" if report.tasks else "no task was graded",
        message=text.clean(report.message).strip(), notes=[text.clean(note) for note in report.notes],
        comment=text.clean(report.comment).strip(),
        tasks=[_task(task) for task in report.tasks],
        has_arrays=any(task.counterexample for task in report.tasks),
        isolation=text.isolation(report), missing=text.missing(report), facts=_facts(report),
    )  # fmt: skip


def _task(task: TaskReport) -> dict[str, Any]:
    return {
        "name": text.line(task.task), "title": text.line(task.title), "verdict": text.verdict(task.status),
        "passed": task.status == "passed",
        "mistake": text.line(task.diagnosis.mistake if task.diagnosis else task.only),
        "points": f"{text.points(task.points)} of {text.points(task.max_points)}", "extra": task.extra,
        "body": pages.trusted_html(task_body(task)),
    }  # fmt: skip


def _facts(report: Report) -> list[tuple[str, str]]:
    rows = [("Inputs", text.line(report.seed_id)), ("SHA-256 of the submission", text.line(report.sha256)),
            ("Started", text.line(report.started)), ("Duration", f"{text.finite(report.seconds):.1f} s")]  # fmt: skip
    rows += [(text.line(name, 60), text.line(version)) for name, version in report.versions.items()]
    return [(name, value) for name, value in rows if value]
