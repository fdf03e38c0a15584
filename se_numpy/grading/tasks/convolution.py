"""Eq. (1) and its gradient."""

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from se_numpy import ops
from se_numpy.grading.task import Mistake, Sizes, Special, Task
from se_numpy.ops import conv2d as convolve
from se_numpy.ops import conv2d_backward as convolve_backward

HINT = (
    "∗ is cross-correlation, as in other frameworks: the filters are not flipped. The image is padded with "
    "`padding` zeros on every side; windows that do not fit are left out."
)
SIZES = {"N": (2, 3), "P": (4, 7), "Q": (4, 7), "D": (1, 4), "C": (2, 6), "k": (1, 4)}
HYPER = {"stride": (1, 2), "padding": (0, 1)}
SPECIALS = (
    Special("1x1 filters", {"k": 1, "stride": 1, "padding": 0}),
    Special("1x1 filters at stride 2", {"k": 1, "stride": 2, "padding": 0}),
    Special("2x2 filters at stride 2", {"k": 2, "stride": 2, "padding": 0}),
    Special("3x3 filters, stride 1, padding 0", {"k": 3, "stride": 1, "padding": 0}),
    Special("3x3 filters, stride 1, padding 1", {"k": 3, "stride": 1, "padding": 1}),
    Special("3x3 filters, stride 2, padding 1", {"k": 3, "stride": 2, "padding": 1}),
    Special("a leftover row", {"k": 3, "stride": 2, "padding": 0, "P": 6, "Q": 7}),
    Special("a leftover column", {"k": 2, "stride": 2, "padding": 1, "P": 4, "Q": 5}),
    Special("5x5 filters, stride 1, padding 2", {"k": 5, "stride": 1, "padding": 2}),
    Special("filters of even size", {"k": 4, "stride": 1, "padding": 1}),
    Special("stride larger than the filters", {"k": 2, "stride": 3, "padding": 0, "P": 7, "Q": 6}),
    Special("padding as large as the filters", {"k": 2, "stride": 1, "padding": 2}),
    Special("one window", {"k": 4, "P": 4, "Q": 4, "stride": 1, "padding": 0}),
    Special("one image", {"N": 1}),
    Special("one input channel", {"D": 1, "k": 3}),
    Special("one output channel", {"C": 1}),
    Special("as many output channels as input channels", {"D": 3, "C": 3}),
    Special("square images", {"P": 5, "Q": 5}),
)


