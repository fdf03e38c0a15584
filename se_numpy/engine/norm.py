"""Batch normalisation in pieces, which compute statistics and their gradients inside the passes of a convolution.

The equations are those of ``ops.norm``. Once the sums over a batch have been combined from the partial sums of its
blocks, they reduce to a few values per channel: y = a x + c forward, dx = a (dy + b x + c) backward.
"""

import math
from typing import NamedTuple

import numpy as np

from se_numpy.arrays import Array, array_module
from se_numpy.engine import cuda
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
    return Part(n, partial_moments(x), image_sums(x) if by_image else None)


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
    count, means, squares = moments[0]
    if len(moments) > 1:  # only on the host
        count = np.concatenate([np.full((len(p.mean), 1), p.count) for p in moments])
        means, squares = np.concatenate([p.mean for p in moments]), np.concatenate([p.squares for p in moments])
    m = math.prod(shape[:-1])
    # Chan, Golub and LeVeque, 1983: exact, and without the cancellation in E[x²] - E[x]²
    mean = (count * means).sum(0) / m
    d = means - mean
    var = (squares + count * d * d).sum(0) / m
    mean, var = mean.astype(means.dtype, copy=False), var.astype(means.dtype, copy=False)
    return mean, var, unbiased(var, m), *scale_and_shift(mean, var, gamma, beta, eps)


def statistics(
    x: Array, gamma: Array, beta: Array, eps: float, *, single: bool = False
) -> tuple[Array, Array, Array, Array, Array]:
    """Return what ``finalize_moments`` does for maps x (N, ..., C), in one launch on a GPU."""
    if not cuda.has_kernels(array_module(x), x, gamma, beta):
        return finalize_moments(parts_of(x), x.shape, gamma, beta, eps, single=single)
    return moments(x, gamma, beta, eps, by_image=False, single=single)[1]


def moments(
    x: Array, gamma: Array, beta: Array, eps: float, *, by_image: bool, single: bool = False
) -> tuple[Array | None, tuple[Array, ...]]:
    """Return the sums by image in parts (N, parts, C), or None, and ``statistics``, in one launch on a GPU."""
    if not single:
        check_spread(x.shape)
    *of_image, mean, var, unbiased, a, c = cuda.sums(
        "moments", (x,), (gamma, beta, eps), by_image=by_image, finish=True
    )
    return of_image[0] if by_image else None, (mean, var, unbiased, a, c)


def squeezed(parts: list[Part], shape: tuple[int, ...], a: Array | None, c: Array) -> tuple[Array, Array]:
    """Return the mean of U over the pixels of each image (N, C), and that of a U + c, which is the squeeze z (N, C)."""
    images = _of_images([(part.n, part.images) for part in parts], shape) / math.prod(shape[1:-1])
    return images, (images if a is None else a * images) + c


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


def masked_gradient_sums(
    dy: Array, X: AffineMaps, mask: Array | None, extra: Array | None, *, by_image: bool | None = None
) -> tuple[Array, ...]:
    """On a GPU, add ``extra`` to dy and set it to 0 where ``mask`` is not positive, both in place; return its sums.

    These are, by image, Σ dy and Σ dy (x - mean) in parts (N, parts, C), or else the a, a b, a c of the gradient
    a (dy + b x + c), dgamma and dbeta, all (C,). One launch, unless there is ``extra`` without ``mask``.
    """
    by_image = X.by_image if by_image is None else by_image
    name: str = "gradient_sums"
    maps: tuple[Array, ...] = (dy, X.x)
    if mask is None and extra is not None:
        X.xp.add(dy, extra, out=dy)
    elif mask is not None:
        name = "masked_gradient_sums" if extra is None else "masked_gradient_sums_of_sum"
        maps = (dy, X.x, mask) if extra is None else (dy, X.x, mask, extra)
    return cuda.sums(name, maps, X.statistics or (), by_image=by_image, finish=not by_image)


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
    if cuda.has_kernels(array_module(dy), dy, x, mean, var, gamma):
        a, ab, ac, dgamma, dbeta = cuda.sums("gradient_sums", (dy, x), (mean, var, gamma, eps), finish=True)
        return (AffineMaps(dy, a, x, ab, ac) if of_batch else AffineMaps(dy, a)).write(), dgamma, dbeta
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
