"""Image preprocessing for networks trained on ImageNet, and the names of its classes."""

import warnings
from functools import cache
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np

from se_numpy.install_hints import install_command
from se_numpy.layers import Shape

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)  # RGB in [0, 1], of ImageNet's training images
CAFFE_MEAN = (128, 117, 104)  # RGB in bytes, for Caffe's BN-Inception, which takes images as BGR


@cache
def class_names() -> tuple[str, ...]:
    """Return the names of the 1000 classes, by index; imagenet.txt gives their source, WordNet."""
    text = resources.files("se_numpy.interop").joinpath("imagenet.txt").read_text(encoding="utf-8")
    return tuple(line.partition(" ")[2] for line in text.splitlines() if not line.startswith("#"))


def prepare(
    path: str | Path, shape: Shape = (224, 224, 3), *, resample: str = "bilinear", crop: float = 0.875
) -> np.ndarray:
    """Load an image file and resize and crop it for a network: (H, W, C) uint8.

    The image is resized so that a centre crop of H x W covers the fraction ``crop`` of its shorter side (for 224
    pixels, the shorter side becomes 256). ``resample`` is "bilinear", as in the authors' evaluation, or "bicubic", as
    in timm's.

    Raises
    ------
    OSError
        If the file cannot be opened.
    ValueError
        If the file is not an image or an argument is invalid.
    RuntimeError
        If Pillow is not installed.
    """
    H, W, C = shape
    if C not in (1, 3) or min(H, W) < 1 or not 0 < crop <= 1:
        raise ValueError(f"shape is {shape} and crop is {crop}; expected (H, W, 3) or (H, W, 1), and 0 < crop <= 1")
    if resample not in ("bilinear", "bicubic"):
        raise ValueError(f"resample is {resample!r}; expected 'bilinear' or 'bicubic'")
    image = _opened(path).convert("RGB" if C == 3 else "L")
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
    return np.asarray(image.crop((left, top, left + W, top + H)), np.uint8).reshape(H, W, C)


def _opened(path: str | Path) -> Any:
    """Open an image, read its pixels, and rotate it as its EXIF data says."""
    try:
        from PIL import Image, ImageOps
    except ImportError:
        raise RuntimeError(f"images need Pillow, which is not installed: {install_command('weights')}") from None
    with Path(path).open("rb") as file, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # damaged EXIF data does not matter here
        warnings.simplefilter("error", Image.DecompressionBombWarning)
        try:
            image = Image.open(file)
            image.load()
            return ImageOps.exif_transpose(image)
        except Image.UnidentifiedImageError:
            raise ValueError(f"{path} is not an image that Pillow can read; expected a JPEG or PNG file") from None
        except Exception as error:  # Pillow's decoders raise various exceptions for damaged images
            raise ValueError(f"{path} is a damaged image: {error or type(error).__name__}") from None
