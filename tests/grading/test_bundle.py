"""Submissions of several files: archives are read safely, one file is graded, and it can import the others."""

import io
import stat
import struct
import zipfile
from pathlib import Path

import pytest
from damage import FUZZ, damaged
from hypothesis import given

from se_numpy.grading import archive
from se_numpy.grading.assemble import assemble
from se_numpy.grading.bundle import Bundle, read_bundle
from se_numpy.grading.class_folder import survey
from se_numpy.grading.course import Options, grade_path
from se_numpy.grading.declarations import Form
from se_numpy.grading.isolation import IsolationMissing
from se_numpy.grading.source_parser import parse
from se_numpy.grading.submission import SubmissionFile

TASKS = ("relu", "squeeze", "se_block")
MAIN = "import numpy as np\nfrom helpers import mean_of\ndef squeeze(U):\n    return mean_of(U)\n"
HELPER = "def mean_of(U):\n    return U.mean((1, 2))\n"
RELU = "import numpy as np\ndef relu(x):\n    return np.maximum(x, 0)\n"


def zipped(files, **more) -> bytes:
    raw = io.BytesIO()
    with zipfile.ZipFile(raw, "w", zipfile.ZIP_DEFLATED) as out:
        for name, text in files.items():
            info = name if isinstance(name, zipfile.ZipInfo) else zipfile.ZipInfo(name)
            info.compress_type = zipfile.ZIP_DEFLATED
            out.writestr(info, text)
    return raw.getvalue()


def member(name: str, mode: int = 0) -> zipfile.ZipInfo:
    info = zipfile.ZipInfo(name)
    info.external_attr = mode << 16
    return info


def chosen(files: dict[str, str], form: Form | None = None):
    """Return the submission made of these files."""
    raw = tuple(SubmissionFile(name, text.encode(), name.endswith(".ipynb")) for name, text in files.items())
    parsed = []
    for file in raw:
        try:
            found = parse(file.raw, file.name, notebook=file.notebook, definitions=False)
        except ValueError as error:
            found = {"problem": str(error)}
        parsed.append({"name": file.name, **found})
    return assemble(Bundle("alice", raw, several=True), parsed, [], TASKS, form or Form())


# Archives.


def test_the_python_files_of_an_archive_are_read():
    unused = {"hw/data.csv": "1", "__MACOSX/hw/._hw.py": "", "hw/__pycache__/hw.py": ""}
    files, others = archive.members(zipped({"hw/hw.py": MAIN, "hw/parts/helpers.py": HELPER, **unused}), "a.zip")
    assert files == {"hw.py": MAIN.encode(), "parts/helpers.py": HELPER.encode()}
    assert others == list(unused)


@pytest.mark.parametrize(("files", "message"), [
    ({"../hw.py": ""}, "has the path '../hw.py', which leads out of the archive"),
    ({"/etc/hw.py": ""}, "leads out of the archive"),
    ({"a/../../hw.py": ""}, "leads out of the archive"),
    ({"a\\..\\hw.py": ""}, "leads out of the archive"),
    ({"C:hw.py": ""}, "leads out of the archive"),
    ({member("hw.py", stat.S_IFLNK | 0o777): "/etc/passwd"}, "'hw.py' is a link or a device"),
    ({member("pipe", stat.S_IFIFO): ""}, "'pipe' is a link or a device"),
    ({f"{k}.py": "" for k in range(archive.MAX_FILES + 1)}, "has 201 files; expected at most 200"),
    ({member("hw.py"): "x", member("hw.py", stat.S_IFREG): "y"}, "has two files of the name 'hw.py'"),
], ids=lambda value: None)  # fmt: skip
@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_unsafe_archives_are_refused(files, message):
    with pytest.raises(ValueError, match=r"^a\.zip") as caught:
        archive.members(zipped(files), "a.zip")
    assert message in str(caught.value)


def test_an_archive_that_grows_too_large_is_refused(monkeypatch):
    monkeypatch.setattr(archive, "MAX_BYTES", 1 << 20)
    raw = zipped({"a.py": "#" * (700 << 10), "b.py": "#" * (700 << 10)})
    assert len(raw) < 5000
    with pytest.raises(ValueError, match="more than 1 MB of Python when unpacked"):
        archive.members(raw, "a.zip")
    small = zipped({"a.py": "#" * (2 << 20)})
    at = small.index(b"PK\1\2") + 24  # the size that the directory claims
    lying = small[:at] + struct.pack("<I", 10) + small[at + 4 :]
    with pytest.raises(ValueError, match=r"^a\.zip"):
        archive.members(lying, "a.zip")


def test_an_encrypted_archive_is_refused():
    raw = bytearray(zipped({"hw.py": MAIN}))
    raw[raw.index(b"PK\1\2") + 8] |= 1
    with pytest.raises(ValueError, match=r"a\.zip is encrypted; make an archive without a password"):
        archive.members(bytes(raw), "a.zip")


