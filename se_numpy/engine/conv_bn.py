"""Convolution, batch norm and ReLU or SE, fused into the passes of the convolution.

The convolution writes U; the next node reads it as the deferred maps a U + c, rectified if a ReLU follows. Batch norm
and the gate then work only on per-channel values, in both the forward and the backward pass.
"""

from dataclasses import dataclass
from typing import Any, NamedTuple, cast

from se_numpy.arrays import Array
from se_numpy.engine import conv, gate, norm
from se_numpy.engine.affine_maps import AffineMaps
from se_numpy.engine.lanes import as_lanes, mask_gradient, mask_gradient_sum
from se_numpy.engine.node import Node, Pass, Upstream
from se_numpy.engine.parallel import parallel_for
from se_numpy.engine.sums import image_sums, tile_row
from se_numpy.layers import SE, BatchNorm, Bias, Conv, Layer, ReLU
from se_numpy.layers.simple import of_a_batch
from se_numpy.shapes import check
from se_numpy.tree import Tree


class GateCache(NamedTuple):
    """The cache of an SE block at the end: the results of Eqs. (2) and (3), and the mean of U over each image."""

    z: Array
    h: Array
    s: Array
    images: Array


@dataclass(eq=False)
class ConvBNCache:
    """The cache of the node: its input, the convolution's maps and their moments, the gate's cache, and its output."""

    X: AffineMaps
    U: Array
    Y: AffineMaps
    mean: Any = None
    var: Any = None
    a: Array | None = None  # the normalised maps are a U + c
    gate: GateCache | None = None
    batch: Tree | None = None  # the batch's own statistics, in training mode


