"""Convert state dicts to the parameter and state trees of a network, and back."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from se_numpy import models
from se_numpy.arrays import to_host
from se_numpy.interop.channels import fit_channels
from se_numpy.interop.files import read
from se_numpy.interop.matching import Comparison, compare, infer_settings, same_shape, suggestion
from se_numpy.interop.names import Tensor, tensors
from se_numpy.interop.schemes import OWN, SCHEMES, Scheme, get_scheme
from se_numpy.interop.unwrapping import unwrap
from se_numpy.layers import Serial, Shape
from se_numpy.tree import Tree, differences, from_leaves, leaves


class StateDictMismatch(ValueError):
    """A state dict that does not fit a network; lists all differences and suggests the network it fits."""

    def __init__(self, summary: str, comparison: Comparison, advice: str) -> None:
        self.comparison, self.advice = comparison, advice
        super().__init__("\n".join([f"{summary}:", *comparison.lines(), *([f"  {advice}"] if advice else [])]))


def load(
    source: str | Path | Mapping[str, Any], net: Serial | str, shape: Shape | None = None, *,
    scheme: str | Scheme | None = None, ema: bool = True, part: str | None = None, in_chans: int | None = None,
    **settings: Any,
) -> tuple[Tree, Tree]:  # fmt: skip
    """Load the parameters and running statistics of ``net`` for images of ``shape`` from a state dict.

    Parameters
    ----------
    source
        A file, or a mapping of names to arrays.
    net
        A network, or the name of one. A network given by name is built with the settings inferred from the tensors and
        the scheme, which ``settings`` override.
    shape
        The shape (H, W, C) of an image; optional if the network is given by name.
    scheme
        The naming scheme; detected by default.
    ema, part
        Which of several sets of weights to load, as in ``read``.
    in_chans
        The number of channels of the images, to which the first filters are adapted as in timm.

    Returns
    -------
    params, state
        Trees of arrays that all have the widest floating-point type in the source, float32 or float64.

    Raises
    ------
    StateDictMismatch
        If the tensors do not fit the network; the message lists all differences.
    """
    if scheme is not None:
        scheme = get_scheme(scheme, ())  # refuse an unknown scheme before reading a file
    which: dict[str, Any] = {"ema": ema, "part": part}
    arrays = read(source, **which) if isinstance(source, str | Path) else unwrap(source, **which)
    scheme = get_scheme(scheme, arrays)
    arrays, shape = fit_channels(arrays, net, scheme, shape, in_chans)
    name = net if isinstance(net, str) else None
    if isinstance(net, str):
        net = models.build(net, **{**infer_settings(shapes_of(arrays), net, scheme, shape), **settings})
    elif settings:
        raise ValueError(f"{', '.join(settings)} cannot be changed in an existing network; give its name instead")
    return _loaded(arrays, net, shape, scheme, name)


def _loaded(
    arrays: dict[str, np.ndarray], net: Serial, shape: Shape, scheme: Scheme, name: str | None
) -> tuple[Tree, Tree]:
    wanted = tensors(net, shape, scheme)
    if found := compare(shapes_of(arrays), wanted):
        summary = f"the tensors (scheme {scheme.name}) do not fit {name or 'the network'}"
        raise StateDictMismatch(summary, found, suggestion(shapes_of(arrays), scheme, name))
    dtype = _dtype(arrays, wanted)
    trees: dict[str, dict[str, np.ndarray]] = {"params": {}, "state": {}}
    for t in wanted:
        array = arrays[t.theirs].reshape(t.shape)
        if t.conv_bias in arrays:
            array = array - _bias(arrays, t)
        # A copy, so that training does not change the source.
        trees[t.tree][t.ours] = np.array(t.form.to_ours(array), dtype, order="C")
    return from_leaves(trees["params"]), from_leaves(trees["state"])


def dump(
    net: Serial, shape: Shape, params: Tree, state: Tree, *, scheme: str | Scheme | None = None
) -> dict[str, np.ndarray]:
    """Return the state dict of a network for images of ``shape``, which PyTorch and ``load`` can read.

    The default scheme is timm, or the first other one that supports the network.

    Raises
    ------
    ValueError
        If the scheme has no name for a layer, or the trees do not fit the network.
    """
    scheme = default_scheme(net, shape) if scheme is None else get_scheme(scheme, ())
    held = {"params": dict(leaves(params)), "state": dict(leaves(state))}
    if odd := differences(params, net.parameters(shape)) + differences(state, net.statistics(shape)):
        raise ValueError(f"the trees do not fit the network: {'; '.join(odd[:5])}{'; ...' if len(odd) > 5 else ''}")
    arrays: dict[str, np.ndarray] = {}
    for t in tensors(net, shape, scheme):
        array = to_host(held[t.tree][t.ours])
        if t.has_conv_bias:
            arrays[t.conv_bias] = np.zeros_like(array)  # PyTorch's module requires this bias
        arrays[t.theirs] = np.array(t.form.to_theirs(array), order="C")
    return arrays


def default_scheme(net: Serial, shape: Shape) -> Scheme:
    """Return the default scheme for writing a network: timm, or the first other one that names every layer."""
    for name in ("timm", "torchvision", "inception"):
        try:
            tensors(net, shape, SCHEMES[name])
            return SCHEMES[name]
        except ValueError:
            continue
    return OWN


def shapes_of(arrays: Mapping[str, np.ndarray]) -> dict[str, Shape]:
    """Return the shapes of the arrays by name."""
    return {name: array.shape for name, array in arrays.items()}


def _dtype(arrays: Mapping[str, np.ndarray], wanted: list[Tensor]) -> np.dtype:
    """Return the widest dtype of the tensors; raise ValueError for quantised weights."""
    odd = [t.theirs for t in wanted if arrays[t.theirs].dtype.kind != "f"]
    if odd:
        more = f", nor are {len(odd) - 1} other tensors" if len(odd) > 1 else ""
        raise ValueError(
            f"{odd[0]} is not floating-point ({arrays[odd[0]].dtype}){more}; quantised weights are not supported"
        )
    widest = np.result_type(np.float32, *{arrays[t.theirs].dtype for t in wanted})
    return np.dtype(np.float64) if widest.itemsize > 8 else widest


def _bias(arrays: Mapping[str, np.ndarray], t: Tensor) -> np.ndarray:
    bias = arrays[t.conv_bias]
    if not same_shape(bias.shape, t.shape):
        raise ValueError(f"{t.conv_bias} has shape {bias.shape}; expected {t.shape}")
    return bias
