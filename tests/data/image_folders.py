"""Small data sets written in the formats that people have: class folders, .npz and IDX files."""

import gzip
import struct
from pathlib import Path

import numpy as np
import pytest

CLASSES = ("ant", "bee", "cow")


def pixels(n: int, *, channels: int = 3, seed: int = 0, side: int = 8) -> tuple[np.ndarray, np.ndarray]:
    """Return images whose brightness shows the class, and their labels, in an order without pattern."""
    rng = np.random.default_rng(seed)
    labels = rng.permutation(np.arange(n) % len(CLASSES))
    return rng.integers(0, 80, (n, side, side, channels), np.uint8) + np.uint8(80) * labels.astype(np.uint8)[
        :, None, None, None
    ], labels


def save(path: Path, image: np.ndarray) -> None:
    """Write an image file."""
    Image = pytest.importorskip("PIL.Image")
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(image[..., 0] if image.shape[-1] == 1 else image).save(path)


def write_folders(folder: Path, images: np.ndarray, labels: np.ndarray, name: str = "{}.png") -> Path:
    """Write images to class folders under their numbers."""
    for i, (image, label) in enumerate(zip(images, labels, strict=True)):
        save(folder / CLASSES[label] / name.format(i), image)
    return folder


def write_idx(path: Path, array: np.ndarray) -> None:
    """Write an IDX file, gzipped if its name says so."""
    data = struct.pack(f">BBBB{array.ndim}I", 0, 0, 8, array.ndim, *array.shape) + array.astype(np.uint8).tobytes()
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(gzip.compress(data) if path.suffix == ".gz" else data)
