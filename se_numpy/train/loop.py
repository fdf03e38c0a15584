"""The training loop: train from a configuration to a folder with a network, its metrics and its curves.

A run that was interrupted at any point can be resumed from its folder. On a CPU the result is the same, bit for bit.
"""

import math
import time
from contextlib import suppress
from dataclasses import asdict, replace
from datetime import UTC, datetime
from pathlib import Path
from shlex import quote
from typing import TextIO

import numpy as np

from se_numpy import data
from se_numpy.data import Dataset
from se_numpy.data.dataset import check_dataset
from se_numpy.data.file_lock import lock_file
from se_numpy.engine import single_threaded_blas
from se_numpy.train import run_dir
from se_numpy.train.config import Config, choose_device
from se_numpy.train.console import Console, EpochTable, epochs_within, forecast, introduce, recipe
from se_numpy.train.environment import environment
from se_numpy.train.final_test import run_final_test
from se_numpy.train.interrupt import GracefulInterrupt
from se_numpy.train.nan_check import NotFinite
from se_numpy.train.run_dir import Run
from se_numpy.train.session import Session
from se_numpy.wrapping import wrap_text

SAVE_EVERY = 60  # seconds; at most this much work is lost in a power cut
RESUME = "se-numpy train --resume"


def train(
    dataset: Dataset, config: Config, out: TextIO | None = None, *, time_budget: float | None = None,
    dry_run: bool = False,
) -> Run:  # fmt: skip
    """Train on ``dataset`` as ``config`` says and write the run folder, printing progress to ``out`` (stdout).

    ``time_budget``, in seconds, determines the number of epochs in place of the configuration. ``dry_run`` prints the
    settings and the estimated time, and writes nothing.

    Raises
    ------
    ValueError
        If a setting does not fit the network or the data, or the run folder is not empty.
    TypeError
        If ``dataset`` is not a Dataset, or ``config`` not a Config.
    RuntimeError
        If a GPU was requested and none works.
    NotFinite
        If the loss becomes NaN or infinite.
    OSError
        If the run folder cannot be written to.
    KeyboardInterrupt
        After the first Ctrl-C, once the run is saved and can be resumed.
    """
    check_dataset(dataset)
    if not isinstance(config, Config):
        raise TypeError(f"config is {config!r}; expected a Config, as from configure(dataset)")
    say = Console(out)
    device, why = choose_device(config.device)
    session = Session(dataset, config, device)
    introduce(session, why, say)
    seconds = session.seconds_per_step()
    if time_budget is not None:
        config = replace(config, epochs=epochs_within(time_budget, session, seconds))
        session = Session(dataset, config, device)
    say(recipe(session))
    if dry_run:
        say(forecast(session, seconds) + "dry run  nothing was trained, nothing was written")
        return Run(Path(config.out or ""), config)
    folder = run_dir.new_folder(config)
    run = Run(folder, config)
    run_dir.write_json(folder / "config.json", asdict(config))
    say(f"run      {folder}\n{forecast(session, seconds)}")
    return _train_to_end(run, session, say)


def resume(run: str | Path, out: TextIO | None = None, *, dataset: Dataset | None = None, device: str = "") -> Run:
    """Resume an interrupted run, given its folder, one of its checkpoints, or "last" for the newest unfinished run.

    The data set is loaded from the same place as before unless it is given. A finished run is only read.

    Raises
    ------
    ValueError
        If there is no such run, or its checkpoint is damaged or belongs to another run; the files are not changed.
    RuntimeError, NotFinite, OSError, KeyboardInterrupt
        As ``train`` does.
    """
    say = Console(out)
    folder, file = run_dir.find(run)
    config = run_dir.settings_of(folder)
    if finished := run_dir.finished(folder):
        accuracy = 100 * finished.result["test_accuracy"]
        say(wrap_text(f"run      {folder} is finished: test accuracy {accuracy:.2f} %\n"
                      "         to train longer, start another run with more --epochs", 9))  # fmt: skip
        return finished
    chosen, why = choose_device(device or config.device)
    session = Session(dataset or data.load(config.data), config, chosen)
    if file.exists():
        try:
            session.restore(file)
        except ValueError as error:
            raise ValueError(f"{error}; nothing was changed{run_dir.suggest_other_checkpoint(file)}") from None
    introduce(session, why, say)
    at = session.position
    say(f"run      {folder}")
    progress = f"{at.epoch} of {config.epochs} epochs and {at.step} of {session.per_epoch} steps"
    say(wrap_text(f"resumed  after {progress}\n", 9))
    return _train_to_end(Run(folder, config), session, say)


