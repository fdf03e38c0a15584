"""Mobile networks with SE blocks: MobileNet and ShuffleNet (Hu et al., Table 3).

MobileNet (Howard et al., arXiv 1704.04861): pairs of a 3x3 depthwise and a 1x1 convolution; SE follows each pair.
ShuffleNet (Zhang et al., CVPR 2018): bottlenecks of grouped 1x1 convolutions with a channel shuffle between them; each
branch ends in an SE block.
"""

from typing import Any

from se_numpy.layers import ChannelShuffle, Layer, Pool, ReLU, Serial, concat, residual, serial
from se_numpy.models.blocks import conv, head, stages, wide
from se_numpy.models.se_config import SEConfig
from se_numpy.shapes import count

# Channels and stride of each pair, by stage.
MOBILENET = (
    ((64, 1),),
    ((128, 2), (128, 1)),
    ((256, 2), (256, 1)),
    ((512, 2), (512, 1), (512, 1), (512, 1), (512, 1), (512, 1)),
    ((1024, 2), (1024, 1)),
)
SHUFFLENET = {1: 144, 2: 200, 3: 240, 4: 272, 8: 384}  # groups -> channels of the first stage


def mobilenet(*, classes: int = 1000, width: float = 1.0, **gates: Any) -> Serial:
    """Build MobileNet; ``width`` is its width multiplier α.

    Raises
    ------
    ValueError
        If a setting is invalid.
    """
    g = SEConfig.of(gates, stages=5)
    parts: dict[str, Layer] = {"stem": serial(*conv(wide(32, width), 3, 2))}
    C_ = wide(32, width)
    for s, plan in enumerate(MOBILENET, start=1):
        pairs = {}
        for i, (C, stride) in enumerate(plan, start=1):
            pairs[f"block{i}"] = serial(*conv(C_, 3, stride, groups=C_), *conv(wide(C, width), 1), *g.at(s))
            C_ = wide(C, width)
        parts[f"stage{s}"] = serial(**pairs)
    return serial(**parts, **head(classes))


def shufflenet(*, classes: int = 1000, groups: int = 3, width: int | None = None, **gates: Any) -> Serial:
    """Build ShuffleNet 1x with ``groups`` groups.

    ``width`` is the number of channels in its first stage, a multiple of 4 * groups.

    Raises
    ------
    ValueError
        If a setting is invalid.
    """
    if groups not in SHUFFLENET:
        raise ValueError(f"groups is {groups}; expected one of {', '.join(map(str, SHUFFLENET))}")
    C1 = SHUFFLENET[groups] if width is None else count("width", width)
    if C1 < 32 or C1 % (4 * groups):
        raise ValueError(f"width is {C1}; expected at least 32, and a multiple of {4 * groups} for {groups} groups")
    g = SEConfig.of(gates, stages=3)

    def block(stage: int, first: bool) -> Serial:
        C_, C = 24 if stage == 1 else C1 * 2 ** (stage - 2), C1 * 2 ** (stage - 1)
        narrow, out, stride = C // 4, C - C_ if first else C, 2 if first else 1
        branch = serial(
            *conv(narrow, 1, groups=1 if first and stage == 1 else groups),  # 24 channels are too few for groups
            ChannelShuffle(groups),
            *conv(narrow, 3, stride, groups=narrow, relu=False),
            *conv(out, 1, groups=groups, relu=False),
            *g.at(stage),
        )
        unit = concat(shortcut=Pool("avg", 3, 2, 1), branch=branch) if first else residual(branch)
        return serial(unit=unit, relu=ReLU())

    start: dict[str, Layer] = {"stem": serial(*conv(24, 3, 2)), "maxpool": Pool("max", 3, 2, 1)}
    return serial(**start, **stages((4, 8, 4), block), **head(classes))
