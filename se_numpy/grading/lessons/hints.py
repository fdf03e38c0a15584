"""Help with an exercise: hints from the task's data, and solutions from the library's source."""

import ast
import inspect
import math
import sys
import textwrap
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from itertools import product
from typing import Any

import numpy as np

from se_numpy.grading.assignment import find
from se_numpy.grading.lessons.display import Text, display
from se_numpy.grading.report import arrays
from se_numpy.grading.report.terminal import block_lines
from se_numpy.grading.search import smallest, whole
from se_numpy.grading.task import Case, Mistake, Task, attempt, differs

LEVELS = 3
MISTAKES = 5  # the number of mistakes listed by default
MANY = 5  # a task with more arguments gets no example
LINES = 44  # the maximum number of lines in an example
HELPERS = {  # comments on the helpers that the library's functions import
    "GATES": "GATES[gate] is a function and its gradient",
    "array_module": "array_module(x) is numpy, or cupy for arrays on a GPU",
    "check": "check compares shapes with the letters and returns the size of each letter",
    "check_conv2d": "check_conv2d checks the arguments and returns H, W and the rest as integers",
    "check_loss": "check_loss checks the arguments and returns N, K",
    "check_pool": "check_pool checks the arguments and returns H, W and the rest as integers",
    "harmless_underflow": "harmless_underflow lets tiny numbers become 0 without an error",
    "linear": "linear(x, W, b) is x @ W.T + b",
    "taps": "taps yields every place (a, b) of a kernel and the pixels under it",
}


def hint(name: str, level: int = 1) -> Text:
    """Show a hint: at level 1 the equation and the shapes, at 2 a small worked example, at 3 common mistakes.

    Raises
    ------
    ValueError
        If the task or the level does not exist.
    """
    task = find(name)
    if level not in range(1, LEVELS + 1):
        raise ValueError(f"level is {level!r}; expected 1, 2 or 3")
    title, body = (_equation, _example, _mistakes)[level - 1](task)
    more = f'Next: hint("{name}", {level + 1})' if level < LEVELS else f'The solution: solution("{name}")'
    return display(Text(f"{title}\n\n{textwrap.indent(body, '    ')}\n\n{more}\n",
                      f"**{title}**\n\n```text\n{body}\n```\n\n{more}"))  # fmt: skip


def solution(name: str) -> Text:
    """Show how a task can be solved: a version written out for the task, the library's own source, or both.

    Each comes with the imports that it needs.

    Raises
    ------
    ValueError
        If the task does not exist.
    """
    task = find(name)
    parts = []
    if task.written is not None:
        parts.append((f"{name}, written out", _with_imports(task.written, name)))
    own = task.library or task.oracle
    if not own.__module__.startswith("se_numpy.grading."):
        arguments = ", with different arguments" if task.library else ""
        parts.append((f"{name} from the library ({own.__module__}){arguments}", _with_imports(own, name)))
    last = _with_only_numpy(parts[0][1])
    text = [f"{title}\n\n{textwrap.indent(code, '    ')}" for title, code in parts]
    pages = [f"**{title}**\n\n```python\n{code}\n```" for title, code in parts]
    return display(Text("\n\n".join(text + last) + "\n", "\n\n".join(pages + last)))


def _equation(task: Task) -> tuple[str, str]:
    defaults = inspect.signature(task.oracle).parameters
    keywords = []
    for name, choices in task.hyper.items():
        default = defaults[name].default if name in defaults else None
        given = f"; by default {default:g}" if isinstance(default, int | float) else ""
        keywords.append(f"{name}: one of {', '.join(map(str, choices))}{given}")
    again = [name for name in task.outputs if name in task.inputs]
    returned = _shapes(task, [name for name in task.outputs if name not in again])
    if again:
        returned.append(f"{', '.join(again)}: updated, same shapes")
    groups = {"arguments": _shapes(task, task.inputs), "keywords": keywords, "returned": returned}
    lines = [*textwrap.wrap(task.signature, 84, subsequent_indent="    "), ""]
    for title, members in groups.items():
        for k, member in enumerate(members):
            lines += textwrap.wrap(f"{title if k == 0 else '':<9}  {member}", 84, subsequent_indent=" " * 15)
    return task.equation, "\n".join(lines + (["", *textwrap.wrap(task.hint, 84)] if task.hint else []))


def _shapes(task: Task, names: Sequence[str]) -> list[str]:
    """Return one line per shape, with the names of the arrays that have it."""
    names_of = {"R": "C/r"} | ({"P": "H'", "Q": "W'", "D": "C'"} if "Q" in task.sizes else {})
    found: dict[str, list[str]] = {}
    for name in names:
        letters = [names_of.get(letter, letter) for letter in task.letters(name) or ()]
        shape = f"shape ({', '.join(letters)}{',' if len(letters) == 1 else ''})" if letters else "a number"
        found.setdefault(shape, []).append(name)
    return [f"{', '.join(named)}: {shape}" for shape, named in found.items()]


def _example(task: Task) -> tuple[str, str]:
    """Return a small input on which every mistake of the next hint is wrong, with the correct results."""
    title = "A small example: the arguments, then the correct results"
    lines = _rows(task, example(task))
    if len(lines) > LINES:
        advice = (f'The arrays are too large for a hint. The card of check("{task.name}", {task.name}) shows a small '
                  "input on which your function is wrong, with the expected values.")  # fmt: skip
        return "No example", textwrap.fill(advice, 84)
    return title, textwrap.dedent("\n".join(lines))


def _rows(task: Task, case: Case) -> list[str]:
    lines = [row for name, value in {**case.arguments, **case.hyper}.items() for row in _value(name, value)]
    answer = zip(task.outputs, task.answer(case), strict=True)
    return [*lines, "", *(row for name, value in answer for row in _value(name, value))]


