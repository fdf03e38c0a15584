"""Correct functions pass in every form and precision; wrong ones are caught, and known mistakes are named."""

import itertools

import numpy as np
import pytest

from se_numpy.gradcheck import KinkError, check_backward
from se_numpy.grading import diagnose
from se_numpy.grading.compare import agree
from se_numpy.grading.grade import grade_task, prepare
from se_numpy.grading.inprocess import caller
from se_numpy.grading.isolation import Child, wire
from se_numpy.grading.layout import ours, theirs
from se_numpy.grading.models import DeadlinePassed
from se_numpy.grading.probes import Trials
from se_numpy.grading.sandbox_worker import pack
from se_numpy.grading.search import smallest
from se_numpy.grading.submission import from_source
from se_numpy.grading.task import attempt
from se_numpy.grading.tasks import all_tasks

TASKS = all_tasks()
MISTAKES = [(task, mistake) for task in TASKS.values() for mistake in task.mistakes]
CASES = {name: prepare(task, 0) for name, task in TASKS.items()}


def grade(task, function, **more):
    task = TASKS[task] if isinstance(task, str) else task
    more = {"seed": 0, "prepared": CASES[task.name], "seconds": 0.0} | more
    return grade_task(task, caller(function), **more)


def rounded(function):
    """Return the function, with its inputs rounded to single precision."""

    def single(*args, **hyper):
        args = [a.astype(np.float32) if getattr(a, "dtype", None) == np.float64 else a for a in args]
        return function(*args, **hyper)

    return single


def test_there_is_enough_to_grade():
    assert len(TASKS) >= 18
    assert len(MISTAKES) >= 200
    for task in TASKS.values():
        names = [m.name for m in task.mistakes]
        assert len(set(names)) == len(names)
        assert all(len(m.text) > 10 and m.text.endswith(".") for m in task.mistakes)
        assert task.equation


@pytest.mark.parametrize("name", TASKS)
def test_alternates_pass_in_double_and_single_precision(name):
    task = TASKS[name]
    for function in (task.oracle, *task.alternates):
        for f in (function, rounded(function)):
            report = grade(task, f)
            assert report.status == "passed", report
            assert report.points == pytest.approx(report.max_points)


@pytest.mark.parametrize("name", TASKS)
@pytest.mark.parametrize("seed", [1, 2, 3])
def test_alternates_pass_on_other_seeds(name, seed):
    task = TASKS[name]
    cases = prepare(task, seed)
    for function in task.alternates:
        assert grade(task, rounded(function), seed=seed, prepared=cases).status == "passed"


@pytest.mark.parametrize(("task", "mistake"), MISTAKES, ids=[f"{t.name}-{m.name}" for t, m in MISTAKES])
def test_known_mistakes_are_caught_and_named(task, mistake):
    report = grade(task, mistake.wrong)
    assert report.status != "passed"
    assert report.points < report.max_points
    if report.status == "failed":
        assert report.diagnosis is not None
        assert report.diagnosis.mistake == mistake.name
        assert report.diagnosis.agreed == report.diagnosis.of >= 1


UNKNOWN = {
    "off by half a percent": ("squeeze", lambda U: 1.005 * U.mean((1, 2)), "proportional|times"),
    "one wrong entry": ("excite", lambda z, W1, W2: _nudged(TASKS["excite"].oracle(z, W1, W2)), ""),
    "right only for one image": ("squeeze", lambda U: U.mean((1, 2)) if len(U) == 1 else U.mean((1, 2)) + 1, "N = 1"),
    "nine tenths": ("scale", lambda U, s: 0.9 * TASKS["scale"].oracle(U, s), "0.9 times"),
    "twice": ("se_block", lambda U, W1, W2: 2 * TASKS["se_block"].oracle(U, W1, W2), "2 times"),
    "N times": ("squeeze_backward", lambda dz, U: len(U) * TASKS["squeeze_backward"].oracle(dz, U), "N times"),
    "zeros": ("scale_backward", lambda d, U, s: (0 * U, 0 * s), "0 everywhere"),
    "shifted": ("squeeze", lambda U: U.mean((1, 2)) + 0.5, "same amount"),
    "one output right": ("scale_backward", lambda d, U, s: (d * s[:, None, None], 0.3 * s), "dU is right"),
}


