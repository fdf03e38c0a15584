"""Batch normalisation (Ioffe and Szegedy, ICML 2015), split where its paper splits it.

    x            (..., C)   usually (N, H, W, C); statistics run over all axes but the last
    mean, var    (C,)       of this batch while training, of the past (running) afterwards
    gamma, beta  (C,)       the scale and the shift that are learned

Training is ``normalize(x, *batch_statistics(x), gamma, beta)``, evaluation the same ``normalize`` with the running
statistics: no equation carries a flag, and only ``update_running`` changes anything.

Conventions, PyTorch's: eps = 1e-5 stands under the root; the batch is normalised by its biased variance (divided by m),
the running variance collects the unbiased one (divided by m - 1); momentum 0.1 is the weight of the new.
"""

from typing import NamedTuple

import numpy as np

from se_numpy.backend import (
    Array,
    Blend,
    affine,
    along,
    array_module,
    channel_sum,
    image_sum,
    lines,
    over_blocks,
    scratch,
)
from se_numpy.shapes import check, check_like

EPS = 1e-5
MOMENTUM = 0.1


def batch_statistics(x: Array) -> tuple[Array, Array]:
    """mean_c = 1/m Σ x_c,  var_c = 1/m Σ (x_c - mean_c)²,  m = x.size / C.                x (N, ..., C) -> (C,), (C,)"""
    N, _ = _check(x)
    parts = over_blocks(array_module(x), lambda n: moments_of_block(x[n], n), N, 3 * x[0].nbytes)
    mean, var, _ = moments(parts, x.shape)
    return mean, var


def batch_statistics_backward(dmean: Array, dvar: Array, x: Array) -> Array:
    """dx = (dmean + 2 (x - mean) dvar) / m: each number has a share in both.     dmean, dvar (C,) -> dx (N, ..., C)"""
    _check(x, dmean=dmean, dvar=dvar)
    mean, _ = batch_statistics(x)
    m = x.size // x.shape[-1]
    return affine(x, 2 * dvar / m, (dmean - 2 * dvar * mean) / m)


def normalize(x: Array, mean: Array, var: Array, gamma: Array, beta: Array, *, eps: float = EPS) -> Array:
    """y = gamma (x - mean) / √(var + eps) + beta, as one factor and one summand a channel.

    x (N, ..., C); mean, var, gamma, beta (C,) -> y (N, ..., C).
    """
    _check(x, mean=mean, var=var, gamma=gamma, beta=beta)
    return affine(x, *scale_and_shift(mean, var, gamma, beta, eps))


def normalize_backward(
    dy: Array, x: Array, mean: Array, var: Array, gamma: Array, beta: Array, *, eps: float = EPS
) -> tuple[Array, Array, Array, Array, Array]:
    """The statistics as arguments of their own, constants of the network once it is trained.

    -> dx (N, ..., C), dmean (C,), dvar (C,), dgamma (C,), dbeta (C,)
    """
    _check(x, mean=mean, var=var, gamma=gamma, beta=beta)
    check_like("dy", dy, "x", x.shape)
    root = 1 / array_module(dy, var).sqrt(var + eps)
    dbeta, dgamma = (total.sum(0) for total in sums(dy, x, mean))
    dgamma = dgamma * root
    return affine(dy, gamma * root), -gamma * root * dbeta, -0.5 * gamma * root**2 * dgamma, dgamma, dbeta


