"""Tests of the sandbox with misbehaving submissions: each ends in a clear status and leaves nothing behind."""

import ctypes
import os
import platform
import re
import select
import shutil
import socket
import stat
import struct
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import replace
from functools import cache
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import pytest
from attacks import ANYWHERE, DAEMON, INVALID_HEADERS, SURVIVED, UNREADABLE
from attacks.forbidden import FORBIDDEN, REFUSALS, UNPROVED
from children import FINE, PATIENT, QUICK, X, child, grade_one
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

import se_numpy
import se_numpy.grading.isolation.child as child_module
from se_numpy.grading.isolation import (
    Child,
    IsolationMissing,
    Limits,
    backends,
    choose,
    doctor,
    lockdown,
    missing,
    process,
    seccomp,
    wire,
)  # fmt: skip
from se_numpy.grading.isolation.process import running
from se_numpy.grading.isolation.promises import TOOLS
from se_numpy.grading.isolation.sandbox_paths import sandbox_paths
from se_numpy.grading.sandbox_worker import pack
from se_numpy.grading.submission import from_source

LEFT_BEHIND = Path(tempfile.gettempdir()) / "se_numpy-was-here"  # a submission tries to create this file

LEVELS = {"process": "L1", "landlock": "L2", "bwrap": "L3"}


@pytest.fixture(params=list(LEVELS))
def isolation(request):
    """Return each backend that works on this machine."""
    return working(request.param)


@pytest.fixture(params=["landlock", "bwrap"])
def strict(request):
    """Return each backend of level 2 or 3 that works on this machine."""
    return working(request.param)


def working(option: str) -> str:
    """Return the name of a backend, or skip the test if it does not work here."""
    backend = next(b for b in backends.BACKENDS if b.option == option)
    problem = backends.problem_of(backend)
    if problem and supported(option):
        pytest.fail(f"this machine supports the backend, but {problem}")
    if problem:
        pytest.skip(problem)
    return option


def supported(option: str) -> bool:
    """Return True if the machine meets a backend's requirements, so that the backend must work."""
    if option == "landlock":
        return lockdown.landlock_version() > 0 and seccomp.possible()
    plain = ["bwrap", "--ro-bind", "/", "/", "--unshare-user", "--unshare-pid", "--unshare-net", "true"]
    return option == "process" or (
        shutil.which("bwrap") is not None and subprocess.run(plain, capture_output=True, check=False).returncode == 0
    )


def becomes(condition, seconds: float = 300) -> bool:
    """Wait until a condition is true; return False if it does not become true, even on a busy machine."""
    deadline = time.monotonic() + seconds
    while not condition() and time.monotonic() < deadline:
        time.sleep(0.01)
    return bool(condition())


def gone(token: str) -> bool:
    """Wait until no process with ``token`` runs, as namespaces take a moment to end; return False if one does."""
    return becomes(lambda: not running(token), 60)


def attack(body: str, isolation: str, limits: Limits = PATIENT):
    """Return the reply to a function with this body, after checking that calls before and after it succeed."""
    source = "def attack(x):\n" + "".join(f"    {line}\n" for line in body.strip("\n").split("\n"))
    with child(source, isolation, replace(limits, seconds=PATIENT.seconds)) as c:
        assert c.call("fine", [X], {}).status == "ok"
        tokens = [c.token]
        assert running(c.token), "running() cannot find the process, so gone() would prove nothing"
        c.limits = limits
        reply = c.call("attack", [X], {})
        c.limits = replace(limits, seconds=PATIENT.seconds)
        after = c.call("fine", [X], {})
        assert (after.status, after.outputs[0].tolist()) == ("ok", (X + 1).tolist())
        tokens.append(c.token)
    assert all(gone(token) for token in tokens)
    return reply


@pytest.mark.parametrize("name", ANYWHERE)
def test_misbehaviour_ends_in_a_clear_status(name, isolation):
    body, status, message = ANYWHERE[name]
    reply = attack(body, isolation, QUICK if status == "timeout" else PATIENT)
    assert (reply.status, reply.outputs) == (status, ())
    assert re.search(message, reply.message, re.DOTALL)
    assert len(reply.message) <= 4096
    assert all(c.isprintable() for c in reply.message)