def _map_size(s: Sizes) -> Sizes | None:
    H, W = ((s[letter] + 2 * s["padding"] - s["k"]) // s["stride"] + 1 for letter in "PQ")
    return {"H": H, "W": W} if min(H, W) >= 1 else None


def _padded(X: np.ndarray, before: int, after: int | None = None, mode: Any = "constant") -> np.ndarray:
    after = before if after is None else after
    return np.pad(X, ((0, 0), (before, after), (before, after), (0, 0)), mode)


def _windows(X: np.ndarray, k: int, stride: int) -> np.ndarray:
    """Return the pixels of every window: (N, H, W, D, k, k)."""
    return sliding_window_view(X, (k, k), (1, 2))[:, ::stride, ::stride]


def _flipped(V: np.ndarray) -> np.ndarray:
    return np.ascontiguousarray(V[::-1, ::-1])


def _channels_first(V: np.ndarray) -> np.ndarray:
    """Return the elements of V in the order (D, k, k, C), reshaped to (k, k, D, C)."""
    return V.transpose(2, 0, 1, 3).reshape(V.shape)


# ---------------------------------------------------------------------------------------------------- forward


def _conv2d(X, V, stride, padding):
    """Convolve one filter tap (a, b) at a time, for all windows at once."""
    X = np.pad(X, ((0, 0), (padding, padding), (padding, padding), (0, 0)))
    k = len(V)
    H, W = ((size - k) // stride + 1 for size in X.shape[1:3])
    U = np.zeros((len(X), H, W, V.shape[3]), X.dtype)
    for a in range(k):
        for b in range(k):
            pixels = X[:, a : a + stride * H : stride, b : b + stride * W : stride]  # (N, H, W, C')
            U += pixels @ V[a, b]
    return U


def _by_windows(X, V, stride, padding):
    """Convolve one window at a time."""
    X, k = _padded(X, padding), len(V)
    rows, columns = (range(0, size - k + 1, stride) for size in X.shape[1:3])
    return np.stack([np.stack([np.tensordot(X[:, i : i + k, j : j + k], V, 3) for j in columns], 1) for i in rows], 1)


def _by_rows(X, V, stride, padding):
    """Multiply a matrix of windows by a matrix of filters (im2col)."""
    windows = _windows(_padded(X, padding), len(V), stride).transpose(0, 1, 2, 4, 5, 3)
    return (windows.reshape(-1, V[..., 0].size) @ V.reshape(-1, V.shape[3])).reshape(*windows.shape[:3], -1)


def _rounded_up(X, V, stride, padding):
    more = max(-(size + 2 * padding - len(V)) % stride for size in X.shape[1:3])
    return convolve(_padded(X, padding, padding + more), V, stride=stride)


def _every_window_cut(X, V, stride, padding):
    H, W = convolve(X, V, stride=stride, padding=padding).shape[1:3]
    return convolve(X, V, stride=1, padding=padding)[:, :H, :W]


def _filled_with(c: float) -> Callable[..., Any]:
    def conv(X, V, stride, padding):
        edges = ((0, 0), (padding, padding), (padding, padding), (0, 0))
        return convolve(np.pad(X, edges, constant_values=c), V, stride=stride)

    return conv


def _size_too_small(X, V, stride, padding):
    H, W = ((size + 2 * padding - len(V) + 1) // stride for size in X.shape[1:3])
    U = convolve(X, V, stride=stride, padding=padding)
    return np.pad(U, ((0, 0), (0, max(0, H - U.shape[1])), (0, max(0, W - U.shape[2])), (0, 0)))[:, :H, :W]


def _square(X, V, stride, padding):
    U = convolve(X, V, stride=stride, padding=padding)
    H, W = U.shape[1:3]
    if W < H:
        raise ValueError("windows beyond the image")
    return U[:, :, :H]


def _zero_at_end(U, *axes):
    U = U.copy()
    for axis in axes:
        U[(slice(None),) * axis + (-1,)] = 0
    return U


conv2d = Task(
    signature="conv2d(X, V, stride, padding) -> U",
    equation="Eq. (1): u_c = v_c ∗ X = Σ_s v_c^s ∗ x^s",
    title="Convolution",
    oracle=ops.conv2d,
    axes="X: N P Q D, V: k k D C, U: N H W C",
    sizes=SIZES,
    hyper=HYPER,
    derive=_map_size,
    specials=SPECIALS,
    points=3,
    hint=HINT,
    likely=("filters flipped", "windows flattened channels-first", "filter channels swapped", "size without + 1",
            "stride ignored", "padding ignored"),
    mistakes=(
        Mistake("filters flipped", "The filters were rotated by 180°, as in mathematical convolution; ∗ in Eq. (1) is "
                "cross-correlation.", lambda X, V, **h: convolve(X, _flipped(V), **h)),
        Mistake("filters transposed", "The rows and columns of the filters were swapped; the first axis of V runs "
                "along the height.", lambda X, V, **h: convolve(X, V.swapaxes(0, 1), **h)),
        Mistake("filter channels swapped", "The input and output channels of the filters were swapped; V has the shape "
                "(k, k, C', C).", lambda X, V, **h: convolve(X, V.swapaxes(2, 3), **h)),
        Mistake("filters flattened channels-first", "The filters were flattened with their channels first and the "
                "windows with their channels last; both must use the same order.",
                lambda X, V, **h: convolve(X, _channels_first(V), **h)),
        Mistake("windows flattened channels-first", "The windows from sliding_window_view are (C', k, k), the filters "
                "(k, k, C'), so they do not match once flattened; first move the channels of the windows to the end.",
                lambda X, V, **h: convolve(X, V.reshape(V.shape[2], *V.shape[:2], -1).transpose(1, 2, 0, 3), **h)),
        Mistake("padded only below and right", "All zeros were added below and to the right; they should be added on "
                "every side.", lambda X, V, stride, padding: convolve(_padded(X, 0, 2 * padding), V, stride=stride)),
        Mistake("padded only above and left", "All zeros were added above and to the left; they should be added on "
                "every side.", lambda X, V, stride, padding: convolve(_padded(X, 2 * padding, 0), V, stride=stride)),
        Mistake("half the padding", "The zeros were divided between opposite sides; each side should get the full "
                "padding.",
                lambda X, V, stride, padding: convolve(_padded(X, padding // 2, padding - padding // 2), V,
                                                       stride=stride)),
        Mistake("padding ignored", "The image was not padded; it should be padded with zeros on every side.",
                lambda X, V, stride, padding: convolve(X, V, stride=stride)),
        Mistake("padded with border pixels", "The image was padded with its border pixels; it should be padded with "
                "zeros.", lambda X, V, stride, padding: convolve(_padded(X, padding, mode="edge"), V, stride=stride)),
        Mistake("padded by k // 2", "The image was padded by k // 2 pixels; it should be padded by `padding` pixels.",
                lambda X, V, stride, padding: convolve(X, V, stride=stride, padding=len(V) // 2)),
        Mistake("padded by a fixed number", "The image was padded by a fixed number of pixels; it should be padded by "
                "`padding` pixels.", lambda X, V, stride, padding: convolve(X, V, stride=stride, padding=1),
                family=lambda c: lambda X, V, stride, padding: convolve(X, V, stride=stride, padding=int(c))),
        Mistake("padded with a constant other than 0", "The image was padded with a number other than 0; it should be "
                "padded with zeros.", _filled_with(1.0), family=lambda c: _filled_with(c)),
        Mistake("size (H' - k + 1) // stride", "The size was computed as (H' + 2p - k + 1) // stride, which is right "
                "only at stride 1; it should be (H' + 2p - k) // stride + 1.", _size_too_small),
        Mistake("same size for rows and columns", "The number of columns was taken from the rows; it should be "
                "computed from the width.", _square),
        Mistake("last input channel only", "The products of one channel of X overwrote those of the others (=); they "
                "should be added (+=).", lambda X, V, **h: convolve(X[..., -1:], V[:, :, -1:], **h)),
        Mistake("stride only along the width", "The stride was applied along the width only; it should be applied "
                "along the height too.", lambda X, V, stride, padding: convolve(X, V, padding=padding)[:, :, ::stride]),
        Mistake("last row and column left at 0", "The loops stop one window too early, so that the last row and column "
                "of the result are 0.", lambda X, V, **h: _zero_at_end(convolve(X, V, **h), 1, 2)),
        Mistake("last row left at 0", "The loop over the rows stops one window too early, so that the last row of the "
                "result is 0.", lambda X, V, **h: _zero_at_end(convolve(X, V, **h), 1)),
        Mistake("last column left at 0", "The loop over the columns stops one window too early, so that the last "
                "column of the result is 0.", lambda X, V, **h: _zero_at_end(convolve(X, V, **h), 2)),
        Mistake("stride ignored", "The windows are one pixel apart; they should be `stride` pixels apart.",
                lambda X, V, stride, padding: convolve(X, V, padding=padding)),
        Mistake("windows at i instead of i · stride", "The result has the right size, but its windows are one pixel "
                "apart, not `stride` pixels apart.", _every_window_cut),
        Mistake("stride only along the height", "The stride was applied along the height only; it should be applied "
                "along the width too.", lambda X, V, stride, padding: convolve(X, V, padding=padding)[:, ::stride]),
        Mistake("size rounded up", "A last window that fits only partly was filled up with zeros; the size should be "
                "rounded down: (H' + 2p - k) // stride + 1.", _rounded_up),
        Mistake("size without + 1", "The last row and column of the result are missing; the size should be (H' + 2p - "
                "k) // stride + 1.", lambda X, V, **h: convolve(X, V, **h)[:, :-1, :-1]),
        Mistake("one input channel", "Only the first channel of X was used; Eq. (1) sums over all channels.",
                lambda X, V, **h: convolve(X[..., :1], V[:, :, :1], **h)),
        Mistake("mean over the input channels", "The channels of X were averaged; Eq. (1) sums over them.",
                lambda X, V, **h: convolve(X, V, **h) / X.shape[3]),
        Mistake("mean over the window", "The result was divided by the k·k pixels of a window; Eq. (1) is a sum.",
                lambda X, V, **h: convolve(X, V, **h) / len(V) ** 2),
        Mistake("ReLU at the end", "A ReLU was applied after the convolution; Eq. (1) has none.",
                lambda X, V, **h: np.maximum(convolve(X, V, **h), 0)),
        Mistake("maps transposed", "The maps were returned as (N, W, H, C); they should be (N, H, W, C).",
                lambda X, V, **h: convolve(X, V, **h).swapaxes(1, 2)),
    ),
    written=_conv2d,
    alternates=(
        _conv2d,
        lambda X, V, stride, padding: np.einsum(
            "nhwdab,abdc->nhwc", _windows(_padded(X, padding), len(V), stride), V, optimize=True),
        _by_windows,
        _by_rows,
    ),
)  # fmt: skip


# --------------------------------------------------------------------------------------------------- backward


def _wrong(dX: Callable | None = None, dV: Callable | None = None) -> Callable[..., Any]:
    """Return conv2d_backward with one or both of its gradients replaced."""

    def backward(dU, X, V, **hyper):
        right_dX, right_dV = convolve_backward(dU, X, V, **hyper)
        return (dX(dU, X, V, **hyper) if dX else right_dX, dV(dU, X, V, **hyper) if dV else right_dV)

    return backward


def _dX(*args: Any, **hyper: Any) -> np.ndarray:
    return convolve_backward(*args, **hyper)[0]


def _dV(*args: Any, **hyper: Any) -> np.ndarray:
    return convolve_backward(*args, **hyper)[1]


def _at_stride_1(dU: np.ndarray, X: np.ndarray, V: np.ndarray, padding: int) -> tuple[np.ndarray, np.ndarray]:
    """Return both gradients as if the windows were one pixel apart."""
    U = convolve(X, V, padding=padding)
    as_if = np.zeros(U.shape)
    as_if[:, : dU.shape[1], : dU.shape[2]] = dU
    return convolve_backward(as_if, X, V, padding=padding)


def _taps(dU: np.ndarray, k: int, stride: int) -> Any:
    """Yield every filter tap (a, b) with the slices of the pixels under it."""
    _, H, W, _ = dU.shape
    for a in range(k):
        for b in range(k):
            yield a, b, np.s_[:, a : a + stride * H : stride, b : b + stride * W : stride]


def _inside(dX: np.ndarray, padding: int, X: np.ndarray) -> np.ndarray:
    return dX[:, padding : padding + X.shape[1], padding : padding + X.shape[2]]


def _overwritten(dU, X, V, stride, padding):
    dX = np.zeros_like(_padded(X, padding))
    for a, b, here in _taps(dU, len(V), stride):
        dX[here] = dU @ V[a, b].T
    return _inside(dX, padding, X)


def _overwritten_by_windows(dU, X, V, stride, padding):
    dX, k = np.zeros_like(_padded(X, padding)), len(V)
    for i in range(dU.shape[1]):
        for j in range(dU.shape[2]):
            here = np.s_[:, i * stride : i * stride + k, j * stride : j * stride + k]
            dX[here] = np.tensordot(dU[:, i, j], V, (1, 3))
    return _inside(dX, padding, X)


def _averaged(dU, X, V, stride, padding):
    uses = _dX(np.ones_like(dU[..., :1]), X[..., :1], np.ones_like(V[:, :, :1, :1]), stride=stride, padding=padding)
    return _dX(dU, X, V, stride=stride, padding=padding) / np.maximum(uses, 1)


def _not_cropped(dU, X, V, stride, padding):
    return _dX(dU, _padded(X, padding), V, stride=stride, padding=0)


def _cropped_to_nothing(dU, X, V, **h):
    dX = _dX(dU, X, V, **h)
    return dX if h["padding"] else dX[:, :0, :0]


def _last(dU: np.ndarray) -> np.ndarray:
    """Return dU with 0 everywhere except in its last row and column."""
    last = np.zeros_like(dU)
    last[:, -1, -1] = dU[:, -1, -1]
    return last


def _conv2d_backward(dU, X, V, stride, padding):
    """Go through the filter taps as in the forward pass; gradients of overlapping windows add up."""
    X_padded = np.pad(X, ((0, 0), (padding, padding), (padding, padding), (0, 0)))
    k, (H, W) = len(V), dU.shape[1:3]
    dX, dV = np.zeros_like(X_padded), np.zeros_like(V)
    for a in range(k):
        for b in range(k):
            pixels = np.s_[:, a : a + stride * H : stride, b : b + stride * W : stride]
            dX[pixels] += dU @ V[a, b].T
            dV[a, b] = np.tensordot(X_padded[pixels], dU, ((0, 1, 2), (0, 1, 2)))
    rows, columns = X.shape[1:3]
    return dX[:, padding : padding + rows, padding : padding + columns], dV


def _backward_by_windows(dU, X, V, stride, padding):
    X_padded, dV, k = _padded(X, padding), np.zeros_like(V), len(V)
    dX = np.zeros_like(X_padded)
    for i in range(dU.shape[1]):
        for j in range(dU.shape[2]):
            window = np.s_[:, i * stride : i * stride + k, j * stride : j * stride + k]
            dX[window] += np.tensordot(dU[:, i, j], V, (1, 3))
            dV += np.tensordot(X_padded[window], dU[:, i, j], (0, 0))
    return _inside(dX, padding, X), dV


def _backward_by_correlation(dU, X, V, stride, padding):
    """Compute dX as a convolution of dU, dilated by the stride, with flipped filters and swapped channels."""
    X_padded, k = _padded(X, padding), len(V)
    N, H, W, C = dU.shape
    spaced = np.zeros((N, X_padded.shape[1] + k - 1, X_padded.shape[2] + k - 1, C), dU.dtype)
    spaced[:, k - 1 : k - 1 + stride * H : stride, k - 1 : k - 1 + stride * W : stride] = dU
    dX = np.tensordot(_windows(spaced, k, 1), V[::-1, ::-1], ((3, 4, 5), (3, 0, 1)))
    dV = np.tensordot(_windows(X_padded, k, stride), dU, ((0, 1, 2), (0, 1, 2))).transpose(1, 2, 0, 3)
    return _inside(dX, padding, X), dV


conv2d_backward = Task(
    signature="conv2d_backward(dU, X, V, stride, padding) -> dX, dV",
    equation="Eq. (1): u_c = v_c ∗ X = Σ_s v_c^s ∗ x^s, differentiated",
    title="The gradients of a convolution",
    oracle=ops.conv2d_backward,
    forward=ops.conv2d,
    axes="dU: N H W C, X: N P Q D, V: k k D C, dX: N P Q D, dV: k k D C",
    sizes=SIZES,
    hyper=HYPER,
    derive=_map_size,
    specials=SPECIALS,
    points=5,
    hint="dX has the shape of X: the gradient of the padding is dropped, and pixels outside all windows get 0.",
    likely=("dX: windows overwrite each other", "dX: not cropped", "dX: filters flipped",
            "dX: filter channels not swapped", "dX: stride ignored", "dV: image not padded", "dV: first image only",
            "dV: mean over the batch", "dV before dX"),
    mistakes=(
        Mistake("dX: filters flipped", "dX was computed with filters rotated by 180°, which is right only if dX is "
                "computed as a convolution of the padded dU; when windows are added back, the filters are not "
                "flipped.", _wrong(dX=lambda dU, X, V, **h: _dX(dU, X, _flipped(V), **h))),
        Mistake("dX: filters transposed", "dX was computed with the rows and columns of the filters swapped; the "
                "first axis of V runs along the height.",
                _wrong(dX=lambda dU, X, V, **h: _dX(dU, X, V.swapaxes(0, 1), **h))),
        Mistake("dX: filter channels not swapped", "The filters were applied from input to output channels; the "
                "backward pass goes from output to input channels, so the last two axes of V should be swapped.",
                _wrong(dX=lambda dU, X, V, **h: _dX(dU, X, V.swapaxes(2, 3), **h))),
        Mistake("dX: windows overwrite each other", "The gradients of overlapping windows overwrote each other (=); "
                "they should be added (+=).", _wrong(dX=_overwritten), also=(_wrong(dX=_overwritten_by_windows),)),
        Mistake("dX: mean over the windows", "dX was divided by the number of windows that contain each pixel; their "
                "gradients should be summed.", _wrong(dX=_averaged)),
        Mistake("dX: not cropped", "dX includes the gradient of the padding; it should have the shape of X.",
                _wrong(dX=_not_cropped)),
        Mistake("dX: cropped at the wrong end", "dX starts at the first row and column of the padded image; X starts "
                "`padding` rows and columns later.",
                _wrong(dX=lambda dU, X, V, **h: _not_cropped(dU, X, V, **h)[:, : X.shape[1], : X.shape[2]])),
        Mistake("dX: cropped by padding:-padding", "The padding was cut off by [padding:-padding], which leaves "
                "nothing at padding 0; write [padding : padding + H'].", _wrong(dX=_cropped_to_nothing)),
        Mistake("windows at i instead of i · stride", "Both gradients were computed with windows one pixel apart; they "
                "should be `stride` pixels apart.",
                lambda dU, X, V, stride, padding: _at_stride_1(dU, X, V, padding)),
        Mistake("dV: last window only", "The gradient of each window overwrote that of the window before (=); dV is "
                "their sum (+=).", _wrong(dV=lambda dU, X, V, **h: _dV(_last(dU), X, V, **h))),
        Mistake("dV: last window of the last image only", "The gradient of each window of each image overwrote that "
                "of the one before (=); dV is their sum (+=).",
                _wrong(dV=lambda dU, X, V, **h: _dV(_last(dU)[-1:], X[-1:], V, **h))),
        Mistake("dV: last image only", "The gradient of each image overwrote that of the image before (=); dV is their "
                "sum (+=).", _wrong(dV=lambda dU, X, V, **h: _dV(dU[-1:], X[-1:], V, **h))),
        Mistake("dX: last output channel only", "The gradients of the output channels overwrote each other (=); they "
                "should be added (+=).", _wrong(dX=lambda dU, X, V, **h: _dX(dU[..., -1:], X, V[..., -1:], **h))),
        Mistake("both divided by N", "dX and dV were divided by N; the loss already contains 1/N.",
                lambda dU, X, V, **h: convolve_backward(dU / len(X), X, V, **h)),
        Mistake("dX: stride ignored", "dX was computed with windows one pixel apart; they should be `stride` pixels "
                "apart.", _wrong(dX=lambda dU, X, V, stride, padding: _at_stride_1(dU, X, V, padding)[0])),
        Mistake("dX: leftover rows dropped", "dX stops at the last window; it should have the shape of X, with "
                "gradient 0 beyond the last window.",
                _wrong(dX=lambda dU, X, V, stride, padding: _dX(dU, X, V, stride=stride, padding=padding)[
                    :, : stride * (dU.shape[1] - 1) + len(V) - padding,
                    : stride * (dU.shape[2] - 1) + len(V) - padding])),
        Mistake("dX: one output channel", "dX was computed from the first output channel only; the gradients of all "
                "output channels should be summed.",
                _wrong(dX=lambda dU, X, V, **h: _dX(dU[..., :1], X, V[..., :1], **h))),
        Mistake("dX: mean over the batch", "dX was divided by N; every image has its own gradient.",
                _wrong(dX=lambda dU, X, V, **h: _dX(dU, X, V, **h) / len(X))),
        Mistake("dV: flipped", "dV is rotated by 180°; it should have the orientation of V.",
                _wrong(dV=lambda *a, **h: _flipped(_dV(*a, **h)))),
        Mistake("dV: transposed", "The rows and columns of dV were swapped; the first axis of dV runs along the "
                "height.", _wrong(dV=lambda *a, **h: _dV(*a, **h).swapaxes(0, 1))),
        Mistake("dV: flattened channels-first", "dV was computed as (C', k, k, C) and reshaped to (k, k, C', C); "
                "transpose it instead.", _wrong(dV=lambda *a, **h: _channels_first(_dV(*a, **h)))),
        Mistake("dV: first image only", "dV was computed from the first image only; all images share the filters, so "
                "their gradients should be summed.", _wrong(dV=lambda dU, X, V, **h: _dV(dU[:1], X[:1], V, **h))),
        Mistake("dV: mean over the batch", "dV was divided by N; it should be a sum over the batch, because the loss "
                "already contains 1/N.", _wrong(dV=lambda dU, X, V, **h: _dV(dU, X, V, **h) / len(X))),
        Mistake("dV: mean over the positions", "dV was divided by H·W; it should be the sum over all positions.",
                _wrong(dV=lambda dU, X, V, **h: _dV(dU, X, V, **h) / dU[0, :, :, 0].size)),
        Mistake("dV: stride ignored", "dV was computed with windows of X one pixel apart; they should be `stride` "
                "pixels apart.", _wrong(dV=lambda dU, X, V, stride, padding: _at_stride_1(dU, X, V, padding)[1])),
        Mistake("dV: image not padded", "dV was computed with windows of the unpadded image, which are shifted by "
                "`padding` pixels; pad X first.",
                _wrong(dV=lambda dU, X, V, stride, padding: _dV(dU, _padded(X, 0, 2 * padding), V, stride=stride))),
        Mistake("dU ignored", "The upstream gradient dU was taken as 1 everywhere; both gradients are proportional to "
                "it.", lambda dU, X, V, **h: convolve_backward(np.ones_like(dU), X, V, **h)),
        Mistake("dV before dX", "Both gradients are right but in the wrong order; the correct order is dX, dV.",
                lambda dU, X, V, **h: convolve_backward(dU, X, V, **h)[::-1]),
        Mistake("sign", "Both gradients have the wrong sign.", lambda dU, X, V, **h: convolve_backward(-dU, X, V, **h)),
    ),
    written=_conv2d_backward,
    alternates=(_conv2d_backward, _backward_by_windows, _backward_by_correlation),
)  # fmt: skip

TASKS = (conv2d, conv2d_backward)
