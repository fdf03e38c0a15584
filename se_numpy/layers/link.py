"""One link of a fused network: convolution, batch norm, then ReLU or SE, in the passes that the convolutions make.

The algebra of a U + c, forward and back: what each layer by itself does to maps comes down to numbers by channel.
"""

from dataclasses import dataclass
from typing import Any, NamedTuple

from se_numpy.backend import Array, Blend, column_line, image_sums, lines, masked, masked_sum, over_blocks
from se_numpy.layers import gate
from se_numpy.layers.combinators import Combinator
from se_numpy.layers.excitation import SE
from se_numpy.layers.layer import Chance, Layer
from se_numpy.layers.simple import BatchNorm, Bias, Conv, ReLU, of_a_batch
from se_numpy.ops import conv, norm
from se_numpy.tree import Tree

# What whoever wrote a gradient dy did to it already: None, nothing; (), took it through the ReLU that the maps came out
# of; else that too, and these are Σ dy and Σ dy (x - mean), in parts or of each image.
Sums = tuple[()] | tuple[Array, Array] | None


class LinkCache(NamedTuple):
    """What a link remembers: its input, the convolution's maps, their moments, the gate, and what it returned."""

    X: Blend
    U: Array
    mean: Array | None
    var: Array | None
    a: Array | None  # the maps were normalised to a U + c
    gate: Any  # z, h, s, and the mean of each image of U; or None
    Y: Blend
    observed: Tree | None  # where mean and var are those of U, not the running ones


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
        V, normal, *of_gate = (params.get(name, {}) for name, _ in self.parts)
        gated, folded = self.is_followed_by(SE), isinstance(self.parts[1][1], Bias)
        if folded and train:
            raise ValueError("a folded network is for evaluation: expected train=False, or the network it came from")

        def look(U: Array, n: slice, h: slice) -> norm.Part:
            u = U[n, h]
            return norm.moments_of_block(u, n, by_image=gated) if train else norm.Part(n, None, image_sums(u))

        U, parts = conv.convolve(X, V["V"], **self.conv.hyper, then=look if train or gated else None)
        mean = var = a = kept = observed = None
        if folded:
            c = normal["b"]
        elif train:
            mean, var, unbiased, a, c = norm.moments_and_scale(
                parts, U.shape, normal["gamma"], normal["beta"], self.norm.eps
            )
            observed = {"mean": mean, "var": unbiased}
        else:
            mean, var = (state[self.parts[1][0]][name] for name in ("mean", "var"))
            a, c = norm.scale_and_shift(mean, var, normal["gamma"], normal["beta"], self.norm.eps)
        if gated:
            images, z = norm.squeezed(parts, U.shape, a, c)
            h, s, sa, sc = gate.excite(z, 1 if a is None else a, c, **of_gate[0])
            kept, Y = (z, h, s, images), Blend(U, sa, c=sc, mean=mean)
        else:
            Y = Blend(U, a, c=c, rectify=self.is_followed_by(ReLU), mean=mean)
        return Y, LinkCache(X, U, mean, var, a, kept, Y, observed)

    def descend(
        self, params: Tree, cache: LinkCache, dY: Array, sums: Sums, plus: Array | None, dX: bool
    ) -> tuple[Array | None, Tree, Sums]:
        """Gradients of the input and the parameters, and the sums that the link before this one will ask for.

        With ``sums`` given dY has been through this link's ReLU already: the link that read Y saw to both.
        """
        X, U, mean, var, a, kept, Y, observed = cache
        if mean is None:
            raise ValueError("a folded network has no way back; expected the network it came from")
        V, normal, *of_gate = (params.get(name, {}) for name, _ in self.parts)
        N, H, W, _ = U.shape
        if not sums:
            dY, sums = _through_relu(dY, Y, by_image=kept is not None)
        of_dy, of_dyx = sums
        grads: list[Tree] = []
        factor = shift = None  # the gradient of the normalised maps is factor · dY + shift
        if kept is not None:
            z, h, factor, images = kept
            dW, shift, of_dy, of_dyx = gate.excite_backward(
                of_dy, of_dyx, z, h, factor, images, mean, a, normal["beta"], H * W, of_gate[0]
            )
            grads.append(dW)
        a, b, c, dgamma, dbeta = norm.batch_norm_slope(
            of_dy, of_dyx, mean, var, normal["gamma"], len(of_dy), N * H * W, self.norm.eps
        )
        # dU = a (factor dY + shift + b U + c): a goes into the filters, which are fewer than the maps. In evaluation
        # mean and var are constants, and b U + c is not there.
        if observed is None:
            dU = Blend(dY, factor, c=shift)
        else:
            dU = Blend(dY, factor, U, b, c if shift is None else shift + c)
        rectify = X.rectify or X.clipped
        centre = None if X.mean is None else column_line(X.mean, X.x)

        def look(dX: Array, x: Array, n: slice, h: slice) -> Any:
            dx = dX[n, h]
            if plus is not None and rectify:
                masked_sum(lines(dx), lines(plus[n, h]), lines(x), lines(dx))
            elif plus is not None:
                Y.xp.add(lines(dx), lines(plus[n, h]), out=lines(dx))
            elif rectify:
                masked(lines(dx), lines(x), lines(dx))
            return None if centre is None else norm.sums_of_block(dx, X.x[n, h], centre, n, by_image=X.by_image)

        dX_, dV, parts = conv.convolve_backward(
            dU, X, V["V"], **self.conv.hyper, scale=a, then=look, input_gradient=dX
        )
        grads = [{"V": dV}, {"gamma": dgamma, "beta": dbeta}, *grads]
        sums = norm.merged_sums(parts, X.shape) if centre is not None else () if X.clipped else None
        return dX_, {name: g for (name, _), g in zip(self.parts, grads, strict=False)}, sums

    def observed(self, cache: LinkCache) -> Tree:
        return {self.parts[1][0]: of_a_batch(cache.observed)}


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
