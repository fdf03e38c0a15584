"""The trainer: a configuration in, a folder with a trained network, its numbers and its curves out.

Every random number comes from the seed and its purpose alone (initial weights, the split, one epoch's order and crops),
so the same seed on the same machine gives the same numbers, and an epoch can be drawn again without those before it.
"""

import csv
import json
import math
import platform
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, TextIO

import numpy as np
from tqdm import tqdm

import se_numpy
from se_numpy import checkpoint, layers, models, ops, optim, tree
from se_numpy.backend import Array, device_module, threads, to_device
from se_numpy.complexity import count_parameters
from se_numpy.data import Dataset
from se_numpy.data.batches import Draws, Images, Normalisation, draw
from se_numpy.data.glyphs import PLAIN_BOUND

VALIDATION_SHARE = 0.1  # of the training images, held out to choose the epoch by; at most 5,000
EVALUATION_BATCH = 500


@dataclass(frozen=True)
class Config:
    """Everything that decides a run's numbers, and where it goes.  ``configure`` fills in what suits the data."""

    model: str
    epochs: int
    lr: float
    augment: bool
    data: str = "builtin"  # or the folder with CIFAR
    reduction: int | None = None  # None: the model's own default
    bias: bool = False
    batch_size: int = 128
    schedule: str = "one-cycle"
    momentum: float = 0.9
    weight_decay: float = 5e-4
    label_smoothing: float = 0.0
    seed: int = 0
    device: str = "auto"
    out: str | None = None

    def __post_init__(self) -> None:
        for name, least in (("epochs", 1), ("batch_size", 1), ("seed", 0)):
            if getattr(self, name) < least:
                raise ValueError(f"{name} is {getattr(self, name)}; expected {least} or more")
        for name in ("lr", "momentum", "weight_decay", "label_smoothing"):
            if not (math.isfinite(getattr(self, name)) and getattr(self, name) >= 0):
                raise ValueError(f"{name} is {getattr(self, name)}; expected a number that is not negative")
        if not (self.momentum < 1 and self.label_smoothing <= 1):
            raise ValueError(
                f"momentum is {self.momentum} and label_smoothing {self.label_smoothing}; expected momentum below 1 "
                "and smoothing up to 1"
            )
        if self.schedule not in optim.SCHEDULES:
            raise ValueError(f"schedule is {self.schedule!r}; expected one of {', '.join(optim.SCHEDULES)}")


PHOTOGRAPHS = {"model": "se_resnet20", "epochs": 30, "lr": 0.4}
RECIPES: dict[str, dict[str, Any]] = {"builtin": {"model": "se_resnet8", "epochs": 6, "lr": 0.3}}


def configure(dataset: Dataset, **given: Any) -> Config:
    """The configuration for this data set: what is given, and for the rest what suits it.

    Raises ValueError naming the setting, what was given and what was expected.
    """
    return Config(**{**RECIPES.get(dataset.name, PHOTOGRAPHS), "augment": dataset.augment, **given})


@dataclass
class Run:
    """A run's folder, its history (a row an epoch) and, at the end, how the chosen network did on the test set."""

    folder: Path
    config: Config
    history: list[dict[str, float]] = field(default_factory=list)
    result: dict[str, float] = field(default_factory=dict)


