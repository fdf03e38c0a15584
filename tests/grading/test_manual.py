"""Points and comments by hand: read from a file, applied to reports, refused if they name nothing."""

from dataclasses import replace

import pytest
from grading_records import passed, report, squeeze_report

from se_numpy.grading.manual import Manual
from se_numpy.grading.report import as_json


def key(text: str) -> str:
    if text not in ("u1", "u2"):
        raise ValueError(f"no student {text!r}")
    return text


@pytest.fixture
def read(tmp_path):
    def read(text: str) -> Manual:
        (tmp_path / "manual.csv").write_text(text)
        return Manual.read(tmp_path / "manual.csv", ("squeeze", "relu"), key)

    return read


def graded(student):
    return replace(report(squeeze_report(), passed()), student=student)


def test_points_are_replaced_or_added_and_comments_kept(read):
    manual = read("student,task,points,add,comment\nu1,squeeze,1.5,,right idea\nu1,relu,,-0.25,\nu1,,,2,well written\n"
                  "u2,,,,see me\n\n")  # fmt: skip
    found = manual.apply(graded("u1"))
    squeeze, relu = found.tasks
    assert (squeeze.points, squeeze.by_hand) == (1.5, 1.0)
    assert squeeze.comment == "Points set by hand: 1.5 in place of 0.5. right idea"
    assert (relu.points, relu.comment) == (0.75, "Points taken off by hand: 0.25.")
    assert (found.added, found.comment, found.points) == (2.0, "Points added by hand: 2. well written", 4.25)
    assert manual.apply(graded("u2")).points == 1.5
    assert manual.apply(graded("u2")).comment == "see me"
    assert as_json(manual.apply(graded("u3"))) == as_json(graded("u3"))


@pytest.mark.parametrize(("text", "says"), [
    ("student,task,point\n", "unknown column 'point'; did you mean points"),
    ("task,points\n", "has no column student"),
    ("student,task,points\nu1,sqeeze,1\n", "row 2: unknown task 'sqeeze'; did you mean squeeze"),
    ("student,task,points\nu9,squeeze,1\n", "row 2: no student 'u9'"),
    ("student,task,points\nu1,squeeze,one\n", "points is 'one'; expected a number"),
    ("student,task,points\nu1,squeeze,inf\n", "points is 'inf'"),
    ("student,points\nu1,1\n", "points are for one task"),
])  # fmt: skip
def test_mistakes_in_the_file_are_named(read, text, says):
    with pytest.raises(ValueError, match=says):
        read(text)
