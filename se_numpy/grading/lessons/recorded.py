"""Training runs that take minutes, recorded for the tutorials in ``recorded.json``."""

import json
from importlib.resources import files
from typing import NamedTuple

import numpy as np


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
