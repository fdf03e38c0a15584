"""The submissions of a class: which files are graded, which are passed over and why, and a unique name for each."""

import hashlib
import os
import posixpath
import re
import unicodedata
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from se_numpy.grading.bundle import ARCHIVE
from se_numpy.grading.declarations import Form
from se_numpy.grading.download_names import Download, read_name
from se_numpy.grading.report import FILES
from se_numpy.grading.report.text import line
from se_numpy.grading.submission import SUFFIXES

CLASS_FILES = {"terminal": "class.txt", "json": "class.json", "html": "class.html", "csv": "grades.csv"}
GRADEBOOKS = {"canvas": "canvas.csv", "moodle": "moodle.csv"}  # for import
SIMILARITY = "similarity.csv"
INSTRUCTOR = "instructor"  # the folder for reports with what students are not shown
EARLIER = "earlier"  # the folder for the reports of earlier runs, in the folder of the reports
UNFINISHED = "unfinished.jsonl"  # the record of a run that is not finished, in the folder of the reports
OTHER_ARCHIVES = (".tar", ".gz", ".tgz", ".bz2", ".xz", ".7z", ".rar")
_TAKEN = {
    *CLASS_FILES.values(),
    *GRADEBOOKS.values(),
    SIMILARITY,
    *FILES.values(),
    EARLIER,
    INSTRUCTOR,
    UNFINISHED,
}  # no submission's folder has these names
_NAMED = 5  # the number of files in a hidden folder that are named
_LONGEST = 120  # characters of a name, and bytes of a folder's name


@dataclass(frozen=True)
class Entry:
    """A submission of a class."""

    path: Path
    name: str  # in reports; unique in the class
    folder: str  # of its reports; unique in the class, also where upper and lower case are equal
    download: Download = field(default_factory=Download)  # what its path says
    student: str = ""  # the key of the student: the roster's, or what the path says


@dataclass(frozen=True)
class ClassFolder:
    """The submissions of a class, and the name of each file that is not graded, with the reason.

    ``unmatched`` names the submissions that are graded and belong to no student of the roster, with the reason.
    """

    entries: tuple[Entry, ...]
    passed_over: tuple[tuple[str, str], ...] = ()
    unmatched: tuple[tuple[str, str], ...] = ()


def survey(
    paths: Sequence[str | Path], reports: str | Path | None = None, *, form: Form | None = None, one: bool = False
) -> ClassFolder:  # fmt: skip
    """Return the given files, and all submissions in the given folders, sorted by path.

    A .zip archive is one submission, and so is a folder if the ``form`` says so: it contains ``form.file`` or, with
    ``form.folders``, any Python file, unless it is a given folder with folders or archives in it. With ``one``, each
    given folder is one submission. The folder of the ``reports`` is not searched. Files that were given themselves
    are never passed over: those that cannot be graded get a report that says so.

    Raises
    ------
    ValueError
        If a path does not exist, or there are no submissions.
    """
    found: dict[str, Path] = {}
    passed_over: list[tuple[Path, str]] = []
    for path in map(Path, paths):
        if path.is_dir() and not one:
            for file, reason in _files(path, reports, form or Form()):
                if reason:
                    passed_over.append((file, reason))
                else:
                    found.setdefault(os.path.abspath(file), file)
        elif os.path.lexists(path):
            found.setdefault(os.path.abspath(path), path)
        else:
            raise ValueError(f"{path} does not exist; expected a .py or .ipynb file, an archive, or a folder of them")
    entries = named(list(found.values()))
    top = _common([*found.values(), *(file for file, _ in passed_over)])
    others = [(line(_visible(_relative(file, top)), 2 * _LONGEST), reason) for file, reason in passed_over]
    if not entries:
        inside = "; ".join(f"{name}: {reason}" for name, reason in others[:_NAMED])
        more = f"; and {len(others) - _NAMED} more" if len(others) > _NAMED else ""
        where = ", ".join(map(str, paths))
        raise ValueError(f"{where} contains no submissions; expected {', '.join(SUFFIXES)} or {ARCHIVE} files"
                         + (f" ({inside}{more})" if inside else ""))  # fmt: skip
    return ClassFolder(entries, tuple(others))


def named(paths: Sequence[Path]) -> tuple[Entry, ...]:
    """Return an entry for each submission, with unique names and folders.

    The student is the one that the path names, as ``download_names`` reads it. A submission is named by its file, after
    its folders if the submissions are in several. The path, and then a digest of it, are used where this would give the
    same name twice.
    """
    top = _common(paths)
    relative = [_relative(path, top) for path in paths]
    digests = [hashlib.sha256(os.fsencode(name)).hexdigest()[:8] for name in relative]
    titles = [line(_visible(name.replace("/", "-")), _LONGEST) for name in relative]
    titles = _distinct(titles, [line(_visible(name), _LONGEST) for name in relative])
    titles = _distinct(titles, [f"{title} ({digest})" for title, digest in zip(titles, digests, strict=True)])
    folders = [_folder(name) for name in relative]
    keys = Counter(map(_key, folders))
    for k, (folder, name) in enumerate(zip(folders, relative, strict=True)):
        if keys[_key(folder)] > 1 or _key(folder) in _TAKEN or folder != _stem(name):
            folders[k] = f"{folder}-{digests[k]}"
    found = [_download(name, os.path.basename(top)) for name in relative]
    students = [download.student for download in found]
    return tuple(Entry(*entry) for entry in zip(paths, titles, folders, found, students, strict=True))


