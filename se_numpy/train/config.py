"""What decides a run: its settings, the recipe that suits the data, the device, the folder it writes to."""

import math
import time
from contextlib import suppress
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np

from se_numpy import models, optim
from se_numpy.backend import device_module
from se_numpy.data import Dataset
from se_numpy.layers import Serial


@dataclass(frozen=True)
class Config:
    """Everything that decides a run's numbers, and where it goes.  ``configure`` fills in what suits the data."""

    model: str
    epochs: int
    lr: float
    augment: bool
    data: str = "builtin"  # or the folder with CIFAR
    reduction: int | None = None  # None: the model's own default
    bias: bool = False
    gate: str = "sigmoid"
    squeeze: str = "avg"
    stages: tuple[int, ...] | None = None  # None: all
    placement: str = "standard"
    subset: int | None = None  # so many of the training images; None: all that are not held out
    batch_size: int = 128
    schedule: str = "one-cycle"
    momentum: float = 0.9
    weight_decay: float = 5e-4
    label_smoothing: float = 0.0
    seed: int = 0
    device: str = "auto"
    out: str | None = None

    def __post_init__(self) -> None:
        if self.stages is not None:
            object.__setattr__(self, "stages", tuple(self.stages))  # JSON and TOML give a list
        for name, least in (("epochs", 1), ("batch_size", 1), ("seed", 0), ("subset", 1)):
            if getattr(self, name) is not None and getattr(self, name) < least:
                raise ValueError(f"{name} is {getattr(self, name)}; expected {least} or more")
        for name in ("lr", "momentum", "weight_decay", "label_smoothing"):
            if not (math.isfinite(getattr(self, name)) and getattr(self, name) >= 0):
                raise ValueError(f"{name} is {getattr(self, name)}; expected a number that is not negative")
        if self.momentum >= 1:
            raise ValueError(f"momentum is {self.momentum}; expected less than 1")
        if self.label_smoothing > 1:
            raise ValueError(f"label_smoothing is {self.label_smoothing}; expected 1 at most")
        if self.schedule not in optim.SCHEDULES:
            raise ValueError(f"schedule is {self.schedule!r}; expected one of {', '.join(optim.SCHEDULES)}")

    def network(self, classes: int) -> Serial:
        """The network for so many classes.  Raises ValueError as ``models.build``."""
        gates = {field.name: getattr(self, field.name) for field in fields(models.Gates)}
        return models.build(self.model, classes=classes, **gates)


PHOTOGRAPHS = {"model": "se_resnet20", "epochs": 30, "lr": 0.4}
RECIPES: dict[str, dict[str, Any]] = {"builtin": {"model": "se_resnet8", "epochs": 6, "lr": 0.3}}


def configure(dataset: Dataset, **given: Any) -> Config:
    """The configuration for this data set: what is given, and for the rest what suits it.

    Raises ValueError naming the setting, what was given and what was expected.
    """
    return Config(**{**RECIPES.get(dataset.name, PHOTOGRAPHS), "augment": dataset.augment, **given})


def choose_device(wanted: str) -> tuple[str, str]:
    """("cpu" or "gpu", why).  "auto" takes a GPU where one works; "gpu" raises RuntimeError where none does."""
    if wanted == "cpu":
        return "cpu", "asked for"
    try:
        xp = device_module("gpu")
        float((xp.ones((2, 2), np.float32) @ xp.ones((2, 2), np.float32)).sum())  # one product and one kernel must run
        return "gpu", "CuPy works"
    except Exception as error:
        if wanted == "gpu":
            raise RuntimeError(f"--device gpu: {error}") from None
        return "cpu", f"no GPU: {str(error).partition(';')[0]}"


def run_folder(config: Config) -> Path:
    """The empty folder the run writes to; ValueError where something lies in it already."""
    if config.out is None:
        stem = f"{time.strftime('%Y%m%d-%H%M%S')}-{config.model}-s{config.seed}"
        for name in (stem, *(f"{stem}-{i}" for i in range(2, 1000))):
            with suppress(FileExistsError):  # a run that started in the same second
                (Path("runs") / name).mkdir(parents=True)
                return Path("runs") / name
    folder = Path(config.out or "")
    if not config.out or (folder.exists() and (not folder.is_dir() or any(folder.iterdir()))):
        raise ValueError(f"--out {config.out!r} is not an empty folder; nothing is overwritten: name another one")
    folder.mkdir(parents=True, exist_ok=True)
    return folder
