"""Tests of reports in every format: writing never raises; the output is well formed; students' text is escaped."""

import csv
import io
import json
import math
import re
import sys
from dataclasses import replace
from xml.etree import ElementTree as ET

import numpy as np
import pytest
from grading_records import evil_report, passed, plain, report, reports, squeeze_report
from hypothesis import HealthCheck, given, settings
from pages import FORBIDDEN, parse, strict

from se_numpy.grading.classroom import ClassView
from se_numpy.grading.models import Check, Counterexample, Report, TaskReport
from se_numpy.grading.report import (
    FILES,
    FORMATS,
    arrays,
    as_csv,
    as_gradescope,
    as_html,
    as_json,
    as_junit,
    as_text,
    check_formats,
    load,
    schema,
    show,
    text,
    write,
)
from se_numpy.grading.report.colormap import colours

any_report = settings(max_examples=80, deadline=None, suppress_health_check=list(HealthCheck))


def fits(value, rule, root):
    """Return True if a value conforms to a JSON schema; only the keywords in schema.json are supported."""
    known = {"type", "required", "properties", "additionalProperties", "items", "anyOf", "enum", "const", "$ref",
             "maxLength", "maxItems", "description", "$schema", "title", "$defs"}  # fmt: skip
    assert set(rule) <= known, set(rule) - known
    if "$ref" in rule:
        return fits(value, root["$defs"][rule["$ref"].removeprefix("#/$defs/")], root)
    if "anyOf" in rule:
        return any(fits(value, other, root) for other in rule["anyOf"])
    if "const" in rule or "enum" in rule:
        return value in rule.get("enum", [rule.get("const")])
    kinds = {"object": dict, "array": list, "string": str, "number": (int, float), "integer": int, "boolean": bool,
             "null": type(None)}  # fmt: skip
    if not isinstance(value, kinds[rule["type"]]) or (isinstance(value, bool) and rule["type"] != "boolean"):
        return False
    if isinstance(value, str):
        return len(value) <= rule.get("maxLength", math.inf)
    if isinstance(value, list):
        return len(value) <= rule.get("maxItems", math.inf) and all(fits(v, rule["items"], root) for v in value)
    if isinstance(value, dict):
        named, others = rule.get("properties", {}), rule.get("additionalProperties", True)
        return all(name in value for name in rule.get("required", [])) and all(
            fits(v, named[k], root) if k in named else others and fits(v, others, root) for k, v in value.items()
        )
    return True


# ---------------------------------------------------------------------------------------------------- arbitrary reports


@given(reports)
@any_report
def test_every_format_can_be_written_to_a_file(drawn):
    for name, form in FORMATS.items():
        page = form(drawn)
        assert not FORBIDDEN.search(page), name
        assert page.endswith("\n")
        page.encode("utf-8")


@given(reports)
@any_report
def test_the_page_is_balanced_and_has_a_section_for_each_task(drawn):
    page = parse(as_html(drawn))
    assert sum(tag == "section" for tag, _ in page.seen) == len(drawn.tasks) + bool(drawn.tasks)


@given(reports)
@any_report
def test_json_fits_its_schema_and_survives_a_round_trip(drawn):
    page = as_json(drawn)
    assert fits(strict(page), schema(), schema())
    assert as_json(load(page)) == page


