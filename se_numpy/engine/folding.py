"""Fold batch norm for inference: its scale moves into the filters before it, its shift becomes a bias.

    gamma (v ∗ X - mean) / √(var + eps) + beta  =  (a v) ∗ X + c

where a = gamma / √(var + eps) and c = beta - a mean.
"""

from collections.abc import Collection
from dataclasses import replace

from se_numpy.engine.norm import scale_and_shift
from se_numpy.layers import BatchNorm, Bias, Combinator, Concat, Conv, Layer, Serial, Sum
from se_numpy.tree import Tree


def fold(
    net: Layer, params: Tree, state: Tree, *, keep: Collection[str] = (), path: str = ""
) -> tuple[Layer, Tree, Tree]:
    """Return an equivalent network for evaluation, with batch norms folded into the convolutions before them.

    Returns the network, its params and its state; the arguments are not modified and may be on either device. A batch
    norm is kept if no convolution precedes it, or if ``keep`` contains the dotted name of the one that does (``path``
    is the name of ``net`` itself). Subclasses of layers and combinators are left as they are.
    """
    if type(net) not in (Serial, Sum, Concat):
        return net, params, state
    assert isinstance(net, Combinator)
    below = f"{path}." if path else ""
    parts: list[tuple[str, Layer]] = []
    new_params: Tree = {}
    new_state: Tree = {}
    for name, part in net.parts:
        own = params.get(name, {}), state.get(name, {})
        part, part_params, part_state = fold(part, *own, keep=keep, path=below + name)
        before, layer = parts[-1] if parts and type(net) is Serial else ("", None)
        if type(part) is BatchNorm and type(layer) is Conv and below + before not in keep:
            a, c = scale_and_shift(
                part_state["mean"], part_state["var"], part_params["gamma"], part_params["beta"], part.eps
            )  # fmt: skip
            new_params[before] = {"V": new_params[before]["V"] * a}
            part, part_params, part_state = Bias(), {"b": c}, {}
        parts.append((name, part))
        new_params |= {name: part_params} if part_params else {}
        new_state |= {name: part_state} if part_state else {}
    return replace(net, parts=tuple(parts)), new_params, new_state
