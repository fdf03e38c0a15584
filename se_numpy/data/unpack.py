"""Unpack an archive of CIFAR: exactly the expected files, in the expected folder, or nothing at all."""

import gzip
import os
import shutil
import tarfile
import zlib
from pathlib import Path

from se_numpy.data.cifar import DataError
from se_numpy.data.file_lock import lock_file
from se_numpy.data.sources import MAX_FILE_SIZE, Archive, File

_CHUNK = 1 << 20
_MAX_MEMBERS = 64  # the largest official archive has nine


def unpack(path: Path, archive: Archive, parent: Path) -> Path:
    """Unpack the archive at ``path`` to a new folder in ``parent``, and return that folder.

    Only regular files with the names, sizes and checksums of ``archive`` are written, to a hidden folder that is
    renamed when it is complete. Other regular files in the archive's own folder, such as a readme, are skipped.
    This is safe even if the SHA-256 of the archive has not been checked.

    Raises
    ------
    DataError
        If the archive holds links, devices, paths outside its folder, duplicates or oversized files, or if files are
        missing or damaged.
    """
    target = parent / archive.folder
    if target.exists():
        raise DataError(f"{target} already exists; move it away, then unpack again.")
    parent.mkdir(parents=True, exist_ok=True)
    hidden = parent / f".{archive.folder}.unpacking"
    hidden.mkdir(exist_ok=True)
    with lock_file(hidden, "written to"):
        try:
            for leftover in hidden.iterdir():  # left by a run that was killed
                leftover.unlink()
            _extract(path, archive, hidden)
            os.rename(hidden, target)
        except OSError as error:
            reason = f"{error.filename or hidden} cannot be written ({error.strerror or error})"
            raise DataError(f"{path} cannot be unpacked: {reason}.") from error
        finally:
            shutil.rmtree(hidden, ignore_errors=True)
    return target


def _extract(path: Path, archive: Archive, hidden: Path) -> None:
    limit = sum(MAX_FILE_SIZE if file.size is None else file.size for file in archive.files.values()) + 4 * _CHUNK
    seen: set[str] = set()
    try:
        with gzip.open(path) as zipped, _tar(_BoundedReader(zipped, limit)) as tar:
            for count, member in enumerate(tar):
                if count >= _MAX_MEMBERS:
                    raise ValueError(f"it has more than {_MAX_MEMBERS} entries")
                name = _name(member, archive.folder)
                if name in seen:
                    raise ValueError(f"it contains {member.name!r:.100} twice")
                seen.add(name)
                if name in archive.files:
                    _save(tar, member, archive.files[name], hidden / name)
        if missing := sorted(set(archive.files) - seen):
            raise ValueError(f"it does not contain {', '.join(missing)}")
    except (ValueError, tarfile.TarError, EOFError, zlib.error, gzip.BadGzipFile, OverflowError) as error:
        raise DataError(f"{path} is damaged or not {archive.file}: {str(error) or type(error).__name__}; "
                        "nothing was unpacked, download it again.") from error  # fmt: skip


def _name(member: tarfile.TarInfo, folder: str) -> str:
    """Return a file's name within the archive's folder, "" for the folder itself; refuse all other entries."""
    if member.isdir() and member.name == folder:
        return ""
    if member.type not in (tarfile.REGTYPE, tarfile.AREGTYPE) or member.sparse is not None:
        raise ValueError(f"its entry {member.name!r:.100} is not a regular file")
    head, _, name = member.name.partition("/")
    if head != folder or not name or name.startswith("..") or set(name) & {"/", "\\", "\0", ":"}:
        raise ValueError(f"its entry {member.name!r:.100} is outside {folder}")
    return name


def _save(tar: tarfile.TarFile, member: tarfile.TarInfo, expected: File, to: Path) -> None:
    if expected.size not in (None, member.size) or member.size > MAX_FILE_SIZE:
        size = f"at most {MAX_FILE_SIZE:,}" if expected.size is None else f"{expected.size:,}"
        raise ValueError(f"its entry {member.name!r} has {member.size:,} bytes, not {size}")
    content = tar.extractfile(member)
    assert content is not None  # it is a regular file
    with to.open("xb") as file:
        shutil.copyfileobj(content, file, _CHUNK)
    if mismatch := expected.mismatch(to):
        raise ValueError(f"its entry {member.name!r} is not the expected file: {mismatch}")


def _tar(file: "_BoundedReader") -> tarfile.TarFile:
    return tarfile.open(fileobj=file, mode="r:")  # type: ignore[call-overload]  # needs only read, seek, tell


class _BoundedReader:
    """A decompressed stream with a maximum length and a maximum read size, whatever its headers claim."""

    def __init__(self, file: gzip.GzipFile, limit: int) -> None:
        self.file, self.limit = file, limit

    def read(self, size: int = -1) -> bytes:
        if not 0 <= size <= _CHUNK:
            raise ValueError(f"one of its entries claims a header of {size:,} bytes")
        return self.file.read(min(size, self._left()))

    def seek(self, position: int) -> int:
        if position > self.limit:
            raise ValueError(f"it claims to contain more than {self.limit:,} bytes")
        return self.file.seek(position)

    def tell(self) -> int:
        return self.file.tell()

    def _left(self) -> int:
        left = self.limit - self.file.tell()
        if left <= 0:
            raise ValueError(f"it contains more than {self.limit:,} bytes")
        return left
