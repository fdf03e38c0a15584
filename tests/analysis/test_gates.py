"""Tests of recorded gates and their statistics: against the equations and against plain loops."""

import numpy as np
import pytest
from specimens import images, small

from se_numpy import excite, squeeze
from se_numpy.analysis import gates
from se_numpy.analysis.network import short_names, with_layers, with_numbers
from se_numpy.layers import ReLU
from se_numpy.ops import conv2d


def test_recorded_gates_equal_those_of_the_equation():
    network, seen = small(), images()
    sizes = []
    recorded = gates.record(network, seen, sizes.append)
    assert sizes == [64, 6]
    assert list(recorded.gates) == ["se", "unit.branch.se"] == list(network.blocks)
    U = conv2d(network.normalise(seen), network.params["conv"]["V"], padding=1)
    s = excite(squeeze(U), **network.params["se"])
    assert np.allclose(recorded.gates["se"], s, atol=1e-5)
    assert s.std(0).max() > 0.05
    logits, _ = network.net.forward(network.params, network.state, network.normalise(seen))
    assert (recorded.answers == logits.argmax(1)).all()


def test_replacing_a_layer_leaves_the_original_unchanged():
    net = small().net
    copied = with_layers(net, {"unit.branch.se": ReLU()})
    assert dict(dict(copied.parts)["unit"].parts)["branch"].parts[1] == ("se", ReLU())
    assert net == small().net
    with pytest.raises(KeyError, match=r"unit\.se"):
        with_layers(net, {"unit.se": ReLU()})


def test_replacing_parameters_shares_the_rest():
    params = small().params
    copied = with_numbers(params, {"unit.branch.se": {"s": 1}, "new.one": {"t": 2}})
    assert copied["unit"]["branch"]["se"] == {"s": 1}
    assert copied["new"]["one"] == {"t": 2}
    assert copied["unit"]["branch"]["conv"] is params["unit"]["branch"]["conv"]
    assert "W1" in params["unit"]["branch"]["se"]


def test_short_names_drop_the_common_ending():
    assert short_names(["a.b.se", "c.b.se"]) == {"a.b.se": "a", "c.b.se": "c"}
    assert short_names(["a.se1", "a.se2"]) == {"a.se1": "a.se1", "a.se2": "a.se2"}
    assert short_names(["a.b.se"]) == {"a.b.se": "a.b.se"}


def random_gates(n=40, C=3, K=4, seed=0):
    rng = np.random.default_rng(seed)
    of = rng.permutation(np.arange(n) % (K - 1))  # the groups have different sizes
    of[:2] = K - 1
    return rng.random((n, C)), gates.grouped("class", tuple("wxyz"[:K]), of)


def test_group_means_and_standard_deviations_equal_those_of_plain_loops():
    s, groups = random_gates()
    for k in range(4):
        mine = s[groups.of == k]
        assert groups.counts[k] == len(mine)
        assert np.allclose(gates.group_means(s, groups)[k], mine.mean(0))
        assert np.allclose(gates.group_stds(s, groups)[k], mine.std(0))


def test_groups_without_images_are_left_out():
    groups = gates.grouped("class", ("a", "b", "c"), np.array([2, 0, 2]))
    assert groups.names == ("a", "c")
    assert groups.of.tolist() == [1, 0, 1]


def test_the_share_between_groups_is_one_minus_the_share_within():
    s, groups = random_gates()
    within = sum(((s[groups.of == k] - s[groups.of == k].mean(0)) ** 2).sum() for k in range(4))
    assert gates.share_between(s, groups) == pytest.approx(1 - within / ((s - s.mean(0)) ** 2).sum())


def test_the_share_is_one_for_gates_set_by_the_group_and_chance_for_random_gates():
    _, groups = random_gates(n=60)
    rng = np.random.default_rng(0)
    assert gates.share_between(rng.random((4, 3))[groups.of], groups) == pytest.approx(1)
    random = [gates.share_between(rng.random((60, 3)), groups) for _ in range(300)]
    assert np.mean(random) == pytest.approx(groups.chance, rel=0.1)
    assert groups.chance == pytest.approx(3 / 59)
    assert gates.share_between(np.full((60, 3), 0.3, np.float32), groups) == 0


def test_only_gates_that_depend_on_the_group_predict_it():
    rng = np.random.default_rng(0)
    groups = gates.grouped("class", tuple("abc"), np.arange(300) % 3)
    s = np.eye(3)[groups.of] * 0.5 + 0.02 * rng.standard_normal((300, 3))
    assert gates.named_by(s, groups) == 1
    assert gates.named_by(rng.random((300, 3)), groups) == pytest.approx(1 / 3, abs=0.1)
    single = gates.grouped("class", tuple("ab"), np.array([0, 0, 0, 1]))  # one half holds no image of group b
    assert gates.named_by(np.array([[0.1], [0.1], [0.1], [0.9]]), single) == 0.75


def test_a_noisy_channel_does_not_hide_a_small_informative_one():
    rng = np.random.default_rng(0)
    groups = gates.grouped("class", tuple("ab"), np.arange(400) // 2 % 2)
    s = np.stack([0.5 + 0.01 * groups.of + 0.001 * rng.standard_normal(400), rng.random(400)], axis=1)
    assert gates.named_by(s, groups) > 0.95


def test_a_summary_counts_gates_beyond_the_limits():
    s = np.array([[0.04, 0.5], [0.96, 0.5], [0.05, 0.5], [0.95, 1.0]])
    classes = gates.grouped("class", ("a", "b"), np.array([0, 0, 1, 1]))
    summary = gates.summarize_block("block", s, (classes,))
    assert (summary.low, summary.high) == (1 / 8, 2 / 8)
    assert summary.mean == pytest.approx(s.mean())
    assert summary.slope == pytest.approx((s * (1 - s)).mean())
    assert summary.spread == pytest.approx(np.sqrt(s.var(0).mean()))
    within = np.concatenate([s[:2] - s[:2].mean(0), s[2:] - s[2:].mean(0)])
    assert summary.within == pytest.approx(np.sqrt((within**2).mean()))
    assert summary.chance == {"class": 1 / 3}
