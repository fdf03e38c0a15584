"""The same network in fewer passes over memory: what is done to maps is done where they are read anyway.

``fuse(net)`` is another value with the same parts under the same names, so parameters, gradients and running statistics
fit both. Only forward and backward are arranged differently:

    convolution, batch norm, then ReLU or SE      one link: U is written raw and read as a U + c (rectified) by the next
    residual sum, ReLU                            one pass: max(0, a U + shortcut + c)
    backward                                      the gradient of U is a dy + b U + c, computed where its windows unfold;
                                                  the sums that batch norm needs are taken as dy is written

Whatever stands elsewhere is left to the layers themselves. The algebra is that of ``ops.norm`` and ``se``, with their
functions; the results agree to rounding, which the tests hold it to.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, NamedTuple

from se_numpy import ops, se
from se_numpy.backend import Array, Blend, add, array_module, image_sum, lines, over_blocks
from se_numpy.layers.combinators import Combinator, Serial, Sum, _in_order, _unused
from se_numpy.layers.layer import Chance, Layer, Result
from se_numpy.layers.simple import SE, BatchNorm, Conv, ReLU
from se_numpy.ops import conv, norm
from se_numpy.tree import Tree

Sums = tuple[Array, Array] | None  # Σ dy and Σ dy (x - mean) of each image's pixels, where somebody took them already


def fuse(layer: Layer) -> Layer:
    """The network with every run of layers that can share passes in a form that does."""
    if not isinstance(layer, Combinator):
        return layer
    parts = tuple((name, fuse(part)) for name, part in layer.parts)
    return Fused(parts) if type(layer) is Serial else replace(layer, parts=parts)


@dataclass(frozen=True)
class Fused(Serial):
    """Layers one after the other, neighbours joined into links where they fit."""

    @cached_property
    def links(self) -> tuple[tuple[str, Layer], ...]:
        """The parts again, some of them as one: a link is called after the first of them."""
        return tuple(_linked(self.parts))

    def forward(self, params: Tree, state: Tree, X: Array, *, train: bool = False, rng: Chance = None) -> Result:
        Y, cache = self.run(params, state, Blend(X), train=train, rng=rng)
        return Y.write(), cache

    def run(self, params: Tree, state: Tree, X: Blend, **mode: Any) -> tuple[Blend, list[Any]]:
        """As ``forward``, from maps that may still have to be computed to maps that may still have to be computed."""
        caches = []
        for name, link in self.links:
            if isinstance(link, Link):
                X, cache = link.run(params, state, X, **mode)
            else:
                Y, cache = link.forward(params.get(name, {}), state.get(name, {}), X.write(), **mode)
                X = Blend(Y)
            caches.append(cache)
        return X, caches

    def backward(self, params: Tree, cache: Any, dY: Array, *, dX: bool = True) -> tuple[Array | None, Tree]:
        """As every layer's; with ``dX`` False the gradient of the input, which training has no use for, is left out."""
        return self.descend(params, cache, dY, dX=dX)

    def descend(
        self, params: Tree, cache: Any, dY: Array, plus: Array | None = None, dX: bool = True
    ) -> tuple[Array | None, Tree]:
        """``backward``; ``plus`` is what else the input's gradient consists of, to be added on the way."""
        grads: Tree = {}
        sums: Sums = None
        for i, (name, link) in reversed(list(enumerate(_unused(self.links, cache)))):
            if isinstance(link, Link):
                dY, link_grads, sums = link.descend(
                    params, cache.pop(), dY, sums, plus if i == 0 else None, dX or i > 0
                )
                grads.update(reversed(link_grads.items()))
            else:
                dY, grads[name] = link.backward(params.get(name, {}), cache.pop(), dY)
                sums = None
                if plus is not None and i == 0:
                    dY = add(dY, plus)
        if not self.links and plus is not None:
            dY = add(dY, plus)
        return dY, _in_order(grads)

    def update_running(self, state: Tree, cache: Any) -> None:
        for (name, link), c in zip(_unused(self.links, cache), cache, strict=True):
            if isinstance(link, Link):
                link.update_running(state, c)
            elif name in state:
                link.update_running(state[name], c)


