"""Restrict the current process permanently before it runs untrusted code.  Linux; standard library only.

``limits`` limits memory, processor time, file sizes and processes. ``landlock`` allows opening only files below the
given paths, and only for reading. ``seccomp`` forbids new processes and programs, sockets, signals to other processes,
and changes to a file's owner, mode or times, which Landlock does not cover. Threads inherit all three, and none can be
undone, even by root. The constants are from the kernel's user-space interface, which is stable.
"""

import ctypes
import os
import platform
import struct
from collections.abc import Mapping, Sequence

_NO_NEW_PRIVS, _SET_SECCOMP = 38, 22
_CREATE_RULESET, _ADD_RULE, _RESTRICT_SELF = 444, 445, 446  # the same on every architecture
_READ_FILE, _READ_DIR = 1 << 2, 1 << 3
_RIGHTS = {1: 13, 2: 14, 3: 15, 4: 15, 5: 16}  # number of access rights in each Landlock version; all are denied


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
    """Disable privilege gain by programs such as sudo, and drop all root capabilities."""
    if platform.system() != "Linux":
        return
    _prctl(_NO_NEW_PRIVS, 1)
    if os.geteuid() == 0:
        header, nothing = struct.pack("Ii", 0x20080522, 0), bytes(24)
        _call(_libc().capset, header, nothing)


def landlock_version() -> int:
    """Return the kernel's Landlock version; 0 if Landlock is missing or disabled."""
    if platform.system() != "Linux":
        return 0
    return max(0, _libc().syscall(_CREATE_RULESET, None, ctypes.c_size_t(0), ctypes.c_uint32(1)))


def landlock(readable: Sequence[str]) -> None:
    """Allow this process to open only files in or below ``readable``, and only for reading.

    Raises
    ------
    OSError
        If the kernel refuses.
    """
    version = landlock_version()
    denied = (1 << _RIGHTS.get(version, 16 if version > 5 else 0)) - 1
    attributes = struct.pack("Q", denied)
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


# Refused system calls, with their numbers on x86-64 and 64-bit ARM (None if the call does not exist there).
_REFUSED: dict[str, tuple[int | None, int | None]] = {
    # access to other programs and processes
    "fork": (57, None), "vfork": (58, None), "execve": (59, 221), "execveat": (322, 281), "ptrace": (101, 117),
    "process_vm_readv": (310, 270), "process_vm_writev": (311, 271), "process_madvise": (440, 440),
    "process_mrelease": (448, 448), "kcmp": (312, 272), "pidfd_open": (434, 434), "pidfd_getfd": (438, 438),
    "pidfd_send_signal": (424, 424), "tkill": (200, 130), "rt_sigqueueinfo": (129, 138),
    "rt_tgsigqueueinfo": (297, 240), "setpriority": (141, 140), "sched_setscheduler": (144, 119),
    "sched_setattr": (314, 274), "sched_setparam": (142, 118), "ioprio_set": (251, 30), "sched_setaffinity": (203, 122),
    # the network, and calls that bypass this filter or the memory limit
    "socket": (41, 198), "io_uring_setup": (425, 425), "bpf": (321, 280), "perf_event_open": (298, 241),
    "userfaultfd": (323, 282), "shmget": (29, 194), "msgget": (68, 186), "semget": (64, 190), "mq_open": (240, 180),
    "memfd_create": (319, 279), "memfd_secret": (447, 447), "add_key": (248, 217), "request_key": (249, 218),
    "keyctl": (250, 219),
    # other views of the file system
    "unshare": (272, 97), "setns": (308, 268), "chroot": (161, 51), "mount": (165, 40), "umount2": (166, 39),
    "pivot_root": (155, 41), "move_mount": (429, 429), "fsopen": (430, 430), "fsmount": (432, 432),
    "open_tree": (428, 428), "mount_setattr": (442, 442), "open_by_handle_at": (304, 265),
    # a file's owner, mode, times and length
    "chmod": (90, None), "fchmod": (91, 52), "fchmodat": (268, 53), "chown": (92, None), "fchown": (93, 55),
    "lchown": (94, None), "fchownat": (260, 54), "setxattr": (188, 5), "lsetxattr": (189, 6), "fsetxattr": (190, 7),
    "removexattr": (197, 14), "lremovexattr": (198, 15), "fremovexattr": (199, 16), "utime": (132, None),
    "utimes": (235, None), "utimensat": (280, 88), "futimesat": (261, None), "truncate": (76, 45), "mknod": (133, None),
    "mknodat": (259, 33),
}  # fmt: skip
_ABSENT: dict[str, tuple[int | None, int | None]] = {  # reported as not implemented, so that libc uses older calls
    "clone3": (435, 435), "openat2": (437, 437),
}  # fmt: skip
_KILL, _TGKILL, _CLONE, _PRLIMIT = (62, 129), (234, 131), (56, 220), (302, 261)
_OPEN, _OPENAT = (2, None), (257, 56)
_ARCHITECTURES = {"x86_64": (0, 0xC000003E), "aarch64": (1, 0xC00000B7)}
_FIRST_UNKNOWN = 450  # calls newer than this table are reported as not implemented

