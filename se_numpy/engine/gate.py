"""The gate of a fused convolution: Eq. (3) and its backward pass, in steps that take one launch each on a GPU.

The maps before the gate, a U + c, are never written. Everything ``se`` computes from them is computed here from a, c
and sums that are already known, in arrays no larger than (N, C). The formulas are those of ``se``, with h = δ(W1 z)
cached.
"""

from typing import Any

from se_numpy.arrays import Array, array_module
from se_numpy.engine.cuda import cuda_kernel
from se_numpy.ops import relu_backward, sigmoid
from se_numpy.tree import Tree


def excite(z: Array, a: Array, c: Array, W1: Array, W2: Array, b1: Any = 0, b2: Any = 0) -> tuple[Array, ...]:
    """Compute Eq. (3), and the factor and shift of s (a U + c).  Return h (N, C/r), s, s a and s c (N, C)."""
    xp, (R, C) = array_module(z), W1.shape
    h = xp.empty((len(z), R), z.dtype)
    _hidden(z, W1, b1, R, C, h)
    s, sa, sc = (xp.empty_like(z) for _ in range(3))
    _gates(h, W2, b2, a, c, R, C, s, sa, sc)
    return h, s, sa, sc


def excite_backward(
    sum_dy: Array, sum_dyx: Array, z: Array, h: Array, s: Array, images: Array,
    mean: Array, a: Array, beta: Array, pixels: int, params: Tree,
) -> tuple[Tree, Array, Array, Array]:  # fmt: skip
    """Return the gate's gradients, given Σ dy and Σ dy (U - mean) for each image, dy being the gradient after the gate.

    Returns the gradients of the weights, ``shift``, where s dy + shift is the gradient of a U + c, and the two sums of
    that gradient; all but the first have shape (N, C).
    """
    W1, W2 = params["W1"], params["W2"]
    R, C = W1.shape
    da2 = _through_gates(sum_dy, sum_dyx, a, beta, s)
    da1 = _through_hidden(da2, W2, h, R, C)
    shift, sum_dv, sum_dvx = _through_squeeze(da1, W1, s, sum_dy, sum_dyx, images, mean, R, C, pixels)
    grads = {"W1": da1.T @ z, "W2": da2.T @ h}
    grads.update({b: d.sum(0) for b, d in (("b1", da1), ("b2", da2)) if b in params})
    return grads, shift, sum_dv, sum_dvx


@cuda_kernel("excite_hidden")
def _hidden(z: Array, W1: Array, b1: Any, R: int, C: int, h: Array) -> None:
    """Compute h = δ(W1 z + b1)."""
    array_module(z).maximum(z @ W1.T + b1, 0, out=h)


@cuda_kernel("excite_gates")
def _gates(
    h: Array, W2: Array, b2: Any, a: Array, c: Array, R: int, C: int, s: Array, sa: Array, sc: Array
) -> None:  # fmt: skip
    """Compute s = σ(W2 h + b2), s a and s c."""
    s[...] = sigmoid(h @ W2.T + b2)
    xp = array_module(s)
    xp.multiply(s, a, out=sa)
    xp.multiply(s, c, out=sc)


@cuda_kernel("through_gates")
def _through_gates(sum_dy: Array, sum_dyx: Array, a: Array, beta: Array, s: Array) -> Array:
    """Compute ds = Σ dy (a U + c), using a mean + c = beta, and multiply it by σ' = s (1 - s)."""
    return (a * sum_dyx + beta * sum_dy) * s * (1 - s)


@cuda_kernel("through_hidden")
def _through_hidden(da2: Array, W2: Array, h: Array, R: int, C: int) -> Array:
    return relu_backward(da2 @ W2, h)


@cuda_kernel("through_squeeze")
def _through_squeeze(
    da1: Array,
    W1: Array,
    s: Array,
    sum_dy: Array,
    sum_dyx: Array,
    images: Array,
    mean: Array,
    R: int,
    C: int,
    pixels: int,
) -> tuple[Array, Array, Array]:
    """Return ``shift`` and, by image, Σ dv and Σ dv (U - mean), dv = s dy + shift being the gradient of a U + c."""
    dz = da1 @ W1
    return dz / pixels, s * sum_dy + dz, s * sum_dyx + dz * (images - mean)
