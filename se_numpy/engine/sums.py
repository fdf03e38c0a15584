"""Sums over the pixels of maps, by image and by channel, and the partial moments of a batch."""

import math
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np

from se_numpy.arrays import Array, array_module
from se_numpy.engine.cuda import dual_reduction, has_kernels
from se_numpy.engine.parallel import chunks, parallel_for
from se_numpy.engine.workspace import workspace

GROUPS = 32  # parts into which a GPU splits a batch, so that many thread blocks have work


def pixel_sum(x: Array, y: Array | None = None) -> Array:
    """Return the sum of x, or of x·y, over the pixels of each image: (N, H, W, C) -> (N, C)."""
    xp = array_module(x, y)

    def block(n: slice) -> Array:
        if y is None:
            return image_sums(x[n])
        u, v = x[n], y[n]
        parts = chunks(xp, len(u), u[0].nbytes)
        return concatenate([image_sums(_product(u[part], v[part])) for part in parts])

    return concatenate(parallel_for(xp, block, len(x), (1 if y is None else 2) * x[0].nbytes))


def _product(u: Array, v: Array) -> Array:
    xp = array_module(u, v)
    return xp.multiply(u, v, out=workspace(xp, "product", u.shape, xp.result_type(u, v)))


def concatenate(parts: list[Array]) -> Array:
    """Concatenate the parts; several parts occur only on the host."""
    return parts[0] if len(parts) == 1 else np.concatenate(parts)


def row_sums(x: Array) -> tuple[Array, int]:
    """Return partial sums by channel (G, C) of x (n, ..., C), and how many values each of them adds up.

    On a CPU each sum covers one column of pixels, computed as a product with ones, the fastest way to add up rows. On a
    GPU, where one thread block computes one sum, each covers some of the images.
    """
    if array_module(x) is not np:
        x = _in_groups(x)
        return x.sum(1), x.shape[1]
    rows = x.reshape(-1, _row_length(x))
    return (_ones(len(rows), x.dtype) @ rows).reshape(-1, x.shape[-1]), len(rows)


def image_sums(x: Array) -> Array:
    """Return the sum of x over the pixels of each image, on one thread: (n, ..., C) -> (n, C)."""
    if array_module(x) is not np:
        return _in_groups(x, len(x)).sum(1)
    pixels = x.reshape(len(x), -1, x.shape[-1])
    return np.matmul(_ones(pixels.shape[1], x.dtype), pixels)


class PartialMoments(NamedTuple):
    """Sums by channel of G groups of ``count`` values each, about a pivot near their mean to avoid cancellation."""

    count: Any
    pivot: Array  # (G, C)
    off: Array | None  # (G, C)  Σ (x - pivot); None if the pivot is the mean itself
    squares: Array  # (G, C)  Σ (x - pivot)²


def partial_moments(x: Array, *, by_image: bool) -> PartialMoments:
    """Return the partial moments of x (n, ..., C).  On a GPU, ``by_image`` makes each image a group."""
    xp = array_module(x)
    if xp is not np and has_kernels(xp, x):  # one launch, about the first value of each group
        x = _in_groups(x, len(x) if by_image else None)
        off, squares = dual_reduction("sums_about", x, x[:, :1], axis=1)
        return PartialMoments(x.shape[1], x[:, 0], off, squares)
    total, count = row_sums(x)
    pivot = total / count
    if xp is not np:
        return PartialMoments(count, pivot, None, xp.square(_in_groups(x) - pivot[:, None]).sum(1))
    rows = x.reshape(-1, _row_length(x))
    d = np.subtract(rows, pivot.reshape(-1), out=workspace(np, "centred", rows.shape, x.dtype))
    d *= d
    return PartialMoments(count, pivot, None, row_sums(d.reshape(x.shape))[0])


def bn_grad_sums_of_block(dy: Array, x: Array, centre: Array, *, by_image: bool) -> tuple[Array, Array]:
    """Return Σ dy and Σ dy (x - centre), summed by image or like ``row_sums``; centre comes from ``tile_row``."""
    xp = array_module(dy, x, centre)
    if xp is not np:
        dy, x = (_in_groups(v, len(x) if by_image else None) for v in (dy, x))
        if has_kernels(xp, dy, x, centre):
            return dual_reduction("sums_with", dy, x, centre, axis=1)
        return dy.sum(1), (dy * (x - centre)).sum(1)
    rows = x.reshape(-1, _row_length(x))
    d = np.subtract(rows, centre, out=workspace(np, "centred", rows.shape, np.result_type(dy, x)))
    d *= dy.reshape(rows.shape)
    d = d.reshape(x.shape)
    return (image_sums(dy), image_sums(d)) if by_image else (row_sums(dy)[0], row_sums(d)[0])


def _in_groups(x: Array, groups: int | None = None) -> Array:
    """Return (n, ..., C) as (G, values, C) for a GPU: enough groups to keep it busy, few enough to add up cheaply."""
    return x.reshape(groups or math.gcd(len(x), GROUPS), -1, x.shape[-1])


def tile_row(v: Array, x: Array) -> Array:
    """Return v (C,) repeated along a row of pixels of x; unchanged on a GPU, where it broadcasts."""
    return v if array_module(v) is not np else np.tile(v, _row_length(x) // x.shape[-1])


def _row_length(x: Array) -> int:
    return int(x.shape[-1] * (x.shape[-2] if x.ndim > 2 else 1))


@lru_cache(maxsize=64)
def _ones(n: int, dtype: np.dtype) -> np.ndarray:
    return np.ones(n, dtype)
