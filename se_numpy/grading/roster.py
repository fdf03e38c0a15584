"""The roster of a class: a CSV file with the students, as Canvas or Moodle exports it, or one of your own.

Recognised are Canvas's gradebook export (Student, ID, SIS User ID, SIS Login ID, Section), Moodle's grading worksheet
of an assignment (Identifier, Full name, Email address) and its grade export or list of participants (First name, Last
name, ID number, Email address), and any file with a column "id" or "name". The table is kept as it was read, so that a
gradebook can be written for the same system.
"""

import csv
import io
import re
import unicodedata
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from functools import cached_property
from pathlib import Path

from se_numpy.grading.download_names import Download

_LARGEST = 16 << 20  # bytes
POINTS_POSSIBLE = "Points Possible"  # in the first column of Canvas's second row
_TEST_STUDENT = "Student, Test"  # Canvas's name for an instructor's student view
# The columns of a student's identifiers, names and parts of names, in lower case.
_IDS = ("id", "identifier", "id number", "idnumber", "student id", "sis user id", "sis login id", "username", "login",
        "email address", "email")  # fmt: skip
_NAMES = ("student", "full name", "name")
_FIRST, _LAST = ("first name", "firstname"), ("last name", "surname", "lastname")


@dataclass(frozen=True)
class Student:
    """A student: the key that everything about them is filed under, the name, and all identifiers."""

    key: str
    name: str
    ids: tuple[str, ...] = ()
    row: tuple[str, ...] = ()  # as it stands in the roster


@dataclass(frozen=True)
class Roster:
    """The students of a class, and the table that they were read from."""

    lms: str  # "canvas", "moodle" or ""
    header: tuple[str, ...]
    students: tuple[Student, ...]
    points_row: tuple[str, ...] = ()  # Canvas's row with the most points of each assignment
    numbered: bool = False  # whether the keys are the numbers in the names of downloads

    @staticmethod
    def read(path: str | Path) -> "Roster":
        """Read a roster from a CSV file, separated by commas, semicolons or tabs.

        Raises
        ------
        ValueError
            If the file cannot be read, names no students, or names two with the same identifier.
        """
        path = Path(path)
        rows = [row for row in read_rows(path) if any(cell.strip() for cell in row)]
        if not rows:
            raise ValueError(
                f"{path} is empty; expected a roster exported from Canvas or Moodle, or a column id or name"
            )
        header = tuple(cell.strip() for cell in rows[0])
        columns = _Columns.of(path, header)
        cells = [tuple([*row, *[""] * len(header)][: len(header)]) for row in rows[1:]]
        points_row = next((row for row in cells if POINTS_POSSIBLE in row[0]), ())
        students = [found for row in cells if row is not points_row and (found := columns.student(row))]
        _no_duplicates(path, students)
        return Roster(columns.lms, header, tuple(students), points_row, columns.numbered)

    def match(self, download: Download) -> tuple[Student | None, str]:
        """Return the student that a submission's path names, or None and the reason.

        The number that the system wrote counts first, then the whole name, then a part of the name that is an ID. A
        single word of a name is never enough: it may be the login of another student.
        """
        if self.numbered and download.lms == self.lms:
            found = next((student for student in self.students if student.key == download.user), None)
            return found, "" if found else f"no student of the roster has the number {download.user}"
        parts = [part for part in re.split(r"[_ ]+", download.name) if re.search(r"[\d@]", part) and not download.lms]
        for fitting in (
            self._by_name.get(plain_name(download.name), []),
            self._by_id.get(download.name.casefold(), []) if not download.lms else [],
            _unique(student for part in parts for student in self._by_id.get(part.casefold(), [])),
        ):
            if len(fitting) == 1:
                return fitting[0], ""
            if fitting:
                return None, f"it fits {len(fitting)} students of the roster: {', '.join(s.key for s in fitting)}"
        return None, "no student of the roster has this ID or name"

    def find(self, text: str) -> Student:
        """Return the student with this identifier or name.

        Raises
        ------
        ValueError
            If there is no such student, or several; the message suggests the nearest one.
        """
        found = self._by_id.get(text.strip().casefold()) or self._by_name.get(plain_name(text), [])
        if len(found) == 1:
            return found[0]
        if found:
            raise ValueError(f"{len(found)} students are called {text!r}; give an ID")
        names = {**{s.name.casefold(): s.name for s in self.students}, **{k: k for k in self._by_id}}
        near = get_close_matches(text.casefold(), names, n=1)
        raise ValueError(f"no student {text!r}; " + (f"did you mean {names[near[0]]}?" if near else "expected an ID"))

    @cached_property
    def _by_id(self) -> dict[str, list[Student]]:
        return _index((text.casefold(), s) for s in self.students for text in (*s.ids, *_locals(s.ids), s.key))

    @cached_property
    def _by_name(self) -> dict[str, list[Student]]:
        return _index((name, s) for s in self.students for name in _spellings(s.name))


