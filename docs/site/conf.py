"""Settings of the documentation site; `python docs/build_site.py FOLDER` builds it."""

import os
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

LITE = bool(os.environ.get("LITE"))  # set if the site also contains JupyterLite


def add_button(app: Any, page: str, template: str, context: dict[str, Any], doctree: Any) -> None:
    """Tell the template of a tutorial where the notebook opens in JupyterLite."""
    if LITE and page.startswith("tutorials/") and Path(page).name[0].isdigit():
        context["run_here"] = f"../lite/lab/index.html?path={Path(page).name}.ipynb"


def skip_fields(app: Any, kind: str, name: str, value: Any, skip: bool, options: Any) -> bool | None:
    """Leave out the fields of named tuples, whose docstrings are Python's own; their class describes them."""
    return True if (getattr(value, "__doc__", None) or "").startswith("Alias for field number") else None


def setup(app: Any) -> None:
    app.connect("html-page-context", add_button)
    app.connect("autodoc-skip-member", skip_fields)
