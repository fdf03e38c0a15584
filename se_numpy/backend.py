"""The ground floor: which module an array belongs to, how work is cut into blocks, and where NumPy and CuPy differ.

The array decides. A function that is handed NumPy arrays runs on the CPU, handed CuPy arrays on the GPU, by the same
lines; ``array_module`` tells which. CuPy is looked up, never imported, until somebody asks for a GPU: an array of
CuPy's can only exist once CuPy is loaded.

On the CPU an operation says what happens to one block of images and ``over_blocks`` does the rest. Three measured facts
stand behind it: a block of a few megabytes stays in the cache; one thread a core, each with a single-threaded BLAS, is
up to five times faster than BLAS's own threads beside NumPy's copies; OpenBLAS reaches its peak on tiles of some
hundred rows, not on one long, thin product. On a GPU launches cost more than bytes, so there is one block.
"""

import os
import sys
import threading
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import copy_context
from types import ModuleType
from typing import Any, TypeVar

import numpy as np

Array = Any  # numpy.ndarray or cupy.ndarray: the two share no base class to name here
T = TypeVar("T")

BLOCK_BYTES = 3 << 20  # what one block of work may touch: between a core's L2 and its share of L3
LINE = 16384  # numbers that one inner loop of a pass over feature maps runs over
BUFFER = 4096  # numbers; lines shorter than NumPy's buffer would be copied into it, which costs as much as the pass
SMALL_PRODUCT = 10**6  # multiply-adds up to which OpenBLAS takes its small-matrix kernels, which need no packing


# ---------------------------------------------------------------------------------------------- whose array is it?


def array_module(*arrays: Array) -> ModuleType:
    """The module that all the arrays belong to: numpy or cupy.  Numbers and None belong to either.

    Raises TypeError for something that is no array, and for arrays of both kinds.
    """
    cupy = sys.modules.get("cupy")
    on_device, on_host = 0, 0
    for x in arrays:
        if cupy is not None and isinstance(x, cupy.ndarray):
            on_device += 1
        elif isinstance(x, np.ndarray):
            on_host += 1
        elif not (x is None or isinstance(x, (int, float, complex, np.generic))):
            raise TypeError(f"expected NumPy or CuPy arrays, got {type(x).__name__}")
    if on_host and on_device:
        raise TypeError(
            f"{on_host} of the arrays are NumPy's (host) and {on_device} CuPy's (device): "
            "move them to one side first, with se_numpy.to_device(x, 'gpu') or se_numpy.to_host(x)"
        )
    return cupy if on_device else np  # type: ignore[return-value]


def device_module(device: str) -> ModuleType:
    """numpy for "cpu", cupy for "gpu"; this is the only place that imports CuPy.

    Raises ValueError for another name, RuntimeError where no GPU can be used, with the reason.
    """
    if device == "cpu":
        return np
    if device != "gpu":
        raise ValueError(f"unknown device {device!r}; expected 'cpu' or 'gpu'")
    try:
        import cupy
    except ImportError as error:
        why = "is not installed" if isinstance(error, ModuleNotFoundError) else f"cannot be imported ({error})"
        raise RuntimeError(f"CuPy {why}; pip install 'se-numpy[cuda12]' or 'se-numpy[cuda13]' brings it") from None
    if not cupy.cuda.is_available():
        raise RuntimeError(f"CuPy {cupy.__version__} finds no GPU it can use (is the driver installed?)")
    return cupy


def to_device(array: Array, device: str) -> Array:
    """The array on "cpu" or "gpu", copied only if it lies elsewhere.  Raises as ``device_module``."""
    return to_host(array) if device == "cpu" else device_module(device).asarray(array)


def to_host(array: Array) -> np.ndarray:
    """The array as NumPy's; a copy from a GPU waits until the GPU has finished."""
    return array if on_host(array) else array.get()


def on_host(array: Array) -> bool:
    """Whether the array's numbers can be looked at without waiting for a GPU."""
    return array_module(array) is np


