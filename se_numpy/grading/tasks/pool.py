"""Max pooling and its gradient.  Global average pooling, Eq. (2), is in ``squeeze``."""

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from se_numpy import ops
from se_numpy.grading.task import Arguments, Mistake, Sizes, Special, Task

SIZES = {"N": (2, 3), "P": (4, 7), "Q": (4, 7), "C": (2, 5)}
HYPER = {"kernel": (2, 3), "stride": (1, 2, 3)}
FILL = {"x": "apart"}  # distinct values, so that every window has a unique maximum
SPECIALS = (
    Special("windows side by side", {"kernel": 2, "stride": 2}),
    Special("overlapping windows", {"kernel": 3, "stride": 2}),
    Special("gaps between windows", {"kernel": 2, "stride": 3}),
    Special("a leftover row", {"kernel": 2, "stride": 2, "P": 5, "Q": 6}),
    Special("a leftover column", {"kernel": 3, "stride": 3, "P": 6, "Q": 7}),
    Special("one window", {"kernel": 4, "stride": 1, "P": 4, "Q": 4}),
    Special("windows of one pixel", {"kernel": 1, "stride": 2}),
    Special("one image", {"N": 1}),
    Special("one channel", {"C": 1}),
    Special("square maps", {"P": 6, "Q": 6}),
    Special("all negative", {}, lambda a: {**a, "x": a["x"] - 100}),
)


