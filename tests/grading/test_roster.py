"""Rosters of Canvas and Moodle, and the names that their downloads have."""

from pathlib import Path

import pytest

from se_numpy.grading.class_folder import survey
from se_numpy.grading.download_names import read_name
from se_numpy.grading.identify import identified
from se_numpy.grading.roster import Roster

CANVAS = """\
Student,ID,SIS User ID,SIS Login ID,Section,Homework 3 (98765)
,,,,,Manual Posting
    Points Possible,,,,,6
"Lovelace, Ada",12345,u1,ada@x.org,S1,
"Müller, Jörg",12346,u2,lovelace,S1,
"Student, Test",99,,abc,S1,
"""
WORKSHEET = """\
Identifier,Full name,Email address,Status,Grade,Maximum Grade,Last modified (grade),Feedback comments
Participant 123456,Ada Lovelace,ada@x.org,Submitted for grading,,6.00,-,
Participant 123457,Jörg Müller,joerg@x.org,No submission,,6.00,-,
"""
PARTICIPANTS = (
    "\ufeffFirst name;Last name;ID number;Email address\nAda;Lovelace;123457;ada@x.org\nJörg;Müller;;j@x.org\n"
)


@pytest.fixture
def read(tmp_path):
    def read(text: str, encoding: str = "utf-8") -> Roster:
        (tmp_path / "roster.csv").write_bytes(text.encode(encoding))
        return Roster.read(tmp_path / "roster.csv")

    return read


@pytest.mark.parametrize(("path", "lms", "name", "user", "file", "attempt", "late"), [
    ("lovelaceada_12345_67890_hw.py", "canvas", "lovelaceada", "12345", "hw.py", 0, False),
    ("lovelaceada_LATE_12345_67890_hw-1.py", "canvas", "lovelaceada", "12345", "hw.py", 1, True),
    ("class/müllerjörg_12346_67891_my_hw-12.ipynb", "canvas", "müllerjörg", "12346", "my_hw.ipynb", 12, False),
    ("anon_XKxn3_67891_hw.py", "canvas", "", "anon_XKxn3", "hw.py", 0, False),
    ("LATE_anon_XKxn3_67891_hw.py", "canvas", "", "anon_XKxn3", "hw.py", 0, True),
    ("Ada Lovelace_123456_assignsubmission_file_/hw.py", "moodle", "Ada Lovelace", "123456", "hw.py", 0, False),
    ("Ada Lovelace_123456_assignsubmission_file/sub/hw.py", "moodle", "Ada Lovelace", "123456", "hw.py", 0, False),
    ("Ada Lovelace_123456_assignsubmission_file_hw.py", "moodle", "Ada Lovelace", "123456", "hw.py", 0, False),
    ("alice/hw.py", "", "alice", "", "hw.py", 0, False),
    ("alice.py", "", "alice", "", "alice.py", 0, False),
    ("part_1_2_hw.py", "", "part_1_2_hw", "", "part_1_2_hw.py", 0, False),
])  # fmt: skip
def test_names_of_downloads_are_understood(path, lms, name, user, file, attempt, late):
    found = read_name(path)
    assert (found.lms, found.name, found.user, found.file) == (lms, name, user, file)
    assert (found.attempt, found.late, found.student) == (attempt, late, user or name)


def test_rosters_of_canvas_and_moodle_are_recognised(read):
    canvas = read(CANVAS)
    assert (canvas.lms, [s.key for s in canvas.students]) == ("canvas", ["12345", "12346"])
    assert canvas.students[0].name == "Lovelace, Ada"
    assert canvas.points_row[-1] == "6"
    sheet = read(WORKSHEET)
    assert (sheet.lms, [(s.key, s.name) for s in sheet.students]) == (
        "moodle", [("123456", "Ada Lovelace"), ("123457", "Jörg Müller")]
    )  # fmt: skip
    people = read(PARTICIPANTS)
    assert (people.lms, [(s.key, s.name) for s in people.students]) == (
        "moodle", [("123457", "Ada Lovelace"), ("j@x.org", "Jörg Müller")]
    )  # fmt: skip
    assert [s.name for s in read("name\nJörg\n", "cp1252").students] == ["Jörg"]
    last_first = read("LastName,FirstName,ID,SIS Login ID,Section\nLovelace,Ada,12345,ada,S1\n")
    assert (last_first.lms, last_first.students[0].key) == ("canvas", "12345")


