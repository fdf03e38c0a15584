"""What every data set looks like to the trainer: images as bytes, labels as integers, channels last."""

import hashlib
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True, repr=False)
class Dataset:
    """Images (N, H, W, C) uint8 and labels (N,) int64, for training and for the one test at the end.

    ``augment`` says whether random crops and flips keep a label true: they do for photographs, they do not where
    the label depends on a place. ``source`` is one line for people: where the images came from.
    """

    name: str
    classes: tuple[str, ...]
    train_images: np.ndarray
    train_labels: np.ndarray
    test_images: np.ndarray
    test_labels: np.ndarray
    augment: bool
    source: str

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """(H, W, C) of one image."""
        return self.train_images.shape[1:]

    def __repr__(self) -> str:
        size = "x".join(map(str, self.image_shape))
        return (f"<Dataset {self.name}: {len(self.train_labels):,} training and {len(self.test_labels):,} test images, "
                f"{size}, {len(self.classes)} classes>")  # fmt: skip


def digest(dataset: Dataset) -> str:
    """SHA-256 of the images and labels as loaded, in hexadecimal; the same for every layout that holds the same.

    For each of train_images, train_labels, test_images, test_labels: its name and shape as a line of text, then its
    bytes, row by row, whole numbers of eight bytes with the lowest first.
    """
    found = hashlib.sha256()
    for name, dtype in (("train_images", "u1"), ("train_labels", "<i8"), ("test_images", "u1"), ("test_labels", "<i8")):
        array = np.ascontiguousarray(getattr(dataset, name), dtype)
        found.update(f"{name} {' '.join(map(str, array.shape))}\n".encode())
        found.update(array.data)
    return found.hexdigest()
