"""The trainer: a configuration in, a folder with a trained network, its numbers and its curves out.

Every random number comes from the seed and its purpose alone (initial weights, the split, one epoch's order and crops),
so the same seed on the same machine gives the same numbers, and an epoch can be drawn again without those before it.
"""

import json
import math
import platform
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, TextIO

import numpy as np
from tqdm import tqdm

import se_numpy
from se_numpy import checkpoint, optim
from se_numpy.backend import Array, threads
from se_numpy.complexity import count_parameters
from se_numpy.data import Dataset
from se_numpy.data.batches import Draws, Images, Normalisation, draw
from se_numpy.data.glyphs import PLAIN_BOUND
from se_numpy.train.config import Config, choose_device, run_folder
from se_numpy.train.learner import Learner, stream
from se_numpy.train.report import HEADER, append_metrics, duration, remark, row_of, wilson

VALIDATION_SHARE = 0.1  # of the training images, held out to choose the epoch by; at most 5,000


@dataclass
class Run:
    """A run's folder, its history (a row an epoch) and, at the end, how the chosen network did on the test set."""

    folder: Path
    config: Config
    history: list[dict[str, float]] = field(default_factory=list)
    result: dict[str, float] = field(default_factory=dict)


def train(dataset: Dataset, config: Config, out: TextIO | None = None) -> Run:
    """Train on ``dataset`` as ``config`` says, writing the run folder as it goes, telling ``out`` (stdout) how it goes.

    The folder holds config.json, metrics.csv (a row an epoch), last.npz and best.npz, result.json and, with matplotlib,
    curves.png. Raises ValueError or RuntimeError with one sentence for people, FloatingPointError if the loss is no
    number any more.
    """
    out = out or sys.stdout
    terminal = out if out.isatty() else None

    def say(line: str) -> None:
        tqdm.write(line, file=out)
        out.flush()

    device, why = choose_device(config.device)
    net = config.network(len(dataset.classes))
    learn_from, held_out = split(dataset, config.seed)
    learn_from = learn_from[: config.subset]
    normalise = Normalisation.of(dataset.train_images[learn_from])
    training = Images(dataset.train_images[learn_from], dataset.train_labels[learn_from], normalise, device)
    validation = Images(dataset.train_images[held_out], dataset.train_labels[held_out], normalise, device)
    learner = Learner(net, dataset.image_shape, config.seed, device)
    optimiser = optim.SGD(config.momentum, config.weight_decay)
    per_epoch = -(-len(training) // config.batch_size)
    schedule = optim.SCHEDULES[config.schedule](config.lr, per_epoch * config.epochs)

    cores = f"{threads()} threads, " if device == "cpu" else ""
    folder = run_folder(config)  # from here on something is written
    (folder / "config.json").write_text(json.dumps(asdict(config), indent=2) + "\n")
    say(f"model    {config.model}, {count_parameters(net, dataset.image_shape):,} parameters")
    say(f"data     {dataset.source}")
    say(f"         {len(training):,} images to learn from, {len(validation):,} held out to choose the epoch by")
    say(f"recipe   {config.epochs} epochs in batches of {config.batch_size}, {config.schedule} with lr {config.lr:g}, "
        f"{'crops and flips' if config.augment else 'images as they are'}")  # fmt: skip
    say(f"device   {device} ({why}), {cores}numpy {np.__version__}, Python {platform.python_version()}")
    say(f"run      {folder}")
    run = Run(folder, config)
    try:
        seconds = _seconds_per_step(learner, training, config, optimiser)
        total = config.epochs * (seconds * per_epoch + 0.35 * seconds * len(validation) / config.batch_size)
        say(f"time     {1e3 * seconds:.0f} ms a step, {per_epoch} steps an epoch: about {duration(total)} in all\n")
        say(HEADER)
        started = time.perf_counter()
        for epoch in range(config.epochs):
            with np.errstate(over="ignore", invalid="ignore"):  # a loss that is no number is told below, once
                row = _epoch(learner, training, config, optimiser, schedule, epoch, per_epoch, terminal)
                row["val_loss"], row["val_accuracy"] = learner.evaluate(validation)
            if not math.isfinite(row["train_loss"] + row["val_loss"]):
                raise FloatingPointError(
                    f"the loss is no number any more in epoch {epoch + 1}: try a smaller --lr than {config.lr:g}; "
                    + _what_is_left(run)
                )
            run.history.append(row)
            is_best = row["val_accuracy"] >= max(r["val_accuracy"] for r in run.history)
            meta = _meta(run, dataset, normalise)
            checkpoint.save(folder / "last.npz", learner.trees(), meta)
            if is_best:
                checkpoint.save(folder / "best.npz", learner.trees(), meta)
            append_metrics(folder / "metrics.csv", row)
            left = (time.perf_counter() - started) / (epoch + 1) * (config.epochs - epoch - 1)
            say(row_of(row, config.epochs, left, is_best))
    except KeyboardInterrupt:
        say(f"stopped  {_what_is_left(run)}")
        raise
    _finish(run, learner, dataset, normalise, device, time.perf_counter() - started, say)
    return run


def _what_is_left(run: Run) -> str:
    """What a run that ends early leaves behind, in words; a folder without a network is taken away."""
    if run.history:
        return f"the networks of the last and of the best epoch, of {len(run.history)}, stay in {run.folder}"
    (run.folder / "config.json").unlink(missing_ok=True)
    with suppress(OSError):  # something else lies in it
        run.folder.rmdir()
    return "no epoch had ended, so nothing is kept"


def _epoch(
    learner: Learner, training: Images, config: Config, optimiser: optim.SGD,
    schedule: optim.Schedule, epoch: int, per_epoch: int, terminal: TextIO | None,
) -> dict[str, float]:  # fmt: skip
    """One pass over the training images; the loss is read back only as often as somebody can look at it."""
    draws = draw(stream(config.seed, "epoch", epoch), len(training), augment=config.augment).to(learner.device)
    loss, right, started = 0.0, 0.0, time.perf_counter()
    with tqdm(total=per_epoch, desc=f"epoch {epoch + 1}/{config.epochs}", unit="step", mininterval=0.5,
              leave=False, file=terminal, disable=terminal is None) as bar:  # fmt: skip
        for i, (X, labels) in enumerate(batches(training, draws, config.batch_size)):
            at = epoch * per_epoch + i
            loss_i, right_i = learner.step(
                X, labels, optimiser, schedule(at),
                smoothing=config.label_smoothing, rng=stream(config.seed, "dropout", at),
            )  # fmt: skip
            loss, right = loss + loss_i * len(labels), right + right_i
            if bar.update():
                bar.set_postfix(loss=f"{float(loss_i):.3f}", refresh=False)
    n = len(training)
    loss, right = float(loss), float(right)  # waits for a GPU, so the clock below is honest
    seconds = time.perf_counter() - started
    return {
        "epoch": epoch + 1, "lr": schedule((epoch + 1) * per_epoch - 1), "train_loss": loss / n,
        "train_accuracy": right / n, "seconds": seconds, "images_per_second": n / seconds,
    }  # fmt: skip


def batches(images: Images, draws: Draws, batch_size: int) -> Iterator[tuple[Array, Array]]:
    """The batches of one epoch; the last may be smaller."""
    for start in range(0, len(images), batch_size):
        yield images.batch(draws, slice(start, start + batch_size))


def _seconds_per_step(learner: Learner, training: Images, config: Config, optimiser: optim.SGD) -> float:
    """The median of a few steps, which are then undone."""
    before = [a.copy() for a in (learner.w, learner.v, learner.running)]
    draws = draw(stream(config.seed, "warm-up"), len(training), augment=config.augment)
    times = []
    for _ in range(4):
        start = time.perf_counter()
        X, labels = training.batch(draws, slice(0, config.batch_size))
        loss, _ = learner.step(X, labels, optimiser, 0.0, rng=stream(config.seed, "warm-up"))
        float(loss)
        times.append(time.perf_counter() - start)
    for a, b in zip((learner.w, learner.v, learner.running), before, strict=True):
        a[...] = b
    return sorted(times[1:])[1]


def _finish(
    run: Run, learner: Learner, dataset: Dataset, normalise: Normalisation, device: str, seconds: float,
    say: Callable[[str], None],
) -> None:  # fmt: skip
    """The test set, once, with the network of the best epoch; then what people want to see."""
    trees, meta = checkpoint.load(run.folder / "best.npz")
    learner.restore(trees)
    test = Images(dataset.test_images, dataset.test_labels, normalise, device)
    loss, accuracy = learner.evaluate(test)
    n = len(test)
    run.result = {"test_loss": loss, "test_accuracy": accuracy, "test_images": n, "seconds": seconds,
                  "epoch": meta["history"][-1]["epoch"]}  # fmt: skip
    (run.folder / "result.json").write_text(json.dumps(run.result, indent=2) + "\n")
    low, high = wilson(accuracy, n)
    say(
        f"\ntest     {100 * accuracy:.2f} % of {n:,} images (95 % interval {100 * low:.1f} to {100 * high:.1f} %)\n"
        f"         by the network of epoch {run.result['epoch']}, after {duration(seconds)} of training"
    )
    for line in remark(dataset.name, run.config.model, accuracy):
        say(line)
    try:
        from se_numpy.train.figures import curves

        title = f"{run.config.model} on {dataset.name}: {100 * accuracy:.1f} % of the test images right"
        bound = (PLAIN_BOUND, "no resnet8 without SE passes this") if dataset.name == "builtin" else None
        curves(run.history, run.folder / "curves.png", title=title, bound=bound)
        say(f"curves   {run.folder / 'curves.png'}")
    except ImportError:
        say("curves   not drawn: matplotlib is missing (pip install matplotlib)")


def split(dataset: Dataset, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Indices of the training images to learn from and of those held out to choose the epoch by."""
    n = len(dataset.train_labels)
    held_out = min(5000, max(1, round(VALIDATION_SHARE * n)))
    order = stream(seed, "split").permutation(n)
    return order[held_out:], order[:held_out]


def _meta(run: Run, dataset: Dataset, normalise: Normalisation) -> dict[str, Any]:
    return {
        "format": 1, "se_numpy": se_numpy.__version__, "config": asdict(run.config), "history": run.history,
        "classes": list(dataset.classes), "image_shape": list(dataset.image_shape),
        "mean": normalise.mean.tolist(), "std": normalise.std.tolist(),
    }  # fmt: skip
