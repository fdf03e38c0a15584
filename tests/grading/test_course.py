"""Grading of files: assignments, classes, templates, the command line and its exit codes."""

import ast
import io
import json
import os
import re
import subprocess
import sys
import time
import tomllib
import zipfile
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from se_numpy.cli import main
from se_numpy.grading import assignment, autograder, grade_command, isolation, notebook, template
from se_numpy.grading.assignment import load
from se_numpy.grading.class_folder import named, survey
from se_numpy.grading.course import Options, grade_all, grade_path
from se_numpy.grading.declarations import Form
from se_numpy.grading.isolation import doctor
from se_numpy.grading.lessons import exercises, hints
from se_numpy.grading.lessons.syllabus import LESSONS
from se_numpy.grading.notebook_card import Card
from se_numpy.grading.selftest import from_file, verify
from se_numpy.grading.tasks import all_tasks

GOOD = """
import numpy as np
def squeeze(U): return U.mean((1, 2))
def scale(U, s): return U * s[:, None, None]
"""
BAD = """
import numpy as np
def squeeze(U): return U.max((1, 2))
def scale(U, s): raise ValueError("not yet")
"""
TWO = Options(tasks=("squeeze", "scale"), search=0.1)


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "good.py").write_text(GOOD)
    (tmp_path / "bad.py").write_text(BAD)
    (tmp_path / "broken.py").write_text("def squeeze(U:\n")
    return tmp_path


def test_one_submission(folder):
    seen = []
    report = grade_path(folder / "good.py", TWO, on_task=seen.append)
    assert report.passed
    assert [len(so_far.tasks) for so_far in seen] == [1, 2]
    assert report.points == report.max_points == 2
    assert report.seed_id == "public"
    report = grade_path(folder / "bad.py", TWO)
    assert [task.status for task in report.tasks] == ["failed", "error"]
    assert report.tasks[0].diagnosis.mistake == "largest pixel"


def test_unreadable_submissions_get_a_report(folder):
    report = grade_path(folder / "broken.py", TWO)
    assert [task.status for task in report.tasks] == ["unreadable"] * 2
    assert "line 1" in report.message
    assert report.points == 0


def test_missing_functions_are_reported(folder):
    report = grade_path(folder / "good.py", Options(tasks=("excite",)))
    assert report.tasks[0].status == "missing"
    assert "def excite(z, W1, W2)" in report.tasks[0].message


def test_a_function_without_def_is_graded(folder):
    (folder / "star.py").write_text("import numpy as np\nrelu = lambda x: np.maximum(x, 0)\n")
    assert grade_path(folder / "star.py", Options(tasks=("relu",))).passed


def test_tasks_after_the_deadline_time_out(folder):
    report = grade_path(folder / "good.py", Options(tasks=("squeeze", "scale"), deadline=0.0))
    assert {task.status for task in report.tasks} == {"timeout"}


def test_the_deadline_is_looked_at_during_a_task(folder):
    (folder / "slow.py").write_text(
        "import time\ndef squeeze(U): return time.sleep(0.4) or U.mean((1, 2))\nscale = squeeze\n"
    )
    report = grade_path(folder / "slow.py", Options(tasks=("squeeze", "scale"), deadline=1.0))
    assert [task.status for task in report.tasks] == ["timeout"] * 2
    used_up = "the 1 seconds for the whole submission were used up"
    assert [task.message for task in report.tasks] == [f"not finished: {used_up}", f"not reached: {used_up}"]


def test_submissions_after_the_deadline_of_the_class_time_out(folder):
    report = grade_path(folder / "good.py", Options(tasks=("squeeze",), until=time.time() - 1))
    assert report.tasks[0].status == "timeout"
    assert report.tasks[0].message == "not reached: the time for the whole class was used up"


def test_deadlines_have_defaults(folder, capsys, monkeypatch):
    seen = []
    monkeypatch.setattr(grade_command, "_grade_all", lambda paths, options, *rest: seen.append(options) or 1 / 0)
    for more in ((), ("--class-deadline", "1000", "--deadline", "7")):
        assert run("grade", folder, *more, capsys=capsys)[0] == 3
    assert [options.deadline for options in seen] == [300, 7]
    now = time.time()
    assert 250 < seen[0].until - now <= 300
    assert 950 < seen[1].until - now <= 1000
    for option in ("--deadline", "--class-deadline"):
        code, _, err = run("grade", folder, option, "0", capsys=capsys)
        assert (code, f"{option} is 0; expected a number of seconds above 0" in err) == (2, True)


