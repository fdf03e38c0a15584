"""Pooling over windows.  Global average pooling is not here: it is Eq. (2), ``se.squeeze``."""

from types import ModuleType

from se_numpy.backend import Array, array_module, as_strided, over_blocks
from se_numpy.shapes import check, check_like


def max_pool2d(x: Array, *, kernel: int, stride: int | None = None, padding: int = 0) -> Array:
    """y(i, j) = the largest of a kernel x kernel window, at steps of ``stride`` (kernel, if not given).

    x (N, H', W', C) -> y (N, H, W, C), H = (H' + 2 padding - kernel) // stride + 1.  What lies outside never wins.
    Raises ValueError for a window that does not fit or a padding beyond half the kernel.
    """
    xp = array_module(x)
    windows = _windows(xp, x, kernel, stride, padding, fill=-xp.inf)
    return _by_block(xp, lambda w: w.max((3, 4)), windows)


def max_pool2d_backward(dy: Array, x: Array, *, kernel: int, stride: int | None = None, padding: int = 0) -> Array:
    """The winner takes it all; of equals, the first in reading order.      dy (N, H, W, C), x (N, H', W', C) -> dx"""
    xp = array_module(dy, x)
    windows = _windows(xp, x, kernel, stride, padding, fill=-xp.inf)
    n, H, W, kh, kw, C = windows.shape
    check_like("dy", dy, "y", (n, H, W, C))
    winner = _by_block(xp, lambda w: w.reshape(*w.shape[:3], kh * kw, C).argmax(3), windows)
    return _add_back(xp, lambda a, b: dy * (winner == a * kw + b), dy, x, windows.shape, stride, padding)


def avg_pool2d(x: Array, *, kernel: int, stride: int | None = None, padding: int = 0) -> Array:
    """y(i, j) = mean of a kernel x kernel window; zeros outside count as numbers, as in PyTorch's default.

    x (N, H', W', C) -> y (N, H, W, C), sizes and errors as ``max_pool2d``.
    """
    xp = array_module(x)
    windows = _windows(xp, x, kernel, stride, padding, fill=0)
    return _by_block(xp, lambda w: w.mean((3, 4)), windows)


def avg_pool2d_backward(dy: Array, x: Array, *, kernel: int, stride: int | None = None, padding: int = 0) -> Array:
    """Every pixel of a window has an equal share, 1/kernel².               dy (N, H, W, C), x (N, H', W', C) -> dx"""
    xp = array_module(dy, x)
    windows = _windows(xp, x, kernel, stride, padding, fill=0)
    n, H, W, _, _, C = windows.shape
    check_like("dy", dy, "y", (n, H, W, C))
    share = dy / kernel**2
    return _add_back(xp, lambda a, b: share, dy, x, windows.shape, stride, padding)


def global_max_pool2d(x: Array) -> Array:
    """y_c = max over the whole image: the squeeze of the ablation in Table 11.        x (N, H, W, C) -> y (N, C)"""
    check("x: N H W C", x)
    return x.max((1, 2))


def global_max_pool2d_backward(dy: Array, x: Array) -> Array:
    """The one largest pixel of each channel gets it all; of equals, the first.      dy (N, C), x -> dx (N, H, W, C)"""
    xp = array_module(dy, x)
    N, H, W, C = check("x: N H W C, dy: N C", x, dy)
    winner = x.reshape(N, H * W, C).argmax(1)[:, None, :]
    return (dy[:, None, :] * (xp.arange(H * W)[:, None] == winner)).reshape(x.shape)


def _windows(xp: ModuleType, x: Array, kernel: int, stride: int | None, padding: int, fill: float) -> Array:
    """A view of the windows of x, padded with ``fill``: (N, H, W, kernel, kernel, C)."""
    N, H_, W_, C = check("x: N H' W' C", x)
    stride = kernel if stride is None else stride
    if kernel < 1 or stride < 1 or not 0 <= padding <= kernel // 2:
        raise ValueError(
            f"got kernel={kernel}, stride={stride}, padding={padding}; "
            "expected kernel and stride of at least 1 and 0 <= padding <= kernel / 2"
        )
    if min(H_, W_) + 2 * padding < kernel:
        raise ValueError(f"a {kernel}x{kernel} window does not fit into x {tuple(x.shape)} with padding {padding}")
    if padding:
        inside = slice(padding, -padding)
        padded = xp.full((N, H_ + 2 * padding, W_ + 2 * padding, C), fill, x.dtype)
        padded[:, inside, inside] = x
        x = padded
    H, W = ((size - kernel) // stride + 1 for size in x.shape[1:3])
    sn, sh, sw, sc = x.strides
    return as_strided(xp, x, (N, H, W, kernel, kernel, C), (sn, stride * sh, stride * sw, sh, sw, sc))


def _by_block(xp: ModuleType, f, windows: Array) -> Array:
    """f of every block of windows, put together again."""
    parts = over_blocks(xp, lambda n: f(windows[n]), len(windows), windows[0].nbytes)
    return parts[0] if len(parts) == 1 else xp.concatenate(parts)


def _add_back(
    xp: ModuleType, share, dy: Array, x: Array, windows_shape: tuple[int, ...], stride: int | None, padding: int
) -> Array:
    """Σ over the window's places (a, b) of share(a, b), added to the pixels that stood there.                -> dx"""
    N, H, W, kh, kw, C = windows_shape
    _, H_, W_, _ = x.shape
    stride = kh if stride is None else stride
    dx = xp.zeros((N, H_ + 2 * padding, W_ + 2 * padding, C), xp.result_type(dy, x))
    for a in range(kh):
        for b in range(kw):
            dx[:, a : a + stride * H : stride, b : b + stride * W : stride] += share(a, b)
    return xp.ascontiguousarray(dx[:, padding : padding + H_, padding : padding + W_])

