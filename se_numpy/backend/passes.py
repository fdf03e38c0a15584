"""Passes over big arrays in the form a CPU's caches or a GPU's launches like: products, sums, multiply-and-add.

On feature maps (N, H, W, C) NumPy's inner loop would run over C = 16 numbers. Here it runs over lines of thousands,
with what belongs to a channel repeated along the line.
"""

import math
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

    def block(n: slice) -> Array:
        part = x[n]
        if y is not None:
            part = xp.multiply(part, y[n], out=scratch(xp, "product", part.shape, xp.result_type(x, y)))
        return image_sums(part)

    parts = over_blocks(xp, block, len(x), 3 * x[0].nbytes)
    total = parts[0] if len(parts) == 1 else np.concatenate(parts)
    return total if total.shape[1] == x.shape[-1] else total.reshape(len(x), -1, x.shape[-1]).sum(1)


def columns(x: Array) -> Array:
    """x (n, ..., W, C) with one row of pixels a line: (lines, W·C) on a CPU; on a GPU as it is."""
    return x if array_module(x) is not np else x.reshape(-1, _row_length(x))


def column_line(v: Array, x: Array) -> Array:
    """v (C,) repeated along a row of the pixels of x, so that it meets ``columns(x)``."""
    return v if array_module(v) is not np else np.tile(v, _row_length(x) // x.shape[-1])


def row_sums(x: Array) -> tuple[Array, int]:
    """Sums of x (n, ..., C) that every later sum by channel can be made of, and over how many numbers each is.

    On a CPU the sum of all rows of pixels, (W·C,), by a product with ones, the fastest way to add rows up; on a GPU,
    where one block of threads adds up what one output needs, the sum of each image: (n, 1, ..., C).
    """
    if array_module(x) is not np:
        return x.sum(tuple(range(1, x.ndim - 1)), keepdims=True), math.prod(x.shape[1:-1])
    rows = columns(x)
    return _ones(len(rows), x.dtype) @ rows, len(rows)


def image_sums(x: Array) -> Array:
    """Sums of each image of x (n, ..., C) that its sums by channel can be made of: (n, W·C), on a GPU (n, C)."""
    if array_module(x) is not np:
        return x.sum(tuple(range(1, x.ndim - 1)))
    return x.reshape(len(x), -1, _row_length(x)).sum(1)


def by_channel(total: Array, x: Array) -> Array:
    """``row_sums`` of x with one channel a column: (columns of pixels, or images, C)."""
    return total.reshape(-1, x.shape[-1])


def _row_length(x: Array) -> int:
    return x.shape[-1] * (x.shape[-2] if x.ndim > 2 else 1)


@cache
def _ones(n: int, dtype: np.dtype) -> np.ndarray:
    return np.ones(n, dtype)


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
