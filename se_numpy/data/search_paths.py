"""The folders that are searched for CIFAR: $SE_NUMPY_DATA, the current folder, and those of other libraries."""

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from se_numpy.arg_types import user_path
from se_numpy.data.cifar import DataError, candidates
from se_numpy.data.sources import TITLES, Archive, archives

VARIABLE = "SE_NUMPY_DATA"


@dataclass(frozen=True)
class SearchPath:
    """A folder to search.  direct: it may itself hold the files, under any folder name."""

    path: Path
    description: str
    direct: bool = False


@dataclass(frozen=True)
class Copy:
    """A copy of a data set: the folder with its files, or an archive.

    state: "complete", "packed" (the size is correct; the checksum has not been checked) or "incomplete".
    archive: the archive itself, or the one that the folder was unpacked from.
    """

    state: str
    path: Path
    description: str
    archive: Archive | None = None


def cache_folder() -> Path:
    """Return the folder for downloads of this library, in XDG_CACHE_HOME or ~/.cache."""
    base = Path(os.environ.get("XDG_CACHE_HOME", ""))
    return (base if base.is_absolute() else (_home() or Path()) / ".cache") / "se_numpy"


def search_paths() -> list[SearchPath]:
    """Return the folders to search, in order; the first with a complete copy is used."""
    found = [SearchPath(Path("data"), "torchvision's usual root"), SearchPath(Path(), "current folder"),
             SearchPath(cache_folder(), "se-numpy downloads")]  # fmt: skip
    if named := os.environ.get(VARIABLE):
        found.insert(0, SearchPath(user_path(named), VARIABLE, direct=True))
    home = _home() or Path()
    torch = Path(os.environ.get("TORCH_HOME") or home / ".cache" / "torch")
    keras = Path(os.environ.get("KERAS_HOME") or home / ".keras")
    found += [
        SearchPath(home / "data", "torchvision's usual root"),
        SearchPath(torch, "PyTorch's cache"),
        SearchPath(torch / "datasets", "PyTorch's cache"),
        SearchPath(keras / "datasets", "Keras"),
        SearchPath(home / "tensorflow_datasets" / "downloads" / "extracted", "TensorFlow Datasets"),
    ]
    first = {os.path.abspath(place.path): place for place in reversed(found)}
    return [place for place in found if first[os.path.abspath(place.path)] is place]


def dataset_name(source: str) -> str | None:
    """Return "cifar10" or "cifar100" if ``source`` is a spelling of that name and not a folder, else None."""
    name = source.lower().replace("-", "").replace("_", "")
    return name if name in TITLES and (name == source or not Path(source).exists()) else None


def find_copies(
    name: str, where: Sequence[SearchPath] | None = None
) -> Iterator[tuple[SearchPath, Copy | None]]:  # fmt: skip
    """Yield each folder that is searched and the best copy of the data set in it, or None."""
    for place in search_paths() if where is None else where:
        try:
            yield place, _find_copy(place, name)
        except OSError as error:
            yield place, Copy("incomplete", place.path, f"cannot be read ({error.strerror})")


def find(name: str) -> Path:
    """Return the first folder with a complete copy of "cifar10" or "cifar100".

    Raises
    ------
    DataError
        If there is no complete copy; the message says how to get one.
    """
    found = [copy for _, copy in find_copies(name) if copy]
    for copy in found:
        if copy.state == "complete":
            return copy.path
    title, command = TITLES[name], f"`se-numpy data download {name}`"
    for copy in found:
        if copy.state == "packed":
            raise DataError(f"{copy.path} seems to be {title}, still packed; check and unpack it with {command}.")
    incomplete = "".join(f" ({copy.path}: {copy.description})" for copy in found[:1])
    raise DataError(
        f"{title} is in none of the folders that `se-numpy data where` lists{incomplete}; download it with "
        f"{command}. Without a network, use the built-in set (--data builtin), or copy "
        f"{archives(name)[0].file} into {cache_folder()} and run the same command."
    )


def _find_copy(place: SearchPath, name: str) -> Copy | None:
    if not place.path.is_dir():
        return None
    incomplete = None
    for folder, layout, missing in candidates(place.path, name):
        if folder == place.path and not place.direct and folder.name != layout.folder:
            continue  # many folders hold files called train and test
        if not missing:
            archive = next(archive for archive in archives(name) if archive.form == layout.form)
            return Copy("complete", folder, f"{layout.title}, {layout.form} layout", archive)
        incomplete = incomplete or Copy("incomplete", folder, f"incomplete, {', '.join(missing)} missing")
    sizes = {archive.size: archive for archive in archives(name)}
    for path in sorted(place.path.iterdir()):
        if path.suffix != ".part" and path.is_file() and (packed := sizes.get(path.stat().st_size)):
            return Copy("packed", path, f"{packed.title}, {packed.form} layout, packed", packed)
    return incomplete


def _home() -> Path | None:
    try:
        return Path.home()
    except RuntimeError:  # a user in a container may have no home folder
        return None
