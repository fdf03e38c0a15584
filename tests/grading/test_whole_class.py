"""A class from the download to the gradebook: a roster, hidden checks, points by hand, the best of two runs."""

import csv
import io
import json
import os
import re
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from urllib.parse import unquote

import pytest
from test_roster import CANVAS, WORKSHEET

from se_numpy.cli import main
from se_numpy.grading import grade_command
from se_numpy.grading.classroom import ClassView

RIGHT = "import numpy as np\ndef squeeze(U):\n    return U.mean((1, 2))\ndef relu(x):\n    return np.maximum(x, 0)\n"
WRONG = RIGHT.replace("U.mean((1, 2))", "U[7:8, 0].missing")
ASSIGNMENT = """\
title = "Homework 3"
roster = "roster.csv"
manual = "manual.csv"
keep = "best"
secret_file = "secret.txt"
[[task]]
id = "squeeze"
points = 4
checks = { "special cases" = { points = 1, visibility = "hidden" } }
[[task]]
id = "relu"
points = 2
"""


@pytest.fixture
def course(tmp_path, monkeypatch):
    @contextmanager
    def pool(jobs, dask=None):
        with ThreadPoolExecutor(jobs) as executor:
            yield executor

    monkeypatch.setattr(grade_command, "workers", pool)
    (tmp_path / "roster.csv").write_text(CANVAS)
    (tmp_path / "manual.csv").write_text("student,task,add,comment\n12346,relu,-0.5,copied from the slides\n")
    (tmp_path / "secret.txt").write_text("a secret of the course")
    (tmp_path / "hw.toml").write_text(ASSIGNMENT)
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "lovelaceada_12345_67890_hw.py").write_text(RIGHT)
    (tmp_path / "in" / "müllerjörg_LATE_12346_67891_hw.py").write_text(WRONG)
    (tmp_path / "in" / "hoppergrace_12399_67892_hw.py").write_text(WRONG)
    return tmp_path


@pytest.fixture
def grade(course, capsys):
    def grade(*more):
        files = [course / "in", "--assignment", course / "hw.toml", "--out", course / "out"]
        code = main([*map(str, ["grade", *files, *more]), "--isolation", "process", "--format", "html,json"])
        said = capsys.readouterr()
        return code, " ".join(said.out.split()), said.err

    return grade


def test_two_runs_of_a_class(course, grade):
    folder = course / "out"
    code, out, err = grade()
    assert code == 1, err
    assert "Müller, Jörg 1.5 of 6 müllerjörg_LATE_12346_67891_hw.py, late" in out
    assert "hoppergrace_12399_67892_hw.py: no student of the roster has the number 12399" in out
    assert "hoppergrace_12399_67892_hw.py: other submission Müller, Jörg; in common the same file" in out
    gradebook = list(csv.reader(io.StringIO((folder / "canvas.csv").read_text())))
    assert [row[-1] for row in gradebook] == ["Homework 3 (98765)", "6", "6", "1.5"]
    shown = json.loads((folder / "lovelaceada_12345_67890_hw" / "report.json").read_text())
    whole = json.loads((folder / "instructor" / "lovelaceada_12345_67890_hw" / "report.json").read_text())
    assert (shown["max_points"], whole["max_points"], shown["student"]) == (5, 6, "12345")
    assert "special cases" not in [check["name"] for check in shown["tasks"][0]["checks"]]
    totals = {r.name: r.max_points for r in ClassView.read(folder).reports}  # the instructor's, where there are two
    assert totals == dict.fromkeys(os.listdir(course / "in"), 6)
    hands = json.loads((folder / "müllerjörg_LATE_12346_67891_hw" / "report.json").read_text())["tasks"][1]
    assert hands["comment"] == "Points taken off by hand: 0.5. copied from the slides"

    (course / "in" / "lovelaceada_12345_67890_hw.py").write_text(WRONG)
    (course / "in" / "müllerjörg_LATE_12346_67891_hw.py").write_text(RIGHT)
    code, out, err = grade()
    assert code == 1
    assert "Lovelace, Ada: task squeeze; before 4 of 4, passed; now 0 of 4, raised an exception" in out
    assert "Lovelace, Ada 6 of 6 lovelaceada_12345_67890_hw.py, from earlier/1" in out
    page = (folder / "class.html").read_text()
    assert "<h1>Homework 3: class overview</h1>" in page
    links = re.findall(r'href="\./(earlier/1/[^"]+)"', page)
    assert links
    assert all((folder / unquote(link)).is_file() for link in links)
    assert [row[-1] for row in csv.reader(io.StringIO((folder / "canvas.csv").read_text()))][2:] == ["6", "5.5"]
    assert sorted(path.name for path in (folder / "earlier" / "1").iterdir() if path.is_dir()) == [
        "hoppergrace_12399_67892_hw", "instructor", "lovelaceada_12345_67890_hw", "müllerjörg_LATE_12346_67891_hw"
    ]  # fmt: skip
    grade("--keep", "last")
    assert [row[-1] for row in csv.reader(io.StringIO((folder / "canvas.csv").read_text()))][2:] == ["2", "5.5"]


def test_a_worksheet_of_moodle_is_filled_in(course, grade):
    (course / "roster.csv").write_text(WORKSHEET)
    for path in (course / "in").iterdir():
        path.unlink()
    place = course / "in" / "Ada Lovelace_123456_assignsubmission_file_"
    place.mkdir()
    (place / "hw.py").write_text(RIGHT)
    (course / "manual.csv").write_text("student,add,comment\nAda Lovelace,1,well written\n")
    code, out, err = grade()
    assert code == 0, err
    rows = list(csv.DictReader(io.StringIO((course / "out" / "moodle.csv").read_text())))
    assert [(row["Grade"], row["Feedback comments"]) for row in rows] == [
        ("7", "Points added by hand: 1. well written"), ("", "")
    ]  # fmt: skip
    assert "Nothing submitted Jörg Müller: 123457" in out


@pytest.mark.parametrize(("manual", "says"), [
    ("student,task\n12345,sqeeze\n", "did you mean squeeze"), ("student\n12344\n", "row 2: no student '12344'"),
])  # fmt: skip
def test_mistakes_are_found_before_grading(course, grade, monkeypatch, manual, says):
    monkeypatch.setattr(grade_command, "grade_all", None)  # must not be called
    (course / "manual.csv").write_text(manual)
    code, _, err = grade()
    assert (code, says in err) == (2, True)
    assert not (course / "out" / "grades.csv").exists()


def test_without_a_roster_points_by_hand_name_folders(course, grade, tmp_path):
    (course / "hw.toml").write_text('tasks = ["relu"]\nmanual = "manual.csv"\n')
    (course / "manual.csv").write_text("student,add\nalice,1\n")
    code, _, err = grade()
    assert code == 2
    assert "no submission of 'alice'; expected the name of a submission's folder or file, or a roster" in err
    (course / "manual.csv").write_text("student,add\n12345,1\n")
    assert grade()[0] == 0
    rows = {row["submission"]: row for row in csv.DictReader(io.StringIO((course / "out" / "grades.csv").read_text()))}
    assert rows["lovelaceada_12345_67890_hw.py"]["points"] == "2"
