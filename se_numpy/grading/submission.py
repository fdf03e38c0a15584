"""A submission: a .py or .ipynb file, as bytes and, once parsed, as Python source."""

import hashlib
import os
import re
import stat
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from se_numpy.grading.declarations import FRAMEWORKS, Declared, Form, declared
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
class Module:
    """A module beside the graded file."""

    name: str  # under which it is imported, for example "helpers" or "parts.conv"
    file: str  # for messages
    source: str
    package: bool = False
    problem: str = ""  # why it cannot be imported, if it is not valid Python


@dataclass(frozen=True)
class Submission:
    """A submission's source code, with its layout and function names."""

    name: str  # the file's name, for reports
    source: str
    sha256: str  # the digest of the file's bytes
    form: Declared = field(default_factory=Declared)
    functions: tuple[str, ...] = ()  # defined at top level, as far as the source shows without being run
    classes: Mapping[str, Any] = field(default_factory=dict)  # likewise, with the parameters of their methods
    left_out: Mapping[str, str] = field(default_factory=dict)  # name -> the line that assigns it and is not run
    trees: Mapping[str, str] = field(default_factory=dict)  # function -> digest of its syntax tree without names
    modules: tuple[Module, ...] = ()  # that it may import
    beside: tuple[str, ...] = ()  # names of .py files in the folder of a single file, which it cannot import
    notes: tuple[str, ...] = ()  # which files were used, and how, for the report
    calls: Mapping[str, Any] = field(default_factory=dict)  # task -> how it is called; empty in the plain form

    @property
    def layout(self) -> str:
        """The layout of arrays: "NHWC", or "NCHW" if the source sets LAYOUT = "NCHW"."""
        return self.form.layout

    @property
    def defined(self) -> tuple[str, ...]:
        """The names of the functions and classes that the source defines."""
        return (*self.functions, *self.classes)

    def names(self, call: Mapping[str, Any]) -> bool:
        """Return True if the source defines, imports or assigns the function or class that a call needs."""
        keys = {"layer": ("class",), "cached": ("backward", "forward"), "function": ("function",)}[call["kind"]]
        name = next(call[key] for key in keys if call[key])
        return name in self.defined or name in self.source

    @staticmethod
    def of(file: SubmissionFile, parsed: Mapping[str, Any], form: Form | None = None) -> "Submission":
        """Return the submission that ``source_parser.parse`` made of a file."""
        found = declared(parsed["declared"], parsed["classes"], form)
        return Submission(
            file.name, parsed["source"], file.sha256, found, tuple(parsed["functions"]), parsed["classes"],
            parsed["left_out"], parsed["trees"], notes=found.notes,
        )  # fmt: skip

    def where_left_out(self, name: str) -> str:
        """Return a clause about the line that assigns this name, if it was left out; otherwise nothing."""
        if name not in self.left_out:
            return ""
        option = "; --run-all runs the whole notebook" if self.name.lower().endswith(".ipynb") else ""
        return f"; {name} is defined only in {self.left_out[name]}, which was left out{option}"

    def why_undefined(self, message: str) -> str:
        """Return a clause about the name or the module that a message says is missing, if the reason is known."""
        found = re.search(r"\bNameError: name '(\w{1,100})' is not defined", message)
        module = re.search(r"\bModuleNotFoundError: No module named '(\w{1,100})'", message)
        if module and module[1] in FRAMEWORKS[1:]:
            return f'; a file that uses {module[1]} sets FRAMEWORK = "{module[1]}", and the grader must allow it'
        if module and module[1] in self.beside:
            return f"; {module[1]}.py is beside this file: grade the folder with --one, or hand in a .zip"
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
    raw = read_regular(path, MAX_FILE if suffix == ".ipynb" else MAX_SOURCE)
    if not raw.strip():
        problem = "not a valid notebook (the file is empty)" if suffix == ".ipynb" else "the file is empty"
        raise ValueError(f"{path.name}: {problem}")
    return SubmissionFile(path.name, raw, suffix == ".ipynb")


def read_regular(path: Path, limit: int) -> bytes:
    """Return the contents of a regular file of at most ``limit`` bytes.

    Raises
    ------
    ValueError
        If it is a link or another special file, is larger, or cannot be read.
    """
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
    try:
        with open(descriptor, "rb") as file:
            raw = file.read(limit + 1)
    except OSError as error:
        raise ValueError(f"{path}: {error.strerror}") from error
    if len(raw) > limit:
        raise ValueError(f"{path} is larger than {limit >> 20} MB; expected functions, not data")
    return raw
