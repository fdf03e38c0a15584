"""A double of CuPy for machines without a GPU: it computes with NumPy, refuses what CuPy refuses, and counts launches.

It refuses host arrays mixed with device arrays, implicit conversion to NumPy, NumPy functions on device arrays, and
functions that CuPy lacks. ``launches`` collects the names of calls that would start a kernel. ``syncs`` collects the
names of calls that would make the host wait: float(), bool(), boolean masks, nonzero and get().
"""

import types
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np

launches: list[str] = []
syncs: list[str] = []
uploads: list[tuple[int, ...]] = []  # the shapes of the arrays sent to the device

NOT_IN_CUPY = {"vecdot", "unstack", "block", "insert", "einsum_path", "matvec", "vecmat", "errstate", "nditer"}
SYNCING = {"nonzero", "argwhere", "flatnonzero", "unique", "array_equal", "allclose", "extract", "compress"}
# Allocations come from a memory pool and views are computed on the host: neither starts a kernel.
NO_LAUNCH = {"empty", "empty_like", "broadcast_to", "reshape", "transpose", "result_type", "expand_dims"}


class ndarray(np.lib.mixins.NDArrayOperatorsMixin):  # noqa: N801 (CuPy's name)
    """An array on the simulated device."""

    __slots__ = ("_host",)
    __array_priority__ = 100

    def __init__(self, host: np.ndarray) -> None:
        self._host = host

    def __array_ufunc__(self, ufunc, method, *inputs, **kwargs):
        return _call(getattr(ufunc, method), ufunc.__name__, inputs, kwargs)

    def __array_function__(self, function, types, args, kwargs):
        raise TypeError(f"numpy.{function.__name__} was called on a device array; use the array's own module")

    def __array__(self, *args, **kwargs):
        raise TypeError("Implicit conversion to a NumPy array is not allowed. Please use `.get()`")

    def __getattr__(self, name):
        if name in ("shape", "dtype", "ndim", "size", "strides", "nbytes", "itemsize", "flags"):
            return getattr(self._host, name)
        if name in ("T", "real", "imag", "mT"):
            return ndarray(getattr(self._host, name))
        method = getattr(self._host, name)
        if name.startswith("__") or not callable(method):
            raise AttributeError(name)
        if name in ("item", "tolist", "nonzero"):
            syncs.append(name)
            return method
        return lambda *args, **kwargs: _call(method, name, args, kwargs, view=name in ("reshape", "transpose", "view"))

    def __getitem__(self, key):
        gather = _note_indices(key)
        if gather:
            launches.append("take")
        return _wrap(self._host[_unwrap(key)])

    def __setitem__(self, key, value):
        _note_indices(key)
        if isinstance(value, np.ndarray):
            raise TypeError("a host array was assigned to a device array")
        launches.append("setitem")
        self._host[_unwrap(key)] = _unwrap(value)

    def __len__(self):
        return len(self._host)

    def __iter__(self):
        return (self[i] for i in range(len(self)))

    def get(self):
        syncs.append("get")
        return self._host.copy()


def _syncing(name):
    def read(self, *args):
        syncs.append(name)
        return getattr(self._host, name)(*args)

    return read


for _name in ("__float__", "__int__", "__bool__", "__index__", "__complex__"):
    setattr(ndarray, _name, _syncing(_name))


def _note_indices(key) -> bool:
    keys = key if isinstance(key, tuple) else (key,)
    if any(isinstance(k, np.ndarray) for k in keys):
        raise TypeError("a device array was indexed with a host array")
    arrays = [k for k in keys if isinstance(k, ndarray)]
    if any(k.dtype == bool for k in arrays):
        syncs.append("boolean mask")
    return bool(arrays)


def _wrap(result):
    if isinstance(result, (np.ndarray, np.generic)):
        return ndarray(np.asarray(result))
    if isinstance(result, (tuple, list)):
        return type(result)(_wrap(r) for r in result)
    return result


def _unwrap(x):
    if isinstance(x, ndarray):
        return x._host
    if isinstance(x, (tuple, list)):
        return type(x)(_unwrap(v) for v in x)
    return x


def _refuse_host(name, x) -> None:
    if isinstance(x, (tuple, list)):
        for v in x:
            _refuse_host(name, v)
    elif isinstance(x, np.ndarray):
        raise TypeError(f"{name}: Unsupported type <class 'numpy.ndarray'>: a host array was mixed with device arrays")


def _call(function, name, args, kwargs, view=False):
    _refuse_host(name, list(args))
    _refuse_host(name, list(kwargs.values()))
    if name in SYNCING:
        syncs.append(name)
    if not view:
        launches.append(name)
    out = kwargs.get("out")
    result = function(*_unwrap(list(args)), **{k: _unwrap(v) for k, v in kwargs.items()})
    if name in ("ascontiguousarray", "astype") and np.shares_memory(result, _unwrap(args[0] if args else result)):
        launches.pop()  # nothing was copied
    if out is not None:
        return out[0] if isinstance(out, tuple) and len(out) == 1 else out
    return _wrap(result)


def asarray(a: Any, dtype: Any = None) -> ndarray:
    """Upload a host array.  No other function accepts one."""
    if isinstance(a, ndarray):
        return a if dtype is None or a.dtype == dtype else a.astype(dtype)
    uploads.append(np.shape(a))
    return ndarray(np.array(a, dtype))


def as_strided(x: ndarray, shape: Any = None, strides: Any = None) -> ndarray:
    """Return a view with the given shape and strides, as ``cupy.lib.stride_tricks.as_strided`` does."""
    return ndarray(np.lib.stride_tricks.as_strided(x._host, shape, strides))


class Module(types.ModuleType):
    """The module that ``import cupy`` returns while the double is installed."""

    def __getattr__(self, name):
        if name in NOT_IN_CUPY or not hasattr(np, name):
            raise AttributeError(f"module 'cupy' has no attribute {name!r}")
        function = getattr(np, name)
        if isinstance(function, type) or not callable(function):
            return function  # dtypes, inf, pi
        return lambda *args, **kwargs: _call(function, name, args, kwargs, view=name in NO_LAUNCH)


module: Any = Module("cupy")
module.ndarray, module.asarray, module.__version__ = ndarray, asarray, "double"
module.lib = types.SimpleNamespace(stride_tricks=types.SimpleNamespace(as_strided=as_strided))
module.cuda = types.SimpleNamespace(
    is_available=lambda: True,
    Device=lambda: types.SimpleNamespace(id=0, synchronize=lambda: syncs.append("synchronize")),
    get_current_stream=lambda: types.SimpleNamespace(ptr=0),
)


@contextmanager
def counting() -> Iterator[tuple[list[str], list[str]]]:
    """Reset the counters, and yield the (launches, syncs) collected in the context."""
    for counted in (launches, syncs, uploads):
        counted.clear()
    yield launches, syncs
