"""Faults planted in the engine, to prove that the contract detects them.

A fault replaces some text in one function of the engine or in one CUDA kernel, and changes nothing else.
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
    Rng,
    check_geometries,
    check_large_maps,
    check_network,
    check_operation,
    draw_network,
    small_blocks,
    small_shares,
)

from se_numpy.engine import (
    affine_maps,
    by_lanes,
    by_windows,
    conv,
    conv_bn,
    conv_plan,
    flipped,
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
from se_numpy.engine.cuda import concatenation, kernels, reductions
from se_numpy.engine.cuda.table import TABLE


@dataclass(frozen=True)
class Fault:
    """A fault: in the function ``where`` of a module (or in the kernel ``where``), ``right`` becomes ``wrong``."""

    name: str
    module: ModuleType | None
    where: str
    right: str
    wrong: str

    @property
    def on_device(self) -> bool:
        return self.name.startswith("kernel: ")

    @contextmanager
    def planted(self) -> Iterator[None]:
        """Plant the fault inside the ``with`` block."""
        clear_caches()
        with self._kernel() if self.module is None else self._function(self.module):
            yield
        clear_caches()

    @contextmanager
    def _function(self, module: ModuleType) -> Iterator[None]:
        function: Any = module
        for name in self.where.split("."):
            function = getattr(function, name)
        function = inspect.unwrap(getattr(function, "fget", None) or function)
        # a fast version wraps the book's function, so the engine's code is in its closure
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
        texts = {name: text for name, text in row._asdict().items() if isinstance(text, str)}
        assert any(self.right in text for text in texts.values()), f"{self.where} has no {self.right!r}"
        TABLE[self.where] = row._replace(**{k: text.replace(self.right, self.wrong) for k, text in texts.items()})
        try:
            yield
        finally:
            TABLE[self.where] = row


def _inner(call: Callable[..., Any]) -> Any:
    """Return the engine's code inside the function that chooses between it and the book."""
    cells = dict(zip(call.__code__.co_freevars, call.__closure__ or (), strict=True))
    return cells["fast"].cell_contents


def clear_caches() -> None:
    """Clear all plans, kernels and workspaces, which may have been made with a fault."""
    conv_plan.plan.cache_clear()
    for part in (kernels, reductions, concatenation):
        part.forget()
    matmul._tile_rows.cache_clear()
    lanes.pixels_per_lane.cache_clear()
    workspace._local.padded.clear()
    workspace._local.buffers.clear()


