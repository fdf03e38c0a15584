"""Launch the kernels of the table with CuPy's ElementwiseKernel and ReductionKernel, each created once."""

from collections.abc import Callable
from functools import cache, wraps
from types import ModuleType
from typing import Any, TypeVar, cast

import numpy as np

from se_numpy.arrays import Array, array_module
from se_numpy.engine.cuda.table import TABLE

F = TypeVar("F", bound=Callable[..., Any])


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


def launch(name: str, xp: ModuleType, *args: Any, inputs: str = "", formula: str = "") -> Any:
    """Launch a kernel of the table; ``inputs`` and ``formula`` fill in the placeholders of a template."""
    row = TABLE[name]
    operation = row.operation.replace("{formula}", formula)
    return elementwise_kernel(xp, row.inputs.replace("{inputs}", inputs), row.outputs, operation, name)(*args)


@cache
def elementwise_kernel(xp: ModuleType, inputs: str, outputs: str, operation: str, name: str) -> Any:
    """Return a cached ElementwiseKernel."""
    return xp.ElementwiseKernel(inputs, outputs, operation, name)


def has_kernels(xp: ModuleType, *args: Any) -> bool:
    """Return whether kernels support these arguments: on a GPU, in one real dtype (integers and flags do not count)."""
    if xp is np or not hasattr(xp, "ElementwiseKernel"):
        return False
    dtypes = {a.dtype for a in args if hasattr(a, "dtype") and getattr(a, "ndim", 0) > 0}
    dtypes = {dtype for dtype in dtypes if dtype.kind not in "iub"}
    return len(dtypes) == 1 and dtypes.pop().kind == "f"


def dual_reduction(name: str, *args: Any, axis: int) -> tuple[Array, Array]:
    """Sum a row's two expressions over ``axis`` in one launch, as the real and imaginary parts of a complex number."""
    xp, double = array_module(*args), args[0].dtype == np.float64
    both = _reduction_kernel(xp, name, double)(*args, axis=axis)
    return both.real, both.imag


@cache
def _reduction_kernel(xp: ModuleType, name: str, double: bool) -> Any:
    row = TABLE[name]
    result, pair = ("complex128 y", "complex<double>") if double else ("complex64 y", "complex<float>")
    return xp.ReductionKernel(row.inputs, result, f"{pair}({row.operation})", "a + b", "y = a", "0", name)
