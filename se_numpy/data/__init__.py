"""Data sets: CIFAR-10 and CIFAR-100, found locally or downloaded, and a built-in synthetic set."""

from pathlib import Path

from se_numpy.data.cifar import DataError, load_cifar
from se_numpy.data.dataset import Dataset, digest
from se_numpy.data.glyphs import builtin


def load(source: str | Path) -> Dataset:
    """Load "builtin", "cifar10" or "cifar100" by name, or CIFAR from the folder ``source``.

    Given by name, CIFAR is loaded from the first location that has it; ``se-numpy data where`` lists them.

    Raises
    ------
    DataError
        As in ``load_cifar``, or if no location has the data set.
    TypeError
        If ``source`` is neither text nor a path.
    """
    from se_numpy.data.search_paths import dataset_name, find

    if not isinstance(source, str | Path):
        raise TypeError(f"the data set is {source!r}; expected the name or the folder of one, such as 'builtin'")
    source = str(source)
    if source == "builtin":
        return builtin()
    name = dataset_name(source)
    return load_cifar(find(name), only=name) if name else load_cifar(source)


def full_name(source: str) -> str:
    """Return the name of a data set unchanged, or the absolute path of a folder."""
    from se_numpy.data.search_paths import dataset_name

    return source if source == "builtin" or dataset_name(source) else str(Path(source).resolve())


__all__ = ["DataError", "Dataset", "builtin", "digest", "full_name", "load", "load_cifar"]
