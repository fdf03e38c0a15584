"""Tests of the system call filter, simulated on what the kernel would pass to it, for both processors."""

import re
import struct
from pathlib import Path

import pytest

from se_numpy.grading.isolation import seccomp
from se_numpy.grading.isolation.syscalls import ALLOWED, CHECKED, FIRST_NEW, PID

OWN = 4321  # the process's ID
MACHINES = seccomp.MACHINES
CALLS = {name: numbers for calls in ALLOWED.values() for name, numbers in calls.items()}


def run(program, machine, number, *arguments, architecture=None):
    """Return the kernel's verdict: classic BPF, as far as the filter uses it."""
    architecture = architecture or seccomp.ARCHITECTURES[MACHINES.index(machine)]
    padded = [a % (1 << 64) for a in (*arguments, 0, 0, 0, 0, 0, 0)[:6]]
    data = struct.pack("=IIQ6Q", number, architecture, 0, *padded)
    at = value = 0
    while True:
        code, yes, no, operand = program[at]
        operand = OWN if operand is None else operand
        assert 0 <= yes < 256
        assert 0 <= no < 256
        at += 1
        if code == seccomp.LOAD:
            (value,) = struct.unpack_from("=I", data, operand)
        elif code == seccomp.AND:
            value &= operand
        elif code == seccomp.RETURN:
            return operand
        else:
            true = {seccomp.EQUAL: value == operand, seccomp.AT_LEAST: value >= operand,
                    seccomp.ANY_BIT: bool(value & operand)}[code]  # fmt: skip
            at += yes if true else no


@pytest.fixture(params=MACHINES)
def verdict(request):
    """Return a function that gives the verdict on a call, by its name or number."""
    program, which = seccomp.allow_list(request.param), MACHINES.index(request.param)

    def of(call, *arguments, **more):
        number = CALLS[call][which] if isinstance(call, str) else call
        names = {seccomp.ALLOW: "allow", seccomp.NOT_PERMITTED: "refuse", seccomp.NOT_IMPLEMENTED: "absent",
                 seccomp.END_PROCESS: "end"}  # fmt: skip
        return None if number is None else names[run(program, request.param, number, *arguments, **more)]

    return of


def test_every_number_that_is_not_in_the_list_is_refused(verdict, request):
    which = MACHINES.index(request.node.callspec.params["verdict"])
    allowed = {numbers[which] for numbers in CALLS.values()}
    checked = {CALLS[name][which] for name in CHECKED}
    for number in range(1000):
        expected = "absent" if number >= FIRST_NEW else "refuse"
        if number in allowed - checked:
            expected = "allow"
        elif number in allowed:
            continue
        assert verdict(number) == expected


def test_other_interfaces_end_the_process(verdict):
    for architecture in (0x40000003, 0x40000028, 0xC000003E ^ 0xC00000B7):  # i386, 32-bit ARM, and neither
        assert verdict(0, architecture=architecture) == "end"
    for number in (0x40000000, 0x40000000 + 59, 0xFFFFFFFF):  # x32
        assert verdict(number) == "end"


O_FLAGS = {  # in the kernel's headers, in octal: on x86-64, and on 64-bit ARM
    "O_DIRECTORY": (0o200000, 0o40000), "O_NOFOLLOW": (0o400000, 0o100000), "O_LARGEFILE": (0o100000, 0o400000),
    "O_DIRECT": (0o40000, 0o200000), "O_CLOEXEC": (0o2000000, 0o2000000), "O_NONBLOCK": (0o4000, 0o4000),
    "O_ASYNC": (0o20000, 0o20000), "O_CREAT": (0o100, 0o100), "O_TRUNC": (0o1000, 0o1000), "O_APPEND": (0o2000, 0o2000),
    "O_PATH": (0o10000000, 0o10000000), "__O_TMPFILE": (0o20000000, 0o20000000),
}  # fmt: skip


def test_files_are_opened_for_reading_only(verdict, request):
    which = MACHINES.index(request.node.callspec.params["verdict"])
    reading = ("O_DIRECTORY", "O_NOFOLLOW", "O_LARGEFILE", "O_CLOEXEC", "O_NONBLOCK")
    for name, flags in O_FLAGS.items():
        expected = "allow" if name in reading else "refuse"
        assert verdict("openat", 3, 4096, flags[which]) == expected, name
        assert verdict("open", 4096, flags[which]) in (expected, None), name
    for mode in (1, 2, 3):
        assert verdict("openat", 3, 4096, mode) == "refuse"
        assert verdict("openat", 3, 4096, mode | 0o1000) == "refuse"
    assert verdict("openat", -100, 4096, 0o2000000 | 1 << 32) == "allow"  # the kernel ignores the upper half


