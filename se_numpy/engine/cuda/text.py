"""CUDA C for the rows of the table, with shapes, strides and integers written into the text as constants.

CuPy's ElementwiseKernel passes shapes at run time and computes 64-bit indices; with seven divisions by unknown numbers,
the kernel for windows took 467 instructions for each number that it wrote. With constants the compiler turns divisions
into multiplications, and 32-bit indices are enough for arrays of fewer than 2³² elements.
"""

from collections.abc import Sequence
from functools import cache
from typing import Any, NamedTuple

import numpy as np

THREADS = 256  # in a block
TYPES = {"float32": "float", "float64": "double", "bool": "bool", "uint8": "unsigned char", "int8": "signed char",
         "uint16": "unsigned short", "int16": "short", "uint32": "unsigned int", "int32": "int",
         "uint64": "unsigned long long", "int64": "long long"}  # fmt: skip


class Param(NamedTuple):
    """A parameter of a row: ``raw`` and ``strided`` arrays are indexed by the operation, all others at the element."""

    access: str  # "raw" (contiguous), "strided" or ""
    kind: str  # T, the dtype of the call; L, I or M, that of one argument; or a type of C, int32 or float64
    name: str


@cache
def parsed(params: str) -> tuple[Param, ...]:
    """Return the parameters of a declaration such as "raw T x, int32 K"."""
    words = [param.split() for param in params.split(",") if param.strip()]
    return tuple(Param(w[0] if len(w) == 3 else "", w[-2], w[-1]) for w in words)


def elementwise(
    name: str, operation: str, params: Sequence[Param], args: Sequence[Any], shape: tuple[int, ...], T: np.dtype
) -> str:
    """Return a kernel that computes one element of ``shape`` in each thread.

    ``args`` are the arrays and numbers of a call, outputs included. Arrays and ``float64`` numbers become parameters of
    the kernel, followed by the number of elements.
    """
    declared, lines, types = [], [], {"T": TYPES[T.name]}
    for (access, kind, own), value in zip(params, args, strict=True):
        if isinstance(value, (int, float)):
            if kind == "int32":
                lines.append(f"const int {own} = {int(value)};")
            else:
                declared.append(f"const double {own}_")
                lines.append(f"const {'double' if kind == 'float64' else kind} {own} = {own}_;")
            continue
        types.setdefault(kind, TYPES[value.dtype.name])
        if access:
            declared.append(f"{kind}* const {own}")
        else:
            declared.append(f"{kind}* const {own}_")
            lines.append(f"{kind}& {own} = {own}_[{index(shape, value.shape, value.strides, value.itemsize)}];")
    typedefs = "".join(f"typedef {c_type} {kind};\n" for kind, c_type in types.items() if kind in ("T", "L", "I", "M"))
    return f"""{typedefs}extern "C" __global__ void {name}({", ".join(declared)}, const unsigned elements) {{
    const unsigned i = blockIdx.x * {THREADS}u + threadIdx.x;
    if (i >= elements) return;
    {" ".join(lines)}
    {operation};
}}
"""


def index(out: tuple[int, ...], shape: tuple[int, ...], strides: tuple[int, ...], itemsize: int, i: str = "i") -> str:
    """Return the expression for the position of element i of ``out`` in an array that is broadcast to it."""
    axes: list[list[int]] = []  # [size, stride in elements], neighbours merged
    missing = len(out) - len(shape)
    for axis, size in enumerate(out):
        own = axis - missing
        stride = strides[own] // itemsize if own >= 0 and shape[own] != 1 else 0
        if size == 1:
            continue
        if axes and axes[-1][1] == stride * size:
            axes[-1] = [axes[-1][0] * size, stride]
        else:
            axes.append([size, stride])
    terms, below = [], 1
    for first, (size, stride) in reversed([(k == 0, axis) for k, axis in enumerate(axes)]):
        place = i if below == 1 else f"{i} / {below}u"
        place = place if first else f"{place} % {size}u"
        if stride:
            terms.append(f"(int)({place})" if stride == 1 else f"(int)({place}) * {stride}")
        below *= size
    return " + ".join(reversed(terms)) or "0"
