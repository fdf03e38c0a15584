"""Detections: boxes with scores, as a network finds them in a set of pictures."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from se_numpy.wrapping import plural


@dataclass(frozen=True, repr=False, eq=False)
class Detections:
    """The objects found in a set of pictures, picture by picture.

    ``corners`` (M, 4) float32 are x0, y0, x1, y1 as in ``Boxes``; ``scores`` (M,) float64 are between 0 and 1;
    ``classes`` (M,) and ``images`` (M,) int64 are the class and the index of the picture, which does not decrease.

    Raises
    ------
    ValueError
        If the arrays differ in length, or the indices of the pictures decrease.
    """

    corners: np.ndarray
    scores: np.ndarray
    classes: np.ndarray
    images: np.ndarray

    def __post_init__(self) -> None:
        kinds = {"corners": np.float32, "scores": np.float64, "classes": np.int64, "images": np.int64}
        for name, dtype in kinds.items():
            object.__setattr__(self, name, np.asarray(getattr(self, name), dtype))
        object.__setattr__(self, "corners", self.corners.reshape(-1, 4))
        if len({len(getattr(self, name)) for name in kinds}) > 1:
            lengths = ", ".join(f"{len(getattr(self, name))} {name}" for name in kinds)
            raise ValueError(f"got {lengths}; expected one of each for each detection")
        if (np.diff(self.images) < 0).any():
            raise ValueError("the indices of the pictures decrease; expected detections sorted by picture")

    def __len__(self) -> int:
        return len(self.scores)

    def __repr__(self) -> str:
        pictures = plural(len(np.unique(self.images)), "picture")
        return f"<Detections: {plural(len(self), 'detection')} in {pictures}>"

    def at_least(self, threshold: float) -> "Detections":
        """Return the detections with a score of at least ``threshold``."""
        return self._rows(self.scores >= threshold)

    def of(self, image: int) -> "Detections":
        """Return the detections in one picture, whose index becomes 0."""
        found = self._rows(self.images == image)
        return Detections(found.corners, found.scores, found.classes, found.images * 0)

    def _rows(self, rows: np.ndarray) -> "Detections":
        return Detections(self.corners[rows], self.scores[rows], self.classes[rows], self.images[rows])

    @staticmethod
    def joined(parts: Sequence["Detections"]) -> "Detections":
        """Return the detections of several sets of pictures with indices of their own, in order."""
        if not parts:
            return Detections(np.zeros((0, 4)), np.zeros(0), np.zeros(0), np.zeros(0))
        return Detections(*(np.concatenate([getattr(part, name) for part in parts]) for name in vars(parts[0])))
