"""The networks: exact parameter counts, shapes, names and gradients."""

import numpy as np
import pytest

from se_numpy import models, ops, tree
from se_numpy.complexity import count_parameters, summary
from se_numpy.gradcheck import check_backward
from se_numpy.layer_check import as_pair
from se_numpy.layers import SE, BatchNorm, Conv, init, walk
from se_numpy.tree import size

# Counted from the public PyTorch implementation with the same structure (projection shortcuts, SE without biases).
PARAMETERS = {
    20: {None: 272_474, 4: 280_538, 8: 276_506, 16: 274_490},
    32: {None: 466_906, 4: 480_346, 8: 473_626, 16: 470_266},
    44: {None: 661_338, 4: 680_154, 8: 670_746, 16: 666_042},
    56: {None: 855_770, 4: 879_962, 8: 867_866, 16: 861_818},
    110: {None: 1_730_714, 4: 1_779_098, 8: 1_754_906, 16: 1_742_810},
}


@pytest.mark.parametrize("depth", PARAMETERS)
@pytest.mark.parametrize("reduction", [None, 4, 8, 16])
def test_parameter_counts_of_resnets(depth, reduction):
    net = models.resnet(depth, reduction=reduction)
    assert count_parameters(net, (32, 32, 3)) == PARAMETERS[depth][reduction]
    hundred = models.resnet(depth, reduction=reduction, classes=100)
    assert count_parameters(hundred, (32, 32, 3)) == PARAMETERS[depth][reduction] + 5_850
    if reduction:
        n = (depth - 2) // 6
        biased = models.resnet(depth, reduction=reduction, bias=True)
        assert count_parameters(biased, (32, 32, 3)) == PARAMETERS[depth][reduction] + n * (112 + 112 // reduction)


@pytest.mark.parametrize("name", models.NAMES)
def test_every_name_builds_a_valid_network(name):
    shape = models.image_shape(name)
    net = models.build(name, classes=7)
    assert net.output_shape(shape) == (7,)
    assert any(isinstance(layer, SE) for _, layer, _ in walk(net, shape)) == name.startswith("se")
    assert models.build(name).output_shape(shape) == ((10,) if shape == (32, 32, 3) else (1000,))


# Released networks, with biases in the SE blocks (as in timm and Cadene); 18 and 34 are the legacy versions in timm.
RELEASED = {
    "resnet50": (25_557_032, 28_088_024),
    "resnet101": (44_549_160, 49_326_872),
    "resnet152": (60_192_808, 66_821_848),
    "resnext50_32x4d": (25_028_904, 27_559_896),
    "resnext101_32x4d": (44_177_704, 48_955_416),
    "resnet18": (11_689_512, 11_778_592),
    "resnet34": (21_797_672, 21_958_868),
    "bn_inception": (11_285_224, 11_931_622),
}


@pytest.mark.parametrize("name", RELEASED)
def test_parameter_counts_of_the_released_networks(name):
    plain, gated = RELEASED[name]
    assert count_parameters(models.build(name), (224, 224, 3)) == plain
    assert count_parameters(models.build(f"se_{name}", bias=True), (224, 224, 3)) == gated


def test_parameter_counts_of_senet_154():
    assert count_parameters(models.build("senet154", bias=True), (224, 224, 3)) == 115_088_984
    assert count_parameters(models.senet154(reduction=None), (224, 224, 3)) == 108_459_944


def test_the_often_quoted_count_of_se_bn_inception_includes_layers_without_parameters():
    """11,944,870 includes two per gated channel; with batch norm folded, the network is listed with 11.922 million."""
    shape = (224, 224, 3)
    net = models.build("se_bn_inception", bias=True)
    gated = [s[-1] for _, layer, s in walk(net, shape) if isinstance(layer, SE)]
    assert gated == [256, 320, 576, 576, 576, 608, 608, 1056, 1024, 1024]
    assert 11_944_870 - count_parameters(net, shape) == 2 * sum(gated)
    channels = sum(size(layer.statistics(s)) for _, layer, s in walk(net, shape)) // 2
    assert round((count_parameters(net, shape) - channels) / 1e6, 3) == 11.922


def test_parameter_counts_of_other_networks():
    """The counts match torchvision and TensorFlow, but VGG's convolutions precede batch norm and have no biases."""
    assert count_parameters(models.build("vgg16"), (224, 224, 3)) == 138_365_992 - 4_224
    assert count_parameters(models.build("mobilenet"), (224, 224, 3)) == 4_231_976
    assert count_parameters(models.build("se_resnet50"), (224, 224, 3)) == 28_071_976


@pytest.mark.parametrize("shape", [(32, 32, 3), (17, 12, 1), (4, 4, 5)])
def test_networks_accept_any_image_size(shape):
    net = models.build("se_resnet8", classes=6)
    params, state = init(net, shape, np.random.default_rng(0))
    Y, _ = net.forward(params, state, np.ones((2, *shape), np.float32), train=True)
    assert Y.shape == (2, 6)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: models.build("se_resnet21"), "unknown model 'se_resnet21'; did you mean 'se_resnet2?"),
        (lambda: models.build("alexnet"), "unknown model 'alexnet'"),
        (lambda: models.build("resnet20", reduction=8), "did you mean 'se_resnet20'"),
        (lambda: models.resnet(21), "depth is 21; expected 6n \\+ 2"),
        (lambda: models.resnet(2), "depth is 2"),
        (lambda: models.resnet(8, classes=0), "classes is 0"),
        (lambda: count_parameters(models.resnet(8, reduction=32), (32, 32, 3)), "16 channels .* r = 32"),
    ],
)
def test_invalid_networks_are_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call()


