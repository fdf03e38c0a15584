"""Elementwise functions: the ReLU δ and the sigmoid σ of Eq. (3), tanh, and dropout."""

from se_numpy.arrays import Array, array_module, check_plain, harmless_underflow
from se_numpy.shapes import check


def relu(x: Array) -> Array:
    """Return δ(x) = max(x, 0).                                                                      x -> y, same shape.

    Raises
    ------
    TypeError
        If an argument is not a float32 or float64 array.
    """
    check("x: ...", x)
    return array_module(x).maximum(x, 0)


def relu_backward(dy: Array, x: Array) -> Array:
    """Return dx = dy where x > 0, and 0 elsewhere.  x may also be the output of relu.       dy, x -> dx, same shape."""
    check("x: ..., dy: ...", x, dy)
    return array_module(dy, x).where(x > 0, dy, dy.dtype.type(0))  # dy * (x > 0) would be NaN where dy is infinite


@harmless_underflow
def sigmoid(x: Array) -> Array:
    """Return σ(x) = 1 / (1 + e⁻ˣ), without overflow for any x.                                      x -> s, same shape.

    Raises
    ------
    TypeError
        If an argument is not a float32 or float64 array.
    """
    check("x: ...", x)
    xp = array_module(x)
    e = xp.exp(xp.where(x.real >= 0, -x, x))  # e^-|x|, at most 1; x.real because a complex step makes x complex
    return xp.where(x.real >= 0, 1, e) / (1 + e)


@harmless_underflow
def sigmoid_backward(dy: Array, x: Array) -> Array:
    """Return dx = dy σ'(x), where σ' = σ (1 - σ) = e⁻ˣ / (1 + e⁻ˣ)², an even function.      dy, x -> dx, same shape."""
    check("x: ..., dy: ...", x, dy)
    xp = array_module(dy, x)
    e = xp.exp(xp.where(x.real >= 0, -x, x))
    return dy * (e / ((1 + e) * (1 + e)))


def tanh(x: Array) -> Array:
    """Return tanh(x) = (eˣ - e⁻ˣ) / (eˣ + e⁻ˣ).                                                     x -> y, same shape.

    Raises
    ------
    TypeError
        If an argument is not a float32 or float64 array.
    """
    check("x: ...", x)
    return array_module(x).tanh(x)


def tanh_backward(dy: Array, x: Array) -> Array:
    """Return dx = dy tanh'(x), where tanh' = 1 - tanh².                                     dy, x -> dx, same shape."""
    check("x: ..., dy: ...", x, dy)
    y = array_module(dy, x).tanh(x)
    return dy * ((1 - y) * (1 + y))


def dropout(x: Array, mask: Array, *, p: float) -> Array:
    """Return y = x · mask / (1 - p), whose expectation over the masks is x.                   x, mask -> y, same shape.

    ``mask`` is boolean, and False with probability p. The caller draws it and keeps it for the backward pass.

    Raises
    ------
    TypeError
        If x is not a float32 or float64 array, or the mask is not boolean.
    ValueError
        If the shapes differ, or if p is not in [0, 1).

    References
    ----------
    Srivastava et al., JMLR 2014; scaled in training rather than in evaluation, as frameworks do today.
    """
    check("x: ...", x)
    if getattr(getattr(mask, "dtype", None), "kind", "") != "b":
        raise TypeError(f"mask has type {getattr(mask, 'dtype', type(mask).__name__)}; expected a boolean array")
    check_plain("mask", mask)
    if mask.shape != x.shape:
        raise ValueError(f"mask has shape {mask.shape}; expected {x.shape}, the shape of x")
    if not 0 <= p < 1:
        raise ValueError(f"p is {p}; expected the probability of dropping a value, 0 <= p < 1")
    return array_module(x, mask).where(mask, x * x.dtype.type(1 / (1 - p)), x.dtype.type(0))


def dropout_backward(dy: Array, x: Array, mask: Array, *, p: float) -> Array:
    """Return dx = dy · mask / (1 - p), with the mask of the forward pass.             dy, x, mask -> dx, same shape."""
    check("x: ..., dy: ...", x, dy)
    return dropout(dy, mask, p=p)
