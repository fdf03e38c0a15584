"""Kill training at random moments and compare the results with those of the same training without interruptions.

``python kills.py FOLDER KILLS [SEED]`` kills a resumed run, a final test, ``train --seeds`` and ``ablate --jobs 2``,
each KILLS times, and prints how many results were identical.
"""

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np

import se_numpy
from se_numpy import checkpoint, tree
from se_numpy.train import run_dir

CELLS = ("se_resnet8", "resnet8", "se_resnet8-gate_tanh", "se_resnet8-gate_relu")
# The folders of the runs, the beginning of the line to wait for, and how many seconds later they are killed at most.
KINDS = {
    "resume": ([""], "resumed", 0.6),
    "final test": ([""], "  4/4", 0.8),
    "seeds": (["s0", "s1"], "seed ", 1.5),
    "ablate": ([f"runs/{name}-s0" for name in CELLS], "training ", 8.0),
}
TIMES = ("seconds", "images_per_second")


def start(kind, folder):
    """Start or resume the runs of this kind in a process."""
    env = {**os.environ, "PYTHONPATH": str(Path(se_numpy.__file__).parents[1])}
    command = [sys.executable, str(Path(__file__).with_name("training.py")), kind, str(folder)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=env)


def finish(kind, folder):
    """Train to the end."""
    process = start(kind, folder)
    output = process.communicate()[0]
    assert process.returncode == 0, output


def kill(process, line, seconds):
    """Send SIGKILL some time after a line; return whether the process was still running."""
    for printed in process.stdout:
        if printed.startswith(line):
            break
    time.sleep(seconds)
    process.send_signal(signal.SIGKILL)
    process.communicate()  # ends when the workers have ended, too
    assert process.returncode in (0, -signal.SIGKILL)
    return process.returncode != 0


def results(folder):
    """Return all arrays, the history and the result of a run, without times."""
    run = run_dir.finished(folder)
    arrays = {}
    for name in ("last.npz", "best.npz"):
        trees, _ = checkpoint.load(folder / name)
        arrays |= {f"{name}: {leaf}": array for leaf, array in tree.leaves(trees)}
    rows = [{k: v for k, v in row.items() if k not in TIMES} for row in (*run.history, run.result)]
    return arrays, rows


def assert_same(kind, folder, uninterrupted):
    """Check that all runs have equal results, bit for bit, and that nothing temporary is left."""
    for name in KINDS[kind][0]:
        (arrays, rows), (expected, expected_rows) = results(folder / name), results(uninterrupted / name)
        assert list(arrays) == list(expected)
        for leaf, array in arrays.items():
            np.testing.assert_array_equal(array, expected[leaf], err_msg=f"{folder / name}, {leaf}")
        assert rows == expected_rows
        assert (folder / name / "curves.png").exists()
    assert not list(folder.rglob("*.tmp"))


def kill_and_compare(kind, folder, kills, seed=0):
    """Kill the process this many times, in as many folders as that takes; return the number of these folders."""
    rng, done = random.Random(f"{kind} {seed}"), 0
    _, line, longest = KINDS[kind]
    finish(kind, folder / "whole")
    for number in range(10 * kills):
        here = folder / str(number)
        if kind == "resume":  # something to resume
            kill(start(kind, here), "run ", rng.uniform(0, 0.3))
        for _ in range(rng.randint(1, 3)):
            if done < kills:
                done += kill(start(kind, here), line, rng.uniform(0, longest))
        finish(kind, here)
        assert_same(kind, here, folder / "whole")
        if done == kills:
            return number + 1
    raise AssertionError(f"only {done} of {kills} kills were in time")


if __name__ == "__main__":
    parent, number, *rest = sys.argv[1:]
    for name in KINDS:
        folders = kill_and_compare(name, Path(parent) / name, int(number), *map(int, rest))
        print(f"{name}: {number} kills, {folders} of {folders} results identical", flush=True)
