"""Every task written out, to be read beside one's own lines: ``solution`` shows these, and each is an alternate.

Each is as one would write it in an exercise: NumPy, ``se`` for what is no part of the exercise, and helpers of this
file; no type hints, no checks. ``solution`` gives it the task's name.
"""

import numpy as np

import se_numpy as se


def _conv2d(X, V, stride, padding):
    """One tap of the filters at a time, for all windows."""
    X = np.pad(X, ((0, 0), (padding, padding), (padding, padding), (0, 0)))
    k = len(V)
    H, W = ((size - k) // stride + 1 for size in X.shape[1:3])
    U = np.zeros((len(X), H, W, V.shape[3]), X.dtype)
    for a in range(k):
        for b in range(k):
            under = X[:, a : a + stride * H : stride, b : b + stride * W : stride]  # (N, H, W, C')
            U += under @ V[a, b]
    return U


def _conv2d_backward(dU, X, V, stride, padding):
    """One tap of the filters at a time, as on the way there; where windows overlap, what they send back adds."""
    X_padded = np.pad(X, ((0, 0), (padding, padding), (padding, padding), (0, 0)))
    k, (H, W) = len(V), dU.shape[1:3]
    dX, dV = np.zeros_like(X_padded), np.zeros_like(V)
    for a in range(k):
        for b in range(k):
            under = np.s_[:, a : a + stride * H : stride, b : b + stride * W : stride]
            dX[under] += dU @ V[a, b].T
            dV[a, b] = np.tensordot(X_padded[under], dU, ((0, 1, 2), (0, 1, 2)))
    rows, columns = X.shape[1:3]
    return dX[:, padding : padding + rows, padding : padding + columns], dV


def _relu(x):
    return np.maximum(x, 0)


def _relu_backward(dy, x):
    return dy * (x > 0)


def _sigmoid(x):
    e = np.exp(-np.abs(x))  # at most 1, so nothing overflows
    return np.where(x >= 0, 1, e) / (1 + e)


def _sigmoid_backward(dy, x):
    s = se.sigmoid(x)
    return dy * s * (1 - s)


def _batch_norm(x, gamma, beta, eps):
    mean, var = x.mean((0, 1, 2)), x.var((0, 1, 2))
    x_hat = (x - mean) / np.sqrt(var + eps)
    return gamma * x_hat + beta


def _normalize(x, mean, var, gamma, beta, eps):
    x_hat = (x - mean) / np.sqrt(var + eps)
    return gamma * x_hat + beta


def _batch_norm_backward(dy, x, mean, var, gamma, eps):
    N, H, W, _ = x.shape
    m = N * H * W
    x_hat = (x - mean) / np.sqrt(var + eps)
    dgamma = (dy * x_hat).sum((0, 1, 2))
    dbeta = dy.sum((0, 1, 2))
    dx = gamma / np.sqrt(var + eps) * (dy - dbeta / m - x_hat * dgamma / m)
    return dx, dgamma, dbeta


def _squeeze(U):
    return U.mean((1, 2))


def _squeeze_backward(dz, U):
    _, H, W, _ = U.shape
    return np.ones_like(U) * dz[:, None, None, :] / (H * W)


def _excite(z, W1, W2):
    h = np.maximum(z @ W1.T, 0)  # (N, C/r)
    return se.sigmoid(h @ W2.T)  # (N, C)


def _excite_backward(ds, z, W1, W2):
    h = np.maximum(z @ W1.T, 0)  # (N, C/r)
    s = se.sigmoid(h @ W2.T)  #    (N, C)
    da2 = ds * s * (1 - s)  #      (N, C)
    dh, dW2 = da2 @ W2, da2.T @ h
    da1 = dh * (h > 0)  #          (N, C/r)
    dz, dW1 = da1 @ W1, da1.T @ z
    return dz, dW1, dW2


def _scale(U, s):
    return U * s[:, None, None, :]


def _scale_backward(dX_tilde, U, s):
    dU = dX_tilde * s[:, None, None, :]
    ds = (dX_tilde * U).sum((1, 2))
    return dU, ds


def _se_block(U, W1, W2):
    z = U.mean((1, 2))  #                       Eq. (2)
    h = np.maximum(z @ W1.T, 0)
    s = se.sigmoid(h @ W2.T)  #                 Eq. (3)
    return U * s[:, None, None, :]  #           Eq. (4)


def _se_block_backward(dX_tilde, U, W1, W2):
    _, H, W, _ = U.shape
    z = U.mean((1, 2))
    s = se.excite(z, W1, W2)
    ds = (dX_tilde * U).sum((1, 2))
    dz, dW1, dW2 = se.excite_backward(ds, z, W1, W2)
    dU = dX_tilde * s[:, None, None, :]  #            U was scaled,
    dU = dU + dz[:, None, None, :] / (H * W)  #       and U made the gates
    return dU, dW1, dW2


def _max_pool2d(x, kernel, stride):
    H, W = ((size - kernel) // stride + 1 for size in x.shape[1:3])
    y = np.empty((len(x), H, W, x.shape[3]), x.dtype)
    for i in range(H):
        for j in range(W):
            window = x[:, i * stride : i * stride + kernel, j * stride : j * stride + kernel]
            y[:, i, j] = window.max((1, 2))
    return y


def _max_pool2d_backward(dy, x, kernel, stride):
    dx = np.zeros_like(x)
    for i in range(dy.shape[1]):
        for j in range(dy.shape[2]):
            here = np.s_[:, i * stride : i * stride + kernel, j * stride : j * stride + kernel]
            largest = x[here] == x[here].max((1, 2), keepdims=True)
            dx[here] += dy[:, None, None, i, j] * largest
    return dx


def _softmax(x):
    e = np.exp(x - x.max(1, keepdims=True))
    return e / e.sum(1, keepdims=True)


def _softmax_cross_entropy(x, labels):
    x = x - x.max(1, keepdims=True)
    log_p = x - np.log(np.exp(x).sum(1, keepdims=True))
    return -log_p[np.arange(len(x)), labels].mean()


def _softmax_cross_entropy_backward(dL, x, labels):
    dx = se.softmax(x)
    dx[np.arange(len(x)), labels] -= 1
    return dx * (dL / len(x))


def _sgd_momentum(w, g, v, lr, momentum, weight_decay):
    v = momentum * v + g + weight_decay * w
    w = w - lr * v
    return w, v


def _bn(x, gamma, beta):
    mean, var = se.batch_statistics(x)
    return se.normalize(x, mean, var, gamma, beta, eps=1e-5)


def _residual_block(X, V1, gamma1, beta1, V2, gamma2, beta2, W1, W2):
    H = se.relu(_bn(se.conv2d(X, V1, padding=1), gamma1, beta1))
    A = _bn(se.conv2d(H, V2, padding=1), gamma2, beta2)
    return se.relu(X + se.se_block(A, W1, W2))


def _bn_backward(dy, x, gamma):
    mean, var = se.batch_statistics(x)
    return se.batch_norm_backward(dy, x, mean, var, gamma, eps=1e-5)


def _se_resnet_step(X, labels, V1, gamma1, beta1, V2, gamma2, beta2, W1, W2, W, b, lr):
    U1 = se.conv2d(X, V1, padding=1)
    A1 = _bn(U1, gamma1, beta1)
    H = se.relu(A1)
    U2 = se.conv2d(H, V2, padding=1)
    A2 = _bn(U2, gamma2, beta2)
    S = X + se.se_block(A2, W1, W2)
    Y = se.relu(S)
    z = se.squeeze(Y)
    x = se.linear(z, W, b)
    loss = se.softmax_cross_entropy(x, labels)

    dx = se.softmax_cross_entropy_backward(1.0, x, labels)
    dz, dW, db = se.linear_backward(dx, z, W, b)
    dS = se.relu_backward(se.squeeze_backward(dz, Y), S)
    dA2, dW1, dW2 = se.se_block_backward(dS, A2, W1, W2)
    dU2, dgamma2, dbeta2 = _bn_backward(dA2, U2, gamma2)
    dH, dV2 = se.conv2d_backward(dU2, H, V2, padding=1)
    dA1 = se.relu_backward(dH, A1)
    dU1, dgamma1, dbeta1 = _bn_backward(dA1, U1, gamma1)
    _, dV1 = se.conv2d_backward(dU1, X, V1, padding=1)

    old = (V1, gamma1, beta1, V2, gamma2, beta2, W1, W2, W, b)
    gradients = (dV1, dgamma1, dbeta1, dV2, dgamma2, dbeta2, dW1, dW2, dW, db)
    return loss, *(p - lr * dp for p, dp in zip(old, gradients, strict=True))
