"""The one reader of image files: upright pixels of 8 bits on white, whatever the file's format, colours or name.

Of an animation or a file with several pages, the first image is read. Pixels with more than 8 bits are scaled, and
transparent ones are blended with white. Pillow starts other programs to read some formats; those are not accepted.
"""

import os
import re
import stat
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from se_numpy.install_hints import install_command

FORMATS = ("PNG", "JPEG", "WEBP", "GIF", "BMP", "PPM", "TIFF")  # Pillow decodes these itself
MEGAPIXELS = 64  # the largest image; reading it takes seconds and up to half a gigabyte


@dataclass(frozen=True)
class Header:
    """The size of the image in a file, upright, and whether it is grey."""

    height: int
    width: int
    grey: bool


def read_header(path: str | Path) -> Header:
    """Read the size and the kind of an image file without decoding its pixels, which may be damaged.

    Raises
    ------
    OSError, ValueError, RuntimeError
        As ``open_image`` does.
    """
    with _reading(path) as file:
        from PIL import Image

        with _decoding():
            image = Image.open(file, formats=FORMATS)
        width, height = image.size
        orientation = 1
        with suppress(Exception):  # damaged EXIF data, as in ``_decoded``
            orientation = image.getexif().get(274, 1)
        grey = image.mode in ("1", "L", "LA", "I", "F") or image.mode.startswith("I;16")
        return Header(width, height, grey) if orientation in (5, 6, 7, 8) else Header(height, width, grey)


def read_image(path: str | Path, shape: tuple[int, ...]) -> np.ndarray:
    """Read an image file and fit it to ``shape``, as ``fit`` does: (H, W, C) uint8, where C is 3 (RGB) or 1 (grey).

    Raises
    ------
    OSError, ValueError, RuntimeError
        As ``open_image`` does.
    """
    H, W, C = shape
    return as_array(fit(open_image(path, C), H, W))


def open_image(path: str | Path, channels: int = 3) -> Any:
    """Read an image file as a Pillow image of mode "RGB" or, for 1 channel, "L".

    Raises
    ------
    OSError
        If the file does not exist or cannot be opened.
    ValueError
        If it is not an image in one of ``FORMATS``, is damaged, has more than ``MEGAPIXELS`` or pixels that cannot be
        converted, or if ``channels`` is neither 3 nor 1.
    RuntimeError
        If Pillow is not installed.
    """
    if channels not in (1, 3):
        raise ValueError(f"{path} would be read as RGB or grey; expected a network for 3 channels or 1, not {channels}")
    with _reading(path) as file:
        image = _decoded(file)
    mode = "L" if channels == 1 else "RGB"
    return image if image.mode == mode else image.convert(mode)


def fit(image: Any, H: int, W: int, resample: str = "bicubic") -> Any:
    """Crop a Pillow image at the centre to the aspect ratio of H x W and resize it, unless it has that size."""
    from PIL import Image, ImageOps

    return image if image.size == (W, H) else ImageOps.fit(image, (W, H), Image.Resampling[resample.upper()])


def as_array(image: Any) -> np.ndarray:
    """Return the pixels of a Pillow image of mode "RGB" or "L": (H, W, 3) or (H, W, 1) uint8."""
    pixels = np.array(image, np.uint8)
    return pixels.reshape(*pixels.shape[:2], -1)


def displayable(image: np.ndarray) -> np.ndarray:
    """Return an image (H, W, C) as figures draw it: in colour for 3 channels, else the mean of the channels (H, W)."""
    return image if image.shape[-1] == 3 else image.mean(-1).round().astype(np.uint8)


@contextmanager
def _reading(path: str | Path) -> Iterator[Any]:
    """Open an image file to be decoded; errors name it."""
    try:
        from PIL import Image  # noqa: F401
    except ImportError:
        raise RuntimeError(f"reading images needs Pillow, which is not installed: {install_command('plot')}") from None
    try:
        _check_file(path)
        with open(path, "rb") as file, warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about metadata, and about sizes, which are checked here
            yield file
    except FileNotFoundError:
        raise FileNotFoundError(f"image {path} does not exist; expected an image file") from None
    except ValueError as error:
        raise ValueError(f"cannot read image {path}: {error}") from None


