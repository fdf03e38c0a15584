"""The folder of a class's reports: written while the class is graded, so that a run that ends early loses nothing.

Each submission's reports and its row of grades.csv are written as soon as it is graded. A record of the run makes it
possible to continue it; reports of an earlier, finished run are moved to a folder of their own.
"""

import json
import os
import shutil
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from se_numpy.grading.bundle import read_bundle
from se_numpy.grading.class_folder import CLASS_FILES, EARLIER, UNFINISHED, ClassFolder, Entry
from se_numpy.grading.classroom import ClassView
from se_numpy.grading.models import Report
from se_numpy.grading.report import FILES, FORMATS, write_file
from se_numpy.grading.report.json_io import as_json, load
from se_numpy.grading.report.table import write_table


def make_folder(path: Path) -> None:
    """Create the folder and check that it is writable, so that grades are not lost at the end.

    Raises
    ------
    ValueError
        If this is not possible.
    """
    try:
        path.mkdir(parents=True, exist_ok=True)
        (path / ".se-numpy").write_bytes(bytes(4096))  # an empty file can be written to a full disk
        (path / ".se-numpy").unlink()
    except (FileExistsError, NotADirectoryError):
        raise ValueError(f"--out {path} is a file; expected a folder, which may be new") from None
    except OSError as error:
        raise ValueError(f"--out {path}: {error.strerror}; expected a writable folder") from None


def keep_earlier(folder: Path, names: Sequence[str] = tuple(FILES.values())) -> str:
    """Copy these files, if they exist, to a folder for earlier reports, and return a sentence about it."""
    old = [folder / name for name in names if (folder / name).is_file()]
    if not old:
        return ""
    place = _new_place(folder)
    for path in old:
        shutil.copy2(path, place / path.name)
    return f"{folder} has reports of an earlier run; they are kept in {place}"


def _move_earlier(folder: Path) -> str:
    """Move the reports of an earlier run to a folder for earlier reports, and return a sentence about it."""
    known = {*CLASS_FILES.values(), *FILES.values(), UNFINISHED}
    old = [path for path in sorted(folder.iterdir()) if (path.name in known and path.is_file()) or _is_report(path)]
    if not old:
        return ""
    place = _new_place(folder)
    for path in old:
        os.rename(path, place / path.name)
    return f"{folder} has reports of an earlier run; they were moved to {place}"


def _is_report(path: Path) -> bool:
    """Return True for a folder that contains nothing but the reports on a submission."""
    if path.is_symlink() or not path.is_dir():
        return False
    names = {name for name in os.listdir(path) if not name.startswith(".")}
    return bool(names) and names <= {*FILES.values(), EARLIER}


def _new_place(folder: Path) -> Path:
    number = 1
    while (folder / EARLIER / str(number)).exists():
        number += 1
    place = folder / EARLIER / str(number)
    place.mkdir(parents=True)
    return place


def _write(path: Path, format_: str, report: Report) -> None:
    write_file(path, FORMATS[format_](report))


class ClassRecord:
    """The reports of a class that is being graded, in a folder or, without one, in memory only.

    Parameters
    ----------
    members
        The submissions of the class.
    folder
        The folder of the reports, which exists; None to write nothing.
    formats
        The formats of each submission's reports.
    settings
        Everything that the reports depend on, except for the submissions. An unfinished run with the same settings is
        continued.
    """

    def __init__(self, members: ClassFolder, folder: Path | None, formats: Sequence[str], settings: str) -> None:
        self.members, self.folder, self.formats = members, folder, formats
        self.reports: dict[Entry, Report] = {}
        self.problems: dict[str, str] = {}  # what could not be written, and why
        self.notice = ""  # a sentence about an earlier run in the same folder
        if folder is not None:
            self._open(folder, settings)

    @property
    def left(self) -> list[Entry]:
        """The submissions that are not graded yet."""
        return [entry for entry in self.members.entries if entry not in self.reports]

    def add(self, entry: Entry, report: Report, *, final: bool = True) -> None:
        """Keep a report and write it.  One that is not ``final`` is made again when the run is continued.

        An error while writing is noted in ``problems``; it costs no other report.
        """
        self.reports[entry] = report
        if self.folder is None:
            return
        place = self.folder / entry.folder
        written = self._attempt(str(place), lambda: place.mkdir(exist_ok=True))
        for name in self.formats if written else ():
            path = place / FILES[name]
            written &= self._attempt(str(path), partial(_write, path, name, report))
        if written and final:
            self._attempt(str(self.folder / UNFINISHED), lambda: self._append(self._line(entry, report)))
        self.write_grades()

    def write_grades(self) -> None:
        """Write grades.csv with a row for each submission graded so far and for each file passed over."""
        if self.folder is not None:
            path = self.folder / CLASS_FILES["csv"]
            reports = [self.reports[entry] for entry in self.members.entries if entry in self.reports]
            self._attempt(str(path), lambda: write_file(path, write_table(reports, (), self.members.passed_over)))

    def write_class(self, view: ClassView, formats: Sequence[str]) -> None:
        """Write the view of the whole class in these formats, and end the run unless something could not be written."""
        assert self.folder is not None
        for name in formats:
            path = self.folder / CLASS_FILES[name]
            self._attempt(str(path), partial(view.write, self.folder, [name]))
        if not self.problems and all(task.status != "ungraded" for r in self.reports.values() for task in r.tasks):
            (self.folder / UNFINISHED).unlink(missing_ok=True)

    def _attempt(self, what: str, action: Callable[[], Any]) -> bool:
        try:
            action()
        except Exception as error:
            self.problems[what] = (isinstance(error, OSError) and error.strerror) or f"{type(error).__name__}: {error}"
            return False
        self.problems.pop(what, None)
        return True

    def _open(self, folder: Path, settings: str) -> None:
        """Read the record of an unfinished run with the same settings, or move earlier reports away."""
        first = json.dumps({"settings": settings})
        lines = []
        if (folder / UNFINISHED).is_file():
            lines = (folder / UNFINISHED).read_text(encoding="utf-8", errors="replace").split("\n")
        kept = [first]
        if lines and lines[0] == first:
            kept += [text for text in lines[1:] if self._restore(folder, text)]
            count = f"{len(self.reports)} of {len(self.members.entries)} submissions"
            self.notice = f"continuing the unfinished run in {folder}: {count} are graded already"
        else:
            self.notice = _move_earlier(folder)
        write_file(folder / UNFINISHED, "\n".join(kept) + "\n")

    def _restore(self, folder: Path, text: str) -> bool:
        """Use a line of the record, if its submission has not changed and its reports exist."""
        try:
            found = json.loads(text)
            entry = next(e for e in self.members.entries if (e.name, e.folder) == (found["name"], found["folder"]))
            report = load(json.dumps(found["report"]))
            same = report.sha256 == read_bundle(entry.path).sha256
        except (ValueError, KeyError, TypeError, StopIteration, RecursionError):  # the line may be incomplete
            return False
        if not same or not all((folder / entry.folder / FILES[name]).is_file() for name in self.formats):
            return False
        self.reports[entry] = report
        return True

    @staticmethod
    def _line(entry: Entry, report: Report) -> str:
        return json.dumps({"name": entry.name, "folder": entry.folder, "report": json.loads(as_json(report))})

    def _append(self, text: str) -> None:
        assert self.folder is not None
        with open(self.folder / UNFINISHED, "a", encoding="utf-8") as file:
            file.write(text + "\n")
