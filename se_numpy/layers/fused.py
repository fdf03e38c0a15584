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

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cached_property, reduce
from typing import Any, NamedTuple

from se_numpy import ops, se
from se_numpy.backend import Array, Blend, add, column_line, image_sums, lines, masked, one_launch, over_blocks
from se_numpy.layers.combinators import Combinator, Serial, Sum, _in_order, _unused
from se_numpy.layers.layer import Chance, Layer, Result
from se_numpy.layers.simple import SE, BatchNorm, Bias, Conv, ReLU
from se_numpy.ops import conv, norm
from se_numpy.tree import Tree

Sums = tuple[Array, Array] | None  # Σ dy and Σ dy (x - mean) of each image's pixels, where somebody took them already


def fuse(net: Serial) -> "Fused":
    """The network with every run of layers that can share passes in a form that does."""
    return Fused(tuple((name, _fused(part)) for name, part in net.parts))


def _fused(layer: Layer) -> Layer:
    if type(layer) is Serial:
        return fuse(layer)
    if isinstance(layer, Combinator):
        return replace(layer, parts=tuple((name, _fused(part)) for name, part in layer.parts))
    return layer


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


class LinkCache(NamedTuple):
    """What a link remembers: its input, the convolution's maps, their moments, the gates, and what it returned."""

    X: Blend
    U: Array
    moments: norm.Moments
    a: Array | None  # the maps were normalised to a U + c
    z: Array | None
    s: Array | None
    Y: Blend
    of_batch: bool  # whether the moments are those of U, not the running ones


@dataclass(frozen=True)
class Link(Combinator):
    """Convolution, batch norm (or, in a folded network, a bias), and a ReLU or an SE block or neither."""

    @property
    def conv(self) -> Conv:
        return self.parts[0][1]  # type: ignore[return-value]

    @property
    def norm(self) -> BatchNorm:
        return self.parts[1][1]  # type: ignore[return-value]

    def is_followed_by(self, kind: type[Layer]) -> bool:
        """Whether the third part is there, and of this kind."""
        return len(self.parts) == 3 and isinstance(self.parts[2][1], kind)

    def run(self, params: Tree, state: Tree, X: Blend, *, train: bool, rng: Chance) -> tuple[Blend, LinkCache]:
        V, normal, *gate = (params.get(name, {}) for name, _ in self.parts)
        gated, folded = self.is_followed_by(SE), isinstance(self.parts[1][1], Bias)
        if folded and train:
            raise ValueError("a folded network is for evaluation: expected train=False, or the network it came from")

        def look(U: Array, n: slice, h: slice) -> Any:
            u = U[n, h]
            return norm.moments_of_block(u, n, by_image=gated) if train else (n, image_sums(u))

        U, parts = conv.convolve(X, V["V"], **self.conv.hyper, then=look if train or gated else None)
        if train:
            moments, a, c = norm.moments_and_scale(parts, U.shape, normal["gamma"], normal["beta"], self.norm.eps)
        else:
            running = state.get(self.parts[1][0], {"mean": None, "var": None})
            moments = norm.Moments(**running, images=norm.by_image(parts, U.shape) if gated else None)
            a, c = None, normal.get("b")
        if not (train or folded):
            a, c = norm.scale_and_shift(moments.mean, moments.var, normal["gamma"], normal["beta"], self.norm.eps)
        z = s = None
        if gated:
            z = moments.images + c if a is None else _affine(moments.images, a, c)  # Eq. (2) of a U + c
            s = se.excite(z, **gate[0])
            sa, sc = (s, s * c) if a is None else _gated(s, a, c)
            Y = Blend(U, sa, c=sc, mean=moments.mean)
        else:
            Y = Blend(U, a, c=c, rectify=self.is_followed_by(ReLU), mean=moments.mean)
        return Y, LinkCache(X, U, moments, a, z, s, Y, train)

    def descend(
        self, params: Tree, cache: LinkCache, dY: Array, sums: Sums, plus: Array | None, dX: bool
    ) -> tuple[Array | None, Tree, Sums]:
        """Gradients of the input and the parameters, and the sums that the link before this one will ask for.

        With ``sums`` given dY has been through this link's ReLU already: the convolution that read Y saw to both.
        """
        X, U, (mean, var, images), a, z, s, Y, of_batch = cache
        if mean is None:
            raise ValueError("a folded network has no way back; expected the network it came from")
        V, normal, *gate = (params.get(name, {}) for name, _ in self.parts)
        N, H, W, _ = U.shape
        if sums is None:
            dY, sums = _through_relu(dY, Y, by_image=s is not None)
        of_dy, of_dyx = sums
        grads: list[Tree] = []
        factor = shift = None  # the gradient of the normalised maps is factor · dY + shift
        if s is not None:
            ds = _blended(of_dyx, a, of_dy, normal["beta"])  # Σ dY (a U + c), for a mean + c is beta
            dz, *dW = se.excite_backward(ds, z, **gate[0])
            grads.append(dict(zip(gate[0], dW, strict=True)))
            factor = s
            shift, of_dy, of_dyx = _through_gate(s, dz, of_dy, of_dyx, images, mean, H * W)
        a, b, c, dgamma, dbeta = norm.batch_norm_slope(
            of_dy, of_dyx, mean, var, normal["gamma"], len(of_dy), N * H * W, self.norm.eps
        )
        # dU = a (factor dY + shift + b U + c): a goes into the filters, which are fewer than the maps. In evaluation
        # mean and var are constants, and b U + c is not there.
        c = c if shift is None else shift + c if of_batch else shift
        dU = Blend(dY, factor, U, b, c) if of_batch else Blend(dY, factor, c=shift)
        centre = None if X.mean is None else column_line(X.mean, X.x)

        def look(dX: Array, x: Array, n: slice, h: slice) -> Any:
            dx = dX[n, h]
            if plus is not None:
                Y.xp.add(lines(dx), lines(plus[n, h]), out=lines(dx))
            if X.rectify:
                masked(lines(dx), lines(x), lines(dx))
            return None if centre is None else norm.sums_of_block(dx, X.x[n, h], centre, n, by_image=X.by_image)

        dX_, dV, parts = conv.convolve_backward(
            dU, X, V["V"], **self.conv.hyper, scale=a, then=look, input_gradient=dX
        )
        grads = [{"V": dV}, {"gamma": dgamma, "beta": dbeta}, *grads]
        sums = None if centre is None else norm.merged_sums(parts, X.shape)
        return dX_, {name: g for (name, _), g in zip(self.parts, grads, strict=False)}, sums

    def update_running(self, state: Tree, cache: LinkCache) -> None:
        running, m = state[self.parts[1][0]], cache.U.size // cache.U.shape[-1]
        mean, var, _ = cache.moments
        ops.update_running(running["mean"], running["var"], mean, var, m, momentum=self.norm.momentum)


