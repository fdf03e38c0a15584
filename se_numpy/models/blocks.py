"""What many networks are made of: stages of blocks, a classifier, convolutions with batch norm and ReLU."""

from collections.abc import Callable, Sequence

from se_numpy.layers import BatchNorm, Conv, GlobalAveragePool, Layer, Linear, Pool, ReLU, Serial, serial
from se_numpy.models.se_config import optional


def stages(blocks: Sequence[int], block: Callable[[int, bool], Serial]) -> dict[str, Serial]:
    """stage1, stage2, ... of so many blocks each: ``block(stage, first)`` makes one."""
    return {
        f"stage{s}": serial(**{f"block{i + 1}": block(s, i == 0) for i in range(n)})
        for s, n in enumerate(blocks, start=1)
    }


def head(classes: int, *before: Layer) -> dict[str, Layer]:
    """The mean of each channel, then the classifier; ``before`` stands between the two."""
    if classes < 1:
        raise ValueError(f"classes is {classes}; expected at least 1")
    return {"pool": GlobalAveragePool(), **optional("dropout", before), "classifier": Linear(classes)}


def conv(C: int, k: int = 3, stride: int = 1, *, groups: int = 1, relu: bool = True) -> tuple[Layer, ...]:
    """Convolution, batch norm, and ReLU unless it is left out."""
    return (Conv(C, k, stride, groups=groups), BatchNorm(), *((ReLU(),) if relu else ()))


def stem(width: int, ceil: bool = False) -> dict[str, Layer]:
    """Of networks for large images: 7x7 at stride 2, then the largest of 3x3 at stride 2.

    224 pixels become 56 either way: with a ring of padding, or with windows that hang over the edge (``ceil``).
    """
    pool = Pool("max", 3, 2, ceil=True) if ceil else Pool("max", 3, 2, 1)
    return {"conv": Conv(width, 7, 2), "norm": BatchNorm(), "relu": ReLU(), "maxpool": pool}


def per_stage(depth: int, layers: int, examples: Sequence[int]) -> int:
    """n for a network of ``layers`` n + 2 layers; ValueError where there is none."""
    n, rest = divmod(depth - 2, layers)
    if rest or n < 1:
        raise ValueError(f"depth is {depth}; expected {layers}n + 2, for instance one of {tuple(examples)}")
    return n


def wide(C: int, width: float) -> int:
    """C channels made ``width`` times as many, rounded to the nearest; at least one."""
    return max(1, round(C * width))
