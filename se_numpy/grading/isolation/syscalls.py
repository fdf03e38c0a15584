"""The system calls that a submission may make at L2 and L3, each with the reason; every other call is refused.

The list was made by tracing every task, the standard library's threads, files and clocks, and crashes. A name has its
numbers on x86-64 and 64-bit ARM, or None if the call does not exist there. ``CHECKED`` restricts the arguments of some
calls: one of the alternatives must hold, with all of its checks. A value that depends on the processor is a pair.
"""

from typing import NamedTuple

Numbers = tuple[int | None, int | None]

ALLOWED: dict[str, dict[str, Numbers]] = {
    "read requests, modules and their data": {
        "read": (0, 63), "readv": (19, 65), "pread64": (17, 67), "lseek": (8, 62), "close": (3, 57)},
    "write the reply and printed output, to pipes that are already open; the C library reports aborts with writev": {
        "write": (1, 64), "writev": (20, 66)},
    "import modules: open, find and list the files that Landlock or the mounts allow, for reading only": {
        "open": (2, None), "openat": (257, 56), "fstat": (5, 80), "newfstatat": (262, 79), "statx": (332, 291),
        "stat": (4, None), "lstat": (6, None), "access": (21, None), "faccessat": (269, 48), "faccessat2": (439, 439),
        "readlink": (89, None), "readlinkat": (267, 78), "getdents64": (217, 61), "getcwd": (79, 17)},
    "Python duplicates file descriptors, and asks whether a file is a terminal or is inherited": {
        "dup": (32, 23), "dup2": (33, None), "dup3": (292, 24), "fcntl": (72, 25), "ioctl": (16, 29)},
    "memory for arrays and libraries, within the limit of the address space": {
        "mmap": (9, 222), "munmap": (11, 215), "mremap": (25, 216), "mprotect": (10, 226), "brk": (12, 214),
        "madvise": (28, 233)},
    "OpenBLAS places its buffers on memory nodes": {"mbind": (237, 235)},
    "threads, and locks between them": {
        "clone": (56, 220), "futex": (202, 98), "set_robust_list": (273, 99), "rseq": (334, 293), "exit": (60, 93),
        "sched_yield": (24, 124), "sched_getaffinity": (204, 123), "getcpu": (309, 168), "gettid": (186, 178)},
    "the end of the process": {"exit_group": (231, 94)},
    "signal handlers of the process itself, and abort()": {
        "rt_sigaction": (13, 134), "rt_sigprocmask": (14, 135), "rt_sigreturn": (15, 139), "sigaltstack": (131, 132),
        "kill": (62, 129), "tgkill": (234, 131)},
    "clocks and sleep": {
        "clock_gettime": (228, 113), "clock_getres": (229, 114), "clock_nanosleep": (230, 115), "nanosleep": (35, 101),
        "gettimeofday": (96, 169), "time": (201, None), "times": (100, 153), "getrusage": (98, 165),
        "restart_syscall": (219, 128)},
    "random seeds": {"getrandom": (318, 278)},
    "facts about the process and the machine that Python and the C library look up": {
        "getpid": (39, 172), "getppid": (110, 173), "getuid": (102, 174), "geteuid": (107, 175), "getgid": (104, 176),
        "getegid": (108, 177), "uname": (63, 160), "sysinfo": (99, 179), "getrlimit": (97, 163),
        "prlimit64": (302, 261), "prctl": (157, 167)},
}  # fmt: skip

# A C library tries calls that are newer than the kernel, and uses older ones if they are reported as not implemented:
# clone3 (435), openat2 (437) and all later ones.  Older calls that are not allowed are reported as not permitted.
FIRST_NEW = 435

PID = -1  # stands for the process's own ID, which is not known before it starts

Value = int | tuple[int, int]


class Check(NamedTuple):
    """A condition on an argument, which the kernel passes as 64 bits.

    ``equal``: its lower half is one of the values. ``within``: its lower half has only these bits. ``having``: its
    lower half has all of these bits. ``zero``: all 64 bits are 0. Arguments compared by their lower half are 32-bit
    integers in the kernel.
    """

    argument: int
    kind: str
    values: tuple[Value, ...] = ()