def test_assignments(tmp_path):
    (tmp_path / "secret").write_bytes(b"correct horse battery")
    (tmp_path / "my_gate.py").write_text(template.new_task("my_gate"))
    file = tmp_path / "hw.toml"
    file.write_text(
        'title = "Sheet 3"\nsecret_file = "secret"\n[[task]]\nid = "squeeze"\npoints = 5\n'
        '[[task]]\nfile = "my_gate.py"\nvisibility = "hidden"\n[limits]\nseconds_per_call = 1\n'
    )
    found = assignment.load(file)
    assert [(i.task.name, i.points, i.visibility) for i in found.items] == [
        ("squeeze", 5, "visible"), ("my_gate", 2, "hidden")
    ]  # fmt: skip
    assert found.limits["seconds_per_call"] == 1
    seeds = {found.seed(sha, task) for sha in ("a", "b") for task in ("squeeze", "my_gate")}
    assert len(seeds) == 4
    assert 0 not in seeds
    assert found.seed("a", "squeeze") == assignment.load(file).seed("a", "squeeze")
    assert found.seed_id not in ("public", "correct horse battery")
    assert assignment.everything().seed("a", "squeeze") == 0


@pytest.mark.parametrize(("text", "expected"), [
    ("[[task]]\nid = 'squeze'", "did you mean squeeze"),
    ("[[task]]\nid = 'squeeze'\n[[task]]\nid = 'squeeze'", "twice"),
    ("[[task]]\nid = 'squeeze'\npoints = -1", "points is -1"),
    ("[[task]]\nid = 'squeeze'\npoint = 1", "did you mean points"),
    ("[[task]]\nid = 'squeeze'\nvisibility = 'secret'", "visibility is 'secret'"),
    ("[[task]]\n", "expected either an id or a file"),
    ("title = 'x'", "lists no tasks"),
    ("task = 3", "lists no tasks"),
    ("= 3", "is not valid TOML"),
    ("secret_file = 'nowhere'\n[[task]]\nid = 'squeeze'", "nowhere"),
    ("[[task]]\nid = 'squeeze'\n[limits]\nseconds = 3", "unknown entry 'seconds'"),
    ("[[task]]\nfile = 'nowhere.py'", "does not exist"),
])  # fmt: skip
def test_invalid_assignments_are_refused(tmp_path, text, expected):
    (tmp_path / "hw.toml").write_text(text)
    with pytest.raises(ValueError, match=expected):
        assignment.load(tmp_path / "hw.toml")


def test_the_template_of_a_custom_task_is_verified(tmp_path):
    (tmp_path / "my_gate.py").write_text(template.new_task("my_gate"))
    (task,) = from_file(tmp_path / "my_gate.py")
    found = verify(task, seeds=range(5))
    assert found.problems == ()
    assert found.margin > 100


def test_weak_tasks_are_refused():
    squeeze = all_tasks()["squeeze"]
    blind = replace(squeeze, sizes={"N": (1, 1), "H": (1, 1), "W": (1, 1), "C": (2, 4)}, specials=())
    problems = verify(blind, seeds=range(2)).problems
    assert any("'largest pixel' is off by only" in p for p in problems)
    assert any("give the same results" in p for p in problems)
    wrong = replace(squeeze, alternates=(lambda U: U.sum((1, 2)),))
    assert any("alternative 1 fails" in p for p in verify(wrong, seeds=range(1)).problems)
    assert any("``written`` is not in ``alternates``" in p for p in verify(wrong, seeds=range(1)).problems)
    backward = all_tasks()["squeeze_backward"]
    upside = replace(backward, oracle=lambda dz, U: -backward.oracle(dz, U), alternates=())
    assert any("not the derivative" in p for p in verify(upside, seeds=range(1)).problems)


@pytest.mark.parametrize("name", all_tasks())
def test_every_task_is_verified(name):
    """One seed is used here; `se-numpy verify-task` uses fifty."""
    found = verify(all_tasks()[name], seeds=range(1))
    assert found.problems == ()


def test_submissions_in_a_folder(folder):
    (folder / ".hidden").mkdir()
    (folder / ".hidden" / "x.py").write_text("")
    assert [entry.name for entry in survey([folder]).entries] == ["bad.py", "broken.py", "good.py"]
    with pytest.raises(ValueError, match="does not exist"):
        survey([folder / "absent.py"])


def test_a_class_is_graded_by_a_thread_pool(folder):
    with ThreadPoolExecutor(2) as pool:
        found = {entry.name: report for entry, report in grade_all(survey([folder]).entries, TWO, pool)}
    assert [found[n].points for n in ("good.py", "bad.py", "broken.py")] == [2, 0, 0]


def test_a_class_is_graded_by_a_dask_cluster(folder):
    distributed = pytest.importorskip("distributed")
    from se_numpy.workers import workers

    small = {"n_workers": 1, "threads_per_worker": 1, "host": "127.0.0.1", "dashboard_address": None}
    with distributed.LocalCluster(**small) as cluster, workers(1, cluster.scheduler_address) as pool:
        found = dict(grade_all(survey([folder / "good.py"]).entries, TWO, pool))
    assert next(iter(found.values())).passed


