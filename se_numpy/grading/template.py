"""Templates: stubs for students as a file or a notebook, assignments, and a custom task for instructors."""

import json
import re
import textwrap
from collections.abc import Mapping, Sequence
from shlex import quote

from se_numpy.grading.assignment import Item
from se_numpy.grading.lessons.syllabus import Lesson
from se_numpy.grading.task import Task

HEAD = """\
{title}

Fill in the functions with NumPy. Maps are (N, H, W, C) and filters (k, k, C', C). For channels-first arrays,
(N, C, H, W) and (C, C', k, k), set LAYOUT = "NCHW" below. Leave the arguments as they are: a function that modifies
its inputs loses the points of the check "inputs untouched". Check your solution with

    se-numpy grade {file}{chosen}
"""


def stub(task: Task) -> str:
    """Return the function's definition and docstring without a body."""
    names = [*task.inputs, *(f"{name}={choices[0]!r}" for name, choices in task.hyper.items())]
    shapes = [f"{name} {_shape(task, name)}" for name in task.inputs]
    returns = [f"{name} {_shape(task, name)}" for name in task.outputs]
    doc = _wrapped(f"{task.title}.  {', '.join(shapes)} -> {', '.join(returns)}")
    lines = [task.equation, "", *doc, *(["", *_wrapped(task.hint)] if task.hint else [])]
    inside = "\n    ".join(lines).replace("\n    \n", "\n\n")
    return f'def {task.name}({", ".join(names)}):\n    """{inside}\n    """'


def _wrapped(text: str) -> list[str]:
    """Wrap text at 100 characters without breaking lines inside parentheses."""
    tied = re.sub(r"\([^()]*\)", lambda shape: shape[0].replace(" ", "\0"), text)
    return [line.replace("\0", " ") for line in textwrap.wrap(tied, 100)]


def _shape(task: Task, name: str) -> str:
    letters = task.letters(name)
    return "a number" if letters is None else f"({', '.join(letters)}{',' if len(letters) == 1 else ''})"


def solution(task: Task) -> str:
    """Return a body that calls the library's own function, for the instructor's copy."""
    given = ", ".join([*task.inputs, *(f"{name}={name}" for name in task.hyper)])
    return f"    from se_numpy.grading.assignment import find\n    return find({task.name!r}).oracle({given})"


def as_python(
    title: str, items: Sequence[Item], file: str, *, chosen: str = "", lessons: Mapping[str, Lesson] = {}
) -> str:
    """Return a Python file of stubs.

    ``chosen`` contains the options that restrict ``se-numpy grade`` to these tasks; ``lessons`` maps the first task of
    each tutorial to its lesson.
    """
    text = HEAD.format(title=title, file=quote(file), chosen=chosen)
    head = f'"""{text}"""\n\nimport numpy as np\n\nLAYOUT = "NHWC"\n'
    body = []
    for item in items:
        if lesson := lessons.get(item.task.name):
            body.append(f"# {lesson.heading} ({lesson.files[1]})\n")
        body.append(f"{stub(item.task)}\n    raise NotImplementedError\n")
    return "\n\n".join([head, *body])


def as_notebook(
    title: str, items: Sequence[Item], file: str, *, chosen: str = "", lessons: Mapping[str, Lesson] = {},
    marks: str | None = None,
) -> str:  # fmt: skip
    """Return a notebook of stubs with a check below each, or for ``marks`` "nbgrader" or "otter" an instructor's copy.

    An instructor's copy contains the solutions between the tool's marks and cells that award points. ``chosen`` and
    ``lessons`` are as in ``as_python``.
    """
    cells = [_text(HEAD.format(title=f"# {title}", file=quote(file), chosen=chosen))]
    if marks == "otter":
        cells.insert(0, _raw("# ASSIGNMENT CONFIG\ngenerate: true\nfiles: []"))
    used = {"nbgrader": "check, points", "otter": "assert_task, check"}.get(marks or "", "check")
    cells.append(_code(f"import numpy as np\nfrom se_numpy.grading import {used}\n\nLAYOUT = 'NHWC'"))
    for item in items:
        if lesson := lessons.get(item.task.name):
            read = " or in ".join(f"`{name}`" for name in lesson.files)
            cells.append(_text(f"# {lesson.heading}\n\nRead it first: on the documentation's site, in {read}."))
        cells += _question(item, marks)
    notebook = {
        "cells": [{"id": f"cell-{k}", **cell} for k, cell in enumerate(cells)],
        "metadata": {
            "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
            "language_info": {"name": "python"},
        },
        "nbformat": 4,
        "nbformat_minor": 5,
    }
    return json.dumps(notebook, indent=1, ensure_ascii=False) + "\n"


