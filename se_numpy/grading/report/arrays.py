"""Arrays for reports: planes of values, with the expected ones, the returned ones and their difference in one row.

The terminal, the page and the card draw the same ``Block``. An array with more than two axes longer than 1 is shown
plane by plane, usually the feature map of one image and channel; a plane's label is its index, as in ``U[0, :, :, 3]``.
"""

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from se_numpy.grading.report.text import line, number

PLANES, SIDE = 4, 8  # at most this many planes per array, and rows and columns per plane, are shown


@dataclass(frozen=True)
class Outline:
    """The shape, dtype and digest of an array that is too large to keep."""

    shape: tuple[int, ...]
    dtype: str
    sha256: str


@dataclass(frozen=True)
class Grid:
    """A plane, or a window of it, ready to be drawn."""

    title: str  # "expected", "yours", "difference", or empty
    label: str  # "U[0, :, :, 3]"
    texts: list[list[str]]
    values: np.ndarray  # determine the colours; NaN has none
    marked: np.ndarray  # where yours differs
    rows: range
    columns: range
    limit: float  # the magnitude that gets the strongest colour


@dataclass(frozen=True)
class Block:
    """An argument or a result as shown in a report: a line about it and rows of grids."""

    name: str
    about: str
    rows: tuple[tuple[Grid, ...], ...] = ()


@dataclass(frozen=True)
class View:
    """The position of a shown window in its array."""

    index: tuple[int | slice, ...]
    rows: range
    columns: range
    label: str

    def take(self, array: np.ndarray) -> np.ndarray:
        """Return the window as a two-dimensional array."""
        plane = array[self.index]
        plane = plane.reshape((1,) * (2 - plane.ndim) + plane.shape)
        return plane[self.rows.start : self.rows.stop, self.columns.start : self.columns.stop]


def block(name: str, value: Any, planes: int = PLANES) -> Block:
    """Return an argument as a block: the planes of an array, or the text of any other value."""
    if not isinstance(value, np.ndarray | Outline):
        value = value.item() if isinstance(value, np.generic) else value
        return Block(line(name, 60), repr(line(value)) if isinstance(value, str) else number(value))
    if isinstance(value, Outline):
        return Block(line(name, 60), f"{_kind(value)}, too large to keep; sha256 {line(value.sha256, 12)}")
    array = np.asarray(value)
    views, rest = _views(array.shape, name, planes)
    limit = _limit(array)
    rows = tuple((_grid("", v, array, limit),) for v in views)
    return Block(line(name, 60), _kind(array) + (f"; {rest}" if rest else ""), rows)


def compare(name: str, expected: Any, got: Any = None, planes: int = PLANES) -> Block:
    """Return a result as a block: expected, returned and difference in one row, or in several if the shapes differ."""
    if got is None:
        return _titled(block(name, expected, planes), "expected")
    difference = _difference(expected, got)
    if difference is None:
        right, wrong = block(name, expected, planes), block(name, got, planes)
        rows = _titled(right, "expected").rows + _titled(wrong, "yours").rows
        return Block(right.name, f"expected: {right.about}; yours: {wrong.about}", rows)
    expected, got = np.asarray(expected), np.asarray(got)
    size = _size(difference)
    worst = float(size.max(initial=0.0))
    # Differences a thousand times smaller than the largest may be rounding.
    marked = size > (worst / 1000 if math.isfinite(worst) else 0.0)
    views, rest = _views(expected.shape, name, planes, size)
    digits = _digits(expected[marked], got[marked])
    limit = max(_limit(expected), _limit(got))
    rows = tuple(
        (
            _grid("expected", v, expected, limit, digits=digits),
            _grid("yours", v, got, limit, marked, digits),
            _grid("difference", v, difference, _limit(difference), marked),
        )
        for v in views
    )
    about = _kind(expected)
    if expected.size > 1:
        about += f", {int(marked.sum())} of {expected.size} entries differ"
    return Block(line(name, 60), about + (f"; {rest}" if rest else ""), rows)


def comparisons(expected: Mapping[str, Any], got: Mapping[str, Any], planes: int = PLANES) -> Iterator[Block]:
    """Yield a block for each expected result and each unexpected one; results that agree get one line each.

    The tolerance is not known here. A result agrees if its relative error is at most 1e-6 and a thousand times smaller
    than that of the worst result.
    """
    off = {name: _relative(right, got[name]) for name, right in expected.items() if name in got}
    worst = max(off.values(), default=0.0)
    for name, right in expected.items():
        if name in off and off[name] <= 1e-6 and off[name] < worst / 1000:
            yield Block(line(name, 60), f"{_kind(right)}, agrees")
        else:
            yield compare(name, right, got.get(name), planes)
    for name in got:
        if name not in expected:
            yield _titled(block(name, got[name], planes), "yours")


def _relative(expected: Any, got: Any) -> float:
    """Return the largest difference divided by the largest expected value, or infinity if they cannot be compared."""
    difference = _difference(expected, got)
    if difference is None:
        return math.inf
    worst, scale = float(_size(difference).max(initial=0.0)), _limit(np.asarray(expected))
    return worst / scale if scale > 0 else math.inf if worst > 0 else 0.0