@dataclass(frozen=True)
class _Columns:
    """The columns of a roster's table with identifiers and names."""

    lms: str
    key: int  # the column that the keys are taken from, -1 if it depends on the row
    ids: tuple[int, ...]
    names: tuple[int, ...]  # one column, or those of the first and the last name
    identifier: bool = False  # whether the keys stand behind a word, as in "Participant 123456"

    @property
    def numbered(self) -> bool:
        return self.key >= 0

    @staticmethod
    def of(path: Path, header: Sequence[str]) -> "_Columns":
        columns = [name.lower() for name in header]
        ids = tuple(k for k, name in enumerate(columns) if name in _IDS)
        whole = [k for k, name in enumerate(columns) if name in _NAMES]
        parts = [k for known in (_FIRST, _LAST) for k, name in enumerate(columns) if name in known]
        names = tuple(whole[:1] or (parts if len(parts) == 2 else []))
        if not ids and not names:
            raise ValueError(
                f"{path} has the columns {', '.join(header)}; expected those of Canvas (Student, ID) or "
                "Moodle (First name, Last name, ID number, Email address), or a column id or name"
            )
        if "id" in columns and (columns[0] == "student" or columns[:2] == ["lastname", "firstname"]):
            return _Columns("canvas", columns.index("id"), ids, names)
        if "identifier" in columns:
            return _Columns("moodle", columns.index("identifier"), ids, names, True)
        moodle = {"id number", "email address"} & set(columns) and len(parts) == 2
        return _Columns("moodle" if moodle else "", -1, ids, names)

    def student(self, row: tuple[str, ...]) -> Student | None:
        """Return the student in a row, or None if the row is empty or Canvas's student view."""
        ids = [row[k].strip() for k in self.ids if row[k].strip()]
        name = " ".join(row[k].strip() for k in self.names).strip()
        if name == _TEST_STUDENT or not (ids or (name and not self.ids)):
            return None
        key = row[self.key].strip() if self.key >= 0 else ""
        if self.identifier:
            key = key.rpartition(" ")[2]
        return Student(key or (ids or [name])[0], name or ids[0], tuple(ids), row)


def plain_name(text: str) -> str:
    """Return a name's letters and digits in lower case, without accents, as download archives spell it."""
    letters = unicodedata.normalize("NFKD", text.casefold())
    return "".join(c for c in letters if c.isalnum())


def _spellings(name: str) -> Iterator[str]:
    """Yield "Lovelace, Ada" as lovelaceada and adalovelace, and "Ada Lovelace" likewise."""
    parts = [part.strip() for part in name.split(",")] if "," in name else name.split()
    yield plain_name(name)
    yield plain_name("".join(reversed(parts)))
    yield plain_name("".join([*parts[-1:], *parts[:-1]]))


def _locals(ids: Iterable[str]) -> list[str]:
    return [text.partition("@")[0] for text in ids if "@" in text]


def _unique(students: Iterable[Student]) -> list[Student]:
    return list(dict.fromkeys(students))


def _index(pairs: Iterable[tuple[str, Student]]) -> dict[str, list[Student]]:
    index: dict[str, list[Student]] = {}
    for key, student in pairs:
        if key and student not in index.setdefault(key, []):
            index[key].append(student)
    return index


def read_rows(path: Path) -> list[list[str]]:
    """Return the cells of a CSV file, in UTF-8 or, as old spreadsheets write it, Windows-1252."""
    try:
        raw = path.read_bytes()
    except OSError as error:
        raise ValueError(f"{path}: {error.strerror}; expected a CSV file") from None
    if len(raw) > _LARGEST or b"\0" in raw:
        raise ValueError(f"{path} is not a CSV file; export it as CSV, not as a spreadsheet")
    try:
        text = raw.decode("utf-8-sig")
    except UnicodeDecodeError:
        text = raw.decode("cp1252", "replace")
    first = text.lstrip().partition("\n")[0]
    return list(csv.reader(io.StringIO(text, newline=""), delimiter=max(",;\t", key=first.count)))


def _no_duplicates(path: Path, students: Sequence[Student]) -> None:
    if not students:
        raise ValueError(f"{path} names no students; expected one in each row below the header")
    keys = [student.key for student in students]
    if twice := next((key for key in keys if keys.count(key) > 1), None):
        raise ValueError(f"{path} names the student {twice} twice; expected each once")
