"""VGG-16 with batch norm, and a small version; SE follows each ReLU (section 3.3).  Simonyan & Zisserman, ICLR 2015.

Each stage consists of 3x3 convolutions and a pooling layer that halves the image size.
"""

from collections.abc import Sequence
from typing import Any

from se_numpy.layers import Dropout, Flatten, Linear, Pool, ReLU, Serial, serial
from se_numpy.models.blocks import conv, head, wide
from se_numpy.models.se_config import SEConfig

VGG16 = ((64, 2), (128, 2), (256, 3), (512, 3), (512, 3))


def vgg16(*, classes: int = 1000, width: float = 1.0, hidden: int = 4096, dropout: float = 0.5, **gates: Any) -> Serial:
    """Build VGG-16 with batch norm after each convolution, as in the paper, and three fully connected layers.

    Raises
    ------
    ValueError
        If a setting is invalid.
    """
    parts = _stages(VGG16, width, SEConfig.of(gates, stages=5))
    drop = (Dropout(dropout),) if dropout else ()
    full = (Flatten(), Linear(hidden), ReLU(), *drop, Linear(hidden), ReLU(), *drop)
    return serial(**parts, hidden=serial(*full), classifier=head(classes)["classifier"])


def small_vgg(*, classes: int = 10, width: float = 1.0, **gates: Any) -> Serial:
    """Build a network of seven layers for small images.

    Six convolutions with 32, 32, 64, 64, 128 and 128 channels are followed by global average pooling and the
    classifier.

    Raises
    ------
    ValueError
        If a setting is invalid.
    """
    return serial(**_stages(((32, 2), (64, 2), (128, 2)), width, SEConfig.of(gates, stages=3)), **head(classes))


def _stages(plan: Sequence[tuple[int, int]], width: float, g: SEConfig) -> dict[str, Serial]:
    return {
        f"stage{s}": serial(*(layer for _ in range(n) for layer in (*conv(wide(C, width)), *g.at(s))), Pool("max", 2))
        for s, (C, n) in enumerate(plan, start=1)
    }
