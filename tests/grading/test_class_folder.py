"""Every file of a class folder is graded or named as passed over, and no two submissions share a name or a folder."""

import os
import unicodedata
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from se_numpy.grading.class_folder import CLASS_FILES, named, survey
from se_numpy.grading.report import FILES
from se_numpy.grading.report.text import line

PASSED_OVER = {
    "x.ipynb.txt": "rename it to x.ipynb", "hw.py~": "rename it to hw.py", "hw.PY.bak": "rename it to hw.PY",
    "hw.py (1)": "rename it to hw.py", "HW.TAR.GZ": "an archive that is not read",
    "hw.pdf": "not a .py, .ipynb",
    "README": "not a .py, .ipynb", "hw.pyc": "not a .py, .ipynb", ".hw.py": "hidden", "__init__.py": "hidden",
    "sub/deep/notes": "not a .py, .ipynb", "\u202e.txt": "not a .py",
}  # fmt: skip
GRADED = ["hw.py", "hw.PY", "hw.IPYNB", "HW.pY", "empty.py", "sub/deep/a.py", "sub/hw.py", "hw.zip"]


def fill(folder: Path, names) -> None:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(b"")


def test_every_file_is_graded_or_passed_over(tmp_path):
    top = tmp_path / "class"
    fill(top, [*PASSED_OVER, *GRADED])
    fill(top / "__pycache__", ["hw.pyc", "more/hw.py"])
    (top / "empty").mkdir()
    (top / "loop").symlink_to(top)
    (top / "link.py").symlink_to(top / "hw.py")
    (top / "broken.py").symlink_to("nowhere")
    os.mkfifo(top / "fifo.py")
    found = survey([top])
    expected = PASSED_OVER | {
        "__pycache__": "a hidden folder with 2 files: hw.pyc, more/hw.py", "empty": "an empty folder",
        "loop": "symbolic link", "link.py": "symbolic link", "broken.py": "symbolic link",
        "fifo.py": "not a regular file",
    }  # fmt: skip
    assert sorted(name for name, _ in found.passed_over) == sorted(line(name) for name in expected)
    for name, reason in found.passed_over:
        assert next(why for key, why in expected.items() if line(key) == name) in reason, name
    graded = sorted(str(entry.path.relative_to(top)) for entry in found.entries)
    assert graded == sorted(GRADED)


def test_the_folder_of_the_reports_is_not_searched(tmp_path):
    fill(tmp_path, ["a.py", "out/a/report.json", "out/earlier/1/a.py"])
    found = survey([tmp_path], tmp_path / "out")
    assert [entry.name for entry in found.entries] == ["a.py"]
    assert found.passed_over == (("out", "the folder of the reports"),)


def test_a_folder_that_cannot_be_read_is_passed_over(tmp_path, monkeypatch):
    fill(tmp_path, ["a.py", "secret/b.py"])
    scan = os.scandir

    def refuse(folder):
        if Path(folder).name == "secret":
            raise PermissionError(13, "Permission denied", str(folder))
        return scan(folder)

    monkeypatch.setattr(os, "scandir", refuse)
    assert survey([tmp_path]).passed_over == (("secret", "the folder cannot be read: Permission denied"),)


def test_a_folder_without_submissions_is_refused_with_what_it_contains(tmp_path):
    fill(tmp_path, [f"{name}.pdf" for name in range(7)])
    with pytest.raises(ValueError, match=r"contains no submissions; .*0\.pdf: not a .*; and 2 more\)$"):
        survey([tmp_path])
    with pytest.raises(ValueError, match="does not exist"):
        survey([tmp_path / "absent.py"])


def test_a_file_that_is_given_twice_is_graded_once(tmp_path):
    fill(tmp_path, ["a.py", "b.py"])
    twice = [tmp_path, tmp_path / "a.py", tmp_path / "." / "b.py", tmp_path / "c" / ".." / "a.py"]
    (tmp_path / "c").mkdir()
    assert len(survey(twice).entries) == 2


HARD = ["a/b-c.py", "a-b/c.py", "a-b-c.py", "alice/hw.py", "alice/hw.ipynb", "alice/HW.py", "grades.csv.py",
        "class.html.py", "GRADES.CSV.ipynb", "earlier.py", "unfinished.jsonl.py", "report.json.py",
        "n" * 252 + ".py", "n" * 251 + "m.py",
        "=1+1.py", "<script>.py", "q'\"uo,te\n.py", "q'\"uo,te .py", "\\.py", "...py", "-rf.py", " .py", "\t.py",
        "\u202eab.py", "\ufeffab.py", "ab.py", "é.py", "e\u0301.py", "x\udcff.py", "x\udcfe.py", r"x\xff.py", "CON.py",
        "index.html.py"]  # fmt: skip
ODD = st.text(st.characters(exclude_characters="/\0", exclude_categories=["Cs"]), min_size=1, max_size=60)


@example(HARD)
@given(st.lists(st.sampled_from(HARD) | ODD.map(lambda name: name + ".py"), unique=True, min_size=1))
def test_names_and_folders_never_collide(names):
    entries = named([Path("/class") / name for name in names])
    folders = [unicodedata.normalize("NFC", entry.folder).casefold() for entry in entries]
    assert len(set(folders)) == len(set(names))
    assert not set(folders) & {*CLASS_FILES.values(), *FILES.values(), "earlier", "unfinished.jsonl"}
    for entry in entries:
        assert len(entry.folder.encode()) < 200
        assert not set(entry.folder) & set('/\\<>:"|?*\n\0')
        assert not entry.folder.startswith((".", "-", " "))
        assert entry.name == line(entry.name)
    assert len({entry.name for entry in entries}) == len(set(names))


def test_plain_names_stay_as_they_are():
    entries = named([Path("class/anna/hw 1.py"), Path("class/bob_2/hw.ipynb")])
    assert [(entry.name, entry.folder) for entry in entries] == [
        ("anna-hw 1.py", "anna-hw 1"), ("bob_2-hw.ipynb", "bob_2-hw")]  # fmt: skip
