"""Translate the list of allowed system calls into a filter program for the kernel.

A program is a list of lines (code, lines to skip if true, lines to skip if false, operand). Operand None stands for the
ID of the process that installs the program, which inserts it. The codes and constants are from the kernel's user-space
interface, which is stable.
"""

import os
import platform
import struct
from collections.abc import Iterable
from functools import cache

from se_numpy.grading.isolation.frameworks import FRAMEWORKS
from se_numpy.grading.isolation.syscalls import ALLOWED, CHECKED, FIRST_NEW, PID, Check, Numbers, Value

Line = tuple[int, int, int, int | None]

MACHINES = ("x86_64", "aarch64")  # in the order of the numbers in ``syscalls``
ARCHITECTURES = (0xC000003E, 0xC00000B7)  # their names in the kernel's struct seccomp_data
_OTHER_ABI = 0x40000000  # the first system call number of the 32-bit interface x32 on x86-64

LOAD, AND, EQUAL, AT_LEAST, ANY_BIT, RETURN = 0x20, 0x54, 0x15, 0x35, 0x45, 0x06
ALLOW, NOT_PERMITTED, NOT_IMPLEMENTED, UNMADE = 0x7FFF0000, 0x00050001, 0x00050026, 0x00050000
END_PROCESS, ASK_SUPERVISOR = 0x80000000, 0x7FC00000
_NUMBER, _ARCHITECTURE, _ARGUMENTS = 0, 4, 16  # byte offsets in struct seccomp_data

_STARTING: dict[str, Numbers] = {"clone": (56, 220), "fork": (57, None), "vfork": (58, None)}
_CLONE3 = 435


def possible() -> bool:
    """Return True if the kernel supports filters and ``syscalls`` has this machine's system call numbers."""
    return platform.machine() in MACHINES and struct.calcsize("P") == 8 and os.path.exists("/proc/self/status")


@cache
def allow_list(machine: str, framework: str = "numpy") -> tuple[Line, ...]:
    """Return the program that allows the calls in ``syscalls`` and refuses all others.

    Calls that a framework only probes return 0 without being made.
    """
    which = MACHINES.index(machine)
    program: list[Line] = [
        (LOAD, 0, 0, _ARCHITECTURE), (EQUAL, 1, 0, ARCHITECTURES[which]), (RETURN, 0, 0, END_PROCESS),  # 32-bit calls
        (LOAD, 0, 0, _NUMBER), (AT_LEAST, 0, 1, _OTHER_ABI), (RETURN, 0, 0, END_PROCESS),
    ]  # fmt: skip
    for numbers in FRAMEWORKS[framework].unmade.values() if framework in FRAMEWORKS else ():
        program += [(EQUAL, 0, 1, numbers[which]), (RETURN, 0, 0, UNMADE)]
    for calls in ALLOWED.values():
        for name, numbers in calls.items():
            number = numbers[which]
            if number is not None:
                block = _checked(CHECKED[name], which) if name in CHECKED else [(RETURN, 0, 0, ALLOW)]
                program += [(EQUAL, 0, len(block), number), *block]
    return *program, (AT_LEAST, 0, 1, FIRST_NEW), (RETURN, 0, 0, NOT_IMPLEMENTED), (RETURN, 0, 0, NOT_PERMITTED)


@cache
def asking(machine: str) -> tuple[Line, ...]:
    """Return the program that asks the supervisor before a thread or process is started, so that it can count them.

    Calls through another architecture's interface pass; ``allow_list`` ends the process in that case.
    """
    which = MACHINES.index(machine)
    program: list[Line] = [
        (LOAD, 0, 0, _ARCHITECTURE), (EQUAL, 1, 0, ARCHITECTURES[which]), (RETURN, 0, 0, ALLOW), (LOAD, 0, 0, _NUMBER),
        (EQUAL, 0, 1, _CLONE3), (RETURN, 0, 0, NOT_IMPLEMENTED),  # its flags are in memory, so the C library uses clone
    ]  # fmt: skip
    for numbers in _STARTING.values():
        if numbers[which] is not None:
            program += [(EQUAL, 0, 1, numbers[which]), (RETURN, 0, 0, ASK_SUPERVISOR)]
    return *program, (RETURN, 0, 0, ALLOW)


def _checked(alternatives: Iterable[tuple[Check, ...]], which: int) -> list[Line]:
    """Return lines that allow a call if one of the alternatives holds, and refuse it otherwise."""
    lines: list[Line] = []
    for checks in alternatives:
        block: list[Line] = [(RETURN, 0, 0, ALLOW)]
        for check in reversed(checks):
            block = [*_lines(check, which, len(block)), *block]
        lines += block
    return [*lines, (RETURN, 0, 0, NOT_PERMITTED)]


def _lines(check: Check, which: int, rest: int) -> list[Line]:
    """Return lines that skip ``rest`` lines if the check fails."""
    low = _ARGUMENTS + 8 * check.argument
    values = [_operand(value, which) for value in check.values]
    if check.kind == "zero":
        return [(LOAD, 0, 0, low), (EQUAL, 0, rest + 2, 0), (LOAD, 0, 0, low + 4), (EQUAL, 0, rest, 0)]
    if check.kind == "equal":
        last = len(values) - 1
        tests = [(EQUAL, last - i, rest if i == last else 0, value) for i, value in enumerate(values)]
        return [(LOAD, 0, 0, low), *tests]
    (bits,) = values
    assert bits is not None
    if check.kind == "within":
        return [(LOAD, 0, 0, low), (ANY_BIT, rest, 0, ~bits & 0xFFFFFFFF)]
    return [(LOAD, 0, 0, low), (AND, 0, 0, bits), (EQUAL, 0, rest, bits)]


def _operand(value: Value, which: int) -> int | None:
    if isinstance(value, tuple):
        return value[which]
    return None if value == PID else value