CUPY = """
try:
    import cupy as np
except ImportError:
    import numpy as np
"""


def as_notebook(*cells) -> str:
    return json.dumps({"cells": [{"cell_type": "code", "source": cell} for cell in cells]})


def test_a_notebook_that_tries_to_import_cupy_is_graded(tmp_path):
    (tmp_path / "hw.ipynb").write_text(as_notebook(CUPY, GOOD.replace("import numpy as np", "")))
    report = grade_path(tmp_path / "hw.ipynb", TWO)
    assert report.passed, report


def test_a_name_from_a_line_left_out_is_explained(tmp_path):
    cells = ("import numpy as np\nW = np.load('w.npy')\n", GOOD.replace("U.mean(", "W * U.mean("))
    (tmp_path / "hw.ipynb").write_text(as_notebook(*cells))
    squeeze, _ = grade_path(tmp_path / "hw.ipynb", TWO).tasks
    reason = "W is defined only in line 2 (W = np.load('w.npy')), which was left out; --run-all runs the whole notebook"
    assert (squeeze.status, squeeze.message.endswith(reason)) == ("error", True), squeeze.message
    (tmp_path / "hw.ipynb").write_text(as_notebook("def made(): pass\nscale = made()"))
    message = grade_path(tmp_path / "hw.ipynb", TWO).tasks[1].message
    assert message.startswith(
        "the function scale is missing; expected def scale(U, s); scale is defined only in line 2 ("
    )


def working_levels():
    return [found.level for found in doctor() if found.works]


@pytest.mark.parametrize("isolation", ["process", "landlock", "bwrap"])
def test_submissions_are_parsed_in_the_sandbox(tmp_path, monkeypatch, isolation):
    """A parser in the grader's own process would need minutes and gigabytes for a million statements."""
    if {"process": "L1", "landlock": "L2", "bwrap": "L3"}[isolation] not in working_levels():
        pytest.skip("not available here")
    monkeypatch.setattr(ast, "parse", None)  # the grader must not call it
    monkeypatch.setattr("builtins.compile", None)
    (tmp_path / "good.ipynb").write_text(as_notebook(GOOD))
    assert grade_path(tmp_path / "good.ipynb", replace(TWO, isolation=isolation)).passed
    for name, content in (("million.ipynb", as_notebook("0\n" * 10**6)), ("million.PY", "0\n" * 10**6)):
        (tmp_path / name).write_text(content)
        report = grade_path(tmp_path / name, replace(TWO, isolation=isolation, deadline=1.0))
        assert [task.status for task in report.tasks] == ["unreadable"] * 2
        assert report.message.startswith(name)
        assert re.search(r"within [\d.]+ s; expected functions, not data|too long to be parsed", report.message)


def run(*args, capsys=None):
    code = main([str(a) for a in args])
    return code, *(capsys.readouterr() if capsys else ())


def test_tasks_that_were_not_attempted_are_listed_once(folder, capsys):
    (folder / "mine.py").write_text("def squeeze(U): return U.max((1, 2))\ndef Scale(U, s): return U\n")
    code, out, _ = run("grade", folder / "mine.py", capsys=capsys)
    assert code == 1
    assert out.count("not attempted") == 1
    assert f"not attempted, {len(all_tasks()) - 1} of {len(all_tasks())} for" in out
    assert "the function scale is missing; did you mean your Scale? expected def scale(U, s)" in " ".join(out.split())
    assert out.count("squeeze: failed") == 1
    (folder / "broken.py").write_text("def squeeze(U:\n")
    out = run("grade", folder / "broken.py", capsys=capsys)[1]
    assert out.count("broken.py, line 1") == 1
    assert "Nothing was run." in out
    assert "Isolation" not in out
    for name in ("html", "gradescope"):
        page = run("grade", folder / "broken.py", "--format", name, capsys=capsys)[1]
        assert "Nothing was run." in page
        assert "Isolation" not in page
    out = run("grade", folder, "--tasks", "squeeze,scale,relu", capsys=capsys)[1]
    assert "Not attempted: relu by 3, scale by 1\n" in out
    assert "Cannot be run: broken.py\n" in out
    assert out.count("cannot be run") == 1


@pytest.mark.parametrize("line", ["import matplotlib.pyplot as plt", "x = np.load('x.npy')", "input()", "1 / 0"])
def test_a_failing_line_at_top_level_costs_no_points(tmp_path, line):
    path = tmp_path / "mine.py"
    path.write_text(GOOD.replace("import numpy as np\n", f"import numpy as np\n{line}\n"))
    report = grade_path(path, TWO)
    assert report.passed
    assert report.message.startswith("the file cannot be run as a whole (")
    assert report.message.endswith("(line 3)); only its definitions were run and graded")
    assert not grade_path(path, Options(tasks=("squeeze",), run_all=True)).passed
    path.write_text(f"{line}\nraise SystemExit\n" + GOOD.replace("(U):", "(U=1 / 0):"))
    assert [task.status for task in grade_path(path, TWO).tasks] == ["unreadable"] * 2


