"""Networks as values, built by name."""

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

# The paper's r = 16 would give the first stage, with its 16 channels, a single hidden unit: when its ReLU is off, every
# gate of the block is 0.5 and learns nothing from that image. r = 4 gives 4, 8 and 16 hidden units.
DEFAULT_REDUCTION = 4
SMALL, LARGE = (32, 32, 3), (224, 224, 3)


class Known(NamedTuple):
    """A named network: its function, the shape of its images, and the default r of its SE blocks."""

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
    """Build the network called ``name``, for instance "se_resnet20", "se_resnet50" or "senet154".

    ``reduction`` is r; the default is 16 as in the paper, but 4 in networks for small images. The default of
    ``classes`` is 10 for small images and 1000 for large ones. ``settings`` are the fields of ``SEConfig``, one for
    each ablation of the paper (gate="tanh", squeeze="max", stages=(3,), placement="pre"), and the keyword arguments of
    the network's own function (stride_in="3x3").

    Raises
    ------
    ValueError
        If the name is unknown (the message suggests the closest ones), or if SE settings are given for a network
        without SE blocks.
    """
    known = _known(name)
    if "depth" in settings:
        raise ValueError(f"depth={settings['depth']!r} is not a setting of {name!r}, whose name determines its depth")
    if classes is not None:
        settings["classes"] = classes
    if name.startswith("se"):
        settings |= {"reduction": known.reduction if reduction is None else reduction, "bias": bias}
        return known.make(**settings)
    given = {"reduction": reduction, "bias": bias, **settings}
    for setting, field in SEConfig.__dataclass_fields__.items():
        if given.get(setting, field.default) != field.default:
            shown = "bias" if setting == "bias" else f"{setting}={given[setting]!r}"
            raise ValueError(f"{shown} applies to SE blocks, and {name} has none; did you mean 'se_{name}'?")
    return known.make(**settings)


def image_shape(name: str) -> Shape:
    """Return the shape (H, W, C) of the images that the network called ``name`` was designed for.

    Raises
    ------
    ValueError
        If the name is unknown.
    """
    return _known(name).shape


def _known(name: str) -> Known:
    if not isinstance(name, str):
        raise TypeError(f"the model is {name!r}; expected a name, such as 'se_resnet20'")
    if name not in KNOWN:
        near = difflib.get_close_matches(name, NAMES, n=6)
        near = sorted(near, key=lambda other: -_shared(name, other))[:3]
        hint = f"did you mean {' or '.join(map(repr, near))}? " if near else ""
        raise ValueError(f"unknown model {name!r}; {hint}`se-numpy summary` lists all models")
    return KNOWN[name]


def _shared(a: str, b: str) -> int:
    """Return the length of the common prefix of two names."""
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
