"""Convolution, Eq. (1): every output pixel is one window of the image times all filters, so one matrix product.

    X    (N, H', W', C')       input
    V    (k, k, C'/groups, C)  filters; a kernel need not be square: (kh, kw, C'/groups, C)
    U    (N, H, W, C)          output, H = (H' + 2 padding - kh) // stride + 1

Channels last makes kw·C' numbers of a window neighbours in memory, so windows unfold in long runs. They are nine times
the input (3x3), so only those of a few images, or of some rows of one, exist at a time, and none are kept for the way
back.
"""

from collections.abc import Callable
from functools import reduce
from itertools import product as product_of
from operator import add as add_up
from typing import Any

from se_numpy.backend import (
    Array,
    Blend,
    array_module,
    over_bands,
    over_blocks,
    product,
    product_over_rows,
    scratch,
    unfold,
)
from se_numpy.shapes import check

Then = Callable[..., Any]  # called with what a block has just written, while it is in the cache


def conv2d(X: Array, V: Array, *, stride: int = 1, padding: int = 0, groups: int = 1) -> Array:
    """Eq. (1): u_c = v_c ∗ X = Σ_s v_c^s ∗ x^s.       X (N, H', W', C'), V (k, k, C'/groups, C) -> U (N, H, W, C)

    ∗ is cross-correlation, as in every framework: u(i, j) = Σ_ab v(a, b) x(i·stride + a - p, j·stride + b - p), p the
    ``padding``, with zeros outside the image.  ``groups`` cuts the channels into so many independent convolutions;
    groups = C' is depthwise.  No bias: Eq. (1) omits it, and batch norm would remove it.
    Raises ValueError or TypeError, naming the argument, where shapes or dtypes do not fit.
    """
    conv2d_shape(X, V, stride, padding, groups)
    return convolve(Blend(X), V, stride=stride, padding=padding, groups=groups)[0]


def conv2d_backward(
    dU: Array, X: Array, V: Array, *, stride: int = 1, padding: int = 0, groups: int = 1
) -> tuple[Array, Array]:
    """dX gathers from every window a pixel was in; dV sums window times gradient over all windows.

    dU (N, H, W, C), X (N, H', W', C'), V (k, k, C'/groups, C) -> dX (N, H', W', C'), dV (k, k, C'/groups, C)
    """
    check("U: N H W C, dU: N H W C", conv2d_shape(X, V, stride, padding, groups), dU)
    return convolve_backward(Blend(dU), Blend(X), V, stride=stride, padding=padding, groups=groups)[:2]


def convolve(
    X: Blend, V: Array, *, stride: int, padding: int, groups: int, then: Then | None = None
) -> tuple[Array, list[Any]]:
    """U of maps that may still have to be computed, and [then(U, images, rows), ...] of every block written."""
    N, H, W, C = _shape(X.shape, V.shape, stride, padding)
    kh, kw, c, _ = V.shape
    xp = X.xp
    U = xp.empty((N, H, W, C), xp.result_type(X.dtype, V))
    filters = _filters(V, groups, U.dtype)
    hyper: dict[str, Any] = {"stride": stride, "before": (padding, padding), "groups": groups}

    def block(n: slice, h: slice) -> Any:
        u = U[n, h]
        for part, rows in unfold(X, n, h, W, (kh, kw), U.dtype, **hyper):
            _multiply(xp, rows, filters, out=_by_group(u[part], groups))
        return then(U, n, h) if then else None

    parts = over_bands(xp, block, N, H, W * (kh * kw * c * groups + C) * U.itemsize)
    return U, parts


def convolve_backward(
    dU: Blend, X: Blend, V: Array, *, stride: int, padding: int, groups: int,
    scale: Array | None = None, then: Then | None = None, input_gradient: bool = True,
) -> tuple[Array | None, Array, list[Any]]:  # fmt: skip
    """dX, dV and [then(dX, x, images, rows), ...] of every block of dX written, x being what X has there.

    With ``scale`` (C,) the gradient is scale · dU: fewer filters than maps are multiplied by it. Without
    ``input_gradient`` dV alone.
    """
    dtype = X.xp.result_type(dU.dtype, X.dtype, V)
    if not input_gradient:
        dV = _filters_gradient(dU, X, V, dtype, stride, padding, groups)
        return None, dV if scale is None else dV * scale, []
    dX = X.xp.empty(X.shape, dtype)
    if stride == 1 and groups == 1:
        return _backward_at_stride_1(dU, X, V, dX, padding, scale, then)
    dX, dV, more = _backward_at_any_stride(dU, X, V, dX, stride, padding, groups, scale, then)
    return dX, dV if scale is None else dV * scale, more


