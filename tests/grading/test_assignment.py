"""Points and visibility of checks, extra credit, and what students are not shown."""

import json
import re
import textwrap
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from grading_records import report

from se_numpy.grading import assignment
from se_numpy.grading.checks import points_of, shares_of
from se_numpy.grading.grade import grade_task
from se_numpy.grading.inprocess import caller
from se_numpy.grading.models import NOT_ALL
from se_numpy.grading.report import as_gradescope, as_html, as_json, as_text, load
from se_numpy.grading.tasks import all_tasks

SIGMOID = all_tasks()["sigmoid"]
CHECKS = 'checks = { values = 3, dtype = 0, extremes = { points = 1, visibility = "hidden" } }'


@pytest.fixture
def write(tmp_path):
    def write(text: str, task: str = "sigmoid", points: float = 5) -> assignment.Assignment:
        (tmp_path / "hw.toml").write_text(f'[[task]]\nid = "{task}"\npoints = {points}\n{text}\n')
        return assignment.load(tmp_path / "hw.toml")

    return write


def naive(x):
    return 1 / (1 + np.exp(-x)) if x.max() < 50 else x  # right except on extremes


def graded(item, function=naive):
    found = grade_task(
        item.task, caller(function), seed=0, points=item.points, check_points=item.check_points, seconds=0
    )
    return replace(report(item.labelled(found)), name="ada.py")


def test_points_of_checks_add_up_to_those_of_the_task():
    for task in all_tasks().values():
        points = points_of(task, 7.0)
        assert sum(points.values()) == pytest.approx(7)
        assert points.keys() == shares_of(task).keys()
        fixed = points_of(task, 7.0, {"values": 4.0, "dtype": 0.0})
        assert sum(fixed.values()) == pytest.approx(7)
        assert fixed["dtype"] == 0
        assert sum(p for name, p in fixed.items() if name.startswith("values")) == pytest.approx(4)


def test_checks_have_their_own_points_and_visibility(write):
    (item,) = write(CHECKS).items
    (task,) = graded(item).tasks
    found = {check.name: check for check in task.checks}
    assert (found["values of y"].max_points, found["dtype"].max_points, found["extremes"].max_points) == (3, 0, 1)
    assert (found["extremes"].passed, found["extremes"].visibility) == (False, "hidden")
    assert sum(check.max_points for check in task.checks) == pytest.approx(5)
    assert task.hidden_points == 1


def test_hidden_checks_are_shown_to_the_instructor_only(write):
    (item,) = write(CHECKS).items
    whole = graded(item)
    shown = whole.for_student()
    assert whole.hides
    assert not whole.passed
    assert shown.passed  # only a hidden check failed
    assert (shown.points, shown.max_points) == (pytest.approx(whole.points), 4)
    for render in (as_text, as_html, as_json):
        assert "extremes" in render(whole)
        assert "extremes" not in render(shown)
        assert NOT_ALL in " ".join(render(shown).split())  # the grade would look wrong
        assert NOT_ALL not in render(whole)
    (missing,) = (
        replace(whole, tasks=(item.labelled(replace(whole.tasks[0], checks=(), points=0)),)).for_student().tasks
    )
    assert missing.max_points == 4  # the same as for a submission whose checks were made


def test_a_passed_check_without_points_is_no_hint(write):
    (item,) = write("checks = { dtype = 0 }").items
    assert graded(item, SIGMOID.oracle).tasks[0].hints == ()


def test_a_failed_check_that_is_shown_keeps_its_diagnosis(write):
    (item,) = write(CHECKS).items
    (task,) = graded(item, lambda x: np.tanh(x)).for_student().tasks
    assert task.status == "failed"
    assert task.diagnosis


def test_hidden_tasks_are_left_out(write):
    (item,) = write('visibility = "hidden"').items
    whole = graded(item)
    assert whole.hides
    assert whole.for_student().tasks == ()


def test_gradescope_gets_hidden_checks_as_a_hidden_test(write):
    (item,) = write(CHECKS).items
    whole = replace(graded(item), added=0.5, comment="on paper")
    results = json.loads(as_gradescope(whole))
    assert [(t["number"], t["visibility"], t["max_score"]) for t in results["tests"]] == [
        ("1", "visible", 4), ("1.1", "hidden", 1), ("", "visible", 0)
    ]  # fmt: skip
    assert results["score"] == pytest.approx(whole.points, abs=1e-3)
    assert "extremes" not in results["tests"][0]["output"]
    assert "extremes" in results["tests"][1]["output"]
    (hidden,) = write('visibility = "after_due_date"').items
    assert json.loads(as_gradescope(graded(hidden)))["tests"][0]["visibility"] == "after_due_date"


