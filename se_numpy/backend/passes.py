"""Passes over big arrays in the form a CPU's caches or a GPU's launches like: products, sums, multiply-and-add.

On feature maps (N, H, W, C) NumPy's inner loop would run over C = 16 numbers. Here it runs over lines of thousands,
with what belongs to a channel repeated along the line.
"""

from collections.abc import Callable
from functools import cache
from types import ModuleType

import numpy as np

from se_numpy.backend.arrays import Array, array_module
from se_numpy.backend.blocks import over_blocks, scratch

LINE = 4096  # numbers that one inner loop of a pass over feature maps runs over
SMALL_PRODUCT = 10**6  # multiply-adds up to which OpenBLAS takes its small-matrix kernels, which need no packing


def elementwise(f: Callable[..., object], *arrays: Array) -> Array:
    """The array that f(out, *arrays) fills, block by block along the first axis, from arrays of one shape."""
    x = arrays[0]
    xp = array_module(*arrays)
    out = xp.empty(x.shape, xp.result_type(*arrays))
    if x.ndim == 0:
        f(out, *arrays)
    else:
        over_blocks(xp, lambda n: f(out[n], *(a[n] for a in arrays)), len(x), 3 * x[0].nbytes)
    return out


def add(x: Array, y: Array) -> Array:
    """x + y for arrays of one shape, spread over the threads."""
    xp = array_module(x, y)
    return elementwise(lambda total, x, y: xp.add(x, y, out=total), x, y)


def pixel_sum(x: Array, y: Array | None = None) -> Array:
    """Σ over an image's pixels, of x or of x·y: (N, H, W, C) -> (N, C)."""
    xp = array_module(x, y)
    total = xp.empty((len(x), x.shape[-1]), x.dtype if y is None else xp.result_type(x, y))

    def block(n: slice) -> None:
        part = x[n]
        if y is not None:
            part = xp.multiply(lines(part), lines(y[n]), out=scratch(xp, "product", lines(part).shape, total.dtype))
        total[n] = image_sum(part.reshape(x[n].shape))

    over_blocks(xp, block, len(x), 3 * x[0].nbytes)
    return total


def image_sum(x: Array) -> Array:
    """Σ over each image's pixels: (n, ..., C) -> (n, C).  To be called inside a block; as ``channel_sum``."""
    xp = array_module(x)
    if x.ndim == 2:
        return x
    if xp is not np:
        return x.sum(tuple(range(1, x.ndim - 1)))
    pixels = x.reshape(len(x), -1, x.shape[-1])
    return np.matmul(np.ones((1, pixels.shape[1]), x.dtype), pixels)[:, 0]


def channel_sum(x: Array) -> Array:
    """Σ over all axes but the last: (N, ..., C) -> (C,).  To be called inside a block.

    On a CPU a product with ones, the fastest way to add rows up. CuPy reduces one image per block of threads and then
    the batch, for all at once would be a single block of threads on the whole card.
    """
    xp = array_module(x)
    if xp is not np:
        return x.sum(tuple(range(1, x.ndim - 1))).sum(0) if x.ndim > 2 else x.sum(0)
    rows = x.reshape(-1, x.shape[-1] * (x.shape[-2] if x.ndim > 2 else 1))  # one row of pixels each
    return (np.ones(len(rows), x.dtype) @ rows).reshape(-1, x.shape[-1]).sum(0)


def lines(x: Array) -> Array:
    """x (n, ..., C) as (n, lines, pixels · C): an inner loop over thousands of numbers, not over C = 16."""
    return x.reshape(len(x), -1, pixels_of_a_line(x.shape) * x.shape[-1])


def along(x: Array, v: Array, n: slice = slice(None)) -> Array:
    """v (C,), or rows n of v (N, C), repeated along a line of x, so that it meets ``lines(x)``."""
    pixels = pixels_of_a_line(x.shape)
    v = v[n, None, None] if v.ndim == 2 else v[None]
    line = array_module(v).empty((*v.shape[:-2], pixels, v.shape[-1]), v.dtype)
    line[...] = v
    return line.reshape(*line.shape[:-2], -1)


@cache
def pixels_of_a_line(shape: tuple[int, ...]) -> int:
    """As many rows of the images as divide them evenly and stay within LINE numbers."""
    if len(shape) != 4:
        return 1
    _, H, W, C = shape
    return W * max((k for k in range(1, H + 1) if H % k == 0 and k * W * C <= LINE), default=1)


def product(xp: ModuleType, rows: Array, matrix: Array, out: Array) -> Array:
    """out = rows @ matrix for many rows (R, K) and a small matrix (K, M): in tiles on a CPU, at once on a GPU.

    Tiles that fit OpenBLAS's small-matrix kernels ran at 110 GFLOP/s a core, one long product at 60 to 95.
    """
    R, tile = len(rows), _tile_rows(*matrix.shape)
    if xp is not np or 2 * tile > R:
        return xp.matmul(rows, matrix, out=out)
    tiled = R - R % tile
    np.matmul(_tiles(rows[:tiled], tile), matrix, out=_tiles(out[:tiled], tile))
    if tiled < R:
        np.matmul(rows[tiled:], matrix, out=out[tiled:])
    return out


def product_over_rows(xp: ModuleType, x: Array, y: Array) -> Array:
    """xᵀ y, summed over many rows: x (R, K), y (R, M) -> (K, M).  In tiles on a CPU, as ``product``."""
    R, K, M, tile = len(x), x.shape[1], y.shape[1], _tile_rows(x.shape[1], y.shape[1])
    if xp is not np or tile < 64 or 2 * tile > R:  # below 64 rows adding up the tiles costs what they save
        return xp.matmul(x.T, y)
    tiled = R - R % tile
    parts = scratch(np, "tiles", (tiled // tile, K, M), np.result_type(x, y))
    np.matmul(_tiles(x[:tiled], tile).transpose(0, 2, 1), _tiles(y[:tiled], tile), out=parts)
    total = (np.ones(len(parts), parts.dtype) @ parts.reshape(len(parts), -1)).reshape(K, M)
    if tiled < R:
        total += np.matmul(x[tiled:].T, y[tiled:])
    return total


@cache
def _tile_rows(K: int, M: int) -> int:
    """How many rows of K numbers, times (K, M), are still a small product to OpenBLAS; 256 where hardly any are.

    A power of two, which usually divides the rows of a block.
    """
    rows = SMALL_PRODUCT // (K * M)
    return min(1 << rows.bit_length() - 1, 128) if rows >= 8 else 256


def _tiles(x: np.ndarray, rows: int) -> np.ndarray:
    """(R, K) as (R/rows, rows, K), a view whatever the stride between rows."""
    if x.flags.c_contiguous:
        return x.reshape(-1, rows, x.shape[1])
    step, along = x.strides
    return np.lib.stride_tricks.as_strided(x, (len(x) // rows, rows, x.shape[1]), (rows * step, step, along))
