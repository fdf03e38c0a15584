"""A report as JUnit XML for continuous integration: one test case for each task.

A wrong result is a failure; an exception, a time-out or a crash is an error; a missing function is skipped.
"""

from xml.etree import ElementTree as ET

from se_numpy.grading.models import Report, TaskReport
from se_numpy.grading.report.terminal import task_lines
from se_numpy.grading.report.text import clean, finite, level, line, points, verdict

_ELEMENTS = {"passed": None, "failed": "failure", "missing": "skipped"}  # every other status is an error


def as_junit(report: Report) -> str:
    """Return the report as JUnit XML."""
    suites = ET.Element("testsuites", name="se_numpy")
    suite = ET.SubElement(suites, "testsuite", name=line(report.name), time=f"{finite(report.seconds):.3f}")
    if report.started:
        suite.set("timestamp", line(report.started, 60))
    _properties(suite, report)
    outcomes = [_case(suite, task) for task in report.tasks]
    if not report.tasks:  # an empty suite would pass
        case = ET.SubElement(suite, "testcase", classname="submission", name=line(report.name), time="0.000")
        why = clean(report.message) or "no task was graded"
        ET.SubElement(case, "error", type="unreadable", message=line(why)).text = why
        outcomes = ["error"]
    for element in (suite, suites):
        element.set("tests", str(len(outcomes)))
        element.set("failures", str(outcomes.count("failure")))
        element.set("errors", str(outcomes.count("error")))
        element.set("skipped", str(outcomes.count("skipped")))
    ET.indent(suites)
    return '<?xml version="1.0" encoding="UTF-8"?>\n' + ET.tostring(suites, encoding="unicode") + "\n"


def _properties(suite: ET.Element, report: Report) -> None:
    facts = {
        "isolation": level(report.level, report.backend),
        "missing": "; ".join(clean(sentence) for sentence in report.missing),
        "seed_id": line(report.seed_id),
        "sha256": line(report.sha256),
        "points": points(report.points),
        "max_points": points(report.max_points),
        "message": clean(report.message),
        **{f"version {line(name, 60)}": line(version) for name, version in report.versions.items()},
    }
    holder = ET.SubElement(suite, "properties")
    for name, value in facts.items():
        if value:
            ET.SubElement(holder, "property", name=name, value=value)


def _case(suite: ET.Element, task: TaskReport) -> str | None:
    case = ET.SubElement(suite, "testcase", classname=line(task.equation) or "task", name=line(task.task),
                         time=f"{finite(task.seconds):.3f}")  # fmt: skip
    outcome = _ELEMENTS.get(task.status, "error")
    if outcome:
        reason = task.diagnosis.mistake if task.diagnosis else task.message or verdict(task.status)
        element = ET.SubElement(case, outcome, message=line(reason))
        if outcome != "skipped":
            element.set("type", line(task.status, 40))
        element.text = clean("\n".join(task_lines(task)), 20_000)
    if task.stdout.strip():
        ET.SubElement(case, "system-out").text = clean(task.stdout)
    return outcome
