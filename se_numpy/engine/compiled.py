"""``compile``: turn a network into a faster one that computes the same numbers."""

from collections.abc import Collection, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field
from difflib import get_close_matches
from typing import Any

import numpy as np

from se_numpy.arrays import Array, array_module
from se_numpy.engine.affine_maps import AffineMaps
from se_numpy.engine.context import enabled
from se_numpy.engine.conv_bn import FusedConvBN
from se_numpy.engine.flipped import convolutions, with_flipped_filters
from se_numpy.engine.folding import fold
from se_numpy.engine.layer_node import FORMS, LayerNode
from se_numpy.engine.node import Node, Pass, Upstream
from se_numpy.engine.nodes import FusedAddReLU, FusedConcat, FusedSerial, KeptMaps, Plan, node_of
from se_numpy.engine.parallel import one_thread_per_core
from se_numpy.layers import Combinator, Concat, Layer, Rng, Serial, Sum
from se_numpy.layers.running import MOMENTUM
from se_numpy.layers.running import update_running as move
from se_numpy.shapes import check
from se_numpy.tree import Tree, leaves, size


def _kept(keep: tuple[str, ...]) -> str:
    return f", keeps {', '.join(keep)}" if keep else ""


@dataclass(eq=False)
class Cache:
    """The cache of a forward pass of a compiled network, and the gates and maps that it keeps.

    ``kept`` holds the gates of SE blocks (N, C) and the maps of other layers by dotted name; after ``backward``,
    ``kept_gradients`` holds the gradients of those maps.
    """

    inside: Any = field(repr=False)
    node: Node | None = field(repr=False)  # None if the plain network ran
    kept: dict[str, Array] = field(repr=False)
    kept_gradients: dict[str, Array] = field(repr=False)
    shape: tuple[int, ...]  # of Y


@dataclass(frozen=True, repr=False)
class Predictor:
    """A trained network for evaluation: batch norm is folded into the filters, and no caches are kept.

    It is valid until the parameters change: the folded filters are copies, all other parameters are not.
    """

    net: Layer
    node: Node = field(repr=False)
    plain: Node = field(repr=False)  # the same network, layer by layer
    params: Tree = field(repr=False)
    state: Tree = field(repr=False)
    keep: tuple[str, ...] = ()

    def __repr__(self) -> str:
        return f"<{type(self).__name__}: {size(self.params):,} parameters, batch norm folded{_kept(self.keep)}>"

    def __call__(self, X: Array) -> Array:
        """Return the network's output for X."""
        return self.with_kept(X)[0]

    def with_kept(self, X: Array) -> tuple[Array, dict[str, Array]]:
        """Return the network's output for X, and the gates and maps named in ``keep``."""
        check("X: N ...", X)
        if not enabled() and not self.keep:
            return self.net.forward(self.params, self.state, X)[0], {}
        run, node = Pass(train=False, rng=None, needs_backward=False), self.node if enabled() else self.plain
        with _settings(X):
            Y, _ = node.forward_lazy(self.params, self.state, AffineMaps(X), run)
            return Y.write(), run.kept


@dataclass(frozen=True, repr=False)
class Compiled:
    """A compiled network.  It is stateless: parameters, statistics and caches are passed in and out.

    ``net`` is the original network; both take the same parameters and statistics and return the same gradients. While
    the engine is off, calls run the original network.
    """

    net: Layer
    node: Node = field(repr=False)
    plain: Node = field(repr=False)  # layer by layer, for networks with ``keep`` while the engine is off
    keep: tuple[str, ...] = ()
    flipped: tuple[tuple[str, ...], ...] = field(default=(), repr=False)  # paths, for ``with_flipped_filters``

    def __repr__(self) -> str:
        name = type(self.net).__name__
        parts = f" of {len(self.net.parts)} parts" if isinstance(self.net, Combinator) else ""
        return f"<{type(self).__name__} {name}{parts}{_kept(self.keep)}>"

    def forward(
        self, params: Tree, state: Tree, X: Array, *, train: bool = False, rng: Rng = None
    ) -> tuple[Array, Cache]:
        """Return Y and the cache for ``backward``, like the ``forward`` of the original network.

        Raises
        ------
        ValueError, TypeError
            If X (N, ...) does not fit the network, as in the original network.
        """
        check("X: N ...", X)
        node = self.node if enabled() else self.plain
        if not enabled() and not self.keep:
            Y, inside = self.net.forward(params, state, X, train=train, rng=rng)
            return Y, Cache(inside, None, {}, {}, tuple(Y.shape))
        run = Pass(train, rng)
        with _settings(X):
            Y_lazy, inside = node.forward_lazy(params, state, AffineMaps(X), run)
            Y = Y_lazy.write()
        return Y, Cache(inside, node, run.kept, run.kept_gradients, tuple(Y.shape))

    def backward(
        self, params: Tree, cache: Cache, dY: Array, *, input_gradient: bool = True
    ) -> tuple[Array | None, Tree]:
        """Return dX and the gradients of the parameters, like the ``backward`` of the original network.

        The cache can be used only once. Without ``input_gradient``, which training does not need, dX is None.

        Raises
        ------
        ValueError
            If the cache has been used before, or if dY does not have the shape of Y.
        TypeError
            If dY is not a floating-point array.
        """
        _check_unused(cache)
        check("Y: ..., dY: ...", cache.shape, dY)
        inside, cache.inside = cache.inside, _USED
        if cache.node is None:
            dX, grads = self.net.backward(params, inside, dY)
            return dX if input_gradient else None, grads
        with _settings(dY):
            params = with_flipped_filters(params, self.flipped)
            up, grads = cache.node.backward_lazy(params, inside, Upstream(dY), input_gradient=input_gradient)
        return up.dY if input_gradient else None, grads

    def batch_stats(self, cache: Cache) -> Tree:
        """Return the batch statistics, structured like ``state``.  Call this before ``backward``."""
        _check_unused(cache)
        return self.net.batch_stats(cache.inside) if cache.node is None else cache.node.batch_stats(cache.inside)

    def update_running(self, state: Tree, cache: Cache, *, momentum: float = MOMENTUM) -> None:
        """Update the statistics: state ← (1 - momentum) state + momentum · batch_stats, in place."""
        batch = dict(leaves(self.batch_stats(cache)))
        for name, running in leaves(state):
            move(running, batch[name], momentum=momentum)

    def predictor(self, params: Tree, state: Tree) -> Predictor:
        """Return a function X -> Y for evaluation; batch norm is folded into the filters unless the engine is off."""
        net, kept = self.net, frozenset(self.keep)
        if enabled():
            net, params, state = fold(net, params, state, keep=kept)
        fast, plain = node_of(net, Plan(kept, folded=True)), node_of(net, Plan(kept, plain=True))
        return Predictor(net, fast, plain, params, state, self.keep)