def test_a_partly_implemented_function_is_not_a_stub():
    def partly(U):
        if U.shape[0] == 1:
            raise NotImplementedError("one image")
        return U.mean((1, 2))

    report = notebook.check("squeeze", partly).task
    assert report.status == "failed"
    assert report.points > 0


def test_a_class_summary_lists_grades_and_says_where_reports_are(folder, capsys):
    (folder / "broken.py").unlink()
    code, out, _ = run("grade", folder, "--tasks", "squeeze,scale", capsys=capsys)
    assert code == 1
    assert "Grades\n  bad.py   0 of 2\n  good.py  2 of 2\n" in out
    assert "No files were written; --out DIR writes grades.csv" in out
    code, _, err = run("grade", folder, "--format", "html,json", capsys=capsys)
    assert code == 2
    assert "--format html,json writes files for several submissions; give --out DIR too" in err


def test_an_invalid_out_folder_is_refused_before_grading(folder, capsys, monkeypatch):
    monkeypatch.setattr("se_numpy.grading.grade_command.grade_all", None)  # must not be called
    code, _, err = run("grade", folder, "--out", folder / "good.py", capsys=capsys)
    assert code == 2
    assert "good.py is a file; expected a folder, which may be new" in err
    assert list(folder.glob(".se-numpy")) == []


def test_ctrl_c_keeps_the_reports_written_so_far(folder, capsys, monkeypatch):
    def interrupted(entries, options, pool, window):
        yield next(grade_all(entries[:1], options, pool))
        raise KeyboardInterrupt

    monkeypatch.setattr("se_numpy.grading.grade_command.grade_all", interrupted)
    code, _, err = run("grade", folder, "--tasks", "squeeze", "--format", "json", "--out", folder / "r", capsys=capsys)
    assert code == 130
    assert f"interrupted after 1 of 3 submissions; their reports are in {folder / 'r'}" in err
    assert (folder / "r" / "bad" / "report.json").is_file()


def test_the_names_of_submissions_in_several_folders_include_the_folder():
    paths = [Path(p) for p in ("moodle/anna_1/mine.py", "moodle/anna_1/mine (1).py", "moodle/b_2/mine.py")]
    assert [entry.name for entry in named(paths)] == ["anna_1-mine.py", "anna_1-mine (1).py", "b_2-mine.py"]
    assert named(paths[:2])[0].name == "mine.py"


def test_exit_codes(folder, capsys, monkeypatch):
    two = ["--tasks", "squeeze,scale"]
    assert run("grade", folder / "good.py", *two, capsys=capsys)[0] == 0
    code, out, _ = run("grade", folder / "bad.py", *two, capsys=capsys)
    assert code == 1
    assert "largest pixel" in out
    code, _, err = run("grade", folder / "good.py", "--tasks", "sqeeze", capsys=capsys)
    assert code == 2
    assert "did you mean squeeze" in err
    assert run("grade", folder / "absent.py", capsys=capsys)[0] == 2
    assert run("grade", folder / "good.py", "--format", "pdf", capsys=capsys)[0] == 2
    code, _, err = run("grade", folder / "good.py", *two, "--isolation", "process", "--require", "L3", capsys=capsys)
    assert code == 4
    assert "L3" in err
    monkeypatch.setattr("se_numpy.grading.course.grade_task", lambda *a, **k: 1 / 0)
    code, _, err = run("grade", folder / "good.py", *two, capsys=capsys)
    assert code == 3
    assert "internal error in the grader" in err


def test_reports_are_written_to_a_folder(folder, tmp_path, capsys):
    out = tmp_path / "out"
    run("grade", folder / "bad.py", "--tasks", "squeeze", "--format", "json,gradescope,junit,html,csv", "--out", out)
    assert {p.name for p in out.iterdir()} == {"report.json", "results.json", "junit.xml", "report.html", "grades.csv"}
    results = json.loads((out / "results.json").read_text())
    assert results["tests"][0]["max_score"] == 1


def test_a_folder_gives_a_class_summary(folder, tmp_path, capsys):
    out = tmp_path / "class"
    code, text, _ = run("grade", folder, "--tasks", "squeeze", "--out", out, "--format", "json", capsys=capsys)
    assert code == 1
    assert "1 of 3" in text
    rows = (out / "grades.csv").read_text().splitlines()
    assert len(rows) == 4
    assert {p.name for p in out.iterdir() if p.is_dir()} == {"good", "bad", "broken"}


