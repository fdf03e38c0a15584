"""Running statistics: how what a batch shows moves what evaluation will use."""

from se_numpy.arrays import Array

MOMENTUM = 0.1  # the weight of the new, PyTorch's default


def unbiased(var: Array, m: int) -> Array:
    """Return var · m / (m - 1), for a variance over m numbers about their own mean (Bessel).       var (C,) -> (C,)"""
    return var * (m / max(m - 1, 1))


def update_running(running: Array, batch: Array, *, momentum: float = MOMENTUM) -> None:
    """Move running ← (1 - momentum) running + momentum · batch, in place.                           both of one shape

    ``batch`` holds means, and variances made ``unbiased``.  The only function here that writes to its argument.

    Raises ValueError where the shapes differ.
    """
    if batch.shape != running.shape:
        raise ValueError(f"batch has shape {batch.shape}; expected the shape of running, {running.shape}")
    running += momentum * (batch - running)
