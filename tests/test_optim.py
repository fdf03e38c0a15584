"""The optimiser against its definition, and the schedules at selected steps."""

import numpy as np
import pytest

from se_numpy.optim import SCHEDULES, SGD, constant, cosine, one_cycle, step


@pytest.mark.parametrize("nesterov", [True, False])
@pytest.mark.parametrize("weight_decay", [0.0, 0.01])
def test_sgd_follows_its_definition(nesterov, weight_decay):
    rng = np.random.default_rng(0)
    w, v = rng.standard_normal(11), np.zeros(11)
    expected_w, expected_v = w.copy(), v.copy()
    sgd = SGD(momentum=0.8, weight_decay=weight_decay, nesterov=nesterov)
    for lr in (0.1, 0.05, 0.2):
        g = rng.standard_normal(11)
        decayed = g + weight_decay * expected_w
        expected_v = 0.8 * expected_v + decayed
        expected_w = expected_w - lr * (decayed + 0.8 * expected_v if nesterov else expected_v)
        sgd.step(w, g.copy(), v, lr)
        np.testing.assert_allclose(w, expected_w, rtol=1e-12)
        np.testing.assert_allclose(v, expected_v, rtol=1e-12)


def test_sgd_minimises_a_quadratic():
    w, v = np.full(3, 5.0), np.zeros(3)
    for _ in range(200):
        SGD().step(w, w.copy(), v, 0.05)
    assert abs(w).max() < 1e-3


def test_sgd_keeps_float32():
    w, g, v = (np.ones(4, np.float32) for _ in range(3))
    SGD(weight_decay=5e-4).step(w, g, v, 0.1)
    assert w.dtype == v.dtype == np.float32


def test_sgd_refuses_vectors_of_different_sizes():
    with pytest.raises(ValueError, match="expected equal shapes"):
        SGD().step(np.ones(3), np.ones(4), np.ones(3), 0.1)


def test_schedules_at_selected_steps():
    assert cosine(0.4, 100)(0) == 0.4
    np.testing.assert_allclose(cosine(0.4, 100)(50), 0.2)
    assert cosine(0.4, 100)(99) < 0.4 / 1000
    assert [round(step(0.4, 100)(at), 6) for at in (0, 49, 50, 75)] == [0.4, 0.4, 0.04, 0.004]
    rates = [one_cycle(0.4, 100)(at) for at in range(100)]
    assert max(rates) == rates[25] == 0.4
    np.testing.assert_allclose(rates[0], 0.4 / 25)
    assert 0 < rates[99] < 0.01
    np.testing.assert_allclose(np.diff(rates, 2)[[3, 60]], 0, atol=1e-12)  # linear up and down


@pytest.mark.parametrize("name", SCHEDULES)
@pytest.mark.parametrize("steps", [1, 2, 7])
def test_schedules_of_few_steps_are_positive_and_at_most_lr(name, steps):
    rates = [SCHEDULES[name](0.4, steps)(at) for at in range(steps)]
    assert all(0 < rate <= 0.4 + 1e-12 for rate in rates)


@pytest.mark.parametrize("name", SCHEDULES)
@pytest.mark.parametrize("steps", [1, 10, np.int64(7)])
def test_a_schedule_is_constant_after_its_last_step(name, steps):
    schedule = SCHEDULES[name](0.1, steps)
    last = schedule(steps - 1)
    assert last > 0
    assert [schedule(at) for at in (steps, steps + 5, 100 * steps)] == [last] * 3


@pytest.mark.parametrize("name", SCHEDULES)
@pytest.mark.parametrize(
    ("lr", "steps", "message"),
    [
        (0.1, 0, "steps is 0; expected a whole number, at least 1"),
        (0.1, -3, "steps is -3; expected a whole number, at least 1"),
        (0.1, 2.5, "steps is 2.5; expected a whole number"),
        (0.1, None, "steps is None; expected a whole number"),
        (-0.1, 10, "lr is -0.1; expected a number, at least 0"),
        (np.nan, 10, "lr is nan; expected a number, at least 0"),
        (np.inf, 10, "lr is inf; expected a number, at least 0"),
        ("0.1", 10, "lr is '0.1'; expected a number"),
    ],
)
def test_a_schedule_refuses_invalid_arguments(name, lr, steps, message):
    with pytest.raises((TypeError, ValueError), match=message):
        SCHEDULES[name](lr, steps)


@pytest.mark.parametrize("name", SCHEDULES)
@pytest.mark.parametrize("at", [-1, 1.5, "3", None])
def test_a_schedule_refuses_invalid_steps(name, at):
    with pytest.raises((TypeError, ValueError), match=f"step is {at!r}; expected a whole number, at least 0"):
        SCHEDULES[name](0.1, 10)(at)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: one_cycle(0.1, 10, warmup=1.5), "warmup is 1.5; expected a number, at least 0 and at most 1"),
        (lambda: one_cycle(0.1, 10, warmup=-0.1), "warmup is -0.1"),
        (lambda: step(0.1, 10, factor=-1), "factor is -1"),
        (lambda: step(0.1, 10, milestones=(0.5, -0.1)), r"milestones\[1\] is -0.1"),
        (lambda: constant(0.1, True)(10) and constant(np.array([1.0, 2.0]), 10), "lr is array.*; expected a number"),
    ],
)
def test_invalid_settings_of_a_schedule_are_refused(make, message):
    with pytest.raises((TypeError, ValueError), match=message):
        make()