def test_tasks_show_doctor_verify_task_and_new_task(capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert "squeeze_backward" in run("tasks", capsys=capsys)[1]
    assert {t["id"] for t in json.loads(run("tasks", "--json", capsys=capsys)[1])} == set(all_tasks())
    assert "largest pixel" not in run("show", "squeeze", capsys=capsys)[1]
    assert "largest pixel" in run("show", "squeeze", "--mistakes", capsys=capsys)[1]
    monkeypatch.setattr(isolation, "examine", lambda *_: [])
    assert "plain child" in run("doctor", capsys=capsys)[1]
    code, out, _ = run("verify-task", "squeeze", "--seeds", "2", "--json", "v.json", capsys=capsys)
    assert code == 0
    assert "all caught on 2 seeds" in out
    assert json.loads((tmp_path / "v.json").read_text())["tasks"][0]["mistakes"] == len(all_tasks()["squeeze"].mistakes)
    assert run("new-task", "my_gate", capsys=capsys)[0] == 0
    assert run("new-task", "my_gate", capsys=capsys)[0] == 2
    assert run("verify-task", "my_gate.py", "--seeds", "2", capsys=capsys)[0] == 0
    weak = (tmp_path / "my_gate.py").read_text().replace("np.clip(x * a, 0, 1)", "x * a", 1)
    (tmp_path / "weak.py").write_text(weak)
    assert run("verify-task", "weak.py", "--seeds", "2", capsys=capsys)[0] == 1


def test_the_student_template_is_missing_its_functions_until_they_are_written(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert run("student-template", "--tasks", "squeeze,conv2d", capsys=capsys)[0] == 0
    text = (tmp_path / "submission.py").read_text()
    report = grade_path(tmp_path / "submission.py", Options(tasks=("squeeze", "conv2d")))
    assert [t.status for t in report.tasks] == ["missing", "missing"]
    assert report.tasks[0].message == "squeeze is not implemented yet: it raises NotImplementedError"
    done = text.replace("raise NotImplementedError", "return U.mean((1, 2))", 1)
    (tmp_path / "submission.py").write_text(done)
    assert grade_path(tmp_path / "submission.py", Options(tasks=("squeeze",))).passed
    assert run("student-template", capsys=capsys)[0] == 2  # existing files are not overwritten


def test_student_template_makes_an_assignment_of_tutorials(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    code, out, _ = run("student-template", "--tutorials", "8,7", "--out", "hw.py", capsys=capsys)
    assert (code, out) == (0, "hw.py: 4 functions to write; hw.toml: their points\n")
    text = (tmp_path / "hw.py").read_text()
    places = [text.index(words) for words in (
        "se-numpy grade hw.py --tasks excite,se_block,", "# Tutorial 7. Squeeze, excite, scale (tutorials/",
        "def excite(", "def se_block(", "# Tutorial 8. Differentiate the block (tutorials/08_", "def excite_backward(",
        "def se_block_backward(")]  # fmt: skip
    assert places == sorted(places)
    done = text.replace("raise NotImplementedError", "return 1 / (1 + np.exp(-np.maximum(z @ W1.T, 0) @ W2.T))", 1)
    (tmp_path / "hw.py").write_text(done)
    report = grade_path(tmp_path / "hw.py", Options(assignment="hw.toml"))
    assert [t.task for t in report.tasks] == ["excite", "se_block", "excite_backward", "se_block_backward"]
    assert [t.status for t in report.tasks] == ["passed"] + ["missing"] * 3
    assert run("student-template", "--tutorials", "7", "--out", "hw.ipynb", capsys=capsys)[0] == 2
    assert not (tmp_path / "hw.ipynb").exists()  # because hw.toml already exists


def test_a_template_of_an_assignment_needs_no_file_of_the_instructor(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "secret.txt").write_text("only I know this")
    (tmp_path / "hw.toml").write_text('title = "Homework 3"\nsecret_file = "secret.txt"\ntasks = ["squeeze", "relu"]\n')
    assert run("student-template", "--assignment", "hw.toml", "--out", "hw.py", capsys=capsys)[0] == 0
    text = (tmp_path / "hw.py").read_text()
    assert text.startswith('"""Homework 3\n')
    assert "se-numpy grade hw.py --tasks squeeze,relu\n" in text


def test_a_notebook_template_groups_exercises_by_tutorial(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert run("student-template", "--tutorials", "--out", "all.ipynb", capsys=capsys)[0] == 0
    made = json.loads((tmp_path / "all.ipynb").read_text())
    sources = [cell["source"] for cell in made["cells"]]
    heads = [source.splitlines()[0] for source in sources if source.startswith("# Tutorial")]
    assert heads == [f"# {lesson.heading}" for lesson in LESSONS]
    names = [name for source in sources for name in re.findall(r'^check\("(\w+)"', source)]
    assert names == [task for lesson in LESSONS for task in lesson.tasks]
    code, _, err = run("student-template", "--tutorials", "11", "--out", "x.py", capsys=capsys)
    assert code == 2
    assert "tutorial 11 has no exercises; expected numbers from 1 to 10" in err


@pytest.mark.parametrize("marks", [None, "nbgrader", "otter"])
def test_notebook_templates_are_valid(tmp_path, marks, monkeypatch):
    items = assignment.everything(("squeeze", "sgd_momentum")).items
    made = json.loads(template.as_notebook("Sheet", items, "sheet.ipynb", marks=marks))
    assert made["nbformat"] == 4
    ids = [cell["id"] for cell in made["cells"]]
    assert len(set(ids)) == len(ids)
    code = ["".join(cell["source"]) for cell in made["cells"] if cell["cell_type"] == "code"]
    for source in code:
        compile(source, "cell", "exec")
    if marks:  # an instructor's copy passes as written
        namespace = {}
        for source in code:
            exec(source, namespace)
    if marks == "nbgrader":
        marked = [cell["metadata"]["nbgrader"] for cell in made["cells"] if "nbgrader" in cell["metadata"]]
        assert [m.get("points") for m in marked if m["grade"]] == [1, 2]
        assert all("### BEGIN SOLUTION" in source for source in code if "def " in source)


def test_cards_assertions_and_points_in_a_notebook():
    card = notebook.check("squeeze", lambda U: U.max((1, 2)))
    assert isinstance(card, Card)
    assert "largest pixel" in repr(card)
    assert "Eq. (2)" in card._repr_html_()
    notebook.assert_task("squeeze", lambda U: U.mean((1, 2)))
    with pytest.raises(AssertionError, match="largest pixel"):
        notebook.assert_task("squeeze", lambda U: U.max((1, 2)))
    assert notebook.points("squeeze", lambda U: U.mean((1, 2)), max_points=7) == pytest.approx(7)
    assert notebook.points("squeeze", lambda U: U.max((1, 2))) == 0
    assert notebook.check("squeeze", lambda U: U.mean((2, 3)), layout="NCHW").task.status == "passed"
    with pytest.raises(TypeError, match="expected a function"):
        notebook.check("squeeze", np.ones(3))


def test_the_magic_runs_a_cell_in_a_separate_process(monkeypatch):
    monkeypatch.setitem(assignment.LIMITS, "seconds_per_call", 1.0)
    magics = {}

    class Shell:
        def register_magic_function(self, function, kind, name):
            magics[kind, name] = function

    shown = []
    import types

    display = types.ModuleType("IPython.display")
    display.display = shown.append
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(sys.modules, "IPython", types.ModuleType("IPython"))
        patch.setitem(sys.modules, "IPython.display", display)
        import se_numpy.grading

        se_numpy.grading.load_ipython_extension(Shell())
        magics["cell", "check"]("squeeze", "def squeeze(U):\n    while True: pass\n")
        with pytest.raises(ValueError, match="needs a task name"):
            magics["cell", "check"]("", "")
    assert "time" in repr(shown[0])


def test_the_gradescope_zip_grades_a_submission(tmp_path):
    """Follow Gradescope's documentation: unpack, add a submission, run run_autograder, read results.json."""
    hw = tmp_path / "hw.toml"
    tasks = '[[task]]\nid = "squeeze"\npoints = 3\n[[task]]\nid = "scale"\nvisibility = "after_due_date"\n'
    hw.write_text('roster = "ours.csv"\n' + tasks)  # a roster is of no use on Gradescope
    command = f"{sys.executable} -m se_numpy"
    data = autograder.build(hw, command=command)
    assert data == autograder.build(hw, command=command)
    (tmp_path / "autograder.zip").write_bytes(data)
    home = tmp_path / "autograder"
    with zipfile.ZipFile(tmp_path / "autograder.zip") as archive:
        archive.extractall(home / "source")
        modes = {i.filename: i.external_attr >> 16 for i in archive.infolist()}
    assert modes["setup.sh"] & modes["run_autograder"] & 0o111
    subprocess.run(["bash", "-n", str(home / "source" / "setup.sh")], check=True)
    (home / "submission").mkdir()
    (home / "submission" / "mine.py").write_text(BAD)
    (home / "submission_metadata.json").write_text('{"users": [{"id": 1703}, {"id": 1701}]}')
    script = (home / "source" / "run_autograder").read_text().replace("cd /autograder", f"cd {home}")
    ours = [part for part in sys.path if not (Path(part) / "se_numpy" / "grading").is_dir()]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(home / "source"), *ours])}  # the zip's own library
    done = subprocess.run(["bash", "-c", script], capture_output=True, text=True, cwd=home, env=environment)
    assert done.returncode == 0, done.stderr
    results = json.loads((home / "results" / "results.json").read_text())
    assert [(t["score"], t["max_score"]) for t in results["tests"]] == [(0, 3), (0, 1)]
    assert [t["visibility"] for t in results["tests"]] == ["visible", "after_due_date"]
    assert isinstance(results["execution_time"], (int, float))
    assert results["extra_data"]["student"] == "1701-1703"
    (home / "submission" / "mine.py").write_text("from helpers import mean_of\ndef squeeze(U): return mean_of(U)\n")
    (home / "submission" / "helpers.py").write_text("def mean_of(U): return U.mean((1, 2))\n")
    subprocess.run(["bash", "-c", script], capture_output=True, cwd=home, env=environment, check=True)
    results = json.loads((home / "results" / "results.json").read_text())
    assert [(t["score"], t["max_score"]) for t in results["tests"]] == [(3, 3), (0, 1)]
    assert "Graded: mine.py; importable beside it: helpers.py." in results["output"]
    for file in (home / "submission").iterdir():
        file.unlink()
    subprocess.run(["bash", "-c", script], capture_output=True, cwd=home, env=environment, check=True)
    assert json.loads((home / "results" / "results.json").read_text())["score"] == 0


def test_the_gradescope_zip_installs_the_requirements_of_the_library(tmp_path):
    project = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text())["project"]
    needed = [*project["dependencies"], *project["optional-dependencies"]["grade"]]
    names = [re.match(r"[\w-]+", line)[0] for line in needed]
    assert [name for name in names if name != "jinja2"] == autograder.NEEDS.split()  # Gradescope gets no HTML page
    with zipfile.ZipFile(io.BytesIO(autograder.build(requirement="se-numpy[grade]==0.1.0"))) as archive:
        assert not [name for name in archive.namelist() if name.startswith("se_numpy/")]
        setup = archive.read("setup.sh").decode()
    assert "install -q 'se-numpy[grade]==0.1.0'" in setup
    assert "cp -r" not in setup
    (tmp_path / "hw.toml").write_text('tasks = ["relu"]\nframework = "torch"\n')
    with zipfile.ZipFile(io.BytesIO(autograder.build(tmp_path / "hw.toml"))) as archive:
        assert f"install -q {autograder.NEEDS} torch\n" in archive.read("setup.sh").decode()


