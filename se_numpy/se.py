"""The Squeeze-and-Excitation block: Hu et al., Eqs. (2) to (5).

The symbols are the paper's, with a batch axis of N images in front of H x W x C.

    U        (N, H, W, C)  feature maps, the output of the convolutions of Eq. (1)
    z        (N, C)        squeeze: the average of each channel over the image
    s        (N, C)        excitation: one gate between 0 and 1 for each channel
    X_tilde  (N, H, W, C)  the feature maps, with each channel scaled by its gate
    W1       (C/r, C)      reduces C channels to C/r, where r is the reduction ratio
    W2       (C, C/r)      restores C channels

Eq. (3) has no biases. The biases b1 (C/r,) and b2 (C,) are optional here, because the authors' released networks have
them. The paper found the dependencies between channels easier to model without biases (section 6).

dU means ∂L/∂U and has the shape of U. Each function f is followed by f_backward, which takes the gradient of the result
of f and then the arguments of f, and returns one gradient for each of these arguments, in order.
"""

from collections.abc import Callable, Iterable
from typing import NoReturn

from se_numpy.arrays import Array, array_module, harmless_underflow
from se_numpy.ops.activation import relu, relu_backward, sigmoid, sigmoid_backward, tanh, tanh_backward
from se_numpy.ops.linear import linear, linear_backward
from se_numpy.shapes import check

Function = Callable[..., Array]


class _Gates(dict[str, tuple[Function, Function]]):
    """Functions and their backward passes by name; an unknown name raises ValueError with the known names."""

    def __missing__(self, gate: object) -> NoReturn:
        raise ValueError(f"the gate is {gate!r}; expected one of {', '.join(self)}")


GATES = _Gates({  # Table 12: the choices for σ in Eq. (3)
    "sigmoid": (sigmoid, sigmoid_backward),
    "tanh": (tanh, tanh_backward),
    "relu": (relu, relu_backward),
})  # fmt: skip


def squeeze(U: Array) -> Array:
    """Eq. (2): z_c = 1/(HW) Σ_i Σ_j u_c(i, j), computed in float64.                         U (N, H, W, C) -> z (N, C).

    Raises
    ------
    TypeError
        If an argument is not a float32 or float64 array.
    ValueError
        If U does not have four axes.
    """
    check("U: N H W C", U)
    xp = array_module(U)
    return U.mean((1, 2), dtype=xp.result_type(U, xp.float64)).astype(U.dtype)


def squeeze_backward(dz: Array, U: Array) -> Array:
    """Divide dz equally among the HW pixels.                dz (N, C), U (N, H, W, C) -> dU (N, H, W, C), read-only."""
    _, H, W, _ = check("U: N H W C, dz: N C", U, dz)
    return array_module(dz, U).broadcast_to(dz[:, None, None, :] / (H * W), U.shape)


def excite(
    z: Array, W1: Array, W2: Array, b1: Array | None = None, b2: Array | None = None, *, gate: str = "sigmoid"
) -> Array:
    """Eq. (3): s = σ(W2 δ(W1 z)).                       z (N, C), W1 (C/r, C), W2 (C, C/r), b1, b2 or None -> s (N, C).

    ``gate`` selects the function σ: "sigmoid", "tanh" or "relu" (Table 12).

    Raises
    ------
    TypeError
        If an argument is not a float32 or float64 array.
    ValueError
        If the shapes do not fit together, or the gate is unknown.
    """
    check("z: N C, W1: C/r C, W2: C C/r, b1: C/r, b2: C", z, W1, W2, b1, b2)
    sigma, _ = GATES[gate]
    return sigma(linear(relu(linear(z, W1, b1)), W2, b2))


