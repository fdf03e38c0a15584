"""The cache of decoded images: each file is decoded once, into one file that is mapped into memory.

A cache is a folder in that of the user, named by a SHA-256 of the paths, sizes and times of the image files and of the
shape they are decoded to. An interrupted decoding is continued by the next one. A file that cannot be read is left out.
"""

import hashlib
import json
import os
import shutil
import sys
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from se_numpy.data.cifar import DataError
from se_numpy.data.file_lock import lock_file
from se_numpy.data.images import MEGAPIXELS, Header, read_header, read_image
from se_numpy.data.progress import Progress
from se_numpy.data.search_paths import cache_folder
from se_numpy.wrapping import plural

VERSION = 1  # of the reader; another one decodes again
CHUNK = 64  # images between two entries in the log
RULE = "each image is cropped at the centre to the aspect ratio and resized (bicubic)"
PIXELS, LOG, ABOUT = "images.u1", "log.jsonl", "about.json"


class DifferentSizes(DataError):
    """Images of different sizes, and no size to resize them to."""


@dataclass(frozen=True)
class Decoded:
    """Images (N, H, W, C) uint8 of the files that could be read, and for every file None or the reason."""

    images: np.ndarray
    reasons: list[str | None]
    found: str  # the sizes in the files, and what was done


def caches() -> Path:
    """Return the folder of all caches."""
    return cache_folder() / "decoded"


def caches_of(folder: Path | None) -> list[Path]:
    """Return the caches of the images in this folder, or of all folders, complete or not."""
    found = []
    for place in sorted(path for path in caches().glob("*") if path.is_dir()):
        try:
            held = Path(json.loads((place / ABOUT).read_text(encoding="utf-8"))["folder"])
        except (OSError, ValueError, KeyError, TypeError):
            held = None
        if folder is None or held == folder.resolve():
            found.append(place)
    return found


def remove(places: Sequence[Path]) -> int:
    """Remove these caches and return the number of bytes that this frees.

    Raises
    ------
    Busy
        If another process is writing to one of them.
    """
    freed = 0
    for place in places:
        with lock_file(place, "written to"):
            freed += bytes_in(place)
            shutil.rmtree(place)
    return freed


def bytes_in(place: Path) -> int:
    """Return the size of a cache in bytes."""
    return sum(file.stat().st_size for file in place.iterdir())


def decode(paths: Sequence[Path], folder: Path, size: tuple[int, int] | None, channels: int | None) -> Decoded:
    """Return the images in these files, all of one shape, from the cache or after decoding them.

    ``folder`` is the data set that they belong to. If ``size`` is None, all images must have one size. If ``channels``
    is None, they are 1 if all images are grey, else 3.

    Raises
    ------
    DifferentSizes
        If the images have different sizes and ``size`` is None.
    DataError
        If none can be read, if the disk is full, or if another
        process is decoding them.
    RuntimeError
        If Pillow is not installed.
    KeyboardInterrupt
        After what was decoded is saved.
    """
    place = caches() / _key(paths, size, channels)
    try:
        place.mkdir(parents=True, exist_ok=True)
        writable = os.access(place, os.W_OK)
    except OSError:
        writable = False
    if not writable:
        about = _describe(paths, folder, size, channels)
        parts: list[bytes] = []
        reasons = _decode(paths, about, 0, lambda data, _: parts.append(data))
        return _result(np.frombuffer(b"".join(parts), np.uint8), about, reasons)
    with ExitStack() as stack:
        if (done := _complete(place, len(paths))) is None:
            stack.enter_context(lock_file(place, "written to"))
            stack.callback(_remove_if_empty, place)
            done = _fill(place, paths, folder, size, channels)
        about, reasons = done
    empty = all(reason is not None for reason in reasons)  # an empty file cannot be mapped
    return _result(np.zeros(0, np.uint8) if empty else np.asarray(np.memmap(place / PIXELS, np.uint8, "r")), about,
                   reasons)  # fmt: skip


def _remove_if_empty(place: Path) -> None:
    with suppress(OSError):
        place.rmdir()


def _key(paths: Sequence[Path], size: tuple[int, int] | None, channels: int | None) -> str:
    """Return the name of the cache: a digest of the files, without reading them, and of what they are decoded to."""
    digest = hashlib.sha256(json.dumps([VERSION, size, channels]).encode())
    for path in paths:
        try:
            found = path.stat()
            state: Any = (found.st_size, found.st_mtime_ns, found.st_ctime_ns, found.st_ino)
        except OSError:
            state = None
        digest.update(f"{os.path.abspath(path)!r} {state}\n".encode())
    return digest.hexdigest()[:32]


def _complete(place: Path, total: int) -> tuple[dict, list[str | None]] | None:
    """Return the description and the log of a complete cache; None if it is incomplete or damaged."""
    try:
        about = json.loads((place / ABOUT).read_text(encoding="utf-8"))
        reasons = _read_log(place, about, shorten=False)
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return (about, reasons) if len(reasons) == total else None


def _fill(
    place: Path, paths: Sequence[Path], folder: Path, size: tuple[int, int] | None, channels: int | None
) -> tuple[dict, list[str | None]]:
    """Decode the files that are not in the cache yet."""
    try:
        try:
            about = json.loads((place / ABOUT).read_text(encoding="utf-8"))
            reasons = _read_log(place, about, shorten=True)
        except (OSError, ValueError, KeyError, TypeError):
            about, reasons = _describe(paths, folder, size, channels), []
            (place / PIXELS).write_bytes(b"")
            (place / LOG).write_bytes(b"")
            (place / ABOUT).write_text(json.dumps(about), encoding="utf-8")
        _check_free_space(place, (len(paths) - len(reasons)) * _bytes_of(about))
        with open(place / PIXELS, "ab") as pixels, open(place / LOG, "a", encoding="utf-8") as log:

            def keep(data: bytes, added: list[str | None]) -> None:
                pixels.write(data)
                pixels.flush()
                log.writelines(json.dumps(reason) + "\n" for reason in added)  # after the pixels: it never claims more
                log.flush()

            return about, reasons + _decode(paths, about, len(reasons), keep)
    except OSError as error:
        raise DataError(
            f"the decoded images cannot be written to {place} ({error.strerror or error}); free some space, or set "
            "XDG_CACHE_HOME to another folder; what was decoded is kept"
        ) from None


