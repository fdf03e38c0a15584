"""Many arrays copied into one vector by one launch, without the tables that CuPy's ``concatenate`` uploads for it."""

from itertools import accumulate
from math import prod
from typing import Any

from se_numpy.arrays import Array, array_module
from se_numpy.engine.cuda.kernels import launch
from se_numpy.engine.cuda.text import index

MOST = 400  # arrays: the arguments of a launch may take 4 kB
_texts: dict[Any, tuple[str, str]] = {}


def gather(arrays: list[Array], out: Array) -> Array:
    """Write all elements of the arrays, which may be views of any strides, to ``out`` (size,) one after the other."""
    xp = array_module(*arrays)
    if len(arrays) > MOST:
        cut = sum(prod(a.shape) for a in arrays[:MOST])
        gather(arrays[:MOST], out[:cut])
        gather(arrays[MOST:], out[cut:])
        return out
    key = tuple((a.shape, a.strides, a.itemsize) for a in arrays)
    inputs, formula = _texts.get(key) or _texts.setdefault(key, _text(key))
    launch("gather", xp, *arrays, out, inputs=inputs, formula=formula)
    return out


def _text(layouts: tuple[tuple[tuple[int, ...], tuple[int, ...], int], ...]) -> tuple[str, str]:
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
