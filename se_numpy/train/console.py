"""Console output of a run: its settings, the epoch table, the estimated time and the test result."""

import io
import math
import platform
import sys
from itertools import groupby
from typing import TextIO

import numpy as np
from tqdm import tqdm

from se_numpy.complexity import count_parameters
from se_numpy.data import augmentation
from se_numpy.data.glyphs import PLAIN_BOUND
from se_numpy.data.summary import describe, imbalance
from se_numpy.engine import threads
from se_numpy.train.config import Config
from se_numpy.train.estimate import seconds_in_total, seconds_per_epoch
from se_numpy.train.session import Session
from se_numpy.train.task import Classification, Task
from se_numpy.wrapping import plural, terminal_columns, wrap_text


class Console:
    """A writer of lines to a stream; in a terminal, lines appear above the progress bar."""

    def __init__(self, out: TextIO | None) -> None:
        self.out = out or sys.stdout
        self.terminal = self.out if self.out.isatty() else None

    @property
    def columns(self) -> int | None:
        """The number of columns to fill in the terminal; None for a file or a pipe."""
        return terminal_columns() if self.terminal else None

    def __call__(self, line: str) -> None:
        try:
            tqdm.write(line, file=self.out)
            self.out.flush()
        except OSError:  # the reader of a pipe has exited, or the disk is full; the run continues without output
            self.out, self.terminal = io.StringIO(), None


def recipe(session: Session) -> str:
    """Return a line with the number of epochs, the batch size, the schedule and the augmentation."""
    config, n = session.config, len(session.training)
    epochs = plural(config.epochs - config.continued, "more epoch" if config.continued else "epoch")
    batches = f"batch size {config.batch_size}" if config.batch_size < n else f"all {n:,} images in one batch"
    optimiser = {"sgd": "", "adamw": "AdamW, "}[config.optimiser]
    schedule = f"{optimiser}{config.schedule} schedule with lr {config.lr:g}"
    more = "".join(f", {words}" for words in extras(config))
    return wrap_text(f"recipe   {epochs}, {batches}, {schedule}, {augmentation.describe(config.augment)}{more}", 9)


def extras(config: Config) -> list[str]:
    """Return a few words for each setting of the training that is off by default."""
    words = []
    if config.lr_scale != 1:
        words.append(f"loaded weights at {config.lr_scale:g} of the learning rate")
    if config.freeze:
        words.append(f"stages {', '.join(map(str, config.freeze))} frozen")
    if config.class_weights is not None:
        words.append("balanced class weights" if config.class_weights == "balanced" else "class weights")
    if config.clip_norm is not None:
        words.append(f"gradients clipped at norm {config.clip_norm:g}")
    if config.ema is not None:
        words.append(f"EMA of the weights with decay {config.ema:g}")
    if config.patience is not None:
        words.append(f"ends after {plural(config.patience, 'epoch')} without a better held-out accuracy")
    return words


def introduce(session: Session, why: str, say: Console) -> None:
    """Print the model, the data and the device; ``why`` is the reason for choosing the device."""
    config, dataset, device = session.config, session.dataset, session.device
    cores = f"{threads()} thread{'s' * (threads() != 1)}, " if device == "cpu" else ""
    images = plural(len(session.training), "training image")
    advice = "; --class-weights balanced weights them" if config.class_weights is None else ""
    for line in (
        f"model    {config.model}, {count_parameters(session.net, dataset.image_shape):,} parameters",
        f"data     {dataset.source}",
        *([f"         {describe(dataset)}"] if dataset.found else []),
        f"         {images}, {len(session.validation):,} held out to choose the epoch",
        *([f"init     {session.init_note}"] if session.init_note else []),
        *([f"note     {note}{advice}"] if session.task.counts and (note := imbalance(dataset)) else []),
        f"device   {device} ({why}), {cores}numpy {np.__version__}, Python {platform.python_version()}",
    ):
        say(wrap_text(line, 9))


def forecast(session: Session, per_step: float) -> str:
    """Return a line with the estimated time of the whole run."""
    total = seconds_in_total(session, per_step)
    steps = f"{session.per_epoch} step{'s' * (session.per_epoch != 1)} per epoch"
    return wrap_text(f"time     {1e3 * per_step:.0f} ms per step, {steps}: about {duration(total)} in total\n", 9)


def epochs_within(budget: float, session: Session, per_step: float) -> int:
    """Return the number of epochs that fit into ``budget`` seconds.

    Raises
    ------
    ValueError
        If a single epoch takes longer.
    """
    one = seconds_per_epoch(session, per_step)
    if one > budget:
        steps = session.per_epoch - (one - budget) / per_step  # evaluation takes the same time
        hint = f"try --subset {int(steps) * session.config.batch_size}" if steps >= 1 else "give more time"
        raise ValueError(f"one epoch takes {duration(one)}, longer than the time budget of {duration(budget)}; {hint}")
    return int(budget / one)


def remark(data: str, model: str, accuracy: float) -> str:
    """Return a note that explains a result on the built-in data set, or "" if there is nothing to explain."""
    if data == "builtin" and model == "resnet8":
        return (
            f"note     this network cannot exceed {100 * PLAIN_BOUND:.0f} % on this data set, because no position in "
            "it sees both the strip and the glyphs; with SE blocks it can: --model se_resnet8"
        )
    if data == "builtin" and model == "se_resnet8" and accuracy > PLAIN_BOUND:
        return (
            f"note     without SE blocks this network cannot exceed {100 * PLAIN_BOUND:.0f} % on this data set "
            "(se_numpy/data/glyphs.py explains why); compare with --model resnet8"
        )
    return ""


