"""Report formats: text, JSON, Gradescope's results.json, JUnit XML, HTML, CSV for a gradebook."""

import os
import tempfile
from collections.abc import Callable, Iterable
from pathlib import Path

from se_numpy.grading.models import Report
from se_numpy.grading.report.gradescope import as_gradescope
from se_numpy.grading.report.html import as_html
from se_numpy.grading.report.json_io import as_json, load, schema
from se_numpy.grading.report.junit import as_junit
from se_numpy.grading.report.table import as_csv
from se_numpy.grading.report.terminal import as_text, show

FORMATS: dict[str, Callable[[Report], str]] = {
    "terminal": as_text,
    "json": as_json,
    "gradescope": as_gradescope,
    "junit": as_junit,
    "html": as_html,
    "csv": as_csv,
}

FILES = {
    "terminal": "report.txt",
    "json": "report.json",
    "gradescope": "results.json",
    "junit": "junit.xml",
    "html": "report.html",
    "csv": "grades.csv",
}


def check_formats(names: Iterable[str]) -> list[str]:
    """Return the format names, each once.

    Raises
    ------
    ValueError
        If a name is not a format.
    """
    names = list(dict.fromkeys(names))
    for name in names:
        if name not in FORMATS:
            raise ValueError(f"unknown format {name!r}; expected one of {', '.join(FORMATS)}")
    return names


def write(report: Report, folder: str | os.PathLike[str], formats: Iterable[str]) -> list[Path]:
    """Write the report as files to a folder, created if needed, and return the paths; files are replaced atomically."""
    formats = check_formats(formats)
    Path(folder).mkdir(parents=True, exist_ok=True)
    return [write_file(Path(folder) / FILES[name], FORMATS[name](report)) for name in formats]


def write_file(path: Path, content: str) -> Path:
    """Write a text file atomically, through a temporary file in the same folder."""
    descriptor, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with open(descriptor, "w", encoding="utf-8", newline="") as file:
            file.write(content)
        os.chmod(temporary, 0o644)
        os.replace(temporary, path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise
    return path


__all__ = [
    "FILES",
    "FORMATS",
    "as_csv",
    "as_gradescope",
    "as_html",
    "as_json",
    "as_junit",
    "as_text",
    "check_formats",
    "load",
    "schema",
    "show",
    "write",
    "write_file",
]
