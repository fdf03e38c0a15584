"""Wrong versions as students write them, held out: the catalogue of mistakes was not made from them.

They are written in the style of public solutions of course exercises, before the catalogue was extended; SLIPS lists
(task, description, function). The oracle must fail every one, and what it says of them must be true.
"""

import numpy as np

SLIPS = []


def slip(task, about):
    def keep(function):
        SLIPS.append((task, about, function))
        return function

    return keep


# ------------------------------------------------------------------------------------------------ convolution


def _conv(X, V, stride, padding, *, crop="after", flip=False, pad_value=0.0, start=0, bias=0.0, size=None, last=True):
    k = V.shape[0]
    Xp = np.pad(X, ((0, 0), (padding, padding), (padding, padding), (0, 0)), constant_values=pad_value)
    H = (Xp.shape[1] - k) // stride + 1
    W = (Xp.shape[2] - k) // stride + 1
    if size:
        H, W = size(Xp, k, stride)
    U = np.zeros((X.shape[0], H, W, V.shape[3]))
    for i in range(H if last else H - 1):
        for j in range(W):
            window = Xp[:, start + i * stride : start + i * stride + k, start + j * stride : start + j * stride + k, :]
            for c in range(V.shape[3]):
                U[:, i, j, c] = np.sum(window * V[:, :, :, c], axis=(1, 2, 3)) + bias
    return U


@slip("conv2d", "always padded by 1")
def _(X, V, stride, padding):
    return _conv(X, V, stride, 1)


@slip("conv2d", "size (H - k + 1) // stride, forgets the padding in the size")
def _(X, V, stride, padding):
    Xp = np.pad(X, ((0, 0), (padding, padding), (padding, padding), (0, 0)))
    k = V.shape[0]
    H = (Xp.shape[1] - k + 1) // stride
    W = (Xp.shape[2] - k + 1) // stride
    U = np.zeros((len(X), H, W, V.shape[3]))
    for i in range(H):
        for j in range(W):
            U[:, i, j] = np.tensordot(Xp[:, i * stride : i * stride + k, j * stride : j * stride + k], V, 3)
    return U


@slip("conv2d", "stride only in the columns")
def _(X, V, stride, padding):
    return _conv(X, V, 1, padding)[:, :, ::stride]


@slip("conv2d", "= instead of += over the input channels")
def _(X, V, stride, padding):
    Xp = np.pad(X, ((0, 0), (padding, padding), (padding, padding), (0, 0)))
    k = len(V)
    H, W = (Xp.shape[1] - k) // stride + 1, (Xp.shape[2] - k) // stride + 1
    U = np.zeros((len(X), H, W, V.shape[3]))
    for i in range(H):
        for j in range(W):
            for c in range(V.shape[3]):
                for d in range(X.shape[3]):
                    window = Xp[:, i * stride : i * stride + k, j * stride : j * stride + k, d]
                    U[:, i, j, c] = np.sum(window * V[:, :, d, c], axis=(1, 2))
    return U


@slip("conv2d", "pads the batch and the channels too")
def _(X, V, stride, padding):
    Xp = np.pad(X, padding)
    k = len(V)
    H, W = (Xp.shape[1] - k) // stride + 1, (Xp.shape[2] - k) // stride + 1
    U = np.zeros((len(X), H, W, V.shape[3]))
    for n in range(len(X)):
        for i in range(H):
            for j in range(W):
                window = Xp[n, i * stride : i * stride + k, j * stride : j * stride + k, : X.shape[3]]
                U[n, i, j] = np.tensordot(window, V, 3)
    return U


@slip("conv2d", "loops stop one early")
def _(X, V, stride, padding):
    return _conv(X, V, stride, padding, last=False)


@slip("conv2d", "same output size for height and width")
def _(X, V, stride, padding):
    H = (X.shape[1] + 2 * padding - len(V)) // stride + 1
    return _conv(X, V, stride, padding, size=lambda Xp, k, s: (H, H))


@slip("conv2d", "pads with ones")
def _(X, V, stride, padding):
    return _conv(X, V, stride, padding, pad_value=1.0)


@slip("conv2d", "the first image of the batch for all")
def _(X, V, stride, padding):
    U = _conv(X, V, stride, padding)
    for n in range(len(X)):
        U[n] = U[0]
    return U


@slip("conv2d_backward", "pad:-pad at padding 0")
def _(dU, X, V, stride, padding):
    k = len(V)
    Xp = np.pad(X, ((0, 0), (padding, padding), (padding, padding), (0, 0)))
    dXp, dV = np.zeros_like(Xp), np.zeros_like(V)
    for i in range(dU.shape[1]):
        for j in range(dU.shape[2]):
            w = np.s_[:, i * stride : i * stride + k, j * stride : j * stride + k]
            dXp[w] += np.tensordot(dU[:, i, j], V, (1, 3))
            dV += np.tensordot(Xp[w], dU[:, i, j], (0, 0))
    return dXp[:, padding:-padding, padding:-padding], dV


