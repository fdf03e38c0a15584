"""Read runs back from their folders: settings, training history and result, and the settings in which runs differ."""

from collections.abc import Sequence
from dataclasses import MISSING, fields
from pathlib import Path
from typing import Any, NamedTuple

from se_numpy.arg_types import user_path
from se_numpy.data import short_name
from se_numpy.train import Config
from se_numpy.train.run_dir import data_digest, existing, read_json, read_metrics, read_starts
from se_numpy.train.saved import check_result
from se_numpy.train.task import Task
from se_numpy.train.tasks import task_of

# Runs that differ only in these settings repeat the same experiment.
REPEATED = ("seed", "out", "device")


class RunRecord(NamedTuple):
    """The contents of a run's folder: config.json, metrics.csv, result.json, and env.json with one entry per start."""

    folder: Path
    config: dict[str, Any]
    history: list[dict[str, float]]
    result: dict[str, float]
    starts: list[dict[str, Any]]
    digest: str | None = None  # of the data; None if no file records it

    @property
    def left(self) -> int:
        """The number of epochs that an interrupted run has not trained; 0 for a finished run."""
        if self.result:
            return 0
        planned = self.config.get("epochs")
        return max(0, planned - len(self.history)) if isinstance(planned, int) else 0

    @property
    def chosen(self) -> dict[str, float]:
        """The row of the epoch saved in best.npz: the last of those with the best held-out accuracy."""
        return max(self.history, key=lambda row: (row[f"val_{self.task.metric}"], row["epoch"]))

    @property
    def task(self) -> Task:
        """The task that the settings name."""
        return task_of(self.config)


def read_run(folder: str | Path) -> RunRecord:
    """Read the run in this folder.

    Raises
    ------
    ValueError
        If the folder is not that of a run, or if one of its files is missing or damaged.
    """
    path = user_path(folder)
    if not path.is_dir():
        existing(path)  # raises if the path does not exist
        raise ValueError(f"{folder} is not a folder; expected the folder of a run, such as runs/NAME")
    starts = read_starts(path)
    config = _json(path / "config.json", dict)
    if config is None:
        if find_runs(path) != [path]:
            existing(path)  # raises, and lists the runs in the folder
        raise ValueError(f"folder {folder} holds no config.json; expected the folder of a run of se-numpy train")
    result = _json(path / "result.json", dict) or {}
    try:
        check_result(result, ())
    except ValueError as error:
        raise ValueError(f"{path / 'result.json'} is not a result written by se-numpy train: {error}") from None
    return RunRecord(path, config, _history(path, task_of(config)), result, starts, data_digest(path))


def find_runs(folder: str | Path) -> list[Path]:
    """Return the folder itself if it is a run's, or else the run folders in it, such as those of ``train --seeds``."""
    path = user_path(folder)
    if (path / "config.json").is_file() or not path.is_dir():
        return [path]
    return sorted(inner.parent for inner in path.glob("*/config.json")) or [path]


def group_runs(runs: Sequence[RunRecord]) -> dict[str, list[RunRecord]]:
    """Group runs by the settings that differ, which form the label; runs that differ only in the seed share a group.

    A data set is what its digest says, under any name; data sets of one name are told apart by their digests.
    """
    defaults = {f.name: f.default for f in fields(Config) if f.default is not MISSING}
    named = _data_names(runs)
    # Older runs lack newer settings.
    settings = [{**defaults, **run.config, "data": name} for run, name in zip(runs, named, strict=True)]
    names = [name for name in dict.fromkeys(name for s in settings for name in s) if name not in REPEATED]
    differing = [name for name in names if len({_text(s.get(name)) for s in settings}) > 1]
    groups: dict[str, list[RunRecord]] = {}
    for run, s in zip(runs, settings, strict=True):
        words = [_text(s.get(name)) if name == "model" else f"{name.replace('_', ' ')} {_text(s.get(name))}"
                 for name in differing]  # fmt: skip
        groups.setdefault(", ".join(words) or _text(s.get("model")), []).append(run)
    return groups


def _data_names(runs: Sequence[RunRecord]) -> list[str]:
    """Return the name of the data set of each run; different data sets have different names."""
    names = [short_name(str(run.config.get("data", "builtin"))) for run in runs]
    first: dict[str, str] = {}  # one name for each digest, although folders may have been renamed
    names = [first.setdefault(run.digest, name) if run.digest else name for run, name in zip(runs, names, strict=True)]
    digests: dict[str, set[str]] = {}
    for run, name in zip(runs, names, strict=True):
        digests.setdefault(name, set()).update([run.digest] if run.digest else [])
    return [f"{name} ({run.digest[:8]})" if run.digest and len(digests[name]) > 1 else name
            for run, name in zip(runs, names, strict=True)]  # fmt: skip


class Curves(NamedTuple):
    """The runs to draw by label, several only if they differ in nothing but their seeds, and notes on the others."""

    groups: dict[str, list[RunRecord]]
    notes: list[str]


def comparable(runs: Sequence[RunRecord]) -> Curves:
    """Select the runs that can be averaged: complete ones, one for each seed.

    An unfinished run is drawn on its own. Of several runs with the same seed, the most complete one is drawn.
    """
    groups: dict[str, list[RunRecord]] = {}
    notes = []
    for label, members in group_runs(runs).items():
        by_seed: dict[Any, RunRecord] = {}
        for run in sorted(members, key=lambda run: run.left):
            other = by_seed.get(run.config.get("seed"))
            if other is None:
                by_seed[run.config.get("seed")] = run
                continue
            same = run.folder.resolve() == other.folder.resolve()
            why = "is given twice" if same else f"has the settings and the seed of {other.folder}"
            notes.append(f"left out: {run.folder} {why}")
        complete = [run for run in by_seed.values() if not run.left]
        if len({len(run.history) for run in complete}) > 1:
            complete = []  # some ended early, and curves of different lengths have no mean
        if complete:
            groups[label] = complete
        for run in by_seed.values():
            if run not in complete:
                epochs = f"{len(run.history)} of {run.config['epochs']} epochs"
                groups[f"{label}, seed {run.config.get('seed')}, {epochs}"] = [run]
                why = "unfinished" if run.left else "ended early"
                notes.append(f"{why}: {run.folder}, {epochs}: drawn on its own, not part of a mean")
    return Curves(groups, notes)


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


def _history(folder: Path, task: Task) -> list[dict[str, float]]:
    if not (folder / "metrics.csv").is_file():
        raise ValueError(f"{folder} holds no metrics.csv: the run has not finished an epoch yet")
    needed = [name for name in task.columns() if name.startswith(("epoch", "train_", "val_"))]
    rows = read_metrics(folder, needed)
    if not rows:
        raise ValueError(f"{folder / 'metrics.csv'} holds no rows: the run has not finished an epoch yet")
    return rows
