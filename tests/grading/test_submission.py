"""Tests of reading submissions: files and notebooks, valid and damaged."""

import hashlib
import json
import os
from pathlib import Path

import pytest
from damage import FUZZ, damaged
from hypothesis import given
from hypothesis import strategies as st

from se_numpy.grading.submission import MAX_SOURCE, from_source, read


def notebook(tmp_path, *cells, run_all=False, **more):
    """Write a notebook with these code cells and read it as a submission."""
    cells = [{"cell_type": "code", "source": cell} for cell in cells]
    path = tmp_path / "hw.ipynb"
    path.write_text(json.dumps({"cells": [{"cell_type": "markdown", "source": "# Homework"}, *cells], **more}))
    return read(path, run_all=run_all)


def error_of(call, *args, **kwargs) -> str:
    with pytest.raises(ValueError, match=r".") as caught:
        call(*args, **kwargs)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def names(submission):
    """Return the names that running the submission's source defines."""
    scope = {"__name__": "submission"}
    exec(submission.source, scope)
    return {name for name in scope if not name.startswith("__")}


def test_a_python_file_is_read_unchanged(tmp_path):
    path = tmp_path / "hw.py"
    raw = b'import numpy as np\r\nLAYOUT = "NCHW"\r\ndef squeeze(U):\r\n    return U.mean((2, 3))\r\nprint(1)\r\n'
    path.write_bytes(raw)
    found = read(path)
    assert (found.name, found.layout, found.functions) == ("hw.py", "NCHW", ("squeeze",))
    assert found.source == raw.decode().replace("\r\n", "\n")
    assert found.sha256 == hashlib.sha256(raw).hexdigest()
    assert read(str(path)) == found


def test_all_top_level_functions_are_found():
    found = from_source(
        "def a(): pass\nb = lambda x: x\nif True:\n    def c(): pass\nelse:\n    def d(): pass\n"
        "try:\n    import x\nexcept ImportError:\n    def e(): pass\nclass C:\n    def no(self): pass\n"
        "def a():\n    def inner(): pass\nasync def wait(): pass\nnumber = 3\n"
    )
    assert found.functions == ("a", "b", "c", "d", "e")


@pytest.mark.parametrize(("source", "layout"), [
    ("", "NHWC"), ('LAYOUT = "NHWC"', "NHWC"), ('LAYOUT: str = "NCHW"', "NCHW"),
    ('LAYOUT = "NHWC"\nLAYOUT = "NCHW"', "NCHW"), ('def f():\n    LAYOUT = "NCHW"', "NHWC"),
])  # fmt: skip
def test_the_layout_is_read_from_the_source(source, layout):
    assert from_source(source).layout == layout


@pytest.mark.parametrize("value", ['"HWCN"', "None", '"NC" + "HW"', "layout()", '["NCHW"]'])
def test_other_layouts_are_refused(value):
    message = error_of(from_source, f"\nLAYOUT = {value}", "hw.py")
    assert message == 'hw.py, line 2: LAYOUT must be the string "NHWC" or "NCHW"'


@pytest.mark.parametrize(("source", "start"), [
    ("x = 1\ndef f(:\n", "hw.py, line 2: "),
    ("def f():\nreturn 1", "hw.py, line 2: expected an indented block"),
    ("x = 1\n\0", "hw.py, line "),
    ("(" * 500 + ")" * 500, "hw.py, line 1: too many nested parentheses"),
    ("-" * 50_000 + "1", "hw.py, line 1: too deeply nested"),
    ("x" + ".a" * 50_000, "hw.py, line 1: too deeply nested"),
    ("#" * (MAX_SOURCE + 1), "hw.py: more than 2 MB of Python"),
])  # fmt: skip
def test_invalid_python_is_refused_with_its_line(source, start):
    assert error_of(from_source, source, "hw.py").startswith(start)

    """A long chain is parsed or refused, by the version of Python; neither crashes."""
    """Whether such a chain can be parsed depends on Python's version."""
    try:
        assert from_source("def f(): pass\nif 1: pass\n" + "elif 1: pass\n" * 3000).functions == ("f",)
    except ValueError as error:
        assert "too deeply nested" in str(error)  # noqa: PT017