def test_descriptors_send_no_signals(verdict):
    for command in range(2048):
        expected = "allow" if command in (0, 1, 2, 3, 4, 1030) else "refuse"
        assert verdict("fcntl", 1, command) == expected, command
        assert verdict("fcntl", 1, command | 1 << 32) == expected  # the kernel ignores the upper half
    assert verdict("fcntl", 1, 4, 0o4001) == "allow"
    for flag in (0o20000, 0o40000, 0o1000000):  # O_ASYNC, O_DIRECT or O_DIRECTORY, O_NOATIME
        assert verdict("fcntl", 1, 4, flag) == "refuse"
    for request_ in (0x5452, 0x8901, 0x8902, 0x5412, 0x541C, 0x540E, 0x5410, 0x894C, 0x5452 | 1 << 32):
        assert verdict("ioctl", 1, request_) == "refuse"
    for request_ in (0x5401, 0x5413, 0x5451):
        assert verdict("ioctl", 1, request_) == "allow"


def test_only_threads_are_started(verdict):
    thread = 0x3D0F00
    assert verdict("clone", thread) == "allow"
    assert verdict("clone", thread | 0x1000000) == "allow"
    assert verdict("clone", thread & ~0x10000) == "refuse"
    assert verdict("clone", 17) == "refuse"
    namespaces = [1 << bit for bit in (7, 17, 25, 26, 27, 28, 29, 30)]
    for flag in (*namespaces, 0x1000, 0x2000, 0x4000, 0x8000, 17):  # CLONE_PIDFD, PTRACE, VFORK, PARENT; a signal
        assert verdict("clone", thread | flag) == "refuse", hex(flag)


def test_a_process_signals_only_itself(verdict):
    for call in ("kill", "tgkill"):
        assert verdict(call, OWN, OWN, 6) == "allow"
        for other in (0, 1, -1, -OWN, OWN + 1):
            assert verdict(call, other, OWN, 9) == "refuse"


def test_limits_are_only_read(verdict):
    for process, expected in ((0, "allow"), (OWN, "allow"), (OWN + 1, "refuse"), (1, "refuse")):
        assert verdict("prlimit64", process, 4, 0, 4096) == expected
    for new in (1, 4096, 1 << 32, 0xFFFF << 40):
        assert verdict("prlimit64", 0, 4, new, 0) == "refuse"


def test_memory_is_ordinary_memory(verdict):
    for flags in (0x22, 0x2, 0x812, 0x20022, 0x4022):
        assert verdict("mmap", 0, 4096, 3, flags) == "allow"
    for flag in (0x2000, 0x40000, 0x80000):  # MAP_LOCKED, MAP_HUGETLB, MAP_SYNC
        assert verdict("mmap", 0, 4096, 3, 0x22 | flag) == "refuse"
    for advice, expected in ((4, "allow"), (14, "allow"), (102, "allow"), (100, "refuse"), (12, "refuse")):
        assert verdict("madvise", 0, 4096, advice) == expected
    assert verdict("mbind", 0, 0, 3, 0, 0, 0) == "allow"
    assert verdict("mbind", 0, 0, 3, 0, 0, 4) == "refuse"


def test_of_prctl_only_names_are_left(verdict):
    for option in range(80):
        assert verdict("prctl", option) == ("allow" if option in (15, 16) else "refuse")


@pytest.mark.parametrize("machine", MACHINES)
def test_new_threads_and_processes_are_counted(machine):
    program, which = seccomp.asking(machine), MACHINES.index(machine)
    asked = {n[which] for n in ((56, 220), (57, None), (58, None)) if n[which] is not None}
    for number in range(600):
        expected = seccomp.ASK_SUPERVISOR if number in asked else seccomp.ALLOW
        expected = seccomp.NOT_IMPLEMENTED if number == 435 else expected
        assert run(program, machine, number) == expected


HEADERS = ("/usr/include/x86_64-linux-gnu/asm/unistd_64.h", "/usr/include/asm-generic/unistd.h")


@pytest.mark.parametrize("which", [0, 1], ids=MACHINES)
def test_the_numbers_are_those_of_the_kernel(which):
    if not Path(HEADERS[which]).exists():
        pytest.skip("the kernel's headers are not installed")
    text = Path(HEADERS[which]).read_text(encoding="utf-8")
    kernel = {name: int(n) for name, n in re.findall(r"#define __NR(?:3264)?_(\w+)\s+(\d+)", text)}
    kernel.setdefault("newfstatat", kernel.get("fstatat", -1))
    for name, numbers in CALLS.items():
        assert numbers[which] == kernel.get(name), name


def test_the_list_is_consistent():
    assert set(CHECKED) <= set(CALLS)
    for which in (0, 1):
        numbers = [n[which] for n in CALLS.values() if n[which] is not None]
        assert len(numbers) == len(set(numbers))
        assert PID not in numbers