# --------------------------------------------------------------------------------------------------- blocks, threads


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
    count = 1
    if xp is np:
        count = -(-n * int(bytes_per_item) // BLOCK_BYTES)
        if n * bytes_per_item > BLOCK_BYTES // 8:
            count = max(count, 4)  # enough for four threads to share what is worth sharing
        count = max(1, min(count, n))
    blocks = [slice(n * i // count, n * (i + 1) // count) for i in range(count)]
    helpers = min(threads(), count) - 1
    if helpers <= 0 or _local.__dict__.get("inside"):
        with _settings():
            return [work(block) for block in blocks]

    results: list[Any] = [None] * count
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
        # Each in a copy of the caller's context, where NumPy keeps its settings.
        others = [_pool(helpers).submit(copy_context().run, labour) for _ in range(helpers)]
        try:
            labour()
        finally:
            errors = [other.exception() for other in others]  # waits: nobody may still write when we return
        for error in errors:
            if error is not None:
                raise error
    return results


def over_bands(
    xp: ModuleType, work: Callable[[slice, slice], T], n: int, rows: int, bytes_per_row: float
) -> list[T]:
    """[work(images, rows), ...] as ``over_blocks``; where one image is more than a block, its rows are cut as well.

    Either all rows of some images or some rows of one image: what is sliced so out of a contiguous array stays so.
    """
    bands = 1 if xp is not np else min(rows, -(-rows * int(bytes_per_row) // BLOCK_BYTES))
    if bands <= 1:
        return over_blocks(xp, lambda images: work(images, slice(0, rows)), n, rows * bytes_per_row)
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
_pools: dict[int, Any] = {}


def _pool(workers: int) -> Any:
    if workers not in _pools:
        from concurrent.futures import ThreadPoolExecutor

        _pools[workers] = ThreadPoolExecutor(workers, thread_name_prefix="se_numpy")
    return _pools[workers]


if hasattr(os, "register_at_fork"):  # a child has the pool's object but not its threads, and would wait for ever
    os.register_at_fork(after_in_child=_pools.clear)


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
    size = int(np.prod(shape)) * np.dtype(dtype).itemsize
    buffers = _local.__dict__.setdefault("buffers", {})
    if name not in buffers or buffers[name].size < size:
        buffers[name] = np.empty(size, np.uint8)
    return buffers[name][:size].view(dtype).reshape(shape)


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


# ---------------------------------------------------------------------------------------- passes over feature maps


def elementwise(f: Callable[..., object], *arrays: Array) -> Array:
    """The array that f(out, *arrays) fills, block by block along the first axis, from arrays of one shape."""
    x = arrays[0]
    xp = array_module(*arrays)
    out = xp.empty(x.shape, xp.result_type(*arrays))
    if x.ndim == 0:
        f(out, *arrays)
    else:
        over_blocks(xp, lambda n: f(out[n], *(a[n] for a in arrays)), len(x), 3 * x.nbytes / max(1, len(x)))
    return out


def add(x: Array, y: Array) -> Array:
    """x + y for arrays of one shape, spread over the threads."""
    xp = array_module(x, y)
    return elementwise(lambda total, x, y: xp.add(x, y, out=total), x, y)


def affine(x: Array, a: Array, b: Array | None = None) -> Array:
    """a x + b by channel: x (N, ..., C); a and b (C,), or (N, C) for numbers of each image's own.  One pass."""
    xp = array_module(x, a, b)
    y = xp.empty(x.shape, xp.result_type(x, a, *(() if b is None else (b,))))

    def block(n: slice) -> None:
        y_n = xp.multiply(lines(x[n]), along(x[n], a, n), out=lines(y[n]))
        if b is not None:
            y_n += along(x[n], b, n)

    over_blocks(xp, block, len(x), 3 * x[0].nbytes)
    return y


def pixel_sum(x: Array, y: Array | None = None) -> Array:
    """Σ over an image's pixels, of x or of x·y: (N, H, W, C) -> (N, C)."""
    xp = array_module(x, y)
    N, H, W, C = x.shape
    total = xp.empty((N, C), x.dtype if y is None else xp.result_type(x, y))

    def block(n: slice) -> None:
        part = x[n]
        if y is not None:
            part = xp.multiply(part, y[n], out=scratch(xp, "product", part.shape, total.dtype))
        total[n] = part.reshape(-1, H, W * C).sum(1).reshape(-1, W, C).sum(1)  # rows of pixels first: long runs

    over_blocks(xp, block, N, 3 * x[0].nbytes)
    return total


def channel_sum(x: Array) -> Array:
    """Σ over all axes but the last: (N, ..., C) -> (C,).  To be called inside a block.

    On a CPU a product with ones, the fastest way to add rows up. CuPy reduces one image per block of threads and then
    the batch, for all at once would be a single block of threads on the whole card.
    """
    xp = array_module(x)
    if xp is not np:
        return x.sum(tuple(range(1, x.ndim - 1))).sum(0) if x.ndim > 2 else x.sum(0)
    rows = x.reshape(-1, x.shape[-1] * (x.shape[-2] if x.ndim > 2 else 1))  # one row of pixels each
    return (np.ones(len(rows), x.dtype) @ rows).reshape(-1, x.shape[-1]).sum(0)


def lines(x: Array) -> Array:
    """x (n, ..., C) as (n, lines, pixels · C): an inner loop over thousands of numbers, not over C = 16."""
    return x.reshape(len(x), -1, _pixels_of_a_line(x) * x.shape[-1])


def along(x: Array, v: Array, n: slice | None = None) -> Array:
    """v (C,), or rows n of v (N, C), repeated along a line of x, so that it meets ``lines(x)``."""
    if v.ndim == 2:
        v = v[n, None]
    return array_module(v).tile(v, _pixels_of_a_line(x))


def _pixels_of_a_line(x: Array) -> int:
    """As many rows of x's images as divide them evenly and stay within LINE numbers."""
    if x.ndim != 4:
        return 1
    _, H, W, C = x.shape
    return W * max((k for k in range(1, H + 1) if H % k == 0 and k * W * C <= LINE), default=1)


# ----------------------------------------------------------------------------------------- the few calls that differ


def as_strided(xp: ModuleType, x: Array, shape: tuple[int, ...], strides: tuple[int, ...]) -> Array:
    """A view of x with this shape and these strides in bytes; NumPy's function does not hand over to CuPy's."""
    return xp.lib.stride_tricks.as_strided(x, shape, strides)


def product(xp: ModuleType, rows: Array, matrix: Array, out: Array) -> Array:
    """out = rows @ matrix for many rows (R, K) and a small matrix (K, M): in tiles on a CPU, at once on a GPU.

    Tiles that fit OpenBLAS's small-matrix kernels ran at 110 GFLOP/s a core, one long product at 60 to 95.
    """
    R, tile = len(rows), _tile_rows(*matrix.shape)
    if xp is not np or 2 * tile > R:
        return xp.matmul(rows, matrix, out=out)
    tiled = R - R % tile
    np.matmul(_tiles(rows[:tiled], tile), matrix, out=_tiles(out[:tiled], tile))
    if tiled < R:
        np.matmul(rows[tiled:], matrix, out=out[tiled:])
    return out


def product_over_rows(xp: ModuleType, x: Array, y: Array) -> Array:
    """xᵀ y, summed over many rows: x (R, K), y (R, M) -> (K, M).  In tiles on a CPU, as ``product``."""
    R, tile = len(x), _tile_rows(x.shape[1], y.shape[1])
    if xp is not np or tile < 64 or 2 * tile > R:  # below 64 rows adding up the tiles costs what they save
        return xp.matmul(x.T, y)
    tiled = R - R % tile
    parts = scratch(np, "tiles", (tiled // tile, x.shape[1], y.shape[1]), np.result_type(x, y))
    np.matmul(_tiles(x[:tiled], tile).transpose(0, 2, 1), _tiles(y[:tiled], tile), out=parts)
    total = parts.sum(0)
    if tiled < R:
        total += np.matmul(x[tiled:].T, y[tiled:])
    return total


def _tile_rows(K: int, M: int) -> int:
    rows = SMALL_PRODUCT // (K * M) // 8 * 8
    return min(rows, 256) or 256


def _tiles(x: np.ndarray, rows: int) -> np.ndarray:
    """(R, K) as (R/rows, rows, K), a view whatever the stride between rows."""
    step, along = x.strides
    return np.lib.stride_tricks.as_strided(x, (len(x) // rows, rows, x.shape[1]), (rows * step, step, along))
