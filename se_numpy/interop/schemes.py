"""Naming schemes, as data: the names of the layers of a network in other libraries.

A table maps the names of our layers to those of their modules. {s} is a number, {b-1} that number minus one, {m:a} the
number as a letter (1 is a), and {n} the index of the layer among all layers.
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Scheme:
    """The naming scheme of a family of networks; ``settings`` are the usual settings of these networks."""

    name: str
    description: str
    pattern: str  # matches a tensor name only in this scheme
    tables: tuple[Mapping[str, str], ...] = field(default=(), repr=False)  # the first complete one is used
    se: tuple[str, str] = ("fc1", "fc2")
    pointwise: bool = True  # SE blocks have 1x1 convolutions, not linear layers
    biased: str = r"(?!)"  # matches convolutions that have a bias despite a batch norm after them
    bottlenecks: bool = False  # the networks are the same only with bottleneck blocks
    settings: Mapping[str, Any] = field(default_factory=dict)


_STAGES = {
    "stage{s}.block{b}.unit.branch.conv{c}": "layer{s}.{b-1}.conv{c}",
    "stage{s}.block{b}.unit.branch.batchnorm{c}": "layer{s}.{b-1}.bn{c}",
    "stage{s}.block{b}.unit.branch.se1": "layer{s}.{b-1}.se",
    "stage{s}.block{b}.unit.shortcut.conv1": "layer{s}.{b-1}.downsample.0",
    "stage{s}.block{b}.unit.shortcut.batchnorm1": "layer{s}.{b-1}.downsample.1",
}
_RESNET = {"conv": "conv1", "norm": "bn1", **_STAGES, "classifier": "fc"}
_DEEP_STEM = {
    "stem.conv1": "conv1.0", "stem.conv2": "conv1.3", "stem.conv3": "conv1.6",
    "stem.batchnorm1": "conv1.1", "stem.batchnorm2": "conv1.4", "stem.batchnorm3": "bn1",
}  # fmt: skip
_LEGACY = {
    "conv": "layer0.conv1", "norm": "layer0.bn1",
    "stem.conv{c}": "layer0.conv{c}", "stem.batchnorm{c}": "layer0.bn{c}",
    **_STAGES, "stage{s}.block{b}.unit.branch.se1": "layer{s}.{b-1}.se_module",
    "classifier": "last_linear",
}  # fmt: skip
_FEATURES = {f"stage{{s}}.{kind}{{c}}": "features.{n}" for kind in ("conv", "batchnorm", "se")}
_VGG = {
    **_FEATURES, "hidden.linear1": "classifier.0", "hidden.linear2": "classifier.3", "classifier": "classifier.6",
}  # fmt: skip
_BRANCHES = {
    "one.conv1": "1x1", "three.conv1": "3x3_reduce", "three.conv2": "3x3", "five.conv1": "double_3x3_reduce",
    "five.conv2": "double_3x3_1", "five.conv3": "double_3x3_2", "pool.conv1": "pool_proj",
}  # fmt: skip


def _inception(**stem: str) -> dict[str, str]:
    convolutions = {f"stem.{conv}": name for conv, name in stem.items()}
    for ours, theirs in _BRANCHES.items():
        convolutions[f"stage{{s}}.module{{m}}.branches.{ours}"] = f"inception_{{s+2}}{{m:a}}_{theirs}"
    norms = {ours.replace("conv", "batchnorm"): f"{theirs}_bn" for ours, theirs in convolutions.items()}
    return {**convolutions, **norms, "stage{s}.module{m}.se": "inception_{s+2}{m:a}_se", "classifier": "last_linear"}


SCHEMES = {
    scheme.name: scheme
    for scheme in (
        Scheme("se_numpy", "this library's own names and layouts, for every network", r"\.(V|gamma)$"),
        Scheme("legacy", "pretrained-models.pytorch and timm's legacy_se*: the authors' networks, converted",
               r"^layer0\.|\.se_module\.", (_LEGACY,), bottlenecks=True, settings={"stride_in": "1x1", "ceil": True}),
        Scheme("moskomule", "senet.pytorch: torchvision's ResNet with SE blocks of linear layers without biases",
               r"\.se\.fc\.\d\.", (_RESNET,), se=("fc.0", "fc.2"), pointwise=False, settings={"stride_in": "3x3"}),
        Scheme("inception", "BN-Inception from pretrained-models.pytorch; the names of the SE blocks are ours",
               r"^inception_\d", (_inception(conv1="conv1_3x3"),
               _inception(conv1="conv1_7x7_s2", conv2="conv2_3x3_reduce", conv3="conv2_3x3")), biased="_"),
        Scheme("torchvision", "torchvision: ResNet, ResNeXt and VGG with batch norm; SE blocks as it names them",
               r"^features\.\d", ({**_FEATURES, "classifier": "classifier"}, _VGG, _RESNET),
               biased=r"^features\.", settings={"stride_in": "3x3"}),
        Scheme("timm", "timm: seresnet50, seresnext50_32x4d, senet154",
               r"^layer1\.0\.", ({**_RESNET, **_DEEP_STEM},), settings={"stride_in": "3x3"}),
    )
}  # fmt: skip
OWN = SCHEMES["se_numpy"]


def detect(names: Iterable[str]) -> Scheme:
    """Detect the scheme of these tensor names.

    Raises
    ------
    ValueError
        If the names match no known scheme.
    """
    names = list(names)
    for scheme in SCHEMES.values():
        if any(re.search(scheme.pattern, name) for name in names):
            return scheme
    some = ", ".join(printable(name) for name in names[:3]) or "no names"
    raise ValueError(
        f"the names of the tensors ({some}{', ...' if len(names) > 3 else ''}) match no known scheme; "
        f"expected one of {', '.join(SCHEMES)}. If all names share a prefix, remove it"
    )


def get_scheme(scheme: "str | Scheme | None", names: Iterable[str]) -> Scheme:
    """Return the scheme with the given name, or detect it from the tensor names if it is None."""
    if scheme is None:
        return detect(names)
    if isinstance(scheme, Scheme):
        return scheme
    if scheme not in SCHEMES:
        raise ValueError(f"unknown scheme {scheme!r}; expected one of {', '.join(SCHEMES)}")
    return SCHEMES[scheme]


def printable(name: str) -> str:
    """Return a tensor name from an untrusted file, escaped and shortened for printing."""
    name = name if name.isprintable() else ascii(name)
    return name if len(name) <= 80 else f"{name[:77]}..."