@given(reports)
@any_report
def test_gradescope_has_the_documented_fields_and_types(drawn):
    results = strict(as_gradescope(drawn))
    assert {type(results["score"]), type(results["execution_time"])} <= {int, float}
    assert results["score"] == pytest.approx(sum(test["score"] for test in results["tests"]), rel=1e-9, abs=1e-3)
    assert set(results) == {"score", "execution_time", "output", "output_format", "test_output_format",
                            "test_name_format", "visibility", "stdout_visibility", "tests", "extra_data"}  # fmt: skip
    hides = [any(check.visibility == "hidden" for check in task.checks) for task in drawn.tasks]
    numbers = [n for i, more in enumerate(hides, 1) for n in (str(i), *[f"{i}.1"] * more)] + [""] * bool(drawn.added)
    assert [test["number"] for test in results["tests"]] == numbers
    whole = [test for test in results["tests"] if test["number"].isdigit()]
    for test, task in zip(whole, drawn.tasks, strict=True):
        task = replace(task, visibility="visible").for_student()
        assert set(test) == {"score", "max_score", "status", "name", "name_format", "number", "output",
                             "output_format", "tags", "visibility", "extra_data"}  # fmt: skip
        assert {type(test["score"]), type(test["max_score"])} <= {int, float}
        assert test["status"] == ("passed" if task.status == "passed" else "failed")
        assert test["output_format"] == "text"
        assert all(isinstance(tag, str) and tag for tag in test["tags"])


@given(reports)
@any_report
def test_junit_is_xml_with_correct_counts(drawn):
    root = ET.fromstring(as_junit(drawn))
    suite = root.find("testsuite")
    cases = suite.findall("testcase")
    assert len(cases) == max(1, len(drawn.tasks)) == int(suite.get("tests"))
    for kind, count in (("failure", "failures"), ("error", "errors"), ("skipped", "skipped")):
        assert int(suite.get(count)) == len(suite.findall(f"testcase/{kind}")) == int(root.get(count))
    for case, task in zip(cases, drawn.tasks, strict=False):
        outcomes = [kind for kind in ("failure", "error", "skipped") if case.find(kind) is not None]
        assert outcomes == {"passed": [], "failed": ["failure"], "missing": ["skipped"]}.get(task.status, ["error"])


@given(reports)
@any_report
def test_text_fits_a_terminal(drawn):
    page = as_text(drawn)
    code = {f"      {row}".rstrip() for t in drawn.tasks if t.counterexample
            for row in text.clean(t.counterexample.repro).splitlines()}  # fmt: skip
    assert all(len(row) <= 100 for row in page.splitlines() if row not in code)


@given(reports)
@any_report
def test_csv_has_one_row_as_long_as_its_header(drawn):
    rows = list(csv.reader(io.StringIO(as_csv(drawn))))
    assert len(rows) == 2
    assert len(rows[0]) == len(rows[1])
    for entry in rows[1]:
        assert not entry.startswith(("=", "+", "@", "\t", "\r"))
        assert not entry.startswith("-") or float(entry) <= 0


def test_the_html_format_needs_jinja2_and_no_other_does(monkeypatch):
    monkeypatch.setitem(sys.modules, "jinja2", None)
    with pytest.raises(RuntimeError, match="HTML pages need Jinja2, which is not installed: pip install"):
        as_html(report())
    for name in FORMATS:
        assert name == "html" or FORMATS[name](report(squeeze_report()))


def test_markup_from_a_student_is_escaped():
    for name in ("html", "junit"):
        page = FORMATS[name](evil_report())
        assert "<script" not in page
        assert "alert(1)" in page  # shown as text
    assert "\x1b" not in as_text(evil_report())
    assert "[31m" not in as_text(evil_report())
    words = "".join(parse(as_html(evil_report())).words)
    assert words.count("<script>alert(1)</script>") > 10


def test_long_texts_are_truncated():
    long = plain("squeeze", "error", message="x" * 10**6)
    for name, form in FORMATS.items():
        assert len(form(report(long, name="n" * 10**6))) < 50_000, name
    assert "1,000,000 characters in total" in as_text(report(long))


# -------------------------------------------------------------------------------------------------------------- content


