"""Memory reuse: a working set for each thread, and a C library setting for freed memory."""

import math
import threading
from types import ModuleType
from typing import Any

import numpy as np

from se_numpy.arrays import Array

PADDED = 64  # zero-padded arrays that each thread keeps


class _Local(threading.local):
    def __init__(self) -> None:
        self.buffers: dict[str, np.ndarray] = {}
        self.padded: dict[Any, tuple[Array, Array]] = {}


_local = _Local()


def workspace(xp: ModuleType, name: str, shape: tuple[int, ...], dtype: Any) -> Array:
    """Return an array with arbitrary contents; each thread gets the same memory whenever it passes the same name.

    New memory costs a page fault for every four kilobytes, so the working set of a block is kept and reused. On a GPU,
    CuPy's memory pool already does this.
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
    """Return a workspace that is zero outside ``inside``, and a view of the inside, whose contents are arbitrary.

    On the host the zeros are written once and stay, as long as the caller writes only to the inside. A GPU's memory,
    which is scarcer, is not kept.
    """
    if xp is not np:
        array = xp.zeros(shape, dtype)
        return array, array[inside]
    key = shape, *[(part.start, part.stop) for part in inside], np.dtype(dtype)
    kept = _local.padded
    if key not in kept:
        if len(kept) >= PADDED:
            kept.clear()
        array = xp.zeros(shape, dtype)
        kept[key] = array, array[inside]
    return kept[key]


def keep_freed_memory() -> None:
    """Make the C library keep freed memory for the next step instead of returning it to the system.

    Memory that was returned costs a page fault for every four kilobytes when it is needed again: 5 % of a training
    step. Call this in programs that train. It has no effect if the C library is not glibc.
    """
    import ctypes

    M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (OSError, AttributeError, TypeError):
        return
    mallopt(M_MMAP_THRESHOLD, 32 << 20)  # the largest value that glibc accepts
    mallopt(M_TRIM_THRESHOLD, 2**31 - 1)
