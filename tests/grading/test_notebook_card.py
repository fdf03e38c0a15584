"""Tests of the notebook card, its plain text, and the class overview."""

import csv
import io
import sys

import pytest
from grading_records import evil_report, passed, plain, report, reports, squeeze_report, tasks
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pages import FORBIDDEN, parse, strict

from se_numpy.grading.classroom import CLASS_FILES, ClassView
from se_numpy.grading.notebook_card import Card
from se_numpy.grading.report import write

any_record = settings(max_examples=30, deadline=None, suppress_health_check=list(HealthCheck))


# ------------------------------------------------------------------------------------------------------------- the card


@given(tasks)
@any_record
def test_the_card_is_balanced_and_ends_with_its_note(task):
    card = Card(task, "a note")
    page = card._repr_html_()
    parse(page)
    assert not FORBIDDEN.search(page + repr(card))
    assert repr(card).endswith("a note")


def test_the_card_shows_the_same_as_its_text():
    card = Card(squeeze_report(), "Ran in this notebook.")
    words = " ".join(" ".join(parse(card._repr_html_()).words).split())
    for part in ("squeeze", "failed", "0.5 of 2 points", "max pooling", "z_c = 1/(HW)", "expected", "yours",
                 "difference", "Right within single precision.", "Ran in this notebook."):  # fmt: skip
        assert part in words, part
        assert part in repr(card), part
    assert not card.passed
    assert Card(passed()).passed


def test_the_card_escapes_markup_and_limits_its_style_to_itself():
    page = Card(evil_report().tasks[0])._repr_html_()
    assert "<script" not in page
    assert "prefers-color-scheme" not in page  # the notebook's theme may differ from the system's
    style = page.partition("<style>")[2].partition("</style>")[0]
    rules = [part.partition("{")[0].split("*/")[-1].strip() for part in style.split("}")]
    for rule in rules:
        if rule and not rule.startswith("@"):
            assert all(one.strip().startswith(".se-report") for one in rule.split(",")), rule


def test_the_card_does_not_need_jinja2(monkeypatch):
    monkeypatch.setitem(sys.modules, "jinja2", None)
    assert "max pooling" in Card(squeeze_report())._repr_html_()


# ------------------------------------------------------------------------------------------------------------ the class


def a_class() -> ClassView:
    """Two take the maximum, one times out, one is right, one is for a different assignment, one cannot be read."""
    return ClassView(
        (
            report(squeeze_report(), passed(), name="ada"),
            report(squeeze_report(), passed(), name="bob"),
            report(plain("squeeze", "timeout"), passed(), name="eve"),
            report(passed("squeeze", 2.0), passed(), name="dan"),
            report(passed("scale", 3.0), name="=fay"),
        ),
        (("gus", "line 3: invalid syntax"),),
    )


def test_the_gradebook_has_a_row_for_each_submission_and_columns_for_all_tasks():
    rows = list(csv.DictReader(io.StringIO(a_class().csv())))
    assert [row["submission"] for row in rows] == ["ada", "bob", "eve", "dan", "'=fay", "gus"]
    assert [row["squeeze points"] for row in rows] == ["0.5", "0.5", "0", "2", "", ""]
    assert [row["squeeze status"] for row in rows] == ["failed", "failed", "timeout", "passed", "", ""]
    assert [row["scale points"] for row in rows] == ["", "", "", "", "3", ""]
    assert [row["points"] for row in rows] == ["1.5", "1.5", "1", "3", "3", "0"]
    assert [row["share"] for row in rows] == ["0.5000", "0.5000", "0.3333", "1.0000", "1.0000", "0.0000"]
    assert rows[-1]["message"] == "line 3: invalid syntax"


def test_mistakes_are_counted_among_the_submissions_graded_on_the_task():
    first, second = a_class().mistakes
    assert (first.task, first.name, first.known, first.submissions, first.of) == (
        "squeeze", "max pooling", True, ("ada", "bob"), 4)  # fmt: skip
    assert (second.name, second.known, second.submissions, second.of) == ("out of time", False, ("eve",), 4)


def test_submissions_with_equal_diagnoses_form_a_group():
    groups = {group.submissions: group.findings for group in a_class().groups}
    assert groups == {
        ("ada", "bob"): (("squeeze", "max pooling"),),
        ("dan", "=fay"): (),
        ("eve",): (("squeeze", "out of time"),),
        ("gus",): (("submission", "cannot be graded"),),
    }


