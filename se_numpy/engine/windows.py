"""Windows of feature maps as rows of a matrix, so that a convolution is one product.

Channels last makes kw·C numbers of a window neighbours in memory, so windows unfold in long runs.
"""

from collections.abc import Iterator
from types import ModuleType

import numpy as np

from se_numpy.arrays import Array
from se_numpy.engine.affine_maps import AffineMaps
from se_numpy.engine.cuda import has_kernels, launch
from se_numpy.engine.parallel import chunks
from se_numpy.engine.workspace import workspace, zero_padded_workspace


def unfold(
    X: AffineMaps, n: slice, h: slice, W: int, kernel: tuple[int, int], dtype: object, *,
    stride: int = 1, before: tuple[int, int] = (0, 0), groups: int = 1,
) -> Iterator[tuple[slice, Array]]:  # fmt: skip
    """(part, rows), few images at a time, for windows are many times the maps: one row for each output pixel in rows h
    and columns 0 to W, the window it sees, (groups, R, kh·kw·C/groups).  ``part`` counts images from the first of n.

    ``before`` says how many rows above and columns to the left of the maps X (N, H', W', C) the first window begins;
    where there are no maps there are zeros.
    """
    xp, C, (kh, kw), (ph, pw) = X.xp, X.shape[3], kernel, before
    if not (kh == kw == stride == groups == 1) and has_kernels(xp, *X.parts.values()) and X.dtype == dtype:
        yield slice(0, len(X.x[n])), _launch(X, n, h, W, kernel, stride, before, groups)
        return
    rows_seen = slice(h.start * stride - ph, (h.stop - 1) * stride + kh - ph)
    maps = excerpt(X, n, rows_seen, slice(-pw, (W - 1) * stride + kw - pw), dtype)
    if kh == kw == stride == groups == 1:
        yield slice(0, len(maps)), maps.reshape(1, -1, C)  # a pixel is its own window
        return
    for part in chunks(xp, len(maps), (h.stop - h.start) * W * kh * kw * C * maps.itemsize):
        some, c = maps[part], C // groups
        windows = workspace(xp, "windows", (groups, len(some), h.stop - h.start, W, kh, kw, c), dtype)
        _copy_windows(xp, some, stride, windows)
        yield part, windows.reshape(groups, -1, kh * kw * c)


def _copy_windows(xp: ModuleType, maps: Array, stride: int, out: Array) -> None:
    """The windows of contiguous maps (n, H', W', C) to ``out`` (groups, n, H, W, kh, kw, C/groups)."""
    groups, *_, c = out.shape
    sn, sh, sw, sc = maps.strides
    strides = c * sc, sn, stride * sh, stride * sw, sh, sw, sc
    if xp is np and groups == 1:  # a row of a window as one item: a quarter faster than number by number
        run = np.dtype((np.void, out.shape[5] * c * maps.itemsize))
        rows = out.reshape(*out.shape[1:5], -1).view(run)[..., 0]
        np.copyto(rows, np.ndarray(rows.shape, run, maps, strides=strides[1:5]))
    else:
        xp.copyto(out, xp.lib.stride_tricks.as_strided(maps, out.shape, strides))


def _launch(
    X: AffineMaps, n: slice, h: slice, W: int, kernel: tuple[int, int], stride: int, before: tuple[int, int],
    groups: int,
) -> Array:  # fmt: skip
    """The rows of ``unfold`` for all images n as one launch: maps are computed as their windows are written."""
    (kh, kw), (_, H_, W_, C) = kernel, X.shape
    arrays = {name: v if v.ndim == 1 else v[n] for name, v in X.parts.items()}
    at = {"x": "pixel", "y": "pixel"} | {k: "channel" if arrays[k].ndim == 1 else "own" for k in arrays if k in "abc"}
    numbers = {
        "images": len(arrays["x"]), "first": h.start, "rows": h.stop - h.start, "columns": W, "kh": kh, "kw": kw,
        "stride": stride, "ph": before[0], "pw": before[1], "H": H_, "W": W_, "C": C, "size": C // groups,
    }  # fmt: skip
    inputs = ", ".join(f"raw T {name}" for name in arrays)
    formula = X.formula(lambda k: f"{k}[{at[k]}]")
    out = X.xp.empty((groups, numbers["images"] * numbers["rows"] * W, kh * kw * C // groups), X.dtype)
    launch("windows", X.xp, *arrays.values(), *numbers.values(), out, inputs=inputs, formula=formula)
    return out


def excerpt(X: AffineMaps, n: slice, h: slice, w: slice, dtype: object) -> Array:
    """Rows h and columns w of images n, contiguous; both may reach beyond the maps, where zeros are."""
    xp, (_, H, W, C) = X.xp, X.shape
    top, bottom = (min(max(i, 0), H) for i in (h.start, h.stop))
    left, right = (min(max(i, 0), W) for i in (w.start, w.stop))
    whole_rows = (left, right) == (0, W)
    if X.written and whole_rows and (top, bottom) == (h.start, h.stop) and (left, right) == (w.start, w.stop):
        return xp.ascontiguousarray(X.x[n, h], dtype)
    place = slice(None), slice(top - h.start, bottom - h.start), slice(left - w.start, right - w.start)
    around, inside = zero_padded_workspace(xp, (len(X.x[n]), h.stop - h.start, w.stop - w.start, C), place, dtype)
    if whole_rows:
        X.into(inside, n, slice(top, bottom))
    else:
        inside[...] = X.read(n, slice(top, bottom), "maps")[:, :, left:right]
    return around
