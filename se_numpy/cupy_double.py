"""A double of CuPy for machines without a GPU: it computes with NumPy, refuses what CuPy refuses, and counts launches.

It refuses host arrays mixed with device arrays, implicit conversion to NumPy, and functions and arguments that CuPy
lacks. In one thing it is stricter than CuPy: it refuses NumPy functions on device arrays, which CuPy carries out where
it can; code is to call the array's own module. ``launches`` collects the names of calls that would start a kernel.
``syncs`` collects the names of calls that would make the host wait: float(), bool(), boolean masks, nonzero and get().
"""

import types
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np

launches: list[str] = []
syncs: list[str] = []
uploads: list[tuple[int, ...]] = []  # the shapes of the arrays sent to the device

NOT_IN_CUPY = {"vecdot", "unstack", "block", "insert", "einsum_path", "matvec", "vecmat", "errstate", "nditer"}
NOT_AN_ARGUMENT = {"where", "initial", "correction"}
NOT_A_METHOD = {"setflags", "resize", "ctypes"}
SYNCING = {"nonzero", "argwhere", "flatnonzero", "unique", "extract", "compress"}
ON_DEVICE = {"array_equal", "allclose"}  # whose result is an array
# Allocations come from a memory pool and views are computed on the host: neither starts a kernel.
NO_LAUNCH = {"empty", "empty_like", "broadcast_to", "reshape", "transpose", "result_type", "expand_dims"}


class ndarray(np.lib.mixins.NDArrayOperatorsMixin):  # noqa: N801 (CuPy's name)
    """An array on the simulated device."""

    __slots__ = ("_host",)
    __array_priority__ = 100

    def __init__(self, host: np.ndarray) -> None:
        if host.dtype.kind not in "biufc":
            raise ValueError(f"Unsupported dtype {host.dtype}")
        self._host = host

    def __array_ufunc__(self, ufunc, method, *inputs, **kwargs):
        if any(isinstance(x, (list, tuple)) for x in inputs):
            raise TypeError(f"{ufunc.__name__}: Unsupported type <class 'list'>")
        return _call(getattr(ufunc, method), ufunc.__name__, inputs, kwargs)

    def __array_function__(self, function, types, args, kwargs):
        raise TypeError(f"numpy.{function.__name__} was called on a device array; use the array's own module")

    def __array__(self, *args, **kwargs):
        raise TypeError("Implicit conversion to a NumPy array is not allowed. Please use `.get()`")

    def __getattr__(self, name):
        if name in NOT_A_METHOD or name.startswith("_"):
            raise AttributeError(f"'cupy.ndarray' object has no attribute {name!r}")
        if name in ("shape", "dtype", "ndim", "size", "strides", "nbytes", "itemsize"):
            return getattr(self._host, name)
        if name in ("T", "real", "imag", "mT"):
            return ndarray(getattr(self._host, name))
        if name == "flat":
            return ndarray(self._host.reshape(-1))
        if not callable(method := getattr(self._host, name)):
            raise AttributeError(name)
        if name in ("item", "tolist", "nonzero"):
            return lambda: syncs.append(name) or _wrap_tuple(method())
        return lambda *args, **kwargs: _call(method, name, args, kwargs, view=name in ("reshape", "transpose", "view"))

    @property
    def flags(self):
        return Flags({name: self._host.flags[name] for name in ("C_CONTIGUOUS", "F_CONTIGUOUS", "OWNDATA")})

    def __getitem__(self, key):
        gather, key = self._indices(key)
        if gather:
            launches.append("take")
        return _wrap(self._host[key])

    def __setitem__(self, key, value):
        _, key = self._indices(key)
        if np.ndim(_unwrap(value)) and not isinstance(value, ndarray):
            raise ValueError("a host array was assigned to a device array")
        launches.append("setitem")
        self._host[key] = _unwrap(value)

    def _indices(self, key):
        """Return whether an index is an array, and the indices on the host, wrapped around as CuPy does it."""
        keys = list(key) if isinstance(key, tuple) else [key]
        axis, gather = 0, False
        for n, k in enumerate(keys):
            if isinstance(k, np.ndarray):
                uploads.append(k.shape)
            array = _unwrap(k)
            if isinstance(array, np.ndarray):
                gather = True
                if array.dtype == bool:
                    syncs.append("boolean mask")
                    axis += array.ndim
                elif array.dtype.kind in "iu":
                    keys[n] = array % self.shape[axis] if self.shape[axis] else array
                    axis += 1
                    continue
                keys[n] = array
            elif k is Ellipsis:
                axis = self.ndim - sum(k is not None for k in keys[n + 1 :])
            elif k is not None:
                axis += 1
        return gather, tuple(keys) if isinstance(key, tuple) else keys[0]

    def __len__(self):
        return len(self._host)

    def __iter__(self):
        return (self[i] for i in range(len(self)))

    def __reduce__(self):
        return asarray, (self.get(),)

    def __copy__(self):
        return self.copy()

    def __deepcopy__(self, memo):
        return self.copy()

    def get(self, *, out=None):
        syncs.append("get")
        if out is None:
            return self._host.copy()
        out[...] = self._host
        return out