def test_text_shows_checks_diagnosis_and_counterexample():
    page = as_text(report(squeeze_report(), passed(), plain("excite", "timeout", message="It ran for 2 s.")))
    for words in ("ada.py   1.5 of 5 points", "FAILED  squeeze: failed, 0.5 of 2 points", "ok      shape  0.5/0.5",
                  "FAILED  values of z  0/1.5 (far beyond the tolerance)", "--      extremes",
                  "Diagnosis: max pooling (agrees on 12 of 12 inputs that distinguish it)", "z_c = 1/(HW) Σ u_c",
                  "U[0, 0, :, 0]", "z[0, 0] is 2 where 1.5 was expected.", "print(squeeze(U))",
                  "Hint: Right within single precision.", "| debug", "excite: out of time, 0 of 2 points",
                  "It ran for 2 s.", "Isolation: L2 (landlock)", "- bubblewrap is not installed.",
                  "5f3a91"):  # fmt: skip
        assert words in page, words
    flat = " ".join(page.split())
    assert "1 2" in flat
    assert "expected yours difference 1.5 2* 0.5" in flat
    assert page.index("Isolation") > page.index("excite: out of time")


def test_the_page_shows_expected_and_returned_values_and_their_difference():
    page = parse(as_html(report(squeeze_report(), passed())))
    words = " ".join(" ".join(page.words).split())
    for part in ("1.5 of 3 points", "1 of 2 tasks passed", "max pooling", "agrees on 12 of 12", "expected", "yours",
                 "difference", "Isolation: L2 (landlock)", "bubblewrap is not installed."):  # fmt: skip
        assert part in words, part
    colours_ = {attrs["style"] for tag, attrs in page.seen if tag == "td" and "style" in attrs}
    assert len(colours_) >= 2
    off = [attrs for tag, attrs in page.seen if attrs.get("class") == "off"]
    assert len(off) == 1
    assert sum(tag == "svg" and bool(attrs.get("aria-label")) for tag, attrs in page.seen) == 1
    assert "http" not in as_html(report(squeeze_report())).replace("http-equiv", "")


def test_gradescope_contains_the_score_and_the_mistake():
    results = strict(as_gradescope(report(squeeze_report(), passed())))
    assert (results["score"], results["execution_time"]) == (1.5, 6.32)
    assert "Isolation: L2" in results["output"]
    first, second = results["tests"]
    assert (first["score"], first["max_score"], first["status"], first["number"]) == (0.5, 2.0, "failed", "1")
    assert first["tags"] == ["Eq. (2): z_c = 1/(HW) Σ u_c(i, j)"]
    assert first["extra_data"]["mistake"] == "max pooling"
    assert first["extra_data"]["error_over_tolerance"] == 4.1e11
    assert "Diagnosis: max pooling" in first["output"]
    assert (second["status"], second["visibility"], second["tags"]) == ("passed", "visible", [])


def test_gradescope_hides_the_requested_tests():
    tests = strict(as_gradescope(report(squeeze_report(), passed()), visibility={"relu": "after_due_date"}))["tests"]
    assert [test["visibility"] for test in tests] == ["visible", "after_due_date"]
    with pytest.raises(ValueError, match="'secret' is unknown to Gradescope; expected one of visible, hidden"):
        as_gradescope(report(), visibility="secret")


def test_a_submission_that_cannot_be_run_scores_zero_and_fails():
    dead = report(message="line 3: invalid syntax")
    assert strict(as_gradescope(dead))["score"] == 0
    assert "line 3: invalid syntax" in strict(as_gradescope(dead))["output"]
    assert ET.fromstring(as_junit(dead)).find("testsuite/testcase/error").text == "line 3: invalid syntax"
    assert "line 3: invalid syntax" in as_text(dead)
    assert "line 3: invalid syntax" in as_html(dead)


def test_junit_distinguishes_failures_errors_and_missing_functions():
    tasks = [squeeze_report(), passed(), plain("excite", "crashed"), plain("scale", "missing")]
    suite = ET.fromstring(as_junit(report(*tasks))).find("testsuite")
    assert [suite.get(k) for k in ("tests", "failures", "errors", "skipped")] == ["4", "1", "1", "1"]
    assert suite.find("testcase/failure").get("message") == "max pooling"
    facts = {p.get("name"): p.get("value") for p in suite.iter("property")}
    assert facts["seed_id"] == "5f3a91"
    assert facts["isolation"].startswith("L2 (landlock)")


