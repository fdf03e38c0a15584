"""Networks for detection: maps at a quarter of the image's size, described and run as all others."""

import numpy as np
import pytest

from se_numpy import engine, layers, models
from se_numpy.layers import Conv, GlobalAveragePool, Linear, describe, from_description, serial
from se_numpy.models.detector import AT_FIRST, detector, is_detector

SMALL = ["se_resnet8", "resnet14", "se_preact_resnet20", "se_small_resnext", "se_small_inception"]


@pytest.mark.parametrize("name", SMALL)
def test_maps_have_a_quarter_of_the_size(name):
    net = detector(models.build(name), classes=5)
    assert net.output_shape((32, 24, 3)) == (8, 6, 9)
    assert from_description(describe(net)) == net
    assert is_detector(net)
    assert not is_detector(models.build(name))


def test_parameters_before_the_head_keep_their_names():
    net = models.build("se_resnet8")
    plain, found = net.parameters((32, 32, 3)), detector(net, classes=5).parameters((32, 32, 3))
    assert plain.keys() - found.keys() == {"classifier"}
    assert found.keys() - plain.keys() == {"head"}


def test_before_training_every_score_is_about_a_tenth():
    net = detector(models.build("se_resnet8"), classes=5)
    params, _ = layers.init(net, (16, 16, 3), np.random.default_rng(0))
    assert set(params["head"]["heat"]["bias"]["b"]) == {np.float32(AT_FIRST)}
    assert not params["head"]["boxes"]["bias"]["b"].any()


def test_the_engine_returns_the_same_maps():
    net = detector(models.build("se_resnet8"), classes=2)
    params, state = layers.init(net, (16, 12, 3), np.random.default_rng(0), np.float64)
    X = np.random.default_rng(1).standard_normal((3, 16, 12, 3))
    expected, _ = net.forward(params, state, X)
    np.testing.assert_allclose(engine.compile(net).predictor(params, state)(X), expected, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("net", [Conv(3), serial(Conv(3), GlobalAveragePool(), Linear(2)).parts[0][1]])
def test_a_network_without_maps_is_refused(net):
    with pytest.raises(ValueError, match="takes the maps before the global average pooling of a network, and this one"):
        detector(net, classes=2)


def test_the_bias_of_a_layer_has_an_initial_value():
    layer = layers.Bias(-2.5)
    params, _ = layers.init(layer, (4, 4, 3), np.random.default_rng(0))
    assert params["b"].tolist() == [-2.5] * 3
    assert from_description({"layer": "Bias", "fields": {}}) == layers.Bias()
    with pytest.raises(ValueError, match="initial of Bias is nan; expected a finite number"):
        layers.Bias(float("nan"))
