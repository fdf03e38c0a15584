"""Read runs back from their folders: settings, training history and result, and the settings in which runs differ."""

import csv
from collections.abc import Sequence
from dataclasses import MISSING, fields
from pathlib import Path
from typing import Any, NamedTuple

from se_numpy.train import Config
from se_numpy.train.run_dir import existing, read_json

# Runs that differ only in these settings repeat the same experiment.
REPEATED = ("seed", "out", "device")
NEEDED = ("epoch", "train_loss", "train_accuracy", "val_loss", "val_accuracy")


class RunRecord(NamedTuple):
    """The contents of a run's folder: config.json, metrics.csv, result.json, and env.json with one entry per start."""

    folder: Path
    config: dict[str, Any]
    history: list[dict[str, float]]
    result: dict[str, float]
    starts: list[dict[str, Any]]

    @property
    def chosen(self) -> dict[str, float]:
        """The row of the epoch saved in best.npz: the last of those with the best held-out accuracy."""
        return max(self.history, key=lambda row: (row["val_accuracy"], row["epoch"]))


def read_run(folder: str | Path) -> RunRecord:
    """Read the run in this folder.

    Raises
    ------
    ValueError
        If the folder is not that of a run, or if one of its files is missing or damaged.
    """
    path = Path(folder)
    if not path.is_dir():
        existing(path)  # raises if the path does not exist
        raise ValueError(f"{folder} is not a folder; expected the folder of a run, such as runs/NAME")
    starts = _json(path / "env.json", list) or []
    if not all(isinstance(start, dict) for start in starts):
        raise ValueError(f"{path / 'env.json'} was not written by se-numpy train; expected a list of objects")
    config = _json(path / "config.json", dict)
    if config is None:
        if find_runs(path) != [path]:
            existing(path)  # raises, and lists the runs in the folder
        raise ValueError(f"folder {folder} holds no config.json; expected the folder of a run of se-numpy train")
    return RunRecord(path, config, _history(path / "metrics.csv"), _json(path / "result.json", dict) or {}, starts)


def find_runs(folder: str | Path) -> list[Path]:
    """Return the folder itself if it is a run's, or else the run folders in it, such as those of ``train --seeds``."""
    path = Path(folder)
    if (path / "config.json").is_file() or not path.is_dir():
        return [path]
    return sorted(inner.parent for inner in path.glob("*/config.json")) or [path]


def group_runs(runs: Sequence[RunRecord]) -> dict[str, list[RunRecord]]:
    """Group runs by the settings that differ, which form the label; runs that differ only in the seed share a group."""
    defaults = {f.name: f.default for f in fields(Config) if f.default is not MISSING}
    settings = [{**defaults, **run.config} for run in runs]  # older runs lack newer settings
    names = [name for name in dict.fromkeys(name for s in settings for name in s) if name not in REPEATED]
    differing = [name for name in names if len({_text(s.get(name)) for s in settings}) > 1]
    groups: dict[str, list[RunRecord]] = {}
    for run, s in zip(runs, settings, strict=True):
        words = [_text(s.get(name)) if name == "model" else f"{name.replace('_', ' ')} {_text(s.get(name))}"
                 for name in differing]  # fmt: skip
        groups.setdefault(", ".join(words) or _text(s.get("model")), []).append(run)
    return groups


def common_setting(runs: Sequence[RunRecord], name: str) -> Any:
    """Return the value that all runs have for this setting; None if they differ."""
    values = [run.config.get(name) for run in runs]
    return values[0] if all(value == values[0] for value in values) else None


def _text(value: Any) -> str:
    if isinstance(value, bool) or value is None:
        return {True: "yes", False: "no", None: "default"}[value]
    if isinstance(value, (list, tuple)):
        return ", ".join(map(_text, value))
    return f"{value:g}" if isinstance(value, float) else str(value)


def _json(path: Path, kind: type) -> Any:
    """Read a JSON file whose top level must be of this type; None if the file does not exist."""
    if not path.is_file():
        return None
    found = read_json(path)
    if not isinstance(found, kind):
        raise ValueError(f"{path} holds a {type(found).__name__}; expected a {kind.__name__} from se-numpy train")
    return found


def _history(path: Path) -> list[dict[str, float]]:
    if not path.is_file():
        raise ValueError(f"{path.parent} holds no {path.name}: the run has not finished an epoch yet")
    rows = []
    with path.open(newline="", encoding="utf-8") as file:
        for number, row in enumerate(csv.DictReader(file), 2):
            try:
                rows.append({name: float(value) for name, value in row.items()})
                if missing := [name for name in NEEDED if name not in row]:
                    raise ValueError(f"missing {', '.join(missing)}")
            except (TypeError, ValueError) as error:
                raise ValueError(f"{path}, line {number}: expected a row of numbers; {error}") from None
    if not rows:
        raise ValueError(f"{path} holds no rows: the run has not finished an epoch yet")
    return rows