FAULTS = [
    # splitting into blocks
    Fault("block off by one", parallel, "parallel_for", "n * (i + 1) // count", "n * (i + 1) // count - (i > 0)"),
    Fault("last rows of an image left out", parallel, "parallel_for_rows", "rows * (k + 1) // bands",
          "(rows - 1) * (k + 1) // bands"),
    Fault("chunks after the first are empty", parallel, "chunks", "n * (i + 1) // count", "n * 1 // count"),
    Fault("results out of order", parallel, "parallel_for", "results[i] = work(block)",
          "results[len(blocks) - 1 - i] = work(block)"),
    # workspaces and borders
    Fault("border filled with ones instead of zeros", workspace, "zero_padded_workspace", "xp.zeros(shape, dtype)",
          "xp.ones(shape, dtype)"),
    Fault("same border for every position", workspace, "zero_padded_workspace",
          "*[(part.start, part.stop) for part in inside]", "None"),
    Fault("two operands in one workspace", affine_maps, "AffineMaps.into",
          'workspace(xp, "second", out.shape, out.dtype)', "work"),
    Fault("two workspaces under one name", conv, "_backward_at_stride_1", 'X.read(n, h, "X")',
          'X.read(n, h, "windows")'),
    # windows
    Fault("windows begin one row too low", windows, "unfold", "h.start * stride - ph", "h.start * stride - ph + 1"),
    Fault("horizontal stride ignored", windows, "_copy_windows", "down * sh, across * sw", "down * sh, sw"),
    Fault("windows of the first group for all groups", windows, "_copy_windows", "strides = sg, sn", "strides = 0, sn"),
    Fault("left border missing", windows, "excerpt", "left - w.start, right - w.start",
          "0, right - left"),
    # convolution
    Fault("filters not flipped in the backward pass", by_windows, "backward_filters", "V[::-1, ::-1]", "V"),
    Fault("last block instead of the sum", conv, "_total", "reduce(add_up, arrays)", "arrays[-1]"),
    Fault("batch norm's factor missing in dV", by_windows, "filters_at_stride_1", "dV[::-1, ::-1], scale",
          "dV[::-1, ::-1], None"),
    Fault("pixels outside all windows not cleared", by_windows, "input_gradient",
          "if not every_pixel:", "if False:"),
    Fault("partial stacks treated as whole images", by_windows, "input_gradient", "whole = every_pixel and",
          "whole = bool(s) and"),
    Fault("wrong number of zeros before the filters", conv_plan, "plan", "-padding % s", "padding % s"),
    Fault("windows of dU begin too early", conv_plan, "plan", "Kh - 1 - first, Kw - 1 - first",
          "Kh - first, Kw - first"),
    Fault("only the first rows counted in dV", conv, "_filters_gradient", "form.filter_gradient(X, n, h, du, p)",
          "form.filter_gradient(X, n, h, du, p) * (h.start == 0)"),
    # groups
    Fault("stride ignored inside a tile", by_windows, "_toeplitz", "t * stride : t * stride",
          "t : t"),
    Fault("only the first pixel of a tile counted in dV", by_windows, "_diagonals", "range(tile)", "range(1)"),
    Fault("values beyond the last column counted", by_windows, "_tiles", "split[..., W:, :] = 0", "pass"),
    Fault("channels exchanged across groups", by_windows, "_transposed",
          "V.reshape(kh, kw, c, groups, C // groups).transpose(0, 1, 4, 3, 2)",
          "V.reshape(kh, kw, c, C // groups, groups).transpose(0, 1, 3, 4, 2)"),
    # depthwise
    Fault("depthwise: all kernel columns read the first column", by_lanes, "_columns", "first * stride + v - before",
          "first * stride"),
    Fault("depthwise: filters not flipped in the backward pass", by_lanes, "backward_filters", "V[::-1, ::-1, 0]",
          "V[:, :, 0]"),
    Fault("depthwise: dV left flipped", by_lanes, "filters_at_stride_1", "total[::-1, ::-1]", "total"),
    Fault("depthwise: position of a pixel ignored", by_lanes, "input_gradient", "(i + p.padding) // s",
          "p.padding // s"),
    Fault("depthwise: pixels outside all windows not cleared", by_lanes, "input_gradient", "pixels[...] = 0",
          "pixels[...] = 7"),
    Fault("depthwise: only one pixel of a lane summed", by_lanes, "_sums_with", ".sum(2)", "[:, :, 0]"),
    Fault("rows after the last tile left out", matmul, "product", "if tiled < R", "if False"),
    Fault("rows after the last tile left out in dV", matmul, "product_over_rows", "if tiled < R", "if False"),
    # partial sums of batch norm
    Fault("biased instead of unbiased variance", norm, "finalize_moments", "unbiased(var, m)", "var"),
    Fault("variance between blocks left out", norm, "finalize_moments", "squares + count * d * d",
          "squares"),
    Fault("m counted in only one image", norm, "finalize_moments", "m = math.prod(shape[:-1])",
          "m = math.prod(shape[1:-1])"),
    Fault("gradient through the variance missing", norm, "bn_grad_coefficients", "b = -root * dgamma / m",
          "b = 0 * dgamma"),
    Fault("gradient through the mean missing", norm, "bn_grad_coefficients", "-dbeta / m - b * mean", "-b * mean"),
    Fault("only one block of an image counted", norm, "_of_images", "total[n] += of_images",
          "total[n] = of_images"),
    Fault("eps missing", norm, "scale_and_shift", "var + eps", "var"),
    Fault("evaluation differentiated like training", norm, "batch_norm_backward_from",
          "if of_batch else AffineMaps(dy, a)", "if True else AffineMaps(dy, a)"),
    # deferred maps
    Fault("gates of the wrong images", lanes, "tile_channels", "v = v[n, None, None] if v.ndim == 2 else v[None]",
          "v = v[::-1][n, None, None] if v.ndim == 2 else v[None]"),
    Fault("ReLU missing when maps are written", affine_maps, "AffineMaps.into", "if self.rectify:", "if False:"),
    Fault("shift added twice in a sum", nodes, "_sum", "shifts[0] + shifts[1]", "shifts[0] + 2 * shifts[1]"),
    Fault("scale of the shortcut missing", nodes, "_sum", "AffineMaps(p.x, p.a, q.x, q.a, *shifts)",
          "AffineMaps(p.x, p.a, q.x, None, *shifts)"),
    Fault("ReLU at the end of a branch missing in the sum", nodes, "_sum", "v.rectify or v.y is not None",
          "v.y is not None"),
    # backward pass
    Fault("gradient not masked", conv_bn, "FusedConvBN.backward_lazy",
          "elif rectify:", "elif False:"),
    Fault("mask of the ReLU before a residual forgotten", nodes, "ParallelNodes._forward",
          "clipped=X.clipped or X.rectify", "clipped=X.clipped or not X.rectify"),
    Fault("gradient wrongly marked as masked", nodes, "FusedSerial.backward_lazy",
          "grads.update(", "up = type(up)(up.dY, True, up.sums); grads.update("),
    Fault("gradient of the shortcut missing", conv_bn, "FusedConvBN.backward_lazy",
          "if extra is not None and rectify:", "if False:"),
    Fault("sums computed before the mask", conv_bn, "_through_relu", "norm.bn_grad_part(dy[n], Y.x[n]",
          "norm.bn_grad_part(dY[n], Y.x[n]"),
    Fault("gate's part of dU missing", conv_bn, "FusedConvBN._through_norm", "c if shift is None else shift + c",
          "c"),
    Fault("batch statistics treated as constants", conv_bn, "FusedConvBN._through_norm",
          "if cache.batch is None:", "if True:"),
    Fault("mask of the hidden ReLU missing", gate, "excite_backward", 'relu_backward(da2 @ params["W2"], h)',
          'da2 @ params["W2"]'),
    Fault("derivative of the sigmoid missing", gate, "excite_backward", " * s * (1 - s)", ""),
    Fault("bias gradients of the gate missing", gate, "_weight_gradients", "if b in params", "if b in ()"),
    Fault("extra gradient missing at a single layer", layer_node, "LayerNode.backward_lazy",
          "dX if extra is None else add(dX, extra)", "dX"),
    Fault("extra gradient missing at the identity", nodes, "FusedSerial.backward_lazy",
          "if not self.nodes and extra is not None", "if False"),
    Fault("gradient of a concatenation sliced from 0", nodes, "FusedConcat.backward_lazy",
          "end - C : end", "0 : C"),
    Fault("pixel sums without the second factor", sums, "pixel_sum", "_product(u[part], v[part])", "u[part]"),
    Fault("mask computed from the gradient", lanes, "mask_gradient", "x > 0", "dy > 0"),
    Fault("absolute scale in the folded filters", folding, "fold", 'new_params[before]["V"] * a',
          'new_params[before]["V"] * abs(a)'),
    Fault("blocks of images in the wrong order", functions, "by_images", "xp.concatenate(parts)",
          "xp.concatenate(parts[::-1])"),
    # kernels
    Fault("kernel: bottom edge one row too low", None, "windows", "row < H", "row <= H"),
    Fault("kernel: pivot correction missing", None, "moments", "t -= s * s / count; ", ""),
    Fault("kernel: dgamma without 1 / √(var + eps)", None, "gradient_sums", "dgamma[i] = square * root",
          "dgamma[i] = square"),
    Fault("kernel: W1 transposed", None, "gates", "W1[j * C + k]", "W1[k * R + j]"),
    Fault("kernel: only the first part of an image squeezed", None, "gates", "part < parts", "part < 1"),
    Fault("kernel: only the first part of an image in the gradient", None, "through_gates", "part < parts", "part < 1"),
    Fault("kernel: pivot left out of the sum", None, "moments", "s += count * pivot;", ""),
    Fault("kernel: parts' means not compared", None, "moments", "t -= s * s / count;", "t -= s * s / (count + 1);"),
    Fault("kernel: gradient of a masked sum without the second term", None, "masked_gradient_sums_of_sum",
          "dy[i] + extra[i]", "dy[i]"),
    Fault("kernel: filters not flipped", flipped, "with_flipped_filters", "V[::-1, ::-1]", "V"),
    Fault("kernel: all gradients those of the first", concatenation, "_text", "x{first}[", "x0["),
    Fault("kernel: label smoothing missing", None, "cross_entropy_backward", "+ smoothing / K", ""),
    Fault("kernel: gates not applied", None, "through_gates", "sum_dv[n * C + k] = gate * dy",
          "sum_dv[n * C + k] = dy"),
    Fault("kernel: wrong sigmoid for negative values", None, "sigmoid", "(x < 0 ? e : (T)1)", "(T)1"),
]  # fmt: skip


