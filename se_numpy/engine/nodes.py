"""Networks as nodes: layers in series and in parallel, with neighbours fused if they can share passes over memory.

    convolution, batch norm, then ReLU or SE      FusedConvBN
    residual sum, ReLU                            FusedAddReLU: one pass, max(0, a U + shortcut + c)
    everything else                               LayerNode

Only exact types are fused, because a subclass may override forward. Parameters, state and gradients keep the names they
have in the network.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import reduce
from itertools import accumulate
from typing import Any

from se_numpy.arrays import Array, array_module
from se_numpy.engine import functions
from se_numpy.engine.affine_maps import AffineMaps
from se_numpy.engine.conv_bn import FusedConvBN
from se_numpy.engine.lanes import add
from se_numpy.engine.layer_node import LayerNode
from se_numpy.engine.node import Node, Pass, Upstream
from se_numpy.layers import SE, BatchNorm, Bias, Concat, Conv, Layer, NoSqueeze, ReLU, Serial, Sum
from se_numpy.layers.combinators import check_sum, in_order, unused
from se_numpy.tree import Tree

Named = tuple[tuple[str, Node], ...]


@dataclass(frozen=True)
class Plan:
    """Options for turning a network into nodes.

    ``keep`` holds the dotted names of parts whose gates or maps are kept. With ``plain``, nothing is fused. With
    ``folded``, the network is for evaluation only, so a convolution and a bias are fused, without a backward pass.
    """

    keep: frozenset[str] = frozenset()
    plain: bool = False
    folded: bool = False


def node_of(layer: Layer, plan: Plan, path: str = "") -> Node:
    """Return the node of a layer; it records its gates (SE blocks) or its maps (other layers) if the plan says so."""
    kept = path in plan.keep
    if isinstance(layer, (SE, NoSqueeze)):
        return LayerNode(layer, path if kept else None, plan.plain)
    node: Node
    if type(layer) is Serial:
        node = FusedSerial(tuple(_fused(layer.parts, plan, path)))
    elif type(layer) is Sum:
        node = FusedAddReLU(_parts(layer.parts, plan, path), relu=False)
    elif type(layer) is Concat:
        node = FusedConcat(_parts(layer.parts, plan, path))
    else:
        node = LayerNode(layer, None, plan.plain)
    return KeptMaps(node, path) if kept else node


def _parts(parts: tuple[tuple[str, Layer], ...], plan: Plan, path: str) -> Named:
    return tuple((name, node_of(part, plan, _dotted(path, name))) for name, part in parts)


def _dotted(path: str, name: str) -> str:
    return f"{path}.{name}" if path else name


def _fused(parts: tuple[tuple[str, Layer], ...], plan: Plan, path: str) -> Iterator[tuple[str, Node]]:
    """Yield (name, node) for the parts of a Serial; fused neighbours get the name of the first.

    Maps that are kept have to be written, so nothing is fused across them.
    """
    i = 0
    while i < len(parts):
        name, layer = parts[i]
        here = [_dotted(path, part) for part, _ in parts[i : i + 3]]
        kinds = [type(part) for _, part in parts[i : i + 3]]
        length = 1
        pair = [Conv, Bias if plan.folded and kinds[1:2] == [Bias] else BatchNorm]
        if not plan.plain and kinds[:2] == pair and here[0] not in plan.keep:
            length = 3 if kinds[2:] in ([ReLU], [SE]) and here[1] not in plan.keep else 2
        elif not plan.plain and kinds[:2] == [Sum, ReLU] and here[0] not in plan.keep:
            length = 2
        last = here[length - 1]
        if length == 1:
            node = node_of(layer, plan, here[0])
        elif isinstance(layer, Sum):
            node = FusedAddReLU(_parts(layer.parts, plan, here[0]))
        elif kinds[length - 1] is SE:
            node = FusedConvBN(parts[i : i + length], last if last in plan.keep else None)
        else:
            node = FusedConvBN(parts[i : i + length])
        if length > 1 and last in plan.keep and kinds[length - 1] is not SE:
            node = KeptMaps(node, last)
        yield name, node
        i += length


@dataclass(frozen=True)
class FusedSerial(Node):
    """Nodes in series."""

    nodes: Named

    def forward_lazy(self, params: Tree, state: Tree, X: AffineMaps, run: Pass) -> tuple[AffineMaps, list[Any]]:
        caches: list[Any] = []
        for name, node in self.nodes:
            own = (params, state) if node.spans else (params.get(name, {}), state.get(name, {}))
            X, cache = node.forward_lazy(own[0], own[1], X, run)
            if run.needs_backward:
                caches.append(cache)
        return X, caches

    def backward_lazy(
        self, params: Tree, cache: list[Any], up: Upstream, *, extra: Array | None = None, input_gradient: bool = True
    ) -> tuple[Upstream, Tree]:
        grads: Tree = {}
        for i, (name, node) in reversed(list(enumerate(unused(self.nodes, cache)))):
            here = params if node.spans else params.get(name, {})
            up, found = node.backward_lazy(
                here, cache.pop(), up, extra=extra if i == 0 else None, input_gradient=input_gradient or i > 0
            )
            grads.update(reversed(found.items()) if node.spans else {name: found})
        if not self.nodes and extra is not None:
            up = Upstream(add(up.dY, extra))
        return up, in_order(grads)

    def batch_stats(self, cache: list[Any]) -> Tree:
        trees: Tree = {}
        for (name, node), c in zip(unused(self.nodes, cache), cache, strict=True):
            trees.update(node.batch_stats(c) if node.spans else {name: node.batch_stats(c)})
        return {name: tree for name, tree in trees.items() if tree}


@dataclass(frozen=True)
class ParallelNodes(Node):
    """Nodes in parallel, which all read the same maps."""

    nodes: Named

    def _forward(self, params: Tree, state: Tree, X: AffineMaps, run: Pass) -> tuple[list[AffineMaps], list[Any]]:
        normed = X if X.statistics is not None and X.has_kernels else None
        X = AffineMaps(X.write(), clipped=X.clipped or X.rectify, summand=X.summand or normed)
        Ys, caches = [], []
        for i, (name, node) in enumerate(self.nodes):  # backward visits the first node last, when dX is complete
            Y, cache = node.forward_lazy(
                params.get(name, {}), state.get(name, {}), X if i == 0 else AffineMaps(X.x), run
            )
            Ys.append(Y)
            if run.needs_backward:
                caches.append(cache)
        return Ys, caches

    def _backward(
        self, params: Tree, caches: list[Any], dYs: list[Array], extra: Array | None, input_gradient: bool,
        sums: Any = None,
    ) -> tuple[Upstream, Tree]:  # fmt: skip
        """Add up the gradients of all nodes: each node adds the sum of those before it to its own.

        ``sums`` are those of the first node's gradient, if they are known.
        """
        up, grads = Upstream(extra), {}
        for (name, node), dY in zip(reversed(unused(self.nodes, caches)), reversed(dYs), strict=True):
            own = Upstream(dY, sums=sums if not caches[1:] else None)
            up, grads[name] = node.backward_lazy(
                params.get(name, {}), caches.pop(), own, extra=up.dY if input_gradient else None,
                input_gradient=input_gradient,
            )  # fmt: skip
        return up, in_order(grads)

    def _batch_stats(self, caches: list[Any]) -> Tree:
        parts = zip(unused(self.nodes, caches), caches, strict=True)
        return {name: tree for (name, node), c in parts if (tree := node.batch_stats(c))}


@dataclass(frozen=True)
class FusedAddReLU(ParallelNodes):
    """Nodes in parallel, with their outputs added, and rectified if a ReLU follows."""

    relu: bool = True

    def forward_lazy(self, params: Tree, state: Tree, X: AffineMaps, run: Pass) -> tuple[AffineMaps, Any]:
        Ys, caches = self._forward(params, state, X, run)
        check_sum({name: tuple(Y.shape) for (name, _), Y in zip(self.nodes, Ys, strict=True)})
        total = reduce(_sum, Ys)
        Y = replace(total, rectify=self.relu or total.rectify, statistics=None, clipped=False).write()
        first = Ys[0] if Ys[0].statistics is not None and Ys[0].has_kernels else None
        return AffineMaps(Y, clipped=self.relu, summand=first), (caches, Y if self.relu else None)

    def backward_lazy(
        self, params: Tree, cache: Any, up: Upstream, *, extra: Array | None = None, input_gradient: bool = True
    ) -> tuple[Upstream, Tree]:
        caches, Y = cache
        dS = functions.relu_backward(up.dY, Y) if self.relu and not up.masked else up.dY
        return self._backward(params, caches, [dS] * len(self.nodes), extra, input_gradient, up.sums)

    def batch_stats(self, cache: Any) -> Tree:
        return self._batch_stats(cache[0])


@dataclass(frozen=True)
class FusedConcat(ParallelNodes):
    """Nodes in parallel, with their outputs concatenated along the channels."""

    def forward_lazy(self, params: Tree, state: Tree, X: AffineMaps, run: Pass) -> tuple[AffineMaps, Any]:
        Ys, caches = self._forward(params, state, X, run)
        widths = [Y.shape[-1] for Y in Ys]
        return AffineMaps(array_module(X.x).concatenate([Y.write() for Y in Ys], axis=-1)), (caches, widths)

    def backward_lazy(
        self, params: Tree, cache: Any, up: Upstream, *, extra: Array | None = None, input_gradient: bool = True
    ) -> tuple[Upstream, Tree]:
        caches, widths = cache
        ends = list(accumulate(widths))
        dYs = [up.dY[..., end - C : end] for end, C in zip(ends, widths, strict=True)]
        return self._backward(params, caches, dYs, extra, input_gradient)

    def batch_stats(self, cache: Any) -> Tree:
        return self._batch_stats(cache[0])


@dataclass(frozen=True)
class KeptMaps(Node):
    """A node whose output is written and kept, and whose upstream gradient is kept in the backward pass."""

    node: Node
    name: str

    @property
    def spans(self) -> bool:
        return self.node.spans

    def forward_lazy(self, params: Tree, state: Tree, X: AffineMaps, run: Pass) -> tuple[AffineMaps, Any]:
        lazy, cache = self.node.forward_lazy(params, state, X, run)
        run.kept[self.name] = Y = lazy.write()
        return AffineMaps(Y), (cache, run.kept_gradients)

    def backward_lazy(
        self, params: Tree, cache: Any, up: Upstream, *, extra: Array | None = None, input_gradient: bool = True
    ) -> tuple[Upstream, Tree]:
        inner, gradients = cache
        gradients[self.name] = up.dY
        return self.node.backward_lazy(params, inner, up, extra=extra, input_gradient=input_gradient)

    def batch_stats(self, cache: Any) -> Tree:
        return self.node.batch_stats(cache[0])


def _sum(p: AffineMaps, q: AffineMaps) -> AffineMaps:
    """Return p + q as one sum of deferred maps."""
    p, q = (AffineMaps(v.write()) if v.rectify or v.y is not None else v for v in (p, q))
    shifts = [v.c for v in (p, q) if v.c is not None]
    if len(shifts) == 2 and not p.has_kernels:  # kernels add both to the maps; elsewhere one is tiled, and kept
        shifts = [shifts[0] + shifts[1]]
    return AffineMaps(p.x, p.a, q.x, q.a, *shifts)
