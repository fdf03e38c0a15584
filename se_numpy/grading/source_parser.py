"""Turn the bytes of a submission into the Python source that is run, without running it.

The grader sends this file's text to the submission's sandbox, where parsing is subject to the same limits of time and
memory as running. It therefore imports only the standard library.

From a notebook, only definitions are kept: imports, functions, classes, and assignments that neither call one of the
notebook's own functions nor use a name that was left out; also those inside if, try and with. Plots and training loops
therefore do not run during grading. Line numbers stay the same, because statements that are left out become ``pass``.
"""

import ast
import builtins
import hashlib
import io
import json
import re
import sys
import threading
import tokenize
import warnings
from collections.abc import Collection, Iterator
from itertools import islice
from typing import Any, TypeGuard

LAYOUTS = ("NHWC", "NCHW")
DECLARED = ("LAYOUT", "STYLE", "FRAMEWORK", "CLASSES")  # names with which a file says in what form it is written
MAX_SOURCE = 2 << 20  # bytes of Python
MAX_NAMES = 1000  # names of functions, and names left out, that are returned
MIN_NODES, MAX_NODES = 40, 2000  # nodes of a function whose syntax tree is compared with those of others
MAX_DEPTH = 50  # levels of if, try and with in which definitions are looked for

OUTSIDE = {"print", "input", "open", "exec", "eval", "load", "loadtxt", "genfromtxt", "fromfile", "memmap"}
AVAILABLE = sys.stdlib_module_names | {"numpy"}
ABSENT = {"ImportError", "ModuleNotFoundError", "Exception", "BaseException"}  # what a missing module raises

# IPython syntax: %magic, !shell, ?help, help?, name = %magic.
_MAGIC = re.compile(r"^(\s*)(?=[%!?]|[\w., ]+=\s*[%!]|[\w.]+\?+\s*$)")
_warnings = threading.Lock()  # held because warnings.catch_warnings changes global state


def parse(
    raw: bytes, name: str, *, notebook: bool, definitions: bool, available: Collection[str] = ()
) -> dict[str, Any]:
    """Return a file's ``source``, ``declared``, ``functions``, ``classes`` and ``left_out``, keyed by these names.

    ``definitions`` keeps only the definitions, and imports of NumPy, the standard library and ``available``.
    ``left_out`` maps each name that only lines left out would assign to the first of these lines.

    Raises
    ------
    ValueError
        If this is not valid Python or is too long; the message names the line.
    """
    source = _joined(raw, name) if notebook else _decoded(raw, name)
    left_out: dict[str, str] = {}
    if definitions:
        source, left_out = _definitions(source, name, AVAILABLE | set(available))
    return described(source, name) | {"left_out": left_out}


def described(source: str, name: str) -> dict[str, Any]:
    """Return ``source``, ``declared``, ``functions``, ``classes`` and ``trees`` of Python source, keyed by these names.

    ``trees`` maps functions to digests of their syntax trees, which are equal if only names, annotations, comments and
    docstrings differ.

    Raises
    ------
    ValueError
        If this is not valid Python or is too long; the message names the line.
    """
    if len(source.encode("utf-8", "surrogatepass")) > MAX_SOURCE:
        raise ValueError(f"{name}: more than {MAX_SOURCE >> 20} MB of Python; expected functions, not data")
    tree = _parse(source, name)
    functions = [name for name, _ in _defined(tree.body, ast.FunctionDef)]
    classes = {name: _methods(node) for name, node in _defined(tree.body, ast.ClassDef)}
    trees = {node.name: _digest(node) for node in tree.body[:MAX_NAMES] if isinstance(node, ast.FunctionDef)}
    return {
        "source": source, "declared": _declared(tree, name), "functions": list(dict.fromkeys(functions))[:MAX_NAMES],
        "classes": dict(list(classes.items())[:MAX_NAMES]),
        "trees": {function: digest for function, digest in trees.items() if digest},
    }  # fmt: skip


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
        raise ValueError(f"{name}, line 1: too deeply nested or too long to be parsed") from error