QUICK = ("three branches", "convolution after gate", "strided", "concat after relu", "gate with biases", "pooling")


def caught(xp) -> str:
    """Return the name of the first check of the contract that fails, or "" if all pass."""
    for name, check in contract(xp):
        try:
            check()
        except Exception:  # wrong values, or shapes that no longer fit together
            return name
    return ""


def contract(xp):
    """Yield (name, check) for all parts of the contract, quick ones first; on a device only those that use kernels."""
    if xp is not None:
        for name in ("sigmoid", "softmax_cross_entropy", "conv2d"):
            yield name, lambda name=name: [check_operation(name, seed, xp=xp) for seed in range(8)]
        for name in QUICK:
            yield name, lambda name=name: check_network(NETWORKS[name], xp=xp)

        def in_small_shares():
            with small_shares():
                check_network(NETWORKS["se_resnet8"], (5, 4, 2), xp=xp)

        yield "small shares", in_small_shares
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
        yield f"random network {seed}", lambda seed=seed: check_network(draw_network(Rng(seed)), (7, 9, 2))


def networks(names):
    """Yield (name, check) for these networks, in training and evaluation, whole and in small blocks."""
    for name in names:
        for train in (True, False):
            yield f"{name}, {train=}", lambda name=name, train=train: check_network(NETWORKS[name], train=train)

            def in_blocks(name=name, train=train):
                with small_blocks():
                    check_network(NETWORKS[name], train=train)

            yield f"{name}, {train=}, in small blocks", in_blocks
