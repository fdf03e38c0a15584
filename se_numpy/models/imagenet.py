"""Residual networks for large images: ResNet, ResNeXt, SENet-154, plain and with SE blocks.

The four stages operate at 1/4, 1/8, 1/16 and 1/32 of the image size. The paper's counts are for images of
224 x 224 x 3. Sources: He et al., CVPR 2016; Xie et al., CVPR 2017; Hu et al., Table 1 and appendix.
"""

from collections.abc import Sequence
from typing import Any

from se_numpy.layers import Dropout, ReLU, Serial, serial
from se_numpy.models.blocks import conv, head, stages, stem
from se_numpy.models.se_config import PLACEMENTS, SEConfig
from se_numpy.shapes import count

BASIC = {18: (2, 2, 2, 2), 34: (3, 4, 6, 3)}
BOTTLENECK = {50: (3, 4, 6, 3), 101: (3, 4, 23, 3), 152: (3, 8, 36, 3)}


def imagenet_resnet(
    depth: int, *, classes: int = 1000, stride_in: str = "1x1", width: int = 64, blocks: Sequence[int] | None = None,
    ceil: bool = False, **gates: Any,
) -> Serial:  # fmt: skip
    """Build ResNet-18 or -34 (basic blocks), or -50, -101 or -152 (bottlenecks); with ``reduction``, the SE-ResNet.

    ``stride_in`` selects the convolution of a bottleneck that has the stride: the first "1x1", as in the paper and the
    released networks, or the "3x3", as in most frameworks today, with the same number of parameters and more
    multiply-adds. ``blocks`` is the number of blocks in each stage, ``width`` the number of channels in the first
    stage. ``ceil`` selects the pooling of the released networks. ``gates`` are the fields of ``SEConfig``.

    Raises
    ------
    ValueError
        If a setting is invalid.
    """
    known, width = BASIC | BOTTLENECK, count("width", width)
    if depth not in known:
        raise ValueError(f"depth is {depth!r}; expected one of {', '.join(map(str, known))}")
    if stride_in not in ("1x1", "3x3"):
        raise ValueError(f"stride_in is {stride_in!r}; expected '1x1' or '3x3'")
    g = SEConfig.of(gates, stages=4, placements=PLACEMENTS)

    def basic(stage: int, first: bool) -> Serial:
        C, stride = width * 2 ** (stage - 1), 2 if first and stage > 1 else 1
        branch = (*conv(C, 3, stride, relu=False), *g.at(stage, "3x3"), ReLU(), *conv(C, relu=False))
        return g.unit(stage, branch, serial() if stride == 1 else serial(*conv(C, 1, stride, relu=False)), ReLU())

    def bottleneck(stage: int, first: bool) -> Serial:
        C, stride = width * 2 ** (stage - 1), 2 if first and stage > 1 else 1
        down, across = (stride, 1) if stride_in == "1x1" else (1, stride)
        return _bottleneck(g, stage, (C, C, 4 * C), (down, across), 1, (1, stride) if first else None)

    block = basic if depth in BASIC else bottleneck
    return serial(**stem(width, ceil), **stages(known[depth] if blocks is None else blocks, block), **head(classes))


def imagenet_resnext(
    depth: int, *, classes: int = 1000, cardinality: int = 32, width: int = 4, blocks: Sequence[int] | None = None,
    ceil: bool = False, **gates: Any,
) -> Serial:  # fmt: skip
    """Build ResNeXt-50, -101 or -152, whose 3x3 convolutions have ``cardinality`` groups of ``width`` channels.

    Raises
    ------
    ValueError
        If a setting is invalid.
    """
    if depth not in BOTTLENECK:
        raise ValueError(f"depth is {depth!r}; expected one of {', '.join(map(str, BOTTLENECK))}")
    cardinality, width = count("cardinality", cardinality), count("width", width)
    g = SEConfig.of(gates, stages=4, placements=PLACEMENTS)

    def block(stage: int, first: bool) -> Serial:
        C, stride = cardinality * width * 2 ** (stage - 1), 2 if first and stage > 1 else 1
        return _bottleneck(g, stage, (C, C, 2 * C), (1, stride), cardinality, (1, stride) if first else None)

    counts = BOTTLENECK[depth] if blocks is None else blocks
    return serial(**stem(cardinality * width // 2, ceil), **stages(counts, block), **head(classes))


def senet154(
    *, classes: int = 1000, reduction: int | None = 16, cardinality: int = 64, width: int = 4,
    blocks: Sequence[int] = (3, 8, 36, 3), ceil: bool = False, dropout: float = 0.2, **gates: Any,
) -> Serial:  # fmt: skip
    """Build SENet-154: a ResNeXt-152 64x4d with SE blocks and four changes (appendix of the paper).

    The first 1x1 convolution of a bottleneck has half the channels; the stem consists of three 3x3 convolutions;
    projections with a stride are 3x3; there is dropout before the classifier.

    Raises
    ------
    ValueError
        If a setting is invalid.
    """
    g = SEConfig.of({"reduction": reduction, **gates}, stages=4, placements=PLACEMENTS)
    C1 = count("cardinality", cardinality) * count("width", width)

    def block(stage: int, first: bool) -> Serial:
        C, stride = C1 * 2 ** (stage - 1), 2 if first and stage > 1 else 1
        project = (1 if stage == 1 else 3, stride) if first else None
        return _bottleneck(g, stage, (C // 2, C, C), (1, stride), cardinality, project)

    start = stem(C1 // 4, ceil)
    three = serial(*conv(C1 // 4, 3, 2), *conv(C1 // 4), *conv(C1 // 2))
    drop = (Dropout(dropout),) if dropout else ()
    return serial(stem=three, maxpool=start["maxpool"], **stages(blocks, block), **head(classes, *drop))


def _bottleneck(
    g: SEConfig, stage: int, widths: tuple[int, int, int], strides: tuple[int, int], groups: int,
    project: tuple[int, int] | None,
) -> Serial:  # fmt: skip
    """Build a bottleneck of 1x1, 3x3 and 1x1 convolutions.

    ``project`` is the filter size and the stride of the shortcut, or None for the identity.
    """
    middle = (*conv(widths[1], 3, strides[1], groups=groups, relu=False), *g.at(stage, "3x3"), ReLU())
    branch = (*conv(widths[0], 1, strides[0]), *middle, *conv(widths[2], 1, relu=False))
    shortcut = serial() if project is None else serial(*conv(widths[2], *project, relu=False))
    return g.unit(stage, branch, shortcut, ReLU())
