"""Assignments: tasks with points, the secret that seeds their inputs, and limits, read from a TOML file.

An example:

    title = "Homework 3"
    tasks = ["relu", "sigmoid"]     # with their default points
    secret_file = "secret.txt"      # any bytes; without it the test inputs are public

    [[task]]
    id = "squeeze"
    points = 2

    [[task]]
    file = "my_gate.py"             # a custom task
    visibility = "after_due_date"   # for Gradescope

    [limits]
    seconds_per_call = 2
    memory_mb = 512

The form of submissions, if it is not a file with one function for each task:

    file = "hw.py"                  # the file to grade in a folder or a .zip archive
    folders = true                  # each folder with Python files is one submission
    style = "cs231n"                # forward functions return out, cache
    framework = "torch"             # submissions may set FRAMEWORK = "torch"

    [classes]
    SEBlock = "se_block"            # the class with forward and backward that solves a task
"""

import hashlib
import hmac
import tomllib
from collections.abc import Sequence
from dataclasses import dataclass, field
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from se_numpy.grading.declarations import FRAMEWORKS, STYLES, Form
from se_numpy.grading.selftest import from_file
from se_numpy.grading.task import Task
from se_numpy.grading.tasks import all_tasks

VISIBILITIES = ("visible", "hidden", "after_due_date", "after_published")
LIMITS = {"seconds_per_call": 2.0, "memory_mb": 512.0}


@dataclass(frozen=True)
class Item:
    """A task in an assignment, with its points and visibility."""

    task: Task
    points: float
    visibility: str = "visible"


@dataclass(frozen=True)
class Assignment:
    """An ordered list of tasks, with the secret and the limits to grade them with."""

    title: str
    items: tuple[Item, ...]
    secret: bytes | None = None
    limits: dict[str, float] = field(default_factory=lambda: dict(LIMITS))
    form: Form = field(default_factory=Form)

    def seed(self, sha256: str, task: str) -> int:
        """Return the seed for a task's inputs: fixed for each submission, unpredictable without the secret.

        Without a secret the seed is 0.
        """
        if self.secret is None:
            return 0
        digest = hmac.new(self.secret, f"{task}:{sha256}".encode(), hashlib.sha256).digest()
        return int.from_bytes(digest[:6], "big")

    @property
    def seed_id(self) -> str:
        """An identifier for the secret that does not reveal it, for comparing reports."""
        return "public" if self.secret is None else hashlib.sha256(b"seed:" + self.secret).hexdigest()[:12]


def everything(names: Sequence[str] = (), secret: bytes | None = None) -> Assignment:
    """Return an assignment of all tasks, or of the named ones in the given order, with their default points."""
    tasks = all_tasks()
    chosen = [find(name, tasks) for name in names] if names else list(tasks.values())
    return Assignment("all tasks" if not names else ", ".join(names), tuple(Item(t, t.points) for t in chosen), secret)


def find(name: str, tasks: dict[str, Task] | None = None) -> Task:
    """Return the task with this name.

    Raises
    ------
    ValueError
        If no task has this name; the message suggests the nearest one.
    TypeError
        If the name is not a string.
    """
    if not isinstance(name, str):
        called = getattr(name, "__name__", "function")
        raise TypeError(f"got a {type(name).__name__} as the task's name; the name comes first, as in "
                        f'check("{called}", {called})')  # fmt: skip
    tasks = all_tasks() if tasks is None else tasks
    if name not in tasks:
        near = get_close_matches(name, tasks, n=1)
        hint = f"did you mean {near[0]}? " if near else ""
        raise ValueError(f"unknown task {name!r}; {hint}`se-numpy tasks` lists all {len(tasks)}")
    return tasks[name]