def _question(item: Item, marks: str | None) -> list[dict]:
    task, points = item.task, f"{item.points:g} point{'s' * (item.points != 1)}"
    head = f"## {task.title}\n\n{task.equation}\n\n{points}: `{task.signature}`"
    if marks is None:
        body = f"{stub(task)}\n    raise NotImplementedError"
        return [_text(head), _code(body), _code(f'check("{task.name}", {task.name}, layout=LAYOUT)')]
    if marks == "nbgrader":
        body = f"{stub(task)}\n    ### BEGIN SOLUTION\n{solution(task)}\n    ### END SOLUTION"
        asked = f'"{task.name}", {task.name}, max_points={item.points:g}, layout=LAYOUT'
        grade = f"### BEGIN HIDDEN TESTS\npoints({asked})\n"
        return [
            _text(head), _code(body, nbgrader=_marked(task.name, solution=True)),
            _code(grade + "### END HIDDEN TESTS", nbgrader=_marked(f"{task.name}-points", points=item.points)),
        ]  # fmt: skip
    body = f"{stub(task)}\n    # BEGIN SOLUTION\n{solution(task)}\n    # END SOLUTION"
    test = f'""" # BEGIN TEST CONFIG\npoints: {item.points:g}\n""" # END TEST CONFIG\n'
    test += f'assert_task("{task.name}", {task.name}, layout=LAYOUT)'
    return [
        _raw(f"# BEGIN QUESTION\nname: {task.name}\npoints: {item.points:g}"), _text(head),
        _raw("# BEGIN SOLUTION"), _code(body), _raw("# END SOLUTION"),
        _raw("# BEGIN TESTS"), _code(test), _raw("# END TESTS"),
        _raw("# END QUESTION"),
    ]  # fmt: skip


def _marked(grade_id: str, *, solution: bool = False, points: float = 0.0) -> dict:
    """Return nbgrader's metadata for an autograded answer or for a test with points."""
    marked = {"grade": not solution, "grade_id": grade_id, "locked": not solution, "schema_version": 3,
              "solution": solution, "task": False}  # fmt: skip
    return marked if solution else {**marked, "points": points}


def _text(source: str) -> dict:
    return {"cell_type": "markdown", "metadata": {}, "source": source}


def _raw(source: str) -> dict:
    return {"cell_type": "raw", "metadata": {}, "source": source}


def _code(source: str, **metadata: object) -> dict:
    return {"cell_type": "code", "execution_count": None, "metadata": metadata, "outputs": [], "source": source}


def as_assignment(title: str, items: Sequence[Item]) -> str:
    """Return the tasks and their points as TOML for ``se-numpy grade --assignment`` and ``gradescope-zip``."""
    entries = [f'[[task]]\nid = "{item.task.name}"\npoints = {item.points:g}\n' for item in items]
    return "\n".join([f'title = "{title}"\n', *entries])


NEW_TASK = '''"""A custom task: the function that students write, its oracle, and the common mistakes.

Check it with `se-numpy verify-task {name}.py`; use it in an assignment with [[task]] file = "{name}.py".
"""

import numpy as np

from se_numpy.grading.task import Mistake, Special, Task


def right(x, a):
    """Return x times one factor per channel, clipped to [0, 1]."""
    return np.clip(x * a, 0, 1)


{name} = Task(
    signature="{name}(x, a) -> y",
    equation="Eq. (1) of sheet 3",
    title="A hard gate",
    oracle=right,
    axes="x: N H W C, a: C, y: N H W C",  # letters are sizes drawn from the ranges below; numbers are fixed sizes
    sizes={{"N": (2, 4), "H": (3, 6), "W": (3, 6), "C": (2, 8)}},
    fill={{"a": "gates"}},  # normal, maps, weights, gates, positive, small, labels, apart
    specials=(Special("one image", {{"N": 1}}), Special("one channel", {{"C": 1}})),
    points=2,
    mistakes=(
        Mistake("not clipped at 0", "Negative values were kept; the gate should be 0 there.",
                lambda x, a: np.minimum(x * a, 1)),
        Mistake("not clipped at 1", "Values above 1 were kept; the gate should be 1 there.",
                lambda x, a: np.maximum(x * a, 0)),
        Mistake("clipped before multiplying", "x was clipped before the multiplication; clip the product instead.",
                lambda x, a: np.clip(x, 0, 1) * a),
        Mistake("a ignored", "a was not used; multiply x by it.", lambda x, a: np.clip(x, 0, 1)),
    ),
    alternates=(  # other correct versions, which also measure the effect of rounding
        lambda x, a: np.minimum(np.maximum(a * x, 0), 1),
        lambda x, a: np.where(x * a > 1, 1, np.where(x * a < 0, 0, x * a)).astype(x.dtype),
    ),
)
'''


def new_task(name: str) -> str:
    """Return the text of a template for a custom task.

    Raises
    ------
    ValueError
        If the name is not a valid function name.
    """
    if not name.isidentifier():
        raise ValueError(f"{name!r} is not a valid function name; expected one like my_gate")
    return NEW_TASK.format(name=name)
