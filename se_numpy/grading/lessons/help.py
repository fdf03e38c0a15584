"""Help with an exercise, a little at a time: hints from what the task knows, the solution from the library itself."""

import inspect
import textwrap
from typing import Any

import numpy as np

from se_numpy.grading.assignment import find
from se_numpy.grading.lessons.shown import Text, shown
from se_numpy.grading.search import smallest
from se_numpy.grading.task import Task, attempt, differs

LEVELS = 3
MISTAKES = 5  # so many are told


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
    """The source of the library's own function, and of a longer one that does the same, where the task has one.

    Raises ValueError for a task that there is not.
    """
    task = find(name)
    parts = [_own(task)]
    plain = next((f for f in task.alternates if f.__name__.isidentifier() and "." not in f.__qualname__), None)
    if plain is not None:
        parts.append(("The same, written out", "\n\n\n".join(map(_source, [*_helpers(plain), plain]))))
    text = "\n\n".join(f"{title}\n\n{textwrap.indent(code, '    ')}" for title, code in parts)
    pages = "\n\n".join(f"**{title}**\n\n```python\n{code}\n```" for title, code in parts)
    return shown(Text(text + "\n", pages))


def _own(task: Task) -> tuple[str, str]:
    """The truth's source: a function of the library, or what the task puts together from several."""
    own = _source(task.oracle)
    if not task.oracle.__module__.startswith("se_numpy.grading."):
        return f"{task.name} as the library has it ({task.oracle.__module__})", own
    if task.oracle.__name__ == "<lambda>":
        own = f"{task.name} = {own[own.index('lambda') :].rstrip(',')}"
    code = "\n\n\n".join([*map(_source, _helpers(task.oracle)), own])
    return f"{task.name}, put together from the library's functions", code


def _equation(task: Task) -> tuple[str, str]:
    lines = [task.signature, "", *(f"{name}: {_axes(task, name)}" for name in [*task.inputs, *task.outputs])]
    lines += [f"{name}: one of {', '.join(map(str, choices))}" for name, choices in task.hyper.items()]
    return task.equation, "\n".join(lines + (["", *textwrap.wrap(task.hint, 84)] if task.hint else []))


def _axes(task: Task, name: str) -> str:
    letters = task.letters(name)
    return "a number" if letters is None else f"shape ({', '.join(letters)}{',' if len(letters) == 1 else ''})"


def _example(task: Task) -> tuple[str, str]:
    """The smallest input on which most of the known mistakes give something else, and its answer."""

    def telling(case: Any) -> bool:
        right = task.answer(case)
        wrong = sum(differs(attempt(task, case, mistake.wrong), right) for mistake in task.mistakes)
        return wrong > 0.7 * len(task.mistakes)

    case = smallest(task, telling, seed=0, seconds=1.0)
    if case is None:
        case = task.draw(np.random.default_rng(0), "example", "random", {})
    lines = [_value(name, value) for name, value in {**case.arguments, **case.hyper}.items()]
    lines += ["", *(_value(name, value) for name, value in zip(task.outputs, task.answer(case), strict=True))]
    return "A small example: the arguments, then what is right for them", "\n".join(lines)


def _value(name: str, value: Any) -> str:
    if not isinstance(value, np.ndarray) or value.ndim == 0:
        return f"{name} = {value:.4g}" if isinstance(value, (float, np.ndarray)) else f"{name} = {value}"
    rows = np.array2string(value, precision=4, suppress_small=True, max_line_width=80)
    return f"{name}, shape {value.shape}\n{textwrap.indent(rows, '    ')}"


def _mistakes(task: Task) -> tuple[str, str]:
    told = [textwrap.fill(f"{m.name}: {m.text}", 84, subsequent_indent="    ") for m in task.mistakes[:MISTAKES]]
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
