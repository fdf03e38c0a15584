"""Gradebooks are read back as Canvas and Moodle read them."""

import csv
import io
import re

import pytest
from test_roster import CANVAS, PARTICIPANTS, WORKSHEET

from se_numpy.grading.gradebook import as_canvas, as_moodle, canvas_column, points_possible
from se_numpy.grading.grades import Grade
from se_numpy.grading.report.table import cell
from se_numpy.grading.roster import Roster


def canvas_import(text: str) -> tuple[dict[str, str], dict[str, float]]:
    """Read a gradebook by the rules of canvas-lms (lib/gradebook_importer.rb): grades by ID, and points possible."""
    header, *rows = csv.reader(io.StringIO(text))
    assert "Student" in header[0]
    assert "ID" in header[1]
    columns = 3
    if re.search(r"SIS\s+Login\s+ID", header[2]):
        columns += 1
    elif re.search(r"SIS\s+User\s+ID", header[2]) and re.search(r"SIS\s+Login\s+ID", header[3]):
        columns += 2
    assert "Section" in header[columns - 1]
    titles = header[columns:]
    possible, grades = {}, {}
    for row in rows:
        assert len(row) == len(header)
        if "Points Possible" in row[0]:
            possible = {title: float(row[header.index(title)]) for title in titles}
        else:
            grades[row[1]] = row[columns]
    return grades, possible


def moodle_import(text: str) -> dict[str, tuple[str, str]]:
    """Read a worksheet by the rules of Moodle (mod/assign/feedback/offline/importgradeslib.php), by participant."""
    header, *rows = csv.reader(io.StringIO(text))
    assert {"Identifier", "Grade", "Last modified (grade)"} <= set(header)
    place = header.index
    numbers = [row[place("Identifier")][len("Participant ") :] for row in rows]
    return {
        number: (row[place("Grade")], row[place("Feedback comments")])
        for number, row in zip(numbers, rows, strict=True)
    }


@pytest.fixture
def read(tmp_path):
    def read(text: str) -> Roster:
        (tmp_path / "roster.csv").write_text(text)
        return Roster.read(tmp_path / "roster.csv")

    return read


def grade(student: str, points: float | None, *comments: str) -> Grade:
    return Grade(student, student, "hw.py", points, 6.0, comments)


def test_canvas_reads_the_gradebook(read):
    roster = read(CANVAS)
    column = canvas_column(roster, "Homework 3")
    assert (column, points_possible(roster, column)) == ("Homework 3 (98765)", 6.0)
    text = as_canvas(roster, [grade("12345", 4.25), grade("12346", None), grade("stranger", 1.0)], column)
    assert canvas_import(text) == ({"12345": "4.25", "12346": ""}, {"Homework 3 (98765)": 6.0})
    assert canvas_column(roster, "Homework 4") == "Homework 4"
    assert points_possible(roster, "Homework 4") is None
    new = as_canvas(roster, [grade("12345", 1234.56), grade("12346", 0.0)], "Homework 4")
    assert canvas_import(new) == ({"12345": "1234.56", "12346": "0"}, {"Homework 4": 6.0})


def test_canvas_keeps_the_points_of_the_assignment(read):
    roster = read(CANVAS.replace(",6\n", ",10\n"))
    _, possible = canvas_import(as_canvas(roster, [grade("12345", 1.0), grade("12346", 2.0)], "Homework 3 (98765)"))
    assert possible == {"Homework 3 (98765)": 10.0}


def test_moodle_reads_the_worksheet(read):
    roster = read(WORKSHEET)
    text = as_moodle(roster, [grade("123456", 4.5, "squeeze: good", "see me"), grade("123457", None)])
    assert moodle_import(text) == {"123456": ("4.5", "squeeze: good<br>see me"), "123457": ("", "")}
    before, after = (list(csv.DictReader(io.StringIO(t))) for t in (WORKSHEET, text))
    for old, new in zip(before, after, strict=True):
        assert old | {k: new[k] for k in ("Grade", "Feedback comments")} == new  # every other cell is as it was


def test_a_list_of_participants_gets_columns_for_the_grade_and_the_comments(read):
    text = as_moodle(read(PARTICIPANTS), [grade("123457", 3.0), grade("j@x.org", None)])
    rows = list(csv.DictReader(io.StringIO(text)))
    assert rows[0] == {"First name": "Ada", "Last name": "Lovelace", "ID number": "123457",
                       "Email address": "ada@x.org", "Grade": "3", "Feedback comments": ""}  # fmt: skip


def test_no_cell_is_a_formula(read):
    roster = read('Student,ID,SIS Login ID,Section\n"=cmd()",1,\t=x,@S\n')
    row = list(csv.reader(io.StringIO(as_canvas(roster, [Grade("1", "", "", 1.0, 1.0)], "HW"))))[2]
    assert row == ["'=cmd()", "1", "'\t=x", "'@S", "1"]
    assert [cell(text) for text in ("-", "-1.5", "\t+1", "a=b")] == ["-", "-1.5", "'\t+1", "a=b"]