@pytest.mark.parametrize("marks", [None, "nbgrader", "otter"])
def test_notebook_templates_accept_channels_first_functions(marks):
    items = assignment.everything(("squeeze",)).items
    made = json.loads(template.as_notebook("Sheet", items, "sheet.ipynb", marks=marks))
    namespace, results = {}, []
    for cell in made["cells"]:
        if cell["cell_type"] == "code":
            source = cell["source"].replace('LAYOUT = "NHWC"', 'LAYOUT = "NCHW"').replace("'NHWC'", "'NCHW'")
            source = re.sub(r"    (from se_numpy.grading.assignment|return find|raise Not).*", "", source)
            source = re.sub(r'^    """\n', '    """\n    return U.mean((2, 3))\n', source, flags=re.MULTILINE)
            *rest, last = ast.parse(source).body
            exec(compile(ast.Module(rest, []), "cell", "exec"), namespace)
            code = compile(ast.Expression(last.value) if isinstance(last, ast.Expr) else ast.Module([last], []),
                           "cell", "eval" if isinstance(last, ast.Expr) else "exec")  # fmt: skip
            results.append(eval(code, namespace))
    assert namespace["LAYOUT"] == "NCHW"
    found = results[-1]  # a card, points, or None if the assertion passed
    assert {None: lambda: found.passed, "nbgrader": lambda: found == 1, "otter": lambda: found is None}[marks]()


