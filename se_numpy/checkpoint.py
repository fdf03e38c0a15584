"""Checkpoints: arrays and a description in one .npz, never a pickle, never half written."""

import json
import os
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from math import prod
from pathlib import Path
from typing import IO, Any

import numpy as np

from se_numpy.arrays import to_host
from se_numpy.tree import Tree, from_leaves, leaves


@contextmanager
def whole(path: str | Path) -> Iterator[IO[bytes]]:
    """A file to write that takes its place at ``path`` once it is whole: a temporary file, synced, then renamed.

    Whatever stood at ``path`` stays until then, and for good if anything goes wrong.
    """
    path = Path(path)
    temporary = path.with_name(path.name + ".tmp")
    try:
        with temporary.open("wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except BaseException:
        with suppress(OSError):
            temporary.unlink(missing_ok=True)
        raise
    with suppress(OSError):  # the renaming, too, should outlive a power cut; not every system can be asked for it
        folder = os.open(path.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)


def save(path: str | Path, trees: dict[str, Tree], meta: dict[str, Any]) -> None:
    """Write trees of arrays (host or device) and a JSON description, whole or not at all.

    Raises OSError where it cannot be written.
    """
    arrays: dict[str, Any] = {
        f"{kind}/{name}": to_host(leaf) for kind, tree in trees.items() for name, leaf in leaves(tree)
    }
    arrays["meta"] = np.array(json.dumps(meta))
    with whole(path) as file:
        np.savez(file, **arrays)


def load(path: str | Path) -> tuple[dict[str, Tree], dict[str, Any]]:
    """Read what ``save`` wrote: trees of host arrays, and the description.

    Raises ValueError, naming the file, for anything that is no checkpoint; FileNotFoundError where there is none.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such checkpoint")
    try:
        with zipfile.ZipFile(path) as archive:
            if sum(info.file_size for info in archive.infolist()) > path.stat().st_size:
                raise ValueError("it promises more than it holds")
            arrays = {info.filename.removesuffix(".npy"): _array(archive, info) for info in archive.infolist()}
        meta = json.loads(str(arrays.pop("meta")))
        if not isinstance(meta, dict):
            raise ValueError("its description is no dict")
        kinds: dict[str, dict[str, np.ndarray]] = {}
        for name, array in arrays.items():
            kind, _, leaf = name.partition("/")
            kinds.setdefault(kind, {})[leaf] = array
        return {kind: from_leaves(items) for kind, items in kinds.items()}, meta
    except PermissionError:
        raise
    # A damaged file can make the libraries that read it stumble in many ways; all of them mean the same to people.
    except Exception as error:
        what = str(error) or type(error).__name__
        raise ValueError(f"{path} is not a se_numpy checkpoint, or a damaged one: {what}") from None


def _array(archive: zipfile.ZipFile, info: zipfile.ZipInfo) -> np.ndarray:
    """One array, after its size was compared with what the file holds: a lie about it must not cost memory."""
    if info.compress_type != zipfile.ZIP_STORED or info.file_size != info.compress_size:
        raise ValueError(f"{info.filename} is compressed, which no checkpoint is")
    with archive.open(info) as file:
        version = np.lib.format.read_magic(file)
        read_header = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}
        shape, fortran, dtype = read_header[version](file)
        data = file.read()  # bounded by the file; the archive's checksum is compared on the way
    if dtype.hasobject or prod(shape) * dtype.itemsize != len(data):
        raise ValueError(f"{info.filename} says {shape} of {dtype} and holds {len(data)} bytes")
    return np.frombuffer(data, dtype).reshape(shape, order="F" if fortran else "C").copy()
