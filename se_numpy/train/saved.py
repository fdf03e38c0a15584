"""Check what the files of a run contain: they may have been edited, cut short, or written by another program.

Every function raises ValueError with the reason; its caller names the file.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import MISSING, fields
from typing import Any

import numpy as np

from se_numpy import layers, tree
from se_numpy.data.batches import Normalisation
from se_numpy.train.config import Config, check_names
from se_numpy.train.tasks import TASKS

DESCRIPTION = ("format", "se_numpy", "config", "position", "engine", "history", "classes", "data", "image_shape",
               "mean", "std")  # fmt: skip
TREES = ("params", "state", "velocity", "sums", "square", "average_params", "average_state", "counts")
SHARES = ("accuracy", "ap50", "ap")  # the last words of names whose values are at most 1
WHOLE = ("epoch", "step", "test_images")


def settings(found: Any) -> Config:
    """Return the settings that a file contains."""
    table = _table("the settings", found)
    check_names(table)
    check_keys("the settings", table, [field.name for field in fields(Config) if field.default is MISSING])
    return Config(**table)


def check_result(found: Any, needed: Sequence[str]) -> dict[str, float]:
    """Return the content of result.json after checking it."""
    table = _table("the result", found)
    _check_numbers("the result", table, needed)
    return table


def check_history(found: Any, needed: Sequence[str]) -> list[dict[str, float]]:
    """Return a history after checking it: a row of numbers for each epoch, in order."""
    if not isinstance(found, list):
        raise ValueError(f"the history is {_shown(found)}; expected a list with a row for each epoch")
    for number, row in enumerate(found, 1):
        name = f"row {number} of the history"
        _check_numbers(name, _table(name, row), needed)
        if row["epoch"] != number:
            raise ValueError(f"{name} is for epoch {_shown(row['epoch'])}; expected epoch {number}")
        if set(row) != set(found[0]):
            raise ValueError(f"{name} has other columns than row 1")
    return found


def check_description(meta: Mapping[str, Any], trees: Mapping[str, tree.Tree], config: Config, per_epoch: int) -> None:
    """Check the description and the sums of a checkpoint to resume from; ``per_epoch`` is the number of steps."""
    further = () if config.init is None else ("loaded",)
    known = (*DESCRIPTION, *further)
    check_keys("its description", meta, [name for name in known if name != "engine"], known)
    loaded = meta.get("loaded", [])
    if not (isinstance(loaded, list) and all(isinstance(name, str) for name in loaded)):
        raise ValueError(f"loaded is {_shown(loaded)}; expected a list of names")
    check_keys("the checkpoint", trees, ("params", "velocity", "sums"), TREES)
    if meta.get("engine", "on") not in ("on", "off"):
        raise ValueError(f"engine is {_shown(meta['engine'])}; expected on or off")
    at = _table("its position", meta["position"])
    check_keys("its position", at, ("epoch", "step", "seconds"), ("epoch", "step", "seconds"))
    _check_numbers("its position", at, ("epoch", "step", "seconds"))
    if at["epoch"] > config.epochs or at["step"] > (per_epoch if at["epoch"] < config.epochs else 0):
        raise ValueError(
            f"its position is epoch {at['epoch']}, step {at['step']}; expected at most {config.epochs} epochs of "
            f"{per_epoch} steps"
        )
    task = TASKS[config.task]
    needed = (*task.columns(), *(task.without_ema() if config.ema is not None else ()))
    history = check_history(meta["history"], needed)
    for row in history[:1]:
        check_keys("row 1 of the history", row, needed, needed)
    if len(history) != at["epoch"]:
        raise ValueError(f"its history has {len(history)} rows; expected {at['epoch']}, one for each epoch")
    _check_sums(trees["sums"])


def check_network(meta: Mapping[str, Any], trees: Mapping[str, tree.Tree]) -> tuple[Config, layers.Layer]:
    """Return the settings and the network that a checkpoint describes, after checking its arrays against them."""
    check_keys("its description", meta, ("config", "classes", "image_shape", "mean", "std"))
    check_keys("the checkpoint", trees, ("params",))
    config, classes, shape = settings(meta["config"]), meta["classes"], meta["image_shape"]
    if not (isinstance(classes, list) and classes and all(isinstance(name, str) for name in classes)):
        raise ValueError(f"classes is {_shown(classes)}; expected a list of names")
    if not (isinstance(shape, list) and len(shape) == 3 and all(type(n) is int and n > 0 for n in shape)):
        raise ValueError(f"image_shape is {_shown(shape)}; expected [height, width, channels]")
    for name in ("mean", "std"):
        if not (isinstance(meta[name], list) and len(meta[name]) == shape[2] and all(map(_is_number, meta[name]))):
            raise ValueError(f"{name} is {_shown(meta[name])}; expected a number for each of {shape[2]} channels")
    if min(meta["std"]) <= 0:
        raise ValueError(f"std is {_shown(meta['std'])}; expected numbers above 0")
    net = config.network(len(classes))
    expected = {"params": net.parameters(tuple(shape)), "state": net.statistics(tuple(shape))}
    check_trees({kind: trees.get(kind, {}) for kind in expected}, expected, config.model)
    if config.ema is not None:
        averages = {f"average_{kind}": like for kind, like in expected.items()}
        check_trees({kind: trees.get(kind, {}) for kind in averages}, averages, config.model)
    return config, net


def check_trees(
    found: Mapping[str, tree.Tree], expected: Mapping[str, tree.Tree], model: str, *, finite: bool = False
) -> None:
    """Check names, shapes and dtypes of the arrays of a network and its optimiser and, with ``finite``, for NaN."""
    wrong = [f"{kind}: {words}" for kind, like in expected.items() for words in tree.differences(found[kind], like)]
    wrong += [
        f"{kind}: {name} is {leaf.dtype}; expected floating-point numbers"
        for kind in expected for name, leaf in tree.leaves(found[kind]) if leaf.dtype.kind != "f"
    ]  # fmt: skip
    if not wrong and finite:
        wrong = [f"{kind}: {name} is not finite" for kind in expected for name, leaf in tree.leaves(found[kind])
                 if not np.isfinite(leaf).all()]  # fmt: skip
    if wrong:
        more = f" and {len(wrong) - 3} more" if len(wrong) > 3 else ""
        raise ValueError(f"it does not fit the network {model}: {'; '.join(wrong[:3])}{more}")


def normalisation(meta: Mapping[str, Any]) -> Normalisation:
    """Return the normalisation that a checkpoint describes."""
    return Normalisation(np.array(meta["mean"]), np.array(meta["std"]))


def check_keys(what: str, found: Mapping[str, Any], needed: Iterable[str], known: Iterable[str] | None = None) -> None:
    """Check that all ``needed`` keys are present and, if ``known`` is given, that there are no others."""
    if missing := [name for name in needed if name not in found]:
        raise ValueError(f"{what} lacks {', '.join(missing)}")
    if known is not None and (extra := [str(name) for name in found if name not in set(known)]):
        raise ValueError(f"{what} has {', '.join(extra[:3])}, which se-numpy train does not write")


def _check_numbers(what: str, table: Mapping[str, Any], needed: Sequence[str]) -> None:
    check_keys(what, table, needed)
    for name, value in table.items():
        most = 1 if name.rpartition("_")[2] in SHARES else math.inf
        if not _is_number(value) or not (name == "lr" or 0 <= value <= most) or (name in WHOLE and value % 1):
            kind = "a whole number" if name in WHOLE else "a number"
            limits = "" if name == "lr" else ", 0 or more" if most == math.inf else f", 0 to {most}"
            raise ValueError(f"{name} in {what} is {_shown(value)}; expected {kind}{limits}")


def _check_sums(sums: tree.Tree) -> None:
    """Check the sums over the steps of the current epoch: two single numbers."""
    check_keys("the sums of the epoch", sums, ("loss", "right"), ("loss", "right"))
    for name, value in sums.items():
        if not isinstance(value, np.ndarray) or value.ndim or value.dtype.kind not in "fiu" or not np.isfinite(value):
            raise ValueError(f"the sum {name} of the epoch is {_shown(value)}; expected one number")


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < 1e300


def _table(what: str, found: Any) -> dict[str, Any]:
    if not isinstance(found, dict):
        raise ValueError(f"{what} should be a table of names and values; got {_shown(found)}")
    return found


def _shown(value: Any) -> str:
    """Return a value as text on one line, shortened."""
    text = " ".join(repr(value).split())
    return text if len(text) <= 60 else text[:57] + "..."
