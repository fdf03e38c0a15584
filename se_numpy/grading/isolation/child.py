"""Call the functions of a submission in a child process, which is restarted when it ends."""

import json
import math
import platform
import secrets
import time
from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import cache
from pathlib import Path
from types import TracebackType

import numpy as np

from se_numpy.grading import adapters, archive, source_parser
from se_numpy.grading.assemble import assemble
from se_numpy.grading.bundle import Bundle
from se_numpy.grading.declarations import Form
from se_numpy.grading.isolation import seccomp, wire
from se_numpy.grading.isolation.backends import Backend, choose
from se_numpy.grading.isolation.frameworks import FRAMEWORKS, package_paths
from se_numpy.grading.isolation.process import Ended, Process
from se_numpy.grading.isolation.sandbox_paths import sandbox_paths
from se_numpy.grading.isolation.scratch import Scratch, remove_left_folders
from se_numpy.grading.models import DeadlinePassed, Reply
from se_numpy.grading.sandbox_worker import pack
from se_numpy.grading.submission import Submission


@dataclass(frozen=True)
class Limits:
    """The resource limits of a submission."""

    seconds: float = 5.0  # wall-clock time for a call
    start_seconds: float = 10.0  # wall-clock time for the submission's top-level code
    memory_mb: int = 512  # address space; the interpreter and NumPy take about 170 MB
    cpu_seconds: int = 120  # processor time for one process, in case the grader dies and cannot stop it
    file_mb: int = 16  # file size, for backends that allow writing
    files: int = 64  # open files
    processes: int = 64  # threads; at L1 also processes

    def __post_init__(self) -> None:
        for name, value in asdict(self).items():
            if not value > 0:
                raise ValueError(f"the limit {name} is {value}; expected a number above 0")

    def resources(self) -> dict[str, int]:
        """Return the limits, keyed by RLIMIT constant without its prefix."""
        return {"AS": self.memory_mb << 20, "CPU": self.cpu_seconds, "FSIZE": self.file_mb << 20, "CORE": 1,
                "NOFILE": self.files, "NPROC": self.processes}  # fmt: skip


def limits_of(limits: Limits, framework: str) -> Limits:
    """Return the limits of a process that imports a framework, which needs memory and threads of its own."""
    if framework not in FRAMEWORKS:
        return limits
    more = FRAMEWORKS[framework]
    return replace(limits, memory_mb=limits.memory_mb + more.memory_mb, processes=limits.processes + more.threads,
                   seconds=limits.seconds + more.seconds)  # fmt: skip


