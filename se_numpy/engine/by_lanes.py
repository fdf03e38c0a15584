"""Depthwise convolution of a block on a CPU.

With one filter per channel, a matrix product has nothing to share between channels. Instead, each tap of the filters is
repeated along a lane of pixels, multiplied by a lane of the maps and accumulated, with one ``einsum`` for all taps. The
maps are read in place: the next column of the kernel starts C values further on.
"""

from functools import cache
from itertools import product as product_of

import numpy as np

from se_numpy.arrays import Array
from se_numpy.engine.affine_maps import AffineMaps
from se_numpy.engine.conv_plan import ConvPlan
from se_numpy.engine.lanes import LANE
from se_numpy.engine.windows import excerpt
from se_numpy.engine.workspace import workspace


def forward_filters(V: Array, p: ConvPlan, dtype: object) -> Array:
    """Return V (kh, kw, 1, C) repeated along a lane: (kh, kw, lane length)."""
    return _along_lanes(V[:, :, 0].astype(dtype, copy=False), p.W)


def forward(X: AffineMaps, n: slice, h: slice, filters: Array, p: ConvPlan, u: Array) -> None:
    """Write rows h of images n to u."""
    before = p.padding, p.padding
    _add_up(_lanes(X, n, h, p.W, p.kernel, u.dtype, stride=p.stride, before=before), filters, u)


def backward_filters(V: Array, scale: Array | None, p: ConvPlan, dtype: object) -> Array:
    """Return the filters, flipped and multiplied by ``scale``: (kh, kw, C), at stride 1 repeated along a lane."""
    flipped = V[::-1, ::-1, 0].astype(dtype, copy=False)
    flipped = flipped if scale is None else flipped * scale
    return _along_lanes(flipped, p.input_width) if p.stride == 1 else flipped


def backward_at_stride_1(dU: AffineMaps, n: slice, h: slice, filters: Array, p: ConvPlan, x: Array, dx: Array) -> Array:
    """Write rows h of images n to dx; return the contribution of x, the same rows of X, to dV, flipped: (kh, kw, C)."""
    lanes = _lanes(dU, n, h, dx.shape[2], p.kernel, dx.dtype, before=p.before)
    _add_up(lanes, filters, dx)
    return _sums_with(lanes, x)


def filters_at_stride_1(total: Array, V: Array, p: ConvPlan, scale: Array | None) -> Array:
    """Return scale · dV, given the sum over all blocks."""
    return as_filters(total[::-1, ::-1], V, p, scale)


def filter_gradient(X: AffineMaps, n: slice, h: slice, du: Array, p: ConvPlan) -> Array:
    """Return the contribution of rows h of images n to dV: (kh, kw, C)."""
    before = p.padding, p.padding
    return _sums_with(_lanes(X, n, h, p.W, p.kernel, du.dtype, stride=p.stride, before=before), du)


def as_filters(total: Array, V: Array, p: ConvPlan, scale: Array | None) -> Array:
    """Return scale · dV, given the sum over all blocks."""
    return np.ascontiguousarray(total if scale is None else total * scale).reshape(V.shape)


