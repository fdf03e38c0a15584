"""Inference without batch norm: its scale goes into the filters before it, its shift stays behind as a bias.

    gamma (v ∗ X - mean) / √(var + eps) + beta  =  (a v) ∗ X + c,      a = gamma / √(var + eps),  c = beta - a mean
"""

from dataclasses import replace

from se_numpy.layers.combinators import Combinator, Serial
from se_numpy.layers.layer import Layer
from se_numpy.layers.simple import BatchNorm, Bias, Conv
from se_numpy.ops.norm import scale_and_shift
from se_numpy.tree import Tree


def fold(net: Serial, params: Tree, state: Tree) -> tuple[Serial, Tree, Tree]:
    """The network that gives the same logits in evaluation with every batch norm folded into the convolution before it.

    params and state are a trained network's, on either device, and stay as they are. -> network, its params and state;
    where no convolution stands before a batch norm it stays one.
    """
    folded, params, state = _fold(net, params, state)
    return folded, params, state  # type: ignore[return-value]


def _fold(layer: Layer, params: Tree, state: Tree) -> tuple[Layer, Tree, Tree]:
    if not isinstance(layer, Combinator):
        return layer, params, state
    parts: list[tuple[str, Layer]] = []
    new_params: Tree = {}
    new_state: Tree = {}
    for name, part in layer.parts:
        part, of_part, statistics = _fold(part, params.get(name, {}), state.get(name, {}))
        if isinstance(part, BatchNorm) and isinstance(layer, Serial) and parts and isinstance(parts[-1][1], Conv):
            before = parts[-1][0]
            a, c = scale_and_shift(
                statistics["mean"], statistics["var"], of_part["gamma"], of_part["beta"], part.eps
            )  # fmt: skip
            new_params[before] = {"V": new_params[before]["V"] * a}
            part, of_part, statistics = Bias(), {"b": c}, {}
        parts.append((name, part))
        new_params |= {name: of_part} if of_part else {}
        new_state |= {name: statistics} if statistics else {}
    return replace(layer, parts=tuple(parts)), new_params, new_state