def load(path: str | Path) -> Assignment:
    """Read an assignment from a TOML file.

    Raises
    ------
    ValueError
        If the file or one of its entries is invalid; the message names both.
    """
    path = Path(path)
    try:
        data = tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ValueError(f"{path} does not exist; expected an assignment in TOML") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ValueError(f"{path} is not valid TOML: {error}") from None
    known = ("title", "secret_file", "task", "tasks", "limits", "file", "folders", "style", "framework", "classes")
    _known(path, "the file", data, known)
    entries, names = data.get("task", []), data.get("tasks", [])
    if not isinstance(entries, list) or not isinstance(names, list) or not entries + names:
        raise ValueError(f'{path} lists no tasks; expected tasks = ["squeeze"], or [[task]] with id = "squeeze"')
    entries = [*({"id": name} for name in names), *entries]
    items = tuple(item for entry in entries for item in _items(path, entry))
    names = [item.task.name for item in items]
    duplicate = next((name for name in names if names.count(name) > 1), None)
    if duplicate:
        raise ValueError(f"{path} lists the task {duplicate!r} twice; expected each task once")
    limits = data.get("limits", {})
    _known(path, "[limits]", limits, tuple(LIMITS))
    for name, value in limits.items():
        _positive(path, name, value)
    secret = _secret(path.parent / data["secret_file"]) if "secret_file" in data else None
    return Assignment(str(data.get("title", path.stem)), items, secret, LIMITS | limits, _form(path, data))


def _form(path: Path, data: dict[str, Any]) -> Form:
    """Return the form of submissions that an assignment declares."""
    for name, known in (("style", STYLES), ("framework", FRAMEWORKS)):
        if data.get(name, known[0]) not in known:
            raise ValueError(f"{path}: {name} is {data[name]!r}; expected {' or '.join(known)}")
    file, folders, classes = data.get("file", ""), data.get("folders", False), data.get("classes", {})
    if not isinstance(file, str) or (file and not file.lower().endswith((".py", ".ipynb"))):
        raise ValueError(f'{path}: file is {file!r}; expected the name of a .py or .ipynb file, as in file = "hw.py"')
    if not isinstance(folders, bool):
        raise ValueError(f"{path}: folders is {folders!r}; expected true or false")
    if not isinstance(classes, dict):
        raise ValueError(f'{path}: classes is {classes!r}; expected a table, as in [classes] SEBlock = "se_block"')
    for kind, task in classes.items():
        if not isinstance(task, str) or find(task).name.endswith("_backward"):
            raise ValueError(f"{path}: the class {kind} is for {task!r}; expected a forward task, such as se_block, "
                             "with which its backward task is graded")  # fmt: skip
    return Form(file, folders, data.get("style", ""), data.get("framework", ""), classes)


def _items(path: Path, entry: dict[str, Any]) -> list[Item]:
    _known(path, "[[task]]", entry, ("id", "file", "points", "visibility"))
    for name in ("id", "file"):
        if not isinstance(entry.get(name, ""), str):
            raise ValueError(f"{path}: {name} is {entry[name]!r}; expected a string")
    if ("id" in entry) == ("file" in entry):
        raise ValueError(f"{path}: a [[task]] has the entries {sorted(entry)}; expected either an id or a file")
    tasks = [find(entry["id"])] if "id" in entry else from_file(path.parent / entry["file"])
    visibility = entry.get("visibility", "visible")
    if visibility not in VISIBILITIES:
        raise ValueError(f"{path}: visibility is {visibility!r}; expected one of {', '.join(VISIBILITIES)}")
    points = [_positive(path, "points", entry.get("points", task.points)) for task in tasks]
    return [Item(task, p, visibility) for task, p in zip(tasks, points, strict=True)]


def read_secret(path: str | Path) -> bytes:
    """Return a file's contents, without surrounding whitespace, as the course's secret."""
    return _secret(Path(path))


def _secret(path: Path) -> bytes:
    try:
        secret = path.read_bytes().strip()
    except OSError as error:
        raise ValueError(f"{path}: {error.strerror}; expected a file with the course's secret (any bytes)") from None
    if len(secret) < 8:
        raise ValueError(f"{path} contains {len(secret)} bytes; expected a secret of at least 8 bytes")
    return secret


def _known(path: Path, where: str, given: Any, known: tuple[str, ...]) -> None:
    if not isinstance(given, dict):
        raise ValueError(f"{path}: {where} is {given!r}; expected a table with {', '.join(known)}")
    for name in given:
        if name not in known:
            near = get_close_matches(name, known, n=1)
            hint = f"; did you mean {near[0]}?" if near else f"; expected {', '.join(known)}"
            raise ValueError(f"{path}: {where} has an unknown entry {name!r}{hint}")


def _positive(path: Path, name: str, value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 < value < float("inf"):
        raise ValueError(f"{path}: {name} is {value!r}; expected a positive number")
    return float(value)
