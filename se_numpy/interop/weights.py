"""State dicts into the trees of a network, and back."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from se_numpy import models
from se_numpy.arrays import to_host
from se_numpy.interop.files import read
from se_numpy.interop.matching import Comparison, alike, compare, hint, settings_of
from se_numpy.interop.names import Tensor, tensors
from se_numpy.interop.schemes import OWN, SCHEMES, Scheme, named, shown
from se_numpy.layers import Serial, Shape
from se_numpy.tree import Tree, differences, from_leaves, leaves

_PREFIXES = ("module.", "_orig_mod.", "model.")  # what wrappers of a whole network put before every name


class StateDictMismatch(ValueError):
    """Tensors that are not those of a network: all that differs, at once, and which network they would fit."""

    def __init__(self, what: str, comparison: Comparison, advice: str) -> None:
        self.comparison, self.advice = comparison, advice
        super().__init__("\n".join([f"{what}:", *comparison.lines(), *([f"  {advice}"] if advice else [])]))


def load(
    source: str | Path | Mapping[str, Any], net: Serial | str, shape: Shape | None = None, *,
    scheme: str | Scheme | None = None, **settings: Any,
) -> tuple[Tree, Tree]:  # fmt: skip
    """Parameters and running statistics of ``net``, a value or a name, for images of ``shape``, from a state dict.

    ``source`` is a file or names to arrays; the scheme is recognised if it is not given. A network that is given by
    name is built as the tensors say and as is custom under their names, unless ``settings`` say otherwise. All arrays
    have one type, the widest in the source, float32 at least.

    Raises StateDictMismatch, a ValueError, listing all that does not fit.
    """
    arrays = bare(read(source) if isinstance(source, str | Path) else source)
    scheme = named(scheme, arrays)
    name = net if isinstance(net, str) else None
    if isinstance(net, str):
        shape = shape or models.image_shape(net)
        net = models.build(net, **{**settings_of(shapes_of(arrays), net, scheme, shape), **settings})
    elif settings:
        raise ValueError(f"{', '.join(settings)} cannot be set in a network that is built; expected its name")
    if shape is None:
        raise ValueError("the shape of an image is missing; expected (H, W, C), for a network that is given as a value")
    return _loaded(arrays, net, shape, scheme, name)


def _loaded(
    arrays: dict[str, np.ndarray], net: Serial, shape: Shape, scheme: Scheme, name: str | None
) -> tuple[Tree, Tree]:
    wanted = tensors(net, shape, scheme)
    if found := compare(shapes_of(arrays), wanted):
        what = f"the tensors (scheme {scheme.name}) do not fit {name or 'the network'}"
        raise StateDictMismatch(what, found, hint(shapes_of(arrays), scheme, name))
    dtype = _dtype(arrays, wanted)
    trees: dict[str, dict[str, np.ndarray]] = {"params": {}, "state": {}}
    for t in wanted:
        array = arrays[t.theirs].reshape(t.shape)
        if t.less in arrays:
            array = array - _bias(arrays, t)
        trees[t.tree][t.ours] = np.array(t.form.to_ours(array), dtype, order="C")  # a copy, free to be trained
    return from_leaves(trees["params"]), from_leaves(trees["state"])


def dump(
    net: Serial, shape: Shape, params: Tree, state: Tree, *, scheme: str | Scheme | None = None
) -> dict[str, np.ndarray]:
    """The state dict of a network for images of ``shape`` under the names of a scheme, which PyTorch loads.

    If no scheme is given: timm's names where they suit, else the first others that do. What ``load`` makes of it is the
    same numbers again.  Raises ValueError where the scheme has no name for a layer, or the trees are not the network's.
    """
    scheme = suitable(net, shape) if scheme is None else named(scheme, ())
    held = {"params": dict(leaves(params)), "state": dict(leaves(state))}
    if odd := differences(params, net.parameters(shape)) + differences(state, net.statistics(shape)):
        raise ValueError(f"the trees are not this network's: {'; '.join(odd[:5])}{'; ...' if len(odd) > 5 else ''}")
    arrays: dict[str, np.ndarray] = {}
    for t in tensors(net, shape, scheme):
        array = to_host(held[t.tree][t.ours])
        if t.biased:
            arrays[t.less] = np.zeros_like(array)  # PyTorch's module has one and asks for it
        arrays[t.theirs] = np.array(t.form.to_theirs(array), order="C")
    return arrays


def suitable(net: Serial, shape: Shape) -> Scheme:
    """The scheme to write a network under if nobody asks for one: timm's, else the first that names every layer."""
    for name in ("timm", "torchvision", "inception"):
        try:
            tensors(net, shape, SCHEMES[name])
            return SCHEMES[name]
        except ValueError:
            continue
    return OWN


def bare(source: Mapping[str, Any]) -> dict[str, np.ndarray]:
    """Names to arrays on the host, without what wrappers put before every name, half precision widened."""
    arrays = {str(name): _host(name, array) for name, array in source.items()}
    for prefix in _PREFIXES:
        if arrays and all(name.startswith(prefix) for name in arrays):
            arrays = {name.removeprefix(prefix): array for name, array in arrays.items()}
    return arrays


def _host(name: str, array: Any) -> np.ndarray:
    if hasattr(array, "detach"):  # a PyTorch tensor; bfloat16 has no counterpart in NumPy
        array = array.detach().cpu()
        array = (array.float() if array.is_floating_point() and array.element_size() < 4 else array).numpy()
    array = np.asarray(to_host(array))
    if array.dtype.kind not in "fiub":
        raise ValueError(f"{shown(str(name))} holds {array.dtype}; expected an array of numbers")
    return array


def shapes_of(arrays: Mapping[str, np.ndarray]) -> dict[str, Shape]:
    """The arrays' shapes, by their names."""
    return {name: array.shape for name, array in arrays.items()}


def _dtype(arrays: Mapping[str, np.ndarray], wanted: list[Tensor]) -> np.dtype:
    """The widest type of the tensors.  Raises ValueError for numbers that are not real: quantised weights."""
    odd = [t.theirs for t in wanted if arrays[t.theirs].dtype.kind != "f"]
    if odd:
        raise ValueError(
            f"{len(odd)} tensors, such as {odd[0]} ({arrays[odd[0]].dtype}), hold no floating-point numbers; "
            "expected weights that are not quantised"
        )
    return np.result_type(np.float32, *{arrays[t.theirs].dtype for t in wanted})


def _bias(arrays: Mapping[str, np.ndarray], t: Tensor) -> np.ndarray:
    bias = arrays[t.less]
    if not alike(bias.shape, t.shape):
        raise ValueError(f"{t.less} has shape {bias.shape}; expected {t.shape}")
    return bias