def _declared(tree: ast.Module, name: str) -> dict[str, Any]:
    """Return the last value of each name in DECLARED that is assigned a string or a dictionary of strings."""
    found: dict[str, Any] = {}
    for node in tree.body:
        value = node.value if isinstance(node, ast.Assign | ast.AnnAssign) else None
        for key in DECLARED if value is not None else ():
            if key in _assigned(node):
                literal = _literal(value)
                if key == "LAYOUT" and literal not in LAYOUTS:
                    raise ValueError(f'{name}, line {node.lineno}: LAYOUT must be the string "NHWC" or "NCHW"')
                found[key] = literal
    return {key: literal for key, literal in found.items() if literal is not None}


def _literal(node: ast.expr | None) -> str | dict[str, str] | None:
    """Return the value of a short string, or of a dictionary of them; None for other expressions."""
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        return node.value[:100]
    if isinstance(node, ast.Dict) and len(node.keys) <= MAX_NAMES:
        pairs = [(_literal(key), _literal(value)) for key, value in zip(node.keys, node.values, strict=True)
                 if isinstance(key, ast.Constant) and isinstance(value, ast.Constant)]  # fmt: skip
        return {k: v for k, v in pairs if isinstance(k, str) and isinstance(v, str)} or None
    return None


def _defined(body: list[ast.stmt], kind: Any) -> Iterator[tuple[str, Any]]:
    """Yield each function or class that ``body`` defines, including those inside if, try and with, after its name."""
    waiting: list[ast.AST] = list(reversed(body))  # no recursion, because a hostile elif chain may be very long
    while waiting:
        node = waiting.pop()
        if isinstance(node, kind):
            yield node.name, node
        elif kind is ast.FunctionDef and isinstance(node, ast.Assign) and isinstance(node.value, ast.Lambda):
            yield from ((name, node) for name in sorted(_assigned(node)))
        elif isinstance(node, ast.If | ast.Try | ast.With | ast.ExceptHandler):
            waiting += reversed(list(ast.iter_child_nodes(node)))


def _methods(node: ast.ClassDef) -> dict[str, dict[str, list[str]]]:
    """Return the required and the optional parameters of a class's methods __init__ and forward, without self."""
    found = {}
    for method in node.body:
        if isinstance(method, ast.FunctionDef) and method.name in ("__init__", "forward"):
            given = method.args
            names = [a.arg for a in [*given.posonlyargs, *given.args]][:MAX_NAMES]
            count = max(0, len(names) - len(given.defaults))
            optional = names[count:] + [a.arg for a in given.kwonlyargs][:MAX_NAMES]
            found[method.name] = {"required": names[1:count], "optional": optional}
    return found


def _digest(function: ast.FunctionDef) -> str:
    """Return the digest of a function's syntax tree without names, or "" if it is too small or too large to compare."""
    words = list(islice(_shape(function), MAX_NODES + 1))
    return hashlib.sha256("\n".join(words).encode()).hexdigest()[:16] if MIN_NODES <= len(words) <= MAX_NODES else ""


def _shape(function: ast.FunctionDef) -> Iterator[str]:
    """Yield a word for each node of a function in order; names are numbered as they occur."""
    numbers: dict[str, int] = {}
    waiting: list[ast.AST] = [function]
    while waiting:
        node = waiting.pop()
        children = [child for child in ast.iter_child_nodes(node) if not isinstance(child, ast.expr_context)]
        if isinstance(node, ast.FunctionDef | ast.arg | ast.AnnAssign):  # annotations say nothing about the code
            left_out = [getattr(node, name, None) for name in ("annotation", "returns")]
            children = [child for child in children if child not in left_out]
        if isinstance(node, ast.FunctionDef) and ast.get_docstring(node, clean=False) is not None:
            children.remove(node.body[0])
        name = next((text for key in ("id", "arg", "name") if isinstance(text := getattr(node, key, None), str)), "")
        said = numbers.setdefault(name, len(numbers)) if name and not isinstance(node, ast.keyword) else name
        value = repr(node.value)[:100] if isinstance(node, ast.Constant) else getattr(node, "attr", "")
        yield f"{type(node).__name__} {said} {value} {len(children)}"
        waiting += reversed(children)


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