def _backward_at_stride_1(
    dU: Blend, X: Blend, V: Array, dX: Array, padding: int, scale: Array | None, then: Then | None
) -> tuple[Array, Array, list[Any]]:
    """The windows of dU serve twice: times the flipped filters they are dX, times X they are dV, flipped."""
    xp, dtype = X.xp, dX.dtype
    kh, kw, c, C = V.shape
    N, H, W, _ = X.shape
    flipped = V[::-1, ::-1].transpose(0, 1, 3, 2)  # (kh, kw, C, C')
    flipped = _scaled(flipped, None if scale is None else scale[:, None], dtype).reshape(-1, c)
    before = kh - 1 - padding, kw - 1 - padding

    def block(n: slice, h: slice) -> tuple[Array, Any]:
        x, dx, dVs = X.read(n, h, "X"), dX[n, h], []
        for part, (rows,) in unfold(dU, n, h, W, (kh, kw), dtype, before=before):
            dVs.append(product_over_rows(xp, x[part].reshape(-1, c), rows))  # (C', kh·kw·C)
            product(xp, rows, flipped, out=dx[part].reshape(-1, c))
        return _total(dVs), then(dX, x, n, h) if then else None

    parts = over_bands(xp, block, N, H, W * (kh * kw * C + 2 * c) * dX.itemsize)
    dV = _total([dV for dV, _ in parts]).reshape(c, kh, kw, C)[:, ::-1, ::-1].transpose(1, 2, 0, 3)
    return dX, _scaled(dV, scale), [more for _, more in parts]


