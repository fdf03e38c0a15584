"""Detection as a task: CenterNet's three losses on dense maps, and average precision."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from se_numpy import ops
from se_numpy.arrays import Array, array_module, to_host
from se_numpy.data import Dataset
from se_numpy.data.batches import Normalisation
from se_numpy.detection import Detections, Targets, average_precision, decode, suppress
from se_numpy.detection.batches import BoxedImages
from se_numpy.layers import Layer, Shape
from se_numpy.models.detector import STRIDE, detector, is_detector
from se_numpy.shapes import is_real
from se_numpy.train.task import Tally, Task

MOST = 100  # detections in a picture, as in COCO's evaluation
LEAST = 0.01  # the score from which detections count in an evaluation
OVERLAP = 0.5  # the IoU from which a detection is removed for a better one of its class


@dataclass(frozen=True)
class Detection(Task):
    """Find objects: a focal loss for the centres, and L1 for sizes and offsets.  The truth is ``Targets``.

    ``size_weight`` and ``offset_weight`` multiply the last two.

    References
    ----------
    Zhou et al., "Objects as Points", 2019, Eq. (4).
    """

    size_weight: float = 0.1
    offset_weight: float = 1.0

    name: ClassVar[str] = "detect"
    metrics: ClassVar[tuple[str, ...]] = ("ap50", "ap")
    words: ClassVar[tuple[str, ...]] = ("AP50", "AP")
    head: ClassVar[str] = "AP50"

    def classes(self, net: Layer, shape: Shape) -> int:
        found = net.output_shape(shape)
        if len(found) != 3 or found[2] <= 4 or (found[0] * STRIDE, found[1] * STRIDE) != tuple(shape[:2]):
            H, W, _ = shape
            raise ValueError(
                f"the network returns an array of shape {found} for images of {H}x{W}; detection needs maps with a "
                f"quarter of the height and width, (H/{STRIDE}, W/{STRIDE}, classes + 4), and so images whose sides "
                f"are multiples of {STRIDE}, and a network for small images, such as se_resnet8"
            )
        return found[2] - 4

    def check_truth(self, truth: Any, X: Array, classes: int) -> None:
        if not isinstance(truth, Targets):
            raise TypeError(f"the targets are {type(truth).__name__}; expected Targets, as from BoxedImages")
        N, H, W, _ = X.shape
        if truth.heat.shape != (expected := (N, H // STRIDE, W // STRIDE, classes)):
            raise ValueError(f"heat of the targets has shape {truth.heat.shape}; expected {expected}")

    def loss(self, Y: Array, truth: Any, *, smoothing: float = 0.0) -> Array:
        heat, sizes, offsets = _parts(Y)
        return (
            ops.heatmap_focal_loss(heat, targets=truth.heat, weights=truth.weights)
            + self.size_weight * ops.masked_l1_loss(sizes, targets=truth.sizes, mask=truth.mask)
            + self.offset_weight * ops.masked_l1_loss(offsets, targets=truth.offsets, mask=truth.mask)
        )

    def loss_backward(
        self, Y: Array, truth: Any, *, smoothing: float = 0.0, class_weights: Array | None = None
    ) -> Array:  # fmt: skip
        heat, sizes, offsets = _parts(Y)
        return array_module(Y).concatenate([
            ops.heatmap_focal_loss_backward(1.0, heat, targets=truth.heat, weights=truth.weights),
            ops.masked_l1_loss_backward(self.size_weight, sizes, targets=truth.sizes, mask=truth.mask),
            ops.masked_l1_loss_backward(self.offset_weight, offsets, targets=truth.offsets, mask=truth.mask),
        ], axis=-1)  # fmt: skip

    def right(self, Y: Array, truth: Any) -> Array:
        return array_module(Y).zeros(())

    def tally(self, images: Any) -> Tally:
        if not isinstance(images, BoxedImages):
            raise TypeError(f"images are {type(images).__name__}; expected BoxedImages(images, boxes, normalise)")
        return _Found(self, images)

    def class_names(self, dataset: Dataset) -> tuple[str, ...]:
        dataset.boxes("train")
        return dataset.objects

    def images(
        self, dataset: Dataset, split: str, normalise: Normalisation, device: str, rows: np.ndarray | None = None
    ) -> BoxedImages:  # fmt: skip
        images, boxes = getattr(dataset, f"{split}_images"), dataset.boxes(split)
        return BoxedImages(images, boxes, normalise, device, rows, stride=STRIDE, K=len(dataset.objects))

    def network(self, net: Layer, classes: int) -> Layer:
        return net if is_detector(net) else detector(net, classes=classes)

    def check_settings(self, config: Mapping[str, Any]) -> None:
        for name in ("label_smoothing", "class_weights"):
            if config[name] is not None and not (is_real(config[name]) and config[name] == 0):
                raise ValueError(f"{name} is {config[name]!r}, but applies to classification; leave it out to detect")


class _Found(Tally):
    """The sum of the losses, and all detections."""

    def __init__(self, task: Detection, images: BoxedImages) -> None:
        self.task, self.images = task, images
        self.loss: Any = 0.0
        self.parts: list[Detections] = []
        self.n = 0

    def add(self, Y: Array, truth: Any) -> None:
        self.loss = self.loss + self.task.loss(Y, truth) * len(Y)
        self.parts.append(detections(Y, first=self.n))
        self.n += len(Y)

    def result(self) -> dict[str, float]:
        found = average_precision(self.images.boxes, Detections.joined(self.parts), classes=self.images.K,
                                  areas={"all": (0, 1e10)})  # fmt: skip
        ap = {"ap50": found.ap(0.5), "ap": found.ap()}
        return {"loss": float(self.loss) / self.n, **{name: 0.0 if np.isnan(a) else a for name, a in ap.items()}}


def detections(Y: Array, *, first: int = 0, threshold: float = LEAST) -> Detections:
    """Return the detections in a batch of maps Y, best first in each picture, with pictures numbered from ``first``."""
    corners, scores, classes = decode(Y, stride=STRIDE, most=MOST)
    remains = suppress(corners, classes, threshold=OVERLAP) & (scores >= threshold)
    corners, scores, classes, remains = map(to_host, (corners, scores, classes, remains))
    return Detections(corners[remains], scores[remains], classes[remains], first + np.nonzero(remains)[0])


def _parts(Y: Array) -> tuple[Array, Array, Array]:
    """Split maps into the logits of the heatmaps, the sizes and the offsets."""
    return Y[..., :-4], Y[..., -4:-2], Y[..., -2:]
