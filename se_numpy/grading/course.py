"""Grade files: one submission, or all submissions in a course in parallel."""

import math
import os
import platform
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Executor, as_completed
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from difflib import get_close_matches
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

import se_numpy
from se_numpy.grading.assignment import Assignment, Item, everything, load, read_secret
from se_numpy.grading.grade import SEARCH_SECONDS, grade_task
from se_numpy.grading.isolation import Child, Limits, missing
from se_numpy.grading.models import DeadlinePassed, Report, TaskReport
from se_numpy.grading.submission import Submission, definitions, read
from se_numpy.grading.task import Task
from se_numpy.grading.tasks import all_tasks

SUFFIXES = (".py", ".ipynb")
DEADLINE = 300.0  # seconds for a submission; one whose functions are all wrong takes about 20
CLASS_SHARE = 60.0  # seconds for each submission in a class, on average


@dataclass(frozen=True)
class Options:
    """Grading options, as plain values that can be sent to another process."""

    assignment: str | None = None  # a TOML file
    tasks: tuple[str, ...] = ()
    secret_file: str | None = None
    isolation: str = "auto"
    require: str | None = None
    run_all: bool = False  # run all cells in a notebook, not only its definitions
    deadline: float = DEADLINE  # time limit for a submission, in seconds; later tasks are reported as not reached
    until: float = math.inf  # the time, as of time.time(), at which grading the class ends
    search: float = SEARCH_SECONDS

    def to_assignment(self) -> Assignment:
        """Return the assignment with the selected tasks.

        Raises
        ------
        ValueError
            If the file is invalid or a task does not exist.
        """
        secret = read_secret(self.secret_file) if self.secret_file else None
        if not self.assignment:
            return everything(self.tasks, secret)
        whole = load(self.assignment)
        items = tuple(item for item in whole.items if not self.tasks or item.task.name in self.tasks)
        if not items:
            raise ValueError(f"{self.assignment} contains none of the tasks {', '.join(self.tasks)}")
        return Assignment(whole.title, items, secret or whole.secret, whole.limits)


def grade_path(
    path: str | Path, options: Options = Options(), on_task: Callable[[Report], Any] | None = None,
    name: str | None = None,
) -> Report:  # fmt: skip
    """Grade one submission, a .py or .ipynb file, and return its report.

    ``on_task`` is called after every task with the report so far. A submission that cannot be read gets a report that
    says so. If a .py file cannot be run as a whole, only its definitions are run, as in a notebook, so that a failing
    plot at its end costs no points.

    Raises
    ------
    IsolationMissing
        If ``options.require`` is a higher level than this machine supports.
    """
    assignment, started, path = options.to_assignment(), time.perf_counter(), Path(path)
    now = datetime.now(UTC).isoformat(timespec="seconds")
    versions = {"se_numpy": se_numpy.__version__, "numpy": np.__version__, "python": platform.python_version()}

    def report(tasks: Sequence[TaskReport], sha256: str, level: str, backend: str, message: str = "") -> Report:
        return Report(
            name or path.name, sha256, level, backend, missing(level), assignment.seed_id, now,
            time.perf_counter() - started, tuple(tasks), message, versions,
        )  # fmt: skip

    try:
        submission = read(path, run_all=options.run_all)
    except ValueError as error:
        tasks = [_without_verdict(item, "unreadable", str(error)) for item in assignment.items]
        return report(tasks, "", "L0", "nothing was run", str(error))
    left = options.until - time.time()
    over = f"the {options.deadline:g} seconds for the whole submission were used up"
    if left < options.deadline:
        over = "the time for the whole class was used up"
    until = time.monotonic() + min(left, options.deadline)
    limits = Limits(seconds=assignment.limits["seconds_per_call"], memory_mb=int(assignment.limits["memory_mb"]))

    def graded(submission: Submission, message: str = "") -> Report:
        done: list[TaskReport] = []
        with Child(submission, isolation=options.isolation, limits=limits, require=options.require,
                   until=until) as child:  # fmt: skip
            for item in assignment.items:
                seed = assignment.seed(submission.sha256, item.task.name)
                reached = time.monotonic() < until
                try:
                    if not reached:
                        raise DeadlinePassed
                    done.append(_verdict(item, submission, child, seed, options.search))
                except DeadlinePassed:
                    what = "not finished" if reached else "not reached"
                    done.append(_without_verdict(item, "timeout", f"{what}: {over}"))
                if on_task:
                    on_task(report(done, submission.sha256, child.level, child.backend, message))
            return report(done, submission.sha256, child.level, child.backend, message)

    whole = graded(submission)
    reason = next((task.message for task in whole.tasks if task.status == "unreadable"), "")
    if reason and path.suffix == ".py" and not options.run_all:
        note = f"the file cannot be run as a whole ({reason}); only its definitions were run and graded"
        partial_report = graded(definitions(submission), note)
        if any(task.status != "unreadable" for task in partial_report.tasks):
            return partial_report
    return whole


