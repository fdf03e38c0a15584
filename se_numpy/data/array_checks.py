"""Checks of images and labels given as arrays; each fault is one sentence that says what to write instead."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from se_numpy.arrays import Array, check_plain, on_host

LEVELS = "pixels as bytes, 0 to 255 (uint8)"


def check_images(name: str, images: Any) -> tuple[int, int, int, int]:
    """Check that these are images (N, H, W, C) uint8, and return N, H, W and C.

    Raises
    ------
    TypeError
        If it is not a NumPy array of bytes.
    ValueError
        If the axes are missing, empty or in another order.
    """
    _check_array(name, images)
    check_bytes(name, images)
    shape = tuple(images.shape)
    if len(shape) != 4:
        raise ValueError(f"{name} has shape {shape}; expected (N, H, W, C), channels last{_axes_hint(name, shape)}")
    if shape[1] in (1, 3, 4) and min(shape[2:]) > 4:
        raise ValueError(
            f"{name} has shape {shape}; expected (N, H, W, C), channels last: {name}.transpose(0, 2, 3, 1)"
        )
    if 0 in shape[1:]:
        raise ValueError(f"{name} has shape {shape}; expected images of at least 1 pixel and 1 channel")
    return shape


def check_bytes(name: str, images: Any) -> None:
    """Raise TypeError unless the pixels are bytes; the message says how to convert others."""
    if images.dtype == np.uint8:
        return
    hint, values = "", images
    if images.size and images.dtype.kind in "buif" and on_host(images):
        low, high = values.min(), values.max()
        hint = f", with values from {low:g} to {high:g}" if images.dtype.kind != "b" else ""
        hint += f"; expected {LEVELS}{_bytes_hint(name, images.dtype.kind, float(low), float(high))}"
    raise TypeError(f"{name} has dtype {images.dtype}{hint or f'; expected {LEVELS}'}")


def check_labels(name: str, labels: Array, N: int, classes: int, whose: str) -> None:
    """Check that these are N integer labels, 0 to ``classes`` - 1; ``whose`` classes appears in the message.

    Raises
    ------
    TypeError
        If it is not an array of integers.
    ValueError
        If there are not N labels in one axis, or if one is out of range.
    """
    dtype = getattr(labels, "dtype", None)
    if getattr(dtype, "kind", "?") not in "iu":
        raise TypeError(
            f"{name} are {dtype or type(labels).__name__}; expected an array of integers, 0 to {classes - 1}"
            + _labels_hint(name, labels)
        )
    check_plain(name, labels)
    if labels.shape != (N,):
        one_hot = f": {name}.argmax(1)" if labels.shape == (N, classes) and classes > 1 else ""
        flat = f": {name}.ravel()" if labels.size == N and labels.ndim > 1 and not one_hot else ""
        raise ValueError(
            f"{name} have shape {tuple(labels.shape)}; expected ({N},), one for each image{one_hot or flat}"
        )
    if N and on_host(labels) and not 0 <= labels.min() <= labels.max() < classes:  # on a GPU this would wait
        wrong = int(np.argmax((labels < 0) | (labels >= classes)))
        from_one = f": {name} - 1" if labels.min() == 1 and labels.max() == classes else ""
        raise ValueError(f"{name}[{wrong}] is {labels[wrong]}; expected 0 to {classes - 1}, for {whose}{from_one}")


def check_classes(classes: Any) -> tuple[str, ...]:
    """Return the names of the classes as a tuple.

    Raises
    ------
    TypeError
        If they are not a sequence of names.
    ValueError
        If there are fewer than 2, or if a name is empty or occurs twice.
    """
    if isinstance(classes, (str, bytes)) or not isinstance(classes, (Sequence, np.ndarray)):
        raise TypeError(f"classes is {classes!r}; expected the names of the classes, such as ('cat', 'dog')")
    if len(classes) < 2:
        raise ValueError(f"classes is {classes!r}; expected the names of at least 2 classes, such as ('cat', 'dog')")
    for i, name in enumerate(classes):
        if not isinstance(name, str):
            raise TypeError(f"classes[{i}] is {name!r}; expected a name, as text: {str(name)!r}")
        if not name.strip():
            raise ValueError(f"classes[{i}] is {name!r}; expected a name")
        if (first := list(classes).index(name)) < i:
            raise ValueError(f"classes[{first}] and classes[{i}] are both {name!r}; expected different names")
    return tuple(map(str, classes))


def _check_array(name: str, array: Any) -> None:
    """Raise TypeError unless this is a plain NumPy array."""
    if not isinstance(array, np.ndarray):
        kind = type(array)
        convert = f"np.array({name}, 'uint8')" if isinstance(array, (list, tuple)) else f"np.asarray({name})"
        if kind.__module__.partition(".")[0] == "cupy":
            convert = f"se_numpy.to_host({name})"
        if kind.__module__.partition(".")[0] == "torch":
            convert = f"{name}.numpy()"
        raise TypeError(f"{name} is a {kind.__name__}; expected a NumPy array (N, H, W, C) of bytes: {convert}")
    check_plain(name, array)


def _axes_hint(name: str, shape: tuple[int, ...]) -> str:
    """Say how to get four axes from others."""
    if len(shape) == 3 and shape[-1] in (1, 3, 4):
        return f": for one image, {name}[None]"
    if len(shape) == 3:
        return f": for grey images, {name}[..., None]"
    if len(shape) == 2:
        return f": for flat images, {name}.reshape(N, H, W, C), in the order in which they were flattened"
    return ""


def _bytes_hint(name: str, kind: str, low: float, high: float) -> str:
    """Say how to convert pixels of another dtype, from their smallest and largest value."""
    if kind == "b":
        return f": {name} * np.uint8(255)"
    if low < 0 or high != high or high == float("inf"):
        return "; images are normalised later, so give them as they were stored"
    if kind == "f":
        return f": ({name} * 255).round().astype('uint8')" if high <= 1 else _at_most(f"{name}.round()", high)
    return _at_most(name, high)


def _at_most(values: str, high: float) -> str:
    if high <= 255:
        return f": {values}.astype('uint8')"
    return f": ({values.removesuffix('.round()')} / 257).round().astype('uint8')" if high <= 65535 else ""


def _labels_hint(name: str, labels: Any) -> str:
    """Say how to get integers from labels of another type."""
    if isinstance(labels, (list, tuple)):
        return f": np.array({name})" if all(isinstance(label, int) for label in labels) else ""
    if not isinstance(labels, np.ndarray):
        return ""
    if labels.dtype.kind in "USO" and all(isinstance(label, str | bytes) for label in labels.flat):
        return f": classes, {name} = np.unique({name}, return_inverse=True)"
    if labels.dtype.kind == "f" and labels.ndim == 1 and (labels == np.rint(labels)).all():
        return f": {name}.astype(int)"
    return f": {name}.astype(int)" if labels.dtype.kind == "b" else ""