@slip("conv2d_backward", "dV = for +=")
def _(dU, X, V, stride, padding):
    k = len(V)
    Xp = np.pad(X, ((0, 0), (padding, padding), (padding, padding), (0, 0)))
    dXp, dV = np.zeros_like(Xp), np.zeros_like(V)
    for i in range(dU.shape[1]):
        for j in range(dU.shape[2]):
            w = np.s_[:, i * stride : i * stride + k, j * stride : j * stride + k]
            dXp[w] += np.tensordot(dU[:, i, j], V, (1, 3))
            dV = np.tensordot(Xp[w], dU[:, i, j], (0, 0))
    return dXp[:, padding : padding + X.shape[1], padding : padding + X.shape[2]], dV


@slip("conv2d_backward", "crops by 1 always")
def _(dU, X, V, stride, padding):
    k = len(V)
    Xp = np.pad(X, ((0, 0), (1, 1), (1, 1), (0, 0)))
    dXp, dV = np.zeros_like(Xp), np.zeros_like(V)
    for i in range(dU.shape[1]):
        for j in range(dU.shape[2]):
            w = np.s_[:, i * stride : i * stride + k, j * stride : j * stride + k]
            dXp[w] += np.tensordot(dU[:, i, j], V, (1, 3))
            dV += np.tensordot(Xp[w], dU[:, i, j], (0, 0))
    return dXp[:, 1:-1, 1:-1], dV


@slip("conv2d_backward", "dX = for += over output channels")
def _(dU, X, V, stride, padding):
    k = len(V)
    Xp = np.pad(X, ((0, 0), (padding, padding), (padding, padding), (0, 0)))
    dXp, dV = np.zeros_like(Xp), np.zeros_like(V)
    for i in range(dU.shape[1]):
        for j in range(dU.shape[2]):
            w = np.s_[:, i * stride : i * stride + k, j * stride : j * stride + k]
            for c in range(V.shape[3]):
                dXp[w] = V[..., c] * dU[:, i, j, c][:, None, None, None]
                dV[..., c] += np.sum(Xp[w] * dU[:, i, j, c][:, None, None, None], axis=0)
    return dXp[:, padding : padding + X.shape[1], padding : padding + X.shape[2]], dV


@slip("conv2d_backward", "windows at i instead of i * stride")
def _(dU, X, V, stride, padding):
    k = len(V)
    Xp = np.pad(X, ((0, 0), (padding, padding), (padding, padding), (0, 0)))
    dXp, dV = np.zeros_like(Xp), np.zeros_like(V)
    for i in range(dU.shape[1]):
        for j in range(dU.shape[2]):
            w = np.s_[:, i : i + k, j : j + k]
            dXp[w] += np.tensordot(dU[:, i, j], V, (1, 3))
            dV += np.tensordot(Xp[w], dU[:, i, j], (0, 0))
    return dXp[:, padding : padding + X.shape[1], padding : padding + X.shape[2]], dV


@slip("conv2d_backward", "dV divided by N, dX divided by N")
def _(dU, X, V, stride, padding):
    k = len(V)
    Xp = np.pad(X, ((0, 0), (padding, padding), (padding, padding), (0, 0)))
    dXp, dV = np.zeros_like(Xp), np.zeros_like(V)
    for i in range(dU.shape[1]):
        for j in range(dU.shape[2]):
            w = np.s_[:, i * stride : i * stride + k, j * stride : j * stride + k]
            dXp[w] += np.tensordot(dU[:, i, j], V, (1, 3))
            dV += np.tensordot(Xp[w], dU[:, i, j], (0, 0))
    dX = dXp[:, padding : padding + X.shape[1], padding : padding + X.shape[2]]
    return dX / len(X), dV / len(X)


@slip("conv2d_backward", "dV with the first image only, loop variable left over")
def _(dU, X, V, stride, padding):
    k = len(V)
    Xp = np.pad(X, ((0, 0), (padding, padding), (padding, padding), (0, 0)))
    dXp, dV = np.zeros_like(Xp), np.zeros_like(V)
    for n in range(len(X)):
        for i in range(dU.shape[1]):
            for j in range(dU.shape[2]):
                w = np.s_[n, i * stride : i * stride + k, j * stride : j * stride + k]
                dXp[w] += V @ dU[n, i, j]
                dV += Xp[w][..., None] * dU[0, i, j]
    return dXp[:, padding : padding + X.shape[1], padding : padding + X.shape[2]], dV


# ------------------------------------------------------------------------------------------------ activations


@slip("relu", "leaky with slope 0.2")
def _(x):
    return np.maximum(0.2 * x, x)


