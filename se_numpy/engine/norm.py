"""Batch normalisation in pieces, which compute statistics and their gradients inside the passes of a convolution.

The equations are those of ``ops.norm``. Once the sums over a batch have been combined from the partial sums of its
blocks, they reduce to a few values per channel: y = a x + c forward, dx = a (dy + b x + c) backward.
"""

import math
from typing import Any, NamedTuple

import numpy as np

from se_numpy.arrays import Array, array_module
from se_numpy.engine.affine_maps import AffineMaps
from se_numpy.engine.cuda import cuda_kernel
from se_numpy.engine.parallel import parallel_for
from se_numpy.engine.sums import (
    PartialMoments,
    bn_grad_sums_of_block,
    concatenate,
    image_sums,
    partial_moments,
    tile_row,
)
from se_numpy.layers.running import check_spread, unbiased


class Part(NamedTuple):
    """A block's contribution to the moments of maps: its images, its partial moments, and its sums by image."""

    n: slice
    moments: PartialMoments | None  # None if only the sums by image are needed
    images: Array | None


def part_of_block(x: Array, n: slice, *, by_image: bool) -> Part:
    """Return the contribution of x (n, ..., C), the images n or some of their rows, while x is in the cache."""
    part = partial_moments(x, by_image=by_image)
    if not by_image:
        return Part(n, part, None)
    return Part(n, part, image_sums(x) if part.off is None else part.off)


def parts_of(x: Array) -> list[Part]:
    """Return the contributions of all blocks of x (N, ..., C)."""
    moved = 3 * x[0].nbytes
    return parallel_for(array_module(x), lambda n: part_of_block(x[n], n, by_image=False), len(x), moved)


def finalize_moments(
    parts: list[Part], shape: tuple[int, ...], gamma: Array, beta: Array, eps: float, *, single: bool = False
) -> tuple[Array, Array, Array, Array, Array]:
    """Return mean, var, the unbiased var, and the a and c of y = a x + c, all (C,), from the parts of all blocks.

    Raises
    ------
    ValueError
        If there is only 1 value per channel and ``single`` is False; the layer needs more, the equation does not.
    """
    if not single:
        check_spread(shape)
    moments = [part.moments for part in parts if part.moments is not None]
    count, pivot, off, squares = moments[0]
    if len(moments) > 1:  # only on the host, where off is None
        count = np.concatenate([np.full((len(p.pivot), 1), p.count) for p in moments])
        pivot, squares = np.concatenate([p.pivot for p in moments]), np.concatenate([p.squares for p in moments])
    m = math.prod(shape[:-1])
    if off is None:
        return _finalize(count, pivot, squares, gamma, beta, m, eps)
    return _finalize_about(pivot, off, squares, gamma, beta, len(pivot), count, m, eps)


def _finalize(
    count: Any, mean_: Array, squares: Array, gamma: Array, beta: Array, m: int, eps: float
) -> tuple[Array, Array, Array, Array, Array]:
    """Combine the means and the sums of squared deviations (G, C) of groups of ``count`` values each, m in all.

    The formula (Chan, Golub and LeVeque, 1983) is exact and avoids the cancellation in E[x²] - E[x]².
    """
    mean = (count * mean_).sum(0) / m
    d = mean_ - mean
    var = (squares + count * d * d).sum(0) / m
    mean, var = mean.astype(mean_.dtype, copy=False), var.astype(mean_.dtype, copy=False)
    return mean, var, unbiased(var, m), *scale_and_shift(mean, var, gamma, beta, eps)


@cuda_kernel("finalize_moments")
def _finalize_about(
    pivot: Array, off: Array, squares: Array, gamma: Array, beta: Array, groups: int, count: int, m: int, eps: float
) -> tuple[Array, Array, Array, Array, Array]:
    """Combine sums about pivots that are only close to the groups' means, in the same way."""
    e = off / count
    return _finalize(count, pivot + e, squares - count * e * e, gamma, beta, m, eps)


def squeezed(parts: list[Part], shape: tuple[int, ...], a: Array | None, c: Array) -> tuple[Array, Array]:
    """Return the mean of U over the pixels of each image (N, C), and that of a U + c, which is the squeeze z (N, C)."""
    moments = parts[0].moments
    total = _of_images([(part.n, part.images) for part in parts], shape)
    about = 0 if moments is None or moments.off is None else moments.pivot
    return _squeezed(total, about, 1 if a is None else a, c, math.prod(shape[1:-1]))