def functions(bodies: list[str]) -> str:
    """Return definitions of f0, f1, ..., with these bodies."""
    return "".join(
        f"def f{i}(x):\n" + "".join(f"    {line}\n" for line in body.split("\n")) for i, body in enumerate(bodies)
    )


@pytest.fixture(scope="module")
def survivors():
    """Return a function that creates one child for each backend, on first use."""
    with ExitStack() as stack:
        source = functions([body for body, _, _ in SURVIVED.values()])
        yield cache(lambda isolation: stack.enter_context(child(source, isolation)))


@pytest.mark.parametrize("name", SURVIVED)
def test_errors_are_reported_and_the_process_continues(name, isolation, survivors):
    _, status, message = SURVIVED[name]
    c = survivors(isolation)
    reply = c.call(f"f{list(SURVIVED).index(name)}", [X], {})
    assert (reply.status, reply.outputs) == (status, ())
    assert re.search(message, reply.message, re.DOTALL), reply.message
    assert len(reply.message) <= 4096
    assert all(character.isprintable() for character in reply.message)
    assert c.call("fine", [X], {}).status == "ok"
    assert c.starts == 1


# A process of the same user, without root's privileges, because the attackers have none either.
VICTIM = """
import time
from se_numpy.grading.isolation import lockdown
lockdown.no_new_privileges()
print(1, flush=True)
time.sleep(1000)
"""


@pytest.fixture(scope="module")
def targets(tmp_path_factory):
    """Return what the attacks aim at, keyed by the names in their bodies."""
    folder, shown = tmp_path_factory.mktemp("grader"), tmp_path_factory.mktemp("shown")
    (folder / "empty").mkdir()
    for path in (folder / "secret", shown / "module.py"):
        path.write_text("42")
    victim = subprocess.Popen([sys.executable, "-c", VICTIM], start_new_session=True, stdout=subprocess.PIPE)
    assert victim.stdout.read(1)
    with ExitStack() as stack:
        stack.enter_context(victim)
        stack.callback(victim.kill)
        server = stack.enter_context(socket.create_server(("127.0.0.1", 0)))
        local = stack.enter_context(socket.socket(socket.AF_UNIX))
        local.bind(str(folder / "socket"))
        local.listen()
        datagrams = stack.enter_context(socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM))
        datagrams.bind(str(folder / "datagrams"))
        yield {
            "victim": victim.pid, "folder": str(folder), "secret": str(folder / "secret"), "left": str(LEFT_BEHIND),
            "unix": str(folder / "socket"), "datagrams": str(folder / "datagrams"), "port": server.getsockname()[1],
            "root": str(Path(se_numpy.__file__).parents[1]), "packages": str(Path(np.__file__).parents[1]),
            "source": se_numpy.__file__, "library": str(shown), "shown": str(shown / "module.py"),
            **shared_objects(stack),
        }  # fmt: skip


def shared_objects(stack: ExitStack) -> dict[str, int]:
    """Create a System V shared memory segment, a message queue and a semaphore, and return their IDs."""
    libc = ctypes.CDLL(None, use_errno=True)
    key = 0x5E000000 | os.getpid() & 0xFFFFFF
    shm, queue, semaphore = libc.shmget(0, 4096, 0o1600), libc.msgget(key, 0o1600), libc.semget(0, 1, 0o1600)
    stack.callback(libc.shmctl, shm, 0, None)
    stack.callback(libc.msgctl, queue, 0, None)
    stack.callback(libc.semctl, semaphore, 0, 0)
    return {"shm": shm, "queue": queue, "queue_key": key, "semaphore": semaphore}


def attackers(backend, bodies, shown):
    """Return a child that may also read ``shown``, with a function for each of the bodies."""
    paths = sandbox_paths()
    more = replace(paths, shown=(*paths.shown, shown))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(child_module, "sandbox_paths", lambda _: more)
        source = TOOLS + functions(bodies)
        c = Child.on(backend, from_source(source), replace(QUICK, seconds=5))
        c.call("fine", [X], {})
    return c


@pytest.fixture(scope="module")
def intruders(targets):
    """Return a function that creates a child for each backend, on first use, whose functions are the attacks."""
    bodies = [body.format(**targets) for body in FORBIDDEN.values()]
    with ExitStack() as stack:
        yield cache(lambda option: stack.enter_context(attackers(choose(option), bodies, targets["library"])))


