"""Memory that is used again: each thread's working set, and what the C library keeps of what is freed."""

import math
import threading
from types import ModuleType
from typing import Any

import numpy as np

from se_numpy.arrays import Array

PADDED = 64  # arrays with a border of zeros that each thread keeps


class _Local(threading.local):
    def __init__(self) -> None:
        self.buffers: dict[str, np.ndarray] = {}
        self.padded: dict[Any, tuple[Array, Array]] = {}


_local = _Local()


def workspace(xp: ModuleType, name: str, shape: tuple[int, ...], dtype: Any) -> Array:
    """Return an array of this shape with arbitrary contents, the same memory at every call of this thread by this name.

    Fresh memory costs a page fault every four kilobytes, so a block's working set is kept and reused. On a GPU CuPy's
    pool does that already.
    """
    if xp is not np:
        return xp.empty(shape, dtype)
    size = math.prod(shape) * np.dtype(dtype).itemsize
    buffer = _local.buffers.get(name)
    if buffer is None or buffer.size < size:
        buffer = _local.buffers[name] = np.empty(size, np.uint8)
    return np.ndarray(shape, dtype, buffer)


def zero_padded_workspace(
    xp: ModuleType, shape: tuple[int, ...], inside: tuple[slice, ...], dtype: Any
) -> tuple[Array, Array]:
    """Return a workspace that is zero all around ``inside``, and its inside, whose contents are arbitrary.

    As long as only the inside is written to, the zeros stay where they are: they are written once.
    """
    key = shape, *[(part.start, part.stop) for part in inside], np.dtype(dtype), xp
    kept = _local.padded
    if key not in kept:
        if len(kept) >= PADDED:
            kept.clear()
        array = xp.zeros(shape, dtype)
        kept[key] = array, array[inside]
    return kept[key]


def keep_freed_memory() -> None:
    """Have the C library keep freed memory for the next step instead of returning it to the system.

    Returned memory costs a page fault for every four kilobytes of it when it is needed again: 5 % of a training step.
    For programs that train; does nothing where the C library is not glibc.
    """
    import ctypes

    M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (OSError, AttributeError, TypeError):
        return
    mallopt(M_MMAP_THRESHOLD, 32 << 20)  # the largest that glibc accepts
    mallopt(M_TRIM_THRESHOLD, 2**31 - 1)
