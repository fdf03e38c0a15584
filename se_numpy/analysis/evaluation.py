"""Evaluation of a trained network: loss, accuracy with its interval, accuracy by class and the confusion matrix.

    precision of class k    share of the images classified as k that belong to k
    recall of class k       share of the images of class k that are classified as k

Accuracy is the share of all images that are classified correctly. Intervals are Wilson's 95 % intervals, without a
correction for multiple comparisons: of the intervals of a hundred classes, about five miss the true value.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np

from se_numpy import engine, ops, tree
from se_numpy.analysis.network import check_fit
from se_numpy.arrays import occurrences, to_device, to_host
from se_numpy.data import Dataset
from se_numpy.data.batches import images_of, slices
from se_numpy.train import Trained, wilson

BATCH = 128
LISTED = 10  # most frequent confusions to list


class ClassResult(NamedTuple):
    """The counts of one class: its images, those classified correctly, and all images classified as this class."""

    name: str
    images: int
    right: int
    called: int

    @property
    def recall(self) -> float:
        """The share of the class's images that were classified correctly; 0 if it has no images."""
        return self.right / self.images if self.images else 0.0

    @property
    def precision(self) -> float:
        """The share of the images classified as this class that belong to it; 0 if there are none."""
        return self.right / self.called if self.called else 0.0

    @property
    def interval(self) -> tuple[float, float]:
        """The 95 % interval of the recall; (0, 1) if the class has no images."""
        return wilson(self.recall, self.images) if self.images else (0.0, 1.0)


class Confusion(NamedTuple):
    """A true class and a predicted class, with the number of such images and their share of the true class."""

    true: str
    answered: str
    times: int
    share: float


@dataclass(frozen=True)
class Evaluation:
    """A network's results on N images: labels (N,), probabilities (N, K) and the mean loss."""

    classes: tuple[str, ...]
    labels: np.ndarray = field(repr=False)
    probabilities: np.ndarray = field(repr=False)
    loss: float
    source: str  # description of the data set

    @property
    def answers(self) -> np.ndarray:
        """The most likely class of each image, (N,)."""
        return self.probabilities.argmax(1)

    @property
    def accuracy(self) -> float:
        """The share of images that were classified correctly."""
        return float((self.answers == self.labels).mean())

    @property
    def interval(self) -> tuple[float, float]:
        """The 95 % interval of the accuracy."""
        return wilson(self.accuracy, len(self.labels))

    @property
    def confusion(self) -> np.ndarray:
        """The confusion matrix (K, K): number of images by true class (row) and predicted class (column)."""
        K = len(self.classes)
        return occurrences(self.labels * K + self.answers, K * K).reshape(K, K)

    def by_class(self) -> list[ClassResult]:
        """Return the counts of each class, in the order of the data set."""
        counts = self.confusion
        columns = (counts.sum(1), counts.diagonal(), counts.sum(0))
        return [ClassResult(name, *(int(c[k]) for c in columns)) for k, name in enumerate(self.classes)]

    def confusions(self, most: int = LISTED) -> list[Confusion]:
        """Return the most frequent confusions in descending order, with ties in the order of the data set."""
        counts = self.confusion
        wrong = np.where(np.eye(len(counts), dtype=bool), 0, counts)
        order = np.argsort(-wrong, axis=None, kind="stable")[:most]
        return [
            Confusion(self.classes[i], self.classes[j], int(wrong[i, j]), float(wrong[i, j] / counts[i].sum()))
            for i, j in zip(*np.unravel_index(order, wrong.shape), strict=True) if wrong[i, j]
        ]  # fmt: skip

    def worst(self, most: int) -> np.ndarray:
        """Return the indices of the most confident mistakes, in descending order of the wrong class's probability."""
        wrong = np.flatnonzero(self.answers != self.labels)
        return wrong[np.argsort(-self.probabilities[wrong].max(1), kind="stable")[:most]]

    def as_json(self) -> dict[str, Any]:
        """Return everything except the per-image results as plain dicts and lists."""
        low, high = self.interval
        return {
            "data": self.source, "images": len(self.labels), "loss": self.loss, "accuracy": self.accuracy,
            "interval": [low, high], "classes": [
                {**c._asdict(), "precision": c.precision, "recall": c.recall, "interval": list(c.interval)}
                for c in self.by_class()],
            "confusions": [c._asdict() for c in self.confusions()], "confusion": self.confusion.tolist(),
        }  # fmt: skip


def evaluate(
    network: Trained, dataset: Dataset, *, device: str = "cpu", progress: Callable[[int], object] = lambda n: None
) -> Evaluation:
    """Evaluate the network on the test images of ``dataset``, in batches, on "cpu" or "gpu".

    ``progress`` is called with the size of each batch.

    Raises
    ------
    ValueError
        If the network and the data set have different classes or image shapes, or if the outputs are not finite.
    """
    check_fit(network, dataset)
    images = images_of(dataset.test_images, dataset.test_labels, network.normalise, device)
    predict = engine.compile(network.net).predictor(*(
        tree.map_leaves(lambda leaf: to_device(leaf, device), part) for part in (network.params, network.state)
    ))  # fmt: skip
    parts = []
    for part in slices(len(images), network.shape, BATCH):
        X, _ = images.in_order(part)
        parts.append(to_host(predict(X)).astype(np.float64))
        progress(len(X))
    logits = np.concatenate(parts)
    if not np.isfinite(logits).all():
        raise ValueError("the network's outputs are NaN or infinite: its training diverged; use an earlier checkpoint")
    loss = float(ops.softmax_cross_entropy(logits, dataset.test_labels))
    return Evaluation(network.classes, dataset.test_labels, ops.softmax(logits), loss, dataset.source)
