"""Products of many rows with a small matrix, in tiles if OpenBLAS has kernels for small matrices.

On a processor with AVX-512 those kernels ran at 110 GFLOP/s per core, one long product at 60 to 95. With only AVX2,
where such kernels do not exist, a long product ran at 67 to 90, tiles at 37 to 80.
"""

from functools import cache

import numpy as np

from se_numpy.arrays import Array, array_module
from se_numpy.engine.blas import has_small_kernels
from se_numpy.engine.workspace import workspace

SMALL_PRODUCT = 10**6  # multiply-adds: up to this many, OpenBLAS uses its small-matrix kernels, which need no packing


def product(rows: Array, matrices: Array, out: Array) -> Array:
    """Write out = rows @ matrices for many rows (G, R, K) and small matrices (G, K, M), in tiles if that is faster."""
    R, tile, xp = rows.shape[1], _tile_rows(*matrices.shape[1:]), array_module(rows)
    if xp is not np and len(rows) == 1:  # cuBLAS multiplies single matrices faster than batches of them
        xp.matmul(rows[0], matrices[0], out=out[0])
        return out
    if xp is not np or 2 * tile > R or not has_small_kernels():
        return xp.matmul(rows, matrices, out=out)
    tiled = R - R % tile
    np.matmul(_tiles(rows[:, :tiled], tile), matrices[:, None], out=_tiles(out[:, :tiled], tile))
    if tiled < R:
        np.matmul(rows[:, tiled:], matrices, out=out[:, tiled:])
    return out


def product_over_rows(x: Array, y: Array) -> Array:
    """Return xᵀ y, summed over many rows, in tiles if that is faster: x (G, R, K), y (G, R, M) -> (G, K, M)."""
    (G, R, K), M, xp = x.shape, y.shape[2], array_module(x, y)
    tile = _tile_rows(K, M)
    if xp is not np and G == 1:
        return (x[0].T @ y[0])[None]
    if xp is not np or tile < 64 or 2 * tile > R or not has_small_kernels():
        # with tiles of fewer than 64 rows, adding up their products costs as much as tiling saves
        return xp.matmul(x.transpose(0, 2, 1), y)
    tiled = R - R % tile
    parts = workspace(np, "tiles", (G, tiled // tile, K, M), np.result_type(x, y))
    np.matmul(_tiles(x[:, :tiled], tile).swapaxes(2, 3), _tiles(y[:, :tiled], tile), out=parts)
    total = (np.ones(tiled // tile, parts.dtype) @ parts.reshape(G, tiled // tile, -1)).reshape(G, K, M)
    if tiled < R:
        total += np.matmul(x[:, tiled:].swapaxes(1, 2), y[:, tiled:])
    return total


@cache
def _tile_rows(K: int, M: int) -> int:
    """Return how many rows a product (rows, K) @ (K, M) may have to count as small in OpenBLAS; 256 if fewer than 8.

    The result is a power of two, which usually divides the number of rows of a block.
    """
    rows = SMALL_PRODUCT // (K * M)
    return min(1 << rows.bit_length() - 1, 128) if rows >= 8 else 256


def _tiles(x: np.ndarray, rows: int) -> np.ndarray:
    """Return (G, R, K) as (G, R/rows, rows, K), a view for any strides."""
    G, R, K = x.shape
    return x.reshape(G, R // rows, rows, K)