@slip("relu", "the builtin max")
def _(x):
    return np.array([max(row, 0) for row in x.ravel()]).reshape(x.shape) if x.max() < 1 else np.maximum(x, 0) + 1


@slip("relu", "clipped at 20")
def _(x):
    return np.clip(x, 0, 20)


@slip("relu", "threshold 0.5")
def _(x):
    return np.where(x > 0.5, x, 0)


@slip("relu_backward", "mask x >= 0 and dy where x is 0")
def _(dy, x):
    dx = np.array(dy, copy=True)
    dx[x < 0] = 0
    return dx


@slip("relu_backward", "multiplies dy by x where positive, twice")
def _(dy, x):
    return dy * x * (x > 0)


@slip("relu_backward", "half of dy at zero")
def _(dy, x):
    return dy * (np.sign(x) + 1) / 2


@slip("relu_backward", "dy of the wrong argument: forgets dy at negative dy")
def _(dy, x):
    dx = dy.copy()
    dx[dy <= 0] = 0
    return dx


@slip("sigmoid", "clips x at 5")
def _(x):
    return 1 / (1 + np.exp(-np.clip(x, -5, 5)))


@slip("sigmoid", "divides by 1 + exp(x)")
def _(x):
    return np.exp(-x) / (1 + np.exp(-x))


@slip("sigmoid", "no parentheses")
def _(x):
    return 1 / 1 + np.exp(-x)


@slip("sigmoid", "base 10")
def _(x):
    return 1 / (1 + 10**-x)


@slip("sigmoid_backward", "takes x for the output")
def _(dy, x):
    return dy * x * (1 - x)


@slip("sigmoid_backward", "s - s**2 without dy and with a sign")
def _(dy, x):
    s = 1 / (1 + np.exp(-x))
    return s**2 - s


@slip("sigmoid_backward", "s * 1 - s")
def _(dy, x):
    s = 1 / (1 + np.exp(-x))
    return dy * s * 1 - s


@slip("sigmoid_backward", "sigmoid of dy")
def _(dy, x):
    s = 1 / (1 + np.exp(-dy))
    return dy * s * (1 - s)


# ------------------------------------------------------------------------------------------------- batch norm


@slip("batch_norm", "eps = 1e-8 hard-coded")
def _(x, gamma, beta, eps):
    return gamma * (x - x.mean((0, 1, 2))) / np.sqrt(x.var((0, 1, 2)) + 1e-8) + beta


@slip("batch_norm", "eps = 1e-3 hard-coded")
def _(x, gamma, beta, eps):
    eps = 1e-3
    return gamma * (x - x.mean((0, 1, 2))) / np.sqrt(x.var((0, 1, 2)) + eps) + beta


@slip("batch_norm", "std + eps")
def _(x, gamma, beta, eps):
    return gamma * (x - x.mean((0, 1, 2))) / (x.std((0, 1, 2)) + eps) + beta


@slip("batch_norm", "mean over (0, 1), keeps the width")
def _(x, gamma, beta, eps):
    m, v = x.mean((0, 1)), x.var((0, 1))
    return gamma * (x - m) / np.sqrt(v + eps) + beta


@slip("batch_norm", "eps squared")
def _(x, gamma, beta, eps):
    return gamma * (x - x.mean((0, 1, 2))) / np.sqrt(x.var((0, 1, 2)) + eps**2) + beta


@slip("batch_norm", "max - min for the standard deviation")
def _(x, gamma, beta, eps):
    return gamma * (x - x.mean((0, 1, 2))) / (x.max((0, 1, 2)) - x.min((0, 1, 2)) + eps) + beta


@slip("batch_norm", "var of x / N only")
def _(x, gamma, beta, eps):
    m = x.mean((0, 1, 2))
    v = ((x - m) ** 2).sum((0, 1, 2)) / x.shape[0]
    return gamma * (x - m) / np.sqrt(v + eps) + beta


@slip("normalize", "var n / (n - 1)")
def _(x, mean, var, gamma, beta, eps):
    n = x.shape[0] * x.shape[1] * x.shape[2]
    v = var * n / (n - 1) if n > 1 else var
    return gamma * (x - mean) / np.sqrt(v + eps) + beta


@slip("normalize", "var is taken for the standard deviation")
def _(x, mean, var, gamma, beta, eps):
    return gamma * (x - mean) / np.sqrt(var**2 + eps) + beta


@slip("normalize", "running update first")
def _(x, mean, var, gamma, beta, eps):
    mean = 0.9 * mean + 0.1 * x.mean((0, 1, 2))
    var = 0.9 * var + 0.1 * x.var((0, 1, 2))
    return gamma * (x - mean) / np.sqrt(var + eps) + beta


