"""A task, as a value: its loss, its metrics, and the images and the truth that it takes from a data set.

``Learner`` takes a task. Classification of whole images is one; detection of objects, in ``train.detecting``, is
another.
"""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from se_numpy import engine
from se_numpy.arrays import Array
from se_numpy.data import Dataset
from se_numpy.data.array_checks import check_labels
from se_numpy.data.batches import Images, Normalisation, images_of
from se_numpy.layers import Layer, Shape


class Tally(ABC):
    """The counts of an evaluation, batch by batch."""

    @abstractmethod
    def add(self, Y: Array, truth: Any) -> None:
        """Count a batch of outputs Y of the network."""

    @abstractmethod
    def result(self) -> dict[str, float]:
        """Return the mean loss and the metrics of the task, by name."""


@dataclass(frozen=True)
class Task(ABC):
    """The thing that a network learns.  Its ``truth`` is compared with the outputs: labels (N,), or targets.

    ``name`` stands in the settings of a run and so in its checkpoints. ``metrics`` are the names under which results
    are recorded, and ``words`` the same in text; the first is the one by which the best epoch is chosen, between 0 and
    1, and ``head`` is its name in the head of a column. ``counts`` is True if each step counts the right answers, so
    that the history has their share in training.
    """

    name: ClassVar[str]
    metrics: ClassVar[tuple[str, ...]]
    words: ClassVar[tuple[str, ...]]
    head: ClassVar[str]
    counts: ClassVar[bool] = False

    @property
    def metric(self) -> str:
        """The metric by which the best epoch is chosen."""
        return self.metrics[0]

    @abstractmethod
    def classes(self, net: Layer, shape: Shape) -> int:
        """Return the number of classes of a network for images of ``shape``; ValueError if it is not for this task."""

    @abstractmethod
    def check_truth(self, truth: Any, X: Array, classes: int) -> None:
        """Raise TypeError or ValueError if the truth does not fit the images X or the classes."""

    @abstractmethod
    def loss(self, Y: Array, truth: Any, *, smoothing: float = 0.0) -> Array:
        """Return the loss of outputs Y, 0-d."""

    @abstractmethod
    def loss_backward(
        self, Y: Array, truth: Any, *, smoothing: float = 0.0, class_weights: Array | None = None
    ) -> Array:  # fmt: skip
        """Return the gradient of the loss with respect to Y."""

    @abstractmethod
    def right(self, Y: Array, truth: Any) -> Array:
        """Return the number of right answers, 0-d; 0 for a task that does not count them."""

    @abstractmethod
    def tally(self, images: Any) -> Tally:
        """Return an empty tally for an evaluation on these images."""

    @abstractmethod
    def class_names(self, dataset: Dataset) -> tuple[str, ...]:
        """Return the names of the classes; ValueError if the data set has no truth for this task."""

    @abstractmethod
    def images(
        self, dataset: Dataset, split: str, normalise: Normalisation, device: str, rows: np.ndarray | None = None
    ) -> Any:  # fmt: skip
        """Return the images of a part of the data set, "train" or "test", as a set to take batches from."""

    @abstractmethod
    def network(self, net: Layer, classes: int) -> Layer:
        """Return the network for this task from a network for classification; ValueError if it has none."""

    def check_settings(self, config: Mapping[str, Any]) -> None:  # noqa: B027 - most tasks refuse none
        """Raise ValueError for a setting of a run that does not apply to the task."""

    def columns(self) -> tuple[str, ...]:
        """Return the columns of the history, in order."""
        training = ("train_loss", f"train_{self.metric}") if self.counts else ("train_loss",)
        held_out = (f"val_{name}" for name in ("loss", *self.metrics))
        return ("epoch", "lr", *training, "seconds", "images_per_second", *held_out)

    def without_ema(self) -> tuple[str, ...]:
        """Return the further columns of a run with averaged weights."""
        return "raw_val_loss", f"raw_val_{self.metric}"

    def result(self) -> tuple[str, ...]:
        """Return the names in the result of a run."""
        return (*(f"test_{name}" for name in ("loss", *self.metrics, "images")), "seconds", "epoch")


@dataclass(frozen=True)
class Classification(Task):
    """Name the class of an image: cross-entropy of the softmax, and accuracy.  The truth is labels (N,)."""

    name: ClassVar[str] = "classify"
    metrics: ClassVar[tuple[str, ...]] = ("accuracy",)
    words: ClassVar[tuple[str, ...]] = ("accuracy",)
    head: ClassVar[str] = "acc"
    counts: ClassVar[bool] = True

    def classes(self, net: Layer, shape: Shape) -> int:
        if len(logits := net.output_shape(shape)) != 1:
            raise ValueError(
                f"the network returns an array of shape {logits} for each image; expected one of logits, (classes,): "
                "end it with GlobalAveragePool() and Linear(classes)"
            )
        return logits[0]

    def check_truth(self, truth: Any, X: Array, classes: int) -> None:
        check_labels("labels", truth, len(X), classes, "the network's classes")

    def loss(self, Y: Array, truth: Any, *, smoothing: float = 0.0) -> Array:
        return engine.softmax_cross_entropy(Y, truth, smoothing=smoothing)

    def loss_backward(
        self, Y: Array, truth: Any, *, smoothing: float = 0.0, class_weights: Array | None = None
    ) -> Array:  # fmt: skip
        dY = engine.softmax_cross_entropy_backward(1.0, Y, truth, smoothing=smoothing)
        if class_weights is not None:
            dY *= class_weights[truth][:, None]
        return dY

    def right(self, Y: Array, truth: Any) -> Array:
        return engine.hits(Y, truth)

    def tally(self, images: Any) -> Tally:
        if not isinstance(images, Images):
            raise TypeError(f"images are {type(images).__name__}; expected Images(images, labels, normalise)")
        return _Hits()

    def class_names(self, dataset: Dataset) -> tuple[str, ...]:
        return dataset.classes

    def images(
        self, dataset: Dataset, split: str, normalise: Normalisation, device: str, rows: np.ndarray | None = None
    ) -> Images:  # fmt: skip
        images, labels = getattr(dataset, f"{split}_images"), getattr(dataset, f"{split}_labels")
        return images_of(images, labels, normalise, device, rows)

    def network(self, net: Layer, classes: int) -> Layer:
        return net


class _Hits(Tally):
    """The sums of the losses and of the right answers."""

    def __init__(self) -> None:
        self.loss: Any = 0.0
        self.right: Any = 0.0
        self.n = 0

    def add(self, Y: Array, truth: Any) -> None:
        self.loss = self.loss + engine.softmax_cross_entropy(Y, truth) * len(truth)
        self.right = self.right + engine.hits(Y, truth)
        self.n += len(truth)

    def result(self) -> dict[str, float]:
        return {"loss": float(self.loss) / self.n, "accuracy": float(self.right) / self.n}