@FUZZ
@given(damaged(zipped({"hw/hw.py": MAIN, "hw/helpers.py": HELPER})))
def test_damaged_archives_are_read_or_refused_in_one_line(raw):
    try:
        files, _ = archive.members(raw, "a.zip")
        assert all(isinstance(text, bytes) for text in files.values())
    except ValueError as error:
        assert "a.zip" in str(error)  # noqa: PT017
        assert "\n" not in str(error)  # noqa: PT017


# The graded file.


def test_the_file_that_defines_the_tasks_is_graded():
    found = chosen({"hw.py": MAIN, "helpers.py": HELPER, "broken.py": "def f(:"})
    assert (found.name, found.source, found.functions) == ("hw.py", MAIN, ("squeeze",))
    assert {(m.name, m.package) for m in found.modules} == {("hw", False), ("helpers", False), ("broken", False)}
    assert found.notes == ("Graded: hw.py; importable beside it: helpers.py, broken.py.",
                           "Not valid Python: broken.py, line 1: invalid syntax.")  # fmt: skip


def test_tasks_may_be_in_several_files():
    found = chosen({"conv/relu.py": RELU, "se.py": MAIN, "helpers.py": HELPER})
    assert found.source == "from conv.relu import relu\nfrom se import squeeze\n"
    assert found.functions == ("relu", "squeeze")
    with pytest.raises(ValueError, match="declare different forms; expected the same LAYOUT, STYLE and FRAMEWORK"):
        chosen({"relu.py": RELU + 'LAYOUT = "NCHW"\n', "se.py": MAIN})


def test_modules_are_found_from_the_graded_file_and_from_the_outermost_folder():
    found = chosen(
        {"src/hw.py": MAIN, "src/helpers.py": HELPER, "lib/__init__.py": "", "lib/a.py": "", "no-name.py": ""}
    )
    names = {m.name: m.package for m in found.modules}
    assert names == {"hw": False, "helpers": False, "src.hw": False, "src.helpers": False, "lib": True, "lib.a": False}
    assert "Not used: no-name.py." in found.notes


def test_a_module_with_the_name_of_a_standard_one_is_named():
    notes = chosen({"hw.py": MAIN, "helpers.py": HELPER, "random.py": ""}).notes
    assert "random.py: Python or NumPy has a module of this name, which is imported; rename it." in notes


@pytest.mark.parametrize(("files", "form", "message"), [
    ({"hw.py": MAIN, "old.py": MAIN}, Form(), "alice: squeeze is defined in hw.py, old.py; keep one, or name the file"),
    ({"a.py": "x = 1", "b.py": "y = 1"}, Form(), "alice: none of a.py, b.py defines one of the tasks"),
    ({"a.py": "x = 1", "hw.py": "def squeeze(:"}, Form(), "hw.py, line 1: invalid syntax"),
    ({"a.py": MAIN}, Form(file="hw.py"), "alice has no file hw.py, which the assignment asks for; it has a.py"),
    ({"a/hw.py": MAIN, "b/hw.py": MAIN}, Form(file="hw.py"), "alice has the file hw.py in several folders: a/hw.py"),
    ({"hw.py": "def f(:", "a.py": MAIN}, Form(file="hw.py"), "hw.py, line 1: invalid syntax"),
])  # fmt: skip
def test_an_unclear_choice_is_refused(files, form, message):
    with pytest.raises(ValueError, match=r".") as caught:
        chosen(files, form)
    assert message in str(caught.value)


def test_the_named_file_is_graded():
    assert chosen({"HW.py": MAIN, "old.py": MAIN}, Form(file="hw.py")).name == "HW.py"
    assert chosen({"a/b/hw.py": RELU, "a/hw.py": MAIN}, Form(file="hw.py")).name == "a/hw.py"
    assert chosen({"hw.py": "x = 1"}).name == "hw.py"  # the only file


def test_the_styles_own_names_count_as_tasks():
    style = "def relu_forward(x):\n    return x, x\n"
    files = {"hw.py": MAIN, "layers.py": style}
    assert chosen(files).source == MAIN
    assert chosen(files, Form(style="cs231n")).source == "from hw import squeeze\nfrom layers import relu_forward\n"
    block = 'CLASSES = {"Block": "se_block"}\nclass Block:\n    pass\n'
    assert chosen({"block.py": block, "util.py": HELPER}).name == "block.py"


# Folders.


def fill(folder: Path, files) -> Path:
    for name, text in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(text if isinstance(text, bytes) else text.encode())
    return folder


def test_a_folder_is_read_without_links_and_within_limits(tmp_path, monkeypatch):
    alice = fill(tmp_path / "alice", {"hw.py": MAIN, "sub/helpers.py": HELPER, "data.csv": "1", ".git/x.py": ""})
    (alice / "link.py").symlink_to("/etc/passwd")
    found = read_bundle(alice)
    assert ([f.name for f in found.files], found.others) == (["hw.py", "sub/helpers.py"], ("data.csv", "link.py"))
    before = found.sha256
    (alice / "sub" / "helpers.py").rename(alice / "sub" / "tools.py")
    assert read_bundle(alice).sha256 != before
    monkeypatch.setattr("se_numpy.grading.bundle.MAX_FILES", 3)
    with pytest.raises(ValueError, match="has more than 3 files; expected the files of one submission"):
        read_bundle(alice)


