"""The array module of an array (NumPy or CuPy), checks of arrays, and transfers between host and device.

CuPy is imported only when a GPU is requested. Until then it is looked up in ``sys.modules``: a CuPy array cannot exist
before CuPy has been imported.
"""

import sys
from types import ModuleType
from typing import Any

import numpy as np

Array = Any  # numpy.ndarray or cupy.ndarray, which have no common base class

harmless_underflow = np.errstate(under="ignore")  # decorates functions whose small values may underflow to 0


def is_device_array(x: Any) -> bool:
    """Return True for a CuPy array."""
    cupy = sys.modules.get("cupy")
    return cupy is not None and isinstance(x, cupy.ndarray)


def array_module(*arrays: Array) -> ModuleType:
    """Return the module that all the arrays belong to, numpy or cupy.  Numbers and None belong to either.

    Raises
    ------
    TypeError
        If an argument is not an array, or if NumPy and CuPy arrays are mixed.
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
            f"got NumPy arrays (host, {on_host}) and CuPy arrays (device, {on_device}) together; move all of them to "
            "one device with se_numpy.to_device(x, 'gpu') or se_numpy.to_host(x)"
        )
    return cupy if cupy is not None and on_device else np


def occurrences(values: np.ndarray, n: int) -> np.ndarray:
    """Return how often each of the numbers 0 to n - 1 occurs, (n,).

    ``np.bincount`` alone refuses int64 on a 32-bit platform, such as a browser.
    """
    return np.bincount(values.astype(np.intp, copy=False), minlength=n)


NUMBERS = frozenset(map(np.dtype, ("float32", "float64", "complex64", "complex128")))  # complex: for derivatives


def check_array(name: str, x: Any, shape: str) -> None:
    """Raise TypeError unless x is a NumPy or CuPy array of float32, float64 or complex numbers.

    Complex arrays are accepted because derivatives are computed by a complex step. Float16 is refused because sums
    overflow at 65,504. ``name`` and the expected ``shape`` appear in the message.
    """
    if not (isinstance(x, (np.ndarray, np.generic)) or is_device_array(x)):
        raise TypeError(f"{name} is a {type(x).__name__}; expected a NumPy or CuPy array of shape {shape}")
    check_plain(name, x)
    if x.dtype.kind not in "fc" or x.dtype.itemsize < 4:
        raise TypeError(f"{name} has dtype {x.dtype}; expected float32 or float64: use {name}.astype('float32')")


def check_plain(name: str, x: Any) -> None:
    """Raise TypeError for a masked array or an np.matrix, for which the same operations have a different meaning."""
    if isinstance(x, np.ma.MaskedArray):
        raise TypeError(
            f"{name} is a masked array, whose mask would be ignored; expected a plain array: use {name}.filled(value)"
        )
    if isinstance(x, np.matrix):
        raise TypeError(
            f"{name} is an np.matrix, where * is the matrix product; expected a plain array: use np.asarray({name})"
        )


def device_module(device: str) -> ModuleType:
    """Return numpy for "cpu" and cupy for "gpu".  This is the only function that imports CuPy.

    Raises
    ------
    ValueError
        If ``device`` is neither "cpu" nor "gpu".
    RuntimeError
        If no GPU can be used; the message gives the reason.
    """
    if device == "cpu":
        return np
    if device != "gpu":
        raise ValueError(f"unknown device {device!r}; expected 'cpu' or 'gpu'")
    try:
        import cupy
    except ImportError as error:
        why = "is not installed" if isinstance(error, ModuleNotFoundError) else f"cannot be imported ({error})"
        command = "pip install 'cupy-cuda12x[ctk]', or 'cupy-cuda13x[ctk]' if the driver supports CUDA 13"
        raise RuntimeError(f"CuPy {why}; run {command}") from None
    if not cupy.cuda.is_available():
        raise RuntimeError(f"CuPy {cupy.__version__} cannot find a usable GPU; check that the driver is installed")
    module: ModuleType = cupy
    return module


def to_device(array: Array, device: str) -> Array:
    """Return the array on ``device``, "cpu" or "gpu".  It is copied only if it is on the other device.

    Raises
    ------
    ValueError
        If ``device`` is neither "cpu" nor "gpu".
    RuntimeError
        If no GPU can be used; the message gives the reason.
    TypeError
        If ``array`` is not an array, or if it is a masked array or an np.matrix.
    """
    check_plain("array", array)
    return to_host(array) if device == "cpu" else device_module(device).asarray(array)


def to_host(array: Array) -> np.ndarray:
    """Return the array as a NumPy array.  A copy from a GPU waits until the GPU has finished."""
    host: np.ndarray = array if on_host(array) else array.get()
    return host


def moved_to(like: Array, array: Array) -> Array:
    """Return the array on the device of ``like``.  It is copied only if it is on the other device."""
    return to_host(array) if on_host(like) else array_module(like).asarray(array)


def on_host(array: Array) -> bool:
    """Return True for a NumPy array, whose values can be read without waiting for a GPU."""
    return array_module(array) is np
