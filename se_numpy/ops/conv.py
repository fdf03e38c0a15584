"""Convolution, Eq. (1): every output pixel is one window of the image times all filters, so one matrix product.

    X    (N, H', W', C')       input
    V    (k, k, C'/groups, C)  filters; a kernel need not be square: (kh, kw, C'/groups, C)
    U    (N, H, W, C)          output, H = (H' + 2 padding - kh) // stride + 1

Channels last makes kw·C' numbers of a window neighbours in memory, so windows unfold in long runs. They are nine times
the input (3x3), so only those of a few images, or of some rows of one, exist at a time, and none are kept for the way
back.
"""

from types import ModuleType

from se_numpy.backend import (
    Array,
    array_module,
    as_strided,
    over_bands,
    over_blocks,
    product,
    product_over_rows,
    scratch,
)
from se_numpy.shapes import check


def conv2d(X: Array, V: Array, *, stride: int = 1, padding: int = 0, groups: int = 1) -> Array:
    """Eq. (1): u_c = v_c ∗ X = Σ_s v_c^s ∗ x^s.       X (N, H', W', C'), V (k, k, C'/groups, C) -> U (N, H, W, C)

    ∗ is cross-correlation, as in every framework: u(i, j) = Σ_ab v(a, b) x(i·stride + a - p, j·stride + b - p), p the
    ``padding``, with zeros outside the image.  ``groups`` cuts the channels into so many independent convolutions;
    groups = C' is depthwise.  No bias: Eq. (1) omits it, and batch norm would remove it.
    Raises ValueError or TypeError, naming the argument, where shapes or dtypes do not fit.
    """
    xp = array_module(X, V)
    N, H, W, C = conv2d_shape(X, V, stride, padding, groups)
    kh, kw, c, _ = V.shape
    U = xp.empty((N, H, W, C), xp.result_type(X, V))
    filters = _filters(xp, V, groups, U.dtype)

    def block(n: slice, h: slice) -> None:
        rows = _windows(xp, X[n], h, kh, kw, stride, padding, padding, groups, U.dtype)
        _multiply(xp, rows, filters, out=_by_group(U[n, h], groups))

    over_bands(xp, block, N, H, W * (kh * kw * c * groups + C) * U.itemsize)
    return U


def conv2d_backward(
    dU: Array, X: Array, V: Array, *, stride: int = 1, padding: int = 0, groups: int = 1
) -> tuple[Array, Array]:
    """dX gathers from every window a pixel was in; dV sums window times gradient over all windows.

    dU (N, H, W, C), X (N, H', W', C'), V (k, k, C'/groups, C) -> dX (N, H', W', C'), dV (k, k, C'/groups, C)
    """
    xp = array_module(dU, X, V)
    check("U: N H W C, dU: N H W C", conv2d_shape(X, V, stride, padding, groups), dU)
    if stride == 1 and groups == 1 and padding < min(V.shape[:2]):
        return _backward_at_stride_1(xp, dU, X, V, padding)
    return _backward_at_any_stride(xp, dU, X, V, stride, padding, groups)


def _backward_at_stride_1(xp: ModuleType, dU: Array, X: Array, V: Array, padding: int) -> tuple[Array, Array]:
    """The windows of dU serve twice: times the flipped filters they are dX, times X they are dV, flipped."""
    dtype = xp.result_type(dU, X, V)
    kh, kw, c, C = V.shape
    N, H, W, _ = X.shape
    flipped = xp.ascontiguousarray(V[::-1, ::-1].transpose(0, 1, 3, 2), dtype).reshape(-1, c)
    dX = xp.empty(X.shape, dtype)

    def block(n: slice, h: slice) -> Array:
        rows = _windows(xp, dU[n], h, kh, kw, 1, kh - 1 - padding, kw - 1 - padding, 1, dtype)[0]
        product(xp, rows, flipped, out=dX[n, h].reshape(-1, c))
        return product_over_rows(xp, X[n, h].reshape(-1, c), rows)  # (C', kh·kw·C)

    dV = sum(over_bands(xp, block, N, H, W * (kh * kw * C + 2 * c) * dX.itemsize))
    dV = dV.reshape(c, kh, kw, C)[:, ::-1, ::-1].transpose(1, 2, 0, 3)
    return dX, xp.ascontiguousarray(dV)


def _backward_at_any_stride(
    xp: ModuleType, dU: Array, X: Array, V: Array, stride: int, padding: int, groups: int
) -> tuple[Array, Array]:
    """dV = windows(X)ᵀ dU; each row of dU Vᵀ is the gradient of one window, added back where the window lay."""
    dtype = xp.result_type(dU, X, V)
    kh, kw, c, _ = V.shape
    N, H, W, _ = dU.shape
    filters = _filters(xp, V, groups, dtype)
    dX = xp.empty(X.shape, dtype)

    def block(n: slice) -> Array:
        du = _by_group(xp.ascontiguousarray(dU[n], dtype), groups)  # (groups, R, C/groups)
        rows = _windows(xp, X[n], slice(0, H), kh, kw, stride, padding, padding, groups, dtype)  # (groups, R, kh·kw·c)
        dV = xp.matmul(rows.transpose(0, 2, 1), du)
        rows = scratch(xp, "gradients of windows", rows.shape, dtype)
        _multiply(xp, du, filters.transpose(0, 2, 1), out=rows)
        _fold(xp, rows.reshape(groups, -1, H, W, kh, kw, c), dX[n], stride, padding)
        return dV

    dV = sum(over_blocks(xp, block, N, (2 * H * W * kh * kw * c * groups + X[0].size) * dX.itemsize))
    return dX, xp.ascontiguousarray(dV.transpose(1, 0, 2)).reshape(V.shape)


