"""The settings of a run, the defaults for each data set, and the choice of the device."""

import difflib
import json
import tomllib
from collections.abc import Iterable
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any, get_args

import numpy as np

from se_numpy import models, optim
from se_numpy.arg_types import user_path
from se_numpy.arrays import device_module
from se_numpy.data import OWN, Dataset, recorded_name
from se_numpy.data.augmentation import canonical
from se_numpy.data.dataset import check_dataset
from se_numpy.layers import Serial

MOST = 10**9  # the largest accepted value of any setting; anything larger must be a typing error


@dataclass(frozen=True)
class Config:
    """The settings of a run.  ``configure`` fills in the defaults for a data set."""

    model: str
    epochs: int
    lr: float
    augment: bool | str  # True: crop and flip; or some of crop, flip, cutout, resized-crop, with commas
    data: str = "builtin"  # or cifar10, cifar100, the path of a data set, or python:NAME for own arrays
    size: int | None = None  # height and width that images are resized to; None: as they are
    channels: int | None = None  # 1 (grey) or 3 (colour); None: as in the data
    reduction: int | None = None  # None: the default of the model
    bias: bool = False
    gate: str = "sigmoid"
    squeeze: str = "avg"
    stages: tuple | None = None  # None: all
    placement: str = "standard"
    divisor: int = 1  # the hidden units of SE blocks are rounded to its multiples
    subset: int | None = None  # the number of training images to use; None: all that are not held out
    batch_size: int = 128
    schedule: str = "one-cycle"
    momentum: float = 0.9
    weight_decay: float = 5e-4
    label_smoothing: float = 0.0
    seed: int = 0
    device: str = "auto"
    out: str | None = None

    def __post_init__(self) -> None:
        if isinstance(self.stages, list):
            object.__setattr__(self, "stages", tuple(self.stages))  # JSON and TOML have only lists
        for field in fields(self):
            _check_type(field.name, field.type, getattr(self, field.name))
        object.__setattr__(self, "augment", canonical(self.augment))
        for name in ("data", "out"):
            if (path := getattr(self, name) or "").startswith("~"):
                object.__setattr__(self, name, str(user_path(path)))
        for name, least in (("epochs", 1), ("batch_size", 1), ("seed", 0), ("subset", 1), ("divisor", 1),
                            ("size", 1)):  # fmt: skip
            if getattr(self, name) is not None and not least <= getattr(self, name) <= MOST:
                raise ValueError(f"{name} is {getattr(self, name)}; expected {least} to {MOST:,}")
        if self.channels not in (None, 1, 3):
            raise ValueError(f"channels is {self.channels}; expected 1 (grey) or 3 (colour)")
        for name in ("lr", "momentum", "weight_decay", "label_smoothing"):
            if not 0 <= getattr(self, name) <= MOST:  # False for NaN too
                raise ValueError(f"{name} is {getattr(self, name)}; expected 0 to {MOST:,}")
        if self.momentum >= 1:
            raise ValueError(f"momentum is {self.momentum}; expected less than 1")
        if self.label_smoothing > 1:
            raise ValueError(f"label_smoothing is {self.label_smoothing}; expected at most 1")
        if self.schedule not in optim.SCHEDULES:
            raise ValueError(f"schedule is {self.schedule!r}; expected one of {', '.join(optim.SCHEDULES)}")

    def network(self, classes: int) -> Serial:
        """Build the network for this number of classes.

        Raises
        ------
        ValueError
            As ``models.build`` does, for an unknown model or SE settings that do not apply to it.
        """
        gates = {field.name: getattr(self, field.name) for field in fields(models.SEConfig)}
        return models.build(self.model, classes=classes, **gates)


def difference(a: Config, b: Config) -> tuple[str, Any, Any] | None:
    """Return the name and the two values of the first setting that differs, or None if none does.

    ``out`` and ``device`` are not compared, nor are the names of data sets that were given in Python: earlier versions
    did not record them, and checkpoints hold a digest of the data.
    """
    ours, theirs = asdict(a), asdict(b)
    skipped = {"out", "device"} | ({"data"} if OWN in (a.data[: len(OWN)], b.data[: len(OWN)]) else set())
    names = [name for name in ours if name not in skipped and ours[name] != theirs[name]]
    return (names[0], ours[names[0]], theirs[names[0]]) if names else None


def check_names(names: Iterable[str], where: str = "") -> None:
    """Check that all names are settings of ``Config``; ``where`` begins the message.

    Raises
    ------
    ValueError
        If a name is not a setting; the message suggests the nearest one.
    """
    known = [field.name for field in fields(Config)]
    for name in names:
        if name not in known:
            near = difflib.get_close_matches(name, known, n=1)
            hint = f"did you mean {near[0]}?" if near else f"expected one of {', '.join(known)}"
            raise ValueError(f"{where}unknown setting {name!r}; {hint}")