def _titled(shown: Block, title: str) -> Block:
    return replace(shown, rows=tuple(tuple(replace(grid, title=title) for grid in row) for row in shown.rows))


def _kind(array: np.ndarray | Outline) -> str:
    shape = f"shape {tuple(array.shape)}" if len(array.shape) else "a single number"
    return f"{shape}, {line(array.dtype, 30)}" + (", empty" if 0 in array.shape else "")


def _views(shape: tuple[int, ...], name: str, planes: int, size: np.ndarray | None = None) -> tuple[list[View], str]:
    """Return the windows to show, those with the largest ``size``, and a remark if they are not the whole array."""
    if 0 in shape:
        return [], ""
    axes = _plane_axes(shape, name)
    others = [a for a in range(len(shape)) if a not in axes]
    outer, inner = [shape[a] for a in others], [shape[a] for a in axes]
    weight = np.zeros(shape) if size is None else size
    weight = weight.transpose(others + axes).reshape(math.prod(outer), *(1,) * (2 - len(inner)), *inner)
    # The worst planes, in array order.
    chosen = np.sort(np.argsort(-weight.max((1, 2)), kind="stable")[:planes])
    views = []
    for plane in chosen:
        place = iter(np.unravel_index(plane, outer))
        index = tuple(slice(None) if a in axes else int(next(place)) for a in range(len(shape)))
        row, column = np.unravel_index(int(weight[plane].argmax()), weight.shape[1:])
        place_text = ", ".join(":" if isinstance(i, slice) else str(i) for i in index)
        label = name if len(shape) <= 2 else f"{name}[{place_text}]"
        rows, columns = _window(int(row), weight.shape[1]), _window(int(column), weight.shape[2])
        views.append(View(index, rows, columns, line(label, 80)))
    if len(views) == len(weight) and len(views[0].rows) == weight.shape[1] and len(views[0].columns) == weight.shape[2]:
        return views, ""
    part = "the beginning" if size is None else "the part around the largest differences"
    return views, f"only {part} is shown"


def _plane_axes(shape: tuple[int, ...], name: str) -> list[int]:
    """Return the axes of a plane: those longer than 1 if there are at most two, else a map's height and width."""
    if len(shape) <= 2:
        return list(range(len(shape)))
    long = [axis for axis, size in enumerate(shape) if size > 1]
    if len(long) <= 2:
        return long
    filters = name.lstrip("d").startswith("V")  # (k, k, C', C); maps are (N, H, W, C)
    return [0, 1] if filters else [len(shape) - 3, len(shape) - 2]


def _window(centre: int, size: int) -> range:
    start = max(0, min(centre - SIDE // 2, size - SIDE))
    return range(start, min(size, start + SIDE))


def _grid(
    title: str, view: View, array: np.ndarray, limit: float, marked: np.ndarray | None = None, digits: int = 4
) -> Grid:
    part = view.take(array)
    with np.errstate(all="ignore"):
        if part.dtype.kind == "f":
            part = part.astype(np.float64)  # tolist() leaves wider floats as NumPy scalars
        values = part.real.astype(np.float64) if part.dtype.kind in "fiubc" else np.full(part.shape, np.nan)
    texts = [[number(entry, digits) for entry in row] for row in part.tolist()]
    where = np.zeros(part.shape, bool) if marked is None else view.take(marked)
    return Grid(title, view.label, texts, values, where, view.rows, view.columns, limit)


def _difference(expected: Any, got: Any) -> np.ndarray | None:
    """Return ``got`` - ``expected``, 0 where both are NaN or the same infinity; None if they cannot be subtracted."""
    if not (isinstance(expected, np.ndarray) and isinstance(got, np.ndarray)) or expected.shape != got.shape:
        return None
    if expected.dtype.kind not in "fiubc" or got.dtype.kind not in "fiubc":
        return None
    kind = np.complex128 if "c" in (expected.dtype.kind, got.dtype.kind) else np.float64
    with np.errstate(all="ignore"):
        right, yours = np.asarray(expected).astype(kind), np.asarray(got).astype(kind)
        same = (right == yours) | (np.isnan(right) & np.isnan(yours))
        return np.where(same, 0.0, yours - right)


def _size(difference: np.ndarray) -> np.ndarray:
    with np.errstate(all="ignore"):
        size = np.abs(difference)
    return np.where(np.isfinite(size), size, np.inf)


def _limit(array: np.ndarray) -> float:
    """Return the largest finite magnitude."""
    if array.dtype.kind not in "fiubc":
        return 0.0
    with np.errstate(all="ignore"):
        size = np.abs(array.real.astype(np.float64))
    return float(np.where(np.isfinite(size), size, 0.0).max(initial=0.0))


def _digits(expected: np.ndarray, got: np.ndarray) -> int:
    """Return the number of digits, at least 4, with which values that differ also look different."""
    pairs = list(zip(expected[:SIDE].tolist(), got[:SIDE].tolist(), strict=True))
    for digits in range(4, 12):
        if all(number(e, digits) != number(g, digits) for e, g in pairs):
            return digits
    return 12
