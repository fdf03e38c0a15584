"""The promises of the isolation, each with attacks that would break it, and a self-test that makes these attacks."""

import os
import re
import sys
import time
from collections.abc import Iterable, Iterator
from dataclasses import replace
from typing import NamedTuple

import numpy as np

from se_numpy.grading.isolation.backends import BACKENDS, LEVELS, Backend, problem_of
from se_numpy.grading.isolation.child import Child, Limits
from se_numpy.grading.isolation.process import running
from se_numpy.grading.isolation.scratch import Scratch
from se_numpy.grading.submission import from_source

# A submission's preamble, with a function that makes a system call by its numbers on x86-64 and 64-bit ARM.
TOOLS = """
import ctypes, fcntl, mmap, os, platform, socket, struct, sys, threading, time
import numpy as np
libc = ctypes.CDLL(None, use_errno=True)
libc.syscall.restype = ctypes.c_long
def call(x86, arm, *arguments):
    number = arm if platform.machine() in ("aarch64", "arm64") else x86
    if number is None:
        raise OSError(38, "Function not implemented")
    result = libc.syscall(number, *[ctypes.c_long(a) if isinstance(a, int) else a for a in arguments])
    if result < 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    return result
def fine(x):
    return x + 1
"""
REFUSED = r"PermissionError|FileNotFoundError|ModuleNotFoundError|OSError: \[Errno (30|38)\]|ValueError: not allowed"
_THREADS = 20


class Attack(NamedTuple):
    """The body of a function, and the status and message with which it ends if the promise is kept."""

    body: str
    status: str = "error"
    message: str = REFUSED


class Promise(NamedTuple):
    """A sentence of the documentation, the lowest level that keeps it, and attacks that would break it."""

    sentence: str
    level: str
    attacks: tuple[Attack, ...]
    linux: bool = False  # kept on Linux only


def _refused(*bodies: str) -> tuple[Attack, ...]:
    return tuple(Attack(body) for body in bodies)


PROMISES = (
    Promise("endless loops, exit(), crashes and huge output are reported", "L1", (
        Attack("while True: pass", "timeout", "within"), Attack("os._exit(0)", "crashed", "exit code 0"),
        Attack("ctypes.string_at(0)", "crashed", "SIG"), Attack("print('x' * 10**7)\nreturn x", "ok", ""),
    )),
    Promise("processor time and the size of each file are limited", "L1", (
        Attack("open('file', 'wb').write(bytes(20 << 20))", message=f"{REFUSED}|OSError: .*File too large"),
        Attack("import resource\nreturn resource.getrlimit(resource.RLIMIT_CPU)[0] < 1000", "ok", ""),
    )),
    Promise("the memory of each process is limited", "L1", (Attack("np.ones((10**5, 10**5))", "memory", "allocate"),),
            linux=True),
    Promise("threads and processes are limited, whatever else the user runs", "L1", (
        Attack("for _ in range(300): threading.Thread(target=time.sleep, args=(9,), daemon=True).start()",
               message="RuntimeError: can't start new thread"),
    ), linux=True),
    Promise("forged or early replies, objects and array subclasses are refused", "L1", (
        Attack("os.write(int(sys.argv[2]), b'\\xff' * 64)", "refused", "header of"),
        Attack("return np.array([1, None])", "refused", "object"),
    )),
    Promise("a modified NumPy has no effect on the grader", "L1", (
        Attack("np.allclose = np.asarray = np.frombuffer = lambda *a, **k: True\nreturn x + 1", "ok", ""),
    )),
    Promise("packages next to NumPy are not importable, except an allowed framework", "L1", (
        *_refused("import se_numpy", "import tqdm"),
    )),
    Promise("... even if their folder is added to sys.path", "L2", (
        *_refused("sys.path.insert(0, {root!r})\nimport se_numpy", "sys.path.insert(0, {packages!r})\nimport tqdm"),
    )),
    Promise("the grader's files cannot be read", "L2", (
        *_refused("open({secret!r}).read()", "os.listdir({folder!r})", "open('/proc/self/mem', 'rb')",
                  "open('/proc/{parent}/environ', 'rb').read()", "os.open({secret!r}, os.O_PATH)"),
    )),
    Promise("no file is changed: its contents, name, mode, owner or times", "L2", (
        *_refused("open({secret!r}, 'w')", "os.open({secret!r}, 3 | os.O_TRUNC)", "os.truncate({secret!r}, 0)",
                  "os.remove({secret!r})", "os.rename({secret!r}, {secret!r} + '2')", "os.chmod({secret!r}, 0)",
                  "os.chown({secret!r}, 1, 1)", "os.utime({secret!r}, (0, 0))", "os.mkdir({folder!r} + '/new')"),
    )),
    Promise("processes and programs cannot be started", "L2", (
        *_refused("os.fork() or os._exit(0)", "__import__('subprocess').run(['/bin/true'])",
                  "os.posix_spawn('/bin/true', ['true'], {{}})", "call(56, 220, 17, 0, 0, 0, 0) or os._exit(0)"),
    )),
    Promise("no signals to other processes", "L2", (
        *_refused("os.kill(os.getppid(), 0)", "os.kill({parent}, 0)", "fcntl.fcntl(1, fcntl.F_SETOWN, {parent})",
                  "fcntl.fcntl(1, 10, 18)", "fcntl.fcntl(1, 15, struct.pack('ii', 1, {parent}))",
                  "fcntl.fcntl(1, fcntl.F_SETFL, os.O_ASYNC)", "fcntl.ioctl(1, 0x5452, bytes(4))",
                  "call(434, 434, {parent}, 0)"),
    )),
    Promise("no sockets of any kind", "L2", (
        *_refused("socket.socket()", "socket.socket(1, 1)", "socket.socketpair()", "call(425, 425, 4, bytes(120))",
                  "call(44, 206, 1, b'x', 1, 0, 0, 0)"),
    )),
    Promise("no System V or POSIX shared memory, queues or semaphores", "L2", (
        *_refused("call(29, 194, 0, 4096, 0o1600)", "call(30, 196, 0, 0, 0)", "call(68, 186, 0, 0o1600)",
                  "call(64, 190, 0, 1, 0o1600)", "call(66, 191, 0, 0, 0, 0)", "call(71, 187, 0, 0, 0)",
                  "call(241, 181, b'x')", "open('/dev/shm/se_numpy', 'w')", "os.memfd_create('x')"),
    )),
    Promise("no access to other processes, their memory, limits or priority", "L2", (
        *_refused("call(101, 117, 0x4206, {parent}, 0, 0)", "call(310, 270, {parent}, 0, 0, 0, 0, 0)",
                  "import resource\nresource.prlimit({parent}, resource.RLIMIT_CPU)",
                  "os.setpriority(os.PRIO_PROCESS, {parent}, 19)", "os.sched_getaffinity({parent})"),
    )),
    Promise("no namespaces, keyrings, file watches, perf events or BPF", "L2", (
        *_refused("call(272, 97, 0x10000000)", "call(250, 219, 0, -3, 1)", "call(294, 26, 0)", "call(300, 262, 0, 0)",
                  "call(298, 241, bytes(128), 0, -1, -1, 0)", "call(321, 280, 0, bytes(72), 72)",
                  "call(323, 282, 0)"),
    )),
    Promise("the grader's files, processes and network are invisible", "L3", (
        *_refused("os.stat({secret!r})", "os.stat('/proc')", "os.stat('/etc/passwd')", "os.stat({folder!r})"),
    )),
    Promise("nothing survives the grader, however it ends", "L1", (
        Attack("sys.modules['__main__']._read = lambda *_: time.sleep(99)\n"
               "try: os.fork() or os.setsid() or time.sleep(99)\nexcept OSError: pass\nreturn x", "survival"),
    )),
)  # fmt: skip


