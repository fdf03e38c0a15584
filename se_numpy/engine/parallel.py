"""Split work into blocks and run them on several threads.

Two measurements motivate this: a block of a few megabytes stays in the cache, and one thread per core, each with a
single-threaded BLAS, is up to five times faster than multi-threaded BLAS with single-threaded NumPy copies. On a GPU
launches cost more than bytes, so all work is one block.
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

BLOCK_BYTES = 8 << 20  # per block: large enough for few calls under the GIL, small enough for the L3 cache
WINDOW_BYTES = 3 << 20  # the part for windows of maps, which are read right after they are written
TWO_BLOCKS = 5 << 20  # smaller work stays in one block: waking a second thread costs more than it saves
TWO_BLOCKS_FLOP = 10**7  # the same for products, which may move few bytes: a tenth of a millisecond
BLOCK_FLOP = 2 * 10**8  # larger blocks of products are split again, for machines with more than two cores
SMALL = 1 << 19  # smaller work is done without changing the BLAS and NumPy settings
BUFFER = 2048  # values; shorter lanes would be copied into NumPy's buffer, which costs as much as the pass itself


def threads() -> int:
    """Return the number of threads: SE_NUMPY_THREADS if set, else the number of cores this process may use.

    Raises
    ------
    ValueError
        If SE_NUMPY_THREADS is not a positive integer.
    """
    wanted = os.environ.get("SE_NUMPY_THREADS", "")
    if wanted and not (wanted.isdecimal() and int(wanted) > 0):
        raise ValueError(f"SE_NUMPY_THREADS is {wanted!r}; expected a positive integer")
    if wanted:
        return int(wanted)
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def parallel_for(
    xp: ModuleType, work: Callable[[slice], T], n: int, bytes_per_item: float, flop_per_item: float = 0
) -> list[T]:
    """Call ``work`` on consecutive slices that cover range(n), on several threads, and return the results in order.

    ``bytes_per_item`` is the number of bytes that ``work`` touches for one item. The slices depend only on n, the bytes
    and the operations, not on the number of threads, so sums over the results do not depend on it either. On a GPU
    there is one slice.
    """
    moved, flop = n * bytes_per_item, n * flop_per_item
    if xp is not np or (moved < SMALL and flop < TWO_BLOCKS_FLOP):
        return [work(slice(0, n))]
    count = max(1, min(_blocks(moved, flop), n))
    blocks = [slice(n * i // count, n * (i + 1) // count) for i in range(count)]
    helpers = min(threads(), len(blocks)) - 1
    if helpers <= 0 or _local.inside:
        with one_thread_per_core():
            return [work(block) for block in blocks]

    results: list[Any] = [None] * len(blocks)
    todo = deque(enumerate(blocks))  # the next block goes to the first free thread; a deque is thread-safe

    def run_blocks() -> None:
        _local.inside = True
        try:
            while (next_one := _next(todo)) is not None:
                i, block = next_one
                results[i] = work(block)
        finally:
            _local.inside = False

    with one_thread_per_core():
        finished: SimpleQueue[BaseException | None] = SimpleQueue()
        for _ in range(helpers):  # each in a copy of the caller's context, which holds NumPy's settings
            _start_workers(helpers).put((copy_context(), run_blocks, finished))
        try:
            run_blocks()
        finally:
            errors = [finished.get() for _ in range(helpers)]  # wait, so that no thread still writes after the return
        for error in errors:
            if error is not None:
                raise error
    return results


def parallel_for_rows(
    xp: ModuleType, work: Callable[[slice, slice], T], n: int, rows: int, bytes_per_row: float, flop_per_row: float = 0
) -> list[T]:
    """Call ``work`` on slices of images and rows that cover all n images, like ``parallel_for``.

    Rows are split as well if an image is larger than a block, or if there are fewer images than blocks. A call gets
    either all rows of some images or some rows of one image, so its slice of a contiguous array is contiguous.
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
    """Return the number of blocks for work of this many bytes and operations: 1 or an even number, for two threads."""
    count = int(max(moved // BLOCK_BYTES, flop // BLOCK_FLOP))
    return max(2, count + count % 2) if moved > TWO_BLOCKS or flop > TWO_BLOCKS_FLOP else 1


def chunks(xp: ModuleType, n: int, bytes_per_item: int) -> list[slice]:
    """Split range(n) into slices of at most WINDOW_BYTES, but at least one item; on a GPU there is one slice."""
    count = 1 if xp is not np else max(1, min(n, -(-n * bytes_per_item // WINDOW_BYTES)))
    return [slice(n * i // count, n * (i + 1) // count) for i in range(count)]


@contextmanager
def one_thread_per_core() -> Iterator[None]:
    """Apply the settings of BLAS and NumPy that blocks need, and restore the old ones.  Nested uses cost nothing.

    A compiled network holds this for a whole pass, because OpenBLAS's own threads keep a core busy for milliseconds
    after a shared product while they wait for the next one.
    """
    if _local.settled:
        yield
        return
    with single_threaded_blas(), np.errstate():  # errstate also restores the buffer size
        np.setbufsize(BUFFER)
        _local.settled = True
        try:
            yield
        finally:
            _local.settled = False


def _next(todo: deque[T]) -> T | None:
    try:
        return todo.popleft()
    except IndexError:  # empty
        return None


class _Local(threading.local):
    inside = False  # this thread is working on a block
    settled = False  # this thread is inside ``one_thread_per_core``


_local = _Local()
_jobs: SimpleQueue[Any] = SimpleQueue()  # wakes a thread in half the time that an executor takes
_workers: list[threading.Thread] = []


def _start_workers(helpers: int) -> SimpleQueue[Any]:
    """Start threads until there are ``helpers`` of them, and return the queue from which they take jobs."""
    while len(_workers) < helpers:
        _workers.append(threading.Thread(target=_worker_loop, args=(_jobs,), name="se_numpy", daemon=True))
        _workers[-1].start()
    return _jobs


def _worker_loop(jobs: SimpleQueue[Any]) -> None:
    while True:
        context, run_blocks, finished = jobs.get()
        try:
            context.run(run_blocks)
            finished.put(None)
        except BaseException as error:
            finished.put(error)
        del context, run_blocks, finished  # they would keep the arrays of the last job alive


def _after_fork() -> None:
    """Reset the state in a child process, where only the forking thread exists and no block is running."""
    global _jobs
    _workers.clear()
    _jobs = SimpleQueue()
    _local.inside = _local.settled = False


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
