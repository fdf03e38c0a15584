"""Read a submission from a .py or .ipynb file, as Python source that is not executed here.

From a notebook, only definitions are kept: imports, functions, classes, and assignments that neither call one of the
notebook's own functions nor use a name that was left out. Plots and training loops therefore do not run during grading.
Line numbers stay the same, because statements that are left out become ``pass``.
"""

import ast
import builtins
import hashlib
import io
import json
import os
import re
import stat
import sys
import threading
import tokenize
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

LAYOUTS = ("NHWC", "NCHW")
MAX_SOURCE = 2 << 20  # bytes of Python
MAX_FILE = 20 << 20  # bytes in a notebook, including its figures

OUTSIDE = {"print", "input", "open", "exec", "eval", "load", "loadtxt", "genfromtxt", "fromfile", "memmap"}

# IPython syntax: %magic, !shell, ?help, help?, name = %magic.
_MAGIC = re.compile(r"^(\s*)(?=[%!?]|[\w., ]+=\s*[%!]|[\w.]+\?+\s*$)")
_warnings = threading.Lock()  # held because warnings.catch_warnings changes global state


@dataclass(frozen=True)
class Submission:
    """A submission's source code, with its layout and function names."""

    name: str  # the file's name, for reports
    source: str
    sha256: str  # the digest of the file's bytes
    layout: str = "NHWC"  # the layout of arrays; "NCHW" if the source sets LAYOUT = "NCHW"
    functions: tuple[str, ...] = ()  # defined at top level, as far as the source shows without being run


def read(path: str | os.PathLike[str], *, run_all: bool = False) -> Submission:
    """Read a submission from a .py or .ipynb file.  ``run_all`` keeps all code in a notebook.

    Raises
    ------
    ValueError
        If the file cannot be read or is not valid Python; the message names the line.
    """
    path = Path(path)
    if path.suffix not in (".py", ".ipynb"):
        ending = path.suffix or "a file without an extension"
        raise ValueError(f"{path}: expected a submission in a .py or .ipynb file, not {ending}")
    raw = _bytes_of(path)
    if path.suffix == ".ipynb":
        source = _joined(raw, path.name)
        if not run_all:
            source = _definitions(source, path.name)
    else:
        source = _decoded(raw, path.name)
    return from_source(source, path.name, hashlib.sha256(raw).hexdigest())


def from_source(source: str, name: str = "submission", sha256: str = "") -> Submission:
    """Create a submission from Python source.

    Raises
    ------
    ValueError
        If the source is not valid Python or is too long; the message names the line.
    """
    if len(source.encode("utf-8", "surrogatepass")) > MAX_SOURCE:
        raise ValueError(f"{name}: more than {MAX_SOURCE >> 20} MB of Python; expected functions, not data")
    tree = _parse(source, name)
    sha256 = sha256 or hashlib.sha256(source.encode("utf-8", "surrogatepass")).hexdigest()
    return Submission(name, source, sha256, _layout(tree, name), tuple(dict.fromkeys(_functions(tree.body))))


def definitions(submission: Submission) -> Submission:
    """Keep only the definitions in a submission, as is done for notebooks."""
    return from_source(_definitions(submission.source, submission.name), submission.name, submission.sha256)


def _bytes_of(path: Path) -> bytes:
    """Read a regular file.  Links are refused, because they could point to any of the grader's files."""
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
    with open(descriptor, "rb") as file:
        limit = MAX_FILE if path.suffix == ".ipynb" else MAX_SOURCE
        raw = file.read(limit + 1)
    if len(raw) > limit:
        raise ValueError(f"{path} is larger than {limit >> 20} MB; expected functions, not data")
    return raw


def _decoded(raw: bytes, name: str) -> str:
    try:
        encoding, _ = tokenize.detect_encoding(io.BytesIO(raw).readline)
        return io.TextIOWrapper(io.BytesIO(raw), encoding).read()  # converts line endings to \n, as Python does
    except UnicodeDecodeError as error:
        line = raw.count(b"\n", 0, error.start) + 1
        raise ValueError(f"{name}, line {line}: not {error.encoding} text; save the file as UTF-8") from error
    except (SyntaxError, LookupError) as error:
        raise ValueError(f"{name}, line 1: {error}; save the file as UTF-8") from error


def _parse(source: str, name: str) -> ast.Module:
    try:
        with _warnings, warnings.catch_warnings():
            warnings.simplefilter("ignore")  # such as an invalid escape sequence "\d" in the submission
            return ast.parse(source)
    except SyntaxError as error:
        raise ValueError(f"{name}, line {error.lineno or 1}: {error.msg}") from error
    except ValueError as error:
        line = source.count("\n", 0, max(source.find("\0"), 0)) + 1
        raise ValueError(f"{name}, line {line}: {error}") from error
    except (RecursionError, MemoryError) as error:
        raise ValueError(f"{name}, line 1: too deeply nested to be parsed") from error


def _layout(tree: ast.Module, name: str) -> str:
    """Return the value of the last LAYOUT = "..."; "NHWC" if there is none."""
    layout = LAYOUTS[0]
    for node in tree.body:
        value = node.value if isinstance(node, ast.Assign | ast.AnnAssign) else None
        if value is not None and "LAYOUT" in _assigned(node):
            if not isinstance(value, ast.Constant) or value.value not in LAYOUTS:
                raise ValueError(f'{name}, line {node.lineno}: LAYOUT must be the string "NHWC" or "NCHW"')
            layout = str(value.value)
    return layout


