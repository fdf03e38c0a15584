"""The name and layout of every array of a network in a naming scheme.

The scheme's tables name the layers. The arrays of a layer depend on its type:

    convolution    weight, OIHW in the file and HWIO in this library
    batch norm     weight, bias, running_mean, running_var; the running variance is the unbiased one in both
    classifier     weight, bias; its input, a flattened image, is in CHW order in the file and HWC in this library
    SE block       two linear layers or two equivalent 1x1 convolutions, with or without biases

A convolution before a batch norm may have a bias in the file, but has none in this library. Batch norm subtracts the
mean, so the bias affects only the running mean: ours is the running mean in the file minus the bias.
"""

import re
from collections.abc import Callable, Mapping
from functools import cache
from typing import NamedTuple

import numpy as np

from se_numpy.interop.schemes import Scheme
from se_numpy.layers import SE, Conv, Flatten, Layer, Linear, Serial, Shape, walk
from se_numpy.tree import leaves


class Form(NamedTuple):
    """The conversions of an array between the file's layout and ours, and of its shape to the file's."""

    to_ours: Callable[[np.ndarray], np.ndarray]
    to_theirs: Callable[[np.ndarray], np.ndarray]
    shape: Callable[[Shape], Shape] = lambda shape: shape


SAME = Form(lambda a: a, lambda a: a)
FILTERS = Form(
    lambda a: a.transpose(2, 3, 1, 0), lambda a: a.transpose(3, 2, 0, 1), lambda s: (s[3], s[2], s[0], s[1])
)  # fmt: skip
POINTWISE = Form(lambda a: a.reshape(a.shape[:2]), lambda a: a[:, :, None, None], lambda s: (*s, 1, 1))


class Tensor(NamedTuple):
    """One array in both forms: its tree and leaf in this library, its name and shape in the file.

    For a running mean, ``conv_bias`` is the name of the bias of the convolution before it, which is subtracted if the
    file has it; ``has_conv_bias`` is True if networks of the scheme have that bias.
    """

    tree: str
    ours: str
    theirs: str
    shape: Shape
    form: Form = SAME
    conv_bias: str = ""
    has_conv_bias: bool = False


def tensors(net: Serial, shape: Shape, scheme: Scheme) -> list[Tensor]:
    """Return every array of a network for images of ``shape``, with its name in the scheme.

    Raises
    ------
    ValueError
        If the scheme has no name for a layer, or uses it for a different network.
    """
    modules = _modules(net, shape, scheme)
    found: list[Tensor] = []
    flat: Shape | None = None
    before: tuple[str, Layer | None] = "", None
    for name, layer, given in walk(net, shape):
        flat = given if isinstance(layer, Flatten) else flat
        if name in modules:
            follows = isinstance(before[1], Conv) and before[0].rpartition(".")[0] == name.rpartition(".")[0]
            conv = modules[before[0]] if follows else ""
            found += _of_layer(scheme, name, modules[name], layer, given, flat, conv)
        flat = None if isinstance(layer, Linear) else flat
        before = name, layer
    return found


def _of_layer(
    scheme: Scheme, name: str, module: str, layer: Layer, given: Shape, flat: Shape | None, conv: str
) -> list[Tensor]:
    fc1, fc2 = scheme.se
    there = {
        "V": "weight", "gamma": "weight", "beta": "bias", "mean": "running_mean", "var": "running_var",
        "W": "weight", "b": "bias",
        "W1": f"{fc1}.weight", "b1": f"{fc1}.bias", "W2": f"{fc2}.weight", "b2": f"{fc2}.bias",
    }  # fmt: skip
    forms = {"V": FILTERS, **({"W1": POINTWISE, "W2": POINTWISE} if scheme.pointwise else {})}
    if flat is not None:
        forms["W"] = _flattened(flat)
    found = []
    for tree, arrays in (("params", layer.parameters(given)), ("state", layer.statistics(given))):
        for leaf, array in leaves(arrays):
            ours = f"{name}.{leaf}"
            if not scheme.tables:
                found.append(Tensor(tree, ours, ours, array.shape))
                continue
            form = forms.get(leaf, SAME)
            found.append(Tensor(tree, ours, f"{module}.{there[leaf]}", form.shape(array.shape), form))
            if conv and leaf == "mean":
                has_bias = re.search(scheme.biased, conv) is not None
                found[-1] = found[-1]._replace(conv_bias=f"{conv}.bias", has_conv_bias=has_bias)
    return found


def _flattened(flat: Shape) -> Form:
    """Return the form of a weight matrix whose input is a flattened image."""
    H, W, C = flat
    return Form(
        lambda a: a.reshape(-1, C, H, W).transpose(0, 2, 3, 1).reshape(len(a), -1),
        lambda a: a.reshape(-1, H, W, C).transpose(0, 3, 1, 2).reshape(len(a), -1),
    )


def _modules(net: Serial, shape: Shape, scheme: Scheme) -> dict[str, str]:
    """Return the module name in the scheme for each layer that has parameters."""
    places = list(walk(net, shape))
    holders = [(n, name) for n, (name, layer, s) in enumerate(places) if layer.parameters(s)]
    if not scheme.tables:
        return {name: name for _, name in holders}
    if scheme.bottlenecks and not any(name.endswith("branch.conv3") for _, name in holders):
        raise ValueError(
            f"in the scheme {scheme.name}, a block of two convolutions has an additional ReLU before its SE block, so "
            "the networks differ; expected one with bottlenecks, such as se_resnet50, or another scheme"
        )
    odd = [name for i, (name, layer, _) in enumerate(places) if _unlike(name, layer, places[i + 1 :])]
    best: list[str] | None = None
    for table in scheme.tables:
        modules = {name: _translated(table, name, n) for n, name in holders}
        unnamed = odd + [name for name, module in modules.items() if not module]
        if not unnamed:
            return modules
        best = unnamed if best is None or len(unnamed) < len(best) else best
    raise ValueError(
        f"the scheme {scheme.name} has no name for {', '.join((best or [])[:3])}"
        f"{f' and {len(best) - 3} more' if best and len(best) > 3 else ''}; use another scheme, such as se_numpy, "
        "which supports every network"
    )


def _unlike(name: str, layer: Layer, after: list[tuple[str, Layer, Shape]]) -> bool:
    """Return True for an SE layer that other libraries do not have: a variant, or one in another place."""
    if not hasattr(layer, "reduction"):
        return False
    branch = name.removesuffix("se1") if name.endswith("branch.se1") else None
    early = branch is not None and bool(after) and after[0][0].startswith(branch)
    return type(layer) is not SE or early


def _translated(table: Mapping[str, str], name: str, n: int) -> str:
    """Return the name of our layer in a table, or "" if it has none."""
    for ours, theirs in table.items():
        if found := _pattern(ours).fullmatch(name):
            return _filled(theirs, {**{letter: int(text) for letter, text in found.groupdict().items()}, "n": n})
    return ""


@cache
def _pattern(ours: str) -> re.Pattern[str]:
    return re.compile(re.sub(r"\\\{(\w)\\\}", r"(?P<\1>\\d+)", re.escape(ours)))


def _filled(theirs: str, numbers: Mapping[str, int]) -> str:
    def text(place: re.Match[str]) -> str:
        number, how = numbers[place[1]], place[2]
        return chr(ord("a") + number - 1) if how == ":a" else str(number + int(how or 0))

    return re.sub(r"\{(\w)([+-]\d+|:a)?\}", text, theirs)
