"""The same network in fewer passes over memory: what is done to maps is done where they are read anyway.

``fuse(net)`` is another value with the same parts under the same names, so parameters, gradients and running statistics
fit both. Only forward and backward are arranged differently:

    convolution, batch norm, then ReLU or SE      a link: U is written raw and read as a U + c, rectified, by the next
    residual sum, ReLU                            one pass: max(0, a U + shortcut + c)
    backward                                      dU = a (dy + b U + c), computed where its windows unfold; sums that
                                                  batch norm asks for are taken as dy is written

Whatever stands elsewhere is left to the layers themselves. The algebra is that of ``ops.norm`` and ``se``, with their
functions; the results agree to rounding, which the tests hold it to.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import cached_property, reduce
from typing import Any

from se_numpy import ops
from se_numpy.backend import Array, Blend, add
from se_numpy.layers.combinators import Combinator, Serial, Sum, _in_order, _unused
from se_numpy.layers.excitation import SE
from se_numpy.layers.fold import fold
from se_numpy.layers.layer import Chance, Layer, Result
from se_numpy.layers.link import Link, Sums
from se_numpy.layers.simple import BatchNorm, Bias, Conv, ReLU
from se_numpy.tree import Tree


def fuse(net: Serial, *, keep: bool = True) -> "Fused":
    """The network with every run of layers that can share passes in a form that does.

    With ``keep`` False it keeps nothing for a way back, so memory does not grow with its depth.
    """
    return Fused(tuple((name, _fused(part, keep)) for name, part in net.parts), keep)


def _fused(layer: Layer, keep: bool) -> Layer:
    if type(layer) is Serial:
        return fuse(layer, keep=keep)
    if isinstance(layer, Combinator):
        return replace(layer, parts=tuple((name, _fused(part, keep)) for name, part in layer.parts))
    return layer


def predictor(net: Serial, params: Tree, state: Tree) -> Callable[[Array], Array]:
    """X -> what the network makes of it in evaluation, folded and fused, with nothing kept for a way back."""
    folded, params, state = fold(net, params, state)
    fused = fuse(folded, keep=False)
    return lambda X: fused.forward(params, state, X)[0]


@dataclass(frozen=True)
class Fused(Serial):
    """Layers one after the other, neighbours joined into links where they fit."""

    keep: bool = True  # what backward needs

    @cached_property
    def links(self) -> tuple[tuple[str, Layer], ...]:
        """The parts again, some of them as one: a link is called after the first of them."""
        return tuple(_linked(self.parts))

    def forward(self, params: Tree, state: Tree, X: Array, *, train: bool = False, rng: Chance = None) -> Result:
        Y, cache = self.run(params, state, Blend(X), train=train, rng=rng)
        return Y.write(), cache

    def run(self, params: Tree, state: Tree, X: Blend, **mode: Any) -> tuple[Blend, list[Any]]:
        """As ``forward``, from maps that may still have to be computed to maps that may still have to be computed."""
        caches: list[Any] = []
        cache: Any
        for name, link in self.links:
            if isinstance(link, Link):
                X, cache = link.run(params, state, X, **mode)
            elif isinstance(link, Fused | Join):
                X, cache = link.run(params.get(name, {}), state.get(name, {}), X, **mode)
            else:
                Y, cache = link.forward(params.get(name, {}), state.get(name, {}), X.write(), **mode)
                X = Blend(Y)
            if self.keep:
                caches.append(cache)
        return X, caches

    def backward(self, params: Tree, cache: Any, dY: Array, *, dX: bool = True) -> tuple[Array | None, Tree]:
        """As every layer's; with ``dX`` False the gradient of the input, which training has no use for, is left out."""
        return self.descend(params, cache, dY, dX=dX)[:2]

    def descend(
        self, params: Tree, cache: Any, dY: Array, sums: Sums = None, plus: Array | None = None, dX: bool = True
    ) -> tuple[Array | None, Tree, Sums]:
        """``backward``, and what was done to the gradients on their way, before and after.

        ``plus`` is what else the input's gradient consists of, to be added.
        """
        if not self.keep:
            raise ValueError("a network fused with keep=False has no way back; expected fuse(net)")
        grads: Tree = {}
        for i, (name, link) in reversed(list(enumerate(_unused(self.links, cache)))):
            more, dX_too = plus if i == 0 else None, dX or i > 0
            if isinstance(link, Link):
                dY, link_grads, sums = link.descend(params, cache.pop(), dY, sums, more, dX_too)
                grads.update(reversed(link_grads.items()))
            elif isinstance(link, Fused | Join):
                dY, grads[name], sums = link.descend(params.get(name, {}), cache.pop(), dY, sums, more, dX_too)
            else:
                dY, grads[name] = link.backward(params.get(name, {}), cache.pop(), dY)
                dY, sums = dY if more is None else add(dY, more), None
        if not self.links and plus is not None:
            dY, sums = add(dY, plus), None
        return dY, _in_order(grads), sums

    def observed(self, cache: Any) -> Tree:
        trees: Tree = {}
        for (name, link), c in zip(_unused(self.links, cache), cache, strict=True):
            trees.update(link.observed(c) if isinstance(link, Link) else {name: link.observed(c)})
        return {name: tree for name, tree in trees.items() if tree}


