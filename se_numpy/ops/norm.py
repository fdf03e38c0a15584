"""Batch normalisation (Ioffe and Szegedy, ICML 2015), split where its paper splits it.

    x            (N, ..., C)  usually (N, H, W, C); statistics run over all axes but the last
    mean, var    (C,)         of this batch while training, of the past (running) afterwards
    gamma, beta  (C,)         the scale and the shift that are learned

Training is ``batch_norm``: ``normalize`` by the batch's own statistics. Evaluation is the same ``normalize`` by the
running ones, which ``layers.update_running`` moves. No equation carries a flag.

Conventions, PyTorch's: eps = 1e-5 stands under the root; the batch is normalised by its biased variance (divided by m).
Sums over the batch are taken in float64 whatever x is: in float32 a mean over 131,000 pixels loses four digits.
"""

from se_numpy.arrays import Array, array_module, harmless_underflow
from se_numpy.shapes import check

EPS = 1e-5


@harmless_underflow
def batch_statistics(x: Array) -> tuple[Array, Array]:
    """mean_c = 1/m Σ x_c,  var_c = 1/m Σ (x_c - mean_c)²,  m = x.size / C.               x (N, ..., C) -> (C,), (C,)

    Raises ValueError or TypeError for something that is not an array of at least two axes, of float32 or float64.
    """
    check("x: N ... C", x)
    xp, axes = array_module(x), tuple(range(x.ndim - 1))
    wide = xp.result_type(x, xp.float64)
    mean = x.mean(axes, dtype=wide).astype(x.dtype)
    var = ((x - mean) ** 2).mean(axes, dtype=wide).astype(x.dtype)
    return mean, var


def batch_statistics_backward(dmean: Array, dvar: Array, x: Array) -> Array:
    """dx = (dmean + 2 (x - mean) dvar) / m: each number has a share in both.     dmean, dvar (C,) -> dx (N, ..., C)"""
    check("x: N ... C, dmean: C, dvar: C", x, dmean, dvar)
    mean, _ = batch_statistics(x)
    return (dmean + 2 * (x - mean) * dvar) / (x.size // x.shape[-1])


def normalize(x: Array, mean: Array, var: Array, gamma: Array, beta: Array, *, eps: float = EPS) -> Array:
    """y = gamma (x - mean) / √(var + eps) + beta.         x (N, ..., C); mean, var, gamma, beta (C,) -> y (N, ..., C)

    Raises ValueError or TypeError, naming the argument, where shapes or dtypes do not fit.
    """
    check("x: N ... C, mean: C, var: C, gamma: C, beta: C", x, mean, var, gamma, beta)
    x_hat = (x - mean) / array_module(x, var).sqrt(var + eps)
    return gamma * x_hat + beta


@harmless_underflow
def normalize_backward(
    dy: Array, x: Array, mean: Array, var: Array, gamma: Array, beta: Array, *, eps: float = EPS
) -> tuple[Array, Array, Array, Array, Array]:
    """mean and var are constants to x here.        -> dx (N, ..., C), dmean (C,), dvar (C,), dgamma (C,), dbeta (C,)"""
    check("x: N ... C, mean: C, var: C, gamma: C, beta: C, dy: N ... C", x, mean, var, gamma, beta, dy)
    xp, axes = array_module(dy, x), tuple(range(x.ndim - 1))
    dtype, wide, root = xp.result_type(dy, x), xp.result_type(dy, x, xp.float64), xp.sqrt(var + eps)
    dbeta = dy.sum(axes, dtype=wide).astype(dtype)
    dgamma = (dy * (x - mean) / root).sum(axes, dtype=wide).astype(dtype)
    return gamma / root * dy, -gamma / root * dbeta, -gamma * dgamma / (2 * root**2), dgamma, dbeta


def batch_norm(x: Array, gamma: Array, beta: Array, *, eps: float = EPS) -> Array:
    """y = gamma (x - mean) / √(var + eps) + beta, mean and var those of x.      x (N, ..., C), gamma, beta (C,) -> y

    Raises ValueError or TypeError, naming the argument, where shapes or dtypes do not fit.
    """
    mean, var = batch_statistics(x)
    return normalize(x, mean, var, gamma, beta, eps=eps)


@harmless_underflow
def batch_norm_backward(
    dy: Array, x: Array, gamma: Array, beta: Array, *, eps: float = EPS
) -> tuple[Array, Array, Array]:
    """dx = gamma / √(var + eps) · (dy - ⟨dy⟩ - x̂ ⟨dy x̂⟩),  ⟨·⟩ the mean over the batch.   -> dx, dgamma, dbeta (C,)"""
    check("x: N ... C, gamma: C, beta: C, dy: N ... C", x, gamma, beta, dy)
    xp, axes, m = array_module(dy, x), tuple(range(x.ndim - 1)), x.size // x.shape[-1]
    dtype, wide = xp.result_type(dy, x), xp.result_type(dy, x, xp.float64)
    mean, var = batch_statistics(x)
    x_hat = (x - mean) / xp.sqrt(var + eps)
    dgamma = (dy * x_hat).sum(axes, dtype=wide).astype(dtype)
    dbeta = dy.sum(axes, dtype=wide).astype(dtype)
    dx = gamma / xp.sqrt(var + eps) * (dy - dbeta / m - x_hat * (dgamma / m))
    return dx, dgamma, dbeta