@harmless_underflow
def excite_backward(
    ds: Array, z: Array, W1: Array, W2: Array, b1: Array | None = None, b2: Array | None = None, *,
    gate: str = "sigmoid",
) -> tuple[Array, ...]:  # fmt: skip
    """Differentiate Eq. (3), from σ inwards.        -> dz (N, C), dW1 (C/r, C), dW2 (C, C/r), and db1, db2 if given."""
    check("z: N C, W1: C/r C, W2: C C/r, b1: C/r, b2: C, ds: N C", z, W1, W2, b1, b2, ds)
    _, sigma_backward = GATES[gate]
    # Recomputed, because repeating two small products is cheaper than keeping three arrays.
    a1 = linear(z, W1, b1)                           # (N, C/r)
    h = relu(a1)                                     # (N, C/r)
    a2 = linear(h, W2, b2)                           # (N, C)

    da2 = sigma_backward(ds, a2)                     # (N, C)
    dh, dW2, *db2 = linear_backward(da2, h, W2, b2)  # (N, C/r)
    da1 = relu_backward(dh, a1)                      # (N, C/r)
    dz, dW1, *db1 = linear_backward(da1, z, W1, b1)  # (N, C)
    return (dz, dW1, dW2, *db1, *db2)


@harmless_underflow
def scale(U: Array, s: Array) -> Array:
    """Eq. (4): x̃_c = s_c u_c.                                        U (N, H, W, C), s (N, C) -> X_tilde (N, H, W, C).

    Raises
    ------
    TypeError
        If an argument is not a float32 or float64 array.
    ValueError
        If the shapes do not fit together.
    """
    check("U: N H W C, s: N C", U, s)
    return U * s[:, None, None, :]


@harmless_underflow
def scale_backward(dX_tilde: Array, U: Array, s: Array) -> tuple[Array, Array]:
    """Apply the product rule, and sum ds over the pixels that share s.                -> dU (N, H, W, C), ds (N, C)."""
    check("U: N H W C, s: N C, dX_tilde: N H W C", U, s, dX_tilde)
    xp = array_module(dX_tilde, U, s)
    products = dX_tilde * U
    ds = products.sum((1, 2), dtype=xp.result_type(products, xp.float64)).astype(products.dtype)
    return dX_tilde * s[:, None, None, :], ds


def se_block(U: Array, W1: Array, W2: Array, b1: Array | None = None, b2: Array | None = None) -> Array:
    """Apply Eqs. (2), (3) and (4) in sequence.                                  U (N, H, W, C) -> X_tilde (N, H, W, C).

    Raises
    ------
    TypeError
        If an argument is not a float32 or float64 array.
    ValueError
        If the shapes do not fit together.
    """
    return scale(U, excite(squeeze(U), W1, W2, b1, b2))


def se_block_backward(
    dX_tilde: Array, U: Array, W1: Array, W2: Array, b1: Array | None = None, b2: Array | None = None
) -> tuple[Array, ...]:
    """Differentiate Eqs. (4), (3) and (2) in sequence.          -> dU (N, H, W, C), dW1, dW2, and db1, db2 if given."""
    z = squeeze(U)
    s = excite(z, W1, W2, b1, b2)
    dU, ds = scale_backward(dX_tilde, U, s)
    dz, *dW = excite_backward(ds, z, W1, W2, b1, b2)
    dU = dU + squeeze_backward(dz, U)  # U is used twice: it is scaled, and it is squeezed to compute the gates
    return (dU, *dW)


def hidden_units(C: int, r: float, divisor: int = 1) -> int:
    """Return C/r rounded down, or to the nearest positive multiple of ``divisor``, as timm does with 8.

    Raises
    ------
    ValueError
        If r or the divisor is not positive, or if r exceeds C.
    """
    if not r > 0:
        raise ValueError(f"the reduction ratio r is {r}; expected a positive number")
    if divisor < 1:
        raise ValueError(f"the divisor of the hidden units is {divisor}; expected at least 1")
    if divisor > 1:
        return max(divisor, int(C / r + divisor / 2) // divisor * divisor)
    if r > C:
        raise ValueError(f"{C} channels with reduction ratio r = {r} leave no hidden unit; expected r <= {C}")
    return int(C // r)


def added_parameters(stages: Iterable[tuple[int, int]], r: float) -> int:
    """Eq. (5): (2/r) Σ_s N_s C_s², the number of weights that the SE blocks add, without biases.

    ``stages`` holds (N_s, C_s), the number of blocks and of channels of each stage s. If r does not divide C_s, a stage
    adds 2 N_s C_s (C_s // r) weights, because its blocks have C_s // r hidden units.

    Raises
    ------
    ValueError
        If r is not positive, or if it exceeds any C_s.
    """
    return sum(2 * N_s * C_s * hidden_units(C_s, r) for N_s, C_s in stages)