def _linked(parts: tuple[tuple[str, Layer], ...]) -> Iterator[tuple[str, Layer]]:
    """(name, layer) of parts, neighbours that fit joined into one."""
    i = 0
    while i < len(parts):
        name, layer = parts[i]
        kinds = [type(part) for _, part in parts[i : i + 3]]
        if kinds[:2] in ([Conv, BatchNorm], [Conv, Bias]):
            length = 3 if kinds[2:] in ([ReLU], [SE]) else 2
            yield name, Link(parts[i : i + length])
        elif kinds[:2] == [Sum, ReLU]:
            length = 2
            yield name, Join(layer.parts)  # type: ignore[attr-defined]
        else:
            length = 1
            yield name, layer
        i += length


@dataclass(frozen=True)
class Join(Sum):
    """Side by side, the results added and rectified."""

    def forward(self, params: Tree, state: Tree, X: Array, *, train: bool = False, rng: Chance = None) -> Result:
        Y, cache = self.run(params, state, Blend(X), train=train, rng=rng)
        return Y.x, cache

    def run(self, params: Tree, state: Tree, X: Blend, **mode: Any) -> tuple[Blend, Any]:
        """As ``Fused.run``, to maps that are written, for all parts of what comes next will read them."""
        X = Blend(X.write(), clipped=X.clipped)
        Ys, caches = [], []
        for i, (name, layer) in enumerate(self.parts):
            here = params.get(name, {}), state.get(name, {})
            if isinstance(layer, Fused):  # the first part is the last on the way back, and has the whole gradient
                Y, cache = layer.run(*here, X if i == 0 else Blend(X.x), **mode)
            else:
                written, cache = layer.forward(*here, X.x, **mode)
                Y = Blend(written)
            Ys.append(Y)
            caches.append(cache)
        out = replace(reduce(_sum, Ys), rectify=True).write()
        return Blend(out, clipped=True), (caches, out)

    def backward(self, params: Tree, cache: Any, dY: Array) -> tuple[Array, Tree]:
        dX, grads, _ = self.descend(params, cache, dY)
        return dX, grads

    def descend(
        self, params: Tree, cache: Any, dY: Array, sums: Sums = None, plus: Array | None = None, dX: bool = True
    ) -> tuple[Array, Tree, Sums]:
        """As ``Fused.descend``."""
        caches, Y = cache
        dS = ops.relu_backward(dY, Y) if sums is None else dY
        total, grads = plus, {}
        for name, layer in reversed(_unused(self.parts, caches)):
            here = params.get(name, {})
            if isinstance(layer, Fused):
                total, grads[name], sums = layer.descend(here, caches.pop(), dS, plus=total)
            else:
                part, grads[name] = layer.backward(here, caches.pop(), dS)
                total, sums = part if total is None else add(total, part), None
        return total, _in_order(grads), sums

    def observed(self, cache: Any) -> Tree:
        return super().observed(cache[0])


def _sum(p: Blend, q: Blend) -> Blend:
    """p + q, as one blend."""
    p, q = (Blend(v.write()) if v.rectify or v.y is not None else v for v in (p, q))
    c = p.c if q.c is None else q.c if p.c is None else p.c + q.c
    return Blend(p.x, p.a, q.x, q.a, c)
