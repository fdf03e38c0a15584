"""Inference without batch norm: its scale goes into the filters before it, its shift stays behind as a bias.

    gamma (v ∗ X - mean) / √(var + eps) + beta  =  (a v) ∗ X + c,      a = gamma / √(var + eps),  c = beta - a mean
"""

from dataclasses import replace

from se_numpy.engine.norm import scale_and_shift
from se_numpy.layers import BatchNorm, Bias, Combinator, Conv, Layer, Serial
from se_numpy.tree import Tree


def fold(net: Layer, params: Tree, state: Tree) -> tuple[Layer, Tree, Tree]:
    """Return a network of the same evaluation with every batch norm folded into the convolution before it.

    params and state are a trained network's, on either device, and stay as they are. -> network, its params and state;
    a batch norm without a convolution before it stays one, and so do subclasses of either.
    """
    if not isinstance(net, Combinator):
        return net, params, state
    parts: list[tuple[str, Layer]] = []
    new_params: Tree = {}
    new_state: Tree = {}
    for name, part in net.parts:
        part, of_part, statistics = fold(part, params.get(name, {}), state.get(name, {}))
        if type(part) is BatchNorm and type(net) is Serial and parts and type(parts[-1][1]) is Conv:
            before = parts[-1][0]
            a, c = scale_and_shift(
                statistics["mean"], statistics["var"], of_part["gamma"], of_part["beta"], part.eps
            )  # fmt: skip
            new_params[before] = {"V": new_params[before]["V"] * a}
            part, of_part, statistics = Bias(), {"b": c}, {}
        parts.append((name, part))
        new_params |= {name: of_part} if of_part else {}
        new_state |= {name: statistics} if statistics else {}
    return replace(net, parts=tuple(parts)), new_params, new_state
