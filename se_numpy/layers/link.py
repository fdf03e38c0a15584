"""One link of a fused network: convolution, batch norm, then ReLU or SE, in the passes that the convolutions make.

The algebra of a U + c, forward and back: what each layer by itself does to maps comes down to numbers by channel.
"""

from dataclasses import dataclass
from typing import Any, NamedTuple

from se_numpy import ops, se
from se_numpy.backend import Array, Blend, column_line, image_sums, lines, masked, one_launch, over_blocks
from se_numpy.layers.combinators import Combinator
from se_numpy.layers.layer import Chance, Layer
from se_numpy.layers.simple import SE, BatchNorm, Bias, Conv, ReLU
from se_numpy.ops import conv, norm
from se_numpy.tree import Tree

# Σ dy and Σ dy (x - mean), in parts or of each image, where somebody took them already
Sums = tuple[Array, Array] | None


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
