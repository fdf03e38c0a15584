"""Batch normalisation (Ioffe and Szegedy, ICML 2015): the statistics of a batch, and normalisation with them.

    x            (N, ..., C)  usually (N, H, W, C); statistics are taken over all axes but the last
    mean, var    (C,)         statistics: of the batch in training, running averages in evaluation
    gamma, beta  (C,)         the learned scale and shift

In training, ``batch_norm`` calls ``normalize`` with the statistics of the batch. In evaluation, ``normalize`` is called
with the running statistics, which ``layers.update_running`` updates. No function has a training flag.

The conventions are PyTorch's: eps = 1e-5 is added to the variance, and the batch is normalised by its biased variance
(divided by m). Sums over the batch are computed in float64 for any dtype of x, because a float32 mean over 131,000
pixels loses four digits.
"""

from se_numpy.arrays import Array, array_module, harmless_underflow
from se_numpy.shapes import check

EPS = 1e-5


@harmless_underflow
def batch_statistics(x: Array) -> tuple[Array, Array]:
    """Return mean_c = 1/m Σ x_c and var_c = 1/m Σ (x_c - mean_c)², where m = x.size / C.   x (N, ..., C) -> (C,), (C,).

    Raises
    ------
    TypeError
        If an argument is not a float32 or float64 array.
    ValueError
        If x has fewer than two axes.
    """
    check("x: N ... C", x)
    xp, axes = array_module(x), tuple(range(x.ndim - 1))
    wide = xp.result_type(x, xp.float64)
    mean = x.mean(axes, dtype=wide).astype(x.dtype)
    var = ((x - mean) ** 2).mean(axes, dtype=wide).astype(x.dtype)
    return mean, var


def batch_statistics_backward(dmean: Array, dvar: Array, x: Array) -> Array:
    """Return dx = (dmean + 2 (x - mean) dvar) / m.                dmean, dvar (C,), x (N, ..., C) -> dx (N, ..., C)."""
    check("x: N ... C, dmean: C, dvar: C", x, dmean, dvar)
    mean, _ = batch_statistics(x)
    return (dmean + 2 * (x - mean) * dvar) / (x.size // x.shape[-1])


def normalize(x: Array, mean: Array, var: Array, gamma: Array, beta: Array, *, eps: float = EPS) -> Array:
    """Return y = gamma (x - mean) / √(var + eps) + beta.   x (N, ..., C), mean, var, gamma, beta (C,) -> y (N, ..., C).

    Raises
    ------
    TypeError
        If an argument is not a float32 or float64 array.
    ValueError
        If the shapes do not fit together.
    """
    check("x: N ... C, mean: C, var: C, gamma: C, beta: C", x, mean, var, gamma, beta)
    x_hat = (x - mean) / array_module(x, var).sqrt(var + eps)
    return gamma * x_hat + beta


@harmless_underflow
def normalize_backward(
    dy: Array, x: Array, mean: Array, var: Array, gamma: Array, beta: Array, *, eps: float = EPS
) -> tuple[Array, Array, Array, Array, Array]:
    """Return the gradients, with mean and var as variables independent of x.      -> dx, dmean, dvar, dgamma, dbeta."""
    check("x: N ... C, mean: C, var: C, gamma: C, beta: C, dy: N ... C", x, mean, var, gamma, beta, dy)
    xp, axes = array_module(dy, x), tuple(range(x.ndim - 1))
    dtype, wide, root = xp.result_type(dy, x), xp.result_type(dy, x, xp.float64), xp.sqrt(var + eps)
    dbeta = dy.sum(axes, dtype=wide).astype(dtype)
    dgamma = (dy * (x - mean) / root).sum(axes, dtype=wide).astype(dtype)
    return gamma / root * dy, -gamma / root * dbeta, -gamma * dgamma / (2 * root**2), dgamma, dbeta


def batch_norm(x: Array, gamma: Array, beta: Array, *, eps: float = EPS) -> Array:
    """Return y = gamma (x - mean) / √(var + eps) + beta, with mean and var of x.  x (N, ..., C), gamma, beta (C,) -> y.

    Raises
    ------
    TypeError
        If an argument is not a float32 or float64 array.
    ValueError
        If the shapes do not fit together.
    """
    mean, var = batch_statistics(x)
    return normalize(x, mean, var, gamma, beta, eps=eps)


@harmless_underflow
def batch_norm_backward(
    dy: Array, x: Array, gamma: Array, beta: Array, *, eps: float = EPS
) -> tuple[Array, Array, Array]:
    """Return dx = gamma / √(var + eps) · (dy - ⟨dy⟩ - x̂ ⟨dy x̂⟩), where ⟨·⟩ is the batch mean.  -> dx, dgamma, dbeta."""
    check("x: N ... C, gamma: C, beta: C, dy: N ... C", x, gamma, beta, dy)
    xp, axes, m = array_module(dy, x), tuple(range(x.ndim - 1)), x.size // x.shape[-1]
    dtype, wide = xp.result_type(dy, x), xp.result_type(dy, x, xp.float64)
    mean, var = batch_statistics(x)
    x_hat = (x - mean) / xp.sqrt(var + eps)
    dgamma = (dy * x_hat).sum(axes, dtype=wide).astype(dtype)
    dbeta = dy.sum(axes, dtype=wide).astype(dtype)
    dx = gamma / xp.sqrt(var + eps) * (dy - dbeta / m - x_hat * (dgamma / m))
    return dx, dgamma, dbeta
