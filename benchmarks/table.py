"""Compare book, engine and PyTorch in one table:  python benchmarks/table.py [--only PART...] [--json FILE]

The contenders are the book, the engine, and PyTorch in both layouts and, if there is a C++ compiler, with
torch.compile. The rows are training steps, inference (small batches, and images of 224 x 224), and the operations of
the paper's networks. Contenders take turns, and times are medians; the time of PyTorch's backward pass is that of both
passes together minus that of the forward pass. Memory is the increase in peak memory during five calls in a new
process; it is not measured for torch.compile, because its compiler takes more memory than the network.

With ``--only``, rows of the other parts that are already in FILE are kept.

``engine / PyTorch`` is the engine's time divided by that of PyTorch's faster layout (without torch.compile),
``book / engine`` the engine's speedup over the book.
"""

import argparse
import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from side_by_side import Call, finish, headline, medians, milliseconds, peak_memory, same_threads, show
from step import CHANNELS_LAST, DEFAULT, sgd_step
from torch_peer import modules

from se_numpy import engine, layers, models
from se_numpy.layers import SE, BatchNorm, Conv, GlobalAveragePool, Layer, Linear, Pool, ReLU, Shape, serial
from se_numpy.optim import SGD
from se_numpy.train import Learner

BOOK, ENGINE, COMPILED = "book", "engine", "torch.compile"
CONTENDERS = BOOK, ENGINE, DEFAULT, CHANNELS_LAST, COMPILED
KINDS = "step", "inference", "forward", "backward"
SLOW_MS = 700.0  # contenders that take longer get only one turn of two measured calls
SMALLEST = 16  # image size with --small

Row = dict[str, Any]


class Network(NamedTuple):
    """A row for training steps or inference: model, image size, batch size and number of turns."""

    model: str
    side: int
    batch: int
    repeats: int


class Operation(NamedTuple):
    """A row for an operation: layers, input shape and batch size."""

    name: str
    layers: tuple[Layer, ...]
    shape: Shape
    batch: int

    @property
    def title(self) -> str:
        return f"{self.name}  {' x '.join(map(str, (self.batch, *self.shape)))}"


STEPS = [Network("se_resnet20", 32, 128, 6), Network("se_resnet20", 32, 32, 10)]
INFERENCE = [
    *(Network("se_resnet20", 32, batch, 15) for batch in (1, 8, 32, 128)),
    Network("se_resnet50", 224, 1, 5), Network("se_resnet50", 224, 8, 3), Network("resnet18", 224, 1, 8),
    Network("se_mobilenet", 224, 1, 8), Network("se_shufflenet", 224, 1, 8), Network("se_resnext50_32x4d", 224, 1, 3),
]  # fmt: skip
OPERATIONS = [
    Operation("depthwise 3x3", (Conv(32, 3, groups=32),), (112, 112, 32), 8),
    Operation("depthwise 3x3", (Conv(256, 3, groups=256),), (28, 28, 256), 8),
    Operation("depthwise 3x3 /2", (Conv(128, 3, 2, groups=128),), (56, 56, 128), 8),
    Operation("3x3 in 32 groups", (Conv(128, 3, groups=32),), (56, 56, 128), 8),
    Operation("3x3 in 8 groups", (Conv(32, 3, groups=8),), (16, 16, 32), 128),
    Operation("1x1 in 3 groups", (Conv(240, 1, groups=3),), (28, 28, 240), 8),
    Operation("7x7 /2", (Conv(64, 7, 2),), (224, 224, 3), 4),
    Operation("1x1", (Conv(256, 1),), (56, 56, 64), 8),
    Operation("3x3", (Conv(64, 3),), (56, 56, 64), 8),
    Operation("3x3, CIFAR", (Conv(16, 3),), (32, 32, 16), 128),
    Operation("batch norm, ReLU", (BatchNorm(), ReLU()), (56, 56, 64), 8),
    Operation("SE block, r = 16", (SE(16),), (56, 56, 256), 8),
    Operation("max pooling 3x3 /2", (Pool("max", 3, 2, 1),), (112, 112, 64), 8),
    Operation("global average pooling", (GlobalAveragePool(),), (7, 7, 2048), 8),
    Operation("linear", (Linear(1000),), (2048,), 128),
]


def images(side: int, batch: int) -> np.ndarray:
    return np.random.default_rng(0).standard_normal((batch, side, side, 3), np.float32)


def module(net: Layer, shape: Shape, contender: str) -> torch.nn.Module:
    """Return the network in PyTorch, in the contender's layout; torch.compile compiles it on its first call."""
    theirs = modules(net, shape)
    theirs = theirs.to(memory_format=torch.contiguous_format if contender == DEFAULT else torch.channels_last)
    if contender != COMPILED:
        return theirs
    torch._dynamo.reset()  # otherwise it stops compiling after eight networks in one process
    return torch.compile(theirs)  # type: ignore[return-value]


