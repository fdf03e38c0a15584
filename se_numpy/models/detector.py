"""Networks for detection: the maps of a classification network, and CenterNet's head on them."""

import math

from se_numpy.layers import BatchNorm, Bias, Concat, Conv, GlobalAveragePool, Layer, ReLU, Serial, concat, serial
from se_numpy.shapes import count

STRIDE = 4  # pixels in a cell of the maps
WIDTH = 64  # channels of the head
AT_FIRST = -math.log((1 - 0.1) / 0.1)  # the logit of 0.1: before training, most pixels are not centres


def detector(net: Layer, *, classes: int, width: int = WIDTH) -> Serial:
    """Build a network for detection from the maps of ``net``, up to its global average pooling.

    It takes images (H, W, C) and returns maps with classes + 4 channels: a logit for each class, then the width, the
    height and the offset in x and y of an object with its centre in the cell. The logits and the boxes have a 3x3
    convolution each. Parameters of ``net`` keep their names, so that trained ones can be loaded. The maps of networks
    for small images, such as ``resnet``, are (H/4, W/4).

    Raises
    ------
    ValueError
        If the network is not in sequence, or has no global average pooling.

    References
    ----------
    Zhou et al., "Objects as Points", 2019, section 3; the initial bias: Lin et al., ICCV 2017, section 4.1.
    """
    parts = net.parts if isinstance(net, Serial) else ()
    pools = [i for i, (_, layer) in enumerate(parts) if isinstance(layer, GlobalAveragePool)]
    if not pools:
        raise ValueError(
            "detection takes the maps before the global average pooling of a network, and this one has none; use a "
            "network such as se_resnet8"
        )
    head = concat(
        heat=_branch(width, count("classes", classes), AT_FIRST), boxes=_branch(width, 4, 0.0)
    )  # fmt: skip
    return Serial((*parts[: pools[0]], ("head", head)))


def _branch(width: int, channels: int, initial: float) -> Serial:
    return serial(conv=Conv(width, 3), norm=BatchNorm(), relu=ReLU(), out=Conv(channels, 1), bias=Bias(initial))


def is_detector(net: Layer) -> bool:
    """Return True for a network that ``detector`` has built."""
    return isinstance(net, Serial) and bool(net.parts) and net.parts[-1][0] == "head" and isinstance(
        net.parts[-1][1], Concat
    )  # fmt: skip
