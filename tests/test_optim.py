"""The optimiser against its definition, and the schedules at selected steps."""

import numpy as np
import pytest

from se_numpy.optim import EMA, SCHEDULES, SGD, AdamW, clip_by_norm, constant, cosine, one_cycle, step


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


class Peer:
    """PyTorch's network x -> W x + b in float64, with the same parameters in one vector, and its gradients."""

    def __init__(self):
        self.torch = pytest.importorskip("torch")
        self.torch.manual_seed(0)
        self.module = self.torch.nn.Linear(7, 5).double()
        self.rng = np.random.default_rng(0)

    @property
    def w(self):
        return self.torch.nn.utils.parameters_to_vector(self.module.parameters()).detach().numpy().copy()

    def gradient(self, scale=1.0):
        """Draw a gradient, hand it to the module, and return it as one vector."""
        for p in self.module.parameters():
            p.grad = self.torch.from_numpy(scale * self.rng.standard_normal(tuple(p.shape)))
        return np.concatenate([p.grad.numpy().ravel() for p in self.module.parameters()])


@pytest.mark.parametrize("settings", [{}, {"beta1": 0.8, "beta2": 0.95, "eps": 1e-3, "weight_decay": 0.1}])
def test_adamw_equals_pytorch_over_50_steps(settings):
    peer, ours = Peer(), AdamW(**settings)
    theirs = peer.torch.optim.AdamW(
        peer.module.parameters(), betas=(ours.beta1, ours.beta2), eps=ours.eps, weight_decay=ours.weight_decay
    )
    w = peer.w
    v, s = np.zeros((2, len(w)))
    for t in range(1, 51):
        theirs.param_groups[0]["lr"] = 0.1 / t
        ours.step(w, peer.gradient(), v, 0.1 / t, s=s, t=t)
        theirs.step()
        np.testing.assert_allclose(w, peer.w, rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("most", [0.5, 6.0, 1e9])
def test_clipping_equals_pytorch_over_50_steps(most):
    """The norms are about 6, so that no, some or all gradients are clipped."""
    peer, sgd = Peer(), SGD()
    theirs = peer.torch.optim.SGD(peer.module.parameters(), lr=0.1, momentum=0.9, nesterov=True)
    w = peer.w
    v = np.zeros(len(w))
    for _ in range(50):
        g = peer.gradient()
        clip_by_norm(g, most)
        peer.torch.nn.utils.clip_grad_norm_(peer.module.parameters(), most)
        sgd.step(w, g, v, 0.1)
        theirs.step()
        np.testing.assert_allclose(w, peer.w, rtol=1e-12, atol=1e-14)


def test_ema_equals_pytorch_over_50_steps():
    """PyTorch's AveragedModel, with running statistics, and with the decay of EMA after n updates."""
    torch = pytest.importorskip("torch")
    torch.manual_seed(0)
    module = torch.nn.Sequential(torch.nn.Linear(4, 3), torch.nn.BatchNorm1d(3)).double()

    def mix(average, now, n):
        decay = min(0.9, (1 + int(n)) / (10 + int(n))) if average.is_floating_point() else 0
        return decay * average + (1 - decay) * now

    theirs = torch.optim.swa_utils.AveragedModel(module, avg_fn=mix, use_buffers=True)
    sgd, ema, average = torch.optim.SGD(module.parameters(), lr=0.1), EMA(0.9), np.full(27, 99.0)

    def vectors(model):
        buffers = [b.numpy() for b in model.buffers() if b.is_floating_point() and b.ndim]
        return np.concatenate([p.detach().numpy().ravel() for p in model.parameters()]), np.concatenate(buffers)

    for n in range(50):
        sgd.zero_grad()
        (module(torch.randn(8, 4, dtype=torch.float64)) - 1).square().mean().backward()
        sgd.step()
        theirs.update_parameters(module)
        ema.step(average[:27], *vectors(module), n)
        np.testing.assert_allclose(average, np.concatenate(vectors(theirs.module)), rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("optimiser", [SGD(weight_decay=0.1), SGD(nesterov=False), AdamW()])
def test_rates_multiply_the_learning_rate(optimiser):
    """Parameters of rate 0 stay as they are; the others move as with the product as their learning rate."""
    rng = np.random.default_rng(0)
    w, g = rng.standard_normal((2, 6))
    rates = np.array([0, 0, 0.5, 0.5, 1, 1])
    found = [w.copy() for _ in range(4)]
    memory = {"s": np.ones(6), "t": 3} if isinstance(optimiser, AdamW) else {}
    for x, lr, more in zip(found, (0.3, 0.15, 0.3), ({}, {}, {"rates": rates}), strict=False):
        own = {k: v.copy() if k == "s" else v for k, v in memory.items()}
        optimiser.step(x, g.copy(), np.ones(6), lr, **own, **more)
    full, half, mixed, start = found
    np.testing.assert_array_equal(mixed[:2], start[:2])
    np.testing.assert_allclose(mixed[2:4], half[2:4], rtol=1e-15)
    np.testing.assert_allclose(mixed[4:], full[4:], rtol=1e-15)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: AdamW(beta2=1.0), "beta2 of AdamW is 1.0; expected a number, at least 0 and less than 1"),
        (lambda: AdamW(eps=-1), "eps of AdamW is -1"),
        (lambda: EMA("0.9"), "decay of EMA is '0.9'; expected a number, at least 0 and less than 1"),
        (lambda: clip_by_norm(np.ones(3), 0), "the largest norm of the gradient is 0; expected a number above 0"),
        (lambda: AdamW().step(*np.ones((3, 4)), 0.1, s=np.ones(3), t=1), "w, g, v, s have shapes .* equal shapes"),
        (lambda: AdamW().step(*np.ones((3, 4)), 0.1, s=np.ones(4), t=0), "t is 0; expected a whole number, at least 1"),
        (lambda: SGD().step(*np.ones((3, 4)), 0.1, rates=np.ones(3)), "w, g, v, rates have shapes"),
        (lambda: EMA().step(np.ones(4), np.ones(3), np.ones(3), 0), "average has 4 elements; expected .* 6"),
    ],
)
def test_invalid_arguments_of_an_optimiser_are_refused(make, message):
    with pytest.raises(ValueError, match=message):
        make()


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