def _check_file(path: str | Path) -> None:
    """Raise ValueError unless this is a file with contents; reading a pipe or a device might never end."""
    found = os.stat(path)
    if stat.S_ISDIR(found.st_mode):
        raise ValueError("it is a folder; expected an image file")
    if not stat.S_ISREG(found.st_mode):
        raise ValueError("it is a pipe, a socket or a device; expected an image file")
    if not found.st_size:
        raise ValueError("it is empty (0 bytes)")


def _decoded(file: Any) -> Any:
    """Return the first image in an open file, upright, without transparency, of mode "RGB" or, if grey, "L" or "1"."""
    from PIL import Image, ImageOps

    with _decoding():
        image: Any = Image.open(file, formats=FORMATS)
    width, height = image.size
    if width * height > MEGAPIXELS * 10**6:
        raise ValueError(
            f"it has {width}x{height} pixels, {width * height / 1e6:,.0f} megapixels; expected at most {MEGAPIXELS}"
        )
    stored = re.search(r";(\d+)", str(image.tile))  # as in "L;4" and "RGB;16B"
    bits = int(stored[1]) if stored else 1 if image.mode == "1" else 8
    tiff = image.format == "TIFF"
    inverted = tiff and image.mode.startswith("I;16") and image.tag_v2.get(262) == 0  # 0 is white
    with _decoding():
        image.load()
    with suppress(Exception):  # damaged EXIF data: the image stays as it is stored
        image = image if tiff else ImageOps.exif_transpose(image)  # Pillow has turned a TIFF already
    if image.mode[0] in "IF":
        return _eight_bits(image, bits, inverted)
    if image.mode in ("1", "L", "RGB"):
        return _key_on_white(image, bits)
    if "A" in image.getbands() or "transparency" in image.info or image.mode == "RGBa":
        image = image.convert("RGBA")
        white = Image.new("RGB", image.size, "white")
        white.paste(image, mask=image.getchannel("A"))
        return white
    if image.mode == "LAB":
        raise ValueError("its colours are CIELAB; expected RGB, CMYK or grey")
    return image.convert("RGB")


@contextmanager
def _decoding() -> Iterator[None]:
    """Turn the errors of Pillow's decoders, which are of many types, into ValueError."""
    from PIL import Image

    try:
        yield
    except MemoryError:
        raise
    except Image.UnidentifiedImageError:
        names = f"{', '.join(FORMATS[:-1])} or {FORMATS[-1]}"
        raise ValueError(f"it is not a {names} image, or its header is damaged") from None
    except Image.DecompressionBombError:
        raise ValueError(f"it has too many pixels; expected at most {MEGAPIXELS} megapixels") from None
    except Exception as error:
        reason = " ".join(str(error).split()) or type(error).__name__
        raise ValueError(f"it is damaged or incomplete ({reason})") from None


def _eight_bits(image: Any, bits: int, inverted: bool) -> Any:
    """Scale grey pixels of 12 or 16 bits to 8. Files of 32 bits do not state their range; 16 bits are assumed."""
    from PIL import Image

    levels, most = np.array(image), 4095 if bits == 12 else 65535
    if levels.dtype.kind == "f":
        raise ValueError("its pixels are floating-point numbers; expected 8 or 16 bits per channel")
    if levels.min() < 0 or levels.max() > most:
        raise ValueError(f"its pixels are {levels.min()} to {levels.max()}; expected 8 or 16 bits per channel")
    key = image.info.get("transparency")
    grey = np.rint(levels * np.float32(255 / most)).astype(np.uint8)
    if inverted:
        grey = 255 - grey
    if isinstance(key, int):
        grey[levels == key] = 255
    return Image.fromarray(grey)


def _key_on_white(image: Any, bits: int) -> Any:
    """Replace the one colour that a PNG or GIF declares transparent, in units of its ``bits`` per channel, by white."""
    from PIL import Image

    key = image.info.get("transparency")
    if not isinstance(key, int | tuple):
        return image
    key = np.array(key) >> 8 if bits == 16 else np.array(key) * 255 // (2**bits - 1)
    image = image.convert("L") if image.mode == "1" else image
    pixels = np.array(image)
    transparent = pixels == key
    pixels[transparent.all(-1) if pixels.ndim == 3 else transparent] = 255
    return Image.fromarray(pixels)
