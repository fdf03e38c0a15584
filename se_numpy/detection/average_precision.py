"""Average precision as COCO defines it, by overlap, class and size of the objects.

The numbers equal those of pycocotools: detections are matched to objects in the order of their scores, boxes of crowds
and objects outside a range of areas are neither right nor wrong, and precision is averaged over 101 recalls.

References
----------
Lin et al., "Microsoft COCO", ECCV 2014; the evaluation is described at cocodataset.org.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from se_numpy.data.boxes import Boxes
from se_numpy.detection.detections import Detections
from se_numpy.detection.overlap import area, intersection, iou

THRESHOLDS = np.linspace(0.5, 0.95, 10)
RECALLS = np.linspace(0, 1, 101)
COCO_AREAS = {"all": (0.0, 1e10), "small": (0.0, 32.0**2), "medium": (32.0**2, 96.0**2), "large": (96.0**2, 1e10)}


@dataclass(frozen=True, repr=False, eq=False)
class AveragePrecision:
    """Precision at 101 recalls, and the highest recall, by overlap, class and range of areas.

    ``precision`` is (T, 101, K, A) and ``recall`` (T, K, A), for T ``thresholds`` of the IoU, K classes and the A
    ranges named in ``areas``. Both are NaN for a class without objects in a range. ``objects`` (K, A) counts them.
    """

    precision: np.ndarray
    recall: np.ndarray
    objects: np.ndarray
    thresholds: tuple[float, ...]
    areas: tuple[str, ...]

    def __repr__(self) -> str:
        return f"<AveragePrecision: AP {self.ap():.3f}, AP50 {self.ap(0.5):.3f}>"

    def ap(self, threshold: float | None = None, *, of: int | None = None, area: str = "all") -> float:
        """Return the average precision, 0 to 1, or NaN if there are no such objects.

        It is the mean over all thresholds unless one is given, and over the classes unless ``of`` is the index of one.

        Raises
        ------
        ValueError
            If the threshold or the range of areas was not evaluated.
        """
        return self._mean(self.precision, threshold, of, area)

    def ar(self, threshold: float | None = None, *, of: int | None = None, area: str = "all") -> float:
        """Return the average recall, with arguments and errors as in ``ap``."""
        return self._mean(self.recall, threshold, of, area)

    def curve(self, threshold: float = 0.5, *, of: int | None = None, area: str = "all") -> np.ndarray:
        """Return the precision at each of ``RECALLS``, (101,), of one class or as the mean over those with objects."""
        chosen = self.precision[self._which(threshold), :, :, self._area(area)]
        chosen = chosen if of is None else chosen[:, of : of + 1]
        defined = chosen[:, ~np.isnan(chosen[0])]
        return defined.mean(1) if defined.size else np.full(len(RECALLS), np.nan)

    def _mean(self, values: np.ndarray, threshold: float | None, of: int | None, area: str) -> float:
        chosen = values[..., self._area(area)]
        chosen = chosen if threshold is None else chosen[self._which(threshold)][None]
        chosen = chosen if of is None else chosen[..., of]
        defined = chosen[~np.isnan(chosen)]
        return float(defined.mean()) if defined.size else float("nan")

    def _which(self, threshold: float) -> int:
        near = np.flatnonzero(np.isclose(self.thresholds, threshold))
        if not len(near):
            known = ", ".join(f"{one:g}" for one in self.thresholds)
            raise ValueError(f"the threshold is {threshold!r}; expected one of {known}")
        return int(near[0])

    def _area(self, name: str) -> int:
        if name not in self.areas:
            raise ValueError(f"the range of areas is {name!r}; expected one of {', '.join(self.areas)}")
        return self.areas.index(name)


class Matches(NamedTuple):
    """The detections of one class in one picture, best first, by range of areas and threshold."""

    scores: np.ndarray  # (D,)
    matched: np.ndarray  # (A, T, D)
    ignored: np.ndarray  # (A, T, D): neither right nor wrong
    objects: np.ndarray  # (A,), the number that count


def average_precision(
    truth: Boxes, found: Detections, *, classes: int, thresholds: Sequence[float] | np.ndarray = THRESHOLDS,
    areas: Mapping[str, tuple[float, float]] = COCO_AREAS, most: int = 100,
) -> AveragePrecision:  # fmt: skip
    """Return the average precision of detections, compared with the boxes of the objects in the same pictures.

    ``areas`` are ranges of the areas of objects in square pixels, both ends included. Only the ``most`` best detections
    of each class in a picture count.
    """
    limits, levels = np.array(list(areas.values()), float).reshape(-1, 2), np.asarray(thresholds, float)
    shape = len(levels), classes, len(limits)
    precision = np.full((len(levels), len(RECALLS), classes, len(limits)), np.nan)
    recall, objects = np.full(shape, np.nan), np.zeros(shape[1:], np.int64)
    for k in range(classes):
        of_class = np.flatnonzero(truth.classes == k), np.flatnonzero(found.classes == k)
        pictures = np.union1d(truth.images[of_class[0]], found.images[of_class[1]])
        by_picture = _split(truth.images, of_class[0], pictures), _split(found.images, of_class[1], pictures)
        parts = [_match(truth, found, *pair, limits, levels, most) for pair in zip(*by_picture, strict=True)]
        if not parts:
            continue
        objects[k] = np.sum([part.objects for part in parts], axis=0)
        scores = np.concatenate([part.scores for part in parts])
        order = np.argsort(-scores, kind="stable")
        matched, ignored = (np.concatenate([part[i] for part in parts], axis=2)[:, :, order] for i in (1, 2))
        for a in np.flatnonzero(objects[k]):
            precision[:, :, k, a], recall[:, k, a] = _curves(matched[a], ignored[a], objects[k, a])
    return AveragePrecision(precision, recall, objects, tuple(levels.tolist()), tuple(areas))


def _curves(matched: np.ndarray, ignored: np.ndarray, objects: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the precision at ``RECALLS`` (T, 101) and the highest recall (T,) from matches (T, D), best first."""
    right, wrong = (np.cumsum(which & ~ignored, axis=1).astype(float) for which in (matched, ~matched))
    recall, precision = right / objects, right / (wrong + right + np.spacing(1))
    best_from_here = np.maximum.accumulate(precision[:, ::-1], axis=1)[:, ::-1]
    at_recalls = np.zeros((len(matched), len(RECALLS)))
    for t, reached in enumerate(recall):
        first = np.searchsorted(reached, RECALLS)
        inside = first < len(reached)
        at_recalls[t, inside] = best_from_here[t, first[inside]]
    return at_recalls, recall[:, -1] if recall.shape[1] else np.zeros(len(matched))


