"""Other gates in the place of a network's own: the layer that takes them, who gets whose, and what is counted."""

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


def test_without_numbers_the_gates_are_open():
    params, _ = init(serial(GivenGates()), (4, 5, 3), np.random.default_rng(0))
    assert params["givengates1"]["s"].tolist() == [1, 1, 1]


def test_a_network_with_its_own_gates_answers_as_ever(monkeypatch):
    monkeypatch.setattr(interventions, "BATCH", 16)
    network, seen, told = a_resnet(), pictures(), []
    recorded = gates.record(network, seen)
    assert len(set(recorded.answers.tolist())) > 2
    assert (run_with(network, seen, recorded.gates, told.append) == recorded.answers).all()
    assert told == [16, 16, 8]
    one = next(iter(recorded.gates))
    assert (run_with(network, seen, {one: recorded.gates[one]}) == recorded.answers).all()


def test_open_gates_are_the_network_without_the_block():
    network, seen = a_resnet(), pictures()
    s = gates.record(network, seen).gates
    bare = with_layers(network.net, dict.fromkeys(s, serial()))
    logits, _ = bare.forward(network.params, network.state, network.normalise(seen))
    answers = run_with(network, seen, {name: np.ones_like(g) for name, g in s.items()})
    assert (answers == logits.argmax(1)).all()
    assert (answers != gates.record(network, seen).answers).any()


def test_each_image_gets_the_gates_meant_for_it():
    network, seen = small(), images(30)
    recorded = gates.record(network, seen)
    donor = donors(np.zeros(30, int), np.random.default_rng(0))
    answers = run_with(network, seen, {"se": recorded.gates["se"][donor]})
    by_hand = []
    for n in range(30):
        U, _ = dict(network.net.parts)["conv"].forward(network.params["conv"], {}, network.normalise(seen[n : n + 1]))
        X = se.scale(U, recorded.gates["se"][donor[n : n + 1]])
        rest = serial(**dict(network.net.parts[2:]))
        by_hand.append(rest.forward(network.params, network.state, X)[0].argmax(1)[0])
    assert answers.tolist() == by_hand
    assert by_hand != recorded.answers.tolist()


@pytest.mark.parametrize(("name", "meant"), [
    ("stage1", "stage1.block1.unit.branch.se1"),  # what people call it; a unit stands there, or a whole stage
    ("stage2.block1", "stage2.block1.unit.branch.se1"),
    ("stage2.block1.unit.branch.se2", "stage2.block1.unit.branch.se1"),
    ("conv", "stage"),
])  # fmt: skip
def test_a_name_that_is_no_block_is_refused_with_one_that_is(name, meant):
    network, seen = a_resnet(), pictures(6)
    with pytest.raises(ValueError, match=rf"no SE block '{name}'; expected a name out of .*, as '{meant}"):
        run_with(network, seen, {name: np.ones((6, 16), np.float32)})


@pytest.mark.parametrize("shape", [(1, 6), (6,), (30, 1), (30, 3), (6, 30), (31, 6)])
@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.int64])
def test_gates_of_another_shape_are_refused_whatever_their_dtype(shape, dtype):
    name = np.dtype(dtype).name
    words = f"the gates of se have shape {shape}, dtype {name}; expected numbers (N, C) = (30, 6)"
    with pytest.raises(ValueError, match=f"^{re.escape(words)}$"):
        run_with(small(), images(30), {"se": np.ones(shape, dtype)})


def test_gates_that_are_no_real_numbers_are_refused():
    for dtype in (complex, "U1", object):
        with pytest.raises(ValueError, match=r"the gates of se have shape \(30, 6\), dtype .*; expected numbers"):
            run_with(small(), images(30), {"se": np.ones((30, 6)).astype(dtype)})


