"""Time single operations of the engine and of PyTorch (channels-last):  python benchmarks/operations.py [--book]

The script times all convolutions in SE-ResNet-20 and ResNet-50, batch norm with ReLU, the SE block, the loss and SGD.
Each row gives the number of times its shape occurs in the network; "all" is the sum of the rows weighted by these
counts.

The time of PyTorch's backward pass is the median time of both passes together minus that of the forward pass. For the
first convolution of a network, the engine and PyTorch compute only the gradient of the filters, because training does
not use the gradient of the images.

In a training step the engine computes batch norm and ReLU inside the passes of the convolutions (``engine.compile``),
so their rows show the cost of the separate operations, not their share of a step.

``--book`` also times the book's convolutions, batch norm with ReLU, and SE block. The book computes both gradients of
every convolution, including the first. On NumPy the engine's loss is the book's.
"""

import argparse
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from side_by_side import Call, finish, headline, medians, same_threads, show
from torch_peer import modules

from se_numpy import engine, models, tree
from se_numpy.engine.affine_maps import AffineMaps
from se_numpy.engine.conv import convolve_backward
from se_numpy.layers import SE, BatchNorm, Conv, Layer, ReLU, Serial, Shape, init, serial, walk
from se_numpy.optim import SGD

RESNET50 = ((64, 3, 1), (128, 4, 2), (256, 6, 2), (512, 3, 2))  # channels, blocks and first stride of each stage

Row = dict[str, Any]


