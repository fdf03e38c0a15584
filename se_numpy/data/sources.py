"""The archives of CIFAR: their names, sizes, checksums and download servers, from sources.json."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path

SOURCES = Path(__file__).parent / "sources.json"
TITLES = {"cifar10": "CIFAR-10", "cifar100": "CIFAR-100"}
MAX_FILE_SIZE = 400_000_000  # bytes, larger than any CIFAR file; for files of unknown size


@dataclass(frozen=True)
class File:
    """The published size and checksum of one file in an archive; None where unknown."""

    size: int | None = None
    sha256: str | None = None
    md5: str | None = None

    def mismatch(self, path: Path) -> str | None:
        """Return how the existing file at ``path`` differs from this description, or None."""
        size = path.stat().st_size
        if self.size is not None and size != self.size:
            return f"it has {size:,} bytes, not {self.size:,}"
        for name, title, expected in (("sha256", "SHA-256", self.sha256), ("md5", "MD5", self.md5)):
            if expected is not None:
                found = checksum(path, name)
                return None if found == expected else f"its {title} is {found[:16]}…, not {expected[:16]}…"
        return None

    @property
    def has_checksum(self) -> bool:
        """True if a checksum of the file has been published."""
        return bool(self.sha256 or self.md5)


@dataclass(frozen=True)
class Archive:
    """One of the archives in which a data set is distributed.

    rows: images in each file, if not the official number (for small test archives).
    """

    dataset: str
    form: str
    file: str
    folder: str
    size: int
    sha256: str
    files: Mapping[str, File]
    mirrors: tuple[str, ...] = ()
    rows: int | None = None

    @property
    def title(self) -> str:
        """The display name of the data set."""
        return TITLES.get(self.dataset, self.dataset)

    def mismatch(self, path: Path) -> str | None:
        """Return how the archive at ``path`` differs from this one, or None."""
        return File(self.size, self.sha256).mismatch(path)


@cache
def archives(dataset: str) -> tuple[Archive, ...]:
    """Return the archives of a data set, the one with the most servers first."""
    found = []
    for entry in json.loads(SOURCES.read_text(encoding="utf-8"))["archives"]:
        if entry["dataset"] == dataset:
            files = {name: File(**published) for name, published in entry["files"].items()}
            mirrors = tuple(mirror["url"] for mirror in entry["mirrors"])
            found.append(Archive(dataset, entry["form"], entry["file"], entry["folder"], entry["size"],
                                 entry["sha256"], files, mirrors, entry.get("rows")))  # fmt: skip
    return tuple(found)


def checksum(path: Path, name: str = "sha256") -> str:
    """Return the checksum of a file in hexadecimal."""
    with path.open("rb") as file:
        # MD5 is not secure, but for some unpacked files it is the only published checksum.
        return hashlib.file_digest(file, lambda: hashlib.new(name, usedforsecurity=False)).hexdigest()
