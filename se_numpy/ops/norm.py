"""Batch normalisation (Ioffe and Szegedy, ICML 2015), split where its paper splits it.

    x            (..., C)   usually (N, H, W, C); statistics run over all axes but the last
    mean, var    (C,)       of this batch while training, of the past (running) afterwards
    gamma, beta  (C,)       the scale and the shift that are learned

Training is ``normalize(x, *batch_statistics(x), gamma, beta)``, evaluation the same ``normalize`` with the running
statistics: no equation carries a flag, and only ``update_running`` changes anything.

Conventions, PyTorch's: eps = 1e-5 stands under the root; the batch is normalised by its biased variance (divided by m),
the running variance collects the unbiased one (divided by m - 1); momentum 0.1 is the weight of the new.
"""

import math
from typing import Any, NamedTuple

import numpy as np

from se_numpy.backend import (
    Array,
    Blend,
    affine,
    array_module,
    column_line,
    image_sums,
    one_launch,
    over_blocks,
    product_sums,
    row_sums,
    square_sums,
)
from se_numpy.shapes import check, check_like

EPS = 1e-5
MOMENTUM = 0.1


def batch_statistics(x: Array) -> tuple[Array, Array]:
    """mean_c = 1/m Σ x_c,  var_c = 1/m Σ (x_c - mean_c)²,  m = x.size / C.               x (N, ..., C) -> (C,), (C,)"""
    N, _ = _check(x)
    parts = over_blocks(
        array_module(x), lambda n: moments_of_block(x[n], n, by_image=False), N, 3 * x[0].nbytes
    )  # fmt: skip
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
    dbeta, dgamma = (part.sum(0) for part in sums(dy, x, mean))
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
    of_dy, of_dyx = sums(dy, x, mean)
    m = x.size // x.shape[-1]
    a, b, c, dgamma, dbeta = batch_norm_slope(of_dy, of_dyx, mean, var, gamma, len(of_dy), m, eps)
    return Blend(dy, a, x, a * b, a * c).write(), dgamma, dbeta


# ------------------------------------------- in parts, for whoever has a block in the cache anyway or sums of his own


class Moments(NamedTuple):
    """What one pass over maps learns: mean (C,) and variance (C,) by channel, and, if asked for, each image's mean."""

    mean: Array
    var: Array
    images: Array | None  # (N, C)


def moments_of_block(x: Array, n: slice, *, by_image: bool) -> tuple[Any, ...]:
    """A block's part in the moments; x (n, ..., C) holds the images n, or some rows of them.

    Each of the sums that ``row_sums`` takes is centred on its own mean while the block is in the cache.
    """
    total, count = row_sums(x)
    of_images = None
    if by_image:  # on a GPU that is what the sums are of anyway
        of_images = total if len(total) == len(x) and array_module(x) is not np else image_sums(x)
    return n, count, total, square_sums(x, total, count), of_images


def moments(parts: list[tuple[Any, ...]], shape: tuple[int, ...]) -> Moments:
    """The blocks' parts put together."""
    ones = _like(parts[0][2])
    return moments_and_scale(parts, shape, ones, ones, 1.0)[0]


def moments_and_scale(
    parts: list[tuple[Any, ...]], shape: tuple[int, ...], gamma: Array, beta: Array, eps: float
) -> tuple[Moments, Array, Array]:
    """``moments``, and the ``scale_and_shift`` they lead to."""
    count = parts[0][1]
    if len(parts) > 1:
        count = np.concatenate([np.full((len(total), 1), count) for _, count, total, _, _ in parts])
    total, squares = (_joined([p[k] for p in parts]) for k in (2, 3))
    mean, var, a, c = _merged(total, squares, gamma, beta, len(total), count, math.prod(shape[:-1]), eps)
    images = None if parts[0][4] is None else by_image([(p[0], p[4]) for p in parts], shape)
    return Moments(mean, var, images), a, c


@one_launch(
    "raw T total, raw T squares, T gamma, T beta, int32 groups, float64 count, float64 m, float64 eps",
    "T mean, T var, T a, T c",
    """
    double sum = 0, square = 0;
    for (int g = 0; g < groups; ++g) sum += total[g * _ind.size() + i];
    for (int g = 0; g < groups; ++g) {
        double d = total[g * _ind.size() + i] / count - sum / m;
        square += squares[g * _ind.size() + i] + count * d * d;
    }
    mean = sum / m;
    var = square / m;
    a = gamma / sqrt(var + (T)eps);
    c = beta - mean * a
    """,
)
def _merged(
    total: Array, squares: Array, gamma: Array, beta: Array, groups: int, count: Any, m: int, eps: float
) -> tuple[Array, Array, Array, Array]:
    """Mean and variance (C,) from sums and centred squares (groups, C) of ``count`` numbers each, m in all; a and c.

    Exactly (Chan, Golub and LeVeque, 1983), and without the cancellation of E[x²] - E[x]².
    """
    mean = total.sum(0) / m
    d = total / count - mean
    var = (squares + count * d * d).sum(0) / m
    mean, var = mean.astype(total.dtype, copy=False), var.astype(total.dtype, copy=False)
    return mean, var, *scale_and_shift(mean, var, gamma, beta, eps)


