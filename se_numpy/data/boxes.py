"""Boxes of objects in pictures: corners, classes and the picture of each, in three arrays for a whole data set."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from se_numpy.wrapping import plural


@dataclass(frozen=True, repr=False, eq=False)
class Boxes:
    """The boxes of a set of pictures, picture by picture.

    ``corners`` (M, 4) float32 are x0, y0, x1, y1 in pixels: x to the right and y downwards from the upper left corner
    of the picture, and x1 and y1 are exclusive edges, so a box is x1 - x0 pixels wide. ``classes`` (M,) and ``images``
    (M,) int64 are the class and the index of the picture of each box; the indices do not decrease. ``crowd`` (M,) is
    True for a box around a group of objects, as in COCO, in which detections are neither right nor wrong. ``areas``
    (M,) float64 are the areas by which objects are small or large: those of the boxes, unless given.

    Numbers of other types are converted.

    Raises
    ------
    TypeError
        If an array holds no numbers, or classes or indices that are not integers.
    ValueError
        If the arrays differ in length, a box has no area or is not finite, a class or an index is negative, or the
        indices decrease.
    """

    corners: np.ndarray
    classes: np.ndarray
    images: np.ndarray
    crowd: Any = None
    areas: Any = None

    def __post_init__(self) -> None:
        corners = _numbers("corners", self.corners, "fiu", np.float32)
        if corners.size == 0:
            corners = corners.reshape(0, 4)
        if corners.ndim != 2 or corners.shape[1] != 4:
            raise ValueError(f"corners have shape {corners.shape}; expected (M, 4): x0, y0, x1, y1 of each box")
        if wrong := _first(~(np.isfinite(corners).all(1) & (corners[:, 2:] > corners[:, :2]).all(1))):
            shown = ", ".join(f"{value:g}" for value in corners[wrong[0]])
            raise ValueError(f"corners[{wrong[0]}] is {shown}; expected numbers x0, y0, x1, y1 with x0 < x1, y0 < y1")
        crowd = np.zeros(len(corners), bool) if self.crowd is None else self.crowd
        areas = np.prod(corners[:, 2:].astype(float) - corners[:, :2], axis=1) if self.areas is None else self.areas
        found = {"corners": corners, "classes": _numbers("classes", self.classes, "iu", np.int64),
                 "images": _numbers("images", self.images, "iu", np.int64),
                 "crowd": _numbers("crowd", crowd, "biu", np.bool_),
                 "areas": _numbers("areas", areas, "fiu", np.float64)}  # fmt: skip
        for name, array in found.items():
            if name != "corners" and array.shape != (len(corners),):
                raise ValueError(f"{name} have shape {array.shape}; expected ({len(corners)},), one for each box")
            if name != "corners" and (wrong := _first(~(array >= 0))):
                raise ValueError(f"{name}[{wrong[0]}] is {array[wrong[0]]}; expected 0 or more")
            object.__setattr__(self, name, array)
        if wrong := _first(np.diff(found["images"]) < 0):
            raise ValueError(f"images[{wrong[0] + 1}] is less than the index before it; sort the boxes by picture: "
                             "order = np.argsort(images, kind='stable')")  # fmt: skip

    def __len__(self) -> int:
        return len(self.corners)

    def __repr__(self) -> str:
        boxes = f"{len(self):,} box{'es' * (len(self) != 1)}"
        return f"<Boxes: {boxes} in {plural(len(np.unique(self.images)), 'picture')}>"

    def of(self, image: int) -> "Boxes":
        """Return the boxes of one picture, whose index becomes 0."""
        return self.chosen([image])

    def chosen(self, images: Sequence[int] | np.ndarray) -> "Boxes":
        """Return the boxes of the pictures with these indices, in this order, which are numbered anew from 0."""
        rows = np.asarray(images, np.int64)
        first, end = np.searchsorted(self.images, rows), np.searchsorted(self.images, rows, "right")
        number = np.repeat(np.arange(len(rows)), end - first)
        which = np.arange(len(number)) - (np.cumsum(end - first) - (end - first))[number] + first[number]
        return Boxes(self.corners[which], self.classes[which], number, self.crowd[which], self.areas[which])

    @staticmethod
    def none() -> "Boxes":
        """Return a set without boxes."""
        return Boxes(np.zeros((0, 4)), np.zeros(0, np.int64), np.zeros(0, np.int64))


def _numbers(name: str, array: Any, kinds: str, dtype: Any) -> np.ndarray:
    """Return an array of this dtype, or raise TypeError if it holds something else."""
    found = np.asarray(array)
    if found.dtype.kind not in kinds and found.size:
        expected = "numbers" if "f" in kinds else "integers" if "b" not in kinds else "True or False"
        raise TypeError(f"{name} are {found.dtype}; expected an array of {expected}")
    return found.astype(dtype)


def _first(wrong: np.ndarray) -> list[int]:
    """Return the index of the first True in a list, or an empty list."""
    return [int(np.argmax(wrong))] if wrong.any() else []
