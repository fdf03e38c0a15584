"""The fully connected layer: a matrix product, as in the classifier and in Eq. (3)."""

from se_numpy.arrays import Array
from se_numpy.shapes import check


def linear(x: Array, W: Array, b: Array | None = None) -> Array:
    """y = W x + b for each row of a batch.                    x (N, D), W (K, D), b (K,) or none -> y (N, K)

    Raises ValueError or TypeError, naming the argument, where shapes or dtypes do not fit.
    """
    check("x: N D, W: K D, b: K", x, W, b)
    return x @ W.T if b is None else x @ W.T + b


def linear_backward(dy: Array, x: Array, W: Array, b: Array | None = None) -> tuple[Array, ...]:
    """Each row of x pulls W towards it by dy.      dy (N, K) -> dx (N, D), dW (K, D), and db (K,) where b is given"""
    check("x: N D, W: K D, b: K, dy: N K", x, W, b, dy)
    dx, dW = dy @ W, dy.T @ x
    return (dx, dW) if b is None else (dx, dW, dy.sum(0))
