"""The sandbox backends, strongest first, and a test run that finds out which ones work on this machine."""

import contextlib
import os
import shutil
import socket
import sys
import threading
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cache
from typing import NamedTuple

from se_numpy.grading.isolation import lockdown, seccomp
from se_numpy.grading.isolation.sandbox_paths import SandboxPaths
from se_numpy.grading.isolation.scratch import Scratch

LEVELS = ("L1", "L2", "L3")


class IsolationMissing(RuntimeError):
    """The requested isolation is not available on this machine."""


@dataclass(frozen=True)
class Backend:
    """A way to start and restrict a child."""

    option: str  # the value of --isolation
    name: str  # the name in reports
    level: str
    landlock: bool
    seccomp: bool
    leaves_processes: bool  # processes that the child starts can outlive it
    wrap: Callable[[SandboxPaths], list[str]]  # returns the prefix of the interpreter's command
    runner: str | None = None  # the folder for the child's files in the sandbox, if not the same as outside


class Finding(NamedTuple):
    """The result of ``doctor`` for one backend."""

    backend: str
    level: str
    works: bool
    remedy: str  # the reason and what to install; empty if the backend works


def _bubblewrap(p: SandboxPaths) -> list[str]:
    """Return a bwrap command with read-only mounts and separate processes, network and users; it shares three pipes."""
    command = [shutil.which("bwrap") or "bwrap", "--unshare-user", "--unshare-pid", "--unshare-net", "--unshare-ipc",
               "--unshare-uts", "--unshare-cgroup-try", "--uid", "65534", "--gid", "65534", "--cap-drop", "ALL",
               "--new-session"]  # fmt: skip
    for root in p.roots:
        command += ["--ro-bind", root, root]
    for link in ("/lib", "/lib64"):  # these link into /usr on most systems
        if os.path.islink(link):
            command += ["--symlink", os.readlink(link), link]
    for path in p.hidden:
        command += ["--tmpfs", path]
    for path in p.shown:
        command += ["--ro-bind", path, path]
    for path in p.devices:
        command += ["--dev-bind", path, path]
    for name in ("runner", "lockdown", "supervisor"):
        command += ["--ro-bind", getattr(p, name), f"/grading/{name}.py"]
    for path in (*p.hidden, "/"):
        command += ["--remount-ro", path]
    return [*command, "--chdir", "/", "--"]


BACKENDS = (
    Backend("bwrap", "bubblewrap", "L3", False, True, False, _bubblewrap, "/grading"),
    Backend("landlock", "landlock", "L2", True, True, False, lambda _: []),
    Backend("process", "plain child", "L1", False, False, True, lambda _: []),
)


def choose(isolation: str = "auto", require: str | None = None) -> Backend:
    """Return the backend named ``isolation``, or the strongest that works if it is "auto".

    Raises
    ------
    IsolationMissing
        If the backend does not work, or if its level is below ``require`` ("L1" to "L3").  It is never replaced by a
        weaker one.
    ValueError
        If the backend or the level does not exist.
    """
    names = [backend.option for backend in BACKENDS]
    if isolation != "auto" and isolation not in names:
        raise ValueError(f"unknown isolation {isolation!r}; expected auto, {', '.join(names)}")
    if require is not None and require not in LEVELS:
        raise ValueError(f"unknown isolation level {require!r}; expected {', '.join(LEVELS)}")
    found = None
    why = []
    for backend in BACKENDS:
        if isolation not in ("auto", backend.option) or (require is not None and backend.level < require):
            continue
        if not (remedy := problem_of(backend)):
            found = backend
            break
        why.append(f"{backend.name}: {remedy}")
    if found is None:
        wanted = " at ".join(w for w in (isolation if isolation != "auto" else "", require) if w)
        below = "" if why else f"{isolation} is weaker than {require}; "
        reason = f"{below}{' '.join(why)}".rstrip("; ")
        raise IsolationMissing(f"isolation {wanted or isolation} is not available here: {reason}")
    return found


def doctor() -> list[Finding]:
    """Test each backend on this machine, strongest first.  The first call takes up to a second."""
    return [Finding(b.name, b.level, not (remedy := problem_of(b)), remedy) for b in BACKENDS]


def missing(level: str) -> tuple[str, ...]:
    """Return the reason and the remedy, in a sentence, for each level above ``level`` that is not available here."""
    return tuple(f"{f.level} ({f.backend}): {f.remedy}" for f in doctor() if f.level > level and not f.works)


_trying = threading.Lock()


def problem_of(backend: Backend) -> str:
    """Return why the backend does not work and the remedy, or an empty string if it works."""
    with _trying:
        return _cached_problem(backend, os.environ.get("PATH", ""))


@cache
def _cached_problem(backend: Backend, _path: str) -> str:
    if sys.platform == "win32":
        return "submissions run on Linux and macOS only; on Windows, use WSL or check(function) in a notebook."
    if backend.option == "bwrap" and not shutil.which("bwrap"):
        where = "" if sys.platform == "linux" else " (on Linux)"
        return f"bubblewrap is not installed; install the package bubblewrap{where}."
    if backend.seccomp and not seccomp.possible():
        return "this backend needs Linux on x86-64 or 64-bit ARM."
    if backend.landlock and not lockdown.landlock_version():
        return "Landlock is missing or disabled in this kernel; it needs Linux 5.13 or newer, booted with lsm=landlock."
    try:
        problem = _try(backend)
    except (RuntimeError, OSError) as error:
        problem = str(error)
    if problem and backend.option == "bwrap":
        problem += " In a container, allow user namespaces, or rely on the container and a lower level."
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
    """Run a child that does one harmless thing and attempts three that L2 and L3 forbid."""
    import numpy as np

    from se_numpy.grading.isolation.child import Child, Limits
    from se_numpy.grading.submission import from_source

    with contextlib.ExitStack() as stack:
        folder = stack.enter_context(Scratch())
        secret = os.path.join(folder, "secret")
        with open(secret, "w", encoding="utf-8") as file:
            file.write("secret")
        listener = stack.enter_context(socket.create_server(("127.0.0.1", 0)))
        probe = from_source(_PROBE.format(secret=secret, port=listener.getsockname()[1]))
        child = stack.enter_context(Child.on(backend, probe, replace(Limits(), seconds=20)))
        reply = child.call("numbers", [np.ones(2)], {})
        if reply.status != "ok" or not np.array_equal(reply.outputs[0], [2.0, 2.0]):
            return f"a test call to a harmless function failed: {reply.message}."
        if backend.level == "L1":
            return ""
        for attempt, what in (("reads", "read files"), ("connects", "open connections"), ("starts", "start processes")):
            reply = child.call(attempt, [], {})
            if reply.status == "ok" and reply.outputs[0] != 0:
                return f"a test function was able to {what}."
    return ""