def test_csv_has_the_points_and_the_status_of_each_task():
    rows = list(csv.DictReader(io.StringIO(as_csv(report(squeeze_report(), passed(), name="=cmd()")))))
    assert rows == [{"submission": "'=cmd()", "squeeze points": "0.5", "squeeze status": "failed", "relu points": "1",
                     "relu status": "passed", "points": "1.5", "max points": "3", "share": "0.5000",
                     "message": ""}]  # fmt: skip


# ----------------------------------------------------------------------------------------------------------------- JSON


def kept(value):
    """Return an argument after a round trip through JSON."""
    task = replace(squeeze_report(), counterexample=Counterexample({"x": value}, {}, {}, "", ""))
    return load(as_json(report(task))).tasks[0].counterexample.arguments["x"]


@pytest.mark.parametrize("dtype", ["f8", "f4", "f2", "i8", "u1", "?", "c16"])
def test_small_arrays_survive_a_round_trip_exactly(dtype):
    array = np.random.default_rng(0).standard_normal((2, 3, 4)).astype(dtype)
    back = kept(array)
    assert back.dtype == array.dtype
    assert back.shape == array.shape
    assert back.tobytes() == array.tobytes()


def test_values_that_json_lacks_survive_a_round_trip():
    back = kept(np.array([np.nan, np.inf, -np.inf, 0.0]))
    np.testing.assert_array_equal(back, [np.nan, np.inf, -np.inf, 0.0])
    assert math.isnan(kept(float("nan")))
    assert kept(-math.inf) == -math.inf
    assert kept(2**63 - 1) == 2**63 - 1
    assert kept((1, "same", None, True)) == (1, "same", None, True)
    assert kept(np.zeros((0, 3))).shape == (0, 3)


def test_arrays_of_more_than_64_entries_are_kept_as_outlines():
    assert kept(np.arange(64.0)).sum() == 2016
    outline = kept(np.arange(65.0))
    assert outline.shape == (65,)
    assert outline.dtype == "float64"
    assert outline != kept(np.arange(65.0) + 1)  # another digest
    assert kept(outline) == outline
    assert arrays.block("U", outline).about.startswith("shape (65,), float64, too large to keep; sha256 ")


def test_a_report_read_from_json_renders_the_same():
    first = report(squeeze_report(), passed(), plain("excite", "error", message="boom"))
    again = load(as_json(first))
    for name, form in FORMATS.items():
        assert form(again) == form(first), name
    assert again.points == first.points
    assert again.tasks[0].diagnosis == first.tasks[0].diagnosis
    assert again.tasks[0].checks == first.tasks[0].checks


@pytest.mark.parametrize(("page", "says"), [
    ("", "it is not JSON"), ("[" * 100_000, "it is not JSON"), ("[]", '"schema" is none, expected 1'),
    ('{"schema": 2}', '"schema" is 2, expected 1'), ('{"schema": 1}', r"damaged \(KeyError: 'name'\)"),
])  # fmt: skip
def test_invalid_reports_are_refused(page, says):
    with pytest.raises(ValueError, match=says):
        load(page)


@pytest.mark.parametrize("change", [
    {"dtype": "O"}, {"dtype": "<U999999999"}, {"dtype": "nonsense"}, {"shape": [7]}, {"values": ["x"]},
    {"values": [0] * 65},
])  # fmt: skip
def test_inconsistent_arrays_are_refused(change):
    plain_report = json.loads(as_json(report(squeeze_report())))
    plain_report["tasks"][0]["counterexample"]["got"]["z"].update(change)
    with pytest.raises(ValueError, match="damaged"):
        load(json.dumps(plain_report))


# --------------------------------------------------------------------------------------------------------------- arrays


