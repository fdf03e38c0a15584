"""Checkpoints: arrays and a JSON description in one .npz file, without pickle and written atomically."""

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
def atomic_write(path: str | Path) -> Iterator[IO[bytes]]:
    """Open a temporary file for writing, then sync it and rename it to ``path``.

    An existing file at ``path`` is kept until it is replaced, and also if an error occurs.
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
    with suppress(OSError):  # sync the rename too, where the system supports it
        folder = os.open(path.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)


def save(path: str | Path, trees: dict[str, Tree], meta: dict[str, Any]) -> None:
    """Write trees of arrays (host or device) and a JSON description, atomically.

    Raises
    ------
    OSError
        If the file cannot be written.
    """
    arrays: dict[str, Any] = {
        f"{kind}/{name}": to_host(leaf) for kind, tree in trees.items() for name, leaf in leaves(tree)
    }
    arrays["meta"] = np.array(json.dumps(meta))
    with atomic_write(path) as file:
        np.savez(file, **arrays)


def load(path: str | Path) -> tuple[dict[str, Tree], dict[str, Any]]:
    """Read the trees, as host arrays, and the description written by ``save``.

    Raises
    ------
    FileNotFoundError
        If the file does not exist.
    PermissionError
        If reading the file is not permitted.
    ValueError
        If the file is not a checkpoint, or is damaged.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"checkpoint {path} does not exist")
    try:
        with zipfile.ZipFile(path) as archive:
            if sum(info.file_size for info in archive.infolist()) > path.stat().st_size:
                raise ValueError("its arrays would be larger than the file")
            arrays = {info.filename.removesuffix(".npy"): _array(archive, info) for info in archive.infolist()}
        meta = json.loads(str(arrays.pop("meta")))
        if not isinstance(meta, dict):
            raise ValueError("its description is not a dict")
        kinds: dict[str, dict[str, np.ndarray]] = {}
        for name, array in arrays.items():
            kind, _, leaf = name.partition("/")
            kinds.setdefault(kind, {})[leaf] = array
        return {kind: from_leaves(items) for kind, items in kinds.items()}, meta
    except PermissionError:
        raise
    # A damaged file can cause many kinds of errors in the libraries that read it.
    except Exception as error:
        reason = str(error) or type(error).__name__
        raise ValueError(f"{path} is not a se_numpy checkpoint, or is damaged: {reason}") from None


def _array(archive: zipfile.ZipFile, info: zipfile.ZipInfo) -> np.ndarray:
    """Read one array after checking its size, so that a false header cannot exhaust memory."""
    if info.compress_type != zipfile.ZIP_STORED or info.file_size != info.compress_size:
        raise ValueError(f"{info.filename} is compressed; expected an uncompressed array")
    with archive.open(info) as file:
        version = np.lib.format.read_magic(file)
        read_header = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}
        shape, fortran, dtype = read_header[version](file)
        data = file.read()  # bounded by the file size; also verifies the checksum
    if dtype.hasobject or prod(shape) * dtype.itemsize != len(data):
        raise ValueError(f"{info.filename} has {len(data)} bytes of data; its header declares {shape} of {dtype}")
    return np.frombuffer(data, dtype).reshape(shape, order="F" if fortran else "C").copy()
