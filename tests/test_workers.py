"""Worker processes end with the process that started them, even if that is killed."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

import se_numpy

# The workers inherit the pipe to the test, which is closed once all of them have ended. They import this file first.
PARENT = """
import os, sys, time
from se_numpy import workers

if "without prctl" in sys.argv:
    workers.PR_SET_PDEATHSIG = 0
if "without a thread" in sys.argv:
    workers._end_after = lambda parent: None

def work(_):
    print(os.getpid(), flush=True)
    time.sleep(600)

if __name__ == "__main__":
    with workers.workers(2, start=None) as pool:
        list(pool.map(work, range(2)))
"""


@pytest.mark.parametrize(
    ("how", "number"),
    [
        ("as usual", signal.SIGTERM),
        ("without prctl", signal.SIGKILL),
        ("without a thread", signal.SIGKILL),
    ],
)
def test_workers_end_with_their_parent(tmp_path, how, number):
    """Each worker has ten minutes of work, so the test would time out if it did not end at once."""
    if how == "without a thread" and sys.platform != "linux":
        pytest.skip("only Linux has prctl")
    script = tmp_path / "parent.py"
    script.write_text(PARENT)
    env = {**os.environ, "PYTHONPATH": str(Path(se_numpy.__file__).parents[1])}
    parent = subprocess.Popen([sys.executable, str(script), how], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
                              text=True, env=env)  # fmt: skip
    started = [int(parent.stdout.readline()) for _ in range(2)]
    parent.send_signal(number)
    assert parent.communicate(timeout=60) == ("", None)
    for process in started:  # both have ended, or are zombies that the system has not removed yet
        stat = Path(f"/proc/{process}/stat")
        assert not stat.exists() or stat.read_text().rpartition(")")[2].split()[0] == "Z"
