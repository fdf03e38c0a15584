"""Restrict the current process permanently before it runs untrusted code.  Linux; standard library only.

``limits`` limits memory, processor time, file sizes and processes. ``landlock`` allows opening only files below the
given paths, and only for reading. ``seccomp`` allows only the system calls in a list, and ``asking`` has the supervisor
count threads and processes. Threads inherit all of these, and none can be undone, even by root. The constants are from
the kernel's user-space interface, which is stable.
"""

import ctypes
import os
import platform
import signal
import struct
from collections.abc import Mapping, Sequence
from typing import Any

_PARENT_DEATH_SIGNAL, _SET_DUMPABLE, _SET_SECCOMP, _SET_CHILD_SUBREAPER, _NO_NEW_PRIVS = 1, 4, 22, 36, 38
_CREATE_RULESET, _ADD_RULE, _RESTRICT_SELF = 444, 445, 446  # the same on every architecture
_READ_FILE, _READ_DIR = 1 << 2, 1 << 3
_RIGHTS = {1: 13, 2: 14, 3: 15, 4: 15, 5: 16}  # number of access rights in each Landlock version; all are denied
_TCP, _SCOPES = 0b11, 0b11  # bind and connect, from version 4; abstract Unix sockets and signals, from version 6

Program = Sequence[Sequence[Any]]  # lines: code, lines to skip if true, lines to skip if false, operand


def limits(given: Mapping[str, int]) -> None:
    """Set resource limits, keyed by RLIMIT constant without its prefix; those unknown to the system are skipped."""
    import resource

    for name, value in given.items():
        kind = getattr(resource, f"RLIMIT_{name}", None)
        if kind is None:
            continue
        most = resource.getrlimit(kind)[1]
        most = value + 1 if most == resource.RLIM_INFINITY else most
        soft = min(value, most)
        hard = min(value + 1, most) if name == "CPU" else soft  # the soft limit sends SIGXCPU, the hard one SIGKILL
        try:
            resource.setrlimit(kind, (soft, hard))
        except (ValueError, OSError):
            if platform.system() == "Linux":  # macOS defines RLIMIT_AS but does not support it
                raise


def no_new_privileges() -> None:
    """Disable privilege gain by programs such as sudo, and drop all of root's capabilities."""
    if platform.system() != "Linux":
        return
    _prctl(_NO_NEW_PRIVS, 1)
    header, nothing = struct.pack("Ii", 0x20080522, 0), bytes(24)
    _call(_libc().capset, header, nothing)


def die_with(parent: int) -> None:
    """Let the kernel kill this process when its parent ends; the parent must have a single thread.  Linux."""
    if platform.system() == "Linux":
        _prctl(_PARENT_DEATH_SIGNAL, signal.SIGKILL)
    if os.getppid() != parent:  # it has ended already
        os._exit(0)


def no_core_dump() -> None:
    """Keep this process's memory from other processes and from core dumps.  Linux."""
    if platform.system() == "Linux":
        _prctl(_SET_DUMPABLE, 0)


def adopt_orphans() -> None:
    """Make this process the parent of descendants whose own parent ends.  Linux."""
    if platform.system() == "Linux":
        _prctl(_SET_CHILD_SUBREAPER, 1)


def landlock_version() -> int:
    """Return the kernel's Landlock version; 0 if Landlock is missing or disabled."""
    if platform.system() != "Linux":
        return 0
    return max(0, _libc().syscall(_CREATE_RULESET, None, ctypes.c_size_t(0), ctypes.c_uint32(1)))


def landlock(readable: Sequence[str]) -> None:
    """Allow this process to open only files in or below ``readable``, and only for reading.

    Where the kernel can, TCP, abstract Unix sockets and signals to other processes are refused as well.

    Raises
    ------
    OSError
        If the kernel refuses.
    """
    version = landlock_version()
    denied = (1 << _RIGHTS.get(version, 16 if version > 5 else 0)) - 1
    attributes = struct.pack("Q", denied)
    if version >= 4:
        attributes += struct.pack("Q", _TCP)
    if version >= 6:
        attributes += struct.pack("Q", _SCOPES)
    ruleset = _call(_libc().syscall, _CREATE_RULESET, attributes, ctypes.c_size_t(len(attributes)), ctypes.c_uint32(0))
    for path in readable:
        try:
            descriptor = os.open(path, os.O_PATH | os.O_CLOEXEC)  # type: ignore[attr-defined, unused-ignore]
        except OSError:
            continue  # the path no longer exists
        rights = _READ_FILE | (_READ_DIR if os.path.isdir(path) else 0)
        rule = struct.pack("=Qi", rights, descriptor)
        _call(_libc().syscall, _ADD_RULE, ruleset, 1, rule, ctypes.c_uint32(0))
        os.close(descriptor)
    _call(_libc().syscall, _RESTRICT_SELF, ruleset, ctypes.c_uint32(0))
    os.close(ruleset)


def seccomp(program: Program) -> None:
    """Install a filter for system calls, made by the module ``seccomp``.

    Raises
    ------
    OSError
        If the kernel refuses the filter.
    """
    head, _lines = _assembled(program)
    _prctl(_SET_SECCOMP, 2, head)


def asking(program: Program) -> int | None:
    """Install a filter that asks a supervisor; return the file descriptor for its answers, or None if refused.

    It needs Linux 5.5, and a container must not use such a filter itself.
    """
    head, _lines = _assembled(program)
    call = {"x86_64": 317, "aarch64": 277}[platform.machine()]
    listener = int(_libc().syscall(call, ctypes.c_ulong(1), ctypes.c_ulong(1 << 3), head))
    return listener if listener >= 0 else None


def _assembled(program: Program) -> tuple[bytes, object]:
    """Return the kernel's struct sock_fprog, and the memory that it points to."""
    own = os.getpid()
    raw = b"".join(struct.pack("=HBBI", *line[:3], own if line[3] is None else line[3]) for line in program)
    lines = ctypes.create_string_buffer(raw)
    return struct.pack("H6xP", len(program), ctypes.addressof(lines)), lines


def _libc() -> ctypes.CDLL:
    return ctypes.CDLL(None, use_errno=True)


def _prctl(option: int, *values: object) -> None:
    padded = [v if isinstance(v, bytes) else ctypes.c_ulong(v) for v in (*values, 0, 0, 0, 0)[:4]]  # type: ignore[arg-type]
    _call(_libc().prctl, option, *padded)


def _call(function: object, *arguments: object) -> int:
    result = function(*arguments)  # type: ignore[operator]
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
    return int(result)
