"""The state of a run: network, data, optimiser, schedule, and the position in the run.

Every random number depends only on the seed and its purpose (initial weights, the split, the order and the crops of an
epoch, the dropout of a step), so the position in the run determines the state of every generator: a run resumed from
any step draws the same numbers as one that was never interrupted.
"""

import math
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, TextIO

import numpy as np
from tqdm import tqdm

import se_numpy
from se_numpy import checkpoint, engine, optim, tree
from se_numpy.arrays import Array, to_device, to_host
from se_numpy.data import Dataset, digest
from se_numpy.data.batches import Draws, Normalisation, draw
from se_numpy.data.dataset import check_dataset
from se_numpy.engine import single_threaded_blas
from se_numpy.train import saved
from se_numpy.train.config import Config, difference
from se_numpy.train.estimate import check_memory, time_per_step
from se_numpy.train.learner import Learner, stream
from se_numpy.train.nan_check import NotFinite, finite
from se_numpy.train.rates import rates
from se_numpy.train.tasks import TASKS
from se_numpy.wrapping import terminal_columns

VALIDATION_SHARE = 0.1  # fraction of the training images held out to choose the epoch; at most 5,000 images
FORMAT = 2  # checkpoint format; format 1 cannot be resumed
if sys.platform == "emscripten":
    tqdm.monitor_interval = 0  # Pyodide starts no threads, and even a bar that is not shown would warn of that
NARROW_BAR = "{desc}: {percentage:3.0f}%|{bar}| {remaining}{postfix}"


@dataclass
class Position:
    """The position in a run: finished epochs, steps of the current epoch, and the sums over these steps."""

    epoch: int = 0
    step: int = 0
    loss: Array = 0.0  # sum over the images of these steps
    right: Array = 0
    seconds: float = 0.0
    history: list[dict[str, float]] = field(default_factory=list)  # a row for each epoch


