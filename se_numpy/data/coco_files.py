"""Boxes in COCO's format: a .json file with images, annotations and categories, beside the image files.

Images are read and resized as all others, and boxes move with them. If the file's name contains "train" and there is
one with "val" in its place, as in instances_train2017.json, that holds the test images; otherwise one in five does.
"""

import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from se_numpy.data.boxes import Boxes
from se_numpy.data.cifar import DataError
from se_numpy.data.dataset import Dataset
from se_numpy.data.decoded import decode
from se_numpy.data.splitting import SEED, TEST_SHARE, name_of
from se_numpy.wrapping import plural

KEYS = ("images", "annotations", "categories")
VISIBLE = 0.3  # the share of a box that must remain in the picture where that is cropped
NOTHING = "no object"  # the label of an image without objects
SHOWN = 3  # files that are named in a message


class Picture(NamedTuple):
    """An image of the file: its identifier, its path, and its height and width."""

    number: int
    path: Path
    height: int
    width: int


@dataclass(frozen=True)
class Annotations:
    """The contents of a file: its images, its categories by identifier, and the annotations of each image."""

    path: Path
    pictures: list[Picture]
    categories: dict[int, str]
    of: dict[int, list[dict[str, Any]]]


def is_coco(path: Path) -> bool:
    """Return True for a file with the ending of COCO's files."""
    return path.is_file() and path.suffix.lower() == ".json"


def read(path: Path) -> Annotations:
    """Read a file in COCO's format.

    Raises
    ------
    DataError
        If it is not one, or its parts do not fit together.
    """
    try:
        found = json.loads(path.read_text(encoding="utf-8-sig"))
    except (ValueError, RecursionError) as error:
        raise DataError(f"{path} is not valid JSON: {error}") from None
    if not (isinstance(found, dict) and all(isinstance(found.get(key), list) for key in KEYS)):
        raise DataError(f"{path} is not a file of COCO's format; expected an object with {', '.join(KEYS)}")
    try:
        categories = {int(row["id"]): str(row["name"]) for row in sorted(found["categories"], key=lambda r: r["id"])}
        pictures = [
            Picture(int(row["id"]), _image_path(path, str(row["file_name"])), int(row["height"]), int(row["width"]))
            for row in found["images"]
        ]  # fmt: skip
        of: dict[int, list[dict[str, Any]]] = {picture.number: [] for picture in pictures}
        for row in found["annotations"]:
            if len(row["bbox"]) != 4 or row["category_id"] not in categories:
                raise ValueError(f"annotation {row.get('id')} has bbox {row['bbox']}, category {row['category_id']}")
            of[row["image_id"]].append(row)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise DataError(f"{path} is not a file of COCO's format: {type(error).__name__} {error}") from None
    if not pictures or not categories:
        raise DataError(f"{path} has {plural(len(pictures), 'image')} and {len(categories)} categories; expected some")
    if repeated := [number for number, n in Counter(p.number for p in pictures).items() if n > 1]:
        raise DataError(f"{path} has several images with the id {repeated[0]}; expected each id once")
    return Annotations(path, pictures, categories, of)


def _image_path(path: Path, name: str) -> Path:
    """Return the path of an image: beside the file, in images/, or where COCO's own folders have it."""
    part = path.stem.removeprefix("instances_")
    folders = (path.parent, path.parent / "images", path.parent / part, path.parent.parent / part, path.parent.parent)
    return next((folder / name for folder in folders if (folder / name).is_file()), path.parent / name)


def load_coco(path: Path, size: tuple[int, int] | None = None, channels: int | None = None) -> Dataset:
    """Load the images and boxes of a file in COCO's format.

    The label of an image, for classification, is the class of its largest object.

    Raises
    ------
    DataError
        If the file does not have the format, or no image of a part can be read.
    RuntimeError
        If Pillow is not installed.
    """
    (train, test), how = _parts(path)
    if train.categories != test.categories:
        raise DataError(f"{train.path} and {test.path} have different categories; expected the same in both")
    pictures = train.pictures + test.pictures
    done = decode([picture.path for picture in pictures], path.parent, size, channels)
    kept = [reason is None for reason in done.reasons]
    failed = [(picture.path, reason) for picture, reason in zip(pictures, done.reasons, strict=True) if reason]
    unreadable = tuple(f"{file} ({reason})" for file, reason in failed)
    n = len(train.pictures)
    first = sum(kept[:n])
    if not 0 < first < sum(kept):
        part = "training" if not first else "test"
        raise DataError(f"none of the {part} images of {path} can be read: {'; '.join(unreadable[:SHOWN])}")
    shape = done.images.shape[1:3]
    objects = tuple(train.categories.values())
    boxes = [
        boxes_of(part, [p for p, keep in zip(part.pictures, flags, strict=True) if keep], (shape[0], shape[1]))
        for part, flags in ((train, kept[:n]), (test, kept[n:]))
    ]  # fmt: skip
    labels = [
        _labels(found, count, len(objects)) for found, count in zip(boxes, (first, sum(kept) - first), strict=True)
    ]
    left_out = f"left out: {plural(len(unreadable), 'unreadable image')}" if unreadable else ""
    words = (how, f"{len(boxes[0]):,} + {len(boxes[1]):,} boxes of {len(objects)} classes", done.found, left_out)
    try:
        return Dataset(
            name_of(path, path.stem), (*objects, NOTHING), done.images[:first], labels[0], done.images[first:],
            labels[1], augment=done.images.shape[-1] == 3, source=f"boxes in COCO's format, {path}",
            loaded_from=str(path.resolve()), found="; ".join(filter(None, words)), unreadable=unreadable,
            objects=objects, train_boxes=boxes[0], test_boxes=boxes[1],
        )  # fmt: skip
    except (TypeError, ValueError) as error:
        raise DataError(f"{path}: {error}") from None