def _download(relative: str, top: str) -> Download:
    """Return what a path says; the folder above it is looked at too, in case it is the only student's."""
    below = read_name(relative)
    whole = read_name(f"{top}/{relative}")
    return below if below.lms or not whole.lms else whole


def _distinct(names: list[str], longer: list[str]) -> list[str]:
    """Return the names, with the longer one for each that occurs more than once."""
    count = Counter(names)
    return [more if count[name] > 1 else name for name, more in zip(names, longer, strict=True)]


def _common(paths: Iterable[Path]) -> str:
    parents = [os.path.dirname(os.path.abspath(path)) for path in paths]
    return os.path.commonpath(parents) if parents else ""


def _relative(path: Path, top: str) -> str:
    return os.path.relpath(os.path.abspath(path), top).replace(os.sep, "/")


def _visible(name: str) -> str:
    r"""Return a file's name in one normal form, with \xNN for each byte that is not UTF-8."""
    return unicodedata.normalize("NFC", os.fsencode(name).decode("utf-8", "backslashreplace"))


def _stem(name: str) -> str:
    return os.path.splitext(name.replace("/", "-"))[0]


def _folder(name: str) -> str:
    """Return a folder's name that is valid on every file system, for a submission's path."""
    plain = re.sub(r"[^\w .()+,=@~-]", "_", _visible(_stem(name)))
    short = plain.encode()[:_LONGEST].decode("utf-8", "ignore")
    return short.strip(" .-") or "submission"


def _key(folder: str) -> str:
    return unicodedata.normalize("NFC", folder).casefold()


def _files(top: Path, reports: str | Path | None, form: Form) -> Iterator[tuple[Path, str]]:
    """Yield every file in a folder, sorted by path, with the reason if it is passed over.

    A folder that is one submission is yielded in place of its files.
    """
    left_out = os.path.realpath(reports) if reports else None
    found: list[tuple[Path, str]] = []
    waiting = [top]
    while waiting:
        folder = waiting.pop()
        try:
            with os.scandir(folder) as entries:
                inside = list(entries)
        except OSError as error:
            found.append((folder, f"the folder cannot be read: {error.strerror}"))
            continue
        if not inside:
            found.append((folder, "an empty folder"))
        if _is_submission(inside, form, given=folder == top):
            found.append((folder, ""))
            continue
        for entry in inside:
            path = folder / entry.name
            if not (entry.is_dir(follow_symlinks=False) and not _hidden(entry.name)):
                found.append((path, _reason(entry)))
            elif os.path.realpath(path) == left_out:
                found.append((path, "the folder of the reports"))
            else:
                waiting.append(path)
    yield from sorted(found)


def _is_submission(inside: Sequence[os.DirEntry[str]], form: Form, *, given: bool) -> bool:
    """Return True if a folder with these entries is one submission.

    With ``form.folders``, a folder that is itself ``given`` is one only if it contains no folders or archives, which
    would be submissions of their own.
    """
    seen = [entry for entry in inside if not _hidden(entry.name)]
    names = [entry.name.lower() for entry in seen if entry.is_file(follow_symlinks=False)]
    if form.file and posixpath.basename(form.file).lower() in names:
        return True
    parts = any(entry.is_dir() for entry in seen) or any(name.endswith(ARCHIVE) for name in names)
    return form.folders and any(name.endswith(SUFFIXES) for name in names) and not (given and parts)


def _hidden(name: str) -> bool:
    return name.startswith((".", "__"))


def _reason(entry: os.DirEntry[str]) -> str:
    """Return why a file is passed over; nothing if it is a submission."""
    if entry.is_symlink():
        return "a symbolic link; submit the file itself"
    if entry.is_dir():
        return f"a hidden folder with {_content(entry.path)}"
    if _hidden(entry.name):
        return "a hidden file: its name starts with . or __"
    if not entry.is_file():
        return "not a regular file"
    lower = entry.name.lower()
    if lower.endswith((*SUFFIXES, ARCHIVE)):
        return ""
    if lower.endswith(OTHER_ARCHIVES):
        return "an archive that is not read; expected .zip"
    ending = re.search(r"\.(ipynb|py|zip)(?![a-z0-9])", lower)
    rename = f"; if it is a submission, rename it to {line(entry.name[: ending.end()], 60)}" if ending else ""
    return f"not a .py, .ipynb or .zip file{rename}"


def _content(folder: str) -> str:
    """Return the number of files in a folder and the names of the first ones."""
    names = sorted(
        os.path.relpath(os.path.join(where, name), folder) for where, _, files in os.walk(folder) for name in files
    )
    first = ", ".join(line(_visible(name), 60) for name in names[:_NAMED])
    listed = f": {first}{', ...' if len(names) > _NAMED else ''}" if names else ""
    return f"{len(names)} file{'' if len(names) == 1 else 's'}{listed}"