class Result(NamedTuple):
    """The result of the self-test for a promise; for each level yes (kept), NO, - (not promised) or ? (missing)."""

    promise: Promise
    levels: dict[str, str]
    broken: tuple[str, ...]  # the level and the attack, for each attack that succeeded


def examine(framework: str = "numpy") -> list[Result]:
    """Attack this machine's sandboxes, and return a result for each promise.  It takes some seconds.

    The attacks run in a process that can import the framework.
    """
    found = {backend.level: dict(_examined(backend, framework)) for backend in BACKENDS if not problem_of(backend)}
    results = []
    for promise in PROMISES:
        levels, broken = {}, []
        for level in LEVELS:
            if level < promise.level or (promise.linux and sys.platform != "linux"):
                levels[level] = "-"
            elif level not in found:
                levels[level] = "?"
            else:
                succeeded = found[level][promise.sentence]
                levels[level] = "NO" if succeeded else "yes"
                broken += [f"{level}: {attack}" for attack in succeeded]
        results.append(Result(promise, levels, tuple(broken)))
    return results


def _examined(backend: Backend, framework: str) -> Iterator[tuple[str, list[str]]]:
    """Yield each promise's sentence with the attacks that succeeded."""
    promises = [promise for promise in PROMISES if promise.level <= backend.level]
    with Scratch() as folder:
        secret = os.path.join(folder, "secret")
        with open(secret, "w", encoding="utf-8") as file:
            file.write("secret")
        names = {"secret": secret, "folder": folder, "parent": os.getpid(), "packages": _folder_of(np),
                 "root": _folder_of(sys.modules["se_numpy"])}  # fmt: skip
        bodies = [attack.body.format(**names) for promise in promises for attack in promise.attacks]
        limits = replace(Limits(), seconds=1, processes=_THREADS)
        with Child.on(backend, from_source(TOOLS + _functions(bodies)), limits) as child:
            child.use(child.submission, framework)
            number = 0
            for promise in promises:
                succeeded = []
                for attack in promise.attacks:
                    if not _withstands(child, f"attack{number}", attack):
                        succeeded.append(attack.body)
                    number += 1
                yield promise.sentence, succeeded


def _functions(bodies: Iterable[str]) -> str:
    indented = (body.replace("\n", "\n    ") for body in bodies)
    return "".join(f"def attack{number}(x):\n    {body}\n" for number, body in enumerate(indented))


def _folder_of(package: object) -> str:
    return os.path.dirname(os.path.dirname(str(package.__file__)))  # type: ignore[attr-defined]


def _withstands(child: Child, function: str, attack: Attack) -> bool:
    """Return True if the sandbox withstands the attack."""
    x = np.arange(3.0)
    reply = child.call(function, [x], {})
    token = child.token
    if attack.status == "survival":
        child.abandon()
        survived = not _gone(token)
        child.restart()
        return not survived
    expected = attack.status == reply.status and re.match(f".*({attack.message})", reply.message, re.DOTALL)
    after = child.call("fine", [x], {})
    if "thread" in reply.message:  # its threads would count in the next attack
        child.restart()
    return bool(expected) and after.status == "ok" and bool(np.array_equal(after.outputs[0], x + 1))


def _gone(token: str) -> bool:
    deadline = time.monotonic() + 5
    while running(token) and time.monotonic() < deadline:
        time.sleep(0.01)
    return not running(token)