def _parts(path: Path) -> tuple[tuple[Annotations, Annotations], str]:
    """Return the annotations to train and to test on, and how they were split."""
    found, other = read(path), path.with_name(path.name.replace("train", "val"))
    if other != path and other.is_file():
        return (found, read(other)), f"test images from {other.name}"
    n = len(found.pictures)
    if n < 2:
        raise DataError(f"{path} has 1 image; expected at least 2, one to train and one to test on")
    tested = set(np.random.default_rng(SEED).permutation(n)[: max(1, round(TEST_SHARE * n))].tolist())
    parts = [[p for i, p in enumerate(found.pictures) if (i in tested) == test] for test in (False, True)]
    train, test = (Annotations(found.path, part, found.categories, found.of) for part in parts)
    return (train, test), "one in five images for the test"


def boxes_of(found: Annotations, pictures: Sequence[Picture], shape: tuple[int, int]) -> Boxes:
    """Return the boxes of these pictures after they are cropped at the centre and resized to ``shape``.

    Boxes are cut at the edges; those with less than 30 % of their area inside are left out.
    """
    number = {category: k for k, category in enumerate(found.categories)}
    rows: list[tuple[float, ...]] = []
    for i, picture in enumerate(pictures):
        scale, left, top = fitted(picture.height, picture.width, shape)
        for row in found.of[picture.number]:
            x, y, w, h = (float(value) for value in row["bbox"])
            whole = np.array([x - left, y - top, x + w - left, y + h - top]) * scale
            x0, y0, x1, y1 = inside = np.clip(whole, 0, [shape[1], shape[0]] * 2)
            area = w * h * scale**2
            if min(x1 - x0, y1 - y0) < 0.01 or (x1 - x0) * (y1 - y0) < VISIBLE * area:
                continue
            share = (x1 - x0) * (y1 - y0) / area
            mask = float(row.get("area", w * h)) * scale**2 * share
            rows.append((*inside, number[row["category_id"]], i, bool(row.get("iscrowd", 0)), mask))
    table = np.array(rows, float).reshape(-1, 8)
    return Boxes(table[:, :4], table[:, 4].astype(int), table[:, 5].astype(int), table[:, 6] > 0, table[:, 7])


def fitted(height: int, width: int, shape: tuple[int, int]) -> tuple[float, float, float]:
    """Return the scale, the left and the top of the crop with which ``images.fit`` fits an image to ``shape``."""
    H, W = shape
    scale = max(H / height, W / width)
    return scale, (width - W / scale) / 2, (height - H / scale) / 2


def _labels(boxes: Boxes, n: int, nothing: int) -> np.ndarray:
    """Return the class of the largest object of each of n images, or ``nothing``."""
    labels = np.full(n, nothing, np.int64)
    order = np.argsort(boxes.areas, kind="stable")
    labels[boxes.images[order]] = boxes.classes[order]  # the last, which is the largest, remains
    return labels


def identifiers(dataset: Dataset) -> dict[str, Any]:
    """Return the identifiers of the test images and of the classes, and the crop of each; {} for other data sets."""
    path = Path(dataset.loaded_from or ".")
    if not is_coco(path):
        return {}
    (_, test), _ = _parts(path)
    unreadable = {text.rpartition(" (")[0] for text in dataset.unreadable}
    pictures = [picture for picture in test.pictures if str(picture.path) not in unreadable]
    return {
        "images": [p.number for p in pictures], "categories": list(test.categories),
        "crops": [fitted(p.height, p.width, (dataset.image_shape[0], dataset.image_shape[1])) for p in pictures],
    }  # fmt: skip
