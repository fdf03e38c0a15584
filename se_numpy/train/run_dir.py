"""A run's folder: made, found again, written to so that nothing in it is ever half there.

    config.json   the settings                   metrics.csv   a row an epoch
    env.json      machine and versions, a start  best.npz      the network of the best epoch
    last.npz      where the run stands           result.json   how that did on the test set; says that the run is over
"""

import csv
import io
import json
import time
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from se_numpy import checkpoint
from se_numpy.train.config import Config, difference

RUNS = Path("runs")


@dataclass
class Run:
    """A run's folder, its history (a row an epoch) and, at the end, how the chosen network did on the test set."""

    folder: Path
    config: Config
    history: list[dict[str, float]] = field(default_factory=list)
    result: dict[str, float] = field(default_factory=dict)


def new_folder(config: Config) -> Path:
    """The empty folder the run writes to; ValueError where something lies in it already."""
    if config.out is None:
        stem = f"{time.strftime('%Y%m%d-%H%M%S')}-{config.model}-s{config.seed}"
        for name in (stem, *(f"{stem}-{i}" for i in range(2, 1000))):
            with suppress(FileExistsError):  # a run that started in the same second
                (RUNS / name).mkdir(parents=True)
                return RUNS / name
    folder = Path(config.out or "")
    if not config.out or (folder.exists() and (not folder.is_dir() or any(folder.iterdir()))):
        raise ValueError(f"--out {config.out!r} is not an empty folder; nothing is overwritten: name another one")
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def find(run: str | Path) -> tuple[Path, Path]:
    """(folder, checkpoint to go on from) of a run, of one of its checkpoints, or of "last", the newest not yet over."""
    if str(run) == "last" and not Path("last").exists():
        every = [path.parent for depth in ("*", "*/*") for path in RUNS.glob(f"{depth}/config.json")]  # or of --seeds
        begun = [folder for folder in every if not (folder / "result.json").exists()]
        if not begun:
            raise ValueError(f"--resume last: no run in {RUNS}/ waits to be finished; expected the folder of one")
        run = max(begun, key=lambda folder: max(path.stat().st_mtime for path in folder.iterdir()))
    path = Path(run)
    if path.is_file():
        return path.parent, path
    if not (path / "config.json").is_file():
        raise ValueError(f"--resume {run}: no run has its folder there; expected one that se-numpy train made")
    last, best = path / "last.npz", path / "best.npz"
    return path, best if best.exists() and not last.exists() else last


def existing(run: str | Path) -> Path:
    """A run as people name it, its folder or a checkpoint; ValueError that says what there is instead."""
    path = Path(run)
    if not path.exists():
        newest = max(RUNS.glob("*/best.npz"), key=lambda file: file.stat().st_mtime, default=None)
        name = f"{newest.parent}, the newest here" if newest else "runs/NAME"
        raise ValueError(f"{run}: there is no such run; expected a checkpoint or the folder of a run, such as {name}")
    if path.is_dir() and not any((path / name).is_file() for name in ("config.json", "best.npz")):
        inner = [str(found.parent) for found in sorted(path.glob("*/config.json"))]
        if inner:
            more = f" and {len(inner) - 10} more" if len(inner) > 10 else ""
            raise ValueError(f"{run} is a folder of runs; expected one of them: {', '.join(inner[:10])}{more}")
        raise ValueError(f"{run} holds no best.npz; expected the folder of a run, or a checkpoint (a .npz file)")
    return path


def another(file: Path) -> str:
    """In words, the other checkpoint of the folder, where that one is whole and this one is not."""
    other = file.with_name("best.npz" if file.name == "last.npz" else "last.npz")
    try:
        epoch = checkpoint.load(other)[1]["position"]["epoch"]
    except (ValueError, KeyError, TypeError, OSError):
        return ""
    return f"; {other.name} is whole, of epoch {epoch}: se-numpy train --resume {other}"


def finished(folder: Path) -> Run | None:
    """The run that is over in this folder; None where it is not.  ValueError where its files say nothing sensible."""
    path = folder / "result.json"
    if not path.exists():
        return None
    result, history = read_json(path), read_metrics(folder)
    if not isinstance(result, dict) or not {"test_accuracy", "test_loss", "epoch"} <= set(result):
        raise ValueError(f"{path} is not what se-numpy train writes; without it, --resume {folder} tests the run again")
    return Run(folder, settings_of(folder), history, result)


def read_json(path: Path) -> Any:
    """What is in a JSON file; ValueError that names it for one that is none."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{path} is no JSON: {error}") from None


def read_metrics(folder: Path) -> list[dict[str, float]]:
    """The rows of metrics.csv, as ``write_metrics`` was given them."""
    path = folder / "metrics.csv"
    try:
        with path.open(newline="", encoding="utf-8") as file:
            rows = [{name: float(value) for name, value in row.items()} for row in csv.DictReader(file)]
        return [{**row, "epoch": int(row["epoch"])} for row in rows]
    except (ValueError, KeyError, TypeError, csv.Error) as error:
        raise ValueError(f"{path} is not what se-numpy train writes: {error}") from None


def write_json(path: Path, content: Any) -> None:
    """Replace a JSON file, whole or not at all."""
    _write(path, json.dumps(content, indent=2) + "\n")


def write_metrics(path: Path, history: list[dict[str, float]]) -> None:
    """Replace metrics.csv: the names of the columns, then a row an epoch."""
    text = io.StringIO(newline="")
    writer = csv.DictWriter(text, list(history[0]))
    writer.writeheader()
    writer.writerows(history)
    _write(path, text.getvalue())


def _write(path: Path, text: str) -> None:
    with checkpoint.whole(path) as file:
        file.write(text.encode())


def settings_of(folder: Path) -> Config:
    """What config.json says; ValueError for a file that is none."""
    path = folder / "config.json"
    try:
        return Config(**read_json(path))
    except (ValueError, TypeError) as error:
        raise ValueError(f"{path} does not hold the settings of a run: {error}") from None


def check_settings(folder: Path, wanted: Config) -> None:
    """ValueError, naming the first that differs, where the run in the folder has other settings than ``wanted``."""
    if other := difference(settings_of(folder), wanted):
        raise ValueError(
            f"{folder} was made with {other[0]} = {other[1]} and now {other[2]} is asked for; expected the same "
            "settings, or another --out for other ones"
        )