def test_invalid_escapes_in_a_submission_raise_no_warning():
    assert from_source('def f():\n    "\\d"\n    return 1 is 1\n').functions == ("f",)


@pytest.mark.parametrize(("raw", "expected"), [
    ("# -*- coding: latin-1 -*-\nx = 'é'".encode("latin-1"), "é"), (b"\xef\xbb\xbfx = '\xc3\xa9'", "é"),
])  # fmt: skip
def test_encodings_follow_pythons_rules(tmp_path, raw, expected):
    (tmp_path / "hw.py").write_bytes(raw)
    found = read(tmp_path / "hw.py")
    assert f"'{expected}'" in found.source
    assert not found.source.startswith("\ufeff")


@pytest.mark.parametrize(("raw", "start"), [
    (b"x = 1\ny = '\xe9'\n", "hw.py, line 2: not utf-8 text; save the file as UTF-8"),
    (b"# coding: rot13\nk = 1", "hw.py, line 1: "),
    (b"# coding: klingon\nx = 1", "hw.py, line 1: unknown encoding"),
    (b"# coding: zip\nx = 1", "hw.py, line 1: "),
    (b"#" * (MAX_SOURCE + 1), "larger than 2 MB"),
])  # fmt: skip
def test_files_that_cannot_be_decoded_are_refused(tmp_path, raw, start):
    (tmp_path / "hw.py").write_bytes(raw)
    assert start in error_of(read, tmp_path / "hw.py")


def test_only_regular_files_are_read(tmp_path):
    (tmp_path / "secret").write_text("x = 1")
    (tmp_path / "link.py").symlink_to(tmp_path / "secret")
    os.mkfifo(tmp_path / "pipe.py")
    (tmp_path / "folder.py").mkdir()
    assert "is a symbolic link" in error_of(read, tmp_path / "link.py")
    assert "is not a regular file" in error_of(read, tmp_path / "pipe.py")
    assert "is not a regular file" in error_of(read, tmp_path / "folder.py")
    assert "No such file" in error_of(read, tmp_path / "none.py")
    assert "a .py or .ipynb file, not .pdf" in error_of(read, tmp_path / "hw.pdf")


# Notebooks.


def test_only_definitions_of_a_notebook_are_kept(tmp_path):
    found = notebook(
        tmp_path,
        "import numpy as np, math\nimport matplotlib.pyplot as plt\nfrom torch import nn\n",
        ["LAYOUT = 'NCHW'\n", "eps, r = 1e-5, 4\n", "shape = [r * i for i in range(3)]\n", "raise SystemExit\n"],
        "def squeeze(U):\n    return U.mean((2, 3))\n\nz = squeeze(np.ones((1, 1, 1, 1)))\nprint(z)\nplt.plot([1])\n",
        "class Net:\n    def __init__(self):\n        self.W = np.eye(r)\n\nnet = Net()\nrelu = lambda x: abs(x)\n",
        "for step in range(10**9):\n    loss = net.step()\n",
        "history = train(net)\nfig, ax = plt.subplots()\ndata = open('data').read()\nw = z + 1\n",
        "while True: pass\nK = 2; print('no'); J = (\n 3)\nassert K == 3",
    )
    assert names(found) == {"np", "math", "LAYOUT", "eps", "r", "shape", "squeeze", "Net", "net", "relu", "K", "J"}
    assert (found.layout, found.functions) == ("NCHW", ("squeeze", "relu"))


def test_line_numbers_are_preserved(tmp_path):
    text = "print(\n  1,\n  'é'); x = 2\nprint(3)\ndef f():\n    return 1 / 0\n"
    kept, whole = notebook(tmp_path, text), notebook(tmp_path, text, run_all=True)
    assert whole.source.rstrip("\n") == text.rstrip("\n")
    assert kept.source.split("\n") == ["", "", "pass; x = 2", "pass", *whole.source.split("\n")[4:]]
    scope = {}
    exec(compile(kept.source, "f", "exec"), scope)
    assert scope["x"] == 2
    assert scope["f"].__code__.co_firstlineno == 5


def test_run_all_keeps_the_whole_notebook(tmp_path):
    assert "print(1)" in notebook(tmp_path, "print(1)", run_all=True).source
    assert "print(1)" not in notebook(tmp_path, "print(1)").source