def as_tensor(X: np.ndarray, contender: str) -> torch.Tensor:
    if X.ndim != 4:
        return torch.from_numpy(X)
    tensor = torch.from_numpy(X).permute(0, 3, 1, 2)
    return tensor.contiguous() if contender == DEFAULT else tensor


def step(contender: str, model: str, side: int, batch: int) -> Call:
    """Return a training step: forward, backward and SGD."""
    engine.keep_freed_memory()
    X, labels = images(side, batch), np.random.default_rng(1).integers(0, 10, batch)
    net, shape = models.build(model), (side, side, 3)
    if contender in (BOOK, ENGINE):
        learner, sgd = Learner(net, shape, seed=0), SGD(weight_decay=5e-4)

        def ours() -> object:
            if contender == ENGINE:
                return learner.step(X, labels, sgd, 0.01)
            with engine.off():
                return learner.step(X, labels, sgd, 0.01)

        return ours
    return sgd_step(module(net, shape, contender), as_tensor(X, contender), torch.from_numpy(labels))


def inference(contender: str, model: str, side: int, batch: int) -> Call:
    """Return a forward pass with running statistics; the engine folds batch norm into the filters."""
    engine.keep_freed_memory()
    X, net, shape = images(side, batch), models.build(model), (side, side, 3)
    if contender in (BOOK, ENGINE):
        params, state = layers.init(net, shape, np.random.default_rng(0))
        if contender == BOOK:
            return lambda: net.forward(params, state, X)
        predict = engine.compile(net).predictor(params, state)
        return lambda: predict(X)
    theirs, tensor = module(net, shape, contender).eval(), as_tensor(X, contender)

    def infer() -> object:
        with torch.no_grad():
            return theirs(tensor)

    return infer


def operation(contender: str, name: str, part: str = "both", small: bool = False) -> Call:
    """Return an operation: its forward pass, its backward pass (in PyTorch with forward), or both."""
    engine.keep_freed_memory()
    op = next(op for op in OPERATIONS if op.title == name)
    op = smaller(op) if small else op
    layer, rng = serial(*op.layers), np.random.default_rng(0)
    X = rng.standard_normal((op.batch, *op.shape), np.float32)
    dY = rng.standard_normal((op.batch, *layer.output_shape(op.shape)), np.float32)
    if contender in (BOOK, ENGINE):
        return ours(
            engine.compile(layer) if contender == ENGINE else layer, layers.init(layer, op.shape, rng), X, dY, part
        )
    dY = as_tensor(dY, contender)
    theirs, tensor = module(layer, op.shape, contender), as_tensor(X, contender).requires_grad_()
    if part == "forward":
        return lambda: theirs(tensor)
    inputs = [tensor, *theirs.parameters()]
    return lambda: torch.autograd.grad(theirs(tensor), inputs, dY)


def ours(net: Any, start: tuple[Any, Any], X: np.ndarray, dY: np.ndarray, part: str) -> Call:
    """Return a layer's forward pass, backward pass or both, in the book or in the engine."""
    params, state = start

    def forward() -> Any:
        _, cache = net.forward(params, state, X, train=True)
        net.update_running(state, cache)
        return cache

    if part == "forward":
        return forward
    if part == "both":
        return lambda: net.backward(params, forward(), dY)
    kept = forward()

    def backward() -> object:  # each call gets its own copy of the cache, because backward consumes it
        mine = list(kept) if isinstance(kept, list) else replace(kept, inside=list(kept.inside))
        return net.backward(params, mine, dY)

    return backward


def smaller(op: Operation) -> Operation:
    """Return the same operation on a small input, to test that it runs."""
    *sides, C = op.shape
    return op._replace(shape=(*(min(side, SMALLEST) for side in sides), C), batch=2)


def compiles() -> bool:
    """Return True if torch.compile works here; it needs a C++ compiler."""
    try:
        torch.compile(lambda x: x.relu() + 1)(torch.ones(3))
    except Exception as error:
        print(f"torch.compile does not work and is left out: {str(error).splitlines()[0]}")
        return False
    return True


def timed(makers: dict[str, Callable[[], Call]], repeats: int) -> dict[str, float]:
    """Return the medians by contender; slow ones get one turn, and networks that cannot be compiled are left out."""
    quick, slow = {}, {}
    for name, make in makers.items():
        try:
            call = make()
            first, second = milliseconds(call), milliseconds(call)
        except Exception as error:
            if name != COMPILED:
                raise
            print(f"torch.compile failed and is left out of a row: {str(error).splitlines()[0]}")
            continue
        (slow if min(first, second) > SLOW_MS else quick)[name] = call
    return medians(quick, repeats) | medians(slow, 1)


