"""Similarity: code that is equal but for names, rare mistakes, and nothing that the class has in common."""

import csv
import io
from dataclasses import replace

import pytest
from grading_records import plain, report, squeeze_report

from se_numpy.grading.similarity import alike, as_table
from se_numpy.grading.submission import from_source

CODE = '''
def conv(X, V, stride):
    """Convolve."""
    k, N = V.shape[0], X.shape[0]
    H = (X.shape[1] - k) // stride + 1
    out = np.zeros((N, H, H, V.shape[3]))
    for i in range(H):
        for j in range(H):
            window = X[:, i * stride : i * stride + k, j * stride : j * stride + k]
            out[:, i, j] = np.tensordot(window, V, 3)  # a comment
    return out
'''
RENAMED = CODE.replace("out", "result").replace("window", "w").replace('"""Convolve."""', "")
RENAMED = RENAMED.replace("(X, V, stride)", "(X: np.ndarray, V, stride: int) -> np.ndarray").replace(
    "conv(", "my_conv("
)
OTHER = CODE.replace("i * stride : i * stride + k", "i : i + k")


def digest(source: str) -> str:
    return next(iter(from_source(source).trees.values()))


def of(student: str, sha256: str = "", trees=(), task=None):
    task = task or plain("relu", "failed", 0.5)
    return replace(report(task, name=f"{student}.py"), student=student, sha256=sha256 or student,
                   trees={f"f{k}": tree for k, tree in enumerate(trees)})  # fmt: skip


def test_names_comments_docstrings_and_annotations_do_not_count():
    assert digest(CODE) == digest(RENAMED)
    assert digest(CODE) != digest(OTHER)
    assert digest(CODE) != digest(CODE.replace("np.zeros", "np.ones"))
    assert digest(CODE) != digest(CODE.replace("range(H)", "range(N)", 1))  # another variable
    assert digest(CODE) != digest(CODE.replace("+ 1", "+ 2"))


def test_short_and_huge_functions_are_not_compared():
    assert from_source("def squeeze(U):\n    return U.mean((1, 2))\n").trees == {}
    assert from_source("def f(x):\n" + "    x = x + 1\n" * 2000).trees == {}


def test_rare_code_is_listed_and_common_code_is_not():
    others = [of(f"s{k}", trees=["common"]) for k in range(30)]
    a, b = of("ada", trees=["common", "rare"]), of("bob", trees=["rare", "common"])
    (pair,) = alike([*others, a, b])
    assert (pair.first, pair.second, pair.shared) == ("ada.py", "bob.py", ("the code of f1, names aside",))
    assert pair.weight == pytest.approx(4.0)  # log2(32 / 2)
    assert alike([*others, a, b], given=["rare"]) == ()
    assert alike([*others, a, replace(b, student="ada")]) == ()  # of one student


def test_the_same_file_is_listed():
    pairs = alike([of("ada", "x"), of("bob", "x"), of("eve", "y")])
    assert [(p.first, p.second, p.shared) for p in pairs] == [("ada.py", "bob.py", ("the same file",))]
    stub = plain("relu", "missing")
    assert alike([of("ada", "x", task=stub), of("bob", "x", task=stub)]) == ()


def test_two_rare_mistakes_are_listed_and_one_is_not():
    odd = replace(squeeze_report(), diagnosis=None, features=("z is 3 times the correct result",))
    error = plain("relu", "error", message="IndexError: index 7 (line 12)")
    other = replace(error, message="IndexError: index 3 (line 45)")
    rest = [replace(of(f"s{k}"), tasks=(squeeze_report(), plain("relu", "failed"))) for k in range(20)]
    a, b, c = (replace(of(name), tasks=tasks) for name, tasks in (
        ("ada", (odd, error)), ("bob", (odd, other)), ("eve", (odd, plain("relu", "failed")))))  # fmt: skip
    (pair,) = alike([*rest, a, b])
    assert pair.shared == ("squeeze: z is 3 times the correct result", "relu: IndexError: index N (line N)")
    assert alike([*rest, a, c]) == ()


def test_the_table_has_a_row_for_each_pair():
    rows = list(csv.DictReader(io.StringIO(as_table(alike([of("=a", "x"), of("bob", "x"), of("eve", "y")])))))
    assert rows == [{"submission": "'=a.py", "other submission": "bob.py", "weight in bits": "0.6",
                     "in common": "the same file"}]  # fmt: skip