class Learner:
    """A network with its numbers: parameters and running statistics as views into one flat vector each."""

    def __init__(self, net: layers.Serial, shape: layers.Shape, seed: int, device: str = "cpu") -> None:
        params, state = layers.init(net, shape, stream(seed, "weights"))
        self.net, self.device = net, device
        self.w = to_device(tree.flatten(params), device)
        self.running = to_device(tree.flatten(state), device)
        self.params = tree.unflatten(self.w, params)
        self.state = tree.unflatten(self.running, state)
        self.g = self.w * 0
        self.v = self.w * 0

    def step(
        self, X: Array, labels: Array, optimiser: optim.SGD, lr: float, *, smoothing: float = 0.0, rng: Any = None
    ) -> tuple[Array, Array]:
        """One step of training on X (N, H, W, C) and labels (N,): the loss, 0-d, and how many were right, 0-d."""
        logits, cache = self.net.forward(self.params, self.state, X, train=True, rng=rng)
        loss = ops.softmax_cross_entropy(logits, labels, smoothing=smoothing)
        dlogits = ops.softmax_cross_entropy_backward(1.0, logits, labels, smoothing=smoothing)
        self.net.update_running(self.state, cache)
        _, grads = self.net.backward(self.params, cache, dlogits)
        tree.flatten(grads, out=self.g)
        optimiser.step(self.w, self.g, self.v, lr)
        return loss, (logits.argmax(1) == labels).sum()

    def evaluate(self, images: Images) -> tuple[float, float]:
        """Mean loss and accuracy over all images, with the running statistics."""
        loss, right = 0.0, 0.0
        for start in range(0, len(images), EVALUATION_BATCH):
            X, labels = images.in_order(slice(start, start + EVALUATION_BATCH))
            logits, _ = self.net.forward(self.params, self.state, X)
            loss = loss + ops.softmax_cross_entropy(logits, labels) * len(labels)
            right = right + (logits.argmax(1) == labels).sum()
        return float(loss) / len(images), float(right) / len(images)

    def trees(self) -> dict[str, tree.Tree]:
        """What a checkpoint holds: parameters, running statistics, and the optimiser's velocity."""
        return {"params": self.params, "state": self.state, "velocity": tree.unflatten(self.v, self.params)}

    def restore(self, trees: dict[str, tree.Tree]) -> None:
        """Take over the numbers of a checkpoint."""
        for vector, kind in ((self.w, "params"), (self.running, "state"), (self.v, "velocity")):
            vector[...] = to_device(tree.flatten(trees[kind]), self.device)


def stream(seed: int, purpose: str, *key: int) -> np.random.Generator:
    """The random numbers for one purpose: independent of those for any other, whichever are drawn."""
    return np.random.default_rng([seed, *purpose.encode(), *key])


def choose_device(wanted: str) -> tuple[str, str]:
    """("cpu" or "gpu", why).  "auto" takes a GPU where one works; "gpu" raises RuntimeError where none does."""
    if wanted == "cpu":
        return "cpu", "asked for"
    try:
        xp = device_module("gpu")
        float((xp.ones((2, 2), np.float32) @ xp.ones((2, 2), np.float32)).sum())  # one product and one kernel must run
        return "gpu", "CuPy works"
    except Exception as error:
        if wanted == "gpu":
            raise RuntimeError(f"--device gpu: {error}") from None
        return "cpu", f"no GPU: {str(error).partition(';')[0]}"


