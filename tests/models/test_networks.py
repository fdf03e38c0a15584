"""Every network and every ablation: gradients, placement of the SE blocks, and the layers they use."""

import re

import numpy as np
import pytest

from se_numpy import engine, models, ops, se, tree
from se_numpy.gradcheck import KinkError, check_backward
from se_numpy.layer_check import as_pair
from se_numpy.layers import (
    SE,
    ChannelShuffle,
    Conv,
    Flatten,
    NoSqueeze,
    Pool,
    ReLU,
    SEVariant,
    init,
    se_layer,
    serial,
    walk,
)

SMALL, LARGE = (9, 10, 3), (33, 34, 3)
TRIES = 5

# Narrow versions of every family: the same layers with few channels.
NARROW = {
    "resnet": (SMALL, models.resnet, {"depth": 14, "width": 4}),
    "preact_resnet": (SMALL, models.preact_resnet, {"depth": 20, "width": 4}),
    "preact_resnet164": (SMALL, models.preact_resnet, {"depth": 164, "width": 2, "bottleneck": True}),
    "small_vgg": (SMALL, models.small_vgg, {"width": 0.125}),
    "small_inception": (SMALL, models.small_inception, {"width": 0.25}),
    "small_resnext": (SMALL, models.small_resnext, {"depth": 11, "cardinality": 2, "width": 2}),
    "resnet18": (LARGE, models.imagenet_resnet, {"depth": 18, "width": 4}),
    "resnet34": (LARGE, models.imagenet_resnet, {"depth": 34, "width": 4}),
    "resnet50": (LARGE, models.imagenet_resnet, {"depth": 50, "width": 2}),
    "resnet50, 3x3": (LARGE, models.imagenet_resnet, {"depth": 50, "width": 2, "stride_in": "3x3", "ceil": True}),
    "resnet101": (LARGE, models.imagenet_resnet, {"depth": 101, "width": 2}),
    "resnet152": (LARGE, models.imagenet_resnet, {"depth": 152, "width": 2}),
    "resnet110": (SMALL, models.resnet, {"depth": 110, "width": 4}),
    "resnext50": (LARGE, models.imagenet_resnext, {"depth": 50, "cardinality": 2, "width": 2}),
    "resnext101": (LARGE, models.imagenet_resnext, {"depth": 101, "cardinality": 2, "width": 2}),
    "senet154": (LARGE, models.senet154, {"cardinality": 2, "width": 4, "dropout": 0}),
    "vgg16": (LARGE, models.vgg16, {"width": 1 / 16, "hidden": 7, "dropout": 0}),
    "bn_inception": ((64, 64, 3), models.bn_inception, {"width": 1 / 16}),
    "bn_inception, padded": (LARGE, models.bn_inception, {"width": 1 / 16, "ceil": False}),
    "mobilenet": (LARGE, models.mobilenet, {"width": 1 / 16}),
    "shufflenet": (LARGE, models.shufflenet, {"width": 36}),
}
DEEP = (models.imagenet_resnet, models.imagenet_resnext, models.senet154)
ABLATIONS = [
    *({"gate": gate} for gate in ("tanh", "relu")),
    {"squeeze": "max"},
    {"squeeze": "none"},
    {"squeeze": "none", "gate": "tanh", "bias": True},
    {"squeeze": "max", "gate": "relu", "bias": True},
    *({"placement": place} for place in models.PLACEMENTS),
    {"stages": (2,)},
]


def check_network(net, shape, train, N=4, tame=1.0):
    """Check the gradients of all parameters and the images in float64, away from the initial parameters."""
    for seed in range(TRIES):  # with thousands of ReLUs, a draw may be at a kink; draw again in that case
        rng = np.random.default_rng(seed)
        params, state = init(net, shape, rng, np.float64)
        for _, leaf in tree.leaves(params):
            leaf += 0.05 * rng.standard_normal(leaf.shape)
        for name, leaf in tree.leaves(params):
            leaf *= tame if name.endswith(".V") else 1
        f, f_backward = as_pair(net, params, state, train=train)
        try:
            check_backward(f, f_backward, rng.standard_normal((N, *shape)), tree.flatten(params), seed=seed)
            return
        except KinkError:
            if seed == TRIES - 1:
                raise


@pytest.mark.parametrize("name", NARROW)
def test_gradients_of_every_network(name):
    """Networks have full depth and constant statistics; the branches of deep networks are scaled down."""
    shape, make, settings = NARROW[name]
    tame = 0.3 if make in DEEP or settings.get("depth", 0) > 100 else 1.0
    check_network(make(**settings, classes=4, reduction=2), shape, train=False, N=2, tame=tame)


