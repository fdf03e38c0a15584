"""CuPy's ElementwiseKernel and ReductionKernel on the host: their C code in a loop, compiled by a C++ compiler.

The tests thus run the code that a GPU would run. Only the features that this project uses are supported: parameters of
a type T common to all arrays, of the types I, L, M of single arguments, or of a plain type; ``raw`` parameters with
flat indices; ``i`` and ``_ind.size()``.
"""

import ctypes
import functools
import hashlib
import shutil
import subprocess
import tempfile
from pathlib import Path

import numpy as np

TYPES = {"float32": "float", "float64": "double", "int32": "int", "int64": "long", "bool": "bool"}
OWN = "ILM"
TYPES |= {"uint8": "unsigned char", "complex64": "complex<float>", "complex128": "complex<double>"}
INCLUDES = """
#include <cmath>
#include <complex>
using namespace std;
"""
HEAD = """
template <class T> struct Raw { T* p; T& operator[](long j) const { return p[j]; } };
struct Indexer { long n; long size() const { return n; } };
"""


made: list[tuple[str, str, str, str]] = []  # every kernel that was created


def cuda(in_params: str, out_params: str, operation: str, T: str) -> str:
    """Return a complete CUDA kernel for elements of the C type T, similar to the one that CuPy would generate."""
    ins, outs = _parsed(in_params), _parsed(out_params)
    params = ", ".join(f"{TYPES.get(kind, kind)}* _{k}" for k, (_, kind, _) in enumerate(ins + outs))
    lines = [_declared(k, *p, out=k >= len(ins)).replace(f"arguments[{k}]", f"_{k}") for k, p in enumerate(ins + outs)]
    head = HEAD.replace("T& operator", "__device__ T& operator").replace("long size", "__device__ long size")
    return f"""{head}
    template <class T> struct complex {{ T re, im; __device__ complex(T re, T im) : re(re), im(im) {{}} }};
    typedef {T} T; typedef unsigned char I; typedef long L; typedef long M;
    extern "C" __global__ void kernel({params}, Indexer _ind) {{
        for (ptrdiff_t i = blockIdx.x; i < _ind.size(); i += gridDim.x) {{ {" ".join(lines)} {operation}; }} }}"""


def compiler():
    """Return the path of a C++ compiler, or None if there is none."""
    return shutil.which("g++") or shutil.which("clang++")


def _parsed(params):
    """Return (is raw, type, name) for each parameter."""
    words = [param.split() for param in params.split(",") if param.strip()]
    return [("raw" in w, w[-2], w[-1]) for w in words]


@functools.cache
def _folder():
    return Path(tempfile.mkdtemp(prefix="host_kernels"))


@functools.cache
def _compiled(source):
    name = hashlib.sha256(source.encode()).hexdigest()[:16]
    code, library = _folder() / f"{name}.cpp", _folder() / f"{name}.so"
    code.write_text(source)
    flags = ["-O1", "-shared", "-fPIC", "-Wall", "-Werror", "-Wno-unused", "-Wno-unknown-pragmas"]
    subprocess.run([compiler(), *flags, "-o", library, code], check=True)
    return ctypes.CDLL(str(library)).run


def _declared(k, raw, kind, name, out):
    kind = TYPES.get(kind, kind)
    if raw:
        return f"Raw<{kind}> {name}{{({kind}*)arguments[{k}]}};"
    return f"{'' if out else 'const '}{kind}& {name} = (({kind}*)arguments[{k}])[i];"


def _common_type(params, arrays):
    kinds = {np.asarray(a).dtype for (_, kind, _), a in zip(params, arrays, strict=True) if kind == "T" and np.ndim(a)}
    if len(kinds) != 1:
        raise TypeError(f"expected arrays of one type T, got {kinds}")
    return kinds.pop()


def _run(run, n, arrays):
    run(ctypes.c_long(n), (ctypes.c_void_p * len(arrays))(*(a.ctypes.data for a in arrays)))


class Elementwise:
    """``cupy.ElementwiseKernel(in_params, out_params, operation, name)`` for NumPy arrays."""

    def __init__(self, in_params, out_params, operation, name="kernel"):
        self.ins, self.outs, self.operation, self.__name__ = _parsed(in_params), _parsed(out_params), operation, name
        made.append((in_params, out_params, operation, name))

    def __call__(self, *args, size=None):
        params = self.ins + self.outs
        if len(args) not in (len(self.ins), len(params)):
            raise TypeError(f"{self.__name__} takes {len(self.ins)} inputs, or {len(params)} arguments with outputs")
        T = _common_type(params[: len(args)], args)
        shapes = [np.shape(a) for (raw, _, _), a in zip(params, args, strict=False) if not raw]
        shape = (size,) if size is not None else np.broadcast_shapes(*shapes)
        types = {"T": T} | {kind: a.dtype for (_, kind, _), a in zip(params, args, strict=False) if kind in OWN}
        made_here = [np.empty(shape, types.get(kind, kind)) for _, kind, _ in self.outs]
        outs = list(args[len(self.ins) :]) or made_here
        for out in outs:
            if out.shape != shape:
                raise ValueError(f"{self.__name__}: an output has shape {out.shape}; expected {shape}")
        buffers = []
        for (raw, kind, _), value in zip(params, [*args[: len(self.ins)], *outs], strict=True):
            dtype = np.dtype(types.get(kind, kind))
            array = np.asarray(value)
            if np.ndim(value) and array.dtype != dtype:
                raise TypeError(f"{self.__name__}: got an array of {array.dtype}; expected {dtype}")
            array = array.astype(dtype) if raw else np.broadcast_to(array.astype(dtype), shape)
            buffers.append(np.array(array, order="C"))  # a copy: arrays that overlap here may not overlap on a device
        lines = [_declared(k, *p, out=k >= len(self.ins)) for k, p in enumerate(params)]
        body = "\n".join([*lines, self.operation, ";"])
        typedefs = "".join(f"typedef {TYPES[np.dtype(dtype).name]} {kind};" for kind, dtype in types.items())
        source = f"""{INCLUDES}{HEAD}{typedefs}
        extern "C" void run(long n, void** arguments) {{
        Indexer _ind{{n}};
        for (long i = 0; i < n; ++i) {{ {body} }} }}"""
        _run(_compiled(source), int(np.prod(shape)), buffers)
        for out, buffer in zip(outs, buffers[len(self.ins) :], strict=True):
            out[...] = buffer
        return outs[0] if len(outs) == 1 else tuple(outs)


class Reduction:
    """``cupy.ReductionKernel(in, out, map_expr, reduce_expr, post_map_expr, identity, name)``, for sums."""

    def __init__(self, in_params, out_params, map_expr, reduce_expr, post_map_expr, identity, name="kernel"):
        if (reduce_expr, identity) != ("a + b", "0"):
            raise NotImplementedError("only sums are supported")
        ((_, kind, out),) = _parsed(out_params)
        self.map = Elementwise(in_params, f"{kind} mapped", f"mapped = {map_expr}", name)
        if post_map_expr.replace(" ", "") != f"{out}=a":
            raise NotImplementedError("only sums without a post-processing expression are supported")

    def __call__(self, *args, axis=None, keepdims=False):
        return self.map(*args).sum(axis, keepdims=keepdims)
