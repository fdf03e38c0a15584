"""Building blocks of the networks: stages, classifier, stem, convolutions with batch norm and ReLU."""

from collections.abc import Callable, Sequence

from se_numpy.layers import BatchNorm, Conv, GlobalAveragePool, Layer, Linear, Pool, ReLU, Serial, serial
from se_numpy.models.se_config import optional
from se_numpy.shapes import count, flag, is_real


def stages(blocks: Sequence[int], block: Callable[[int, bool], Serial]) -> dict[str, Serial]:
    """Build stage1, stage2, ... with the given numbers of blocks; ``block(stage, first)`` builds one block.

    Raises
    ------
    TypeError, ValueError
        If ``blocks`` is not a sequence of positive whole numbers.
    """
    if not isinstance(blocks, Sequence) or isinstance(blocks, str):
        raise TypeError(f"blocks is {blocks!r}; expected the number of blocks of each stage, such as (3, 4, 6, 3)")
    return {
        f"stage{s}": serial(**{f"block{i + 1}": block(s, i == 0) for i in range(count(f"blocks[{s - 1}]", n))})
        for s, n in enumerate(blocks, start=1)
    }


def head(classes: int, *before: Layer) -> dict[str, Layer]:
    """Build global average pooling and the classifier, with the layers in ``before`` between the two.

    Raises
    ------
    TypeError, ValueError
        If ``classes`` is not a positive whole number.
    """
    classifier = Linear(count("classes", classes))
    return {"pool": GlobalAveragePool(), **optional("dropout", before), "classifier": classifier}


def conv(C: int, k: int = 3, stride: int = 1, *, groups: int = 1, relu: bool = True) -> tuple[Layer, ...]:
    """Return a convolution, batch norm and, unless ``relu`` is False, ReLU."""
    return (Conv(C, k, stride, groups=groups), BatchNorm(), *((ReLU(),) if relu else ()))


def stem(width: int, ceil: bool = False) -> dict[str, Layer]:
    """Build the stem of networks for large images: a 7x7 convolution, then 3x3 max pooling, both with stride 2.

    The pooling pads the image or, with ``ceil``, lets windows extend past its edge; 224 pixels become 56 either way.
    """
    pool = Pool("max", 3, 2, ceil=True) if flag("ceil", ceil) else Pool("max", 3, 2, 1)
    return {"conv": Conv(count("width", width), 7, 2), "norm": BatchNorm(), "relu": ReLU(), "maxpool": pool}


def per_stage(depth: int, layers: int, examples: Sequence[int]) -> int:
    """Solve depth = ``layers`` n + 2 for n.

    Raises
    ------
    ValueError
        If there is no such n; the message suggests ``examples``.
    """
    n, rest = divmod(depth - 2, layers) if hasattr(depth, "__index__") else (0, 0)
    if rest or n < 1:
        raise ValueError(f"depth is {depth!r}; expected {layers}n + 2, such as {', '.join(map(str, examples))}")
    return n


def wide(C: int, width: float) -> int:
    """Scale the number of channels C by ``width``, rounded and at least 1.

    Raises
    ------
    ValueError
        If ``width`` is not a positive number.
    """
    if not (is_real(width) and 0 < width < float("inf")):
        raise ValueError(f"width is {width!r}; expected a positive number, by which the channels are multiplied")
    return max(1, round(C * width))
