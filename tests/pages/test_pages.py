"""Tests of pages: they escape all text, load nothing, name their maker, and say how to install Jinja2."""

import re
import subprocess
import sys
from pathlib import Path

import jinja2
import pytest

import se_numpy
from se_numpy import pages
from se_numpy.analysis.output_path import HEAD, output_path
from se_numpy.pages import Bar, Figure, Table

EVIL = "<script>alert('&\"')</script>"
FOLDER = Path(pages.__file__).parent / "templates"
TEMPLATES = sorted(path.name for path in FOLDER.glob("*.html"))
EXPRESSION = re.compile(r"\{\{ (.*?) \}\}")
SAFE_FILTERS = "data_uri", "round(2)"  # their results are never text
TABLE = Table([EVIL] * 8, [[EVIL] * 8], 2)
FIGURE = Figure(EVIL, b"wide", b"narrow", b"dark", b"both")
GATES = {"findings": [EVIL], "text": EVIL, "figure": FIGURE, "blocks": TABLE}
TASK = {"name": EVIL, "title": EVIL, "verdict": EVIL, "passed": False, "mistake": EVIL, "points": EVIL, "body": EVIL}
PAGES = {
    "run_report.html": {
        "source": EVIL, "overview": [(EVIL, EVIL)], "headline": EVIL, "findings": [EVIL], "curves": FIGURE,
        "classes": Table([EVIL], [[EVIL]] * 21), "accuracy": EVIL, "confusion": FIGURE, "confusions": TABLE,
        "mistakes": FIGURE, "gates": GATES, "no_gates": EVIL, "settings": [(EVIL, EVIL)],
        "grad_cam": {"part": EVIL, "findings": [EVIL], "figure": FIGURE},
        "environments": [(EVIL, [(EVIL, EVIL)])] * 2,
    },
    "excitations.html": {
        "source": EVIL, "overview": [(EVIL, EVIL)], "answer": EVIL, "findings": [EVIL], "blocks": TABLE,
        "sections": [{"title": EVIL, "text": EVIL, "figure": FIGURE}], "interventions": TABLE,
    },
    "detection_report.html": {
        "source": EVIL, "overview": [(EVIL, EVIL)], "headline": EVIL, "findings": [EVIL], "curves": FIGURE,
        "classes": TABLE, "sizes": TABLE, "precision": FIGURE, "boxes": FIGURE, "no_gates": EVIL,
        "gates": {"findings": [EVIL], "figures": [FIGURE], "images": EVIL}, "settings": [(EVIL, EVIL)],
        "environments": [(EVIL, [(EVIL, EVIL)])] * 2,
    },
    "grading_report.html": {
        "name": EVIL, "score": EVIL, "share": 0.5, "passed": EVIL, "message": EVIL, "comment": EVIL, "notes": [EVIL],
        "has_arrays": True, "tasks": [TASK | {"extra": False}, TASK | {"passed": True, "extra": True}],
        "isolation": EVIL, "missing": [EVIL],
        "facts": [(EVIL, EVIL)],
    },
    "class.html": {
        "summary": EVIL, "grades": [Bar(EVIL, EVIL, 0.5, EVIL)], "mistakes": [Bar(EVIL, EVIL, 0.5, EVIL)],
        "tasks": [Bar(EVIL, EVIL, 1.0)], "unreadable": [(EVIL, EVIL)], "passed_over": [(EVIL, EVIL)],
        "groups": [{"mistakes": EVIL, "count": n, "submissions": EVIL} for n in (2, 1)],
        "rare": [Bar(EVIL, EVIL, 0.1, link=EVIL)],
        "sections": [{"heading": EVIL, "about": EVIL, "head": [EVIL] * 3, "rows": [(EVIL,) * 3]}],
    },
}  # fmt: skip


def rendered(environment, name, **changed):
    values = {"maker": EVIL, "title": EVIL, **PAGES[name], **changed}
    return environment.get_template(name).render(**values)


def unescaped(environment):
    """Return the names of the pages into which an environment inserts text unescaped."""
    return [name for name in PAGES if "<script" in rendered(environment, name)
            or "<script" in rendered(environment, name, gates=None)]  # fmt: skip


def with_sources(sources, **options):
    """Return the environment of the pages, with some templates replaced by other sources."""
    loader = jinja2.ChoiceLoader([jinja2.DictLoader(sources), pages.environment().loader])
    return pages.environment().overlay(loader=loader, cache_size=50, **options)


def expressions():
    """Yield (template, number, source) of every expression that inserts text."""
    for name in TEMPLATES:
        for number, match in enumerate(EXPRESSION.finditer((FOLDER / name).read_text(encoding="utf-8"))):
            inserted = match[1]
            calls = re.match(r"m\.|'|loop\.|caller|verdict\(|bar\(", inserted)
            constants = ("kind", "data.width", "group.count", "heads[0]", "heads[1]")
            if not calls and not inserted.endswith(SAFE_FILTERS) and inserted not in constants:
                yield name, number, inserted


