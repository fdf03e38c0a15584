"""The gate of a fused convolution: Eq. (3) and its backward pass, without the maps before the gate.

These maps, a U + c, are never written. Everything ``se`` computes from them is computed here from a, c and sums that
are already known, in arrays no larger than (N, C). The formulas are those of ``se``, with h = δ(W1 z) cached. On a GPU
each pass is one launch, which starts from the sums of each image in parts (N, parts, C).
"""

from typing import Any, NamedTuple

from se_numpy.arrays import Array, array_module
from se_numpy.engine import cuda
from se_numpy.engine.sums import batch_sum
from se_numpy.ops import relu_backward, sigmoid
from se_numpy.tree import Tree


class GateCache(NamedTuple):
    """The results of Eqs. (2) and (3), the mean of U over each image, and the factor s a of U."""

    images: Array  # (N, C)
    z: Array  # (N, C)
    h: Array  # (N, C/r)
    s: Array  # (N, C)
    sa: Array  # (N, C)


def excite(
    images: Array, z: Array, a: Any, c: Array, W1: Array, W2: Array, b1: Any = 0, b2: Any = 0
) -> tuple[GateCache, Array]:
    """Compute Eq. (3), and the factor and shift of s (a U + c).  Return the cache and the shift s c (N, C)."""
    h = array_module(z).maximum(z @ W1.T + b1, 0)
    s = sigmoid(h @ W2.T + b2)
    return GateCache(images, z, h, s, s * a), s * c


def squeeze_and_excite(
    of_image: Array, a: Any, c: Array, pixels: int, W1: Array, W2: Array, b1: Any = 0, b2: Any = 0
) -> tuple[GateCache, Array]:
    """Do what ``excite`` does in one launch, given the sums of U over each image."""
    arrays = of_image, a, c, W1, W2, b1, b2, pixels
    images, z, h, s, sa, sc = cuda.image_kernel("gates", arrays, len(W1), of_image.shape[1])
    return GateCache(images, z, h, s, sa), sc


def excite_backward(
    sum_dy: Array, sum_dyx: Array, cache: GateCache, mean: Array, a: Array, beta: Array, pixels: int, params: Tree
) -> tuple[Tree, Array, Array, Array]:
    """Return the gate's gradients, given Σ dy and Σ dy (U - mean) for each image, dy being the gradient after the gate.

    Returns the gradients of the weights, ``shift``, where s dy + shift is the gradient of a U + c, and the two sums of
    that gradient; all but the first have shape (N, C).
    """
    _, z, h, s, _ = cache
    da2 = (a * sum_dyx + beta * sum_dy) * s * (1 - s)  # a mean + c = beta, so this is Σ dy (a U + c) σ'
    da1 = relu_backward(da2 @ params["W2"], h)
    dz = da1 @ params["W1"]
    sums = s * sum_dy + dz, s * sum_dyx + dz * (cache.images - mean)
    return _weight_gradients(da1, da2, z, h, params), dz / pixels, *sums


def excite_backward_in_one_launch(
    of_dy: Array, of_dyx: Array, cache: GateCache, mean: Array, a: Array, beta: Array, pixels: int, params: Tree
) -> tuple[Tree, Array, Array, Array]:
    """Do what ``excite_backward`` does, given the sums of each image; ``shift`` is multiplied by a."""
    images, z, h, s, _ = cache
    arrays = of_dy, of_dyx, h, s, images, params["W1"], params["W2"], a, beta, mean, pixels
    da1, da2, *rest = cuda.image_kernel("through_gates", arrays, h.shape[1], of_dy.shape[1])
    return _weight_gradients(da1, da2, z, h, params), *rest


def _weight_gradients(da1: Array, da2: Array, z: Array, h: Array, params: Tree) -> Tree:
    grads = {"W1": da1.T @ z, "W2": da2.T @ h}
    grads.update({b: batch_sum(d) for b, d in (("b1", da1), ("b2", da2)) if b in params})
    return grads