def _linked(parts: tuple[tuple[str, Layer], ...]) -> Iterator[tuple[str, Layer]]:
    """(name, layer) of parts, neighbours that fit joined into one."""
    i = 0
    while i < len(parts):
        name, layer = parts[i]
        kinds = [type(part) for _, part in parts[i : i + 3]]
        if kinds[:2] == [Conv, BatchNorm]:
            length = 3 if kinds[2:] in ([ReLU], [SE]) else 2
            yield name, Link(parts[i : i + length])
        elif kinds[:2] == [Sum, ReLU]:
            length = 2
            yield name, Join(layer.parts)
        else:
            length = 1
            yield name, layer
        i += length


class LinkCache(NamedTuple):
    """What a link remembers: its input, the convolution's maps, what they were normalised by, and the gates."""

    X: Blend
    U: Array
    mean: Array
    var: Array
    images: Array | None  # (N, C): mean over the pixels of U
    z: Array | None
    s: Array | None
    Y: Blend
    of_batch: bool


@dataclass(frozen=True)
class Link(Combinator):
    """Convolution, batch norm, and a ReLU or an SE block or neither."""

    def run(self, params: Tree, state: Tree, X: Blend, *, train: bool, rng: Chance) -> tuple[Blend, LinkCache]:
        (conv_name, conv_layer), (norm_name, norm_layer), *rest = self.parts
        gamma, beta = params[norm_name]["gamma"], params[norm_name]["beta"]
        is_gated = bool(rest) and isinstance(rest[0][1], SE)

        def look(U: Array, n: slice, h: slice) -> Any:
            return norm.moments_of_block(U[n, h], n) if train else (n, image_sum(U[n, h]))

        U, parts = conv.convolve(
            X, params[conv_name]["V"], **conv_layer.hyper, then=look if train or is_gated else None
        )
        images = None
        if train:
            mean, var, images = norm.moments(parts, U.shape)
        else:
            mean, var = state[norm_name]["mean"], state[norm_name]["var"]
            if is_gated:
                images = norm.by_image(parts, len(U)) / (U[0].size // U.shape[-1])
        a, c = norm.scale_and_shift(mean, var, gamma, beta, norm_layer.eps)
        z = s = None
        if is_gated:
            z = a * images + c  # the squeeze of a U + c
            s = se.excite(z, **params[rest[0][0]])
            Y = Blend(U, a * s, c=c * s, mean=mean)
        else:
            Y = Blend(U, a, c=c, rectify=bool(rest), mean=mean)
        return Y, LinkCache(X, U, mean, var, images, z, s, Y, train)

    def descend(
        self, params: Tree, cache: LinkCache, dY: Array, sums: Sums, plus: Array | None, dX: bool
    ) -> tuple[Array | None, Tree, Sums]:
        """Gradients of the input and the parameters, and the sums that the link before this one will ask for.

        With ``sums`` given dY has been through this link's ReLU already: the convolution that read Y saw to both.
        """
        X, U, mean, var, images, z, s, Y, of_batch = cache
        (conv_name, conv_layer), (norm_name, norm_layer), *rest = self.parts
        gamma = params[norm_name]["gamma"]
        xp = array_module(U)
        N, H, W, _ = U.shape
        grads: Tree = {}
        if sums is None:
            dY, sums = _through_relu(dY, Y, mean)
        of_dy, of_dyx = sums
        a_dy, c_dy = None, None  # the gradient of the normalised maps is a_dy dY + c_dy
        if s is not None:
            ds = of_dy * params[norm_name]["beta"] + of_dyx * (gamma / xp.sqrt(var + norm_layer.eps))  # Σ dY (a U + c)
            dz, *dW = se.excite_backward(ds, z, **params[rest[0][0]])
            grads[rest[0][0]] = dict(zip(params[rest[0][0]], dW, strict=True))
            a_dy, c_dy = s, dz / (H * W)
            of_dy, of_dyx = s * of_dy + dz, s * of_dyx + dz * (images - mean)
        (a, b, c), dgamma, dbeta = norm.batch_norm_slope(
            of_dy.sum(0), of_dyx.sum(0), mean, var, gamma, N * H * W, norm_layer.eps
        )
        grads[norm_name] = {"gamma": dgamma, "beta": dbeta}
        if not of_batch:  # mean and var are constants: dU = a dy
            b = c = None
        if a_dy is None:
            dU = Blend(dY, a, U if b is not None else None, b, c)
        else:
            shift = a * c_dy if c is None else a * c_dy + c
            dU = Blend(dY, a * a_dy, U if b is not None else None, b, shift)

        def look(dX: Array, x: Array, n: slice, h: slice) -> Any:
            dx = dX[n, h]
            if plus is not None:
                xp.add(lines(dx), lines(plus[n, h]), out=lines(dx))
            if X.rectify:
                xp.multiply(lines(dx), lines(x) > 0, out=lines(dx))
            return norm.sums_of_block(dx, X.x[n, h], X.mean, n) if X.mean is not None else None

        dX_, dV, parts = conv.convolve_backward(
            dU, X, params[conv_name]["V"], **conv_layer.hyper, then=look, input_gradient=dX
        )
        grads[conv_name] = {"V": dV}
        return dX_, _in_order(grads), norm.merged_sums(parts, N) if X.mean is not None else None

    def update_running(self, state: Tree, cache: LinkCache) -> None:
        (norm_name, norm_layer) = self.parts[1]
        m = cache.U.size // cache.U.shape[-1]
        running = state[norm_name]
        ops.update_running(running["mean"], running["var"], cache.mean, cache.var, m, momentum=norm_layer.momentum)


def _through_relu(dY: Array, Y: Blend, mean: Array) -> tuple[Array, tuple[Array, Array]]:
    """dY, set to 0 where Y was rectified, and its sums with the maps that Y is made of; one pass."""
    if not Y.rectify:
        return dY, norm.sums(dY, Y.x, mean)
    xp = Y.xp
    dy = xp.empty(dY.shape, dY.dtype)

    def block(n: slice) -> Any:
        y = Y.read(n)
        xp.multiply(lines(dY[n]), lines(y) > 0, out=lines(dy[n]))
        return norm.sums_of_block(dy[n], Y.x[n], mean, n)

    return dy, norm.merged_sums(over_blocks(xp, block, len(dY), 4 * dY[0].nbytes), len(dY))


@dataclass(frozen=True)
class Join(Sum):
    """Side by side, the results added and rectified."""

    def forward(self, params: Tree, state: Tree, X: Array, *, train: bool = False, rng: Chance = None) -> Result:
        total, caches = None, []
        for name, layer in self.parts:
            here = params.get(name, {}), state.get(name, {})
            if isinstance(layer, Fused):
                Y, cache = layer.run(*here, Blend(X), train=train, rng=rng)
            else:
                written, cache = layer.forward(*here, X, train=train, rng=rng)
                Y = Blend(written)
            caches.append(cache)
            total = Y if total is None else _sum(total, Y)
        out = replace(total, rectify=True).write()
        return out, (caches, out)

    def backward(self, params: Tree, cache: Any, dY: Array) -> tuple[Array, Tree]:
        caches, Y = cache
        dS = ops.relu_backward(dY, Y)
        dX, grads = None, {}
        for name, layer in reversed(_unused(self.parts, caches)):
            here = params.get(name, {})
            if isinstance(layer, Fused):
                dX, grads[name] = layer.descend(here, caches.pop(), dS, plus=dX)
            else:
                dX_part, grads[name] = layer.backward(here, caches.pop(), dS)
                dX = dX_part if dX is None else add(dX, dX_part)
        return dX, _in_order(grads)

    def update_running(self, state: Tree, cache: Any) -> None:
        super().update_running(state, cache[0])


def _sum(p: Blend, q: Blend) -> Blend:
    """p + q, as one blend."""
    p, q = (Blend(v.write()) if v.rectify or v.y is not None else v for v in (p, q))
    c = p.c if q.c is None else q.c if p.c is None else p.c + q.c
    return Blend(p.x, p.a, q.x, q.a, c)