@pytest.mark.parametrize("name", NARROW)
def test_gradients_of_every_network_in_training(name):
    """With batch statistics, very deep networks are too steep for finite differences, so they have fewer blocks."""
    shape, make, settings = NARROW[name]
    shallow = {"depth": 20} if settings.get("depth", 0) > 100 else {}
    fewer = {"blocks": (1, 2, 2, 1)} if make in DEEP else shallow
    check_network(make(**settings | fewer, classes=4, reduction=2), shape, train=True)


@pytest.mark.parametrize("settings", ABLATIONS, ids=str)
@pytest.mark.parametrize("name", ["resnet", "preact_resnet", "small_resnext"])
def test_gradients_of_every_ablation(name, settings):
    shape, make, narrow = NARROW[name]
    depth = {"depth": 8} if name == "resnet" else {}
    check_network(make(**(narrow | depth), classes=4, reduction=2, **settings), shape, train=True)


@pytest.mark.parametrize("settings", ABLATIONS[:6], ids=str)
@pytest.mark.parametrize("name", ["small_vgg", "small_inception"])
def test_gradients_of_se_variants_in_networks_without_residual_units(name, settings):
    shape, make, narrow = NARROW[name]
    check_network(make(**narrow, classes=4, reduction=2, **settings), shape, train=True)


@pytest.mark.parametrize("train", [True, False])
@pytest.mark.parametrize("name", NARROW)
def test_output_shape_and_dtype(name, train):
    shape, make, settings = NARROW[name]
    net = make(**settings, classes=4, reduction=2)
    params, state = init(net, shape, np.random.default_rng(0))
    Y, cache = net.forward(params, state, np.ones((2, *shape), np.float32), train=train)
    assert Y.shape == (2, 4)
    assert Y.dtype == np.float32
    dX, grads = net.backward(params, cache, Y)
    assert dX.dtype == np.float32
    assert all(g.dtype == np.float32 for _, g in tree.leaves(grads))


@pytest.mark.parametrize("name", ["shufflenet", "senet154", "preact_resnet", "bn_inception", "resnet50, 3x3"])
def test_a_compiled_network_gives_the_same_results(name):
    shape, make, settings = NARROW[name]
    net = make(**settings | ({"blocks": (1, 1, 1, 1)} if make in DEEP else {}), classes=4, reduction=2)
    rng = np.random.default_rng(0)
    params, state = init(net, shape, rng, np.float64)
    X, dY = rng.standard_normal((4, *shape)), rng.standard_normal((4, 4))
    results = []
    for form in (net, engine.compile(net)):
        Y, cache = form.forward(params, state, X, train=True)
        dX, grads = form.backward(params, cache, dY)
        results.append((Y, dX, tree.flatten(grads)))
    for found, wanted in zip(*results, strict=True):
        assert np.linalg.norm(found - wanted) < 1e-9 * np.linalg.norm(wanted)


# Placement of the SE blocks


def gates(net, shape):
    return [name for name, layer, _ in walk(net, shape) if isinstance(layer, SE | NoSqueeze)]


@pytest.mark.parametrize(
    ("placement", "around"),
    [
        ("standard", ["relu1", "conv2", "batchnorm2", "se1", "shortcut.conv1"]),
        ("pre", ["relu", "unit.branch.se1", "conv1", "batchnorm1"]),
        ("post", ["batchnorm1", "block1.relu", "block1.se", "block2.unit.branch.conv1"]),
        ("identity", ["shortcut.batchnorm1", "shortcut.se1", "block1.relu"]),
        ("3x3", ["unit.branch.batchnorm1", "se1", "relu1", "conv2"]),
    ],
)
def test_figure_5(placement, around):
    """Check the layers before and after the SE block in the first unit with a projection."""
    net = models.build("se_resnet14", placement=placement)
    names = [name for name, *_ in walk(net, SMALL) if name.startswith(("stage2", "stage1.block2.relu"))]
    first = next(i for i, name in enumerate(names) if name.rpartition(".")[2].startswith("se"))
    before = next(i for i, end in enumerate(around) if end.rpartition(".")[2].startswith("se"))
    found = names[first - before : first - before + len(around)]
    assert len(gates(net, SMALL)) == 6
    assert all(name.endswith(end) for name, end in zip(found, around, strict=True)), found


