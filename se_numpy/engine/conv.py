"""Convolution as products of windows with filters, block by block, over maps that may still have to be computed.

A window is a row of k·k·C' numbers. Windows are nine times the input (3x3), so only those of a few images, or of some
rows of one, exist at a time, and none are kept for the backward pass. ``epilogue`` is called with what a block has just
written, while it is in the cache.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache, reduce
from itertools import product as product_of
from operator import add as add_up
from typing import Any

from se_numpy.arrays import Array, array_module
from se_numpy.engine.affine_maps import AffineMaps
from se_numpy.engine.matmul import product, product_over_rows
from se_numpy.engine.parallel import parallel_for, parallel_for_rows
from se_numpy.engine.windows import unfold
from se_numpy.engine.workspace import workspace
from se_numpy.ops.conv import check_conv2d

Epilogue = Callable[..., Any]


@dataclass(frozen=True)
class ConvPlan:
    """What a convolution's shapes decide, computed once: output sizes, and the stacks of the backward pass."""

    H: int
    W: int
    kernel: tuple[int, int]
    stride: int
    padding: int
    groups: int
    stack_kernel: tuple[int, int]  # of windows of dU, for a stack of stride x stride pixels of dX at once
    stack_before: tuple[int, int]
    offset: int  # zeros before the filters, so that stride divides padding + offset
    down: range  # which rows and columns of a stack are met by a window at all
    across: range

    @property
    def windows(self) -> dict[str, Any]:
        """The keyword arguments of ``unfold`` in the forward pass."""
        return {"stride": self.stride, "before": (self.padding, self.padding), "groups": self.groups}