def _split(images: np.ndarray, chosen: np.ndarray, pictures: np.ndarray) -> list[np.ndarray]:
    """Return the chosen indices of each picture, in order; ``pictures`` ascend and include those of all chosen."""
    chosen = chosen[np.argsort(images[chosen], kind="stable")]
    return np.split(chosen, np.searchsorted(images[chosen], pictures[1:])) if len(pictures) else []


def _match(
    truth: Boxes, found: Detections, objects: np.ndarray, detected: np.ndarray, limits: np.ndarray, levels: np.ndarray,
    most: int,
) -> Matches:  # fmt: skip
    """Match the detections of one class in one picture to its objects, each to the free object that it overlaps most.

    An object that does not count is matched only if no other overlaps enough, and a crowd is never used up.
    """
    scores = found.scores[detected]
    best = np.argsort(-scores, kind="stable")[:most]
    boxes, crowd = found.corners[detected][best].astype(float), truth.crowd[objects]
    overlaps = _overlaps(boxes, truth.corners[objects].astype(float), crowd)
    skipped = crowd | _outside(truth.areas[objects], limits)  # (A, G)
    A, T, D, G = len(limits), len(levels), len(best), len(crowd)
    free, matched, ignored = np.ones((A, T, G), bool), np.zeros((A, T, D), bool), np.zeros((A, T, D), bool)
    levels, a, t = np.minimum(levels, 1 - 1e-10)[:, None], np.arange(A)[:, None], np.arange(len(levels))
    for d in np.flatnonzero((overlaps >= levels.min(initial=1)).any(1)):  # the others match nothing
        fits = free & (overlaps[d] >= levels)
        counted = fits & ~skipped[:, None]
        fits = np.where(counted.any(2, keepdims=True), counted, fits)
        last = G - 1 - np.where(fits, overlaps[d], -1)[..., ::-1].argmax(2)  # the last of equal overlaps
        hit = fits.any(2)
        free[a, t, last] &= ~hit | crowd[last]
        matched[:, :, d], ignored[:, :, d] = hit, hit & skipped[a, last]
    ignored |= ~matched & _outside(area(boxes), limits)[:, None]
    return Matches(scores[best], matched, ignored, (~skipped).sum(1))


def _overlaps(boxes: np.ndarray, objects: np.ndarray, crowd: np.ndarray) -> np.ndarray:
    """Return the IoU (D, G); for a crowd, the share of the detection that lies inside it."""
    shared = intersection(boxes, objects)
    return np.where(crowd, shared / np.where(shared > 0, area(boxes)[:, None], 1), iou(boxes, objects))


def _outside(areas: np.ndarray, limits: np.ndarray) -> np.ndarray:
    """Return which areas lie outside each range: (M,), (A, 2) -> (A, M)."""
    return (areas < limits[:, :1]) | (areas > limits[:, 1:])
