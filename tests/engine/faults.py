"""Faults planted in the engine, to prove that the contract would notice.

A fault exchanges some text of one function of the engine, or of a row of its CUDA kernels, and everything else stays.
"""

import inspect
import textwrap
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from types import ModuleType
from typing import Any

from contract import (
    NETWORKS,
    OPERATIONS,
    VECTORS,
    Chance,
    check_geometries,
    check_large_maps,
    check_network,
    check_operation,
    draw_network,
    small_blocks,
)

from se_numpy.engine import (
    affine_maps,
    by_lanes,
    by_windows,
    conv,
    conv_bn,
    conv_plan,
    folding,
    functions,
    gate,
    lanes,
    layer_node,
    matmul,
    nodes,
    norm,
    parallel,
    sums,
    windows,
    workspace,
)
from se_numpy.engine.cuda import kernels
from se_numpy.engine.cuda.table import TABLE


@dataclass(frozen=True)
class Fault:
    """In the function ``where`` of a module (or the kernel of this name) ``right`` becomes ``wrong``."""

    name: str
    module: ModuleType | None
    where: str
    right: str
    wrong: str

    @property
    def on_a_device(self) -> bool:
        return self.module is None

    @contextmanager
    def planted(self) -> Iterator[None]:
        """The engine with this fault in it."""
        forget()
        with self._kernel() if self.module is None else self._function(self.module):
            yield
        forget()

    @contextmanager
    def _function(self, module: ModuleType) -> Iterator[None]:
        function: Any = module
        for name in self.where.split("."):
            function = getattr(function, name)
        function = inspect.unwrap(getattr(function, "fget", None) or function)
        # The call of a fast form wraps the book's function; what is to be changed is in its closure.
        if function.__module__ != module.__name__ or function.__name__ not in inspect.getsource(module):
            function = _inner(getattr(module, self.where))
        source = textwrap.dedent(inspect.getsource(function))
        source = source[source.index("def ") :]
        assert self.right in source, f"{self.where} has no {self.right!r}"
        scope: dict[str, Any] = {}
        exec(compile(source.replace(self.right, self.wrong), f"<{self.name}>", "exec"), dict(vars(module)), scope)
        before, function.__code__ = function.__code__, scope[function.__name__].__code__
        try:
            yield
        finally:
            function.__code__ = before

    @contextmanager
    def _kernel(self) -> Iterator[None]:
        row = TABLE[self.where]
        assert self.right in row.operation, f"{self.where} has no {self.right!r}"
        TABLE[self.where] = row._replace(operation=row.operation.replace(self.right, self.wrong))
        try:
            yield
        finally:
            TABLE[self.where] = row


def _inner(call: Callable[..., Any]) -> Any:
    """The fast form inside the function that chooses between it and the book."""
    cells = dict(zip(call.__code__.co_freevars, call.__closure__ or (), strict=True))
    return cells["fast"].cell_contents


def forget() -> None:
    """Plans, kernels and workspaces that were made with or without a fault."""
    conv_plan.plan.cache_clear()
    kernels.elementwise_kernel.cache_clear()
    kernels._reduction_kernel.cache_clear()
    matmul._tile_rows.cache_clear()
    lanes.pixels_per_lane.cache_clear()
    workspace._local.padded.clear()
    workspace._local.buffers.clear()


