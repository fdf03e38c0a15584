"""Data sets: CIFAR-10 and CIFAR-100, found locally or downloaded, and a built-in synthetic set."""

from dataclasses import replace
from pathlib import Path, PurePath

from se_numpy.arg_types import user_path
from se_numpy.data.cifar import DataError, load_cifar
from se_numpy.data.dataset import Dataset, digest
from se_numpy.data.glyphs import builtin

OWN = "python:"  # with the name of a data set: how a run records arrays that were given in Python


def load(source: str | Path) -> Dataset:
    """Load "builtin", "cifar10" or "cifar100" by name, or CIFAR from the folder ``source``.

    Given by name, CIFAR is loaded from the first location that has it; ``se-numpy data where`` lists them.

    Raises
    ------
    DataError
        As in ``load_cifar``, or if no location has the data set, or if it was given as arrays in Python.
    TypeError
        If ``source`` is neither text nor a path.
    """
    from se_numpy.data.search_paths import dataset_name, find

    if not isinstance(source, str | Path):
        raise TypeError(f"the data set is {source!r}; expected the name or the folder of one, such as 'builtin'")
    source = full_name(str(source))
    if source.startswith(OWN):
        raise DataError(
            f"the data set {source.removeprefix(OWN)!r} was given as arrays in Python, so no command can load it"
        )
    if source == "builtin":
        return builtin()
    if name := dataset_name(source):
        return replace(load_cifar(find(name), only=name), loaded_from=name)
    return load_cifar(source)


def full_name(source: str) -> str:
    """Return the name of a data set unchanged, or the absolute path of a folder, without links and ~."""
    from se_numpy.data.search_paths import dataset_name

    path = user_path(source)
    named = source == "builtin" or dataset_name(source) or (source.startswith(OWN) and not path.exists())
    return source if named else str(path.resolve())


def recorded_name(dataset: Dataset) -> str:
    """Return the name of a data set in the settings of a run: ``load`` takes it, or says that it cannot be loaded."""
    return dataset.loaded_from or (dataset.name if dataset.name == "builtin" else OWN + dataset.name)


def short_name(recorded: str) -> str:
    """Return a name of a data set for a heading: a folder without its parents, and the name alone of own arrays."""
    return PurePath(recorded.removeprefix(OWN)).name


__all__ = [
    "OWN",
    "DataError",
    "Dataset",
    "builtin",
    "digest",
    "full_name",
    "load",
    "load_cifar",
    "recorded_name",
    "short_name",
]