def _nudged(s):
    s = s.copy()
    s[0, 0] += 1e-3
    return s


@pytest.mark.parametrize("name", UNKNOWN)
def test_unknown_mistakes_are_caught_and_described(name):
    task, function, expected = UNKNOWN[name]
    report = grade(task, function)
    assert report.status == "failed"
    assert report.diagnosis is None
    words = "; ".join(report.features)
    assert any(part in words for part in expected.split("|")), words


def test_a_mistake_is_not_named_if_one_input_disagrees():
    task = TASKS["squeeze"]
    wrong = next(m for m in task.mistakes if m.name == "sum").wrong
    calls = itertools.count()
    report = grade(task, lambda U: wrong(U) if next(calls) != 5 else U.mean((1, 2)) + 3)
    assert report.diagnosis is None


def test_the_smallest_failing_input_distinguishes_the_mistake():
    task = TASKS["squeeze"]
    wrong = next(m for m in task.mistakes if m.name == "largest pixel").wrong
    found = grade(task, wrong, seconds=300.0).counterexample
    U = found.arguments["U"]
    assert U.size <= 3
    np.testing.assert_allclose(found.expected["z"], U.mean((1, 2)))
    np.testing.assert_allclose(found.got["z"], U.max((1, 2)))
    others = [m.wrong for m in task.mistakes if m.name != "largest pixel"]
    assert not any(np.allclose(other(U), found.got["z"]) for other in others)
    namespace = {}
    exec("import numpy as np\nprinted = []\n" + found.repro.replace("from submission import squeeze", "").replace(
        "print(", "printed.append("), {"squeeze": wrong}, namespace)  # fmt: skip
    np.testing.assert_allclose(namespace["printed"][0], found.got["z"])


@pytest.mark.parametrize("with_hypothesis", [True, False])
def test_a_maximum_that_starts_at_zero_fails_on_a_few_negative_pixels(with_hypothesis, monkeypatch):
    if not with_hypothesis:
        monkeypatch.setitem(__import__("sys").modules, "hypothesis", None)
    task = TASKS["max_pool2d"]
    wrong = next(m for m in task.mistakes if m.name == "maximum starts at 0").wrong
    found = grade(task, wrong, seconds=300.0).counterexample
    assert found.arguments["x"].size <= 9
    assert found.arguments["x"].max() < 0


def test_the_search_works_without_hypothesis(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "hypothesis", None)
    task = TASKS["squeeze"]
    case = smallest(task, lambda case: case.arguments["U"].size > 1, seed=0, seconds=300.0)
    assert case.arguments["U"].size == 2


def test_without_hypothesis_windows_one_pixel_apart_fail_on_a_small_map(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "hypothesis", None)
    task = TASKS["max_pool2d"]
    wrong = next(m for m in task.mistakes if m.name == "windows at i instead of i · stride").wrong
    found = grade(task, wrong, seconds=300.0).counterexample
    assert found.arguments["x"].size <= 48  # of up to 630 numbers in a case of the usual sizes


@pytest.mark.parametrize("loop", ["windows", "taps"])
def test_overwriting_windows_are_named_in_either_order_of_the_loops(loop):
    task = TASKS["conv2d_backward"]
    (mistake,) = (m for m in task.mistakes if m.name == "dX: windows overwrite each other")
    wrong = mistake.wrong if loop == "taps" else mistake.also[0]
    assert grade(task, wrong).diagnosis.mistake == mistake.name


def failing(report):
    return {check.name for check in report.checks if not check.passed}


