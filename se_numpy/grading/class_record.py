"""The folder of a class's reports: written while the class is graded, so that a run that ends early loses nothing.

Each submission's reports and its row of grades.csv are written as soon as it is graded. A record of the run makes it
possible to continue it; reports of an earlier, finished run are moved to a folder of their own.
"""

import json
import os
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import quote

from se_numpy.grading.bundle import read_bundle
from se_numpy.grading.class_folder import (
    CLASS_FILES,
    EARLIER,
    GRADEBOOKS,
    INSTRUCTOR,
    SIMILARITY,
    UNFINISHED,
    ClassFolder,
    Entry,
)
from se_numpy.grading.classroom import ClassView
from se_numpy.grading.grades import Grading
from se_numpy.grading.history import Result, best_of, changes, earlier_runs
from se_numpy.grading.models import Report
from se_numpy.grading.report import FILES, FORMATS, write_file
from se_numpy.grading.report.json_io import as_json, load
from se_numpy.grading.report.table import write_table
from se_numpy.grading.similarity import alike


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
    known = {*CLASS_FILES.values(), *GRADEBOOKS.values(), SIMILARITY, *FILES.values(), UNFINISHED}
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
    if path.name == INSTRUCTOR:
        return all(_is_report(path / name) for name in names)
    return bool(names) and names <= {*FILES.values(), EARLIER}


def _new_place(folder: Path) -> Path:
    number = 1
    while (folder / EARLIER / str(number)).exists():
        number += 1
    place = folder / EARLIER / str(number)
    place.mkdir(parents=True)
    return place


def versions(report: Report, folder: Path, below: str = ".") -> list[tuple[Path, Report]]:
    """Return the folder and the report for the student and, if something is hidden from them, for the instructor."""
    whole = [(folder / INSTRUCTOR / below, report)] if report.hides else []
    return [(folder / below, report.for_student()), *whole]


def write_report(shown: Report, whole: Report, folder: Path, name: str) -> None:
    """Write a report in this format; Gradescope gets the whole one and hides the rest itself."""
    write_file(folder / FILES[name], FORMATS[name](whole if name == "gradescope" else shown))


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
    grading
        What turns reports into grades; without the earlier runs, which are read from the folder.
    """

    def __init__(
        self, members: ClassFolder, folder: Path | None, formats: Sequence[str], settings: str, grading: Grading
    ) -> None:
        self.members, self.folder, self.formats, self.grading = members, folder, formats, grading
        self.reports: dict[Entry, Report] = {}  # before points by hand
        self.problems: dict[str, str] = {}  # what could not be written, and why
        self.notice = ""  # a sentence about an earlier run in the same folder
        if folder is not None:
            self._open(folder, settings)
            self.grading = replace(grading, runs=earlier_runs(folder))
            for entry, report in self.reports.items():
                if grading.manual.of(entry.student):  # they may have changed since the report was written
                    self._write_reports(folder, entry, report)

    @property
    def graded(self) -> list[Report]:
        """The reports so far, in the order of the submissions, with points by hand."""
        return [self.grading.final(self.reports[entry]) for entry in self.members.entries if entry in self.reports]

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
        written = self._write_reports(self.folder, entry, report)
        if written and final:
            self._attempt(str(self.folder / UNFINISHED), lambda: self._append(self._line(entry, report)))
        self.write_grades()

    def _write_reports(self, folder: Path, entry: Entry, report: Report) -> bool:
        """Write a submission's reports, for students and, if something is hidden from them, for the instructor."""
        report = self.grading.final(report)
        written = True
        for place, shown in versions(report, folder, entry.folder):
            written &= self._attempt(str(place), partial(place.mkdir, parents=True, exist_ok=True))
            for name in self.formats if written else ():
                written &= self._attempt(str(place / FILES[name]), partial(write_report, shown, report, place, name))
        return written

    def write_grades(self) -> None:
        """Write grades.csv with a row for each submission graded so far and for each file passed over."""
        if self.folder is not None:
            path = self.folder / CLASS_FILES["csv"]
            here = {entry.student for entry in self.members.entries}
            students = self.grading.roster.students if self.grading.roster else ()
            absent = [student.key for student in students if student.key not in here]
            table = partial(write_table, self.graded, (), self.members.passed_over, absent)
            self._attempt(str(path), lambda: write_file(path, table()))

    def view(self, given: Sequence[str] = ()) -> ClassView:
        """Return the view of the whole class.  ``given`` are digests of functions that students were given."""
        reports = tuple(self.reports[entry] for entry in self.members.entries)
        runs = self.grading.runs
        changed = changes(runs[-1].results, best_of(map(Result.of, reports))) if runs else ()
        members = self.members
        grades = self.grading.grades(reports, {entry.student for entry in members.entries if entry.download.late})
        return ClassView(
            tuple(self.graded), (), members.passed_over, grades, members.unmatched, changed, alike(reports, given),
            self._links(),
        )  # fmt: skip

    def _links(self) -> dict[str, str]:
        """Return the address of each submission's page, if there is one, from the page of the class."""
        if self.folder is None or "html" not in self.formats:
            return {}
        pages = {}
        for entry in self.members.entries:
            below = Path(INSTRUCTOR, entry.folder) if self.reports[entry].hides else Path(entry.folder)
            pages[entry.name] = below
        for run in self.grading.runs:
            for result in run.results.values():
                stem = Path(result.name).stem
                places = [Path(run.name, INSTRUCTOR, stem), Path(run.name, stem)]
                if found := [below for below in places if (self.folder / below / FILES["html"]).is_file()]:
                    pages[f"{run.name}/{result.name}"] = found[0]
        return {
            name: quote((below / FILES["html"]).as_posix(), errors="surrogatepass") for name, below in pages.items()
        }

    def write_class(self, view: ClassView, formats: Sequence[str], tables: Mapping[str, str]) -> None:
        """Write the view of the whole class in these formats, and tables by the names of their files.

        This ends the run unless something could not be written.
        """
        assert self.folder is not None
        for name in formats:
            path = self.folder / CLASS_FILES[name]
            self._attempt(str(path), partial(view.write, self.folder, [name]))
        for name, content in tables.items():
            path = self.folder / name
            self._attempt(str(path), partial(write_file, path, content))
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
            same = (report.sha256, report.student) == (read_bundle(entry.path).sha256, entry.student)
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
