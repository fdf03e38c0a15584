"""Files of named arrays: .safetensors and .npz, read and written; PyTorch's own, read where PyTorch is installed.

Nothing in a file is executed, and a .safetensors or an .npz file that lies about its sizes costs no memory.
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

ABOUT = "se_numpy"  # where a file that ``write`` wrote keeps its description
MOST_ABOUT = 4 << 20  # bytes of a description: four for each letter of a thousand classes' names, many times over
MOST_ZIPPED = 50  # an archive may promise this many times its own size; zipped weights are hardly smaller than plain
_TORCH = (".pt", ".pth", ".bin")
_WRAPPERS = ("state_dict", "model", "net")  # what training scripts keep a state dict under
_BYTES = {
    "F64": np.float64, "F32": np.float32, "F16": np.float16, "I64": np.int64, "I32": np.int32, "I16": np.int16,
    "I8": np.int8, "U8": np.uint8, "BOOL": np.bool_,
}  # fmt: skip


class Missing(RuntimeError):
    """A library that is needed is not installed."""


def read(path: str | Path) -> dict[str, np.ndarray]:
    """Every array of a .safetensors, .npz, .pt, .pth or .bin file by its name; half precision is widened to float32.

    Raises OSError for a file that cannot be opened, ValueError for one that is damaged or of another kind, Missing, a
    RuntimeError, where the library that reads it is not installed.
    """
    path = Path(path)
    readers: dict[str, Callable[[Path], dict[str, np.ndarray]]] = {
        ".safetensors": _read_safetensors, ".npz": _read_npz, **dict.fromkeys(_TORCH, _read_torch),
    }  # fmt: skip
    if path.suffix not in readers:
        raise ValueError(f"{path}: expected a file of weights that ends in {', '.join(readers)}")
    path.open("rb").close()  # complains about what is not there
    try:
        arrays = readers[path.suffix](path)
    except (Missing, MemoryError):
        raise
    # A damaged file can make the libraries that read it stumble in many ways; all of them mean the same to people.
    except Exception as error:
        what = " ".join(str(error).split())[:200] or type(error).__name__
        raise ValueError(f"{path} is no {path.suffix} file of weights, or a damaged one: {what}") from None
    return {name: a.astype(np.float32) if a.dtype == np.float16 else a for name, a in arrays.items()}


def about(path: str | Path) -> dict[str, Any]:
    """The description that ``write`` left in a file; {} where there is none that can be read."""
    path = Path(path)
    try:
        if path.suffix == ".npz":
            with zipfile.ZipFile(path) as archive:
                info = archive.getinfo(f"{ABOUT}.npy")
                if info.file_size > MOST_ABOUT:
                    return {}
                found = json.loads(str(_member(archive, info)))
        elif path.suffix == ".safetensors":
            with _safetensors().safe_open(path, framework="np") as file:
                found = json.loads((file.metadata() or {})[ABOUT])
        else:
            return {}
    except Exception:  # whatever is wrong with it, it describes nothing
        return {}
    return found if isinstance(found, dict) else {}


def write(path: str | Path, arrays: Mapping[str, Any], about: Mapping[str, Any] | None = None) -> None:
    """Write named arrays to a .safetensors or .npz file, whole or not at all, and with them what ``about`` says.

    Raises ValueError for another ending, Missing where safetensors is not installed, OSError as opening does.
    """
    path = Path(path)
    described = json.dumps(dict(about)) if about else None
    # Bytes are taken as they lie, so they have to lie in order.
    host = {name: np.array(to_host(array), order="C") for name, array in arrays.items()}
    if path.suffix == ".npz":
        said = {} if described is None else {ABOUT: np.array(described)}
        with atomic_write(path) as file, zipfile.ZipFile(file, "w", zipfile.ZIP_STORED, allowZip64=True) as archive:
            for name, array in {**host, **said}.items():
                with archive.open(f"{name}.npy", "w", force_zip64=True) as member:
                    np.lib.format.write_array(member, array, allow_pickle=False)
    elif path.suffix == ".safetensors":
        metadata = {"format": "pt", **({} if described is None else {ABOUT: described})}
        _safetensors()
        from safetensors.numpy import save

        with atomic_write(path) as file:
            file.write(save(host, metadata))
    else:
        raise ValueError(f"{path}: expected a name that ends in .safetensors or .npz")


def _safetensors() -> Any:
    try:
        import safetensors
    except ImportError:
        raise Missing(
            f"safetensors files need the library of that name, which is missing: {install_command('weights')}"
        ) from None
    return safetensors


def _read_safetensors(path: Path) -> dict[str, np.ndarray]:
    arrays = {}
    for name, tensor in _safetensors().deserialize(path.read_bytes()):
        kind, shape, data = tensor["dtype"], tensor["shape"], tensor["data"]
        if kind == "BF16":  # the upper half of a float32
            array = (np.frombuffer(data, "<u2").astype("<u4") << 16).view("<f4")
        elif kind in _BYTES:
            array = np.frombuffer(data, np.dtype(_BYTES[kind]).newbyteorder("<"))
        else:
            raise ValueError(f"{name[:80]!r} is of type {kind}; expected one of BF16, {', '.join(_BYTES)}")
        arrays[name] = array.reshape(shape)
    return arrays


def _read_npz(path: Path) -> dict[str, np.ndarray]:
    with zipfile.ZipFile(path) as archive:
        members = archive.infolist()
        names = {member.filename for member in members}
        if "meta.npy" in names and any(name.startswith("params/") for name in names):
            raise ValueError("it is the checkpoint of a run, which Trained.load reads and se-numpy weights converts")
        if sum(member.file_size for member in members) > MOST_ZIPPED * path.stat().st_size:
            raise ValueError("it promises far more than it can hold")
        return {
            member.filename.removesuffix(".npy"): _member(archive, member)
            for member in members if member.filename != f"{ABOUT}.npy"
        }  # fmt: skip


def _member(archive: zipfile.ZipFile, member: zipfile.ZipInfo) -> np.ndarray:
    """One array of the archive, made only after its header was compared with the bytes that are there."""
    headers = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}
    with archive.open(member) as file:
        version = np.lib.format.read_magic(file)
        if version not in headers:
            raise ValueError(f"{member.filename[:80]!r} is of a version of .npy that is not known here: {version}")
        shape, fortran, dtype = headers[version](file)
        data = file.read()
    if dtype.hasobject or prod(shape) * dtype.itemsize != len(data):
        raise ValueError(f"{member.filename[:80]!r} says {shape} of {dtype} and holds {len(data)} bytes")
    return np.frombuffer(data, dtype).reshape(shape, order="F" if fortran else "C")


def _read_torch(path: Path) -> dict[str, np.ndarray]:
    try:
        import torch
    except ImportError:
        raise Missing(
            f"{path.suffix} files are PyTorch's, which is not installed: pip install torch, or ask for a .safetensors"
        ) from None
    found = torch.load(path, map_location="cpu", weights_only=True)
    for wrapper in _WRAPPERS:
        if isinstance(found, dict) and isinstance(found.get(wrapper), dict):
            found = found[wrapper]
    if not isinstance(found, dict):
        raise ValueError(f"it holds a {type(found).__name__}; expected a state dict")
    arrays = {}
    for name, tensor in found.items():
        if isinstance(tensor, torch.Tensor):
            half = tensor.dtype in (torch.bfloat16, torch.float16)
            arrays[str(name)] = (tensor.float() if half else tensor).detach().numpy()
    if not arrays:
        raise ValueError("there is no tensor in it; expected a state dict")
    return arrays
