"""Which module an array belongs to, NumPy or CuPy, and moving arrays between the two.

CuPy is looked up, never imported, until somebody asks for a GPU: an array of CuPy's can only exist once CuPy is loaded.
"""

import sys
from types import ModuleType
from typing import Any

import numpy as np

Array = Any  # numpy.ndarray or cupy.ndarray: the two share no base class to name here

harmless_underflow = np.errstate(under="ignore")  # decorates functions whose small numbers may become 0


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


NUMBERS = frozenset(map(np.dtype, ("float32", "float64", "complex64", "complex128")))  # complex: for derivatives


def check_array(name: str, x: Any, shape: str) -> None:
    """Raise TypeError, saying what to do, unless x is an array of NumPy or CuPy that the equations can work on.

    Float32 and float64 can, and complex numbers, by whose imaginary parts derivatives are taken. Float16 cannot: sums
    overflow at 65,504. ``name`` and the expected ``shape`` are for the message.
    """
    cupy = sys.modules.get("cupy")
    if not (isinstance(x, (np.ndarray, np.generic)) or (cupy is not None and isinstance(x, cupy.ndarray))):
        raise TypeError(f"{name} is a {type(x).__name__}; expected an array of shape {shape}, of NumPy or CuPy")
    check_plain(name, x)
    if x.dtype.kind not in "fc" or x.dtype.itemsize < 4:
        raise TypeError(f"{name} has dtype {x.dtype}; expected float32 or float64, by {name}.astype('float32')")


def check_plain(name: str, x: Any) -> None:
    """Raise TypeError for the subclasses of NumPy's array that mean something else by the same operations."""
    if isinstance(x, np.ma.MaskedArray):
        raise TypeError(
            f"{name} is a masked array, and its mask would be ignored; expected a plain array, by {name}.filled(value)"
        )
    if isinstance(x, np.matrix):
        raise TypeError(f"{name} is a np.matrix, where * is a matrix product; expected an array, by np.asarray({name})")


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
        wanted = "pip install 'cupy-cuda12x[ctk]' or 'cupy-cuda13x[ctk]', whichever the driver is for"
        raise RuntimeError(f"CuPy {why}; {wanted}") from None
    if not cupy.cuda.is_available():
        raise RuntimeError(f"CuPy {cupy.__version__} finds no GPU it can use (is the driver installed?)")
    return cupy


def to_device(array: Array, device: str) -> Array:
    """The array on "cpu" or "gpu", copied only if it lies elsewhere.

    Raises as ``device_module``, TypeError for a masked array or a np.matrix.
    """
    check_plain("array", array)
    return to_host(array) if device == "cpu" else device_module(device).asarray(array)


def to_host(array: Array) -> np.ndarray:
    """The array as NumPy's; a copy from a GPU waits until the GPU has finished."""
    return array if on_host(array) else array.get()


def moved_to(like: Array, array: Array) -> Array:
    """The array on the side of ``like``, host or device, copied only if it lies on the other."""
    return to_host(array) if on_host(like) else array_module(like).asarray(array)


def on_host(array: Array) -> bool:
    """Whether the array's numbers can be looked at without waiting for a GPU."""
    return array_module(array) is np
