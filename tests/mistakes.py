"""Common mistakes in the equations, planted to show that the tests would catch them.

Each entry has a name, the function that it replaces, the wrong version, and the pair (tests/pairs.py) whose checks must
catch it. The mistakes come from public implementations and discussions, and from typical slips in deriving a gradient.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from pairs import Rng

import se_numpy as sn
from se_numpy import relu, sigmoid


@dataclass(frozen=True)
class Mistake:
    name: str
    function: str
    wrong: Callable
    pair: str = ""

    @property
    def caught_by(self) -> str:
        return self.pair or self.function.removesuffix("_backward")


def _gate(gate, hidden=relu):
    """Return excite with a different gate or hidden nonlinearity."""
    return lambda z, W1, W2, b1=0, b2=0: gate(hidden(z @ W1.T + b1) @ W2.T + b2)


def _excite_backward(d_gate=None, mask=True, z_of=lambda z: z, share=lambda dW, z: dW):
    """Return excite_backward with one part replaced."""

    def backward(ds, z, W1, W2, b1=None, b2=None):
        a1 = z @ W1.T + (0 if b1 is None else b1)
        h = relu(a1)
        a2 = h @ W2.T + (0 if b2 is None else b2)
        s = sigmoid(a2)
        da2 = ds * (s * (1 - s) if d_gate is None else d_gate(a2, s))
        dh = da2 @ W2
        da1 = dh * (a1 > 0) if mask else dh
        biases = [d.sum(0) for d, b in ((da1, b1), (da2, b2)) if b is not None]
        return (da1 @ W1, share(da1.T @ z_of(z), z), share(da2.T @ h, z), *biases)

    return backward


def _se_backward(direct=True, gate=1.0, spread=lambda dz, U: dz[:, None, None] / U[0, :, :, 0].size):
    """Return se_block_backward with a mistake in one of the two paths to U."""

    def backward(dX, U, W1, W2, b1=None, b2=None):
        z = sn.squeeze(U)
        s = sn.excite(z, W1, W2, b1, b2)
        dU, ds = sn.scale_backward(dX, U, s)
        dz, *dW = sn.excite_backward(ds, z, W1, W2, b1, b2)
        return (direct * dU + gate * spread(dz, U) * np.ones_like(U), *dW)

    return backward


def _at_the_largest(dz, U):
    return sn.global_max_pool2d_backward(dz, U)


def _batch_norm_backward(keep_mean=True, keep_var=True, m_of=lambda x: x.size // x.shape[-1], scale=True):
    def backward(dy, x, gamma, beta, eps=1e-5):
        axes = tuple(range(x.ndim - 1))
        mean, var = x.mean(axes), x.var(axes)
        x_hat = (x - mean) / np.sqrt(var + eps)
        dgamma, dbeta = (dy * x_hat).sum(axes), dy.sum(axes)
        dx = dy - keep_mean * dbeta / m_of(x) - keep_var * x_hat * dgamma / m_of(x)
        return (gamma if scale else 1) * dx / np.sqrt(var + eps), dgamma, dbeta

    return backward


def _conv_backward(dX=lambda dX, *a, **k: dX, dV=lambda dV, *a, **k: dV):
    def backward(dU, X, V, **hyper):
        right_dX, right_dV = sn.conv2d_backward(dU, X, V, **hyper)
        return dX(right_dX, dU, X, V, **hyper), dV(right_dV, dU, X, V, **hyper)

    return backward


def _flipped(V):
    return np.ascontiguousarray(V[::-1, ::-1])


def _padded_below(X, V, *, stride=1, padding=0, groups=1):
    """Convolve with all the padding below and to the right, as TensorFlow's SAME does for even sizes."""
    X = np.pad(X, ((0, 0), (0, 2 * padding), (0, 2 * padding), (0, 0)))
    return sn.conv2d(X, V, stride=stride, groups=groups)