def _functions(body: list[ast.stmt]) -> Iterator[str]:
    """Yield the names of the functions that ``body`` defines, including those inside if, try and with."""
    waiting: list[ast.AST] = list(reversed(body))  # no recursion, because a hostile elif chain may be very long
    while waiting:
        node = waiting.pop()
        if isinstance(node, ast.FunctionDef):
            yield node.name
        elif isinstance(node, ast.Assign) and isinstance(node.value, ast.Lambda):
            yield from sorted(_assigned(node))
        elif isinstance(node, ast.If | ast.Try | ast.With | ast.ExceptHandler):
            waiting += reversed(list(ast.iter_child_nodes(node)))


def _assigned(node: ast.AST) -> set[str]:
    targets = node.targets if isinstance(node, ast.Assign) else [getattr(node, "target", node)]
    return {n.id for target in targets for n in ast.walk(target) if isinstance(n, ast.Name)}


# Notebooks.


def _joined(raw: bytes, name: str) -> str:
    """Join all code cells into one string, without IPython syntax."""
    try:
        notebook: Any = json.loads(raw)
        if "cells" not in notebook and "worksheets" in notebook:  # nbformat 3
            notebook["cells"] = [cell for sheet in notebook["worksheets"] for cell in sheet["cells"]]
        cells = [c.get("source", c.get("input", "")) for c in notebook["cells"] if c["cell_type"] == "code"]
        texts = [cell if isinstance(cell, str) else "".join(cell) for cell in cells]
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise ValueError(f"{name}: not a valid notebook ({type(error).__name__}: {error})") from error
    if sum(map(len, texts)) > MAX_SOURCE:
        raise ValueError(f"{name}: more than {MAX_SOURCE >> 20} MB of Python; expected functions, not data")
    return "\n".join(_python(text, f"{name}, code cell {i}") for i, text in enumerate(texts, 1)) + "\n"


def _python(cell: str, where: str) -> str:
    """Replace magics and shell lines in a cell with ``pass`` if the cell is not valid Python otherwise."""
    cell = cell.replace("\r\n", "\n").replace("\r", "\n")
    try:
        _parse(cell, where)
        return cell
    except ValueError:
        lines = cell.split("\n")
    first = next((line for line in lines if line.strip()), "")
    if first.startswith("%%") and not re.match(r"%%(time|timeit|capture|check)\b", first):
        return "\n" * (len(lines) - 1)  # the cell is HTML, a shell script or a file
    cell = "\n".join(_MAGIC.sub(r"\1pass  # left out: ", line) for line in lines)
    _parse(cell, where)
    return cell


def _definitions(source: str, name: str) -> str:
    """Replace every top-level statement of ``source`` that is not a definition with ``pass``."""
    tree = _parse(source, name)
    starts = [0]
    raw = source.encode("utf-8", "surrogatepass")
    for line in raw.splitlines(keepends=True):
        starts.append(starts[-1] + len(line))
    for node in reversed(_left_out(tree)):  # backwards, so that the positions of earlier statements stay valid
        first = starts[node.lineno - 1] + node.col_offset
        last = starts[(node.end_lineno or node.lineno) - 1] + (node.end_col_offset or 0)
        raw = raw[:first] + b"\n" * raw.count(b"\n", first, last) + b"pass" + raw[last:]
    return raw.decode("utf-8", "surrogatepass")


def _left_out(tree: ast.Module) -> list[ast.stmt]:
    known = set(dir(builtins))  # names that a kept assignment may use
    functions: set[str] = set()
    left_out: list[ast.stmt] = []
    for node in tree.body:
        if isinstance(node, ast.Import | ast.ImportFrom):
            modules = [node.module or ""] if isinstance(node, ast.ImportFrom) else [a.name for a in node.names]
            kept = all(m.split(".")[0] in sys.stdlib_module_names | {"numpy"} for m in modules)
            names = {(a.asname or a.name).split(".")[0] for a in node.names}
        elif isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            kept, names = True, {node.name}
            functions |= names if not isinstance(node, ast.ClassDef) else set()
        elif isinstance(node, ast.Assign | ast.AnnAssign | ast.AugAssign):
            names = _assigned(node)
            kept = _harmless(node, known | _bound_inside(node), functions)
        else:
            kept, names = False, set()
        if kept:
            known |= names
        else:
            left_out.append(node)
    return left_out


def _harmless(node: ast.Assign | ast.AnnAssign | ast.AugAssign, known: set[str], functions: set[str]) -> bool:
    """Return True if an assignment uses only known names and calls no functions from the notebook."""
    if isinstance(node.value, ast.Lambda):
        return True
    used = {n.id for n in ast.walk(node) if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Load)}
    calls = [n.func for n in ast.walk(node) if isinstance(n, ast.Call)]
    called = {f.id for f in calls if isinstance(f, ast.Name)} | {f.attr for f in calls if isinstance(f, ast.Attribute)}
    return used <= known and not called & (functions | OUTSIDE)


def _bound_inside(node: ast.AST) -> set[str]:
    """Return the names that comprehensions and lambdas in an expression bind."""
    arguments = {n.arg for n in ast.walk(node) if isinstance(n, ast.arg)}
    loops = [n.target for n in ast.walk(node) if isinstance(n, ast.comprehension)]
    return arguments.union(*(_assigned(target) for target in loops))
