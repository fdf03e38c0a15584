"""The parts that page, class page and notebook card are put together from: HTML without scripts, every text escaped.

All that is not written here goes through ``escaped`` on its way in; colours are the only style attributes.
"""

import html
from functools import cache
from importlib import resources
from typing import Any

from se_numpy.grading.models import Check, Counterexample, Diagnosis, TaskReport
from se_numpy.grading.report import arrays, text
from se_numpy.grading.report.arrays import Block, Grid
from se_numpy.grading.report.colormap import colours


def escaped(words: Any, limit: int = text.LONG) -> str:
    """A text as it may stand in HTML, between tags and in quotes."""
    return html.escape(text.clean(words, limit), quote=True)


def one_line(words: Any, limit: int = text.SHORT) -> str:
    """``escaped`` on one line."""
    return html.escape(text.line(words, limit), quote=True)


@cache
def style(name: str) -> str:
    """A style sheet of this package."""
    return resources.files("se_numpy.grading.report").joinpath(name).read_text(encoding="utf-8")


def page(title: str, body: str) -> str:
    """A whole page in one file: nothing is loaded from anywhere, and no script could run."""
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'\">\n"
        f"<title>{one_line(title)}</title>\n<style>\n{style('style.css')}{style('page.css')}</style>\n</head>\n"
        f'<body class="se-report">\n<main>\n{body}\n</main>\n</body>\n</html>\n'
    )


def pill(status: str) -> str:
    """The verdict, in a colour and in words."""
    return f'<span class="pill {"good" if status == "passed" else "bad"}">{one_line(text.verdict(status))}</span>'


def bar(part: float, label: str, colour: str = "#1a7f37") -> str:
    """A bar that fills a share of its room."""
    filled = round(100 * min(1.0, max(0.0, part)), 2)
    return (
        f'<svg role="img" aria-label="{one_line(label)}" viewBox="0 0 100 10" height="10" preserveAspectRatio="none">'
        '<rect width="100" height="10" fill="#7f7f7f" fill-opacity="0.25"/>'
        f'<rect width="{filled}" height="10" fill="{colour}"/></svg>'
    )


def paragraph(words: Any, kind: str = "") -> str:
    """A paragraph; nothing where there is no text."""
    inside = escaped(words).strip().replace("\n", "<br>")
    return f"<p{f' class={chr(34)}{kind}{chr(34)}' if kind else ''}>{inside}</p>" if inside else ""


def task_body(task: TaskReport) -> str:
    """All of one task below its heading."""
    parts = [
        paragraph(task.equation, "equation"),
        f'<p class="quiet"><code>{one_line(task.signature)}</code></p>' if task.signature.strip() else "",
        paragraph(task.message),
        diagnosis(task.diagnosis) if task.diagnosis else "",
        bullets(task.features),
        counterexample(task.counterexample) if task.counterexample else "",
        bullets(task.hints, "Hints"),
        checks(task.checks) if task.checks else "",
        f"<h3>It printed</h3><pre>{escaped(task.stdout)}</pre>" if task.stdout.strip() else "",
    ]
    return "\n".join(filter(None, parts))


def bullets(words: tuple[str, ...], heading: str = "") -> str:
    """A list under a heading; nothing where there is nothing to say."""
    entries = "".join(f"<li>{escaped(entry)}</li>" for entry in words)
    return (f"<h3>{heading}</h3>" if heading else "") + f"<ul>{entries}</ul>" if entries else ""


def checks(looked_at: tuple[Check, ...]) -> str:
    """The checks as a table."""
    rows = []
    for check in looked_at:
        mark = {True: ("good", "ok"), False: ("bad", "failed"), None: ("", "not looked at")}[check.passed]
        said = escaped(check.message)
        if check.error is not None and not check.passed and (far := text.beyond(check.error)):
            said += f' <span class="quiet">{far[0].upper() + far[1:]}.</span>'
        earned = f"{text.points(check.points)} of {text.points(check.max_points)}" if check.max_points else ""
        rows.append(
            f'<tr><th scope="row">{one_line(check.name)}</th><td><span class="pill {mark[0]}">{mark[1]}</span></td>'
            f'<td>{said}</td><td class="number">{earned}</td></tr>'
        )
    head = '<th scope="col">Check</th><th scope="col">Verdict</th><th scope="col">What was seen</th>'
    head += '<th scope="col" class="number">Points</th>'
    return f'<h3>Checks</h3><table class="list"><thead><tr>{head}</tr></thead><tbody>{"".join(rows)}</tbody></table>'


def diagnosis(found: Diagnosis) -> str:
    """The mistake by its name, and the equation it breaks."""
    return (
        f'<div class="said"><p><strong>{one_line(found.mistake)}</strong> '
        f'<span class="quiet">agrees on {found.agreed} of {found.of} inputs that can tell</span></p>'
        f'{paragraph(found.text)}{paragraph(found.equation, "equation")}</div>'
    )


def counterexample(example: Counterexample) -> str:
    """The smallest failing input: what went in, what should have come out, what came."""
    given = "".join(block(arrays.block(name, value)) for name, value in example.arguments.items())
    parts = ["<h3>The smallest failing input found</h3>", paragraph(example.problem), given]
    if example.got:
        parts += ["<h3>The answer</h3>", *map(block, arrays.comparisons(example.expected, example.got))]
    else:
        parts += ["<h3>Expected, but nothing was returned</h3>"]
        parts += [block(arrays.compare(name, value)) for name, value in example.expected.items()]
    if example.repro.strip():
        parts.append(f"<details><summary>To see it again</summary><pre>{escaped(example.repro)}</pre></details>")
    return "\n".join(filter(None, parts))


def block(shown: Block) -> str:
    """One argument or one result: a line, and its heatmaps."""
    rows = [f"<p><code>{html.escape(shown.name)}</code> <span class=\"quiet\">{html.escape(shown.about)}</span></p>"]
    # Planes of one array stand side by side; a plane's expected, yours and difference keep a row of their own.
    alone = all(len(grids) == 1 for grids in shown.rows)
    for grids in [tuple(g for row in shown.rows for g in row)] if alone and shown.rows else shown.rows:
        drawn = "".join(grid(g, shown.name) for g in grids)
        rows.append(f'<div class="scroll"><div class="grids">{drawn}</div></div>')
    return "".join(rows)


def grid(shown: Grid, name: str) -> str:
    """A heatmap: a table of numbers on colours, blue below 0 and orange above; a frame where yours differs."""
    label = f" <code>{html.escape(shown.label)}</code>" if shown.label != name else ""
    caption = f"{html.escape(shown.title)}{label}".strip()
    out = ['<table class="grid">', f"<caption>{caption}</caption>" if caption else ""]
    many_rows, many_columns = len(shown.rows) > 1, len(shown.columns) > 1
    if many_columns:
        corner = "<td style=\"border:0\"></td>" if many_rows else ""
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
    said = '<span class="unseen"> differs</span>' if wrong else ""
    kind = ' class="off"' if wrong else ""
    return f'<td{kind} style="background:{background};color:{ink}">{html.escape(shown.texts[i][j])}{said}</td>'
