"""The body of a graded task as HTML, for the notebook card and, through ``as_html``, for the report page.

It is written without Jinja2 because a notebook card must work without it. All text from outside this file is escaped;
the only style attributes are colours; there are no scripts.
"""

import html
from typing import Any

from se_numpy.grading.models import Check, Counterexample, Diagnosis, TaskReport
from se_numpy.grading.report import arrays, text
from se_numpy.grading.report.arrays import Block, Grid
from se_numpy.grading.report.colormap import colours


def escaped(words: Any, limit: int = text.LONG) -> str:
    """Return text escaped for HTML, between tags or in quotes."""
    return html.escape(text.clean(words, limit), quote=True)


def one_line(words: Any, limit: int = text.SHORT) -> str:
    """Return text escaped for HTML, on one line."""
    return html.escape(text.line(words, limit), quote=True)


def pill(status: str) -> str:
    """Return a status as a coloured label."""
    return f'<span class="pill {"good" if status == "passed" else "bad"}">{one_line(text.verdict(status))}</span>'


def paragraph(words: Any, kind: str = "") -> str:
    """Return a paragraph, or an empty string if there is no text."""
    inside = escaped(words).strip().replace("\n", "<br>")
    return f"<p{f' class={chr(34)}{kind}{chr(34)}' if kind else ''}>{inside}</p>" if inside else ""


def task_body(task: TaskReport) -> str:
    """Return everything about a task below its heading."""
    parts = [
        paragraph(task.equation, "equation"),
        f'<p class="quiet"><code>{one_line(task.signature)}</code></p>' if task.signature.strip() else "",
        paragraph(task.message),
        comment(task.comment),
        diagnosis(task.diagnosis) if task.diagnosis else "",
        bullets(task.features),
        counterexample(task.counterexample) if task.counterexample else "",
        bullets(task.hints, "Hints"),
        checks(task.checks) if task.checks else "",
        f"<h3>Printed output</h3><pre>{escaped(task.stdout)}</pre>" if task.stdout.strip() else "",
    ]
    return "\n".join(filter(None, parts))


def comment(words: str) -> str:
    """Return the instructor's comment, or an empty string if there is none."""
    return f'<div class="diagnosis"><p><strong>Comment</strong></p>{paragraph(words)}</div>' if words.strip() else ""


def bullets(words: tuple[str, ...], heading: str = "") -> str:
    """Return a list under a heading, or an empty string if the list is empty."""
    entries = "".join(f"<li>{escaped(entry)}</li>" for entry in words)
    return (f"<h3>{heading}</h3>" if heading else "") + f"<ul>{entries}</ul>" if entries else ""


def checks(results: tuple[Check, ...]) -> str:
    """Return the checks as a table."""
    rows = []
    for check in results:
        mark = {True: ("good", "passed"), False: ("bad", "failed"), None: ("", "not run")}[check.passed]
        message = escaped(check.message)
        if check.error is not None and not check.passed and (excess := text.beyond(check.error)):
            message += f' <span class="quiet">{excess[0].upper() + excess[1:]}.</span>'
        earned = f"{text.points(check.points)} of {text.points(check.max_points)}" if check.max_points else ""
        rows.append(
            f'<tr><th scope="row">{one_line(check.name)}</th><td><span class="pill {mark[0]}">{mark[1]}</span></td>'
            f'<td>{message}</td><td class="number">{earned}</td></tr>'
        )
    head = '<th scope="col">Check</th><th scope="col">Result</th><th scope="col">Message</th>'
    head += '<th scope="col" class="number">Points</th>'
    body = "".join(rows)
    return f'<h3>Checks</h3><table class="list checks"><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>'


def diagnosis(found: Diagnosis) -> str:
    """Return the name of the mistake and the equation that it violates."""
    return (
        f'<div class="diagnosis"><p><strong>{one_line(found.mistake)}</strong> '
        f'<span class="quiet">agrees on {found.agreed} of {found.of} inputs that distinguish it</span></p>'
        f"{paragraph(found.text)}{paragraph(found.equation, 'equation')}</div>"
    )


def counterexample(example: Counterexample) -> str:
    """Return the smallest failing input, the expected results and the returned ones."""
    given = "".join(block(arrays.block(name, value)) for name, value in example.arguments.items())
    parts = ["<h3>Smallest failing input</h3>", paragraph(example.problem), given]
    if example.got:
        parts += ["<h3>Expected and returned values</h3>"]
        parts += map(block, arrays.comparisons(example.expected, example.got))
    else:
        parts += ["<h3>Expected values (nothing was returned)</h3>"]
        parts += [block(arrays.compare(name, value)) for name, value in example.expected.items()]
    if example.repro.strip():
        parts.append(f"<details><summary>Code to reproduce</summary><pre>{escaped(example.repro)}</pre></details>")
    return "\n".join(filter(None, parts))


def block(shown: Block) -> str:
    """Return an argument or a result: a line about it and its heatmaps."""
    rows = [f'<p><code>{html.escape(shown.name)}</code> <span class="quiet">{html.escape(shown.about)}</span></p>']
    # The planes of an array share a row; a plane's expected, returned and difference grids have their own row.
    alone = all(len(grids) == 1 for grids in shown.rows)
    for grids in [tuple(g for row in shown.rows for g in row)] if alone and shown.rows else shown.rows:
        drawn = "".join(grid(g, shown.name) for g in grids)
        rows.append(f'<div class="scroll"><div class="grids">{drawn}</div></div>')
    return "".join(rows)


def grid(shown: Grid, name: str) -> str:
    """Return a heatmap: values on a background, blue if negative and orange if positive, framed where they differ."""
    label = f" <code>{html.escape(shown.label)}</code>" if shown.label != name else ""
    caption = f"{html.escape(shown.title)}{label}".strip()
    out = ['<table class="grid">', f"<caption>{caption}</caption>" if caption else ""]
    many_rows, many_columns = len(shown.rows) > 1, len(shown.columns) > 1
    if many_columns:
        corner = '<td style="border:0"></td>' if many_rows else ""
        heads = "".join(f'<th scope="col">{column}</th>' for column in shown.columns)
        out.append(f"<thead><tr>{corner}{heads}</tr></thead>")
    out.append("<tbody>")
    for i, row in enumerate(shown.rows):
        out.append(f'<tr><th scope="row">{row}</th>' if many_rows else "<tr>")
        out += [_cell(shown, i, j) for j in range(len(shown.columns))]
        out.append("</tr>")
    return "".join([*out, "</tbody></table>"])


def _cell(shown: Grid, i: int, j: int) -> str:
    background, ink = colours(float(shown.values[i, j]), shown.limit)
    wrong = shown.title == "yours" and bool(shown.marked[i, j])
    hidden = '<span class="unseen"> differs</span>' if wrong else ""
    kind = ' class="off"' if wrong else ""
    return f'<td{kind} style="background:{background};color:{ink}">{html.escape(shown.texts[i][j])}{hidden}</td>'