def batch_norm_backward(
    dy: Array, x: Array, mean: Array, var: Array, gamma: Array, *, eps: float = EPS
) -> tuple[Array, Array, Array]:
    """dx = gamma / √(var + eps) · (dy - ⟨dy⟩ - x̂ ⟨dy x̂⟩),  x̂ = (x - mean) / √(var + eps),  ⟨·⟩ the mean over the batch.

    normalize_backward and batch_statistics_backward in one, for mean and var that are x's own: dy loses its mean and
    its part along x̂, for no change of those can reach y.
    -> dx (N, ..., C), dgamma (C,), dbeta (C,)
    """
    _check(x, mean=mean, var=var, gamma=gamma)
    check_like("dy", dy, "x", x.shape)
    of_dy, of_dyx = (total.sum(0) for total in sums(dy, x, mean))
    (a, b, c), dgamma, dbeta = batch_norm_slope(of_dy, of_dyx, mean, var, gamma, x.size // x.shape[-1], eps)
    return Blend(dy, a, x, b, c).write(), dgamma, dbeta


# ------------------------------------------- in parts, for whoever has a block in the cache anyway or sums of his own


class Moments(NamedTuple):
    """What one pass over maps learns: mean (C,) and variance (C,) by channel, and the means of each image (N, C)."""

    mean: Array
    var: Array
    images: Array


def moments_of_block(x: Array, n: slice) -> tuple[slice, Array, int, Array, Array]:
    """A block's part in the moments; x (n, ..., C) holds the images n, or some rows of them.

    It is centred on its own mean while it is in the cache.
    """
    of_images = image_sum(x)
    m = x.size // x.shape[-1]
    mean = of_images.sum(0) / m
    d = array_module(x).subtract(lines(x), along(x, mean), out=_scratch(x, x.dtype))
    d *= d
    return n, of_images, m, mean, channel_sum(d.reshape(x.shape))


def moments(parts: list[tuple[slice, Array, int, Array, Array]], shape: tuple[int, ...]) -> Moments:
    """The blocks' parts merged exactly (Chan, Golub and LeVeque, 1983): without the cancellation of E[x²] - E[x]²."""
    m = sum(m_b for _, _, m_b, _, _ in parts)
    images = by_image([(n, of_images) for n, of_images, _, _, _ in parts], shape[0])
    mean = images.sum(0) / m
    var = sum(squares + m_b * (mean_b - mean) ** 2 for _, _, m_b, mean_b, squares in parts) / m
    return Moments(mean, var, images / (m // shape[0]))


def sums(dy: Array, x: Array, mean: Array) -> tuple[Array, Array]:
    """Σ dy and Σ dy (x - mean) over each image's pixels, in one pass: (N, C), (N, C)."""
    parts = over_blocks(array_module(dy, x), lambda n: sums_of_block(dy[n], x[n], mean, n), len(x), 3 * x[0].nbytes)
    return merged_sums(parts, len(x))


def sums_of_block(dy: Array, x: Array, mean: Array, n: slice) -> tuple[slice, Array, Array]:
    """A block's part in the sums; dy and x (n, ..., C) hold the images n, or some rows of them."""
    xp = array_module(dy, x, mean)
    d = xp.subtract(lines(x), along(x, mean), out=_scratch(x, xp.result_type(dy, x)))
    d *= lines(dy)
    return n, image_sum(dy), image_sum(d.reshape(x.shape))


def merged_sums(parts: list[tuple[slice, Array, Array]], N: int) -> tuple[Array, Array]:
    """The blocks' parts put together: (N, C), (N, C)."""
    return by_image([(n, of_dy) for n, of_dy, _ in parts], N), by_image([(n, of_dyx) for n, _, of_dyx in parts], N)


def scale_and_shift(mean: Array, var: Array, gamma: Array, beta: Array, eps: float) -> tuple[Array, Array]:
    """y = a x + c, what ``normalize`` comes down to.                                            all (C,) -> a, c"""
    a = gamma / array_module(var).sqrt(var + eps)
    return a, beta - mean * a


def batch_norm_slope(
    of_dy: Array, of_dyx: Array, mean: Array, var: Array, gamma: Array, m: int, eps: float
) -> tuple[tuple[Array, Array, Array], Array, Array]:
    """dx = a dy + b x + c, what ``batch_norm_backward`` comes down to once Σ dy and Σ dy (x - mean) are known.

    All (C,) -> (a, b, c), dgamma, dbeta
    """
    root = 1 / array_module(var).sqrt(var + eps)
    dbeta, dgamma = of_dy, of_dyx * root
    a = gamma * root
    b = -a * root * dgamma / m
    return (a, b, -a * dbeta / m - b * mean), dgamma, dbeta


def by_image(parts: list[tuple[slice, Array]], N: int) -> Array:
    """What blocks know of their images, in one array (N, C); of an image in several blocks, the sum."""
    if len(parts) == 1:
        return parts[0][1]
    total = np.zeros((N, parts[0][1].shape[1]), parts[0][1].dtype)  # several blocks are a matter of the host
    for n, of_images in parts:
        total[n] += of_images
    return total


def _scratch(x: Array, dtype: object) -> Array:
    return scratch(array_module(x), "norm", lines(x).shape, dtype)


def update_running(
    running_mean: Array, running_var: Array, mean: Array, var: Array, m: int, *, momentum: float = MOMENTUM
) -> None:
    """running ← (1 - momentum) running + momentum · batch, in place; the variance made unbiased by m / (m - 1).

    ``m`` is how many numbers each mean was taken over, N·H·W.
    """
    running_mean *= 1 - momentum
    running_mean += momentum * mean
    running_var *= 1 - momentum
    running_var += momentum * m / max(m - 1, 1) * var


def _check(x: Array, **vectors: Array) -> tuple[int, int]:
    """(N, C) of x (N, ..., C), after a look at the vectors."""
    if getattr(x, "ndim", 2) < 2:
        raise ValueError(f"x has shape {x.shape}; expected (N, ..., C), at least two axes")
    check("x: N ...", x)
    for name, v in vectors.items():
        check(f"x: C, {name}: C", x.shape[-1:], v)
    return len(x), x.shape[-1]

