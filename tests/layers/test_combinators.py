"""Combinators: names, parts that do not fit together, and caches."""

import numpy as np
import pytest

from se_numpy.layers import (
    SE,
    BatchNorm,
    Conv,
    GlobalAveragePool,
    ReLU,
    concat,
    init,
    residual,
    serial,
    walk,
)

SHAPE = (7, 6, 4)
BRANCH = serial(Conv(6, 3), BatchNorm(), ReLU(), Conv(4, 3), BatchNorm(), SE(2))


def test_unnamed_layers_are_named_by_kind_and_count():
    names = [name for name, _, _ in walk(residual(BRANCH), SHAPE)]
    assert names == [f"branch.{n}" for n in ("conv1", "batchnorm1", "relu1", "conv2", "batchnorm2", "se1")]


@pytest.mark.parametrize(
    ("net", "message"),
    [
        (residual(Conv(3)), "shapes.*expected the same"),
        (concat(Conv(3), Conv(3, 3, 2)), "expected the same height and width"),
        (serial(SE(16)), "4 channels with reduction ratio r = 16 leave no hidden unit"),
        (serial(Conv(6, groups=3)), "divisible by groups"),
        (serial(GlobalAveragePool(), Conv(3)), "expected images"),
    ],
)
def test_parts_that_do_not_fit_are_named(net, message):
    def use():
        params, state = init(net, SHAPE, np.random.default_rng(0))
        net.forward(params, state, np.ones((1, *SHAPE)))

    with pytest.raises(ValueError, match=message):
        use()


def test_a_cache_can_be_used_once():
    net = serial(ReLU(), ReLU())
    X = np.ones((2, 3))
    _, cache = net.forward({}, {}, X)
    net.backward({}, cache, X)
    with pytest.raises(ValueError, match="used by a backward pass"):
        net.backward({}, cache, X)


@pytest.mark.parametrize("names", [{"conv1": ReLU()}, {"a.b": ReLU()}])
def test_names_must_be_unique_and_without_a_dot(names):
    with pytest.raises(ValueError, match="invalid name"):
        serial(Conv(3), **names)


@pytest.mark.parametrize("part", [[Conv(3)], Conv, "relu"])
def test_objects_other_than_layers_are_refused(part):
    with pytest.raises(TypeError, match="expected layers as separate arguments"):
        serial(part)
