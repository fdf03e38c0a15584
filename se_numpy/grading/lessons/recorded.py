"""Results that take minutes, recorded for the tutorials: whole training runs, and what is slow in a browser.

The accuracies of runs are in ``recorded.json``, the results of a tutorial in ``recorded_NN.npz``, both written by
tutorials/networks/make.py.
"""

import json
import sys
from collections.abc import Callable
from importlib.resources import files
from typing import NamedTuple

import numpy as np

IN_BROWSER = sys.platform == "emscripten"
NOTE = """\
These results were recorded: in a browser, where NumPy has no BLAS, this cell would take several minutes.
A change to the cell has no effect on them."""


class Run(NamedTuple):
    """A training run; accuracies are shares between 0 and 1."""

    model: str
    seed: int
    training: np.ndarray  # (epochs,) accuracy on the training images
    validation: np.ndarray  # (epochs,) accuracy on held-out training images
    test: float


def recorded_runs(name: str) -> list[Run]:
    """Return the recorded runs with this name.

    Raises
    ------
    ValueError
        If there are none.
    """
    everything = json.loads((files(__package__) / "recorded.json").read_text(encoding="utf-8"))
    if name not in everything:
        raise ValueError(f"no recorded runs named {name!r}; expected one of {', '.join(everything)}")
    return [
        Run(run["model"], run["seed"], np.array(run["training"]), np.array(run["validation"]), run["test"])
        for run in everything[name]["runs"]
    ]


def computed(tutorial: int, compute: Callable[[], dict[str, np.ndarray]]) -> dict[str, np.ndarray]:
    """Return the arrays of compute(); in a browser, return the recorded ones and say so.

    NumPy has no BLAS there, so a training step takes many times as long.

    Raises
    ------
    FileNotFoundError
        If nothing was recorded for this tutorial, in a browser.
    """
    if not IN_BROWSER:
        return compute()
    with (files(__package__) / f"recorded_{tutorial}.npz").open("rb") as file, np.load(file) as arrays:
        found = dict(arrays)
    print(NOTE)
    return found
