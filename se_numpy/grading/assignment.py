"""Assignments: tasks with points, the secret that seeds their inputs, and limits, read from a TOML file.

An example:

    title = "Homework 3"
    tasks = ["relu", "sigmoid"]     # with their default points
    secret_file = "secret.txt"      # any bytes; without it the test inputs are public
    roster = "roster.csv"           # the students, as Canvas or Moodle exports them
    manual = "manual.csv"           # points and comments by hand
    template = "hw3.py"             # what students were given: not compared between submissions
    keep = "best"                   # of several runs; "last" by default
    gradebook_column = "Homework 3 (98765)"  # Canvas's name for it (default: the title)

    [[task]]
    id = "squeeze"
    points = 2

    [[task]]
    file = "my_gate.py"             # a custom task
    visibility = "hidden"           # students do not see it; after_due_date and after_published are for Gradescope
    extra = true                    # extra credit

    [[task]]
    id = "excite"
    points = 5
    checks = { values = 3, dtype = 0, extremes = { points = 1, visibility = "hidden" } }

    [limits]
    seconds_per_call = 2
    memory_mb = 512

Checks that are not named share the rest of the task's points.

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
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from se_numpy.grading.checks import checks_named, points_of
from se_numpy.grading.declarations import FRAMEWORKS, STYLES, Form
from se_numpy.grading.models import HIDDEN, VISIBLE, TaskReport
from se_numpy.grading.selftest import from_file
from se_numpy.grading.task import Task
from se_numpy.grading.tasks import all_tasks

VISIBILITIES = (VISIBLE, HIDDEN, "after_due_date", "after_published")
KEEP = ("last", "best")
LIMITS = {"seconds_per_call": 2.0, "memory_mb": 512.0}
_FILES = ("secret_file", "roster", "manual", "template")  # entries that name a file beside the assignment
_ENTRIES = ("title", "tasks", "task", *_FILES, "keep", "gradebook_column", "limits", "file",
            "folders", "style", "framework", "classes")  # fmt: skip


@dataclass(frozen=True)
class Item:
    """A task in an assignment, with its points and visibility.

    ``check_points`` has the points of some checks, and ``check_visibility`` the visibility of those that differ from
    the task. ``extra`` marks extra credit.
    """

    task: Task
    points: float
    visibility: str = VISIBLE
    extra: bool = False
    check_points: Mapping[str, float] = field(default_factory=dict)
    check_visibility: Mapping[str, str] = field(default_factory=dict)

    def labelled(self, report: TaskReport) -> TaskReport:
        """Return a report on this task with the visibility of the task and of each check."""
        checks = tuple(replace(check, visibility=self._seen(check.name)) for check in report.checks)
        points = points_of(self.task, self.points, self.check_points)
        hidden = sum(most for check, most in points.items() if self._seen(check) == HIDDEN)
        return replace(report, visibility=self.visibility, extra=self.extra, checks=checks, hidden_points=hidden)

    def _seen(self, check: str) -> str:
        group = "values" if check.startswith("values of ") else check
        return self.check_visibility.get(check, self.check_visibility.get(group, VISIBLE))


@dataclass(frozen=True)
class Assignment:
    """An ordered list of tasks, with the secret and the limits to grade them with."""

    title: str
    items: tuple[Item, ...]
    secret: bytes | None = None
    limits: dict[str, float] = field(default_factory=lambda: dict(LIMITS))
    form: Form = field(default_factory=Form)
    roster: Path | None = None
    manual: Path | None = None
    template: Path | None = None
    keep: str = "last"
    gradebook_column: str = ""

    def seed(self, student: str, task: str) -> int:
        """Return the seed for a task's inputs: fixed for each student, unpredictable without the secret.

        Without a secret the seed is 0.
        """
        if self.secret is None:
            return 0
        digest = hmac.new(self.secret, f"{task}:{student}".encode("utf-8", "surrogatepass"), hashlib.sha256).digest()
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
    _known(path, "the file", data, _ENTRIES)
    for name in (*_FILES, "gradebook_column"):
        _text(path, name, data.get(name, ""))
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
    beside = {name: path.parent / data[name] for name in _FILES if name in data}
    secret = _secret(beside.pop("secret_file")) if "secret_file" in beside else None
    return Assignment(
        str(data.get("title", path.stem)), items, secret, LIMITS | limits, _form(path, data), **beside,
        keep=_one_of(path, "keep", data.get("keep", "last"), KEEP), gradebook_column=data.get("gradebook_column", ""),
    )  # fmt: skip


def _form(path: Path, data: dict[str, Any]) -> Form:
    """Return the form of submissions that an assignment declares."""
    style, framework = (_one_of(path, name, data.get(name, known[0]), known)
                        for name, known in (("style", STYLES), ("framework", FRAMEWORKS)))  # fmt: skip
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
    return Form(file, folders, style if "style" in data else "", framework if "framework" in data else "", classes)


def _items(path: Path, entry: dict[str, Any]) -> list[Item]:
    _known(path, "[[task]]", entry, ("id", "file", "points", "visibility", "extra", "checks"))
    for name in ("id", "file"):
        _text(path, name, entry.get(name, ""))
    if ("id" in entry) == ("file" in entry):
        raise ValueError(f"{path}: a [[task]] has the entries {sorted(entry)}; expected either an id or a file")
    tasks = [find(entry["id"])] if "id" in entry else from_file(path.parent / entry["file"])
    visibility = _one_of(path, "visibility", entry.get("visibility", VISIBLE), VISIBILITIES)
    extra = entry.get("extra", False)
    if not isinstance(extra, bool):
        raise ValueError(f"{path}: extra is {extra!r}; expected true or false")
    check_points, check_visibility = _checks(path, entry.get("checks", {}))
    items = []
    for task in tasks:
        points = _positive(path, "points", entry.get("points", task.points))
        try:
            points_of(task, points, check_points)
            for name in check_visibility:
                checks_named(task, name)
        except ValueError as error:
            raise ValueError(f"{path}: {error}") from None
        items.append(Item(task, points, visibility, extra, check_points, check_visibility))
    return items


def _checks(path: Path, given: Any) -> tuple[dict[str, float], dict[str, str]]:
    """Return the points and the visibility of the checks that have them."""
    if not isinstance(given, dict):
        raise ValueError(f"{path}: checks is {given!r}; expected a table such as {{ values = 3, dtype = 0 }}")
    points, visibility = {}, {}
    for name, rule in given.items():
        rule = rule if isinstance(rule, dict) else {"points": rule}
        _known(path, f"the check {name!r}", rule, ("points", "visibility"))
        if "points" in rule:
            points[name] = 0.0 if rule["points"] in (0, 0.0) else _positive(path, f"points of {name}", rule["points"])
        if "visibility" in rule:
            visibility[name] = _one_of(path, f"visibility of {name}", rule["visibility"], (VISIBLE, HIDDEN))
    return points, visibility


def _text(path: Path, name: str, value: Any) -> None:
    if not isinstance(value, str):
        raise ValueError(f"{path}: {name} is {value!r}; expected a string")


def _one_of(path: Path, name: str, value: Any, known: Sequence[str]) -> str:
    if value not in known:
        raise ValueError(f"{path}: {name} is {value!r}; expected one of {', '.join(known)}")
    return str(value)


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
            if name in _ENTRIES:
                hint = "; write it at the top of the file, above the first table"
            raise ValueError(f"{path}: {where} has an unknown entry {name!r}{hint}")


def _positive(path: Path, name: str, value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 < value < float("inf"):
        raise ValueError(f"{path}: {name} is {value!r}; expected a positive number")
    return float(value)
