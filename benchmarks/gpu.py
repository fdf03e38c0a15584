"""Run all tests and measurements for a GPU with one command:  python benchmarks/gpu.py [--data FOLDER]

The parts run in this order, each in its own process, and each result is written to the file as soon as the part ends:

    tests       the tests in the suite that need CuPy
    agreement   relative differences between CuPy and NumPy for operations and for a training step, by dtype
    probe       launch cost, bandwidth, matrix products, windows, sums and gathers
    step        the training step against PyTorch: channels-last, float32, and half precision for reference
    step_tf32   the same, with both allowed to round the operands of matrix products to TF32
    train       whole runs: the built-in set, or SE-ResNet-20 on the images in --data, with several seeds

Only the steps need PyTorch. The results are printed and recorded, not judged.
"""

import argparse
import json
import os
import re
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
from collect import read
from side_by_side import Call, finish, show
from step import SHAPE, images_and_labels

from se_numpy import engine, models
from se_numpy.arrays import device_module, to_device, to_host
from se_numpy.data.batches import Images, Normalisation, draw
from se_numpy.engine.affine_maps import AffineMaps
from se_numpy.engine.windows import unfold
from se_numpy.optim import SGD
from se_numpy.train import Learner

ROOT = Path(__file__).parent.parent
Record = dict[str, Any]


def tests(args: argparse.Namespace) -> Record:
    """Run the tests on CuPy; record the counts and the names of the failed tests."""
    command = [sys.executable, "-m", "pytest", "-m", "gpu", "-n", "0", "-q", "-rf", "-p", "no:cacheprovider"]
    out = subprocess.run(command, cwd=ROOT, capture_output=True, text=True).stdout
    counts = {what: int(n) for n, what in re.findall(r"(\d+) (passed|failed|errors?|skipped)", out)}
    print(out[-3000:])
    return {"counts": counts, "failed": re.findall(r"^FAILED (\S+)", out, re.MULTILINE), "tail": out[-3000:]}


def agreement(args: argparse.Namespace) -> Record:
    """Measure ‖device - host‖ / ‖host‖ for every result, by operation and dtype."""
    rng = np.random.default_rng(0)
    X, dU = rng.standard_normal((8, 14, 12, 16)), rng.standard_normal((8, 14, 12, 24))
    V, vector = rng.standard_normal((3, 3, 16, 24)) / 12, rng.uniform(0.5, 2, 16)
    W1, W2, labels = rng.standard_normal((4, 16)), rng.standard_normal((16, 4)), np.arange(8) % 5
    cases: dict[str, tuple[Callable[..., Any], tuple[Any, ...]]] = {
        "conv2d": (lambda X, V: engine.conv2d(X, V, padding=1), (X, V)),
        "conv2d_backward": (lambda dU, X, V: engine.conv2d_backward(dU, X, V, padding=1), (dU, X, V)),
        "batch_norm": (engine.batch_norm, (X * 3 + 7, vector, vector)),
        "batch_norm_backward": (engine.batch_norm_backward, (X[::-1].copy(), X, vector, vector)),
        "se_block": (engine.se_block, (X, W1, W2)),
        "se_block_backward": (engine.se_block_backward, (X[::-1].copy(), X, W1, W2)),
        "loss": (engine.softmax_cross_entropy, (X[:, 0, 0, :5] * 4, labels)),
    }  # fmt: skip
    found: Record = {name: {} for name in [*cases, "a whole step"]}
    for dtype in ("float32", "float64"):
        for name, (f, arrays) in cases.items():
            arrays = tuple(a.astype(dtype) if a.dtype.kind == "f" else a for a in arrays)
            on_host, on_device = f(*arrays), f(*(to_device(a, "gpu") for a in arrays))
            pairs = zip(_several(on_host), _several(on_device), strict=True)
            found[name][dtype] = max(_distance(to_host(b), a) for a, b in pairs)
        steps = [_weights_after_a_step(device, dtype) for device in ("cpu", "gpu")]
        found["a whole step"][dtype] = _distance(steps[1], steps[0])
    show("relative difference from NumPy", ["", *found["loss"]], [[k, *map("{:.1e}".format, v.values())]
                                                                 for k, v in found.items()])  # fmt: skip
    return found


def _several(results: Any) -> tuple[Any, ...]:
    return results if isinstance(results, tuple) else (results,)


def _distance(found: np.ndarray, expected: np.ndarray) -> float:
    return float(np.linalg.norm(found - expected) / np.linalg.norm(expected))


def _weights_after_a_step(device: str, dtype: str) -> np.ndarray:
    """Return the change in every parameter after one training step."""
    learner = Learner(models.build("se_resnet8"), SHAPE, 0, device)
    X, labels = images_and_labels(8)
    learner.w = learner.w.astype(dtype)  # everything else gets the same dtype
    before = to_host(learner.w).copy()
    learner.step(to_device(X.astype(dtype), device), to_device(labels, device), SGD(), 0.1)
    return to_host(learner.w) - before


