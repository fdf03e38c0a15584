"""The data set type that the trainer expects: images as bytes, channels last, and integer labels."""

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from se_numpy.data.array_checks import check_classes, check_images, check_labels
from se_numpy.data.boxes import Boxes
from se_numpy.shapes import flag

BOXES = {"corners": "<f4", "classes": "<i8", "images": "<i8", "crowd": "u1", "areas": "<f8"}  # the arrays in a digest


@dataclass(frozen=True, repr=False)
class Dataset:
    """A data set: images (N, H, W, C) uint8 and labels (N,) int64, for training and for the final test.

    ``augment`` is True if random crops and flips preserve the labels. They do for photographs; they do not if the
    label depends on a position in the image. ``source`` describes in one line where the images come from.
    ``loaded_from`` is what ``data.load`` takes to load the same set again; it is empty for arrays given in Python.
    ``found`` says in one line what was found in the files and what was left out, and ``unreadable`` names the image
    files that could not be read, each with the reason.

    A data set for detection also has the boxes of the objects in its images, ``train_boxes`` and ``test_boxes``, and
    the names of their classes, ``objects``.

    A sequence of class names is converted to a tuple, and labels of any integer type to int64.

    Raises
    ------
    TypeError
        If the images are not arrays of bytes, the labels not arrays of integers, or the classes not names.
    ValueError
        If a set is empty, the axes or the sizes of the images do not fit, the numbers of images and labels differ, a
        label is out of range, a class has no name or that of another, or boxes do not fit the images or the objects.
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
    objects: tuple[str, ...] = ()
    train_boxes: Boxes | None = None
    test_boxes: Boxes | None = None

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
        self._check_boxes()

    def boxes(self, split: str) -> Boxes:
        """Return the boxes of a part, "train" or "test".

        Raises
        ------
        ValueError
            If the data set has none.
        """
        found: Boxes | None = getattr(self, f"{split}_boxes")
        if found is None:
            raise ValueError(
                f"{self.source} has no boxes of objects, which detection needs; give --data scenes, or a .json file in "
                "COCO's format"
            )
        return found

    def _check_boxes(self) -> None:
        """Raise TypeError or ValueError for boxes that do not fit the images or the names of the objects."""
        boxes = {"train_boxes": self.train_boxes, "test_boxes": self.test_boxes}
        object.__setattr__(self, "objects", tuple(self.objects))
        if not self.objects and not any(found is not None for found in boxes.values()):
            return
        if len(set(self.objects)) < max(1, len(self.objects)) or not all(
            isinstance(name, str) for name in self.objects
        ):
            raise ValueError(
                f"objects is {self.objects!r}; expected the names of the classes of the boxes, all different"
            )
        for name, found in boxes.items():
            if not isinstance(found, Boxes):
                raise TypeError(f"{name} is {found!r}; expected Boxes(corners, classes, images)")
            N = len(getattr(self, name.replace("boxes", "labels")))
            for what, most in (("classes", len(self.objects)), ("images", N)):
                if len(found) and (largest := int(getattr(found, what).max())) >= most:
                    raise ValueError(f"{what} of {name} contain {largest}; expected 0 to {most - 1}")

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
    line of text, then its data in row-major order, with integers as eight bytes in little-endian order. If there are
    boxes, the names of their classes and the arrays of train_boxes and test_boxes follow.
    """
    found = hashlib.sha256()
    parts = [(name, getattr(dataset, name), dtype) for name, dtype in (
        ("train_images", "u1"), ("train_labels", "<i8"), ("test_images", "u1"), ("test_labels", "<i8"))]  # fmt: skip
    for split, boxes in (("train", dataset.train_boxes), ("test", dataset.test_boxes)):
        kinds = (
            {"corners": "<f4", "classes": "<i8", "images": "<i8", "crowd": "u1", "areas": "<f8"}
            if boxes is not None
            else {}
        )
        parts += [(f"{split}_boxes {name}", getattr(boxes, name), dtype) for name, dtype in kinds.items()]
    for name, values, dtype in parts:
        array = np.ascontiguousarray(values, dtype)
        found.update(f"{name} {' '.join(map(str, array.shape))}\n".encode())
        found.update(array.data)
    if dataset.objects:
        found.update("\n".join(dataset.objects).encode())
    return found.hexdigest()