@pytest.mark.parametrize(("cell", "defined"), [
    ("%matplotlib inline\nx = 1", {"x"}),
    ("!pip install torch\n!ls | head\nx = 1", {"x"}),
    ("files = !ls\nt = %timeit -o f()\nx = 1", {"x"}),
    ("?print\nprint??\nx = 1", {"x"}),
    ("if True:\n    %time f()\nx = 1", {"x"}),
    ("%%time\nx = 1", {"x"}),
    ("%%html\n<b>not Python", set()),
    ("%%writefile data.py\nx = 1", set()),
    ("y = (7\n% 4)\nx = 1", {"x", "y"}),
    ("text = '''\n!not a command\n'''\nx = 1", {"x", "text"}),
    ("text = 'a\x0cb\u2028c'", {"text"}),
    ("", set()),
])  # fmt: skip
def test_ipython_syntax_is_left_out(tmp_path, cell, defined):
    assert names(notebook(tmp_path, cell)) == defined


def test_notebooks_of_format_3_are_read(tmp_path):
    path = tmp_path / "old.ipynb"
    path.write_text(json.dumps({"worksheets": [{"cells": [{"cell_type": "code", "input": ["def f():\n", " pass"]}]}]}))
    assert read(path).functions == ("f",)


@pytest.mark.parametrize("text", [
    "", "{", "[]", "3", "{}", '{"cells": 3}', '{"cells": [3]}', '{"cells": [{}]}', "[" * 100_000,
    '{"cells": [{"cell_type": "code", "source": [1]}]}', '{"cells": [{"cell_type": "code", "source": null}]}',
])  # fmt: skip
def test_invalid_notebooks_are_refused(tmp_path, text):
    (tmp_path / "hw.ipynb").write_text(text)
    assert error_of(read, tmp_path / "hw.ipynb").startswith("hw.ipynb: not a valid notebook (")


def test_syntax_errors_in_notebooks_name_the_cell(tmp_path):
    assert error_of(notebook, tmp_path, "x = 1", "y = 2\nz = = 3").startswith("hw.ipynb, code cell 2, line 2: invalid")
    assert "more than 2 MB" in error_of(notebook, tmp_path, "#" * MAX_SOURCE, "#")


@given(st.text(max_size=60))
def test_any_text_is_read_or_refused(text):
    try:
        found = from_source(text, "hw.py")
    except ValueError as error:
        assert str(error).startswith("hw.py, line ")  # noqa: PT017
    else:
        assert found.source == text


KEPT_IMPORTS = {
    "a module that may be missing": "try:\n    import cupy as np\nexcept ImportError:\n    import numpy as np\n",
    "any exception": "try:\n    import nowhere as np\nexcept:\n    import numpy as np\n    print(\n np)\n",
    "several exceptions": "try: import jax.numpy as np\nexcept (KeyError, ModuleNotFoundError): import numpy as np\n",
    "after a missing module": "try:\n    import nowhere, math\nexcept ValueError: pass\nimport nowhere, numpy as np\n",
    "a finally": "try:\n    import numpy as np\nfinally:\n    print(1)\n",
    "an if": "import sys\nif sys.version_info > (3,):\n    import numpy as np\nelse:\n    import cupy as np\n",
    "an if on an unknown name": "if torch.cuda.is_available():\n    import cupy as cp\nelse:\n    import numpy as np\n",
    "a with": "import warnings\nwith warnings.catch_warnings():\n    warnings.simplefilter('x')\n    "
              "import numpy as np\n",
    "a with on a file": "with open('nowhere') as f:\n    f.read()\n    import numpy as np\n",
    "nested": "try:\n  try:\n    import nowhere as np\n  except ImportError:\n    import no.where as np\n"
              "except Exception:\n"
              "  try:\n    import neither as np\n  except Exception:\n    print(\n 1)\n    import numpy as np\n",
    "a loop": "for _ in range(3):\n    import numpy as np\n    break\n",
}  # fmt: skip


