"""Make one submission of several parsed files: which of them is graded, and which can be imported by it."""

import posixpath
import sys
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from typing import Any

from se_numpy.grading.bundle import Bundle
from se_numpy.grading.declarations import Declared, Form, declared, function_of
from se_numpy.grading.submission import Module, Submission, SubmissionFile

_NAMED = 5  # files that a sentence names


def assemble(
    bundle: Bundle, files: Sequence[Mapping[str, Any]], others: Sequence[str], tasks: Collection[str], form: Form
) -> Submission:
    """Return the submission of a bundle's parsed files.

    The graded file is the one named ``form.file``, or else the one that defines the tasks. If several files define
    tasks, each task must be defined in one of them only. Each of ``files`` is as in ``source_parser.parse`` with its
    "name", or with a "problem" if it is not valid Python; ``others`` are the paths that were not read.

    Raises
    ------
    ValueError
        If it is not clear which file to grade, or that file is not valid Python.
    """
    if not bundle.several:
        if "problem" in files[0]:
            raise ValueError(files[0]["problem"])
        return replace(Submission.of(bundle.files[0], files[0], form), beside=bundle.beside)
    forms = {f["name"]: declared(f["declared"], f["classes"], form) for f in files if "problem" not in f}
    valid = {f["name"]: f for f in files if "problem" not in f}
    if form.file:
        graded = [_named(bundle, files, form.file)]
    else:
        graded = _that_define(bundle, files, {n: _defined(f, forms[n], tasks) for n, f in valid.items()})
    if len({(forms[n].layout, forms[n].style, forms[n].framework) for n in graded}) > 1:
        raise ValueError(f"{bundle.name}: {_list(graded)} declare different forms; expected the same LAYOUT, STYLE and "
                         "FRAMEWORK in each file with tasks")  # fmt: skip
    modules = _modules(files, graded)
    trees = {function: digest for f in valid.values() for function, digest in f["trees"].items()}
    notes = list(_notes(files, graded, modules, [*others, *bundle.others]))
    main = valid[graded[0]]
    if len(graded) > 1:
        main = _joined([valid[name] for name in graded], modules, forms, tasks)
    found = Submission.of(SubmissionFile(graded[0], b""), main, form)
    name = bundle.name if len(graded) > 1 else graded[0]
    return replace(found, name=name, sha256=bundle.sha256, trees=trees, modules=tuple(modules),
                   notes=(*found.notes, *notes))  # fmt: skip


def _named(bundle: Bundle, files: Sequence[Mapping[str, Any]], wanted: str) -> str:
    """Return the path of the file with this name, the one in the outermost folder if there are several."""
    same = [f for f in files if posixpath.basename(f["name"]).lower() == posixpath.basename(wanted).lower()]
    exact = [f for f in files if f["name"] == wanted] or sorted(same, key=lambda f: f["name"].count("/"))
    if not exact:
        raise ValueError(f"{bundle.name} has no file {wanted}, which the assignment asks for; it has "
                         f"{_list([f['name'] for f in files])}")  # fmt: skip
    if len(exact) > 1 and exact[0]["name"].count("/") == exact[1]["name"].count("/"):
        raise ValueError(f"{bundle.name} has the file {wanted} in several folders: {_list([f['name'] for f in exact])}")
    if "problem" in exact[0]:
        raise ValueError(exact[0]["problem"])
    return str(exact[0]["name"])


def _that_define(
    bundle: Bundle, files: Sequence[Mapping[str, Any]], defined: Mapping[str, Mapping[str, str]]
) -> list[str]:
    """Return the paths of the files that define tasks, or of the only file."""
    graded = [name for name, tasks in defined.items() if tasks]
    where: dict[str, list[str]] = {}
    for name in graded:
        for task in defined[name]:
            where.setdefault(task, []).append(name)
    twice = next(((task, names) for task, names in where.items() if len(names) > 1), None)
    if twice:
        whole = "; an archive of a whole class must be unpacked first" if bundle.archive else ""
        raise ValueError(f"{bundle.name}: {twice[0]} is defined in {_list(twice[1])}; keep one, or name the file to "
                         f'grade with --file or, in the assignment, file = "hw.py"{whole}')  # fmt: skip
    if graded:
        return graded
    problem = next((f["problem"] for f in files if "problem" in f), "")
    if problem:
        raise ValueError(problem)
    if len(files) == 1:
        return [files[0]["name"]]
    raise ValueError(f"{bundle.name}: none of {_list([f['name'] for f in files])} defines one of the tasks; expected "
                     "their functions in one of the files")  # fmt: skip


