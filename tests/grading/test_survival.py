"""Tests that nothing survives the grader, however it ends, and that threads and processes are counted."""

import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import pytest
from children import PATIENT, QUICK, X, child

import se_numpy.grading.isolation.child as child_module
from se_numpy.grading.isolation import Limits, backends, scratch
from se_numpy.grading.isolation.process import running
from se_numpy.grading.isolation.scratch import Scratch

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="processes are found in /proc")


@pytest.fixture(params=["process", "landlock", "bwrap"])
def isolation(request):
    """Return each backend that works on this machine."""
    if problem := backends.problem_of(next(b for b in backends.BACKENDS if b.option == request.param)):
        pytest.skip(problem)
    return request.param


# A grader that reports its child's token and temporary folder, and then waits, in a call or between two calls.
GRADER = """
import os, signal, sys, time
signal.signal(signal.SIGHUP, signal.SIG_DFL)  # which nohup has set to be ignored
from children import FINE, X
from se_numpy.grading.isolation import Child, Limits, backends
from se_numpy.grading.submission import from_source
source = FINE + "def sleep(x):\\n    print('asleep', flush=True)\\n    time.sleep(1000)\\n"
backend = next(b for b in backends.BACKENDS if b.option == sys.argv[1])
c = Child.on(backend, from_source(source), Limits(seconds=1000))
assert c.call("fine", [X], {}).status == "ok"
copy = os.fork() if sys.argv[2] == "copied" else 0
if sys.argv[2] != "copied" or not copy:
    print(c.token, c._scratch.path if c._scratch else "-", c._process._popen.pid, os.getpid(), flush=True)
if sys.argv[2] == "calling":
    c.call("sleep", [X], {})
time.sleep(1000)
"""


@pytest.fixture
def grader(isolation, tmp_path):
    """Return a function that starts a grader and returns it with its child's token, folder and process ID."""
    started = []
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path)), "TMPDIR": str(tmp_path)}

    def start(doing: str):
        command = [sys.executable, "-c", GRADER, isolation, doing]
        process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment)
        started.append(process)
        token, folder, supervisor, copy = process.stdout.readline().split()
        started.append(int(copy))
        assert running(token)
        if doing == "calling":
            time.sleep(0.5)  # until the submission sleeps
        return process, token, Path(folder), int(supervisor)

    yield start
    for process in reversed(started):
        if isinstance(process, int):
            try:
                os.kill(process, signal.SIGKILL)
            except ProcessLookupError:
                continue
        else:
            process.kill()
            process.wait()
            process.stdout.close()


def gone(token: str, seconds: float = 10) -> bool:
    """Wait until no process has this token."""
    deadline = time.monotonic() + seconds
    while running(token) and time.monotonic() < deadline:
        time.sleep(0.01)
    return not running(token)


@pytest.mark.parametrize(("doing", "ending"), [
    ("calling", signal.SIGKILL), ("waiting", signal.SIGTERM), ("copied", signal.SIGHUP),
])  # fmt: skip
def test_nothing_survives_a_grader_that_is_killed(grader, doing, ending):
    process, token, folder, _ = grader(doing)
    process.send_signal(ending)
    process.wait()
    assert gone(token)
    if str(folder) != "-":
        assert folder.exists()
        scratch.remove_left_folders.cache_clear()
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(tempfile, "tempdir", str(folder.parents[1]))
            scratch.remove_left_folders()
        assert os.listdir(folder.parents[1]) == []


def test_the_submission_dies_with_its_supervisor(grader, isolation):
    process, token, _, supervisor = grader("calling")
    os.kill(supervisor, signal.SIGKILL)
    if isolation == "bwrap":  # the supervisor is inside, and this was bubblewrap's own process
        process.kill()
    assert gone(token)


def test_an_attack_on_the_supervisor_leaves_nothing_behind(isolation):
    source = "def attack(x, n):\n    os.kill(os.getppid(), n)\n    time.sleep(60)\n"
    for number in (signal.SIGKILL, signal.SIGSTOP):
        with child(source, isolation, QUICK) as c:
            assert c.call("fine", [X], {}).status == "ok"
            token = c.token
            assert c.call("attack", [X, int(number)], {}).status in ("crashed", "timeout", "error")
        assert gone(token)


ORPHAN = """
import subprocess
def attack(x):
    code = "import os, time; os.fork() and os._exit(0); os.setsid(); os.fork() and os._exit(0); time.sleep(1000)"
    subprocess.run([sys.executable, "-c", code, {mark!r}], env={{}})
    return x
"""


def processes_with(mark: str) -> list[int]:
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            if mark.encode() in path.read_bytes().split(b"\0"):
                found.append(int(path.parent.name))
        except OSError:
            continue
    return found


