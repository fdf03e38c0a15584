"""Run all tests and measurements for a GPU with one command:  python benchmarks/gpu.py [--data FOLDER]

The parts run in this order, each in its own process:

    tests       the tests in the suite that need CuPy
    agreement   relative differences between CuPy and NumPy for operations and for a training step, by dtype
    probe       launch cost, bandwidth, matrix products, windows, sums and gathers
    kernels     the time that every kernel of a training step takes
    step        the training step against PyTorch: eager, channels-last, and half precision for reference
    step_tf32   the same, with both allowed to round the operands of matrix products to TF32
    train       whole runs: the built-in set, or SE-ResNet-20 on the images in --data, with several seeds
    ablation    a table of ablations, on the built-in set or on --data

Every result is added to the JSON file as it comes; what other commands have written there stays. A part that fails or
takes too long does not keep the others from running. Only the comparison of the steps needs PyTorch, and only the tests
need pytest. The exit code is 1 if anything failed or was missing. GPU.md says what to expect.
"""

import argparse
import importlib.util
import json
import os
import re
import signal
import statistics
import subprocess
import sys
import tempfile
import time
import traceback
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
from collect import read
from side_by_side import Call, environment_record, finish, show
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
ADDED = ("by_batch", "runs")  # results of several commands that stand side by side


class MissingPackage(Exception):
    """A part, or the rest of it, needs a package that is not installed."""


def tests(args: argparse.Namespace) -> Iterator[Record]:
    """Run the tests on CuPy; record the counts and the names of the failed tests."""
    require("pytest")
    command = [sys.executable, "-m", "pytest", "-m", "gpu", "-n", "0", "-q", "-rf", "-p", "no:cacheprovider"]
    done = subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    out = done.stdout
    counts = {what: int(n) for n, what in re.findall(r"(\d+) (passed|failed|errors?|skipped)", out)}
    print(out[-3000:])
    failed = re.findall(r"^(?:FAILED|ERROR) (\S+)", out, re.MULTILINE)
    yield {"counts": counts, "failed": failed, "tail": out[-3000:]}
    if done.returncode or not counts.get("passed"):
        raise RuntimeError(f"pytest ended with {done.returncode}; {counts.get('passed', 0)} tests passed")


def require(package: str) -> None:
    if importlib.util.find_spec(package) is None:
        raise MissingPackage(f"{package} is not installed; run pip install {package}")


def agreement(args: argparse.Namespace) -> Iterator[Record]:
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
    yield found


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


def probe(args: argparse.Namespace) -> Iterator[Record]:
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
    yield found


def kernels(args: argparse.Namespace) -> Iterator[Record]:
    """Measure every kernel of a training step between two events: milliseconds per step, by kernel and batch size."""
    cp = device_module("gpu")
    sgd, spans = SGD(weight_decay=5e-4), []

    class Timed(cp.RawKernel):  # type: ignore[misc]
        def __call__(self, *launch: Any, **more: Any) -> None:
            start, end = cp.cuda.Event(), cp.cuda.Event()
            start.record()
            super().__call__(*launch, **more)
            end.record()
            spans.append((self.name, start, end))

    cp.RawKernel = Timed
    found: Record = {}
    for batch in args.batches:
        X, labels = (to_device(a, "gpu") for a in images_and_labels(batch))
        learner = Learner(models.build(args.model), SHAPE, 0, "gpu")
        times: dict[str, list[float]] = defaultdict(list)
        for repeat in range(args.repeats + 1):
            spans.clear()
            learner.step(X, labels, sgd, 0.01)
            cp.cuda.Device().synchronize()
            totals: dict[str, float] = defaultdict(float)
            for name, start, end in spans:
                totals[name] += cp.cuda.get_elapsed_time(start, end)
            for name, ms in totals.items():
                times[name] += [ms] * (repeat > 0)  # the first step compiles
        launches = [name for name, *_ in spans]
        found[str(batch)] = {
            name: {"launches": launches.count(name), "ms": statistics.median(ms)} for name, ms in times.items()
        }
        slowest = sorted(found[str(batch)].items(), key=lambda item: -item[1]["ms"])
        show(f"batch {batch}", ["kernel", "launches", "ms"], [[k, v["launches"], v["ms"]] for k, v in slowest])
        yield {"model": args.model, "by_batch": found}


