"""Max and average pooling.  Global average pooling is Eq. (2), ``se.squeeze``."""

from functools import reduce

from se_numpy.arrays import Array, array_module
from se_numpy.ops.windows import taps
from se_numpy.shapes import check, whole


def max_pool2d(x: Array, *, kernel: int, stride: int | None = None, padding: int = 0) -> Array:
    """Return the maximum of each kernel x kernel window.  ``stride`` defaults to ``kernel``.

    x (N, H', W', C) -> y (N, H, W, C), where H = (H' + 2 padding - kernel) // stride + 1.

    The padding is -∞, so it is never the maximum.

    Raises
    ------
    TypeError
        If an argument is not a float32 or float64 array, or a size is not an integer.
    ValueError
        If a window does not fit into the padded image, or the padding exceeds half the kernel.
    """
    H, W, k, stride, p = check_pool(x, kernel, stride, padding)
    xp = array_module(x)
    x = xp.pad(x, ((0, 0), (p, p), (p, p), (0, 0)), constant_values=-xp.inf)
    return reduce(xp.maximum, (x[pixels] for _, pixels in taps((k, k), H, W, stride)))


def max_pool2d_backward(dy: Array, x: Array, *, kernel: int, stride: int | None = None, padding: int = 0) -> Array:
    """Pass each dy to the largest pixel of its window; ties go to the first.   dy (N, H, W, C) -> dx (N, H', W', C)."""
    H, W, k, stride, p = check_pool(x, kernel, stride, padding)
    check("y: N H W C, dy: N H W C", (len(x), H, W, x.shape[-1]), dy)
    xp = array_module(dy, x)
    ring, (_, H_, W_, _) = ((0, 0), (p, p), (p, p), (0, 0)), x.shape
    inside = xp.pad(xp.ones((1, H_, W_, 1), bool), ring)
    x = xp.pad(x, ring, constant_values=-xp.inf)
    y = reduce(xp.maximum, (x[pixels] for _, pixels in taps((k, k), H, W, stride)))
    dx, undecided = xp.zeros(x.shape, xp.result_type(dy, x)), xp.ones(y.shape, bool)
    for _, pixels in taps((k, k), H, W, stride):
        largest = (x[pixels] == y) | (x[pixels] != x[pixels])  # NaN counts as the largest
        won = undecided & inside[pixels] & largest
        dx[pixels] += xp.where(won, dy, dy.dtype.type(0))
        undecided = undecided & ~won
    return dx[:, p : p + H_, p : p + W_]


def avg_pool2d(x: Array, *, kernel: int, stride: int | None = None, padding: int = 0) -> Array:
    """Return the mean of each kernel x kernel window, including the zeros of the padding (PyTorch's default).

    x (N, H', W', C) -> y (N, H, W, C), where ``stride``, H and W are as in ``max_pool2d``.

    Raises
    ------
    TypeError
        If an argument is not a float32 or float64 array, or a size is not an integer.
    ValueError
        If a window does not fit into the padded image, or the padding exceeds half the kernel.
    """
    H, W, k, stride, p = check_pool(x, kernel, stride, padding)
    xp = array_module(x)
    x = xp.pad(x, ((0, 0), (p, p), (p, p), (0, 0)))
    return sum(x[pixels] for _, pixels in taps((k, k), H, W, stride)) / k**2


def avg_pool2d_backward(dy: Array, x: Array, *, kernel: int, stride: int | None = None, padding: int = 0) -> Array:
    """Divide each dy equally among the kernel² pixels of its window.           dy (N, H, W, C) -> dx (N, H', W', C)."""
    H, W, k, stride, p = check_pool(x, kernel, stride, padding)
    N, H_, W_, C = x.shape
    check("y: N H W C, dy: N H W C", (N, H, W, C), dy)
    xp = array_module(dy, x)
    dx = xp.zeros((N, H_ + 2 * p, W_ + 2 * p, C), xp.result_type(dy, x))
    for _, pixels in taps((k, k), H, W, stride):
        dx[pixels] += dy / k**2
    return dx[:, p : p + H_, p : p + W_]


def check_pool(x: Array, kernel: int, stride: int | None, padding: int) -> tuple[int, int, int, int, int]:
    """Return (H, W, kernel, stride, padding) of a pooling operation as ints.

    Raises
    ------
    TypeError
        If an argument is not a float32 or float64 array, or a size is not an integer.
    ValueError
        If a window does not fit into the padded image, or the padding exceeds half the kernel.
    """
    kernel, padding = whole("kernel", kernel), whole("padding", padding, least=0)
    stride = kernel if stride is None else whole("stride", stride)
    _, H_, W_, _ = check("x: N H' W' C", x)
    if padding > kernel // 2:
        raise ValueError(f"got kernel={kernel} and padding={padding}; expected a padding of at most half the kernel")
    if min(H_, W_) + 2 * padding < kernel:
        raise ValueError(f"a {kernel}x{kernel} window does not fit into images x of {H_}x{W_} with padding {padding}")
    return (H_ + 2 * padding - kernel) // stride + 1, (W_ + 2 * padding - kernel) // stride + 1, kernel, stride, padding


def global_max_pool2d(x: Array) -> Array:
    """Return the maximum of each channel: the squeeze of the ablation in Table 11.          x (N, H, W, C) -> y (N, C).

    Raises
    ------
    TypeError
        If an argument is not a float32 or float64 array.
    ValueError
        If x does not have four axes.
    """
    check("x: N H W C", x)
    return x.max((1, 2))


def global_max_pool2d_backward(dy: Array, x: Array) -> Array:
    """Pass each dy to the largest pixel of its channel; ties go to the first.          dy (N, C) -> dx (N, H, W, C)."""
    N, H, W, C = check("x: N H W C, dy: N C", x, dy)
    xp, pixels = array_module(dy, x), x.reshape(N, H * W, C)
    won = xp.arange(H * W)[:, None] == pixels.argmax(1)[:, None, :]
    return xp.where(won, dy[:, None, :], dy.dtype.type(0)).reshape(x.shape)
