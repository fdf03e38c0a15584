"""Launch the kernels of the table with CuPy's RawKernel, each compiled once for its types and shapes."""

from collections.abc import Callable
from functools import cache, wraps
from math import prod
from types import ModuleType
from typing import Any, NamedTuple, TypeVar, cast

import numpy as np

from se_numpy.arrays import array_module
from se_numpy.engine.cuda.table import TABLE, Kernel
from se_numpy.engine.cuda.text import THREADS, elementwise, parsed

F = TypeVar("F", bound=Callable[..., Any])
LIMIT = 1 << 31  # elements of an array, whose indices have 32 bits


def cuda_kernel(name: str) -> Callable[[F], F]:
    """Decorate a function of arrays and scalars to launch its kernel from the table when the arrays are on a GPU.

    Arguments that no kernel supports (complex numbers, mixed dtypes) are passed to the function itself.
    """

    def decorate(plain: F) -> F:
        @wraps(plain)
        def call(*args: Any) -> Any:
            xp = array_module(*args)
            return launch(name, xp, *args) if has_kernels(xp, *args) else plain(*args)

        return cast(F, call)

    return decorate


def has_kernels(xp: ModuleType, *args: Any) -> bool:
    """Return whether kernels support these arguments: on a GPU, in one real dtype (integers and flags do not count)."""
    if xp is np or not hasattr(xp, "RawKernel"):
        return False
    found = None
    for a in args:
        if type(a) is not xp.ndarray or not a.ndim or (dtype := a.dtype).kind in "iub":
            continue
        if dtype.kind != "f" or a.size >= LIMIT or (found is not None and dtype != found):
            return False
        found = dtype
    return found is not None and found.itemsize >= 4


class Call(NamedTuple):
    """A kernel prepared for arguments of certain types and shapes."""

    kernel: Any
    passed: tuple[int, ...]  # the positions of the arguments that are passed; the others are constants of the text
    numbers: tuple[int, ...]  # those of them that are numbers
    copied: tuple[int, ...]  # those that are copied into contiguous memory
    made: tuple[tuple[tuple[int, ...], Any], ...]  # shape and dtype of each output to be allocated
    outputs: slice  # the outputs among the arguments that are passed
    size: np.uint32
    grid: tuple[int]


_calls: dict[tuple[Any, ...], Call] = {}


def launch(name: str, xp: ModuleType, *args: Any, inputs: str = "", formula: str = "") -> Any:
    """Launch an elementwise kernel of the table; return its output, or a tuple of several.

    ``args`` are its inputs, or its inputs and outputs. ``inputs`` and ``formula`` fill in the placeholders of a row.
    """
    key = (xp, name, inputs, formula, *[
        a if type(a) is int else float if isinstance(a, float) else (a.shape, a.strides, a.dtype) for a in args
    ])  # fmt: skip
    call = _calls.get(key) or _calls.setdefault(key, prepared(name, xp, args, inputs, formula))
    passed = [args[k] for k in call.passed]
    for k in call.numbers:
        passed[k] = float(passed[k])
    for k in call.copied:
        passed[k] = xp.ascontiguousarray(passed[k])
    passed += [xp.empty(shape, dtype) for shape, dtype in call.made]
    outputs = passed[call.outputs]
    if call.size:
        call.kernel(call.grid, (THREADS,), (*passed, call.size))
    return outputs[0] if len(outputs) == 1 else tuple(outputs)


def prepared(name: str, xp: ModuleType, args: tuple[Any, ...], inputs: str, formula: str) -> Call:
    """Return a call of an elementwise kernel for arguments like these."""
    row = cast(Kernel, TABLE[name])
    ins, outs = parsed(row.inputs.replace("{inputs}", inputs)), parsed(row.outputs)
    params = ins + outs
    if len(args) not in (len(ins), len(params)):
        raise TypeError(f"kernel {name} got {len(args)} arguments; expected {len(ins)}, or {len(params)} with outputs")
    arrays = [(p, a) for p, a in zip(params, args, strict=False) if not isinstance(a, (int, float))]
    T = next((a.dtype for p, a in arrays if p.kind == "T" and a.ndim), np.dtype("float32"))
    for p, a in arrays:
        if p.kind == "T" and a.dtype != T:
            raise TypeError(f"kernel {name}: {p.name} has dtype {a.dtype}; expected {T}")
    if len(args) == len(params):
        shape = args[-1].shape
    else:
        shape = np.broadcast_shapes(*(a.shape for p, a in arrays if not p.access))
    made = () if len(args) == len(params) else tuple((shape, T) for _ in outs)
    with_outputs = [*args, *(_Like(shape, T) for _ in made)]
    kernel = _compiled(xp, name, elementwise(name, row.operation.replace("{formula}", formula), params,
                                             with_outputs, shape, T))  # fmt: skip
    passed = [k for k, p in enumerate(params[: len(args)]) if p.kind != "int32"]
    numbers = tuple(k for k, position in enumerate(passed) if isinstance(args[position], (int, float)))
    raw = {p.name for p, a in arrays if p.access == "raw" and not a.flags.c_contiguous}
    copied = tuple(k for k, position in enumerate(passed) if params[position].name in raw)
    size = prod(shape)
    first = len(passed) + len(made) - len(outs)
    return Call(kernel, tuple(passed), numbers, copied, made, slice(first, None), np.uint32(size),
                (-(-size // THREADS),))  # fmt: skip


class _Like:
    """The layout of a contiguous array that is yet to be allocated."""

    def __init__(self, shape: tuple[int, ...], dtype: np.dtype) -> None:
        self.shape, self.dtype, self.itemsize = shape, dtype, dtype.itemsize
        self.strides = tuple(prod(shape[k + 1 :]) * dtype.itemsize for k in range(len(shape)))


@cache
def _compiled(xp: ModuleType, name: str, text: str) -> Any:
    return xp.RawKernel(text, name)


def forget() -> None:
    """Forget all elementwise kernels, for tests that change the table."""
    _calls.clear()
    _compiled.cache_clear()
