"""Convolution of a block as matrix products of windows with filters.

A window is a row of k·k·C' values. The windows of a 3x3 convolution take nine times the memory of its input, so only
those of a few images, or of some rows of one image, exist at a time, and none are kept for the backward pass. Each
group has its own product. If groups are narrow, one row of a product computes several neighbouring output pixels (a
``tile``): its window is wider accordingly, and the filters form a Toeplitz matrix, shifted from pixel to pixel.
"""

from functools import reduce
from itertools import product as product_of
from operator import add as add_up
from typing import Any

import numpy as np

from se_numpy.arrays import Array, array_module
from se_numpy.engine.affine_maps import AffineMaps
from se_numpy.engine.conv_plan import ConvPlan
from se_numpy.engine.matmul import product, product_over_rows
from se_numpy.engine.windows import by_group, copy_pixels, unfold
from se_numpy.engine.workspace import workspace


def forward_filters(V: Array, p: ConvPlan, dtype: object) -> Array:
    """Return V (kh, kw, c, C) as one matrix per group: (groups, kh·wide·c, tile·C/groups)."""
    return _toeplitz(V, p.groups, p.tile, p.stride, dtype)


def forward(X: AffineMaps, n: slice, h: slice, filters: Array, p: ConvPlan, u: Array) -> None:
    """Write rows h of images n to u."""
    windows = unfold(
        X, n, h, p.W, p.kernel, u.dtype,
        stride=p.stride, before=(p.padding, p.padding), groups=p.groups, tile=p.tile,
    )  # fmt: skip
    for part, rows in windows:
        _multiply(rows, filters, u[part], p.groups, p.tile)


def backward_filters(V: Array, scale: Array | None, p: ConvPlan, dtype: object) -> Array:
    """Return the filters that compute dX from windows of scale · dU, as one matrix per group."""
    if p.stride > 1:
        return _stacked_filters(V, scale, p, dtype)
    factor = None if scale is None else scale.reshape(p.groups, 1, 1, -1, 1)
    return _toeplitz(_transposed(V[::-1, ::-1], p.groups), p.groups, p.input_tile, 1, dtype, factor)


def backward_at_stride_1(dU: AffineMaps, n: slice, h: slice, filters: Array, p: ConvPlan, x: Array, dx: Array) -> Array:
    """Write rows h of images n to dx; return the contribution of x, the same rows of X, to dV.

    The windows of dU serve twice: multiplied by the flipped filters they give dX, multiplied by X they give dV,
    flipped. ``filters_at_stride_1`` converts the sum of the contributions to dV.
    """
    dVs = []
    windows = unfold(dU, n, h, dx.shape[2], p.kernel, dx.dtype, before=p.before, groups=p.groups, tile=p.input_tile)
    for part, rows in windows:
        dVs.append(product_over_rows(_tiles(x[part], p.groups, p.input_tile, dx.dtype), rows))
        _multiply(rows, filters, dx[part], p.groups, p.input_tile)
    return reduce(add_up, dVs)


def filters_at_stride_1(total: Array, V: Array, p: ConvPlan, scale: Array | None) -> Array:
    """Return scale · dV, given the sum over all blocks (groups, tile·c, kh·wide·C/groups)."""
    kh, kw, c, C = V.shape
    shape = kh, kw, C // p.groups, c * p.groups
    dV = _transposed(_diagonals(total.transpose(0, 2, 1), shape, p.groups, p.input_tile, 1), p.groups)
    return dV[::-1, ::-1] if scale is None and array_module(dV) is not np else _scaled(dV[::-1, ::-1], scale)


def filter_gradient(X: AffineMaps, n: slice, h: slice, du: Array, p: ConvPlan) -> Array:
    """Return the sum of windowᵀ · du over the windows of X that belong to rows h of images n."""
    windows = unfold(
        X, n, h, p.W, p.kernel, du.dtype,
        stride=p.stride, before=(p.padding, p.padding), groups=p.groups, tile=p.tile,
    )  # fmt: skip
    return reduce(
        add_up, [product_over_rows(rows, _tiles(du[part], p.groups, p.tile, du.dtype)) for part, rows in windows]
    )


def as_filters(total: Array, V: Array, p: ConvPlan, scale: Array | None) -> Array:
    """Return scale · dV, given the sum over all blocks (groups, kh·wide·c, tile·C/groups)."""
    dV = _diagonals(total, V.shape, p.groups, p.tile, p.stride)
    return dV if scale is None else _scaled(dV, scale)


