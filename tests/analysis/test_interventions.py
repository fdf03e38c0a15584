"""Tests of the interventions on gates: the layer with given gates, the donors, and the cost with its interval."""

import re

import numpy as np
import pytest
from specimens import a_resnet, images, pictures, small

from se_numpy import se
from se_numpy.analysis import gates, interventions
from se_numpy.analysis.interventions import ALL, GivenGates, cost, donors, run_with
from se_numpy.analysis.network import with_layers
from se_numpy.layers import init, serial


@pytest.mark.parametrize("shape", [(6,), (3, 6)])
def test_given_gates_have_the_gradient_of_a_product(shape):
    rng = np.random.default_rng(0)
    X, s, dY = rng.random((3, 5, 4, 6)), rng.random(shape), rng.standard_normal((3, 5, 4, 6))
    dX_, ds_ = rng.standard_normal(X.shape), rng.standard_normal(shape)

    def along(t):
        return (GivenGates().forward({"s": s + t * ds_}, {}, X + t * dX_)[0] * dY).sum()

    Y, cache = GivenGates().forward({"s": s}, {}, X)
    assert np.allclose(Y, X * (s[:, None, None] if len(shape) == 2 else s))
    dX, grads = GivenGates().backward({"s": s}, cache, dY)
    assert grads["s"].shape == shape
    slope = (along(1e-5) - along(-1e-5)) / 2e-5
    assert (dX * dX_).sum() + (grads["s"] * ds_).sum() == pytest.approx(slope, rel=1e-7)


def test_given_gates_are_initialised_to_one():
    params, _ = init(serial(GivenGates()), (4, 5, 3), np.random.default_rng(0))
    assert params["givengates1"]["s"].tolist() == [1, 1, 1]


def test_a_networks_own_gates_leave_its_answers_unchanged(monkeypatch):
    monkeypatch.setattr(interventions, "BATCH", 16)
    network, seen, sizes = a_resnet(), pictures(), []
    recorded = gates.record(network, seen)
    assert len(set(recorded.answers.tolist())) > 2
    assert (run_with(network, seen, recorded.gates, sizes.append) == recorded.answers).all()
    assert sizes == [16, 16, 8]
    one = next(iter(recorded.gates))
    assert (run_with(network, seen, {one: recorded.gates[one]}) == recorded.answers).all()


def test_gates_of_one_equal_the_network_without_its_blocks():
    network, seen = a_resnet(), pictures()
    s = gates.record(network, seen).gates
    bare = with_layers(network.net, dict.fromkeys(s, serial()))
    logits, _ = bare.forward(network.params, network.state, network.normalise(seen))
    answers = run_with(network, seen, {name: np.ones_like(g) for name, g in s.items()})
    assert (answers == logits.argmax(1)).all()
    assert (answers != gates.record(network, seen).answers).any()


def test_each_image_gets_its_own_given_gates():
    network, seen = small(), images(30)
    recorded = gates.record(network, seen)
    donor = donors(np.zeros(30, int), np.random.default_rng(0))
    answers = run_with(network, seen, {"se": recorded.gates["se"][donor]})
    expected = []
    for n in range(30):
        U, _ = dict(network.net.parts)["conv"].forward(network.params["conv"], {}, network.normalise(seen[n : n + 1]))
        X = se.scale(U, recorded.gates["se"][donor[n : n + 1]])
        rest = serial(**dict(network.net.parts[2:]))
        expected.append(rest.forward(network.params, network.state, X)[0].argmax(1)[0])
    assert answers.tolist() == expected
    assert expected != recorded.answers.tolist()


@pytest.mark.parametrize(("name", "suggestion"), [
    ("stage1", "stage1.block1.unit.branch.se1"),  # a short name is also the name of a whole stage
    ("stage2.block1", "stage2.block1.unit.branch.se1"),
    ("stage2.block1.unit.branch.se2", "stage2.block1.unit.branch.se1"),
    ("conv", "stage"),
])  # fmt: skip
def test_an_unknown_block_is_refused_with_a_suggestion(name, suggestion):
    network, seen = a_resnet(), pictures(6)
    with pytest.raises(ValueError, match=rf"no SE block '{name}'; expected a name from .*, such as '{suggestion}"):
        run_with(network, seen, {name: np.ones((6, 16), np.float32)})


@pytest.mark.parametrize("shape", [(1, 6), (6,), (30, 1), (30, 3), (6, 30), (31, 6)])
@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.int64])
def test_gates_of_another_shape_are_refused(shape, dtype):
    name = np.dtype(dtype).name
    message = f"the gates of se have shape {shape}, dtype {name}; expected real numbers of shape (N, C) = (30, 6)"
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        run_with(small(), images(30), {"se": np.ones(shape, dtype)})


