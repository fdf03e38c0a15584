"""Data sets: CIFAR-10 and CIFAR-100, your own in class folders, .npz or IDX files, and two built-in sets."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path, PurePath
from typing import Any

from se_numpy.arg_types import user_path
from se_numpy.data.built_in import BUILT_IN
from se_numpy.data.cifar import DataError, load_cifar
from se_numpy.data.dataset import Dataset, digest
from se_numpy.data.glyphs import builtin
from se_numpy.data.scenes import built_in_scenes
from se_numpy.shapes import whole

OWN = "python:"  # with the name of a data set: how a run records arrays that were given in Python


def load(
    source: str | Path, *, size: int | tuple[int, int] | None = None, channels: int | None = None
) -> Dataset:  # fmt: skip
    """Load "builtin", "scenes", "cifar10" or "cifar100" by name, or the data set at a path.

    Given by name, CIFAR is loaded from the first location that has it; ``se-numpy data where`` lists them. At a path,
    CIFAR, class folders, an .npz file and IDX files are recognised.

    Parameters
    ----------
    source
        The name or the path.
    size
        The height and width of the images, one number or (H, W). Images of another size are cropped at the centre to
        the aspect ratio and resized (bicubic). It is needed only if image files differ in size.
    channels
        1 for grey images, 3 for images in colour. None keeps those of arrays; image files are read in colour unless
        all of them are grey.

    Raises
    ------
    DataError
        If the data set does not exist, if its files are missing or damaged, or if it was given as arrays in Python.
    ValueError
        If ``size`` or ``channels`` is invalid.
    TypeError
        If ``source`` is neither text nor a path.
    """
    from se_numpy.data.formats import adapted, load_path
    from se_numpy.data.search_paths import dataset_name, find

    if not isinstance(source, str | Path):
        raise TypeError(f"the data set is {source!r}; expected the name or the folder of one, such as 'builtin'")
    source, shape = full_name(str(source)), _checked_size(size)
    if channels not in (None, 1, 3):
        raise ValueError(f"channels is {channels!r}; expected 1 (grey) or 3 (colour)")
    if source.startswith(OWN):
        raise DataError(
            f"the data set {source.removeprefix(OWN)!r} was given as arrays in Python, so no command can load it"
        )
    if source in BUILT_IN:
        return adapted(BUILT_IN[source](), shape, channels)
    if name := dataset_name(source):
        return adapted(replace(load_cifar(find(name), only=name), loaded_from=name), shape, channels)
    return load_path(source, shape, channels)


def reading(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Return the settings of a run that are arguments of ``load``: size and channels, if they are set."""
    return {name: settings[name] for name in ("size", "channels") if settings.get(name) is not None}


def _checked_size(size: Any) -> tuple[int, int] | None:
    if size is None:
        return None
    H, W = size if isinstance(size, tuple) and len(size) == 2 else (size, size)
    return whole("size", H, least=1), whole("size", W, least=1)


def full_name(source: str) -> str:
    """Return the name of a data set unchanged, or the absolute path of a folder or a file, without links and ~."""
    from se_numpy.data.search_paths import dataset_name

    path = user_path(source)
    named = source in BUILT_IN or dataset_name(source) or (source.startswith(OWN) and not path.exists())
    return source if named else str(path.resolve())


def recorded_name(dataset: Dataset) -> str:
    """Return the name of a data set in the settings of a run: ``load`` takes it, or says that it cannot be loaded."""
    return dataset.loaded_from or (dataset.name if dataset.name in BUILT_IN else OWN + dataset.name)


def short_name(recorded: str) -> str:
    """Return a name of a data set for a heading: a folder without its parents, and the name alone of own arrays."""
    return PurePath(recorded.removeprefix(OWN)).name


__all__ = [
    "BUILT_IN",
    "OWN",
    "DataError",
    "Dataset",
    "built_in_scenes",
    "builtin",
    "digest",
    "full_name",
    "load",
    "load_cifar",
    "reading",
    "recorded_name",
    "short_name",
]
