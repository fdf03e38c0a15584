"""Nothing that was graded is lost: faults of one submission, full disks, Ctrl-C, killed workers, a second run."""

import csv
import errno
import io
import json
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import pytest
from children import kill_on_b

from se_numpy.cli import main
from se_numpy.grading import class_record, course, grade_command
from se_numpy.grading.class_folder import survey
from se_numpy.grading.course import Options, WorkerDied, grade_all

RIGHT = "def squeeze(U):\n    return U.mean((1, 2))\n"
ARGUMENTS = ["--tasks", "squeeze", "--isolation", "process"]
TASK = Options(tasks=("squeeze",), isolation="process")


@pytest.fixture
def students(tmp_path, monkeypatch):
    """Return a class folder of three right submissions, which are graded in this process."""

    @contextmanager
    def pool(jobs, dask=None):
        with ThreadPoolExecutor(jobs) as executor:
            yield executor

    monkeypatch.setattr(grade_command, "workers", pool)
    for name in ("a.py", "b.py", "c.py", "README"):
        (tmp_path / "class" / name).parent.mkdir(exist_ok=True)
        (tmp_path / "class" / name).write_text(RIGHT)
    return tmp_path / "class"


@pytest.fixture
def out(tmp_path):
    return tmp_path / "out"


def rows(out: Path) -> dict[str, list[str]]:
    """Return the rows of grades.csv, keyed by submission."""
    table = list(csv.reader(io.StringIO((out / "grades.csv").read_text())))
    return {row[0]: row for row in table[1:]}


def points(out: Path) -> dict[str, str]:
    return {name: row[1] for name, row in rows(out).items()}


FAULTS = [MemoryError(), RecursionError("\udcff"), OSError(5, "I/O")]


@pytest.mark.parametrize("error", FAULTS)
def test_a_fault_of_the_grader_costs_one_submission(students, out, monkeypatch, capsys, error):
    grade = course.grade_path

    def fail(path, options, *, name):
        if name == "b.py":
            raise error
        return grade(path, options, name=name)

    monkeypatch.setattr(course, "grade_path", fail)
    code = main(["grade", str(students), *ARGUMENTS, "--out", str(out), "--format", "json,html"])
    assert code == 3
    assert "not graded: b.py; their reports name the error" in capsys.readouterr().err
    assert points(out) == {"a.py": "1", "b.py": "0", "c.py": "1", "README": ""}
    assert rows(out)["b.py"][2] == "ungraded"
    assert "internal error in the grader, not caused by the submission" in (out / "b" / "report.html").read_text()
    monkeypatch.setattr(course, "grade_path", grade)  # repeating the command grades what is left
    assert main(["grade", str(students), *ARGUMENTS, "--out", str(out), "--format", "json,html"]) == 0
    assert "2 of 3 submissions are graded already" in capsys.readouterr().err
    assert points(out) == {"a.py": "1", "b.py": "1", "c.py": "1", "README": ""}
    assert not (out / "unfinished.jsonl").exists()


@pytest.mark.parametrize("error", [OSError(errno.ENOSPC, "No space left on device"), RuntimeError("odd")])
def test_a_report_that_cannot_be_written_costs_no_other(students, out, monkeypatch, capsys, error):
    write = class_record.write_file

    def fail(path, content):
        if path.parent.name == "b":
            raise error
        return write(path, content)

    monkeypatch.setattr(class_record, "write_file", fail)
    assert main(["grade", str(students), *ARGUMENTS, "--out", str(out)]) == 2
    said = capsys.readouterr()
    assert "3 submissions, 3 passed all tasks" in said.out
    reason = error.strerror if isinstance(error, OSError) else "RuntimeError: odd"
    assert f"{out / 'b' / 'report.txt'} could not be written: {reason}; once this is mended, repeat" in said.err
    assert points(out) == {"a.py": "1", "b.py": "1", "c.py": "1", "README": ""}
    assert (out / "c" / "report.txt").is_file()
    monkeypatch.setattr(class_record, "write_file", write)
    assert main(["grade", str(students), *ARGUMENTS, "--out", str(out)]) == 0
    assert (out / "b" / "report.txt").is_file()


def test_grades_are_written_after_every_submission(students, out, monkeypatch):
    seen = []

    def watched(*args):
        for entry, report in grade_all(*args):
            yield entry, report
            seen.append(sorted(name for name, share in points(out).items() if share))

    monkeypatch.setattr(grade_command, "grade_all", watched)
    assert main(["grade", str(students), *ARGUMENTS, "--out", str(out)]) == 0
    assert [len(names) for names in seen] == [1, 2, 3]