FAULTS = [
    # how work is cut
    Fault("a block off by one", parallel, "parallel_for", "n * (i + 1) // count", "n * (i + 1) // count - (i > 0)"),
    Fault("the last rows of an image forgotten", parallel, "parallel_for_rows", "rows * (k + 1) // bands",
          "(rows - 1) * (k + 1) // bands"),
    Fault("windows of the first chunk for all", parallel, "chunks", "n * (i + 1) // count", "n * 1 // count"),
    Fault("results out of order", parallel, "parallel_for", "results[i] = work(block)",
          "results[len(blocks) - 1 - i] = work(block)"),
    # workspaces and borders
    Fault("a border that is not cleared", workspace, "zero_padded_workspace", "xp.zeros(shape, dtype)",
          "xp.ones(shape, dtype)"),
    Fault("one border for every place", workspace, "zero_padded_workspace",
          "*[(part.start, part.stop) for part in inside]", "None"),
    Fault("a stale workspace: two names, one memory", affine_maps, "AffineMaps.into",
          'workspace(xp, "second", out.shape, out.dtype)', "work"),
    Fault("two workspaces under one name", conv, "_backward_at_stride_1", 'X.read(n, h, "X")',
          'X.read(n, h, "windows")'),
    # windows
    Fault("windows begin one row too low", windows, "unfold", "h.start * stride - ph", "h.start * stride - ph + 1"),
    Fault("windows of every column", windows, "_copy_windows", "down * sh, across * sw", "down * sh, sw"),
    Fault("the first group for all", windows, "_copy_windows", "strides = sg, sn", "strides = 0, sn"),
    Fault("a border on the left is missing", windows, "excerpt", "left - w.start, right - w.start",
          "0, right - left"),
    # convolution
    Fault("filters not flipped on the way back", by_windows, "backward_filters", "V[::-1, ::-1]", "V"),
    Fault("the sum of the blocks is the last one", conv, "_total", "reduce(add_up, arrays)", "arrays[-1]"),
    Fault("batch norm's factor lost in dV", by_windows, "filters_at_stride_1", "dV[::-1, ::-1], scale",
          "dV[::-1, ::-1], None"),
    Fault("pixels that no window met keep what was there", by_windows, "input_gradient",
          "if not every_pixel:", "if False:"),
    Fault("a stack taken for whole images", by_windows, "input_gradient", "whole = every_pixel and",
          "whole = bool(s) and"),
    Fault("zeros before the filters miscounted", conv_plan, "plan", "-padding % s", "padding % s"),
    Fault("windows of dU begin too early", conv_plan, "plan", "Kh - 1 - first, Kw - 1 - first",
          "Kh - first, Kw - first"),
    Fault("padding forgotten where dX is left out", conv, "_filters_gradient", "form.filter_gradient(X, n, h, du, p)",
          "form.filter_gradient(X, n, h, du, p) * (h.start == 0)"),
    # groups
    Fault("neighbours in a tile a pixel apart, whatever the stride", by_windows, "_toeplitz", "t * stride : t * stride",
          "t : t"),
    Fault("the first pixel of a tile for all of them in dV", by_windows, "_diagonals", "range(tile)", "range(1)"),
    Fault("what lies beyond the last column counted", by_windows, "_tiles", "split[..., W:, :] = 0", "pass"),
    Fault("channels in and out exchanged across groups", by_windows, "_transposed",
          "V.reshape(kh, kw, c, groups, C // groups).transpose(0, 1, 4, 3, 2)",
          "V.reshape(kh, kw, c, C // groups, groups).transpose(0, 1, 3, 4, 2)"),
    # depthwise
    Fault("depthwise: every column of the kernel meets the first", by_lanes, "_columns", "first * stride + v - before",
          "first * stride"),
    Fault("depthwise: filters not flipped on the way back", by_lanes, "backward_filters", "V[::-1, ::-1, 0]",
          "V[:, :, 0]"),
    Fault("depthwise: dV left flipped", by_lanes, "filters_at_stride_1", "total[::-1, ::-1]", "total"),
    Fault("depthwise: the place of a pixel forgotten", by_lanes, "input_gradient", "(i + p.padding) // s",
          "p.padding // s"),
    Fault("depthwise: pixels that no tap met keep what was there", by_lanes, "input_gradient", "pixels[...] = 0",
          "pixels[...] = 7"),
    Fault("depthwise: one lane of a row summed up", by_lanes, "_sums_with", ".sum(2)", "[:, :, 0]"),
    Fault("rows beyond the last tile lost", matmul, "product", "if tiled < R", "if False"),
    Fault("rows beyond the last tile lost in dV", matmul, "product_over_rows", "if tiled < R", "if False"),
    # batch norm in parts
    Fault("biased for unbiased", norm, "_finalize", "unbiased(var, m)", "var"),
    Fault("the blocks' means averaged, their distance forgotten", norm, "_finalize", "squares + count * d * d",
          "squares"),
    Fault("m of one image", norm, "finalize_moments", "m = math.prod(shape[:-1])", "m = math.prod(shape[1:-1])"),
    Fault("the gradient through the variance lost", norm, "bn_grad_coefficients", "b = -root * dgamma / m",
          "b = 0 * dgamma"),
    Fault("the gradient through the mean lost", norm, "bn_grad_coefficients", "-dbeta / m - b * mean", "-b * mean"),
    Fault("an image in several blocks counted once", norm, "_of_images", "total[n] += of_images",
          "total[n] = of_images"),
    Fault("eps forgotten", norm, "scale_and_shift", "var + eps", "var"),
    Fault("evaluation differentiated as training", norm, "batch_norm_backward_from",
          "if of_batch else AffineMaps(dy, a)", "if True else AffineMaps(dy, a)"),
    # what is computed where it is read
    Fault("a gate of another image", lanes, "tile_channels", "v = v[n, None, None] if v.ndim == 2 else v[None]",
          "v = v[::-1][n, None, None] if v.ndim == 2 else v[None]"),
    Fault("a ReLU forgotten where maps are written", affine_maps, "AffineMaps.into", "if self.rectify:", "if False:"),
    Fault("the shift added twice in a sum", nodes, "_sum", "p.c + q.c", "p.c + 2 * q.c"),
    Fault("the shortcut's scale lost", nodes, "_sum", "AffineMaps(p.x, p.a, q.x, q.a, c)",
          "AffineMaps(p.x, p.a, q.x, None, c)"),
    Fault("a ReLU that closes a branch lost in the sum", nodes, "_sum", "v.rectify or v.y is not None",
          "v.y is not None"),
    # the way back
    Fault("a gradient that was to be masked, and was not", conv_bn, "FusedConvBN.backward_lazy",
          "elif rectify:", "elif False:"),
    Fault("a gradient said to be masked already", nodes, "FusedSerial.backward_lazy",
          "grads.update(", "up = type(up)(up.dY, True, up.sums); grads.update("),
    Fault("the other path of a residual lost", conv_bn, "FusedConvBN.backward_lazy",
          "if extra is not None and rectify:", "if False:"),
    Fault("sums taken before the mask", conv_bn, "_through_relu", "norm.bn_grad_part(dy[n], Y.x[n]",
          "norm.bn_grad_part(dY[n], Y.x[n]"),
    Fault("the gate's share of dU lost", conv_bn, "FusedConvBN.backward_lazy", "c if shift is None else shift + c",
          "c"),
    Fault("running statistics taken for the batch's on the way back", conv_bn, "FusedConvBN.backward_lazy",
          "if cache.batch is None:", "if True:"),
    Fault("the hidden ReLU's mask lost", gate, "_through_hidden", "relu_backward(da2 @ W2, h)", "da2 @ W2"),
    Fault("sigma's slope lost", gate, "_through_gates", " * s * (1 - s)", ""),
    Fault("biases of the gate lost", gate, "excite_backward", "if b in params", "if b in ()"),
    Fault("the extra gradient lost at a single layer", layer_node, "LayerNode.backward_lazy",
          "dX if extra is None else add(dX, extra)", "dX"),
    Fault("the extra gradient lost at the identity", nodes, "FusedSerial.backward_lazy",
          "if not self.nodes and extra is not None", "if False"),
    Fault("a concatenation's gradients shared out from the start", nodes, "FusedConcat.backward_lazy",
          "end - C : end", "0 : C"),
    Fault("products of pixels without the second factor", sums, "pixel_sum", "_product(u[part], v[part])", "u[part]"),
    Fault("a mask by the gradient's sign", lanes, "mask_gradient", "x > 0", "dy > 0"),
    Fault("a bias of another batch norm in the fold", folding, "fold", 'new_params[before]["V"] * a',
          'new_params[before]["V"] * abs(a)'),
    Fault("pooled blocks in the wrong order", functions, "by_images", "xp.concatenate(parts)",
          "xp.concatenate(parts[::-1])"),
    # kernels
    Fault("kernel: windows without the edge", None, "windows", "0 <= row && row < H", "row < H"),
    Fault("kernel: the mean of the first group", None, "finalize_moments", "count * (d * d - e * e)", "count * d * d"),
    Fault("kernel: dgamma without the root", None, "bn_grad_coefficients", "dgamma = product * root",
          "dgamma = product"),
    Fault("kernel: W1 transposed", None, "excite_hidden", "W1[i % R * C + k]", "W1[k * R + i % R]"),
    Fault("kernel: smoothing forgotten", None, "cross_entropy_backward", "+ smoothing / K", ""),
    Fault("kernel: gates not multiplied", None, "through_squeeze", "sum_dv = s * sum_dy + dz", "sum_dv = sum_dy + dz"),
    Fault("kernel: sigmoid's other half", None, "sigmoid", "(x < 0 ? e : (T)1)", "(T)1"),
]  # fmt: skip