def _defined(found: Mapping[str, Any], form: Declared, tasks: Collection[str]) -> dict[str, str]:
    """Return the function or class in a file for each task that it defines."""
    names = {*found["functions"], *found["classes"]}
    solved = {task: function_of(task, names, form) for task in tasks}
    return {task: name for task, name in solved.items() if name in names}


def _modules(files: Sequence[Mapping[str, Any]], graded: Sequence[str]) -> list[Module]:
    """Return the files that can be imported, by their paths from a graded file's folder or from the outermost."""
    beside = [posixpath.dirname(name) for name in graded]
    modules: dict[str, Module] = {}
    for top in dict.fromkeys([*beside, ""] if len(graded) == 1 else ["", *beside]):
        for f in files:
            path = f["name"]
            if not path.lower().endswith(".py") and path not in graded:
                continue
            inside = posixpath.relpath(path, top or ".")
            parts = posixpath.splitext(inside)[0].split("/")
            package = parts[-1] == "__init__"
            parts = parts[:-1] if package else parts
            if parts and all(part.isidentifier() for part in parts):
                name = ".".join(parts)
                modules.setdefault(name, Module(name, path, f.get("source", ""), package, f.get("problem", "")))
    return list(modules.values())


def _joined(
    graded: Sequence[Mapping[str, Any]], modules: Sequence[Module], forms: Mapping[str, Declared],
    tasks: Collection[str],
) -> dict[str, Any]:  # fmt: skip
    """Return a file that imports the tasks from the files that define them."""
    names = {module.file: module.name for module in reversed(modules)}
    lines, functions = [], []
    classes: dict[str, Any] = {}
    declarations: dict[str, Any] = {}
    left_out: dict[str, str] = {}
    for f in graded:
        if f["name"] not in names:
            raise ValueError(f"{f['name']} cannot be imported under this name; rename it to letters, digits and _")
        wanted = sorted(set(_defined(f, forms[f["name"]], tasks).values()))
        lines.append(f"from {names[f['name']]} import {', '.join(wanted)}")
        functions += [name for name in f["functions"] if name in wanted]
        classes |= {name: methods for name, methods in f["classes"].items() if name in wanted}
        own = f["declared"]
        declarations |= {**own, "CLASSES": {**declarations.get("CLASSES", {}), **own.get("CLASSES", {})}}
        left_out |= f["left_out"]
    return {"source": "\n".join(lines) + "\n", "declared": declarations, "functions": functions, "classes": classes,
            "left_out": left_out, "trees": {}}  # fmt: skip


def _notes(
    files: Sequence[Mapping[str, Any]], graded: Sequence[str], modules: Sequence[Module], others: Sequence[str]
) -> list[str]:
    """Return sentences on which files were graded, can be imported, or were not used."""
    importable = list(dict.fromkeys(module.file for module in modules if module.file not in graded))
    notes = [f"Graded: {_list(graded)}" + (f"; importable beside it: {_list(importable)}." if importable else ".")]
    standard = [m.file for m in modules if m.name.split(".")[0] in sys.stdlib_module_names | {"numpy"}]
    if standard:
        notes.append(f"{_list(standard)}: Python or NumPy has a module of this name, which is imported; rename it.")
    broken = [f["problem"] for f in files if "problem" in f]
    notes += [f"Not valid Python: {problem}." for problem in broken[:_NAMED]]
    shown = sorted(path for path in others if not path.rpartition("/")[2].startswith("."))
    unused = [f["name"] for f in files if f["name"] not in {*graded, *(m.file for m in modules)}]
    if shown or unused:
        notes.append(f"Not used: {_list([*unused, *shown])}.")
    return notes


def _list(names: Sequence[str]) -> str:
    shown = ", ".join(name[:80] for name in names[:_NAMED])
    return shown + (f" and {len(names) - _NAMED} more" if len(names) > _NAMED else "")