def _definitions(source: str, name: str, available: Collection[str]) -> tuple[str, dict[str, str]]:
    """Replace every statement that is not a definition, and return the new source and what was left out."""
    filtered = _Filter(available)
    filtered.keep(_parse(source, name).body)
    starts = [0]
    raw = source.encode("utf-8", "surrogatepass")
    lines = raw.splitlines(keepends=True)
    for line in lines:
        starts.append(starts[-1] + len(line))
    pieces, at = [], 0
    for node, text in sorted(filtered.replaced, key=lambda one: (one[0].lineno, one[0].col_offset)):
        first = starts[node.lineno - 1] + node.col_offset
        last = starts[(node.end_lineno or node.lineno) - 1] + (node.end_col_offset or 0)
        end = b"\\\n" if node.col_offset else b"\n"  # inside a block or after a semicolon, the line is continued
        pieces += [raw[at:first], end * raw.count(b"\n", first, last), text.encode("utf-8", "surrogatepass")]
        at = last
    left_out = {
        key: f"line {line} ({lines[line - 1].decode('utf-8', 'replace').strip()[:60]})"
        for key, line in filtered.missing().items()
    }
    return b"".join([*pieces, raw[at:]]).decode("utf-8", "surrogatepass"), left_out


class _Filter:
    """Finds the statements that are not definitions, in order, and the text that replaces each."""

    def __init__(self, available: Collection[str]) -> None:
        self.available = available  # modules that may be imported
        self.replaced: list[tuple[ast.stmt, str]] = []
        self.known = set(dir(builtins)) | {"__name__"}  # names that a kept assignment may use
        self.functions: set[str] = set()
        self._definitions = 0  # kept so far, except for if, try and with themselves
        self._lines: dict[str, int] = {}  # of names that a statement left out assigns

    def missing(self) -> dict[str, int]:
        """Return the names that only statements left out assign, each with its first line."""
        found = {name: line for name, line in self._lines.items() if name not in self.known and len(name) <= 100}
        return dict(list(found.items())[:MAX_NAMES])

    def keep(self, body: list[ast.stmt], depth: int = 0, guarded: bool = False) -> None:
        """Filter the statements of a block; ``guarded`` ones may import modules that do not exist here."""
        for node in body:
            replaced, definitions = len(self.replaced), self._definitions
            names = self._kept(node, depth, guarded)
            if isinstance(node, ast.If | ast.Try | ast.With):
                if names is not None and definitions == self._definitions:  # nothing in it is a definition
                    names = None
            elif names is not None:
                self._definitions += 1
            if names is None:
                del self.replaced[replaced:]
                names = self._leave_out(node)
            self.known |= names

    def _kept(self, node: ast.stmt, depth: int, guarded: bool) -> set[str] | None:
        """Return the names that a definition assigns; None if the statement is not a definition."""
        if _is_import(node):
            return _imported(node) if guarded or self._available(node) else None
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            if not isinstance(node, ast.ClassDef):
                self.functions.add(node.name)
            return {node.name}
        if isinstance(node, ast.Assign | ast.AnnAssign | ast.AugAssign):
            return _assigned(node) if isinstance(node.value, ast.Lambda) or self._harmless(node) else None
        if depth >= MAX_DEPTH:
            return None
        if isinstance(node, ast.Try):
            return self._try(node, depth, guarded)
        if isinstance(node, ast.If) and self._harmless(node.test):
            blocks = [node.body, node.orelse]
            # A branch with a module that does not exist here is not one that is meant to run here.
            absent = [set().union(*(_imported(n) for n in block if _is_import(n))) for block in blocks]
            branches = self._branches(blocks, depth, guarded)
            return set.intersection(*(a | b for a, b in zip(absent, branches, strict=True)))
        if isinstance(node, ast.With) and all(self._harmless(item.context_expr) for item in node.items):
            bound = {name for item in node.items if item.optional_vars for name in _assigned(item.optional_vars)}
            self.known |= bound
            self.keep(node.body, depth + 1, guarded)
            return bound
        return None

    def _try(self, node: ast.Try, depth: int, guarded: bool) -> set[str]:
        caught = any(handler.type is None or _names(handler.type) & ABSENT for handler in node.handlers)
        missing = any(not self._available(n) for one in node.body for n in _outside_functions(one) if _is_import(n))
        (whole,) = self._branches([node.body + node.orelse], depth, guarded or caught)
        handled = self._branches([handler.body for handler in node.handlers], depth, guarded)
        self.keep(node.finalbody, depth + 1)
        return whole.intersection(*handled) if missing else whole  # the body runs to its end if its modules exist

    def _branches(self, blocks: list[list[ast.stmt]], depth: int, guarded: bool = False) -> list[set[str]]:
        """Filter alternative blocks, and return the names that each assigns."""
        before, found = self.known, []
        for block in blocks:
            self.known = set(before)
            self.keep(block, depth + 1, guarded)
            found.append(self.known - before)
        self.known = before
        return found

    def _leave_out(self, node: ast.stmt) -> set[str]:
        """Replace a statement with the imports in it, or ``pass``; return the names that it still assigns."""
        imports = [n for inner in _outside_functions(node) for n in _single_imports(inner) if self._available(n)]
        self.replaced.append((node, "; ".join(map(ast.unparse, imports)) or "pass"))
        kept = set().union(*map(_imported, imports))
        for name, line in _bound(node).items():
            if name not in kept:
                self._lines.setdefault(name, line)
        return kept

    def _available(self, node: ast.Import | ast.ImportFrom) -> bool:
        one = isinstance(node, ast.ImportFrom) and node.module
        modules = [one] if one else [alias.name for alias in node.names]  # "from . import a" names modules, too
        return all(module.split(".")[0] in self.available for module in modules)

    def _harmless(self, node: ast.AST) -> bool:
        """Return True if an expression or assignment uses only known names and calls none of the own functions."""
        used = {n.id for n in ast.walk(node) if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Load)}
        calls = [n.func for n in ast.walk(node) if isinstance(n, ast.Call)]
        called = {f.id for f in calls if isinstance(f, ast.Name)}
        called |= {f.attr for f in calls if isinstance(f, ast.Attribute)}
        return used - _bound_inside(node) <= self.known and not called & (self.functions | OUTSIDE)


