"""Compare training and inference with PyTorch:  python benchmarks/step.py [--json FILE]

The network is SE-ResNet-20 (r = 4) in float32, with batches of 32, 128 and 256 images. A training step is forward,
backward and SGD; inference is the forward pass with running statistics, in PyTorch in eval mode without gradients.
PyTorch is measured in its default layout and channels-last; ratios are relative to the faster one. Peak memory is the
increase during five training steps, with each contender in its own process.
"""

import argparse
from functools import partial
from pathlib import Path

import numpy as np
from side_by_side import Call, finish, headline, medians, peak_memory, same_threads, show

from se_numpy import engine, layers, models
from se_numpy.engine import keep_freed_memory
from se_numpy.optim import SGD
from se_numpy.train import Learner

SHAPE = (32, 32, 3)
OURS, DEFAULT, CHANNELS_LAST = "se_numpy", "PyTorch, default layout", "PyTorch, channels-last"
NAMES = OURS, DEFAULT, CHANNELS_LAST


def images_and_labels(batch: int) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    return rng.standard_normal((batch, *SHAPE), np.float32), rng.integers(0, 10, batch)


def our_step(model: str, batch: int) -> Call:
    X, labels = images_and_labels(batch)
    learner, sgd = Learner(models.build(model), SHAPE, seed=0), SGD(weight_decay=5e-4)
    return lambda: learner.step(X, labels, sgd, 0.01)


def our_inference(model: str, batch: int) -> Call:
    X, _ = images_and_labels(batch)
    net = models.build(model)
    return partial(engine.compile(net).predictor(*layers.init(net, SHAPE, np.random.default_rng(0))), X)


def torch_inputs(model: str, batch: int, channels_last: bool):
    """Return the network with PyTorch's own initial weights, and images and labels as tensors."""
    import torch
    from torch_peer import modules

    layout = torch.channels_last if channels_last else torch.contiguous_format
    X, labels = images_and_labels(batch)
    net = modules(models.build(model), SHAPE).to(memory_format=layout)
    images = torch.from_numpy(X).permute(0, 3, 1, 2).contiguous(memory_format=layout)
    return net, images, torch.from_numpy(labels)


def torch_step(model: str, batch: int, channels_last: bool) -> Call:
    return sgd_step(*torch_inputs(model, batch, channels_last))


def sgd_step(net, images, targets) -> Call:
    """Return a training step in PyTorch: forward, backward and SGD."""
    import torch

    sgd = torch.optim.SGD(net.parameters(), lr=0.01, momentum=0.9, nesterov=True, weight_decay=5e-4)

    def step() -> object:
        sgd.zero_grad(set_to_none=True)
        loss = torch.nn.functional.cross_entropy(net(images), targets)
        loss.backward()
        sgd.step()
        return loss

    return step


def torch_inference(model: str, batch: int, channels_last: bool) -> Call:
    import torch

    net, images, _ = torch_inputs(model, batch, channels_last)
    net.eval()

    def infer() -> object:
        with torch.no_grad():
            return net(images)

    return infer


def step(name: str, model: str, batch: int) -> Call:
    """Return this contender's training step."""
    keep_freed_memory()  # as the trainer does; PyTorch benefits too if it shares the process
    return our_step(model, batch) if name == OURS else torch_step(model, batch, name == CHANNELS_LAST)


def inference(name: str, model: str, batch: int) -> Call:
    keep_freed_memory()
    return our_inference(model, batch) if name == OURS else torch_inference(model, batch, name == CHANNELS_LAST)


def ratio(ms: dict[str, float]) -> float:
    """Return our time divided by that of PyTorch's faster layout."""
    return ms[OURS] / min(ms[DEFAULT], ms[CHANNELS_LAST])


def measure(model: str, batch: int, repeats: int, memory: bool) -> dict[str, dict[str, float]]:
    """Measure one batch size, by contender: milliseconds for a step and for inference, and MB for a step."""
    measured = {
        f"{what}_ms": medians({name: make(name, model, batch) for name in NAMES}, repeats)
        for what, make in {"step": step, "inference": inference}.items()
    }
    if memory:
        measured["peak_mb"] = {name: peak_memory("step:step", name, model, batch) for name in NAMES}
    return measured


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", default="se_resnet20")
    parser.add_argument("--batch", type=int, default=128, help="batch size for the main entry in the record")
    parser.add_argument("--batches", type=int, nargs="*", default=[32, 128, 256], metavar="N")
    parser.add_argument("--repeats", type=int, default=10, help="turns of two measured calls each")
    parser.add_argument("--no-memory", action="store_true", help="do not measure peak memory")
    parser.add_argument("--json", metavar="FILE")
    args = parser.parse_args()
    same_threads()
    memory = not args.no_memory and Path("/proc/self/status").exists()
    sizes = sorted({args.batch, *args.batches})
    run = partial(measure, args.model, repeats=args.repeats, memory=memory)
    by_batch = {batch: run(batch) for batch in sizes}

    print(headline(args.model))
    for batch, measured in by_batch.items():
        unit = {"step_ms": "step, ms", "inference_ms": "inference, ms", "peak_mb": "peak of a step, MB"}
        rows = [[name, *(measured[key][name] for key in measured)] for name in NAMES]
        ratios = ["ours / PyTorch's faster", *(ratio(measured[key]) for key in measured)]
        show(f"batch {batch}", ["", *(unit[key] for key in measured)], [*rows, ratios])
    main_one = by_batch[args.batch]
    record = {
        "model": args.model, "batch": args.batch, "median_ms": main_one["step_ms"],
        "peak_mb": main_one.get("peak_mb"), "ratio_to_faster_layout": ratio(main_one["step_ms"]),
        "inference_ms": main_one["inference_ms"],
        "inference_ratio_to_faster_layout": ratio(main_one["inference_ms"]),
        "by_batch": {str(batch): measured for batch, measured in by_batch.items()},
        "repeats": args.repeats,
    }  # fmt: skip
    finish(args.json, record, "torch")


if __name__ == "__main__":
    main()