class Child:
    """A context manager that calls a submission's functions in another process.  Use it from one thread at a time.

    After a timeout, a crash or a protocol violation, the next call starts a new process, which runs the
    submission's code again. If that code cannot run, every call returns the status "unreadable".

    Parameters
    ----------
    submission
        The submission to run.
    isolation
        The backend: "auto", "bwrap", "landlock" or "process".
    limits
        The resource limits (default: ``Limits()``).
    require
        The lowest acceptable level, "L1" to "L3"; IsolationMissing is raised if it is not available.
    until
        The time, on the clock of ``time.monotonic``, after which no call is made or continued.
    """

    def __init__(
        self, submission: Submission, *, isolation: str = "auto", limits: Limits | None = None,
        require: str | None = None, until: float = math.inf,
    ) -> None:  # fmt: skip
        self._set_up(choose(isolation, require), submission, limits or Limits())
        self._until = until

    @classmethod
    def on(cls, backend: Backend, submission: Submission, limits: Limits) -> "Child":
        """Create a child with a given backend, without checking that the backend works."""
        child = cls.__new__(cls)
        child._set_up(backend, submission, limits)
        return child

    def _set_up(self, backend: Backend, submission: Submission, limits: Limits) -> None:
        self.submission, self.limits = submission, limits
        self.framework = "numpy"  # or the one that the submission declares and the grader's command allows
        self.level, self.backend = backend.level, backend.name
        self.starts = 0  # processes started so far
        self._how = backend
        self._process: Process | None = None
        self._unreadable: Reply | None = None
        self._until = math.inf
        self._scratch: Scratch | None = None

    def __enter__(self) -> "Child":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def call(
        self, function: str, arguments: Sequence[np.ndarray | float | int], hyper: Mapping[str, float | int]
    ) -> Reply:
        """Call ``function(*arguments, **hyper)`` and return the reply.

        Raises
        ------
        RuntimeError
            If the process cannot be started, which is not the submission's fault.
        DeadlinePassed
            If the time for the whole submission is used up.
        """
        if self._unreadable is not None:
            return self._unreadable
        number = secrets.randbits(52)  # random, so that a reply cannot be sent in advance
        frame = wire.call(number, function, arguments, hyper)
        try:
            process = self._running()
            reply = self._ask(process, frame, wire.Answer(number, len(arguments)),
                              limits_of(self.limits, self.framework).seconds)  # fmt: skip
        except Ended as end:
            self._process = None
            reply = end.reply
        except BaseException:
            self.restart()
            raise
        if reply.status == "memory":  # the process may be in an inconsistent state
            self.restart()
        return self._unreadable or reply

    def parse(
        self, bundle: Bundle, *, definitions: bool, notebooks: bool = True, form: Form | None = None,
        tasks: Collection[str] = (),
    ) -> Submission:  # fmt: skip
        """Parse a submission's files in a new process, make it the submission of this child, and return it.

        ``definitions`` keeps only the definitions in .py files, and ``notebooks`` those in notebooks. The graded file
        of several is chosen as the ``form`` and the names of the ``tasks`` say.

        Raises
        ------
        ValueError
            If it is not valid Python, cannot be parsed within the limits, or it is not clear which file to grade.
        RuntimeError
            If the process cannot be started, which is not the submission's fault.
        """
        self.restart()
        form = form or Form()
        number, seconds = secrets.randbits(52), self.limits.start_seconds
        settings = {"names": [file.name for file in bundle.files], "archive": bundle.archive,
                    "definitions": [definitions, notebooks], "available": [form.framework]}  # fmt: skip
        frame = wire.parse(number, _parsers(), [file.raw for file in bundle.files], settings)
        self._process = process = self._start()
        try:
            reply = process.ask(frame, wire.Answer(number), seconds)
        except Ended as end:
            self._process, reply = None, end.reply
        except BaseException:
            self.restart()
            raise
        if reply.status != "ok" or len(reply.outputs) != 1:
            self.restart()
            limit = f"while it was parsed: {reply.message}; expected functions, not data"
            raise ValueError(reply.message if reply.status == "refused" else f"{bundle.name}, {limit}")
        found = json.loads(reply.outputs[0].tobytes())
        self.submission = assemble(bundle, found["files"], found["others"], tasks, form)
        self._unreadable = None
        return self.submission

    def use(self, submission: Submission, framework: str = "numpy") -> None:
        """Make this the submission, in a process that can import the framework."""
        if framework != self.framework:
            self.restart()
        self.submission, self.framework, self._unreadable = submission, framework, None

    def restart(self) -> None:
        """End the process, so that the next call starts a new one."""
        if self._process is not None:
            self._process.kill()
            self._process = None

    def abandon(self) -> None:
        """Close the channels without ending the process, as the system does when the grader is killed."""
        if self._process is not None:
            self._process.close_channels()

    def close(self) -> None:
        """End the process and its descendants, and remove its folder."""
        self.restart()
        if self._scratch is not None:
            self._scratch.close()
            self._scratch = None

    @property
    def token(self) -> str:
        """The token in the environment of the process and its descendants; empty if no process is running."""
        return self._process.token if self._process is not None else ""

    def _running(self) -> Process:
        """Return a process in which the submission's code has run.  Raises Ended if that fails."""
        process = self._process
        if process is not None and (not process.alive or process.cpu > self.limits.cpu_seconds / 2):
            self.restart()  # the next call must not suffer from an earlier one's exit or processor time
            process = None
        if process is None:
            self._process = process = self._start()
        if not process.loaded:
            self._load(process)
        return process

    def _start(self) -> Process:
        """Start a locked-down process with NumPy imported, before any of the submission's code runs."""
        where, how, machine = sandbox_paths(self.framework), self._how, platform.machine()
        files = {"runner": where.runner, "lockdown": where.lockdown, "supervisor": where.supervisor}
        if how.runner is not None:
            files = {name: f"{how.runner}/{name}.py" for name in files}
        cwd = "/"
        if how.level == "L1":  # the submission may write files, so it gets a temporary folder
            self._scratch = self._scratch or Scratch()
            cwd = self._scratch.path
        remove_left_folders()
        number = secrets.randbits(52)
        limits = limits_of(self.limits, self.framework).resources()
        settings = {**files, "call": number, "limits": limits, "numpy": where.numpy, "framework": self.framework,
                    "packages": package_paths(self.framework),
                    "readable": list(where.readable()) if how.landlock else None,
                    "seccomp": seccomp.allow_list(machine, self.framework) if how.seccomp else None,
                    "counting": seccomp.asking(machine) if seccomp.possible() else None}  # fmt: skip
        flags = ["-I", "-S", "-B", "-u", "-X", "utf8"]  # no environment, site-packages, bytecode or buffering; UTF-8
        self.starts += 1
        process = Process([*how.wrap(where), where.interpreter, *flags, files["runner"]], cwd,
                          leaves_processes=how.leaves_processes)  # fmt: skip
        try:
            process.ask(pack(settings), wire.Answer(number), 60)
        except Ended as end:
            reason = (end.reply.stdout.strip() or end.reply.message).splitlines()[-1]
            raise RuntimeError(f"the sandbox process could not be started ({self.backend}): {reason}") from None
        except BaseException:
            process.kill()
            raise
        return process

    def _ask(self, process: Process, frame: bytes, answer: wire.Answer, seconds: float) -> Reply:
        """Return the reply to a request, which may take until the deadline at most."""
        left = self._until - time.monotonic()
        if left <= 0:
            raise DeadlinePassed
        try:
            return process.ask(frame, answer, min(seconds, left))
        except Ended as end:
            if end.reply.status == "timeout" and left < seconds:
                raise DeadlinePassed from None
            raise

    def _load(self, process: Process) -> None:
        number = secrets.randbits(52)
        try:
            given = self.submission
            modules = [(m.name, m.file, m.package, m.problem) for m in given.modules]
            settings = {"modules": modules, "calls": given.calls,
                        "main": [m.name for m in given.modules if m.file == given.name]}  # fmt: skip
            sources = [given.source, _adapters() if given.calls else "", *(m.source for m in given.modules)]
            frame = wire.load(number, sources, settings)
            reply = self._ask(process, frame, wire.Answer(number), self.limits.start_seconds)
        except Ended as end:
            reply = end.reply
            message = f"while running its top-level code: {reply.message}"
        else:
            message = reply.message
        if reply.status != "ok":
            process.kill()
            self._unreadable = replace(reply, status="unreadable", message=message)
            raise Ended("unreadable", message)
        process.loaded = True


@cache
def _parsers() -> tuple[bytes, bytes]:
    return Path(archive.__file__).read_bytes(), Path(source_parser.__file__).read_bytes()


@cache
def _adapters() -> str:
    return Path(adapters.__file__).read_text(encoding="utf-8")
