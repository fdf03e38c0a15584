"""Detect the format of a data set in a folder or a file: CIFAR, class folders, .npz or IDX."""

import shlex
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from se_numpy.arg_types import user_path
from se_numpy.data import class_folders, coco_files, idx_files, npz_files
from se_numpy.data.built_in import BUILT_IN
from se_numpy.data.cifar import DataError, candidates, load_cifar
from se_numpy.data.dataset import Dataset
from se_numpy.data.decoded import DifferentSizes, decode
from se_numpy.data.images import as_array, fit
from se_numpy.data.splitting import name_of
from se_numpy.wrapping import plural

EXPECTED = (
    "expected a folder with CIFAR (cifar-10-batches-bin or another official layout), class folders "
    "(train/CLASS/*.png, or CLASS/*.png) or IDX files (MNIST), an .npz file, or a .json file of COCO's format"
)
SIDE = 32  # of images that differ in size, where no size was given
SHOWN = 3  # unreadable files that are named; `se-numpy data verify` names all


def load_path(source: str | Path, size: tuple[int, int] | None = None, channels: int | None = None) -> Dataset:
    """Load the data set in a folder or a file; ``size`` is (H, W).

    Raises
    ------
    DataError
        If it is none of the formats, or if its files are damaged or do not fit together.
    RuntimeError
        If image files are to be read and Pillow is not installed.
    """
    path = user_path(source)
    try:
        return adapted(_load(path, size, channels), size, channels)
    except OSError as error:
        raise DataError(
            f"{error.filename or path} cannot be read ({error.strerror}); check the permissions and the disk."
        ) from error


def load_any_size(path: str | Path) -> Dataset:
    """Load a data set as ``load_path`` does; if its images differ in size, resize them to 32 x 32 pixels.

    Raises
    ------
    DataError, RuntimeError
        As ``load_path`` does.
    """
    try:
        return load_path(path)
    except DifferentSizes:
        return load_path(path, (SIDE, SIDE))


def _load(path: Path, size: tuple[int, int] | None, channels: int | None) -> Dataset:
    if not path.exists():
        raise DataError(f"{path} does not exist; {EXPECTED}")
    if path.is_dir() and next(candidates(path), None):
        return load_cifar(path)
    if sets := idx_files.find_idx(path):
        return idx_files.load_idx(path, sets)
    if path.is_file() and path.suffix.lower() == ".npz":
        return npz_files.load_npz(path)
    if coco_files.is_coco(path):
        return coco_files.load_coco(path, size, channels)
    if not path.is_dir():
        return _refuse(path)
    if class_folders.has_class_folders(path):
        return load_class_folders(path, size, channels)
    if len(files := [file for file in path.iterdir() if file.suffix.lower() == ".npz"]) == 1:
        return npz_files.load_npz(files[0])
    return _refuse(path)


def _refuse(path: Path) -> Dataset:
    """Raise the DataError for a path with no data set."""
    packed = (".zip", ".tar.gz", ".tgz", ".tar")
    if path.is_file() and path.name.lower().endswith(packed):
        unpack = ["unzip", str(path), "-d"] if path.suffix.lower() == ".zip" else ["tar", "-xf", str(path), "-C"]
        command = shlex.join([*unpack, str(path.parent)])
        raise DataError(f"{path} is still packed; unpack it with `{command}`, then give the folder")
    if path.is_file():
        raise DataError(f"{path} is a file of another kind; {EXPECTED}")
    for file in sorted(path.iterdir()):
        if file.name.startswith("cifar") and file.name.lower().endswith(packed):
            return load_cifar(path)  # raises the DataError, which says how to unpack it
    files = [file.name for file in path.iterdir() if not file.name.startswith(".")]
    pictures = sum(Path(name).suffix.lower() in class_folders.SUFFIXES for name in files)
    found = f"holds {plural(pictures, 'image')} but no class folders" if pictures else "does not contain a data set"
    raise DataError(
        f"{path} {'is empty' if not files else found}; {EXPECTED}. Download CIFAR with `se-numpy data download "
        "cifar10`, or run `se-numpy train` without --data to use the built-in set."
    )


