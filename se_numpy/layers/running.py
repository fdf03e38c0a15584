"""Running statistics: exponential averages of the statistics of the batches, used in evaluation."""

from math import prod

from se_numpy.arrays import Array
from se_numpy.shapes import check

MOMENTUM = 0.1  # the weight of the new batch, PyTorch's default


def unbiased(var: Array, m: int) -> Array:
    """Return var · m / (m - 1), the unbiased variance of m values (Bessel's correction).          var (C,) -> (C,)."""
    return var * (m / max(m - 1, 1))


def check_spread(shape: tuple[int, ...]) -> None:
    """Raise ValueError unless maps of shape (N, ..., C) have at least 2 values per channel.

    A single value minus its mean is always 0, so the layer would return beta for any input and learn nothing.
    """
    if prod(shape[:-1]) < 2:
        raise ValueError(
            f"BatchNorm got maps of shape {tuple(shape)} in training, 1 value per channel; expected at least 2: use "
            "a larger batch, larger images, or train=False, which normalises by the running statistics"
        )


def update_running(running: Array, batch: Array, *, momentum: float = MOMENTUM) -> None:
    """Set running to (1 - momentum) running + momentum · batch, in place.

    ``batch`` holds the means or the ``unbiased`` variances of a batch. No other equation modifies its arguments.

    Raises
    ------
    TypeError
        If an argument is not a float32 or float64 array.
    ValueError
        If the shapes differ.
    """
    check("running: ...", running)
    check("batch: ...", batch)
    if batch.shape != running.shape:
        raise ValueError(f"batch has shape {batch.shape}; expected {running.shape}, the shape of running")
    running += momentum * (batch - running)
