"""Where copies of CIFAR may already lie: named folders, this one, and the usual places of other libraries."""

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from se_numpy.data.cifar import DataError, candidates
from se_numpy.data.sources import TITLES, Archive, archives

VARIABLE = "SE_NUMPY_DATA"


@dataclass(frozen=True)
class Place:
    """A folder where one looks, and why; ``direct``: the files themselves may lie in it under any folder name."""

    path: Path
    why: str
    direct: bool = False


@dataclass(frozen=True)
class Copy:
    """What was found of a data set: the folder with its files, or an archive still packed.

    state: "whole", "packed" (right size, checksum not yet asked), or "part".  archive: what it is, or is a copy of.
    """

    state: str
    path: Path
    words: str
    archive: Archive | None = None


def cache_folder() -> Path:
    """This library's own folder for data: in XDG_CACHE_HOME, or else ~/.cache."""
    base = Path(os.environ.get("XDG_CACHE_HOME", ""))
    return (base if base.is_absolute() else (_home() or Path()) / ".cache") / "se_numpy"


def places() -> list[Place]:
    """Every place, in the order in which they are looked at; the first that has the files wins."""
    found = [Place(Path("data"), "a usual root of torchvision"), Place(Path(), "this folder"),
             Place(cache_folder(), "downloads of se-numpy")]  # fmt: skip
    if named := os.environ.get(VARIABLE):
        found.insert(0, Place(Path(named).expanduser(), VARIABLE, direct=True))
    home = _home() or Path()
    torch = Path(os.environ.get("TORCH_HOME") or home / ".cache" / "torch")
    keras = Path(os.environ.get("KERAS_HOME") or home / ".keras")
    found += [
        Place(home / "data", "a usual root of torchvision"),
        Place(torch, "PyTorch's cache"),
        Place(torch / "datasets", "PyTorch's cache"),
        Place(keras / "datasets", "Keras"),
        Place(home / "tensorflow_datasets" / "downloads" / "extracted", "TensorFlow Datasets"),
    ]
    once = {os.path.abspath(place.path): place for place in reversed(found)}
    return [place for place in found if once[os.path.abspath(place.path)] is place]


def name_of(source: str) -> str | None:
    """Which of cifar10 and cifar100 ``source`` means, however it is written, or None; a folder is no name."""
    name = source.lower().replace("-", "").replace("_", "")
    return name if name in TITLES and (name == source or not Path(source).exists()) else None


def copies(name: str, where: Sequence[Place] | None = None) -> Iterator[tuple[Place, Copy | None]]:
    """Each place in turn and the best of what it has of the data set, or None."""
    for place in places() if where is None else where:
        try:
            yield place, _look(place, name)
        except OSError as error:
            yield place, Copy("part", place.path, f"cannot be looked into ({error.strerror})")


def find(name: str) -> Path:
    """The folder with the files of "cifar10" or "cifar100", from the first place that has all of them.

    Raises DataError, which says how to get them, where there is none.
    """
    seen = [copy for _, copy in copies(name) if copy]
    for copy in seen:
        if copy.state == "whole":
            return copy.path
    title, command = TITLES[name], f"`se-numpy data download {name}`"
    for copy in seen:
        if copy.state == "packed":
            raise DataError(f"{copy.path} seems to be {title}, still packed: {command} checks and unpacks it.")
    part = "".join(f" ({copy.path} {copy.words})" for copy in seen[:1])
    raise DataError(f"{title} is in none of the places that `se-numpy data where` lists{part}: {command} gets it; "
                    f"without a network, use the built-in set (--data builtin) or copy {archives(name)[0].file} "
                    f"into {cache_folder()} and run the same.")


def _look(place: Place, name: str) -> Copy | None:
    if not place.path.is_dir():
        return None
    part = None
    for folder, layout, missing in candidates(place.path, name):
        if folder == place.path and not place.direct and folder.name != layout.folder:
            continue  # files called train and test lie in many a folder
        if not missing:
            archive = next(archive for archive in archives(name) if archive.form == layout.form)
            return Copy("whole", folder, f"{layout.title}, {layout.form} layout", archive)
        part = part or Copy("part", folder, f"has only a part of it: no {', '.join(missing)}")
    sizes = {archive.size: archive for archive in archives(name)}
    for path in sorted(place.path.iterdir()):
        if path.suffix != ".part" and path.is_file() and (packed := sizes.get(path.stat().st_size)):
            return Copy("packed", path, f"{packed.title}, {packed.form} layout, packed", packed)
    return part


def _home() -> Path | None:
    try:
        return Path.home()
    except RuntimeError:  # in a container, a user may have none
        return None
