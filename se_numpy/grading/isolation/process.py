"""One child: its channels, its clock and its end.  What ends it is outside of it: a deadline and SIGKILL."""

import contextlib
import os
import secrets
import select
import signal
import subprocess
import time
from collections.abc import Sequence

from se_numpy.grading.isolation.wire import Answer, Breach, clean
from se_numpy.grading.models import Reply

MAX_OUTPUT = 64 << 10  # of what is printed during a call
TOKEN = "SE_NUMPY_CHILD"  # in the environment of a child and so of what it leaves behind


class Ended(Exception):
    """The child is no more; what that means for the call is ``reply``."""

    def __init__(self, status: str, message: str, stdout: str = "") -> None:
        super().__init__(message)
        self.reply = Reply(status, message=message, stdout=stdout)


class Process:
    """A child that has been started and is asked one thing at a time, by one thread."""

    def __init__(self, argv: Sequence[str], cwd: str, *, leaves_processes: bool) -> None:
        self.token = secrets.token_hex(16)
        self.cpu = 0.0  # seconds, at most, that it can have used of a processor
        self._leaves_processes = leaves_processes
        theirs_in, self._requests = os.pipe()
        self._answers, theirs_out = os.pipe()
        threads = {f"{name}_NUM_THREADS": "1" for name in ("OPENBLAS", "OMP", "MKL", "BLIS", "VECLIB_MAXIMUM")}
        kept = {name: os.environ[name] for name in ("LD_LIBRARY_PATH",) if name in os.environ}
        try:
            self._popen = subprocess.Popen(
                [*argv, str(theirs_in), str(theirs_out)], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT, pass_fds=(theirs_in, theirs_out), cwd=cwd, start_new_session=True,
                env={**threads, **kept, "LC_ALL": "C.UTF-8", TOKEN: self.token},
            )  # fmt: skip
        except BaseException:
            os.close(self._requests)
            os.close(self._answers)
            raise
        finally:
            os.close(theirs_in)
            os.close(theirs_out)
        assert self._popen.stdout is not None
        self._printed = self._popen.stdout.fileno()
        for descriptor in (self._requests, self._answers, self._printed):
            os.set_blocking(descriptor, False)

    @property
    def alive(self) -> bool:
        return self._popen.poll() is None

    def ask(self, frame: bytes, answer: Answer, seconds: float) -> Reply:
        """The child's answer to ``frame``.  Raises Ended, with the child killed, where there is none to be had."""
        output = bytearray()
        started = time.monotonic()
        try:
            if _readable(self._answers) and self.alive:
                raise Breach("something was written to the grader's channel before the call")
            self._exchange(frame, answer, started + seconds, output)
            if _readable(self._answers) and self.alive:
                raise Breach("more than one answer was written to the grader's channel")
        except Breach as breach:
            self.kill()
            raise Ended("refused", f"the process was stopped: {breach}", _text(output)) from None
        except TimeoutError:
            self.kill()
            raise Ended("timeout", f"did not come to an end within {seconds:g} s", _text(output)) from None
        except EOFError:
            self._drain(output)
            raise self._gone(_text(output)) from None
        finally:
            self.cpu += time.monotonic() - started
        return answer.reply(_text(output))

    def _exchange(self, frame: bytes, answer: Answer, deadline: float, output: bytearray) -> None:
        """Write the frame, read the answer and what is printed, all at once, so that no full pipe stops anything.

        What was printed before the answer is read with it: an answer takes two rounds at least, a pipe's content one.
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
        """Whether there was something; what is beyond the bound is read and thrown away."""
        try:
            piece = os.read(self._printed, 1 << 16)
        except BlockingIOError:
            return True
        output += piece[: MAX_OUTPUT + 1 - len(output)]
        return bool(piece)

    def _drain(self, output: bytearray) -> None:
        for _ in range(64):  # a thread of the submission's may never stop printing
            if not _readable(self._printed) or not self._read_output(output):
                break

    def _gone(self, stdout: str) -> Ended:
        """Why the child closed its channel."""
        try:
            code = self._popen.wait(1)
        except subprocess.TimeoutExpired:
            self.kill()
            return Ended("crashed", "the process was stopped: it closed the grader's channel", stdout)
        self.kill()
        number = -code if code < 0 else code - 128 if code > 128 else 0  # bubblewrap passes signals on as a shell does
        if number == signal.SIGXCPU:
            return Ended("timeout", "the process used up all its processor time", stdout)
        if number == signal.SIGKILL:
            return Ended("crashed", "the process was killed from outside; is the machine out of memory?", stdout)
        name = signal.Signals(number).name if number in set(signal.Signals) else ""
        ending = f"signal {name}" if name else f"exit code {code}"
        return Ended("crashed", f"the process ended ({ending}) while it was being asked", stdout)

    def kill(self) -> None:
        """End the child, and what it started, and give its channels back."""
        for descriptor in (self._requests, self._answers):
            with contextlib.suppress(OSError):
                os.close(descriptor)
        self._requests = self._answers = -1
        if self._leaves_processes:
            _sweep(self.token, self._popen)
        self._popen.kill()
        self._popen.wait()
        if self._popen.stdout is not None:
            self._popen.stdout.close()


def _readable(descriptor: int) -> bool:
    poll = select.poll()
    poll.register(descriptor, select.POLLIN)
    return any(event & select.POLLIN for _, event in poll.poll(0))


def _text(output: bytearray) -> str:
    text = clean(output[:MAX_OUTPUT].decode("utf-8", "replace"))
    return text + f"\n(cut after {MAX_OUTPUT >> 10} KiB)" if len(output) > MAX_OUTPUT else text


def _sweep(token: str, child: subprocess.Popen[bytes]) -> None:
    """Kill the child's session and whatever else carries its token, until nothing does: a new session is no escape."""
    if child.poll() is None:  # else its number may be somebody else's by now
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(child.pid, signal.SIGKILL)
    deadline = time.monotonic() + 5
    while (left := running(token)) and time.monotonic() < deadline:
        for pid in left:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.kill(pid, signal.SIGKILL)
        time.sleep(0.002)


def running(token: str) -> list[int]:
    """The processes, dead ones apart, that started with ``token`` in their environment.  Linux; else none."""
    mark = f"{TOKEN}={token}".encode()
    found = []
    for name in os.listdir("/proc") if os.path.isdir("/proc") else ():
        if name.isdigit():
            with contextlib.suppress(OSError), open(f"/proc/{name}/environ", "rb") as file:
                if mark in file.read(1 << 16):
                    found.append(int(name))
    return found