def convolutions_of_resnet50(size: int) -> Iterator[tuple[Conv, Shape]]:
    """Yield (convolution, input shape) in order; the 3x3 convolutions have the stride, as in the SE networks."""
    yield Conv(64, 7, 2), (size, size, 3)
    size, C_ = -(-size // 4), 64  # a stride of 2, and max pooling by 2
    for C, blocks, first_stride in RESNET50:
        for block in range(blocks):
            stride = first_stride if block == 0 else 1
            small = -(-size // stride)
            yield Conv(C, 1), (size, size, C_)
            yield Conv(C, 3, stride), (size, size, C)
            yield Conv(4 * C, 1), (small, small, C)
            if block == 0:
                yield Conv(4 * C, 1, stride), (size, size, C_)  # the shortcut
            size, C_ = small, 4 * C


def convolutions_of(model: str, shape: Shape) -> Iterator[tuple[Conv, Shape]]:
    for _, layer, seen in walk(models.build(model), shape):
        if isinstance(layer, Conv):
            yield layer, seen


def pair(
    layer: Serial, shape: Shape, batch: int, *, input_gradient: bool = True, book: bool = False
) -> dict[str, Call]:
    """Return the contenders: forward and backward in the engine, forward and both passes together in PyTorch.

    With ``book``, add the layer's own forward and backward.
    """
    rng = np.random.default_rng(0)
    params, state = init(layer, shape, rng)
    X = rng.standard_normal((batch, *shape), np.float32)
    compiled = engine.compile(layer)
    Y, cache = compiled.forward(params, state, X, train=True)
    dY = rng.standard_normal(Y.shape, np.float32)

    def forward() -> None:
        _, cache = compiled.forward(params, state, X, train=True)
        compiled.update_running(state, cache)

    def backward() -> object:
        if input_gradient:
            # each call gets its own copy of the cache, because backward consumes it
            return compiled.backward(params, replace(cache, inside=list(cache.inside)), dY)
        ((name, conv),) = layer.parts
        V, hyper = params[name]["V"], conv.hyper  # type: ignore[attr-defined]
        return convolve_backward(AffineMaps(dY), AffineMaps(X), V, **hyper, input_gradient=False)

    module = modules(layer, shape).to(memory_format=torch.channels_last)
    X_t, dY_t = (torch.from_numpy(maps).permute(0, 3, 1, 2) for maps in (X, dY))
    inputs = [*([X_t.requires_grad_()] if input_gradient else []), *module.parameters()]
    contenders = {
        "forward": forward,
        "backward": backward,
        "torch forward": lambda: module(X_t),
        "torch both": lambda: torch.autograd.grad(module(X_t), inputs, dY_t),
    }
    return contenders | (book_calls(layer, params, state, X, dY) if book else {})


def book_calls(layer: Serial, params: tree.Tree, state: tree.Tree, X: np.ndarray, dY: np.ndarray) -> dict[str, Call]:
    """Return the layer's own forward and backward: the plain equations."""
    _, cache = layer.forward(params, state, X, train=True)

    def forward() -> None:
        _, cache = layer.forward(params, state, X, train=True)
        layer.update_running(state, cache)

    return {"book forward": forward, "book backward": lambda: layer.backward(params, list(cache), dY)}


def row(name: str, contenders: dict[str, Call], repeats: int, **more: object) -> Row:
    """Return the medians and their ratios to PyTorch's, by pass or for the whole, with the book's medians if timed."""
    ms = medians(contenders, repeats)
    if "book forward" in ms:
        more["book_ms"] = {part: ms[f"book {part}"] for part in ("forward", "backward")}
    if "forward" in ms:
        forward = ms["torch forward"]
        ours = {"forward": ms["forward"], "backward": ms["backward"]}
        theirs = {"forward": forward, "backward": ms["torch both"] - forward}
    else:
        ours, theirs = {"whole": ms["whole"]}, {"whole": ms["torch whole"]}
    return {"name": name, **more, "se_numpy_ms": ours, "torch_ms": theirs, "ratio": ratios(ours, theirs)}


def ratios(ours: dict[str, float], theirs: dict[str, float]) -> dict[str, float]:
    """Return our times divided by theirs, for each part and for the total."""
    each = {part: ours[part] / theirs[part] for part in ours}
    return {**each, "all": sum(ours.values()) / sum(theirs.values())}


def convolutions(found: Iterable[tuple[Conv, Shape]], batch: int, repeats: int, book: bool) -> list[Row]:
    """Measure each distinct convolution."""
    rows: list[Row] = []
    for (conv, shape), count in Counter(found).items():
        H, W, C_ = shape
        first = not rows
        name = f"{conv.k}x{conv.k} /{conv.stride}  {C_:4d} -> {conv.C:4d}  {H:3d} x {W:3d}"
        flop = 2 * batch * np.prod(conv.output_shape(shape)) * conv.k**2 * C_
        contenders = pair(serial(conv), shape, batch, input_gradient=not first, book=book)
        measured = row(name, contenders, repeats, count=count)
        work = {"forward": flop, "backward": flop if first else 2 * flop}
        ours = measured["se_numpy_ms"]
        measured["se_numpy_gflops"] = {part: float(1e-6 * work[part] / ms) for part, ms in ours.items()}
        rows.append(measured)
    return rows


def totals(rows: list[Row]) -> Row:
    """Return the sum over all convolutions of a network, each row weighted by its count."""
    sums = {
        side: {part: sum(r["count"] * r[side][part] for r in rows) for part in ("forward", "backward")}
        for side in ("se_numpy_ms", "torch_ms", "book_ms")
        if side in rows[0]
    }
    return {"name": "all", **sums, "ratio": ratios(sums["se_numpy_ms"], sums["torch_ms"])}


def blocks(batch: int, repeats: int, book: bool) -> list[Row]:
    """Measure batch norm with ReLU and the SE block, in the first and last stages of SE-ResNet-20."""
    kinds: dict[str, tuple[Layer, ...]] = {"batch norm, ReLU": (BatchNorm(), ReLU()), "SE block, r = 4": (SE(4),)}
    shapes = (32, 32, 16), (8, 8, 64)
    return [
        row(f"{name}  {H} x {W} x {C}", pair(serial(*layers), (H, W, C), batch, book=book), repeats)
        for name, layers in kinds.items()
        for H, W, C in shapes
    ]


def loss(batch: int, classes: int) -> dict[str, Call]:
    """Return the contenders for softmax cross-entropy and its gradient."""
    rng = np.random.default_rng(0)
    x, labels = rng.standard_normal((batch, classes), np.float32), rng.integers(0, classes, batch)
    x_t, labels_t = torch.from_numpy(x).requires_grad_(), torch.from_numpy(labels)

    def whole() -> object:
        return engine.softmax_cross_entropy(x, labels), engine.softmax_cross_entropy_backward(1.0, x, labels)

    return {
        "whole": whole,
        "torch whole": lambda: torch.autograd.grad(torch.nn.functional.cross_entropy(x_t, labels_t), x_t),
    }


def sgd(model: str, fused: bool) -> dict[str, Call]:
    """Return the contenders for a step of SGD with momentum and weight decay, given the gradients of each layer.

    Our step first copies the gradients into one flat vector, as ``Learner`` does. PyTorch updates a list of tensors:
    one by one by default, in one call if ``fused``.
    """
    net, shape = models.build(model), (32, 32, 3)
    params, _ = init(net, shape, np.random.default_rng(0))
    w = tree.flatten(params)
    g, v, optimiser = w * 0, w * 0, SGD(weight_decay=5e-4)
    grads = tree.map_leaves(lambda leaf: 1e-3 * leaf, params)

    def whole() -> None:
        tree.flatten(grads, out=g)
        optimiser.step(w, g, v, 1e-6)

    module = modules(net, shape)
    for parameter in module.parameters():
        parameter.grad = 1e-3 * parameter.detach()
    hyper: dict[str, Any] = {"momentum": 0.9, "nesterov": True, "weight_decay": 5e-4, "fused": fused}
    theirs = torch.optim.SGD(module.parameters(), lr=1e-6, **hyper)
    return {"whole": whole, "torch whole": theirs.step}


def table(title: str, rows: list[Row]) -> None:
    """Print the rows, with a column for the book if any row has its times."""
    columns = {
        "se_numpy_ms": "se_numpy: forward, backward ms",
        "torch_ms": "PyTorch: forward, backward ms",
        "ratio": "ours / PyTorch",
        "book_ms": "the book: forward, backward ms",
    }
    columns = {side: title for side, title in columns.items() if any(side in r for r in rows)}

    def line(r: Row) -> list[object]:
        parts = ("whole",) if "whole" in r["se_numpy_ms"] else ("forward", "backward")
        cells = ("  ".join(f"{r[side][p]:9.3f}" for p in parts) if side in r else "" for side in columns)
        return [r["name"], r.get("count", ""), *cells]

    show(title, ["", "times", *columns.values()], [line(r) for r in rows])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--batch", type=int, default=128, help="batch size for SE-ResNet-20")
    parser.add_argument("--resnet50-batch", type=int, default=4, help="batch size for ResNet-50")
    parser.add_argument("--resnet50-size", type=int, default=224, help="image height and width for ResNet-50")
    parser.add_argument("--repeats", type=int, default=5, help="turns of two measured calls each")
    parser.add_argument("--book", action="store_true", help="also time the book's layers")
    parser.add_argument("--json", metavar="FILE")
    args = parser.parse_args()
    same_threads()
    engine.keep_freed_memory()

    networks = {
        "se_resnet20": (convolutions_of("se_resnet20", (32, 32, 3)), args.batch),
        "resnet50": (convolutions_of_resnet50(args.resnet50_size), args.resnet50_batch),
    }
    print(headline("forward and backward"))
    record: dict[str, Any] = {"convolutions": {}}
    for model, (found, batch) in networks.items():
        rows = convolutions(found, batch, args.repeats, args.book)
        record["convolutions"][model] = {"batch": batch, "rows": rows, "all": totals(rows)}
        table(f"convolutions of {model}, batch {batch}", [*rows, totals(rows)])
    record["others"] = [
        *blocks(args.batch, args.repeats, args.book),
        row(f"softmax cross-entropy  {args.batch} x 10", loss(args.batch, 10), args.repeats),
        row(f"softmax cross-entropy  {args.batch} x 1000", loss(args.batch, 1000), args.repeats),
        row("SGD, SE-ResNet-20", sgd("se_resnet20", fused=False), args.repeats),
        row("SGD, SE-ResNet-20; PyTorch's fused", sgd("se_resnet20", fused=True), args.repeats),
    ]
    table(f"other operations, batch {args.batch}", record["others"])
    finish(args.json, {**record, "repeats": args.repeats}, "torch")


if __name__ == "__main__":
    main()
