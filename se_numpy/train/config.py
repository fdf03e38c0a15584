"""The settings of a run, the defaults for each data set, and the choice of the device."""

import difflib
import json
import tomllib
from collections.abc import Iterable
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Any, get_args

import numpy as np

from se_numpy import models, optim
from se_numpy.arg_types import user_path
from se_numpy.arrays import device_module, occurrences
from se_numpy.data import OWN, Dataset, recorded_name
from se_numpy.data.augmentation import canonical
from se_numpy.data.dataset import check_dataset
from se_numpy.layers import Layer, describe, from_description
from se_numpy.train.tasks import TASKS

OPTIMISERS = ("sgd", "adamw")
OWN_NETWORK = "own"  # in place of the name of a model
MOST = 10**9  # the largest accepted value of any setting; anything larger must be a typing error


@dataclass(frozen=True)
class Config:
    """The settings of a run.  ``configure`` fills in the defaults for a data set."""

    model: str
    epochs: int
    lr: float
    augment: bool | str  # True: crop and flip; or some of crop, flip, cutout, resized-crop, with commas
    data: str = "builtin"  # or scenes, cifar10, cifar100, the path of a data set, or python:NAME for own arrays
    task: str = "classify"  # or detect
    size: int | None = None  # height and width that images are resized to; None: as they are
    channels: int | None = None  # 1 (grey) or 3 (colour); None: as in the data
    layers: str | None = None  # the description of an own network, as JSON; model is then OWN_NETWORK
    reduction: int | None = None  # None: the default of the model
    bias: bool = False
    gate: str = "sigmoid"
    squeeze: str = "avg"
    stages: tuple | None = None  # None: all
    placement: str = "standard"
    divisor: int = 1  # the hidden units of SE blocks are rounded to its multiples
    subset: int | None = None  # the number of training images to use; None: all that are not held out
    batch_size: int = 128
    init: str | None = None  # a run or a weights file to start from
    lr_scale: float = 1.0  # the factor of the learning rate for what init gave
    freeze: tuple | None = None  # stages that are not trained; 0 is what comes before stage 1
    schedule: str = "one-cycle"
    optimiser: str = "sgd"
    momentum: float = 0.9  # β₁ of AdamW
    weight_decay: float = 5e-4
    label_smoothing: float = 0.0
    class_weights: str | None = None  # "balanced", or a number for each class, separated by commas
    clip_norm: float | None = None  # the largest norm of the gradient
    ema: float | None = None  # the decay of the averages of the weights; the averaged network is evaluated
    continued: int = 0  # epochs of the finished run that this run continues; the schedule is for the others
    patience: int | None = None  # epochs without a better held-out accuracy after which the run ends
    seed: int = 0
    device: str = "auto"
    out: str | None = None

    def __post_init__(self) -> None:
        for name in ("stages", "freeze"):
            if isinstance(getattr(self, name), list):
                object.__setattr__(self, name, tuple(getattr(self, name)))  # JSON and TOML have only lists
        for field in fields(self):
            _check_type(field.name, field.type, getattr(self, field.name))
        object.__setattr__(self, "augment", canonical(self.augment))
        for name in ("data", "init", "out"):
            if (path := getattr(self, name) or "").startswith("~"):
                object.__setattr__(self, name, str(user_path(path)))
        for name, least in (("epochs", 1), ("batch_size", 1), ("seed", 0), ("subset", 1), ("divisor", 1),
                            ("size", 1), ("patience", 1)):  # fmt: skip
            if getattr(self, name) is not None and not least <= getattr(self, name) <= MOST:
                raise ValueError(f"{name} is {getattr(self, name)}; expected {least} to {MOST:,}")
        if self.channels not in (None, 1, 3):
            raise ValueError(f"channels is {self.channels}; expected 1 (grey) or 3 (colour)")
        for name in ("lr", "lr_scale", "momentum", "weight_decay", "label_smoothing"):
            if not 0 <= getattr(self, name) <= MOST:  # False for NaN too
                raise ValueError(f"{name} is {getattr(self, name)}; expected 0 to {MOST:,}")
        if self.lr_scale != 1 and self.init is None:
            raise ValueError(
                f"lr_scale is {self.lr_scale}, but init names no weights to load; expected both, or neither"
            )
        if not 0 <= self.continued < self.epochs:
            raise ValueError(f"continued is {self.continued}; expected at least 0 and less than epochs, {self.epochs}")
        if self.momentum >= 1:
            raise ValueError(f"momentum is {self.momentum}; expected less than 1")
        if self.label_smoothing > 1:
            raise ValueError(f"label_smoothing is {self.label_smoothing}; expected at most 1")
        for name, known in (("task", TASKS), ("schedule", optim.SCHEDULES), ("optimiser", OPTIMISERS)):
            if getattr(self, name) not in known:
                raise ValueError(f"{name} is {getattr(self, name)!r}; expected one of {', '.join(known)}")
        if self.clip_norm is not None and not 0 < self.clip_norm <= MOST:
            raise ValueError(f"clip_norm is {self.clip_norm}; expected a number above 0, at most {MOST:,}")
        if self.ema is not None and not 0 < self.ema < 1:
            raise ValueError(f"ema is {self.ema}; expected a decay above 0 and less than 1, such as 0.999")

    def weights_of_classes(self, labels: np.ndarray, classes: int) -> np.ndarray | None:
        """Return the weight of each class, or None without weights.

        Balanced weights are n / (classes · n_c), where n_c of the n training images are of class c; their mean is 1.

        Raises
        ------
        ValueError
            If the weights are not numbers above 0, one for each class.
        """
        if self.class_weights is None:
            return None
        if self.class_weights == "balanced":
            counts = occurrences(labels, classes)
            return (len(labels) / (np.count_nonzero(counts) * np.maximum(counts, 1))).astype(np.float32)
        try:
            weights = np.array([float(word) for word in self.class_weights.split(",")], np.float32)
        except ValueError:
            weights = np.zeros(0, np.float32)
        if weights.shape != (classes,) or not ((weights > 0) & (weights <= MOST)).all():
            raise ValueError(
                f"class_weights is {self.class_weights!r}; expected balanced, or {classes} numbers above 0, one for "
                "each class, separated by commas"
            )
        return weights

    def optimiser_value(self) -> optim.SGD | optim.AdamW:
        """Return the optimiser with its settings."""
        if self.optimiser == "adamw":
            return optim.AdamW(beta1=self.momentum, weight_decay=self.weight_decay)
        return optim.SGD(self.momentum, self.weight_decay)

    def network(self, classes: int) -> Layer:
        """Build the network for this number of classes.

        Raises
        ------
        ValueError
            As ``models.build`` does, for an unknown model or SE settings that do not apply to it, or as
            ``from_description`` does for an own network.
        """
        if self.layers is not None:
            try:
                net: Layer = from_description(json.loads(self.layers))
            except (json.JSONDecodeError, RecursionError) as error:
                raise ValueError(f"layers is not the description of a network: {error}") from None
        else:
            gates = {field.name: getattr(self, field.name) for field in fields(models.SEConfig)}
            net = models.build(self.model, classes=classes, **gates)
        return TASKS[self.task].network(net, classes)


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
    right = isinstance(value, kind) or (float in (kind, *get_args(kind)) and isinstance(value, int))
    if isinstance(value, bool):
        right = bool in (kind, *get_args(kind))
    if isinstance(value, tuple):
        right = right and all(type(item) is int for item in value)
    if not right:
        words = {int: "a whole number", float: "a number", bool: "true or false", str: "text", tuple: "whole numbers"}
        expected = next(word for one, word in words.items() if one in (kind, *get_args(kind)))
        raise ValueError(f"{name} is {value!r}; expected {expected}")