@lru_cache(maxsize=1024)
def plan(X: tuple[int, ...], V: tuple[int, ...], stride: int, padding: int, groups: int) -> ConvPlan:
    """Return the plan for maps and filters of these shapes.

    Pixel i of X is at place a = i + padding - s u of the window of row u. With q = ``offset`` zeros before the filters
    the places a + q that pixel i of a stack was at are i, i + s, i + 2 s, ... A kernel of one pixel meets one row of a
    stack only. Raises as the book's ``conv2d`` where the shapes do not fit together.
    """
    H, W, s, padding, groups = check_conv2d(X, V, stride, padding, groups)
    (kh, kw, _, _), q = V, -padding % s
    Kh, Kw = -(-(kh + q) // s), -(-(kw + q) // s)
    down, across = (range(q, q + 1) if k == 1 else range(s) for k in (kh, kw))
    first = (padding + q) // s
    return ConvPlan(
        H, W, (kh, kw), s, padding, groups, (Kh, Kw), (Kh - 1 - first, Kw - 1 - first), q, down, across,
    )  # fmt: skip


def convolve(
    X: AffineMaps, V: Array, *, stride: int, padding: int, groups: int, epilogue: Epilogue | None = None
) -> tuple[Array, list[Any]]:
    """Return U, and [epilogue(U, images, rows), ...] of every block written."""
    p = plan(tuple(X.shape), tuple(V.shape), stride, padding, groups)
    (kh, kw, c, C), N, xp = V.shape, X.shape[0], X.xp
    U = xp.empty((N, p.H, p.W, C), xp.result_type(X.dtype, V))
    filters = _filters(V, groups, U.dtype)

    def block(n: slice, h: slice) -> Any:
        u = U[n, h]
        for part, rows in unfold(X, n, h, p.W, p.kernel, U.dtype, **p.windows):
            _multiply(xp, rows, filters, out=_by_group(u[part], groups))
        return epilogue(U, n, h) if epilogue else None

    parts = parallel_for_rows(xp, block, N, p.H, p.W * (kh * kw * c * groups + C) * U.itemsize)
    return U, parts


def convolve_backward(
    dU: AffineMaps, X: AffineMaps, V: Array, *, stride: int, padding: int, groups: int,
    scale: Array | None = None, epilogue: Epilogue | None = None, input_gradient: bool = True,
) -> tuple[Array | None, Array, list[Any]]:  # fmt: skip
    """Return dX, dV and [epilogue(dX, x, images, rows), ...] of every block of dX written, x being what X has there.

    With ``scale`` (C,) the gradient is scale · dU: fewer filters than maps are multiplied by it. Without
    ``input_gradient`` dV alone.
    """
    dtype = X.xp.result_type(dU.dtype, X.dtype, V)
    p = plan(tuple(X.shape), tuple(V.shape), stride, padding, groups)
    if not input_gradient:
        dV = _filters_gradient(dU, X, V, dtype, p)
        return None, dV if scale is None else dV * scale, []
    dX = X.xp.empty(X.shape, dtype)
    if stride == 1 and groups == 1:
        return _backward_at_stride_1(dU, X, V, dX, p, scale, epilogue)
    dX, dV, more = _backward_at_any_stride(dU, X, V, dX, p, scale, epilogue)
    return dX, dV if scale is None else dV * scale, more


def _backward_at_stride_1(
    dU: AffineMaps, X: AffineMaps, V: Array, dX: Array, p: ConvPlan, scale: Array | None, epilogue: Epilogue | None
) -> tuple[Array, Array, list[Any]]:
    """The windows of dU serve twice: times the flipped filters they are dX, times X they are dV, flipped."""
    xp, dtype = X.xp, dX.dtype
    kh, kw, c, C = V.shape
    N, H, W, _ = X.shape
    flipped = V[::-1, ::-1].transpose(0, 1, 3, 2)  # (kh, kw, C, C')
    flipped = _scaled(flipped, None if scale is None else scale[:, None], dtype).reshape(-1, c)
    before = kh - 1 - p.padding, kw - 1 - p.padding

    def block(n: slice, h: slice) -> tuple[Array, Any]:
        x, dx, dVs = X.read(n, h, "X"), dX[n, h], []
        for part, (rows,) in unfold(dU, n, h, W, (kh, kw), dtype, before=before):
            dVs.append(product_over_rows(xp, x[part].reshape(-1, c), rows))  # (C', kh·kw·C)
            product(xp, rows, flipped, out=dx[part].reshape(-1, c))
        return _total(dVs), epilogue(dX, x, n, h) if epilogue else None

    parts = parallel_for_rows(xp, block, N, H, W * (kh * kw * C + 2 * c) * dX.itemsize)
    dV = _total([dV for dV, _ in parts]).reshape(c, kh, kw, C)[:, ::-1, ::-1].transpose(1, 2, 0, 3)
    return dX, _scaled(dV, scale), [more for _, more in parts]


def _backward_at_any_stride(
    dU: AffineMaps, X: AffineMaps, V: Array, dX: Array, p: ConvPlan, scale: Array | None, epilogue: Epilogue | None
) -> tuple[Array, Array, list[Any]]:
    """dV = windows(X)ᵀ dU.  dX as at stride 1, but a window of dU gives a stack of stride x stride pixels at once."""
    xp, dtype, s, groups = X.xp, dX.dtype, p.stride, p.groups
    (_, H, W, C), (_, H_, W_, _), c = dU.shape, dX.shape, V.shape[2]
    filters = _stacked_filters(V, scale, p, dtype)
    rows, columns = -(-H_ // s), -(-W_ // s)  # of stacks of pixels
    every_pixel = len(p.down) == len(p.across) == s
    whole = every_pixel and (s * rows, s * columns) == (H_, W_)

    def block(n: slice) -> tuple[Array, Any]:
        du = AffineMaps(xp.ascontiguousarray(dU.read(n, name="dU"), dtype))
        dV = _sum_over_windows(X, n, slice(0, H), p, du.x)
        every, dx = slice(0, len(du.x)), dX[n]
        if not every_pixel:
            dx[...] = 0
        for part, seen in unfold(
            du, every, slice(0, rows), columns, p.stack_kernel, dtype, before=p.stack_before, groups=groups
        ):
            stacks = workspace(
                xp, "stacks", (groups, part.stop - part.start, rows, columns, len(p.down), len(p.across), c), dtype
            )
            _multiply(xp, seen, filters, out=stacks.reshape(groups, -1, stacks[0, 0, 0, 0].size))
            pixels = stacks.transpose(1, 2, 4, 3, 5, 0, 6)
            if whole:
                dx[part].reshape(pixels.shape)[...] = pixels
                continue
            for a, b in product_of(range(len(p.down)), range(len(p.across))):
                there = dx[part, p.down[a] :: s, p.across[b] :: s]
                there[...] = pixels[:, : there.shape[1], a, : there.shape[2], b].reshape(there.shape)
        return dV, epilogue(dX, X.read(n, name="X"), n, slice(0, H_)) if epilogue else None

    moved = (H * W * (V[..., 0].size * groups + 3 * C) + 2 * dX[0].size) * dX.itemsize
    parts = parallel_for(xp, block, len(dX), moved)
    return dX, _as_filters(_total([dV for dV, _ in parts]), V), [more for _, more in parts]


def _stacked_filters(V: Array, scale: Array | None, p: ConvPlan, dtype: object) -> Array:
    """The filters that make stacks of pixels of dX out of windows of dU, as one matrix a group."""
    xp, (kh, kw, c, C), s, q, (Kh, Kw) = array_module(V), V.shape, p.stride, p.offset, p.stack_kernel
    if kh == kw == Kh == Kw == 1:  # no zeros between
        places = _scaled(V, scale, dtype).reshape(1, 1, 1, 1, c, p.groups, C // p.groups)
    else:
        padded = xp.zeros((Kh * s, Kw * s, c, C), dtype)
        xp.multiply(V, 1 if scale is None else scale, out=padded[q : q + kh, q : q + kw])
        places = padded.reshape(Kh, s, Kw, s, c, p.groups, C // p.groups)[::-1, :, ::-1]
        places = places[:, p.down.start : p.down.stop, :, p.across.start : p.across.stop]
    transposed = xp.ascontiguousarray(places.transpose(5, 0, 2, 6, 1, 3, 4))
    return transposed.reshape(p.groups, Kh * Kw * C // p.groups, -1)


def _filters_gradient(dU: AffineMaps, X: AffineMaps, V: Array, dtype: object, p: ConvPlan) -> Array:
    """dV = windows(X)ᵀ dU."""
    xp = X.xp
    N, H, W, C = dU.shape

    def block(n: slice, h: slice) -> Array:
        du = xp.ascontiguousarray(dU.read(n, h, name="dU"), dtype)
        return _sum_over_windows(X, n, h, p, du)

    parts = parallel_for_rows(xp, block, N, H, W * (V[..., 0].size * p.groups + C) * dU.x.itemsize)
    return _as_filters(_total(parts), V)


def _filters(V: Array, groups: int, dtype: object) -> Array:
    """V as one matrix a group: (kh, kw, c, C) -> (groups, kh·kw·c, C/groups)."""
    C = V.shape[-1]
    matrices = V.reshape(-1, groups, C // groups).transpose(1, 0, 2)
    return array_module(V).ascontiguousarray(matrices, dtype)


def _as_filters(matrices: Array, V: Array) -> Array:
    """``_filters`` undone, to the shape of V."""
    return array_module(V).ascontiguousarray(matrices.transpose(1, 0, 2)).reshape(V.shape)


def _total(arrays: list[Array]) -> Array:
    """Their sum; a lone array as it is, where Python's sum would add 0 to it."""
    return reduce(add_up, arrays)


def _scaled(view: Array, factor: Array | None, dtype: object = None) -> Array:
    """The view, times the factor if there is one, in contiguous memory."""
    xp = array_module(view)
    if factor is None:
        return xp.ascontiguousarray(view, dtype)
    return xp.multiply(view, factor, out=xp.empty(view.shape, dtype or view.dtype))


def _by_group(U: Array, groups: int) -> Array:
    """A view of contiguous U (n, H, W, C) as (groups, n·H·W, C/groups)."""
    C = U.shape[-1]
    return U.reshape(-1, groups, C // groups).transpose(1, 0, 2)


def _multiply(xp: Any, rows: Array, matrices: Array, out: Array) -> None:
    """out[g] = rows[g] @ matrices[g]; the usual single group in tiles."""
    if len(rows) == 1:
        product(xp, rows[0], matrices[0], out=out[0])
    else:
        xp.matmul(rows, matrices, out=out)


def _sum_over_windows(X: AffineMaps, n: slice, h: slice, p: ConvPlan, du: Array) -> Array:
    """Σ over the windows of X in rows h of images n: windowᵀ times its du.  -> (groups, kh·kw·C'/groups, C/groups)"""
    xp, sums = X.xp, []
    for part, rows in unfold(X, n, h, p.W, p.kernel, du.dtype, **p.windows):
        of_part = _by_group(du[part], p.groups)
        if p.groups == 1:
            sums.append(product_over_rows(xp, rows[0], of_part[0])[None])
        else:
            sums.append(xp.matmul(rows.transpose(0, 2, 1), of_part))
    return _total(sums)