# ------------------------------------------------------------------------------------------------ windows and groups


def _windows(
    xp: ModuleType, X: Array, h: slice, kh: int, kw: int, stride: int, ph: int, pw: int, groups: int, dtype: object
) -> Array:
    """One row for each output pixel in rows h: the window it sees.    X (n, H', W', C') -> (groups, R, kh·kw·C'/groups)

    ph and pw are the zeros to think of above and below, left and right of X.
    """
    n, _, W_, C_ = X.shape
    H, W, c = h.stop - h.start, (W_ + 2 * pw - kw) // stride + 1, C_ // groups
    X = _padded(xp, X, h.start * stride - ph, (h.stop - 1) * stride + kh - ph, pw, dtype)
    if kh == kw == stride == groups == 1:
        return X.reshape(1, -1, C_)  # a pixel is its own window
    sn, sh, sw, sc = X.strides
    windows = as_strided(
        xp, X, (groups, n, H, W, kh, kw, c), (c * sc, sn, stride * sh, stride * sw, sh, sw, sc)
    )  # fmt: skip
    rows = scratch(xp, "windows", windows.shape, dtype)
    xp.copyto(rows, windows)
    return rows.reshape(groups, n * H * W, kh * kw * c)


def _padded(xp: ModuleType, X: Array, top: int, bottom: int, pw: int, dtype: object) -> Array:
    """Rows top to bottom of X, contiguous, with pw columns of zeros on either side, and zeros where X has no row."""
    n, H, W, C = X.shape
    first, last = max(top, 0), min(bottom, H)
    if first == top and last == bottom and pw == 0 and X.dtype == dtype:
        part = X[:, first:last]
        if part.flags.c_contiguous:
            return part
    padded = scratch(xp, "padded", (n, bottom - top, W + 2 * pw, C), dtype)
    inside = slice(first - top, max(last - top, first - top))
    padded[:, : inside.start] = padded[:, inside.stop :] = 0
    padded[:, inside, :pw] = padded[:, inside, W + pw :] = 0
    padded[:, inside, pw : W + pw] = X[:, first : max(last, first)]
    return padded


def _fold(xp: ModuleType, rows: Array, dX: Array, stride: int, padding: int) -> None:
    """_windows undone: every window's gradients added to the pixels it saw.  rows (groups, n, H, W, kh, kw, c) -> dX"""
    groups, n, H, W, kh, kw, c = rows.shape
    _, H_, W_, _ = dX.shape
    padded = scratch(xp, "folded", (n, H_ + 2 * padding, W_ + 2 * padding, groups, c), dX.dtype)
    padded[...] = 0
    for a in range(kh):
        for b in range(kw):
            pixels = padded[:, a : a + stride * H : stride, b : b + stride * W : stride]
            pixels += rows[:, :, :, :, a, b].transpose(1, 2, 3, 0, 4)
    dX[...] = padded[:, padding : padding + H_, padding : padding + W_].reshape(dX.shape)


def _filters(xp: ModuleType, V: Array, groups: int, dtype: object) -> Array:
    """V as one matrix a group: (kh, kw, c, C) -> (groups, kh·kw·c, C/groups)."""
    C = V.shape[-1]
    matrices = V.reshape(-1, groups, C // groups).transpose(1, 0, 2)
    return xp.ascontiguousarray(matrices, dtype)


def _by_group(U: Array, groups: int) -> Array:
    """A view of contiguous U (n, H, W, C) as (groups, n·H·W, C/groups)."""
    C = U.shape[-1]
    return U.reshape(-1, groups, C // groups).transpose(1, 0, 2)


def _multiply(xp: ModuleType, rows: Array, matrices: Array, out: Array) -> None:
    """out[g] = rows[g] @ matrices[g]; the usual single group in tiles."""
    if len(rows) == 1:
        product(xp, rows[0], matrices[0], out=out[0])
    else:
        xp.matmul(rows, matrices, out=out)


def conv2d_shape(X: Array, V: Array, stride: int, padding: int, groups: int) -> tuple[int, int, int, int]:
    """(N, H, W, C) of conv2d's result; ValueError or TypeError, naming the argument, where the call makes no sense."""
    N, H, W, C_, kh, kw, c, C = check("X: N H' W' C', V: kh kw C'/groups C", X, V)
    if groups < 1 or C_ % groups or C % groups or c != C_ // groups:
        raise ValueError(
            f"V has shape {tuple(V.shape)} with groups={groups}; expected (kh, kw, C'/groups, C) where groups divides "
            f"C and the C' = {C_} of X {tuple(X.shape)}"
        )
    if stride < 1 or padding < 0:
        raise ValueError(f"got stride={stride} and padding={padding}; expected stride >= 1 and padding >= 0")
    if H + 2 * padding < kh or W + 2 * padding < kw:
        raise ValueError(f"V's kernel {kh}x{kw} does not fit into X's images, {H}x{W} with padding {padding} around")
    return N, (H + 2 * padding - kh) // stride + 1, (W + 2 * padding - kw) // stride + 1, C
