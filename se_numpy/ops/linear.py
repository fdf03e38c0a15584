"""The fully connected layer: a matrix product, as in the classifier and in Eq. (3)."""

from se_numpy.backend import Array
from se_numpy.shapes import check


def linear(x: Array, W: Array, b: Array | None = None) -> Array:
    """y = W x + b for each row of a batch.                    x (N, D), W (K, D), b (K,) or none -> y (N, K)"""
    _check(x, W, b)
    return x @ W.T if b is None else x @ W.T + b


def linear_backward(dy: Array, x: Array, W: Array, b: Array | None = None) -> tuple[Array, ...]:
    """Each row of x pulls W towards it by dy.      dy (N, K) -> dx (N, D), dW (K, D), and db (K,) where b is given"""
    _check(x, W, b)
    check("x: N D, W: K D, dy: N K", x, W, dy)
    dx, dW = dy @ W, dy.T @ x
    return (dx, dW) if b is None else (dx, dW, dy.sum(0))


def _check(x: Array, W: Array, b: Array | None) -> None:
    check("x: N D, W: K D", x, W)
    if b is not None:
        check("W: K D, b: K", W, b)