def sums(dy: Array, x: Array, mean: Array, *, by_image: bool = False) -> tuple[Array, Array]:
    """Σ dy and Σ dy (x - mean), in one pass: (G, C), (G, C), parts of the sums by channel; or (N, C), of each image."""
    centre = column_line(mean, x)
    parts = over_blocks(
        array_module(dy, x, mean),
        lambda n: sums_of_block(dy[n], x[n], centre, n, by_image=by_image), len(x), 3 * x[0].nbytes,
    )  # fmt: skip
    return merged_sums(parts, x.shape)


def sums_of_block(dy: Array, x: Array, centre: Array, n: slice, *, by_image: bool) -> tuple[Any, ...]:
    """A block's part in the sums; dy and x (n, ..., C) hold the images n, or some rows of them."""
    of_dy = image_sums(dy) if by_image else row_sums(dy)[0]
    return n, by_image, of_dy, product_sums(dy, x, centre, by_image=by_image)


def merged_sums(parts: list[tuple[Any, ...]], shape: tuple[int, ...]) -> tuple[Array, Array]:
    """The blocks' parts put together, for maps of this shape."""
    if parts[0][1]:
        return _of_images([(p[0], p[2]) for p in parts], shape), _of_images([(p[0], p[3]) for p in parts], shape)
    return _joined([p[2] for p in parts]), _joined([p[3] for p in parts])


@one_launch(
    "T mean, T var, T gamma, T beta, float64 eps",
    "T a, T c",
    "a = gamma / sqrt(var + (T)eps); c = beta - mean * a",
)
def scale_and_shift(mean: Array, var: Array, gamma: Array, beta: Array, eps: float) -> tuple[Array, Array]:
    """y = a x + c, what ``normalize`` comes down to.                                            all (C,) -> a, c"""
    a = gamma / array_module(var).sqrt(var + eps)
    return a, beta - mean * a


@one_launch(
    "raw T of_dy, raw T of_dyx, T mean, T var, T gamma, int32 groups, float64 m, float64 eps",
    "T a, T b, T c, T dgamma, T dbeta",
    """
    double sum = 0, product = 0;
    for (int g = 0; g < groups; ++g) {
        sum += of_dy[g * _ind.size() + i];
        product += of_dyx[g * _ind.size() + i];
    }
    T root = 1 / sqrt(var + (T)eps);
    dbeta = sum;
    dgamma = product * root;
    a = gamma * root;
    b = -root * dgamma / m;
    c = -dbeta / m - b * mean
    """,
)
def batch_norm_slope(
    of_dy: Array, of_dyx: Array, mean: Array, var: Array, gamma: Array, groups: int, m: int, eps: float
) -> tuple[Array, Array, Array, Array, Array]:
    """dx = a (dy + b x + c), what ``batch_norm_backward`` comes down to once Σ dy and Σ dy (x - mean) are known.

    The sums in parts (groups, C), all others (C,) -> a, b, c, dgamma, dbeta
    """
    root = 1 / array_module(var).sqrt(var + eps)
    dbeta, dgamma = of_dy.sum(0), of_dyx.sum(0) * root
    b = -root * dgamma / m
    return gamma * root, b, -dbeta / m - b * mean, dgamma, dbeta


def by_image(parts: list[tuple[slice, Array]], shape: tuple[int, ...]) -> Array:
    """The mean over each image's pixels, (N, C), of what the blocks know of their images."""
    return _of_images(parts, shape) / math.prod(shape[1:-1])


def _of_images(parts: list[tuple[slice, Array]], shape: tuple[int, ...]) -> Array:
    """The blocks' image sums in one array (N, C); of an image in several blocks, the sum."""
    if len(parts) == 1:
        total = parts[0][1]
    else:
        total = np.zeros((shape[0], shape[-1]), parts[0][1].dtype)  # several blocks: we are on the host
        for n, of_images in parts:
            total[n] += of_images
    return total


def _joined(arrays: list[Array]) -> Array:
    return arrays[0] if len(arrays) == 1 else np.concatenate(arrays)


def _like(x: Array) -> Array:
    """Something of the shape (C,) of x (..., C): a view."""
    return x.reshape(-1, x.shape[-1])[0]


def update_running(
    running_mean: Array, running_var: Array, mean: Array, var: Array, m: int, *, momentum: float = MOMENTUM
) -> None:
    """running ← (1 - momentum) running + momentum · batch, in place; the variance made unbiased by m / (m - 1).

    ``m`` is how many numbers each mean was taken over, N·H·W.
    """
    _move(mean, var, momentum, m / max(m - 1, 1), running_mean, running_var)


@one_launch(
    "T mean, T var, float64 momentum, float64 unbiased",
    "T running_mean, T running_var",
    """
    running_mean = (1 - momentum) * running_mean + momentum * mean;
    running_var = (1 - momentum) * running_var + momentum * unbiased * var
    """,
)
def _move(
    mean: Array, var: Array, momentum: float, unbiased: float, running_mean: Array, running_var: Array
) -> None:  # fmt: skip
    running_mean *= 1 - momentum
    running_mean += momentum * mean
    running_var *= 1 - momentum
    running_var += momentum * unbiased * var


def _check(x: Array, **vectors: Array) -> tuple[int, int]:
    """(N, C) of x (N, ..., C), after a look at the vectors."""
    if getattr(x, "ndim", 2) < 2:
        raise ValueError(f"x has shape {x.shape}; expected (N, ..., C), at least two axes")
    check("x: N ...", x)
    for name, v in vectors.items():
        check(f"x: C, {name}: C", x.shape[-1:], v)
    return len(x), x.shape[-1]