def _map_size(s: Sizes) -> Sizes | None:
    H, W = ((s[letter] - s["kernel"]) // s["stride"] + 1 for letter in "PQ")
    return {"H": H, "W": W} if min(s["P"], s["Q"]) >= s["kernel"] else None


def _apart(arguments: Arguments) -> Arguments:
    """Make the values distinct, so that every maximum is unique."""
    x = arguments["x"]
    if len(np.unique(x)) < x.size:
        x = x + np.arange(x.size).reshape(x.shape) / 256
    return {**arguments, "x": x}


def _windows(x: np.ndarray, kernel: int, stride: int) -> np.ndarray:
    """Return the windows of x: (N, H, W, C, kernel, kernel)."""
    return sliding_window_view(x, (kernel, kernel), (1, 2))[:, ::stride, ::stride]


def _places(x: np.ndarray, kernel: int, stride: int) -> Iterator[tuple[int, int, Any]]:
    """Yield the position of every window in y and its slices in x."""
    for i in range((x.shape[1] - kernel) // stride + 1):
        for j in range((x.shape[2] - kernel) // stride + 1):
            yield i, j, np.s_[:, i * stride : i * stride + kernel, j * stride : j * stride + kernel]


def _of_windows(f: Callable[..., Any]) -> Callable[..., Any]:
    """Return max_pool2d with f in place of the maximum."""
    return lambda x, kernel, stride: f(_windows(x, kernel, stride))


def _rounded_up(x, kernel, stride):
    more = max(-(size - kernel) % stride for size in x.shape[1:3])
    return ops.max_pool2d(
        np.pad(x, ((0, 0), (0, more), (0, more), (0, 0)), constant_values=-np.inf), kernel=kernel, stride=stride
    )


def _every_window_cut(x, kernel, stride):
    right = ops.max_pool2d(x, kernel=kernel, stride=stride)
    return ops.max_pool2d(x, kernel=kernel, stride=1)[:, : right.shape[1], : right.shape[2]]


def _stepping_by_kernel(x, kernel, stride):
    """Take the right number of windows, but ``kernel`` pixels apart; at the border they are cut off or empty."""
    H, W = ((size - kernel) // stride + 1 for size in x.shape[1:3])
    rows, columns = ([slice(i * kernel, (i + 1) * kernel) for i in range(n)] for n in (H, W))
    return np.stack([np.stack([x[:, r, c].max((1, 2)) for c in columns], 1) for r in rows], 1)


def _sized(of: Callable[[int, int, int], int]) -> Callable[..., Any]:
    """Return max_pool2d with another size of the result; windows are cut off at the border."""

    def pool(x, kernel, stride):
        H, W = (of(size, kernel, stride) for size in x.shape[1:3])
        y = np.zeros((len(x), H, W, x.shape[3]))
        for i in range(H):
            for j in range(W):
                window = x[:, i * stride : i * stride + kernel, j * stride : j * stride + kernel]
                y[:, i, j] = window.max((1, 2))
        return y

    return pool


def _larger(more: int) -> Callable[..., Any]:
    """Return max_pool2d with windows of another size; they are cut off at the border."""

    def pool(x, kernel, stride):
        H, W = ((size - kernel) // stride + 1 for size in x.shape[1:3])
        n, rows, columns = kernel + more, range(0, H * stride, stride), range(0, W * stride, stride)
        return np.stack([np.stack([x[:, i : i + n, j : j + n].max((1, 2)) for j in columns], 1) for i in rows], 1)

    return pool


def _one_direction(axis: int) -> Callable[..., Any]:
    """Return max_pool2d with windows one pixel apart along one axis, and a result of the right size."""

    def pool(x, kernel, stride):
        H, W = ((size - kernel) // stride + 1 for size in x.shape[1:3])
        y = ops.max_pool2d(x, kernel=kernel, stride=1)
        return (y[:, :H] if axis == 1 else y[:, ::stride])[:, :, :W] if axis == 2 else y[:, :H, ::stride]

    return pool


def _max_pool2d(x, kernel, stride):
    H, W = ((size - kernel) // stride + 1 for size in x.shape[1:3])
    y = np.empty((len(x), H, W, x.shape[3]), x.dtype)
    for i in range(H):
        for j in range(W):
            window = x[:, i * stride : i * stride + kernel, j * stride : j * stride + kernel]
            y[:, i, j] = window.max((1, 2))
    return y


max_pool2d = Task(
    signature="max_pool2d(x, kernel, stride) -> y",
    equation="y(i, j) = max over a, b of x(i·stride + a, j·stride + b)",
    title="Max pooling",
    oracle=ops.max_pool2d,
    axes="x: N P Q C, y: N H W C",
    sizes=SIZES,
    hyper=HYPER,
    fill=FILL,
    derive=_map_size,
    specials=SPECIALS,
    points=2,
    hint="Windows are `kernel` x `kernel` pixels and `stride` pixels apart; those that do not fit are left out.",
    likely=("windows at i instead of i · stride", "windows at i · kernel", "stride ignored", "size without + 1",
            "size rounded up", "maximum starts at 0"),
    mistakes=(
        Mistake("mean", "The mean of each window was taken; max pooling takes the maximum.",
                _of_windows(lambda w: w.mean((4, 5)))),
        Mistake("minimum", "The minimum of each window was taken; max pooling takes the maximum.",
                _of_windows(lambda w: w.min((4, 5)))),
        Mistake("sum", "The sum of each window was taken; max pooling takes the maximum.",
                _of_windows(lambda w: w.sum((4, 5)))),
        Mistake("median", "The median of each window was taken; max pooling takes the maximum.",
                _of_windows(lambda w: np.median(w, (4, 5)))),
        Mistake("largest absolute value", "The largest |x| of each window was taken; max pooling takes the largest x.",
                _of_windows(lambda w: np.abs(w).max((4, 5)))),
        Mistake("index of the maximum", "The index of the maximum in its window was returned; the result should be the "
                "maximum itself.", _of_windows(lambda w: w.reshape(*w.shape[:4], -1).argmax(4) * 1.0)),
        Mistake("maximum starts at 0", "No result is below 0, because the search for the maximum started at 0; it "
                "should start at -∞.", lambda x, **h: np.maximum(ops.max_pool2d(x, **h), 0)),
        Mistake("first pixel of each window", "The first pixel of each window was taken; max pooling takes the "
                "maximum.", _of_windows(lambda w: w[..., 0, 0])),
        Mistake("windows one pixel high", "The windows are one pixel high; they should be `kernel` x `kernel` pixels.",
                _of_windows(lambda w: w[..., 0, :].max(4))),
        Mistake("windows one pixel wide", "The windows are one pixel wide; they should be `kernel` x `kernel` pixels.",
                _of_windows(lambda w: w[..., 0].max(4))),
        Mistake("2 x 2 windows", "The windows are 2 x 2 pixels; they should be `kernel` x `kernel` pixels.",
                lambda x, kernel, stride: ops.max_pool2d(x, kernel=2, stride=stride)),
        Mistake("stride ignored", "The windows are `kernel` pixels apart; they should be `stride` pixels apart.",
                lambda x, kernel, stride: ops.max_pool2d(x, kernel=kernel, stride=kernel)),
        Mistake("windows at i · kernel", "The result has the right size, but its windows start at multiples of "
                "`kernel`; they should start at multiples of `stride`.", _stepping_by_kernel),
        Mistake("stride 1", "The windows are one pixel apart; they should be `stride` pixels apart.",
                lambda x, kernel, stride: ops.max_pool2d(x, kernel=kernel, stride=1)),
        Mistake("windows at i instead of i · stride", "The result has the right size, but its windows are one pixel "
                "apart, not `stride` pixels apart.", _every_window_cut),
        Mistake("size rounded up", "A last window that fits only partly was kept; the size should be rounded down.",
                _rounded_up),
        Mistake("size (H' - kernel + 1) // stride", "The size was computed as (H' - kernel + 1) // stride, which is "
                "right only at stride 1; it should be (H' - kernel) // stride + 1.", _sized(lambda size, kernel, stride:
                (size - kernel + 1) // stride)),
        Mistake("size H' // stride", "The size was computed as H' // stride; it should be (H' - kernel) // stride + 1.",
                _sized(lambda size, kernel, stride: size // stride)),
        Mistake("windows one pixel larger", "The windows are kernel + 1 pixels wide; they should be `kernel` pixels "
                "wide.", _larger(1)),
        Mistake("windows one pixel smaller", "The windows are kernel - 1 pixels wide; they should be `kernel` pixels "
                "wide.", _larger(-1)),
        Mistake("stride only along the height", "The columns of windows are one pixel apart; they should be `stride` "
                "pixels apart.", _one_direction(2)),
        Mistake("stride only along the width", "The rows of windows are one pixel apart; they should be `stride` "
                "pixels apart.", _one_direction(1)),
        Mistake("size without + 1", "The last row and column of the result are missing; the size should be (H' - "
                "kernel) // stride + 1.", lambda x, **h: ops.max_pool2d(x, **h)[:, :-1, :-1]),
        Mistake("maximum over all channels", "The maximum was taken over the channels too; each channel should be "
                "pooled separately.",
                lambda x, **h: ops.max_pool2d(x, **h).max(3, keepdims=True) + 0 * ops.max_pool2d(x, **h)),
        Mistake("maximum of the whole map", "The maximum of the whole map was returned everywhere; every window has "
                "its own maximum.", lambda x, **h: x.max((1, 2), keepdims=True) + 0 * ops.max_pool2d(x, **h)),
        Mistake("maps transposed", "The maps were returned as (N, W, H, C); they should be (N, H, W, C).",
                lambda x, **h: ops.max_pool2d(x, **h).swapaxes(1, 2)),
    ),
    written=_max_pool2d,
    alternates=(_max_pool2d, _of_windows(lambda w: w.max((4, 5))),
                _of_windows(lambda w: np.sort(w.reshape(*w.shape[:4], -1), 4)[..., -1])),
)  # fmt: skip


# ---------------------------------------------------------------------------------------------------- backward


def _send_back(share: Callable[..., Any], add: bool = True) -> Callable[..., Any]:
    """Return a backward pass that adds share(dy, pixels) of each window to its pixels, or assigns it."""

    def backward(dy, x, kernel, stride):
        dx = np.zeros_like(x)
        for i, j, window in _places(x, kernel, stride):
            d = share(dy[:, None, None, i, j], x[window])
            dx[window] = dx[window] + d if add else np.where(d != 0, d, dx[window])
        return dx

    return backward


def _is_largest(w: np.ndarray) -> np.ndarray:
    return w == w.max((1, 2), keepdims=True)


def _corner(w: np.ndarray) -> np.ndarray:
    first = np.zeros_like(w)
    first[:, 0, 0] = 1
    return first


def _overwritten_with_zeros(dy, x, kernel, stride):
    dx = np.zeros_like(x)
    for i, j, window in _places(x, kernel, stride):
        dx[window] = dy[:, None, None, i, j] * _is_largest(x[window])
    return dx


def _as_at_kernel(dy, x, kernel, stride):
    """Compute dx as if the windows were ``kernel`` pixels apart."""
    dx = np.zeros_like(x)
    for i in range(dy.shape[1]):
        for j in range(dy.shape[2]):
            window = np.s_[:, i * kernel : (i + 1) * kernel, j * kernel : (j + 1) * kernel]
            if x[window].size:
                dx[window] += dy[:, None, None, i, j] * _is_largest(x[window])
    return dx


def _places_backward(dy, x, kernel, stride):
    """Send dy back to the windows that are ``stride`` apart; there may be more of them than in dy."""
    dx = np.zeros_like(x)
    for i in range(dy.shape[1]):
        for j in range(dy.shape[2]):
            window = np.s_[:, i * stride : i * stride + kernel, j * stride : j * stride + kernel]
            dx[window] += dy[:, None, None, i, j] * _is_largest(x[window])
    return dx


def _without_offset(dy, x, kernel, stride):
    dx = np.zeros_like(x)
    for i, j, window in _places(x, kernel, stride):
        dx[:, :kernel, :kernel] += dy[:, None, None, i, j] * _is_largest(x[window])
    return dx


def _rows_dropped(dy, x, kernel, stride):
    H, W = (stride * (n - 1) + kernel for n in dy.shape[1:3])
    return ops.max_pool2d_backward(dy, x, kernel=kernel, stride=stride)[:, :H, :W]


def _max_pool2d_backward(dy, x, kernel, stride):
    """Handle one window of one channel of one image at a time."""
    dx = np.zeros_like(x)
    for n, i, j, c in np.ndindex(dy.shape):
        window = x[n, i * stride : i * stride + kernel, j * stride : j * stride + kernel, c]
        a, b = np.unravel_index(window.argmax(), window.shape)  # the first of equal maxima
        dx[n, i * stride + a, j * stride + b, c] += dy[n, i, j, c]
    return dx


def _by_places(dy, x, kernel, stride):
    """Find the index of every maximum in x and sum dy over equal indices."""
    N, H, W, C = dy.shape
    w = _windows(x, kernel, stride).reshape(N, H, W, C, -1).argmax(4)
    n, i, j, c = np.indices(dy.shape)
    places = np.ravel_multi_index((n, i * stride + w // kernel, j * stride + w % kernel, c), x.shape)
    return np.bincount(places.ravel(), dy.ravel(), x.size).reshape(x.shape).astype(x.dtype)


max_pool2d_backward = Task(
    signature="max_pool2d_backward(dy, x, kernel, stride) -> dx",
    equation="y(i, j) = max over a, b of x(i·stride + a, j·stride + b), differentiated",
    title="The gradient of max pooling",
    oracle=ops.max_pool2d_backward,
    forward=ops.max_pool2d,
    axes="dy: N H W C, x: N P Q C, dx: N P Q C",
    sizes=SIZES,
    hyper=HYPER,
    fill=FILL,
    derive=_map_size,
    prepare=_apart,
    specials=SPECIALS,
    points=3,
    hint="The largest pixel of a window gets the window's dy; the maximum of several windows gets the sum of theirs.",
    likely=("overwritten, not added", "windows overwrite each other", "dy to every pixel", "windows side by side",
            "dy ignored", "leftover rows dropped"),
    mistakes=(
        Mistake("equal shares in each window", "Every pixel of a window got an equal share of dy, as in mean pooling; "
                "the largest pixel should get all of it.", _send_back(lambda d, w: d / w[0, :, :, 0].size + 0 * w)),
        Mistake("dy to every pixel", "Every pixel of a window got dy; only the largest pixel should get it.",
                _send_back(lambda d, w: d + 0 * w)),
        Mistake("overwritten, not added", "A pixel that is the maximum of several windows got only the last dy; the dy "
                "of these windows should be added.", _send_back(lambda d, w: d * _is_largest(w), add=False)),
        Mistake("windows overwrite each other", "Whole windows, including their zeros, overwrote each other (=); they "
                "should be added (+=).", _overwritten_with_zeros),
        Mistake("dy to the first pixel", "The first pixel of a window got dy; the largest pixel should get it.",
                _send_back(lambda d, w: d * _corner(w))),
        Mistake("dy to the smallest pixel", "The smallest pixel of a window got dy; the largest pixel should get it.",
                _send_back(lambda d, w: d * (w == w.min((1, 2), keepdims=True)))),
        Mistake("dy to the largest absolute value", "The pixel with the largest |x| got dy; the pixel with the largest "
                "x should get it.", _send_back(lambda d, w: d * _is_largest(np.abs(w)))),
        Mistake("dy to the maximum over all channels", "The largest pixel of a window over all channels got dy; each "
                "channel has its own maximum.", _send_back(lambda d, w: d * (w == w.max((1, 2, 3), keepdims=True)))),
        Mistake("dy to the maximum over all images", "The largest pixel of a window over all images got dy; each "
                "image has its own maximum.", _send_back(lambda d, w: d * (w == w.max((0, 1, 2), keepdims=True)))),
        Mistake("dy to the maximum of the map", "Only the largest pixel of a map got the dy of its windows; each "
                "window has its own maximum.",
                lambda dy, x, **h: _send_back(lambda d, w: d * (w == w.max((1, 2), keepdims=True)))(
                    dy, x, **h) * _is_largest(x)),
        Mistake("dy ignored", "Every maximum got 1; it should get the upstream gradient dy.",
                _send_back(lambda d, w: _is_largest(w) * 1.0)),
        Mistake("times x", "dy was multiplied by the largest pixel; the derivative of a maximum is 1.",
                _send_back(lambda d, w: d * w * _is_largest(w))),
        Mistake("negative maxima ignored", "A window with a negative maximum passed no gradient back; its maximum "
                "should get dy too.", _send_back(lambda d, w: d * _is_largest(w) * (w > 0))),
        Mistake("windows side by side", "The windows are `kernel` pixels apart; they should be `stride` pixels apart.",
                _as_at_kernel),
        Mistake("windows at i instead of i · stride", "The windows are one pixel apart; they should be `stride` pixels "
                "apart.", lambda dy, x, kernel, stride: _places_backward(dy, x, kernel, 1)),
        Mistake("place in the window instead of in the map", "dy was sent to the maximum's place in its window without "
                "the window's own place; add i · stride and j · stride.", _without_offset),
        Mistake("leftover rows dropped", "dx stops at the last window; it should have the shape of x, with 0 outside "
                "all windows.", _rows_dropped),
        Mistake("mean over the windows", "dy was averaged over the windows in which a pixel is the maximum; it should "
                "be summed.",
                lambda dy, x, **h: ops.max_pool2d_backward(dy, x, **h)
                / np.maximum(ops.max_pool2d_backward(np.ones_like(dy), x, **h), 1)),
        Mistake("sign", "dx has the wrong sign.", _send_back(lambda d, w: -d * _is_largest(w))),
    ),
    written=_max_pool2d_backward,
    alternates=(_max_pool2d_backward, _send_back(lambda d, w: d * _is_largest(w)), _by_places),
)  # fmt: skip

TASKS = (max_pool2d, max_pool2d_backward)