QUICK = ("three", "gated, then convolved", "strides", "concatenated behind relu", "gate with biases", "pooled")


def caught(xp) -> str:
    """What of the contract fails first, or nothing."""
    for what, check in contract(xp):
        try:
            check()
        except Exception:  # a wrong number, or shapes that do not fit any more
            return what
    return ""


def contract(xp):
    """(name, check) of the contract's parts, the quick ones first; on a device only what it has kernels for."""
    if xp is not None:
        for name in ("sigmoid", "softmax_cross_entropy", "conv2d"):
            yield name, lambda name=name: [check_operation(name, seed, xp=xp) for seed in range(8)]
        for name in QUICK:
            yield name, lambda name=name: check_network(NETWORKS[name], xp=xp)
        return
    yield from networks(QUICK)
    for name in OPERATIONS:
        yield name, lambda name=name: [check_operation(name, seed) for seed in range(6)]
    yield "geometries", lambda: check_geometries(0, 60)
    yield from networks(NETWORKS)
    yield "large maps", check_large_maps
    for name in VECTORS:
        yield name, lambda name=name: check_network(VECTORS[name], (4,))
    for seed in range(10):
        yield f"drawn network {seed}", lambda seed=seed: check_network(draw_network(Chance(seed)), (7, 9, 2))


def networks(names):
    """(name, check) of these networks, in training and evaluation, whole and in small blocks."""
    for name in names:
        for train in (True, False):
            yield f"{name}, {train=}", lambda name=name, train=train: check_network(NETWORKS[name], train=train)

            def in_blocks(name=name, train=train):
                with small_blocks():
                    check_network(NETWORKS[name], train=train)

            yield f"{name}, {train=}, in small blocks", in_blocks