def _verdict(item: Item, submission: Submission, child: Child, seed: int, search: float) -> TaskReport:
    """Grade one task in a submission."""
    function = item.task.name
    if function not in submission.functions and function not in submission.source:  # not imported or assigned either
        return _without_verdict(item, "missing", _not_found(item.task, submission.functions))
    found = grade_task(
        item.task, partial(child.call, function), seed=seed, layout=submission.layout, points=item.points,
        seconds=search,
    )  # fmt: skip
    if found.status == "missing" and function not in submission.functions:
        return replace(found, message=_not_found(item.task, submission.functions))
    return found


def _not_found(task: Task, functions: Sequence[str]) -> str:
    """Return a message about a missing function; it suggests a similar name unless that names another task."""
    others = {other.lower(): other for other in functions if other not in all_tasks()}
    near = get_close_matches(task.name.lower(), others, n=1, cutoff=0.8)
    meant = f"did you mean your {others[near[0]]}? " if near else ""
    return f"the function {task.name} is missing; {meant}expected def {task.signature.partition(' -> ')[0]}"


def _without_verdict(item: Item, status: str, message: str) -> TaskReport:
    task = item.task
    return TaskReport(
        task.name, task.title, task.equation, task.signature, status, 0.0, item.points, message=message
    )  # fmt: skip


def submissions(paths: Sequence[str | Path]) -> list[Path]:
    """Return the given files, and all submissions in the given folders sorted by path.

    Raises
    ------
    ValueError
        If a path does not exist, or a folder contains no submissions.
    """
    found: list[Path] = []
    for path in map(Path, paths):
        if path.is_dir():
            inside = sorted(p for p in path.rglob("*") if p.suffix in SUFFIXES and not _hidden(p, path))
            if not inside:
                raise ValueError(f"{path} contains no submissions; expected {' or '.join(SUFFIXES)} files")
            found += inside
        elif path.exists():
            found.append(path)
        else:
            raise ValueError(f"{path} does not exist; expected a .py or .ipynb file, or a folder of submissions")
    return found


def _hidden(path: Path, top: Path) -> bool:
    return any(part.startswith((".", "__")) for part in path.relative_to(top).parts)


def grade_all(paths: Sequence[Path], options: Options, executor: Executor) -> Iterator[tuple[Path, Report]]:
    """Yield (path, report) as each submission is graded; every report has a unique name.

    The executor may use processes or a cluster, whose clocks must agree if ``options.until`` is given.

    Raises
    ------
    ValueError
        If the options name an invalid assignment or an unknown task.
    """
    options.to_assignment()  # so that errors are raised here, once
    futures = {executor.submit(grade_path, str(path), options, None, title(path, paths)): path for path in paths}
    for future in as_completed(futures):
        yield futures[future], future.result()


def title(path: Path, paths: Sequence[Path]) -> str:
    """Return a submission's name: its file name, prefixed with its folders if the submissions are in several."""
    common = os.path.commonpath([other.absolute().parent for other in paths])
    return "-".join(path.absolute().relative_to(common).parts)
