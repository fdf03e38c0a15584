"""BN-Inception and a small version: four parallel branches, concatenated along the channels, then SE (Figure 2).

BN-Inception is by Ioffe & Szegedy, ICML 2015. This is the version released with the paper: each 5x5 convolution is
replaced by two 3x3 ones, and modules 4c and 4d have 608 channels.
"""

from typing import Any, NamedTuple

from se_numpy.layers import Layer, Pool, Serial, concat, serial
from se_numpy.models.blocks import conv, head, wide
from se_numpy.models.se_config import SEConfig, optional
from se_numpy.shapes import flag


class Module(NamedTuple):
    """The channels of an Inception module; if ``one`` and ``pooled`` are 0, the module halves the image size."""

    one: int  # 1x1
    three: tuple[int, int]  # 1x1, 3x3
    five: tuple[int, int]  # 1x1, 3x3, 3x3
    pool: str
    pooled: int  # 1x1 after the pooling


BN_INCEPTION = (
    (
        Module(64, (64, 64), (64, 96), "avg", 32),
        Module(64, (64, 96), (64, 96), "avg", 64),
        Module(0, (128, 160), (64, 96), "max", 0),
    ),
    (
        Module(224, (64, 96), (96, 128), "avg", 128),
        Module(192, (96, 128), (96, 128), "avg", 128),
        Module(160, (128, 160), (128, 160), "avg", 128),
        Module(96, (128, 192), (160, 192), "avg", 128),
        Module(0, (128, 192), (192, 256), "max", 0),
    ),
    (
        Module(352, (192, 320), (160, 224), "avg", 128),
        Module(352, (192, 320), (192, 224), "max", 128),
    ),
)
SMALL = (
    (Module(16, (12, 24), (4, 12), "avg", 12), Module(0, (24, 32), (12, 16), "max", 0)),
    (Module(32, (24, 48), (8, 24), "avg", 24), Module(0, (48, 64), (24, 32), "max", 0)),
    (Module(64, (48, 96), (16, 48), "avg", 48),),
)


def bn_inception(*, classes: int = 1000, width: float = 1.0, ceil: bool = True, **gates: Any) -> Serial:
    """Build BN-Inception for large images, with 11.3 million parameters.

    With ``ceil``, pooling windows extend past the edge, as in the released network; the image size must then be a
    multiple of 32 and at least 64.

    Raises
    ------
    ValueError
        If a setting is invalid.
    """
    pool = Pool("max", 3, 2, ceil=True) if flag("ceil", ceil) else Pool("max", 3, 2, 1)
    start = serial(
        *conv(wide(64, width), 7, 2), pool, *conv(wide(64, width), 1), *conv(wide(192, width)), pool
    )  # fmt: skip
    return serial(stem=start, **_stages(BN_INCEPTION, width, ceil, SEConfig.of(gates, stages=3)), **head(classes))


def small_inception(*, classes: int = 10, width: float = 1.0, **gates: Any) -> Serial:
    """Build a network of five Inception modules for small images; two of them halve the image size.

    Raises
    ------
    ValueError
        If a setting is invalid.
    """
    start = serial(*conv(wide(32, width)))
    return serial(stem=start, **_stages(SMALL, width, False, SEConfig.of(gates, stages=3)), **head(classes))


def _stages(plan: tuple[tuple[Module, ...], ...], width: float, ceil: bool, g: SEConfig) -> dict[str, Serial]:
    return {
        f"stage{s}": serial(**{
            f"module{i}": serial(branches=_module(m, width, ceil), **optional("se", g.at(s)))
            for i, m in enumerate(modules, start=1)
        })
        for s, modules in enumerate(plan, start=1)
    }  # fmt: skip


def _module(m: Module, width: float, ceil: bool) -> Layer:
    def c(C: int, k: int, stride: int = 1) -> tuple[Layer, ...]:
        return conv(wide(C, width), k, stride)

    stride = 1 if m.one else 2
    branches: dict[str, Layer] = {"one": serial(*c(m.one, 1))} if m.one else {}
    branches["three"] = serial(*c(m.three[0], 1), *c(m.three[1], 3, stride))
    branches["five"] = serial(*c(m.five[0], 1), *c(m.five[1], 3), *c(m.five[1], 3, stride))
    if m.pooled:
        branches["pool"] = serial(Pool(m.pool, 3, 1, 1), *c(m.pooled, 1))
    else:
        branches["pool"] = Pool(m.pool, 3, 2, ceil=True) if ceil else Pool(m.pool, 3, 2, 1)
    return concat(**branches)
