"""Convolution block by block, over deferred maps.

A block is computed in one of two ways: as products of windows with filters (``by_windows``) or, for depthwise filters,
as multiply-adds along lanes (``by_lanes``). ``epilogue`` is called on each block right after it is written, while it is
still in the cache.
"""

from collections.abc import Callable
from functools import reduce
from operator import add as add_up
from types import ModuleType
from typing import Any

import numpy as np

from se_numpy.arrays import Array
from se_numpy.engine import by_lanes, by_windows
from se_numpy.engine.affine_maps import AffineMaps
from se_numpy.engine.conv_plan import ConvPlan, plan
from se_numpy.engine.parallel import parallel_for, parallel_for_rows

Epilogue = Callable[..., Any]


def convolve(
    X: AffineMaps, V: Array, *, stride: int, padding: int, groups: int, epilogue: Epilogue | None = None
) -> tuple[Array, list[Any]]:
    """Return U, and the result of epilogue(U, images, rows) for every block written."""
    p, form = _planned(X, V, stride, padding, groups)
    (_, _, c, C), N, xp = V.shape, X.shape[0], X.xp
    U = xp.empty((N, p.H, p.W, C), xp.result_type(X.dtype, V))
    filters = form.forward_filters(V, p, U.dtype)

    def block(n: slice, h: slice) -> Any:
        form.forward(X, n, h, filters, p, U[n, h])
        return epilogue(U, n, h) if epilogue else None

    moved = p.row_bytes(p.W, c * groups, C, p.tile, U.itemsize)
    return U, parallel_for_rows(xp, block, N, p.H, moved, p.row_flop(p.W, c, C))


def convolve_backward(
    dU: AffineMaps, X: AffineMaps, V: Array, *, stride: int, padding: int, groups: int,
    scale: Array | None = None, epilogue: Epilogue | None = None, input_gradient: bool = True,
    filters: Array | None = None,
) -> tuple[Array | None, Array, list[Any]]:  # fmt: skip
    """Return dX, dV, and the result of epilogue(dX, x, images, rows) for every block written, x being that block of X.

    With ``scale`` (C,) the upstream gradient is scale · dU; the factor is applied to the filters, which are smaller
    than the maps. Without ``input_gradient`` only dV is computed, and dX is None. ``filters`` are V as
    ``flipped.with_flipped_filters`` adds it, if it is known already.
    """
    dtype = X.xp.result_type(dU.dtype, X.dtype, V)
    p, form = _planned(X, V, stride, padding, groups)
    if not input_gradient:
        return None, _filters_gradient(dU, X, V, dtype, p, form, scale), []
    if filters is None:
        filters = form.backward_filters(V, scale, p, dtype)
    backward = _backward_at_stride_1 if stride == 1 else _backward_at_any_stride
    return backward(dU, X, V, X.xp.empty(X.shape, dtype), p, form, scale, epilogue, filters)


def _planned(X: AffineMaps, V: Array, stride: int, padding: int, groups: int) -> tuple[ConvPlan, ModuleType]:
    p = plan(tuple(X.shape), tuple(V.shape), stride, padding, groups, X.xp is np)
    return p, by_lanes if p.by_lanes else by_windows


def _backward_at_stride_1(
    dU: AffineMaps, X: AffineMaps, V: Array, dX: Array, p: ConvPlan, form: Any, scale: Array | None,
    epilogue: Epilogue | None, filters: Array,
) -> tuple[Array, Array, list[Any]]:  # fmt: skip
    """Compute dX in blocks of rows, each with the contribution of the same rows of X to dV."""
    N, H, W, C_ = X.shape

    def block(n: slice, h: slice) -> tuple[Array, Any]:
        x = X.read(n, h, "X")
        dV = form.backward_at_stride_1(dU, n, h, filters, p, x, dX[n, h])
        return dV, epilogue(dX, x, n, h) if epilogue else None

    moved = p.row_bytes(W, V.shape[3], 2 * C_, p.input_tile, dX.itemsize)
    parts = parallel_for_rows(X.xp, block, N, H, moved, 2 * p.row_flop(W, *V.shape[2:]))
    dV = form.filters_at_stride_1(_total([dV for dV, _ in parts]), V, p, scale)
    return dX, dV, [result for _, result in parts]


def _backward_at_any_stride(
    dU: AffineMaps, X: AffineMaps, V: Array, dX: Array, p: ConvPlan, form: Any, scale: Array | None,
    epilogue: Epilogue | None, filters: Array,
) -> tuple[Array, Array, list[Any]]:  # fmt: skip
    """Compute dX in blocks of images, each with the contribution of the same images of X to dV."""
    xp = X.xp
    (_, H, W, C), H_ = dU.shape, dX.shape[1]

    def block(n: slice) -> tuple[Array, Any]:
        du = xp.ascontiguousarray(dU.read(n, name="dU"), dX.dtype)
        dV = form.filter_gradient(X, n, slice(0, H), du, p)
        form.input_gradient(AffineMaps(du), filters, p, dX[n])
        return dV, epilogue(dX, X.read(n, name="X"), n, slice(0, H_)) if epilogue else None

    moved = H * p.row_bytes(W, V.shape[2] * p.groups, 3 * C, p.tile, dX.itemsize) + 2 * dX[0].nbytes
    parts = parallel_for(xp, block, len(dX), moved, 2 * H * p.row_flop(W, *V.shape[2:]))
    return dX, form.as_filters(_total([dV for dV, _ in parts]), V, p, scale), [result for _, result in parts]


def _filters_gradient(
    dU: AffineMaps, X: AffineMaps, V: Array, dtype: object, p: ConvPlan, form: Any, scale: Array | None
) -> Array:
    """Return only dV."""
    xp = X.xp
    N, H, W, C = dU.shape

    def block(n: slice, h: slice) -> Array:
        du = xp.ascontiguousarray(dU.read(n, h, name="dU"), dtype)
        return form.filter_gradient(X, n, h, du, p)

    moved = p.row_bytes(W, V.shape[2] * p.groups, C, p.tile, dU.x.itemsize)
    parts = parallel_for_rows(xp, block, N, H, moved, p.row_flop(W, *V.shape[2:]))
    return form.as_filters(_total(parts), V, p, scale)


def _total(arrays: list[Array]) -> Array:
    """Return the sum of the arrays; a single array is returned unchanged (``sum`` would add 0 to it)."""
    return reduce(add_up, arrays)