def test_the_largest_group_comes_first_and_a_report_without_tasks_fails():
    broken = [report(name=name, message="line 3: invalid syntax") for name in ("x", "y")]
    first, second = ClassView((report(passed(), name="ada"), *broken)).groups
    assert (first.submissions, first.findings) == (("x", "y"), (("submission", "cannot be graded"),))
    assert (second.submissions, second.findings) == (("ada",), ())


def test_the_class_as_text_and_as_a_page():
    view = a_class()
    page = parse(view.html())
    for words in (view.text(), " ".join(" ".join(page.words).split())):
        flat = " ".join(words.split())
        for part in ("6 submissions, 2 passed all tasks.", "The median score is 50 % of the points.",
                     "1 without a report.", "squeeze: max pooling", "Your squeeze returns the largest value", "2 of 4",
                     "line 3: invalid syntax", "ada, bob"):  # fmt: skip
            assert part in flat, part
    bars = [attrs for tag, attrs in page.seen if tag == "svg"]
    assert len(bars) == 2 + 3 + 5  # mistakes, tasks, submissions
    assert all(attrs["aria-label"] for attrs in bars)
    widths = [attrs["width"] for tag, attrs in page.seen if tag == "rect"]
    assert widths[2 * 3 + 1] == "50.0"  # after the tasks: 2 of 4 took the maximum


def test_without_names_no_submission_is_named():
    view = a_class()
    assert all(name not in view.html(names=False) for name in ("bob", "=fay", "gus"))
    assert all(name not in view.text(names=False) for name in ("bob", "=fay", "gus"))
    assert "max pooling" in view.html(names=False)


def test_the_class_as_json():
    found = strict(a_class().json())
    assert found["schema"] == 1
    assert found["tasks"][0] == {"task": "squeeze", "passed": 1, "of": 4}
    assert found["mistakes"][0]["count"] == 2
    assert {"findings": {"squeeze": "max pooling"}, "submissions": ["ada", "bob"]} in found["groups"]
    assert [one["points"] for one in found["submissions"]] == [1.5, 1.5, 1.0, 3.0, 3.0]
    assert found["unreadable"] == [{"name": "gus", "message": "line 3: invalid syntax"}]


def test_a_class_is_read_from_a_folder_with_other_files(tmp_path):
    for one in a_class().reports[:2]:
        write(one, tmp_path / one.name, ["json", "html"])
    (tmp_path / "zoe").mkdir()
    (tmp_path / "zoe" / "report.json").write_bytes(b"\xff\x00 not a report")
    (tmp_path / "yan" / "report.json").mkdir(parents=True)
    view = ClassView.read(tmp_path)
    assert [one.name for one in view.reports] == ["ada", "bob"]
    assert [name for name, _ in view.unreadable] == ["yan/report.json", "zoe/report.json"]
    assert all(why for _, why in view.unreadable)
    with pytest.raises(ValueError, match="does not exist"):
        ClassView.read(tmp_path / "nowhere")


def test_class_files_have_the_documented_names(tmp_path):
    paths = a_class().write(tmp_path / "out", ["terminal", "json", "gradescope", "junit", "html", "csv"])
    assert [path.name for path in paths] == list(CLASS_FILES.values())
    assert "ada" in (tmp_path / "out" / "grades.csv").read_text()
    with pytest.raises(ValueError, match="unknown format 'pdf'"):
        a_class().write(tmp_path, ["pdf"])


@given(st.lists(reports, max_size=4).map(tuple), st.lists(st.tuples(st.text(), st.text()), max_size=2).map(tuple))
@any_record
def test_any_class_can_be_written(drawn, unreadable):
    view = ClassView(drawn, unreadable)
    strict(view.json())
    parse(view.html())
    assert not FORBIDDEN.search(view.html() + view.text() + view.csv())
    assert len(list(csv.reader(io.StringIO(view.csv())))) == 1 + len(drawn) + len(unreadable)
    assert sum(len(group.submissions) for group in view.groups) == len(drawn) + len(unreadable)
    for task, good, of in view.tasks:
        assert good + sum(len(m.submissions) for m in view.mistakes if m.task == task) == of