ADAMW = {"lr": 0.003, "weight_decay": 0.05}
DETECTION = {"model": "se_resnet8", "epochs": 8, "batch_size": 32, "optimiser": "adamw", **ADAMW, "lr": 0.004}
SGD_TO_DETECT = {"lr": 0.05, "weight_decay": 5e-4}
PHOTOGRAPHS = {"model": "se_resnet20", "epochs": 30, "lr": 0.4}
RECIPES: dict[str, dict[str, Any]] = {
    "builtin": {"model": "se_resnet8", "epochs": 6, "lr": 0.3},
    "scenes": {"model": "se_resnet8", "epochs": 8, "lr": 0.1, "batch_size": 32},
}
# smoke: checks that everything runs. quick: minutes on two cores. full: for photographs; needs a GPU or a whole night.
PRESETS: dict[str, dict[str, dict[str, Any]]] = {
    "smoke": {
        "builtin": {"epochs": 1, "subset": 512},
        "scenes": {"epochs": 1, "subset": 256},
        "photographs": {"model": "se_resnet8", "epochs": 1, "subset": 2560},
    },
    "quick": {"builtin": {}, "scenes": {}, "photographs": {"model": "se_resnet8", "epochs": 6}},
    "full": {
        "builtin": {"model": "se_resnet14", "epochs": 12},
        "scenes": {"model": "se_resnet14", "epochs": 20},
        "photographs": {"epochs": 100},
    },
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
    detects = given.get("task") == "detect"
    recipe = {**RECIPES.get(kind, PHOTOGRAPHS), **(DETECTION if detects else {}), **chosen}
    recipe["lr"] = min(recipe["lr"], highest_lr(given.get("model", recipe["model"])))
    if given.get("optimiser") == "adamw":
        recipe |= ADAMW
    if detects and given.get("optimiser") == "sgd":
        recipe |= SGD_TO_DETECT
    augment = dataset.augment or detects  # boxes move with the image
    return Config(**{**recipe, "augment": augment, "data": recorded_name(dataset), **given})


def with_network(config: Config, net: Layer) -> Config:
    """Return the settings with this network in place of a model by name.

    Raises
    ------
    TypeError
        If it is not a layer, or cannot be described.
    """
    if not isinstance(net, Layer):
        raise TypeError(f"net is {net!r}; expected a network, as from serial(...)")
    gates: dict[str, Any] = {
        field.name: field.default for field in fields(Config) if field.name in models.SEConfig.__dataclass_fields__
    }
    return replace(config, model=OWN_NETWORK, layers=json.dumps(describe(net)), **gates)


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
