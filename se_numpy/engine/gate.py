"""The gate at the end of a fused convolution: Eq. (3) and its backward pass, in steps of one launch each on a GPU.

The maps before the gate are a U + c, which are never written. What ``se`` computes from them is computed here from U,
a, c and sums that are known anyway; nothing is larger than (N, C). The formulas are those of ``se``, with h = δ(W1 z)
kept.
"""

from typing import Any

from se_numpy.arrays import Array, array_module
from se_numpy.engine.cuda import cuda_kernel
from se_numpy.ops import relu_backward, sigmoid
from se_numpy.tree import Tree


def excite(z: Array, a: Array, c: Array, W1: Array, W2: Array, b1: Any = 0, b2: Any = 0) -> tuple[Array, ...]:
    """Return Eq. (3), and the factor and shift of s (a U + c):                 -> h (N, C/r), s, s a, s c (N, C)"""
    xp, (R, C) = array_module(z), W1.shape
    h = xp.empty((len(z), R), z.dtype)
    _hidden(z, W1, b1, R, C, h)
    s, sa, sc = (xp.empty_like(z) for _ in range(3))
    _gates(h, W2, b2, a, c, R, C, s, sa, sc)
    return h, s, sa, sc


def excite_backward(
    of_dy: Array, of_dyx: Array, z: Array, h: Array, s: Array, images: Array,
    mean: Array, a: Array, beta: Array, pixels: int, params: Tree,
) -> tuple[Tree, Array, Array, Array]:  # fmt: skip
    """Return the gate's gradients from Σ dy and Σ dy (U - mean) of each image, dy being the gradient after the gate.

    Besides dW1, dW2 (and db1, db2): ``shift``, where s dy + shift is the gradient of a U + c, and the two sums of that
    gradient; all (N, C).
    """
    W1, W2 = params["W1"], params["W2"]
    R, C = W1.shape
    da2 = _through_gates(of_dy, of_dyx, a, beta, s)
    da1 = _through_hidden(da2, W2, h, R, C)
    shift, of_dv, of_dvx = _through_squeeze(da1, W1, s, of_dy, of_dyx, images, mean, R, C, pixels)
    grads = {"W1": da1.T @ z, "W2": da2.T @ h}
    grads.update({b: d.sum(0) for b, d in (("b1", da1), ("b2", da2)) if b in params})
    return grads, shift, of_dv, of_dvx


@cuda_kernel("excite_hidden")
def _hidden(z: Array, W1: Array, b1: Any, R: int, C: int, h: Array) -> None:
    """h = δ(W1 z + b1)."""
    array_module(z).maximum(z @ W1.T + b1, 0, out=h)


@cuda_kernel("excite_gates")
def _gates(
    h: Array, W2: Array, b2: Any, a: Array, c: Array, R: int, C: int, s: Array, sa: Array, sc: Array
) -> None:  # fmt: skip
    """s = σ(W2 h + b2), times a and times c."""
    s[...] = sigmoid(h @ W2.T + b2)
    xp = array_module(s)
    xp.multiply(s, a, out=sa)
    xp.multiply(s, c, out=sc)


@cuda_kernel("through_gates")
def _through_gates(of_dy: Array, of_dyx: Array, a: Array, beta: Array, s: Array) -> Array:
    """ds = Σ dy (a U + c), where a mean + c = beta; then σ' = s (1 - s)."""
    return (a * of_dyx + beta * of_dy) * s * (1 - s)


@cuda_kernel("through_hidden")
def _through_hidden(da2: Array, W2: Array, h: Array, R: int, C: int) -> Array:
    return relu_backward(da2 @ W2, h)


@cuda_kernel("through_squeeze")
def _through_squeeze(
    da1: Array, W1: Array, s: Array, of_dy: Array, of_dyx: Array, images: Array, mean: Array,
    R: int, C: int, pixels: int,
) -> tuple[Array, Array, Array]:
    """dv = s dy + shift is the gradient of the maps before the gate; its sums and those of dv (U - mean), by image."""
    dz = da1 @ W1
    return dz / pixels, s * of_dy + dz, s * of_dyx + dz * (images - mean)
