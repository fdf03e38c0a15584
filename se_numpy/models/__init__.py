"""Networks as values, and their names."""

import difflib
from collections.abc import Callable
from functools import partial
from itertools import takewhile
from typing import Any, NamedTuple

from se_numpy.layers import Serial, Shape
from se_numpy.models.imagenet import BASIC, BOTTLENECK, imagenet_resnet, imagenet_resnext, senet154
from se_numpy.models.inception import bn_inception, small_inception
from se_numpy.models.mobile import mobilenet, shufflenet
from se_numpy.models.resnet import DEPTHS, PREACT_DEPTHS, preact_resnet, resnet, small_resnext
from se_numpy.models.se_config import PLACEMENTS, SEConfig
from se_numpy.models.vgg import small_vgg, vgg16

# The paper's r = 16 would leave the 16 channels of the first stage a single hidden unit: when its ReLU is off, every
# gate of the block is 0.5 and learns nothing from that image. r = 4 leaves 4, 8 and 16.
DEFAULT_REDUCTION = 4
SMALL, LARGE = (32, 32, 3), (224, 224, 3)


class Known(NamedTuple):
    """A network that has a name: how it is made, the images it was made for, and the r of the version with SE."""

    make: Callable[..., Serial]
    shape: Shape = SMALL
    reduction: int = DEFAULT_REDUCTION


_FAMILIES = {
    **{f"resnet{d}": Known(partial(resnet, d)) for d in DEPTHS},
    **{f"resnet{d}": Known(partial(imagenet_resnet, d), LARGE, 16) for d in (*BASIC, *BOTTLENECK)},
    **{f"preact_resnet{d}": Known(partial(preact_resnet, d)) for d in PREACT_DEPTHS},
    "small_vgg": Known(small_vgg),
    "small_inception": Known(small_inception),
    "small_resnext": Known(small_resnext),
    **{f"resnext{d}_32x4d": Known(partial(imagenet_resnext, d), LARGE, 16) for d in (50, 101)},
    "vgg16": Known(vgg16, LARGE, 16),
    "bn_inception": Known(bn_inception, LARGE, 16),
    "mobilenet": Known(mobilenet, LARGE, 16),
    "shufflenet": Known(shufflenet, LARGE, 16),
}
KNOWN = {
    **{f"{prefix}{name}": known for name, known in _FAMILIES.items() for prefix in ("", "se_")},
    "senet154": Known(senet154, LARGE, 16),
}
NAMES = tuple(KNOWN)


def build(
    name: str, *, reduction: int | None = None, bias: bool = False, classes: int | None = None, **settings: Any
) -> Serial:
    """The network called ``name``, for instance "se_resnet20", "se_resnet50" or "senet154".

    ``reduction`` is r; if it is not given, 16 as in the paper, but 4 in networks for small images. ``classes`` are 10
    there and 1000 else. ``settings`` are the fields of ``SEConfig``, each an ablation of the paper (gate="tanh",
    squeeze="max", stages=(3,), placement="pre"), and what the network's own function takes (stride_in="3x3").

    Raises ValueError for an unknown name, suggesting the nearest, and for SE settings given to a network without SE.
    """
    known = _known(name)
    if classes is not None:
        settings["classes"] = classes
    if name.startswith("se"):
        settings |= {"reduction": known.reduction if reduction is None else reduction, "bias": bias}
        return known.make(**settings)
    asked = {"reduction": reduction, "bias": bias, **settings}
    for setting, absent in SEConfig.__dataclass_fields__.items():
        if asked.get(setting, absent.default) != absent.default:
            said = "bias" if setting == "bias" else f"{setting}={asked[setting]!r}"
            raise ValueError(f"{name} has no SE blocks for {said} to act on; did you mean 'se_{name}'?")
    return known.make(**settings)


def image_shape(name: str) -> Shape:
    """(H, W, C) of the images that the network called ``name`` was made for; ValueError as ``build``."""
    return _known(name).shape


def _known(name: str) -> Known:
    if name not in KNOWN:
        near = difflib.get_close_matches(name, NAMES, n=6)
        near = sorted(near, key=lambda other: -_shared(name, other))[:3]
        hint = f"did you mean {' or '.join(map(repr, near))}? " if near else ""
        raise ValueError(f"unknown model {name!r}; {hint}`se-numpy summary` lists all")
    return KNOWN[name]


def _shared(a: str, b: str) -> int:
    """How many letters two names have in common at their beginning."""
    return sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], zip(a, b, strict=False)))


__all__ = [
    "DEFAULT_REDUCTION",
    "KNOWN",
    "NAMES",
    "PLACEMENTS",
    "Known",
    "SEConfig",
    "bn_inception",
    "build",
    "image_shape",
    "imagenet_resnet",
    "imagenet_resnext",
    "mobilenet",
    "preact_resnet",
    "resnet",
    "senet154",
    "shufflenet",
    "small_inception",
    "small_resnext",
    "small_vgg",
    "vgg16",
]
