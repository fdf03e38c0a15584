"""Evaluation of a network that detects: average precision by overlap, class and size, and results in COCO's format."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from se_numpy import engine, tree
from se_numpy.analysis.evaluation import BATCH
from se_numpy.analysis.network import check_fit
from se_numpy.arrays import to_device
from se_numpy.data import Dataset
from se_numpy.data.batches import slices
from se_numpy.data.boxes import Boxes
from se_numpy.data.scenes import NAME as SCENES
from se_numpy.detection import AveragePrecision, Detections, average_precision
from se_numpy.train import Trained
from se_numpy.train.detecting import Detection, detections

SCENE_SIDES = (11, 15)  # pixels: a third of the objects of the built-in scenes are small, and a third large
COCO_SIDES = (32, 96)
SIZES = ("small", "medium", "large")


def areas_of(sides: tuple[int, int]) -> dict[str, tuple[float, float]]:
    """Return the ranges of areas that end at squares with these two sides, and the range of all.

    Raises
    ------
    ValueError
        If they are not two increasing numbers above 0.
    """
    if len(sides) != 2 or not 0 < sides[0] < sides[1]:
        shown = ",".join(map(str, sides))
        raise ValueError(f"the sides of small and large objects are {shown}; expected two, such as 32,96")
    low, high = (float(side) ** 2 for side in sides)
    return {"all": (0.0, 1e10), "small": (0.0, low), "medium": (low, high), "large": (high, 1e10)}


def sides_of(dataset: Dataset) -> tuple[int, int]:
    """Return the sides by which the objects of a data set are small or large: its own, or COCO's."""
    return SCENE_SIDES if dataset.name == SCENES else COCO_SIDES


@dataclass(frozen=True)
class DetectionEvaluation:
    """The detections of a network on N test images, the true boxes, and the average precision."""

    classes: tuple[str, ...]
    images: int
    loss: float
    source: str  # description of the data set
    sides: tuple[int, int]
    truth: Boxes = field(repr=False)
    found: Detections = field(repr=False)
    precision: AveragePrecision = field(repr=False)

    @property
    def ap50(self) -> float:
        """The average precision at an overlap of one half, by which runs are compared."""
        return self.precision.ap(0.5)

    def objects(self, area: str = "all") -> np.ndarray:
        """Return the number of objects of each class in a range of areas, (K,)."""
        return self.precision.objects[:, self.precision.areas.index(area)]

    def as_json(self) -> dict[str, Any]:
        """Return the numbers as plain dicts and lists; None stands for a class or a size without objects."""
        p = self.precision
        rows = [
            {"name": name, "objects": int(n), "ap": p.ap(of=k), "ap50": p.ap(0.5, of=k), "ar": p.ar(of=k),
             **{f"ap_{size}": p.ap(of=k, area=size) for size in SIZES}}
            for k, (name, n) in enumerate(zip(self.classes, self.objects(), strict=True))
        ]  # fmt: skip
        numbers = {"ap": p.ap(), "ap50": p.ap(0.5), "ap75": p.ap(0.75), "ar": p.ar(),
                   **{f"ap_{size}": p.ap(area=size) for size in SIZES}}  # fmt: skip
        found: dict[str, Any] = {
            "data": self.source, "images": self.images, "objects": len(self.truth), "loss": self.loss,
            "sides": list(self.sides), **numbers, "classes": rows,
        }  # fmt: skip
        return _without_nan(found)


def _without_nan(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _without_nan(inner) for name, inner in value.items()}
    if isinstance(value, list):
        return [_without_nan(inner) for inner in value]
    return None if isinstance(value, float) and np.isnan(value) else value


def evaluate_detection(
    network: Trained, dataset: Dataset, *, device: str = "cpu", sides: tuple[int, int] | None = None,
    progress: Callable[[int], object] = lambda n: None,
) -> DetectionEvaluation:  # fmt: skip
    """Evaluate a network that detects on the test images of ``dataset``, in batches, on "cpu" or "gpu".

    ``sides`` are those of squares as large as the largest small and the largest medium object. ``progress`` is called
    with the size of each batch.

    Raises
    ------
    ValueError
        If the network was trained to classify, or does not fit the data set, or its outputs are not finite.
    """
    network.check_task(Detection.name, "average precision")
    check_fit(network, dataset)
    sides = sides_of(dataset) if sides is None else sides
    areas = areas_of(sides)
    images = network.task.images(dataset, "test", network.normalise, device)
    predict = engine.compile(network.net).predictor(*(
        tree.map_leaves(lambda leaf: to_device(leaf, device), part) for part in (network.params, network.state)
    ))  # fmt: skip
    parts, loss, n = [], 0.0, 0
    for part in slices(len(images), network.shape, BATCH):
        X, truth = images.in_order(part)
        Y = predict(X)
        loss += float(network.task.loss(Y, truth)) * len(X)
        parts.append(detections(Y, first=n))
        n += len(X)
        progress(len(X))
    if not np.isfinite(loss):
        raise ValueError("the network's outputs are NaN or infinite: its training diverged; use an earlier checkpoint")
    found = Detections.joined(parts)
    precision = average_precision(images.boxes, found, classes=len(network.classes), areas=areas)
    return DetectionEvaluation(
        network.classes, n, loss / n, dataset.source, sides, images.boxes, found, precision
    )  # fmt: skip


def coco_results(
    found: Detections, *, images: Sequence[int] | None = None, categories: Sequence[int] | None = None,
    crops: Sequence[tuple[float, float, float]] | None = None,
) -> list[dict[str, Any]]:  # fmt: skip
    """Return detections as COCO's list of results: image_id, category_id, bbox (x, y, width, height) and score.

    ``images`` are the identifiers of the pictures (default: their indices), ``categories`` those of the classes
    (default: from 1). ``crops`` are the scale, the left and the top with which each picture was cropped and resized:
    boxes are returned in its original pixels.
    """
    rows = []
    for corners, score, k, i in zip(found.corners.tolist(), found.scores, found.classes, found.images, strict=True):
        scale, left, top = (1.0, 0.0, 0.0) if crops is None else crops[int(i)]
        x0, y0, x1, y1 = (value / scale + first for value, first in zip(corners, (left, top) * 2, strict=True))
        rows.append({
            "image_id": int(i) if images is None else images[int(i)],
            "category_id": int(k) + 1 if categories is None else categories[int(k)],
            "bbox": [x0, y0, x1 - x0, y1 - y0], "score": float(score),
        })  # fmt: skip
    return rows