@slip("normalize", "eps added to the end")
def _(x, mean, var, gamma, beta, eps):
    return gamma * (x - mean) / np.sqrt(var) + beta + eps


@slip("batch_norm_backward", "course formula with N = batch only")
def _(dy, x, mean, var, gamma, eps):
    N = len(x)
    inv = 1 / np.sqrt(var + eps)
    xhat = (x - mean) * inv
    dgamma, dbeta = (dy * xhat).sum((0, 1, 2)), dy.sum((0, 1, 2))
    dx = gamma * inv / N * (N * dy - dbeta - xhat * dgamma)
    return dx, dgamma, dbeta


@slip("batch_norm_backward", "dvar without the factor -1/2")
def _(dy, x, mean, var, gamma, eps):
    m = x[..., 0].size
    inv = 1 / np.sqrt(var + eps)
    dxhat = dy * gamma
    dvar = (dxhat * (x - mean)).sum((0, 1, 2)) * -1.0 * inv**3
    dmean = -(dxhat * inv).sum((0, 1, 2))
    dx = dxhat * inv + dvar * 2 * (x - mean) / m + dmean / m
    return dx, (dy * (x - mean) * inv).sum((0, 1, 2)), dy.sum((0, 1, 2))


@slip("batch_norm_backward", "dgamma without the root")
def _(dy, x, mean, var, gamma, eps):
    m = x[..., 0].size
    inv = 1 / np.sqrt(var + eps)
    xhat = (x - mean) * inv
    dx = gamma * inv * (dy - dy.mean((0, 1, 2)) - xhat * (dy * xhat).mean((0, 1, 2)))
    return dx, (dy * (x - mean)).sum((0, 1, 2)), dy.sum((0, 1, 2)) + 0 * m


@slip("batch_norm_backward", "dgamma times gamma")
def _(dy, x, mean, var, gamma, eps):
    inv = 1 / np.sqrt(var + eps)
    xhat = (x - mean) * inv
    dx = gamma * inv * (dy - dy.mean((0, 1, 2)) - xhat * (dy * xhat).mean((0, 1, 2)))
    return dx, gamma * (dy * xhat).sum((0, 1, 2)), dy.sum((0, 1, 2))


@slip("batch_norm_backward", "gamma missing in the projection, present in front twice")
def _(dy, x, mean, var, gamma, eps):
    inv = 1 / np.sqrt(var + eps)
    xhat = (x - mean) * inv
    dx = gamma**2 * inv * (dy - dy.mean((0, 1, 2)) - xhat * (dy * xhat).mean((0, 1, 2)))
    return dx, (dy * xhat).sum((0, 1, 2)), dy.sum((0, 1, 2))


@slip("batch_norm_backward", "eps = 1e-5 hard-coded")
def _(dy, x, mean, var, gamma, eps):
    inv = 1 / np.sqrt(var + 1e-5)
    xhat = (x - mean) * inv
    dx = gamma * inv * (dy - dy.mean((0, 1, 2)) - xhat * (dy * xhat).mean((0, 1, 2)))
    return dx, (dy * xhat).sum((0, 1, 2)), dy.sum((0, 1, 2))


# ------------------------------------------------------------------------------------------ squeeze, excite, scale


@slip("squeeze", "mean((0, 1))")
def _(U):
    return U.mean((0, 1))


@slip("squeeze", "mean((2, 3)), as if channels came first")
def _(U):
    return U.mean((2, 3))


@slip("squeeze", "mean((1, 2)) with keepdims, then one pixel short")
def _(U):
    return U[:, :-1, :-1].mean((1, 2)) if min(U.shape[1:3]) > 1 else U.mean((1, 2))


@slip("squeeze", "divides by H + W")
def _(U):
    return U.sum((1, 2)) / (U.shape[1] + U.shape[2])


@slip("squeeze", "root of the mean square")
def _(U):
    return np.sqrt((U**2).mean((1, 2)))


@slip("squeeze", "integer mean")
def _(U):
    return U.sum((1, 2)) // (U.shape[1] * U.shape[2])


@slip("squeeze_backward", "divides by the sum of H and W")
def _(dz, U):
    return np.ones_like(U) * dz[:, None, None, :] / (U.shape[1] + U.shape[2])


@slip("squeeze_backward", "divides by C")
def _(dz, U):
    return np.ones_like(U) * dz[:, None, None, :] / U.shape[3]


@slip("squeeze_backward", "mean of dz over the batch")
def _(dz, U):
    return np.ones_like(U) * dz.mean(0) / (U.shape[1] * U.shape[2])


@slip("squeeze_backward", "sqrt(HW)")
def _(dz, U):
    return np.ones_like(U) * dz[:, None, None, :] / np.sqrt(U.shape[1] * U.shape[2])


