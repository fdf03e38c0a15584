"""A submission that can be called: starts its process, starts another one where that ended, and always answers."""

import secrets
import shutil
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from types import TracebackType

import numpy as np

from se_numpy.grading.isolation import wire
from se_numpy.grading.isolation.backends import Backend, choose
from se_numpy.grading.isolation.process import Ended, Process
from se_numpy.grading.isolation.sandbox_paths import places
from se_numpy.grading.models import Reply
from se_numpy.grading.sandbox_worker import pack
from se_numpy.grading.submission import Submission


@dataclass(frozen=True)
class Limits:
    """What a submission gets."""

    seconds: float = 5.0  # for a call
    start_seconds: float = 10.0  # for its own lines at top level
    memory_mb: int = 512  # of address space; the interpreter and NumPy take about 170 of it
    cpu_seconds: int = 120  # of one process, should nobody be there any more to stop it
    file_mb: int = 16  # the largest file it can write, where it can write at all
    files: int = 64  # open at once
    processes: int = 64  # of the user; not for root, and not on its own a bound that holds

    def __post_init__(self) -> None:
        for name, value in asdict(self).items():
            if not value > 0:
                raise ValueError(f"the limit {name} is {value}; expected a number above 0")

    def resources(self) -> dict[str, int]:
        """As resource limits."""
        return {"AS": self.memory_mb << 20, "CPU": self.cpu_seconds, "FSIZE": self.file_mb << 20, "CORE": 0,
                "NOFILE": self.files, "NPROC": self.processes}  # fmt: skip


class Child:
    """Calls a submission's functions in another process.  To be used in a ``with`` statement, by one thread.

    After a time-out, a crash or a breach of the protocol the next call starts a fresh process, which runs the
    submission's text again. A submission that cannot be run at all answers every call with "unreadable".

    isolation: "auto", or the name of a backend ("bwrap", "landlock", "process")
    require:   the lowest level to be satisfied with, "L1" to "L3"; IsolationMissing where it cannot be had
    """

    def __init__(
        self, submission: Submission, *, isolation: str = "auto", limits: Limits | None = None,
        require: str | None = None,
    ) -> None:  # fmt: skip
        self._set_up(choose(isolation, require), submission, limits or Limits())

    @classmethod
    def on(cls, backend: Backend, submission: Submission, limits: Limits) -> "Child":
        """One on a backend that may not work, to see whether it does."""
        child = cls.__new__(cls)
        child._set_up(backend, submission, limits)
        return child

    def _set_up(self, backend: Backend, submission: Submission, limits: Limits) -> None:
        self.submission, self.limits = submission, limits
        self.level, self.backend = backend.level, backend.name
        self.starts = 0  # processes so far
        self._how = backend
        self._process: Process | None = None
        self._unreadable: Reply | None = None
        self._folder: str | None = None

    def __enter__(self) -> "Child":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def call(
        self, function: str, arguments: Sequence[np.ndarray | float | int], hyper: Mapping[str, float | int]
    ) -> Reply:
        """What ``function(*arguments, **hyper)`` comes to.  Raises RuntimeError where the fault is the grader's own."""
        if self._unreadable is not None:
            return self._unreadable
        number = secrets.randbits(52)  # not to be guessed by an answer that is sent ahead
        frame = wire.call(number, function, arguments, hyper)
        try:
            process = self._running()
            reply = process.ask(frame, wire.Answer(number, len(arguments)), self.limits.seconds)
        except Ended as end:
            self._process = None
            reply = end.reply
        except BaseException:
            self.restart()
            raise
        if reply.status == "memory":  # who knows what was half done
            self.restart()
        return self._unreadable or reply

    def restart(self) -> None:
        """Let the next call have a fresh process."""
        if self._process is not None:
            self._process.kill()
            self._process = None

    def close(self) -> None:
        """End the process, whatever it started, and its folder."""
        self.restart()
        if self._folder is not None:
            shutil.rmtree(self._folder, ignore_errors=True)
            self._folder = None

    @property
    def token(self) -> str:
        """What the process and those that it starts have in their environment; empty while there is none."""
        return self._process.token if self._process is not None else ""

    def _running(self) -> Process:
        """The process, the submission's text run in it.  Raises Ended where that is not possible."""
        process = self._process
        if process is not None and (not process.alive or process.cpu > self.limits.cpu_seconds / 2):
            self.restart()  # ended between two calls, or soon to be ended by its limit: no call's fault
            process = None
        if process is None:
            self._process = process = self._start()
            self._load(process)
        return process

    def _start(self) -> Process:
        """A process that is locked down and has NumPy.  Until here no line of the submission has run."""
        where, how = places(), self._how
        runner, lockdown = where.runner, where.lockdown
        if how.runner is not None:
            runner, lockdown = f"{how.runner}/runner.py", f"{how.runner}/lockdown.py"
        cwd = "/"
        if how.level == "L1":  # what it writes beside itself does not stay
            self._folder = cwd = self._folder or tempfile.mkdtemp(prefix="se_numpy-")
        number = secrets.randbits(52)
        settings = {"call": number, "limits": self.limits.resources(), "lockdown": lockdown, "numpy": where.numpy,
                    "readable": list(where.readable()) if how.landlock else None, "seccomp": how.seccomp}  # fmt: skip
        flags = ["-I", "-S", "-B", "-u", "-X", "utf8"]  # no environment, site-packages, bytecode, buffers; UTF-8
        self.starts += 1
        process = Process([*how.wrap(where), where.interpreter, *flags, runner], cwd,
                          leaves_processes=how.leaves_processes)  # fmt: skip
        try:
            process.ask(pack(settings), wire.Answer(number), 60)
        except Ended as end:
            said = (end.reply.stdout.strip() or end.reply.message).splitlines()[-1]
            raise RuntimeError(f"the process for submissions could not be started ({self.backend}): {said}") from None
        except BaseException:
            process.kill()
            raise
        return process

    def _load(self, process: Process) -> None:
        number = secrets.randbits(52)
        try:
            frame = wire.load(number, self.submission.source)
            reply = process.ask(frame, wire.Answer(number), self.limits.start_seconds)
        except Ended as end:
            reply = end.reply
            message = f"its lines at top level were run first: {reply.message}"
        else:
            message = reply.message
        if reply.status != "ok":
            process.kill()
            self._unreadable = replace(reply, status="unreadable", message=message)
            raise Ended("unreadable", message)
