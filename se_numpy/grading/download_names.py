"""Names of submissions as Canvas and Moodle write them into the archives that they give to instructors.

Canvas (``content_zipper.rb`` of canvas-lms): the name in lower case without anything but letters, digits and
underscores, LATE if it was, the user's ID, the attachment's ID and the student's file name; "anon" and an anonymous ID
if grading is anonymous. A file that the student uploaded again under the same name ends in -1, -2 and so on.

    lovelaceada_LATE_12345_67890_hw.py        anon_XKxn3_67891_hw-1.py

Moodle (``downloader.php`` of mod_assign): a folder for each student, or all files in one, with the full name and the
participant's number; without the last underscore since Moodle 4.

    Ada Lovelace_123456_assignsubmission_file_/hw.py        Ada Lovelace_123456_assignsubmission_file_hw.py
"""

import re
from dataclasses import dataclass
from pathlib import PurePosixPath

_CANVAS = re.compile(
    r"(?:(?!LATE_)(?P<name>\w*?)_)?(?P<late>LATE_)?(?P<user>\d{2,}|anon_[A-Za-z0-9]{5})_\d{2,}_(?P<file>.+)", re.DOTALL
)
_MOODLE = re.compile(
    r"(?P<name>.+)_(?P<participant>\d+)_assignsubmission_(?:file|onlinetext)(?:_(?P<file>.*))?", re.DOTALL
)
_ATTEMPT = re.compile(r"(?P<stem>.+)-(?P<attempt>[1-9]\d?)(?P<ending>\.\w+)?", re.DOTALL)


@dataclass(frozen=True)
class Download:
    """The student and the file that a submission's path names."""

    lms: str = ""  # "canvas", "moodle", or "" for any other name
    name: str = ""  # of the student, as the path spells it
    user: str = ""  # the user's ID on Canvas or the participant's number on Moodle, or ""
    file: str = ""  # the file's name without an attempt's number
    attempt: int = 0  # a higher number is a later upload
    late: bool = False

    @property
    def student(self) -> str:
        """The key of the student, the same for every submission of theirs."""
        return self.user or self.name


def read_name(path: str) -> Download:
    """Return what a path below the class's folder, with forward slashes, says."""
    parts = PurePosixPath(path)
    if found := _CANVAS.fullmatch(parts.name):
        file, attempt = _attempt(found["file"])
        return Download("canvas", found["name"] or "", found["user"], file, attempt, bool(found["late"]))
    for part in reversed(parts.parts):
        if found := _MOODLE.fullmatch(part):
            return Download("moodle", found["name"], found["participant"], found["file"] or parts.name)
    file, attempt = _attempt(parts.name) if len(parts.parts) > 1 else (parts.name, 0)
    return Download("", parts.parts[0] if len(parts.parts) > 1 else parts.stem, "", file, attempt)


def _attempt(file: str) -> tuple[str, int]:
    """Split the number of an attempt off a file's name: "hw-1.py" is a later "hw.py"."""
    found = _ATTEMPT.fullmatch(file)
    return (found["stem"] + (found["ending"] or ""), int(found["attempt"])) if found else (file, 0)