def test_a_folder_is_one_submission_only_if_that_is_declared(tmp_path):
    top = fill(tmp_path / "class", {"alice/hw.py": MAIN, "alice/helpers.py": HELPER, "bob.zip": b"", "carl.py": RELU,
                                    "dora/part/x.py": RELU})  # fmt: skip

    def names(**form):
        return [entry.name for entry in survey([top], form=Form(**form)).entries]

    assert names() == ["alice-helpers.py", "alice-hw.py", "bob.zip", "carl.py", "dora-part-x.py"]
    assert names(file="hw.py") == ["alice", "bob.zip", "carl.py", "dora-part-x.py"]
    assert names(folders=True) == ["alice", "bob.zip", "carl.py", "dora-part"]
    assert [entry.path for entry in survey([top / "alice"], form=Form(folders=True)).entries] == [top / "alice"]
    assert [entry.path for entry in survey([top / "dora"], one=True).entries] == [top / "dora"]


# In the sandbox.

PROCESS = Options(isolation="process", tasks=("squeeze", "relu"), search=0.02, folders=True)


@pytest.mark.parametrize("as_archive", [False, True])
def test_modules_are_imported_in_the_sandbox(tmp_path, as_archive):
    helper = "from parts import axes\n" + HELPER.replace("(1, 2)", "axes.BOTH")
    files = {"hw.py": MAIN, "helpers.py": helper, "parts/axes.py": "BOTH = 1, 2\n",
             "parts/relu.py": "from . import axes\n" + RELU}  # fmt: skip
    path = fill(tmp_path, {"a.zip": zipped(files)}) / "a.zip" if as_archive else fill(tmp_path / "a", files)
    report = grade_path(path, PROCESS)
    assert [task.status for task in report.tasks] == ["passed", "passed"]
    assert report.notes[0] == "Graded: hw.py, parts/relu.py; importable beside it: helpers.py, parts/axes.py."


def test_a_module_may_import_the_graded_file(tmp_path):
    main = "import numpy as np\nAXES = 1, 2\nfrom lockdown import mean_of\ndef squeeze(U):\n    return mean_of(U)\n"
    helper = "import hw\ndef mean_of(U):\n    assert hw.squeeze\n    return U.mean(hw.AXES)\n"
    report = grade_path(fill(tmp_path / "a", {"hw.py": main, "lockdown.py": helper}), PROCESS)
    assert report.tasks[0].status == "passed"


def test_an_error_in_a_module_names_its_file_and_line(tmp_path):
    folder = fill(tmp_path / "a", {"hw.py": MAIN, "helpers.py": HELPER.replace("U.mean", "U.men")})
    report = grade_path(folder, PROCESS)
    assert "has no attribute 'men' (helpers.py, line 2)" in report.tasks[0].message
    assert report.tasks[1].message.startswith("the function relu is missing")


def test_a_module_that_is_not_python_is_named_where_it_is_imported(tmp_path):
    report = grade_path(fill(tmp_path / "a", {"hw.py": MAIN, "helpers.py": "def f(:"}), PROCESS)
    assert report.tasks[0].message == "SyntaxError: helpers.py, line 1: invalid syntax (line 2)"


def test_what_cannot_be_graded_is_said_in_one_sentence(tmp_path):
    two = fill(tmp_path / "two", {"hw.py": MAIN, "old.py": MAIN})
    assert "squeeze is defined in hw.py, old.py" in grade_path(two, PROCESS).message
    alone = fill(tmp_path / "alone", {"hw.py": MAIN, "helpers.py": HELPER}) / "hw.py"
    assert "helpers.py is beside this file: grade the folder with --one" in grade_path(alone, PROCESS).message
    bad = fill(tmp_path, {"bad.zip": b"PK"}) / "bad.zip"
    assert grade_path(bad, PROCESS).message.startswith("bad.zip cannot be unpacked (File is not a zip file)")
    tensor = fill(tmp_path, {"t.py": 'import torch\nFRAMEWORK = "torch"\n' + RELU}) / "t.py"
    assert 'declares FRAMEWORK = "torch", which is not allowed here' in grade_path(tensor, PROCESS).message


def test_an_archive_is_opened_in_the_sandbox_only(tmp_path, monkeypatch):
    path = fill(tmp_path, {"a.zip": zipped({"hw.py": RELU})}) / "a.zip"
    monkeypatch.setattr(zipfile, "ZipFile", lambda *_, **__: pytest.fail("the grader opened the archive"))
    try:
        assert grade_path(path, PROCESS).tasks[1].status == "passed"
    except IsolationMissing as missing:
        pytest.skip(str(missing))
