"""Sums over the pixels of maps, by image and by channel, and the partial moments of a batch."""

import math
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np

from se_numpy.arrays import Array, array_module
from se_numpy.engine import cuda
from se_numpy.engine.parallel import chunks, parallel_for
from se_numpy.engine.workspace import workspace

GROUPS = 32  # parts into which a device without kernels splits a batch


def pixel_sum(x: Array, y: Array | None = None) -> Array:
    """Return the sum of x, or of x·y, over the pixels of each image: (N, H, W, C) -> (N, C)."""
    xp = array_module(x, y)
    if cuda.has_kernels(xp, x, y):
        name, maps = ("sums", (x,)) if y is None else ("sums_of_products", (x, y))
        (parts,) = cuda.sums(name, maps, by_image=True)
        return parts.sum(1) if parts.shape[1] > 1 else parts[:, 0]

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


def batch_sum(x: Array) -> Array:
    """Return the sum of x (N, K) over the batch."""
    if cuda.has_kernels(array_module(x), x):
        return cuda.sums("sums", (x,), finish=True)[0]
    return x.sum(0)


def row_sums(x: Array) -> tuple[Array, int]:
    """Return partial sums by channel (G, C) of x (n, ..., C), and how many values each of them adds up.

    On a CPU each sum covers one column of pixels, computed as a product with ones, the fastest way to add up rows. On a
    device without kernels each covers some of the images.
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
    """The means by channel of G groups of ``count`` values each, and their sums of squares about these means."""

    count: Any
    mean: Array  # (G, C)
    squares: Array  # (G, C)  Σ (x - mean)²


def partial_moments(x: Array) -> PartialMoments:
    """Return the partial moments of x (n, ..., C)."""
    xp = array_module(x)
    total, count = row_sums(x)
    mean = total / count
    if xp is not np:
        return PartialMoments(count, mean, xp.square(_in_groups(x) - mean[:, None]).sum(1))
    rows = x.reshape(-1, _row_length(x))
    d = np.subtract(rows, mean.reshape(-1), out=workspace(np, "centred", rows.shape, x.dtype))
    d *= d
    return PartialMoments(count, mean, row_sums(d.reshape(x.shape))[0])


def bn_grad_sums_of_block(dy: Array, x: Array, centre: Array, *, by_image: bool) -> tuple[Array, Array]:
    """Return Σ dy and Σ dy (x - centre), summed by image or like ``row_sums``; centre comes from ``tile_row``."""
    xp = array_module(dy, x, centre)
    if xp is not np:
        dy, x = (_in_groups(v, len(x) if by_image else None) for v in (dy, x))
        return dy.sum(1), (dy * (x - centre)).sum(1)
    rows = x.reshape(-1, _row_length(x))
    d = np.subtract(rows, centre, out=workspace(np, "centred", rows.shape, np.result_type(dy, x)))
    d *= dy.reshape(rows.shape)
    d = d.reshape(x.shape)
    return (image_sums(dy), image_sums(d)) if by_image else (row_sums(dy)[0], row_sums(d)[0])


def _in_groups(x: Array, groups: int | None = None) -> Array:
    """Return (n, ..., C) as (G, values, C), for a device without kernels."""
    return x.reshape(groups or math.gcd(len(x), GROUPS), -1, x.shape[-1])


def tile_row(v: Array, x: Array) -> Array:
    """Return v (C,) repeated along a row of pixels of x; unchanged on a GPU, where it broadcasts."""
    return v if array_module(v) is not np else np.tile(v, _row_length(x) // x.shape[-1])


def _row_length(x: Array) -> int:
    return int(x.shape[-1] * (x.shape[-2] if x.ndim > 2 else 1))


@lru_cache(maxsize=64)
def _ones(n: int, dtype: np.dtype) -> np.ndarray:
    return np.ones(n, dtype)
