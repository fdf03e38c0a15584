"""The files of a submission as bytes: one file, a folder, or a zip archive, which only the sandbox opens."""

import hashlib
import os
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from se_numpy.grading.archive import MAX_BYTES, MAX_FILES, left_out
from se_numpy.grading.source_parser import MAX_SOURCE
from se_numpy.grading.submission import MAX_FILE, SUFFIXES, SubmissionFile, read_file, read_regular

ARCHIVE = ".zip"
MAX_ARCHIVE = 20 << 20  # bytes, as compressed


@dataclass(frozen=True)
class Bundle:
    """The files of one submission, not parsed; ``archive`` is True if the only file is a zip archive."""

    name: str  # for messages
    files: tuple[SubmissionFile, ...]
    archive: bool = False
    several: bool = False  # a folder or an archive; the graded file may import the others
    others: tuple[str, ...] = ()  # paths in a folder that are not read
    beside: tuple[str, ...] = ()  # names of .py files in the folder of a single file, for messages

    @property
    def notebook(self) -> bool:
        """True if this is a single notebook."""
        return not self.several and self.files[0].notebook

    @property
    def sha256(self) -> str:
        """The digest of the file or the archive; for a folder, of the paths and digests of its files."""
        if not self.several or self.archive:
            return self.files[0].sha256
        lines = [f"{file.sha256} {file.name}\n" for file in self.files]
        return hashlib.sha256("".join(lines).encode("utf-8", "surrogateescape")).hexdigest()


def read_bundle(path: str | os.PathLike[str]) -> Bundle:
    """Read a .py or .ipynb file, a .zip archive, or a folder with such files.  Links are refused.

    Raises
    ------
    ValueError
        If a file cannot be read, or there are too many or too large ones.
    """
    path = Path(path)
    if path.is_dir() and not path.is_symlink():
        return _read_folder(path)
    if path.suffix.lower() == ARCHIVE:
        return Bundle(path.name, (SubmissionFile(path.name, read_regular(path, MAX_ARCHIVE)),), True, True)
    file = read_file(path)
    beside = tuple(other.stem for other in islice(path.parent.glob("*.py"), MAX_FILES) if other != path)
    return Bundle(file.name, (file,), beside=beside)


def _read_folder(folder: Path) -> Bundle:
    files, others, total = [], [], 0
    paths = sorted(islice(_walk(folder), MAX_FILES + 1))
    if len(paths) > MAX_FILES:
        raise ValueError(f"{folder} has more than {MAX_FILES} files; expected the files of one submission")
    for path in paths:
        name = path.relative_to(folder).as_posix()
        if left_out(name) or path.is_symlink() or not name.lower().endswith(SUFFIXES):
            others.append(name)
            continue
        notebook = name.lower().endswith(".ipynb")
        raw = read_regular(path, MAX_FILE if notebook else MAX_SOURCE)
        files.append(SubmissionFile(name, raw, notebook))
        total += len(raw)
        if total > MAX_BYTES:
            raise ValueError(f"{folder} has more than {MAX_BYTES >> 20} MB of .py and .ipynb files")
    if not files:
        raise ValueError(f"{folder} has no .py or .ipynb file")
    return Bundle(folder.name, tuple(files), several=True, others=tuple(others))


def _walk(folder: Path) -> Iterator[Path]:
    """Yield the files below a folder, without following links and without looking into folders that are left out."""
    for where, folders, names in os.walk(folder):
        inside = Path(where).relative_to(folder)
        folders[:] = sorted(name for name in folders if not left_out((inside / name).as_posix()))
        yield from (Path(where) / name for name in names)
