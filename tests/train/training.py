"""Helpers for the tests of the trainer: a small data set that a network learns in a few steps, and runs on it.

``python training.py FOLDER`` starts or resumes a run and saves it after every step, for the test that kills it.
"""

import io
import sys

import numpy as np

from se_numpy import checkpoint, tree
from se_numpy.data import Dataset
from se_numpy.train import complete, configure, loop, train


def tiny(n_train=90, n_test=40):
    """Return a data set in which the class is the brightest channel, which a network learns in a few steps."""
    rng = np.random.default_rng(0)

    def draw(n):
        labels = np.arange(n) % 3
        images = rng.integers(0, 100, (n, 8, 9, 3), np.uint8)
        images[np.arange(n), :, :, labels] += 100
        return images, labels

    return Dataset("builtin", ("red", "green", "blue"), *draw(n_train), *draw(n_test), False, "three colours")


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

if __name__ == "__main__":
    loop.SAVE_EVERY = 0
    complete(tiny(), settings(sys.argv[1], **LONG))
