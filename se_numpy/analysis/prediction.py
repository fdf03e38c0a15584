"""Prediction for one image: the probability of each class and the gates of each block."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from se_numpy import data, ops
from se_numpy.analysis.gates import gates_of, record
from se_numpy.analysis.network import Network, check_fit
from se_numpy.data import Dataset, images
from se_numpy.data.array_checks import check_images
from se_numpy.layers import Shape
from se_numpy.models import NAMES

TEST = "test:"
COMPARED = 200  # test images whose mean gates are drawn for comparison


@dataclass(frozen=True)
class InputImage:
    """An image (H, W, C) uint8 as the network sees it, with a description and, if known, its label."""

    image: np.ndarray = field(repr=False)
    description: str
    label: int | None = None


@dataclass(frozen=True)
class Prediction:
    """The probability of each class (K,), and the gates (C,) of each block by its short name."""

    shown: InputImage
    classes: tuple[str, ...]
    probabilities: np.ndarray = field(repr=False)
    gates: dict[str, np.ndarray] = field(repr=False)

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
        return {
            "image": self.shown.description, "label": label, "right": self.right,
            "top": [{"class": name, "probability": p} for name, p in self.top()],
            "gates": {block: [round(float(v), 6) for v in s] for block, s in self.gates.items()},
        }  # fmt: skip


def predict(network: Network, shown: InputImage) -> Prediction:
    """Predict the class of one image, in evaluation mode.

    Raises
    ------
    ValueError, TypeError
        If the network's outputs are NaN or infinite, or if it is not an image (H, W, C) of bytes.
    """
    check_images("images", shown.image[None])
    logits, gates = gates_of(network, shown.image[None])
    if not np.isfinite(logits).all():
        raise ValueError("the network's outputs are NaN or infinite: its training diverged; use an earlier checkpoint")
    p = ops.softmax(logits.astype(np.float64))[0]
    return Prediction(shown, network.classes, p, {network.blocks[name]: s[0] for name, s in gates.items()})


def mean_gates(network: Network, dataset: Dataset) -> dict[str, np.ndarray]:
    """Return the mean gates (C,) of each block, by its short name, over the first test images."""
    gates = record(network, dataset.test_images[:COMPARED]).gates
    return {network.blocks[name]: s.mean(0) for name, s in gates.items()}


def numbered_image(network: Network, word: str, source: str | None = None) -> InputImage:
    """Return the test image named by a word such as "test:123".

    ``source`` names the data set (default: the one the network was trained on).

    Raises
    ------
    ValueError
        If there is no such test image, or if the network and the data set do not match.
    """
    if source is None:
        dataset = data.load(network.config["data"], **data.reading(network.config))
    else:
        dataset = data.load(source, size=(network.shape[0], network.shape[1]), channels=network.shape[2])
    check_fit(network, dataset)
    number, count = word.removeprefix(TEST), len(dataset.test_labels)
    if not number.isdecimal() or int(number) >= count:
        raise ValueError(f"there is no test image {word!r}; expected {TEST}0 to {TEST}{count - 1}")
    i = int(number)
    return InputImage(dataset.test_images[i], f"test image {i} of {dataset.source}", int(dataset.test_labels[i]))


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
    return InputImage(images.as_array(fitted), description)


def model_name(name: str) -> str:
    """Return this package's spelling of a network's name: se_resnet50 for "seresnet50" and "se-resnet50"."""
    plain = name.lower().replace("-", "_")
    spelled = {known.replace("_", ""): known for known in NAMES}
    return name if name in NAMES else spelled.get(plain.replace("_", ""), name)
