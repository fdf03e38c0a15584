"""The fully connected layer: the matrix product of the classifier and of Eq. (3)."""

from se_numpy.arrays import Array
from se_numpy.shapes import check


def linear(x: Array, W: Array, b: Array | None = None) -> Array:
    """Return y = W x + b for each row x of the batch.                   x (N, D), W (K, D), b (K,) or None -> y (N, K).

    Raises
    ------
    TypeError
        If an argument is not a float32 or float64 array.
    ValueError
        If the shapes do not fit together.
    """
    check("x: N D, W: K D, b: K", x, W, b)
    return x @ W.T if b is None else x @ W.T + b


def linear_backward(dy: Array, x: Array, W: Array, b: Array | None = None) -> tuple[Array, ...]:
    """Return dx = dy W, dW = dyᵀ x and, if b is given, db = Σ_n dy_n.                       dy (N, K) -> dx, dW, db."""
    check("x: N D, W: K D, b: K, dy: N K", x, W, b, dy)
    dx, dW = dy @ W, dy.T @ x
    return (dx, dW) if b is None else (dx, dW, dy.sum(0))
