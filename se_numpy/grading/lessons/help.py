"""Help with an exercise, a little at a time: hints from what the task knows, the solution from the library itself."""

import inspect
import textwrap
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from se_numpy.grading.assignment import find
from se_numpy.grading.lessons.shown import Text, shown
from se_numpy.grading.report import arrays
from se_numpy.grading.report.terminal import block_lines
from se_numpy.grading.search import smallest
from se_numpy.grading.task import Task, attempt, differs

LEVELS = 3
MISTAKES = 5  # so many are told
LINES = 44  # an example is no longer


def hint(name: str, level: int = 1) -> Text:
    """Help with one exercise: 1 the equation and the shapes, 2 a small worked example, 3 what people get wrong.

    Raises ValueError for a task or a level that there is not.
    """
    task = find(name)
    if level not in range(1, LEVELS + 1):
        raise ValueError(f"level is {level!r}; expected 1, 2 or 3")
    title, body = (_equation, _example, _mistakes)[level - 1](task)
    more = f'More: hint("{name}", {level + 1})' if level < LEVELS else f'All of it: solution("{name}")'
    return shown(Text(f"{title}\n\n{textwrap.indent(body, '    ')}\n\n{more}\n",
                      f"**{title}**\n\n```text\n{body}\n```\n\n{more}"))  # fmt: skip


def solution(name: str) -> Text:
    """The source of the library's own function, and one in plain NumPy that stands for itself.

    The library's is left out where it is put together from pieces that would say nothing here. Raises ValueError for a
    task that there is not.
    """
    task = find(name)
    plain = next(f for f in task.alternates if f.__name__.isidentifier() and "." not in f.__qualname__)
    written = "\n\n\n".join(map(_source, [*_helpers(plain), plain])).replace(f"def {plain.__name__}(", f"def {name}(")
    parts = [(f"{name}, written out", written)]
    if not task.oracle.__module__.startswith("se_numpy.grading."):
        own = (f"{name} as the library has it ({task.oracle.__module__})", _source(task.oracle))
        parts = [own, ("The same, written out", written)]
    text = "\n\n".join(f"{title}\n\n{textwrap.indent(code, '    ')}" for title, code in parts)
    pages = "\n\n".join(f"**{title}**\n\n```python\n{code}\n```" for title, code in parts)
    return shown(Text(text + "\n", pages))


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
        returned.append(f"{', '.join(again)}: renewed, of the same shapes")
    groups = {"arguments": _shapes(task, task.inputs), "keywords": keywords, "returned": returned}
    lines = [*textwrap.wrap(task.signature, 84, subsequent_indent="    "), ""]
    for title, members in groups.items():
        for k, member in enumerate(members):
            lines += textwrap.wrap(f"{title if k == 0 else '':<9}  {member}", 84, subsequent_indent=" " * 15)
    return task.equation, "\n".join(lines + (["", *textwrap.wrap(task.hint, 84)] if task.hint else []))


def _shapes(task: Task, names: Sequence[str]) -> list[str]:
    """Every shape with the names that have it, in a line."""
    names_of = {"R": "C/r"} | ({"P": "H'", "Q": "W'", "D": "C'"} if "Q" in task.sizes else {})
    found: dict[str, list[str]] = {}
    for name in names:
        letters = [names_of.get(letter, letter) for letter in task.letters(name) or ()]
        shape = f"shape ({', '.join(letters)}{',' if len(letters) == 1 else ''})" if letters else "a number"
        found.setdefault(shape, []).append(name)
    return [f"{', '.join(named)}: {shape}" for shape, named in found.items()]


def _example(task: Task) -> tuple[str, str]:
    """The smallest input on which most of the known mistakes give something else, and its answer."""

    def telling(case: Any) -> bool:
        right = task.answer(case)
        wrong = sum(differs(attempt(task, case, mistake.wrong), right) for mistake in task.mistakes)
        return wrong > 0.7 * len(task.mistakes)

    title = "A small example: the arguments, then what is right for them"
    case = smallest(task, telling, seed=0, seconds=1.0)
    if case is None:
        case = task.draw(np.random.default_rng(0), "example", "random", {})
    lines = [row for name, value in {**case.arguments, **case.hyper}.items() for row in _value(name, value)]
    lines.append("")
    answer = zip(task.outputs, task.answer(case), strict=True)
    lines += [row for name, value in answer for row in _value(name, value)]
    if len(lines) > LINES:
        return title, f'too large to show; hint("{task.name}") has the shapes'
    return title, textwrap.dedent("\n".join(lines))


def _value(name: str, value: Any) -> list[str]:
    shown = arrays.block(name, value)
    return list(block_lines(replace(shown, about=shown.about.replace(", float64", ""))))


def _mistakes(task: Task) -> tuple[str, str]:
    """The likeliest ones, as the task has them; else its first few."""
    known = {mistake.name: mistake for mistake in task.mistakes}
    some = [known[name] for name in task.likely] or task.mistakes[:MISTAKES]
    told = [textwrap.fill(f"{m.name}: {m.text}", 84, subsequent_indent="    ") for m in some]
    return f"What people get wrong here ({len(told)} of {len(task.mistakes)} known mistakes)", "\n".join(told)


def _helpers(function: Any) -> list[Any]:
    """Functions of the same file that it calls, those that they call first."""
    found: list[Any] = []
    for name in function.__code__.co_names:
        other = function.__globals__.get(name)
        if inspect.isfunction(other) and other.__module__ == function.__module__ and other not in found:
            found += [one for one in [*_helpers(other), other] if one not in found]
    return found


def _source(function: Any) -> str:
    return textwrap.dedent(inspect.getsource(function)).rstrip()