def step(args: argparse.Namespace, tf32: bool = False) -> Iterator[Record]:
    """Measure a training step in milliseconds, by batch size and contender; PyTorch runs in eager mode."""
    sync = device_module("gpu").cuda.Device().synchronize
    found: Record = {}
    for batch in args.batches:
        X, labels = (to_device(a, "gpu") for a in images_and_labels(batch))
        learner, sgd = Learner(models.build(args.model), SHAPE, 0, "gpu"), SGD(weight_decay=5e-4)

        def ours(X=X, labels=labels, learner=learner, sgd=sgd) -> object:
            return learner.step(X, labels, sgd, 0.01)

        ms = {"se_numpy": _milliseconds(ours, sync, args.repeats)}
        found[str(batch)] = {"ms": ms, "images_per_second": 1e3 * batch / ms["se_numpy"]}
        yield {"tf32": tf32, "model": args.model, "by_batch": found}  # without PyTorch, these times are kept
        for name, (call, wait) in torch_steps(args.model, batch, tf32).items():
            ms[name] = _milliseconds(call, wait, args.repeats)
        ms["se_numpy"] = min(ms["se_numpy"], _milliseconds(ours, sync, args.repeats))
        found[str(batch)] |= {
            "images_per_second": 1e3 * batch / ms["se_numpy"],
            "ratio": {name: ms["se_numpy"] / other for name, other in ms.items() if name != "se_numpy"},
        }
        print(f"batch {batch}: {json.dumps(found[str(batch)])}", flush=True)
        yield {"tf32": tf32, "model": args.model, "by_batch": found}


def torch_steps(model: str, batch: int, tf32: bool) -> dict[str, tuple[Call, Call]]:
    """Return PyTorch's steps by name, each with a function that waits until it is done; none if it is not installed."""
    if importlib.util.find_spec("torch") is None:
        return {}
    import torch
    from torch_peer import modules

    device = "cuda" if torch.cuda.is_available() else "cpu"
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = tf32

    def contender(layout: torch.memory_format, half: bool = False) -> tuple[Call, Call]:
        X, labels = (torch.from_numpy(a).to(device) for a in images_and_labels(batch))
        X = X.permute(0, 3, 1, 2).contiguous(memory_format=layout)
        net = modules(models.build(model), SHAPE).to(device, memory_format=layout)
        sgd = torch.optim.SGD(net.parameters(), lr=0.01, momentum=0.9, nesterov=True, weight_decay=5e-4)

        def call() -> None:
            sgd.zero_grad(set_to_none=True)
            with torch.autocast(device, torch.float16 if device == "cuda" else torch.bfloat16, enabled=half):
                loss = torch.nn.functional.cross_entropy(net(X), labels)
            loss.backward()
            sgd.step()

        return call, torch.cuda.synchronize if device == "cuda" else lambda: None

    return {
        "PyTorch": contender(torch.contiguous_format),
        "PyTorch, channels-last": contender(torch.channels_last),
        "PyTorch, half": contender(torch.channels_last, half=True),
    }


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


def train(args: argparse.Namespace) -> Iterator[Record]:
    """Run the README's training command on the GPU and time it as a whole, once for each seed."""
    runs: Record = {}
    data = ["--data", args.data, "--model", args.model] if args.data else []
    more = [f"--epochs={args.epochs}"] if args.epochs else []
    settings = [*data[2:], *more, *args.train.split()]
    with tempfile.TemporaryDirectory() as folder:
        for seed in args.seeds:
            out = Path(folder) / f"run{seed}"
            command = [sys.executable, "-m", "se_numpy", "train", *data, *more, *args.train.split()]
            start = time.perf_counter()
            subprocess.run([*command, "--seed", str(seed), "--device", args.device, "--out", str(out)], check=True)
            run = {**read(out), "seconds_with_start": time.perf_counter() - start}
            runs[" ".join([*settings, "--seed", str(seed)])] = run
            print(json.dumps(run), flush=True)
            yield {"runs": runs}


def ablation(args: argparse.Namespace) -> Iterator[Record]:
    """Run a table of ablations on the GPU and time it as a whole; its tables are written beside the JSON file."""
    out = Path(args.json).with_suffix("") / "ablations"
    data = ["--data", args.data] if args.data else []
    command = [sys.executable, "-m", "se_numpy", "ablate", "--table", args.table, "--seeds", "0", "--out", str(out)]
    more = [f"--epochs={args.epochs}"] if args.epochs else []
    start = time.perf_counter()
    subprocess.run([*command, *data, *more, "--device", args.device], check=True)
    yield {"runs": {args.table: {"seconds": time.perf_counter() - start, "folder": str(out)}}}


