"""Reports for tests: a few written by hand, and a Hypothesis strategy for arbitrary ones."""

import numpy as np
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from se_numpy.grading.models import STATUSES, Check, Counterexample, Diagnosis, Report, TaskReport

EVIL = "<script>alert(1)</script> & \"'\x1b[31m\x00\ud800\u202e]]>"


def squeeze_report() -> TaskReport:
    """The report of a submission that takes the maximum."""
    return TaskReport(
        "squeeze", "Squeeze: global average pooling", "Eq. (2): z_c = 1/(HW) Σ u_c(i, j)", "squeeze(U) -> z", "failed",
        0.5, 2.0,
        (
            Check("shape", 0.5, 0.5, True),
            Check("values of z", 0.0, 1.5, False, "z is wrong on 12 of 12 inputs", 4.1e11),
            Check("extremes", 0.0, 0.0, None, "not run"),
        ),
        Counterexample(
            {"U": np.array([[[[1.0], [2.0]]]])}, {"z": np.array([[1.5]])}, {"z": np.array([[2.0]])},
            "z[0, 0] is 2 where 1.5 was expected.", "print(squeeze(U))",
        ),
        Diagnosis("max pooling", "Your squeeze returns the largest value of each map.", "z_c = 1/(HW) Σ u_c", 12, 12),
        (), ("Right within single precision.",), "", "debug\n", 0.31, 44,
    )  # fmt: skip


def passed(name: str = "relu", points: float = 1.0) -> TaskReport:
    check = Check("shape", points, points, True)
    return TaskReport(name, "", "", f"{name}(x) -> y", "passed", points, points, (check,))


def plain(name: str, status: str, points: float = 0.0, message: str = "") -> TaskReport:
    return TaskReport(name, name.title(), "Eq. (3)", f"{name}(x) -> y", status, points, 2.0, message=message)


def report(*tasks: TaskReport, name: str = "ada.py", message: str = "") -> Report:
    return Report(name, "c0ffee" * 10, "L2", "landlock", ("bubblewrap is not installed.",), "5f3a91",
                  "2026-11-21T14:50:00+00:00", 6.32, tasks, message, {"numpy": "2.4"})  # fmt: skip


def evil_report() -> Report:
    """A report in which every string is an attack."""
    array = np.array([np.nan, np.inf, -np.inf, 1e300])
    example = Counterexample({EVIL: EVIL, "x": array}, {EVIL: array}, {"y": -array, EVIL: array * 2}, EVIL, EVIL)
    check = Check(EVIL, 0, 1, False, EVIL, float("inf"))
    found = Diagnosis(EVIL, EVIL, EVIL, 1, 2)
    task = TaskReport(EVIL, EVIL, EVIL, EVIL, "failed", 0, 1, (check,), example, found, (EVIL,), (EVIL,), EVIL, EVIL)
    return Report(EVIL, EVIL, EVIL, EVIL, (EVIL,), EVIL, EVIL, 0.0, (task,), EVIL, {EVIL: EVIL})


# Surrogates are included, as file names and messages may contain characters that cannot be encoded.
words = st.one_of(st.text(st.characters(), max_size=30), st.sampled_from(["", EVIL, "=1+1", "word " * 2000]))
numbers = st.one_of(st.floats(), st.sampled_from([0.0, 1.0, 2.5]))
arrays = st.one_of(
    hnp.arrays(
        st.sampled_from(["f8", "f4", "f2", "i8", "u1", "?", "c16"]),
        hnp.array_shapes(min_dims=0, max_dims=5, min_side=0, max_side=4),
    ),
    st.sampled_from([
        np.zeros((2, 9, 9, 3)), np.full((1, 1), np.nan), np.empty((0, 3)), np.arange(200.0), np.array(["a", EVIL]),
        np.array([None, object], dtype=object), np.zeros((3, 4), order="F")[::2], np.float32(2.0), np.array(7),
    ]),
)  # fmt: skip
results = st.dictionaries(st.sampled_from(["dU", "dW1", "V", EVIL]), arrays, max_size=3)
arguments = st.dictionaries(
    st.sampled_from(["U", "z", "stride", EVIL]),
    st.one_of(arrays, st.integers(), st.floats(), st.booleans(), words, st.just((1, 2)), st.none()),
    max_size=3,
)
counterexamples = st.builds(Counterexample, arguments, results, results, words, words)
visibilities = st.sampled_from(["visible", "hidden", "after_due_date", EVIL])
checks = st.builds(
    Check, words, numbers, numbers, st.sampled_from([True, False, None]), words, st.none() | numbers, visibilities
)
diagnoses = st.builds(Diagnosis, words, words, words, st.integers(0, 99), st.integers(0, 99))
tasks = st.builds(
    TaskReport, words, words, words, words, st.sampled_from([*STATUSES, "unheard of"]), numbers, numbers,
    st.lists(checks, max_size=3).map(tuple), st.none() | counterexamples, st.none() | diagnoses,
    st.lists(words, max_size=2).map(tuple), st.lists(words, max_size=2).map(tuple), words, words, numbers,
    st.integers(0, 1000), visibilities, st.booleans(), numbers, numbers, words,
)  # fmt: skip
reports = st.builds(
    Report, words, words, words, words, st.lists(words, max_size=2).map(tuple), words, words, numbers,
    st.lists(tasks, max_size=3).map(tuple), words, st.dictionaries(words, words, max_size=2),
    words, numbers, words, st.dictionaries(words, words, max_size=2),
)  # fmt: skip
