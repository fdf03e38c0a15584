"""The data set type that the trainer expects: images as bytes, channels last, and integer labels."""

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from se_numpy.data.array_checks import check_classes, check_images, check_labels
from se_numpy.shapes import flag


@dataclass(frozen=True, repr=False)
class Dataset:
    """A data set: images (N, H, W, C) uint8 and labels (N,) int64, for training and for the final test.

    ``augment`` is True if random crops and flips preserve the labels. They do for photographs; they do not if the
    label depends on a position in the image. ``source`` describes in one line where the images come from.
    ``loaded_from`` is what ``data.load`` takes to load the same set again; it is empty for arrays given in Python.
    ``found`` says in one line what was found in the files and what was left out, and ``unreadable`` names the image
    files that could not be read, each with the reason.

    A sequence of class names is converted to a tuple, and labels of any integer type to int64.

    Raises
    ------
    TypeError
        If the images are not arrays of bytes, the labels not arrays of integers, or the classes not names.
    ValueError
        If a set is empty, the axes or the sizes of the images do not fit, the numbers of images and labels differ, a
        label is out of range, or a class has no name or that of another.
    """

    name: str
    classes: tuple[str, ...]
    train_images: np.ndarray
    train_labels: np.ndarray
    test_images: np.ndarray
    test_labels: np.ndarray
    augment: bool
    source: str
    loaded_from: str = ""
    found: str = ""
    unreadable: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        classes = check_classes(self.classes)
        object.__setattr__(self, "classes", classes)
        for split in ("train", "test"):
            images, labels = f"{split}_images", f"{split}_labels"
            N, *shape = check_images(images, getattr(self, images))
            if not N:
                raise ValueError(f"{images} has no images; expected at least 1")
            check_labels(labels, getattr(self, labels), N, len(classes), f"the {len(classes)} names in classes")
            object.__setattr__(self, labels, getattr(self, labels).astype(np.int64, copy=False))
            if tuple(shape) != self.image_shape:
                raise ValueError(
                    f"test_images are {_by(shape)} and train_images {_by(self.image_shape)}; expected one size and "
                    "number of channels"
                )
        for name in ("name", "source"):
            if not isinstance(getattr(self, name), str):
                raise TypeError(f"{name} is {getattr(self, name)!r}; expected text")
        object.__setattr__(self, "augment", flag("augment", self.augment))

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """The shape (H, W, C) of one image."""
        return self.train_images.shape[1:]

    def __repr__(self) -> str:
        return (f"<Dataset {self.name}: {len(self.train_labels):,} training and {len(self.test_labels):,} test images, "
                f"{_by(self.image_shape)}, {len(self.classes)} classes>")  # fmt: skip


def _by(shape: Iterable[int]) -> str:
    return "x".join(map(str, shape))


def check_dataset(dataset: object) -> None:
    """Raise TypeError unless this is a ``Dataset``."""
    if not isinstance(dataset, Dataset):
        raise TypeError(
            f"the data set is a {type(dataset).__name__}; expected a Dataset: Dataset(name, classes, train_images, "
            "train_labels, test_images, test_labels, augment, source), or data.load(name)"
        )


def digest(dataset: Dataset) -> str:
    """Return the SHA-256 of the loaded images and labels, in hexadecimal; it does not depend on the file layout.

    For each of train_images, train_labels, test_images and test_labels, the digest covers its name and shape as a
    line of text, then its data in row-major order, with integers as eight bytes in little-endian order.
    """
    found = hashlib.sha256()
    for name, dtype in (("train_images", "u1"), ("train_labels", "<i8"), ("test_images", "u1"), ("test_labels", "<i8")):
        array = np.ascontiguousarray(getattr(dataset, name), dtype)
        found.update(f"{name} {' '.join(map(str, array.shape))}\n".encode())
        found.update(array.data)
    return found.hexdigest()
