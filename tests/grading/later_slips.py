"""More wrong versions, written after the catalogue of mistakes was extended, and not used to extend it.

LATER has the form of ``slips.SLIPS``; what the oracle says of these shows what it says of versions that it never saw.
"""

import numpy as np

from se_numpy import ops

LATER = []


def slip(task, about):
    def keep(function):
        LATER.append((task, about, function))
        return function

    return keep


def sg(a):
    return 1 / (1 + np.exp(-a))


@slip("conv2d", "off by one start")
def _(X, V, stride, padding):
    k = len(V)
    P = np.pad(X, ((0, 0), (padding,) * 2, (padding,) * 2, (0, 0)))
    H = (P.shape[1] - k) // stride + 1
    W = (P.shape[2] - k) // stride + 1
    U = np.zeros((len(X), H, W, V.shape[3]))
    for i in range(1, H):
        for j in range(1, W):
            U[:, i, j] = np.tensordot(P[:, i * stride : i * stride + k, j * stride : j * stride + k], V, 3)
    return U


@slip("conv2d", "forgot to use padded X in the loop")
def _(X, V, stride, padding):
    k = len(V)
    P = np.pad(X, ((0, 0), (padding,) * 2, (padding,) * 2, (0, 0)))
    H = (P.shape[1] - k) // stride + 1
    W = (P.shape[2] - k) // stride + 1
    U = np.zeros((len(X), H, W, V.shape[3]))
    for i in range(H):
        for j in range(W):
            w = X[:, i * stride : i * stride + k, j * stride : j * stride + k]
            U[:, i, j] = np.tensordot(w, V[: w.shape[1], : w.shape[2]], 3)
    return U


@slip("conv2d", "size with padding once")
def _(X, V, stride, padding):
    k = len(V)
    P = np.pad(X, ((0, 0), (padding,) * 2, (padding,) * 2, (0, 0)))
    H = (X.shape[1] + padding - k) // stride + 1
    W = (X.shape[2] + padding - k) // stride + 1
    U = np.zeros((len(X), H, W, V.shape[3]))
    for i in range(H):
        for j in range(W):
            U[:, i, j] = np.tensordot(P[:, i * stride : i * stride + k, j * stride : j * stride + k], V, 3)
    return U


@slip("conv2d", "abs of filters")
def _(X, V, stride, padding):
    return ops.conv2d(X, np.abs(V), stride=stride, padding=padding)


@slip("conv2d_backward", "dX mean over channels")
def _(dU, X, V, stride, padding):
    a, b = ops.conv2d_backward(dU, X, V, stride=stride, padding=padding)
    return a / V.shape[3], b


@slip("conv2d_backward", "dV of X squared")
def _(dU, X, V, stride, padding):
    a, _ = ops.conv2d_backward(dU, X, V, stride=stride, padding=padding)
    return a, ops.conv2d_backward(dU, X**2, V, stride=stride, padding=padding)[1]


@slip("conv2d_backward", "no crop when padding")
def _(dU, X, V, stride, padding):
    P = np.pad(X, ((0, 0), (padding,) * 2, (padding,) * 2, (0, 0)))
    return ops.conv2d_backward(dU, P, V, stride=stride, padding=0)


@slip("conv2d_backward", "dV not accumulated over images")
def _(dU, X, V, stride, padding):
    dX = []
    for n in range(len(X)):
        a, dV = ops.conv2d_backward(dU[n : n + 1], X[n : n + 1], V, stride=stride, padding=padding)
        dX.append(a)
    return np.concatenate(dX), dV


@slip("relu", "x*(x>1e-1)")
def _(x):
    return x * (x > 0.1)


@slip("relu", "softplus beta")
def _(x):
    return np.log1p(np.exp(2 * x)) / 2


@slip("relu", "copy then wrong sign")
def _(x):
    y = x.copy()
    y[y > 0] = 0
    return y


@slip("relu_backward", "dy where y... uses sign of dy*x")
def _(dy, x):
    return dy * (dy * x > 0)


@slip("relu_backward", "x where dy")
def _(dy, x):
    return np.where(x > 0, x, 0)


@slip("sigmoid", "tanh(x/2) only")
def _(x):
    return np.tanh(x / 2)


@slip("sigmoid", "1/(1+x exp)")
def _(x):
    return 1 / (1 + np.exp(-(x**2)))


@slip("sigmoid", "exp/(1+exp) with minus")
def _(x):
    return -1 / (1 + np.exp(-x))


@slip("sigmoid_backward", "y(1-y) with y=tanh")
def _(dy, x):
    y = np.tanh(x)
    return dy * y * (1 - y)