@pytest.mark.parametrize("cell", KEPT_IMPORTS.values(), ids=KEPT_IMPORTS)
def test_imports_inside_statements_are_kept(tmp_path, cell):
    found = notebook(tmp_path, cell, "one = np.float64(1)\ndef f(x):\n    return x * one\n")
    assert names(found) >= {"np", "one", "f"}
    assert found.source.count("\n") == cell.count("\n") + 5


def test_definitions_inside_statements_are_kept(tmp_path):
    found = notebook(
        tmp_path,
        "if True:\n    def f(x): return x\n    print(f(\n 1)); k = 2\nelse:\n    k = 3\nj = k",
        "try:\n    import nowhere\n    have = True\nexcept ImportError:\n    have = False\nt = nowhere.ones(3)",
        "h = have",
        "if __name__ == '__main__':\n    data = 3\nn = data\n" + "if 1:\n pass\n" + "elif 1:\n x = 1\n" * 300,
    )
    assert names(found) == {"f", "k", "j", "have", "h"}
    assert found.functions == ("f",)


def test_names_that_only_lines_left_out_define_are_listed(tmp_path):
    found = notebook(
        tmp_path, "import numpy as np\nW = np.load('w.npy')\nfor i, j in W:\n    V = i\nimport torch, os\n",
        "def f(x):\n    return W\nU = f(1)\nk = 1\nk = f(2)\nwith open('x') as d: pass\n",
    )  # fmt: skip
    assert list(found.left_out) == ["W", "i", "j", "V", "torch", "U", "d"]
    assert found.left_out["W"] == "line 2 (W = np.load('w.npy'))"
    assert found.left_out["V"] == "line 4 (V = i)"
    more = found.why_undefined("NameError: name 'U' is not defined (line 3)")
    assert more == "; U is defined only in line 9 (U = f(1)), which was left out; --run-all runs the whole notebook"
    assert found.why_undefined("NameError: name 'k' is not defined") == found.why_undefined("ValueError: U") == ""


STATEMENTS = ["x = 1", "print(x)", "def f(): return 1", "'é'", "for i in []:\n    print(\n i)", "f()", "import os",
              "y = x + 1", "@print\ndef g():\n    pass", "if 1: pass", "raise E; z = 3",
              "if x:\n    import math\n    print(x,\n 1)\nelse: print(\nx); y = 2", "with x: import math; f(\n\n)",
              "try:\n    import torch\n    print(x)\nexcept ImportError:\n    print(\n x)\n    x = 1\n    f()\n",
              "try: import a as math\nexcept Exception: import math\nfinally: print(\n x)"]  # fmt: skip


@given(st.lists(st.sampled_from(STATEMENTS), max_size=8), st.sampled_from(["\n", "\n\n", "  # é\n"]))
def test_definitions_of_any_notebook_are_valid_python_with_the_same_lines(tmp_path_factory, statements, end):
    cell = "".join(line + end for line in statements)
    found = notebook(tmp_path_factory.getbasetemp(), cell)
    assert found.source.count("\n") == cell.count("\n") + 1
    assert "print(x)" not in found.source
    compile(found.source, "", "exec")


NOTEBOOK = json.dumps({"nbformat": 4, "nbformat_minor": 5, "metadata": {}, "cells": [
    {"cell_type": "markdown", "metadata": {}, "source": ["# Mine"]},
    {"cell_type": "code", "metadata": {}, "outputs": [], "source": ["import numpy as np\n", "LAYOUT = 'NCHW'\n"]},
    {"cell_type": "code", "metadata": {}, "outputs": [], "source": "def squeeze(U):\n    return U.mean((2, 3))\n"},
]}).encode()  # fmt: skip
WHOLE = {".py": Path(__file__).with_name("submissions").joinpath("right.py").read_bytes(), ".ipynb": NOTEBOOK}


@pytest.mark.parametrize("suffix", WHOLE)
@FUZZ
@given(st.data())
def test_a_damaged_submission_is_read_or_refused_with_a_message(tmp_path, suffix, data):
    path = tmp_path / f"mine{suffix}"
    path.write_bytes(data.draw(damaged(WHOLE[suffix])))
    try:
        text = read(path).name
    except ValueError as error:
        text = str(error)
    assert text.startswith((path.name, str(path)))
    assert len(text) < 600
