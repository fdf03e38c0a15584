"""Passes over big arrays in the form a CPU's caches or a GPU's launches like: products, sums, multiply-and-add.

On feature maps (N, H, W, C) NumPy's inner loop would run over C = 16 numbers. Here it runs over lines of thousands,
with what belongs to a channel repeated along the line.
"""

import math
from collections.abc import Callable
from functools import cache
from types import ModuleType
from typing import Any, NamedTuple

import numpy as np

from se_numpy.backend.arrays import Array, array_module
from se_numpy.backend.blocks import few, over_blocks, scratch
from se_numpy.backend.kernels import has_kernels, one_launch, two_sums

LINE = 4096  # numbers that one inner loop of a pass over feature maps runs over
GROUPS = 32  # that a GPU cuts a batch into before it adds up, so that many blocks of threads have work
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


@one_launch("T dy, T x", "T dx", "dx = x > 0 ? dy : (T)0")
def masked(dy: Array, x: Array, dx: Array) -> None:
    """dx = dy · [x > 0], written to dx, which may be dy.  To be called inside a block."""
    array_module(dy, x).multiply(dy, x > 0, out=dx)


@one_launch("T dy, T plus, T x", "T dx", "dx = x > 0 ? dy + plus : (T)0")
def masked_sum(dy: Array, plus: Array, x: Array, dx: Array) -> None:
    """dx = (dy + plus) · [x > 0], likewise."""
    array_module(dy, plus).add(dy, plus, out=dx)
    masked(dx, x, dx)


def pixel_sum(x: Array, y: Array | None = None) -> Array:
    """Σ over an image's pixels, of x or of x·y: (N, H, W, C) -> (N, C)."""
    xp = array_module(x, y)

    def block(n: slice) -> Array:
        if y is None:
            return image_sums(x[n])
        u, v = x[n], y[n]
        return _joined([image_sums(_product(xp, u[part], v[part])) for part in few(xp, len(u), u[0].nbytes)])

    parts = over_blocks(xp, block, len(x), (1 if y is None else 2) * x[0].nbytes)
    return _joined(parts)


def _product(xp: ModuleType, u: Array, v: Array) -> Array:
    return xp.multiply(u, v, out=scratch(xp, "product", u.shape, xp.result_type(u, v)))


def _joined(parts: list[Array]) -> Array:
    return parts[0] if len(parts) == 1 else np.concatenate(parts)


def row_sums(x: Array) -> tuple[Array, int]:
    """(G, C) sums of x (n, ..., C), of which the sums by channel are made, and over how many numbers each is.

    On a CPU of each column of pixels, by a product with ones, the fastest way to add rows up; on a GPU, where one block
    of threads adds up what one result needs, of some images each.
    """
    if array_module(x) is not np:
        x = _in_groups(x)
        return x.sum(1), x.shape[1]
    rows = x.reshape(-1, _row_length(x))
    return (_ones(len(rows), x.dtype) @ rows).reshape(-1, x.shape[-1]), len(rows)


def image_sums(x: Array) -> Array:
    """Σ over each image's pixels of x (n, ..., C): (n, C).  To be called inside a block."""
    if array_module(x) is not np:
        return _in_groups(x, len(x)).sum(1)
    pixels = x.reshape(len(x), -1, x.shape[-1])
    return np.matmul(_ones(pixels.shape[1], x.dtype), pixels)


class Spread(NamedTuple):
    """Sums by channel of G groups of ``count`` numbers each, about a pivot close to their mean: no digits cancel."""

    count: Any
    pivot: Array  # (G, C)
    off: Array | None  # (G, C)  Σ (x - pivot); None where the pivot is the mean itself
    squares: Array  # (G, C)  Σ (x - pivot)²