@one_launch("T x, T a, T c", "T y", "y = a * x + c")
def _affine(x: Array, a: Array, c: Array) -> Array:
    return a * x + c


@one_launch("T x, T a, T y, T b", "T z", "z = a * x + b * y")
def _blended(x: Array, a: Array, y: Array, b: Array) -> Array:
    return a * x + b * y


@one_launch("T s, T a, T c", "T sa, T sc", "sa = s * a; sc = s * c")
def _gated(s: Array, a: Array, c: Array) -> tuple[Array, Array]:
    return s * a, s * c


@one_launch(
    "T s, T dz, T of_dy, T of_dyx, T images, T mean, float64 pixels",
    "T shift, T of_dv, T of_dvx",
    "shift = dz / pixels; of_dv = s * of_dy + dz; of_dvx = s * of_dyx + dz * (images - mean)",
)
def _through_gate(
    s: Array, dz: Array, of_dy: Array, of_dyx: Array, images: Array, mean: Array, pixels: int
) -> tuple[Array, Array, Array]:
    """dv = s dy + shift is the gradient of the maps before the gate; its sums and those of dv (x - mean), by image."""
    return dz / pixels, s * of_dy + dz, s * of_dyx + dz * (images - mean)


def _through_relu(dY: Array, Y: Blend, by_image: bool) -> tuple[Array, tuple[Array, Array]]:
    """dY, set to 0 where Y was rectified, and its sums with the maps that Y is made of; one pass."""
    if not Y.rectify:
        return dY, norm.sums(dY, Y.x, Y.mean, by_image=by_image)
    xp, centre = Y.xp, column_line(Y.mean, Y.x)
    dy = xp.empty(dY.shape, dY.dtype)

    def block(n: slice) -> Any:
        y = Y.read(n)
        masked(lines(dY[n]), lines(y), lines(dy[n]))
        return norm.sums_of_block(dy[n], Y.x[n], centre, n, by_image=by_image)

    return dy, norm.merged_sums(over_blocks(xp, block, len(dY), 4 * dY[0].nbytes), dY.shape)


@dataclass(frozen=True)
class Join(Sum):
    """Side by side, the results added and rectified."""

    def forward(self, params: Tree, state: Tree, X: Array, *, train: bool = False, rng: Chance = None) -> Result:
        Ys, caches = [], []
        for name, layer in self.parts:
            here = params.get(name, {}), state.get(name, {})
            if isinstance(layer, Fused):
                Y, cache = layer.run(*here, Blend(X), train=train, rng=rng)
            else:
                written, cache = layer.forward(*here, X, train=train, rng=rng)
                Y = Blend(written)
            Ys.append(Y)
            caches.append(cache)
        out = replace(reduce(_sum, Ys), rectify=True).write()
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
