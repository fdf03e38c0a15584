"""Shapes that explain themselves: one line in an operation names every axis, and a wrong array gets told what it is."""

import operator
from functools import cache
from typing import Any

import numpy as np

from se_numpy.arrays import NUMBERS, Array, array_module, check_array


def check(spec: str, *arrays: Array) -> tuple[int, ...]:
    """Bind the letters of ``spec`` to the arrays' sizes and return them in order of appearance.

    ``check("U: N H W C, s: N C", U, s)`` returns (N, H, W, C). A letter seen twice must have one size. ``...`` stands
    for any number of axes, the same ones everywhere in the spec. A shape, as a tuple of integers, may stand in for an
    array, and None for an optional one that was not given.

    Raises TypeError for something that is not an array of float32 or float64 (or complex, for derivatives), for masked
    arrays and np.matrix, or for arrays of NumPy and CuPy at once; ValueError for a wrong shape, naming the array, its
    shape and the expected one.
    """
    sizes: dict[str, Any] = {}
    for (name, before, open_ended, after), x in zip(_parse(spec), arrays, strict=True):
        if x is None:
            continue
        if isinstance(x, tuple):
            shape = x
        else:
            if type(x) is not np.ndarray or x.dtype not in NUMBERS:  # short for the usual array: this is in every call
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
            raise ValueError(f"{name} has shape {shape}; expected at least one number along every axis")
        sizes.update(zip(fixed, ends, strict=True))
        if open_ended:
            sizes["..."] = between
    array_module(*[x for x in arrays if not isinstance(x, tuple)])
    sizes.pop("...", None)
    return tuple(sizes.values())


def whole(name: str, value: Any, *, least: int = 1) -> int:
    """Return a hyperparameter as an int: Python's, NumPy's or any other type with an ``__index__``.

    Raises TypeError for anything else, ValueError for less than ``least``; both name the hyperparameter.
    """
    try:
        number = operator.index(value)
    except TypeError:
        raise TypeError(f"{name} is {value!r}; expected a whole number, at least {least}") from None
    if number < least:
        raise ValueError(f"{name} is {number}; expected a whole number, at least {least}")
    return number


@cache
def _parse(spec: str) -> list[tuple[str, tuple[str, ...], bool, tuple[str, ...]]]:
    """(name, axes before "...", whether there is one, axes after it) of each array."""
    rows = []
    for part in spec.split(", "):
        name, letters = part.split(": ")
        axes = tuple(letters.split())
        at = axes.index("...") if "..." in axes else len(axes)
        rows.append((name, axes[:at], "..." in axes, axes[at + 1 :]))
    return rows


def _show(spec: str, name: str, sizes: dict[str, Any] | None = None) -> str:
    """The expected shape of one array, in letters or, as far as they are known, in numbers."""
    ((_, before, open_ended, after),) = [row for row in _parse(spec) if row[0] == name][:1]
    sizes = sizes or {}
    middle = [str(n) for n in sizes.get("...", ("...",))] if open_ended else []
    axes = [str(sizes.get(a, a)) for a in before] + middle + [str(sizes.get(a, a)) for a in after]
    return f"({axes[0]},)" if len(axes) == 1 and axes != ["..."] else f"({', '.join(axes)})"
