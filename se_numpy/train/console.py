"""How a run tells of itself: rows for people, an honest interval, and what a result means."""

import io
import math
import platform
import sys
from typing import TextIO

import numpy as np
from tqdm import tqdm

from se_numpy.complexity import count_parameters
from se_numpy.data.glyphs import PLAIN_BOUND
from se_numpy.engine import threads
from se_numpy.train.session import Session
from se_numpy.wrapping import wrap_text


class Console:
    """Says things on a stream, above the progress bar where the stream is a terminal."""

    def __init__(self, out: TextIO | None) -> None:
        self.out = out or sys.stdout
        self.terminal = self.out if self.out.isatty() else None

    def __call__(self, line: str) -> None:
        try:
            tqdm.write(line, file=self.out)
            self.out.flush()
        except BrokenPipeError:  # who was reading has gone; the run has not
            self.out, self.terminal = io.StringIO(), None


def recipe(session: Session) -> str:
    """How it is trained, as a line."""
    config, n = session.config, len(session.training)
    epochs = f"{config.epochs} epoch{'s' * (config.epochs != 1)}"
    batches = f"in batches of {config.batch_size}" if config.batch_size < n else f"of one batch of all {n:,} images"
    return wrap_text(f"recipe   {epochs} {batches}, {config.schedule} with lr {config.lr:g}, "
                   f"{'crops and flips' if config.augment else 'images as they are'}", 9)  # fmt: skip


def introduce(session: Session, why: str, say: Console) -> None:
    """What is trained, on what, where; ``why`` there."""
    config, dataset, device = session.config, session.dataset, session.device
    cores = f"{threads()} threads, " if device == "cpu" else ""
    for line in (
        f"model    {config.model}, {count_parameters(session.net, dataset.image_shape):,} parameters",
        f"data     {dataset.source}",
        f"         {len(session.training):,} images to learn from, {len(session.validation):,} held out to choose the "
        "epoch by",
        f"device   {device} ({why}), {cores}numpy {np.__version__}, Python {platform.python_version()}",
    ):
        say(wrap_text(line, 9))


def seconds_per_epoch(session: Session, per_step: float) -> float:
    """What an epoch will take, from what a step took."""
    forward_alone = 0.35  # of a step: what evaluation takes
    return per_step * (session.per_epoch + forward_alone * len(session.validation) / session.config.batch_size)


def forecast(session: Session, per_step: float) -> str:
    """What the whole run will take, as a line."""
    total = session.config.epochs * seconds_per_epoch(session, per_step)
    steps = f"{session.per_epoch} step{'s' * (session.per_epoch != 1)} an epoch"
    return wrap_text(f"time     {1e3 * per_step:.0f} ms a step, {steps}: about {duration(total)} in all\n", 9)


def epochs_within(budget: float, session: Session, per_step: float) -> int:
    """How many epochs fit into so many seconds; ValueError where not even one does."""
    one = seconds_per_epoch(session, per_step)
    if one > budget:
        steps = session.per_epoch - (one - budget) / per_step  # what is held out takes its time in any case
        hint = f"--subset {int(steps) * session.config.batch_size} would fit" if steps >= 1 else "expected more time"
        raise ValueError(f"one epoch takes {duration(one)}, longer than the time budget of {duration(budget)}; {hint}")
    return int(budget / one)


def remark(data: str, model: str, accuracy: float) -> list[str]:
    """What a result on the built-in set means; nothing where there is nothing to say."""
    if data == "builtin" and model == "resnet8":
        return [
            f"note     whatever it learns, this network cannot pass {100 * PLAIN_BOUND:.0f} % here, for no place",
            "         in it sees both the strip and the glyphs. SE does: --model se_resnet8",
        ]
    if data == "builtin" and model == "se_resnet8" and accuracy > PLAIN_BOUND:
        return [
            f"note     the same network without SE blocks cannot pass {100 * PLAIN_BOUND:.0f} % here, whatever it",
            "         learns (se_numpy/data/glyphs.py says why). See it: --model resnet8",
        ]
    return []


def wilson(share: float, n: int, z: float = 1.96) -> tuple[float, float]:
    """The 95 % interval of a share seen in n trials (Wilson, 1927); it never leaves 0 to 1."""
    centre = (share + z * z / (2 * n)) / (1 + z * z / n)
    half = z / (1 + z * z / n) * math.sqrt(share * (1 - share) / n + z * z / (4 * n * n))
    return max(0.0, centre - half), min(1.0, centre + half)


HEADER = """\
                   training        held out
  epoch       lr   loss   acc %    loss   acc %   img/s    time    left"""


def result_of(result: dict[str, float]) -> str:
    """How the chosen network did on the test set, with the interval that so few images leave."""
    accuracy, n = result["test_accuracy"], int(result["test_images"])
    low, high = wilson(accuracy, n)
    return wrap_text(
        f"\ntest     {100 * accuracy:.2f} % of {n:,} images (95 % interval {100 * low:.1f} to {100 * high:.1f} %)\n"
        f"         by the network of epoch {result['epoch']:.0f}, after {duration(result['seconds'])} of training", 9
    )  # fmt: skip


def row_of(row: dict[str, float], epochs: int, left: float, best: bool) -> str:
    """One epoch in columns of fixed width, below HEADER; ``left`` is how many seconds the rest may take."""
    return (
        f"{row['epoch']:>3}/{epochs:<3} {row['lr']:>8.5f}"
        f" {row['train_loss']:>6.4f}  {100 * row['train_accuracy']:>6.2f}"
        f"  {row['val_loss']:>6.4f}  {100 * row['val_accuracy']:>6.2f} {row['images_per_second']:>7,.0f}"
        f" {duration(row['seconds']):>7} {duration(left):>7}{'  best so far' if best else ''}"
    )


def duration(seconds: float) -> str:
    """Seconds as people say them: 48s, 3m05s, 2h10m."""
    minutes, s = divmod(round(seconds), 60)
    hours, m = divmod(minutes, 60)
    return f"{hours}h{m:02d}m" if hours else f"{m}m{s:02d}s" if m else f"{s}s"
