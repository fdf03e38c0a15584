"""The two paths of the gradient: U is used twice, so dU has a direct part and a part through the gate.

    dU = s · dX_tilde  +  dz / (HW)
         direct           through the gate: the same at every pixel of a channel

``two_paths`` computes both parts from arrays; ``network_paths`` computes them for every SE block of a network.
"""

from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from se_numpy import engine, ops
from se_numpy.analysis.network import with_layers
from se_numpy.arrays import Array
from se_numpy.layers import SE, Combinator, Layer, Result, Rng, Shape
from se_numpy.se import excite, excite_backward, scale_backward, squeeze, squeeze_backward
from se_numpy.tree import Tree, leaves


class Paths(NamedTuple):
    """The two parts of dU, both (N, H, W, C); the array ``gate`` may be read-only."""

    direct: Array
    gate: Array

    @property
    def whole(self) -> Array:
        """The whole gradient, dU."""
        return self.direct + self.gate


class PathShare(NamedTuple):
    """The norms of a block's two paths, the share of the gate's path, and the cosine of the angle between the two.

    share = ‖gate‖ / (‖direct‖ + ‖gate‖); 0 if the gradient is zero.
    """

    direct: float
    gate: float
    share: float
    cosine: float


def two_paths(
    dX_tilde: Array, U: Array, W1: Array, W2: Array, b1: Array | None = None, b2: Array | None = None
) -> Paths:
    """Return dU of ``se_block_backward`` in two parts: s · dX_tilde, and dz / (HW) at every pixel."""
    z = squeeze(U)
    direct, ds = scale_backward(dX_tilde, U, excite(z, W1, W2, b1, b2))
    dz = excite_backward(ds, z, W1, W2, b1, b2)[0]
    return Paths(direct, squeeze_backward(dz, U))


def path_share(paths: Paths) -> PathShare:
    """Return the norms of the two parts, the gate's share and the cosine between them."""
    direct, gate = (np.asarray(part, np.float64).ravel() for part in paths)
    a, b = float(np.linalg.norm(direct)), float(np.linalg.norm(gate))
    cosine = float(direct @ gate) / (a * b) if a * b > 0 else 0.0
    return PathShare(a, b, b / (a + b) if a + b > 0 else 0.0, cosine)


@dataclass(frozen=True)
class SplitSE(Layer):
    """An SE block whose gradients include the two parts of dU, as "direct" and "gate".

    The gate's part is the block's own dU minus the direct part, so it is right for any squeeze and gate function.
    """

    block: SE

    def parameters(self, shape: Shape) -> Tree:
        return self.block.parameters(shape)

    def forward(self, params: Tree, state: Tree, X: Array, *, train: bool = False, rng: Rng = None) -> Result:
        return self.block.forward(params, state, X, train=train, rng=rng)

    def backward(self, params: Tree, cache: Any, dY: Array) -> tuple[Array, Tree]:
        direct, _ = scale_backward(dY, cache.U, cache.s)
        dU, grads = self.block.backward(params, cache, dY)
        return dU, {**grads, "direct": direct, "gate": dU - direct}


def network_paths(
    net: Layer, params: Tree, state: Tree, X: Array, labels: Array, *, train: bool = False
) -> dict[str, Paths]:
    """Return the two parts of dU of every SE block, by its dotted name, for the cross-entropy on X (N, H, W, C).

    ``labels`` is (N,). With ``train``, batch norm uses the batch's statistics, as a training step does.

    Raises
    ------
    ValueError
        If the network has no SE block.
    """
    places = {name: SplitSE(layer) for name, layer in _se_blocks(net)}
    if not places:
        raise ValueError("the network has no SE block; expected a network with at least one")
    split = with_layers(net, places)
    compiled = engine.compile(split)
    logits, cache = compiled.forward(params, state, X, train=train)
    _, grads = compiled.backward(params, cache, ops.softmax_cross_entropy_backward(1.0, logits, labels))
    found = dict(leaves(grads))
    return {name: Paths(found[f"{name}.direct"], found[f"{name}.gate"]) for name in places}


def _se_blocks(layer: Layer, name: str = "") -> list[tuple[str, SE]]:
    if isinstance(layer, SE):
        return [(name, layer)]
    inside = layer.parts if isinstance(layer, Combinator) else ()
    return [found for part, child in inside for found in _se_blocks(child, f"{name}.{part}" if name else part)]