def test_an_assignment_may_list_tasks_by_name(tmp_path):
    path = tmp_path / "hw.toml"
    path.write_text('tasks = ["squeeze", "relu"]\n[[task]]\nid = "scale"\npoints = 7\n')
    assert [(item.task.name, item.points) for item in assignment.load(path).items] == [
        ("squeeze", 1), ("relu", all_tasks()["relu"].points), ("scale", 7)]  # fmt: skip
    for text, words in (("tasks = 3", "lists no tasks"), ("tasks = [3]", "id is 3; expected"), ("", 'tasks = ["')):
        path.write_text(text)
        with pytest.raises(ValueError, match=re.escape(words)):
            assignment.load(path)


def test_doctor_names_every_backend():
    assert [found.level for found in doctor()] == ["L3", "L2", "L1"]


SUBMISSIONS = Path(__file__).parent / "submissions"
WRONG = """
def squeeze(U):
    return U.max((1, 2))

def excite(z, W1, W2):
    return np.tanh(relu(z @ W1.T) @ W2.T)

def excite_backward(ds, z, W1, W2):
    h = relu(z @ W1.T)
    da2 = ds * sigmoid(h @ W2.T)
    da1 = da2 @ W2 * (h > 0)
    return da1 @ W1, da1.T @ z, da2.T @ h

def conv2d(X, V, stride, padding):
    return np.einsum("nhwcab,abcd->nhwd", _windows(_pad(X, padding), len(V), stride), V[::-1, ::-1])

def relu_backward(dy, x):
    return dy * (dy > 0)

def scale(U, s):
    return U * (1 + s[:, None, None])
"""