class Session:
    """The state of a run between steps, built from ``config`` and ``dataset``."""

    def __init__(self, dataset: Dataset, config: Config, device: str) -> None:
        check_dataset(dataset)
        self.dataset, self.config, self.device = dataset, config, device
        self.digest = digest(dataset)
        self.task = TASKS[config.task]
        self.task.check_settings(asdict(config))
        self.classes = self.task.class_names(dataset)
        self.net = config.network(len(self.classes))
        training, held_out = split(dataset, config.seed)
        training = training[: config.subset]
        self.normalise = Normalisation.of(dataset.train_images, training)
        self.training, self.validation = self._images(training), self._images(held_out)
        self.learner = Learner(self.net, dataset.image_shape, config.seed, device, self.task)
        if self.learner.classes != len(self.classes):
            raise ValueError(
                f"the network returns {self.learner.classes} logits for each image; expected {len(self.classes)}, "
                f"one for each class of {dataset.name}"
            )
        self.optimiser, self.ema = config.optimiser_value(), optim.EMA(config.ema) if config.ema else None
        self.learner.hold(s=isinstance(self.optimiser, optim.AdamW), average=self.ema is not None)
        weights = config.weights_of_classes(dataset.train_labels[training], len(dataset.classes))
        self.class_weights = None if weights is None else to_device(weights, device)
        self.per_epoch = -(-len(self.training) // config.batch_size)
        self.before = self.per_epoch * config.continued  # steps of the run that this one continues
        self.planned = optim.SCHEDULES[config.schedule](config.lr, self.per_epoch * config.epochs - self.before)
        self.position = Position()
        self.loaded: list[str] = []  # the parameters that --init gave
        self.init_note = ""
        self._set_rates()

    def start(self) -> None:
        """Load the weights that the settings name, if any; ``init_note`` says what was loaded.

        Raises
        ------
        ValueError, OSError
            If they cannot be read, or nothing fits the network, or the run continues another one and has no checkpoint.
        """
        if self.config.continued:
            raise ValueError(
                f"the first {self.config.continued} epochs of this run (its setting continued) are those of another "
                "run, but it has no checkpoint to continue from; continue that run with --resume RUN --epochs N"
            )
        if self.config.init is not None:
            # Reached through the package when it is needed, because interop builds on this package.
            taken = se_numpy.interop.load_into(self.learner, self.config.init, self.classes)
            self.loaded, self.init_note = taken.names, taken.words
            if self.ema is not None:
                self.learner.average = None
                self.learner.hold(average=True)
            self._set_rates()

    def _set_rates(self) -> None:
        self.learner.rates = rates(self.learner, self.config.freeze, set(self.loaded), self.config.lr_scale)

    def _images(self, rows: np.ndarray) -> Any:
        return self.task.images(self.dataset, "train", self.normalise, self.device, rows)

    @property
    def watch(self) -> bool:
        """True if every loss is checked, as on a CPU; on a GPU, checking would wait for each step."""
        return self.device == "cpu"

    def schedule(self, k: int) -> float:
        """Return the learning rate of step k, counted over all epochs."""
        return self.planned(max(0, k - self.before))

    def epoch(self, after_step: Callable[[], None], terminal: TextIO | None, *, watch: bool) -> dict[str, float]:
        """Train the remaining steps of the epoch and return its row of the history.

        ``after_step`` is called after each step, when ``position`` is up to date. ``terminal`` shows a progress bar.
        With ``watch`` each loss is checked, which makes the host wait for the GPU.

        Raises
        ------
        NotFinite
            If ``watch`` is set and a loss is NaN or infinite; the message names the step and the layer.
        """
        config, at, started = self.config, self.position, time.perf_counter() - self.position.seconds
        draws = draw(stream(config.seed, "epoch", at.epoch), len(self.training), augment=config.augment).to(self.device)
        columns = terminal_columns()
        with tqdm(total=self.per_epoch, initial=at.step, desc=f"epoch {at.epoch + 1}/{config.epochs}", unit="step",
                  mininterval=0.5, leave=False, file=terminal, disable=terminal is None, ncols=columns,
                  bar_format=NARROW_BAR if columns < 70 else None) as bar:  # fmt: skip
            for X, truth in batches(self.training, draws, config.batch_size, at.step):
                loss, right = self._step(X, truth, watch)
                at.loss, at.right, at.step = at.loss + loss * len(X), at.right + right, at.step + 1
                at.seconds = time.perf_counter() - started
                after_step()
                if bar.update():
                    bar.set_postfix(loss=f"{float(loss):.3f}", refresh=False)
        n = len(self.training)
        loss, right = float(at.loss), float(at.right)  # wait for the GPU before the clock is read
        seconds = time.perf_counter() - started
        training = {"train_loss": loss / n} | ({f"train_{self.task.metric}": right / n} if self.task.counts else {})
        return {
            "epoch": at.epoch + 1, "lr": self.schedule((at.epoch + 1) * self.per_epoch - 1), **training,
            "seconds": seconds, "images_per_second": n / seconds,
        }  # fmt: skip

    def evaluate(
        self, images: Any, terminal: TextIO | None, what: str, *, average: bool = True
    ) -> dict[str, float]:  # fmt: skip
        """Return the mean loss and the metrics over these images by name; ``terminal`` shows a progress bar.

        The averaged network is evaluated if there is one, unless ``average`` is False.
        """
        which: dict[str, Any] = {"average": True} if average and self.ema is not None else {}
        if terminal is None:
            return self.learner.measure(images, **which)
        columns = terminal_columns()
        with tqdm(total=len(images), desc=what, unit="image", mininterval=0.5, leave=False, file=terminal,
                  ncols=columns, bar_format=NARROW_BAR if columns < 70 else None) as bar:  # fmt: skip
            return self.learner.measure(images, bar.update, **which)

    def validate(self, terminal: TextIO | None) -> dict[str, float]:
        """Return the entries of the history for the held-out images; with an average, also without it."""
        row = {f"val_{name}": value for name, value in self.evaluate(self.validation, terminal, "held out").items()}
        if self.ema is not None:
            found = self.evaluate(self.validation, terminal, "without EMA", average=False)
            row |= {name: found[name.removeprefix("raw_val_")] for name in self.task.without_ema()}
        return row

    def _step(self, X: Array, truth: Any, watch: bool) -> tuple[Array, Array]:
        at = self.position
        k = at.epoch * self.per_epoch + at.step
        try:
            return self.learner.step(
                X, truth, self.optimiser, self.schedule(k), smoothing=self.config.label_smoothing,
                class_weights=self.class_weights, clip_norm=self.config.clip_norm, ema=self.ema,
                rng=stream(self.config.seed, "dropout", k), watch=watch,
            )  # fmt: skip
        except NotFinite as fault:
            where = f"step {k + 1} (epoch {at.epoch + 1}, batch {at.step + 1} of {self.per_epoch})"
            raise NotFinite(f"the loss became NaN or infinite at {where}: {fault}") from None

    def end_epoch(self, row: dict[str, float]) -> bool:
        """Append the row to the history and move to the next epoch; return whether this is the best epoch so far."""
        history = [*self.position.history, row]
        self.position = Position(epoch=self.position.epoch + 1, history=history)
        score = f"val_{self.task.metric}"
        return row[score] >= max(r[score] for r in history)

    @property
    def out_of_patience(self) -> bool:
        """True if the metric on held-out images has not been better than before for as many epochs as allowed."""
        history, patience = self.position.history, self.config.patience
        if patience is None or not history:
            return False
        best = max(history, key=lambda row: (row[f"val_{self.task.metric}"], row["epoch"]))
        return len(history) - max(best["epoch"], self.config.continued) >= patience

    @property
    def batch(self) -> int:
        """The number of images in a step; all of them if the batch size is larger."""
        return min(self.config.batch_size, len(self.training))

    def seconds_per_step(self) -> float:
        """Estimate the time of a step from a few steps on at most ``batch`` images, then undo them.

        Raises
        ------
        ValueError
            If the memory is not enough for a step.
        """
        learner, seed = self.learner, self.config.seed
        if self.device == "cpu":
            check_memory(self.net, self.dataset.image_shape, self.batch)
        before = tree.map_leaves(lambda a: a.copy(), learner.trees())
        draws = draw(stream(seed, "warm-up"), len(self.training), augment=self.config.augment)

        def step(size: int) -> None:
            X, truth = self.training.batch(draws, slice(0, size))
            loss, _ = learner.step(
                X, truth, self.optimiser, 0.0, class_weights=self.class_weights, clip_norm=self.config.clip_norm,
                ema=self.ema, rng=stream(seed, "warm-up"),
            )  # fmt: skip
            float(loss)

        with single_threaded_blas():
            seconds = time_per_step(step, self.batch)
        learner.restore(before)
        return seconds

    def save(self, *paths: Path) -> None:
        """Write a checkpoint to each path.

        Raises
        ------
        NotFinite
            If a parameter or the loss is NaN or infinite; nothing is written.
        """
        if not (finite(self.learner.w) and finite(self.learner.running) and math.isfinite(float(self.position.loss))):
            raise NotFinite("a parameter, a running statistic or the loss became NaN or infinite")
        at, trees = self.position, self.learner.trees()
        trees["sums"] = {"loss": np.asarray(to_host(at.loss)), "right": np.asarray(to_host(at.right))}
        position = {"epoch": at.epoch, "step": at.step, "seconds": at.seconds}
        meta = {
            "format": FORMAT, "se_numpy": se_numpy.__version__, "config": asdict(self.config), "position": position,
            "engine": engine_setting(),
            "history": at.history, "classes": list(self.classes), "data": self.digest,
            "image_shape": list(self.dataset.image_shape),
            "mean": self.normalise.mean.tolist(), "std": self.normalise.std.tolist(),
        }  # fmt: skip
        if self.config.init is not None:
            meta["loaded"] = self.loaded
        for path in paths:
            checkpoint.save(path, trees, meta)

    def restore(self, path: Path) -> None:
        """Continue from a checkpoint of this run.

        Raises
        ------
        ValueError
            As ``read`` does.
        """
        self.continue_from(*self.read(path))

    def continue_from(self, trees: dict[str, tree.Tree], meta: dict[str, Any]) -> None:
        """Continue from the trees and the description of a checkpoint that ``read`` has checked."""
        self.learner.restore(trees)
        self.loaded = meta.get("loaded", [])
        self._set_rates()
        at, sums = meta["position"], trees["sums"]
        self.position = Position(at["epoch"], at["step"], seconds=at["seconds"], history=meta["history"])
        if self.position.step:  # kept in their own dtype, so that the sums continue exactly
            self.position.loss, self.position.right = (to_device(sums[k], self.device)[()] for k in ("loss", "right"))

    def read(self, path: Path) -> tuple[dict[str, tree.Tree], dict[str, Any]]:
        """Return the trees and the description of a checkpoint of this run.

        Raises
        ------
        ValueError
            If the checkpoint is damaged or belongs to another run, network, data set or format.
        """
        trees, meta = checkpoint.load(path)
        if meta.get("format") != FORMAT:
            raise ValueError(
                f"{path} has format {meta.get('format')!r}, written by se_numpy {meta.get('se_numpy')}; expected "
                f"format {FORMAT}, which se_numpy {se_numpy.__version__} can resume"
            )
        try:
            saved.check_keys("its description", meta, ("config", "classes", "data"))
            config = saved.settings(meta["config"])
        except ValueError as error:
            raise ValueError(f"{path} is not a checkpoint written by se-numpy train: {error}") from None
        self._check_run(path, meta, config)
        try:
            saved.check_description(meta, trees, self.config, self.per_epoch)
            expected = self.learner.trees()
            saved.check_trees({k: trees.get(k, {}) for k in expected}, expected, self.config.model, finite=True)
        except ValueError as error:
            raise ValueError(f"{path} is not a checkpoint written by se-numpy train: {error}") from None
        return trees, meta

    def _check_run(self, path: Path, meta: dict[str, Any], config: Config) -> None:
        """Raise ValueError if a checkpoint belongs to another run, engine or data set."""
        if other := difference(config, self.config):
            raise ValueError(f"{path} belongs to a run with {other[0]} = {other[1]}; expected {other[2]}")
        if (used := meta.get("engine", "on")) in ("on", "off") and used != engine_setting():
            raise ValueError(
                f"{path} belongs to a run with the engine {used}, but the engine is {engine_setting()} now, which "
                f"gives different results; set SE_NUMPY_ENGINE={used} to resume it"
            )
        if meta["data"] != self.digest:
            raise ValueError(f"{path} belongs to a run on a data set other than {self.dataset.source}")
        if meta["classes"] != list(self.classes):
            raise ValueError(f"{path} belongs to a run on a data set with other classes than {self.dataset.source}")


def engine_setting() -> str:
    """Return "on" if the engine is enabled, else "off"; checkpoints record it because the results depend on it."""
    return "on" if engine.enabled() else "off"


def batches(images: Any, draws: Draws, batch_size: int, first: int = 0) -> Iterator[tuple[Array, Any]]:
    """Yield the batches of one epoch, starting at index ``first``; the last may be smaller."""
    for start in range(first * batch_size, len(images), batch_size):
        yield images.batch(draws, slice(start, start + batch_size))


def split(dataset: Dataset, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the indices of the images to train on and of those held out to choose the epoch.

    Raises
    ------
    ValueError
        If there is only one training image.
    """
    n = len(dataset.train_labels)
    if n < 2:
        raise ValueError(f"{dataset.name} has {n} training image; expected at least 2, because some are held out")
    held_out = min(5000, max(1, round(VALIDATION_SHARE * n)))
    order = stream(seed, "split").permutation(n)
    return order[held_out:], order[:held_out]
