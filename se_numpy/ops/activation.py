"""Functions of one number at a time: δ and σ of Eq. (3), tanh, and dropout."""

from se_numpy.backend import Array, array_module, elementwise, masked, one_launch
from se_numpy.shapes import check, check_like


def relu(x: Array) -> Array:
    """δ(x) = max(x, 0).                                                                   any shape, and it stays"""
    xp = array_module(x)
    check("x: ...", x)
    return elementwise(lambda y, x: xp.maximum(x, 0, out=y), x)


def relu_backward(dy: Array, x: Array) -> Array:
    """dx = dy · [x > 0].                                                                           dy, x: one shape

    x may as well be relu's own result, which is positive at the same places. At x = 0 the derivative is taken as 0.
    """
    check("x: ...", x)
    check_like("dy", dy, "x", x.shape)
    return elementwise(lambda dx, dy, x: masked(dy, x, dx), dy, x)


def sigmoid(x: Array) -> Array:
    """σ(x) = 1 / (1 + e⁻ˣ), without overflow at either end.                               any shape, and it stays"""
    check("x: ...", x)
    return _sigmoid(x)


def sigmoid_backward(dy: Array, x: Array) -> Array:
    """dx = dy σ'(x),  σ' = σ (1 - σ) = σ(x) σ(-x), a form that keeps its digits near σ = 1.      dy, x: one shape"""
    check("x: ...", x)
    check_like("dy", dy, "x", x.shape)
    return _sigmoid_backward(dy, x)


def tanh(x: Array) -> Array:
    """tanh x = (eˣ - e⁻ˣ) / (eˣ + e⁻ˣ).                                                   any shape, and it stays"""
    check("x: ...", x)
    return array_module(x).tanh(x)


def tanh_backward(dy: Array, x: Array) -> Array:
    """dx = dy tanh'(x),  tanh' = 1 - tanh².                                                        dy, x: one shape"""
    check("x: ...", x)
    check_like("dy", dy, "x", x.shape)
    y = array_module(x).tanh(x)
    return dy * (1 - y) * (1 + y)


def dropout(x: Array, mask: Array, *, p: float) -> Array:
    """y = x · mask / (1 - p): what survives is scaled up, so that the expectation stays.      x, mask: one shape

    ``mask`` is boolean, False where a number is dropped; whoever draws it (with probability p of False) keeps it.
    Raises ValueError unless 0 <= p < 1.  Source: Srivastava et al., JMLR 2014, in the inverted form of the frameworks.
    """
    check("x: ...", x)
    if not 0 <= p < 1:
        raise ValueError(f"p is {p}; expected a probability of dropping, 0 <= p < 1")
    check_like("mask", mask, "x", x.shape, kinds="b")
    return x * (mask * x.dtype.type(1 / (1 - p)))


def dropout_backward(dy: Array, x: Array, mask: Array, *, p: float) -> Array:
    """dx = dy · mask / (1 - p): the same mask and the same scale once more.                  dy, x, mask: one shape"""
    check_like("dy", dy, "x", x.shape)
    return dropout(dy, mask, p=p)


@one_launch("T x", "T y", "T e = exp(x < 0 ? x : -x); y = (x < 0 ? e : (T)1) / (1 + e)")
def _sigmoid(x: Array) -> Array:
    e = _decay(x)
    return array_module(x).where(x.real >= 0, 1, e) / (1 + e)


@one_launch("T dy, T x", "T dx", "T e = exp(x < 0 ? x : -x); dx = dy * e / ((1 + e) * (1 + e))")
def _sigmoid_backward(dy: Array, x: Array) -> Array:
    e = _decay(x)
    return dy * e / ((1 + e) * (1 + e))


def _decay(x: Array) -> Array:
    """e^-|x|, at most 1."""
    xp = array_module(x)
    return xp.exp(xp.where(x.real >= 0, -x, x))