@slip("sigmoid_backward", "2 s (1-s)")
def _(dy, x):
    s = sg(x)
    return 2 * dy * s * (1 - s)


@slip("sigmoid_backward", "dy(1-dy)")
def _(dy, x):
    s = sg(x)
    return s * (1 - s) * (1 - dy)


@slip("batch_norm", "ddof=1 in mean")
def _(x, gamma, beta, eps):
    n = x[..., 0].size
    m = x.sum((0, 1, 2)) / (n - 1)
    v = ((x - m) ** 2).mean((0, 1, 2))
    return gamma * (x - m) / np.sqrt(v + eps) + beta


@slip("batch_norm", "gamma times everything divided twice")
def _(x, gamma, beta, eps):
    m = x.mean((0, 1, 2))
    v = x.var((0, 1, 2))
    xh = (x - m) / np.sqrt(v + eps)
    return gamma * xh / np.sqrt(v + eps) + beta


@slip("batch_norm", "abs var via mean of squares minus mean")
def _(x, gamma, beta, eps):
    m = x.mean((0, 1, 2))
    v = np.abs((x**2).mean((0, 1, 2)) - m)
    return gamma * (x - m) / np.sqrt(v + eps) + beta


@slip("batch_norm", "global mean, channel var")
def _(x, gamma, beta, eps):
    return gamma * (x - x.mean()) / np.sqrt(x.var((0, 1, 2)) + eps) + beta


@slip("normalize", "ignores gamma and beta")
def _(x, mean, var, gamma, beta, eps):
    return (x - mean) / np.sqrt(var + eps)


@slip("normalize", "eps 1e-8")
def _(x, mean, var, gamma, beta, eps):
    return gamma * (x - mean) / np.sqrt(var + 1e-8) + beta


@slip("normalize", "1/(var+eps)^2")
def _(x, mean, var, gamma, beta, eps):
    return gamma * (x - mean) / (var + eps) ** 2 + beta


@slip("batch_norm_backward", "dx missing the whole projection of gamma sum")
def _(dy, x, mean, var, gamma, eps):
    inv = 1 / np.sqrt(var + eps)
    xh = (x - mean) * inv
    dx = gamma * inv * (dy - xh * (dy * xh).mean((0, 1, 2)) - xh * dy.mean((0, 1, 2)))
    return dx, (dy * xh).sum((0, 1, 2)), dy.sum((0, 1, 2))


@slip("batch_norm_backward", "dbeta sum over batch only mean")
def _(dy, x, mean, var, gamma, eps):
    inv = 1 / np.sqrt(var + eps)
    xh = (x - mean) * inv
    dx = gamma * inv * (dy - dy.mean((0, 1, 2)) - xh * (dy * xh).mean((0, 1, 2)))
    return dx, (dy * xh).sum((0, 1, 2)), dy.sum((1, 2)).mean(0)


@slip("batch_norm_backward", "dgamma sign and dx eps")
def _(dy, x, mean, var, gamma, eps):
    inv = 1 / np.sqrt(var + eps)
    xh = (x - mean) * inv
    dx = gamma * inv * (dy - dy.mean((0, 1, 2)) - xh * (dy * xh).mean((0, 1, 2)))
    return dx, -(dy * xh).sum((0, 1, 2)), dy.sum((0, 1, 2))


@slip("batch_norm_backward", "gamma to dgamma only")
def _(dy, x, mean, var, gamma, eps):
    inv = 1 / np.sqrt(var + eps)
    xh = (x - mean) * inv
    dx = inv * (dy - dy.mean((0, 1, 2)) - xh * (dy * xh).mean((0, 1, 2)))
    return dx, gamma * (dy * xh).sum((0, 1, 2)), dy.sum((0, 1, 2))


@slip("squeeze", "harmonic: 1/mean(1/u)")
def _(U):
    return 1 / (1 / U).mean((1, 2))


@slip("squeeze", "half of max plus mean")
def _(U):
    return (U.max((1, 2)) + U.mean((1, 2))) / 2


@slip("squeeze", "min")
def _(U):
    return U.min((1, 2))


@slip("squeeze", "mean in float16")
def _(U):
    return U.astype(np.float16).mean((1, 2)).astype(float)


@slip("squeeze_backward", "1/(H+W)/2")
def _(dz, U):
    return np.ones_like(U) * dz[:, None, None] / ((U.shape[1] + U.shape[2]) / 2)


