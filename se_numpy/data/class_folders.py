"""Class folders: a folder of images for each class, in train/ with val/ or test/, or on one level that is split.

The order of the images is that of their file names across the classes, with numbers in them compared by value. A data
set in another format whose images are written to class folders under their numbers therefore keeps its order.
"""

import os
import re
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from se_numpy.data.cifar import DataError
from se_numpy.data.splitting import SPLIT, split_by_class
from se_numpy.wrapping import plural

SUFFIXES = {".png", ".jpg", ".jpeg", ".jpe", ".webp", ".gif", ".bmp", ".ppm", ".pgm", ".pbm", ".pnm", ".tif", ".tiff"}
PARTS = {"train": ("train", "training"), "val": ("val", "valid", "validation"), "test": ("test", "testing")}
EXPECTED = "expected a folder of images for each class: train/CLASS/*.png with test/ or val/, or CLASS/*.png"
LINK, EMPTY = ("link", "to folders that are read anyway"), ("folder", "without images")
OUTSIDE = ("image", "outside class folders")
SHOWN = 3  # files or folders that are named
DEEP = 3  # levels searched for class folders, as archives are often unpacked into a folder of their own


@dataclass(frozen=True)
class Picture:
    """An image file: its path, its path within the class folder, and its class as an index."""

    path: Path
    name: str
    label: int


@dataclass
class Listing:
    """The image files of a data set in order, what was left out, and what needs attention."""

    classes: tuple[str, ...]
    train: list[Picture]
    test: list[Picture]
    parts: str
    left_out: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


@dataclass
class _Walk:
    """A pass over folders: the numbers of files that are not images, and the paths that are left out, by kind."""

    root: Path
    others: Counter[str] = field(default_factory=Counter)
    left: defaultdict[tuple[str, str], list[str]] = field(default_factory=lambda: defaultdict(list))

    def shown(self, path: Path) -> str:
        return path.relative_to(self.root).as_posix()

    def entries(self, folder: Path) -> tuple[list[Path], list[Path]]:
        """Return the folders, links last, and the files in a folder, each in order; hidden ones are ignored."""
        folders: list[tuple] = []
        files: list[tuple] = []
        with os.scandir(folder) as found:
            for entry in found:
                if not entry.name.startswith("."):
                    (folders if entry.is_dir() else files).append((entry.is_symlink(), natural(entry.name), entry.name))
        return ([folder / name for *_, name in sorted(folders)], [folder / name for *_, name in sorted(files)])

    def classes(self, folder: Path) -> dict[str, list[tuple[Path, str]]]:
        """Return the image files in the class folders of a folder, by class, each with its path in the class folder."""
        folders, files = self.entries(folder)
        above = {_identity(folder), *map(_identity, folder.resolve().parents)}
        found = {}
        for place in folders:
            if _identity(place) in above:
                self.left[LINK].append(self.shown(place))
                continue
            above.add(_identity(place))
            if images := list(self._images(place, place, {_identity(folder), _identity(place)})):
                found[place.name] = images
            else:
                self.left[EMPTY].append(f"{self.shown(place)}/")
        self.left[OUTSIDE] += [self.shown(path) for path in files if path.suffix.lower() in SUFFIXES]
        return dict(sorted(found.items()))

    def words(self) -> list[str]:
        """Say what was left out."""
        kinds = [f"{plural(len(paths), noun)} {tail} ({_named(paths)})" for (noun, tail), paths in self.left.items()
                 if paths]  # fmt: skip
        others = ", ".join(f"{n:,} {suffix}" for suffix, n in self.others.most_common(SHOWN))
        more = ", …" if len(self.others) > SHOWN else ""
        files = f"{plural(sum(self.others.values()), 'other file')} ({others}{more})"
        return kinds + ([files] if self.others else [])

    def _images(self, folder: Path, top: Path, seen: set) -> Iterator[tuple[Path, str]]:
        folders, files = self.entries(folder)
        for path in files:
            if path.suffix.lower() in SUFFIXES:
                yield path, path.relative_to(top).as_posix()
            else:
                self.others[path.suffix or path.name] += 1
        for place in folders:
            if (identity := _identity(place)) in seen:
                self.left[LINK].append(self.shown(place))
            else:
                seen.add(identity)
                yield from self._images(place, top, seen)


def natural(name: str) -> list[str | int]:
    """Return a sorting key that compares the numbers in a name by value: 2.png comes before 10.png."""
    return [int(word) if i % 2 else word for i, word in enumerate(re.split(r"([0-9]+)", name))]


def has_class_folders(folder: Path) -> bool:
    """Return True if a folder contains folders other than hidden ones."""
    return bool(_Walk(folder).entries(folder)[0])


