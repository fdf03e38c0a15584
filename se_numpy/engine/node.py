"""What a compiled network is made of: nodes that pass on maps before they are written, gradients with their sums."""

from dataclasses import dataclass, field
from typing import Any

from se_numpy.arrays import Array
from se_numpy.engine.affine_maps import AffineMaps
from se_numpy.engine.norm import BNGradSums
from se_numpy.layers import Rng
from se_numpy.tree import Tree


@dataclass
class Pass:
    """One forward pass: its mode, whether a way back is wanted, and what was asked to be kept."""

    train: bool
    rng: Rng
    way_back: bool = True
    kept: dict[str, Array] = field(default_factory=dict)
    kept_gradients: dict[str, Array] = field(default_factory=dict)


@dataclass(frozen=True, eq=False)
class Upstream:
    """The gradient of a node's result, and what its writer has done to it already, while it was in the cache."""

    dY: Array  # or None, where the gradient of the input is not wanted
    masked: bool = False  # it has been taken through the ReLU that the maps came out of
    sums: BNGradSums | None = None  # Σ dY and Σ dY (x - mean), of maps whose mean the writer knew


class Node:
    """A part of a compiled network.

    ``spans`` says that it stands for several parts of a Serial: it is given the Serial's own parameters and state, and
    returns gradients and statistics under the parts' names.
    """

    spans = False

    def forward_lazy(self, params: Tree, state: Tree, X: AffineMaps, run: Pass) -> tuple[AffineMaps, Any]:
        """Return maps that may still have to be computed, from such maps, and the cache of the way back."""
        raise NotImplementedError

    def backward_lazy(
        self, params: Tree, cache: Any, up: Upstream, *, extra: Array | None = None, input_gradient: bool = True
    ) -> tuple[Upstream, Tree]:
        """Return the gradient for the node before this one, and the gradients of the parameters.

        ``extra`` is what else the gradient of the input consists of: it is added, and never written to.
        """
        raise NotImplementedError

    def batch_stats(self, cache: Any) -> Tree:
        """Return the batch's own statistics, shaped as state."""
        return {}
