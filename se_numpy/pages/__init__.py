"""HTML pages made from Jinja2 templates: each a single file without scripts that loads nothing.

Templates receive plain data (text, numbers, ``Table``, ``Figure``, ``Bar``) and escape all text that they insert. The
only HTML that they insert unescaped has passed through ``trusted_html``. The extra ``pages`` installs Jinja2, which is
not needed to import this package.
"""

from base64 import b64encode
from functools import cache
from importlib import resources
from importlib.util import find_spec
from typing import Any

from se_numpy.install_hints import install_command
from se_numpy.pages.parts import Bar, Figure, Table


def render(template: str, **values: Any) -> str:
    """Render a template with these values and return the page.

    Raises
    ------
    RuntimeError
        If Jinja2 is not installed.
    jinja2.UndefinedError
        If the template uses a value that was not given.
    """
    if missing := missing_library():
        raise RuntimeError(missing)
    return environment().get_template(template).render(**values)


def missing_library(extra: str = "pages") -> str:
    """Return a sentence that says how to install Jinja2; it is empty if Jinja2 is installed."""
    try:
        found = find_spec("jinja2") is not None
    except ValueError:  # its import is blocked
        found = False
    return "" if found else f"HTML pages need Jinja2, which is not installed: {install_command(extra)}"


@cache
def environment() -> Any:
    """Return the Jinja2 environment of all pages."""
    import jinja2

    found = jinja2.Environment(
        autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True,
        keep_trailing_newline=True,
        loader=jinja2.PackageLoader("se_numpy.pages"),
    )  # fmt: skip
    found.filters.update(prose=keep_percent, data_uri=data_uri)
    return found


def trusted_html(html: str) -> Any:
    """Mark HTML so that it is inserted unescaped; its text must be escaped already.

    The only caller is the grading report, which inserts the body of a graded task. The notebook card shows the same
    body, so ``se_numpy.grading.report.html_parts`` writes it without Jinja2.
    """
    from markupsafe import Markup

    return Markup(html)


@cache
def stylesheet(name: str) -> str:
    """Return a stylesheet of the templates; this does not need Jinja2."""
    return resources.files("se_numpy.pages").joinpath("templates", name).read_text(encoding="utf-8")


def keep_percent(text: str) -> str:
    """Return the text with no line break between a number and its percent sign."""
    return str(text).replace(" %", "\N{NO-BREAK SPACE}%")


def data_uri(png: bytes) -> str:
    """Return a PNG file as a data URI."""
    return f"data:image/png;base64,{b64encode(png).decode()}"


__all__ = ["Bar", "Figure", "Table", "environment", "missing_library", "render", "stylesheet", "trusted_html"]
