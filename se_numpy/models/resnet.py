"""Residual networks for small images, plain and with SE blocks: He et al., CVPR 2016, section 4.2; Hu et al., Fig. 3.

Depth 6n + 2: a 3x3 convolution, three stages of n basic blocks at 16, 32 and 64 channels, of which the second and the
third begin with stride 2; global average pooling and a classifier. Where a block changes the shape its shortcut is a
projection, a 1x1 convolution with batch norm.
"""

from se_numpy.layers import SE, BatchNorm, Conv, GlobalAveragePool, Linear, ReLU, Serial, residual, serial

DEPTHS = (8, 14, 20, 32, 44, 56, 110)


def resnet(depth: int, *, reduction: int | None = None, bias: bool = False, classes: int = 10) -> Serial:
    """The network of ``depth`` 6n + 2 as a value; with ``reduction`` r an SE block closes every residual branch.

    Takes images (H, W, C) of any size from 4 x 4 on, returns logits (classes,). ``bias`` gives the SE blocks the
    biases that Eq. (3) lacks.  Raises ValueError for a depth that is not 6n + 2.
    """
    n, rest = divmod(depth - 2, 6)
    if rest or n < 1:
        raise ValueError(f"depth is {depth}; expected 6n + 2, for instance one of {DEPTHS}")
    if classes < 1:
        raise ValueError(f"classes is {classes}; expected at least 1")
    se = () if reduction is None else (SE(reduction, bias),)

    def block(C: int, stride: int) -> Serial:
        branch = serial(Conv(C, 3, stride), BatchNorm(), ReLU(), Conv(C, 3), BatchNorm(), *se)
        shortcut = serial() if stride == 1 else serial(Conv(C, 1, stride), BatchNorm())
        return serial(unit=residual(branch, shortcut), relu=ReLU())

    def stage(C: int, stride: int) -> Serial:
        return serial(**{f"block{i + 1}": block(C, stride if i == 0 else 1) for i in range(n)})

    return serial(
        conv=Conv(16, 3),
        norm=BatchNorm(),
        relu=ReLU(),
        stage1=stage(16, 1),
        stage2=stage(32, 2),
        stage3=stage(64, 2),
        pool=GlobalAveragePool(),
        classifier=Linear(classes),
    )