@dataclass(frozen=True)
class FusedConvBN(Node):
    """Convolution and batch norm (in a folded network: a bias), then ReLU, an SE block, or neither."""

    parts: tuple[tuple[str, Layer], ...]
    keep_gates: str | None = None  # the name under which the gates are kept

    @property
    def spans(self) -> bool:
        return True

    @property
    def conv(self) -> Conv:
        return cast(Conv, self.parts[0][1])

    @property
    def norm(self) -> BatchNorm:
        return cast(BatchNorm, self.parts[1][1])

    def ends_with(self, kind: type[Layer]) -> bool:
        """Return True if there is a third part, and it has this type."""
        return len(self.parts) == 3 and isinstance(self.parts[2][1], kind)

    def forward_lazy(self, params: Tree, state: Tree, X: AffineMaps, run: Pass) -> tuple[AffineMaps, ConvBNCache]:
        V, normal, *of_gate = (params.get(name, {}) for name, _ in self.parts)
        gated, folded = self.ends_with(SE), isinstance(self.parts[1][1], Bias)
        C = V["V"].shape[-1:]
        check("U: C, gamma: C, beta: C, b: C", C, *(normal.get(name) for name in ("gamma", "beta", "b")))

        def statistics(U: Array, n: slice, h: slice) -> norm.Part:
            u = U[n, h]
            return norm.part_of_block(u, n, by_image=gated) if run.train else norm.Part(n, None, image_sums(u))

        epilogue = statistics if run.train or gated else None
        U, parts = conv.convolve(X, V["V"], **self.conv.hyper, epilogue=epilogue)
        cache = ConvBNCache(X, U, AffineMaps(U))
        if folded:
            c = normal["b"]
        elif run.train:
            cache.mean, cache.var, unbiased, cache.a, c = norm.finalize_moments(
                parts, U.shape, normal["gamma"], normal["beta"], self.norm.eps
            )
            cache.batch = {"mean": cache.mean, "var": unbiased}
        else:
            cache.mean, cache.var = (state[self.parts[1][0]][name] for name in ("mean", "var"))
            cache.a, c = norm.scale_and_shift(cache.mean, cache.var, normal["gamma"], normal["beta"], self.norm.eps)
        if gated:
            images, z = norm.squeezed(parts, U.shape, cache.a, c)
            h, s, sa, sc = gate.excite(z, 1 if cache.a is None else cache.a, c, **of_gate[0])
            cache.gate, cache.Y = GateCache(z, h, s, images), AffineMaps(U, sa, c=sc, mean=cache.mean)
            if self.keep_gates is not None:
                run.kept[self.keep_gates] = s
        else:
            cache.Y = AffineMaps(U, cache.a, c=c, rectify=self.ends_with(ReLU), mean=cache.mean)
        return cache.Y, cache

    def backward_lazy(
        self, params: Tree, cache: ConvBNCache, up: Upstream, *, extra: Array | None = None,
        input_gradient: bool = True,
    ) -> tuple[Upstream, Tree]:  # fmt: skip
        X, U, mean, var = cache.X, cache.U, cache.mean, cache.var  # folded networks have no backward pass
        V, normal, *of_gate = (params.get(name, {}) for name, _ in self.parts)
        N, H, W, _ = U.shape
        dY, sums = up.dY, up.sums
        if sums is None:
            dY, sums = _through_relu(up, cache.Y, by_image=cache.gate is not None)
        sum_dy, sum_dyx = sums
        grads: list[Tree] = []
        factor = shift = None  # the gradient of the normalised maps is factor · dY + shift
        if cache.gate is not None:
            z, h, factor, images = cache.gate
            dW, shift, sum_dy, sum_dyx = gate.excite_backward(
                sum_dy, sum_dyx, z, h, factor, images, mean, cache.a, normal["beta"], H * W, of_gate[0]
            )
            grads.append(dW)
        a, b, c, dgamma, dbeta = norm.bn_grad_coefficients(
            sum_dy, sum_dyx, mean, var, normal["gamma"], len(sum_dy), N * H * W, self.norm.eps
        )
        # dU = a (factor dY + shift + b U + c): a is applied to the filters, which are smaller than the maps. In
        # evaluation mode mean and var are constants, so b U + c is left out.
        if cache.batch is None:
            dU = AffineMaps(dY, factor, c=shift)
        else:
            dU = AffineMaps(dY, factor, U, b, c if shift is None else shift + c)
        rectify = X.rectify or X.clipped
        centre = None if X.mean is None else tile_row(X.mean, X.x)

        def epilogue(dX: Array, x: Array, n: slice, h: slice) -> norm.BNGradPart | None:
            """Add the other gradients to dX, apply the previous ReLU's mask, and return the sums for its batch norm."""
            dx = dX[n, h]
            if extra is not None and rectify:
                mask_gradient_sum(as_lanes(dx), as_lanes(extra[n, h]), as_lanes(x), as_lanes(dx))
            elif extra is not None:
                X.xp.add(as_lanes(dx), as_lanes(extra[n, h]), out=as_lanes(dx))
            elif rectify:
                mask_gradient(as_lanes(dx), as_lanes(x), as_lanes(dx))
            return None if centre is None else norm.bn_grad_part(dx, X.x[n, h], centre, n, by_image=X.by_image)

        dX, dV, parts = conv.convolve_backward(
            dU, X, V["V"], **self.conv.hyper, scale=a, epilogue=epilogue, input_gradient=input_gradient
        )
        grads = [{"V": dV}, {"gamma": dgamma, "beta": dbeta}, *grads]
        named = {name: g for (name, _), g in zip(self.parts, grads, strict=False)}
        if dX is None:
            return Upstream(None), named
        return Upstream(dX, masked=rectify, sums=None if centre is None else norm.merged(parts, X.shape)), named

    def batch_stats(self, cache: ConvBNCache) -> Tree:
        return {self.parts[1][0]: of_a_batch(cache.batch)}


def _through_relu(up: Upstream, Y: AffineMaps, by_image: bool) -> tuple[Array, norm.BNGradSums]:
    """Return dY, set to 0 where the ReLU's output Y is 0, and the sums for batch norm's gradient, in one pass."""
    dY, xp = up.dY, Y.xp
    if up.masked or not Y.rectify:
        return dY, norm.bn_grad_sums(dY, Y.x, Y.mean, by_image=by_image)
    centre, dy = tile_row(Y.mean, Y.x), xp.empty(dY.shape, dY.dtype)

    def block(n: slice) -> norm.BNGradPart:
        y = Y.read(n)
        mask_gradient(as_lanes(dY[n]), as_lanes(y), as_lanes(dy[n]))
        return norm.bn_grad_part(dy[n], Y.x[n], centre, n, by_image=by_image)

    return dy, norm.merged(parallel_for(xp, block, len(dY), 4 * dY[0].nbytes), dY.shape)
