"""One training step, this library and PyTorch side by side:  python benchmarks/step.py [--json FILE]

Forward, backward and SGD of SE-ResNet-20 (r = 4) on a batch of 128 images, float32, the same network with the same
weights in both, steps taken in turn so that whatever else the machine does hits both. PyTorch in its default layout
and channels-last; the ratio is to its faster one. Peak memory is measured in a process of its own for each.
"""

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import time
from collections.abc import Callable

import numpy as np

SHAPE = (32, 32, 3)


def ours(model: str, X: np.ndarray, labels: np.ndarray) -> Callable[[], object]:
    from se_numpy import models
    from se_numpy.backend import keep_freed_memory
    from se_numpy.optim import SGD
    from se_numpy.train import Learner

    keep_freed_memory()  # as the trainer does; in this process PyTorch's arrays gain by it too
    learner, sgd = Learner(models.build(model), SHAPE, seed=0), SGD(weight_decay=5e-4)
    return lambda: learner.step(X, labels, sgd, 0.01)


def torchs(model: str, X: np.ndarray, labels: np.ndarray, channels_last: bool) -> Callable[[], object]:
    import torch
    from torch_peer import modules

    from se_numpy import models

    layout = torch.channels_last if channels_last else torch.contiguous_format
    net = modules(models.build(model), SHAPE).to(memory_format=layout)
    sgd = torch.optim.SGD(net.parameters(), lr=0.01, momentum=0.9, nesterov=True, weight_decay=5e-4)
    images = torch.from_numpy(X).permute(0, 3, 1, 2).contiguous(memory_format=layout)
    targets = torch.from_numpy(labels)

    def step() -> object:
        sgd.zero_grad(set_to_none=True)
        loss = torch.nn.functional.cross_entropy(net(images), targets)
        loss.backward()
        sgd.step()
        return loss

    return step


def contenders(model: str, batch: int) -> dict[str, Callable[[], Callable[[], object]]]:
    rng = np.random.default_rng(0)
    X, labels = rng.standard_normal((batch, *SHAPE), np.float32), rng.integers(0, 10, batch)
    return {
        "se_numpy": lambda: ours(model, X, labels),
        "PyTorch, default layout": lambda: torchs(model, X, labels, channels_last=False),
        "PyTorch, channels-last": lambda: torchs(model, X, labels, channels_last=True),
    }


def peak_memory(name: str, model: str, batch: int) -> float:
    """MB that five steps take above what the process had before its first one, in a process of its own."""
    code = (
        "import sys; sys.path.insert(0, sys.argv[1]); import step\n"
        "def peak():  # of this process alone, which resource.getrusage is not after a fork\n"
        "    return next(int(line.split()[1]) for line in open('/proc/self/status') if line.startswith('VmHWM'))\n"
        "one = step.contenders(sys.argv[3], int(sys.argv[4]))[sys.argv[2]]()\n"
        "before = peak(); [one() for _ in range(5)]; print((peak() - before) / 1024)"
    )
    here = os.path.dirname(os.path.abspath(__file__))
    out = subprocess.run(
        [sys.executable, "-c", code, here, name, model, str(batch)], check=True, capture_output=True, text=True
    )
    return float(out.stdout)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", default="se_resnet20")
    parser.add_argument("--batch", type=int, default=128)
    parser.add_argument("--repeats", type=int, default=20)
    parser.add_argument("--json", metavar="FILE")
    args = parser.parse_args()

    import torch

    from se_numpy.backend import threads

    torch.set_num_threads(threads())
    makers = contenders(args.model, args.batch)
    steps = {name: make() for name, make in makers.items()}
    times: dict[str, list[float]] = {name: [] for name in steps}
    for i in range(args.repeats + 3):
        for name, step in steps.items():
            start = time.perf_counter()
            step()
            if i >= 3:  # the first ones warm up
                times[name].append(1e3 * (time.perf_counter() - start))
    median = {name: statistics.median(ts) for name, ts in times.items()}
    memory = {name: peak_memory(name, args.model, args.batch) for name in steps}
    best = min(ms for name, ms in median.items() if name != "se_numpy")

    print(f"{args.model}, batch {args.batch}, float32, {threads()} threads: one training step")
    for name, ms in median.items():
        ratio = median["se_numpy"] / ms
        print(f"{name:26s} {ms:7.1f} ms   ours / this {ratio:5.2f}   peak memory {memory[name]:6.0f} MB")
    print(f"against PyTorch's faster layout: {median['se_numpy'] / best:.2f}")
    if args.json:
        record = {
            "model": args.model, "batch": args.batch, "threads": threads(), "median_ms": median, "peak_mb": memory,
            "ratio_to_faster_layout": median["se_numpy"] / best, "repeats": args.repeats,
            "versions": {"numpy": np.__version__, "torch": torch.__version__, "python": platform.python_version()},
            "machine": platform.machine(),
        }  # fmt: skip
        with open(args.json, "w") as file:
            json.dump(record, file, indent=2)
            file.write("\n")


if __name__ == "__main__":
    main()
