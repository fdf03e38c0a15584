"""Out of an archive come the files one expects, into the folder one expects, or nothing at all."""

import gzip
import os
import shutil
import tarfile
import zlib
from pathlib import Path

from se_numpy.data.cifar import DataError
from se_numpy.data.file_lock import lock_file
from se_numpy.data.sources import MOST, Archive, File

_AT_ONCE = 1 << 20
_MEMBERS = 64  # the largest official archive has nine


def unpack(path: Path, archive: Archive, parent: Path) -> Path:
    """Unpack the archive at ``path`` to a new folder in ``parent``, and return that folder.

    Only plain files with names, sizes and checksums of ``archive`` are written, into a hidden folder that gets its
    name once all of them are there. Other plain files in the archive's own folder (a readme) are passed over.
    Raises DataError for anything else: links, devices, names that lead elsewhere, duplicates, sizes beyond reason,
    files that are missing or damaged. Whoever has not checked the archive's SHA-256 is safe all the same.
    """
    target = parent / archive.folder
    if target.exists():
        raise DataError(f"{target} is there already: move it away, then unpack again.")
    parent.mkdir(parents=True, exist_ok=True)
    hidden = parent / f".{archive.folder}.unpacking"
    hidden.mkdir(exist_ok=True)
    with lock_file(hidden, "filled"):
        try:
            for left_over in hidden.iterdir():  # by a run that was killed
                left_over.unlink()
            _extract(path, archive, hidden)
            os.rename(hidden, target)
        except OSError as error:
            words = f"{error.filename or hidden} cannot be written ({error.strerror or error})"
            raise DataError(f"{path} cannot be unpacked: {words}.") from error
        finally:
            shutil.rmtree(hidden, ignore_errors=True)
    return target


def _extract(path: Path, archive: Archive, hidden: Path) -> None:
    limit = sum(MOST if file.size is None else file.size for file in archive.files.values()) + 4 * _AT_ONCE
    seen: set[str] = set()
    try:
        with gzip.open(path) as zipped, _tar(_Bounded(zipped, limit)) as tar:
            for count, member in enumerate(tar):
                if count >= _MEMBERS:
                    raise ValueError(f"it has more than {_MEMBERS} entries")
                name = _name(member, archive.folder)
                if name in seen:
                    raise ValueError(f"it has {member.name!r:.100} twice")
                seen.add(name)
                if name in archive.files:
                    _save(tar, member, archive.files[name], hidden / name)
        if missing := sorted(set(archive.files) - seen):
            raise ValueError(f"it has no {', '.join(missing)}")
    except (ValueError, tarfile.TarError, EOFError, zlib.error, gzip.BadGzipFile, OverflowError) as error:
        raise DataError(f"{path} is damaged or not {archive.file}: {str(error) or type(error).__name__}; "
                        "nothing was unpacked, download it again.") from error  # fmt: skip


def _name(member: tarfile.TarInfo, folder: str) -> str:
    """The name of a file in the archive's folder, "" for the folder itself.  Raises ValueError for all else."""
    if member.isdir() and member.name == folder:
        return ""
    if member.type not in (tarfile.REGTYPE, tarfile.AREGTYPE) or member.sparse is not None:
        raise ValueError(f"{member.name!r:.100} in it is no plain file")
    head, _, name = member.name.partition("/")
    if head != folder or not name or name.startswith("..") or set(name) & {"/", "\\", "\0", ":"}:
        raise ValueError(f"{member.name!r:.100} in it leads out of {folder}")
    return name


def _save(tar: tarfile.TarFile, member: tarfile.TarInfo, known: File, to: Path) -> None:
    if known.size not in (None, member.size) or member.size > MOST:
        expected = f"at most {MOST:,}" if known.size is None else f"{known.size:,}"
        raise ValueError(f"{member.name!r} in it has {member.size:,} bytes, not {expected}")
    content = tar.extractfile(member)
    assert content is not None  # it is a plain file
    with to.open("xb") as file:
        shutil.copyfileobj(content, file, _AT_ONCE)
    if wrong := known.wrong(to):
        raise ValueError(f"{member.name!r} in it is not what it should be: {wrong}")


def _tar(file: "_Bounded") -> tarfile.TarFile:
    return tarfile.open(fileobj=file, mode="r:")  # type: ignore[call-overload]  # it reads, seeks and tells: enough


class _Bounded:
    """An unpacked stream that ends at ``limit`` and is read in small pieces, whatever sizes it claims to hold."""

    def __init__(self, file: gzip.GzipFile, limit: int) -> None:
        self.file, self.limit = file, limit

    def read(self, size: int = -1) -> bytes:
        if not 0 <= size <= _AT_ONCE:
            raise ValueError(f"an entry in it claims a header of {size:,} bytes")
        return self.file.read(min(size, self._left()))

    def seek(self, position: int) -> int:
        if position > self.limit:
            raise ValueError(f"it claims to hold more than {self.limit:,} bytes")
        return self.file.seek(position)

    def tell(self) -> int:
        return self.file.tell()

    def _left(self) -> int:
        left = self.limit - self.file.tell()
        if left <= 0:
            raise ValueError(f"it holds more than {self.limit:,} bytes")
        return left