def test_placement_3x3_puts_the_se_block_after_the_3x3_of_a_bottleneck():
    net = models.imagenet_resnet(50, reduction=16, placement="3x3", width=64)
    layers = [layer for _, layer, _ in walk(net, (224, 224, 3))]
    widths = [shape[-1] for _, layer, shape in walk(net, (224, 224, 3)) if type(layer) is SE]
    for i in (i for i, layer in enumerate(layers) if type(layer) is SE):
        assert layers[i - 2].k == 3
    assert widths == [64] * 3 + [128] * 4 + [256] * 6 + [512] * 3


def test_placement_identity_does_not_gate_the_branch():
    """SE-Identity with W1 = 0 has gates of 1/2, so the unit is relu(branch + x / 2)."""
    net = models.resnet(8, reduction=2, placement="identity", width=4).parts[3][1].parts[0][1]
    X = np.random.default_rng(0).standard_normal((2, 5, 6, 4))
    params, state = init(net, X.shape[1:], np.random.default_rng(1), np.float64)
    params["unit"]["shortcut"]["se1"]["W1"][:] = 0
    branch = dict(net.parts)["unit"].parts[0][1]
    expected = np.maximum(branch.forward(params["unit"]["branch"], state["unit"]["branch"], X)[0] + X / 2, 0)
    np.testing.assert_allclose(net.forward(params, state, X)[0], expected, rtol=1e-12)


@pytest.mark.parametrize("name", ["se_resnet14", "se_preact_resnet20", "se_small_vgg", "se_mobilenet", "se_resnet50"])
def test_se_blocks_in_some_stages_only(name):
    shape = models.image_shape(name)
    every = gates(models.build(name), shape)
    for stages in [(1,), (3,), (1, 2), ()]:
        wanted = [gate for gate in every if int(gate[5]) in stages]
        assert gates(models.build(name, stages=stages), shape) == wanted
    assert any(gate.startswith("stage3") for gate in every)


def test_settings_apply_to_every_block():
    for name in (n for n in models.NAMES if n.startswith("se")):
        net = models.build(name, reduction=2, bias=True, gate="tanh", squeeze="max")
        found = {layer for _, layer, _ in walk(net, models.image_shape(name)) if isinstance(layer, SE)}
        assert found == {SEVariant(2, True, "tanh", "max")}, name
    net = models.build("se_resnet50", squeeze="none", gate="relu")
    assert {x for _, x, _ in walk(net, LARGE) if isinstance(x, NoSqueeze | SE)} == {NoSqueeze(16, False, "relu")}


def test_stride_in():
    for where, k in (("1x1", 1), ("3x3", 3)):
        convs = {name: c for name, c, _ in walk(models.build("resnet50", stride_in=where), LARGE) if type(c) is Conv}
        strided = {c.k for name, c in convs.items() if c.stride == 2 and ".branch." in name}
        assert strided == {k}
    convs = {name: c for name, c, _ in walk(models.build("senet154"), (224, 224, 3)) if type(c) is Conv}
    assert [c.k for name, c in convs.items() if "shortcut" in name] == [1, 3, 3, 3]
    assert [convs[f"stem.conv{i}"].C for i in (1, 2, 3)] == [64, 64, 128]


# The layers


U = np.random.default_rng(3).standard_normal((3, 5, 4, 6)) + np.arange(6) / 3


def drawn(net, shape=U.shape[1:]):
    return init(net, shape, np.random.default_rng(0), np.float64)[0]


@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize("squeeze", ["avg", "max", "none"])
@pytest.mark.parametrize("gate", ["sigmoid", "tanh", "relu"])
def test_se_variants_and_their_gradients(gate, squeeze, bias):
    layer = NoSqueeze(2, bias, gate) if squeeze == "none" else SEVariant(2, bias, gate, squeeze)
    params = drawn(layer)
    for i, (_, leaf) in enumerate(tree.leaves(params)):
        leaf += 0.3 * np.random.default_rng(i).standard_normal(leaf.shape)
    z = {"avg": U.mean((1, 2), keepdims=True), "max": U.max((1, 2), keepdims=True), "none": U}[squeeze]
    b1, b2 = (params.get(b, 0) for b in ("b1", "b2"))
    a2 = np.maximum(z @ params["W1"].T + b1, 0) @ params["W2"].T + b2
    s = {"sigmoid": 1 / (1 + np.exp(-a2)), "tanh": np.tanh(a2), "relu": np.maximum(a2, 0)}[gate]
    np.testing.assert_allclose(layer.forward(params, {}, U)[0], s * U, rtol=1e-12)
    for seed in range(5):
        check_backward(*as_pair(layer, params, {}, train=True), U, tree.flatten(params), seed=seed)


