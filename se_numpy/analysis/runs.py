"""The folders of runs, read back: what was asked for, what came of it, and how several of them differ."""

import csv
from collections.abc import Sequence
from dataclasses import MISSING, fields
from pathlib import Path
from typing import Any, NamedTuple

from se_numpy.train import Config
from se_numpy.train.run_dir import existing, read_json

# Runs that differ in these alone are the same experiment done again.
REPEATED = ("seed", "out", "device")
NEEDED = ("epoch", "train_loss", "train_accuracy", "val_loss", "val_accuracy")


class RunRecord(NamedTuple):
    """A run as its folder tells it: config.json, metrics.csv, result.json; env.json with an entry for each start."""

    folder: Path
    config: dict[str, Any]
    history: list[dict[str, float]]
    result: dict[str, float]
    starts: list[dict[str, Any]]

    @property
    def chosen(self) -> dict[str, float]:
        """The row of the epoch whose network is best.npz: of those best on held-out images the last."""
        return max(self.history, key=lambda row: (row["val_accuracy"], row["epoch"]))


def read_run(folder: str | Path) -> RunRecord:
    """The run in this folder.  Raises ValueError, naming the file, for one that is missing or not what it should be."""
    path = Path(folder)
    if not path.is_dir():
        existing(path)  # complains where there is nothing
        raise ValueError(f"{folder} is not a folder; expected the folder of a run, such as runs/NAME")
    starts = _json(path / "env.json", list) or []
    if not all(isinstance(start, dict) for start in starts):
        raise ValueError(f"{path / 'env.json'} is not what se-numpy train writes; expected a list of descriptions")
    config = _json(path / "config.json", dict)
    if config is None:
        if runs_below(path) != [path]:
            existing(path)  # tells which runs are in it
        raise ValueError(f"{folder} holds no config.json; expected the folder of a run of se-numpy train")
    return RunRecord(path, config, _history(path / "metrics.csv"), _json(path / "result.json", dict) or {}, starts)


def runs_below(folder: str | Path) -> list[Path]:
    """The folder itself, or where it is no run's those of the runs in it, as ``train --seeds`` leaves them."""
    path = Path(folder)
    if (path / "config.json").is_file() or not path.is_dir():
        return [path]
    return sorted(inner.parent for inner in path.glob("*/config.json")) or [path]


def together(runs: Sequence[RunRecord]) -> dict[str, list[RunRecord]]:
    """The runs by a label that tells how their settings differ; those that differ by their seeds alone are together."""
    defaults = {f.name: f.default for f in fields(Config) if f.default is not MISSING}
    settings = [{**defaults, **run.config} for run in runs]  # an older run does not know the newer settings
    names = [name for name in dict.fromkeys(name for s in settings for name in s) if name not in REPEATED]
    differing = [name for name in names if len({_text(s.get(name)) for s in settings}) > 1]
    groups: dict[str, list[RunRecord]] = {}
    for run, s in zip(runs, settings, strict=True):
        said = [_text(s.get(name)) if name == "model" else f"{name.replace('_', ' ')} {_text(s.get(name))}"
                for name in differing]  # fmt: skip
        groups.setdefault(", ".join(said) or _text(s.get("model")), []).append(run)
    return groups


def alike(runs: Sequence[RunRecord], name: str) -> Any:
    """What all runs have set this to; None where they differ."""
    values = [run.config.get(name) for run in runs]
    return values[0] if all(value == values[0] for value in values) else None


def _text(value: Any) -> str:
    if isinstance(value, bool) or value is None:
        return {True: "yes", False: "no", None: "default"}[value]
    if isinstance(value, (list, tuple)):
        return ", ".join(map(_text, value))
    return f"{value:g}" if isinstance(value, float) else str(value)


def _json(path: Path, kind: type) -> Any:
    """What the file holds, which must be of this kind; None where there is no file."""
    if not path.is_file():
        return None
    found = read_json(path)
    if not isinstance(found, kind):
        raise ValueError(f"{path} holds a {type(found).__name__}; expected a {kind.__name__}, as se-numpy train writes")
    return found


def _history(path: Path) -> list[dict[str, float]]:
    if not path.is_file():
        raise ValueError(f"{path.parent} holds no {path.name}: no epoch of the run has ended yet")
    rows = []
    with path.open(newline="", encoding="utf-8") as file:
        for number, row in enumerate(csv.DictReader(file), 2):
            try:
                rows.append({name: float(value) for name, value in row.items()})
                if missing := [name for name in NEEDED if name not in row]:
                    raise ValueError(f"no {', '.join(missing)}")
            except (TypeError, ValueError) as error:
                raise ValueError(f"{path}, line {number}, is no row of numbers: {error}") from None
    if not rows:
        raise ValueError(f"{path} holds no row: no epoch of the run has ended yet")
    return rows
