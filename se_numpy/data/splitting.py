"""Data sets from arrays in files: the numbering of the classes, and the split if there are no test images."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from se_numpy.data.built_in import BUILT_IN
from se_numpy.data.cifar import DataError
from se_numpy.data.dataset import Dataset

TEST_SHARE = 0.2
SPLIT = "one in five of each class for the test"
SEED = 0  # the same for all runs, so that runs with different seeds have the same test images


def split_by_class(labels: np.ndarray, classes: Sequence[str], where: str) -> tuple[np.ndarray, np.ndarray]:
    """Return the indices of the images to train and to test on, in order: a fifth of each class is for the test.

    A class of one image has no test image.

    Raises
    ------
    DataError
        If every class has only one image; ``where`` names the data set.
    """
    tested = []
    for label in range(len(classes)):
        of_class = np.flatnonzero(labels == label)
        count = max(1, round(TEST_SHARE * len(of_class))) if len(of_class) > 1 else 0
        tested.append(np.random.default_rng([SEED, label]).permutation(of_class)[:count])
    test = np.sort(np.concatenate(tested))
    if not len(test):
        raise DataError(
            f"{where} has one image of each class; expected at least 2 of a class, one to train and one to test on"
        )
    return np.setdiff1d(np.arange(len(labels)), test), test


def number_classes(
    where: str, labels: dict[str, np.ndarray], names: Sequence[str] | None
) -> tuple[tuple[str, ...], dict[str, np.ndarray], str]:
    """Return the class names, the labels as integers from 0, and a note if they were renumbered.

    ``labels`` are integers or text, by the name of their array; ``names`` are the class names, if they are stored.

    Raises
    ------
    DataError
        If the labels are of another type, are negative, or occur only in the test.
    """
    kinds = {name: array.dtype.kind for name, array in labels.items()}
    for name, kind in kinds.items():
        if kind not in "iuUS" or (kind in "US") != (next(iter(kinds.values())) in "US"):
            whole = labels[name].dtype.kind == "f" and (labels[name] == np.rint(labels[name])).all()
            raise DataError(f"{where}: {name} has dtype {labels[name].dtype}; expected integers from 0, or class names "
                            f"as text{f': {name}.astype(int)' if whole else ''}")  # fmt: skip
    if any(kind in "US" for kind in kinds.values()):
        labels = {name: np.char.decode(a, "utf-8") if a.dtype.kind == "S" else a for name, a in labels.items()}
        wanted: Any = names
    else:
        for name, array in labels.items():
            if array.size and array.min() < 0:
                raise DataError(f"{where}: {name} contains {array.min()}; expected integers from 0")
        wanted = None if names is None else np.arange(len(names))
    first = next(iter(labels))
    known = np.unique(labels[first]) if wanted is None else np.asarray(wanted)
    for name, array in labels.items():
        if (unknown := np.setdiff1d(array, known)).size:
            expected = f"a label of {first}" if wanted is None else f"one of the {len(known)} classes"
            raise DataError(f"{where}: {name} contains {unknown[0].item()!r}; expected {expected}")
    order = np.argsort(known, kind="stable")
    numbered = {name: order[np.searchsorted(known, a, sorter=order)].astype(np.int64) for name, a in labels.items()}
    integers = known.dtype.kind in "iu"
    gaps = integers and wanted is None and (known != np.arange(len(known))).any()
    words = f"labels {known[0]} to {known[-1]} renumbered from 0" if gaps else ""
    return tuple(names or (str(label) for label in known)), numbered, words


def from_arrays(
    path: Path, name: str, kind: str, classes: tuple[str, ...], of: dict[str, tuple[np.ndarray, np.ndarray]],
    words: Sequence[str],
) -> Dataset:  # fmt: skip
    """Return the data set of these images and labels, by part: train, and val, test or both or neither.

    With val and test, both train and val are trained on. ``kind`` describes the file, ``words`` what was found in it.

    Raises
    ------
    DataError
        If the images and labels do not form a data set.
    """
    if len(classes) < 2:
        raise DataError(f"{path} has one class, {classes[0]!r}; expected at least 2")
    train, how = of["train"], ""
    if "val" in of and "test" in of:
        if train[0].shape[1:] != of["val"][0].shape[1:]:
            raise DataError(f"{path}: the training images have shape {train[0].shape} and those for validation "
                            f"{of['val'][0].shape}; expected one size and number of channels")  # fmt: skip
        train = np.concatenate([train[0], of["val"][0]]), np.concatenate([train[1], of["val"][1]])
        how = "validation images are trained on"
    test = of.get("test") or of.get("val")
    if test is None:
        rows, tested = split_by_class(train[1], classes, str(path))
        (train, test), how = ((train[0][rows], train[1][rows]), (train[0][tested], train[1][tested])), SPLIT
    try:
        return Dataset(
            name_of(path, name), classes, train[0], train[1], test[0], test[1], augment=train[0].shape[-1] == 3,
            source=f"{kind}, {path}", loaded_from=str(path.resolve()), found="; ".join(filter(None, [how, *words])),
        )  # fmt: skip
    except (TypeError, ValueError) as error:
        raise DataError(f"{path}: {error}") from None


def name_of(path: Path, name: str = "") -> str:
    """Return the name of the data set at a path, which is never that of a built-in set."""
    name = name or path.resolve().name
    return f"{name} (own)" if name in BUILT_IN else name
