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

from se_numpy import checkpoint, data
from se_numpy.data import Dataset
from se_numpy.data.dataset import check_dataset
from se_numpy.engine import single_threaded_blas
from se_numpy.layers import Layer
from se_numpy.shapes import whole
from se_numpy.train import run_dir
from se_numpy.train.config import Config, choose_device, with_network
from se_numpy.train.console import Console, EpochTable, epochs_within, forecast, introduce, recipe
from se_numpy.train.environment import environment
from se_numpy.train.final_test import CURVES, draw, run_final_test
from se_numpy.train.interrupt import GracefulInterrupt
from se_numpy.train.nan_check import NotFinite
from se_numpy.train.run_dir import RESUME, Run
from se_numpy.train.session import Session
from se_numpy.train.tasks import TASKS
from se_numpy.wrapping import plural, wrap_text

SAVE_EVERY = 60  # seconds; at most this much work is lost in a power cut


def train(
    dataset: Dataset, config: Config, out: TextIO | None = None, *, time_budget: float | None = None,
    dry_run: bool = False, net: Layer | None = None,
) -> Run:  # fmt: skip
    """Train on ``dataset`` as ``config`` says and write the run folder, printing progress to ``out`` (stdout).

    ``time_budget``, in seconds, determines the number of epochs in place of the configuration. ``dry_run`` prints the
    settings and the estimated time, and writes nothing. ``net`` is a network of your own in place of the model that
    ``config`` names; its description is saved with the run, so that ``resume`` and ``Trained.load`` build it again.

    Raises
    ------
    ValueError
        If a setting does not fit the network or the data, or the run folder is not empty.
    TypeError
        If ``dataset`` is not a Dataset, or ``config`` not a Config, or ``net`` has layers that are not registered.
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
    config = _with_data_name(config if net is None else with_network(config, net), dataset)
    run_dir.check_free(config.out)
    device, why = choose_device(config.device)
    session = Session(dataset, config, device)
    session.start()
    introduce(session, why, say)
    seconds = session.seconds_per_step()
    if time_budget is not None:
        config = replace(config, epochs=epochs_within(time_budget, session, seconds))
        session = Session(dataset, config, device)
        session.start()
    say(recipe(session))
    if dry_run:
        say(forecast(session, seconds) + "dry run  nothing was trained, nothing was written")
        return Run(Path(config.out or ""), config)
    with run_dir.new_folder(config) as folder:
        run_dir.write_json(folder / "config.json", asdict(config))
        say(f"run      {folder}\n{forecast(session, seconds)}")
        return _train_to_end(Run(folder, config), session, say)


def _with_data_name(config: Config, dataset: Dataset) -> Config:
    """Return the settings with the name of this data set, in case they were made for another one."""
    return replace(config, data=data.recorded_name(dataset))


def resume(run: str | Path, out: TextIO | None = None, *, dataset: Dataset | None = None, device: str = "") -> Run:
    """Resume an interrupted run, given its folder, one of its checkpoints, or "last" for the newest unfinished run.

    The data set is loaded from the same place as before unless it is given. A finished run is only read, and its curves
    are drawn if they are missing.

    Raises
    ------
    ValueError
        If the run does not exist, its checkpoint is damaged or belongs to another run, or the data set differs from
        that of the run; the files are not changed.
    RuntimeError, NotFinite, OSError, KeyboardInterrupt
        As ``train`` does.
    """
    say = Console(out)
    folder, file = run_dir.find(run)
    with run_dir.locked(folder):
        config = run_dir.settings_of(folder)
        if dataset is not None:
            _check_data(folder, dataset)
        if finished := run_dir.finished(folder):
            _read_finished(finished, dataset, say)
            return finished
        dataset = dataset or _load_data(folder, config)
        chosen, why = choose_device(device or config.device)
        session = Session(dataset, config, chosen)
        if file.exists():
            _restore(session, file)
        else:
            session.start()
        run_dir.remove_leftovers(folder)
        introduce(session, why, say)
        at = session.position
        say(f"run      {folder}")
        progress = f"{at.epoch} of {config.epochs} epochs and {at.step} of {session.per_epoch} steps"
        say(wrap_text(f"resumed  after {progress}\n", 9))
        return _train_to_end(Run(folder, config), session, say)


RESTART = 0.1  # the learning rate of a continued run as a fraction of the rate that it began with


def extend(
    run: str | Path, epochs: int, out: TextIO | None = None, *, dataset: Dataset | None = None,
    folder: str | None = None, lr: float | None = None, schedule: str | None = None, device: str = "",
) -> Run:  # fmt: skip
    """Train a finished run for more epochs, in a new folder; the finished run is kept as it is.

    The network, the state of the optimiser and the history continue from its last epoch. The learning rate follows a
    new schedule over the added epochs: that of the run, or ``schedule``, with a tenth of the run's rate, or ``lr``.

    Raises
    ------
    ValueError
        As ``resume`` does, and if the run is not finished, or the new folder is not empty.
    RuntimeError, NotFinite, OSError, KeyboardInterrupt
        As ``train`` does.
    """
    say = Console(out)
    old, _ = run_dir.find(run)
    finished = run_dir.finished(old)
    if finished is None:
        raise ValueError(f"{old} is not finished; finish it before it is trained longer: {RESUME} {quote(str(old))}")
    done = len(finished.history)
    config = replace(
        finished.config, epochs=done + whole("epochs", epochs), continued=done, out=folder,
        lr=RESTART * finished.config.lr if lr is None else lr, schedule=schedule or finished.config.schedule,
        device=device or finished.config.device,
    )  # fmt: skip
    run_dir.check_free(config.out)
    if dataset is not None:
        _check_data(old, dataset)
    dataset = dataset or _load_data(old, finished.config)
    chosen, why = choose_device(config.device)
    before, session = Session(dataset, finished.config, chosen), Session(dataset, config, chosen)
    best, best_meta = before.read(old / "best.npz")
    session.continue_from(*before.read(old / "last.npz"))
    introduce(session, why, say)
    say(wrap_text(f"continue {old} after {plural(done, 'epoch')}", 9))
    say(recipe(session))
    seconds = session.seconds_per_step()
    with run_dir.new_folder(config) as new:
        checkpoint.save(new / "best.npz", best, best_meta | {"config": asdict(config)})
        session.save(new / "last.npz")
        run_dir.write_json(new / "config.json", asdict(config))
        say(f"run      {new}\n{forecast(session, seconds)}")
        return _train_to_end(Run(new, config), session, say)


def _load_data(folder: Path, config: Config) -> Dataset:
    """Load the data set of a run, which must not have changed since."""
    try:
        dataset = data.load(config.data, **data.reading(vars(config)))
    except data.DataError as error:
        if config.data.startswith(data.OWN):
            raise ValueError(f"{error}; {run_dir.resume_in_python(folder)}") from None
        raise
    _check_data(folder, dataset)
    return dataset


def _check_data(folder: Path, dataset: Dataset) -> None:
    """Raise ValueError if the run in the folder was trained on a data set other than this one."""
    recorded = run_dir.data_digest(folder)
    if recorded is not None and recorded != (found := data.digest(dataset)):
        raise ValueError(
            f"{folder} belongs to a run on a data set other than {dataset.source} (its SHA-256 begins with "
            f"{recorded[:8]}, not {found[:8]}); nothing was changed; give --data the run's own data set, or "
            f"{run_dir.resume_in_python(folder)}"
        )


def _restore(session: Session, file: Path) -> None:
    """Continue from a checkpoint; if it cannot be used but the other one in its folder can, suggest that."""
    try:
        session.restore(file)
    except ValueError as error:
        hint, other = "", file.with_name("best.npz" if file.name == "last.npz" else "last.npz")
        with suppress(ValueError, OSError):
            session.restore(other)
            how = run_dir.how_to_resume(other, session.dataset).removeprefix("resume with: ")
            hint = f"; {other.name}, from epoch {session.position.epoch}, is intact: {how}"
        raise ValueError(f"{error}; nothing was changed{hint}") from None


def _read_finished(run: Run, dataset: Dataset | None, say: Console) -> None:
    """Print the result of a finished run; draw its curves if it was killed before that or matplotlib was missing."""
    task = TASKS[run.config.task]
    score = 100 * run.result[f"test_{task.metric}"]
    say(wrap_text(f"run      {run.folder} is finished: test {task.words[0]} {score:.2f} %\n"
                  f"         to train longer: {RESUME} {quote(str(run.folder))} --epochs N", 9))  # fmt: skip
    if (run.folder / CURVES).exists():
        return
    session = None
    with suppress(ValueError, OSError):  # without the data or the network, the curves are drawn without images
        session = Session(dataset or _load_data(run.folder, run.config), run.config, "cpu")
        session.learner.restore(session.read(run.folder / "best.npz")[0])
    try:
        draw(run, session, say)
    except OSError as error:
        say(wrap_text(f"curves   not drawn: {error.strerror}", 9))


def complete(dataset: Dataset, config: Config, out: TextIO | None = None) -> Run:
    """Complete the run with this configuration in ``config.out``: start it, resume it, or read it if it is finished.

    Raises
    ------
    ValueError
        If the folder contains a run with other settings.
    RuntimeError, NotFinite, OSError, KeyboardInterrupt
        As ``train`` does.
    """
    check_completable(dataset, config)
    folder = Path(config.out or "")
    if not (folder / "config.json").is_file():
        return train(dataset, config, out)
    return resume(folder, out, dataset=dataset, device=config.device)


def check_completable(dataset: Dataset, config: Config) -> None:
    """Check that ``complete`` can start or resume the run with this configuration.  Nothing is written.

    Raises
    ------
    ValueError
        If the folder contains a run with other settings or on another data set, or something else.
    OSError
        If the folder cannot be created.
    """
    folder = Path(config.out or "")
    if not (folder / "config.json").is_file():
        run_dir.check_free(config.out)
        return
    run_dir.check_settings(folder, _with_data_name(config, dataset))
    _check_data(folder, dataset)


def _record_environment(session: Session, folder: Path) -> None:
    """Append an entry to env.json: a resumed run may be on another machine."""
    now = datetime.now(UTC).isoformat(timespec="seconds")
    found = {"seed": session.config.seed, "epoch": session.position.epoch, "started": now,
             "data": session.dataset.name, **environment(session.digest)}  # fmt: skip
    run_dir.write_json(folder / "env.json", [*run_dir.read_starts(folder), found])


def _train_to_end(run: Run, session: Session, say: Console) -> Run:
    """Train the remaining epochs and evaluate on the test set; save the progress if this is interrupted."""
    last, saved = run.folder / "last.npz", time.perf_counter()
    started, first = saved, session.position.epoch
    run.history = session.position.history

    # On a busy machine BLAS threads wait a long time for each other, even for small products.
    with single_threaded_blas(), GracefulInterrupt() as stop:
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

        table = EpochTable(run.config.epochs, say.columns, ema=session.ema is not None, task=session.task)
        say(table.header())
        try:
            while session.position.epoch < run.config.epochs and not session.out_of_patience:
                with np.errstate(over="ignore", invalid="ignore"):  # reported once, below
                    row = session.epoch(after_step, say.terminal, watch=session.watch)
                    row |= session.validate(say.terminal)
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
                if stop.requested and row["epoch"] < run.config.epochs and not session.out_of_patience:
                    raise KeyboardInterrupt
            if session.position.epoch < run.config.epochs:
                waited = plural(run.config.patience or 0, "epoch")
                say(wrap_text(f"\nstopped  early: {waited} without a better held-out {session.task.words[0]}", 9))
        except KeyboardInterrupt:
            ending = _after_early_end(run, session).replace(f" {RESUME}", f"\n         {RESUME}")
            say(wrap_text(f"stopped  {ending}", 9))
            raise
        except NotFinite as error:
            raise NotFinite(
                f"{_located(run, session, error)}; try a smaller --lr than {run.config.lr:g}; "
                + _after_early_end(run, session, resumable=False)
            ) from None
        except OSError as error:
            reason = error.strerror or error
            raise OSError(f"{run.folder}: {reason}; {_after_early_end(run, session)}") from None
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
    else:
        again.start()
    with suppress(Exception), np.errstate(over="ignore", invalid="ignore"):
        try:
            again.epoch(lambda: None, None, watch=True)
        except NotFinite as found:
            return str(found)
    return str(error)


def _after_early_end(run: Run, session: Session, *, resumable: bool = True) -> str:
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
    return f"the progress is saved in {run.folder}; {run_dir.how_to_resume(run.folder, session.dataset)}"
