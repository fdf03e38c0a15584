"""Every array of a network under the names of a scheme, and how it lies there.

The scheme's table names the layers; what each holds follows from its kind:

    convolution    weight                             O I H W there, H W I O here
    batch norm     weight, bias, running_mean, running_var; the running variance is the unbiased one on both sides
    classifier     weight, bias                       after a flattened image in C H W order there, H W C here
    SE block       two linear maps or two 1x1 convolutions, which are the same matrix; with or without biases

A convolution before a batch norm may have a bias there and has none here: batch norm takes the mean away, so all that
the bias changes is that mean, and ours is the running mean less the bias.
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
    """How an array goes from their layout to ours, and back, and what shape it has there."""

    to_ours: Callable[[np.ndarray], np.ndarray]
    to_theirs: Callable[[np.ndarray], np.ndarray]
    there: Callable[[Shape], Shape] = lambda shape: shape


SAME = Form(lambda a: a, lambda a: a)
FILTERS = Form(
    lambda a: a.transpose(2, 3, 1, 0), lambda a: a.transpose(3, 2, 0, 1), lambda s: (s[3], s[2], s[0], s[1])
)  # fmt: skip
POINTWISE = Form(lambda a: a.reshape(a.shape[:2]), lambda a: a[:, :, None, None], lambda s: (*s, 1, 1))


class Tensor(NamedTuple):
    """One array in both worlds: the tree and the leaf here; name and shape there.

    ``less`` is the bias of the convolution before a running mean, to be taken from it where there is one; where
    networks under these names have that bias, ``biased`` is True.
    """

    tree: str
    ours: str
    theirs: str
    shape: Shape
    form: Form = SAME
    less: str = ""
    biased: bool = False


def tensors(net: Serial, shape: Shape, scheme: Scheme) -> list[Tensor]:
    """Every array of the network for images of ``shape``, under the names of the scheme.

    Raises ValueError where the scheme has no name for a layer, or means another network by it.
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
            found.append(Tensor(tree, ours, f"{module}.{there[leaf]}", form.there(array.shape), form))
            if conv and leaf == "mean":
                biased = re.search(scheme.biased, conv) is not None
                found[-1] = found[-1]._replace(less=f"{conv}.bias", biased=biased)
    return found


def _flattened(flat: Shape) -> Form:
    """Of a map whose input is an image in one row."""
    H, W, C = flat
    return Form(
        lambda a: a.reshape(-1, C, H, W).transpose(0, 2, 3, 1).reshape(len(a), -1),
        lambda a: a.reshape(-1, H, W, C).transpose(0, 3, 1, 2).reshape(len(a), -1),
    )


def _modules(net: Serial, shape: Shape, scheme: Scheme) -> dict[str, str]:
    """Their module for each of our layers that hold arrays."""
    places = list(walk(net, shape))
    holders = [(n, name) for n, (name, layer, s) in enumerate(places) if layer.parameters(s)]
    if not scheme.tables:
        return {name: name for _, name in holders}
    if scheme.bottlenecks and not any(name.endswith("branch.conv3") for _, name in holders):
        raise ValueError(
            f"under the names of {scheme.name} a block of two convolutions has one ReLU more, before its SE block, so "
            "it is another network; expected one with bottlenecks, such as se_resnet50, or another scheme"
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
        f"{f' and {len(best) - 3} more' if best and len(best) > 3 else ''}; expected another scheme: "
        "se_numpy names everything"
    )


def _unlike(name: str, layer: Layer, after: list[tuple[str, Layer, Shape]]) -> bool:
    """Whether a layer is not what others mean by its name: an ablation of SE, or SE elsewhere than after a branch."""
    if not hasattr(layer, "reduction"):
        return False
    branch = name.removesuffix("se1") if name.endswith("branch.se1") else None
    early = branch is not None and bool(after) and after[0][0].startswith(branch)
    return type(layer) is not SE or early


def _translated(table: Mapping[str, str], name: str, n: int) -> str:
    """Their name for our layer, or "" if the table has none."""
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
