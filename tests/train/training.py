"""Helpers for the tests of the trainer: a small data set that a network learns in a few steps, and runs on it.

``python training.py KIND FOLDER`` starts or resumes runs and saves them after every step, for the tests that kill them.
"""

import io
import sys

import numpy as np

from se_numpy import checkpoint, data, tree
from se_numpy.ablation import runner
from se_numpy.cli import main
from se_numpy.data import Dataset
from se_numpy.train import complete, configure, final_test, loop, train


def tiny(n_train=90, n_test=40):
    """Return a data set in which the class is the brightest channel, which a network learns in a few steps."""
    rng = np.random.default_rng(0)

    def draw(n):
        labels = np.arange(n) % 3
        images = rng.integers(0, 100, (n, 8, 9, 3), np.uint8)
        images[np.arange(n), :, :, labels] += 100
        return images, labels

    return Dataset(
        "builtin",
        ("red", "green", "blue"),
        *draw(n_train),
        *draw(n_test),
        False,
        "three colours",
        loaded_from="builtin",
    )


def settings(folder, **given):
    return configure(tiny(), **{"epochs": 2, "batch_size": 32, "lr": 0.1, "out": str(folder), **given})


def run(folder, **given):
    """Train a complete run; return it and its output."""
    out = io.StringIO()
    return train(tiny(), settings(folder, **given), out), out.getvalue()


def numbers(folder, name="last.npz"):
    """Return all arrays of a checkpoint (parameters, statistics, velocity) in one vector."""
    trees, _ = checkpoint.load(folder / name)
    return np.concatenate([leaf.ravel() for _, leaf in tree.leaves(trees)])


LONG = {"epochs": 4, "batch_size": 16, "augment": True}  # four epochs of six steps with different random numbers

if __name__ in ("__main__", "__mp_main__"):  # the second in the workers of ablate
    loop.SAVE_EVERY = 0
    data.load = runner.load = lambda source: tiny()
    if sys.argv[1] != "final test":
        final_test.curves = lambda *args, **more: None  # importing matplotlib takes longer than the training
if __name__ == "__main__":
    kind, folder = sys.argv[1:]
    few = ["--batch-size", "16", "--lr", "0.1", "--out", folder]
    if kind == "seeds":
        sys.exit(main(["train", "--seeds", "0,1", "--epochs", "4", *few]))
    elif kind == "ablate":
        sys.exit(main(["ablate", "--table", "gate", "--seeds", "0", "--epochs", "2", "--jobs", "2", *few]))
    complete(tiny(), settings(folder, **LONG))
