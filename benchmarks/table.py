"""What the engine buys, in one table:  python benchmarks/table.py [--only step inference operations] [--json FILE]

The book, the engine, and PyTorch in both layouts and, where a C++ compiler is found, through torch.compile: training
steps, inference (in small batches, and on pictures of 224 x 224), and the operations of the paper's networks. Times are
medians of calls in turn; a backward pass of PyTorch is forward and backward together, minus forward. Memory is what
five calls take above what the process had before its first, in a process of its own; it is left out for torch.compile,
whose compiler takes more than the network.

With ``--only``, the rows of other parts that FILE holds already stay there.

``engine / PyTorch`` is the engine's time over that of PyTorch's faster layout (not torch.compile's), ``book / engine``
what the engine saves.
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
from step import CHANNELS_LAST, DEFAULT, descending
from torch_peer import modules

from se_numpy import engine, layers, models
from se_numpy.layers import SE, BatchNorm, Conv, GlobalAveragePool, Layer, Linear, Pool, ReLU, Shape, serial
from se_numpy.optim import SGD
from se_numpy.train import Learner

BOOK, ENGINE, COMPILED = "book", "engine", "torch.compile"
CONTENDERS = BOOK, ENGINE, DEFAULT, CHANNELS_LAST, COMPILED
KINDS = "step", "inference", "forward", "backward"
SLOW_MS = 700.0  # a call that takes longer is given one turn, of two measured calls
SMALLEST = 16  # pixels a side with --small

Row = dict[str, Any]


class Network(NamedTuple):
    """A row of steps or of inference: a model, the side of its images, how many of them, how many turns."""

    model: str
    side: int
    batch: int
    repeats: int


class Operation(NamedTuple):
    """A row of operations: layers, the shape of what they are given, and how many of these."""

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
    """The network in PyTorch, in the contender's layout; compiled, if it is to be, at its first call."""
    theirs = modules(net, shape)
    theirs = theirs.to(memory_format=torch.contiguous_format if contender == DEFAULT else torch.channels_last)
    if contender != COMPILED:
        return theirs
    torch._dynamo.reset()  # else it gives up after eight networks in one process, and runs them as they are
    return torch.compile(theirs)  # type: ignore[return-value]


def as_tensor(X: np.ndarray, contender: str) -> torch.Tensor:
    if X.ndim != 4:
        return torch.from_numpy(X)
    there = torch.from_numpy(X).permute(0, 3, 1, 2)
    return there.contiguous() if contender == DEFAULT else there


def step(contender: str, model: str, side: int, batch: int) -> Call:
    """One training step: forward, backward and SGD."""
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
    return descending(module(net, shape, contender), as_tensor(X, contender), torch.from_numpy(labels))


def inference(contender: str, model: str, side: int, batch: int) -> Call:
    """One forward pass by the running statistics, batch norm folded away in the engine."""
    engine.keep_freed_memory()
    X, net, shape = images(side, batch), models.build(model), (side, side, 3)
    if contender in (BOOK, ENGINE):
        params, state = layers.init(net, shape, np.random.default_rng(0))
        if contender == BOOK:
            return lambda: net.forward(params, state, X)
        predict = engine.compile(net).predictor(params, state)
        return lambda: predict(X)
    theirs, there = module(net, shape, contender).eval(), as_tensor(X, contender)

    def infer() -> object:
        with torch.no_grad():
            return theirs(there)

    return infer


def operation(contender: str, name: str, part: str = "both", small: bool = False) -> Call:
    """One operation: its forward pass, its backward pass alone, which in PyTorch is both, or both."""
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
    theirs, there = module(layer, op.shape, contender), as_tensor(X, contender).requires_grad_()
    if part == "forward":
        return lambda: theirs(there)
    wanted = [there, *theirs.parameters()]
    return lambda: torch.autograd.grad(theirs(there), wanted, dY)


def ours(net: Any, start: tuple[Any, Any], X: np.ndarray, dY: np.ndarray, part: str) -> Call:
    """A layer forward, backward or both, by the book or in the engine."""
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

    def backward() -> object:  # each call gets its own copy of the cache, because backward takes it apart
        mine = list(kept) if isinstance(kept, list) else replace(kept, inside=list(kept.inside))
        return net.backward(params, mine, dY)

    return backward


