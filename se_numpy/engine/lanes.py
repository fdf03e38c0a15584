"""Elementwise passes over large arrays with long inner loops.

On feature maps (N, H, W, C), NumPy's inner loop would run over only C = 16 values. Here it runs over lanes: several
rows of pixels as one axis, with the per-channel values repeated along it.
"""

from collections.abc import Callable
from functools import cache
from typing import Any

import numpy as np

from se_numpy.arrays import Array, array_module
from se_numpy.engine.cuda import cuda_kernel
from se_numpy.engine.parallel import parallel_for

LANE = 4096  # values in one inner loop of a pass over feature maps


def elementwise(f: Callable[..., object], *arrays: Array, dtype: Any = None) -> Array:
    """Return the array filled by f(out, *arrays), called on blocks of the first axis; all arrays have equal shapes."""
    x = arrays[0]
    xp = array_module(*arrays)
    out = xp.empty(x.shape, dtype or xp.result_type(*arrays))
    if x.ndim == 0:
        f(out, *arrays)
    else:
        parallel_for(xp, lambda n: f(out[n], *(a[n] for a in arrays)), len(x), 3 * x[0].nbytes)
    return out


def add(x: Array, y: Array) -> Array:
    """Return x + y for arrays of equal shape, computed by several threads."""
    xp = array_module(x, y)
    return elementwise(lambda total, x, y: xp.add(x, y, out=total), x, y)


@cuda_kernel("relu_backward")
def mask_gradient(dy: Array, x: Array, dx: Array) -> None:
    """Write dx = dy · [x > 0], on one thread; dx may be dy."""
    xp = array_module(dy, x)
    if xp is not np:
        dx[...] = xp.where(x > 0, dy, dy.dtype.type(0))
        return
    with np.errstate(invalid="ignore", over="ignore"):
        np.multiply(dy, x > 0, out=dx)  # ten times faster than np.where
        flat = dx.reshape(-1)
        if not np.isfinite(np.dot(flat, flat)):  # 0 times an infinite gradient is NaN; it should be 0
            dx[~(x > 0)] = 0


@cuda_kernel("relu_backward_of_sum")
def mask_gradient_sum(dy: Array, extra: Array, x: Array, dx: Array) -> None:
    """Write dx = (dy + extra) · [x > 0], on one thread; dx may be dy."""
    array_module(dy, extra).add(dy, extra, out=dx)
    mask_gradient(dx, x, dx)


def as_lanes(x: Array, limit: int = LANE) -> Array:
    """Return x (n, ..., C) as (n, lanes, pixels · C): a view if the maps are contiguous."""
    return x.reshape(len(x), -1, pixels_per_lane(x.shape, limit) * x.shape[-1])


def tile_channels(x: Array, v: Array, n: slice = slice(None), limit: int = LANE) -> Array:
    """Return v (C,), or rows n of v (N, C), repeated along a lane, to broadcast with ``as_lanes(x, limit)``."""
    pixels = pixels_per_lane(x.shape, limit)
    v = v[n, None, None] if v.ndim == 2 else v[None]
    lane = array_module(v).empty((*v.shape[:-2], pixels, v.shape[-1]), v.dtype)
    lane[...] = v
    return lane.reshape(*lane.shape[:-2], -1)


@cache
def pixels_per_lane(shape: tuple[int, ...], limit: int = LANE) -> int:
    """Return the number of pixels in a lane: as many whole rows as fit into ``limit`` values, at least one row."""
    if len(shape) != 4:
        return 1
    _, H, W, C = shape
    return W * max((k for k in range(1, H + 1) if H % k == 0 and k * W * C <= limit), default=1)
