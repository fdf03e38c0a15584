"""From the maps of a network to boxes: peaks of the heatmaps, the best of them, and the box at each."""

from se_numpy import ops
from se_numpy.arrays import Array, array_module


def decode(Y: Array, *, stride: int, most: int = 100) -> tuple[Array, Array, Array]:
    """Return the ``most`` best peaks of each picture, in the order of decreasing scores, as boxes in pixels.

    Y (N, h, w, K + 4) -> corners (N, k, 4), scores (N, k), classes (N, k), where k is ``most``, or h w K if less

    The channels of Y are K logits of the heatmaps, two sizes and two offsets in cells. A peak is a cell whose logit is
    the largest of the 3 x 3 around it; other cells have a score of 0. Boxes are cut at the edges of the picture.

    References
    ----------
    Zhou et al., "Objects as Points", 2019, section 4.
    """
    xp = array_module(Y)
    N, h, w, channels = Y.shape
    K = channels - 4
    logits = xp.ascontiguousarray(Y[..., :K])
    peak = logits == ops.max_pool2d(logits, kernel=3, stride=1, padding=1)
    scores = xp.where(peak, ops.sigmoid(logits), Y.dtype.type(0)).reshape(N, -1)
    best = xp.argsort(-scores, axis=1, kind="stable")[:, :most]
    scores, cell, each = xp.take_along_axis(scores, best, axis=1), best // K, xp.arange(N)[:, None]
    found = Y.reshape(N, h * w, channels)[each, cell, K:]
    centres = (found[..., 2:] + xp.stack([cell % w, cell // w], -1)).astype(Y.dtype) * stride
    half = xp.maximum(found[..., :2], 0) * (Y.dtype.type(stride) / 2)
    edge = xp.asarray([w, h, w, h], Y.dtype) * stride
    corners = xp.minimum(xp.maximum(xp.concatenate([centres - half, centres + half], -1), 0), edge)
    return corners, scores, best % K
