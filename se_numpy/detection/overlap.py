"""Overlap of boxes, and non-maximum suppression."""

from se_numpy.arrays import Array, array_module


def iou(a: Array, b: Array) -> Array:
    """Return the intersection over union of each box of a with each of b.

    a (..., D, 4), b (..., G, 4) -> (..., D, G)

    Boxes are x0, y0, x1, y1. A box without an area overlaps none.
    """
    shared = intersection(a, b)
    union = area(a)[..., :, None] + area(b)[..., None, :] - shared
    return shared / array_module(a, b).where(shared > 0, union, union.dtype.type(1))


def intersection(a: Array, b: Array) -> Array:
    """Return the area that each box of a shares with each of b.         a (..., D, 4), b (..., G, 4) -> (..., D, G)."""
    xp = array_module(a, b)
    a, b = a[..., :, None, :], b[..., None, :, :]
    sides = xp.maximum(xp.minimum(a[..., 2:], b[..., 2:]) - xp.maximum(a[..., :2], b[..., :2]), 0)
    return sides[..., 0] * sides[..., 1]


def area(corners: Array) -> Array:
    """Return the areas of boxes (..., 4)."""
    sides = corners[..., 2:] - corners[..., :2]
    return sides[..., 0] * sides[..., 1]


def suppress(corners: Array, classes: Array, *, threshold: float) -> Array:
    """Return which boxes remain after non-maximum suppression.        corners (N, k, 4), classes (N, k) -> (N, k) bool.

    The boxes of each picture are in the order of decreasing scores. In this order, each box that remains removes later
    boxes of its class whose overlap (IoU) with it exceeds ``threshold``.

    Raises
    ------
    ValueError
        If the threshold is not between 0 and 1.
    """
    if not 0 <= threshold <= 1:
        raise ValueError(f"threshold is {threshold!r}; expected an overlap between 0 and 1")
    xp = array_module(corners, classes)
    k = classes.shape[1]
    rivals = (iou(corners, corners) > threshold) & (classes[:, :, None] == classes[:, None, :])
    rivals &= xp.arange(k)[:, None] < xp.arange(k)
    remains = xp.ones(classes.shape, bool)
    for i in range(k):
        remains &= ~(rivals[:, i] & remains[:, i : i + 1])
    return remains