@cuda_kernel("squeezed")
def _squeezed(total: Array, about: Array | int, a: Array | int, c: Array, pixels: int) -> tuple[Array, Array]:
    images = total / pixels + about
    return images, a * images + c


class BNGradSums(NamedTuple):
    """Σ dy and Σ dy (x - mean): (G, C), partial sums by channel, or (N, C), sums by image."""

    sum_dy: Array
    sum_dyx: Array


class BNGradPart(NamedTuple):
    """A block's contribution to BNGradSums, by image or by channel."""

    n: slice
    by_image: bool
    sum_dy: Array
    sum_dyx: Array


def bn_grad_part(dy: Array, x: Array, centre: Array, n: slice, *, by_image: bool) -> BNGradPart:
    """Return the contribution of a block; dy and x (n, ..., C) hold the images n or some of their rows."""
    return BNGradPart(n, by_image, *bn_grad_sums_of_block(dy, x, centre, by_image=by_image))


def bn_grad_sums(dy: Array, x: Array, mean: Array, *, by_image: bool = False) -> BNGradSums:
    """Return the sums over a whole batch, computed in one pass."""
    centre = tile_row(mean, x)
    parts = parallel_for(
        array_module(dy, x, mean),
        lambda n: bn_grad_part(dy[n], x[n], centre, n, by_image=by_image), len(x), 3 * x[0].nbytes,
    )  # fmt: skip
    return merged(parts, x.shape)


def merged(parts: list[BNGradPart], shape: tuple[int, ...]) -> BNGradSums:
    """Combine the contributions of all blocks of maps of this shape."""
    if parts[0].by_image:
        return BNGradSums(
            _of_images([(p.n, p.sum_dy) for p in parts], shape), _of_images([(p.n, p.sum_dyx) for p in parts], shape)
        )
    return BNGradSums(concatenate([p.sum_dy for p in parts]), concatenate([p.sum_dyx for p in parts]))


@cuda_kernel("scale_and_shift")
def scale_and_shift(mean: Array, var: Array, gamma: Array, beta: Array, eps: float) -> tuple[Array, Array]:
    """Return the a and c (C,) for which ``normalize`` is y = a x + c."""
    a = gamma / array_module(var).sqrt(var + eps)
    return a, beta - mean * a


@cuda_kernel("bn_grad_coefficients")
def bn_grad_coefficients(
    sum_dy: Array, sum_dyx: Array, mean: Array, var: Array, gamma: Array, groups: int, m: int, eps: float
) -> tuple[Array, Array, Array, Array, Array]:
    """Return the a, b and c for which ``batch_norm_backward`` is dx = a (dy + b x + c), and dgamma, dbeta; all (C,).

    The sums are given in parts (groups, C), everything else as (C,).
    """
    root = 1 / array_module(var).sqrt(var + eps)
    dbeta, dgamma = sum_dy.sum(0), sum_dyx.sum(0) * root
    b = -root * dgamma / m
    return gamma * root, b, -dbeta / m - b * mean, dgamma, dbeta


def batch_norm_backward_from(
    dy: Array, x: Array, mean: Array, var: Array, gamma: Array, eps: float, *, of_batch: bool
) -> tuple[Array, Array, Array]:
    """Return dx, dgamma and dbeta, given the mean and var: those of x if ``of_batch``, otherwise constants."""
    sums, m = bn_grad_sums(dy, x, mean), x.size // x.shape[-1]
    a, b, c, dgamma, dbeta = bn_grad_coefficients(*sums, mean, var, gamma, len(sums.sum_dy), m, eps)
    dx = AffineMaps(dy, a, x, a * b, a * c) if of_batch else AffineMaps(dy, a)
    return dx.write(), dgamma, dbeta


@cuda_kernel("update_running")
def move_running(batch: Array, momentum: float, running: Array) -> None:
    """Update running ← (1 - momentum) running + momentum · batch, in place."""
    running += momentum * (batch - running)


def _of_images(parts: list[tuple[slice, Array]], shape: tuple[int, ...]) -> Array:
    """Combine the sums by image of all blocks in one array (N, C); an image may be spread over several blocks."""
    if len(parts) == 1:
        return parts[0][1]
    total = np.zeros((shape[0], shape[-1]), parts[0][1].dtype)  # several blocks occur only on the host
    for n, of_images in parts:
        total[n] += of_images
    return total
