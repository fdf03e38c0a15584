"""Files with named arrays: read and write .safetensors and .npz files, and read PyTorch files if PyTorch is installed.

No code in a file is executed, and false sizes in a .safetensors or .npz file do not cost memory.
"""

import json
import zipfile
from collections.abc import Callable, Mapping
from math import prod
from pathlib import Path
from typing import Any

import numpy as np

from se_numpy.arrays import to_host
from se_numpy.checkpoint import atomic_write
from se_numpy.install_hints import install_command

METADATA_KEY = "se_numpy"
MAX_METADATA = 4 << 20  # bytes, far more than the names of a thousand classes need
MAX_COMPRESSION = 50  # the largest accepted compression ratio; weights hardly compress
_TORCH = (".pt", ".pth", ".bin")
_WRAPPERS = ("state_dict", "model", "net")  # keys under which training scripts store a state dict
_BYTES = {
    "F64": np.float64, "F32": np.float32, "F16": np.float16, "I64": np.int64, "I32": np.int32, "I16": np.int16,
    "I8": np.int8, "U8": np.uint8, "BOOL": np.bool_,
}  # fmt: skip


class MissingLibrary(RuntimeError):
    """A required library is not installed."""


def read(path: str | Path) -> dict[str, np.ndarray]:
    """Read every array of a .safetensors, .npz, .pt, .pth or .bin file by name; half precision becomes float32.

    Raises
    ------
    OSError
        If the file cannot be opened.
    ValueError
        If the file is damaged or of another type.
    MissingLibrary
        If the library for this type of file is not installed.
    """
    path = Path(path)
    readers: dict[str, Callable[[Path], dict[str, np.ndarray]]] = {
        ".safetensors": _read_safetensors, ".npz": _read_npz, **dict.fromkeys(_TORCH, _read_torch),
    }  # fmt: skip
    if path.suffix not in readers:
        raise ValueError(f"{path} is not a weights file; expected a name ending in {', '.join(readers)}")
    path.open("rb").close()  # raises OSError if the file does not exist
    try:
        arrays = readers[path.suffix](path)
    except (MissingLibrary, MemoryError):
        raise
    except Exception as error:  # the libraries raise various exceptions for damaged files
        reason = " ".join(str(error).split())[:200] or type(error).__name__
        raise ValueError(f"{path} is damaged or not a {path.suffix} weights file: {reason}") from None
    return {name: a.astype(np.float32) if a.dtype == np.float16 else a for name, a in arrays.items()}


def read_metadata(path: str | Path) -> dict[str, Any]:
    """Return the metadata that ``write`` stored in a file, or {} if there is none or it cannot be read."""
    path = Path(path)
    try:
        if path.suffix == ".npz":
            with zipfile.ZipFile(path) as archive:
                info = archive.getinfo(f"{METADATA_KEY}.npy")
                if info.file_size > MAX_METADATA:
                    return {}
                found = json.loads(str(_member(archive, info)))
        elif path.suffix == ".safetensors":
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
    arrays = {}
    for name, tensor in _safetensors().deserialize(path.read_bytes()):
        kind, shape, data = tensor["dtype"], tensor["shape"], tensor["data"]
        if kind == "BF16":  # bfloat16 is the upper half of a float32
            array = (np.frombuffer(data, "<u2").astype("<u4") << 16).view("<f4")
        elif kind in _BYTES:
            array = np.frombuffer(data, np.dtype(_BYTES[kind]).newbyteorder("<"))
        else:
            raise ValueError(f"{name[:80]!r} has type {kind}; expected one of BF16, {', '.join(_BYTES)}")
        arrays[name] = array.reshape(shape)
    return arrays


def _read_npz(path: Path) -> dict[str, np.ndarray]:
    with zipfile.ZipFile(path) as archive:
        members = archive.infolist()
        names = {member.filename for member in members}
        if "meta.npy" in names and any(name.startswith("params/") for name in names):
            raise ValueError(
                "it is the checkpoint of a run; read it with Trained.load, or convert it with se-numpy weights"
            )
        if sum(member.file_size for member in members) > MAX_COMPRESSION * path.stat().st_size:
            raise ValueError("its uncompressed size is implausibly large")
        return {
            member.filename.removesuffix(".npy"): _member(archive, member)
            for member in members if member.filename != f"{METADATA_KEY}.npy"
        }  # fmt: skip


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


def _read_torch(path: Path) -> dict[str, np.ndarray]:
    try:
        import torch
    except ImportError:
        raise MissingLibrary(
            f"{path.suffix} files need PyTorch, which is not installed: pip install torch, or use a .safetensors file"
        ) from None
    found = torch.load(path, map_location="cpu", weights_only=True)
    for wrapper in _WRAPPERS:
        if isinstance(found, dict) and isinstance(found.get(wrapper), dict):
            found = found[wrapper]
    if not isinstance(found, dict):
        raise ValueError(f"it contains a {type(found).__name__}; expected a state dict")
    arrays = {}
    for name, tensor in found.items():
        if isinstance(tensor, torch.Tensor):
            half = tensor.dtype in (torch.bfloat16, torch.float16)
            arrays[str(name)] = (tensor.float() if half else tensor).detach().numpy()
    if not arrays:
        raise ValueError("it contains no tensors; expected a state dict")
    return arrays
