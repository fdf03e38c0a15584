"""Data: CIFAR from this machine or the network, and a set that is made here and shows what SE blocks are for."""

from pathlib import Path

from se_numpy.data.cifar import DataError, load_cifar
from se_numpy.data.dataset import Dataset, digest
from se_numpy.data.glyphs import builtin


def load(source: str) -> Dataset:
    """The set called "builtin", "cifar10" or "cifar100", or the CIFAR in the folder ``source``.

    CIFAR by name is taken from the first place that has it; ``se-numpy data where`` lists them.
    Raises DataError as ``load_cifar``.
    """
    from se_numpy.data.search_paths import find, name_of

    if source == "builtin":
        return builtin()
    name = name_of(source)
    return load_cifar(find(name), only=name) if name else load_cifar(source)


def full_name(source: str) -> str:
    """A set's name as it is, a folder in full: so it is found from any other folder too."""
    from se_numpy.data.search_paths import name_of

    return source if source == "builtin" or name_of(source) else str(Path(source).resolve())


__all__ = ["DataError", "Dataset", "builtin", "digest", "full_name", "load", "load_cifar"]
