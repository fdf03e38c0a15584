"""Recognise the format of a weights file by its content, or report what the file is instead."""

import json
import os
import re
import struct
import zipfile
from pathlib import Path

from se_numpy.interop.schemes import printable

SHARD = re.compile(r"-(\d{5})-of-(\d{5})\.\w+$")  # the end of the name of one of several files of one network
MAX_INDEX = 64 << 20  # bytes, far more than the names of any network need
MAX_COMPRESSION = 50  # the largest accepted compression ratio; weights hardly compress
_HEAD = 4096  # bytes read to recognise a file
_LEGACY_TORCH = b"\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19."  # the number with which torch.save began before 1.6
_AGAIN = "download it again"
_CONVERT = "expected .safetensors, .npz or a state dict written by torch.save"
_SIGNATURES = (  # the first bytes of other formats, and what such a file is
    (b"\x1f\x8b", "is compressed with gzip; decompress it first"),
    (b"BZh", "is compressed with bzip2; decompress it first"),
    (b"\xfd7zXZ", "is compressed with xz; decompress it first"),
    (b"\x28\xb5\x2f\xfd", "is compressed with Zstandard; decompress it first"),
    (b"7z\xbc\xaf", "is a 7-Zip archive; unpack it first"),
    (b"Rar!", "is a RAR archive; unpack it first"),
    (b"\x89HDF", f"is an HDF5 file, as Keras writes; {_CONVERT}"),
    (b"GGUF", f"is a GGUF file of a language model; {_CONVERT}"),
    (b"\x93NUMPY", "is a .npy file, a single array without a name; expected named arrays, as np.savez writes"),
    (b"\x89PNG", f"is a PNG image; {_CONVERT}"),
    (b"\xff\xd8\xff", f"is a JPEG image; {_CONVERT}"),
    (b"%PDF", f"is a PDF document; {_CONVERT}"),
)  # fmt: skip


class TooLarge(ValueError):
    """A file holds more values than fit into the memory of this machine."""


def format_of(path: Path) -> str:
    """Return "safetensors", "npz", "torch" or "index" (the index of a network in several files).

    Raises
    ------
    OSError
        If the file cannot be opened.
    ValueError
        If the file has another format; the message says which, and what to do.
    """
    with path.open("rb") as file:
        head = file.read(_HEAD)
        size = file.seek(0, os.SEEK_END)
    if not size:
        raise ValueError(f"{path} is empty (0 bytes); {_AGAIN}")
    for signature, words in _SIGNATURES:
        if head.startswith(signature):
            raise ValueError(f"{path} {words}")
    if head.startswith(b"PK"):
        return _zip_format(path)
    if head.startswith(_LEGACY_TORCH):
        return "torch"
    if re.match(rb"\x80[\x02-\x05]", head):
        raise ValueError(f"{path} is a plain Python pickle, which can execute code and is not read; {_CONVERT}")
    if head[257:262] == b"ustar":
        raise ValueError(f"{path} is a tar archive; unpack it first")
    if (text := _text(head)) is not None:
        return _text_format(path, text, size)
    if head[8:9] == b"{":
        return _checked_safetensors(path, head, size)
    begins = head[:8].hex(" ")
    raise ValueError(f"{path} is damaged or not a weights file (it begins with the bytes {begins}); {_CONVERT}")


def _checked_safetensors(path: Path, head: bytes, size: int) -> str:
    declared = struct.unpack("<Q", head[:8])[0]
    if declared > size - 8:
        raise ValueError(
            f"{path} is damaged: its header should have {declared:,} bytes, but the file ends after {size:,}; {_AGAIN}"
        )
    return "safetensors"


def _zip_format(path: Path) -> str:
    """Return "npz" or "torch"; the files of both are zip archives."""
    try:
        with zipfile.ZipFile(path) as archive:
            members = archive.infolist()
    except (zipfile.BadZipFile, ValueError, NotImplementedError, EOFError, OSError):
        raise ValueError(
            f"{path} is damaged: it begins as a .npz file or one of torch.save does, but its end is missing; {_AGAIN}"
        ) from None
    names = {member.filename for member in members}
    if sum(member.file_size for member in members) > MAX_COMPRESSION * path.stat().st_size:
        raise ValueError(f"{path} is damaged or not a weights file: its uncompressed size is implausibly large")
    if any(name.endswith("/constants.pkl") or "/code/" in name for name in names):
        raise ValueError(
            f"{path} is a TorchScript program, which is not run; save its weights with "
            "torch.save(torch.jit.load(FILE).state_dict(), NEW)"
        )
    if any(name.endswith("/data.pkl") for name in names):
        return "torch"
    if "meta.npy" in names and any(name.startswith("params/") for name in names):
        raise ValueError(
            f"{path} is the checkpoint of a run; read it with Trained.load, or convert it with se-numpy weights"
        )
    if names and not any(name.endswith(".npy") for name in names):
        raise ValueError(
            f"{path} is damaged or not a weights file: it is a zip archive of other files, such as "
            f"{printable(sorted(names)[0])}; unpack it first"
        )
    return "npz"


def _text(head: bytes) -> str | None:
    """Return the beginning of a file of text, or None for other files."""
    encoding = "utf-16" if head.startswith((b"\xff\xfe", b"\xfe\xff")) else "utf-8-sig"
    try:
        text = head.decode(encoding)
    except UnicodeDecodeError as error:
        if encoding == "utf-16" or error.start < len(head) - 3 or len(head) < _HEAD:
            return None
        text = head[: error.start].decode(encoding)  # a character is cut in two
    return text if all(c.isprintable() or c in "\n\r\t\f" for c in text) else None


def _text_format(path: Path, text: str, size: int) -> str:
    begins = text.lstrip()
    if begins.startswith("version https://git-lfs"):
        raise ValueError(
            f"{path} is a Git LFS pointer, a text in place of the file itself; fetch the file with `git lfs pull`, "
            "or download it"
        )
    if re.match(r"<(!doctype|html|head|body|!--|\?xml)", begins, re.IGNORECASE):
        raise ValueError(f"{path} is an HTML or XML page, not the file it stands for; download the file itself")
    if begins.startswith("{"):
        return _json_format(path, size)
    line = next(iter(begins.splitlines()), "")
    raise ValueError(f"{path} is not a weights file, but a text that begins with {printable(line[:60])!r}; {_CONVERT}")


def _json_format(path: Path, size: int) -> str:
    try:
        found = json.loads(path.read_text(encoding="utf-8-sig")) if size <= MAX_INDEX else None
    except (ValueError, RecursionError):
        raise ValueError(f"{path} is damaged or not a weights file: it is JSON that ends early; {_AGAIN}") from None
    if isinstance(found, dict) and isinstance(found.get("weight_map"), dict):
        return "index"
    raise ValueError(f"{path} is a JSON file without weights; {_CONVERT}")


def check_memory(path: Path, needed: int) -> None:
    """Raise TooLarge if reading a file needs more bytes than this machine has."""
    if needed > (memory := _memory()):
        raise TooLarge(
            f"{path} holds {needed / 1e9:.1f} GB of values, and this machine has {memory / 1e9:.1f} GB of memory; "
            "expected the weights of a network that fits in it"
        )


def _memory() -> int:
    try:
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, ValueError, OSError):  # Windows does not say
        return 1 << 62
