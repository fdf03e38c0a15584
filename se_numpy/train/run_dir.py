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
import errno
import io
import json
import os
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from shlex import quote
from typing import Any

from se_numpy import checkpoint
from se_numpy.arg_types import user_path
from se_numpy.data import Dataset
from se_numpy.data.file_lock import lock_file
from se_numpy.train import saved
from se_numpy.train.config import Config, difference
from se_numpy.train.tasks import TASKS

RUNS = Path("runs")
RESUME = "se-numpy train --resume"
UNFINISHED = "config.json.tmp"  # all that a run leaves if it is killed while it writes its first file


@dataclass
class Run:
    """The folder of a run, its settings, its history (a row for each epoch) and, once finished, its test result."""

    folder: Path
    config: Config
    history: list[dict[str, float]] = field(default_factory=list)
    result: dict[str, float] = field(default_factory=dict)


def check_free(out: str | None) -> None:
    """Check that a run can start in this folder, which may exist if it is empty.  Nothing is written.

    Raises
    ------
    ValueError
        If the path is a file or a folder that is not empty.
    OSError
        If the folder cannot be created.
    """
    folder = RUNS if out is None else Path(out)
    occupied = folder.exists() and (not folder.is_dir() or any(p.name != UNFINISHED for p in folder.iterdir()))
    if out is not None and (not out or occupied):
        raise ValueError(f"--out {out!r} is not an empty folder; give --out a new or an empty folder")
    check_creatable(folder)


def check_creatable(folder: Path) -> None:
    """Check that a folder exists or can be created, and can be written to.  Nothing is written.

    Raises
    ------
    OSError
        If it cannot.
    """
    above = next(path for path in (folder, *folder.absolute().parents) if path.exists())
    if not above.is_dir():
        raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR), str(above))
    if not os.access(above, os.W_OK | os.X_OK):
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(above))


@contextmanager
def new_folder(config: Config) -> Iterator[Path]:
    """Create the folder of a run and yield it, locked against other processes.

    Raises
    ------
    ValueError
        If the folder exists and is not empty, or another process writes to it.
    """
    check_free(config.out)
    folder = _unused_name(config) if config.out is None else Path(config.out)
    folder.mkdir(parents=True, exist_ok=True)
    with locked(folder):
        check_free(str(folder))  # again: another run may have been faster
        yield folder


def _unused_name(config: Config) -> Path:
    """Create and return a folder in ``RUNS`` that is named by the time."""
    stem = f"{time.strftime('%Y%m%d-%H%M%S')}-{config.model}-s{config.seed}"
    for name in (stem, *(f"{stem}-{i}" for i in range(2, 1000))):
        with suppress(FileExistsError):  # another run started in the same second
            (RUNS / name).mkdir(parents=True)
            return RUNS / name
    raise ValueError(f"{RUNS}/ has a thousand runs named {stem}; give --out a new folder")


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Hold the lock of a run's folder, which may be a symbolic link.

    Raises
    ------
    ValueError
        If another process writes to the folder.
    """
    with lock_file(folder.resolve(), "written to"):
        yield


def remove_leftovers(folder: Path) -> None:
    """Remove the temporary files of a process that was killed while it wrote to the folder."""
    for path in folder.glob("*.tmp"):
        path.unlink(missing_ok=True)


def find(run: str | Path) -> tuple[Path, Path]:
    """Return the folder of a run and the checkpoint to resume from.

    ``run`` is a folder, a checkpoint, or "last" for the newest unfinished run.

    Raises
    ------
    ValueError
        If the run does not exist.
    """
    if str(run) == "last" and not Path("last").exists():
        every = [path.parent for depth in ("*", "*/*") for path in RUNS.glob(f"{depth}/config.json")]  # */* for --seeds
        unfinished = [folder for folder in every if not (folder / "result.json").exists()]
        if not unfinished:
            raise ValueError(f"--resume last: {RUNS}/ has no unfinished run; give --resume the folder of a run")
        run = max(unfinished, key=lambda folder: max(path.stat().st_mtime for path in folder.iterdir()))
    path = user_path(run)
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
        If the run does not exist; the message suggests one.
    """
    path = user_path(run)
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


def how_to_resume(run: Path, dataset: Dataset) -> str:
    """Say how to resume a run: with a command if that can load the data set, or else in Python."""
    if dataset.loaded_from:
        return f"resume with: {RESUME} {quote(str(run))}"
    return resume_in_python(run)


def resume_in_python(run: Path) -> str:
    """Say how to resume a run on arrays that only a program has."""
    return f"resume in Python, with the same arrays: se_numpy.train.resume({str(run)!r}, dataset=dataset)"


def data_digest(folder: Path) -> str | None:
    """Return the digest of the data that the run in this folder was trained on; None if no file records it."""
    with suppress(ValueError, OSError):
        for start in read_starts(folder):
            if isinstance(found := start.get("data_sha256"), str):
                return found
    for name in ("last.npz", "best.npz"):
        with suppress(ValueError, OSError):
            if isinstance(found := checkpoint.load(folder / name)[1].get("data"), str):
                return found
    return None


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
    config = settings_of(folder)
    task = TASKS[config.task]
    history = read_metrics(folder, task.columns())
    try:
        result = saved.check_result(read_json(path), task.result())
    except ValueError as error:
        reason = str(error).removeprefix(f"{path} ")
        raise ValueError(
            f"{path} is not a result written by se-numpy train ({reason}); delete it and resume the run to evaluate "
            "it again"
        ) from None
    return Run(folder, config, history, result)


def read_json(path: Path) -> Any:
    """Read a JSON file.

    Raises
    ------
    ValueError
        If the file is not valid JSON.
    """
    try:
        return json.loads(path.read_text(encoding="utf-8-sig"))  # some editors write a mark of the encoding first
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{path} is not valid JSON: {error}") from None


def read_starts(folder: Path) -> list[dict[str, Any]]:
    """Read env.json, which has an entry for each start of the run; return [] if the file does not exist.

    Raises
    ------
    ValueError
        If the file is not a list of objects.
    """
    path = folder / "env.json"
    starts = read_json(path) if path.is_file() else []
    if not isinstance(starts, list):
        raise ValueError(f"{path} holds a {type(starts).__name__}; expected a list, as se-numpy train writes")
    if not all(isinstance(start, dict) for start in starts):
        raise ValueError(f"{path} was not written by se-numpy train; expected a list of objects")
    return starts


def read_metrics(folder: Path, needed: Sequence[str]) -> list[dict[str, float]]:
    """Read the rows of metrics.csv as written by ``write_metrics``.

    Raises
    ------
    ValueError
        If the file is not such a table.
    """
    path, rows = folder / "metrics.csv", []
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            for number, row in enumerate(csv.DictReader(file), 2):
                try:
                    rows.append({name: float(value) for name, value in row.items()})
                    if missing := [name for name in needed if name not in row]:
                        raise ValueError(f"missing {', '.join(missing)}")
                except (TypeError, ValueError) as error:
                    raise ValueError(f"{path}, line {number}: expected a row of numbers; {error}") from None
    except (UnicodeDecodeError, csv.Error) as error:
        raise ValueError(f"{path} is not a table written by se-numpy train: {error}") from None
    try:
        saved.check_history(rows, needed)
    except ValueError as error:
        raise ValueError(f"{path} is not a table written by se-numpy train: {error}") from None
    return [{**row, "epoch": int(row["epoch"])} for row in rows]


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
        return saved.settings(read_json(path))
    except ValueError as error:
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
