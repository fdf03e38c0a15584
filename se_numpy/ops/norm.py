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
    slope_sums,
    spread,
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
    return moments(parts, x.shape)


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


class Part(NamedTuple):
    """A block's part in the moments of maps: the images it is of, how their numbers spread, and the images' sums."""

    n: slice
    spread: Any  # Spread, or None where only the images are asked for
    images: Array | None


def moments_of_block(x: Array, n: slice, *, by_image: bool) -> Part:
    """Of x (n, ..., C), which holds the images n, or some rows of them, while it is in the cache."""
    part = spread(x, by_image=by_image)
    if not by_image:
        return Part(n, part, None)
    return Part(n, part, image_sums(x) if part.off is None else part.off)


def moments(parts: list[Part], shape: tuple[int, ...]) -> tuple[Array, Array]:
    """mean (C,) and var (C,), the blocks' parts put together."""
    pivot = parts[0].spread.pivot
    ones = pivot.reshape(-1, pivot.shape[-1])[0]  # anything of the shape (C,)
    mean, var, *_ = moments_and_scale(parts, shape, ones, ones, 1.0)
    return mean, var


def moments_and_scale(
    parts: list[Part], shape: tuple[int, ...], gamma: Array, beta: Array, eps: float
) -> tuple[Array, Array, Array, Array, Array]:
    """``moments``, var ``unbiased``, and the ``scale_and_shift`` they lead to.     -> mean, var, unbiased, a, c"""
    spreads = [part.spread for part in parts]
    count, pivot, off, squares = spreads[0]
    if len(parts) > 1:  # on the host, where off is None
        count = np.concatenate([np.full((len(p.pivot), 1), p.count) for p in spreads])
        pivot, squares = np.concatenate([p.pivot for p in spreads]), np.concatenate([p.squares for p in spreads])
    m = math.prod(shape[:-1])
    if off is None:
        return _merged(count, pivot, squares, gamma, beta, m, eps)
    return _merged_off(pivot, off, squares, gamma, beta, len(pivot), count, m, eps)


def _merged(
    count: Any, mean_: Array, squares: Array, gamma: Array, beta: Array, m: int, eps: float
) -> tuple[Array, Array, Array, Array, Array]:
    """The same from groups' means and centred squares (G, C) of ``count`` numbers each, m in all.

    Exactly (Chan, Golub and LeVeque, 1983), and without the cancellation of E[x²] - E[x]².
    """
    mean = (count * mean_).sum(0) / m
    d = mean_ - mean
    var = (squares + count * d * d).sum(0) / m
    mean, var = mean.astype(mean_.dtype, copy=False), var.astype(mean_.dtype, copy=False)
    return mean, var, unbiased(var, m), *scale_and_shift(mean, var, gamma, beta, eps)


@one_launch(
    "raw T pivot, raw T off, raw T squares, T gamma, T beta, int32 groups, float64 count, float64 m, float64 eps",
    "T mean, T var, T unbiased, T a, T c",
    """
    double sum = 0, square = 0;
    #pragma unroll 8
    for (int g = 0; g < groups; ++g) sum += count * pivot[g * _ind.size() + i] + off[g * _ind.size() + i];
    #pragma unroll 8
    for (int g = 0; g < groups; ++g) {
        double e = off[g * _ind.size() + i] / count, d = pivot[g * _ind.size() + i] + e - sum / m;
        square += squares[g * _ind.size() + i] + count * (d * d - e * e);
    }
    mean = sum / m;
    var = square / m;
    unbiased = square / (m > 1 ? m - 1 : m);
    a = gamma / sqrt(var + (T)eps);
    c = beta - mean * a
    """,
)
def _merged_off(
    pivot: Array, off: Array, squares: Array, gamma: Array, beta: Array, groups: int, count: int, m: int, eps: float
) -> tuple[Array, Array, Array, Array, Array]:
    """As ``_merged``, for sums about pivots that are not quite the groups' means."""
    e = off / count
    return _merged(count, pivot + e, squares - count * e * e, gamma, beta, m, eps)


def squeezed(parts: list[Part], shape: tuple[int, ...], a: Array | None, c: Array) -> tuple[Array, Array]:
    """The mean over each image's pixels of U, and of a U + c, which is Eq. (2) of that.    -> (N, C), z (N, C)"""
    spread = parts[0].spread
    total = _of_images([(part.n, part.images) for part in parts], shape)
    about = 0 if spread is None or spread.off is None else spread.pivot
    return _squeezed(total, about, 1 if a is None else a, c, math.prod(shape[1:-1]))


@one_launch(
    "T total, T about, T a, T c, float64 pixels",
    "T images, T z",
    "images = total / pixels + about; z = a * images + c",
)
def _squeezed(total: Array, about: Array | int, a: Array | int, c: Array, pixels: int) -> tuple[Array, Array]:
    images = total / pixels + about
    return images, a * images + c


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
    return n, by_image, *slope_sums(dy, x, centre, by_image=by_image)


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
    #pragma unroll 8
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


def _of_images(parts: list[tuple[slice, Array]], shape: tuple[int, ...]) -> Array:
    """The blocks' image sums in one array (N, C); of an image in several blocks, the sum."""
    if len(parts) == 1:
        return parts[0][1]
    total = np.zeros((shape[0], shape[-1]), parts[0][1].dtype)  # several blocks: we are on the host
    for n, of_images in parts:
        total[n] += of_images
    return total


def _joined(arrays: list[Array]) -> Array:
    return arrays[0] if len(arrays) == 1 else np.concatenate(arrays)


def unbiased(var: Array, m: int) -> Array:
    """var · m / (m - 1), for a variance over m numbers about their own mean (Bessel).             var (C,) -> (C,)"""
    return var * (m / max(m - 1, 1))


def update_running(running: Array, batch: Array, *, momentum: float = MOMENTUM) -> None:
    """running ← (1 - momentum) running + momentum · batch, in place.                              both of one shape

    ``batch`` holds means, and variances made ``unbiased``.
    """
    check_like("batch", batch, "running", running.shape)
    _move(batch, momentum, running)


@one_launch("T batch, float64 momentum", "T running", "running += (T)momentum * (batch - running)")
def _move(batch: Array, momentum: float, running: Array) -> None:
    running += momentum * (batch - running)


def _check(x: Array, **vectors: Array) -> tuple[int, int]:
    """(N, C) of x (N, ..., C), after a look at the vectors."""
    if getattr(x, "ndim", 2) < 2:
        raise ValueError(f"x has shape {x.shape}; expected (N, ..., C), at least two axes")
    check("x: N ...", x)
    for name, v in vectors.items():
        check(f"x: C, {name}: C", x.shape[-1:], v)
    return len(x), x.shape[-1]