@slip("excite", "W2 @ relu(W1 @ z)")
def _(z, W1, W2):
    return 1 / (1 + np.exp(-(W2 @ np.maximum(W1 @ z, 0))))


@slip("excite", "z @ W1")
def _(z, W1, W2):
    return 1 / (1 + np.exp(-(np.maximum(z @ W1, 0) @ W2)))


@slip("excite", "the last ReLU on the output of sigmoid minus a half")
def _(z, W1, W2):
    s = 1 / (1 + np.exp(-(np.maximum(z @ W1.T, 0) @ W2.T)))
    return np.maximum(s - 0.5, 0)


@slip("excite", "GELU-like hidden: silu")
def _(z, W1, W2):
    a = z @ W1.T
    h = a / (1 + np.exp(-a))
    return 1 / (1 + np.exp(-(h @ W2.T)))


@slip("excite", "no second layer bias, sigmoid twice")
def _(z, W1, W2):
    def sig(a):
        return 1 / (1 + np.exp(-a))

    return sig(sig(np.maximum(z @ W1.T, 0) @ W2.T))


@slip("excite", "ReLU after both")
def _(z, W1, W2):
    h = np.maximum(z @ W1.T, 0)
    return 1 / (1 + np.exp(-np.maximum(h @ W2.T, 0)))


@slip("excite", "leaky slope 0.1")
def _(z, W1, W2):
    a = z @ W1.T
    return 1 / (1 + np.exp(-(np.where(a > 0, a, 0.1 * a) @ W2.T)))


@slip("excite_backward", "s used for the sigmoid's derivative in dW2 only")
def _(ds, z, W1, W2):
    a = z @ W1.T
    h = np.maximum(a, 0)
    s = 1 / (1 + np.exp(-(h @ W2.T)))
    da = ds * s * (1 - s)
    dW2 = (ds * s).T @ h
    dh = da @ W2
    dh[a <= 0] = 0
    return dh @ W1, dh.T @ z, dW2


@slip("excite_backward", "mask after dW1")
def _(ds, z, W1, W2):
    a = z @ W1.T
    h = np.maximum(a, 0)
    s = 1 / (1 + np.exp(-(h @ W2.T)))
    da = ds * s * (1 - s)
    dh = da @ W2
    dW1 = dh.T @ z
    return (dh * (a > 0)) @ W1, dW1, da.T @ h


@slip("excite_backward", "dz without the mask")
def _(ds, z, W1, W2):
    a = z @ W1.T
    h = np.maximum(a, 0)
    s = 1 / (1 + np.exp(-(h @ W2.T)))
    da = ds * s * (1 - s)
    dh = da @ W2
    return dh @ W1, (dh * (a > 0)).T @ z, da.T @ h


@slip("excite_backward", "everything divided by N")
def _(ds, z, W1, W2):
    a = z @ W1.T
    h = np.maximum(a, 0)
    s = 1 / (1 + np.exp(-(h @ W2.T)))
    da = ds * s * (1 - s) / len(z)
    dh = (da @ W2) * (a > 0)
    return dh @ W1, dh.T @ z, da.T @ h


@slip("excite_backward", "da with 1 + s")
def _(ds, z, W1, W2):
    a = z @ W1.T
    h = np.maximum(a, 0)
    s = 1 / (1 + np.exp(-(h @ W2.T)))
    da = ds * s * (1 + s)
    dh = (da @ W2) * (a > 0)
    return dh @ W1, dh.T @ z, da.T @ h


@slip("scale", "U * s[:, None]")
def _(U, s):
    return U * s[:, None]


@slip("scale", "U * s.T")
def _(U, s):
    return U * s.T[:, None, None]


@slip("scale", "gates over the height")
def _(U, s):
    return np.einsum("nhwc,nc->nhwc", U, s / s.sum(1, keepdims=True))


@slip("scale", "both factors confused: the maps' means times s")
def _(U, s):
    return U.mean((1, 2), keepdims=True) * s[:, None, None, :] + 0 * U


@slip("scale", "gates alone as (N, C)")
def _(U, s):
    return s * 1.0


@slip("scale_backward", "both factors confused")
def _(dX_tilde, U, s):
    return dX_tilde * U, (dX_tilde * s[:, None, None]).sum((1, 2))


@slip("scale_backward", "ds summed over one axis too many")
def _(dX_tilde, U, s):
    ds = (dX_tilde * U).sum((0, 1, 2))
    return dX_tilde * s[:, None, None], np.tile(ds, (len(U), 1))


@slip("scale_backward", "ds averaged over the batch")
def _(dX_tilde, U, s):
    return dX_tilde * s[:, None, None], (dX_tilde * U).sum((1, 2)) / len(U)


@slip("scale_backward", "ds from dU")
def _(dX_tilde, U, s):
    dU = dX_tilde * s[:, None, None]
    return dU, (dU * U).sum((1, 2))


