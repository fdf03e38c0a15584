"""The ways of running a child, strongest first, and which of them work here: each is tried once, not guessed."""

import contextlib
import os
import shutil
import socket
import sys
import tempfile
import threading
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cache
from typing import NamedTuple

from se_numpy.grading.isolation import lockdown
from se_numpy.grading.isolation.sandbox_paths import SandboxPaths

LEVELS = ("L1", "L2", "L3")


class IsolationMissing(RuntimeError):
    """The isolation that was asked for is not to be had on this machine."""


@dataclass(frozen=True)
class Backend:
    """How a child is started and what it gives up."""

    option: str  # as it is asked for
    name: str  # as it is reported
    level: str
    landlock: bool
    seccomp: bool
    leaves_processes: bool  # whether what it starts can outlive it
    wrap: Callable[[SandboxPaths], list[str]]  # what stands before the interpreter's command
    runner: str | None = None  # where the child finds the two files that it starts with, if not in their own place


class Finding(NamedTuple):
    """What ``doctor`` says about one backend."""

    backend: str
    level: str
    works: bool
    remedy: str  # why not, and what to install; empty if it works


def _bubblewrap(p: SandboxPaths) -> list[str]:
    """Own mounts, nothing of which can be written to; own processes, network, users; nothing shared but three pipes."""
    command = [shutil.which("bwrap") or "bwrap", "--unshare-user", "--unshare-pid", "--unshare-net", "--unshare-ipc",
               "--unshare-uts", "--unshare-cgroup-try", "--uid", "65534", "--gid", "65534", "--cap-drop", "ALL",
               "--new-session", "--die-with-parent"]  # fmt: skip
    for root in p.roots:
        command += ["--ro-bind", root, root]
    for link in ("/lib", "/lib64"):  # on most systems links into /usr
        if os.path.islink(link):
            command += ["--symlink", os.readlink(link), link]
    for path in p.hidden:
        command += ["--tmpfs", path]
    for path in p.shown:
        command += ["--ro-bind", path, path]
    command += ["--ro-bind", p.runner, "/grading/runner.py", "--ro-bind", p.lockdown, "/grading/lockdown.py"]
    for path in (*p.hidden, "/"):
        command += ["--remount-ro", path]
    return [*command, "--chdir", "/", "--"]


BACKENDS = (
    Backend("bwrap", "bubblewrap", "L3", False, True, False, _bubblewrap, "/grading"),
    Backend("landlock", "landlock", "L2", True, True, False, lambda _: []),
    Backend("process", "plain child", "L1", False, False, True, lambda _: []),
)


def choose(isolation: str = "auto", require: str | None = None) -> Backend:
    """The backend called ``isolation``, or with "auto" the strongest that works here.

    Raises IsolationMissing where it does not work or is below ``require`` ("L1" to "L3"); nothing weaker is taken
    instead. Raises ValueError for a name that does not exist.
    """
    names = [backend.option for backend in BACKENDS]
    if isolation != "auto" and isolation not in names:
        raise ValueError(f"there is no isolation called {isolation!r}; expected auto, {', '.join(names)}")
    if require is not None and require not in LEVELS:
        raise ValueError(f"there is no isolation level {require!r}; expected one of {', '.join(LEVELS)}")
    found = None
    why = []
    for backend in BACKENDS:
        if isolation not in ("auto", backend.option) or (require is not None and backend.level < require):
            continue
        if not (remedy := _trouble(backend)):
            found = backend
            break
        why.append(f"{backend.name}: {remedy}")
    if found is None:
        asked = " at ".join(w for w in (isolation if isolation != "auto" else "", require) if w)
        below = "" if why else f"{isolation} is weaker than {require}; "
        reason = f"{below}{' '.join(why)}".rstrip("; ")
        raise IsolationMissing(f"isolation {asked or isolation} is not to be had here: {reason}")
    return found


def doctor() -> list[Finding]:
    """What each backend, strongest first, is like on this machine.  Takes up to a second the first time."""
    return [Finding(b.name, b.level, not (remedy := _trouble(b)), remedy) for b in BACKENDS]


def missing(level: str) -> tuple[str, ...]:
    """One sentence for each level above ``level`` that cannot be had here: what it would need."""
    return tuple(f"{f.level} ({f.backend}): {f.remedy}" for f in doctor() if f.level > level and not f.works)


_trying = threading.Lock()


def _trouble(backend: Backend) -> str:
    with _trying:
        return _tried(backend, os.environ.get("PATH", ""))


@cache
def _tried(backend: Backend, _path: str) -> str:
    """Empty if the backend works; else why not and what to do."""
    if sys.platform == "win32":
        return "submissions are run on Linux and macOS only; on Windows use WSL, or check(function) in a notebook."
    if backend.option == "bwrap" and not shutil.which("bwrap"):
        where = "" if sys.platform == "linux" else " (on Linux)"
        return f"bubblewrap is not installed; install the package bubblewrap{where}."
    if backend.seccomp and not lockdown.seccomp_possible():
        return "needs Linux on x86-64 or 64-bit ARM."
    if backend.landlock and not lockdown.landlock_version():
        return "this kernel has no Landlock or has it switched off; needs Linux 5.13 or newer with lsm=landlock."
    try:
        problem = _try(backend)
    except (RuntimeError, OSError) as error:
        problem = str(error)
    if problem and backend.option == "bwrap":
        problem += " In a container allow user namespaces, or rely on the container and a lower level."
    return problem


_PROBE = """
import os
def numbers(x):
    return x + 1
def reads():
    return int(os.path.exists({secret!r}) and open({secret!r}).read() == "secret")
def connects():
    import socket
    return socket.create_connection(("127.0.0.1", {port}), 1).close() or 1
def starts():
    pid = os.fork()
    return pid or os._exit(0)
"""


def _try(backend: Backend) -> str:
    """Run a child that does one harmless thing and attempts three that its level forbids."""
    import numpy as np

    from se_numpy.grading.isolation.child import Child, Limits
    from se_numpy.grading.submission import from_source

    with contextlib.ExitStack() as stack:
        folder = stack.enter_context(tempfile.TemporaryDirectory())
        secret = os.path.join(folder, "secret")
        with open(secret, "w", encoding="utf-8") as file:
            file.write("secret")
        listener = stack.enter_context(socket.create_server(("127.0.0.1", 0)))
        probe = from_source(_PROBE.format(secret=secret, port=listener.getsockname()[1]))
        child = stack.enter_context(Child.on(backend, probe, replace(Limits(), seconds=20)))
        reply = child.call("numbers", [np.ones(2)], {})
        if reply.status != "ok" or not np.array_equal(reply.outputs[0], [2.0, 2.0]):
            return f"a harmless function could not be called: {reply.message}."
        if backend.level == "L1":
            return ""
        for attempt, what in (("reads", "read files"), ("connects", "open connections"), ("starts", "start processes")):
            reply = child.call(attempt, [], {})
            if reply.status == "ok" and reply.outputs[0] != 0:
                return f"a function could still {what}."
    return ""