def test_extra_credit_adds_points_and_no_possible_points(write):
    (extra,) = write("extra = true", "relu", 1).items
    (item,) = write("").items
    both = replace(
        report(), tasks=(graded(item, SIGMOID.oracle).tasks[0], graded(extra, lambda x: x * (x > 0)).tasks[0])
    )
    assert (both.points, both.max_points, both.passed) == (6, 5, True)
    failed = replace(both, tasks=(both.tasks[0], replace(both.tasks[1], status="failed", points=0)))
    assert failed.passed  # extra credit may be left out
    assert "extra credit" in as_text(both)
    assert "1 of 1 points, extra credit" in as_html(both)


@pytest.mark.parametrize(("text", "says"), [
    ("checks = 3", "checks is 3; expected a table"),
    ("checks = { valus = 3 }", "sigmoid has no check 'valus'; did you mean 'values'?"),
    ("checks = { 'values of z' = 3 }", "did you mean 'values of y'"),
    ("checks = { values = 9 }", "the checks of sigmoid have 9 points and the task has 5"),
    ("checks = { values = -1 }", "points of values is -1"),
    ("checks = { values = { point = 1 } }", "the check 'values' has an unknown entry 'point'; did you mean points"),
    ("checks = { values = { visibility = 'after_due_date' } }", "expected one of visible, hidden"),
    ("checks = { extreme = { visibility = 'hidden' } }", "did you mean 'extremes'"),
    ("extra = 1", "extra is 1; expected true or false"),
])  # fmt: skip
def test_invalid_rules_are_refused(write, text, says):
    with pytest.raises(ValueError, match=says):
        write(text)


@pytest.mark.parametrize(("text", "says"), [
    ("keep = 'first'", "keep is 'first'; expected one of last, best"),
    ("roster = 3", "roster is 3; expected a string"),
    ("rooster = 'r.csv'", "unknown entry 'rooster'; did you mean roster"),
    ("[[task]]\nid = 'sigmoid'\nmanual = 'm.csv'", "unknown entry 'manual'; write it at the top of the file, above"),
    ("[limits]\nkeep = 'best'", "unknown entry 'keep'; write it at the top of the file, above the first table"),
])  # fmt: skip
def test_invalid_entries_are_refused(tmp_path, text, says):
    (tmp_path / "hw.toml").write_text(f'tasks = ["relu"]\n{text}\n')
    with pytest.raises(ValueError, match=says):
        assignment.load(tmp_path / "hw.toml")


def test_the_assignment_in_the_documentation_is_valid(tmp_path):
    page = (Path(__file__).parents[2] / "docs" / "grading.md").read_text(encoding="utf-8")
    text = textwrap.dedent(re.search(r"```toml\n(.*?)```", page, re.DOTALL)[1])
    (tmp_path / "secret.txt").write_text("correct horse")
    (tmp_path / "hw3.toml").write_text(text)
    found = assignment.load(tmp_path / "hw3.toml")
    assert [item.task.name for item in found.items] == ["squeeze", "scale", "excite", "relu"]
    assert [item.extra for item in found.items] == [False, False, False, True]
    assert (found.keep, found.template) == ("best", tmp_path / "hw3.py")


def test_inputs_follow_the_student(tmp_path):
    (tmp_path / "secret").write_bytes(b"correct horse")
    (tmp_path / "hw.toml").write_text('tasks = ["relu"]\nsecret_file = "secret"\nroster = "r.csv"\n')
    found = assignment.load(tmp_path / "hw.toml")
    assert found.roster == tmp_path / "r.csv"
    assert found.seed("12345", "relu") == assignment.load(tmp_path / "hw.toml").seed("12345", "relu")
    assert found.seed("12345", "relu") != found.seed("12346", "relu")
    assert found.seed("\udcff", "relu")  # a file's name that is not UTF-8


def test_reports_of_earlier_versions_are_read():
    found = json.loads(as_json(report()))
    for name in ("student", "added", "comment", "trees"):
        del found[name]
    assert load(json.dumps(found)) == report()