def _is_import(node: ast.AST) -> TypeGuard[ast.Import | ast.ImportFrom]:
    return isinstance(node, ast.Import | ast.ImportFrom)


def _imported(node: ast.Import | ast.ImportFrom) -> set[str]:
    return {(a.asname or a.name).split(".")[0] for a in node.names}


def _single_imports(node: ast.AST) -> list[ast.Import | ast.ImportFrom]:
    """Return an import statement as statements that import one module each; nothing for other statements."""
    if isinstance(node, ast.Import):
        return [ast.Import([alias]) for alias in node.names]
    return [node] if isinstance(node, ast.ImportFrom) else []


def _names(node: ast.AST) -> set[str]:
    return {n.id for n in ast.walk(node) if isinstance(n, ast.Name)}


def _outside_functions(node: ast.AST) -> Iterator[ast.AST]:
    """Yield a statement and everything in it, except for the bodies of functions and classes."""
    waiting = [node]
    while waiting:
        node = waiting.pop()
        yield node
        if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef | ast.Lambda):
            waiting += reversed(list(ast.iter_child_nodes(node)))


def _bound(node: ast.AST) -> dict[str, int]:
    """Return the names that running a statement would assign, each with its line."""
    found: dict[str, int] = {}
    for inner in _outside_functions(node):
        if isinstance(inner, ast.Name) and isinstance(inner.ctx, ast.Store):
            found.setdefault(inner.id, inner.lineno)
        elif isinstance(inner, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            found.setdefault(inner.name, inner.lineno)
        elif _is_import(inner):
            found |= dict.fromkeys(_imported(inner) - found.keys(), inner.lineno)
    return found


def _bound_inside(node: ast.AST) -> set[str]:
    """Return the names that comprehensions and lambdas in an expression bind."""
    arguments = {n.arg for n in ast.walk(node) if isinstance(n, ast.arg)}
    loops = [n.target for n in ast.walk(node) if isinstance(n, ast.comprehension)]
    return arguments.union(*(_assigned(target) for target in loops))