def test_each_check_fails_separately():
    task, right = TASKS["squeeze"], TASKS["squeeze"].oracle
    assert failing(grade(task, lambda U: right(U)[:, None, None])) == {"shape", "special cases"}
    assert failing(grade(task, lambda U: right(U).astype(np.float16))) >= {"values of z"}
    assert "shape" in failing(grade(task, lambda U: (right(U), U)))
    assert "shape" in failing(grade(task, lambda U: right(U).T))

    def edits(U):
        z = right(U)
        U[:] = 0
        return z

    assert failing(grade(task, edits)) == {"inputs untouched"}
    rng = np.random.default_rng(0)
    assert "repeatable" in failing(grade(task, lambda U: right(U) * (1 + 1e-12 * rng.standard_normal())))
    overflow = grade("sigmoid", lambda x: np.exp(x) / (1 + np.exp(x)))
    assert failing(overflow) == {"extremes"}


def message_of(task, function, check="shape"):
    """Return the message of one check, or of the report if no values could be compared."""
    report = grade(task, function)
    return report.message or next(c.message for c in report.checks if c.name == check)


def test_shape_messages_name_missing_and_extra_axes():
    right = TASKS["squeeze"].oracle
    assert message_of("squeeze", lambda U: right(U)[:, None]).endswith("did you use keepdims=True?)")
    assert message_of("squeeze", lambda U: right(U)[:, 0]).endswith("(an axis is missing)")
    assert message_of("squeeze", lambda U: right(U).mean()).endswith("(2 axes are missing)")
    assert message_of("squeeze", lambda U: right(U).T).endswith("(transposed?)")
    flat = message_of("squeeze", lambda U: right(U)[:1].ravel(), "special cases")
    assert flat.startswith("one image: z has shape")
    assert flat.endswith("(an axis is missing)")


@pytest.mark.parametrize("order", [(2, 1, 0), (1, 2, 0), (0, 2, 1)])
def test_outputs_in_the_wrong_order_are_reported(order):
    """The order is recognised by the values, or else by the shapes."""
    right = TASKS["excite_backward"].oracle
    for function in (right, lambda *a: tuple(2 * g for g in right(*a))):
        text = message_of("excite_backward", lambda *a, f=function: tuple(f(*a)[k] for k in order))
        ambiguous = order == (0, 2, 1) and function is not right  # dW1 and dW2 could also be transposed
        assert ("the wrong order; expected (dz, dW1, dW2)" in text) != ambiguous, text
    step = TASKS["se_resnet_step"].oracle
    text = message_of("se_resnet_step", lambda *a, **h: (*step(*a, **h)[1:], step(*a, **h)[0]))
    assert "the wrong order; expected (loss, V1," in text


RETURNED = {
    "nothing": (lambda *a, **h: None, "is a return statement missing? Expected: return w, v"),
    "a tuple in a tuple": (lambda w, g, v, **h: (w, (g, v)), "value 2 of 2 is a tuple inside a tuple; return the "
                           "arrays one by one, as in: return w, v"),
    "too little": (lambda w, g, v, **h: w, "returned 1 array; expected 2: w, v"),
    "fewer arguments": (lambda w, g, v: w, "it takes (w, g, v); it is called with (w, g, v, lr, momentum, "
                        "weight_decay)"),
}  # fmt: skip


@pytest.mark.parametrize("name", RETURNED)
def test_wrong_return_values_and_signatures_are_reported(name):
    function, text = RETURNED[name]
    assert text in message_of("sgd_momentum", function)


def test_a_list_instead_of_an_array_is_reported():
    rows = message_of("squeeze", lambda U: list(U.mean((1, 2))))
    assert rows == "returned a list; expected z as one array"
    assert message_of("squeeze", lambda U: list(U.mean((1, 2))), "special cases") == "one image: same as shape"
    assert grade("scale_backward", lambda *a: list(TASKS["scale_backward"].oracle(*a))).status == "passed"


def test_exception_messages_name_the_line_and_the_shapes_of_a_product():
    def body(z, W1, W2):
        return np.linalg.norm(z @ W1, axis=5)

    line = body.__code__.co_firstlineno + 1
    text = message_of("excite", body)
    assert f"(line {line}); z is (N, C), W1 is (C/r, C), W2 is (C, C/r)" in text
    text = message_of("squeeze", lambda U: np.linalg.norm(U, axis=9))
    assert text.endswith(f"(line {line + 5})"), text