PARTS: dict[str, Callable[[argparse.Namespace], Iterator[Record]]] = {
    "tests": tests,
    "agreement": agreement,
    "probe": probe,
    "kernels": kernels,
    "step": step,
    "step_tf32": lambda args: step(args, tf32=True),
    "train": train,
    "ablation": ablation,
}
NEEDED = {"tests": "pytest", "step": "torch", "step_tf32": "torch"}  # to be complete


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
    p.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2], metavar="N", help="a training run for each seed")
    p.add_argument("--epochs", type=int, metavar="N", help="epochs per run (default: the trainer's)")
    p.add_argument("--train", default="", metavar="OPTIONS", help='more trainer options, e.g. "--batch-size 512"')
    p.add_argument("--table", default="reduction", metavar="NAME", help="table of ablations (default: reduction)")
    p.add_argument("--limit", type=float, default=540, metavar="SECONDS", help="time limit for each part")
    p.add_argument("--json", metavar="FILE", default=str(ROOT / "benchmarks" / "results" / "gpu.json"))
    p.add_argument("--part", help=argparse.SUPPRESS)  # set by the parent process: run one part only
    p.add_argument("--device", default="gpu", help=argparse.SUPPRESS)
    return p


def main() -> None:
    args = parser().parse_args()
    if args.part:
        run_part(args)
        return
    try:
        measured_on = card(device_module("gpu"))
    except RuntimeError as error:
        sys.exit(f"gpu.py: {error}")
    Path(args.json).parent.mkdir(parents=True, exist_ok=True)
    errors = {}
    for part in args.only:
        print(f"\n==== {part}", flush=True)
        start = time.perf_counter()
        error = in_a_process(part, args)
        result = {"part_seconds": time.perf_counter() - start, "measured_on": measured_on, "error": error}
        add(args.json, part, result)
        if error:
            errors[part] = error
            print(f"{part}: {error}", flush=True)
    finish(args.json, written(args.json), "cupy", "torch")
    print("\nall went well" if not errors else f"\nnot all went well: {', '.join(errors)}")
    sys.exit(bool(errors))


def run_part(args: argparse.Namespace) -> None:
    """Run one part in this process, and add each of its results to the file."""
    earlier = {key: written(args.json).get(args.part, {}).get(key, {}) for key in ADDED}
    add(args.json, args.part, None)
    try:
        for found in PARTS[args.part](args):
            both = {key: {**earlier[key], **found[key]} for key in ADDED if key in found}
            add(args.json, args.part, {**found, **both, "versions": environment_record("cupy", "torch")["versions"]})
        if args.part in NEEDED:
            require(NEEDED[args.part])
    except Exception as error:
        if not isinstance(error, MissingPackage):
            traceback.print_exc()
        add(args.json, args.part, {"error": str(error) or type(error).__name__})
        sys.exit(1)


def written(file: str) -> Record:
    """Return what the file holds, or {} if there is none."""
    path = Path(file)
    record: Record = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    return record


def add(file: str, part: str, result: Record | None) -> None:
    """Add a result to those of the part; None removes them.  The file is replaced as a whole."""
    record = written(file)
    record[part] = {} if result is None else {**record.get(part, {}), **result}
    unfinished = Path(f"{file}.unfinished")
    unfinished.write_text(json.dumps(record, indent=2) + "\n", encoding="utf-8")
    unfinished.replace(file)


def in_a_process(part: str, args: argparse.Namespace) -> str | None:
    """Run a part in its own process, which ends with all that it has started; return what went wrong, or None."""
    environment = {**os.environ, "CUPY_TF32": str(int(part == "step_tf32"))}
    command = [sys.executable, *COMMAND, *sys.argv[1:], "--part", part]
    process = subprocess.Popen(command, env=environment, start_new_session=True)
    try:
        process.wait(args.limit)
    except subprocess.TimeoutExpired:
        return f"stopped after {args.limit:g} seconds; --limit allows more"
    finally:
        end_group(process)
    if not process.returncode:
        return None
    return str(written(args.json).get(part, {}).get("error") or f"exit status {process.returncode}")


def end_group(process: subprocess.Popen[bytes]) -> None:
    """Kill a process and those that it has started, if any are left."""
    if hasattr(os, "killpg"):
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(process.pid, signal.SIGKILL)
    else:
        process.kill()
    process.wait()


COMMAND = [__file__]  # what runs a part

if __name__ == "__main__":
    main()
