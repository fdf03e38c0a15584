"""Batches for detection: images with the targets of their boxes, which move with the augmentation."""

import numpy as np

from se_numpy.arrays import Array, array_module, to_host
from se_numpy.data.augmentation import PAD, Draws
from se_numpy.data.batches import Normalisation, images_of
from se_numpy.data.boxes import Boxes
from se_numpy.detection.overlap import area
from se_numpy.detection.targets import Targets, encode

VISIBLE = 0.3  # the share of a box that must remain in the picture after augmentation
THINNEST = 0.01  # pixels


class BoxedImages:
    """Images with boxes, from which batches with the targets of a detector are cut, as from ``Images``.

    images (N, H, W, C) uint8; ``boxes`` are those of all images; ``rows`` are the indices of the images of this set.
    The targets are computed on a grid of H / stride x W / stride cells for K classes.

    Raises
    ------
    TypeError, ValueError
        As ``Images`` does.
    """

    def __init__(
        self, images: np.ndarray, boxes: Boxes, normalise: Normalisation, device: str = "cpu",
        rows: np.ndarray | None = None, *, stride: int, K: int,
    ) -> None:  # fmt: skip
        rows = np.arange(len(images)) if rows is None else rows
        self.inner = images_of(images, np.arange(len(images)), normalise, device, rows)
        self.H, self.W, self.stride, self.K = self.inner.H, self.inner.W, stride, K
        self.boxes = boxes.chosen(rows)

    def __len__(self) -> int:
        return len(self.inner)

    def __repr__(self) -> str:
        return f"<BoxedImages: {self.inner!r}, {self.boxes!r}>"

    def batch(self, draws: Draws, part: slice) -> tuple[Array, Targets]:
        """Return X (B, H, W, C) float32 and the targets for this part of the epoch."""
        X, _ = self.inner.batch(draws, part)
        chosen = Draws(*(None if a is None else to_host(a[part]) for a in vars(draws).values()))
        return X, self._targets(moved(self.boxes.chosen(chosen.order), chosen, self.H, self.W), X)

    def in_order(self, part: slice) -> tuple[Array, Targets]:
        """Return X and the targets for a slice of the images, not augmented, for evaluation."""
        X, _ = self.inner.in_order(part)
        return X, self._targets(self.boxes.chosen(np.arange(len(self))[part]), X)

    def _targets(self, boxes: Boxes, X: Array) -> Targets:
        xp, grid = array_module(X), (self.H // self.stride, self.W // self.stride)
        arrays = (xp.asarray(a) for a in padded(boxes, len(X)))
        return encode(*arrays, grid=grid, stride=self.stride, K=self.K)


def moved(boxes: Boxes, draws: Draws, H: int, W: int) -> Boxes:
    """Return the boxes of a batch after the crop or the window and the flip that were drawn for each image.

    Boxes are cut at the edges of the picture; those with less than 30 % of their area inside are removed.
    """
    i, corners = boxes.images, boxes.corners.astype(float)
    if draws.window is None:
        first, scale = np.stack([draws.left, draws.top], 1) - float(PAD), np.ones((len(draws.order), 2))
    else:
        first, scale = draws.window[:, 1::-1] * [W, H], 1 / draws.window[:, :1:-1]
    corners = ((corners.reshape(-1, 2, 2) - first[i, None]) * scale[i, None]).reshape(-1, 4)
    flipped = draws.flip[i]
    corners[flipped, 0::2] = W - corners[flipped, 2::-2]
    inside = np.clip(corners, 0, [W, H, W, H])
    kept = (area(inside) >= VISIBLE * area(corners)) & (inside[:, 2:] - inside[:, :2] > THINNEST).all(1)
    areas = boxes.areas[kept] * scale[i[kept]].prod(1)
    return Boxes(inside[kept], boxes.classes[kept], i[kept], boxes.crowd[kept], areas)


def padded(boxes: Boxes, n: int) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Return the boxes of n pictures as arrays with S places for each, the largest first.

    corners (n, S, 4), classes (n, S), present (n, S) and crowd (n, S)
    """
    order = np.lexsort((-area(boxes.corners), boxes.images))
    images = boxes.images[order]
    place = np.arange(len(boxes)) - np.searchsorted(images, images)
    S = int(place.max()) + 1 if len(place) else 0
    corners = np.tile(np.array([0, 0, 1, 1], np.float32), (n, S, 1))
    classes, present, crowd = np.zeros((n, S), np.int64), np.zeros((n, S), bool), np.zeros((n, S), bool)
    at = images, place
    corners[at], classes[at], present[at] = boxes.corners[order], boxes.classes[order], True
    crowd[at] = boxes.crowd[order]
    return corners, classes, present, crowd