def test_an_exception_is_reported_once_and_skipped_checks_have_no_result():
    def fussy(z, W1, W2):
        if len(W1) < z.shape[1]:
            raise ValueError(f"W1 is {W1.shape}")
        return TASKS["excite"].oracle(z, W1, W2)

    checks = {check.name: check for check in grade("excite", fussy).checks}
    assert sum("ValueError" in check.message for check in checks.values()) == 1
    assert checks["special cases"].message == "one image: same as values of s"
    assert [checks[name].passed for name in ("shape", "dtype", "inputs untouched", "repeatable")] == [None] * 4


ALIKE = """
import numpy as np
def nothing(x): x + 1
def inside(x): return x, (x, x)
def ragged(x): return x, [[1], [1, 2]]
def listed(x): return [x, x]
def narrow(): return 1
def leaves(x): raise SystemExit
def words(x): return "100"
def far(x): return np.linalg.norm(x, axis=5)
"""


def test_calls_in_process_and_in_the_sandbox_give_the_same_messages():
    """The card in a notebook and the report on a submission agree."""
    own = {}
    exec(compile(ALIKE, "submission", "exec"), own)
    x = np.arange(6.0).reshape(2, 3)
    with Child(from_source(ALIKE), isolation="process") as child:
        for name in ("nothing", "inside", "ragged", "listed", "narrow", "leaves", "words", "far"):
            here, there = caller(own[name])([x], {}), child.call(name, [x], {})
            assert (here.status, here.message, here.listed) == (there.status, there.message, there.listed), name
            assert len(here.outputs) == len(there.outputs) == (2 if name == "listed" else 0)


def test_the_list_flag_of_a_child_must_be_a_boolean():
    answer = wire.Answer(7)
    frame = pack({"call": 7, "status": "ok", "listed": "a long story"})
    answer.feed(frame[:4])
    with pytest.raises(wire.Breach, match="is not a boolean"):
        answer.feed(frame[4:])


def test_zero_has_no_sign_and_scalars_have_no_index():
    text = message_of("relu_backward", lambda dy, x: np.where(x > 0, dy, -1.0), "values of dx")
    assert text.endswith("is -1; expected 0")
    assert message_of("softmax_cross_entropy", lambda x, labels: np.nan, "values of L").startswith("L is nan; expected")


def test_object_arrays_are_refused_and_integers_fail_the_dtype_check():
    report = grade("relu", lambda x: np.maximum(x, 0).astype(object) * 1.0)
    assert report.status == "refused"
    report = grade("squeeze", lambda U: U.mean((1, 2)).astype(np.int64))
    assert {"dtype", "values of z"} <= failing(report)


def test_other_checks_give_points_only_if_values_are_right():
    assert grade("squeeze", lambda U: 0 * U.mean((1, 2))).points == 0
    half = grade("scale_backward", lambda d, U, s: (d * s[:, None, None], 0 * s))
    assert 0 < half.points < half.max_points


def test_points_follow_the_share_of_inputs_answered_rightly():
    """One input that raises takes its share of the points for values, and no other check fails for it."""
    right, calls = TASKS["squeeze"].oracle, itertools.count()

    def fussy(U):
        if next(calls) == 3:
            raise ValueError("not this one")
        return right(U)

    checks = {check.name: check for check in grade("squeeze", fussy).checks}
    assert [name for name, check in checks.items() if not check.passed] == ["values of z"]
    values = checks["values of z"]
    assert values.points == pytest.approx(values.max_points * 11 / 12)
    assert "ValueError: not this one" in values.message
    assert checks["dtype"].points == checks["dtype"].max_points
    special = next(c for c in grade("squeeze", lambda U: U.mean((1, 2)) + (len(U) == 1)).checks if c.passed is False)
    assert special.name == "special cases"
    assert special.points == pytest.approx(special.max_points * 4 / 5)


