"""A small data set with boxes: rectangles in the colour of their class on grey, and runs on it."""

import io

import numpy as np

from se_numpy.data import Dataset
from se_numpy.data.boxes import Boxes
from se_numpy.train import configure, train

CLASSES = ("red", "green")
SIDE = 24


def rectangles(n: int, seed: int) -> tuple[np.ndarray, Boxes]:
    """Draw n pictures (n, 24, 24, 3) with one or two rectangles each."""
    rng = np.random.default_rng(seed)
    images = rng.integers(100, 130, (n, SIDE, SIDE, 3)).astype(np.uint8)
    rows = []
    for i in range(n):
        for left in (0, SIDE // 2)[: 1 + i % 2]:
            x, y, k = left + rng.integers(1, 4), rng.integers(1, 12), int(rng.integers(0, 2))
            w, h = rng.integers(5, 9), rng.integers(5, 11)
            images[i, y : y + h, x : x + w, k] += 110
            rows.append((x, y, x + w, y + h, k, i))
    found = np.array(rows)
    return images, Boxes(found[:, :4], found[:, 4], found[:, 5])


def shapes(n_train: int = 60, n_test: int = 20) -> Dataset:
    (train_images, train_boxes), (test_images, test_boxes) = rectangles(n_train, 0), rectangles(n_test, 1)
    return Dataset(
        "shapes", ("one", "two"), train_images, np.arange(n_train) % 2, test_images, np.arange(n_test) % 2, False,
        "rectangles", loaded_from="shapes", objects=CLASSES, train_boxes=train_boxes, test_boxes=test_boxes,
    )  # fmt: skip


def settings(folder, **given):
    return configure(
        shapes(), task="detect", **{"model": "se_resnet8", "epochs": 2, "batch_size": 16, "out": str(folder), **given}
    )


def run(folder, **given):
    """Train a complete run to detect; return it and its output."""
    out = io.StringIO()
    return train(shapes(), settings(folder, **given), out), out.getvalue()