def _overwritten(dX, dU, X, V, *, stride=1, padding=0, groups=1):
    """Return dX as computed if the last of several overlapping windows overwrites the others."""
    if groups > 1:
        return dX
    kh, kw, c, C = V.shape
    _, H, W, _ = dU.shape
    rows = (dU.reshape(-1, C) @ V.reshape(-1, C).T).reshape(*dU.shape[:3], kh, kw, c)
    padded = np.zeros((len(X), X.shape[1] + 2 * padding, X.shape[2] + 2 * padding, c))
    for a in range(kh):
        for b in range(kw):
            padded[:, a : a + stride * H : stride, b : b + stride * W : stride] = rows[:, :, :, a, b]
    return padded[:, padding : padding + X.shape[1], padding : padding + X.shape[2]]


def _constant_focus(dL, x, targets, alpha=2.0, **h):
    """Return the gradient of the cross-entropy times the factor, whose own derivative is left out."""
    u = np.where(targets == 1, -x, x)
    return sn.heatmap_focal_loss_backward(dL, x, targets=targets, **h | {"alpha": 0}) * sigmoid(u) ** alpha


MISTAKES = [
    # Eq. (2)
    Mistake("squeeze by the maximum", "squeeze", lambda U: U.max((1, 2))),
    Mistake("squeeze without 1/(HW)", "squeeze", lambda U: U.sum((1, 2))),
    Mistake("squeeze over the batch as well", "squeeze", lambda U: 0 * U.mean((1, 2)) + U.mean((0, 1, 2))),
    Mistake("squeeze over the height only", "squeeze", lambda U: U[:, :, 0].mean(1)),
    Mistake("gradient of the squeeze without 1/(HW)", "squeeze_backward", lambda dz, U: dz[:, None, None] + 0 * U),
    Mistake("gradient of the squeeze sent to the largest pixel", "squeeze_backward", _at_the_largest),
    # Eq. (3)
    Mistake("no ReLU between the layers", "excite", _gate(sigmoid, lambda a: a)),
    Mistake("a sigmoid between the layers", "excite", _gate(sigmoid, sigmoid)),
    Mistake("a ReLU before the sigmoid", "excite", _gate(lambda a: sigmoid(relu(a)))),
    Mistake("no sigmoid", "excite", _gate(lambda a: a)),
    Mistake("tanh instead of the sigmoid", "excite", _gate(np.tanh)),
    Mistake("softmax instead of the sigmoid", "excite", _gate(sn.softmax)),
    Mistake("hard sigmoid", "excite", _gate(lambda a: np.clip(a / 6 + 0.5, 0, 1))),
    Mistake("biases omitted", "excite", lambda z, W1, W2, b1=0, b2=0: sn.excite(z, W1, W2)),
    Mistake("derivative of the sigmoid omitted", "excite_backward", _excite_backward(lambda a, s: 1)),
    Mistake("s (1 - s) of the pre-activation", "excite_backward", _excite_backward(lambda a, s: a * (1 - a))),
    Mistake("derivative of tanh, not of the sigmoid", "excite_backward", _excite_backward(lambda a, s: 1 - s * s)),
    Mistake("ReLU mask omitted", "excite_backward", _excite_backward(mask=False)),
    Mistake("weight gradients averaged over the batch", "excite_backward",
            _excite_backward(share=lambda dW, z: dW / len(z))),
    Mistake("dW1 from a summed squeeze", "excite_backward", _excite_backward(z_of=lambda z: 20 * z)),
    # Eq. (4)
    Mistake("gate added instead of multiplied", "scale", lambda U, s: U + s[:, None, None]),
    Mistake("1 + s instead of s", "scale", lambda U, s: U * (1 + s[:, None, None])),
    Mistake("1 - s instead of s", "scale", lambda U, s: U * (1 - s[:, None, None])),
    Mistake("gate returned without the feature maps", "scale", lambda U, s: 0 * U + s[:, None, None]),
    Mistake("ds as a mean over the pixels", "scale_backward",
            lambda dX, U, s: (dX * s[:, None, None], (dX * U).mean((1, 2)))),
    Mistake(
        "ds from the scaled maps", "scale_backward",
        lambda dX, U, s: (dX * s[:, None, None], (dX * U * s[:, None, None]).sum((1, 2))),
    ),
    Mistake("dU without s", "scale_backward", lambda dX, U, s: (dX, (dX * U).sum((1, 2)))),
    # Eqs. (2) to (4) together
    Mistake("path through the gate omitted", "se_block_backward", _se_backward(gate=0)),
    Mistake("path through the gate with the wrong sign", "se_block_backward", _se_backward(gate=-1)),
    Mistake("direct path omitted", "se_block_backward", _se_backward(direct=0)),
    Mistake("path through the gate without 1/(HW)", "se_block_backward",
            _se_backward(spread=lambda dz, U: dz[:, None, None])),
    Mistake("path through the gate sent to the largest pixel", "se_block_backward",
            _se_backward(spread=_at_the_largest)),
    # Eq. (1)
    Mistake("kernel flipped, as in a true convolution", "conv2d", lambda X, V, **h: sn.conv2d(X, _flipped(V), **h)),
    Mistake("padding only below and to the right", "conv2d", _padded_below),
    Mistake(
        "windows flattened with channels first", "conv2d",
        lambda X, V, **h: sn.conv2d(X, V.transpose(2, 0, 1, 3).reshape(V.shape), **h),
    ),
    Mistake("dX with the kernel flipped", "conv2d_backward",
            _conv_backward(dX=lambda dX, dU, X, V, **h: sn.conv2d_backward(dU, X, _flipped(V), **h)[0])),
    Mistake("overlapping windows overwritten", "conv2d_backward", _conv_backward(dX=_overwritten)),
    Mistake("dV flipped", "conv2d_backward", _conv_backward(dV=lambda dV, *a, **h: _flipped(dV))),
    Mistake("dV from the first image only", "conv2d_backward",
            _conv_backward(dV=lambda dV, dU, X, V, **h: sn.conv2d_backward(dU[:1], X[:1], V, **h)[1])),
    Mistake("dV as a mean over the batch", "conv2d_backward",
            _conv_backward(dV=lambda dV, dU, *a, **h: dV / len(dU))),
    # batch norm
    Mistake("variance divided by m - 1", "batch_statistics",
            lambda x: (x.mean((0, 1, 2)), x.var((0, 1, 2), ddof=1))),
    Mistake("statistics of the first image", "batch_statistics",
            lambda x: (x[:1].mean((0, 1, 2)), x[:1].var((0, 1, 2)))),
    Mistake("eps outside the root", "normalize",
            lambda x, m, v, g, b: g * (x - m) / (np.sqrt(v) + 1e-5) + b),
    Mistake("division by the variance", "normalize", lambda x, m, v, g, b: g * (x - m) / (v + 1e-5) + b),
    Mistake("mean and variance held constant", "batch_norm_backward", _batch_norm_backward(False, False)),
    Mistake("variance held constant", "batch_norm_backward", _batch_norm_backward(keep_var=False)),
    Mistake("mean held constant", "batch_norm_backward", _batch_norm_backward(keep_mean=False)),
    Mistake("m = N instead of N·H·W", "batch_norm_backward", _batch_norm_backward(m_of=len)),
    Mistake("gamma omitted in dx", "batch_norm_backward", _batch_norm_backward(scale=False)),
    # other operations
    Mistake("ReLU mask from the gradient", "relu_backward", lambda dy, x: dy * (dy > 0)),
    Mistake("gradient of a leaky ReLU", "relu_backward", lambda dy, x: np.where(x > 0, dy, 0.01 * dy)),
    Mistake("ReLU mask from output >= 0", "relu_backward", lambda dy, x: dy * (relu(x) >= 0)),
    Mistake("tanh' = 1 - tanh", "tanh_backward", lambda dy, x: dy * (1 - np.tanh(x))),
    Mistake("sigmoid' = σ", "sigmoid_backward", lambda dy, x: dy * sigmoid(x)),
    Mistake("kept values not scaled up", "dropout", lambda x, mask, p: x * mask),
    Mistake("dropout scale omitted in the gradient", "dropout_backward", lambda dy, x, mask, p: dy * mask),
    Mistake("db as a mean", "linear_backward",
            lambda dy, x, W, b=None: (dy @ W, dy.T @ x, *([] if b is None else [dy.mean(0)]))),
    Mistake("dW from x + 1", "linear_backward",
            lambda dy, x, W, b=None: (dy @ W, dy.T @ (x + 1), *([] if b is None else [dy.sum(0)]))),
    Mistake("max pooling padded with zeros", "max_pool2d", lambda x, **h: np.maximum(sn.max_pool2d(x, **h), 0)),
    Mistake("padding excluded from the mean", "avg_pool2d",
            lambda x, **h: sn.avg_pool2d(x, **h) / sn.avg_pool2d(np.ones_like(x), **h)),
    Mistake("gradient of average pooling not divided by the window size", "avg_pool2d_backward",
            lambda dy, x, **h: sn.avg_pool2d_backward(dy, x, **h) * h["kernel"] ** 2),
    Mistake("gradient of the maximum spread over all pixels", "global_max_pool2d_backward",
            lambda dy, x: sn.squeeze_backward(dy, x)),
    Mistake("softmax derivative like that of the sigmoid", "softmax_backward",
            lambda dp, x: dp * sn.softmax(x) * (1 - sn.softmax(x))),
    Mistake("loss summed, not averaged", "softmax_cross_entropy",
            lambda x, labels, **h: sn.softmax_cross_entropy(x, labels, **h) * len(x)),
    Mistake("label smoothing omitted", "softmax_cross_entropy",
            lambda x, labels, smoothing=0: sn.softmax_cross_entropy(x, labels)),
    Mistake("gradient of the loss without 1/N", "softmax_cross_entropy_backward",
            lambda dL, x, labels, **h: sn.softmax_cross_entropy_backward(dL, x, labels, **h) * len(x)),
    Mistake("label smoothing omitted in the gradient", "softmax_cross_entropy_backward",
            lambda dL, x, labels, smoothing=0: sn.softmax_cross_entropy_backward(dL, x, labels)),
    Mistake("loss near a centre not reduced", "heatmap_focal_loss",
            lambda x, **h: sn.heatmap_focal_loss(x, **h | {"beta": 0})),
    Mistake("focal loss averaged over pixels", "heatmap_focal_loss",
            lambda x, **h: sn.heatmap_focal_loss(x, **h) * max((h["targets"] == 1).sum(), 1) / x.size),
    Mistake("sign at a centre forgotten", "heatmap_focal_loss_backward",
            lambda dL, x, **h: np.abs(sn.heatmap_focal_loss_backward(dL, x, **h))),
    Mistake("modulating factor taken as a constant", "heatmap_focal_loss_backward", _constant_focus),
    Mistake("sizes averaged over boxes and coordinates", "masked_l1_loss",
            lambda x, **h: sn.masked_l1_loss(x, **h) / x.shape[-1]),
    Mistake("pixels without an object have a gradient", "masked_l1_loss_backward",
            lambda dL, x, targets, mask: dL * np.sign(x - targets) / max(mask.sum(), 1)),
]  # fmt: skip


SEEDS = range(20)


def caught(pair, lib) -> str:
    """Return the name of the first check that fails on any of the cases, or "" if none does."""
    for seed in SEEDS:
        args, hyper = pair.case(Rng(seed))
        for check in (pair.check_value, pair.check_gradient):
            try:
                check(lib, args, hyper)
            except (AssertionError, ValueError, TypeError, IndexError):
                return check.__name__
    return ""
