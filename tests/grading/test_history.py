"""Earlier runs: the changes since, and the best or the last of several results."""

import json
from dataclasses import replace

import pytest
from grading_records import passed, plain, report

from se_numpy.grading.classroom import ClassView
from se_numpy.grading.grades import Grading
from se_numpy.grading.history import Change, Result, Run, best_of, changes, earlier_runs
from se_numpy.grading.manual import Entry, Manual
from se_numpy.grading.roster import Roster

WRONG, RIGHT = plain("relu", "failed", 0.5), replace(passed("relu", 2.0))


def of(student: str, task=WRONG, name: str = "", sha256: str = "a"):
    return replace(report(task, name=name or f"{student}.py"), student=student, sha256=sha256)


def results(*reports):
    return best_of(map(Result.of, reports))


def test_a_run_is_read_back_from_its_class_view(tmp_path):
    by_hand = replace(of("ada"), tasks=(replace(WRONG, points=1.5, by_hand=1.0),))
    place = tmp_path / "earlier" / "2"
    ClassView((by_hand, of("bob", RIGHT))).write(place, ["json"])
    (tmp_path / "earlier" / "10").mkdir()
    (tmp_path / "earlier" / "10" / "class.json").write_text('{"schema": 1, "submissions": [{}]}')
    assert Result.of(by_hand).points == 0.5
    (run,) = earlier_runs(tmp_path)
    assert run.name == "earlier/2"
    assert run.results == results(of("ada"), of("bob", RIGHT))  # without the points by hand


def test_changes_name_the_student_and_the_task():
    before = results(of("ada"), of("bob"), of("eve"), of("dan"))
    after = results(of("ada", RIGHT, sha256="b"), of("bob"), of("kim"), of("dan", RIGHT))
    assert changes(before, after) == (
        Change("ada", "ada.py", "relu", "0.5 of 2, failed", "2 of 2, passed"),
        Change("eve", "eve.py", "", "submitted", "no longer there"),
        Change("dan", "dan.py", "relu", "0.5 of 2, failed", "2 of 2, passed", same_file=True),
        Change("kim", "kim.py", "", "", "new"),
    )


@pytest.mark.parametrize(("keep", "points", "run"), [("last", 0.5, ""), ("best", 2.0, "earlier/1")])
def test_the_best_or_the_last_result_counts(keep, points, run):
    runs = (Run("earlier/1", results(of("ada", RIGHT))), Run("earlier/2", results(of("ada"))))
    rules = Grading(report(plain("relu", "missing")), runs=runs, keep=keep)
    (grade,) = rules.grades([of("ada")])
    assert (grade.points, grade.max_points, grade.run) == (points, 2.0, run)
    assert ("An earlier submission" in rules.final(of("ada")).comment) == bool(run)
    changed = replace(RIGHT, max_points=4.0)  # other points: the earlier result is not comparable
    assert rules.grades([of("ada", replace(WRONG, max_points=4.0))])[0].points == 0.5
    assert rules.grades([of("ada", changed)])[0].run == ""


def test_an_earlier_submission_counts_if_there_is_none_now(tmp_path):
    (tmp_path / "r.csv").write_text("id,name\nada,Ada\nbob,Bob\n")
    roster, runs = Roster.read(tmp_path / "r.csv"), (Run("earlier/1", results(of("ada"))),)
    ada, bob = Grading(report(plain("relu", "missing")), roster, runs=runs, keep="best").grades([])
    assert (ada.points, ada.run, ada.submission) == (0.5, "earlier/1", "ada.py")
    assert (bob.points, bob.run, bob.submission, bob.name) == (None, "", "", "Bob")
    manual = Manual((Entry("bob", add=1.0, comment="on paper"),))
    (ada, bob) = Grading(report(plain("relu", "missing")), roster, manual).grades([])
    assert (ada.points, bob.points) == (None, 1.0)
    assert bob.comments == ("Points added by hand: 1. on paper",)


def test_of_several_submissions_that_with_the_most_points_counts():
    rules = Grading(report(plain("relu", "missing")))
    (grade,) = rules.grades([of("ada", name="a.py"), of("ada", RIGHT, "b.py"), of("ada", name="c.py")], late={"ada"})
    assert (grade.submission, grade.points, grade.late) == ("b.py", 2.0, True)


def test_damaged_views_are_not_read(tmp_path):
    for text in ("", "[]", json.dumps({"submissions": [3]}), json.dumps({"submissions": [{"tasks": {"a": {}}}]})):
        (tmp_path / "class.json").write_text(text)
        assert Run.read(tmp_path, "earlier/1") is None
