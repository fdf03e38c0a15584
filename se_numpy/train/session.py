"""A run at work: a network, its data, its recipe, and how far it has come.

Every random number comes from the seed and its purpose alone (initial weights, the split, one epoch's order and crops,
one step's dropout), so the position in the run stands for the state of all of them: a run that goes on from any step
draws what it would have drawn.
"""

import math
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
from se_numpy.data.batches import Draws, Images, Normalisation, draw
from se_numpy.train.config import Config, difference
from se_numpy.train.learner import Learner, stream
from se_numpy.train.nan_check import NotFinite, finite

VALIDATION_SHARE = 0.1  # of the training images, held out to choose the epoch by; at most 5,000
FORMAT = 2  # of what a checkpoint says; 1 could not be gone on from


@dataclass
class Position:
    """How far a run has come: epochs that are through, steps of the next one, and what these steps amount to."""

    epoch: int = 0
    step: int = 0
    loss: Array = 0.0  # summed over the images of these steps
    right: Array = 0
    seconds: float = 0.0
    history: list[dict[str, float]] = field(default_factory=list)  # a row an epoch


class Session:
    """What a run needs for its next step.  ``config`` and ``dataset`` decide all of it."""

    def __init__(self, dataset: Dataset, config: Config, device: str) -> None:
        self.dataset, self.config, self.device = dataset, config, device
        self.digest = digest(dataset)
        self.net = config.network(len(dataset.classes))
        learn_from, held_out = split(dataset, config.seed)
        learn_from = learn_from[: config.subset]
        self.normalise = Normalisation.of(dataset.train_images[learn_from])
        self.training = self._images(dataset.train_images[learn_from], dataset.train_labels[learn_from])
        self.validation = self._images(dataset.train_images[held_out], dataset.train_labels[held_out])
        self.learner = Learner(self.net, dataset.image_shape, config.seed, device)
        self.optimiser = optim.SGD(config.momentum, config.weight_decay)
        self.per_epoch = -(-len(self.training) // config.batch_size)
        self.schedule = optim.SCHEDULES[config.schedule](config.lr, self.per_epoch * config.epochs)
        self.position = Position()

    def _images(self, images: np.ndarray, labels: np.ndarray) -> Images:
        return Images(images, labels, self.normalise, self.device)

    @property
    def watch(self) -> bool:
        """Whether to look at every loss: on a CPU it lies there, a GPU would be made to wait for it."""
        return self.device == "cpu"

    def epoch(self, after_step: Callable[[], None], terminal: TextIO | None, *, watch: bool) -> dict[str, float]:
        """What is left of the epoch, as a row of the history; the loss is read back only as often as somebody looks.

        ``after_step`` is called between steps, with ``position`` up to date. ``watch`` looks at each loss, which
        would make a GPU wait: NotFinite then says at which step and where it was lost.
        """
        config, at, started = self.config, self.position, time.perf_counter() - self.position.seconds
        draws = draw(stream(config.seed, "epoch", at.epoch), len(self.training), augment=config.augment).to(self.device)
        with tqdm(total=self.per_epoch, initial=at.step, desc=f"epoch {at.epoch + 1}/{config.epochs}", unit="step",
                  mininterval=0.5, leave=False, file=terminal, disable=terminal is None) as bar:  # fmt: skip
            for X, labels in batches(self.training, draws, config.batch_size, at.step):
                loss, right = self._step(X, labels, watch)
                at.loss, at.right, at.step = at.loss + loss * len(labels), at.right + right, at.step + 1
                at.seconds = time.perf_counter() - started
                after_step()
                if bar.update():
                    bar.set_postfix(loss=f"{float(loss):.3f}", refresh=False)
        n = len(self.training)
        loss, right = float(at.loss), float(at.right)  # waits for a GPU, so the clock below is honest
        seconds = time.perf_counter() - started
        return {
            "epoch": at.epoch + 1, "lr": self.schedule((at.epoch + 1) * self.per_epoch - 1), "train_loss": loss / n,
            "train_accuracy": right / n, "seconds": seconds, "images_per_second": n / seconds,
        }  # fmt: skip

    def _step(self, X: Array, labels: Array, watch: bool) -> tuple[Array, Array]:
        at = self.position
        k = at.epoch * self.per_epoch + at.step
        try:
            return self.learner.step(
                X, labels, self.optimiser, self.schedule(k), smoothing=self.config.label_smoothing,
                rng=stream(self.config.seed, "dropout", k), watch=watch,
            )  # fmt: skip
        except NotFinite as fault:
            where = f"step {k + 1} (epoch {at.epoch + 1}, batch {at.step + 1} of {self.per_epoch})"
            raise NotFinite(f"the loss is no number any more at {where}: {fault}") from None

    def end_epoch(self, row: dict[str, float]) -> bool:
        """Take the row into the history and go to the next epoch; whether it is the best so far."""
        history = [*self.position.history, row]
        self.position = Position(epoch=self.position.epoch + 1, history=history)
        return row["val_accuracy"] >= max(r["val_accuracy"] for r in history)

    def seconds_per_step(self) -> float:
        """The median of a few steps, which are then undone."""
        learner, seed = self.learner, self.config.seed
        before = [a.copy() for a in (learner.w, learner.v, learner.running)]
        draws = draw(stream(seed, "warm-up"), len(self.training), augment=self.config.augment)
        times = []
        for _ in range(4):
            start = time.perf_counter()
            X, labels = self.training.batch(draws, slice(0, self.config.batch_size))
            loss, _ = learner.step(X, labels, self.optimiser, 0.0, rng=stream(seed, "warm-up"))
            float(loss)
            times.append(time.perf_counter() - start)
        for a, b in zip((learner.w, learner.v, learner.running), before, strict=True):
            a[...] = b
        return sorted(times[1:])[1]

    def save(self, *paths: Path) -> None:
        """Write where the run stands.  NotFinite, and nothing is written, where that is no place to go on from."""
        if not (finite(self.learner.w) and finite(self.learner.running) and math.isfinite(float(self.position.loss))):
            raise NotFinite("the network's numbers are not finite any more")
        at, trees = self.position, self.learner.trees()
        trees["sums"] = {"loss": np.asarray(to_host(at.loss)), "right": np.asarray(to_host(at.right))}
        position = {"epoch": at.epoch, "step": at.step, "seconds": at.seconds}
        meta = {
            "format": FORMAT, "se_numpy": se_numpy.__version__, "config": asdict(self.config), "position": position,
            "engine": engine_setting(),
            "history": at.history, "classes": list(self.dataset.classes), "data": self.digest,
            "image_shape": list(self.dataset.image_shape),
            "mean": self.normalise.mean.tolist(), "std": self.normalise.std.tolist(),
        }  # fmt: skip
        for path in paths:
            checkpoint.save(path, trees, meta)

    def restore(self, path: Path) -> None:
        """Go back, or on, to where a checkpoint of this run stands.

        Raises ValueError, naming what does not fit, for the checkpoint of another run, network, data set or version.
        """
        trees, meta = checkpoint.load(path)
        if meta.get("format") != FORMAT:
            raise ValueError(
                f"{path} has format {meta.get('format')!r}, written by se_numpy {meta.get('se_numpy')}; this one, "
                f"{se_numpy.__version__}, goes on from format {FORMAT}"
            )
        try:
            self._take(path, trees, meta)
        except (KeyError, TypeError, AttributeError) as error:
            raise ValueError(f"{path} is not what se-numpy train writes: {error!r}") from None

    def _take(self, path: Path, trees: dict[str, tree.Tree], meta: dict[str, Any]) -> None:
        if other := difference(Config(**meta["config"]), self.config):
            raise ValueError(f"{path} is of a run with {other[0]} = {other[1]}; expected {other[2]}")
        if (used := meta.get("engine", "on")) != engine_setting():
            raise ValueError(
                f"{path} is of a run with the engine {used}, and the engine is {engine_setting()} now, which gives "
                f"other numbers; set SE_NUMPY_ENGINE={used} to resume it"
            )
        if meta["data"] != self.digest:
            raise ValueError(f"{path} comes from other images than {self.dataset.source}; expected the same ones")
        wrong = [
            f"{kind}: {words}" for kind, like in self.learner.trees().items()
            for words in tree.differences(trees.get(kind, {}), like)
        ]  # fmt: skip
        if wrong:
            more = f" and {len(wrong) - 3} more" if len(wrong) > 3 else ""
            raise ValueError(f"{path} holds another network than {self.config.model}: {'; '.join(wrong[:3])}{more}")
        self.learner.restore(trees)
        at, sums = meta["position"], trees["sums"]
        self.position = Position(at["epoch"], at["step"], seconds=at["seconds"], history=meta["history"])
        if self.position.step:  # with their precision, so that the sums go on as they would have
            self.position.loss, self.position.right = (to_device(sums[k], self.device)[()] for k in ("loss", "right"))


def engine_setting() -> str:
    """Return "on" or "off": what a run records, and what its numbers depend on."""
    return "on" if engine.enabled() else "off"


def batches(images: Images, draws: Draws, batch_size: int, first: int = 0) -> Iterator[tuple[Array, Array]]:
    """The batches of one epoch, from the ``first`` on; the last may be smaller."""
    for start in range(first * batch_size, len(images), batch_size):
        yield images.batch(draws, slice(start, start + batch_size))


def split(dataset: Dataset, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Indices of the training images to learn from and of those held out to choose the epoch by."""
    n = len(dataset.train_labels)
    held_out = min(5000, max(1, round(VALIDATION_SHARE * n)))
    order = stream(seed, "split").permutation(n)
    return order[held_out:], order[:held_out]
