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
    """The array on "cpu" or "gpu", copied only if it lies elsewhere.  Raises as ``device_module``."""
    return to_host(array) if device == "cpu" else device_module(device).asarray(array)


def to_host(array: Array) -> np.ndarray:
    """The array as NumPy's; a copy from a GPU waits until the GPU has finished."""
    return array if on_host(array) else array.get()


def on_host(array: Array) -> bool:
    """Whether the array's numbers can be looked at without waiting for a GPU."""
    return array_module(array) is np
