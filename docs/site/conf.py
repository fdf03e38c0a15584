"""Settings of the documentation site; `python docs/build_site.py FOLDER` builds it."""

import os
import re
from pathlib import Path
from typing import Any

from se_numpy import __version__

project = "se_numpy"
author = "The se_numpy authors"
copyright = author
release = version = __version__

extensions = [
    "myst_nb",
    "sphinx.ext.autodoc",
    "sphinx.ext.mathjax",
    "sphinx.ext.napoleon",
    "sphinx.ext.viewcode",
]
root_doc = "docs/index"
include_patterns = [
    "*.md",
    "docs/*.md",
    "docs/api/*.md",
    "tutorials/README.md",
    "tutorials/*.ipynb",
    "benchmarks/*.md",
    "benchmarks/results/ablations/**.md",
]
nb_execution_mode = "off"  # the notebooks in the repository have been run
myst_enable_extensions = ["dollarmath", "amsmath"]
myst_heading_anchors = 3
mathjax_path = os.environ.get("MATHJAX", "https://cdn.jsdelivr.net/npm/mathjax@3/es5/tex-mml-chtml.js")

autodoc_member_order = "bysource"
autodoc_typehints = "signature"
autodoc_preserve_defaults = True
napoleon_google_docstring = False

html_theme = "furo"
html_title = "se_numpy"
html_static_path = ["static"]
html_css_files = ["site.css"]
templates_path = ["templates"]
html_show_sourcelink = False
html_copy_source = False
html_theme_options = {"source_repository": ""}

LITE_APPS = ("lab", "notebooks")  # the second for narrow windows, in which the first shows little of a notebook
LITE = bool(os.environ.get("LITE"))  # set if the site also contains JupyterLite


def add_button(app: Any, page: str, template: str, context: dict[str, Any], doctree: Any) -> None:
    """Tell the template of a tutorial where the notebook opens in JupyterLite."""
    if LITE and page.startswith("tutorials/") and Path(page).name[0].isdigit():
        context["run_here"] = {name: f"../lite/{name}/index.html?path={Path(page).name}.ipynb" for name in LITE_APPS}


def fit_narrow_windows(app: Any, page: str, template: str, context: dict[str, Any], doctree: Any) -> None:
    """Mark what site.css changes in a notebook in a narrow window, and link each figure to its file."""
    if page.startswith("tutorials/") and "body" in context:
        context["body"] = narrow(context["body"])


def narrow(body: str) -> str:
    """Return the HTML of a notebook with marks on the blanks before shapes and on sentences of the output.

    The shapes stand at the ends of the lines, and a claim prints a sentence of any length. Lines with several blanks in
    a row are those of a table.
    """
    body = re.sub(r'(<span class="c1"># )( +)', r'\1<span class="blanks">\2</span>', body)
    body = re.sub(r'<img alt="[^"]*" src="([^"]*)" />', r'<a class="figure" href="\1">\g<0></a>', body)
    stream = r'(<div class="output stream [^>]*><div[^>]*><pre><span></span>)(.*?)(</pre>)'
    return re.sub(stream, lambda found: found[1] + re.sub(r"[^\n]+", sentence, found[2]) + found[3], body, flags=re.S)


def sentence(line: re.Match[str]) -> str:
    return line[0] if "  " in line[0] else f'<span class="sentence">{line[0]}</span>'


def skip_fields(app: Any, kind: str, name: str, value: Any, skip: bool, options: Any) -> bool | None:
    """Leave out the fields of named tuples, whose docstrings are Python's own; their class describes them."""
    return True if (getattr(value, "__doc__", None) or "").startswith("Alias for field number") else None


def setup(app: Any) -> None:
    app.connect("html-page-context", add_button)
    app.connect("html-page-context", fit_narrow_windows)
    app.connect("autodoc-skip-member", skip_fields)
