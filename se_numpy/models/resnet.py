"""Residual networks for small images, plain and with SE blocks: He et al., CVPR 2016, section 4.2; Hu et al., Fig. 3.

A network of depth 6n + 2 consists of a 3x3 convolution, three stages of n basic blocks with 16, 32 and 64 channels,
global average pooling and a classifier. The second and third stages start with stride 2. If a block changes the
shape, its shortcut is a projection: a 1x1 convolution with batch norm.
"""

from typing import Any

from se_numpy.layers import BatchNorm, Conv, Layer, ReLU, Serial, serial
from se_numpy.models.blocks import conv, head, per_stage, stages
from se_numpy.models.se_config import PLACEMENTS, SEConfig
from se_numpy.shapes import count

DEPTHS = (8, 14, 20, 32, 44, 56, 110)
PREACT_DEPTHS = (20, 56, 110, 164)
RESNEXT_DEPTHS = (11, 20, 29)


def resnet(
    depth: int, *, reduction: int | None = None, bias: bool = False, classes: int = 10, width: int = 16, **gates: Any
) -> Serial:
    """Build the network of ``depth`` 6n + 2; with ``reduction`` r, every residual branch ends in an SE block.

    It takes images (H, W, C) of at least 4 x 4 pixels and returns logits (classes,). ``bias`` adds biases to the SE
    blocks, which Eq. (3) does not have; ``gates`` are the other fields of ``SEConfig``.

    Raises
    ------
    ValueError
        If depth is not 6n + 2, or another setting is invalid.
    """
    n, width = per_stage(depth, 6, DEPTHS), count("width", width)
    g = SEConfig.of({"reduction": reduction, "bias": bias, **gates}, stages=3, placements=PLACEMENTS)

    def block(stage: int, first: bool) -> Serial:
        C, stride = width * 2 ** (stage - 1), 2 if first and stage > 1 else 1
        branch = (Conv(C, 3, stride), BatchNorm(), *g.at(stage, "3x3"), ReLU(), *conv(C, relu=False))
        return g.unit(stage, branch, serial() if stride == 1 else serial(*conv(C, 1, stride, relu=False)), ReLU())

    start = {"conv": Conv(width, 3), "norm": BatchNorm(), "relu": ReLU()}
    return serial(**start, **stages([n] * 3, block), **head(classes))


def preact_resnet(
    depth: int, *, classes: int = 10, width: int = 16, bottleneck: bool | None = None, **gates: Any
) -> Serial:
    """Build a residual network with batch norm and ReLU before each convolution, so that shortcuts are identities.

    These are the paper's baselines on CIFAR: depth 6n + 2 with basic blocks, such as 110, or 9n + 2 with a
    ``bottleneck``, the default for depth 164. In a unit that changes the shape, the first batch norm and ReLU also
    precede the projection.

    Raises
    ------
    ValueError
        If the depth is not 6n + 2 (9n + 2 with bottlenecks), or another setting is invalid.

    References
    ----------
    He et al., Identity Mappings in Deep Residual Networks, ECCV 2016.
    """
    bottleneck = depth == 164 if bottleneck is None else bottleneck
    n, width = per_stage(depth, 9 if bottleneck else 6, PREACT_DEPTHS), count("width", width)
    g = SEConfig.of(gates, stages=3, placements=PLACEMENTS)

    def block(stage: int, first: bool) -> Serial:
        C, stride = width * 2 ** (stage - 1), 2 if first and stage > 1 else 1
        out, before = (4 if bottleneck else 1) * C, (BatchNorm(), ReLU())
        inside: tuple[Layer, ...] = (Conv(C, 3, stride), *g.at(stage, "3x3"), *before)
        branch = (Conv(C, 1), *before, *inside, Conv(out, 1)) if bottleneck else (*inside, Conv(out, 3))
        if not first or (stage == 1 and not bottleneck):
            return g.unit(stage, (*before, *branch), serial())
        return serial(norm=BatchNorm(), relu=ReLU(), **dict(g.unit(stage, branch, serial(Conv(out, 1, stride))).parts))

    end = {"norm": BatchNorm(), "relu": ReLU(), **head(classes)}
    return serial(conv=Conv(width, 3), **stages([n] * 3, block), **end)


def small_resnext(depth: int = 20, *, classes: int = 10, cardinality: int = 8, width: int = 4, **gates: Any) -> Serial:
    """Build a ResNeXt of depth 9n + 2 for small images.

    Its 3x3 convolutions have ``cardinality`` groups, of ``width`` channels in the first stage. With depth 29,
    ``cardinality=8`` and ``width=64``, it is the 8x64d network of Xie et al.; the default is small enough to train on
    a laptop.

    Raises
    ------
    ValueError
        If the depth is not 9n + 2, or another setting is invalid.

    References
    ----------
    Xie et al., Aggregated Residual Transformations for Deep Neural Networks, CVPR 2017, section 5.3.
    """
    n = per_stage(depth, 9, RESNEXT_DEPTHS)
    cardinality, width = count("cardinality", cardinality), count("width", width)
    g = SEConfig.of(gates, stages=3, placements=PLACEMENTS)

    def block(stage: int, first: bool) -> Serial:
        C, stride = cardinality * width * 2 ** (stage - 1), 2 if first and stage > 1 else 1
        middle = (*conv(C, 3, stride, groups=cardinality, relu=False), *g.at(stage, "3x3"), ReLU())
        branch = (*conv(C, 1), *middle, *conv(4 * C, 1, relu=False))
        return g.unit(stage, branch, serial(*conv(4 * C, 1, stride, relu=False)) if first else serial(), ReLU())

    start = {"conv": Conv(64, 3), "norm": BatchNorm(), "relu": ReLU()}
    return serial(**start, **stages([n] * 3, block), **head(classes))