def input_gradient(dU: AffineMaps, filters: Array, p: ConvPlan, dx: Array) -> None:
    """Write dx of whole images: every s-th pixel of a row meets the same taps, s being the stride.

    Pixel i = a + s r meets tap u of row r + (a + padding - u) / s of dU if that is an integer.
    """
    s, N = p.stride, slice(0, len(dx))
    for a, b in product_of(range(min(s, dx.shape[1])), range(min(s, dx.shape[2]))):
        pixels = dx[:, a::s, b::s]
        first = (a + p.padding) % s, (b + p.padding) % s
        taps = filters[::-1, ::-1][first[0] :: s, first[1] :: s][::-1, ::-1]
        if taps.size == 0:  # the kernel is smaller than the stride
            pixels[...] = 0
            continue
        kernel = taps.shape[:2]
        before = tuple(k - 1 - (i + p.padding) // s for k, i in zip(kernel, (a, b), strict=True))
        out = workspace(np, "strided pixels", pixels.shape, dx.dtype)
        lanes = _lanes(dU, N, slice(0, pixels.shape[1]), pixels.shape[2], kernel, dx.dtype, before=before)
        _add_up(lanes, _along_lanes(taps, pixels.shape[2]), out)
        pixels[...] = out


def _lanes(
    X: AffineMaps, n: slice, h: slice, W: int, kernel: tuple[int, int], dtype: object, *,
    stride: int = 1, before: tuple[int, int] = (0, 0),
) -> Array:  # fmt: skip
    """Return the lanes that each tap meets as an overlapping view (n, rows, lanes per row, kh, kw, lane length)."""
    (kh, kw), (ph, pw), C = kernel, before, X.shape[3]
    rows = slice(h.start * stride - ph, (h.stop - 1) * stride + kh - ph)
    if stride == 1:
        maps = excerpt(X, n, rows, slice(-pw, W - 1 + kw - pw), dtype)[0]
        to_next_column = C * maps.itemsize
    else:
        maps = _columns(X, n, rows, W, kw, stride, pw, dtype)
        to_next_column = maps.strides[2]
    pixels = _pixels_per_lane(W, C)
    lane = pixels * C
    image, row = maps.strides[:2]
    return np.ndarray(
        (len(maps), h.stop - h.start, W // pixels, kh, kw, lane), maps.dtype, maps,
        strides=(image, stride * row, lane * maps.itemsize, row, to_next_column, maps.itemsize),
    )  # fmt: skip


def _columns(X: AffineMaps, n: slice, h: slice, W: int, kw: int, stride: int, before: int, dtype: object) -> Array:
    """Copy the pixels that each column of the kernel meets: (n, rows, kw, W, C); zeros outside the maps."""
    H_, W_, C = X.shape[1:]
    top, bottom = (min(max(i, 0), H_) for i in (h.start, h.stop))
    maps = X.read(n, slice(top, bottom), "maps")
    out = workspace(np, "columns", (len(maps), h.stop - h.start, kw, W, C), dtype)
    out[:, : top - h.start] = 0
    out[:, bottom - h.start :] = 0
    inside = out[:, top - h.start : bottom - h.start]
    for v in range(kw):
        first = min(max(-(-(before - v) // stride), 0), W)
        last = min(max((W_ - 1 + before - v) // stride + 1, first), W)
        seen = maps[:, :, first * stride + v - before :: stride]
        inside[:, :, v, :first] = 0
        inside[:, :, v, first:last] = seen[:, :, : last - first]
        inside[:, :, v, last:] = 0
    return out


def _add_up(lanes: Array, taps: Array, out: Array) -> None:
    """Write the sum over the taps of lane · tap to out (n, H, W, C)."""
    n, H, Q, _, _, lane = lanes.shape
    np.einsum("nhquvl,uvl->nhql", lanes, taps, out=out.reshape(n, H, Q, lane))


def _sums_with(lanes: Array, x: Array) -> Array:
    """Return for each tap the sum over all pixels of lane · x, x being (n, H, W, C): (kh, kw, C)."""
    n, H, Q, kh, kw, lane = lanes.shape
    sums = np.einsum("nhquvl,nhql->uvl", lanes, x.reshape(n, H, Q, lane))
    return sums.reshape(kh, kw, -1, x.shape[-1]).sum(2)


def _along_lanes(taps: Array, W: int) -> Array:
    """Repeat taps (kh, kw, C) along a lane of a row of W pixels."""
    return np.tile(taps, _pixels_per_lane(W, taps.shape[-1]))


@cache
def _pixels_per_lane(W: int, C: int) -> int:
    """Return the most pixels that divide a row of W and hold at most LANE values; all W if that would be too few."""
    pixels = max((q for q in range(1, W + 1) if W % q == 0 and q * C <= LANE), default=1)
    return pixels if pixels * C * 8 >= LANE else W
