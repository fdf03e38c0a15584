"""How work is cut into blocks and spread over threads.

Two measured facts stand behind it: a block of a few megabytes stays in the cache; one thread a core, each with a
single-threaded BLAS, is up to five times faster than BLAS's own threads beside NumPy's copies. On a GPU launches cost
more than bytes, so there is one block.
"""

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

from se_numpy.engine.blas import single_threaded_blas

T = TypeVar("T")

BLOCK_BYTES = 8 << 20  # what one block of work may touch: few calls that hold the interpreter lock, and still in the L3
WINDOW_BYTES = 3 << 20  # of these, windows of maps at a time: they are written and read at once
TWO_BLOCKS = 5 << 20  # anything smaller stays in one block: waking a second thread costs more than it saves
TWO_BLOCKS_FLOP = 10**7  # the same for products, which may move little: a tenth of a millisecond
BLOCK_FLOP = 2 * 10**8  # beyond it a block of products is cut again, for machines of more than two cores
SMALL = 1 << 19  # anything smaller is done without changing the settings
BUFFER = 2048  # numbers; shorter lanes would be copied into NumPy's buffer, which costs as much as the pass itself


def threads() -> int:
    """Return how many threads share the blocks: SE_NUMPY_THREADS if set, else the cores this process may use.

    Raises ValueError if the variable is not a positive whole number.
    """
    wanted = os.environ.get("SE_NUMPY_THREADS", "")
    if wanted and not (wanted.isdecimal() and int(wanted) > 0):
        raise ValueError(f"SE_NUMPY_THREADS is {wanted!r}; expected a positive whole number")
    if wanted:
        return int(wanted)
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def parallel_for(
    xp: ModuleType, work: Callable[[slice], T], n: int, bytes_per_item: float, flop_per_item: float = 0
) -> list[T]:
    """Return [work(slice), ...] for consecutive slices that cover range(n), spread over the threads; results in order.

    The cut depends on n, the bytes and the operations alone, not on the number of threads, so sums over the results
    come out the same on every machine of one kind. ``bytes_per_item`` is what ``work`` touches for one item. On a GPU:
    one block.
    """
    moved, flop = n * bytes_per_item, n * flop_per_item
    if xp is not np or (moved < SMALL and flop < TWO_BLOCKS_FLOP):
        return [work(slice(0, n))]
    count = max(1, min(_blocks(moved, flop), n))
    blocks = [slice(n * i // count, n * (i + 1) // count) for i in range(count)]
    helpers = min(threads(), len(blocks)) - 1
    if helpers <= 0 or _local.inside:
        with one_thread_a_core():
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

    with one_thread_a_core():
        ended: SimpleQueue[BaseException | None] = SimpleQueue()
        for _ in range(helpers):  # each in a copy of the caller's context, where NumPy keeps its settings
            _hire(helpers).put((copy_context(), labour, ended))
        try:
            labour()
        finally:
            errors = [ended.get() for _ in range(helpers)]  # waits: no thread may still write when we return
        for error in errors:
            if error is not None:
                raise error
    return results


def parallel_for_rows(
    xp: ModuleType, work: Callable[[slice, slice], T], n: int, rows: int, bytes_per_row: float, flop_per_row: float = 0
) -> list[T]:
    """Return [work(images, rows), ...] as ``parallel_for``.

    Rows are cut as well where an image is larger than a block, or where there are fewer images than blocks. Either all
    rows of some images or some rows of one image: such a slice of a contiguous array is contiguous.
    """
    moved, flop = rows * bytes_per_row, rows * flop_per_row
    bands = -(-_blocks(n * moved, n * flop) // n)
    if moved > BLOCK_BYTES:
        bands = max(bands, int(-(-moved // WINDOW_BYTES)))
    bands = min(rows, bands)
    if xp is not np or bands <= 1:
        return parallel_for(xp, lambda images: work(images, slice(0, rows)), n, moved, flop)
    some = [slice(rows * k // bands, rows * (k + 1) // bands) for k in range(bands)]
    cuts = [(slice(i, i + 1), part) for i in range(n) for part in some]
    parts = parallel_for(xp, lambda c: [work(*cut) for cut in cuts[c]], len(cuts), moved / bands, flop / bands)
    return [result for part in parts for result in part]


def _blocks(moved: float, flop: float) -> int:
    """Return how many blocks to cut work into, from its bytes and operations; an even number, for two threads."""
    count = int(max(moved // BLOCK_BYTES, flop // BLOCK_FLOP))
    return max(2, count + count % 2) if moved > TWO_BLOCKS or flop > TWO_BLOCKS_FLOP else 1


def chunks(xp: ModuleType, n: int, bytes_per_item: int) -> list[slice]:
    """Return range(n) in slices of at most WINDOW_BYTES, or of one item; on a GPU in one."""
    count = 1 if xp is not np else max(1, min(n, -(-n * bytes_per_item // WINDOW_BYTES)))
    return [slice(n * i // count, n * (i + 1) // count) for i in range(count)]


@contextmanager
def one_thread_a_core() -> Iterator[None]:
    """Set BLAS and NumPy as blocks need them; both are as they were afterwards.  Nested uses cost nothing.

    A compiled network holds this for a whole pass: OpenBLAS's own threads keep a core busy for milliseconds after a
    product that they shared, waiting for another one.
    """
    if _local.settled:
        yield
        return
    with single_threaded_blas(), np.errstate():  # errstate also restores the size of the buffer
        np.setbufsize(BUFFER)
        _local.settled = True
        try:
            yield
        finally:
            _local.settled = False


def _take(todo: deque[T]) -> T | None:
    try:
        return todo.popleft()
    except IndexError:  # empty
        return None


class _Local(threading.local):
    inside = False  # whether this thread is working on a block
    settled = False  # whether it is inside ``one_thread_a_core``


_local = _Local()
_jobs: SimpleQueue[Any] = SimpleQueue()  # its get and put wake a thread in half the time that an executor takes
_hired: list[threading.Thread] = []


def _hire(helpers: int) -> SimpleQueue[Any]:
    """Start threads until there are this many, and return the queue that they take their jobs from."""
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


def _after_fork() -> None:
    """In the child of a fork the only thread is the one that forked, and it is not working on a block."""
    global _jobs
    _hired.clear()
    _jobs = SimpleQueue()
    _local.inside = _local.settled = False


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