def example(task: Task) -> Case:
    """Return the smallest input found on which the mistakes that ``hint`` lists are wrong.

    Mistakes that are wrong on extremes only are not asked of it.
    """
    rng = np.random.default_rng(0)
    if len(task.inputs) > MANY:  # too large to show
        return task.draw(rng, "example", "random", {})
    usual = [case for case in task.cases(0, number=4) if case.kind != "extreme"]
    visible = [m for m in listed(task) if any(shows(task, m, case) for case in usual)]

    def tells(case: Case) -> bool:
        hidden = next((m for m in visible if not shows(task, m, case)), None)
        if hidden is not None:
            visible.insert(0, visible.pop(visible.index(hidden)))  # it is likely to be hidden in the next case too
        return hidden is None and case.sizes.get("K") != 1

    found = smallest(task, tells, seed=0, seconds=1.0)
    if found is None or len(_rows(task, found)) > LINES:
        found = next(filter(tells, _small_cases(task, rng)), found)
    return found or next(filter(tells, (task.draw(rng, "example", "random", {}) for _ in range(500))), usual[0])


def _small_cases(task: Task, rng: np.random.Generator) -> Iterator[Case]:
    """Yield cases with small sizes, those with fewer values first."""
    most = {"P": 7, "Q": 7, "k": 3}
    ranges = [range(1, min(high, most.get(letter, 2)) + 1) for letter, (_, high) in task.sizes.items()]
    grid = [dict(zip([*task.sizes, *task.hyper], sizes, strict=True))
            for sizes in product(*ranges, *task.hyper.values())]  # fmt: skip
    for sizes in sorted(grid, key=lambda sizes: math.prod(sizes[letter] for letter in task.sizes)):
        case = task.case("example", "random", sizes, lambda *what: whole(rng, *what))
        if case is not None:
            yield case


def shows(task: Task, mistake: Mistake, case: Case) -> bool:
    """Return True if a mistake is clearly wrong on an input."""
    return differs(attempt(task, case, mistake.wrong), task.answer(case))


def _value(name: str, value: Any) -> list[str]:
    shown = arrays.block(name, value)
    return list(block_lines(replace(shown, about=shown.about.replace(", float64", ""))))


def listed(task: Task) -> list[Mistake]:
    """Return the mistakes that the hint of level 3 lists."""
    known = {mistake.name: mistake for mistake in task.mistakes}
    return [known[name] for name in task.likely] or list(task.mistakes[:MISTAKES])


def _mistakes(task: Task) -> tuple[str, str]:
    """Return the task's likely mistakes, or its first few."""
    some = listed(task)
    lines = [textwrap.fill(f"{m.name}: {m.text}", 84, subsequent_indent="    ") for m in some]
    return f"Common mistakes ({len(lines)} of {len(task.mistakes)} known)", "\n".join(lines)


def _with_imports(function: Callable[..., Any], name: str) -> str:
    """Return the source of a function, renamed to ``name``, below the imports that it needs."""
    source = textwrap.dedent(inspect.getsource(function)).rstrip()
    source = source.replace(f"def {function.__name__}(", f"def {name}(")
    module, lines = sys.modules[function.__module__], []
    needed = _free_names(source) & set(vars(module))
    for statement in ast.parse(inspect.getsource(module)).body:
        if isinstance(statement, ast.Import | ast.ImportFrom):
            statement.names = [alias for alias in statement.names if (alias.asname or alias.name) in needed]
            if statement.names:
                lines.append(_with_comments(ast.unparse(statement), [alias.name for alias in statement.names]))
                needed -= {alias.asname or alias.name for alias in statement.names}
    if needed:  # defined in the same file
        lines.append(_with_comments(f"from {module.__name__} import {', '.join(sorted(needed))}", sorted(needed)))
    return "\n".join([*lines, "", "", source] if lines else [source])


def _with_only_numpy(code: str) -> list[str]:
    """Return a sentence on the changes that code needs before it can be submitted, or nothing."""
    imports = [node for node in ast.parse(code).body if isinstance(node, ast.Import | ast.ImportFrom)]
    names = {alias.name for node in imports if "se_numpy" in ast.unparse(node) for alias in node.names}
    changes = {
        "leave out the type hints and `check`": "check" in names,
        "leave out the type hints": "Array" in names and "check" not in names,
        "write `np` for `array_module(...)`": "array_module" in names,
        "leave out `@harmless_underflow`": "harmless_underflow" in names,
        "call your own functions": bool(names - {"Array", "array_module", "check", "harmless_underflow", "EPS"}),
    }
    needed = [change for change, needs in changes.items() if needs]
    return [textwrap.fill(f"A submission may use only NumPy: {', '.join(needed)}.", 120)] if needed else []


def _free_names(source: str) -> set[str]:
    """Return the names that the function in ``source`` uses but does not define."""
    tree = ast.parse(source)
    names = [node for node in ast.walk(tree) if isinstance(node, ast.Name)]
    own = {node.arg for node in ast.walk(tree) if isinstance(node, ast.arg)}
    own |= {node.name for node in tree.body if isinstance(node, ast.FunctionDef)}
    return {n.id for n in names} - {n.id for n in names if isinstance(n.ctx, ast.Store)} - own


def _with_comments(line: str, names: Sequence[str]) -> str:
    """Return an import with comments on the library's helpers, on the same line if they fit, else above it."""
    comments = [HELPERS[name] for name in names if name in HELPERS]
    whole = f"{line}  # {'; '.join(comments)}" if comments else line
    return whole if len(whole) <= 120 else "\n".join([*(f"# {comment}" for comment in comments), line])