@slip("squeeze_backward", "share by |U|")
def _(dz, U):
    return dz[:, None, None] * np.abs(U) / np.abs(U).sum((1, 2), keepdims=True)


@slip("excite", "bias of one")
def _(z, W1, W2):
    return sg(np.maximum(z @ W1.T + 1, 0) @ W2.T)


@slip("excite", "ReLU6 hidden")
def _(z, W1, W2):
    return sg(np.clip(z @ W1.T, 0, 6) @ W2.T)


@slip("excite", "mean of gates")
def _(z, W1, W2):
    s = sg(np.maximum(z @ W1.T, 0) @ W2.T)
    return s / s.mean(1, keepdims=True)


@slip("excite", "temperature 2")
def _(z, W1, W2):
    return sg(np.maximum(z @ W1.T, 0) @ W2.T / 2)


@slip("excite_backward", "dz without W1's transpose: da1 @ W1 mean")
def _(ds, z, W1, W2):
    a = z @ W1.T
    h = np.maximum(a, 0)
    s = sg(h @ W2.T)
    da = ds * s * (1 - s)
    dh = (da @ W2) * (a > 0)
    return dh @ W1 / len(W1), dh.T @ z, da.T @ h


@slip("excite_backward", "mask >= on h")
def _(ds, z, W1, W2):
    a = z @ W1.T
    h = np.maximum(a, 0)
    s = sg(h @ W2.T)
    da = ds * s * (1 - s)
    dh = (da @ W2) * (h >= 0)
    return dh @ W1, dh.T @ z, da.T @ h


@slip("excite_backward", "dW2 from z")
def _(ds, z, W1, W2):
    a = z @ W1.T
    h = np.maximum(a, 0)
    s = sg(h @ W2.T)
    da = ds * s * (1 - s)
    dh = (da @ W2) * (a > 0)
    return dh @ W1, dh.T @ z, da.T @ a


@slip("scale", "sqrt gate")
def _(U, s):
    return U * np.sqrt(s)[:, None, None]


@slip("scale", "gate on first channel only")
def _(U, s):
    X = U.copy()
    X[..., 0] *= s[:, 0][:, None, None]
    return X


@slip("scale_backward", "ds mean over H only")
def _(d, U, s):
    return d * s[:, None, None], (d * U).mean(1).sum(1)


@slip("scale_backward", "dU squared s")
def _(d, U, s):
    return d * s[:, None, None] ** 2, (d * U).sum((1, 2))


@slip("se_block", "sum pool and no relu")
def _(U, W1, W2):
    return U * sg(U.sum((1, 2)) @ W1.T @ W2.T)[:, None, None]


@slip("se_block", "std pool")
def _(U, W1, W2):
    return U * sg(np.maximum(U.std((1, 2)) @ W1.T, 0) @ W2.T)[:, None, None]


@slip("se_block_backward", "z by max")
def _(d, U, W1, W2):
    z = U.max((1, 2))
    a = z @ W1.T
    h = np.maximum(a, 0)
    s = sg(h @ W2.T)
    da = (d * U).sum((1, 2)) * s * (1 - s)
    dh = (da @ W2) * (a > 0)
    return d * s[:, None, None] + (dh @ W1)[:, None, None] / U[0, ..., 0].size, dh.T @ z, da.T @ h


@slip("se_block_backward", "ds mean only")
def _(d, U, W1, W2):
    z = U.mean((1, 2))
    a = z @ W1.T
    h = np.maximum(a, 0)
    s = sg(h @ W2.T)
    da = (d * U).mean((1, 2)) * s * (1 - s)
    dh = (da @ W2) * (a > 0)
    return d * s[:, None, None] + (dh @ W1)[:, None, None], dh.T @ z, da.T @ h


@slip("max_pool2d", "average of max and mean")
def _(x, kernel, stride):
    return ops.max_pool2d(np.abs(x), kernel=kernel, stride=stride)


@slip("max_pool2d", "rows and columns mixed")
def _(x, kernel, stride):
    H, W = (x.shape[1] - kernel) // stride + 1, (x.shape[2] - kernel) // stride + 1
    y = np.zeros((len(x), H, W, x.shape[3]))
    for i in range(H):
        for j in range(W):
            y[:, i, j] = (
                x[:, j * stride : j * stride + kernel, i * stride : i * stride + kernel].max((1, 2))
                if H == W
                else x[:, i * stride : i * stride + kernel, j * stride : j * stride + kernel].max((1, 2))
            )
    return y


@slip("max_pool2d_backward", "mean of dy")
def _(dy, x, kernel, stride):
    return ops.max_pool2d_backward(dy, x, kernel=kernel, stride=stride) / len(x)


