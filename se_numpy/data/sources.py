"""The archives of CIFAR: their names, sizes, checksums and servers, read from sources.json."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path

SOURCES = Path(__file__).parent / "sources.json"
TITLES = {"cifar10": "CIFAR-10", "cifar100": "CIFAR-100"}
MOST = 400_000_000  # bytes: more than any file of CIFAR has, for those whose size nobody has written down


@dataclass(frozen=True)
class File:
    """What is known of one file in an archive: its size, and one checksum, as far as anybody has published them."""

    size: int | None = None
    sha256: str | None = None
    md5: str | None = None

    def wrong(self, path: Path) -> str | None:
        """What is wrong with the file at ``path``, or None; it is there."""
        size = path.stat().st_size
        if self.size is not None and size != self.size:
            return f"it has {size:,} bytes, not {self.size:,}"
        for name, known in (("sha256", self.sha256), ("md5", self.md5)):
            if known is not None:
                found = checksum(path, name)
                return None if found == known else f"its {name} is {found[:16]}…, not {known[:16]}…"
        return None

    @property
    def known(self) -> bool:
        """Whether there is a checksum to hold a file against."""
        return bool(self.sha256 or self.md5)


@dataclass(frozen=True)
class Archive:
    """One of the archives in which a data set is handed out.

    rows: images in each file, where it is not the official number (small archives, to try things with).
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
        """The name for people."""
        return TITLES.get(self.dataset, self.dataset)

    def wrong(self, path: Path) -> str | None:
        """What is wrong with the archive at ``path``, or None."""
        return File(self.size, self.sha256).wrong(path)


@cache
def archives(dataset: str) -> tuple[Archive, ...]:
    """The archives of a data set, that which most servers have first."""
    found = []
    for entry in json.loads(SOURCES.read_text(encoding="utf-8"))["archives"]:
        if entry["dataset"] == dataset:
            files = {name: File(**known) for name, known in entry["files"].items()}
            mirrors = tuple(mirror["url"] for mirror in entry["mirrors"])
            found.append(Archive(dataset, entry["form"], entry["file"], entry["folder"], entry["size"],
                                 entry["sha256"], files, mirrors, entry.get("rows")))  # fmt: skip
    return tuple(found)


def checksum(path: Path, name: str = "sha256") -> str:
    """The checksum of a whole file, in hexadecimal."""
    with path.open("rb") as file:
        # MD5 proves nothing against an attacker; for files that others unpacked it is all that was published.
        return hashlib.file_digest(file, lambda: hashlib.new(name, usedforsecurity=False)).hexdigest()
