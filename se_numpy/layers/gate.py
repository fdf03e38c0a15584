"""A link's gate: Eq. (3) and its way back, in functions that are one launch each on a GPU.

The maps behind the gate are a U + c, which nobody wrote down. What ``se`` says of them is said here of U, a, c and sums
that the link has anyway; nothing is larger than (N, C). The formulas are those of ``se``, with h = δ(W1 z) kept.
"""

from typing import Any

from se_numpy.backend import Array, array_module, one_launch
from se_numpy.ops.activation import relu_backward, sigmoid
from se_numpy.tree import Tree


def excite(z: Array, a: Array, c: Array, W1: Array, W2: Array, b1: Any = 0, b2: Any = 0) -> tuple[Array, ...]:
    """Eq. (3), and what it makes of a U + c:                                   -> h (N, C/r), s, s a, s c (N, C)"""
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
    """From Σ dy and Σ dy (U - mean) of each image, dy behind the gate, to dW1, dW2, and what the link goes on with.

    That is ``shift``, for s dy + shift is the gradient of a U + c, and that gradient's two sums; all (N, C).
    """
    W1, W2 = params["W1"], params["W2"]
    R, C = W1.shape
    da2 = _through_gates(of_dy, of_dyx, a, beta, s)
    da1 = _through_hidden(da2, W2, h, R, C)
    shift, of_dv, of_dvx = _through_squeeze(da1, W1, s, of_dy, of_dyx, images, mean, R, C, pixels)
    grads = {"W1": da1.T @ z, "W2": da2.T @ h}
    grads.update({b: d.sum(0) for b, d in (("b1", da1), ("b2", da2)) if b in params})
    return grads, shift, of_dv, of_dvx


@one_launch(
    "raw T z, raw T W1, T b1, int32 R, int32 C",
    "T h",
    """
    T sum = b1;
    for (int k = 0; k < C; ++k) sum += z[i / R * C + k] * W1[i % R * C + k];
    h = sum < 0 ? (T)0 : sum
    """,
)
def _hidden(z: Array, W1: Array, b1: Any, R: int, C: int, h: Array) -> None:
    """h = δ(W1 z + b1)."""
    array_module(z).maximum(z @ W1.T + b1, 0, out=h)


@one_launch(
    "raw T h, raw T W2, T b2, T a, T c, int32 R, int32 C",
    "T s, T sa, T sc",
    """
    T sum = b2;
    for (int j = 0; j < R; ++j) sum += h[i / C * R + j] * W2[i % C * R + j];
    T e = exp(sum < 0 ? sum : -sum);
    s = (sum < 0 ? e : (T)1) / (1 + e);
    sa = s * a;
    sc = s * c
    """,
)
def _gates(
    h: Array, W2: Array, b2: Any, a: Array, c: Array, R: int, C: int, s: Array, sa: Array, sc: Array
) -> None:  # fmt: skip
    """s = σ(W2 h + b2), times a and times c."""
    s[...] = sigmoid(h @ W2.T + b2)
    xp = array_module(s)
    xp.multiply(s, a, out=sa)
    xp.multiply(s, c, out=sc)


@one_launch("T of_dy, T of_dyx, T a, T beta, T s", "T da2", "da2 = (a * of_dyx + beta * of_dy) * s * (1 - s)")
def _through_gates(of_dy: Array, of_dyx: Array, a: Array, beta: Array, s: Array) -> Array:
    """ds = Σ dy (a U + c), where a mean + c = beta; then σ' = s (1 - s)."""
    return (a * of_dyx + beta * of_dy) * s * (1 - s)


@one_launch(
    "raw T da2, raw T W2, T h, int32 R, int32 C",
    "T da1",
    """
    T sum = 0;
    for (int k = 0; k < C; ++k) sum += da2[i / R * C + k] * W2[k * R + i % R];
    da1 = h > 0 ? sum : (T)0
    """,
)
def _through_hidden(da2: Array, W2: Array, h: Array, R: int, C: int) -> Array:
    return relu_backward(da2 @ W2, h)


@one_launch(
    "raw T da1, raw T W1, T s, T of_dy, T of_dyx, T images, T mean, int32 R, int32 C, float64 pixels",
    "T shift, T of_dv, T of_dvx",
    """
    T dz = 0;
    for (int j = 0; j < R; ++j) dz += da1[i / C * R + j] * W1[j * C + i % C];
    shift = dz / pixels;
    of_dv = s * of_dy + dz;
    of_dvx = s * of_dyx + dz * (images - mean)
    """,
)
def _through_squeeze(
    da1: Array, W1: Array, s: Array, of_dy: Array, of_dyx: Array, images: Array, mean: Array,
    R: int, C: int, pixels: int,
) -> tuple[Array, Array, Array]:
    """dv = s dy + shift is the gradient of the maps before the gate; its sums and those of dv (U - mean), by image."""
    dz = da1 @ W1
    return dz / pixels, s * of_dy + dz, s * of_dyx + dz * (images - mean)