def test_no_order_is_claimed_if_results_are_exchanged_on_some_inputs_only():
    """On a single input, exchanged results may be right by chance."""
    right = TASKS["excite_backward"].oracle
    calls = itertools.count()

    def sometimes(*a):
        dz, dW1, dW2 = right(*a)
        return (dz, dW2, dW1) if next(calls) == 0 else (dz, 2 * dW1, 3 * dW2)

    assert not any("wrong order" in check.message for check in grade("excite_backward", sometimes).checks)


TODAY = {
    "a cache beside the result": (lambda U: (U.mean((1, 2)), (U,)), "returned 2 values; expected z alone"),
    "a dictionary beside the result": (lambda U: (U.mean((1, 2)), {"U": U}), "returned 2 values; expected z alone"),
    "two arrays": (lambda U: (U.mean((1, 2)), U), "returned 2 arrays; expected z alone"),
    "Python 2": (lambda U: np.zeros(len(U) / 1), "in Python 3, / gives a float: write // for whole numbers"),
    "a slice": (lambda U: U[: U.shape[0] / 1].mean((1, 2)), "in Python 3, / gives a float: write //"),
    "np.mat": (lambda U: np.asmatrix(U), "use np.array, and @ for products of matrices"),
    "int of an array": (lambda U: int(np.array([1, 2])), "write a.item() or a[0]"),
    "max": (lambda U: max(U, 0), "use np.maximum"),
    "a global": (lambda U: of_the_notebook + U, "sees only its arguments and what its file defines"),  # noqa: F821
    "xrange": (lambda U: [xrange(3) for u in U], "write range"),  # noqa: F821
}  # fmt: skip


@pytest.mark.parametrize("name", TODAY)
def test_messages_say_what_to_write_today(name):
    function, text = TODAY[name]
    report = grade("squeeze", function)
    assert text in " ".join([report.message, *(check.message for check in report.checks)])


def test_exceptions_are_reported_also_on_special_cases():
    report = grade("squeeze", lambda U: U.nothing)
    assert report.status == "error"
    assert "no attribute 'nothing'" in report.message

    def fussy(U):
        if len(U) == 1:
            raise ValueError("I need more images")
        return U.mean((1, 2))

    report = grade("squeeze", fussy)
    assert report.status == "failed"
    assert failing(report) == {"special cases"}
    assert any("I need more images" in check.message for check in report.checks)


def test_channels_first_submissions_are_converted():
    conv, pairs = TASKS["conv2d_backward"], (("X", (2, 5, 6, 3)), ("V", (3, 3, 3, 4)))
    for name, shape in pairs:
        value = np.random.default_rng(0).standard_normal(shape)
        there = theirs(conv, name, value, "NCHW")
        assert there.shape == ((2, 3, 5, 6) if name == "X" else (4, 3, 3, 3))
        np.testing.assert_array_equal(ours(conv, name, there, "NCHW"), value)

    def channels_first(name):
        task = TASKS[name]

        def function(*args, **hyper):
            inside = [ours(task, k, a, "NCHW") for k, a in zip(task.inputs, args, strict=True)]
            found = task.oracle(*inside, **hyper)
            found = found if isinstance(found, tuple) else (found,)
            return tuple(theirs(task, k, np.asarray(a), "NCHW") for k, a in zip(task.outputs, found, strict=True))

        return function

    for name in ("conv2d", "conv2d_backward", "squeeze", "scale_backward", "se_block_backward", "residual_block"):
        assert grade(name, channels_first(name), layout="NCHW").status == "passed"
        assert grade(name, channels_first(name)).status != "passed"
    direct = grade("squeeze", lambda U: U.mean((2, 3)), layout="NCHW")
    assert direct.status == "passed"
    wrong = grade("squeeze", lambda U: U.max((2, 3)), layout="NCHW", seconds=300.0)
    assert wrong.diagnosis.mistake == "largest pixel"
    assert wrong.counterexample.arguments["U"].shape[1] == wrong.counterexample.expected["z"].shape[1]


