"""Prediction for images: the probability of each class, the gates of each block and, if asked for, Grad-CAM."""

import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

from se_numpy import ops
from se_numpy.analysis.gates import gates_of, record
from se_numpy.analysis.grad_cam import Explanation, explain
from se_numpy.analysis.network import Network
from se_numpy.data import Dataset, images
from se_numpy.data.array_checks import check_images
from se_numpy.data.batches import slices
from se_numpy.data.boxes import Boxes
from se_numpy.layers import Shape

TEST = "test:"
COMPARED = 200  # test images whose mean gates are drawn for comparison
BATCH = 32


@dataclass(frozen=True)
class InputImage:
    """An image (H, W, C) uint8 as the network sees it: a description, its label and boxes if known, a short name."""

    image: np.ndarray = field(repr=False)
    description: str
    label: int | None = None
    short: str = ""
    boxes: Boxes | None = field(default=None, repr=False)

    @property
    def name(self) -> str:
        """The short name, such as "test:123" or the file, or else the description."""
        return self.short or self.description


@dataclass(frozen=True)
class Prediction:
    """The probability of each class (K,), the gates (C,) of each block by its short name, and Grad-CAM if computed."""

    shown: InputImage
    classes: tuple[str, ...]
    probabilities: np.ndarray = field(repr=False)
    gates: dict[str, np.ndarray] = field(repr=False)
    explanations: tuple[Explanation, ...] = ()  # of this image, one for each part of the network

    def top(self, most: int = 5) -> list[tuple[str, float]]:
        """Return the most likely classes and their probabilities, the most likely first."""
        order = np.argsort(-self.probabilities, kind="stable")[:most]
        return [(self.classes[k], float(self.probabilities[k])) for k in order]

    @property
    def right(self) -> bool | None:
        """True if the most likely class is the image's label; None if the label is unknown."""
        return None if self.shown.label is None else int(self.probabilities.argmax()) == self.shown.label

    def as_json(self) -> dict[str, Any]:
        """Return everything except the pixels as plain dicts and lists."""
        label = None if self.shown.label is None else self.classes[self.shown.label]
        found: dict[str, Any] = {
            "image": self.shown.description, "label": label, "right": self.right,
            "top": [{"class": name, "probability": p} for name, p in self.top()],
            "gates": {block: [round(float(v), 6) for v in s] for block, s in self.gates.items()},
        }  # fmt: skip
        if self.explanations:
            found["grad_cam"] = {one.part: [[float(f"{v:.4g}") for v in row] for row in one.maps[0]]
                                 for one in self.explanations}  # fmt: skip
        return found


def predict(network: Network, shown: InputImage) -> Prediction:
    """Predict the class of one image, in evaluation mode.

    Raises
    ------
    ValueError, TypeError
        If the network's outputs are NaN or infinite, or if it is not an image (H, W, C) of bytes.
    """
    return next(predict_each(network, [shown]))


def predict_each(
    network: Network, shown: Iterable[InputImage], *, parts: Iterable[str | None] = ()
) -> Iterator[Prediction]:
    """Yield the prediction for each image, a batch at a time, with Grad-CAM of each of the ``parts`` of the network.

    A part is named as in ``grad_cam.explain``; None stands for the last maps.

    Raises
    ------
    ValueError, TypeError
        As ``predict`` and ``grad_cam.explain`` do.
    """
    parts, rest = tuple(parts), iter(shown)
    size = next(slices(BATCH, network.shape, BATCH)).stop  # fewer if they are large
    while batch := list(islice(rest, size)):
        for one in batch:
            check_images("images", one.image[None])
        pixels = np.stack([one.image for one in batch])
        logits, gates = gates_of(network, pixels)
        if not np.isfinite(logits).all():
            raise ValueError(
                "the network's outputs are NaN or infinite: its training diverged; use an earlier checkpoint"
            )
        found = [explain(network, pixels, part=part) for part in parts]
        for n, (one, p) in enumerate(zip(batch, ops.softmax(logits.astype(np.float64)), strict=True)):
            explained = tuple(Explanation(e.part, e.classes[n : n + 1], e.maps[n : n + 1]) for e in found)
            mine = {network.blocks[name]: s[n] for name, s in gates.items()}
            yield Prediction(one, network.classes, p, mine, explained)


def mean_gates(network: Network, dataset: Dataset) -> dict[str, np.ndarray]:
    """Return the mean gates (C,) of each block, by its short name, over the first test images."""
    gates = record(network, dataset.test_images[:COMPARED]).gates
    return {network.blocks[name]: s.mean(0) for name, s in gates.items()}


def numbered_image(dataset: Dataset, word: str) -> InputImage:
    """Return the test image named by a word such as "test:123".

    Raises
    ------
    ValueError
        If the test image does not exist.
    """
    number, count = word.removeprefix(TEST), len(dataset.test_labels)
    if not number.isdecimal() or int(number) >= count:
        raise ValueError(f"there is no test image {word!r}; expected {TEST}0 to {TEST}{count - 1}")
    i = int(number)
    description = f"test image {i} of {dataset.source}"
    boxes = None if dataset.test_boxes is None else dataset.test_boxes.of(i)
    return InputImage(dataset.test_images[i], description, int(dataset.test_labels[i]), word, boxes)


def files_in(folder: str | Path) -> list[Path]:
    """Return the files in a folder and its subfolders, sorted, without hidden ones and without following links."""
    found = []
    for place, folders, files in os.walk(folder):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        found += [Path(place, name) for name in sorted(files) if not name.startswith(".")]
    return found


def image_file(path: str | Path, shape: Shape) -> InputImage:
    """Read an image file, crop it at the centre to the aspect ratio of ``shape`` and resize it.

    Raises
    ------
    FileNotFoundError
        If the file does not exist.
    OSError, ValueError, RuntimeError
        As ``data.images.open_image`` does.
    """
    H, W, C = shape
    try:
        whole = images.open_image(path, C)
    except FileNotFoundError as error:
        raise FileNotFoundError(f"{error}, or {TEST}N for a test image") from None
    fitted = images.fit(whole, H, W)
    description = str(path) if fitted is whole else f"{path}, cropped at the centre and resized to {H}x{W}"
    return InputImage(images.as_array(fitted), description, short=str(path))
