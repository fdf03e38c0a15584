"""Files of torch.save: tensors alone are read, and any object beside them is left out without executing its code.

PyTorch's ``weights_only`` mode constructs nothing but tensors and plain containers, and refuses a file with anything
else, such as the argparse.Namespace of a training script. Here, an inert stand-in takes the place of such an object.
Functions of Python's standard library, which only an attack would store in a file of weights, are refused.
"""

import pickletools
import sys
import warnings
import zipfile
from collections import OrderedDict
from collections.abc import Iterator
from contextlib import nullcontext
from pathlib import Path
from typing import IO, Any

from se_numpy.interop.schemes import printable

_SAVE = "save the weights alone with torch.save(model.state_dict(), FILE)"
_MAX_PICKLE = 256 << 20  # bytes; that of a network with a hundred thousand tensors has 20 MB
_DATA = frozenset((  # modules of the standard library whose objects training scripts store
    "argparse", "array", "collections", "copyreg", "dataclasses", "datetime", "decimal", "enum", "fractions",
    "functools", "ipaddress", "numbers", "pathlib", "random", "re", "time", "types", "typing", "uuid", "zoneinfo",
    "_codecs", "_collections", "_operator", "operator",
))  # fmt: skip
_BUILTIN_DATA = frozenset((
    "bool", "bytearray", "bytes", "complex", "dict", "float", "frozenset", "int", "list", "object", "range", "set",
    "slice", "str", "tuple", "type",
))  # fmt: skip


class MissingLibrary(RuntimeError):
    """A required library is not installed."""


class StandIn:
    """An object in place of one that is not constructed; it accepts any arguments and state, and does nothing."""

    kind = ""

    def __new__(cls, *args: Any, **kwargs: Any) -> "StandIn":
        return super().__new__(cls)

    def __init__(self, *args: Any, **kwargs: Any) -> None: ...

    def __setstate__(self, state: Any) -> None: ...


class DictStandIn:
    """The stand-in for a kind of dict: an OrderedDict, because PyTorch stores items in no other object."""

    def __new__(cls, *args: Any, **kwargs: Any) -> Any:
        return OrderedDict()


def read_torch(path: Path) -> Any:
    """Return the content of a file of torch.save, with stand-ins for other objects than tensors and containers.

    Raises
    ------
    ValueError
        If the file is damaged, holds functions, or a whole model instead of its weights.
    MissingLibrary
        If PyTorch is not installed.
    """
    try:
        import torch
    except ImportError:
        raise MissingLibrary(
            f"{path} was written by PyTorch, which is not installed: pip install torch, or use a .safetensors file"
        ) from None
    try:
        others = sorted({name for file in _pickles(path) for name in _globals(file)})
    except Exception:  # zipfile raises various exceptions for damaged archives
        raise ValueError(f"{path} is damaged or not a file of torch.save; download it again") from None
    for name in others:
        module, _, function = name.partition(".")
        code = function not in _BUILTIN_DATA if module == "builtins" else module in sys.stdlib_module_names - _DATA
        if code:
            raise ValueError(f"{path} holds a call of {printable(name)}, which is code, so it is not read; {_SAVE}")
    found = _loaded(torch, path, others)
    if isinstance(found, StandIn):
        raise ValueError(f"{path} holds a whole object, {printable(found.kind)}, not its weights; {_SAVE}")
    return found


def _loaded(torch: Any, path: Path, others: list[str]) -> Any:
    reason = ""
    for base in (StandIn, DictStandIn):
        stand_ins = [(type("Other", (base,), {"kind": name}), name) for name in others]  # PyTorch's own come first
        allowed = getattr(torch.serialization, "safe_globals", lambda _: nullcontext())  # since PyTorch 2.5
        try:
            with allowed(stand_ins), warnings.catch_warnings():
                warnings.simplefilter("ignore")  # about the version of the pickle
                return torch.load(path, map_location="cpu", weights_only=True)
        except MemoryError:
            raise
        except Exception as error:  # PyTorch raises various exceptions for damaged files
            reason = reason or f"{type(error).__name__}: {' '.join(str(error).split())}"
    if foreign := [name for name in others if name.partition(".")[0] not in ("torch", "collections", "builtins")]:
        listed = ", ".join(map(printable, foreign[:3])) + (", ..." if len(foreign) > 3 else "")
        raise ValueError(f"{path} holds other objects than tensors, which cannot be left out ({listed}); {_SAVE}")
    if "Unsupported operand" in reason:
        reason = "its pickle protocol is not the default of torch.save, 2, which alone is read"
    raise ValueError(f"{path} is damaged or not a file of torch.save ({printable(reason)})")


def _pickles(path: Path) -> Iterator[IO[bytes]]:
    if not zipfile.is_zipfile(path):
        with path.open("rb") as file:
            for _ in range(4):  # a number, the version, properties of the machine, and the object
                yield file
        return
    with zipfile.ZipFile(path) as archive:
        for member in archive.infolist():
            if member.filename.endswith("/data.pkl"):
                if member.file_size > _MAX_PICKLE:
                    raise zipfile.BadZipFile
                with archive.open(member) as file:
                    yield file


def _globals(file: IO[bytes]) -> Iterator[str]:
    """Return the full names of the classes and functions in a pickle, without unpickling it."""
    import _compat_pickle

    try:
        for code, argument, _ in pickletools.genops(file):
            if code.name == "GLOBAL":
                module, _, name = str(argument).partition(" ")
                renamed = _compat_pickle.NAME_MAPPING.get((module, name))
                module, name = renamed or (_compat_pickle.IMPORT_MAPPING.get(module, module), name)
                yield f"{module}.{name}"
    except Exception:  # a damaged pickle, which torch.load reports
        return