def input_gradient(dU: AffineMaps, filters: Array, p: ConvPlan, dx: Array) -> None:
    """Write dx of whole images as at stride 1, except that a window of dU gives a stack of stride x stride pixels."""
    xp, s, groups, (N, H_, W_, C_) = dU.xp, p.stride, p.groups, dx.shape
    rows, columns = -(-H_ // s), -(-W_ // s)  # of stacks of pixels
    every_pixel = len(p.down) == len(p.across) == s
    whole = every_pixel and (s * rows, s * columns) == (H_, W_)
    if not every_pixel:
        dx[...] = 0
    windows = unfold(
        dU, slice(0, N), slice(0, rows), columns, p.stack_kernel, dx.dtype, before=p.stack_before, groups=groups
    )
    for part, seen in windows:
        images = part.stop - part.start
        stacks = workspace(
            xp, "stacks", (groups, images, rows, columns, len(p.down), len(p.across), C_ // groups), dx.dtype
        )
        product(seen, filters, out=stacks.reshape(groups, -1, filters.shape[-1]))
        pixels = stacks.transpose(1, 2, 4, 3, 5, 0, 6)
        if whole:
            copy_pixels(pixels, dx[part].reshape(pixels.shape))
            continue
        for a, b in product_of(range(len(p.down)), range(len(p.across))):
            view = dx[part, p.down[a] :: s, p.across[b] :: s]
            view = view.reshape(*view.shape[:3], groups, C_ // groups)
            copy_pixels(pixels[:, : view.shape[1], a, : view.shape[2], b], view)


def _stacked_filters(V: Array, scale: Array | None, p: ConvPlan, dtype: object) -> Array:
    """Return the filters that compute stacks of pixels of dX from windows of dU, as one matrix per group."""
    xp, (kh, kw, c, C), s, q, (Kh, Kw) = array_module(V), V.shape, p.stride, p.offset, p.stack_kernel
    if kh == kw == Kh == Kw == 1:  # no zeros to insert
        places = _scaled(V, scale, dtype).reshape(1, 1, 1, 1, c, p.groups, C // p.groups)
    else:
        padded = xp.zeros((Kh * s, Kw * s, c, C), dtype)
        xp.multiply(V, 1 if scale is None else scale, out=padded[q : q + kh, q : q + kw])
        places = padded.reshape(Kh, s, Kw, s, c, p.groups, C // p.groups)[::-1, :, ::-1]
        places = places[:, p.down.start : p.down.stop, :, p.across.start : p.across.stop]
    transposed = xp.ascontiguousarray(places.transpose(5, 0, 2, 6, 1, 3, 4))
    return transposed.reshape(p.groups, Kh * Kw * C // p.groups, -1)


def _toeplitz(V: Array, groups: int, tile: int, stride: int, dtype: object, factor: Array | None = None) -> Array:
    """Repeat V (kh, kw, c, C), times a factor, for every pixel of a tile: (groups, kh·wide·c, tile·C/groups)."""
    xp, (kh, kw, c, C) = array_module(V), V.shape
    matrices = _scaled(V.reshape(kh, kw, c, groups, C // groups).transpose(3, 0, 1, 2, 4), factor, dtype)
    if tile == 1:
        return matrices.reshape(groups, -1, C // groups)
    shifted = xp.zeros((groups, kh, (tile - 1) * stride + kw, c, tile, C // groups), dtype)
    for t in range(tile):
        shifted[:, :, t * stride : t * stride + kw, :, t] = matrices
    return shifted.reshape(groups, -1, tile * C // groups)


def _scaled(view: Array, factor: Array | None, dtype: object = None) -> Array:
    """Return the view in contiguous memory, multiplied by the factor if it is not None."""
    xp = array_module(view)
    if factor is None:
        return xp.ascontiguousarray(view, dtype)
    return xp.multiply(view, factor, out=xp.empty(view.shape, dtype or view.dtype))


def _diagonals(total: Array, V: tuple[int, ...], groups: int, tile: int, stride: int) -> Array:
    """Apply the adjoint of ``_toeplitz``: sum over the copies of V; the result has the shape of V."""
    kh, kw, c, C = V
    total = total.reshape(groups, kh, (tile - 1) * stride + kw, c, tile, C // groups)
    parts = [total[:, :, t * stride : t * stride + kw, :, t] for t in range(tile)]
    return reduce(add_up, parts).transpose(1, 2, 3, 0, 4).reshape(V)


def _transposed(V: Array, groups: int) -> Array:
    """Exchange input and output channels within each group: (kh, kw, c, C) -> (kh, kw, C/groups, c·groups)."""
    kh, kw, c, C = V.shape
    return V.reshape(kh, kw, c, groups, C // groups).transpose(0, 1, 4, 3, 2).reshape(kh, kw, -1, c * groups)


def _multiply(rows: Array, filters: Array, u: Array, groups: int, tile: int) -> None:
    """Write rows @ filters to the maps u (n, H, W, C)."""
    if groups == 1:
        product(rows, filters, out=u.reshape(1, -1, u.shape[-1]))
        return
    n, H, W, C = u.shape
    width = -(-W // tile) * tile
    split = workspace(array_module(u), "maps by group", (groups, n, H, width, C // groups), u.dtype)
    product(rows, filters, out=split.reshape(groups, -1, tile * C // groups))
    copy_pixels(split[..., :W, :].transpose(1, 2, 3, 0, 4), u.reshape(n, H, W, groups, C // groups))


def _tiles(u: Array, groups: int, tile: int, dtype: Any) -> Array:
    """Return maps u (n, H, W, C) as (groups, R, tile·C/groups), zero-padded on the right; a view if groups is 1."""
    n, H, W, C = u.shape
    if groups == 1:
        return u.reshape(1, -1, C)
    width = -(-W // tile) * tile
    split = workspace(array_module(u), "tiles of maps", (groups, n, H, width, C // groups), dtype)
    copy_pixels(by_group(u, groups), split[..., :W, :])
    split[..., W:, :] = 0
    return split.reshape(groups, -1, tile * C // groups)