def probe(args: argparse.Namespace) -> Record:
    """Measure small and large calls: microseconds, and bytes or operations per second."""
    cp, B = device_module("gpu"), args.probe_batch
    sync = cp.cuda.Device().synchronize
    rng = np.random.default_rng(0)
    X = to_device(rng.standard_normal((B, 32, 32, 16), np.float32), "gpu")
    small, other, factor = X[:1, :1], cp.empty_like(X), X[0, 0, 0]
    sum_, first = cp.empty_like(small), slice(0, 1)
    rows = to_device(rng.standard_normal((B * 1024, 144), np.float32), "gpu")
    V, out = to_device(rng.standard_normal((144, 16), np.float32), "gpu"), cp.empty((B * 1024, 16), np.float32)
    normalise = Normalisation(np.zeros(3), np.ones(3))
    images = Images(np.zeros((B, *SHAPE), np.uint8), np.zeros(B, int), normalise, "gpu")
    draws = draw(rng, B, augment=True).to("gpu")
    window_bytes, map_bytes = rows.nbytes, X.nbytes
    where = slice(0, B), slice(0, 32), 32, (3, 3), X.dtype
    calls: dict[str, tuple[Call, float, str]] = {
        "a launch: add 512 numbers": (lambda: cp.add(small, small, out=sum_), 0, ""),
        "a launch: our kernel": (lambda: AffineMaps(small, factor, c=factor).into(sum_, first), 0, ""),
        "copy": (lambda: cp.copyto(other, X), 2 * map_bytes, "GB/s"),
        "windows, 3x3": (lambda: list(unfold(AffineMaps(X), *where, before=(1, 1))), window_bytes + map_bytes, "GB/s"),
        "product, rows (., 144) x (144, 16)": (lambda: cp.matmul(rows, V, out=out), 2 * rows.size * 16, "GFLOP/s"),
        "product over rows": (lambda: rows.T @ out, 2 * rows.size * 16, "GFLOP/s"),
        "channel sums of one block: sum((0, 1, 2))": (lambda: X.sum((0, 1, 2)), map_bytes, "GB/s"),
        "channel sums: mean and variance": (lambda: engine.batch_statistics(X), map_bytes, "GB/s"),
        "batch of augmented images": (lambda: images.batch(draws, slice(0, B)), 0, ""),
    }  # fmt: skip
    found: Record = {}
    for name, (call, work, unit) in calls.items():
        ms = _milliseconds(call, sync, args.repeats)
        found[name] = {"us": 1e3 * ms, unit: work / ms / 1e6} if unit else {"us": 1e3 * ms}
    rows_ = [[k, v["us"], next((f"{x:.0f} {u}" for u, x in v.items() if u != "us"), "")] for k, v in found.items()]
    show(f"batch {B}", ["", "us", ""], rows_)
    return found


def step(args: argparse.Namespace, tf32: bool = False) -> Record:
    """Measure a training step in milliseconds, by batch size and contender; PyTorch runs in eager mode."""
    import torch
    from torch_peer import modules

    cp = device_module("gpu")
    device = "cuda" if torch.cuda.is_available() else "cpu"
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = tf32

    def ours(batch: int) -> Call:
        X, labels = (to_device(a, "gpu") for a in images_and_labels(batch))
        learner, sgd = Learner(models.build(args.model), SHAPE, 0, "gpu"), SGD(weight_decay=5e-4)
        return lambda: learner.step(X, labels, sgd, 0.01)

    def theirs(batch: int, half: bool) -> Call:
        X, labels = (torch.from_numpy(a).to(device) for a in images_and_labels(batch))
        X = X.permute(0, 3, 1, 2).contiguous(memory_format=torch.channels_last)
        net = modules(models.build(args.model), SHAPE).to(device, memory_format=torch.channels_last)
        sgd = torch.optim.SGD(net.parameters(), lr=0.01, momentum=0.9, nesterov=True, weight_decay=5e-4)

        def call() -> None:
            sgd.zero_grad(set_to_none=True)
            with torch.autocast(device, torch.float16 if device == "cuda" else torch.bfloat16, enabled=half):
                loss = torch.nn.functional.cross_entropy(net(X), labels)
            loss.backward()
            sgd.step()

        return call

    def wait() -> None:
        cp.cuda.Device().synchronize()
        if device == "cuda":
            torch.cuda.synchronize()

    found: Record = {}
    for batch in args.batches:
        contenders = {"se_numpy": ours(batch), "PyTorch": theirs(batch, False), "PyTorch, half": theirs(batch, True)}
        ms = {name: _milliseconds(call, wait, args.repeats) for name, call in contenders.items()}
        again = {name: _milliseconds(call, wait, args.repeats) for name, call in contenders.items()}
        ms = {name: min(ms[name], again[name]) for name in ms}
        found[str(batch)] = {
            "ms": ms, "ratio": ms["se_numpy"] / ms["PyTorch"], "images_per_second": 1e3 * batch / ms["se_numpy"]
        }  # fmt: skip
        print(f"batch {batch}: {json.dumps(found[str(batch)])}", flush=True)
    return {"tf32": tf32, "model": args.model, "by_batch": found}