def split(dataset: Dataset, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Indices of the training images to learn from and of those held out to choose the epoch by."""
    n = len(dataset.train_labels)
    held_out = min(5000, max(1, round(VALIDATION_SHARE * n)))
    order = stream(seed, "split").permutation(n)
    return order[held_out:], order[:held_out]


def train(dataset: Dataset, config: Config, out: TextIO | None = None) -> Run:
    """Train on ``dataset`` as ``config`` says, writing the run folder as it goes, telling ``out`` (stdout) how it goes.

    The folder holds config.json, metrics.csv (a row an epoch), last.npz and best.npz, result.json and, with matplotlib,
    curves.png. Raises ValueError or RuntimeError with one sentence for people, FloatingPointError if the loss is no
    number any more.
    """
    out = out or sys.stdout
    terminal = out if out.isatty() else None

    def say(line: str) -> None:
        tqdm.write(line, file=out)
        out.flush()

    device, why = choose_device(config.device)
    net = models.build(
        config.model, reduction=config.reduction, bias=config.bias, classes=len(dataset.classes)
    )
    learn_from, held_out = split(dataset, config.seed)
    normalise = Normalisation.of(dataset.train_images[learn_from])
    training = Images(dataset.train_images[learn_from], dataset.train_labels[learn_from], normalise, device)
    validation = Images(dataset.train_images[held_out], dataset.train_labels[held_out], normalise, device)
    learner = Learner(net, dataset.image_shape, config.seed, device)
    optimiser = optim.SGD(config.momentum, config.weight_decay)
    per_epoch = -(-len(training) // config.batch_size)
    schedule = optim.SCHEDULES[config.schedule](config.lr, per_epoch * config.epochs)

    say(f"model    {config.model}, {count_parameters(net, dataset.image_shape):,} parameters")
    say(f"data     {dataset.source}; {len(training):,} images to learn from, {len(validation):,} to choose by")
    cores = f"{threads()} threads, " if device == "cpu" else ""
    say(f"device   {device} ({why}), {cores}numpy {np.__version__}, Python {platform.python_version()}")
    folder = run_folder(config)  # from here on something is written
    (folder / "config.json").write_text(json.dumps(asdict(config), indent=2) + "\n")
    say(f"run      {folder}")
    seconds = _seconds_per_step(learner, training, config, optimiser)
    total = config.epochs * (seconds * per_epoch + 0.35 * seconds * len(validation) / config.batch_size)
    say(f"time     {1e3 * seconds:.0f} ms a step, {per_epoch} steps an epoch: about {_duration(total)} in all\n")
    say(HEADER)

    run = Run(folder, config)
    started = time.perf_counter()
    for epoch in range(config.epochs):
        with np.errstate(over="ignore", invalid="ignore"):  # a loss that is no number is told below, once
            row = _epoch(learner, training, config, optimiser, schedule, epoch, per_epoch, terminal)
            row["val_loss"], row["val_accuracy"] = learner.evaluate(validation)
        if not math.isfinite(row["train_loss"] + row["val_loss"]):
            kept = f"the checkpoints of epoch {epoch} and before stay in {folder}" if epoch else "nothing was saved yet"
            raise FloatingPointError(
                f"the loss is no number any more in epoch {epoch + 1}: try a smaller --lr than {config.lr:g}; {kept}"
            )
        run.history.append(row)
        is_best = row["val_accuracy"] >= max(r["val_accuracy"] for r in run.history)
        meta = _meta(run, dataset, normalise)
        checkpoint.save(folder / "last.npz", learner.trees(), meta)
        if is_best:
            checkpoint.save(folder / "best.npz", learner.trees(), meta)
        _append_metrics(folder / "metrics.csv", row)
        elapsed = time.perf_counter() - started
        left = elapsed / (epoch + 1) * (config.epochs - epoch - 1)
        say(_row(row, config.epochs, left) + (" *" if is_best else ""))

    _finish(run, learner, dataset, normalise, device, time.perf_counter() - started, say)
    return run


def _epoch(
    learner: Learner, training: Images, config: Config, optimiser: optim.SGD,
    schedule: optim.Schedule, epoch: int, per_epoch: int, terminal: TextIO | None,
) -> dict[str, float]:  # fmt: skip
    """One pass over the training images; the loss is read back only as often as somebody can look at it."""
    draws = draw(stream(config.seed, "epoch", epoch), len(training), augment=config.augment)
    loss, right, started = 0.0, 0.0, time.perf_counter()
    with tqdm(total=per_epoch, desc=f"epoch {epoch + 1}/{config.epochs}", unit="step", mininterval=0.5,
              leave=False, file=terminal, disable=terminal is None) as bar:  # fmt: skip
        for i, (X, labels) in enumerate(batches(training, draws, config.batch_size)):
            at = epoch * per_epoch + i
            loss_i, right_i = learner.step(
                X, labels, optimiser, schedule(at),
                smoothing=config.label_smoothing, rng=stream(config.seed, "dropout", at),
            )  # fmt: skip
            loss, right = loss + loss_i * len(labels), right + right_i
            if bar.update():
                bar.set_postfix(loss=f"{float(loss_i):.3f}", refresh=False)
    n = len(training)
    loss, right = float(loss), float(right)  # waits for a GPU, so the clock below is honest
    seconds = time.perf_counter() - started
    return {
        "epoch": epoch + 1, "lr": schedule((epoch + 1) * per_epoch - 1), "train_loss": loss / n,
        "train_accuracy": right / n, "seconds": seconds, "images_per_second": n / seconds,
    }  # fmt: skip


def batches(images: Images, draws: Draws, batch_size: int) -> Iterator[tuple[Array, Array]]:
    """The batches of one epoch; the last may be smaller."""
    for start in range(0, len(images), batch_size):
        yield images.batch(draws, slice(start, start + batch_size))


def _seconds_per_step(learner: Learner, training: Images, config: Config, optimiser: optim.SGD) -> float:
    """The median of a few steps, which are then undone."""
    before = [a.copy() for a in (learner.w, learner.v, learner.running)]
    draws = draw(stream(config.seed, "warm-up"), len(training), augment=config.augment)
    times = []
    for _ in range(4):
        start = time.perf_counter()
        X, labels = training.batch(draws, slice(0, config.batch_size))
        loss, _ = learner.step(X, labels, optimiser, 0.0, rng=stream(config.seed, "warm-up"))
        float(loss)
        times.append(time.perf_counter() - start)
    for a, b in zip((learner.w, learner.v, learner.running), before, strict=True):
        a[...] = b
    return sorted(times[1:])[1]


def _finish(
    run: Run, learner: Learner, dataset: Dataset, normalise: Normalisation, device: str, seconds: float,
    say: Callable[[str], None],
) -> None:  # fmt: skip
    """The test set, once, with the network of the best epoch; then what people want to see."""
    trees, meta = checkpoint.load(run.folder / "best.npz")
    learner.restore(trees)
    test = Images(dataset.test_images, dataset.test_labels, normalise, device)
    loss, accuracy = learner.evaluate(test)
    n = len(test)
    run.result = {"test_loss": loss, "test_accuracy": accuracy, "test_images": n, "seconds": seconds,
                  "epoch": meta["history"][-1]["epoch"]}  # fmt: skip
    (run.folder / "result.json").write_text(json.dumps(run.result, indent=2) + "\n")
    low, high = wilson(accuracy, n)
    say(
        f"\ntest     {100 * accuracy:.2f} % of {n:,} images (95 % interval {100 * low:.1f} to {100 * high:.1f} %), "
        f"network of epoch {run.result['epoch']}, {_duration(seconds)}"
    )
    if note := NOTES.get(dataset.name):
        say(note)
    try:
        from se_numpy.analysis.figures import curves

        title = f"{run.config.model} on {dataset.name}: {100 * accuracy:.1f} % of the test images right"
        bound = (PLAIN_BOUND, "no resnet8 without SE passes this") if dataset.name == "builtin" else None
        curves(run.history, run.folder / "curves.png", title=title, bound=bound)
        say(f"curves   {run.folder / 'curves.png'}")
    except ImportError:
        say("curves   not drawn: matplotlib is missing (pip install 'se-numpy[plot]')")


NOTES = {
    "builtin": f"note     no resnet8 without SE blocks can pass {PLAIN_BOUND:.0%} here, whatever it learns "
    "(se_numpy/data/glyphs.py says why): try --model resnet8"
}


def wilson(share: float, n: int, z: float = 1.96) -> tuple[float, float]:
    """The 95 % interval of a share seen in n trials (Wilson, 1927); it never leaves 0 to 1."""
    centre = (share + z * z / (2 * n)) / (1 + z * z / n)
    half = z / (1 + z * z / n) * math.sqrt(share * (1 - share) / n + z * z / (4 * n * n))
    return max(0.0, centre - half), min(1.0, centre + half)


def run_folder(config: Config) -> Path:
    """The empty folder the run writes to; ValueError where something lies in it already."""
    if config.out is None:
        stem = f"{time.strftime('%Y%m%d-%H%M%S')}-{config.model}-s{config.seed}"
        for name in (stem, *(f"{stem}-{i}" for i in range(2, 1000))):
            with suppress(FileExistsError):  # a run that started in the same second
                (Path("runs") / name).mkdir(parents=True)
                return Path("runs") / name
    folder = Path(config.out or "")
    if not config.out or (folder.exists() and (not folder.is_dir() or any(folder.iterdir()))):
        raise ValueError(f"--out {config.out!r} is not an empty folder; nothing is overwritten: name another one")
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def _meta(run: Run, dataset: Dataset, normalise: Normalisation) -> dict[str, Any]:
    return {
        "format": 1, "se_numpy": se_numpy.__version__, "config": asdict(run.config), "history": run.history,
        "classes": list(dataset.classes), "image_shape": list(dataset.image_shape),
        "mean": normalise.mean.tolist(), "std": normalise.std.tolist(),
    }  # fmt: skip


def _append_metrics(path: Path, row: dict[str, float]) -> None:
    new = not path.exists()
    with path.open("a", newline="") as file:
        writer = csv.DictWriter(file, list(row))
        if new:
            writer.writeheader()
        writer.writerow(row)


HEADER = "  epoch        lr   train loss  acc %     val loss  acc %    img/s    time    left"


def _row(row: dict[str, float], epochs: int, left: float) -> str:
    return (
        f"{row['epoch']:>3}/{epochs:<3} {row['lr']:>9.5f}"
        f"   {row['train_loss']:>10.4f} {100 * row['train_accuracy']:>6.2f}"
        f"   {row['val_loss']:>10.4f} {100 * row['val_accuracy']:>6.2f} {row['images_per_second']:>8,.0f}"
        f" {_duration(row['seconds']):>7} {_duration(left):>7}"
    )


def _duration(seconds: float) -> str:
    minutes, s = divmod(round(seconds), 60)
    hours, m = divmod(minutes, 60)
    return f"{hours}h{m:02d}m" if hours else f"{m}m{s:02d}s" if m else f"{s}s"