def test_the_window_shows_the_largest_difference():
    right = np.zeros((3, 40, 50, 4))
    wrong = right.copy()
    wrong[2, 31, 47, 3] = 5.0
    shown = arrays.compare("dU", right, wrong)
    assert "1 of 24000 entries differ; only the part around the largest differences is shown" in shown.about
    (row,) = [row for row in shown.rows if row[1].marked.any()]
    assert row[0].label == "dU[2, :, :, 3]"
    assert 31 in row[0].rows
    assert 47 in row[0].columns
    assert any("5" in texts for texts in row[1].texts)
    assert len(shown.rows) == arrays.PLANES
    assert row[1].values.shape == (arrays.SIDE, arrays.SIDE)


@pytest.mark.parametrize(("name", "shape", "labels"), [
    ("U", (1, 1, 2, 1), ["U[0, 0, :, 0]"]),
    ("U", (1, 2, 1, 3), ["U[0, :, 0, :]"]),
    ("U", (2, 2, 2, 1), ["U[0, :, :, 0]", "U[1, :, :, 0]"]),
    ("dV", (2, 2, 1, 2), ["dV[:, :, 0, 0]", "dV[:, :, 0, 1]"]),
    ("W1", (2, 3), ["W1"]),
    ("b", (5,), ["b"]),
    ("loss", (), ["loss"]),
    ("x", (2, 0), []),
])  # fmt: skip
def test_labels_are_valid_indices(name, shape, labels):
    array = np.arange(float(np.prod(shape))).reshape(shape)
    shown = arrays.block(name, array)
    assert [row[0].label for row in shown.rows] == labels
    for row in shown.rows:
        part = np.atleast_2d(eval(row[0].label, {name: array}))
        np.testing.assert_array_equal(row[0].values, part)


def test_a_correct_result_next_to_a_wrong_one_takes_one_line():
    right = {"dU": np.ones((2, 3)), "dW": np.array([1.0, 2.0])}
    shown = list(arrays.comparisons(right, {"dU": 2 * right["dU"], "dW": right["dW"] * (1 + 1e-15)}))
    assert [bool(block.rows) for block in shown] == [True, False]
    assert shown[1].about == "shape (2,), float64, agrees"
    half = list(arrays.comparisons(right, {"dU": 101 * right["dU"], "dW": right["dW"] * 1.005}))
    assert all(block.rows for block in half)


def test_results_of_different_shapes_are_shown_in_separate_rows():
    shown = arrays.compare("z", np.ones((2, 3)), np.ones((3, 2)))
    assert [[grid.title for grid in row] for row in shown.rows] == [["expected"], ["yours"]]
    assert shown.about == "expected: shape (2, 3), float64; yours: shape (3, 2), float64"


def test_nan_equals_nan():
    shown = arrays.compare("z", np.array([np.nan, np.inf, 1.0]), np.array([np.nan, np.inf, np.nan]))
    assert shown.rows[0][1].marked.tolist() == [[False, False, True]]


def test_different_numbers_never_look_equal():
    shown = arrays.compare("z", np.array([1 / 3]), np.array([1 / 3 + 1e-5]))
    assert [grid.texts for grid in shown.rows[0]] == [[["0.33333"]], [["0.33334"]], [["1e-05"]]]


@pytest.mark.parametrize("value", np.linspace(-1, 1, 41))
def test_every_cell_has_enough_contrast(value):
    """WCAG 2 requires a contrast of at least 4.5."""

    def bright(colour):
        parts = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
        linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in parts]
        return np.dot([0.2126, 0.7152, 0.0722], linear) + 0.05

    ground, ink = map(bright, colours(float(value), 1.0))
    assert max(ground, ink) / min(ground, ink) >= 4.5


def test_colours_show_the_sign():
    blue, orange, white = (colours(v, 2.0)[0] for v in (-2.0, 2.0, 0.0))
    assert int(blue[5:], 16) > int(blue[1:3], 16)
    assert int(orange[5:], 16) < int(orange[1:3], 16)
    assert white == "#fafafa"
    assert colours(math.inf, 1.0)[0] == orange
    assert colours(-math.inf, 0.0)[0] == blue
    assert colours(math.nan, 1.0)[0] == "#d0d0d0"