@slip("max_pool2d_backward", "minus x")
def _(dy, x, kernel, stride):
    return ops.max_pool2d_backward(dy, -x, kernel=kernel, stride=stride)


@slip("softmax", "exp2")
def _(x):
    e = np.exp2(x - x.max(1, keepdims=True))
    return e / e.sum(1, keepdims=True)


@slip("softmax", "temperature 10")
def _(x):
    e = np.exp((x - x.max(1, keepdims=True)) / 10)
    return e / e.sum(1, keepdims=True)


@slip("softmax", "sum keepdims forgotten with transposes")
def _(x):
    e = np.exp(x - x.max(1, keepdims=True))
    return e / e.sum(1)[0]


@slip("softmax_cross_entropy", "max instead of mean")
def _(x, labels):
    x = x - x.max(1, keepdims=True)
    lp = x - np.log(np.exp(x).sum(1, keepdims=True))
    return -lp[np.arange(len(x)), labels].min()


@slip("softmax_cross_entropy", "label smoothing .1")
def _(x, labels):
    x = x - x.max(1, keepdims=True)
    lp = x - np.log(np.exp(x).sum(1, keepdims=True))
    return -(0.9 * lp[np.arange(len(x)), labels].mean() + 0.1 * lp.mean())


@slip("softmax_cross_entropy", "divide by N-1")
def _(x, labels):
    x = x - x.max(1, keepdims=True)
    lp = x - np.log(np.exp(x).sum(1, keepdims=True))
    return -lp[np.arange(len(x)), labels].sum() / max(1, len(x) - 1)


@slip("softmax_cross_entropy_backward", "p times dL minus q")
def _(dL, x, labels):
    e = np.exp(x - x.max(1, keepdims=True))
    p = e / e.sum(1, keepdims=True)
    return (dL * p - np.eye(x.shape[1])[labels]) / len(x)


@slip("softmax_cross_entropy_backward", "N over dL")
def _(dL, x, labels):
    e = np.exp(x - x.max(1, keepdims=True))
    p = e / e.sum(1, keepdims=True)
    return (p - np.eye(x.shape[1])[labels]) / (dL * len(x))


@slip("softmax_cross_entropy_backward", "subtract at argmax")
def _(dL, x, labels):
    e = np.exp(x - x.max(1, keepdims=True))
    p = e / e.sum(1, keepdims=True)
    return dL * (p - np.eye(x.shape[1])[x.argmax(1)]) / len(x)


@slip("sgd_momentum", "dampening 0.1")
def _(w, g, v, lr, momentum, weight_decay):
    v = momentum * v + 0.9 * (g + weight_decay * w)
    return w - lr * v, v


@slip("sgd_momentum", "lr squared")
def _(w, g, v, lr, momentum, weight_decay):
    v = momentum * v + g + weight_decay * w
    return w - lr * lr * v, v


@slip("sgd_momentum", "v minus")
def _(w, g, v, lr, momentum, weight_decay):
    v = momentum * v - (g + weight_decay * w) * lr
    return w - v, v


@slip("sgd_momentum", "decay of v")
def _(w, g, v, lr, momentum, weight_decay):
    v = momentum * v + g + weight_decay * v
    return w - lr * v, v


def bn(x, g, b):
    return g * (x - x.mean((0, 1, 2))) / np.sqrt(x.var((0, 1, 2)) + 1e-5) + b


def se_(A, W1, W2):
    return A * sg(np.maximum(A.mean((1, 2)) @ W1.T, 0) @ W2.T)[:, None, None]


def c3(X, V):
    return ops.conv2d(X, V, stride=1, padding=1)


@slip("residual_block", "ReLU after second bn, none at end")
def _(X, V1, g1, b1, V2, g2, b2, W1, W2):
    return X + se_(np.maximum(bn(c3(np.maximum(bn(c3(X, V1), g1, b1), 0), V2), g2, b2), 0), W1, W2)


@slip("residual_block", "X scaled half")
def _(X, V1, g1, b1, V2, g2, b2, W1, W2):
    return np.maximum(X / 2 + se_(bn(c3(np.maximum(bn(c3(X, V1), g1, b1), 0), V2), g2, b2), W1, W2), 0)


@slip("residual_block", "beta missing")
def _(X, V1, g1, b1, V2, g2, b2, W1, W2):
    return np.maximum(X + se_(bn(c3(np.maximum(bn(c3(X, V1), g1, 0), 0), V2), g2, 0), W1, W2), 0)