def _milliseconds(call: Call, wait: Callable[[], None], repeats: int) -> float:
    """Return the median time of a call, measured over a few calls in a row between two synchronisations."""
    calls, times = 5, []
    call()
    wait()
    for _ in range(repeats):
        start = time.perf_counter()
        for _ in range(calls):
            call()
        wait()
        times.append(1e3 * (time.perf_counter() - start) / calls)
    return statistics.median(times)


def train(args: argparse.Namespace) -> Record:
    """Run the README's training command on the GPU and time it as a whole."""
    runs = []
    data = ["--data", args.data, "--model", args.model] if args.data else []
    more = [f"--epochs={args.epochs}"] if args.epochs else []
    with tempfile.TemporaryDirectory() as folder:
        for seed in range(args.seeds):
            out = Path(folder) / f"run{seed}"
            command = [sys.executable, "-m", "se_numpy", "train", *data, *more, *args.train.split()]
            start = time.perf_counter()
            subprocess.run([*command, "--seed", str(seed), "--device", args.device, "--out", str(out)], check=True)
            runs.append({**read(out), "seconds_with_start": time.perf_counter() - start})
            print(json.dumps(runs[-1]), flush=True)
    return {"options": [*more, *args.train.split()], "runs": runs}


PARTS: dict[str, Callable[[argparse.Namespace], Record]] = {
    "tests": tests,
    "agreement": agreement,
    "probe": probe,
    "step": step,
    "step_tf32": lambda args: step(args, tf32=True),
    "train": train,
}


def card(cp: ModuleType) -> Record:
    """Return the GPU's name and memory, and the versions of CUDA, the driver and CuPy."""
    properties = cp.cuda.runtime.getDeviceProperties(0)
    return {
        "gpu": properties["name"].decode(), "memory_gb": properties["totalGlobalMem"] / 1e9,
        "cuda": cp.cuda.runtime.runtimeGetVersion(), "driver": cp.cuda.runtime.driverGetVersion(),
        "cupy": cp.__version__,
    }  # fmt: skip


def parser() -> argparse.ArgumentParser:
    p = argparse.ArgumentParser(description=__doc__.splitlines()[0].partition(":  ")[0])
    p.add_argument("--only", nargs="+", choices=list(PARTS), default=list(PARTS), metavar="PART", help=", ".join(PARTS))
    p.add_argument("--data", metavar="PATH", help="folder with CIFAR-10, for train (default: the built-in set)")
    p.add_argument("--model", default="se_resnet20", help="network for the steps, and for train with --data")
    p.add_argument("--batches", type=int, nargs="+", default=[128, 512, 1024], metavar="N")
    p.add_argument("--probe-batch", type=int, default=512, metavar="N")
    p.add_argument("--repeats", type=int, default=20)
    p.add_argument("--seeds", type=int, default=3, metavar="N", help="number of training runs")
    p.add_argument("--epochs", type=int, metavar="N", help="epochs per run (default: the trainer's)")
    p.add_argument("--train", default="", metavar="OPTIONS", help='more trainer options, e.g. "--batch-size 512"')
    p.add_argument("--limit", type=float, default=540, metavar="SECONDS", help="time limit for each part")
    p.add_argument("--json", metavar="FILE", default=str(ROOT / "benchmarks" / "results" / "gpu.json"))
    p.add_argument("--part", help=argparse.SUPPRESS)  # set by the parent process: run one part only
    p.add_argument("--device", default="gpu", help=argparse.SUPPRESS)
    return p


def main() -> None:
    args = parser().parse_args()
    if args.part:
        Path(args.json).write_text(json.dumps(PARTS[args.part](args)))
        return
    try:
        record: Record = card(device_module("gpu"))
    except RuntimeError as error:
        sys.exit(f"gpu.py: {error}")
    for part in args.only:
        print(f"\n==== {part}", flush=True)
        record[part] = _in_a_process(part, args.limit)
        finish(args.json, record, "cupy", "torch")


def _in_a_process(part: str, limit: float) -> Record:
    """Run a part in its own process; return its record or its error, so that the other parts still run."""
    environment = {**os.environ, "CUPY_TF32": str(int(part == "step_tf32"))}
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "part.json"
        command = [sys.executable, __file__, *sys.argv[1:], "--part", part, "--json", str(file)]
        start = time.perf_counter()
        try:
            subprocess.run(command, env=environment, check=True, timeout=limit)
            return {**json.loads(file.read_text()), "part_seconds": time.perf_counter() - start}
        except (subprocess.CalledProcessError, subprocess.TimeoutExpired) as error:
            print(f"{part}: {error}", flush=True)
            return {"error": str(error), "part_seconds": time.perf_counter() - start}


if __name__ == "__main__":
    main()
