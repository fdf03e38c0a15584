"""Grade files: one submission, or all submissions in a course in parallel."""

import hashlib
import math
import platform
import time
import tomllib
import traceback
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, BrokenExecutor, Executor, Future, wait
from dataclasses import dataclass, fields, replace
from datetime import UTC, datetime
from difflib import get_close_matches
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

import se_numpy
from se_numpy.grading.assignment import Assignment, Item, everything, load, read_secret
from se_numpy.grading.bundle import read_bundle
from se_numpy.grading.class_folder import Entry
from se_numpy.grading.declarations import Form, call_lines, call_of, described, framework_of, needed
from se_numpy.grading.grade import SEARCH_SECONDS, grade_task
from se_numpy.grading.isolation import Child, IsolationMissing, Limits, missing
from se_numpy.grading.models import NOT_RUN, DeadlinePassed, Reply, Report, TaskReport
from se_numpy.grading.submission import Submission
from se_numpy.grading.task import Task
from se_numpy.grading.tasks import all_tasks

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
    student: str = ""  # whose submission it is; the inputs follow the student (default: the file's name)
    until: float = math.inf  # the time, as of time.time(), at which grading the class ends
    search: float = SEARCH_SECONDS
    file: str = ""  # as in ``Form``; these take precedence over the assignment's
    folders: bool = False
    framework: str = ""

    def to_assignment(self) -> Assignment:
        """Return the assignment with the selected tasks.

        Raises
        ------
        ValueError
            If the file is invalid or a task does not exist.
        """
        secret = read_secret(self.secret_file) if self.secret_file else None
        if not self.assignment:
            return replace(everything(self.tasks, secret), form=self._form(Form()))
        whole = load(self.assignment)
        items = tuple(item for item in whole.items if not self.tasks or item.task.name in self.tasks)
        if not items:
            raise ValueError(f"{self.assignment} contains none of the tasks {', '.join(self.tasks)}")
        form = self._form(whole.form)
        return replace(whole, items=items, secret=secret or whole.secret, form=form)

    def _form(self, form: Form) -> Form:
        """Return the form of submissions, with this object's settings in place of the assignment's."""
        return replace(form, file=self.file or form.file, folders=self.folders or form.folders,
                       framework=self.framework or form.framework)  # fmt: skip

    def fingerprint(self) -> str:
        """Return a digest of everything that a report depends on, except for the submission."""
        assignment, own = self.to_assignment(), b""
        if self.assignment:  # its own tasks are files
            path = Path(self.assignment)
            own = path.read_bytes()
            tasks = tomllib.loads(own.decode()).get("task", [])
            own += b"".join((path.parent / task["file"]).read_bytes() for task in tasks if "file" in task)
        items = [(item.task.name, *(getattr(item, f.name) for f in fields(item)[1:])) for item in assignment.items]
        rest = (self.isolation, self.require, self.run_all, self.deadline, self.search, _versions())
        facts = repr((items, assignment.secret, assignment.limits, assignment.form, own, rest))
        return hashlib.sha256(facts.encode()).hexdigest()


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
    student = options.student or path.stem

    seconds, over = options.deadline, f"the {options.deadline:g} seconds for the whole submission were used up"
    if options.until - time.time() < seconds:
        seconds, over = options.until - time.time(), "the time for the whole class was used up"
    until = time.monotonic() + seconds

    def left() -> float:
        """Return the seconds left for the whole submission."""
        return until - time.monotonic()

    def report(
        tasks: Sequence[TaskReport], sha256: str, level: str, backend: str, message: str = "",
        submission: Submission | None = None,
    ) -> Report:  # fmt: skip
        return Report(
            name or path.name, sha256, level, backend, missing(level), assignment.seed_id, now,
            time.perf_counter() - started, tuple(tasks), message, _versions(), student,
            trees=dict(submission.trees) if submission else {}, notes=submission.notes if submission else (),
        )  # fmt: skip

    def unreadable(message: str, sha256: str = "") -> Report:
        tasks = [_without_verdict(item, "unreadable", message) for item in assignment.items]
        return report(tasks, sha256, "L0", NOT_RUN, message)

    try:
        bundle = read_bundle(path)
    except ValueError as error:
        return unreadable(str(error))
    if left() <= 0:
        tasks = [_without_verdict(item, "timeout", f"not reached: {over}") for item in assignment.items]
        return report(tasks, bundle.sha256, "L0", NOT_RUN)
    limits = Limits(seconds=assignment.limits["seconds_per_call"], memory_mb=int(assignment.limits["memory_mb"]))

    def graded(definitions: bool, message: str = "") -> Report:
        done: list[TaskReport] = []
        own = replace(limits, start_seconds=min(limits.start_seconds, max(0.1, round(left(), 1))))
        empty = Submission(bundle.name, "", bundle.sha256)
        with Child(empty, isolation=options.isolation, limits=own, require=options.require, until=until) as child:
            try:
                child.parse(bundle, definitions=definitions, notebooks=not options.run_all, form=assignment.form,
                            tasks=[item.task.name for item in assignment.items])  # fmt: skip
                submission = _with_calls(child.submission, assignment)
                child.use(submission, framework_of(submission.form.framework, assignment.form))
            except ValueError as error:
                return unreadable(str(error), bundle.sha256)
            for item in assignment.items:
                seed = assignment.seed(student, item.task.name)
                reached = left() > 0
                try:
                    if not reached:
                        raise DeadlinePassed
                    done.append(_verdict(item, submission, child, seed, options.search))
                except DeadlinePassed:
                    what = "not finished" if reached else "not reached"
                    done.append(_without_verdict(item, "timeout", f"{what}: {over}"))
                if on_task:
                    on_task(report(done, submission.sha256, child.level, child.backend, message, submission))
            return report(done, submission.sha256, child.level, child.backend, message, submission)

    whole = graded(bundle.notebook and not options.run_all)
    reason = next((task.message for task in whole.tasks if task.status == "unreadable"), "")
    if reason and whole.backend != NOT_RUN and not bundle.notebook and not options.run_all and left() > 0:
        note = f"the file cannot be run as a whole ({reason}); only its definitions were run and graded"
        partial_report = graded(True, note)
        if any(task.status != "unreadable" for task in partial_report.tasks):
            return partial_report
    return whole


