"""Building blocks of the networks: stages, classifier, stem, convolutions with batch norm and ReLU."""

from collections.abc import Callable, Sequence

from se_numpy.layers import BatchNorm, Conv, GlobalAveragePool, Layer, Linear, Pool, ReLU, Serial, serial
from se_numpy.models.se_config import optional


def stages(blocks: Sequence[int], block: Callable[[int, bool], Serial]) -> dict[str, Serial]:
    """Build stage1, stage2, ... with the given numbers of blocks; ``block(stage, first)`` builds one block."""
    return {
        f"stage{s}": serial(**{f"block{i + 1}": block(s, i == 0) for i in range(n)})
        for s, n in enumerate(blocks, start=1)
    }


def head(classes: int, *before: Layer) -> dict[str, Layer]:
    """Build global average pooling and the classifier, with the layers in ``before`` between the two.

    Raises
    ------
    ValueError
        If ``classes`` is less than 1.
    """
    if classes < 1:
        raise ValueError(f"classes is {classes}; expected at least 1")
    return {"pool": GlobalAveragePool(), **optional("dropout", before), "classifier": Linear(classes)}


def conv(C: int, k: int = 3, stride: int = 1, *, groups: int = 1, relu: bool = True) -> tuple[Layer, ...]:
    """Return a convolution, batch norm and, unless ``relu`` is False, ReLU."""
    return (Conv(C, k, stride, groups=groups), BatchNorm(), *((ReLU(),) if relu else ()))


def stem(width: int, ceil: bool = False) -> dict[str, Layer]:
    """Build the stem of networks for large images: a 7x7 convolution, then 3x3 max pooling, both with stride 2.

    The pooling pads the image or, with ``ceil``, lets windows extend past its edge; 224 pixels become 56 either way.
    """
    pool = Pool("max", 3, 2, ceil=True) if ceil else Pool("max", 3, 2, 1)
    return {"conv": Conv(width, 7, 2), "norm": BatchNorm(), "relu": ReLU(), "maxpool": pool}


def per_stage(depth: int, layers: int, examples: Sequence[int]) -> int:
    """Solve depth = ``layers`` n + 2 for n.

    Raises
    ------
    ValueError
        If there is no such n; the message suggests ``examples``.
    """
    n, rest = divmod(depth - 2, layers)
    if rest or n < 1:
        raise ValueError(f"depth is {depth}; expected {layers}n + 2, such as {', '.join(map(str, examples))}")
    return n


def wide(C: int, width: float) -> int:
    """Scale the number of channels C by ``width``, rounded and at least 1."""
    return max(1, round(C * width))
