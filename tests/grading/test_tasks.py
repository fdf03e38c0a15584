"""The tasks: the cases that they draw, and the derivatives that backward oracles compute.

`se-numpy verify-task` checks that correct code passes and that every mistake is caught (test_course.py).
"""

import numpy as np
import pytest

from se_numpy import ops, se
from se_numpy.gradcheck import check_backward
from se_numpy.grading.tasks import all_tasks, network

TASKS = list(all_tasks().values())
SEEDS = range(2)

each = pytest.mark.parametrize("task", TASKS, ids=[task.name for task in TASKS])
differentiated = pytest.mark.parametrize("task", [t for t in TASKS if t.forward], ids=lambda task: task.name)


@each
def test_form(task):
    assert len(task.mistakes) >= 6
    assert len(task.alternates) >= 3
    assert task.oracle not in task.alternates
    assert task.written is None or task.written in task.alternates
    names = [m.name for m in task.mistakes]
    assert len(set(names)) == len(names)
    assert len({m.text for m in task.mistakes}) == len(names)
    for m in task.mistakes:
        assert m.text.endswith(".")
    kinds = {case.kind for case in task.cases(0)}
    assert "special" in kinds


@each
def test_sizes_of_outputs(task):
    """Outputs are finite and not all 0, and have the shapes given in ``axes``."""
    for seed in SEEDS:
        for case in task.cases(seed, number=6):
            right = task.answer(case)
            assert len(right) == len(task.outputs)
            for name, array in zip(task.outputs, right, strict=True):
                assert array.shape == tuple(int(a) if a.isdigit() else case.sizes[a] for a in task.letters(name) or ())
                assert np.isfinite(array).all()
                assert array.dtype == np.float64
                if case.kind == "random":
                    assert np.abs(array).max() > 1e-3, (case.name, name, case.sizes)


@differentiated
def test_gradient(task):
    for case in task.cases(0, number=6):
        if case.kind != "extreme" and case.name != "some zeros":  # ReLU has no derivative at 0
            check_backward(task.forward, task.oracle, *list(case.arguments.values())[1:], **case.hyper)


def named(name):
    return next(task for task in TASKS if task.name == name)


def test_batch_norm_backward():
    """mean and var depend on x, so this is the gradient of batch_norm as a whole."""
    task, forward = named("batch_norm_backward"), named("batch_norm").oracle

    def backward(dy, x, gamma, beta, eps):
        return task.oracle(dy, x, *ops.batch_statistics(x), gamma, eps=eps)

    for case in task.cases(0, number=6):
        _, x, mean, var, gamma = case.arguments.values()
        np.testing.assert_allclose(mean, x.mean((0, 1, 2)), rtol=1e-14)
        np.testing.assert_allclose(var, x.var((0, 1, 2)), rtol=1e-14)
        if case.kind != "extreme":
            check_backward(forward, backward, x, gamma, 0 * gamma, **case.hyper)


@pytest.mark.parametrize("name", ["conv2d", "conv2d_backward"])
def test_every_seed_draws_the_common_convolutions(name):
    common = {(1, 1, 0), (1, 2, 0), (2, 2, 0), (3, 1, 0), (3, 1, 1), (3, 2, 1), (5, 1, 2)}
    for seed in range(5):
        hyper = [(case.arguments, case.hyper) for case in all_tasks()[name].cases(seed)]
        drawn = {(len(arguments["V"]), of["stride"], of["padding"]) for arguments, of in hyper}
        assert common <= drawn


def test_se_resnet_step():
    """The parameters change by lr times the gradient of the loss, which is computed from the output of the block."""
    task, block = named("se_resnet_step"), named("residual_block").oracle
    for case in task.cases(0, number=2):
        X, labels, *parameters = case.arguments.values()
        lr = case.hyper["lr"]

        def loss(*p, X=X, labels=labels):
            return ops.softmax_cross_entropy(ops.linear(se.squeeze(block(X, *p[:8])), *p[8:]), labels)

        def backward(dL, *p, X=X, labels=labels, lr=lr):
            after = task.oracle(X, labels, *p, lr=lr)[1:]
            return tuple(dL * (a - b) / lr for a, b in zip(p, after, strict=True))

        assert np.isclose(task.oracle(X, labels, *parameters, lr=lr)[0], loss(*parameters))
        check_backward(loss, backward, *parameters)


def test_relu_gradient_at_zero():
    """The oracle and the alternates return 0 at x = 0; a case tests it and the hint says so."""
    task = named("relu_backward")
    (case,) = (case for case in task.cases(0) if (case.arguments["x"] == 0).any())
    zero = case.arguments["x"] == 0
    assert np.abs(case.arguments["dy"][zero]).min() > 1e-3
    for function in (task.oracle, *task.alternates):
        assert not task.answer(case, function)[0][zero].any()
    assert "At 0" in task.hint


def test_no_equal_maxima():
    sizes = {"N": 2, "P": 3, "Q": 3, "C": 2, "kernel": 2, "stride": 1}
    case = named("max_pool2d_backward").case("equal", "random", sizes, lambda kind, shape, sizes: np.ones(shape))
    assert len(np.unique(case.arguments["x"])) == case.arguments["x"].size


def test_training_step_stays_away_from_kinks():
    sizes = {"N": 2, "H": 2, "W": 2, "C": 2, "R": 2, "K": 2, "lr": 1.0}

    def zeros_of(kind, shape, sizes):
        return np.zeros(shape, int if kind == "labels" else float)

    cases = [named("se_resnet_step").case("zeros", "random", sizes, zeros_of), *named("se_resnet_step").cases(0)]
    for case in cases:
        a = case.arguments
        names = ("X", "V1", "gamma1", "beta1", "V2", "gamma2", "beta2", "W1", "W2")
        t = network._forward(network.SimpleNamespace(**network.PARTS), *(a[name] for name in names))
        hidden = se.squeeze(t.A2) @ a["W1"].T
        assert min(np.abs(x).min() for x in (t.A1, t.S)) > 1e-3, case.name
        assert np.abs(hidden).min() > 1e-3, case.name
        assert case is cases[0] or hidden[:, 0].mean() > 0


@each
def test_inputs_are_unchanged(task):
    """Oracles neither modify their arguments nor return views of them."""
    for case in task.cases(0, number=2):
        before = {n: np.copy(a) for n, a in case.arguments.items()}
        found = task.oracle(*case.arguments.values(), **case.hyper)
        for name, array in case.arguments.items():
            np.testing.assert_array_equal(array, before[name])
        for part in found if isinstance(found, tuple) else (found,):
            assert not any(np.shares_memory(part, a) for a in case.arguments.values() if isinstance(a, np.ndarray))
