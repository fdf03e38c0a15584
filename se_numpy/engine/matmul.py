"""Products of many rows with a small matrix, in tiles that fit OpenBLAS's small-matrix kernels.

Those ran at 110 GFLOP/s a core, one long product at 60 to 95.
"""

from functools import cache
from types import ModuleType

import numpy as np

from se_numpy.arrays import Array
from se_numpy.engine.workspace import workspace

SMALL_PRODUCT = 10**6  # multiply-adds up to which OpenBLAS takes its small-matrix kernels, which need no packing


def product(xp: ModuleType, rows: Array, matrix: Array, out: Array) -> Array:
    """Write out = rows @ matrix for many rows (R, K) and a small matrix (K, M): in tiles on a CPU, at once on a GPU."""
    R, tile = len(rows), _tile_rows(*matrix.shape)
    if xp is not np or 2 * tile > R:
        return xp.matmul(rows, matrix, out=out)
    tiled = R - R % tile
    np.matmul(_tiles(rows[:tiled], tile), matrix, out=_tiles(out[:tiled], tile))
    if tiled < R:
        np.matmul(rows[tiled:], matrix, out=out[tiled:])
    return out


def product_over_rows(xp: ModuleType, x: Array, y: Array) -> Array:
    """Return xᵀ y, summed over many rows: x (R, K), y (R, M) -> (K, M).  In tiles on a CPU, as ``product``."""
    R, K, M, tile = len(x), x.shape[1], y.shape[1], _tile_rows(x.shape[1], y.shape[1])
    if xp is not np or tile < 64 or 2 * tile > R:  # below 64 rows adding up the tiles costs what they save
        return xp.matmul(x.T, y)
    tiled = R - R % tile
    parts = workspace(np, "tiles", (tiled // tile, K, M), np.result_type(x, y))
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