@pytest.mark.parametrize("ending", ["", "\n    os._exit(0)", "\n    while True: pass"])
def test_orphans_without_an_environment_are_killed(ending, tmp_path):
    """Only the supervisor finds them: their environment is empty, and their session and parent are others."""
    mark = f"se_numpy-orphan-{os.getpid()}-{len(ending)}"
    source = ORPHAN.format(mark=mark).replace("\n    return x", (ending or "\n    return x"))
    limits = QUICK if "while" in ending else PATIENT
    with child(source, "process", limits) as c:
        reply = c.call("attack", [X], {})
        assert reply.status == {"": "ok", "\n    os._exit(0)": "crashed"}.get(ending, "timeout")
        while not ending and len(processes_with(mark)) != 1:
            time.sleep(0.01)  # until the process that is left has its final ID
    assert processes_with(mark) == []


# Threads and processes.


POOL = """
from concurrent.futures import ThreadPoolExecutor
def attack(x):
    together = threading.Barrier(24)
    with ThreadPoolExecutor(24) as pool:
        return sum(pool.map(lambda i: (together.wait(), x * i)[1], range(24)))
"""
BOMB = """
def attack(x):
    started = 0
    try:
        while True:
            threading.Thread(target=time.sleep, args=(60,), daemon=True).start()
            started += 1
    except RuntimeError:
        return started
"""
SMALL = """
def attack(x):
    libc = ctypes.CDLL(None)
    attributes = ctypes.create_string_buffer(64)
    libc.pthread_attr_init(attributes)
    libc.pthread_attr_setstacksize(attributes, 16384)
    started = 0
    while started < 1000 and not libc.pthread_create(ctypes.create_string_buffer(8), attributes, libc.sleep, 60):
        started += 1
    return started
"""


def test_a_pool_of_threads_works(isolation):
    with child(POOL, isolation) as c:
        reply = c.call("attack", [X], {})
        assert reply.status == "ok", reply.message
        np.testing.assert_array_equal(reply.outputs[0], X * 276)


@pytest.mark.parametrize("source", [BOMB, SMALL], ids=["with usual stacks", "with small stacks"])
def test_threads_are_limited(source, isolation):
    with child(source, isolation, Limits(processes=20)) as c:
        reply = c.call("attack", [X], {})
        assert reply.status == "ok", reply.message
        assert reply.outputs[0] == 19


FORKS = """
def attack(x):
    started = 0
    try:
        while started < 100:
            if os.fork() == 0:
                time.sleep(60)
                os._exit(0)
            started += 1
    except BlockingIOError:
        return started
"""


def test_threads_work_where_they_cannot_be_counted(isolation, monkeypatch):
    """The kernel is too old, or a container uses such a filter itself."""
    monkeypatch.setattr(child_module.seccomp, "asking", lambda _: None)
    with child(POOL.replace("24", "2"), isolation, Limits(processes=10_000)) as c:
        assert c.call("attack", [X], {}).status == "ok"


def test_processes_are_limited():
    with child(FORKS, "process", Limits(processes=10)) as c:
        reply = c.call("attack", [X], {})
        assert (reply.status, reply.outputs[0]) == ("ok", 9), reply.message


def test_a_fork_bomb_ends_with_the_call():
    source = "def attack(x):\n    while True:\n        try: os.fork()\n        except OSError: pass\n"
    with child(source, "process", QUICK) as c:
        assert c.call("fine", [X], {}).status == "ok"
        token = c.token
        assert c.call("attack", [X], {}).status in ("timeout", "refused")
        assert gone(token)


# Temporary folders.


@pytest.fixture
def temporary(tmp_path, monkeypatch):
    """Make ``tmp_path`` the system's folder for temporary files, and forget that left folders were removed."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    scratch.remove_left_folders.cache_clear()
    yield tmp_path
    scratch.remove_left_folders.cache_clear()


def test_folders_of_living_graders_stay(temporary):
    with Scratch() as mine:
        Path(mine, "work").write_text("42")
        scratch.remove_left_folders.cache_clear()
        scratch.remove_left_folders()
        assert Path(mine, "work").read_text() == "42"
    assert os.listdir(temporary) == []


def test_only_folders_of_this_library_and_user_are_removed(temporary):
    keep = temporary / "keep"
    keep.mkdir()
    (keep / "file").write_text("42")
    left = Scratch()
    hidden = Path(left.path, "sub")
    hidden.mkdir()
    (hidden / "link").symlink_to(keep)
    (hidden / "file").write_text("1")
    hidden.chmod(0)
    left.release()  # as if its grader had been killed
    (temporary / "se_numpy-link").symlink_to(keep)
    (temporary / "se_numpy-file").write_text("1")
    (temporary / "se_numpy-new").mkdir()  # without a lock: its grader may just be creating it
    (temporary / "se_numpy-old").mkdir()
    os.utime(temporary / "se_numpy-old", (0, 0))
    scratch.remove_left_folders.cache_clear()
    scratch.remove_left_folders()
    assert sorted(os.listdir(temporary)) == ["keep", "se_numpy-file", "se_numpy-link", "se_numpy-new"]
    assert (keep / "file").read_text() == "42"