def _versions() -> dict[str, str]:
    return {"se_numpy": se_numpy.__version__, "numpy": np.__version__, "python": platform.python_version()}


def _with_calls(submission: Submission, assignment: Assignment) -> Submission:
    """Return the submission with the way in which each task is called, and a note on each that is not a function."""
    if submission.form.is_plain:
        return submission
    tasks = [item.task for item in assignment.items]
    calls = {task.name: call_of(task, submission.defined, submission.form) for task in tasks}
    notes = described([call for call in calls.values() if submission.names(call)], submission.form)
    return replace(submission, calls=calls, notes=(*submission.notes, *notes))


def _verdict(item: Item, submission: Submission, child: Child, seed: int, search: float) -> TaskReport:
    """Grade one task in a submission."""
    function = item.task.name
    how = submission.calls.get(function, {"kind": "function", "function": function})
    if not submission.names(how):
        why = _not_found(item.task, submission) if how["kind"] == "function" else needed(how)
        return _without_verdict(item, "missing", why)

    def call(arguments: Sequence[Any], hyper: Mapping[str, Any]) -> Reply:
        reply = child.call(function, arguments, hyper)
        return replace(reply, message=reply.message + submission.why_undefined(reply.message))

    lines = partial(call_lines, submission.calls.get(function), submission.form)
    found = grade_task(
        item.task, call, seed=seed, layout=submission.layout, points=item.points, seconds=search,
        check_points=item.check_points, lines=lines,
    )  # fmt: skip
    if found.status == "missing" and function not in submission.functions and not submission.calls:
        found = replace(found, message=_not_found(item.task, submission))
    return item.labelled(found)


