"""Create, find, read and write the folder of a run; every file is replaced atomically.

============  ==================================================================
config.json   settings
env.json      machine and versions, an entry for each start
metrics.csv   a row for each epoch
best.npz      checkpoint of the best epoch
last.npz      the latest checkpoint, to resume from
result.json   result on the test set; its presence marks the run as finished
============  ==================================================================
"""

import csv
import io
import json
import time
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from shlex import quote
from typing import Any

from se_numpy import checkpoint
from se_numpy.train.config import Config, difference

RUNS = Path("runs")


@dataclass
class Run:
    """The folder of a run, its settings, its history (a row for each epoch) and, once finished, its test result."""

    folder: Path
    config: Config
    history: list[dict[str, float]] = field(default_factory=list)
    result: dict[str, float] = field(default_factory=dict)


def new_folder(config: Config) -> Path:
    """Create the folder of a run and return it.

    Raises
    ------
    ValueError
        If the folder exists and is not empty.
    """
    if config.out is None:
        stem = f"{time.strftime('%Y%m%d-%H%M%S')}-{config.model}-s{config.seed}"
        for name in (stem, *(f"{stem}-{i}" for i in range(2, 1000))):
            with suppress(FileExistsError):  # another run started in the same second
                (RUNS / name).mkdir(parents=True)
                return RUNS / name
    folder = Path(config.out or "")
    if not config.out or (folder.exists() and (not folder.is_dir() or any(folder.iterdir()))):
        raise ValueError(f"--out {config.out!r} is not an empty folder; give --out a new or an empty folder")
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def find(run: str | Path) -> tuple[Path, Path]:
    """Return the folder of a run and the checkpoint to resume from.

    ``run`` is a folder, a checkpoint, or "last" for the newest unfinished run.

    Raises
    ------
    ValueError
        If there is no such run.
    """
    if str(run) == "last" and not Path("last").exists():
        every = [path.parent for depth in ("*", "*/*") for path in RUNS.glob(f"{depth}/config.json")]  # */* for --seeds
        unfinished = [folder for folder in every if not (folder / "result.json").exists()]
        if not unfinished:
            raise ValueError(f"--resume last: {RUNS}/ has no unfinished run; give --resume the folder of a run")
        run = max(unfinished, key=lambda folder: max(path.stat().st_mtime for path in folder.iterdir()))
    path = Path(run)
    if path.is_file():
        return path.parent, path
    if not (path / "config.json").is_file():
        raise ValueError(f"--resume {run}: this is not the folder of a run; expected one written by se-numpy train")
    last, best = path / "last.npz", path / "best.npz"
    return path, best if best.exists() and not last.exists() else last


def existing(run: str | Path) -> Path:
    """Return the path of a run, which is its folder or a checkpoint.

    Raises
    ------
    ValueError
        If there is no such run; the message suggests one.
    """
    path = Path(run)
    if not path.exists():
        newest = max(RUNS.glob("*/best.npz"), key=lambda file: file.stat().st_mtime, default=None)
        name = f"{newest.parent}, the newest run" if newest else "runs/NAME"
        raise ValueError(f"{run} does not exist; expected a checkpoint or the folder of a run, such as {name}")
    if path.is_dir() and not any((path / name).is_file() for name in ("config.json", "best.npz")):
        inner = [str(found.parent) for found in sorted(path.glob("*/config.json"))]
        if inner:
            more = f" and {len(inner) - 10} more" if len(inner) > 10 else ""
            raise ValueError(f"{run} contains several runs; expected one of {', '.join(inner[:10])}{more}")
        raise ValueError(f"{run} contains no best.npz; expected the folder of a run or a checkpoint (.npz)")
    return path


def suggest_other_checkpoint(file: Path) -> str:
    """Return a hint to resume from the other checkpoint in the folder, or "" if it is damaged or missing."""
    other = file.with_name("best.npz" if file.name == "last.npz" else "last.npz")
    try:
        epoch = checkpoint.load(other)[1]["position"]["epoch"]
    except (ValueError, KeyError, TypeError, OSError):
        return ""
    return f"; {other.name}, from epoch {epoch}, is intact: se-numpy train --resume {quote(str(other))}"


def finished(folder: Path) -> Run | None:
    """Read the finished run in this folder; return None if it is unfinished.

    Raises
    ------
    ValueError
        If a file of the run does not have the format that se-numpy train writes.
    """
    path = folder / "result.json"
    if not path.exists():
        return None
    result, history = read_json(path), read_metrics(folder)
    if not isinstance(result, dict) or not {"test_accuracy", "test_loss", "epoch"} <= set(result):
        raise ValueError(
            f"{path} is not a result written by se-numpy train; delete it and evaluate again with: "
            f"se-numpy train --resume {quote(str(folder))}"
        )
    return Run(folder, settings_of(folder), history, result)


def read_json(path: Path) -> Any:
    """Read a JSON file.

    Raises
    ------
    ValueError
        If the file is not valid JSON.
    """
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{path} is not valid JSON: {error}") from None


def read_metrics(folder: Path) -> list[dict[str, float]]:
    """Read the rows of metrics.csv as written by ``write_metrics``.

    Raises
    ------
    ValueError
        If the file is not such a table.
    """
    path = folder / "metrics.csv"
    try:
        with path.open(newline="", encoding="utf-8") as file:
            rows = [{name: float(value) for name, value in row.items()} for row in csv.DictReader(file)]
        return [{**row, "epoch": int(row["epoch"])} for row in rows]
    except (ValueError, KeyError, TypeError, csv.Error) as error:
        raise ValueError(f"{path} is not a table written by se-numpy train: {error}") from None


def write_json(path: Path, content: Any) -> None:
    """Write a JSON file atomically."""
    _write(path, json.dumps(content, indent=2) + "\n")


def write_metrics(path: Path, history: list[dict[str, float]]) -> None:
    """Write metrics.csv atomically: the names of the columns, then a row for each epoch."""
    text = io.StringIO(newline="")
    writer = csv.DictWriter(text, list(history[0]))
    writer.writeheader()
    writer.writerows(history)
    _write(path, text.getvalue())


def _write(path: Path, text: str) -> None:
    with checkpoint.atomic_write(path) as file:
        file.write(text.encode())


def settings_of(folder: Path) -> Config:
    """Read the settings from config.json.

    Raises
    ------
    ValueError
        If the file does not contain the settings of a run.
    """
    path = folder / "config.json"
    try:
        return Config(**read_json(path))
    except (ValueError, TypeError) as error:
        raise ValueError(f"{path} does not contain the settings of a run: {error}") from None


def check_settings(folder: Path, wanted: Config) -> None:
    """Check that the run in the folder has the settings ``wanted``.

    Raises
    ------
    ValueError
        If a setting other than ``out`` and ``device`` differs; the message names the first.
    """
    if other := difference(settings_of(folder), wanted):
        raise ValueError(
            f"{folder} contains a run with {other[0]} = {other[1]}, not {other[2]}; expected the same settings, or "
            "another --out"
        )
