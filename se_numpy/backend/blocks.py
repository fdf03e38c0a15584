"""How work is cut into blocks and spread over threads, and the memory that blocks work in.

Three measured facts stand behind it: a block of a few megabytes stays in the cache; one thread a core, each with a
single-threaded BLAS, is up to five times faster than BLAS's own threads beside NumPy's copies; memory that is used
again costs no page faults. On a GPU launches cost more than bytes, so there is one block.
"""

import math
import os
import threading
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import copy_context
from queue import SimpleQueue
from types import ModuleType
from typing import Any, TypeVar

import numpy as np

from se_numpy.backend.arrays import Array

T = TypeVar("T")

BLOCK_BYTES = 8 << 20  # what one block of work may touch: few calls that hold the interpreter lock, and still in the L3
WINDOW_BYTES = 3 << 20  # of these, windows of maps at a time: they are written and read at once
TWO_BLOCKS = 5 << 20  # what is less stays in one block: waking a second thread costs more than it brings
SMALL = 1 << 19  # what is less is done before the settings are made
BUFFER = 2048  # numbers; lines shorter than NumPy's buffer would be copied into it, which costs as much as the pass
BORDERED = 64  # arrays with a border of zeros that each thread keeps


def threads() -> int:
    """How many threads share the blocks: SE_NUMPY_THREADS if set, else the cores this process may use."""
    wanted = os.environ.get("SE_NUMPY_THREADS", "")
    if wanted and not (wanted.isdecimal() and int(wanted) > 0):
        raise ValueError(f"SE_NUMPY_THREADS is {wanted!r}; expected a positive whole number")
    if wanted:
        return int(wanted)
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def over_blocks(xp: ModuleType, work: Callable[[slice], T], n: int, bytes_per_item: float) -> list[T]:
    """[work(slice), ...] for consecutive slices that cover range(n), spread over the threads; results in order.

    The cut depends on n and the bytes alone, not on the number of threads, so sums over the results come out the same
    on every machine of one kind. ``bytes_per_item`` is what ``work`` touches for one item. On a GPU: one block.
    """
    moved = int(n * bytes_per_item)
    if xp is not np or moved < SMALL:
        return [work(slice(0, n))]
    count = moved // BLOCK_BYTES
    if moved > TWO_BLOCKS:
        count = max(2, count + count % 2)
    count = max(1, min(count, n))
    blocks = [slice(n * i // count, n * (i + 1) // count) for i in range(count)]
    helpers = min(threads(), len(blocks)) - 1
    if helpers <= 0 or _local.__dict__.get("inside"):
        with _settings():
            return [work(block) for block in blocks]

    results: list[Any] = [None] * len(blocks)
    todo = deque(enumerate(blocks))  # each block goes to whichever thread is free; a deque is safe to share

    def labour() -> None:
        _local.inside = True
        try:
            while (next_one := _take(todo)) is not None:
                i, block = next_one
                results[i] = work(block)
        finally:
            _local.inside = False

    with _settings():
        ended: SimpleQueue[BaseException | None] = SimpleQueue()
        for _ in range(helpers):  # each in a copy of the caller's context, where NumPy keeps its settings
            _hire(helpers).put((copy_context(), labour, ended))
        try:
            labour()
        finally:
            errors = [ended.get() for _ in range(helpers)]  # waits: nobody may still write when we return
        for error in errors:
            if error is not None:
                raise error
    return results


def few(xp: ModuleType, n: int, bytes_per_item: int) -> list[slice]:
    """range(n) in slices of at most WINDOW_BYTES, or of one item; on a GPU in one."""
    count = 1 if xp is not np else max(1, min(n, -(-n * bytes_per_item // WINDOW_BYTES)))
    return [slice(n * i // count, n * (i + 1) // count) for i in range(count)]


def over_bands(xp: ModuleType, work: Callable[[slice, slice], T], n: int, rows: int, bytes_per_row: float) -> list[T]:
    """[work(images, rows), ...] as ``over_blocks``; where one image is more than a block, its rows are cut as well.

    Either all rows of some images or some rows of one image: what is sliced so out of a contiguous array stays so.
    """
    if xp is not np or rows * bytes_per_row <= BLOCK_BYTES:
        return over_blocks(xp, lambda images: work(images, slice(0, rows)), n, rows * bytes_per_row)
    bands = min(rows, -(-rows * int(bytes_per_row) // WINDOW_BYTES))
    some = [slice(rows * k // bands, rows * (k + 1) // bands) for k in range(bands)]
    cuts = [(slice(i, i + 1), part) for i in range(n) for part in some]
    parts = over_blocks(xp, lambda c: [work(*cut) for cut in cuts[c]], len(cuts), rows * bytes_per_row / bands)
    return [result for part in parts for result in part]


@contextmanager
def _settings() -> Iterator[None]:
    """BLAS and NumPy as blocks like them; both are as they were afterwards."""
    with single_threaded_blas(), np.errstate():  # errstate also restores the size of the buffer
        np.setbufsize(BUFFER)
        yield


def _take(todo: deque[T]) -> T | None:
    try:
        return todo.popleft()
    except IndexError:  # empty
        return None


class _Local(threading.local):
    """What each thread has for itself: its scratch buffers, and whether it is inside a block."""


_local = _Local()
_jobs: SimpleQueue[Any] = SimpleQueue()  # its get and put wake a thread in half the time that an executor takes
_hired: list[threading.Thread] = []


def _hire(helpers: int) -> SimpleQueue[Any]:
    """The queue that at least so many threads take their jobs from."""
    while len(_hired) < helpers:
        _hired.append(threading.Thread(target=_help, args=(_jobs,), name="se_numpy", daemon=True))
        _hired[-1].start()
    return _jobs


def _help(jobs: SimpleQueue[Any]) -> None:
    while True:
        context, labour, ended = jobs.get()
        try:
            context.run(labour)
            ended.put(None)
        except BaseException as error:
            ended.put(error)
        del context, labour, ended  # they would keep the arrays of the last job alive


def _forget_helpers() -> None:
    """In the child of a fork there are no threads but the one that forked."""
    global _jobs
    _hired.clear()
    _jobs = SimpleQueue()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_helpers)


_blas_controller: Any = None
_blas_limit: Any = None
_blas_depth = 0
_blas_lock = threading.Lock()


@contextmanager
def single_threaded_blas() -> Iterator[None]:
    """While inside, BLAS runs each product on the thread that asks for it.  Nested uses cost nothing."""
    global _blas_controller, _blas_limit, _blas_depth
    with _blas_lock:
        if _blas_depth == 0:
            if _blas_controller is None:
                from threadpoolctl import ThreadpoolController  # looks through all loaded libraries: once, when needed

                _blas_controller = ThreadpoolController().select(user_api="blas")
            _blas_limit = _blas_controller.limit(limits=1)
        _blas_depth += 1
    try:
        yield
    finally:
        with _blas_lock:
            _blas_depth -= 1
            if _blas_depth == 0:
                _blas_limit.restore_original_limits()


def scratch(xp: ModuleType, name: str, shape: tuple[int, ...], dtype: Any) -> Array:
    """An array of this shape with arbitrary contents, the same memory at every call of this thread with this name.

    Fresh memory costs a page fault every four kilobytes; a block's working set is therefore kept and reused. On a GPU
    CuPy's pool does that already.
    """
    if xp is not np:
        return xp.empty(shape, dtype)
    size = math.prod(shape) * np.dtype(dtype).itemsize
    buffers = _local.__dict__.setdefault("buffers", {})
    if name not in buffers or buffers[name].size < size:
        buffers[name] = np.empty(size, np.uint8)
    return buffers[name][:size].view(dtype).reshape(shape)


def bordered(xp: ModuleType, shape: tuple[int, ...], inside: tuple[slice, ...], dtype: Any) -> tuple[Array, Array]:
    """Scratch of this shape that is zero all around ``inside``, and its inside, whose contents are arbitrary.

    Who writes to nothing but the inside finds the zeros where they were: they are written once.
    """
    key = shape, tuple((part.start, part.stop) for part in inside), np.dtype(dtype), xp.__name__
    kept = _local.__dict__.setdefault("bordered", {})
    if key not in kept:
        if len(kept) >= BORDERED:
            kept.clear()
        array = xp.zeros(shape, dtype)
        kept[key] = array, array[inside]
    return kept[key]


def keep_freed_memory() -> None:
    """Have the C library keep what is freed for the next step, instead of giving it back to the system and paying a
    page fault for every four kilobytes of it again: 5 % of a training step.  For programs that train; where the C
    library is not glibc nothing happens.
    """
    import ctypes

    M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (OSError, AttributeError, TypeError):
        return
    mallopt(M_MMAP_THRESHOLD, 32 << 20)  # the largest that glibc accepts
    mallopt(M_TRIM_THRESHOLD, 2**31 - 1)
