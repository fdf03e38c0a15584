"""The data set type that the trainer expects: images as bytes, channels last, and integer labels."""

import hashlib
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True, repr=False)
class Dataset:
    """A data set: images (N, H, W, C) uint8 and labels (N,) int64, for training and for the final test.

    ``augment`` is True if random crops and flips preserve the labels. They do for photographs; they do not if the
    label depends on a position in the image. ``source`` describes in one line where the images come from.
    ``loaded_from`` is what ``data.load`` takes to load the same set again; it is empty for arrays given in Python.
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

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """The shape (H, W, C) of one image."""
        return self.train_images.shape[1:]

    def __repr__(self) -> str:
        size = "x".join(map(str, self.image_shape))
        return (f"<Dataset {self.name}: {len(self.train_labels):,} training and {len(self.test_labels):,} test images, "
                f"{size}, {len(self.classes)} classes>")  # fmt: skip


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
