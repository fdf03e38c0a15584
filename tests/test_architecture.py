"""The structure of the package: imports point down, backward follows forward, and everything public is documented."""

import ast
import inspect
from pathlib import Path

import pytest

import se_numpy
from se_numpy import layers

PACKAGE = Path(se_numpy.__file__).parent

# The level of each module. A module imports from its own package, its own level and the levels below.
LEVELS = [
    (
        "arrays",
        "shapes",
        "tree",
        "lazy",
        "cupy_double",
        "arg_types",
        "wrapping",
        "install_hints",
        "workers",
        "standard_streams",
    ),
    ("ops", "gradcheck"),
    ("se",),
    ("layers",),
    ("engine",),
    ("layer_check", "models", "complexity", "optim"),
    ("data", "detection", "train", "checkpoint", "interop", "pages", "analysis", "ablation"),
    ("grading", "cli", "__main__"),
]
LEVEL = {name: number for number, names in enumerate(LEVELS) for name in names}


def module_files():
    return sorted(path for path in PACKAGE.rglob("*.py") if path != PACKAGE / "__init__.py")


def top(path: Path) -> str:
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def imported(path: Path) -> set[str]:
    """Return the top-level modules of this package that a file imports anywhere."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.module:
            parts = node.module.split(".")
            if parts[0] == "se_numpy":
                found |= {parts[1]} if len(parts) > 1 else {alias.name for alias in node.names}
            assert node.level == 0, f"{path.name} uses a relative import"
        elif isinstance(node, ast.Import):
            found |= {a.name.split(".")[1] for a in node.names if a.name.startswith("se_numpy.")}
    return {name for name in found if name in LEVEL}


@pytest.mark.parametrize("path", module_files(), ids=lambda p: str(p.relative_to(PACKAGE)))
def test_imports_point_down(path):
    here = LEVEL[top(path)]
    for name in imported(path) - {top(path)}:
        assert LEVEL[name] <= here, f"{path.name} (level {here}) imports {name} (level {LEVEL[name]})"


def test_levels_have_no_cycles():
    """Modules on the same level do not import each other in a cycle."""
    needs: dict[str, set[str]] = {}
    for path in module_files():
        needs.setdefault(top(path), set()).update(imported(path) - {top(path)})
    done: set[str] = set()
    while needs:
        free = [name for name, others in needs.items() if others <= done]
        assert free, f"cyclic imports among {sorted(needs)}"
        done.update(free)
        for name in free:
            del needs[name]


def public_functions():
    """Return (dotted name, function) for every function without a leading underscore."""
    found = []
    for path in module_files():
        name = ".".join(("se_numpy", *path.relative_to(PACKAGE).with_suffix("").parts)).removesuffix(".__init__")
        module = __import__(name, fromlist=["_"])
        for key, value in vars(module).items():
            if inspect.isfunction(value) and value.__module__ == name and not key.startswith("_"):
                found.append((f"{name}.{key}", value))
    return found


@pytest.mark.parametrize("name", [n for n in se_numpy.__all__ if n.endswith("_backward") and n != "check_backward"])
def test_backward_follows_forward_and_takes_its_arguments(name):
    backward = getattr(se_numpy, name)
    module = inspect.getmodule(backward)
    functions = [n.name for n in ast.parse(inspect.getsource(module)).body if isinstance(n, ast.FunctionDef)]
    forward = name.removesuffix("_backward")
    assert functions[functions.index(name) - 1] == forward
    keep = [p for p in inspect.signature(getattr(se_numpy, forward)).parameters if p != "out"]
    takes = [p for p in inspect.signature(backward).parameters if p != "out"]
    upstream = 2 if forward == "batch_statistics" else 1  # one upstream gradient for each result
    assert takes[upstream:] == keep
    assert all(p.startswith("d") for p in takes[:upstream])


@pytest.mark.parametrize(("name", "function"), public_functions(), ids=lambda v: v if isinstance(v, str) else "")
def test_public_functions_are_typed_and_documented(name, function):
    assert function.__doc__, f"{name} has no docstring"
    signature = inspect.signature(function)
    assert signature.return_annotation is not inspect.Signature.empty, f"{name} has no return annotation"
    for parameter in signature.parameters.values():
        assert parameter.annotation is not inspect.Parameter.empty, f"{parameter.name} of {name} has no annotation"


def test_every_layer_has_a_docstring():
    kinds = [v for v in vars(layers).values() if inspect.isclass(v) and issubclass(v, layers.Layer)]
    assert len(kinds) >= 10
    assert all(kind.__doc__ and not kind.__doc__.startswith(f"{kind.__name__}(") for kind in kinds)


def test_every_module_has_a_docstring():
    for path in module_files():
        assert ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))), f"{path} has no docstring"
