"""Softmax and cross-entropy as one function: together they are stable, and their gradient is a difference."""

import numpy as np

from se_numpy.backend import Array, array_module, on_host, one_launch
from se_numpy.shapes import check


def softmax(x: Array) -> Array:
    """p_k = e^{x_k} / Σ_j e^{x_j}; the largest x is taken off first, so nothing overflows.      x (N, K) -> p (N, K)"""
    check("x: N K", x)
    e = array_module(x).exp(x - x.max(1, keepdims=True))
    return e / e.sum(1, keepdims=True)


def softmax_backward(dp: Array, x: Array) -> Array:
    """dx = p (dp - Σ_j dp_j p_j): probabilities only move at each other's cost.                 dp, x (N, K) -> dx"""
    check("x: N K, dp: N K", x, dp)
    p = softmax(x)
    return p * (dp - (dp * p).sum(1, keepdims=True))


def softmax_cross_entropy(x: Array, labels: Array, *, smoothing: float = 0.0) -> Array:
    """L = -1/N Σ_n Σ_k q_nk log p_nk,  p = softmax(x).           x (N, K) logits, labels (N,) integers -> L, 0-d

    q is 1 at the label; with ``smoothing`` ε it is 1 - ε there, plus ε/K everywhere (Szegedy et al., CVPR 2016).
    Labels on the host are checked against K; labels on a GPU are trusted, for a look at them would stall it.
    Raises ValueError for a label outside 0..K-1, TypeError for labels that are no integers.
    """
    N, K = _check(x, labels, smoothing)
    return _row_losses(_log_totals(x), labels, x, N, K, float(smoothing)).sum()


def softmax_cross_entropy_backward(dL: Array, x: Array, labels: Array, *, smoothing: float = 0.0) -> Array:
    """dx = dL (p - q) / N: what was predicted less what was asked for.           dL 0-d or a number -> dx (N, K)"""
    N, K = _check(x, labels, smoothing)
    number = isinstance(dL, (int, float))
    share = (dL if number else 1) / N
    dx = _slopes(x, _log_totals(x)[:, None], labels[:, None], K, float(smoothing), float(share))
    return dx if number else dx * dL


def _check(x: Array, labels: Array, smoothing: float) -> tuple[int, int]:
    N, K = check("x: N K", x)
    if not 0 <= smoothing <= 1:
        raise ValueError(f"smoothing is {smoothing}; expected 0 <= smoothing <= 1")
    if getattr(labels, "dtype", np.dtype(object)).kind not in "iu":
        raise TypeError(f"labels are {getattr(labels, 'dtype', type(labels).__name__)}; expected an array of integers")
    if labels.shape != (N,):
        raise ValueError(f"labels have shape {labels.shape}; expected (N,) = ({N},), one for each row of x {x.shape}")
    if on_host(labels) and not ((labels >= 0) & (labels < K)).all():
        wrong = int(np.argmax((labels < 0) | (labels >= K)))
        raise ValueError(f"labels[{wrong}] is {labels[wrong]}; expected 0 to {K - 1}, for x has {K} columns")
    return N, K


def _log_totals(x: Array) -> Array:
    """log Σ_k e^{x_k} of each row: log p = x - that."""
    out = array_module(x).empty(len(x), x.dtype)
    _log_total(x, x.shape[1], out)
    return out


@one_launch(
    "raw T x, int32 K",
    "T out",
    """
    T high = x[i * K], total = 0;
    for (int k = 1; k < K; ++k) high = x[i * K + k] > high ? x[i * K + k] : high;
    for (int k = 0; k < K; ++k) total += exp(x[i * K + k] - high);
    out = high + log(total)
    """,
)
def _log_total(x: Array, K: int, out: Array) -> None:
    xp, high = array_module(x), x.max(1)
    out[...] = high + xp.log(xp.exp(x - high[:, None]).sum(1))


@one_launch(
    "T log_total, L label, raw T x, int32 N, int32 K, float64 smoothing",
    "T loss",
    """
    T sum = (T)(1 - smoothing) * (log_total - x[i * K + label]);
    if (smoothing) for (int k = 0; k < K; ++k) sum += (T)(smoothing / K) * (log_total - x[i * K + k]);
    loss = sum / N
    """,
)
def _row_losses(log_total: Array, labels: Array, x: Array, N: int, K: int, smoothing: float) -> Array:
    """-1/N Σ_k q_nk log p_nk of each row n."""
    loss = (1 - smoothing) * (log_total - x[array_module(x).arange(N), labels])
    if smoothing:  # 0 · log 0 is not 0 to a computer
        loss = loss + smoothing / K * (log_total[:, None] - x).sum(1)
    return loss / N


@one_launch(
    "T x, T log_total, L label, int32 K, float64 smoothing, float64 share",
    "T dx",
    "dx = (T)share * (exp(x - log_total) - (T)((i % K == label ? 1 - smoothing : 0) + smoothing / K))",
)
def _slopes(x: Array, log_total: Array, labels: Array, K: int, smoothing: float, share: float) -> Array:
    """(p - q) times a share of the gradient."""
    xp = array_module(x)
    dx = xp.exp(x - log_total)
    dx -= smoothing / K
    dx -= (1 - smoothing) * (labels == xp.arange(K))
    dx *= share
    return dx
