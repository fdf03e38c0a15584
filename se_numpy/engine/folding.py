"""Inference without batch norm: its scale goes into the filters before it, its shift stays behind as a bias.

    gamma (v ∗ X - mean) / √(var + eps) + beta  =  (a v) ∗ X + c,      a = gamma / √(var + eps),  c = beta - a mean
"""

from collections.abc import Collection
from dataclasses import replace

from se_numpy.engine.norm import scale_and_shift
from se_numpy.layers import BatchNorm, Bias, Combinator, Concat, Conv, Layer, Serial, Sum
from se_numpy.tree import Tree


def fold(
    net: Layer, params: Tree, state: Tree, *, keep: Collection[str] = (), path: str = ""
) -> tuple[Layer, Tree, Tree]:
    """Return a network of the same evaluation with every batch norm folded into the convolution before it.

    params and state are a trained network's, on either device, and stay as they are. -> network, its params and state.
    A batch norm stays one without a convolution before it, or behind one whose maps are to be kept (its dotted name,
    below ``path``, is in ``keep``); subclasses of layers and combinators stay as they are.
    """
    if type(net) not in (Serial, Sum, Concat):
        return net, params, state
    assert isinstance(net, Combinator)
    below = f"{path}." if path else ""
    parts: list[tuple[str, Layer]] = []
    new_params: Tree = {}
    new_state: Tree = {}
    for name, part in net.parts:
        here = params.get(name, {}), state.get(name, {})
        part, of_part, statistics = fold(part, *here, keep=keep, path=below + name)
        before, layer = parts[-1] if parts and type(net) is Serial else ("", None)
        if type(part) is BatchNorm and type(layer) is Conv and below + before not in keep:
            a, c = scale_and_shift(
                statistics["mean"], statistics["var"], of_part["gamma"], of_part["beta"], part.eps
            )  # fmt: skip
            new_params[before] = {"V": new_params[before]["V"] * a}
            part, of_part, statistics = Bias(), {"b": c}, {}
        parts.append((name, part))
        new_params |= {name: of_part} if of_part else {}
        new_state |= {name: statistics} if statistics else {}
    return replace(net, parts=tuple(parts)), new_params, new_state
