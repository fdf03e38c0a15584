"""Shape checks: one line in an operation names every axis, and the error names the array that does not fit."""

import operator
from functools import cache
from typing import Any

import numpy as np

from se_numpy.arrays import NUMBERS, Array, array_module, check_array, is_device_array


def check(spec: str, *arrays: Array) -> tuple[int, ...]:
    """Bind the letters of ``spec`` to the sizes of the arrays and return the sizes in order of appearance.

    ``check("U: N H W C, s: N C", U, s)`` returns (N, H, W, C). A letter that occurs twice must have the same size both
    times. ``...`` stands for any number of axes, which must be the same throughout the spec. A shape, as a tuple of
    integers, may take the place of an array; None takes the place of an optional array that was not given.

    Raises
    ------
    TypeError
        If an array is not of dtype float32 or float64 (or complex, for derivatives), is a masked array or an np.matrix,
        or if NumPy and CuPy arrays are mixed.
    ValueError
        If a shape does not fit; the message names the array, its shape and the expected shape.
    """
    sizes: dict[str, Any] = {}
    for (name, before, open_ended, after), x in zip(_parse(spec), arrays, strict=True):
        if x is None:
            continue
        if isinstance(x, tuple):
            shape = x
        else:
            if (
                not (type(x) is np.ndarray or is_device_array(x)) or x.dtype not in NUMBERS
            ):  # others skip the slower check
                check_array(name, x, _show(spec, name))
            shape = tuple(x.shape)
        fixed, given = before + after, len(shape)
        between = shape[len(before) : given - len(after)]
        ends = shape[: len(before)] + shape[given - len(after) :]
        fits = given >= len(fixed) if open_ended else given == len(fixed)
        fits = fits and not any([sizes.get(a, n) != n for a, n in zip(fixed, ends, strict=False)])
        if not fits or (open_ended and sizes.get("...", between) != between):
            known = _show(spec, name, sizes)
            means = f" = {known}" if known != _show(spec, name) else ""
            raise ValueError(f"{name} has shape {shape}; expected {_show(spec, name)}{means}")
        if 0 in shape:
            raise ValueError(f"{name} has shape {shape}; expected at least one element along every axis")
        sizes.update(zip(fixed, ends, strict=True))
        if open_ended:
            sizes["..."] = between
    array_module(*[x for x in arrays if not isinstance(x, tuple)])
    sizes.pop("...", None)
    return tuple(sizes.values())


def whole(name: str, value: Any, *, least: int = 1) -> int:
    """Return a hyperparameter as an int, from an int, a NumPy integer or any other type with an ``__index__`` method.

    Raises
    ------
    TypeError
        If ``value`` is not an integer.
    ValueError
        If ``value`` is less than ``least``.
    """
    try:
        number = operator.index(value)
    except TypeError:
        raise TypeError(f"{name} is {value!r}; expected a whole number, at least {least}") from None
    if number < least:
        raise ValueError(f"{name} is {number}; expected a whole number, at least {least}")
    return number


def count(name: str, value: Any, *, least: int = 1) -> int:
    """Return a number of things as an int, as ``whole`` does, but refuse True and False.

    Raises
    ------
    TypeError, ValueError
        As ``whole`` does, and TypeError for a bool.
    """
    if isinstance(value, bool):
        raise TypeError(f"{name} is {value}; expected a whole number, at least {least}")
    return whole(name, value, least=least)


def is_real(value: Any) -> bool:
    """Return True for a number that is not a bool; NaN and infinity are among them."""
    return isinstance(value, (int, float, np.integer, np.floating)) and not isinstance(value, bool)


def flag(name: str, value: Any) -> bool:
    """Return a hyperparameter that is True or False.

    Raises
    ------
    TypeError
        If ``value`` is neither.
    """
    if not isinstance(value, (bool, np.bool_)):
        raise TypeError(f"{name} is {value!r}; expected True or False")
    return bool(value)


@cache
def _parse(spec: str) -> list[tuple[str, tuple[str, ...], bool, tuple[str, ...]]]:
    """Return (name, axes before "...", True if there is a "...", axes after it) for each array."""
    rows = []
    for part in spec.split(", "):
        name, letters = part.split(": ")
        axes = tuple(letters.split())
        at = axes.index("...") if "..." in axes else len(axes)
        rows.append((name, axes[:at], "..." in axes, axes[at + 1 :]))
    return rows


def _show(spec: str, name: str, sizes: dict[str, Any] | None = None) -> str:
    """Return the expected shape of one array as text, with the known sizes in place of their letters."""
    ((_, before, open_ended, after),) = [row for row in _parse(spec) if row[0] == name][:1]
    sizes = sizes or {}
    middle = [str(n) for n in sizes.get("...", ("...",))] if open_ended else []
    axes = [str(sizes.get(a, a)) for a in before] + middle + [str(sizes.get(a, a)) for a in after]
    return f"({axes[0]},)" if len(axes) == 1 and axes != ["..."] else f"({', '.join(axes)})"