def test_the_default_variant_equals_the_se_block():
    params, dY = drawn(SE(2, True)), np.random.default_rng(1).standard_normal(U.shape)
    results = []
    for layer in (SE(2, True), SEVariant(2, True)):
        Y, cache = layer.forward(params, {}, U)
        dU, grads = layer.backward(params, cache, dY)
        results.append([Y, dU, *grads.values()])
    for a, b in zip(*results, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-12, atol=1e-14)


def test_no_squeeze_equals_two_1x1_convolutions():
    layer = NoSqueeze(2)
    params = drawn(layer)
    V1, V2 = (params[w].T[None, None] for w in ("W1", "W2"))
    s = ops.sigmoid(ops.conv2d(ops.relu(ops.conv2d(U, V1, padding=0)), V2, padding=0))
    np.testing.assert_allclose(layer.forward(params, {}, U)[0], s * U, rtol=1e-12)
    assert layer.parameters(U.shape[1:]) == SE(2).parameters(U.shape[1:])


def test_se_layer_returns_the_plain_block_by_default():
    assert type(se_layer(4)) is SE
    assert type(se_layer(4, True)) is SE
    assert se_layer(4, gate="tanh") == SEVariant(4, False, "tanh", "avg")
    assert se_layer(4, squeeze="max") == SEVariant(4, False, "sigmoid", "max")
    assert se_layer(4, squeeze="none") == NoSqueeze(4)


@pytest.mark.parametrize("groups", [1, 2, 3, 6])
def test_channel_shuffle(groups):
    layer, n = ChannelShuffle(groups), 6 // groups
    Y, cache = layer.forward({}, {}, U)
    for g in range(groups):
        for i in range(n):
            np.testing.assert_array_equal(Y[..., i * groups + g], U[..., g * n + i])
    np.testing.assert_array_equal(layer.backward({}, cache, Y)[0], U)


def test_flatten_keeps_the_order():
    Y, cache = Flatten().forward({}, {}, U)
    np.testing.assert_array_equal(Y[1], U[1].ravel())
    np.testing.assert_array_equal(Flatten().backward({}, cache, Y)[0], U)
    assert Flatten().output_shape((5, 4, 6)) == (120,)


@pytest.mark.parametrize("size", [(7, 8), (8, 9), (10, 5), (4, 4)])
@pytest.mark.parametrize(("k", "stride", "padding"), [(3, 2, 0), (3, 2, 1), (2, 3, 1), (2, 2, 0), (3, 3, 0)])
def test_pooling_with_ceil(size, k, stride, padding):
    X = np.random.default_rng(0).standard_normal((2, *size, 3))
    layer = Pool("max", k, stride, padding, ceil=True)

    def windows(n):
        """Return the windows along an axis, without those entirely outside the image."""
        starts = [-padding]
        while starts[-1] + k < n + padding and starts[-1] + stride < n:
            starts.append(starts[-1] + stride)
        return [slice(max(start, 0), start + k) for start in starts]

    expected = np.stack([np.stack([X[:, h, w].max((1, 2)) for w in windows(size[1])], 1) for h in windows(size[0])], 1)
    Y, _ = layer.forward({}, {}, X)
    np.testing.assert_array_equal(Y, expected)
    assert layer.output_shape((*size, 3)) == Y.shape[1:]
    check_backward(*as_pair(layer, {}, {}, train=True), X)


