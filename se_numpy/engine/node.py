"""The nodes of a compiled network: they exchange deferred maps, and gradients together with their sums."""

from dataclasses import dataclass, field
from typing import Any

from se_numpy.arrays import Array
from se_numpy.engine.affine_maps import AffineMaps
from se_numpy.engine.norm import BNGradSums
from se_numpy.layers import Rng
from se_numpy.tree import Tree


@dataclass
class Pass:
    """One forward pass: its mode, whether a backward pass may follow, and the gates and maps that are kept."""

    train: bool
    rng: Rng
    needs_backward: bool = True
    kept: dict[str, Array] = field(default_factory=dict)
    kept_gradients: dict[str, Array] = field(default_factory=dict)


@dataclass(frozen=True, eq=False)
class Upstream:
    """The gradient of a node's output, and what the next node already computed from it while it was in the cache."""

    dY: Array  # None if the gradient of the input is not needed
    masked: bool = False  # the mask of the node's final ReLU has been applied
    sums: BNGradSums | None = None  # Σ dY and Σ dY (x - mean), if the mean of the maps x was known


class Node:
    """A part of a compiled network.

    If ``spans`` is true, the node replaces several parts of a Serial: it receives the parameters and state of the whole
    Serial, and returns gradients and statistics under the names of the parts.
    """

    @property
    def spans(self) -> bool:
        return False

    def forward_lazy(self, params: Tree, state: Tree, X: AffineMaps, run: Pass) -> tuple[AffineMaps, Any]:
        """Return the output as deferred maps, given the input as deferred maps, and the cache for the backward pass."""
        raise NotImplementedError

    def backward_lazy(
        self, params: Tree, cache: Any, up: Upstream, *, extra: Array | None = None, input_gradient: bool = True
    ) -> tuple[Upstream, Tree]:
        """Return the gradient for the node before this one, and the gradients of the parameters.

        ``extra`` is a second contribution to the gradient of the input: it is added, and never modified.
        """
        raise NotImplementedError

    def batch_stats(self, cache: Any) -> Tree:
        """Return the batch's own statistics, structured like ``state``."""
        return {}
