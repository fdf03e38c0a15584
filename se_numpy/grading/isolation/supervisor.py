"""The process between the grader and the submission, which ends whatever the submission leaves behind.

It is forked from the submission's process before that is locked down, so it needs no interpreter of its own. It ends
the submission with all of its descendants as soon as the grader closes the request pipe, which the system also does
if the grader is killed. If the supervisor is killed, the kernel kills the submission.

Where the kernel supports it, the supervisor also counts the submission's threads and processes, because the system's
limit (RLIMIT_NPROC) counts all processes of the user and does not apply to root. Standard library only.
"""

import _socket  # the module socket takes several milliseconds to import
import contextlib
import fcntl
import os
import select
import signal
import struct
import time
from typing import Any, NoReturn

_RECEIVE, _SEND = 0xC0502100, 0xC0182101  # SECCOMP_IOCTL_NOTIF_RECV and SECCOMP_IOCTL_NOTIF_SEND
_REQUEST = struct.Struct("=QIIiIQ6Q")  # struct seccomp_notif: id, pid, flags; call, architecture, address, arguments
_REPLY = struct.Struct("=Qqii")  # struct seccomp_notif_resp: id, value, error, flags
_CONTINUE, _EAGAIN = 1, -11
_CLONE, _THREAD = (56, 220), 0x10000


def separate(lockdown: Any, requests: int, answers: int, proc: int, most: int) -> Any:
    """Fork.  The parent becomes the supervisor and never returns; the child returns its end of a socket pair.

    ``proc`` is an open descriptor for /proc as the grader sees it, or -1, and ``most`` the limit of processes.
    """
    here, there = _socket.socketpair()
    grader, own = os.getppid(), os.getpid()
    lockdown.adopt_orphans()
    worker = os.fork()
    if worker == 0:
        here.close()
        lockdown.die_with(own)
        os.setsid()  # so that a signal to its own group does not reach the supervisor
        return there
    try:
        lockdown.no_core_dump()
        there.close()
        for descriptor in (answers, 1, 2):  # only the submission's ends stay open
            os.close(descriptor)
        supervisor = _Supervisor(worker, requests, here, proc, most)
        status = supervisor.watch(grader)
        supervisor.end()
    except BaseException:
        os._exit(1)  # the kernel kills the submission
    _exit_with(status)


def introduce(link: Any, listener: int | None, proc: int) -> bool:
    """Hand the supervisor the descriptor for its answers; return True if it can count threads and processes."""
    if listener is None:
        return False
    own = os.readlink("self", dir_fd=proc) if proc >= 0 else "0"  # differs from getpid() in a separate namespace
    rights = (_socket.SOL_SOCKET, _socket.SCM_RIGHTS, struct.pack("i", listener))
    link.sendmsg([own.encode()], [rights])
    os.close(listener)
    return bool(link.recv(1) == b"1")