_LOAD, _AND, _EQUAL, _AT_LEAST, _ANY_BIT, _RETURN = 0x20, 0x54, 0x15, 0x35, 0x45, 0x06
_ALLOW, _EPERM, _ENOSYS, _END = 0x7FFF0000, 0x00050001, 0x00050026, 0x80000000
_NUMBER, _ARCHITECTURE, _ARGUMENTS = 0, 4, 16  # byte offsets in the kernel's struct seccomp_data

_Line = tuple[int, int, int, int]  # code, lines to skip if true, lines to skip if false, operand


def seccomp_possible() -> bool:
    """Return True if the kernel supports filters and this module knows the machine's system call numbers."""
    return platform.machine() in _ARCHITECTURES and struct.calcsize("P") == 8 and os.path.exists("/proc/self/status")


def seccomp() -> None:
    """Refuse the system calls listed above.

    Raises
    ------
    OSError
        If the kernel refuses the filter.
    """
    which, architecture = _ARCHITECTURES[platform.machine()]
    program: list[_Line] = [
        (_LOAD, 0, 0, _ARCHITECTURE), (_EQUAL, 1, 0, architecture), (_RETURN, 0, 0, _END),  # 32-bit calls
        (_LOAD, 0, 0, _NUMBER), (_AT_LEAST, 0, 1, _FIRST_UNKNOWN), (_RETURN, 0, 0, _ENOSYS),
    ]  # fmt: skip

    def on(call: tuple[int | None, int | None], *lines: _Line) -> None:
        number = call[which]
        if number is not None:
            program.extend([(_EQUAL, 0, len(lines), number), *lines])

    for call in _REFUSED.values():
        on(call, (_RETURN, 0, 0, _EPERM))
    for call in _ABSENT.values():
        on(call, (_RETURN, 0, 0, _ENOSYS))
    allow_else_refuse: tuple[_Line, _Line] = (_RETURN, 0, 0, _ALLOW), (_RETURN, 0, 0, _EPERM)
    for call in (_KILL, _TGKILL):  # a process may signal itself, as abort() does
        on(call, (_LOAD, 0, 0, _ARGUMENTS), (_EQUAL, 0, 1, os.getpid()), *allow_else_refuse)
    on(_CLONE, (_LOAD, 0, 0, _ARGUMENTS), (_ANY_BIT, 0, 1, 0x10000), *allow_else_refuse)  # CLONE_THREAD
    on(_PRLIMIT, (_LOAD, 0, 0, _ARGUMENTS), (_EQUAL, 0, 1, 0), *allow_else_refuse)
    # O_TRUNC on files opened for reading, which Landlock allows before version 3.
    for call, flags in ((_OPEN, 1), (_OPENAT, 2)):
        load: _Line = (_LOAD, 0, 0, _ARGUMENTS + 8 * flags)
        on(call, load, (_AND, 0, 0, 0o1003), (_EQUAL, 1, 0, 0o1000), *allow_else_refuse)
    program.append((_RETURN, 0, 0, _ALLOW))

    lines = ctypes.create_string_buffer(b"".join(struct.pack("=HBBI", *line) for line in program))
    head = struct.pack("H6xP", len(program), ctypes.addressof(lines))
    _prctl(_SET_SECCOMP, 2, head)


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
