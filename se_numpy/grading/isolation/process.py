"""A child process, its channels and its deadline.  Only the parent ends it, with SIGKILL."""

import contextlib
import os
import secrets
import select
import signal
import subprocess
import time
import weakref
from collections.abc import Sequence

from se_numpy.grading.isolation.wire import Answer, Breach, clean
from se_numpy.grading.models import Reply

MAX_OUTPUT = 64 << 10  # bytes of printed output kept per call
TOKEN = "SE_NUMPY_CHILD"  # environment variable that marks a child and its descendants


_open: "weakref.WeakSet[Process]" = weakref.WeakSet()


def _close_copies() -> None:
    """Close the channels that a copy of the grader inherited, which would keep its children alive."""
    for process in list(_open):
        process.close_channels()
    _open.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_close_copies)


class Ended(Exception):
    """The child has ended; ``reply`` is the reply to the call."""

    def __init__(self, status: str, message: str, stdout: str = "") -> None:
        super().__init__(message)
        self.reply = Reply(status, message=message, stdout=stdout)


class Process:
    """A running child, which answers one request at a time, from one thread."""

    def __init__(self, argv: Sequence[str], cwd: str, *, leaves_processes: bool) -> None:
        self.token = secrets.token_hex(16)
        self.loaded = False  # whether the submission's code has run
        self.cpu = 0.0  # upper bound on the processor time used, in seconds
        self._leaves_processes = leaves_processes
        child_in, self._requests = os.pipe()
        self._answers, child_out = os.pipe()
        threads = {f"{name}_NUM_THREADS": "1" for name in ("OPENBLAS", "OMP", "MKL", "BLIS", "VECLIB_MAXIMUM")}
        kept = {name: os.environ[name] for name in ("LD_LIBRARY_PATH",) if name in os.environ}
        proc = os.open("/proc", os.O_RDONLY) if os.path.isdir("/proc") else -1  # for the supervisor only
        passed = [child_in, child_out, *([proc] if proc >= 0 else [])]
        try:
            self._popen = subprocess.Popen(
                [*argv, str(child_in), str(child_out), str(proc)], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT, pass_fds=passed, cwd=cwd, start_new_session=True,
                env={**threads, **kept, "MALLOC_ARENA_MAX": "2", "LC_ALL": "C.UTF-8", TOKEN: self.token},
            )  # fmt: skip
        except BaseException:
            os.close(self._requests)
            os.close(self._answers)
            raise
        finally:
            for descriptor in passed:
                os.close(descriptor)
        assert self._popen.stdout is not None
        self._printed = self._popen.stdout.fileno()
        for descriptor in (self._requests, self._answers, self._printed):
            os.set_blocking(descriptor, False)
        _open.add(self)

    @property
    def alive(self) -> bool:
        """True if the child is running."""
        return self._popen.poll() is None

    def ask(self, frame: bytes, answer: Answer, seconds: float) -> Reply:
        """Send ``frame`` and return the child's reply.

        Raises
        ------
        Ended
            If the child does not reply within ``seconds`` or violates the protocol; the child has been killed.
        """
        output = bytearray()
        started = time.monotonic()
        try:
            if _readable(self._answers) and self.alive:
                raise Breach("it wrote to the grader's channel before the call")
            self._exchange(frame, answer, started + seconds, output)
            if _readable(self._answers) and self.alive:
                raise Breach("it wrote more than one reply to the grader's channel")
        except Breach as breach:
            self.kill()
            raise Ended("refused", f"the process was stopped: {breach}", _text(output)) from None
        except TimeoutError:
            self.kill()
            raise Ended("timeout", f"did not finish within {seconds:g} s", _text(output)) from None
        except EOFError:
            self._drain(output)
            raise self._gone(_text(output)) from None
        finally:
            self.cpu += time.monotonic() - started
        return answer.reply(_text(output))

    def _exchange(self, frame: bytes, answer: Answer, deadline: float, output: bytearray) -> None:
        """Write the frame and read the reply and the printed output concurrently, so that no full pipe blocks.

        Output printed before the reply is read in time, because a reply takes at least two polls and output one.
        """
        pending = memoryview(frame)
        poll = select.poll()
        poll.register(self._requests, select.POLLOUT)
        poll.register(self._answers, select.POLLIN)
        poll.register(self._printed, select.POLLIN)
        while answer.wanted:
            left = deadline - time.monotonic()
            if left <= 0:
                raise TimeoutError
            for descriptor, event in poll.poll(min(left, 3600) * 1000 + 1):
                if descriptor == self._requests:
                    try:
                        pending = pending[os.write(descriptor, pending[: 1 << 16]) :]
                    except BlockingIOError:
                        continue
                    except BrokenPipeError:
                        pending = pending[:0]
                    if not pending:
                        poll.unregister(descriptor)
                elif descriptor == self._printed:
                    if not self._read_output(output) and event & ~select.POLLIN:
                        poll.unregister(descriptor)  # closed by the child
                elif not (piece := os.read(descriptor, min(answer.wanted, 1 << 20))):
                    raise EOFError
                else:
                    answer.feed(piece)
                    if not answer.wanted:
                        break

    def _read_output(self, output: bytearray) -> bool:
        """Read printed output, discarding what exceeds MAX_OUTPUT; return False at the end."""
        try:
            piece = os.read(self._printed, 1 << 16)
        except BlockingIOError:
            return True
        output += piece[: MAX_OUTPUT + 1 - len(output)]
        return bool(piece)

    def _drain(self, output: bytearray) -> None:
        for _ in range(64):  # bounded, because one of the submission's threads may never stop printing
            if not _readable(self._printed) or not self._read_output(output):
                break

    def _gone(self, stdout: str) -> Ended:
        """Return why the child closed its channel."""
        try:
            code = self._popen.wait(5)  # a crash on a busy machine takes a while
        except subprocess.TimeoutExpired:
            self.kill()
            return Ended("crashed", "the process was stopped: it closed the grader's channel", stdout)
        self.kill()
        number = -code if code < 0 else code - 128 if code > 128 else 0  # bubblewrap returns 128 + signal, like a shell
        if number == signal.SIGXCPU:
            return Ended("timeout", "the process exceeded its processor time limit", stdout)
        if number == signal.SIGKILL:
            return Ended("crashed", "the process was killed by the system; is the machine out of memory?", stdout)
        name = signal.Signals(number).name if number in set(signal.Signals) else ""
        ending = f"signal {name}" if name else f"exit code {code}"
        return Ended("crashed", f"the process ended during the call ({ending})", stdout)

    def close_channels(self) -> None:
        """Close this end of the child's channels, which its supervisor notices."""
        for descriptor in (self._requests, self._answers):
            with contextlib.suppress(OSError):
                os.close(descriptor)
        self._requests = self._answers = -1

    def kill(self) -> None:
        """Close the child's channels, upon which its supervisor kills it and its descendants."""
        self.close_channels()
        try:
            self._popen.wait(5)
        except subprocess.TimeoutExpired:  # the supervisor was stopped, which only hostile code at L1 can do
            self._popen.kill()
            self._popen.wait()
        if self._leaves_processes:
            _sweep(self.token)
        if self._popen.stdout is not None:
            self._popen.stdout.close()


def _readable(descriptor: int) -> bool:
    poll = select.poll()
    poll.register(descriptor, select.POLLIN)
    return any(event & select.POLLIN for _, event in poll.poll(0))


def _text(output: bytearray) -> str:
    text = clean(output[:MAX_OUTPUT].decode("utf-8", "replace"))
    return text + f"\n(truncated after {MAX_OUTPUT >> 10} KiB)" if len(output) > MAX_OUTPUT else text


def _sweep(token: str) -> None:
    """Kill every process with this token, in case the submission killed its supervisor."""
    deadline = time.monotonic() + 5
    while (left := running(token)) and time.monotonic() < deadline:
        for pid in left:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.kill(pid, signal.SIGKILL)
        time.sleep(0.002)


def running(token: str) -> list[int]:
    """Return the IDs of the running processes that have ``token`` in their environment.  Empty except on Linux."""
    mark = f"{TOKEN}={token}".encode()
    found = []
    for name in os.listdir("/proc") if os.path.isdir("/proc") else ():
        if name.isdigit():
            with contextlib.suppress(OSError), open(f"/proc/{name}/environ", "rb") as file:
                if mark in file.read(1 << 16):
                    found.append(int(name))
    return found