def test_gates_that_are_not_real_numbers_are_refused():
    for dtype in (complex, "U1", object):
        with pytest.raises(ValueError, match=r"the gates of se have shape \(30, 6\), dtype .*; expected real numbers"):
            run_with(small(), images(30), {"se": np.ones((30, 6)).astype(dtype)})


@pytest.mark.parametrize("dtype", [np.float64, np.float16, int, bool])
def test_gates_of_any_real_dtype_give_the_same_answers(dtype):
    network, seen = small(), images(30)
    s = np.random.default_rng(0).integers(0, 2, (30, 6))  # 0 or 1: the same numbers in every dtype
    answers = run_with(network, seen, {"se": s.astype(np.float32)})
    assert len(set(answers.tolist())) > 1
    assert (run_with(network, seen, {"se": s.astype(dtype)}) == answers).all()
    assert (run_with(network, seen, {"se": s.astype(dtype).tolist()}) == answers).all()


def test_donors_differ_from_their_image_and_share_its_group():
    of = np.random.default_rng(0).integers(0, 3, 50)
    donor = donors(of, np.random.default_rng(1))
    assert sorted(donor) == list(range(50))
    assert (donor != np.arange(50)).all()
    assert (of[donor] == of).all()
    assert donors(np.array([0, 1, 1]), np.random.default_rng(0)).tolist() == [0, 2, 1]
    assert (donors(of, np.random.default_rng(2)) != donor).any()


def test_replacement_gates_match_their_names():
    s = np.random.default_rng(0).random((8, 3)).astype(np.float32)
    groups = gates.grouped("class", ("a", "b"), np.array([0, 1, 1, 0, 1, 0, 1, 1]))
    donor_of = interventions.all_donors((groups,), 8)
    given = interventions.replacements(s, (groups,), donor_of)
    assert list(given) == interventions.kinds((groups,)) == ["one", "mean", "class mean", "shuffled", "within class"]
    assert (given["one"] == 1).all()
    assert np.allclose(given["mean"], s.mean(0))
    for n in range(8):
        assert np.allclose(given["class mean"][n], s[groups.of == groups.of[n]].mean(0))
        assert (given["shuffled"][n] == s[donor_of["shuffled"][n]]).all()
        assert (given["within class"][n] == s[donor_of["within class"][n]]).all()
    assert {g.dtype for g in given.values()} == {np.dtype("float32")}


def test_every_intervention_runs_in_every_block_and_in_all_blocks():
    network, seen = small(), images(20)
    labels = np.arange(20) % 4
    groups = (gates.grouped("class", network.classes, labels),)
    recorded = gates.record(network, seen)
    sizes = []
    outcomes = list(interventions.intervene(
        network, seen, labels, recorded, groups, interventions.all_donors(groups, 20), sizes.append))  # fmt: skip
    kinds = interventions.kinds(groups)
    assert [(o.block, o.kind) for o in outcomes] == [(b, k) for b in ("se", "unit.branch.se", ALL) for k in kinds]
    assert sum(sizes) == 20 * len(outcomes)
    for o in outcomes:
        assert o.accuracy == (o.answers == labels).mean()
        assert o.cost == pytest.approx((recorded.answers == labels).mean() - o.accuracy)
    in_all = next(o for o in outcomes if (o.block, o.kind) == (ALL, "one"))
    both = run_with(network, seen, {name: np.ones_like(s) for name, s in recorded.gates.items()})
    assert (in_all.answers == both).all()


def test_the_cost_is_paired_over_the_images():
    before = np.array([True] * 90 + [False] * 10)
    after = np.array([True] * 60 + [False] * 35 + [True] * 5)
    lost, low, high = cost(before, after)
    assert lost == pytest.approx(0.25)
    n, b, c = 102, 30.5, 5.5  # the adjusted counts of Agresti and Min
    half = 1.96 * np.sqrt((b + c) / n - ((b - c) / n) ** 2) / np.sqrt(n)
    assert (low, high) == pytest.approx(((b - c) / n - half, (b - c) / n + half))
    assert cost(after, before)[0] == -lost
    none, low, high = cost(before, before)
    assert none == 0
    assert low == -high < 0


def test_the_interval_covers_the_true_cost_95_percent_of_the_time():
    rng = np.random.default_rng(0)
    held = 0
    for _ in range(2000):
        u = rng.random(200)
        before, after = u < 0.9, (u > 0.06) & (u < 0.92)  # loses 6 points, gains 2
        _, low, high = cost(before, after)
        held += low <= 0.04 <= high
    assert 0.93 < held / 2000 < 0.975
