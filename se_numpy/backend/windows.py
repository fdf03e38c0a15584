"""Windows of feature maps as rows of a matrix, so that a convolution is one product; and the way back.

Channels last makes kw·C numbers of a window neighbours in memory, so windows unfold in long runs.
"""

from types import ModuleType

from se_numpy.backend.arrays import Array, as_strided
from se_numpy.backend.blocks import bordered, scratch
from se_numpy.backend.maps import Blend


def unfold(
    X: Blend, n: slice, h: slice, kh: int, kw: int, stride: int, ph: int, pw: int, groups: int, dtype: object
) -> Array:
    """One row for each output pixel in rows h of images n: the window it sees.  -> (groups, R, kh·kw·C/groups)

    ph and pw are the zeros to think of above and below, left and right of the maps X (N, H', W', C).
    """
    xp, (_, H_, W_, C_) = X.xp, X.shape
    H, W, c = h.stop - h.start, (W_ + 2 * pw - kw) // stride + 1, C_ // groups
    top, bottom = h.start * stride - ph, (h.stop - 1) * stride + kh - ph  # the rows of X that are looked at
    first, last = max(top, 0), max(min(bottom, H_), max(top, 0))  # those that exist
    maps = X.read(n, slice(first, last), "maps")
    if kh == kw == stride == groups == 1 and maps.shape[1:3] == (bottom - top, W) and maps.dtype == dtype:
        return maps.reshape(1, -1, C_)  # a pixel is its own window

    inside = (slice(None), slice(first - top, last - top), slice(pw, pw + W_))
    padded, middle, notes = bordered(xp, (len(maps), bottom - top, W_ + 2 * pw, C_), inside, dtype)
    middle[...] = maps
    key = f"{groups} {kh} {kw} {stride}"
    if key not in notes:
        sn, sh, sw, sc = padded.strides
        shape = (groups, len(maps), H, W, kh, kw, c)
        notes[key] = as_strided(xp, padded, shape, (c * sc, sn, stride * sh, stride * sw, sh, sw, sc))
    rows = scratch(xp, "windows", notes[key].shape, dtype)
    xp.copyto(rows, notes[key])
    return rows.reshape(groups, -1, kh * kw * c)


def fold(xp: ModuleType, rows: Array, dX: Array, stride: int, padding: int) -> None:
    """``unfold`` undone: every window's gradients added to the pixels it saw.  rows (groups, n, H, W, kh, kw, c)"""
    groups, n, H, W, kh, kw, c = rows.shape
    _, H_, W_, _ = dX.shape
    padded = scratch(xp, "folded", (n, H_ + 2 * padding, W_ + 2 * padding, groups, c), dX.dtype)
    padded[...] = 0
    for a in range(kh):
        for b in range(kw):
            pixels = padded[:, a : a + stride * H : stride, b : b + stride * W : stride]
            pixels += rows[:, :, :, :, a, b].transpose(1, 2, 3, 0, 4)
    dX[...] = padded[:, padding : padding + H_, padding : padding + W_].reshape(dX.shape)
