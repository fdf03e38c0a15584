"""Compare fine-tuning with training from scratch:  python benchmarks/transfer.py CIFAR10 --out DIR [--json FILE]

CIFAR10 is the folder of the data set. SE-ResNet-20 is pretrained on eight of its classes, and then learns to tell the
other two apart, from 50 images each. The test is on all test images of the two classes, with the network of the last
epoch: ten of the 100 images are held out, too few to choose a better one, but that one is recorded as well. Everything
is repeated with every seed, which also draws the 50 images. Finished runs in DIR are not repeated, and an interrupted
run is resumed.
"""

import argparse
import json
import statistics
from pathlib import Path
from typing import Any

import numpy as np

from se_numpy import data
from se_numpy.data import Dataset
from se_numpy.train import Trained, configure, resume, train

NEW = ("cat", "dog")
IMAGES = 50  # of each new class
PRETRAINING = {"model": "se_resnet20", "subset": 20_000, "epochs": 5}
FROM_50 = {"model": "se_resnet20", "epochs": 40, "batch_size": 20, "augment": "crop,flip"}
FINE_TUNING: dict[str, dict[str, Any]] = {
    "from scratch": {"lr": 0.05},
    "fine-tuned": {"lr": 0.05, "init": True},
    "fine-tuned, loaded weights at a tenth of the rate": {"lr": 0.05, "init": True, "lr_scale": 0.1},
    "classifier only": {"lr": 0.05, "init": True, "freeze": (0, 1, 2, 3)},
}


def of_classes(dataset: Dataset, names: tuple[str, ...], *, images: int | None = None, seed: int = 0) -> Dataset:
    """Return the part of a data set with these classes, with ``images`` training images of each drawn from ``seed``."""
    new = {dataset.classes.index(name): label for label, name in enumerate(names)}
    train, test = (np.flatnonzero(np.isin(labels, list(new))) for labels in (dataset.train_labels, dataset.test_labels))
    if images is not None:
        rng = np.random.default_rng(seed)
        of_each = (train[dataset.train_labels[train] == label] for label in new)
        train = np.sort(np.concatenate([rng.choice(indices, images, replace=False) for indices in of_each]))
    name = f"{len(names)} classes of {dataset.name}" + (f", {images} images each, seed {seed}" if images else "")
    relabel = np.vectorize(new.__getitem__, otypes=[np.int64])
    return Dataset(
        name, names, dataset.train_images[train], relabel(dataset.train_labels[train]), dataset.test_images[test],
        relabel(dataset.test_labels[test]), augment=True, source=dataset.source,
    )  # fmt: skip


def run(folder: Path, dataset: Dataset, **settings: Any) -> dict[str, Any]:
    """Return the result of a run, which is trained, continued or read."""
    if (folder / "config.json").exists():
        resume(folder, dataset=dataset)
    else:
        train(dataset, configure(dataset, out=str(folder), **settings))
    result = json.loads((folder / "result.json").read_text())
    answers = Trained.load(folder / "last.npz").probabilities(dataset.test_images).argmax(1)
    last = float((answers == dataset.test_labels).mean())
    return {"test_accuracy": result["test_accuracy"], "last_accuracy": last, "seconds": result["seconds"]}


def compare(cifar: Dataset, folder: Path, seed: int) -> list[dict[str, Any]]:
    """Return one row for pretraining and one for each way of training on the new classes."""
    base = folder / f"pretraining-{seed}"
    known = tuple(name for name in cifar.classes if name not in NEW)
    rows = [{"run": "pretraining", "seed": seed, **run(base, of_classes(cifar, known), seed=seed, **PRETRAINING)}]
    few = of_classes(cifar, NEW, images=IMAGES, seed=seed)
    for name, settings in FINE_TUNING.items():
        settings = settings | ({"init": str(base)} if "init" in settings else {})
        found = run(folder / f"{name.replace(' ', '-').replace(',', '')}-{seed}", few, seed=seed, **FROM_50, **settings)
        rows.append({"run": name, "seed": seed, **found})
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", metavar="CIFAR10")
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="the folder for the runs")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2], metavar="S")
    parser.add_argument("--json", type=Path, metavar="FILE")
    args = parser.parse_args()
    cifar = data.load(args.data)
    rows = [row for seed in args.seeds for row in compare(cifar, args.out, seed)]
    print(f"\n{'test accuracy of ' + ' and '.join(NEW) + ', %':52} {'mean':>6} {'s.d.':>5}   by seed")
    for name in FINE_TUNING:
        right = [100 * row["last_accuracy"] for row in rows if row["run"] == name]
        spread = statistics.stdev(right) if len(right) > 1 else 0.0
        print(f"{name:52} {statistics.mean(right):6.1f} {spread:5.1f}   {', '.join(f'{x:.1f}' for x in right)}")
    if args.json:
        settings = {"new": NEW, "images": IMAGES, "pretraining": PRETRAINING, "few": FROM_50, "ways": FINE_TUNING}
        args.json.write_text(json.dumps({"settings": settings, "rows": rows}, indent=1) + "\n")


if __name__ == "__main__":
    main()
