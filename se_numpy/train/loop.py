"""The trainer: a configuration in, a folder with a trained network, its numbers and its curves out.

A run that is cut anywhere goes on from its folder and ends in the same numbers, bit for bit on a CPU.
"""

import math
import time
from contextlib import suppress
from dataclasses import asdict, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TextIO

import numpy as np

from se_numpy import data
from se_numpy.data import Dataset
from se_numpy.data.file_lock import lock_file
from se_numpy.engine import single_threaded_blas
from se_numpy.train import run_dir
from se_numpy.train.config import Config, choose_device
from se_numpy.train.console import HEADER, Console, epochs_within, forecast, introduce, recipe, row_of
from se_numpy.train.environment import environment
from se_numpy.train.final_test import run_final_test
from se_numpy.train.interrupt import GracefulInterrupt
from se_numpy.train.nan_check import NotFinite
from se_numpy.train.run_dir import Run
from se_numpy.train.session import Session

SAVE_EVERY = 60  # seconds; no more than that is lost when the power goes


def train(
    dataset: Dataset, config: Config, out: TextIO | None = None, *, time_budget: float | None = None,
    dry_run: bool = False,
) -> Run:  # fmt: skip
    """Train on ``dataset`` as ``config`` says, writing the run folder as it goes, telling ``out`` (stdout) how it goes.

    ``time_budget`` seconds decide the number of epochs instead of the configuration; ``dry_run`` says what would be
    done, and writes nothing.  Raises ValueError or RuntimeError with one sentence for people, FloatingPointError if
    the loss is no number any more, KeyboardInterrupt after the first Ctrl-C, when the run can be gone on from.
    """
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
    folder = run_dir.new_folder(config)  # from here on something is written
    run = Run(folder, config)
    run_dir.write_json(folder / "config.json", asdict(config))
    say(f"run      {folder}\n{forecast(session, seconds)}")
    return _go_on(run, session, say)


def resume(run: str | Path, out: TextIO | None = None, *, dataset: Dataset | None = None, device: str = "") -> Run:
    """Go on with a run that was cut: its folder, one of its checkpoints, or "last", the newest that is not over.

    The data are loaded from where the run had them, unless given.  A run that is over is read and nothing is done.
    Raises as ``train``; ValueError, too, for a checkpoint that is damaged or does not fit, which is left as it is.
    """
    say = Console(out)
    folder, file = run_dir.find(run)
    config = run_dir.settings_of(folder)
    if over := run_dir.finished(folder):
        say(f"run      {folder} is over: {100 * over.result['test_accuracy']:.2f} % of the test images right\n"
            "         to train longer, start another with more --epochs")  # fmt: skip
        return over
    chosen, why = choose_device(device or config.device)
    session = Session(dataset or data.load(config.data), config, chosen)
    if file.exists():
        try:
            session.restore(file)
        except ValueError as error:
            raise ValueError(f"{error}; nothing was changed{run_dir.another(file)}") from None
    introduce(session, why, say)
    at = session.position
    say(f"run      {folder}")
    say(f"resumed  after {at.epoch} of {config.epochs} epochs and {at.step} of {session.per_epoch} steps\n")
    return _go_on(Run(folder, config), session, say)


def complete(dataset: Dataset, config: Config, out: TextIO | None = None) -> Run:
    """The run of this configuration in ``config.out``: read if it is over, gone on with if it was cut, else started.

    Raises ValueError where a run of other settings lies there.
    """
    folder = Path(config.out or "")
    if not (folder / "config.json").is_file():
        return train(dataset, config, out)
    run_dir.check_settings(folder, config)
    return resume(folder, out, dataset=dataset, device=config.device)


def _record_environment(session: Session, folder: Path) -> None:
    """One more entry in env.json: a run that is gone on with may have moved to another machine."""
    path = folder / "env.json"
    starts = run_dir.read_json(path) if path.exists() else []
    now = datetime.now(UTC).isoformat(timespec="seconds")
    found = {"seed": session.config.seed, "epoch": session.position.epoch, "started": now,
             **environment(session.digest)}  # fmt: skip
    run_dir.write_json(path, [*starts, found])


def _go_on(run: Run, session: Session, say: Console) -> Run:
    """Epoch after epoch to the end, then the test set; what was reached is kept whatever happens."""
    last, saved = run.folder / "last.npz", time.perf_counter()
    started, first = saved, session.position.epoch
    run.history = session.position.history

    # Small products, too, are left to one thread: on a busy machine BLAS's own threads wait long for one another.
    with lock_file(run.folder, "written to"), single_threaded_blas(), GracefulInterrupt() as stop:
        _record_environment(session, run.folder)
        if run.history:  # cut while it was written, the table may lack a row
            run_dir.write_metrics(run.folder / "metrics.csv", run.history)

        def after_step() -> None:
            nonlocal saved
            if stop.requested or time.perf_counter() - saved > SAVE_EVERY:
                session.save(last)
                saved = time.perf_counter()
            if stop.requested:
                raise KeyboardInterrupt

        say(HEADER)
        try:
            while session.position.epoch < run.config.epochs:
                with np.errstate(over="ignore", invalid="ignore"):  # a loss that is no number is told below, once
                    row = session.epoch(after_step, say.terminal, watch=session.watch)
                    row["val_loss"], row["val_accuracy"] = session.learner.evaluate(session.validation)
                if not math.isfinite(row["train_loss"] + row["val_loss"]):
                    raise NotFinite(f"the loss is no number any more in epoch {row['epoch']}")
                best = session.end_epoch(row)
                # The best first: cut between the two, the run does this epoch again and writes both.
                session.save(*([run.folder / "best.npz"] if best else []), last)
                saved = time.perf_counter()
                run.history = session.position.history
                run_dir.write_metrics(run.folder / "metrics.csv", run.history)
                left = (saved - started) / (row["epoch"] - first) * (run.config.epochs - row["epoch"])
                say(row_of(row, run.config.epochs, left, best))
                if stop.requested and row["epoch"] < run.config.epochs:
                    raise KeyboardInterrupt
        except KeyboardInterrupt:
            say(f"stopped  {_what_is_left(run)}")
            raise
        except NotFinite as error:
            raise NotFinite(
                f"{_retold(run, session, error)}: try a smaller --lr than {run.config.lr:g}; "
                + _what_is_left(run, of_use=False)
            ) from None
        except OSError as error:
            why = error.strerror or error
            raise OSError(f"{run.folder}: {why}; {_what_is_left(run)}") from None
        run_final_test(run, session, say)
        if stop.requested:
            raise KeyboardInterrupt
    return run


def _retold(run: Run, session: Session, error: NotFinite) -> str:
    """The fault with its step and place: a GPU that nobody makes wait tells of it late, so the epoch is replayed."""
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


def _what_is_left(run: Run, *, of_use: bool = True) -> str:
    """What a run that ends early leaves behind, in words; a folder in which nothing was learned is taken away.

    Where the same would happen again it is of no use to go on.
    """
    if not any((run.folder / name).exists() for name in ("last.npz", "best.npz")):
        for name in ("config.json", "env.json"):
            (run.folder / name).unlink(missing_ok=True)
        with suppress(OSError):  # something else lies in it
            run.folder.rmdir()
        return "it had not come far enough to keep anything"
    if not of_use:
        return f"the networks of {len(run.history)} epochs before, the last and the best, stay in {run.folder}"
    return f"what it had reached is in {run.folder}; go on with: se-numpy train --resume {run.folder}"