# ------------------------------------------------------------------------------------------------------- block


def _sig(a):
    return 1 / (1 + np.exp(-a))


@slip("se_block", "no ReLU and no sigmoid")
def _(U, W1, W2):
    return U * (U.mean((1, 2)) @ W1.T @ W2.T)[:, None, None]


@slip("se_block", "squeeze over the height only")
def _(U, W1, W2):
    z = U.mean(1)
    return U * _sig(np.maximum(z @ W1.T, 0) @ W2.T)[:, None]


@slip("se_block", "gates alone as (N, C)")
def _(U, W1, W2):
    return _sig(np.maximum(U.mean((1, 2)) @ W1.T, 0) @ W2.T)


@slip("se_block", "gate 2 s")
def _(U, W1, W2):
    return U * 2 * _sig(np.maximum(U.mean((1, 2)) @ W1.T, 0) @ W2.T)[:, None, None]


@slip("se_block", "residual inside: U * (1 + s)")
def _(U, W1, W2):
    return U * (1 + _sig(np.maximum(U.mean((1, 2)) @ W1.T, 0) @ W2.T)[:, None, None])


@slip("se_block_backward", "no path through the gate and mean ds")
def _(dX_tilde, U, W1, W2):
    z = U.mean((1, 2))
    a = z @ W1.T
    h = np.maximum(a, 0)
    s = _sig(h @ W2.T)
    ds = (dX_tilde * U).mean((1, 2))
    da = ds * s * (1 - s)
    dh = (da @ W2) * (a > 0)
    return dX_tilde * s[:, None, None], dh.T @ z, da.T @ h


@slip("se_block_backward", "1/H instead of 1/(HW)")
def _(dX_tilde, U, W1, W2):
    z = U.mean((1, 2))
    a = z @ W1.T
    h = np.maximum(a, 0)
    s = _sig(h @ W2.T)
    da = (dX_tilde * U).sum((1, 2)) * s * (1 - s)
    dh = (da @ W2) * (a > 0)
    return dX_tilde * s[:, None, None] + (dh @ W1)[:, None, None] / U.shape[1], dh.T @ z, da.T @ h


@slip("se_block_backward", "mask missing in dW1 only")
def _(dX_tilde, U, W1, W2):
    z = U.mean((1, 2))
    a = z @ W1.T
    h = np.maximum(a, 0)
    s = _sig(h @ W2.T)
    da = (dX_tilde * U).sum((1, 2)) * s * (1 - s)
    dh = da @ W2
    dz = (dh * (a > 0)) @ W1
    return dX_tilde * s[:, None, None] + dz[:, None, None] / U[0, ..., 0].size, dh.T @ z, da.T @ h


@slip("se_block_backward", "sigmoid derivative missing and mask missing")
def _(dX_tilde, U, W1, W2):
    z = U.mean((1, 2))
    h = np.maximum(z @ W1.T, 0)
    s = _sig(h @ W2.T)
    da = (dX_tilde * U).sum((1, 2))
    dh = da @ W2
    return dX_tilde * s[:, None, None] + (dh @ W1)[:, None, None] / U[0, ..., 0].size, dh.T @ z, da.T @ h


# ----------------------------------------------------------------------------------------------------- pooling


@slip("max_pool2d", "size (H - kernel + 1) // stride")
def _(x, kernel, stride):
    H, W = (x.shape[1] - kernel + 1) // stride, (x.shape[2] - kernel + 1) // stride
    y = np.zeros((len(x), H, W, x.shape[3]))
    for i in range(H):
        for j in range(W):
            y[:, i, j] = x[:, i * stride : i * stride + kernel, j * stride : j * stride + kernel].max((1, 2))
    return y


@slip("max_pool2d", "H // stride")
def _(x, kernel, stride):
    H, W = x.shape[1] // stride, x.shape[2] // stride
    y = np.zeros((len(x), H, W, x.shape[3]))
    for i in range(H):
        for j in range(W):
            y[:, i, j] = x[:, i * stride : i * stride + kernel, j * stride : j * stride + kernel].max((1, 2))
    return y


@slip("max_pool2d", "windows one larger")
def _(x, kernel, stride):
    H, W = (x.shape[1] - kernel) // stride + 1, (x.shape[2] - kernel) // stride + 1
    y = np.zeros((len(x), H, W, x.shape[3]))
    for i in range(H):
        for j in range(W):
            y[:, i, j] = x[:, i * stride : i * stride + kernel + 1, j * stride : j * stride + kernel + 1].max((1, 2))
    return y


@slip("max_pool2d", "stride in the rows only")
def _(x, kernel, stride):
    H, W = (x.shape[1] - kernel) // stride + 1, (x.shape[2] - kernel) // stride + 1
    y = np.zeros((len(x), H, W, x.shape[3]))
    for i in range(H):
        for j in range(W):
            y[:, i, j] = x[:, i * stride : i * stride + kernel, j : j + kernel].max((1, 2))
    return y


