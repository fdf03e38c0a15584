"""What networks trained on ImageNet expect of an image, and the names of what they see in it."""

import warnings
from functools import cache
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np

from se_numpy.install_hints import install_command
from se_numpy.layers import Shape

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)  # of ImageNet's training images; red, green, blue, in [0, 1]
CAFFE_MEAN = (128, 117, 104)  # as Caffe's BN-Inception has it: of bytes, which it took as blue, green, red


@cache
def class_names() -> tuple[str, ...]:
    """The 1000 classes in the order in which networks number them: WordNet's words, see imagenet.txt."""
    text = resources.files("se_numpy.interop").joinpath("imagenet.txt").read_text(encoding="utf-8")
    return tuple(line.partition(" ")[2] for line in text.splitlines() if not line.startswith("#"))


def prepare(
    path: str | Path, shape: Shape = (224, 224, 3), *, resample: str = "bilinear", crop: float = 0.875
) -> np.ndarray:
    """The image of a file as a network for ``shape`` expects it: (H, W, C) uint8.

    The centre H x W of the image made so small that they are ``crop`` of it: for 224 pixels the shorter side becomes
    256. ``resample`` is "bilinear", as the authors' networks were tested, or "bicubic", as timm's were.
    Raises OSError for a file that is not there, ValueError for one that is no image, RuntimeError without pillow.
    """
    H, W, C = shape
    if C not in (1, 3) or min(H, W) < 1 or not 0 < crop <= 1:
        raise ValueError(f"got the shape {shape} and crop {crop}; expected (H, W, 3) or (H, W, 1), and 0 < crop <= 1")
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
        raise ValueError(f"{path} has {width} x {height} pixels; expected an image that is less long and thin")
    from PIL import Image

    image = image.resize((columns, rows), getattr(Image.Resampling, resample.upper()))
    top, left = round((rows - H) / 2), round((columns - W) / 2)
    return np.asarray(image.crop((left, top, left + W, top + H)), np.uint8).reshape(H, W, C)


def _opened(path: str | Path) -> Any:
    """The image, upright, with its pixels read."""
    try:
        from PIL import Image, ImageOps
    except ImportError:
        raise RuntimeError(f"images need pillow, which is missing: {install_command('weights')}") from None
    with Path(path).open("rb") as file, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # about damaged EXIF data, which is not what we are after
        warnings.simplefilter("error", Image.DecompressionBombWarning)
        try:
            image = Image.open(file)
            image.load()
            return ImageOps.exif_transpose(image)
        except Image.UnidentifiedImageError:
            raise ValueError(f"{path} is no image that pillow can read; expected a JPEG or PNG file") from None
        # Its decoders meet damage in many ways.
        except Exception as error:
            raise ValueError(f"{path} is an image that cannot be read: {error or type(error).__name__}") from None