def test_single_precision_gives_a_hint_and_full_points():
    report = grade("se_block", rounded(TASKS["se_block"].oracle))
    assert report.status == "passed"
    assert any("single precision" in hint for hint in report.hints)
    assert not grade("se_block", TASKS["se_block"].oracle).hints


def test_errors_at_extremes_are_not_attributed_to_single_precision():
    """A relative error of 1e-9 looks like float32 on ordinary logits, but the extremes fail for another reason."""
    task = TASKS["softmax_cross_entropy"]

    def near(logits, labels, smoothing=0.0):
        loss = task.oracle(logits, labels, smoothing=smoothing) if np.abs(logits).max() < 30 else 27.6
        return float(loss) * (1 + 1e-9)

    report = grade("softmax_cross_entropy", near)
    assert report.status == "failed"
    assert report.hints == ()


def test_a_timeout_ends_the_task():
    from se_numpy.grading.models import Reply

    calls = []

    def call(arguments, hyper):
        calls.append(1)
        return Reply("timeout", message="did not end")

    report = grade_task(TASKS["squeeze"], call, seed=0)
    assert (report.status, report.points, len(calls)) == ("timeout", 0, 1)


def test_cases_depend_only_on_the_seed():
    task = TASKS["excite"]
    one, same, other = (list(task.cases(seed)) for seed in (5, 5, 6))
    for a, b in zip(one, same, strict=True):
        assert all(np.array_equal(x, y) for x, y in zip(a.arguments.values(), b.arguments.values(), strict=True))
    assert not np.array_equal(one[0].arguments["z"], other[0].arguments["z"])


def test_agreement_on_uninformative_inputs_names_no_mistake(monkeypatch):
    """On maps of one pixel the maximum and the mean are equal, so no mistake is named."""
    task = TASKS["squeeze"]
    pixels = [e for e in CASES["squeeze"] if e.case.name == "maps of one pixel"]
    monkeypatch.setattr(diagnose, "probes", lambda task: pixels)
    call = caller(lambda U: U.max((1, 2)))
    evidence = diagnose.Evidence(task, Trials(task, lambda case: call([*case.arguments.values()], {}), 60), [])
    assert diagnose.known_mistake(evidence) is None


BACKWARD = [(task, mistake) for task, mistake in MISTAKES if task.forward is not None]


@pytest.mark.parametrize(("task", "mistake"), BACKWARD, ids=[f"{t.name}-{m.name}" for t, m in BACKWARD])
def test_check_backward_catches_wrong_gradients(task, mistake):
    """Mistakes that show only at extremes or kinks are skipped, because differences cannot reveal them."""
    cases = [e for e in CASES[task.name] if e.case.kind != "extreme" and e.case.name != "some zeros"]
    answers = [attempt(task, e.case, mistake.wrong) for e in cases]
    if all(a is not None and agree(a, e.right, e.tolerances) for a, e in zip(answers, cases, strict=True)):
        pytest.skip("correct on all ordinary inputs")

    def caught(case):
        try:
            arguments = list(case.arguments.values())[1:]
            with np.errstate(all="ignore"):
                check_backward(task.forward, mistake.wrong, *arguments, **case.hyper)
        except KinkError:
            return False
        except Exception:
            return True
        return False

    assert any(caught(e.case) for e in cases)
    right = cases[0].case
    check_backward(task.forward, task.oracle, *list(right.arguments.values())[1:], **right.hyper)


def test_a_deadline_during_the_search_keeps_the_points():
    task = all_tasks()["squeeze"]
    call = caller(lambda U: U.max((1, 2)))
    left = len(prepare(task, 0)) + 1  # each case, and the first again

    def until_the_deadline(arguments, hyper):
        nonlocal left
        left -= 1
        if left < 0:
            raise DeadlinePassed
        return call(arguments, hyper)

    report = grade_task(task, until_the_deadline, seed=0)
    assert (report.status, report.counterexample) == ("failed", None)
    assert report.checks
    assert report.diagnosis is None  # a name is said only after further calls
    left = 2
    with pytest.raises(DeadlinePassed):
        grade_task(task, until_the_deadline, seed=0)