def list_images(folder: Path) -> Listing:
    """List the images of the class folders in this folder, without opening them.

    Raises
    ------
    DataError
        If there are no class folders or fewer than 2 classes, if two classes differ only in case, or if the parts have
        different classes.
    OSError
        If a folder cannot be read.
    """
    root = _top(folder)
    walk = _Walk(root)
    named = {part: [place for place in walk.entries(root)[0] if place.name.lower() in names]
             for part, names in PARTS.items()}  # fmt: skip
    for part, places in named.items():
        if len(places) > 1:
            raise DataError(f"{root} has {' and '.join(p.name for p in places)}; expected one folder for {part}")
    parts = {part: places[0] for part, places in named.items() if places}
    if parts and "train" not in parts:
        raise DataError(f"{root} has {next(iter(parts.values())).name}/ but no train/; {EXPECTED}")
    found = {part: walk.classes(place) for part, place in parts.items()} or {"train": walk.classes(root)}
    classes = _check_classes(root, found, walk)
    listed = {part: _in_order(images, classes) for part, images in found.items()}
    train, test, words = _divided(root, listed, {part: f"{place.name}/" for part, place in parts.items()}, classes)
    notes = [*_absent(found), *_alike(classes, train + test)]
    return Listing(classes, train, test, words, walk.words(), notes)


def _top(folder: Path) -> Path:
    """Return the folder itself, or one inside that alone holds the class folders."""
    for _ in range(DEEP):
        folders, files = _Walk(folder).entries(folder)
        names = {name for names in PARTS.values() for name in names}
        alone = len(folders) == 1 and folders[0].name.lower() not in names and not folders[0].is_symlink()
        if not (alone and _Walk(folders[0]).entries(folders[0])[0]):
            break
        if any(path.suffix.lower() in SUFFIXES for path in files + _Walk(folders[0]).entries(folders[0])[1]):
            break
        folder = folders[0]
    return folder


def _check_classes(root: Path, found: dict[str, dict[str, list]], walk: _Walk) -> tuple[str, ...]:
    """Return the names of the classes, after checking them in all parts."""
    if not found["train"]:
        words = "; ".join(walk.words())
        raise DataError(f"{root} has no class folders with images{', but ' if words else ''}{words}; {EXPECTED}")
    names = {name for images in found.values() for name in images}
    for name in sorted(names):
        if alike := [other for other in sorted(names) if other != name and other.lower() == name.lower()]:
            raise DataError(f"the class folders {name} and {alike[0]} in {root} differ only in case; merge them, or "
                            "rename one")  # fmt: skip
    for part, images in found.items():
        if unknown := [name for name in images if name not in found["train"]]:
            raise DataError(f"{root}: the class {unknown[0]!r} has images in {part}/ but none in train/; expected the "
                            "same classes in both")  # fmt: skip
    if len(found["train"]) < 2:
        raise DataError(f"{root} has one class, {next(iter(found['train']))!r}; expected at least 2 class folders")
    return tuple(found["train"])


def _absent(found: dict[str, dict[str, list]]) -> list[str]:
    """Say which classes have images to train on but none in another part."""
    absent = {part: [name for name in found["train"] if name not in images] for part, images in found.items()}
    return [f"no {part} images of {_named(names)}" for part, names in absent.items() if names]


def _named(names: Sequence[str]) -> str:
    return ", ".join(names[:SHOWN]) + (f" and {len(names) - SHOWN:,} more" if len(names) > SHOWN else "")


def _in_order(images: dict[str, list[tuple[Path, str]]], classes: Sequence[str]) -> list[Picture]:
    """Return the images of one part in the order of their file names across the classes."""
    label = {name: k for k, name in enumerate(classes)}
    every = [Picture(path, name, label[kind]) for kind, found in images.items() for path, name in found]
    return sorted(every, key=lambda picture: (natural(picture.name), picture.name, picture.label))


def _divided(
    root: Path, listed: dict[str, list[Picture]], names: dict[str, str], classes: Sequence[str]
) -> tuple[list[Picture], list[Picture], str]:
    """Return the images to train on, those to test on, and a description of where they come from."""
    train = listed["train"]
    if "test" in listed and "val" in listed:
        words = f"{names['train']} with {names['val']} for training, {names['test']} for the test"
        return train + listed["val"], listed["test"], words
    for part in ("test", "val"):
        if listed.get(part):
            return train, listed[part], f"{names['train']} for training, {names[part]} for the test"
    training, tested = split_by_class(np.array([p.label for p in train]), classes, str(root))
    return [train[i] for i in training], [train[i] for i in tested], SPLIT


def _alike(classes: Sequence[str], pictures: Sequence[Picture]) -> list[str]:
    """Say which file names of a class differ only in case; copied to some systems, one would replace the other."""
    seen: dict[tuple, Path] = {}
    pairs = []
    for picture in pictures:
        key = picture.path.parent, picture.path.name.lower()
        if key in seen:
            pairs.append(f"{classes[picture.label]}/{picture.name} and {seen[key].name}")
        seen[key] = picture.path
    return [f"names that differ only in case, all used: {_named(pairs)}"] if pairs else []


def _identity(path: Path) -> tuple[int, int] | str:
    found = path.stat()
    return (found.st_dev, found.st_ino) if found.st_ino else str(path.resolve())
