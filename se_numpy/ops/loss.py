"""Softmax and cross-entropy as one function: together they are stable, and their gradient is a difference."""

import numpy as np

from se_numpy.arrays import Array, array_module, check_array, check_plain, harmless_underflow, on_host
from se_numpy.shapes import check


@harmless_underflow
def softmax(x: Array) -> Array:
    """p_k = e^{x_k} / Σ_j e^{x_j}; the largest x is taken off first, so nothing overflows.      x (N, K) -> p (N, K)

    Raises ValueError or TypeError for something that is not a matrix of float32 or float64.
    """
    check("x: N K", x)
    e = array_module(x).exp(x - x.max(1, keepdims=True))
    return e / e.sum(1, keepdims=True)


@harmless_underflow
def softmax_backward(dp: Array, x: Array) -> Array:
    """dx = p (dp - Σ_j dp_j p_j): probabilities only move at each other's cost.                 dp, x (N, K) -> dx"""
    check("x: N K, dp: N K", x, dp)
    p = softmax(x)
    return p * (dp - (dp * p).sum(1, keepdims=True))


@harmless_underflow
def softmax_cross_entropy(x: Array, labels: Array, *, smoothing: float = 0.0) -> Array:
    """L = -1/N Σ_n Σ_k q_nk log p_nk,  p = softmax(x).           x (N, K) logits, labels (N,) integers -> L, 0-d

    q is 1 at the label; with ``smoothing`` ε it is 1 - ε there, plus ε/K everywhere (Szegedy et al., CVPR 2016).
    Labels on the host are checked against K; labels on a GPU are trusted, because reading them would stall it.

    Raises ValueError for a label outside 0..K-1, TypeError for labels that are not integers.
    """
    N, _ = check_loss(x, labels, smoothing)
    xp = array_module(x, labels)
    high = x.max(1, keepdims=True)
    log_p = x - high - xp.log(xp.exp(x - high).sum(1, keepdims=True))
    loss = -(1 - smoothing) * log_p[xp.arange(N), labels].mean()
    return loss - smoothing * log_p.mean() if smoothing else loss  # 0 · log 0 is NaN, not 0


@harmless_underflow
def softmax_cross_entropy_backward(dL: Array, x: Array, labels: Array, *, smoothing: float = 0.0) -> Array:
    """dx = dL (p - q) / N: what was predicted less what was asked for.           dL 0-d or a number -> dx (N, K)"""
    N, K = check_loss(x, labels, smoothing, dL)
    xp = array_module(dL, x, labels)
    at_label = (labels[:, None] == xp.arange(K)).astype(x.dtype)
    return dL * ((softmax(x) - (1 - smoothing) * at_label - smoothing / K) / N)


def check_loss(x: Array, labels: Array, smoothing: float, dL: Array = 1.0) -> tuple[int, int]:
    """Return (N, K) of logits, or raise as ``softmax_cross_entropy``; also for a dL that is not like L."""
    N, K = check("x: N K", x)
    if not 0 <= smoothing <= 1:
        raise ValueError(f"smoothing is {smoothing}; expected 0 <= smoothing <= 1")
    if getattr(getattr(labels, "dtype", None), "kind", "?") not in "iu":
        raise TypeError(f"labels are {getattr(labels, 'dtype', type(labels).__name__)}; expected an array of integers")
    if type(labels) is not np.ndarray:
        check_plain("labels", labels)
    if labels.shape != (N,):
        raise ValueError(f"labels have shape {labels.shape}; expected (N,) = ({N},), one for each row of x {x.shape}")
    if on_host(labels) and not ((labels >= 0) & (labels < K)).all():
        wrong = int(np.argmax((labels < 0) | (labels >= K)))
        raise ValueError(f"labels[{wrong}] is {labels[wrong]}; expected 0 to {K - 1}, for x has {K} columns")
    if hasattr(dL, "dtype"):
        check_array("dL", dL, "()")
    if getattr(dL, "ndim", 0):
        raise ValueError(f"dL has shape {dL.shape}; expected a number or an array without axes, as L")
    return N, K
