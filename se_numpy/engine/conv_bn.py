"""Convolution, batch norm and ReLU or SE, fused into the passes of the convolution.

The convolution writes U; the next node reads it as the deferred maps a U + c, rectified if a ReLU follows. Batch norm
and the gate then work only on per-channel values, in both the forward and the backward pass.
"""

from dataclasses import dataclass
from typing import Any, cast

from se_numpy.arrays import Array
from se_numpy.engine import conv, cuda, functions, gate, norm
from se_numpy.engine.affine_maps import AffineMaps, Statistics
from se_numpy.engine.gate import GateCache
from se_numpy.engine.lanes import as_lanes, mask_gradient, mask_gradient_sum
from se_numpy.engine.node import Node, Pass, Upstream
from se_numpy.engine.parallel import parallel_for
from se_numpy.engine.sums import image_sums, tile_row
from se_numpy.layers import SE, BatchNorm, Bias, Conv, Layer, ReLU
from se_numpy.layers.simple import of_a_batch
from se_numpy.shapes import check
from se_numpy.tree import Tree

FLIPPED = "V flipped"  # beside V among the parameters, where the backward pass of a whole network made it


@dataclass(eq=False)
class ConvBNCache:
    """The cache of the node: its input, the convolution's maps and their moments, the gate's cache, and its output."""

    X: AffineMaps
    U: Array
    Y: AffineMaps
    statistics: Any = None  # None in a folded network
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

        on_gpu = cuda.has_kernels(X.xp, X.x, V["V"], *normal.values(), *(W for part in of_gate for W in part.values()))
        epilogue = statistics if (run.train or gated) and not on_gpu else None
        U, parts = conv.convolve(X, V["V"], **self.conv.hyper, epilogue=epilogue)
        cache = ConvBNCache(X, U, AffineMaps(U))
        if folded:
            c = normal["b"]
        elif run.train:
            given = normal["gamma"], normal["beta"], self.norm.eps
            if on_gpu:
                of_image, found = norm.moments(U, *given, by_image=gated)
            else:
                found = norm.finalize_moments(parts, U.shape, *given)
            mean, var, unbiased, cache.a, c = found
            cache.batch = {"mean": mean, "var": unbiased}
        else:
            mean, var = (state[self.parts[1][0]][name] for name in ("mean", "var"))
            cache.a, c = norm.scale_and_shift(mean, var, normal["gamma"], normal["beta"], self.norm.eps)
        if not folded:
            cache.statistics = Statistics(mean, var, normal["gamma"], self.norm.eps)
        if not gated:
            cache.Y = AffineMaps(U, cache.a, c=c, rectify=self.ends_with(ReLU), statistics=cache.statistics)
            return cache.Y, cache
        a = 1 if cache.a is None else cache.a
        if on_gpu:
            if not run.train:
                (of_image,) = cuda.sums("sums", (U,), by_image=True)
            cache.gate, sc = gate.squeeze_and_excite(of_image, a, c, U.shape[1] * U.shape[2], **of_gate[0])
        else:
            cache.gate, sc = gate.excite(*norm.squeezed(parts, U.shape, cache.a, c), a, c, **of_gate[0])
        if self.keep_gates is not None:
            run.kept[self.keep_gates] = cache.gate.s
        cache.Y = AffineMaps(U, cache.gate.sa, c=sc, statistics=cache.statistics)
        return cache.Y, cache

    def backward_lazy(
        self, params: Tree, cache: ConvBNCache, up: Upstream, *, extra: Array | None = None,
        input_gradient: bool = True,
    ) -> tuple[Upstream, Tree]:  # fmt: skip
        X = cache.X
        V, *_ = (params.get(name, {}) for name, _ in self.parts)
        dU, scale, others = self._through_norm(params, cache, up)
        rectify, of, source = X.rectify or X.clipped, X.statistics, X.summand or X
        on_gpu = source.statistics is not None and cuda.has_kernels(X.xp, dU.x, source.x, source.statistics.mean)
        centre = None if of is None else tile_row(of.mean, X.x)

        def epilogue(dX: Array, x: Array, n: slice, h: slice) -> Any:
            """Add the other gradients to dX, apply the previous ReLU's mask, and return the sums for its batch norm."""
            dx = dX[n, h]
            if on_gpu:
                return norm.masked_gradient_sums(dX, source, x if rectify else None, extra)
            if extra is not None and rectify:
                mask_gradient_sum(as_lanes(dx), as_lanes(extra[n, h]), as_lanes(x), as_lanes(dx))
            elif extra is not None:
                lanes = as_lanes(dx)  # one array in both places: CuPy would copy another view of the same memory
                X.xp.add(lanes, as_lanes(extra[n, h]), out=lanes)
            elif rectify:
                mask_gradient(as_lanes(dx), as_lanes(x), as_lanes(dx))
            return None if centre is None else norm.bn_grad_part(dx, X.x[n, h], centre, n, by_image=X.by_image)

        dX, dV, parts = conv.convolve_backward(
            dU, X, V["V"], **self.conv.hyper, scale=scale, epilogue=epilogue, input_gradient=input_gradient,
            filters=V.get(FLIPPED),
        )  # fmt: skip
        named = {name: g for (name, _), g in zip(self.parts, [{"V": dV}, *others], strict=False)}
        if dX is None:
            return Upstream(None), named
        sums = parts[0] if on_gpu else None if centre is None else norm.merged(parts, X.shape)
        return Upstream(dX, masked=rectify, sums=sums), named

    def _through_norm(
        self, params: Tree, cache: ConvBNCache, up: Upstream
    ) -> tuple[AffineMaps, Array | None, list[Tree]]:
        """Return dU, a factor still to be applied to it, and the gradients of the parts after the convolution.

        dU = a (factor dY + shift + b U + c), where factor and shift come from the gate. In evaluation mode mean and
        variance are constants, so b U + c is left out. On a CPU a is applied to the filters, which are smaller than
        the maps; on a GPU, where maps are computed as they are read, to the factors of the maps.
        """
        U, (mean, var, gamma, eps) = cache.U, cache.statistics  # folded networks have no backward pass
        _, normal, *of_gate = (params.get(name, {}) for name, _ in self.parts)
        N, H, W, _ = U.shape
        dY, sums = up.dY, cast(Any, up.sums)
        if sums is None:
            dY, sums = _through_relu(up, cache.Y, by_image=cache.gate is not None)
        on_gpu = not isinstance(sums, norm.BNGradSums)
        grads: list[Tree] = []
        factor = shift = scale = None
        if cache.gate is not None:
            through = gate.excite_backward_in_one_launch if on_gpu else gate.excite_backward
            sum_dy, sum_dyx = sums
            dW, shift, sum_dy, sum_dyx = through(
                sum_dy, sum_dyx, cache.gate, mean, cache.a, normal["beta"], H * W, of_gate[0]
            )
            sums = sum_dy, sum_dyx
            grads.append(dW)
            factor = cache.gate.sa if on_gpu else cache.gate.s
        if on_gpu:
            if cache.gate is not None:
                sums = cuda.sums("gradient_of_sums", sums, (mean, var, gamma, eps, N * H * W), finish=True)
            a, b, c, dgamma, dbeta = sums
            factor = a if factor is None else factor
        else:
            sum_dy, sum_dyx = sums
            a, b, c, dgamma, dbeta = norm.bn_grad_coefficients(
                sum_dy, sum_dyx, mean, var, gamma, len(sum_dy), N * H * W, eps
            )
            scale = a
        grads.insert(0, {"gamma": dgamma, "beta": dbeta})
        if cache.batch is None:
            return AffineMaps(dY, factor, c=shift), scale, grads
        if on_gpu:
            return AffineMaps(dY, factor, U, b, shift, c), scale, grads
        return AffineMaps(dY, factor, U, b, c if shift is None else shift + c), scale, grads

    def batch_stats(self, cache: ConvBNCache) -> Tree:
        return {self.parts[1][0]: of_a_batch(cache.batch)}


def _through_relu(up: Upstream, Y: AffineMaps, by_image: bool) -> tuple[Array, Any]:
    """Return dY, set to 0 where the ReLU's output Y is 0, and the sums for batch norm's gradient, in one pass."""
    dY, xp, of = up.dY, Y.xp, cast(Statistics, Y.statistics)
    if cuda.has_kernels(xp, dY, Y.x, of.mean):
        if Y.rectify and not up.masked:
            dY = functions.relu_backward(dY, Y.write())
        return dY, norm.masked_gradient_sums(dY, Y, None, None, by_image=by_image)
    if up.masked or not Y.rectify:
        return dY, norm.bn_grad_sums(dY, Y.x, of.mean, by_image=by_image)
    centre, dy = tile_row(of.mean, Y.x), xp.empty(dY.shape, dY.dtype)

    def block(n: slice) -> norm.BNGradPart:
        y = Y.read(n)
        mask_gradient(as_lanes(dY[n]), as_lanes(y), as_lanes(dy[n]))
        return norm.bn_grad_part(dy[n], Y.x[n], centre, n, by_image=by_image)

    return dy, norm.merged(parallel_for(xp, block, len(dY), 4 * dY[0].nbytes), dY.shape)
