"""Data sets in one .npz file, under the usual names of the arrays: x_train, y_train, x_test, y_test; images, labels."""

import zipfile
import zlib
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from se_numpy.data.array_checks import check_images
from se_numpy.data.cifar import DataError
from se_numpy.data.dataset import Dataset
from se_numpy.data.splitting import from_arrays, number_classes

IMAGES, LABELS = ("x", "images", "image", "data"), ("y", "labels", "label", "targets", "target")
PARTS = {"train": ("train", "training"), "val": ("val", "valid", "validation"), "test": ("test",)}
NAMES = ("classes", "class_names", "label_names")
EXPECTED = "expected x_train, y_train, x_test and y_test, or images and labels"


def load_npz(path: Path) -> Dataset:
    """Load a data set from an .npz file.

    Raises
    ------
    DataError
        If the file is damaged, lacks an array, or has arrays that are not images (N, H, W, C) or (N, H, W) of bytes
        and N labels, integers or text.
    OSError
        If it cannot be read.
    """
    arrays = _read(path)
    names = _class_names(path, arrays)
    pairs = {part: pair for part, prefixes in PARTS.items() if (pair := _pair(path, arrays, prefixes))}
    if not pairs and (whole := _pair(path, arrays, ("",))):
        pairs = {"train": whole}
    if "train" not in pairs:
        held = ", ".join(f"{name} {array.shape} {array.dtype}" for name, array in list(arrays.items())[:8])
        raise DataError(f"{path} holds {held or 'no arrays'}; {EXPECTED}")
    images = {part: _images(path, x, arrays[x]) for part, (x, _) in pairs.items()}
    labels = {y: _labels(path, y, arrays[y], len(images[part])) for part, (_, y) in pairs.items()}
    classes, numbered, words = number_classes(str(path), labels, names)
    of = {part: (images[part], numbered[y]) for part, (_, y) in pairs.items()}
    used = f"arrays {', '.join(name for pair in pairs.values() for name in pair)}"
    return from_arrays(path, path.stem, ".npz file", classes, of, [used, words])


def _read(path: Path) -> dict[str, np.ndarray]:
    """Return the arrays of the file by name."""
    try:
        with np.load(path, allow_pickle=False) as file:
            if not isinstance(file, np.lib.npyio.NpzFile):
                raise ValueError("it is not a zip archive")
            return {name: _member(file, name) for name in file.files}
    except (zipfile.BadZipFile, zlib.error, EOFError, ValueError, KeyError, NotImplementedError) as error:
        if "allow_pickle" in str(error) and not zipfile.is_zipfile(path):
            error = ValueError("it is not a zip archive")
        raise DataError(f"{path} is damaged or not an .npz file: {error}; write it with np.savez") from None


def _member(file: np.lib.npyio.NpzFile, name: str) -> np.ndarray:
    try:
        return file[name]
    except ValueError as error:
        if "allow_pickle" in str(error):
            raise ValueError(f"{name} is an array of Python objects, which would have to be unpickled; save numbers "
                             f"or text: {name}.astype(int) or {name}.astype(str)") from None  # fmt: skip
        raise ValueError(f"{name}: {error}") from None


def _class_names(path: Path, arrays: Mapping[str, np.ndarray]) -> list[str] | None:
    """Return the class names that the file stores, or None."""
    for name, array in arrays.items():
        if name.lower() in NAMES:
            if array.dtype.kind not in "US" or array.ndim != 1:
                raise DataError(f"{path}: {name} is {array.shape} {array.dtype}; expected the class names as text")
            return [str(word) for word in (np.char.decode(array, "utf-8") if array.dtype.kind == "S" else array)]
    return None


def _pair(path: Path, arrays: Mapping[str, np.ndarray], parts: tuple[str, ...]) -> tuple[str, str] | None:
    """Return the names of the images and the labels of a part; None if there are none."""

    def named(words: tuple[str, ...]) -> str | None:
        wanted = {name.strip("_") for word in words for part in parts for name in (f"{word}_{part}", f"{part}_{word}")}
        return next((name for name in arrays if name.lower().replace("-", "_") in wanted), None)

    images, labels = named(IMAGES), named(LABELS)
    if (images is None) != (labels is None):
        there, lacks = (labels, "images") if images is None else (images, "labels")
        raise DataError(f"{path} holds {there} but no {lacks} for it; {EXPECTED}")
    return (images, labels) if images and labels else None


def _images(path: Path, name: str, images: np.ndarray) -> np.ndarray:
    images = images[..., None] if images.ndim == 3 and min(images.shape[1:]) > 4 else images
    try:
        check_images(name, images)
    except (TypeError, ValueError) as error:
        raise DataError(f"{path}: {error}") from None
    return images


def _labels(path: Path, name: str, labels: np.ndarray, N: int) -> np.ndarray:
    labels = labels.ravel() if labels.shape == (N, 1) else labels
    if labels.shape != (N,):
        one_hot = f": {name}.argmax(1)" if labels.ndim == 2 and len(labels) == N else ""
        raise DataError(f"{path}: {name} has shape {labels.shape}; expected ({N},), one for each image{one_hot}")
    return labels