def _backward_at_any_stride(
    dU: Blend, X: Blend, V: Array, dX: Array, stride: int, padding: int, groups: int,
    scale: Array | None, then: Then | None,
) -> tuple[Array, Array, list[Any]]:  # fmt: skip
    """dV = windows(X)ᵀ dU.  dX as at stride 1, but a window of dU gives a stack of stride x stride pixels at once."""
    xp, dtype, s = X.xp, dX.dtype, stride
    (_, H, W, C), (_, H_, W_, _), c = dU.shape, dX.shape, V.shape[2]
    hyper: dict[str, Any] = {"stride": s, "before": (padding, padding), "groups": groups}
    filters, kernel, before, (down, across) = _stacked(V, scale, s, padding, groups, dtype)
    rows, columns = -(-H_ // s), -(-W_ // s)  # of stacks of pixels

    def block(n: slice) -> tuple[Array, Any]:
        du = Blend(xp.ascontiguousarray(dU.read(n, name="dU"), dtype))
        dV = _sum_over_windows(X, n, slice(0, H), W, V, du.x, **hyper)
        every, dx = slice(0, len(du.x)), dX[n]
        whole = (len(down) * rows, len(across) * columns) == (H_, W_)
        if len(down) * len(across) < s * s:
            dx[...] = 0
        for part, seen in unfold(du, every, slice(0, rows), columns, kernel, dtype, before=before, groups=groups):
            stacks = scratch(
                xp, "stacks", (groups, part.stop - part.start, rows, columns, len(down), len(across), c), dtype
            )
            _multiply(xp, seen, filters, out=stacks.reshape(groups, -1, stacks[0, 0, 0, 0].size))
            pixels = stacks.transpose(1, 2, 4, 3, 5, 0, 6)
            if whole:
                dx[part].reshape(pixels.shape)[...] = pixels
                continue
            for a, b in product_of(range(len(down)), range(len(across))):
                there = dx[part, down[a] :: s, across[b] :: s]
                there[...] = pixels[:, : there.shape[1], a, : there.shape[2], b].reshape(there.shape)
        return dV, then(dX, X.read(n, name="X"), n, slice(0, H_)) if then else None

    moved = (H * W * (V[..., 0].size * groups + 3 * C) + 2 * dX[0].size) * dX.itemsize
    parts = over_blocks(xp, block, len(dX), moved)
    return dX, _as_filters(_total([dV for dV, _ in parts]), V), [more for _, more in parts]


def _stacked(
    V: Array, scale: Array | None, s: int, padding: int, groups: int, dtype: object
) -> tuple[Array, tuple[int, int], tuple[int, int], tuple[range, range]]:
    """Filters that make stacks of pixels of dX out of windows of dU, the size of those, where they begin, and which
    rows and columns of s x s pixels are in a stack: all, but of kernels of one pixel only those that it met.

    Pixel i of X stood at place a = i + padding - s u of the window of row u. With q zeros before the filters, so many
    that s divides padding + q, the places a + q that pixel i of a stack met are i, i + s, i + 2 s, ...
    """
    xp, (kh, kw, c, C), q = array_module(V), V.shape, -padding % s
    Kh, Kw = -(-(kh + q) // s), -(-(kw + q) // s)
    down, across = (range(q, q + 1) if k == 1 else range(s) for k in (kh, kw))
    if kh == kw == Kh == Kw == 1:  # no zeros between
        places = _scaled(V, scale, dtype).reshape(1, 1, 1, 1, c, groups, C // groups)
    else:
        padded = xp.zeros((Kh * s, Kw * s, c, C), dtype)
        xp.multiply(V, 1 if scale is None else scale, out=padded[q : q + kh, q : q + kw])
        places = padded.reshape(Kh, s, Kw, s, c, groups, C // groups)[::-1, :, ::-1]
        places = places[:, down.start : down.stop, :, across.start : across.stop]
    filters = xp.ascontiguousarray(places.transpose(5, 0, 2, 6, 1, 3, 4)).reshape(groups, Kh * Kw * C // groups, -1)
    return filters, (Kh, Kw), (Kh - 1 - (padding + q) // s, Kw - 1 - (padding + q) // s), (down, across)


def _filters_gradient(dU: Blend, X: Blend, V: Array, dtype: object, stride: int, padding: int, groups: int) -> Array:
    """dV = windows(X)ᵀ dU."""
    xp = X.xp
    N, H, W, C = dU.shape
    hyper: dict[str, Any] = {"stride": stride, "before": (padding, padding), "groups": groups}

    def block(n: slice, h: slice) -> Array:
        du = xp.ascontiguousarray(dU.read(n, h, name="dU"), dtype)
        return _sum_over_windows(X, n, h, W, V, du, **hyper)

    parts = over_bands(xp, block, N, H, W * (V[..., 0].size * groups + C) * dU.x.itemsize)
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


def _sum_over_windows(X: Blend, n: slice, h: slice, W: int, V: Array, du: Array, *, groups: int, **hyper: Any) -> Array:
    """Σ over the windows of X in rows h of images n: windowᵀ times its du.  -> (groups, kh·kw·C'/groups, C/groups)"""
    xp, sums = X.xp, []
    for part, rows in unfold(X, n, h, W, V.shape[:2], du.dtype, groups=groups, **hyper):
        of_part = _by_group(du[part], groups)
        if groups == 1:
            sums.append(product_over_rows(xp, rows[0], of_part[0])[None])
        else:
            sums.append(xp.matmul(rows.transpose(0, 2, 1), of_part))
    return _total(sums)


def conv2d_shape(X: Array, V: Array, stride: int, padding: int, groups: int) -> tuple[int, int, int, int]:
    """(N, H, W, C) of conv2d's result; ValueError or TypeError, naming the argument, where the call makes no sense."""
    _, H, W, C_, kh, kw, c, C = check("X: N H' W' C', V: kh kw C'/groups C", X, V)
    if groups < 1 or C_ % groups or C % groups or c != C_ // groups:
        raise ValueError(
            f"V has shape {tuple(V.shape)} with groups={groups}; expected (kh, kw, C'/groups, C) where groups divides "
            f"C and the C' = {C_} of X {tuple(X.shape)}"
        )
    if stride < 1 or padding < 0:
        raise ValueError(f"got stride={stride} and padding={padding}; expected stride >= 1 and padding >= 0")
    if H + 2 * padding < kh or W + 2 * padding < kw:
        raise ValueError(f"V's kernel {kh}x{kw} does not fit into X's images, {H}x{W} with padding {padding} around")
    return _shape(X.shape, V.shape, stride, padding)


def _shape(X: tuple[int, ...], V: tuple[int, ...], stride: int, padding: int) -> tuple[int, int, int, int]:
    """(N, H, W, C) of the result, from the shapes of X and V."""
    (N, H, W, _), (kh, kw, _, C) = X, V
    return N, (H + 2 * padding - kh) // stride + 1, (W + 2 * padding - kw) // stride + 1, C
