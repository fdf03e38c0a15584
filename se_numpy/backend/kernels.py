"""Functions that are one launch on a GPU: in NumPy for a CPU, and beside it the same in C for CuPy's ElementwiseKernel.

A launch costs a GPU several microseconds, however little it computes, and NumPy's form of a formula is a launch for
every operation sign in it. The form in NumPy is the one to read; the tests hold the other to it.
"""

from collections.abc import Callable
from functools import cache, wraps
from types import ModuleType
from typing import Any, TypeVar

import numpy as np

from se_numpy.backend.arrays import Array, array_module

F = TypeVar("F", bound=Callable[..., Any])


def one_launch(inputs: str, outputs: str, operation: str) -> Callable[[F], F]:
    """Give a function of arrays, and of numbers, a second form for a GPU: parameters, results and C of one element.

    ``raw`` parameters are whole arrays, with flat indices; all others are broadcast. Results that are arguments too,
    after the inputs, are written in place. What the kernel cannot do (complex numbers, several dtypes) NumPy's form
    does, launch by launch.
    """

    def decorate(plain: F) -> F:
        @wraps(plain)
        def call(*args: Any) -> Any:
            xp = array_module(*args)
            if not has_kernels(xp, *args):
                return plain(*args)
            return elementwise_kernel(xp, inputs, outputs, operation, plain.__name__)(*args)

        return call  # type: ignore[return-value]

    return decorate


@cache
def elementwise_kernel(xp: ModuleType, inputs: str, outputs: str, operation: str, name: str) -> Any:
    """CuPy's ElementwiseKernel, made once."""
    return xp.ElementwiseKernel(inputs, outputs, operation, name)


def has_kernels(xp: ModuleType, *args: Any) -> bool:
    """Whether there are kernels for these: on a GPU, with one dtype of real numbers; indices and flags aside."""
    if xp is np or not hasattr(xp, "ElementwiseKernel"):
        return False
    dtypes = {a.dtype for a in args if hasattr(a, "dtype") and getattr(a, "ndim", 0) > 0}
    dtypes = {dtype for dtype in dtypes if dtype.kind not in "iub"}
    return len(dtypes) == 1 and dtypes.pop().kind == "f"


def two_sums(inputs: str, first: str, second: str, name: str) -> Callable[..., tuple[Array, Array]]:
    """The function that sums two expressions of broadcast arrays over ``axis`` in one launch, for a GPU.

    A reduction has one result; a complex number holds two.
    """
    kernels: dict[Any, Any] = {}

    def call(*args: Any, axis: int) -> tuple[Array, Array]:
        xp, double = array_module(*args), args[0].dtype == np.float64
        if (xp, double) not in kernels:
            result, pair = ("complex128 y", "complex<double>") if double else ("complex64 y", "complex<float>")
            kernels[xp, double] = xp.ReductionKernel(
                inputs, result, f"{pair}({first}, {second})", "a + b", "y = a", "0", name
            )
        both = kernels[xp, double](*args, axis=axis)
        return both.real, both.imag

    return call