def test_channel_shuffle_and_pooling_agree_with_pytorch():
    torch = pytest.importorskip("torch")
    X = torch.from_numpy(U.transpose(0, 3, 1, 2).copy())
    shuffled = torch.nn.functional.channel_shuffle(X, 3).numpy().transpose(0, 2, 3, 1)
    np.testing.assert_array_equal(ChannelShuffle(3).forward({}, {}, U)[0], shuffled)
    for k, stride, padding in [(3, 2, 0), (3, 2, 1), (2, 3, 1)]:
        pooled = torch.nn.functional.max_pool2d(X, k, stride, padding, ceil_mode=True).numpy().transpose(0, 2, 3, 1)
        np.testing.assert_array_equal(Pool("max", k, stride, padding, ceil=True).forward({}, {}, U)[0], pooled)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: se_layer(4, gate="softmax"), "the gate is 'softmax'; expected one of sigmoid, tanh, relu"),
        (lambda: SEVariant(4, squeeze="sum"), "the squeeze is 'sum'; expected one of avg, max"),
        (lambda: NoSqueeze(4, gate="hard"), "the gate is 'hard'"),
        (lambda: ChannelShuffle(4).output_shape((5, 4, 6)), "got 6 channels; expected a number divisible by groups"),
        (lambda: Pool("avg", 3, 2, ceil=True).output_shape((5, 4, 6)), "use ceil=True only with 'max'"),
        (lambda: serial(NoSqueeze(16), ReLU()).parameters((5, 4, 6)), "6 channels with reduction ratio r = 16"),
        (lambda: models.build("se_resnet50", gate="softmax"), "the gate is 'softmax'"),
        (lambda: models.build("se_resnet50", placement="after"), "the placement is 'after'; expected one of standard"),
        (lambda: models.build("se_vgg16", placement="post"), "requires residual units; expected 'standard'"),
        (lambda: models.build("se_resnet50", stages=3), r"stages is 3; expected a collection, such as \(1, 2\)"),
        (lambda: models.build("se_resnet50", stages=(5,)), "stages contains 5; expected integers from 1 to 4"),
        (lambda: models.build("se_resnet50", gates="tanh"), "unknown setting 'gates'; expected a keyword argument"),
        (lambda: models.build("resnet50", gate="tanh"), "gate='tanh' applies to SE .* resnet50 has none; .*se_resnet5"),
        (lambda: models.resnet(8, gate="tanh"), "gate='tanh' applies to SE blocks, and there are none; give reduction"),
        (lambda: models.imagenet_resnet(20), "depth is 20; expected one of 18, 34, 50, 101, 152"),
        (lambda: models.imagenet_resnext(18), "depth is 18; expected one of 50, 101, 152"),
        (lambda: models.imagenet_resnet(50, stride_in="2x2"), "stride_in is '2x2'; expected '1x1' or '3x3'"),
        (lambda: models.shufflenet(groups=5), "groups is 5; expected one of 1, 2, 3, 4, 8"),
        (lambda: models.shufflenet(width=250), "width is 250; expected at least 32, and a multiple of 12"),
        (lambda: models.preact_resnet(21), "depth is 21; expected 6n"),
    ],
)
def test_invalid_networks_are_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call()


NOT_COUNTS = [-1, 0, float("nan"), float("inf"), True, "3", (3, 3)]


@pytest.mark.parametrize("value", NOT_COUNTS, ids=repr)
@pytest.mark.parametrize(("name", "setting"), [
    ("se_resnet8", "classes"), ("se_resnet8", "width"), ("se_resnet18", "width"), ("se_resnet18", "blocks"),
    ("se_resnet18", "ceil"), ("se_resnext50_32x4d", "cardinality"), ("se_resnext50_32x4d", "width"),
    ("se_resnet50", "reduction"), ("se_resnet50", "bias"), ("preact_resnet20", "width"), ("small_resnext", "width"),
    ("senet154", "cardinality"), ("senet154", "blocks"), ("se_vgg16", "width"), ("se_vgg16", "hidden"),
    ("se_mobilenet", "width"), ("se_shufflenet", "width"), ("se_bn_inception", "ceil"), ("se_resnet8", "depth"),
])  # fmt: skip
def test_sizes_of_networks_are_checked_in_words(name, setting, value):
    if (setting, value) in [("ceil", True), ("bias", True), ("blocks", (3, 3))]:
        return
    words = rf"{re.escape(repr(value))}(; expected| is not a setting)|blocks\[0\] is|C of Conv|K of Linear"
    with pytest.raises((TypeError, ValueError), match=words):
        models.build(name, **{setting: value})


@pytest.mark.parametrize("make", [models.resnet, models.preact_resnet, models.imagenet_resnet, models.small_resnext])
def test_depths_are_whole_numbers(make):
    for depth in (20.0, "20", None, True, float("nan"), -4):
        with pytest.raises(ValueError, match=f"^depth is {re.escape(repr(depth))}; expected"):
            make(depth)
    for name in (5, None, ["resnet8"]):
        with pytest.raises(TypeError, match=r"the model is .*; expected a name, such as 'se_resnet20'"):
            models.build(name)


def test_parameters_added_by_each_placement():
    """SE-PRE gates the input of a block, which is narrower in the first block of a stage (paper, section 6.5)."""
    shape = (224, 224, 3)
    added = {
        place: tree.size(models.build("se_resnet50", placement=place).parameters(shape)) - 25_557_032
        for place in models.PLACEMENTS
    }
    everywhere = se.added_parameters([(3, 256), (4, 512), (6, 1024), (3, 2048)], 16)
    assert everywhere == 2_514_944
    assert added == {
        "standard": everywhere, "post": everywhere, "identity": everywhere, "pre": 1_991_168, "3x3": everywhere // 16,
    }  # fmt: skip
