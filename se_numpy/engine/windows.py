"""Windows of feature maps as rows of a matrix, so that a convolution is one matrix product.

With channels last, the kw·C values in a row of a window are contiguous, so windows are copied in long runs.
"""

from collections.abc import Iterator
from functools import cache
from types import ModuleType

import numpy as np

from se_numpy.arrays import Array
from se_numpy.engine import cuda
from se_numpy.engine.affine_maps import AffineMaps
from se_numpy.engine.parallel import chunks
from se_numpy.engine.workspace import workspace, zero_padded_workspace


def unfold(
    X: AffineMaps, n: slice, h: slice, W: int, kernel: tuple[int, int], dtype: object, *,
    stride: int = 1, before: tuple[int, int] = (0, 0), groups: int = 1, tile: int = 1,
) -> Iterator[tuple[slice, Array]]:  # fmt: skip
    """Yield (part, windows) for a few images of X (N, H', W', C) at a time: windows need far more memory than maps.

    ``part`` is a slice of these images, relative to n.start. ``windows`` (groups, R, kh·wide·C/groups) has one row
    for every ``tile`` output pixels in rows h and columns 0 to W; ``wide`` is kw for a tile of one pixel. The first
    window begins ``before`` (rows, columns) above and to the left of the maps; values outside the maps are zero.
    """
    xp, (kh, kw), (ph, pw), c = X.xp, kernel, before, X.shape[3] // groups
    if X.has_kernels and not (kh == kw == stride == groups == 1) and X.dtype == dtype:
        yield from _launched(X, n, h, W, kernel, stride, before, groups)
        return
    wide, across = (tile - 1) * stride + kw, -(-W // tile)
    rows_seen = slice(h.start * stride - ph, (h.stop - 1) * stride + kh - ph)
    maps = excerpt(X, n, rows_seen, slice(-pw, (across * tile - 1) * stride + kw - pw), dtype, groups)
    images = maps.shape[1]
    if kh == wide == stride == 1:
        yield slice(0, images), maps.reshape(groups, -1, c)  # a window is a single pixel
        return
    for part in chunks(xp, images, (h.stop - h.start) * across * kh * wide * c * groups * maps.itemsize):
        shape = groups, part.stop - part.start, h.stop - h.start, across, kh, wide, c
        windows = workspace(xp, "windows", shape, dtype)
        _copy_windows(xp, maps, part, stride, tile * stride, windows)
        yield part, windows.reshape(groups, -1, kh * wide * c)


def _copy_windows(xp: ModuleType, maps: Array, part: slice, down: int, across: int, out: Array) -> None:
    """Copy the windows of some images of contiguous maps (groups, n, H', W', c) to ``out``.

    Neighbouring windows are ``down`` rows or ``across`` columns apart.
    """
    sg, sn, sh, sw, sc = maps.strides
    strides = sg, sn, down * sh, across * sw, sh, sw, sc
    if xp is np:  # copying a row of a window as one item is a quarter faster
        run = _item(out.shape[5] * out.shape[6] * maps.itemsize)
        rows = out.reshape(*out.shape[:5], -1).view(run)[..., 0]
        np.copyto(rows, np.ndarray(rows.shape, run, maps, part.start * sn, strides[:5]))
    else:
        xp.copyto(out, xp.lib.stride_tricks.as_strided(maps[:, part], out.shape, strides))


@cache
def _item(size: int) -> np.dtype:
    """Return a dtype whose items have this many bytes."""
    return np.dtype((np.void, size))


def by_group(maps: Array, groups: int) -> Array:
    """Return a view of maps (n, H, W, C) as (groups, n, H, W, C/groups)."""
    return maps.reshape(*maps.shape[:3], groups, maps.shape[3] // groups).transpose(3, 0, 1, 2, 4)


def copy_pixels(source: Array, out: Array) -> None:
    """Write out = source, copying the last, contiguous axis as one item: twice as fast for few channels."""
    if isinstance(out, np.ndarray) and source.dtype == out.dtype:
        item = _item(out.shape[-1] * out.itemsize)
        source, out = source.view(item)[..., 0], out.view(item)[..., 0]
    out[...] = source


def _launched(
    X: AffineMaps, n: slice, h: slice, W: int, kernel: tuple[int, int], stride: int, before: tuple[int, int],
    groups: int,
) -> Iterator[tuple[slice, Array]]:  # fmt: skip
    """Yield what ``unfold`` does, in one launch unless there are too many windows for a kernel's indices."""
    first, stop, _ = n.indices(len(X.x))
    most = max(1, (cuda.LIMIT - 1) // ((h.stop - h.start) * W * kernel[0] * kernel[1] * X.shape[3]))
    for start in range(first, stop, most):
        part = slice(start, min(start + most, stop))
        yield slice(part.start - first, part.stop - first), _launch(X, part, h, W, kernel, stride, before, groups)


def _launch(
    X: AffineMaps, n: slice, h: slice, W: int, kernel: tuple[int, int], stride: int, before: tuple[int, int],
    groups: int,
) -> Array:  # fmt: skip
    """Return the windows of all images n; the kernel computes the maps as it reads them."""
    (kh, kw), (_, H_, W_, C) = kernel, X.shape
    whole = n == slice(0, len(X.x))
    arrays = [v if whole or v.ndim == 1 else v[n] for v in X.parts.values()]
    images = n.stop - n.start
    numbers = (  # the number of images is left out where possible: a kernel is compiled for its numbers
        groups, images if groups > 1 else 1, h.start, h.stop - h.start, W, kh, kw, stride, *before, H_, W_, C,
        C // groups,
    )  # fmt: skip
    out = X.xp.empty((groups, images * (h.stop - h.start) * W, kh * kw * C // groups), X.dtype)
    c = X.expression
    cuda.launch("windows", X.xp, *arrays, *numbers, out, inputs=c.raw_inputs, formula=c.raw_formula)
    return out


def excerpt(X: AffineMaps, n: slice, h: slice, w: slice, dtype: object, groups: int = 1) -> Array:
    """Return rows h and columns w of images n, contiguous, group by group: (groups, n, rows, columns, C/groups).

    Rows and columns outside the maps are zero.
    """
    xp, (_, H, W, C) = X.xp, X.shape
    top, bottom = (min(max(i, 0), H) for i in (h.start, h.stop))
    left, right = (min(max(i, 0), W) for i in (w.start, w.stop))
    whole_rows = (left, right) == (0, W)
    size = len(X.x[n]), h.stop - h.start, w.stop - w.start
    place = slice(None), slice(top - h.start, bottom - h.start), slice(left - w.start, right - w.start)
    if groups > 1:
        around, inside = zero_padded_workspace(xp, (groups, *size, C // groups), (slice(None), *place), dtype)
        copy_pixels(by_group(X.read(n, slice(top, bottom), "maps")[:, :, left:right], groups), inside)
        return around
    if X.written and whole_rows and (top, bottom) == (h.start, h.stop) and (left, right) == (w.start, w.stop):
        return xp.ascontiguousarray(X.x[n, h], dtype)[None]
    around, inside = zero_padded_workspace(xp, (*size, C), place, dtype)
    if whole_rows:
        X.into(inside, n, slice(top, bottom))
    else:
        inside[...] = X.read(n, slice(top, bottom), "maps")[:, :, left:right]
    return around[None]
