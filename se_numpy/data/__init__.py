"""Data: CIFAR from a folder, and a set that is made here and shows what SE blocks are for."""

from se_numpy.data.cifar import DataError, load_cifar
from se_numpy.data.dataset import Dataset
from se_numpy.data.glyphs import builtin


def load(source: str) -> Dataset:
    """The set called "builtin", or the CIFAR in the folder ``source``.  Raises DataError as ``load_cifar``."""
    return builtin() if source == "builtin" else load_cifar(source)


__all__ = ["DataError", "Dataset", "builtin", "load", "load_cifar"]
