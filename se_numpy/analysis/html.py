"""What all pages share: one HTML file, no scripts, nothing from elsewhere, good light, dark, on a phone and printed."""

import html
from base64 import b64encode
from collections.abc import Sequence

STYLE = """
:root { color-scheme: light dark; }
body { margin: 0; font: 16px/1.55 system-ui, "Segoe UI", Roboto, "Helvetica Neue", Arial, sans-serif;
  color: #1b1f24; background: #fff; }
main { max-width: 62rem; margin: 0 auto; padding: 1.5rem 1.2rem 3rem; }
h1 { font-size: 1.7em; line-height: 1.2; margin: 0 0 .3em; } h2 { font-size: 1.25em; margin: 0 0 .3em; }
section { margin-top: 1.6rem; padding-top: 1.2rem; border-top: 1px solid #8886; }
p { margin: .4em 0; max-width: 46rem; } li { margin: .45em 0; max-width: 45rem; } ul { padding-left: 1.2em; }
.quiet { opacity: .75; } figure { margin: .8em 0; }
img { display: block; max-width: 100%; height: auto; background: #fff; border-radius: 6px; }
.scroll { overflow-x: auto; margin: .8em 0; }
table { border-collapse: collapse; font-size: .9em; font-variant-numeric: tabular-nums; }
th, td { text-align: right; padding: .25em .7em; border-bottom: 1px solid #8884; white-space: nowrap; }
th:first-child, td:first-child { text-align: left; padding-left: 0; }
table.facts td { text-align: left; white-space: normal; overflow-wrap: anywhere; }
table.facts td:first-child { white-space: nowrap; vertical-align: top; }
summary { cursor: pointer; margin: .5em 0; }
.answer { border-left: 4px solid #0072B2; padding: .5em .9em; background: #0072B21f; border-radius: 0 6px 6px 0; }
@media (prefers-color-scheme: dark) { body { color: #e4e8ec; background: #14171b; } img { padding: 4px; } }
@media (max-width: 40rem) { main { padding: 1rem .8rem 2rem; } table { font-size: .82em; }
  th, td { padding: .25em .4em; } }
@media print { figure, tr, p { break-inside: avoid; } h2, p { break-after: avoid; } figure { break-before: avoid; }
  img { max-height: 17cm; } .scroll { overflow: visible; } }
"""


def document(title: str, body: str, maker: str = "se-numpy") -> str:
    """The whole file: ``title`` is plain text and the first heading, ``body`` is HTML, ``maker`` a command."""
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        f'<meta name="generator" content="{html.escape(maker)}">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        '<meta http-equiv="Content-Security-Policy" '
        "content=\"default-src 'none'; img-src data:; style-src 'unsafe-inline'\">\n"
        f"<title>{html.escape(title)}</title>\n<style>{STYLE}</style>\n</head>\n<body>\n<main>\n"
        f"<h1>{html.escape(title)}</h1>\n{body}\n</main>\n</body>\n</html>\n"
    )


def section(title: str, *parts: str) -> str:
    """A heading in plain text and what stands below it in HTML."""
    inside = "\n".join(part for part in parts if part)
    return f"<section>\n<h2>{html.escape(title)}</h2>\n{inside}\n</section>"


def prose(text: str) -> str:
    """Text between tags; a number keeps its % on its line."""
    return html.escape(text).replace(" %", "&nbsp;%")


def paragraph(text: str, kind: str = "") -> str:
    """A paragraph of plain text, of one of the style's kinds: quiet, answer."""
    return f'<p class="{kind}">{prose(text)}</p>' if kind else f"<p>{prose(text)}</p>"


def bullets(sentences: Sequence[str]) -> str:
    """Sentences as a list."""
    return "<ul>\n" + "\n".join(f"<li>{prose(sentence)}</li>" for sentence in sentences) + "\n</ul>"


def figure(wide: bytes, narrow: bytes, alt: str) -> str:
    """Two PNGs of the same, one for a screen and one for a phone, and in words what they show."""
    return (
        f'<figure><picture><source media="(max-width: 40rem)" srcset="{_data(narrow)}">'
        f'<img src="{_data(wide)}" alt="{html.escape(alt)}"></picture></figure>'
    )


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table of plain text; on a narrow screen it scrolls by itself."""
    body = "\n".join(_row(cells, "td") for cells in rows)
    return f'<div class="scroll"><table>\n<thead>{_row(head, "th")}</thead>\n<tbody>\n{body}\n</tbody></table></div>'


def facts(rows: Sequence[tuple[str, str]]) -> str:
    """Names and what they are, in two columns without a head."""
    body = "\n".join(_row(cells, "td") for cells in rows)
    return f'<table class="facts">\n<tbody>\n{body}\n</tbody></table>'


def folded(title: str, inside: str) -> str:
    """HTML that a click brings out."""
    return f"<details><summary>{html.escape(title)}</summary>\n{inside}\n</details>"


def _row(cells: Sequence[str], tag: str) -> str:
    return "<tr>" + "".join(f"<{tag}>{html.escape(cell)}</{tag}>" for cell in cells) + "</tr>"


def _data(png: bytes) -> str:
    return f"data:image/png;base64,{b64encode(png).decode()}"