@pytest.mark.parametrize("name", ["se_resnet8", "resnet8", "se_resnet14"])
@pytest.mark.parametrize("train", [True, False])
def test_gradients_of_whole_networks(name, train):
    """Check the gradients of all parameters and of the images in float64, without and with the loss."""
    rng = np.random.default_rng(1)
    net, shape = models.build(name, classes=5), (9, 8, 3)
    params, state = init(net, shape, rng, np.float64)
    w = tree.flatten(params) + 0.05 * rng.standard_normal(tree.size(params))
    X, labels = rng.standard_normal((4, *shape)), np.array([0, 4, 2, 2])
    f, f_backward = as_pair(net, params, state, train=train)
    for seed in range(3):
        check_backward(f, f_backward, X, w, seed=seed)

    def loss(X, w, labels):
        return ops.softmax_cross_entropy(f(X, w), labels, smoothing=0.1)

    def loss_backward(dL, X, w, labels):
        dY = ops.softmax_cross_entropy_backward(dL, f(X, w), labels, smoothing=0.1)
        return f_backward(dY, X, w)

    check_backward(loss, loss_backward, X, w, labels)


def test_summary_shows_every_layer_and_the_total():
    text = summary(models.build("se_resnet20"), (32, 32, 3))
    assert "stage3.block1.unit.branch.se1" in text
    assert "8 × 8 × 64" in text
    assert text.splitlines()[-1].split()[:2] == ["total", "280,538"]


@pytest.mark.parametrize(("depth", "projected"), [(20, ["stage2", "stage3"]), (164, ["stage1", "stage2", "stage3"])])
def test_pre_activation_networks_project_only_where_the_shape_changes(depth, projected):
    """A projection shares the first batch norm of its unit; one more batch norm precedes the pooling."""
    layers = [(name, layer) for name, layer, _ in walk(models.preact_resnet(depth), (32, 32, 3))]
    shortcuts = [name for name, layer in layers if ".shortcut." in name]
    assert shortcuts == [f"{stage}.block1.unit.shortcut.conv1" for stage in projected]
    shared = [name for name, layer in layers if name.endswith("block1.norm") and isinstance(layer, BatchNorm)]
    assert shared == [f"{stage}.block1.norm" for stage in projected]
    convolutions = sum(isinstance(layer, Conv) for name, layer in layers if ".shortcut." not in name)
    assert convolutions == depth - 1
    assert sum(isinstance(layer, BatchNorm) for _, layer in layers) == convolutions
