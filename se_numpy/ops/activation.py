"""Functions of one number at a time: δ and σ of Eq. (3), tanh, and dropout."""

from se_numpy.arrays import Array, array_module, check_plain, harmless_underflow
from se_numpy.shapes import check


def relu(x: Array) -> Array:
    """δ(x) = max(x, 0).                                                                   x of any shape -> the same

    Raises TypeError for something that is not an array of float32 or float64.
    """
    check("x: ...", x)
    return array_module(x).maximum(x, 0)


def relu_backward(dy: Array, x: Array) -> Array:
    """dx = dy · [x > 0], and 0 at x = 0.  x may also be relu's own result.                         dy, x: one shape"""
    check("x: ..., dy: ...", x, dy)
    return array_module(dy, x).where(x > 0, dy, dy.dtype.type(0))  # not dy * (x > 0): that is NaN where dy is infinite


@harmless_underflow
def sigmoid(x: Array) -> Array:
    """σ(x) = 1 / (1 + e⁻ˣ), without overflow at either end.                               x of any shape -> the same

    Raises TypeError for something that is not an array of float32 or float64.
    """
    check("x: ...", x)
    xp = array_module(x)
    e = xp.exp(xp.where(x.real >= 0, -x, x))  # e^-|x|, at most 1; x.real for derivatives by a complex step
    return xp.where(x.real >= 0, 1, e) / (1 + e)


@harmless_underflow
def sigmoid_backward(dy: Array, x: Array) -> Array:
    """dx = dy σ'(x),  σ' = σ (1 - σ) = e⁻ˣ / (1 + e⁻ˣ)², even in x.                                dy, x: one shape"""
    check("x: ..., dy: ...", x, dy)
    xp = array_module(dy, x)
    e = xp.exp(xp.where(x.real >= 0, -x, x))
    return dy * (e / ((1 + e) * (1 + e)))


def tanh(x: Array) -> Array:
    """tanh x = (eˣ - e⁻ˣ) / (eˣ + e⁻ˣ).                                                   x of any shape -> the same

    Raises TypeError for something that is not an array of float32 or float64.
    """
    check("x: ...", x)
    return array_module(x).tanh(x)


def tanh_backward(dy: Array, x: Array) -> Array:
    """dx = dy tanh'(x),  tanh' = 1 - tanh².                                                        dy, x: one shape"""
    check("x: ..., dy: ...", x, dy)
    y = array_module(dy, x).tanh(x)
    return dy * ((1 - y) * (1 + y))


def dropout(x: Array, mask: Array, *, p: float) -> Array:
    """y = x · mask / (1 - p): what survives is scaled up, so that the expectation stays.      x, mask: one shape

    ``mask`` is boolean, False (with probability p) where a number is dropped; the caller draws and keeps it.

    Raises TypeError for a mask that is not boolean, ValueError for one of another shape or unless 0 <= p < 1.
    Source: Srivastava et al., JMLR 2014, in the inverted form of the frameworks.
    """
    check("x: ...", x)
    if getattr(getattr(mask, "dtype", None), "kind", "") != "b":
        raise TypeError(f"mask is {getattr(mask, 'dtype', type(mask).__name__)}; expected an array of bool")
    check_plain("mask", mask)
    if mask.shape != x.shape:
        raise ValueError(f"mask has shape {mask.shape}; expected the shape of x, {x.shape}")
    if not 0 <= p < 1:
        raise ValueError(f"p is {p}; expected a probability of dropping, 0 <= p < 1")
    return array_module(x, mask).where(mask, x * x.dtype.type(1 / (1 - p)), x.dtype.type(0))


def dropout_backward(dy: Array, x: Array, mask: Array, *, p: float) -> Array:
    """dx = dy · mask / (1 - p): the same mask and the same scale once more.                  dy, x, mask: one shape"""
    check("x: ..., dy: ...", x, dy)
    return dropout(dy, mask, p=p)