def load_class_folders(folder: Path, size: tuple[int, int] | None = None, channels: int | None = None) -> Dataset:
    """Load the images in class folders, decoding them into the cache if they are not there yet.

    Raises
    ------
    DataError
        As ``class_folders.list_images`` and ``decoded.decode`` do, or if no image of a part or of a class can be read.
    OSError
        If a folder cannot be read.
    RuntimeError
        If Pillow is not installed.
    """
    listing = class_folders.list_images(folder)
    pictures = listing.train + listing.test
    done = decode([picture.path for picture in pictures], folder, size, channels)
    kept = [picture for picture, reason in zip(pictures, done.reasons, strict=True) if reason is None]
    unreadable = [f"{picture.path.relative_to(folder)} ({reason})"
                  for picture, reason in zip(pictures, done.reasons, strict=True) if reason is not None]  # fmt: skip
    first = sum(reason is None for reason in done.reasons[: len(listing.train)])
    labels = np.array([picture.label for picture in kept], np.int64)
    for part, held in (("training", first), ("test", len(kept) - first)):
        if not held:
            raise DataError(f"none of the {part} images in {folder} can be read: {_named(unreadable)}")
    if len(none := np.setdiff1d(np.arange(len(listing.classes)), labels[:first])):
        raise DataError(f"none of the training images of {listing.classes[none[0]]!r} in {folder} can be read: "
                        f"{_named([row for row in unreadable if listing.classes[none[0]] in row])}")  # fmt: skip
    left_out = [f"{plural(len(unreadable), 'unreadable image')}: {_named(unreadable)}"] if unreadable else []
    left_out += listing.left_out
    words = [listing.parts, done.found, *([f"left out: {', '.join(left_out)}"] if left_out else []), *listing.notes]
    return Dataset(
        name_of(folder), listing.classes, done.images[:first], labels[:first], done.images[first:], labels[first:],
        augment=done.images.shape[-1] == 3, source=f"class folders, {folder}", loaded_from=str(folder.resolve()),
        found="; ".join(words), unreadable=tuple(unreadable),
    )  # fmt: skip


def _named(unreadable: Sequence[str]) -> str:
    more = f"; and {len(unreadable) - SHOWN:,} more" if len(unreadable) > SHOWN else ""
    return "; ".join(unreadable[:SHOWN]) + more


def adapted(dataset: Dataset, size: tuple[int, int] | None, channels: int | None) -> Dataset:
    """Return the data set with images of this size and number of channels, 1 or 3; None leaves them unchanged.

    Images are cropped at the centre to the aspect ratio and resized, as image files are.

    Raises
    ------
    DataError
        If its images have neither 1 nor 3 channels, or are those of a built-in set.
    """
    H, W, C = dataset.image_shape
    shape = *(size or (H, W)), channels or C
    if shape == (H, W, C):
        return dataset
    if dataset.loaded_from in BUILT_IN or C not in (1, 3):
        raise DataError(f"the images of {dataset.source} have shape {H}x{W}x{C}, which cannot be changed to "
                        f"{'x'.join(map(str, shape))}; leave out --size and --channels")  # fmt: skip
    train, test = (_adapt(images, shape) for images in (dataset.train_images, dataset.test_images))
    words = f"{H}x{W}x{C} cropped at the centre and resized to {'x'.join(map(str, shape))} (bicubic)"
    augment = dataset.augment and shape[-1] == 3
    return replace(dataset, train_images=train, test_images=test, augment=augment,
                   found="; ".join(word for word in (dataset.found, words) if word))  # fmt: skip


def _adapt(images: np.ndarray, shape: tuple[int, int, int]) -> np.ndarray:
    from PIL import Image

    out = np.empty((len(images), *shape), np.uint8)
    mode = "L" if shape[-1] == 1 else "RGB"
    for i, pixels in enumerate(images):
        image = Image.fromarray(pixels if pixels.shape[-1] == 3 else pixels[..., 0])
        out[i] = as_array(fit(image.convert(mode), shape[0], shape[1]))
    return out