@pytest.mark.parametrize(("value", "says"), [
    (1.5, "1.5"), (-0.0, "0"), (1e-7, "1e-07"), (float("nan"), "NaN"), (-math.inf, "-inf"), (True, "True"), (3, "3"),
    (10**400, "huge"), (1 + 2j, "1+2j"), (None, "None"), ("a\x00b", "ab"),
])  # fmt: skip
def test_numbers_are_formatted(value, says):
    assert text.number(value) == says


# ----------------------------------------------------------------------------------------------------- files, terminals


def test_files_have_the_documented_names(tmp_path):
    paths = write(report(squeeze_report()), tmp_path / "deep" / "out", [*FORMATS, "html"])
    assert [path.name for path in paths] == list(FILES.values())
    assert FILES["gradescope"] == "results.json"
    assert sorted(p.name for p in (tmp_path / "deep" / "out").iterdir()) == sorted(FILES.values())
    assert load((tmp_path / "deep" / "out" / "report.json").read_bytes()).name == "ada.py"


def test_unknown_formats_are_refused():
    with pytest.raises(ValueError, match="unknown format 'pdf'; expected one of terminal, json"):
        check_formats(["json", "pdf"])


def test_colours_only_on_a_terminal(monkeypatch):
    monkeypatch.delenv("NO_COLOR", raising=False)
    page, screen = io.StringIO(), io.StringIO()
    screen.isatty = lambda: True
    one = report(squeeze_report())
    show(one, page)
    show(one, screen)
    assert page.getvalue() == as_text(one)
    assert "\x1b[31mFAILED\x1b[0m  squeeze" in screen.getvalue()
    assert re.sub("\x1b\\[[0-9]+m", "", screen.getvalue()) == page.getvalue()
    monkeypatch.setenv("NO_COLOR", "1")
    bare = io.StringIO()
    bare.isatty = lambda: True
    show(one, bare)
    assert bare.getvalue() == page.getvalue()


def test_the_schema_refuses_invalid_reports():
    good = json.loads(as_json(report(squeeze_report())))
    assert fits(good, schema(), schema())
    for change in ({"schema": 2}, {"points": "many"}, {"tasks": None}, {"more": 1}):
        assert not fits({**good, **change}, schema(), schema()), change


@pytest.mark.parametrize("name", ["=1+1", "+1", "-1+cmd", "@SUM(A1)", "-inf", "\t=1", " =1"])
def test_names_are_never_spreadsheet_formulas(name):
    (row,) = csv.DictReader(io.StringIO(as_csv(report(name=name))))
    assert row["submission"] == "'" + name.strip()


def test_a_task_that_fails_only_side_checks_says_which(tmp_path):
    names = ("shape", "values of z", "inputs untouched")
    checks = tuple(Check(n, 1, 1, n != "inputs untouched", "work on a copy" * (n[0] == "i")) for n in names)
    task = TaskReport("squeeze", "", "", "", "failed", 1.9, 2, checks)
    assert task.only == "failed only: inputs untouched"
    assert not replace(task, checks=(replace(checks[1], passed=False), checks[2])).only
    found = Report("a.py", "", "L2", "landlock", (), "", "", 0.0, (task,), notes=("Graded: hw.py.",))
    assert "1.9 of 2      failed only: inputs untouched" in as_text(found)
    assert "\nGraded: hw.py.\n" in as_text(found)
    assert load(as_json(found)).notes == ("Graded: hw.py.",)
    old = json.loads(as_json(found))
    del old["notes"]
    assert load(json.dumps(old)).notes == ()
    assert "squeeze: failed only: inputs untouched" in ClassView((found,)).text()
    assert "work on a copy" in ClassView((found,)).text()