@contextmanager
def _settings(X: Array) -> Iterator[None]:
    """Apply the settings for a whole pass: ignore underflow (it is harmless), and on a CPU run one thread per core."""
    with np.errstate(under="ignore"), one_thread_per_core() if array_module(X) is np else nullcontext():
        yield


_USED = object()


def _check_unused(cache: Cache) -> None:
    if cache.inside is _USED:
        raise ValueError("the cache has been used by a backward pass; run forward again before each backward pass")


def compile(net: Layer, *, keep: Collection[str] = ()) -> Compiled:
    """Return a compiled network: it computes the same numbers in fewer passes over memory.

    Any Layer can be compiled; a layer that the engine does not know runs its own forward and backward. Arrays,
    parameters and statistics share one dtype, float32 or float64. ``keep`` lists dotted names of layers, as in
    ``layers.walk`` ("stage1.block1.se"), or of combinators ("stage1"). The cache then holds, in ``kept`` and
    ``kept_gradients``, the gates of those SE blocks, and the outputs of the other parts with their gradients.

    Raises
    ------
    ValueError
        If ``keep`` contains a name that no part of the network has.
    TypeError
        If ``net`` is not a Layer, or ``keep`` is a string.
    """
    if not isinstance(net, Layer):
        raise TypeError(f"got {net!r}; expected a network: a Layer, such as serial(Conv(16), ReLU())")
    if isinstance(keep, str):
        raise TypeError(f"keep is {keep!r}; expected a list of names, [{keep!r}]")
    known = dict(_paths(net))
    for name in keep:
        if name not in known:
            near = get_close_matches(name, [path for path in known if path], n=1)
            hint = f"did you mean {near[0]!r}?" if near else "expected a dotted name from layers.walk"
            raise ValueError(f"the network has no part {name!r} whose output the engine can keep; {hint}")
    kept = frozenset(keep)
    node = node_of(net, Plan(kept))
    return Compiled(net, node, node_of(net, Plan(kept, plain=True)), tuple(keep), tuple(convolutions(node)))


def explain(net: Layer) -> str:
    """Return a description of the compiled network, one line per part: what is fused, what is not, and why."""
    return "\n".join(f"{name or '(whole network)':<40} {text}" for name, text in _explained(node_of(net, Plan()), ""))


def _explained(node: Node, path: str) -> Iterator[tuple[str, str]]:
    if isinstance(node, KeptMaps):
        node = node.node
    if isinstance(node, (FusedSerial, FusedAddReLU, FusedConcat)):
        if isinstance(node, FusedAddReLU):
            yield path, "sum and ReLU fused: one pass" if node.relu else "sum of its parts"
        elif isinstance(node, FusedConcat):
            yield path, "concatenation of its parts"
        for name, part in node.nodes:
            yield from _explained(part, f"{path}.{name}" if path else name)
    elif isinstance(node, FusedConvBN):
        names = [type(layer).__name__ for _, layer in node.parts]
        yield path, f"{', '.join(names)} fused: computed in the convolution's passes"
    elif isinstance(node, LayerNode):
        kind = type(node.layer)
        own = f"{kind.__name__} not fused: its own forward and backward"
        if node.form:
            yield path, f"{kind.__name__} not fused: the engine's implementation"
        elif exact := next((base for base in kind.__mro__[1:] if base in FORMS), None):
            yield path, f"{own} (a subclass of {exact.__name__} may differ)"
        elif kind.__module__.startswith("se_numpy.layers"):
            yield path, f"{own} (small, or nothing to gain)"
        else:
            yield path, f"{own} (the engine does not know this layer)"


def _paths(layer: Layer, path: str = "") -> Iterator[tuple[str, Layer]]:
    """Yield every part with its dotted name, except inside user-defined combinators, which are opaque."""
    yield path, layer
    if isinstance(layer, Combinator) and type(layer) in (Serial, Sum, Concat):
        for name, part in layer.parts:
            yield from _paths(part, f"{path}.{name}" if path else name)
