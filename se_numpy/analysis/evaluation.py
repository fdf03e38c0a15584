"""How good a trained network is: loss, accuracy with its interval, class by class, and what it takes for what.

    precision of class k    of the images that the network calls k, the share that are k
    recall of class k       of the images that are k, the share that the network calls k

Accuracy is the share of all images that are named right. Intervals are 95 % intervals of a share (Wilson), each for
itself: of a hundred classes about five lie outside theirs.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np

from se_numpy import engine, ops, tree
from se_numpy.analysis.network import check_fit
from se_numpy.arrays import to_device, to_host
from se_numpy.data import Dataset
from se_numpy.data.batches import Images
from se_numpy.train import Trained, wilson

BATCH = 128
LISTED = 10  # confusions that are told


class ClassResult(NamedTuple):
    """One class: its images, how many of them were called so, how many images in all were."""

    name: str
    images: int
    right: int
    called: int

    @property
    def recall(self) -> float:
        """Of its images, the share that was called so; 0 where there is none."""
        return self.right / self.images if self.images else 0.0

    @property
    def precision(self) -> float:
        """Of the images called so, the share that are; 0 where there is none."""
        return self.right / self.called if self.called else 0.0

    @property
    def interval(self) -> tuple[float, float]:
        """Of the recall; all that is possible where there is no image."""
        return wilson(self.recall, self.images) if self.images else (0.0, 1.0)


class Confusion(NamedTuple):
    """A class taken for another: how often, and which share of its images that is."""

    true: str
    answered: str
    times: int
    share: float


@dataclass(frozen=True)
class Evaluation:
    """What a network said of N images: probabilities (N, K) beside the labels (N,), and the mean loss."""

    classes: tuple[str, ...]
    labels: np.ndarray = field(repr=False)
    probabilities: np.ndarray = field(repr=False)
    loss: float
    source: str  # where the images came from, for people

    @property
    def answers(self) -> np.ndarray:
        """(N,): the likeliest class of each image."""
        return self.probabilities.argmax(1)

    @property
    def accuracy(self) -> float:
        """The share of images that were named right."""
        return float((self.answers == self.labels).mean())

    @property
    def interval(self) -> tuple[float, float]:
        """The 95 % interval of the accuracy."""
        return wilson(self.accuracy, len(self.labels))

    @property
    def confusion(self) -> np.ndarray:
        """(K, K): how many images of the class down were answered with the class across."""
        K = len(self.classes)
        return np.bincount(self.labels * K + self.answers, minlength=K * K).reshape(K, K)

    def by_class(self) -> list[ClassResult]:
        """Each class, in the order of the data set."""
        counts = self.confusion
        columns = (counts.sum(1), counts.diagonal(), counts.sum(0))
        return [ClassResult(name, *(int(c[k]) for c in columns)) for k, name in enumerate(self.classes)]

    def confusions(self, most: int = LISTED) -> list[Confusion]:
        """The commonest mistakes first; of two as common, the one that comes first in the data set."""
        counts = self.confusion
        wrong = np.where(np.eye(len(counts), dtype=bool), 0, counts)
        order = np.argsort(-wrong, axis=None, kind="stable")[:most]
        return [
            Confusion(self.classes[i], self.classes[j], int(wrong[i, j]), float(wrong[i, j] / counts[i].sum()))
            for i, j in zip(*np.unravel_index(order, wrong.shape), strict=True) if wrong[i, j]
        ]  # fmt: skip

    def worst(self, most: int) -> np.ndarray:
        """The images it was surest of and wrong: indices, the highest probability of a wrong answer first."""
        wrong = np.flatnonzero(self.answers != self.labels)
        return wrong[np.argsort(-self.probabilities[wrong].max(1), kind="stable")[:most]]

    def as_json(self) -> dict[str, Any]:
        """All of it but the single images, as plain dicts and lists."""
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
    """Look at the test images of ``dataset``, in batches, with batch norm folded away, on "cpu" or "gpu".

    ``progress`` is told of each batch's size. Raises ValueError where network and images do not belong together, and
    for a network whose answers are not numbers.
    """
    check_fit(network, dataset)
    images = Images(dataset.test_images, dataset.test_labels, network.normalise, device)
    predict = engine.compile(network.net).predictor(*(
        tree.map_leaves(lambda leaf: to_device(leaf, device), part) for part in (network.params, network.state)
    ))  # fmt: skip
    parts = []
    for start in range(0, len(images), BATCH):
        X, _ = images.in_order(slice(start, start + BATCH))
        parts.append(to_host(predict(X)).astype(np.float64))
        progress(len(X))
    logits = np.concatenate(parts)
    if not np.isfinite(logits).all():
        raise ValueError("the network's answers are not numbers: its training went wrong; expected an earlier epoch's")
    loss = float(ops.softmax_cross_entropy(logits, dataset.test_labels))
    return Evaluation(network.classes, dataset.test_labels, ops.softmax(logits), loss, dataset.source)
