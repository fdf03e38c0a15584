"""A submission: a .py or .ipynb file, as bytes and, once parsed, as Python source."""

import hashlib
import os
import re
import stat
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from se_numpy.grading.source_parser import MAX_SOURCE, described, parse

SUFFIXES = (".py", ".ipynb")  # in lower or upper case
MAX_FILE = 20 << 20  # bytes in a notebook, including its figures


@dataclass(frozen=True)
class SubmissionFile:
    """The bytes of a submission, not parsed."""

    name: str  # the file's name, for messages
    raw: bytes
    notebook: bool = False

    @property
    def sha256(self) -> str:
        return hashlib.sha256(self.raw).hexdigest()


@dataclass(frozen=True)
class Submission:
    """A submission's source code, with its layout and function names."""

    name: str  # the file's name, for reports
    source: str
    sha256: str  # the digest of the file's bytes
    layout: str = "NHWC"  # the layout of arrays; "NCHW" if the source sets LAYOUT = "NCHW"
    functions: tuple[str, ...] = ()  # defined at top level, as far as the source shows without being run
    left_out: Mapping[str, str] = field(default_factory=dict)  # name -> the line that assigns it and is not run
    trees: Mapping[str, str] = field(default_factory=dict)  # function -> digest of its syntax tree without names

    @staticmethod
    def of(file: SubmissionFile, parsed: Mapping[str, Any]) -> "Submission":
        """Return the submission that ``source_parser.parse`` made of a file."""
        functions = tuple(parsed["functions"])
        return Submission(
            file.name, parsed["source"], file.sha256, parsed["layout"], functions, parsed["left_out"], parsed["trees"]
        )  # fmt: skip

    def where_left_out(self, name: str) -> str:
        """Return a clause about the line that assigns this name, if it was left out; otherwise nothing."""
        if name not in self.left_out:
            return ""
        option = "; --run-all runs the whole notebook" if self.name.lower().endswith(".ipynb") else ""
        return f"; {name} is defined only in {self.left_out[name]}, which was left out{option}"

    def why_undefined(self, message: str) -> str:
        """Return a clause about the name in the message of a NameError, if its line was left out; otherwise nothing."""
        found = re.search(r"\bNameError: name '(\w{1,100})' is not defined", message)
        return self.where_left_out(found[1]) if found else ""


def read(path: str | os.PathLike[str], *, run_all: bool = False) -> Submission:
    """Read a file that is trusted and parse it in this process.  ``run_all`` keeps all code in a notebook.

    The grader itself uses ``Child.parse``, which limits time and memory.

    Raises
    ------
    ValueError
        If the file cannot be read or is not valid Python; the message names the line.
    """
    file = read_file(path)
    definitions = file.notebook and not run_all
    return Submission.of(file, parse(file.raw, file.name, notebook=file.notebook, definitions=definitions))


def from_source(source: str, name: str = "submission") -> Submission:
    """Create a submission from trusted Python source.

    Raises
    ------
    ValueError
        If the source is not valid Python or is too long; the message names the line.
    """
    file = SubmissionFile(name, source.encode("utf-8", "surrogatepass"))
    return Submission.of(file, described(source, name) | {"left_out": {}})


def read_file(path: str | os.PathLike[str]) -> SubmissionFile:
    """Read a regular file.  Links are refused, because they could point to any of the grader's files.

    Raises
    ------
    ValueError
        If the file cannot be read.
    """
    path = Path(path)
    suffix = path.suffix.lower()
    if suffix not in SUFFIXES:
        ending = path.suffix or "a file without an extension"
        raise ValueError(f"{path}: expected a submission in a .py or .ipynb file, not {ending}")
    flags = os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)
    if path.is_symlink():
        raise ValueError(f"{path} is a symbolic link; submit the file itself")
    try:
        descriptor = os.open(path, flags)
    except OSError as error:
        raise ValueError(f"{path}: {error.strerror}") from error
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise ValueError(f"{path} is not a regular file")
    limit = MAX_FILE if suffix == ".ipynb" else MAX_SOURCE
    try:
        with open(descriptor, "rb") as file:
            raw = file.read(limit + 1)
    except OSError as error:
        raise ValueError(f"{path}: {error.strerror}") from error
    if len(raw) > limit:
        raise ValueError(f"{path} is larger than {limit >> 20} MB; expected functions, not data")
    if not raw.strip():
        problem = "not a valid notebook (the file is empty)" if suffix == ".ipynb" else "the file is empty"
        raise ValueError(f"{path.name}: {problem}")
    return SubmissionFile(path.name, raw, suffix == ".ipynb")