def planted(name, number):
    """Return the source of a template in which one expression is marked safe."""
    counter = iter(range(10**6))
    source = (FOLDER / name).read_text(encoding="utf-8")
    return EXPRESSION.sub(lambda m: f"{{{{ ({m[1]}) | safe }}}}" if next(counter) == number else m[0], source)


def test_every_text_is_escaped():
    assert unescaped(pages.environment()) == []
    for name in PAGES:
        assert "&lt;script&gt;" in rendered(pages.environment(), name)


@pytest.mark.parametrize(("name", "number", "inserted"), list(expressions()), ids=lambda v: str(v).replace(" ", ""))
def test_a_planted_safe_filter_is_caught(name, number, inserted):
    assert unescaped(with_sources({name: planted(name, number)}))


def test_a_planted_environment_without_escaping_is_caught():
    assert unescaped(with_sources({}, autoescape=False)) == list(PAGES)


def test_no_source_turns_escaping_off():
    for name in TEMPLATES:
        source = (FOLDER / name).read_text(encoding="utf-8")
        assert not re.search(r"\|\s*safe\b|autoescape|Markup", source), name
    root = Path(se_numpy.__file__).parent
    marked = [path.relative_to(root).as_posix() for path in root.rglob("*.py")
              if re.search(r"Markup\(|trusted_html\(", path.read_text(encoding="utf-8"))]  # fmt: skip
    assert sorted(marked) == ["grading/report/html.py", "pages/__init__.py"]


def test_an_undefined_value_is_an_error():
    with pytest.raises(jinja2.UndefinedError, match="'maker' is undefined"):
        pages.render("class.html", title="x")


@pytest.mark.parametrize("name", PAGES)
def test_pages_are_self_contained(name):
    page = rendered(pages.environment(), name)
    assert page.startswith('<!doctype html>\n<html lang="en">')
    assert page.endswith("</html>\n")
    head = page.partition("</head>")[0]
    for part in ('<meta charset="utf-8">', 'name="viewport"', '<meta name="color-scheme" content="light dark">',
                 "default-src 'none'; img-src data:; style-src 'unsafe-inline'"):  # fmt: skip
        assert part in head
    assert "prefers-color-scheme: dark" in head
    assert "@media print" in head
    assert "@media (max-width: 40rem)" in head
    assert not re.search(r"@import|url\(|<link|<script|https?:", page)
    for attribute, value in re.findall(r' (src|srcset|href)="([^"]*)"', page):
        assert value.startswith(("data:image/png;base64,", "#task-", "./")), (attribute, value)
    assert not re.search(r"[{%]\s*(if|for|block|macro)|\{\{", page)


@pytest.mark.parametrize("name", PAGES)
def test_a_page_names_the_command_that_may_overwrite_it(tmp_path, name):
    path = tmp_path / "page.html"
    path.write_text(rendered(pages.environment(), name, maker="se-numpy report"), encoding="utf-8")
    assert path.read_bytes().find(b"se-numpy report") < HEAD
    assert output_path(str(path), "--out", ".html", "se-numpy report") == path
    with pytest.raises(ValueError, match="was not made by se-numpy other"):
        output_path(str(path), "--out", ".html", "se-numpy other")


def test_filters():
    assert pages.keep_percent("5 % of 3") == "5\N{NO-BREAK SPACE}% of 3"
    assert pages.data_uri(b"\x89PNG") == "data:image/png;base64,iVBORw=="


def test_the_package_imports_without_jinja2():
    code = (
        "import sys; sys.modules['jinja2'] = None; import se_numpy.pages as p; import se_numpy.analysis.page; "
        "import se_numpy.grading.notebook_card; assert p.stylesheet('task.css'); print(p.missing_library('grade'))"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert out.startswith("HTML pages need Jinja2, which is not installed: pip install")
    assert "[grade]" in out
    assert pages.missing_library() == ""


def test_rendering_without_jinja2_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "jinja2", None)
    with pytest.raises(RuntimeError, match="HTML pages need Jinja2, which is not installed: pip install"):
        pages.render("class.html")


def test_colours_of_dark_figures_are_those_of_the_dark_page():
    from se_numpy.analysis.pictures import INK, PAPER

    dark = pages.stylesheet("style.css").partition("prefers-color-scheme: dark")[2].partition("}")[0]
    assert f"--paper: {PAPER};" in dark
    assert f"--ink: {INK};" in dark


@pytest.mark.parametrize("dark", [False, True])
def test_the_text_of_pages_has_enough_contrast(dark):
    """WCAG 2 requires a contrast of at least 4.5."""
    light, _, after = pages.stylesheet("style.css").partition("prefers-color-scheme: dark")
    colours = dict(re.findall(r"--(\w+): (#\w{6})", after if dark else light))

    def bright(name):
        parts = [int(colours[name][i : i + 2], 16) / 255 for i in (1, 3, 5)]
        linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in parts]
        return sum(w * c for w, c in zip((0.2126, 0.7152, 0.0722), linear, strict=True)) + 0.05

    for text in ("ink", "quiet", "accent"):
        for ground in ("paper", "panel"):
            low, high = sorted((bright(text), bright(ground)))
            assert high / low >= 4.5, (text, ground)
