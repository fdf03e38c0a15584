"""Random augmentation by choice: what is drawn for each image of an epoch, on the host, and how it changes a batch.

crop: shifts by up to 4 pixels, with zeros around (He et al., CVPR 2016). flip: left and right, half the time. cutout: a
square of half the side becomes the mean colour (DeVries and Taylor, 2017). resized-crop: a window of 8 to 100 % of the
area, at an aspect ratio of 3:4 to 4:3, is resized to the whole image (Szegedy et al., CVPR 2015); for large images.
"""

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from se_numpy.arrays import Array, array_module, to_device
from se_numpy.wrapping import plural

PAD = 4  # zeros added on each side of an image before the random crop (He et al., CVPR 2016, section 4.2)
NAMES = ("crop", "flip", "cutout", "resized-crop")
DEFAULT = ("crop", "flip")
AREA, ASPECT = (0.08, 1.0), (3 / 4, 4 / 3)
CUT = 0.5  # the side of the square of cutout, as a fraction of the shorter side of the image
TEXTS = {"crop": "random crops", "flip": "flips", "cutout": "cutout", "resized-crop": "resized crops"}


def chosen(augment: bool | str) -> tuple[str, ...]:
    """Return the names in a choice such as "flip,cutout"; True is crop and flip.

    Raises
    ------
    ValueError
        If a name is unknown, or if crop and resized-crop are both chosen.
    """
    if isinstance(augment, bool):
        return DEFAULT if augment else ()
    words = [] if augment.strip() in ("", "none") else [word.strip() for word in augment.split(",")]
    for word in words:
        if word not in NAMES:
            raise ValueError(f"augment is {augment!r}; expected none, or some of {', '.join(NAMES)}, with commas")
    if {"crop", "resized-crop"} <= set(words):
        raise ValueError(f"augment is {augment!r}; expected crop or resized-crop, not both")
    return tuple(name for name in NAMES if name in words)


def canonical(augment: bool | str) -> bool | str:
    """Return the one form in which a choice is recorded: True for crop and flip, False for none, else the names.

    Raises
    ------
    ValueError
        As ``chosen`` does.
    """
    names = chosen(augment)
    return True if names == DEFAULT else ",".join(names) or False


def describe(augment: bool | str) -> str:
    """Return a choice as text for the recipe of a run."""
    texts = [TEXTS[name] for name in chosen(augment)]
    if not texts:
        return "no augmentation"
    text = " and ".join([", ".join(texts[:-1]), texts[-1]] if texts[1:] else texts)
    return text if text.startswith("random") else f"random {text}"


@dataclass(frozen=True, repr=False)
class Draws:
    """The random choices of one epoch: the order of the images, and the crop and flip of each.

    If they are drawn, ``window`` (N, 4) holds top, left, height and width as fractions of the image, and ``cut`` (N, 2)
    the centre of a square.
    """

    order: Array
    top: Array
    left: Array
    flip: Array
    window: Array | None = None
    cut: Array | None = None

    def __repr__(self) -> str:
        return f"<Draws for {plural(len(self.order), 'image')}>"

    def to(self, device: str) -> "Draws":
        """Return a copy on ``device``, so that a batch needs no further transfer."""
        return Draws(*(None if a is None else to_device(a, device) for a in vars(self).values()))

    def part(self, part: slice, xp: Any) -> "Draws":
        """Return the draws of a batch, as arrays of the module xp."""
        return Draws(*(None if a is None else xp.asarray(a[part]) for a in vars(self).values()))


def draw(rng: np.random.Generator, n: int, *, augment: bool | str) -> Draws:
    """Draw the random choices of one epoch of n images, on the host so that CPU and GPU see the same batches."""
    names, order = chosen(augment), rng.permutation(n).astype(np.int64, copy=False)  # also where integers have 32 bits
    crop, flip = "crop" in names, "flip" in names
    top, left = (rng.integers(0, 2 * PAD + 1, n) if crop else np.full(n, PAD, np.int64) for _ in range(2))
    flipped = rng.random(n) < 0.5 if flip else np.zeros(n, bool)
    window = _windows(rng, n) if "resized-crop" in names else None
    cut = rng.random((n, 2)).astype(np.float32) if "cutout" in names else None
    return Draws(order, top, left, flipped, window, cut)


def _windows(rng: np.random.Generator, n: int) -> np.ndarray:
    area, aspect = rng.uniform(*AREA, n), np.exp(rng.uniform(math.log(ASPECT[0]), math.log(ASPECT[1]), n))
    sides = np.minimum(np.sqrt(np.stack([area / aspect, area * aspect], 1)), 1)
    return np.concatenate([rng.random((n, 2)) * (1 - sides), sides], 1).astype(np.float32)


def resized_windows(images: Array, window: Array, flip: Array) -> Array:
    """Resize a window of each image to the whole image, by linear interpolation, and flip those chosen.

    images (B, H, W, C), window (B, 4), flip (B,) -> (B, H, W, C) float32
    """
    xp = array_module(images)
    B, H, W, _ = images.shape
    across = xp.arange(W)
    columns = xp.where(flip[:, None], W - 1 - across, across)
    rows = xp.broadcast_to(xp.arange(H), (B, H))
    (top, bottom, down), (left, right, along) = (
        _between(rows, window[:, 0:1], window[:, 2:3], H), _between(columns, window[:, 1:2], window[:, 3:4], W)
    )  # fmt: skip
    each = xp.arange(B)[:, None, None]
    down, along = down[:, :, None, None], along[:, None, :, None]
    upper, lower = (
        (1 - along) * images[each, y[:, :, None], left[:, None]] + along * images[each, y[:, :, None], right[:, None]]
        for y in (top, bottom)
    )
    return (1 - down) * upper + down * lower


def _between(pixel: Array, start: Array, length: Array, side: int) -> tuple[Array, Array, Array]:
    """Return, for each new pixel on one axis, the two old pixels around its centre and the weight of the second."""
    xp = array_module(pixel)
    at = (start + (pixel.astype(np.float32) + np.float32(0.5)) / side * length) * side - np.float32(0.5)
    at = xp.clip(at, 0, side - 1).astype(np.float32)
    first = xp.minimum(at.astype(np.int64), max(side - 2, 0))
    return first, xp.minimum(first + 1, side - 1), at - first.astype(np.float32)


def cut_out(X: Array, cut: Array) -> None:
    """Set a square of each normalised image (B, H, W, C) to 0, the mean; it may extend beyond the border."""
    xp = array_module(X)
    _, H, W, _ = X.shape
    side = max(1, round(CUT * min(H, W)))
    first = [(cut[:, axis : axis + 1] * size).astype(np.int64) - side // 2 for axis, size in ((0, H), (1, W))]
    rows, columns = (
        (xp.arange(size) >= at) & (xp.arange(size) < at + side) for at, size in zip(first, (H, W), strict=True)
    )
    X *= ~(rows[:, :, None, None] & columns[:, None, :, None])