@pytest.mark.parametrize("name", FORBIDDEN)
def test_forbidden_actions_fail_from_level_2(name, strict, intruders, targets):
    secret = Path(targets["secret"])
    before, left = secret.stat(), os.listdir(secret.parent)
    c = intruders(strict)
    reply = c.call(f"f{list(FORBIDDEN).index(name)}", [X], {})
    assert reply.status == "error", reply
    assert re.match(REFUSALS, reply.message), reply.message
    after = secret.stat()
    assert os.listdir(secret.parent) == left
    for what in ("st_mode", "st_uid", "st_size", "st_mtime_ns", "st_ctime_ns"):
        assert getattr(after, what) == getattr(before, what)
    assert not LEFT_BEHIND.exists()
    assert not os.path.exists("/dev/shm/se_numpy-test")
    assert c.call("fine", [X], {}).status == "ok"
    assert c.starts == 1


def test_the_attacks_succeed_without_the_protections(targets, tmp_path):
    """Otherwise, the test above would prove nothing."""
    working("landlock")
    bare = replace(choose("landlock"), landlock=False, seccomp=False)
    proved = {name: body for name, body in FORBIDDEN.items() if name not in UNPROVED}
    bodies = []
    for number, body in enumerate(proved.values()):  # each has its own files
        folder = tmp_path / str(number)
        (folder / "empty").mkdir(parents=True)
        (folder / "secret").write_text("42")
        bodies.append(body.format(**targets | {"folder": str(folder), "secret": str(folder / "secret")}))
    failed = {}
    with ExitStack() as stack:
        stack.callback(LEFT_BEHIND.unlink, missing_ok=True)
        for path in ("/dev/shm/se_numpy-test", "/dev/mqueue/se_numpy-test"):
            stack.callback(Path(path).unlink, missing_ok=True)
        c = stack.enter_context(attackers(bare, bodies, targets["library"]))
        for number, name in enumerate(proved):
            reply = c.call(f"f{number}", [X], {})
            if reply.status not in ("ok", "refused"):
                failed[name] = (reply.status, reply.message)
    assert failed == {}, "\n".join(map(str, failed.items()))


# Code for x86 that calls getpid through the 32-bit interface: mov eax, 20; int 0x80; ret.
INT_80 = r"""
code = mmap.mmap(-1, 4096, prot=7)
code.write(b"\xb8\x14\0\0\0\xcd\x80\xc3")
ctypes.CFUNCTYPE(ctypes.c_int)(ctypes.addressof(ctypes.c_char.from_buffer(code)))()
"""


@pytest.mark.skipif(platform.machine() != "x86_64", reason="these interfaces exist on x86-64 only")
@pytest.mark.parametrize("body", ["ctypes.CDLL(None).syscall(0x40000027)", f"import mmap{INT_80}"], ids=["x32", "i386"])
def test_calls_through_another_interface_end_the_process(body, strict):
    reply = attack(body, strict)
    assert reply.status == "crashed"
    assert "signal SIGSYS" in reply.message or "signal SIGSEGV" in reply.message  # the kernel may lack the interface