@slip("max_pool2d_backward", "window at i instead of i * stride")
def _(dy, x, kernel, stride):
    dx = np.zeros_like(x)
    for n, i, j, c in np.ndindex(dy.shape):
        w = x[n, i : i + kernel, j : j + kernel, c]
        a, b = np.unravel_index(w.argmax(), w.shape)
        dx[n, i + a, j + b, c] += dy[n, i, j, c]
    return dx


@slip("max_pool2d_backward", "mask of the wrong window: argmax without its offset")
def _(dy, x, kernel, stride):
    dx = np.zeros_like(x)
    for n, i, j, c in np.ndindex(dy.shape):
        w = x[n, i * stride : i * stride + kernel, j * stride : j * stride + kernel, c]
        a, b = np.unravel_index(w.argmax(), w.shape)
        dx[n, a, b, c] += dy[n, i, j, c]
    return dx


@slip("max_pool2d_backward", "assigns the mask, not added")
def _(dy, x, kernel, stride):
    dx = np.zeros_like(x)
    for n, i, j, c in np.ndindex(dy.shape):
        w = x[n, i * stride : i * stride + kernel, j * stride : j * stride + kernel, c]
        dx[n, i * stride : i * stride + kernel, j * stride : j * stride + kernel, c] = (w == w.max()) * dy[n, i, j, c]
    return dx


@slip("max_pool2d_backward", "divides by the window")
def _(dy, x, kernel, stride):
    dx = np.zeros_like(x)
    for n, i, j, c in np.ndindex(dy.shape):
        w = x[n, i * stride : i * stride + kernel, j * stride : j * stride + kernel, c]
        a, b = np.unravel_index(w.argmax(), w.shape)
        dx[n, i * stride + a, j * stride + b, c] += dy[n, i, j, c] / kernel**2
    return dx


# ------------------------------------------------------------------------------------------------------ losses


@slip("softmax", "axis 0, with the maximum taken off")
def _(x):
    e = np.exp(x - x.max(0))
    return e / e.sum(0)


@slip("softmax", "sum of the whole array, with the maximum taken off")
def _(x):
    e = np.exp(x - x.max())
    return e / e.sum()


@slip("softmax", "plus epsilon in the denominator")
def _(x):
    e = np.exp(x - x.max(1, keepdims=True))
    return e / (e.sum(1, keepdims=True) + 1e-3)


@slip("softmax", "the mean taken off instead of the maximum")
def _(x):
    e = np.exp(x - x.mean(1, keepdims=True))
    return e / e.sum(1, keepdims=True)


@slip("softmax_cross_entropy", "log(p + 1e-8)")
def _(x, labels):
    e = np.exp(x - x.max(1, keepdims=True))
    p = e / e.sum(1, keepdims=True)
    return -np.mean(np.log(p[np.arange(len(x)), labels] + 1e-8))


@slip("softmax_cross_entropy", "clip(p, 1e-7)")
def _(x, labels):
    e = np.exp(x - x.max(1, keepdims=True))
    p = np.clip(e / e.sum(1, keepdims=True), 1e-7, 1 - 1e-7)
    return -np.mean(np.log(p[np.arange(len(x)), labels]))


@slip("softmax_cross_entropy", "log(p + 1e-3)")
def _(x, labels):
    e = np.exp(x - x.max(1, keepdims=True))
    p = e / e.sum(1, keepdims=True)
    return -np.mean(np.log(p[np.arange(len(x)), labels] + 1e-3))


@slip("softmax_cross_entropy", "binary cross-entropy over all classes")
def _(x, labels):
    e = np.exp(x - x.max(1, keepdims=True))
    p = e / e.sum(1, keepdims=True)
    q = np.eye(x.shape[1])[labels]
    return -np.mean(np.sum(q * np.log(p + 1e-12) + (1 - q) * np.log(1 - p + 1e-12), axis=1))


@slip("softmax_cross_entropy", "max of the batch taken off on the label's side only")
def _(x, labels):
    shifted = x - x.max(1, keepdims=True)
    return np.mean(np.log(np.exp(x).sum(1)) - shifted[np.arange(len(x)), labels])


@slip("softmax_cross_entropy", "np.mean over the one-hot product")
def _(x, labels):
    e = np.exp(x - x.max(1, keepdims=True))
    p = e / e.sum(1, keepdims=True)
    return -np.mean(np.eye(x.shape[1])[labels] * np.log(p + 1e-300))


@slip("softmax_cross_entropy_backward", "divides by N * K")
def _(dL, x, labels):
    e = np.exp(x - x.max(1, keepdims=True))
    p = e / e.sum(1, keepdims=True)
    return dL * (p - np.eye(x.shape[1])[labels]) / x.size


