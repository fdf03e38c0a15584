"""Many arrays copied into one vector by one launch, without the tables that CuPy's ``concatenate`` uploads for it."""

from itertools import accumulate
from math import prod
from typing import Any

from se_numpy.arrays import Array, array_module
from se_numpy.engine.cuda.kernels import prepared
from se_numpy.engine.cuda.text import THREADS, index

MOST = 400  # arrays: the arguments of a launch may take 4 kB
_calls: dict[Any, Any] = {}


def gather(arrays: list[Array], out: Array) -> Array:
    """Write all elements of the arrays, which may be views of any strides, to ``out`` (size,) one after the other."""
    xp = array_module(*arrays)
    if len(arrays) > MOST:
        cut = sum(prod(a.shape) for a in arrays[:MOST])
        gather(arrays[:MOST], out[:cut])
        gather(arrays[MOST:], out[cut:])
        return out
    key = (xp, out.dtype, *[(a.shape, a.strides) for a in arrays])
    if key not in _calls:
        inputs, formula = _text([(a.shape, a.strides, a.itemsize) for a in arrays])
        _calls[key] = prepared("gather", xp, (*arrays, out), inputs, formula)
    call = _calls[key]
    call.kernel(call.grid, (THREADS,), (*arrays, out, call.size))
    return out


def _text(layouts: list[tuple[tuple[int, ...], tuple[int, ...], int]]) -> tuple[str, str]:
    ends = list(accumulate(prod(shape) for shape, *_ in layouts))

    def chosen(first: int, stop: int) -> str:
        """Return the element of the array, among those from ``first`` to ``stop``, in which i lies."""
        if stop - first > 1:
            middle = (first + stop) // 2
            return f"(i < {ends[middle - 1]}u ? {chosen(first, middle)} : {chosen(middle, stop)})"
        shape, strides, itemsize = layouts[first]
        start = ends[first] - prod(shape)
        return f"x{first}[{index(shape, shape, strides, itemsize, f'(i - {start}u)')}]"

    return ", ".join(f"strided T x{k}" for k in range(len(layouts))), chosen(0, len(layouts))


def forget() -> None:
    """Forget all kernels, for tests that change the table."""
    _calls.clear()