def complete(dataset: Dataset, config: Config, out: TextIO | None = None) -> Run:
    """Complete the run with this configuration in ``config.out``: start it, resume it, or read it if it is finished.

    Raises
    ------
    ValueError
        If the folder contains a run with other settings.
    RuntimeError, NotFinite, OSError, KeyboardInterrupt
        As ``train`` does.
    """
    folder = Path(config.out or "")
    if not (folder / "config.json").is_file():
        return train(dataset, config, out)
    run_dir.check_settings(folder, config)
    return resume(folder, out, dataset=dataset, device=config.device)


def _record_environment(session: Session, folder: Path) -> None:
    """Append an entry to env.json: a resumed run may be on another machine."""
    path = folder / "env.json"
    starts = run_dir.read_json(path) if path.exists() else []
    now = datetime.now(UTC).isoformat(timespec="seconds")
    found = {"seed": session.config.seed, "epoch": session.position.epoch, "started": now,
             **environment(session.digest)}  # fmt: skip
    run_dir.write_json(path, [*starts, found])


def _train_to_end(run: Run, session: Session, say: Console) -> Run:
    """Train the remaining epochs and evaluate on the test set; save the progress if this is interrupted."""
    last, saved = run.folder / "last.npz", time.perf_counter()
    started, first = saved, session.position.epoch
    run.history = session.position.history

    # On a busy machine BLAS threads wait a long time for each other, even for small products.
    with lock_file(run.folder, "written to"), single_threaded_blas(), GracefulInterrupt() as stop:
        _record_environment(session, run.folder)
        if run.history:  # metrics.csv lacks a row if the run was interrupted before it was written
            run_dir.write_metrics(run.folder / "metrics.csv", run.history)

        def after_step() -> None:
            nonlocal saved
            if stop.requested or time.perf_counter() - saved > SAVE_EVERY:
                session.save(last)
                saved = time.perf_counter()
            if stop.requested:
                raise KeyboardInterrupt

        table = EpochTable(run.config.epochs, say.columns)
        say(table.header())
        try:
            while session.position.epoch < run.config.epochs:
                with np.errstate(over="ignore", invalid="ignore"):  # reported once, below
                    row = session.epoch(after_step, say.terminal, watch=session.watch)
                    row["val_loss"], row["val_accuracy"] = session.learner.evaluate(session.validation)
                if not math.isfinite(row["train_loss"] + row["val_loss"]):
                    raise NotFinite(f"the loss became NaN or infinite in epoch {row['epoch']}")
                best = session.end_epoch(row)
                # best.npz first: if interrupted between the two, the run repeats this epoch and writes both.
                session.save(*([run.folder / "best.npz"] if best else []), last)
                saved = time.perf_counter()
                run.history = session.position.history
                run_dir.write_metrics(run.folder / "metrics.csv", run.history)
                left = (saved - started) / (row["epoch"] - first) * (run.config.epochs - row["epoch"])
                say(table.row(row, left, best))
                if stop.requested and row["epoch"] < run.config.epochs:
                    raise KeyboardInterrupt
        except KeyboardInterrupt:
            say(wrap_text("stopped  " + _after_early_end(run).replace(f" {RESUME}", f"\n         {RESUME}"), 9))
            raise
        except NotFinite as error:
            raise NotFinite(
                f"{_located(run, session, error)}; try a smaller --lr than {run.config.lr:g}; "
                + _after_early_end(run, resumable=False)
            ) from None
        except OSError as error:
            reason = error.strerror or error
            raise OSError(f"{run.folder}: {reason}; {_after_early_end(run)}") from None
        run_final_test(run, session, say)
        if stop.requested:
            raise KeyboardInterrupt
    return run


def _located(run: Run, session: Session, error: NotFinite) -> str:
    """Return an error message with the step and the layer; on a GPU, repeat the epoch, checking every loss."""
    if session.watch:
        return str(error)
    again = Session(session.dataset, session.config, session.device)
    if (run.folder / "last.npz").exists():
        again.restore(run.folder / "last.npz")
    with suppress(Exception), np.errstate(over="ignore", invalid="ignore"):
        try:
            again.epoch(lambda: None, None, watch=True)
        except NotFinite as found:
            return str(found)
    return str(error)


def _after_early_end(run: Run, *, resumable: bool = True) -> str:
    """Say where the checkpoints of an interrupted run are; if there are none, remove its folder."""
    if not any((run.folder / name).exists() for name in ("last.npz", "best.npz")):
        for name in ("config.json", "env.json"):
            (run.folder / name).unlink(missing_ok=True)
        with suppress(OSError):  # the folder contains other files
            run.folder.rmdir()
        return "no checkpoint had been written yet, so nothing was kept"
    if not resumable:
        epochs = f"{len(run.history)} epoch{'s' * (len(run.history) != 1)}"
        return f"the last and the best checkpoint are kept in {run.folder} ({epochs} completed)"
    return f"the progress is saved in {run.folder}; resume with: {RESUME} {quote(str(run.folder))}"
