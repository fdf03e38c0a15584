"""Witnesses: slow versions of the operations in plain loops, for comparison with the library."""

import numpy as np


def conv2d(X, V, stride=1, padding=0, groups=1):
    """Compute Eq. (1) in seven loops."""
    N, H_, W_, _ = X.shape
    kh, kw, c, C = V.shape
    H, W = (H_ + 2 * padding - kh) // stride + 1, (W_ + 2 * padding - kw) // stride + 1
    U = np.zeros((N, H, W, C), X.dtype)
    for n in range(N):
        for i in range(H):
            for j in range(W):
                for o in range(C):
                    first = o // (C // groups) * c  # the first input channel of this filter's group
                    for a in range(kh):
                        for b in range(kw):
                            for s in range(c):
                                y, x = i * stride + a - padding, j * stride + b - padding
                                if 0 <= y < H_ and 0 <= x < W_:
                                    U[n, i, j, o] += V[a, b, s, o] * X[n, y, x, first + s]
    return U


def pool2d(x, kernel, stride, padding, reduce, outside):
    """Pool one window at a time; ``outside`` is the value around the image."""
    N, H_, W_, C = x.shape
    H, W = (H_ + 2 * padding - kernel) // stride + 1, (W_ + 2 * padding - kernel) // stride + 1
    y = np.zeros((N, H, W, C))
    for n in range(N):
        for i in range(H):
            for j in range(W):
                for c in range(C):
                    window = [
                        x[n, i * stride + a - padding, j * stride + b - padding, c]
                        if 0 <= i * stride + a - padding < H_ and 0 <= j * stride + b - padding < W_
                        else outside
                        for a in range(kernel)
                        for b in range(kernel)
                    ]
                    y[n, i, j, c] = reduce(window)
    return y


def squeeze(U):
    """Compute Eq. (2), summing pixel by pixel."""
    N, H, W, C = U.shape
    z = np.zeros((N, C), U.dtype)
    for i in range(H):
        for j in range(W):
            z += U[:, i, j]
    return z / (H * W)


def excite(z, W1, W2, b1=0, b2=0, gate="sigmoid"):
    """Compute Eq. (3), one image and one unit at a time."""
    sigma = {"sigmoid": lambda a: 1 / (1 + np.exp(-a)), "tanh": np.tanh, "relu": lambda a: max(a, 0.0)}[gate]
    s = np.zeros((len(z), len(W2)), z.dtype)
    for n, z_n in enumerate(z):
        hidden = [max(0.0, sum(w * x for w, x in zip(row, z_n, strict=True)) + b)
                  for row, b in zip(W1, np.broadcast_to(b1, len(W1)), strict=True)]  # fmt: skip
        for c, b in enumerate(np.broadcast_to(b2, len(W2))):
            s[n, c] = sigma(sum(w * h for w, h in zip(W2[c], hidden, strict=True)) + b)
    return s


def scale(U, s):
    """Compute Eq. (4), one channel of one image at a time."""
    X_tilde = np.empty_like(U)
    for n in range(len(U)):
        for c in range(U.shape[-1]):
            X_tilde[n, :, :, c] = s[n, c] * U[n, :, :, c]
    return X_tilde


def batch_norm(x, gamma, beta, eps=1e-5):
    """Normalise one channel at a time, from the definition."""
    y = np.empty_like(x)
    for c in range(x.shape[-1]):
        values = x[..., c]
        mean = values.sum() / values.size
        var = ((values - mean) ** 2).sum() / values.size
        y[..., c] = gamma[c] * (values - mean) / np.sqrt(var + eps) + beta[c]
    return y


def cross_entropy(x, labels, smoothing=0.0):
    """Compute the loss from the definition, one image at a time, for logits small enough not to overflow."""
    total = 0.0
    for row, label in zip(x, labels, strict=True):
        p = np.exp(row) / np.exp(row).sum()
        q = np.full(len(row), smoothing / len(row))
        q[label] += 1 - smoothing
        total -= (q * np.log(p)).sum()
    return total / len(x)


def heatmap_focal_loss(x, targets, weights=None, alpha=2.0, beta=4.0):
    """Add the loss of each pixel and class, in the form of the paper: with p and 1 - p."""
    loss, centres = 0.0, 0
    for at, t in np.ndenumerate(targets):
        p = 1 / (1 + np.exp(-x[at]))
        weight = 1 if weights is None else weights[at[:3]]
        centres += t == 1
        loss -= weight * ((1 - p) ** alpha * np.log(p) if t == 1 else (1 - t) ** beta * p**alpha * np.log(1 - p))
    return loss / max(centres, 1)


def masked_l1_loss(x, targets, mask):
    """Add the absolute differences, one pixel at a time."""
    loss = sum(abs(x[at] - targets[at]).sum() for at in zip(*np.nonzero(mask), strict=True))
    return loss / max(mask.sum(), 1)
