"""Profile a training step by operation:  python benchmarks/where_time_goes.py [--threads N]

The two tables show exclusive time: time that a function spends in another function in the same table counts only for
the latter. The first table lists operations on the main thread; with "the rest" it adds up to the whole step. The
second lists functions that run inside blocks, with their wall time summed over all threads. It does not include NumPy
calls between them, waiting for the interpreter lock, or waiting for the last block.

This file is not called profile.py, because that would shadow the standard library's ``profile``, which ``cProfile`` and
therefore PyTorch's optimisers import.
"""

import argparse
import functools
import importlib
import os
import statistics
import sys
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
from side_by_side import finish, headline, milliseconds, show

from se_numpy import models
from se_numpy.engine import keep_freed_memory, threads
from se_numpy.optim import SGD
from se_numpy.train import Learner

OPERATIONS = (
    "engine.conv:convolve",
    "engine.conv:convolve_backward",
    "engine.norm:finalize_moments",
    "engine.norm:bn_grad_sums",
    "engine.norm:merged",
    "engine.norm:move_running",
    "engine.conv_bn:_through_relu",
    "engine.functions:relu_backward",
    "engine.affine_maps:AffineMaps.write",
    "engine.lanes:add",
    "engine.gate:excite",
    "engine.gate:excite_backward",
    "engine.functions:squeeze",
    "se:squeeze_backward",
    "layers.simple:Linear.forward",
    "layers.simple:Linear.backward",
    "engine.functions:softmax_cross_entropy",
    "engine.functions:softmax_cross_entropy_backward",
    "tree:flatten",
    "optim:SGD.step",
)
INSIDE_BLOCKS = (
    "engine.windows:unfold",
    "engine.matmul:product",
    "engine.matmul:product_over_rows",
    "engine.affine_maps:AffineMaps.into",
    "engine.norm:part_of_block",
    "engine.norm:bn_grad_part",
)


class Clock:
    """A timer of exclusive time by name, on any number of threads."""

    def __init__(self) -> None:
        self.spent: list[tuple[str, float]] = []  # list.append is thread-safe
        self._local = threading.local()

    @contextmanager
    def during(self, name: str) -> Iterator[None]:
        inner = self._local.__dict__.setdefault("inner", [])  # per running timer: time spent in timers inside it
        inner.append(0.0)
        start = time.perf_counter()
        try:
            yield
        finally:
            elapsed = time.perf_counter() - start
            self.spent.append((name, elapsed - inner.pop()))
            if inner:
                inner[-1] += elapsed

    def per_step(self, steps: int) -> dict[str, dict[str, float]]:
        """Return the milliseconds and calls per step for each name, longest first."""
        found: dict[str, dict[str, float]] = defaultdict(lambda: {"ms": 0.0, "calls": 0.0})
        for name, seconds in self.spent:
            found[name]["ms"] += 1e3 * seconds / steps
            found[name]["calls"] += 1 / steps
        return dict(sorted(found.items(), key=lambda item: -item[1]["ms"]))


def by_kind(name: str, arguments: tuple[Any, ...], keywords: dict[str, Any]) -> str:
    """Return the name of a call's row; for convolutions it includes kernel, stride, and whether dX is computed.

    The filters are the last positional argument.
    """
    if not name.startswith("convolve"):
        return name
    kh, kw = arguments[-1].shape[:2]
    alone = "" if keywords.get("input_gradient", True) else ", filters only"
    return f"{name} {kh}x{kw} /{keywords['stride']}{alone}"


def timed(function: Callable[..., Any], name: str, clock: Clock) -> Callable[..., Any]:
    @functools.wraps(function)
    def call(*arguments: Any, **keywords: Any) -> Any:
        with clock.during(by_kind(name, arguments, keywords)):
            return function(*arguments, **keywords)

    return call


def timed_iterator(function: Callable[..., Iterator[Any]], name: str, clock: Clock) -> Callable[..., Iterator[Any]]:
    """Return the iterator with a timer around the computation of each item, but not around its use."""

    @functools.wraps(function)
    def call(*arguments: Any, **keywords: Any) -> Iterator[Any]:
        items = function(*arguments, **keywords)
        while True:
            with clock.during(name):
                item = next(items, items)
            if item is items:
                return
            yield item

    return call


def time_all(names: tuple[str, ...], clock: Clock) -> None:
    """Wrap each of these functions in a timer, in every module of the library that imported it."""
    for where in names:
        module, _, path = where.partition(":")
        *outer, name = path.split(".")
        home = functools.reduce(getattr, outer, importlib.import_module(f"se_numpy.{module}"))
        function = getattr(home, name)
        wrapped = (timed_iterator if name == "unfold" else timed)(function, path, clock)
        if outer:
            setattr(home, name, wrapped)
            continue
        for known in [m for k, m in sys.modules.items() if k.partition(".")[0] == "se_numpy"]:
            for alias in [a for a, value in vars(known).items() if value is function]:
                setattr(known, alias, wrapped)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", default="se_resnet20")
    parser.add_argument("--batch", type=int, default=128)
    parser.add_argument("--repeats", type=int, default=10, help="number of steps without timers and again with them")
    parser.add_argument("--threads", type=int, metavar="N", help="number of threads, like SE_NUMPY_THREADS")
    parser.add_argument("--json", metavar="FILE")
    args = parser.parse_args()
    if args.threads:
        os.environ["SE_NUMPY_THREADS"] = str(args.threads)
    keep_freed_memory()

    rng = np.random.default_rng(0)
    X, labels = rng.standard_normal((args.batch, 32, 32, 3), np.float32), rng.integers(0, 10, args.batch)
    learner, sgd = Learner(models.build(args.model), (32, 32, 3), seed=0), SGD(weight_decay=5e-4)

    def step() -> object:
        return learner.step(X, labels, sgd, 0.01)

    def mean_of_steps() -> tuple[float, float]:
        times = [milliseconds(step) for _ in range(args.repeats)]
        return statistics.mean(times), statistics.median(times)

    for _ in range(2):
        step()
    _, untimed = mean_of_steps()
    operations, inside = Clock(), Clock()
    time_all(OPERATIONS, operations)
    time_all(INSIDE_BLOCKS, inside)
    whole, _ = mean_of_steps()
    found = {"operations": operations.per_step(args.repeats), "inside_blocks": inside.per_step(args.repeats)}
    rest = whole - sum(row["ms"] for row in found["operations"].values())
    found["operations"]["the rest"] = {"ms": rest, "calls": 1.0}

    print(headline(f"{args.model}, batch {args.batch}: a training step"))
    print(f"{untimed:.1f} ms without timers (median), {whole:.1f} ms with them (mean)")
    titles = {"operations": ("operations", whole), "inside_blocks": ("inside blocks, all threads", whole * threads())}
    for key, (title, total) in titles.items():
        rows = [[name, row["ms"], 100 * row["ms"] / total, f"{row['calls']:.0f}"] for name, row in found[key].items()]
        show(title, ["", "ms", "%", "calls"], rows)
    record = {"model": args.model, "batch": args.batch, "untimed_ms": untimed, "timed_ms": whole, **found}
    finish(args.json, {**record, "repeats": args.repeats})


if __name__ == "__main__":
    main()