@pytest.mark.parametrize("dtype", [np.float64, np.float16, int, bool])
def test_gates_of_another_dtype_are_those_of_the_network(dtype):
    network, seen = small(), images(30)
    s = np.random.default_rng(0).integers(0, 2, (30, 6))  # shut or open: the same numbers in every dtype
    answers = run_with(network, seen, {"se": s.astype(np.float32)})
    assert len(set(answers.tolist())) > 1
    assert (run_with(network, seen, {"se": s.astype(dtype)}) == answers).all()
    assert (run_with(network, seen, {"se": s.astype(dtype).tolist()}) == answers).all()


def test_nobody_is_their_own_donor_and_groups_keep_to_themselves():
    of = np.random.default_rng(0).integers(0, 3, 50)
    donor = donors(of, np.random.default_rng(1))
    assert sorted(donor) == list(range(50))
    assert (donor != np.arange(50)).all()
    assert (of[donor] == of).all()
    assert donors(np.array([0, 1, 1]), np.random.default_rng(0)).tolist() == [0, 2, 1]
    assert (donors(of, np.random.default_rng(2)) != donor).any()


def test_given_gates_are_what_their_names_say():
    s = np.random.default_rng(0).random((8, 3)).astype(np.float32)
    groups = gates.grouped("class", ("a", "b"), np.array([0, 1, 1, 0, 1, 0, 1, 1]))
    takes = interventions.all_donors((groups,), 8)
    given = interventions.given(s, (groups,), takes)
    assert list(given) == interventions.kinds((groups,)) == ["one", "mean", "class mean", "shuffled", "within class"]
    assert (given["one"] == 1).all()
    assert np.allclose(given["mean"], s.mean(0))
    for n in range(8):
        assert np.allclose(given["class mean"][n], s[groups.of == groups.of[n]].mean(0))
        assert (given["shuffled"][n] == s[takes["shuffled"][n]]).all()
        assert (given["within class"][n] == s[takes["within class"][n]]).all()
    assert {g.dtype for g in given.values()} == {np.dtype("float32")}


def test_every_kind_in_every_block_and_then_in_all():
    network, seen = small(), images(20)
    labels = np.arange(20) % 4
    groups = (gates.grouped("class", network.classes, labels),)
    recorded = gates.record(network, seen)
    told = []
    outcomes = list(interventions.intervene(
        network, seen, labels, recorded, groups, interventions.all_donors(groups, 20), told.append))  # fmt: skip
    kinds = interventions.kinds(groups)
    assert [(o.block, o.kind) for o in outcomes] == [(b, k) for b in ("se", "unit.branch.se", ALL) for k in kinds]
    assert sum(told) == 20 * len(outcomes)
    for o in outcomes:
        assert o.accuracy == (o.answers == labels).mean()
        assert o.cost == pytest.approx((recorded.answers == labels).mean() - o.accuracy)
    together = next(o for o in outcomes if (o.block, o.kind) == (ALL, "one"))
    both = run_with(network, seen, {name: np.ones_like(s) for name, s in recorded.gates.items()})
    assert (together.answers == both).all()


def test_the_cost_is_counted_on_the_same_images():
    before = np.array([True] * 90 + [False] * 10)
    after = np.array([True] * 60 + [False] * 35 + [True] * 5)
    lost, low, high = cost(before, after)
    assert lost == pytest.approx(0.25)
    n, b, c = 102, 30.5, 5.5  # Agresti and Min's, by hand
    half = 1.96 * np.sqrt((b + c) / n - ((b - c) / n) ** 2) / np.sqrt(n)
    assert (low, high) == pytest.approx(((b - c) / n - half, (b - c) / n + half))
    assert cost(after, before)[0] == -lost
    none, low, high = cost(before, before)
    assert none == 0
    assert low == -high < 0


def test_the_interval_holds_the_truth_as_often_as_it_says():
    rng = np.random.default_rng(0)
    held = 0
    for _ in range(2000):
        u = rng.random(200)
        before, after = u < 0.9, (u > 0.06) & (u < 0.92)  # loses 6 points, wins 2
        _, low, high = cost(before, after)
        held += low <= 0.04 <= high
    assert 0.93 < held / 2000 < 0.975