def _not_found(task: Task, submission: Submission) -> str:
    """Return a message about a missing function; it suggests a similar name unless that names another task."""
    others = {other.lower(): other for other in submission.functions if other not in all_tasks()}
    near = get_close_matches(task.name.lower(), others, n=1, cutoff=0.8)
    meant = f"did you mean your {others[near[0]]}? " if near else ""
    where = submission.where_left_out(task.name)
    return f"the function {task.name} is missing; {meant}expected def {task.signature.partition(' -> ')[0]}{where}"


def _without_verdict(item: Item, status: str, message: str) -> TaskReport:
    task = item.task
    return item.labelled(TaskReport(
        task.name, task.title, task.equation, task.signature, status, 0.0, item.points, message=message
    ))  # fmt: skip


def blank_report(options: Options, message: str) -> Report:
    """Return a report in which no task is attempted, with a message that says why."""
    assignment = options.to_assignment()
    tasks = tuple(_without_verdict(item, "missing", message) for item in assignment.items)
    return Report("", "", "L0", NOT_RUN, (), assignment.seed_id, "", 0.0, tasks, message, _versions())


def grade_all(
    entries: Sequence[Entry], options: Options, executor: Executor, window: int | None = None
) -> Iterator[tuple[Entry, Report]]:
    """Yield (entry, report) as each submission is graded.

    The executor may use processes or a cluster, whose clocks must agree if ``options.until`` is given; at most
    ``window`` submissions are given to it at a time (default: all). A submission on which the grader fails gets a
    report that says so.

    Raises
    ------
    ValueError
        If the options name an invalid assignment or an unknown task.
    WorkerDied
        If a process of the executor has ended; the executor can no longer be used.
    """
    options.to_assignment()  # so that errors are raised here, once
    waiting, running = deque(entries), dict[Future[Report], Entry]()
    while waiting or running:
        try:
            while waiting and len(running) < (window or len(entries)):
                entry = waiting[0]
                running[
                    executor.submit(grade_entry, str(entry.path), replace(options, student=entry.student), entry.name)
                ] = entry
                waiting.popleft()
            for future in wait(running, return_when=FIRST_COMPLETED).done:
                report = future.result()
                yield running.pop(future), report
        except BrokenExecutor as error:
            raise WorkerDied(tuple(running.values()) or (waiting[0],)) from error


def grade_entry(path: str, options: Options, name: str) -> Report:
    """Grade a submission of a class; if the grader itself fails, return a report that says so."""
    try:
        return grade_path(path, options, name=name)
    except IsolationMissing:
        raise
    except Exception as error:
        frame = traceback.extract_tb(error.__traceback__)[-1]
        where = f"{Path(frame.filename).name}, line {frame.lineno}"
        return ungraded(options, name, f"{type(error).__name__}: {str(error)[:500]} ({where})")


def ungraded(options: Options, name: str, reason: str) -> Report:
    """Return the report on a submission that was not graded because the grader failed."""
    assignment, message = (
        options.to_assignment(),
        f"internal error in the grader, not caused by the submission: {reason}",
    )
    tasks = tuple(_without_verdict(item, "ungraded", message) for item in assignment.items)
    now = datetime.now(UTC).isoformat(timespec="seconds")
    return Report(
        name, "", "L0", NOT_RUN, (), assignment.seed_id, now, 0.0, tasks, message, _versions(), options.student
    )


class WorkerDied(RuntimeError):
    """A process that graded submissions has ended; ``entries`` are those that it may have been grading."""

    def __init__(self, entries: tuple[Entry, ...]) -> None:
        super().__init__("a process that graded submissions has ended")
        self.entries = entries
