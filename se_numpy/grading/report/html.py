"""The report as one page that needs no network, no script and no other file: on a screen, on a phone, on paper."""

from se_numpy.grading.models import Report, TaskReport
from se_numpy.grading.report import text
from se_numpy.grading.report.html_parts import bar, bullets, one_line, page, paragraph, pill, task_body


def as_html(report: Report) -> str:
    """The report as a page."""
    body = [_head(report)]
    if report.tasks:
        body.append(_overview(report))
    body += [_task(number, task) for number, task in enumerate(report.tasks, 1)]
    body.append(_foot(report))
    return page(f"{text.line(report.name)}: {_score(report)}", "\n".join(body))


def _score(report: Report) -> str:
    return f"{text.points(report.points)} of {text.points(report.max_points)} points"


def _head(report: Report) -> str:
    meter = bar(text.share(report.points, report.max_points), _score(report))
    passed = sum(task.status == "passed" for task in report.tasks)
    tasks = f"{passed} of {len(report.tasks)} tasks passed" if report.tasks else "no task was graded"
    return (
        f"<header><h1>{one_line(report.name)}</h1>\n<p><strong>{_score(report)}</strong>, {tasks}</p>\n"
        f'<div class="meter">{meter}</div>\n{paragraph(report.message)}</header>'
    )


def _overview(report: Report) -> str:
    rows = []
    for number, task in enumerate(report.tasks, 1):
        named = one_line(task.diagnosis.mistake) if task.diagnosis else ""
        rows.append(
            f'<tr><th scope="row"><a href="#task-{number}">{one_line(task.task)}</a></th><td>{pill(task.status)}</td>'
            f'<td>{named}</td><td class="wide">{one_line(task.title)}</td>'
            f'<td class="number">{text.points(task.points)} of {text.points(task.max_points)}</td></tr>'
        )
    head = "".join(f'<th scope="col">{name}</th>' for name in ("Task", "Verdict", "Diagnosis"))
    head += '<th scope="col" class="wide">About</th><th scope="col" class="number">Points</th>'
    table = f'<table class="list"><thead><tr>{head}</tr></thead><tbody>{"".join(rows)}</tbody></table>'
    return f'<section aria-label="Overview"><h2>Tasks</h2>\n{table}</section>'


def _task(number: int, task: TaskReport) -> str:
    earned = f'<span class="quiet">{text.points(task.points)} of {text.points(task.max_points)} points</span>'
    title = paragraph(text.line(task.title))
    inside = task_body(task)
    if task.status == "passed":  # nothing to mend: folded away, a click brings it back
        inside = f"<details><summary>What was looked at</summary>{inside}</details>"
    head = f'<h2 id="task-{number}-name">{one_line(task.task)} {pill(task.status)} {earned}</h2>'
    return f'<section id="task-{number}" aria-labelledby="task-{number}-name">{head}\n{title}\n{inside}</section>'


def _foot(report: Report) -> str:
    about = {"inputs": report.seed_id, "sha256 of the submission": report.sha256, "started": report.started}
    facts = [f"{name} {text.line(value)}" for name, value in about.items() if value]
    facts += [f"{text.line(name, 60)} {text.line(version)}" for name, version in report.versions.items()]
    facts.append(f"{text.finite(report.seconds):.1f} s")
    key = "In the tables of numbers blue is below 0, orange above, white is 0, grey is no number; "
    key += "a black frame marks an entry that differs."
    return (
        f'<footer class="quiet">{paragraph(key) if any(task.counterexample for task in report.tasks) else ""}\n'
        f"{paragraph(f'Isolation: {text.level(report.level, report.backend)}.')}{bullets(report.missing)}\n"
        f"{paragraph(', '.join(facts))}</footer>"
    )