def wilson(share: float, n: int, z: float = 1.96) -> tuple[float, float]:
    """Return the Wilson score interval of a proportion observed in n trials; the default z gives 95 % confidence.

    References
    ----------
    Wilson, Probable Inference, the Law of Succession, and Statistical Inference, 1927.
    """
    centre = (share + z * z / (2 * n)) / (1 + z * z / n)
    half = z / (1 + z * z / n) * math.sqrt(share * (1 - share) / n + z * z / (4 * n * n))
    return max(0.0, centre - half), min(1.0, centre + half)


def format_result(result: dict[str, float], task: Task) -> str:
    """Return the metrics on the test images, of an accuracy with its 95 % interval, and the epoch of the network."""
    n = int(result["test_images"])
    found = ", ".join(
        f"{word} {100 * result[f'test_{name}']:.2f} %" for name, word in zip(task.metrics, task.words, strict=True)
    )
    if task.counts:
        low, high = wilson(result[f"test_{task.metric}"], n)
        found = f"{found} on {plural(n, 'image')} (95 % interval {100 * low:.1f} to {100 * high:.1f} %)"
    else:
        found = f"{found} on {plural(n, 'image')}"
    return wrap_text(
        f"\ntest     {found}\n"
        f"         network from epoch {result['epoch']:.0f}, after {duration(result['seconds'])} of training", 9
    )  # fmt: skip


COLUMNS = {  # key: group, heading, width
    "lr": ("", "lr", 9),
    "train_loss": ("training", "loss", 8),
    "train_accuracy": ("training", "acc %", 8),
    "val_loss": ("held out", "loss", 8),
    "val_accuracy": ("held out", "acc %", 9),
    "raw_val_accuracy": ("no EMA", "acc %", 9),
    "images_per_second": ("", "img/s", 8),
    "seconds": ("", "time", 8),
    "left": ("", "left", 8),
}
DROPPED_FIRST = (
    "images_per_second", "lr", "seconds", "train_accuracy", "val_loss", "left", "train_loss", "raw_val_accuracy",
)  # fmt: skip
BEST = "  best"  # marks the best epoch so far


class EpochTable:
    """The table of epochs; in a narrow terminal it leaves out the columns of ``DROPPED_FIRST``, in this order."""

    def __init__(self, epochs: int, columns: int | None, *, ema: bool = False, task: Task | None = None) -> None:
        self.epochs, self.digits, self.task = epochs, max(3, len(str(epochs))), task or Classification()
        without = {key for key, left_out in (("raw_val_accuracy", not ema), ("train_accuracy", not self.task.counts))
                   if left_out}  # fmt: skip
        self.shown = {key: (group, heading.replace("acc", self.task.head), width)
                      for key, (group, heading, width) in COLUMNS.items() if key not in without}  # fmt: skip
        for key in DROPPED_FIRST:
            if columns is not None and self._width() > columns:
                self.shown.pop(key, None)

    def _width(self) -> int:
        return 2 * self.digits + 1 + sum(width for *_, width in self.shown.values()) + len(BEST)

    def header(self) -> str:
        """Return the two lines above the rows: groups and headings."""
        first, second = " " * (2 * self.digits + 1), f"{'epoch':>{2 * self.digits + 1}}"
        for group, members in groupby(self.shown.values(), key=lambda column: column[0]):
            headings = "".join(f"{heading:>{width}}" for _, heading, width in members)
            first += f"{group:>{(len(headings) + len(group) + 1) // 2}}".ljust(len(headings))  # centred
            second += headings
        return f"{first.rstrip()}\n{second}"

    def row(self, row: dict[str, float], left: float, best: bool) -> str:
        """Return the line of one epoch; ``left`` is the estimated time to the end of the run, in seconds."""
        cells = {
            "lr": _decimals(row["lr"], 5, 7),
            "train_loss": _decimals(row["train_loss"], 4, 7), "val_loss": _decimals(row["val_loss"], 4, 7),
            **{f"{part}_accuracy": f"{100 * row.get(f'{part}_{self.task.metric}', math.nan):.2f}"
               for part in ("train", "val", "raw_val")},
            "images_per_second": f"{row['images_per_second']:,.0f}",
            "seconds": duration(row["seconds"]), "left": duration(left),
        }  # fmt: skip
        epoch = f"{row['epoch']:>{self.digits}}/{self.epochs:<{self.digits}}"
        return epoch + "".join(f"{cells[key]:>{width}}" for key, (*_, width) in self.shown.items()) + BEST * best


def _decimals(value: float, digits: int, width: int) -> str:
    """Format a number with ``digits`` decimals, or fewer if it would be wider than ``width``."""
    texts = (f"{value:.{n}f}" for n in range(digits, -1, -1))
    return next((text for text in texts if len(text) <= width), f"{value:.0e}")


def duration(seconds: float) -> str:
    """Format seconds as 48s, 3m05s or 2h10m."""
    minutes, s = divmod(round(seconds), 60)
    hours, m = divmod(minutes, 60)
    return f"{hours}h{m:02d}m" if hours else f"{m}m{s:02d}s" if m else f"{s}s"
