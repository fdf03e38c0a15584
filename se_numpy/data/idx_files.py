"""IDX files, gzipped or not: MNIST, Fashion-MNIST, KMNIST, EMNIST.  http://yann.lecun.com/exdb/mnist/."""

import gzip
import re
import zlib
from math import prod
from pathlib import Path

import numpy as np

from se_numpy.data.cifar import DataError
from se_numpy.data.dataset import Dataset
from se_numpy.data.splitting import from_arrays, number_classes

PATTERN = re.compile(r"(.*?)(train|t10k|test)([-_.].*?)?(images|labels)[-_.]idx[1-4]([-_.]ubyte)?(\.gz)?", re.I)
INSIDE = ("", "raw", "MNIST/raw", "FashionMNIST/raw", "KMNIST/raw", "EMNIST/raw")  # torchvision's folders
LARGEST = 2**34  # bytes of a file


def find_idx(path: Path) -> dict[str, dict[str, Path]]:
    """Return the IDX files at a path by data set, and by role, such as "train images"; {} if there are none.

    A data set is a beginning of file names, such as "emnist-letters-". If the path is a file, its data set alone is
    returned. A file that is there unpacked is preferred to a gzipped one.
    """
    folders = [path / inside for inside in INSIDE] if path.is_dir() else [path.parent]
    for folder in (folder for folder in folders if folder.is_dir()):
        sets: dict[str, dict[str, Path]] = {}
        for file in sorted(folder.iterdir(), reverse=True):  # unpacked files last
            if (match := PATTERN.fullmatch(file.name)) and file.is_file():
                part = "train" if match[2].lower() == "train" else "test"
                sets.setdefault(match[1], {})[f"{part} {match[4].lower()}"] = file
        if path.is_file():
            own = PATTERN.fullmatch(path.name)
            return {own[1]: sets[own[1]]} if own else {}
        if sets:
            return sets
    return {}


def load_idx(path: Path, sets: dict[str, dict[str, Path]]) -> Dataset:
    """Load the data set of ``find_idx``.

    Raises
    ------
    DataError
        If there are several, or if a file is missing or damaged, or if the numbers of images and labels differ.
    OSError
        If a file cannot be read.
    """
    if len(sets) > 1:
        example = next(iter(next(iter(sets.values())).values()))
        raise DataError(f"{path} holds {len(sets)} data sets ({', '.join(sorted(sets)[:5])}); give a file of one of "
                        f"them, such as {example}")  # fmt: skip
    ((prefix, files),) = sets.items()
    needed = ["train images", "train labels", *(["test images", "test labels"] if any("test" in f for f in files)
                                                else [])]  # fmt: skip
    if missing := [role for role in needed if role not in files]:
        raise DataError(f"{path} has no file of {missing[0]} beside {next(iter(files.values())).name}; expected "
                        "train-images-idx3-ubyte, train-labels-idx1-ubyte and, for the test, t10k-…")  # fmt: skip
    arrays = {role: read_idx(files[role], images="images" in role) for role in needed}
    labels = {role: arrays[role] for role in needed if "labels" in role}
    for role in labels:
        N = len(arrays[role.replace("labels", "images")])
        if len(arrays[role]) != N:
            raise DataError(f"{files[role]} holds {len(arrays[role]):,} labels for {N:,} images; expected one for each")
    classes, labels, words = number_classes(str(path), labels, None)
    of = {part: (arrays[f"{part} images"], labels[f"{part} labels"]) for part in ("train", "test")
          if f"{part} images" in arrays}  # fmt: skip
    name = prefix.strip("-_. ") or (path.name if path.is_dir() else path.parent.name)
    return from_arrays(path, name, "IDX files", classes, of, [words])


def read_idx(path: Path, *, images: bool) -> np.ndarray:
    """Read images (N, H, W, C) or labels (N,) from an IDX file of bytes.

    Raises
    ------
    DataError
        If the file is damaged or holds something else.
    OSError
        If it cannot be read.
    """
    with open(path, "rb") as raw:
        packed = raw.read(2) == b"\x1f\x8b"
    try:
        with gzip.open(path) if packed else open(path, "rb") as file:
            magic = file.read(4)
            if len(magic) < 4 or magic[:2] != b"\0\0" or not 1 <= magic[3] <= 4:
                raise ValueError("it does not begin like an IDX file")
            if magic[2] != 8:
                raise ValueError(f"its numbers have type {magic[2]:#04x}; expected bytes (0x08)")
            shape = tuple(np.frombuffer(file.read(4 * magic[3]), ">u4").tolist())
            size = prod(shape)
            if len(shape) != magic[3] or size > LARGEST:
                raise ValueError(f"its header is cut short or claims {size:,} bytes")
            data = file.read(size + 1)
    except (EOFError, zlib.error, gzip.BadGzipFile, ValueError) as error:
        raise DataError(f"{path} is damaged or not an IDX file: {error}; download it again") from None
    if len(data) != size:
        held = f"{'more than ' * (len(data) > size)}{min(len(data), size):,} bytes"
        raise DataError(f"{path} is damaged: it holds {held} of data; its header says {size:,}; download it again")
    if len(shape) not in ((3, 4) if images else (1,)):
        raise DataError(f"{path} has {len(shape)} axes, {shape}; expected "
                        f"{'images (N, H, W)' if images else 'labels (N,)'}")  # fmt: skip
    array = np.frombuffer(data, np.uint8).reshape(shape)
    return array[..., None] if len(shape) == 3 else array