def test_hidden_folders_in_shown_folders_are_not_readable(strict, tmp_path, monkeypatch):
    """The standard library's folder contains site-packages."""
    tmp_path = tmp_path.resolve()
    for name in ("top", "lib/python/random", "lib/python/site-packages/pip", "lib/python/site-packages/numpy/core"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("42")
    (tmp_path / "link").symlink_to(tmp_path / "lib/python/site-packages")
    packages = str(tmp_path / "lib/python/site-packages")
    paths = sandbox_paths()
    more = replace(paths, roots=(*paths.roots, str(tmp_path)), hidden=(*paths.hidden, packages),
                   shown=(*paths.shown, f"{packages}/numpy"))  # fmt: skip
    monkeypatch.setattr(child_module, "sandbox_paths", lambda _: more)
    source = f"""
def f():
    found = []
    for name in ("top", "lib/python/random", "lib/python/site-packages/numpy/core",
                 "lib/python/site-packages/pip", "link/pip"):
        try:
            found.append(open({str(tmp_path)!r} + "/" + name).read() == "42")
        except OSError:
            found.append(False)
    return found
"""
    with child(source, strict) as c:
        assert [bool(out) for out in c.call("f", [], {}).outputs] == [True, True, True, False, False]


def test_the_filter_alone_prevents_truncation(tmp_path):
    """Before Linux 6.2, Landlock allows truncating a file, whatever it is opened for."""
    working("landlock")
    (tmp_path / "grades").write_text("42")
    modes = ("os.O_RDONLY | os.O_TRUNC", "3 | os.O_TRUNC", "os.O_WRONLY | os.O_TRUNC", "3")
    bodies = [f"os.open({str(tmp_path / 'grades')!r}, {mode})" for mode in (*modes, "os.O_RDONLY")]
    source = from_source(FINE + functions(bodies))
    with Child.on(replace(choose("landlock"), landlock=False), source, QUICK) as c:
        for number in range(len(modes)):
            assert c.call(f"f{number}", [X], {}).message.startswith("PermissionError")
        assert c.call("f4", [X], {}).status == "refused"  # the file was opened, and None was returned
    assert (tmp_path / "grades").read_text() == "42"


def test_a_fork_bomb_is_stopped(isolation):
    expected, limits = ("timeout", QUICK) if isolation == "process" else ("error", PATIENT)
    assert attack("for _ in range(5): os.fork()\ntime.sleep(600)", isolation, limits).status == expected


def test_a_daemon_is_found_and_killed(isolation):
    assert attack(DAEMON, isolation).status == ("ok" if isolation == "process" else "error")


def test_megabytes_of_output_are_truncated(isolation, monkeypatch):
    choose(isolation)
    kept, text = [], process._text
    monkeypatch.setattr(process, "_text", lambda output: [kept.append(len(output)), text(output)][1])
    reply = attack("print('score: 100\\n' * 10**6)\nos.write(2, b'\\x1b[31mred')\nreturn x", isolation)
    assert reply.status == "ok"
    kept = [size for size in kept if size]
    assert reply.stdout.startswith("score: 100\nscore: 100")
    assert reply.stdout.endswith("(truncated after 64 KiB)")
    assert len(reply.stdout) < (64 << 10) + 50
    assert kept == [(64 << 10) + 1]


class LatePoll:
    """A poll that returns late, as on a busy machine; by then, both the printed output and the reply have arrived."""

    def __init__(self, poll=select.poll):
        self._poll = poll()

    def poll(self, milliseconds):
        time.sleep(0.005)
        return self._poll.poll(milliseconds)

    def __getattr__(self, name):
        return getattr(self._poll, name)


def test_output_is_attributed_to_its_call(isolation, monkeypatch):
    choose(isolation)
    monkeypatch.setattr(process.select, "poll", LatePoll)
    source = "def say(x):\n    print('one', x)\n    print('two\\x1b', file=sys.stderr)\n    return x\n"
    with child(source, isolation) as c:
        for number in range(5):
            assert c.call("say", [number], {}).stdout == f"one {number}\ntwo\n"
        assert c.call("fine", [1], {}).stdout == ""


def test_a_closed_stdout_loses_only_the_output(isolation):
    assert attack("print('lost')\nsys.stdout.close()\nsys.stderr = None\nreturn x", isolation).status == "ok"


def test_replies_sent_in_advance_are_refused(isolation):
    source = (
        "def attack(x):\n    r = sys.modules['__main__']\n"
        "    late = lambda: (time.sleep(0.05), r._write(int(sys.argv[2]), r.pack({'call': 2, 'status': 'ok'})))\n"
        "    threading.Thread(target=late).start()\n    return x\n"
    )
    with child(source, isolation) as c:
        assert c.call("attack", [X], {}).status == "ok"
        assert select.select([c._process._answers], [], [], 300)[0]
        reply = c.call("fine", [X], {})
        assert (reply.status, "before the call" in reply.message) == ("refused", True)
        assert c.call("fine", [X], {}).status == "ok"


def test_a_process_that_ends_between_calls_is_restarted(isolation):
    source = "def attack(x):\n    threading.Timer(0.05, os._exit, (0,)).start()\n    return x\n"
    with child(source, isolation) as c:
        assert c.call("attack", [X], {}).status == "ok"
        assert becomes(lambda: not c._process.alive)
        assert c.call("fine", [X], {}).status == "ok"
        assert c.starts == 2


def test_array_subclasses_arrive_as_plain_arrays(isolation):
    evil = """
class Evil(np.ndarray):
    __array_priority__ = 1e9
    def __eq__(self, other): return True
    def __sub__(self, other): return np.zeros(1)
    def __array__(self, *args, **kwargs): return np.zeros(1)
    def __array_finalize__(self, other): pass
    def tobytes(self, order="C"): return b""
return (x * 2).view(Evil), np.ma.masked_array(x, x > 1), np.float32(3), True, np.asfortranarray(x), x.astype(">i4")
"""
    reply = attack(evil, isolation)
    assert reply.status == "ok", reply.message
    assert all(type(out) is np.ndarray and out.flags.writeable for out in reply.outputs)
    expected = [X * 2, X, np.float32(3), np.bool_(True), X, X.astype(np.int32)]
    for out, value in zip(reply.outputs, expected, strict=True):
        np.testing.assert_array_equal(out, value, strict=True)


def test_a_patched_numpy_does_not_affect_the_grader(isolation):
    originals = np.allclose, np.asarray, np.ndarray
    functions = ("allclose", "array_equal", "asarray", "frombuffer", "dtype", "ndarray")
    names = " = ".join(f"np.{name}" for name in functions)
    reply = attack(f"{names} = lambda *a, **k: True\nreturn x * 3", isolation)
    assert (np.allclose, np.asarray, np.ndarray) == originals
    np.testing.assert_array_equal(reply.outputs[0], X * 3, strict=True)


def test_modified_arguments_are_detected(isolation):
    source = "def f(a, b, n, *, k):\n    b[0] = k\n    return a\ndef g(a):\n    a.flat[5] = np.nan\n    return a\n"
    with child(source, isolation) as c:
        assert c.call("f", [X, X.astype(np.float32), 3], {"k": 7}).mutated == (1,)
        assert c.call("f", [X, X], {"k": 7}).mutated == ()  # n is missing, so f did not run
        assert c.call("g", [X], {}).mutated == (0,)
        assert c.call("fine", [X], {}).mutated == ()
    np.testing.assert_array_equal(X.ravel(), np.arange(6.0))


def test_a_child_inherits_only_its_two_channels(isolation, tmp_path):
    body = """
found = []
for fd in range(3, 256):
    try:
        os.fstat(fd)
        found.append(fd)
    except OSError:
        pass
return np.array(found)
"""
    with open(tmp_path / "grades", "w", encoding="utf-8") as file:
        os.set_inheritable(file.fileno(), True)
        reply = attack(body, isolation)
    assert reply.outputs[0].size == 2
    assert file.name


def test_the_environment_is_not_inherited(isolation, monkeypatch):
    monkeypatch.setenv("GRADING_SECRET", "42")
    monkeypatch.setenv("PYTHONPATH", str(Path(se_numpy.__file__).parents[1]))
    reply = attack("return 'GRADING_SECRET' in os.environ, os.environ['OPENBLAS_NUM_THREADS'] == '1'", isolation)
    assert [bool(out) for out in reply.outputs] == [False, True]


def test_files_of_a_plain_child_are_removed():
    body = "open('left', 'w').close()\nreturn np.frombuffer(os.getcwd().encode(), np.uint8)"
    folder = attack(body, "process").outputs[0].tobytes().decode()
    assert "se_numpy-" in folder
    assert not os.path.exists(folder)


def test_large_files_are_refused():
    assert re.match("OSError: .*File too large", attack("open('x', 'wb').write(bytes(20 << 20))", "process").message)


def test_a_child_ends_at_its_limit_of_processor_time():
    reply = attack("while True: pass", "process", replace(PATIENT, cpu_seconds=2))
    assert (reply.status, "processor time" in reply.message) == ("timeout", True)


def test_a_child_is_restarted_before_its_processor_time_runs_out():
    with child("") as c:
        assert [c.call("fine", [X], {}).status for _ in range(2)] == ["ok"] * 2
        assert c.starts == 1
        c._process.cpu = 0.6 * PATIENT.cpu_seconds
        assert c.call("fine", [X], {}).status == "ok"
        assert c.starts == 2


@pytest.mark.parametrize("name", UNREADABLE)
def test_unreadable_submissions_are_reported_for_every_call(name, isolation):
    source, message = UNREADABLE[name]
    limits = replace(PATIENT, start_seconds=0.5) if name == "loops" else PATIENT
    with child(source, isolation, limits) as c:
        replies = [c.call("fine", [X], {}) for _ in range(3)]
        assert {reply.status for reply in replies} == {"unreadable"}
        assert all(re.search(message, reply.message) for reply in replies), replies[0].message
        assert c.starts == 1
        assert c.token == ""


def test_a_missing_function_is_reported(isolation):
    with child("number = 3", isolation) as c:
        for name in ("squeeze", "number"):
            reply = c.call(name, [X], {})
            assert (reply.status, reply.message) == ("missing", f"function {name} is not defined")
        assert c.call("fine", [X], {}).status == "ok"
        assert c.starts == 1


def test_state_persists_until_a_restart(isolation):
    with child("calls = []\ndef count():\n    calls.append(1)\n    return len(calls)\n", isolation) as c:
        assert [int(c.call("count", [], {}).outputs[0]) for _ in range(3)] == [1, 2, 3]
        c.restart()
        assert int(c.call("count", [], {}).outputs[0]) == 1


@pytest.fixture(scope="module")
def echo():
    """Return a function that sends an array to a child and returns its values, memory order and writeable flag."""
    source = "def echo(x):\n    f = x.flags\n    return x, f.c_contiguous, f.f_contiguous, f.writeable\n"
    with child(source) as c:
        yield lambda x: c.call("echo", [x], {})


NUMBERS = [
    hnp.floating_dtypes(sizes=(32, 64)), hnp.integer_dtypes(), hnp.unsigned_integer_dtypes(), hnp.boolean_dtypes(),
]  # fmt: skip


@given(data=st.data(), shape=hnp.array_shapes(min_dims=0, max_dims=4, min_side=0, max_side=4))
def test_arrays_survive_the_round_trip(echo, data, shape):
    x = data.draw(hnp.arrays(data.draw(st.one_of(NUMBERS)), shape))
    x = data.draw(st.sampled_from([x, np.asfortranarray(x), x[..., ::2] if x.ndim else x]))
    x.flags.writeable = data.draw(st.booleans())
    back, *flags = echo(x).outputs
    np.testing.assert_array_equal(back, x.astype(x.dtype.newbyteorder("<")), strict=True)
    assert [bool(flag) for flag in flags] == [x.flags.c_contiguous, x.flags.f_contiguous, x.flags.writeable]


def fed(data: bytes, pieces: int = 7, arguments: int = 2):
    """Parse these bytes as the answer to call 5; return the reply, or None if they are incomplete."""
    answer = wire.Answer(5, arguments)
    while data and answer.wanted:
        size = min(pieces, answer.wanted)
        answer.feed(data[:size])
        data = data[size:]
    return None if answer.wanted else answer.reply("")


@given(st.binary(max_size=200))
def test_random_bytes_are_a_breach_or_incomplete(data):
    whole = len(data) >= 4 and struct.unpack_from("<I", data)[0] <= max(len(data) - 4, 1 << 16)
    try:
        reply = fed(data)
    except wire.Breach:
        return
    assert reply is None
    assert len(data) < 4 or whole


@pytest.mark.parametrize("name", INVALID_HEADERS)
def test_invalid_headers_are_a_breach(name):
    with pytest.raises(wire.Breach):
        fed(pack(INVALID_HEADERS[name]))


def test_deeply_nested_or_long_headers_are_a_breach():
    for text in (b"[" * 60000, b"1" * 60000, b"\xff\xfe"):
        with pytest.raises(wire.Breach, match="JSON"):
            fed(struct.pack("<I", len(text)) + text, pieces=1 << 20)
    with pytest.raises(wire.Breach, match="header"):
        fed(struct.pack("<I", 0))


def test_a_valid_reply_is_read_piece_by_piece():
    arrays = [{"dtype": "<f8", "shape": [2]}, {"dtype": "|b1", "shape": []}]
    header = {"call": 5, "status": "ok", "mutated": [1, 0, 1], "arrays": arrays}
    data = pack(header, np.array([1.0, 2.0]).tobytes(), b"\x07")
    reply = fed(data, pieces=3)
    assert (reply.status, reply.mutated) == ("ok", (0, 1))
    assert reply.outputs[0].tolist() == [1.0, 2.0]
    assert reply.outputs[1].tobytes() == b"\x01"  # booleans are normalised to 0 and 1
    assert fed(data[:-1]) is None


def test_unsupported_arguments_are_refused():
    with child("") as c:
        for argument in (np.array([1j]), np.array(["a"]), "a", None, 1j):
            with pytest.raises(TypeError, match="cannot be sent"):
                c.call("fine", [argument], {})
        assert c.starts == 0


def test_several_threads_can_run_children(isolation):
    def one(number: int) -> bool:
        with child("", isolation) as c:
            return all(c.call("fine", [X + i], {}).outputs[0][0, 0] == i + 1 for i in range(number, number + 20))

    with ThreadPoolExecutor(4) as pool:
        assert all(pool.map(one, range(8)))


def test_a_worker_process_can_run_a_child():
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        assert pool.submit(grade_one).result() == "ok"


def test_a_child_outlives_the_thread_that_started_it(isolation):
    with child("", isolation) as c:
        with ThreadPoolExecutor(1) as pool:
            assert pool.submit(c.call, "fine", [X], {}).result().status == "ok"
        time.sleep(0.1)
        assert c.call("fine", [X], {}).status == "ok"
        assert c.starts == 1


def test_nothing_is_left_behind_when_the_grader_fails(isolation):
    tokens = []

    def grade():
        with child("", isolation) as c:
            c.call("fine", [X], {})
            tokens.append(c.token)
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        grade()
    assert gone(tokens[0])
    before = set(os.listdir("/proc/self/fd"))
    for _ in range(3):
        grade_one()
    assert set(os.listdir("/proc/self/fd")) == before


# Choosing a backend.


def test_the_doctor_reports_all_backends():
    found = doctor()
    assert [f.level for f in found] == ["L3", "L2", "L1"]
    assert found[-1].works
    assert all(f.works == (f.remedy == "") for f in found)
    assert missing("L3") == ()
    assert len(missing("L1")) == sum(not f.works for f in found)


def test_auto_chooses_the_strongest_backend_that_works():
    with child("", "auto") as c:
        best = next(f for f in doctor() if f.works)
        assert (c.backend, c.level) == (best.backend, best.level)
        assert c.call("fine", [X], {}).status == "ok"


def test_a_backend_below_the_required_level_is_refused(monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(IsolationMissing, match=r"L3 is not available here: bubblewrap: bubblewrap is not installed"):
        choose("auto", "L3")
    with pytest.raises(IsolationMissing, match="install the package bubblewrap"):
        choose("bwrap")
    with pytest.raises(IsolationMissing, match="process at L2 is not available here: process is weaker than L2"):
        Child(from_source(FINE), isolation="process", require="L2")
    assert choose("process", "L1").level == "L1"
    assert missing("L2")[0].startswith("L3 (bubblewrap): bubblewrap is not installed; install")


def test_errors_of_bubblewrap_are_quoted(monkeypatch, tmp_path):
    fake = tmp_path / "bwrap"
    fake.write_text("#!/bin/sh\necho bwrap: No permissions to create new namespace >&2\nexit 1\n")
    fake.chmod(fake.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    with pytest.raises(IsolationMissing, match=r"No permissions to create new namespace.*allow user namespaces,"):
        choose("bwrap")


@pytest.mark.parametrize(("disabled", "action"), [
    ({"landlock": False}, "read files"), ({"seccomp": False}, "start processes"),
])  # fmt: skip
def test_a_backend_that_does_not_restrict_is_detected(disabled, action):
    working("landlock")
    backend = replace(choose("landlock"), **disabled)
    assert backends._try(backend) == f"a test function was able to {action}."


def test_unknown_backends_and_levels_are_refused():
    with pytest.raises(ValueError, match="unknown isolation 'docker'; expected auto, bwrap, landlock, process"):
        choose("docker")
    with pytest.raises(ValueError, match="unknown isolation level 'L4'; expected L1, L2, L3"):
        choose("auto", "L4")


@pytest.mark.parametrize("value", [0, -1, float("nan")])
def test_limits_must_be_above_zero(value):
    with pytest.raises(ValueError, match=rf"the limit memory_mb is {value}; expected a number above 0"):
        Limits(memory_mb=value)


def test_a_sandbox_that_cannot_start_raises_an_error():
    command = [sys.executable, "-c", "print('no such thing')"]
    broken = replace(choose("process"), wrap=lambda _: command)
    with (
        Child.on(broken, from_source(FINE), QUICK) as c,
        pytest.raises(RuntimeError, match=r"could not be started \(plain child\): no such thing"),
    ):
        c.call("fine", [X], {})