def smaller(op: Operation) -> Operation:
    """The same on few and small maps, to see that it runs."""
    *sides, C = op.shape
    return op._replace(shape=(*(min(side, SMALLEST) for side in sides), C), batch=2)


def compiles() -> bool:
    """Whether torch.compile works here: it needs a C++ compiler."""
    try:
        torch.compile(lambda x: x.relu() + 1)(torch.ones(3))
    except Exception as error:
        print(f"torch.compile is left out: {str(error).splitlines()[0]}")
        return False
    return True


def timed(makers: dict[str, Callable[[], Call]], repeats: int) -> dict[str, float]:
    """Medians by contender: slow ones have a single turn; what cannot be compiled is left out."""
    quick, slow = {}, {}
    for name, make in makers.items():
        try:
            call = make()
            first, second = milliseconds(call), milliseconds(call)
        except Exception as error:
            if name != COMPILED:
                raise
            print(f"torch.compile is left out of a row: {str(error).splitlines()[0]}")
            continue
        (slow if min(first, second) > SLOW_MS else quick)[name] = call
    return medians(quick, repeats) | medians(slow, 1)


def row(what: str, name: str, ms: dict[str, float], mb: dict[str, float] | None = None) -> Row:
    peer = min(ms[layout] for layout in (DEFAULT, CHANNELS_LAST))  # below 0 only where noise is larger than the call
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
        for who in set(ms["backward"]) - {BOOK, ENGINE}:  # PyTorch's is forward and backward together
            ms["backward"][who] -= ms["forward"][who]
        yield row("forward", name, ms["forward"])
        mb = {} if args.no_memory else memory("operation", contenders, name, "both", args.small)
        yield row("backward", name, ms["backward"], mb)


def told(found: Row) -> Row:
    """The row, said while the others are still to come."""
    ratio = found["engine / PyTorch"]
    times = "too short to tell" if ratio is None else f"{ratio:.2f} times PyTorch"
    print(f"{found['what']}: {found['name']}: {times}", flush=True)
    return found


def table(rows: list[Row], contenders: tuple[str, ...]) -> None:
    def cell(numbers: Row, who: str) -> object:
        value = numbers.get(who)
        return "" if value is None else value

    remembered = [who for who in contenders if any(who in r["mb"] for r in rows)]
    header = ["", *(f"{who}, ms" for who in contenders), "engine / PyTorch", "book / engine"]
    header += [f"{who}, MB" for who in remembered]
    show(
        "what the engine buys", header,
        [
            [
                f"{r['what']}: {r['name']}", *(cell(r["ms"], who) for who in contenders),
                cell(r, "engine / PyTorch"), r["book / engine"], *(cell(r["mb"], who) for who in remembered),
            ]
            for r in rows
        ],
    )  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parts = "step", "inference", "operations"
    parser.add_argument("--only", nargs="+", choices=parts, default=list(parts), help="some of the rows")
    parser.add_argument("--repeats", type=int, help="turns of every row, of two measured calls each")
    parser.add_argument("--no-compile", action="store_true", help="leave torch.compile out: it takes minutes")
    parser.add_argument("--no-memory", action="store_true", help="leave out the processes that measure peak memory")
    parser.add_argument("--small", action="store_true", help="to see that all of it runs; the figures mean nothing")
    parser.add_argument("--json", metavar="FILE")
    args = parser.parse_args()
    same_threads()
    contenders = CONTENDERS if not args.no_compile and compiles() else CONTENDERS[:-1]
    rows: list[Row] = []
    for what, kinds in (("step", STEPS), ("inference", INFERENCE)):
        if what in args.only:
            rows += map(told, networks(what, kinds[:1] if args.small else kinds, contenders, args))
    if "operations" in args.only:
        rows += map(told, operations(contenders, args))
    print(headline("medians"))
    table(rows, contenders)
    rows = others(args.json, rows) + rows
    finish(args.json, {"rows": rows, "contenders": contenders, "repeats": args.repeats}, "torch")


def others(path: str | None, rows: list[Row]) -> list[Row]:
    """The rows that an earlier run with other parts left in the file."""
    if path is None or not Path(path).exists():
        return []
    measured = {row["what"] for row in rows}
    return [row for row in json.loads(Path(path).read_text(encoding="utf-8"))["rows"] if row["what"] not in measured]


if __name__ == "__main__":
    main()
