"""Every sentence about a wrong version is true, and the same on every seed; most wrong versions get one.

The proof by mutation of all tasks is ``python tests/grading/mutants.py``; a sample of it runs here.
"""

import numpy as np
import pytest
from later_slips import LATER
from mutants import TASKS, Judge, chosen, outcome, run_one
from slips import SLIPS

from se_numpy.grading.compare import Expected
from se_numpy.grading.grade import grade_task, prepare
from se_numpy.grading.inprocess import caller
from se_numpy.grading.task import Case

QUICK = ("relu_backward", "sigmoid", "squeeze", "scale_backward", "softmax", "sgd_momentum")
NAMED = 0.8  # the share of the held-out wrong versions that get a name or a sentence


def grade(name, function, seed=0):
    return grade_task(TASKS[name], caller(function), seed=seed, seconds=0.0)


def words(report):
    return (report.diagnosis.mistake if report.diagnosis else "", report.features)


def check_slips(slips):
    """Check that held-out versions are failed and that the sentences about them are true; return the share told."""
    told = 0
    for name, about, function in slips:
        kind, false, report = outcome(TASKS[name], function)
        assert kind in ("named", "told", "silent", "error"), (name, about)
        assert not false, (name, about, false)
        told += bool(report.diagnosis or report.features or report.status != "failed")
    return told / len(slips)


def test_a_sample_of_held_out_slips():
    assert check_slips([one for one in SLIPS if one[0] in QUICK][::3]) >= NAMED


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted({name for name, *_ in SLIPS}))
def test_all_held_out_slips(name):
    check_slips([one for one in (*SLIPS, *LATER) if one[0] == name])


@pytest.mark.slow
def test_most_held_out_slips_are_told():
    told = [bool(any(words(grade(name, function)))) for name, _, function in SLIPS]
    assert sum(told) / len(told) >= NAMED


@pytest.mark.parametrize("name", QUICK)
def test_a_sample_of_mutants(name):
    """No mutant is missed and no sentence is false."""
    for about, made in chosen(TASKS[name], 4):
        kind, false, _ = run_one(TASKS[name], made)
        assert kind != "missed", about
        assert not false, (about, false)


def test_words_do_not_depend_on_the_seed():
    for name, about, function in [one for one in SLIPS if one[0] in QUICK][1::4]:
        assert len({words(grade(name, function, seed)) for seed in (0, 1)}) == 1, about


def norm(eps):
    return lambda x, gamma, beta, **h: (
        gamma * (x - x.mean((0, 1, 2))) / np.sqrt(x.var((0, 1, 2)) + eps) + beta
    )  # fmt: skip


def test_another_constant_is_not_taken_for_a_missing_eps():
    """A constant of 10⁻⁸ gives the values of a missing eps, except where the variance is 0."""
    assert words(grade("batch_norm", norm(1e-8)))[0] == "another constant for eps"
    assert words(grade("batch_norm", norm(0.3)))[0] == "another constant for eps"
    with np.errstate(all="ignore"):
        assert words(grade("batch_norm", norm(0.0)))[0] == "eps left out"


def test_nan_of_another_cause_is_not_taken_for_an_overflow():
    """e^x of a row far below the batch's maximum is 0, and 0/0 is NaN, as ∞/∞ is."""

    def loss(x, labels, shift):
        e = np.exp(x - shift(x))
        return -np.log((e / e.sum(1, keepdims=True))[np.arange(len(x)), labels]).mean()

    batch = grade("softmax_cross_entropy", lambda x, labels: loss(x, labels, np.max))
    assert words(batch)[0] != "overflow"
    assert words(grade("softmax_cross_entropy", lambda x, labels: loss(x, labels, np.min)))[0] != "maximum of the batch"


def squeeze_where(right):
    return lambda U: U.mean((1, 2)) + (0 if right(*U.shape) else np.arange(U.shape[3]) + 1)


@pytest.mark.parametrize(
    ("right", "sentence"),
    [
        (lambda N, H, W, C: N == 1, "right only for one image, N = 1"),
        (lambda N, H, W, C: H == W, "right only on square maps"),
        (lambda N, H, W, C: H == W == 1, "right only on maps of one pixel"),
        (lambda N, H, W, C: C != 1, "wrong only for one channel"),
        (lambda N, H, W, C: H == W and N < 4, ""),
        (lambda N, H, W, C: N == 1 or C > 6, "right for one image, N = 1, wrong on many other inputs"),
        (lambda N, H, W, C: N * H * W * C % 7, ""),
    ],
)
def test_conditions_are_said_only_if_they_hold(right, sentence):
    report = grade("squeeze", squeeze_where(right))
    assert [one for one in report.features if "only" in one or "many" in one] == [sentence] * bool(sentence)


def test_calls_that_raise_count_as_wrong():
    def backward(dX_tilde, U, s):
        if len(U) == 3:
            raise ValueError("no threes")
        return dX_tilde * s[:, None, None], 0.3 * s

    assert not any("right on every input" in one for one in grade("scale_backward", backward).features)


def test_a_judge_notices_false_sentences():
    """The check of sentences can fail: each of these is false of a squeeze that takes the sum."""
    judge = Judge(TASKS["squeeze"], lambda U: U.sum((1, 2)))
    assert judge.true("z is H·W times the correct result")
    assert judge.true("right only on maps of one pixel")
    for sentence in (
        "z is N times the correct result", "z is right on every input", "right only for one image, N = 1",
        "wrong only for one image, N = 1", "the results do not depend on U", "z is 0 everywhere",
        "z is the correct result for -U in place of U", "z is right only for the first image of a batch",
    ):  # fmt: skip
        assert not judge.true(sentence), sentence
    mistakes = {m.name: m for m in TASKS["squeeze"].mistakes}
    assert judge.of_mistake(mistakes["sum"])
    assert not judge.of_mistake(mistakes["largest pixel"])


def test_a_mutant_that_passes_wrongly_is_missed(monkeypatch):
    """The generator notices what the grader does not."""
    task = TASKS["squeeze"]
    wrong = lambda U: U.mean((1, 2)) + (U.shape[3] == 1)  # noqa: E731
    no_channel = [e for e in prepare(task, 0) if e.case.sizes["C"] > 1]
    monkeypatch.setattr("mutants.CASES", lambda name, seed: no_channel)
    assert outcome(task, wrong)[0] == "missed"
    monkeypatch.undo()
    assert outcome(task, wrong)[0] in ("told", "silent")


def test_a_slow_submission_is_not_tried_further():
    """Once the time is up nothing more is said, and nothing false."""
    from se_numpy.grading import diagnose
    from se_numpy.grading.probes import Tried

    def one(case: Case):
        return caller(TASKS["squeeze"].mistakes[0].wrong)([*case.arguments.values()], {})

    tried = [Tried(e, one(e.case)) for e in prepare(TASKS["squeeze"], 0)]
    assert isinstance(tried[0].expected, Expected)
    assert diagnose.diagnose(TASKS["squeeze"], one, tried, seconds=-1.0) == (None, ())
    assert diagnose.diagnose(TASKS["squeeze"], one, tried)[0] is not None