@pytest.mark.parametrize(("roster", "path", "student"), [
    (CANVAS, "lovelaceada_12345_67890_hw.py", "12345"),
    (CANVAS, "lovelaceada_77777_67890_hw.py", None),  # the number decides, not the name
    (CANVAS, "ada/hw.py", "12345"),
    (CANVAS, "Lovelace Ada/hw.py", "12345"),
    (CANVAS, "Ada_Lovelace.py", "12345"),  # Jörg's login is lovelace
    (CANVAS, "u2_homework.py", "12346"),
    (CANVAS, "jorg muller/hw.py", "12346"),
    (CANVAS, "Grace Lovelace/hw.py", None),
    (CANVAS, "u1_and_u2.py", None),
    (CANVAS, "U2 Bono_123456_assignsubmission_file_/hw.py", None),  # a name, not an ID
    (WORKSHEET, "Ada Lovelace_123456_assignsubmission_file_/hw.py", "123456"),
    (PARTICIPANTS, "Jörg Müller_123457_assignsubmission_file_/hw.py", "j@x.org"),  # 123457 is Ada's ID number
])  # fmt: skip
def test_submissions_are_matched_by_number_name_or_id(read, roster, path, student):
    found, reason = read(roster).match(read_name(path))
    assert (found.key if found else None) == student
    assert bool(reason) == (student is None)


def test_students_of_one_name_are_not_confused(read):
    roster = read("name,id\nAda Lovelace,u1\nAda Lovelace,u2\n")
    assert roster.match(read_name("ada lovelace/hw.py")) == (None, "it fits 2 students of the roster: u1, u2")
    with pytest.raises(ValueError, match="2 students are called 'Ada Lovelace'; give an ID"):
        roster.find("Ada Lovelace")
    with pytest.raises(ValueError, match="no student 'Ada Lovelac'; did you mean Ada Lovelace"):
        roster.find("Ada Lovelac")


@pytest.mark.parametrize(("text", "says"), [
    ("", "is empty"), ("a,b\n1,2\n", "expected those of Canvas"), ("id,name\n", "names no students"),
    ("id\nu1\nu1\n", "names the student u1 twice"), ("PK\0\0", "is not a CSV file"),
])  # fmt: skip
def test_invalid_rosters_are_refused(read, text, says):
    with pytest.raises(ValueError, match=says):
        read(text)


def test_no_file_is_dropped(read, tmp_path):
    top = tmp_path / "class"
    top.mkdir()
    for name in ("lovelaceada_12345_1111_hw.py", "lovelaceada_12345_1112_hw-1.py", "lovelaceada_12345_1113_more.py",
                 "nobody_77777_1114_hw.py", "müllerjörg_LATE_12346_1115_hw.py"):  # fmt: skip
        Path(top, name).write_text("x = 1\n")
    found = identified(survey([top]), read(CANVAS))
    assert [(e.name, e.student, e.download.late) for e in found.entries] == [
        ("lovelaceada_12345_1112_hw-1.py", "12345", False), ("lovelaceada_12345_1113_more.py", "12345", False),
        ("müllerjörg_LATE_12346_1115_hw.py", "12346", True), ("nobody_77777_1114_hw.py", "77777", False),
    ]  # fmt: skip
    assert found.passed_over == (
        ("lovelaceada_12345_1111_hw.py", "an older upload of hw.py; lovelaceada_12345_1112_hw-1.py is graded"),
    )
    assert found.unmatched == (("nobody_77777_1114_hw.py", "no student of the roster has the number 77777"),)


def test_the_folder_of_the_only_student_is_looked_at(tmp_path):
    place = tmp_path / "Ada Lovelace_123456_assignsubmission_file_"
    place.mkdir()
    (place / "hw.py").write_text("x = 1\n")
    assert [entry.student for entry in identified(survey([place]), None).entries] == ["123456"]