def spread(x: Array, *, by_image: bool) -> Spread:
    """What the moments of x (n, ..., C) are made of.  ``by_image`` makes each image a group, on a GPU alone."""
    xp = array_module(x)
    if xp is not np and has_kernels(xp, x):  # one launch, about the first number of each group
        x = _in_groups(x, len(x) if by_image else None)
        off, squares = _sums_about(x, x[:, :1], axis=1)
        return Spread(x.shape[1], x[:, 0], off, squares)
    total, count = row_sums(x)
    pivot = total / count
    if xp is not np:
        return Spread(count, pivot, None, xp.square(_in_groups(x) - pivot[:, None]).sum(1))
    rows = x.reshape(-1, _row_length(x))
    d = np.subtract(rows, pivot.reshape(-1), out=scratch(np, "centred", rows.shape, x.dtype))
    d *= d
    return Spread(count, pivot, None, row_sums(d.reshape(x.shape))[0])


def slope_sums(dy: Array, x: Array, centre: Array, *, by_image: bool) -> tuple[Array, Array]:
    """Σ dy and Σ dy (x - centre), as ``image_sums`` or as ``row_sums``; centre (C,) as ``column_line`` makes it."""
    xp = array_module(dy, x, centre)
    if xp is not np:
        dy, x = (_in_groups(v, len(x) if by_image else None) for v in (dy, x))
        if has_kernels(xp, dy, x, centre):
            return _sums_with(dy, x, centre, axis=1)
        return dy.sum(1), (dy * (x - centre)).sum(1)
    rows = x.reshape(-1, _row_length(x))
    d = np.subtract(rows, centre, out=scratch(np, "centred", rows.shape, np.result_type(dy, x)))
    d *= dy.reshape(rows.shape)
    d = d.reshape(x.shape)
    return (image_sums(dy), image_sums(d)) if by_image else (row_sums(dy)[0], row_sums(d)[0])


_sums_about = two_sums("T x, T pivot", "x - pivot", "(x - pivot) * (x - pivot)", "sums_about")
_sums_with = two_sums("T dy, T x, T centre", "dy", "dy * (x - centre)", "sums_with")


def _in_groups(x: Array, groups: int | None = None) -> Array:
    """(n, ..., C) as (G, numbers, C), for a GPU: enough groups to keep it busy, few enough to add up after that."""
    return x.reshape(groups or math.gcd(len(x), GROUPS), -1, x.shape[-1])


def column_line(v: Array, x: Array) -> Array:
    """v (C,) repeated along a row of the pixels of x, as ``product_sums`` wants it; on a GPU as it is."""
    return v if array_module(v) is not np else np.tile(v, _row_length(x) // x.shape[-1])


def _row_length(x: Array) -> int:
    return x.shape[-1] * (x.shape[-2] if x.ndim > 2 else 1)


@cache
def _ones(n: int, dtype: np.dtype) -> np.ndarray:
    return np.ones(n, dtype)


def lines(x: Array, limit: int = LINE) -> Array:
    """x (n, ..., C) as (n, lines, pixels · C): an inner loop over thousands of numbers, not over C = 16."""
    return x.reshape(len(x), -1, pixels_of_a_line(x.shape, limit) * x.shape[-1])


def along(x: Array, v: Array, n: slice = slice(None), limit: int = LINE) -> Array:
    """v (C,), or rows n of v (N, C), repeated along a line of x, so that it meets ``lines(x, limit)``."""
    pixels = pixels_of_a_line(x.shape, limit)
    v = v[n, None, None] if v.ndim == 2 else v[None]
    line = array_module(v).empty((*v.shape[:-2], pixels, v.shape[-1]), v.dtype)
    line[...] = v
    return line.reshape(*line.shape[:-2], -1)


@cache
def pixels_of_a_line(shape: tuple[int, ...], limit: int = LINE) -> int:
    """As many rows of the images as divide them evenly and stay within ``limit`` numbers; at least one."""
    if len(shape) != 4:
        return 1
    _, H, W, C = shape
    return W * max((k for k in range(1, H + 1) if H % k == 0 and k * W * C <= limit), default=1)


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
