"""What a network says of one image: how likely each class is, and the gates by which it said so."""

import warnings
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from se_numpy import data, ops
from se_numpy.analysis.gates import gates_of, record
from se_numpy.analysis.network import Network, check_fit
from se_numpy.data import Dataset
from se_numpy.install_hints import install_command
from se_numpy.layers import Shape
from se_numpy.models import NAMES

TEST = "test:"
FORMATS = ("PNG", "JPEG", "WEBP", "GIF", "BMP", "PPM", "TIFF")  # no others: Pillow runs programs for some
COMPARED = 200  # test images whose mean gates stand beside those of the one


@dataclass(frozen=True)
class Shown:
    """An image (H, W, C) uint8 as the network is shown it, what it is for people, and its class where that is known."""

    image: np.ndarray = field(repr=False)
    what: str
    label: int | None = None


@dataclass(frozen=True)
class Prediction:
    """The probability of each class (K,), and the gates (C,) of each block by its short name."""

    shown: Shown
    classes: tuple[str, ...]
    probabilities: np.ndarray = field(repr=False)
    gates: dict[str, np.ndarray] = field(repr=False)

    def top(self, most: int = 5) -> list[tuple[str, float]]:
        """The likeliest classes and their probabilities, the likeliest first."""
        order = np.argsort(-self.probabilities, kind="stable")[:most]
        return [(self.classes[k], float(self.probabilities[k])) for k in order]

    @property
    def right(self) -> bool | None:
        """Whether the likeliest class is the image's own; None where that is not known."""
        return None if self.shown.label is None else int(self.probabilities.argmax()) == self.shown.label

    def as_json(self) -> dict[str, Any]:
        """All of it but the pixels, as plain dicts and lists."""
        label = None if self.shown.label is None else self.classes[self.shown.label]
        return {
            "image": self.shown.what, "label": label, "right": self.right,
            "top": [{"class": name, "probability": p} for name, p in self.top()],
            "gates": {block: [round(float(v), 6) for v in s] for block, s in self.gates.items()},
        }  # fmt: skip


def predict(network: Network, shown: Shown) -> Prediction:
    """What the network says of one image, in evaluation.  Raises ValueError where its answers are not numbers."""
    logits, gates = gates_of(network, shown.image[None])
    if not np.isfinite(logits).all():
        raise ValueError("the network's answers are not numbers: its training went wrong; expected an earlier epoch's")
    p = ops.softmax(logits.astype(np.float64))[0]
    return Prediction(shown, network.classes, p, {network.blocks[name]: s[0] for name, s in gates.items()})


def mean_gates(network: Network, dataset: Dataset) -> dict[str, np.ndarray]:
    """The mean gates (C,) of some test images, by a block's short name, to compare those of one image with."""
    gates = record(network, dataset.test_images[:COMPARED]).gates
    return {network.blocks[name]: s.mean(0) for name, s in gates.items()}


def numbered_image(network: Network, word: str, source: str | None = None) -> Shown:
    """The image that "test:123" asks for, of the set called ``source`` (default: the one the network was trained on).

    Raises ValueError for a number that no test image has, and where set and network do not belong together.
    """
    dataset = data.load(source if source is not None else network.config["data"])
    check_fit(network, dataset)
    number, count = word.removeprefix(TEST), len(dataset.test_labels)
    if not number.isdecimal() or int(number) >= count:
        raise ValueError(f"{word!r} is no test image; expected {TEST}0 to {TEST}{count - 1}")
    i = int(number)
    return Shown(dataset.test_images[i], f"test image {i} of {dataset.source}", int(dataset.test_labels[i]))


def image_file(path: str | Path, shape: Shape) -> Shown:
    """An image file as a network for images of this shape sees it: the largest square in its middle, made smaller.

    Raises ValueError for a file that is no image, RuntimeError where Pillow is missing.
    """
    try:
        from PIL import Image, ImageOps
    except ImportError:
        raise RuntimeError(f"reading an image takes Pillow, which is missing: {install_command('plot')}") from None
    H, W, C = shape
    if not Path(path).is_file():
        raise FileNotFoundError(f"{path}: no such image; expected an image file, or {TEST}N for a test image")
    try:
        with warnings.catch_warnings(), Image.open(path, formats=FORMATS) as file:
            warnings.simplefilter("error", Image.DecompressionBombWarning)  # more pixels than any photograph has
            if file.mode.startswith(("I", "F")):
                raise ValueError("more than 8 bits a colour; expected an image of 8 bits, as PNG and JPEG mostly have")
            upright = ImageOps.exif_transpose(file)
            if "A" in upright.getbands() or "transparency" in upright.info:
                colours = upright.convert("RGBA")
                upright = Image.alpha_composite(Image.new("RGBA", colours.size, "white"), colours)
            plain = upright.convert("L" if C == 1 else "RGB")
            fitted = plain if plain.size == (W, H) else ImageOps.fit(plain, (W, H), Image.Resampling.BICUBIC)
    except Exception as error:  # a damaged file is complained about in a dozen ways
        raise ValueError(f"{path} is no image that can be read: {error}") from None
    what = f"{path}, its middle at {H}x{W}" if fitted is not plain else str(path)
    return Shown(np.asarray(fitted, np.uint8).reshape(H, W, C), what)


def model_name(name: str) -> str:
    """A network's name here: "seresnet50" and "se-resnet50", as others write it, are se_resnet50."""
    plain = name.lower().replace("-", "_")
    spelled = {known.replace("_", ""): known for known in NAMES}
    return name if name in NAMES else spelled.get(plain.replace("_", ""), name)