def test_an_interrupted_run_is_continued(students, out, monkeypatch, capsys):
    def interrupted(entries, *args):
        yield from grade_all(entries[:2], *args)
        raise KeyboardInterrupt

    command = ["grade", str(students), *ARGUMENTS, "--out", str(out)]
    monkeypatch.setattr(grade_command, "grade_all", interrupted)
    assert main(command) == 130
    assert "interrupted after 2 of 3 submissions" in capsys.readouterr().err
    assert points(out) == {"a.py": "1", "b.py": "1", "README": ""}
    before = (out / "a" / "report.txt").stat().st_mtime_ns
    with (out / "unfinished.jsonl").open("a") as file:
        file.write('{"name": "c.py", "folder"')  # a line that was cut off
    (students / "b.py").write_text(RIGHT.replace("mean", "max"))  # a new submission is graded again
    graded = []

    def rest(entries, *args):
        graded.extend(entry.name for entry in entries)
        yield from grade_all(entries, *args)

    monkeypatch.setattr(grade_command, "grade_all", rest)
    assert main(command) == 1
    assert "1 of 3 submissions are graded already" in capsys.readouterr().err
    assert graded == ["b.py", "c.py"]
    assert points(out) == {"a.py": "1", "b.py": "0", "c.py": "1", "README": ""}
    assert (out / "a" / "report.txt").stat().st_mtime_ns == before
    assert sorted(path.name for path in out.iterdir()) == [
        "a",
        "b",
        "c",
        "class.html",
        "class.json",
        "class.txt",
        "grades.csv",
        "similarity.csv",
    ]


def test_a_second_run_keeps_the_reports_of_the_first(students, out, capsys):
    command = ["grade", str(students), *ARGUMENTS, "--out", str(out)]
    assert main(command) == 0
    (out / "notes").write_text("the instructor's own")
    (students / "a.py").write_text(RIGHT.replace("mean", "max"))
    for number in (1, 2):
        assert main(command) == 1
        assert f"{out} has reports of an earlier run; they were moved to {out / 'earlier' / str(number)}" in " ".join(
            capsys.readouterr().err.split())  # fmt: skip
    first = out / "earlier" / "1"
    assert points(first)["a.py"] == "1"
    assert "squeeze: passed" in (first / "a" / "report.txt").read_text()
    assert (first / "class.html").is_file()
    assert points(out)["a.py"] == points(out / "earlier" / "2")["a.py"] == "0"
    assert (out / "notes").read_text() == "the instructor's own"


def test_a_second_run_on_one_submission_keeps_the_first_report(students, out, capsys):
    command = ["grade", str(students / "a.py"), *ARGUMENTS, "--format", "json", "--out", str(out)]
    assert main(command) == 0
    first = (out / "report.json").read_text()
    assert main(command) == 0
    assert f"they are kept in {out / 'earlier' / '1'}" in capsys.readouterr().err
    assert (out / "earlier" / "1" / "report.json").read_text() == first


def test_files_passed_over_are_named_everywhere(students, out, capsys):
    assert main(["grade", str(students), *ARGUMENTS, "--out", str(out)]) == 0
    said = " ".join(capsys.readouterr().out.split())
    assert "1 file was passed over." in said
    assert "README: not a .py, .ipynb or .zip file" in said
    assert rows(out)["README"][1:] == ["", "", "", "", "", "passed over: not a .py, .ipynb or .zip file", ""]
    assert "README" in (out / "class.html").read_text()
    assert json.loads((out / "class.json").read_text())["passed_over"][0]["name"] == "README"


def test_a_worker_that_dies_costs_one_submission(students, out, monkeypatch, capsys):
    monkeypatch.undo()  # real processes
    monkeypatch.setattr(course, "grade_entry", kill_on_b)
    assert main(["grade", str(students), *ARGUMENTS, "--out", str(out), "--jobs", "2"]) == 3
    assert "not graded: b.py" in capsys.readouterr().err
    assert points(out) == {"a.py": "1", "b.py": "0", "c.py": "1", "README": ""}


def test_a_pool_that_breaks_names_the_submissions_in_it(students):
    from concurrent.futures import ProcessPoolExecutor
    from multiprocessing import get_context

    with pytest.MonkeyPatch.context() as patch, ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        patch.setattr(course, "grade_entry", kill_on_b)
        with pytest.raises(WorkerDied) as died:
            list(grade_all(survey([students]).entries, TASK, pool, 1))
    assert [entry.name for entry in died.value.entries] == ["b.py"]


def command(*arguments, **streams):
    words = [sys.executable, "-m", "se_numpy", *map(str, arguments)]
    return subprocess.run(words, check=False, text=True, **{"stderr": subprocess.PIPE, **streams})


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full")
@pytest.mark.parametrize("what", ["class", "class/a.py"])
def test_a_full_disk_behind_the_output_loses_no_report(students, out, what):
    with open("/dev/full", "w") as full:
        done = command("grade", students.parent / what, *ARGUMENTS, "--out", out, stdout=full)
    assert done.returncode == 2
    assert done.stderr == (
        "se-numpy: standard output: No space left on device; the output is incomplete, files are not\n"
    )
    assert list(out.rglob("report.txt"))


def test_closed_streams_lose_no_report(students, out):
    """With all streams closed, files that are opened must not take their numbers."""
    words = [sys.executable, "-m", "se_numpy", "grade", str(students), *ARGUMENTS, "--out", str(out)]
    done = subprocess.run(["sh", "-c", 'exec "$@" <&- >&- 2>&-', "sh", *words], check=False)
    assert done.returncode == 2
    assert points(out) == {"a.py": "1", "b.py": "1", "c.py": "1", "README": ""}