def test_a_correct_submission_gets_all_points():
    report = grade_path(SUBMISSIONS / "right.py")
    assert report.name == "right.py"
    assert report.passed, [t for t in report.tasks if t.status != "passed"]
    assert report.points == pytest.approx(report.max_points)
    assert len(report.tasks) == len(all_tasks())


def test_a_wrong_submission_gets_its_mistakes_named(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "hypothesis", None)  # which would use all of the time
    (tmp_path / "bad.py").write_text((SUBMISSIONS / "right.py").read_text() + WRONG)
    tasks = ("squeeze", "excite", "excite_backward", "conv2d", "relu_backward", "scale")
    report = grade_path(tmp_path / "bad.py", Options(tasks=tasks, search=300.0))
    named = {task.task: task.diagnosis.mistake for task in report.tasks}
    assert named == {
        "squeeze": "largest pixel", "excite": "tanh instead of the sigmoid",
        "excite_backward": "s instead of s (1 - s)", "conv2d": "filters flipped", "relu_backward": "mask from dy",
        "scale": "1 + s",
    }  # fmt: skip
    assert all(task.counterexample is not None for task in report.tasks)


def test_a_page_needs_jinja2_and_the_other_files_of_a_class_do_not(tmp_path, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "jinja2", None)
    for name in ("a.py", "b.py"):
        (tmp_path / name).write_text("def relu(x):\n    return x * (x > 0)\n")
    command = ["grade", str(tmp_path), "--tasks", "relu", "--out", str(tmp_path / "out"), "--format"]
    assert main([*command, "json,html"]) == 2
    error = capsys.readouterr().err
    assert error.startswith("se-numpy: HTML pages need Jinja2, which is not installed: pip install")
    assert "[grade]" in error
    assert not (tmp_path / "out").exists()
    assert main([*command, "json"]) == 0
    out = capsys.readouterr().out
    assert "out: grades.csv, similarity.csv, and a folder" in out
    assert "class.html was not written: HTML pages need Jinja2" in out
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == [
        "a", "b", "class.json", "class.txt", "grades.csv", "similarity.csv"]  # fmt: skip


@pytest.mark.parametrize("name", all_tasks())
def test_the_example_of_a_hint_shows_the_mistakes_of_the_next(name):
    """Mistakes that only extremes reveal are left out, and so are tasks with many arguments."""
    task = all_tasks()[name]
    if len(task.inputs) > hints.MANY:
        return
    case = hints.example(task)
    usual = [case for case in task.cases(0, number=4) if case.kind != "extreme"]
    for mistake in hints.listed(task):
        assert hints.shows(task, mistake, case) or not any(hints.shows(task, mistake, one) for one in usual), (
            mistake.name
        )
    assert "too large" not in hints._example(task)[1]


def test_a_function_in_place_of_the_task_name_is_reported():
    for check in (notebook.check, exercises.check):
        with pytest.raises(TypeError, match=r'the name comes first, as in check\("squeeze", squeeze\)'):
            check(all_tasks()["squeeze"].oracle, "squeeze")


FORM = """
tasks = ["squeeze", "relu"]
file = "hw.py"
folders = true
style = "cs231n"
framework = "torch"
[classes]
SEBlock = "se_block"
"""


def test_an_assignment_declares_the_form_of_submissions(tmp_path):
    (tmp_path / "hw.toml").write_text(FORM)
    form = load(tmp_path / "hw.toml").form
    assert form == Form("hw.py", True, "cs231n", "torch", {"SEBlock": "se_block"})
    options = Options(str(tmp_path / "hw.toml"), file="main.py", framework="jax")
    assert options.to_assignment().form == replace(form, file="main.py", framework="jax")
    before = options.fingerprint()
    assert replace(options, file="hw.py").fingerprint() != before


@pytest.mark.parametrize(("old", "new", "message"), [
    ('"hw.py"', '"hw.c"', "file is 'hw.c'; expected the name of a .py or .ipynb file"),
    ("true", '"yes"', "folders is 'yes'; expected true or false"),
    ('"cs231n"', '"cs230"', "style is 'cs230'; expected one of plain, cs231n"),
    ('"torch"', '"theano"', "framework is 'theano'; expected one of numpy, torch, jax"),
    ('"se_block"', '"se_block_backward"', "expected a forward task, such as se_block, with which its backward task is"),
    ('"se_block"', '"se_blok"', "unknown task 'se_blok'; did you mean se_block?"),
    ("[classes]\nSEBlock", "classes", "classes is 'se_block'; expected a table"),
])  # fmt: skip
def test_an_unknown_form_is_refused(tmp_path, old, new, message):
    (tmp_path / "hw.toml").write_text(FORM.replace(old, new))
    with pytest.raises(ValueError, match=re.escape(message)):
        load(tmp_path / "hw.toml")