def row(what: str, name: str, ms: dict[str, float], mb: dict[str, float] | None = None) -> Row:
    peer = min(ms[layout] for layout in (DEFAULT, CHANNELS_LAST))  # below 0 only if noise exceeds the time of the call
    ratios = {"engine / PyTorch": ms[ENGINE] / peer if peer > 0 else None, "book / engine": ms[BOOK] / ms[ENGINE]}
    return {"what": what, "name": name, "ms": ms, "mb": mb or {}, **ratios}


def memory(maker: str, contenders: tuple[str, ...], *args: object) -> dict[str, float]:
    if not Path("/proc/self/status").exists():
        return {}
    return {name: peak_memory(f"table:{maker}", name, *args) for name in contenders if name != COMPILED}


def networks(what: str, rows: list[Network], contenders: tuple[str, ...], args: argparse.Namespace) -> Iterator[Row]:
    make = {"step": step, "inference": inference}[what]
    for model, side, batch, repeats in rows:
        if args.small:
            side, batch, repeats = min(side, 2 * SMALLEST), min(batch, 2), 1
        given = model, side, batch
        makers = {name: (lambda name=name, given=given: make(name, *given)) for name in contenders}
        ms = timed(makers, args.repeats or repeats)
        mb = {} if args.no_memory else memory(what, contenders, *given)
        yield row(what, f"{model}, {batch} of {side} x {side}", ms, mb)


def operations(contenders: tuple[str, ...], args: argparse.Namespace) -> Iterator[Row]:
    for name in (op.title for op in OPERATIONS):
        ms: dict[str, dict[str, float]] = {}
        for part in ("forward", "backward"):
            makers = {
                who: (lambda who=who, part=part, name=name: operation(who, name, part, args.small))
                for who in contenders
            }
            ms[part] = timed(makers, 1 if args.small else args.repeats or 4)
        for who in set(ms["backward"]) - {BOOK, ENGINE}:  # PyTorch's call includes the forward pass
            ms["backward"][who] -= ms["forward"][who]
        yield row("forward", name, ms["forward"])
        mb = {} if args.no_memory else memory("operation", contenders, name, "both", args.small)
        yield row("backward", name, ms["backward"], mb)


def announced(found: Row) -> Row:
    """Print a row's ratio as soon as it is measured, and return the row."""
    ratio = found["engine / PyTorch"]
    times = "too short to measure" if ratio is None else f"{ratio:.2f} times PyTorch"
    print(f"{found['what']}: {found['name']}: {times}", flush=True)
    return found


def table(rows: list[Row], contenders: tuple[str, ...]) -> None:
    def cell(numbers: Row, who: str) -> object:
        value = numbers.get(who)
        return "" if value is None else value

    with_memory = [who for who in contenders if any(who in r["mb"] for r in rows)]
    header = ["", *(f"{who}, ms" for who in contenders), "engine / PyTorch", "book / engine"]
    header += [f"{who}, MB" for who in with_memory]
    show(
        "book, engine and PyTorch", header,
        [
            [
                f"{r['what']}: {r['name']}", *(cell(r["ms"], who) for who in contenders),
                cell(r, "engine / PyTorch"), r["book / engine"], *(cell(r["mb"], who) for who in with_memory),
            ]
            for r in rows
        ],
    )  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parts = "step", "inference", "operations"
    parser.add_argument("--only", nargs="+", choices=parts, default=list(parts), help="measure only these parts")
    parser.add_argument("--repeats", type=int, help="turns of two measured calls each, for every row")
    parser.add_argument("--no-compile", action="store_true", help="leave out torch.compile, which takes minutes")
    parser.add_argument("--no-memory", action="store_true", help="do not measure peak memory")
    parser.add_argument("--small", action="store_true", help="only test that everything runs; the numbers mean nothing")
    parser.add_argument("--json", metavar="FILE")
    args = parser.parse_args()
    same_threads()
    contenders = CONTENDERS if not args.no_compile and compiles() else CONTENDERS[:-1]
    rows: list[Row] = []
    for what, kinds in (("step", STEPS), ("inference", INFERENCE)):
        if what in args.only:
            rows += map(announced, networks(what, kinds[:1] if args.small else kinds, contenders, args))
    if "operations" in args.only:
        rows += map(announced, operations(contenders, args))
    print(headline("medians"))
    table(rows, contenders)
    rows = others(args.json, rows) + rows
    finish(args.json, {"rows": rows, "contenders": contenders, "repeats": args.repeats}, "torch")


def others(path: str | None, rows: list[Row]) -> list[Row]:
    """Return the rows that an earlier run wrote to the file for other parts."""
    if path is None or not Path(path).exists():
        return []
    measured = {row["what"] for row in rows}
    return [row for row in json.loads(Path(path).read_text(encoding="utf-8"))["rows"] if row["what"] not in measured]


if __name__ == "__main__":
    main()
