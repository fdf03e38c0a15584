"""Softmax, and softmax with cross-entropy as one function, which is stable and whose gradient is (p - q) / N."""

import numpy as np

from se_numpy.arrays import Array, array_module, check_array, check_plain, harmless_underflow, on_host
from se_numpy.shapes import check


@harmless_underflow
def softmax(x: Array) -> Array:
    """Return p_k = e^{x_k} / Σ_j e^{x_j}, with the largest x_j subtracted to avoid overflow.      x (N, K) -> p (N, K).

    Raises
    ------
    TypeError
        If an argument is not a float32 or float64 array.
    ValueError
        If x does not have two axes.
    """
    check("x: N K", x)
    e = array_module(x).exp(x - x.max(1, keepdims=True))
    return e / e.sum(1, keepdims=True)


@harmless_underflow
def softmax_backward(dp: Array, x: Array) -> Array:
    """Return dx_k = p_k (dp_k - Σ_j dp_j p_j); the dx_k of a row sum to 0.                dp, x (N, K) -> dx (N, K)."""
    check("x: N K, dp: N K", x, dp)
    p = softmax(x)
    return p * (dp - (dp * p).sum(1, keepdims=True))


@harmless_underflow
def softmax_cross_entropy(x: Array, labels: Array, *, smoothing: float = 0.0) -> Array:
    """Return L = -1/N Σ_n Σ_k q_nk log p_nk, where p = softmax(x).     x (N, K) logits, labels (N,) integers -> L, 0-d.

    q is the target: 1 - ε at the label, plus ε/K for every class, where ε is ``smoothing``. Labels on the host are
    checked against K; labels on a GPU are not, because reading them would stall it.

    Raises
    ------
    TypeError
        If x is not a float32 or float64 array, or the labels are not integers.
    ValueError
        If the shapes do not fit together, a label is not in 0..K-1, or ``smoothing`` is not in [0, 1].

    References
    ----------
    Label smoothing: Szegedy et al., CVPR 2016.
    """
    N, _ = check_loss(x, labels, smoothing)
    xp = array_module(x, labels)
    high = x.max(1, keepdims=True)
    log_p = x - high - xp.log(xp.exp(x - high).sum(1, keepdims=True))
    loss = -(1 - smoothing) * log_p[xp.arange(N), labels].mean()
    return loss - smoothing * log_p.mean() if smoothing else loss  # 0 · log 0 is NaN


@harmless_underflow
def softmax_cross_entropy_backward(dL: Array, x: Array, labels: Array, *, smoothing: float = 0.0) -> Array:
    """Return dx = dL (p - q) / N: the predicted minus the target distribution.     dL, 0-d or a number -> dx (N, K)."""
    N, K = check_loss(x, labels, smoothing, dL)
    xp = array_module(dL, x, labels)
    at_label = (labels[:, None] == xp.arange(K)).astype(x.dtype)
    return dL * ((softmax(x) - (1 - smoothing) * at_label - smoothing / K) / N)


def check_loss(x: Array, labels: Array, smoothing: float, dL: Array = 1.0) -> tuple[int, int]:
    """Return (N, K), the shape of the logits, after checking the arguments of ``softmax_cross_entropy`` and dL.

    Raises
    ------
    TypeError
        If an array has the wrong dtype.
    ValueError
        If a shape, a label or ``smoothing`` does not fit.
    """
    N, K = check("x: N K", x)
    if not 0 <= smoothing <= 1:
        raise ValueError(f"smoothing is {smoothing}; expected 0 <= smoothing <= 1")
    if getattr(getattr(labels, "dtype", None), "kind", "?") not in "iu":
        raise TypeError(f"labels have type {getattr(labels, 'dtype', type(labels).__name__)}; expected integers")
    if type(labels) is not np.ndarray:
        check_plain("labels", labels)
    if labels.shape != (N,):
        raise ValueError(f"labels have shape {labels.shape}; expected (N,) = ({N},), one for each row of x")
    if on_host(labels) and not ((labels >= 0) & (labels < K)).all():
        wrong = int(np.argmax((labels < 0) | (labels >= K)))
        raise ValueError(f"labels[{wrong}] is {labels[wrong]}; expected 0 to {K - 1}, because x has {K} columns")
    if hasattr(dL, "dtype"):
        check_array("dL", dL, "()")
    if getattr(dL, "ndim", 0):
        raise ValueError(f"dL has shape {dL.shape}; expected a number or a 0-d array")
    return N, K
