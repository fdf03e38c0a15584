"""The channels of the images: those of the first filters in a file, or others, to which the filters are adapted."""

from collections.abc import Mapping

import numpy as np

from se_numpy import models
from se_numpy.interop.names import tensors
from se_numpy.interop.schemes import Scheme
from se_numpy.layers import Serial, Shape


def fit_channels(
    arrays: Mapping[str, np.ndarray], net: Serial | str, scheme: Scheme, shape: Shape | None, in_chans: int | None
) -> tuple[dict[str, np.ndarray], Shape]:  # fmt: skip
    """Return the arrays, and the shape of the images with as many channels as the first filters in the arrays have.

    With ``in_chans``, the filters are adapted to so many channels; without it, a given ``shape`` is kept.

    Raises
    ------
    ValueError
        If ``in_chans`` is less than 1, or if ``shape`` is missing and ``net`` is not a name.
    """
    if in_chans is not None and in_chans < 1:
        raise ValueError(f"in_chans is {in_chans}; expected at least 1")
    arrays = dict(arrays)
    if isinstance(net, str):
        H, W, C = shape or models.image_shape(net)
        net, fixed = models.build(net), shape is not None
    elif shape is None:
        raise ValueError("shape is missing; expected the shape (H, W, C) of an image, since net is not a name")
    else:
        (H, W, C), fixed = shape, True
    first = _first_filters(net, (H, W, C), scheme)
    axis = 1 if scheme.tables else 2  # OIHW in the file, or HWIO in this library
    filters = arrays.get(first) if first is not None else None
    if first is None or filters is None or filters.ndim != 4:  # the comparison with the network will list it
        return arrays, (H, W, in_chans or C)
    if in_chans is None:
        return arrays, (H, W, C if fixed else filters.shape[axis])
    arrays[first] = adapt_filters(filters, in_chans, axis)
    return arrays, (H, W, in_chans)


def adapt_filters(filters: np.ndarray, C: int, axis: int = 1) -> np.ndarray:
    """Adapt the filters of the first convolution to images of C channels, as timm does.

    For grey images, the filters of all channels are added, so the output is that for an image with equal channels.
    Otherwise they are repeated, and scaled so that the output for equal channels stays the same.
    """
    before = filters.shape[axis]
    if before == C:
        return filters
    if C == 1:
        return filters.sum(axis, keepdims=True)
    repeated = np.take(filters, np.arange(C) % before, axis)
    return repeated * repeated.dtype.type(before / C)


def _first_filters(net: Serial, shape: Shape, scheme: Scheme) -> str | None:
    """Return the name of the first filters in the scheme, or None if it has no names for this network."""
    try:
        return next((t.theirs for t in tensors(net, shape, scheme) if t.ours.endswith(".V")), None)
    except ValueError:
        return None
