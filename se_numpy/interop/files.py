"""Files with named arrays: read and write .safetensors and .npz files, and read PyTorch files if PyTorch is installed.

The content decides how a file is read, not its ending. No code in a file is executed, and false sizes in a .safetensors
or .npz file do not cost memory.
"""

import json
import struct
import zipfile
from collections.abc import Callable, Mapping
from functools import partial
from math import prod
from pathlib import Path
from typing import Any

import numpy as np

from se_numpy.arrays import to_host
from se_numpy.checkpoint import atomic_write
from se_numpy.install_hints import install_command
from se_numpy.interop.contents import TooLarge, check_memory, format_of
from se_numpy.interop.schemes import printable
from se_numpy.interop.shards import read_shards, refuse_lone_shard
from se_numpy.interop.torch_files import MissingLibrary, read_torch
from se_numpy.interop.unwrapping import unwrap

METADATA_KEY = "se_numpy"
MAX_METADATA = 4 << 20  # bytes, far more than the names of a thousand classes need
_BYTES = {
    "F64": np.float64, "F32": np.float32, "F16": np.float16, "I64": np.int64, "I32": np.int32, "I16": np.int16,
    "I8": np.int8, "U64": np.uint64, "U32": np.uint32, "U16": np.uint16, "U8": np.uint8, "BOOL": np.bool_,
}  # fmt: skip


def read(path: str | Path, *, ema: bool = True, part: str | None = None) -> dict[str, np.ndarray]:
    """Read the state dict in a .safetensors or .npz file, a file of torch.save, or the index of several files.

    The content decides, not the ending of the name. Half precision becomes float32. Entries such as "state_dict" are
    opened and the prefixes of wrappers, such as "module.", are removed. Averaged weights (EMA) are preferred, as in
    timm, with a ``ChosenWeights`` warning; ``ema=False`` chooses the others, and ``part`` an entry or prefix by name.

    Raises
    ------
    OSError
        If the file cannot be opened.
    ValueError
        If the file is damaged, of another type, or holds several networks.
    MissingLibrary
        If the library for this type of file is not installed.
    """
    path = Path(path)
    refuse_lone_shard(path)
    found = _content(path)
    try:
        return unwrap(found, ema=ema, part=part)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from None


def _content(path: Path, *, shard: bool = False) -> Mapping[str, Any]:
    """Return what a file holds."""
    kind = format_of(path)
    if kind == "index":
        if shard:
            raise ValueError(f"{path} is the index of several files; expected one of these files")
        return read_shards(path, partial(_content, shard=True))
    if kind != "safetensors":  # those are mapped into memory
        check_memory(path, path.stat().st_size)
    if kind == "torch":
        return read_torch(path)
    try:
        return _read_safetensors(path) if kind == "safetensors" else _read_npz(path)
    except (MissingLibrary, MemoryError, TooLarge):
        raise
    except Exception as error:  # the libraries raise various exceptions for damaged files
        reason = printable(" ".join(str(error).split())[:200]) or type(error).__name__
        raise ValueError(f"{path} is damaged or not a .{kind} weights file: {reason}") from None


def read_metadata(path: str | Path) -> dict[str, Any]:
    """Return the metadata that ``write`` stored in a file, or {} if there is none or it cannot be read."""
    path = Path(path)
    try:
        kind = format_of(path)
        if kind == "npz":
            with zipfile.ZipFile(path) as archive:
                info = archive.getinfo(f"{METADATA_KEY}.npy")
                if info.file_size > MAX_METADATA:
                    return {}
                found = json.loads(str(_member(archive, info)))
        elif kind == "safetensors":
            with _safetensors().safe_open(path, framework="np") as file:
                found = json.loads((file.metadata() or {})[METADATA_KEY])
        else:
            return {}
    except Exception:  # a damaged file has no metadata
        return {}
    return found if isinstance(found, dict) else {}