def _check_type(name: str, kind: Any, value: object) -> None:
    """Raise ValueError unless the value, which may come from a file, has the declared type of the field."""
    right = isinstance(value, kind) or (kind is float and isinstance(value, int))
    if isinstance(value, bool):
        right = bool in (kind, *get_args(kind))
    if isinstance(value, tuple):
        right = right and all(type(item) is int for item in value)
    if not right:
        words = {int: "a whole number", float: "a number", bool: "true or false", str: "text", tuple: "whole numbers"}
        expected = next(word for one, word in words.items() if one in (kind, *get_args(kind)))
        raise ValueError(f"{name} is {value!r}; expected {expected}")


PHOTOGRAPHS = {"model": "se_resnet20", "epochs": 30, "lr": 0.4}
RECIPES: dict[str, dict[str, Any]] = {"builtin": {"model": "se_resnet8", "epochs": 6, "lr": 0.3}}
# smoke: checks that everything runs. quick: minutes on two cores. full: for photographs; needs a GPU or a whole night.
PRESETS: dict[str, dict[str, dict[str, Any]]] = {
    "smoke": {
        "builtin": {"epochs": 1, "subset": 512},
        "photographs": {"model": "se_resnet8", "epochs": 1, "subset": 2560},
    },
    "quick": {"builtin": {}, "photographs": {"model": "se_resnet8", "epochs": 6}},
    "full": {"builtin": {"model": "se_resnet14", "epochs": 12}, "photographs": {"epochs": 100}},
}


def configure(dataset: Dataset, *, preset: str | None = None, **given: Any) -> Config:
    """Return the configuration for this data set.

    ``given`` settings take precedence over those of the preset, and both over the defaults for the data set.

    Raises
    ------
    ValueError
        If the preset or a setting is unknown, or a setting is invalid.
    TypeError
        If ``dataset`` is not a Dataset.
    """
    check_dataset(dataset)
    check_names(given)
    if preset is not None and preset not in PRESETS:
        raise ValueError(f"preset is {preset!r}; expected one of {', '.join(PRESETS)}")
    kind = dataset.name if dataset.name in RECIPES else "photographs"
    chosen = PRESETS[preset][kind] if preset else {}
    recipe = {**RECIPES.get(kind, PHOTOGRAPHS), **chosen}
    recipe["lr"] = min(recipe["lr"], highest_lr(given.get("model", recipe["model"])))
    return Config(**{**recipe, "augment": dataset.augment, "data": recorded_name(dataset), **given})


def highest_lr(model: str) -> float:
    """Return the upper limit of the default learning rate for this network.

    At 0.4, the 512 features of a ResNeXt overwhelm its classifier at first; Xie et al. (CVPR 2017) use 0.1.
    """
    return 0.1 if "resnext" in model else float("inf")


def read_toml(path: str | Path) -> dict[str, Any]:
    """Read settings of ``Config`` from a TOML file as written by ``to_toml``; the file may omit any of them.

    Raises
    ------
    FileNotFoundError
        If the file does not exist.
    ValueError
        If the file is not valid TOML, contains an unknown setting, or gives a setting a value of the wrong type.
    """
    try:
        given = tomllib.loads(user_path(path).read_text(encoding="utf-8-sig"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, RecursionError) as error:
        raise ValueError(f"{path} is not valid TOML: {error}") from None
    check_names(given, f"{path}: ")
    for field in fields(Config):
        if field.name in given:
            value = given[field.name]
            _check_type(f"{path}: {field.name}", field.type, tuple(value) if isinstance(value, list) else value)
    return given


def to_toml(config: Config) -> str:
    """Return the configuration as TOML text; settings that are None are commented out."""
    rows = []
    for name, value in asdict(config).items():
        if value is None:
            rows.append(f"# {name} =")
        else:  # JSON values are valid TOML, except for one character
            rows.append(f"{name} = {json.dumps(value, ensure_ascii=False)}".replace("\x7f", "\\u007f"))
    return "\n".join(rows) + "\n"


def choose_device(wanted: str) -> tuple[str, str]:
    """Return "cpu" or "gpu", and the reason for the choice.  "auto" chooses a GPU if one works.

    Raises
    ------
    RuntimeError
        If ``wanted`` is "gpu" and no GPU works.
    """
    if wanted == "cpu":
        return "cpu", "as requested"
    try:
        xp = device_module("gpu")
        float((xp.ones((2, 2), np.float32) @ xp.ones((2, 2), np.float32)).sum())  # a GEMM and a kernel have to run
        return "gpu", "CuPy works"
    except Exception as error:
        if wanted == "gpu":
            raise RuntimeError(f"--device gpu: {error}") from None
        return "cpu", f"no GPU: {str(error).partition(';')[0]}"