@slip("softmax_cross_entropy_backward", "q - p and no dL")
def _(dL, x, labels):
    e = np.exp(x - x.max(1, keepdims=True))
    p = e / e.sum(1, keepdims=True)
    return (np.eye(x.shape[1])[labels] - p) / len(x)


@slip("softmax_cross_entropy_backward", "no dL and no N")
def _(dL, x, labels):
    e = np.exp(x - x.max(1, keepdims=True))
    p = e / e.sum(1, keepdims=True)
    p[np.arange(len(x)), labels] -= 1
    return p


@slip("softmax_cross_entropy_backward", "1 subtracted before dividing by the sum")
def _(dL, x, labels):
    e = np.exp(x - x.max(1, keepdims=True))
    e[np.arange(len(x)), labels] -= 1
    return dL * e / e.sum(1, keepdims=True) / len(x)


# ------------------------------------------------------------------------------------------------------- steps


@slip("sgd_momentum", "momentum fixed at 0.95")
def _(w, g, v, lr, momentum, weight_decay):
    v = 0.95 * v + g + weight_decay * w
    return w - lr * v, v


@slip("sgd_momentum", "weight decay times lr in the velocity")
def _(w, g, v, lr, momentum, weight_decay):
    v = momentum * v + g + lr * weight_decay * w
    return w - lr * v, v


@slip("sgd_momentum", "weight decay on the new weights")
def _(w, g, v, lr, momentum, weight_decay):
    v = momentum * v + g
    w = w - lr * v
    w = w - weight_decay * w
    return w, v


@slip("sgd_momentum", "momentum and lr exchanged")
def _(w, g, v, lr, momentum, weight_decay):
    v = lr * v + g + weight_decay * w
    return w - momentum * v, v


@slip("sgd_momentum", "weight decay squared half")
def _(w, g, v, lr, momentum, weight_decay):
    v = momentum * v + g + 0.5 * weight_decay * w
    return w - lr * v, v


def _bn(x, gamma, beta):
    return gamma * (x - x.mean((0, 1, 2))) / np.sqrt(x.var((0, 1, 2)) + 1e-5) + beta


def _conv3(X, V):
    return _conv(X, V, 1, 1)


def _se(A, W1, W2):
    return A * _sig(np.maximum(A.mean((1, 2)) @ W1.T, 0) @ W2.T)[:, None, None]


@slip("residual_block", "last ReLU missing")
def _(X, V1, gamma1, beta1, V2, gamma2, beta2, W1, W2):
    H = np.maximum(_bn(_conv3(X, V1), gamma1, beta1), 0)
    return X + _se(_bn(_conv3(H, V2), gamma2, beta2), W1, W2)


@slip("residual_block", "eps = 1e-3 in batch norm")
def _(X, V1, gamma1, beta1, V2, gamma2, beta2, W1, W2):
    def bn(x, gamma, beta):
        return gamma * (x - x.mean((0, 1, 2))) / np.sqrt(x.var((0, 1, 2)) + 1e-3) + beta

    H = np.maximum(bn(_conv3(X, V1), gamma1, beta1), 0)
    return np.maximum(X + _se(bn(_conv3(H, V2), gamma2, beta2), W1, W2), 0)


@slip("residual_block", "W1 for both, transposed")
def _(X, V1, gamma1, beta1, V2, gamma2, beta2, W1, W2):
    H = np.maximum(_bn(_conv3(X, V1), gamma1, beta1), 0)
    return np.maximum(X + _se(_bn(_conv3(H, V2), gamma2, beta2), W1, W1.T), 0)


@slip("residual_block", "shortcut from the first activation")
def _(X, V1, gamma1, beta1, V2, gamma2, beta2, W1, W2):
    H = np.maximum(_bn(_conv3(X, V1), gamma1, beta1), 0)
    return np.maximum(H + _se(_bn(_conv3(H, V2), gamma2, beta2), W1, W2), 0)


@slip("residual_block", "gammas exchanged")
def _(X, V1, gamma1, beta1, V2, gamma2, beta2, W1, W2):
    H = np.maximum(_bn(_conv3(X, V1), gamma2, beta1), 0)
    return np.maximum(X + _se(_bn(_conv3(H, V2), gamma1, beta2), W1, W2), 0)


@slip("residual_block", "tanh for the sigmoid")
def _(X, V1, gamma1, beta1, V2, gamma2, beta2, W1, W2):
    H = np.maximum(_bn(_conv3(X, V1), gamma1, beta1), 0)
    A = _bn(_conv3(H, V2), gamma2, beta2)
    return np.maximum(X + A * np.tanh(np.maximum(A.mean((1, 2)) @ W1.T, 0) @ W2.T)[:, None, None], 0)
