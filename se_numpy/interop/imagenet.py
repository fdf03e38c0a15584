"""Image preprocessing for networks trained on ImageNet, and the names of its classes."""

from functools import cache
from importlib import resources
from pathlib import Path

import numpy as np

from se_numpy.data import images
from se_numpy.layers import Shape

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)  # RGB in [0, 1], of ImageNet's training images
LARGE = 64  # pixels per side from which images are prepared as for ImageNet
CAFFE_MEAN = (128, 117, 104)  # RGB in bytes, for Caffe's BN-Inception, which takes images as BGR


@cache
def class_names() -> tuple[str, ...]:
    """Return the names of the 1000 classes, by index; imagenet.txt gives their source, WordNet."""
    text = resources.files("se_numpy.interop").joinpath("imagenet.txt").read_text(encoding="utf-8")
    return tuple(line.partition(" ")[2] for line in text.splitlines() if not line.startswith("#"))


def default_crop(shape: Shape) -> float:
    """Return the fraction of an image's shorter side that networks for images of ``shape`` see: 7/8, or 1 if small."""
    return 0.875 if min(shape[:2]) >= LARGE else 1.0


def prepare(
    path: str | Path, shape: Shape = (224, 224, 3), *, resample: str | None = None, crop: float | None = None
) -> np.ndarray:
    """Load an image file and resize and crop it for a network: (H, W, C) uint8.

    The image is resized so that a centre crop of H x W covers the fraction ``crop`` of its shorter side (for 224
    pixels and the default, 0.875, the shorter side becomes 256). ``resample`` is "bilinear", as in the authors'
    evaluation and by default, or "bicubic", as in timm's.

    With ``crop`` 1 an image is cropped to the aspect ratio first and then resized. This and "bicubic" are the defaults
    for networks for small images, with a side below 64 pixels: ``se-numpy predict`` does the same for a run.

    Raises
    ------
    OSError, RuntimeError
        As ``data.images.open_image`` does.
    ValueError
        If the file is not an image or an argument is invalid.
    """
    H, W, C = shape
    crop = default_crop(shape) if crop is None else crop
    resample = resample or ("bilinear" if min(H, W) >= LARGE else "bicubic")
    if C not in (1, 3) or min(H, W) < 1 or not 0 < crop <= 1:
        raise ValueError(f"shape is {shape} and crop is {crop}; expected (H, W, 3) or (H, W, 1), and 0 < crop <= 1")
    if resample not in ("bilinear", "bicubic"):
        raise ValueError(f"resample is {resample!r}; expected 'bilinear' or 'bicubic'")
    image = images.open_image(path, C)
    if crop == 1:
        return images.as_array(images.fit(image, H, W, resample))
    width, height = image.size
    if width * H >= height * W:
        rows = int(H / crop)
        columns = max(W, rows * width // height)
    else:
        columns = int(W / crop)
        rows = max(H, columns * height // width)
    if rows * columns > 50 * H * W / crop**2:
        raise ValueError(f"{path} has {width}x{height} pixels; expected a less extreme aspect ratio")
    from PIL import Image

    image = image.resize((columns, rows), getattr(Image.Resampling, resample.upper()))
    top, left = round((rows - H) / 2), round((columns - W) / 2)
    return images.as_array(image.crop((left, top, left + W, top + H)))
