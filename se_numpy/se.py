"""The Squeeze-and-Excitation block: Hu et al., Eqs. (2) to (5).

The letters are the paper's; a batch of N images stands in front of its H x W x C.

    U        (N, H, W, C)  feature maps, as the convolutions of Eq. (1) left them
    z        (N, C)        squeeze: what each channel holds, averaged over the image
    s        (N, C)        excitation: one gate between 0 and 1 for each channel
    X_tilde  (N, H, W, C)  the feature maps again, every channel scaled by its gate
    W1       (C/r, C)      brings C channels down to C/r; r is the reduction ratio
    W2       (C, C/r)      and back up to C

Eq. (3) has no biases, and neither have these functions unless they are given some: b1 (C/r,) and b2 (C,), as in the
authors' released networks. Without them the paper found the dependencies between channels easier to model (section 6).

dU means ∂L/∂U and has the shape of U. Below each f stands f_backward: the gradient of f's result, then the arguments
of f, give one gradient for each of those, in order.
"""

from collections.abc import Iterable

from se_numpy.arrays import Array, array_module, harmless_underflow
from se_numpy.ops.activation import relu, relu_backward, sigmoid, sigmoid_backward, tanh, tanh_backward
from se_numpy.ops.linear import linear, linear_backward
from se_numpy.shapes import check


class _Gates(dict):
    """Functions and their gradients by name; an unknown name is told which there are."""

    def __missing__(self, gate: object) -> None:
        raise ValueError(f"the gate is {gate!r}; expected one of {', '.join(self)}")


GATES = _Gates({  # Table 12: what may stand where Eq. (3) has σ
    "sigmoid": (sigmoid, sigmoid_backward),
    "tanh": (tanh, tanh_backward),
    "relu": (relu, relu_backward),
})  # fmt: skip


def squeeze(U: Array) -> Array:
    """Eq. (2): z_c = 1/(HW) Σ_i Σ_j u_c(i, j).                                         U (N, H, W, C) -> z (N, C)

    The sum is taken in float64.  Raises ValueError or TypeError for something that is not maps of float32 or float64.
    """
    check("U: N H W C", U)
    xp = array_module(U)
    return U.mean((1, 2), dtype=xp.result_type(U, xp.float64)).astype(U.dtype)


def squeeze_backward(dz: Array, U: Array) -> Array:
    """Every pixel has an equal share, 1/(HW).             dz (N, C), U (N, H, W, C) -> dU (N, H, W, C), read-only"""
    _, H, W, _ = check("U: N H W C, dz: N C", U, dz)
    return array_module(dz, U).broadcast_to(dz[:, None, None, :] / (H * W), U.shape)


def excite(
    z: Array, W1: Array, W2: Array, b1: Array | None = None, b2: Array | None = None, *, gate: str = "sigmoid"
) -> Array:
    """Eq. (3): s = σ(W2 δ(W1 z)).                 z (N, C), W1 (C/r, C), W2 (C, C/r), b1, b2 or none -> s (N, C)

    ``gate`` names another function where σ stands: "tanh" or "relu" (Table 12).
    Raises ValueError or TypeError, naming the argument, where shapes or dtypes do not fit.
    """
    check("z: N C, W1: C/r C, W2: C C/r, b1: C/r, b2: C", z, W1, W2, b1, b2)
    sigma, _ = GATES[gate]
    return sigma(linear(relu(linear(z, W1, b1)), W2, b2))


@harmless_underflow
def excite_backward(
    ds: Array, z: Array, W1: Array, W2: Array, b1: Array | None = None, b2: Array | None = None, *,
    gate: str = "sigmoid",
) -> tuple[Array, ...]:  # fmt: skip
    """The gradients, from σ inwards.            -> dz (N, C), dW1 (C/r, C), dW2 (C, C/r), and db1, db2 where given"""
    check("z: N C, W1: C/r C, W2: C C/r, b1: C/r, b2: C, ds: N C", z, W1, W2, b1, b2, ds)
    _, sigma_backward = GATES[gate]
    a1 = linear(z, W1, b1)                           # (N, C/r)  computed again, not remembered:
    h = relu(a1)                                     # (N, C/r)  two small products are cheaper to
    a2 = linear(h, W2, b2)                           # (N, C)    repeat than three arrays to keep

    da2 = sigma_backward(ds, a2)                     # (N, C)
    dh, dW2, *db2 = linear_backward(da2, h, W2, b2)  # (N, C/r)
    da1 = relu_backward(dh, a1)                      # (N, C/r)
    dz, dW1, *db1 = linear_backward(da1, z, W1, b1)  # (N, C)
    return (dz, dW1, dW2, *db1, *db2)


@harmless_underflow
def scale(U: Array, s: Array) -> Array:
    """Eq. (4): x̃_c = s_c u_c.                                   U (N, H, W, C), s (N, C) -> X_tilde (N, H, W, C)

    Raises ValueError or TypeError, naming the argument, where shapes or dtypes do not fit.
    """
    check("U: N H W C, s: N C", U, s)
    return U * s[:, None, None, :]


@harmless_underflow
def scale_backward(dX_tilde: Array, U: Array, s: Array) -> tuple[Array, Array]:
    """Each factor's gradient holds the other; all pixels of a channel shared its s.   -> dU (N, H, W, C), ds (N, C)"""
    check("U: N H W C, s: N C, dX_tilde: N H W C", U, s, dX_tilde)
    xp = array_module(dX_tilde, U, s)
    products = dX_tilde * U
    ds = products.sum((1, 2), dtype=xp.result_type(products, xp.float64)).astype(products.dtype)
    return dX_tilde * s[:, None, None, :], ds


def se_block(U: Array, W1: Array, W2: Array, b1: Array | None = None, b2: Array | None = None) -> Array:
    """Eqs. (2), (3), (4) in a row.                                           U (N, H, W, C) -> X_tilde (N, H, W, C)

    Raises ValueError or TypeError, naming the argument, where shapes or dtypes do not fit.
    """
    return scale(U, excite(squeeze(U), W1, W2, b1, b2))


def se_block_backward(
    dX_tilde: Array, U: Array, W1: Array, W2: Array, b1: Array | None = None, b2: Array | None = None
) -> tuple[Array, ...]:
    """The block read from its last line up.    -> dU (N, H, W, C), dW1 (C/r, C), dW2 (C, C/r), and db1, db2 if given"""
    z = squeeze(U)
    s = excite(z, W1, W2, b1, b2)
    dU, ds = scale_backward(dX_tilde, U, s)
    dz, *dW = excite_backward(ds, z, W1, W2, b1, b2)
    dU = dU + squeeze_backward(dz, U)  # U was used twice: scaled, and squeezed into the gates that scale it
    return (dU, *dW)


def hidden_units(C: int, r: float) -> int:
    """C/r rounded down, the width between W1 and W2.  Raises ValueError where nothing would be left of it."""
    if not r > 0:
        raise ValueError(f"the reduction ratio r is {r}; expected a positive number")
    if r > C:
        raise ValueError(f"{C} channels with reduction ratio r = {r} leave no hidden unit; expected r <= {C}")
    return int(C // r)


def added_parameters(stages: Iterable[tuple[int, int]], r: float) -> int:
    """Eq. (5): (2/r) Σ_s N_s C_s²; ``stages`` holds (N_s, C_s), blocks and channels of each stage s.  Without biases.

    Where r does not divide C_s the block has C_s // r hidden units, and so it is counted: 2 N_s C_s (C_s // r).
    """
    return sum(2 * N_s * C_s * hidden_units(C_s, r) for N_s, C_s in stages)