# O_NONBLOCK, O_CLOEXEC, O_DIRECTORY, O_NOFOLLOW and O_LARGEFILE with the access mode "read only".  That leaves out
# O_CREAT, O_TRUNC, O_ASYNC, O_PATH, O_TMPFILE, and access mode 3, with which O_TRUNC would need no permission to write.
_READING: Value = (0o2704000, 0o2544000)
_THREAD = 0x10000  # CLONE_THREAD
# CLONE_VM, FS, FILES, SIGHAND, THREAD, SYSVSEM, SETTLS, PARENT_SETTID, CHILD_CLEARTID, DETACHED, CHILD_SETTID
_THREAD_FLAGS = 0x17D0F00
# F_DUPFD, F_GETFD, F_SETFD, F_GETFL, F_DUPFD_CLOEXEC.  Without F_SETOWN, F_SETSIG, F_SETOWN_EX (signals to others),
# F_NOTIFY (watches folders), F_SETLK, F_SETLEASE (delay others) and F_SETPIPE_SZ (uses up the user's pipe memory).
_DESCRIPTOR_COMMANDS = (0, 1, 2, 3, 1030)
# Access mode, O_APPEND, O_NONBLOCK and O_LARGEFILE, without O_ASYNC and O_DIRECT.
_STATUS_FLAGS: Value = (0o106003, 0o406003)
# TCGETS, TCGETS2 and TIOCGWINSZ (is it a terminal, how wide), FIONBIO, FIONCLEX, FIOCLEX.  Without FIOASYNC, FIOSETOWN,
# SIOCSPGRP (signals to others), TIOCSTI and TIOCLINUX (type into a terminal), and all devices.
_REQUESTS = (0x5401, 0x802C542A, 0x5413, 0x5421, 0x5450, 0x5451)
# MAP_SHARED, PRIVATE, FIXED, ANONYMOUS, 32BIT, DENYWRITE, EXECUTABLE, NORESERVE, POPULATE, STACK, FIXED_NOREPLACE.
# Without MAP_HUGETLB and MAP_LOCKED, which take memory from other processes.
_MAPPING = 0x12D873
# MADV_NORMAL to DONTNEED, FREE, HUGEPAGE, NOHUGEPAGE, GUARD_INSTALL and GUARD_REMOVE (thread stacks).
_ADVICE = (0, 1, 2, 3, 4, 8, 14, 15, 102, 103)
_NAMES = (15, 16, 0x53564D41)  # PR_SET_NAME, PR_GET_NAME, PR_SET_VMA (names of threads and of memory)

CHECKED: dict[str, tuple[tuple[Check, ...], ...]] = {
    "open": ((Check(1, "within", (_READING,)),),),
    "openat": ((Check(2, "within", (_READING,)),),),
    "fcntl": (
        (Check(1, "equal", _DESCRIPTOR_COMMANDS),),
        (Check(1, "equal", (4,)), Check(2, "within", (_STATUS_FLAGS,))),  # F_SETFL
    ),
    "ioctl": ((Check(1, "equal", _REQUESTS),),),
    "mmap": ((Check(3, "within", (_MAPPING,)),),),
    "madvise": ((Check(2, "equal", _ADVICE),),),
    "mbind": ((Check(5, "zero"),),),  # no pages are moved
    "clone": ((Check(0, "having", (_THREAD,)), Check(0, "within", (_THREAD_FLAGS,))),),
    "sched_getaffinity": ((Check(0, "equal", (0, PID)),),),
    "kill": ((Check(0, "equal", (PID,)),),),
    "tgkill": ((Check(0, "equal", (PID,)),),),
    "prctl": ((Check(0, "equal", _NAMES),),),
    "prlimit64": ((Check(0, "equal", (0, PID)), Check(2, "zero")),),  # reads a limit; even lowering one is refused
}