def write(path: str | Path, arrays: Mapping[str, Any], metadata: Mapping[str, Any] | None = None) -> None:
    """Write named arrays and JSON metadata to a .safetensors or .npz file, atomically.

    Raises
    ------
    ValueError
        If the file name has another ending.
    MissingLibrary
        If safetensors is needed but not installed.
    OSError
        If the file cannot be written.
    """
    path = Path(path)
    text = json.dumps(dict(metadata)) if metadata else None
    # safetensors writes the memory of an array as it is, so arrays must be contiguous.
    host = {name: np.array(to_host(array), order="C") for name, array in arrays.items()}
    if path.suffix == ".npz":
        described = {} if text is None else {METADATA_KEY: np.array(text)}
        with atomic_write(path) as file, zipfile.ZipFile(file, "w", zipfile.ZIP_STORED, allowZip64=True) as archive:
            for name, array in {**host, **described}.items():
                with archive.open(f"{name}.npy", "w", force_zip64=True) as member:
                    np.lib.format.write_array(member, array, allow_pickle=False)
    elif path.suffix == ".safetensors":
        header = {"format": "pt", **({} if text is None else {METADATA_KEY: text})}
        _safetensors()
        from safetensors.numpy import save

        with atomic_write(path) as file:
            file.write(save(host, header))
    else:
        raise ValueError(f"{path}: expected a name ending in .safetensors or .npz")


def _safetensors() -> Any:
    try:
        import safetensors
    except ImportError:
        raise MissingLibrary(
            f"safetensors files need the safetensors library, which is not installed: {install_command('weights')}"
        ) from None
    return safetensors


def _read_safetensors(path: Path) -> dict[str, np.ndarray]:
    with _safetensors().safe_open(path, framework="np"):  # checks the header against the size of the file
        pass
    with path.open("rb") as file:
        size = struct.unpack("<Q", file.read(8))[0]
        header = json.loads(file.read(size))
    metadata = header.pop("__metadata__", None) or {}
    data = np.memmap(path, mode="r") if header else np.empty(0, np.uint8)  # not read before its shapes are checked
    widened = sum(4 * prod(tensor["shape"]) for tensor in header.values() if tensor["dtype"] in (*_SMALL, "F16"))
    check_memory(path, widened)
    arrays = {}
    for name, tensor in header.items():
        start, end = (8 + size + offset for offset in tensor["data_offsets"])
        arrays[name] = _decoded(name, tensor["dtype"], np.asarray(data[start:end])).reshape(tensor["shape"])
    # safetensors stores one of several tied tensors, and the names of the others in the metadata.
    return arrays | {name: arrays[same] for name, same in metadata.items() if name not in arrays and same in arrays}


def _decoded(name: str, kind: str, data: np.ndarray) -> np.ndarray:
    if kind in _SMALL:
        return _SMALL[kind](data)
    if kind not in _BYTES:
        raise ValueError(f"{name[:80]!r} has type {kind}; expected one of {', '.join((*_BYTES, *_SMALL))}")
    return data.view(np.dtype(_BYTES[kind]).newbyteorder("<"))


def _e4m3(data: np.ndarray) -> np.ndarray:
    """Return the values of float8 numbers with 4 bits of exponent (e4m3fn); the largest one is NaN."""
    codes = np.arange(256)
    exponent, fraction = codes >> 3 & 15, codes & 7
    size = np.where(exponent, 1 + fraction / 8, fraction / 4) * 2.0 ** (exponent - 7)
    values = np.where(codes & 127 == 127, np.nan, np.where(codes < 128, size, -size))
    return values.astype(np.float32)[data]


_SMALL: dict[str, Callable[[np.ndarray], np.ndarray]] = {  # numbers that NumPy lacks, as float32
    "BF16": lambda data: (data.view("<u2").astype("<u4") << 16).view("<f4"),  # the upper half of a float32
    "F8_E5M2": lambda data: (data.astype("<u2") << 8).view("<f2").astype(np.float32),  # the upper half of a float16
    "F8_E4M3": _e4m3,
}


def _read_npz(path: Path) -> dict[str, np.ndarray]:
    arrays: dict[str, np.ndarray] = {}
    with zipfile.ZipFile(path) as archive:
        for member in archive.infolist():
            name = member.filename.removesuffix(".npy")
            if name in arrays:
                raise ValueError(f"it contains {name[:80]!r} twice")
            if name != METADATA_KEY:
                arrays[name] = _member(archive, member)
    return arrays


def _member(archive: zipfile.ZipFile, member: zipfile.ZipInfo) -> np.ndarray:
    """Read one array of the archive, after checking its header against the number of bytes."""
    headers = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}
    with archive.open(member) as file:
        version = np.lib.format.read_magic(file)
        if version not in headers:
            raise ValueError(f"{member.filename[:80]!r} has the unsupported .npy version {version}")
        shape, fortran, dtype = headers[version](file)
        data = file.read()
    if dtype.hasobject or prod(shape) * dtype.itemsize != len(data):
        raise ValueError(f"{member.filename[:80]!r} declares {shape} of {dtype} but holds {len(data)} bytes")
    return np.frombuffer(data, dtype).reshape(shape, order="F" if fortran else "C")
