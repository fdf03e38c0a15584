"""Targets of CenterNet: a heatmap with a peak at the centre of each object, and its size and offset at that cell."""

from typing import NamedTuple

from se_numpy.arrays import Array, array_module

OVERLAP = 0.7  # the IoU with the true box that a box shifted by the radius still has (Law and Deng, section 3.2)


class Targets(NamedTuple):
    """The targets of a batch, on a grid of h x w cells.

    ``heat`` (N, h, w, K) is 1 at the centres of objects of each class; ``sizes`` and ``offsets`` (N, h, w, 2), x first,
    are in cells and hold where ``mask`` (N, h, w) is True; ``weights`` (N, h, w) are 0 inside boxes of crowds.
    """

    heat: Array
    sizes: Array
    offsets: Array
    mask: Array
    weights: Array


def gaussian_radius(sizes: Array, *, overlap: float = OVERLAP) -> Array:
    """Return the largest r such that moving each corner by up to r keeps the IoU.          sizes (..., 2) -> r (...).

    Three cases limit r: both corners move in the same direction, inwards, or outwards. Each gives a quadratic equation;
    r is the smallest of the three solutions.

    References
    ----------
    Law and Deng, ECCV 2018, section 3.2.
    """
    xp = array_module(sizes)
    w, h, o = sizes[..., 0], sizes[..., 1], overlap
    both, product = w + h, w * h
    shifted = (both - xp.sqrt(xp.maximum(both**2 - 4 * product * (1 - o) / (1 + o), 0))) / 2
    inside = (both - xp.sqrt(xp.maximum(both**2 - 4 * (1 - o) * product, 0))) / 4
    outside = (xp.sqrt(both**2 + 4 * (1 - o) / o * product) - both) / 4
    return xp.minimum(xp.minimum(shifted, inside), outside)


def encode(
    corners: Array, classes: Array, present: Array, crowd: Array, *, grid: tuple[int, int], stride: int, K: int
) -> Targets:
    """Return the targets of a batch of N pictures with up to S boxes each.

    corners (N, S, 4) in pixels, classes (N, S), present and crowd (N, S) bool -> heat (N, h, w, K), ...

    ``present`` is False for places without a box. Where the centres of two objects share a cell, the cell has the size
    of the later one. A box of a crowd has no centre; the cells that it touches have weight 0.

    References
    ----------
    Zhou et al., "Objects as Points", 2019, section 3.
    """
    xp = array_module(corners, classes)
    (N, S), (h, w), dtype = classes.shape, grid, corners.dtype
    box, present, crowd = corners / dtype.type(stride), present & ~crowd, present & crowd
    centres, sizes = (box[..., :2] + box[..., 2:]) / 2, box[..., 2:] - box[..., :2]
    column, row = (xp.clip(xp.floor(centres[..., axis]), 0, most - 1).astype(int) for axis, most in ((0, w), (1, h)))
    offsets = centres - xp.stack([column, row], -1).astype(dtype)
    spread = 2 * ((2 * gaussian_radius(sizes) + 1) / 6)[..., None] ** 2
    across = xp.exp(-((xp.arange(w) - column[..., None]) ** 2).astype(dtype) / spread)
    down = xp.exp(-((xp.arange(h) - row[..., None]) ** 2).astype(dtype) / spread)
    into = Targets(
        xp.zeros((N, h, w, K), dtype), xp.zeros((N, h, w, 2), dtype), xp.zeros((N, h, w, 2), dtype),
        xp.zeros((N, h, w), bool), xp.ones((N, h, w), dtype),
    )  # fmt: skip
    each, y, x = xp.arange(N), xp.arange(h)[:, None], xp.arange(w)
    for s in range(S):
        peak, here = down[:, s, :, None] * across[:, s, None, :], present[:, s]
        heat = into.heat[each, :, :, classes[:, s]]
        into.heat[each, :, :, classes[:, s]] = xp.maximum(heat, peak * here[:, None, None])
        at = each, row[:, s], column[:, s]
        for values, of in ((into.sizes, sizes), (into.offsets, offsets)):
            values[at] = xp.where(here[:, None], of[:, s], values[at])
        into.mask[at] |= here
        x0, y0, x1, y1 = (box[:, s, side, None, None] for side in range(4))
        covered = (x + 1 > x0) & (x < x1) & (y + 1 > y0) & (y < y1) & crowd[:, s, None, None]
        into.weights[...] = xp.where(covered & ~into.mask, 0, into.weights).astype(dtype)
    return into