def _read_log(place: Path, about: dict, *, shorten: bool) -> list[str | None]:
    """Return an entry for each file in the cache: None, or the reason for which it could not be read.

    With ``shorten``, pixels without an entry and entries without pixels are removed; else those raise ValueError.
    """
    each, held = _bytes_of(about), (place / PIXELS).stat().st_size
    text = (place / LOG).read_text(encoding="utf-8")
    reasons: list[str | None] = []
    used = 0
    for line in text.splitlines(keepends=True):
        reason = json.loads(line) if line.endswith("\n") else 0
        if not isinstance(reason, str | None) or (reason is None and used + each > held):
            break
        used += each * (reason is None)
        reasons.append(reason)
    if not shorten:
        if used != held:
            raise ValueError("the pixels do not match the log")
        return reasons
    os.truncate(place / PIXELS, used)
    (place / LOG).write_text("".join(json.dumps(reason) + "\n" for reason in reasons), encoding="utf-8")
    return reasons


def _describe(paths: Sequence[Path], folder: Path, size: tuple[int, int] | None, channels: int | None) -> dict:
    """Read the headers of the files and return the shape to decode to, with a description of the sizes found."""
    headers = []
    with Progress("reading image headers", len(paths), unit="images") as progress:
        progress.restart(0)
        for path in paths:
            with suppress(ValueError, OSError):  # the reason is recorded when it is decoded
                headers.append(read_header(path))
            progress.advance(1)
    if not headers:
        raise DataError(f"none of the {plural(len(paths), 'image')} in {folder} can be read: {_reason(paths[0])}")
    sizes = Counter((header.height, header.width) for header in headers)
    if size is None and len(sizes) > 1:
        raise DifferentSizes(
            f"the images in {folder} have {len(sizes):,} sizes, {_range(sizes)}; give the size to train on, such as "
            f"--size 32: {RULE}"
        )
    H, W = size or next(iter(sizes))
    if H * W > MEGAPIXELS * 10**6:
        raise DataError(f"the images in {folder} would have {H}x{W} pixels; expected at most {MEGAPIXELS} megapixels")
    C = channels or (1 if all(header.grey for header in headers) else 3)
    return {"folder": str(folder.resolve()), "shape": [H, W, C], "found": _words(sizes, headers, (H, W, C))}


def _words(sizes: Counter, headers: Sequence[Header], shape: tuple[int, int, int]) -> str:
    grey, (H, W, C) = sum(header.grey for header in headers), shape
    resized = "" if set(sizes) == {(H, W)} else f", cropped at the centre and resized to {H}x{W} (bicubic)"
    if C == 1:
        colours = "grey" if grey == len(headers) else f"converted to grey ({len(headers) - grey:,} are in colour)"
    else:
        colours = f"in colour ({grey:,} are grey)" if grey else "in colour"
    return f"{_range(sizes)} {colours}{resized}"


def _range(sizes: Counter) -> str:
    by_area = sorted(sizes, key=lambda size: (size[0] * size[1], size))
    smallest, largest = ("x".join(map(str, by_area[i])) for i in (0, -1))
    return smallest if smallest == largest else f"{smallest} to {largest}"


def _reason(path: Path) -> str:
    try:
        read_header(path)
    except (ValueError, OSError) as error:
        return str(error)
    return ""


def _decode(
    paths: Sequence[Path], about: dict, first: int, keep: Callable[[bytes, list[str | None]], object]
) -> list[str | None]:
    """Decode the files from the ``first`` one on, passing every few of them to ``keep``; return their entries."""
    reasons: list[str | None] = []
    with Progress("decoding images", len(paths), unit="images") as progress:
        progress.restart(first)
        try:
            for start in range(first, len(paths), CHUNK):
                data: list[bytes] = []
                added: list[str | None] = []
                for path in paths[start : start + CHUNK]:
                    try:
                        data.append(read_image(path, about["shape"]).tobytes())
                        added.append(None)
                    except (ValueError, OSError) as error:
                        added.append(_why(error, path))
                keep(b"".join(data), added)
                reasons += added
                progress.advance(len(added))
        except KeyboardInterrupt:
            print(f"decoding stopped after {first + len(reasons):,} of {plural(len(paths), 'image')}; the same command "
                  "continues it", file=sys.stderr)  # fmt: skip
            raise
    return reasons


def _why(error: Exception, path: Path) -> str:
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return "it does not exist" if isinstance(error, FileNotFoundError) else str(error).partition(f"{path}: ")[2]


def _result(pixels: np.ndarray, about: dict, reasons: list[str | None]) -> Decoded:
    return Decoded(pixels.reshape(-1, *about["shape"]), reasons, about["found"])


def _bytes_of(about: dict) -> int:
    H, W, C = about["shape"]
    return H * W * C


def _check_free_space(place: Path, needed: int) -> None:
    free = shutil.disk_usage(place).free
    if needed > free:
        raise DataError(
            f"the decoded images need {needed / 1e9:,.1f} GB in {caches()}, where {free / 1e9:,.1f} GB are free; give "
            "a smaller --size, free some space, or set XDG_CACHE_HOME to another folder"
        )