class _Supervisor:
    def __init__(self, worker: int, requests: int, link: Any, proc: int, most: int) -> None:
        self.worker, self.requests, self.link, self.proc, self.most = worker, requests, link, proc, most
        self.listener = -1
        self.seen_as = 0  # the worker's ID in ``proc``; 0 if it cannot be counted
        self.ended = False  # the worker has ended
        # In a separate namespace, IDs differ from those in ``proc``, and the submission cannot start processes.
        self.sees_processes = self.proc >= 0 and os.readlink("self", dir_fd=self.proc) == str(os.getpid())

    def watch(self, grader: int) -> int:
        """Wait until the worker or the grader ends; return the worker's exit status, or 0."""
        wake, wakes = os.pipe()
        os.set_blocking(wakes, False)
        signal.set_wakeup_fd(wakes)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        poll = select.poll()
        poll.register(self.requests, 0)  # reports only that the other end is closed
        poll.register(wake, select.POLLIN)
        poll.register(self.link.fileno(), select.POLLIN)
        while os.getppid() == grader:  # a copy of the grader may hold the pipe open
            ended = 1
            while ended > 0:
                ended, status = os.waitpid(-1, os.WNOHANG)
                if ended == self.worker:
                    self.ended = True
                    return status
            for descriptor, event in poll.poll(1000):
                if descriptor == self.requests:
                    return 0
                if descriptor == wake:
                    os.read(wake, 512)
                elif event & ~select.POLLIN and not event & select.POLLIN:
                    poll.unregister(descriptor)
                elif descriptor == self.listener:
                    self._answer()
                elif self._meet():
                    poll.unregister(descriptor)
                    poll.register(self.listener, select.POLLIN)
                else:
                    poll.unregister(descriptor)
        return 0

    def _meet(self) -> bool:
        """Receive what ``introduce`` sends; return True if there is a listener."""
        text, rights, *_ = self.link.recvmsg(64, _socket.CMSG_LEN(4))
        if not rights:
            return False
        (self.listener,) = struct.unpack("i", rights[0][2])
        self.seen_as = int(text)
        if not self._threads(self.seen_as):
            self.seen_as = 0
        self.link.send(b"1" if self.seen_as else b"0")
        return True

    def _answer(self) -> None:
        """Allow or refuse a new thread or process."""
        request = bytearray(_REQUEST.size)
        with contextlib.suppress(OSError):  # the caller was killed or interrupted
            fcntl.ioctl(self.listener, _RECEIVE, request)
            ident, caller, _, call, _, _, flags, *_ = _REQUEST.unpack(request)
            full = bool(self.seen_as) and self._count(caller, call in _CLONE and bool(flags & _THREAD)) >= self.most
            reply = _REPLY.pack(ident, 0, _EAGAIN if full else 0, 0 if full else _CONTINUE)
            fcntl.ioctl(self.listener, _SEND, reply)

    def _count(self, caller: int, thread: bool) -> int:
        """Return the number of threads in the caller's process or, for a new process, in all of them."""
        if not self.sees_processes:
            return self._threads(self.seen_as)
        return self._threads(caller) if thread else sum(_descendants(self.proc).values())

    def _threads(self, process: int) -> int:
        try:
            folder = os.open(f"{process}/task", os.O_RDONLY, dir_fd=self.proc)
        except OSError:
            return 0
        try:
            return len(os.listdir(folder))
        finally:
            os.close(folder)

    def end(self) -> None:
        """Kill the worker and its descendants, which the system has made children of this process, and wait."""
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self.worker, signal.SIGKILL)
        if not self.ended:
            os.kill(self.worker, signal.SIGKILL)
            os.waitpid(self.worker, 0)
        deadline = time.monotonic() + 5
        with contextlib.suppress(ChildProcessError):  # no children are left
            while time.monotonic() < deadline:
                if not os.waitpid(-1, os.WNOHANG)[0]:
                    for process in _descendants(self.proc) if self.sees_processes else ():
                        with contextlib.suppress(ProcessLookupError, PermissionError):
                            os.kill(process, signal.SIGKILL)
                    time.sleep(0.001)


def _descendants(proc: int) -> dict[int, int]:
    """Return the ID and the number of threads of each descendant of this process."""
    children: dict[int, list[tuple[int, int]]] = {}
    for name in os.listdir(proc):
        if name.isdigit():
            with contextlib.suppress(OSError):
                file = os.open(f"{name}/stat", os.O_RDONLY, dir_fd=proc)
                try:
                    fields = os.read(file, 1024).rpartition(b")")[2].split()
                finally:
                    os.close(file)
                children.setdefault(int(fields[1]), []).append((int(name), int(fields[17])))
    found: dict[int, int] = {}
    waiting = [os.getpid()]
    while waiting:
        for process, threads in children.get(waiting.pop(), ()):
            found[process] = threads
            waiting.append(process)
    return found


def _exit_with(status: int) -> NoReturn:
    """End as the worker did, with its exit code or by its signal."""
    code = os.waitstatus_to_exitcode(status)
    if code < 0:
        with contextlib.suppress(OSError, ValueError):  # SIGKILL has no handler
            signal.signal(-code, signal.SIG_DFL)
        os.kill(os.getpid(), -code)
    os._exit(max(code, 0))