class Flags(dict[str, bool]):
    """The flags that CuPy's arrays have, as items and as attributes."""

    def __getattr__(self, name):
        if name.upper() not in self:
            raise AttributeError(name)
        return self[name.upper()]


def _syncing(name):
    def read(self, *args):
        syncs.append(name)
        return getattr(self._host, name)(*args)

    return read


for _name in ("__float__", "__int__", "__bool__", "__complex__", "__str__", "__repr__", "__format__"):
    setattr(ndarray, _name, _syncing(_name))


def _wrap(result):
    if isinstance(result, (np.ndarray, np.generic)):
        return ndarray(np.asarray(result))
    if isinstance(result, (tuple, list)):
        return type(result)(_wrap(r) for r in result)
    return result


def _wrap_tuple(result):
    return _wrap(result) if isinstance(result, tuple) else result


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
    for argument in NOT_AN_ARGUMENT & kwargs.keys():
        raise TypeError(f"{name}() got an unexpected keyword argument {argument!r}")
    if name in SYNCING:
        syncs.append(name)
    if not view:
        launches.append(name)
    out = kwargs.get("out")
    result = function(*_unwrap(list(args)), **{k: _unwrap(v) for k, v in kwargs.items()})
    if name in ("ascontiguousarray", "astype") and np.shares_memory(result, _unwrap(args[0] if args else result)):
        launches.pop()  # nothing was copied
    if name in ON_DEVICE:
        result = np.bool(result)
    if out is not None:
        return out[0] if isinstance(out, tuple) and len(out) == 1 else out
    return _wrap(result)


def asarray(a: Any, dtype: Any = None, *, copy: bool | None = None) -> ndarray:
    """Upload a host array, or stack device arrays.  Other functions refuse host arrays."""
    if isinstance(a, (list, tuple)) and any(isinstance(v, ndarray) for v in a):
        if not all(isinstance(v, ndarray) for v in a):
            raise TypeError("asarray: Unsupported type <class 'numpy.ndarray'>")
        launches.append("stack")
        return ndarray(np.array(_unwrap(list(a)), dtype))
    if isinstance(a, ndarray):
        return a if not copy and dtype in (None, a.dtype) else a.astype(dtype or a.dtype)
    uploads.append(np.shape(a))
    host = np.array(a, dtype)
    return ndarray(host.astype(host.dtype.newbyteorder("=")))


def _array(a: Any, dtype: Any = None, *, copy: bool = True) -> ndarray:
    return asarray(a, dtype, copy=copy)


def _like(function: Any) -> Callable[..., ndarray]:
    """Return ``zeros_like`` and the like, which also take a host array and return one on the device."""

    def made(a: Any, *args: Any, **kwargs: Any) -> ndarray:
        launches.append(function.__name__)
        return ndarray(function(_unwrap(a), *args, **kwargs))

    return made


def broadcast_to(x: ndarray, shape: Any) -> ndarray:
    """Return a view that, unlike NumPy's, can be written to."""
    return as_strided(x, shape, np.broadcast_to(x._host, shape).strides)


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
        return _function(function, name)


def _function(function: Callable[..., Any], name: str) -> Callable[..., Any]:
    """Return a function of device arrays, with the methods of a ufunc if it is one."""

    def call(*args: Any, **kwargs: Any) -> Any:
        return _call(function, name, args, kwargs, view=name in NO_LAUNCH)

    for method in ("at", "reduce", "outer", "accumulate") if isinstance(function, np.ufunc) else ():
        setattr(call, method, _function(getattr(function, method), name))
    return call


class Generator:
    """The methods of CuPy's random generator that NumPy's has too; ``permutation`` is not among them."""

    def __init__(self, seed: Any = None) -> None:
        self._rng = np.random.default_rng(seed)

    def __getattr__(self, name: str) -> Callable[..., Any]:
        if name not in ("integers", "random", "standard_normal", "normal", "uniform", "exponential", "gamma"):
            raise AttributeError(f"'Generator' object has no attribute {name!r}")
        return lambda *args, **kwargs: _call(getattr(self._rng, name), name, args, kwargs)


module: Any = Module("cupy")
module.ndarray, module.asarray, module.array, module.__version__ = ndarray, asarray, _array, "double"
module.zeros_like, module.ones_like, module.full_like = (_like(f) for f in (np.zeros_like, np.ones_like, np.full_like))
module.broadcast_to, module.random = broadcast_to, types.SimpleNamespace(default_rng=Generator)
module.asnumpy = lambda a: a.get() if isinstance(a, ndarray) else np.asarray(a)
module.get_array_module = lambda *arrays: module if any(isinstance(a, ndarray) for a in arrays) else np
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
