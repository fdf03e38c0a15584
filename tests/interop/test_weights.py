"""Tests of state dicts with other libraries' names: names, layouts, and error messages."""

import hashlib

import numpy as np
import pytest

from se_numpy import interop, layers, models, tree
from se_numpy.interop.matching import compare, infer_settings
from se_numpy.interop.names import tensors
from se_numpy.interop.schemes import detect

SMALL = {  # one small network per family: its settings and image shape
    "resnet8": ({}, (8, 8, 3)),
    "se_resnet8": ({"bias": True}, (8, 8, 3)),
    "se_small_resnext": ({"width": 2, "cardinality": 4}, (8, 8, 3)),
    "se_small_vgg": ({"bias": True}, (8, 8, 3)),
    "se_vgg16": ({"width": 0.25, "hidden": 12, "classes": 5}, (64, 32, 3)),
    "se_small_inception": ({"bias": True}, (8, 8, 3)),
    "se_bn_inception": ({"width": 0.5, "classes": 5}, (64, 64, 3)),
    "se_resnet18": ({"width": 16, "classes": 5}, (64, 64, 3)),
    "se_resnet50": ({"width": 16, "classes": 5, "bias": True}, (64, 64, 3)),
    "senet154": ({"width": 4, "cardinality": 8, "blocks": (2, 1, 1, 1), "reduction": 4, "classes": 5}, (64, 64, 3)),
    "se_preact_resnet20": ({}, (8, 8, 3)),
    "se_mobilenet": ({"width": 0.5, "classes": 5}, (64, 64, 3)),
    "se_shufflenet": ({"classes": 5}, (64, 64, 3)),
}
SCHEMES = tuple(interop.SCHEMES)


def filled(name, dtype=np.float64, **more):
    """Return a network, its image shape, and trees filled with random values."""
    settings, shape = SMALL[name]
    net = models.build(name, **{**settings, **more})
    rng = np.random.default_rng(0)
    trees = layers.init(net, shape, rng, dtype)
    return net, shape, *(tree.map_leaves(lambda a: rng.standard_normal(a.shape).astype(dtype), t) for t in trees)


def assert_same(found, expected):
    assert [name for name, _ in tree.leaves(found)] == [name for name, _ in tree.leaves(expected)]
    for (name, a), (_, b) in zip(tree.leaves(found), tree.leaves(expected), strict=True):
        np.testing.assert_array_equal(a, b, err_msg=name)
        assert a.dtype == b.dtype


def suits(net, shape, scheme):
    try:
        return bool(tensors(net, shape, interop.SCHEMES[scheme]))
    except ValueError:
        return False


# ------------------------------------------------------------------------------------------------------------ names


EXPECTED = {
    ("se_resnet8", "timm"), ("se_resnet8", "moskomule"), ("se_resnet8", "torchvision"), ("resnet8", "timm"),
    ("se_resnet50", "timm"), ("se_resnet50", "legacy"), ("se_resnet50", "moskomule"), ("se_resnet18", "timm"),
    ("senet154", "timm"), ("senet154", "legacy"), ("se_small_resnext", "timm"), ("se_small_vgg", "torchvision"),
    ("se_vgg16", "torchvision"), ("se_small_inception", "inception"), ("se_bn_inception", "inception"),
}  # fmt: skip


@pytest.mark.parametrize("scheme", SCHEMES)
@pytest.mark.parametrize("name", SMALL)
def test_a_round_trip_is_exact(name, scheme):
    """Dump and load every network in every scheme that supports it, and detect the scheme."""
    net, shape, params, state = filled(name)
    if not suits(net, shape, scheme):
        assert (name, scheme) not in EXPECTED
        assert scheme != "se_numpy"
        return
    arrays = interop.dump(net, shape, params, state, scheme=scheme)
    assert all(a.flags.c_contiguous for a in arrays.values())
    back, statistics = interop.load(arrays, net, shape, scheme=scheme)
    assert_same(back, params)
    assert_same(statistics, state)
    detected = detect(arrays).name
    assert detected == scheme or suits(net, shape, detected)  # torchvision and timm use the same names for ResNets


@pytest.mark.parametrize("name", models.NAMES)
def test_names_are_unique_and_our_own_scheme_supports_every_network(name):
    net, shape = models.build(name), models.image_shape(name)
    for scheme in interop.SCHEMES.values():
        if suits(net, shape, scheme.name):
            found = [t.theirs for t in tensors(net, shape, scheme)]
            assert len(set(found)) == len(found)
            assert len(found) == sum(1 for _ in tree.leaves(net.parameters(shape))) + sum(
                1 for _ in tree.leaves(net.statistics(shape))
            )
    assert suits(net, shape, "se_numpy")


@pytest.mark.parametrize(
    ("scheme", "model", "name", "shape"),
    [  # as printed by the libraries
        ("timm", "se_resnet50", "layer4.2.se.fc2.weight", (2048, 128, 1, 1)),
        ("timm", "se_resnet50", "layer2.0.downsample.1.running_var", (512,)),
        ("timm", "se_resnext50_32x4d", "layer1.0.conv2.weight", (128, 4, 3, 3)),
        ("timm", "senet154", "conv1.3.weight", (64, 64, 3, 3)),
        ("timm", "senet154", "bn1.running_mean", (128,)),
        ("timm", "se_resnet50", "fc.weight", (1000, 2048)),
        ("legacy", "se_resnet50", "layer0.conv1.weight", (64, 3, 7, 7)),
        ("legacy", "se_resnet50", "layer1.0.se_module.fc1.bias", (16,)),
        ("legacy", "senet154", "layer0.bn3.weight", (128,)),
        ("legacy", "se_resnet50", "last_linear.bias", (1000,)),
        ("moskomule", "se_resnet20", "layer3.2.se.fc.2.weight", (64, 16)),
        ("torchvision", "vgg16", "features.41.running_var", (512,)),
        ("torchvision", "vgg16", "classifier.0.weight", (4096, 25088)),
        ("inception", "bn_inception", "inception_3a_double_3x3_2_bn.weight", (96,)),
        ("inception", "bn_inception", "inception_5b_pool_proj.weight", (128, 1024, 1, 1)),
        ("inception", "bn_inception", "inception_4e_3x3_reduce.weight", (128, 608, 1, 1)),
        ("inception", "bn_inception", "conv2_3x3_reduce_bn.running_mean", (64,)),
    ],
)
def test_names_and_shapes_of_other_libraries(scheme, model, name, shape):
    bias = {"bias": True} if model.startswith("se") and scheme != "moskomule" else {}
    found = tensors(models.build(model, **bias), models.image_shape(model), interop.SCHEMES[scheme])
    assert {t.theirs: t.shape for t in found}[name] == shape


# timm's networks in version 1.0.31: the number of arrays, and the digest of their sorted names and shapes without
# num_batches_tracked. test_peers.py compares the networks themselves if timm is installed.
TIMM = {
    ("se_resnet18", "timm"): (134, "2f2589bafbe16357"),
    ("se_resnet34", "timm"): (246, "649a2728f4eed841"),
    ("se_resnet50", "timm"): (331, "c443b87a0500ffa3"),
    ("se_resnext50_32x4d", "timm"): (331, "1322cfc6e0962346"),
    ("senet154", "timm"): (987, "729f089edc6d62e5"),
    ("se_resnet50", "legacy"): (331, "051c18a529f2843e"),
    ("se_resnext50_32x4d", "legacy"): (331, "4e8485207f00485e"),
    ("senet154", "legacy"): (987, "26f99500c79c9bea"),
}


@pytest.mark.parametrize(("name", "scheme"), TIMM)
def test_names_and_shapes_are_those_of_timm(name, scheme):
    """timm rounds the hidden units to multiples of 8; with their shapes, reduction and divisor are inferred."""
    settings = {"reduction": 16, "bias": True, **({"divisor": 8} if name in ("se_resnet18", "se_resnet34") else {})}
    found = tensors(models.build(name, **settings), models.image_shape(name), interop.SCHEMES[scheme])
    lines = sorted(f"{t.theirs} {t.shape}" for t in found)
    digest = hashlib.sha256("\n".join(lines).encode()).hexdigest()
    assert (len(lines), digest[:16]) == TIMM[name, scheme]
    inferred = infer_settings({t.theirs: t.shape for t in found}, name, interop.SCHEMES[scheme])
    assert {setting: inferred.get(setting) for setting in settings} == settings


@pytest.mark.parametrize("placement", ["pre", "post", "identity", "3x3"])
@pytest.mark.parametrize("name", ["se_resnet20", "se_resnet50"])
def test_other_placements_have_no_names(name, placement):
    net, shape = models.build(name, placement=placement), models.image_shape(name)
    with pytest.raises(ValueError, match="timm has no name for"):
        tensors(net, shape, interop.SCHEMES["timm"])
    assert suits(net, shape, "se_numpy")


@pytest.mark.parametrize("setting", [{"gate": "tanh"}, {"squeeze": "max"}, {"squeeze": "none"}])
@pytest.mark.parametrize("name", ["se_resnet20", "se_vgg16", "se_bn_inception"])
def test_other_gates_and_squeezes_have_no_names(name, setting):
    net = models.build(name, **setting)
    with pytest.raises(ValueError, match="has no name for"):
        tensors(net, models.image_shape(name), interop.SCHEMES[suitable_scheme(name)])


def suitable_scheme(name):
    return {"se_resnet20": "timm", "se_vgg16": "torchvision", "se_bn_inception": "inception"}[name]


def test_legacy_basic_blocks_are_refused():
    with pytest.raises(ValueError, match="additional ReLU"):
        tensors(models.build("se_resnet18"), (224, 224, 3), interop.SCHEMES["legacy"])


def test_unknown_names_and_schemes():
    with pytest.raises(ValueError, match=r"\(a, b, c, \.\.\.\) match no known scheme; expected one of se_numpy"):
        detect("abcd")
    with pytest.raises(ValueError, match="no names"):
        detect([])
    with pytest.raises(ValueError, match="unknown scheme 'tim'"):
        interop.load({}, "se_resnet20", scheme="tim")


# ------------------------------------------------------------------------------------------------------------ layouts


def test_layouts_of_filters_matrices_and_flattened_images():
    """Individual values are compared, independently of the conversion code."""
    net, shape, params, state = filled("se_vgg16")
    theirs = interop.dump(net, shape, params, state, scheme="torchvision")
    V = params["stage1"]["conv2"]["V"]
    assert theirs["features.4.weight"][5, 3, 2, 1] == V[2, 1, 3, 5]
    assert theirs["features.3.fc1.weight"][0, 7, 0, 0] == params["stage1"]["se1"]["W1"][0, 7]
    H, W, C = 2, 1, 128  # 64x32 pixels after five poolings
    first, ours = theirs["classifier.0.weight"], params["hidden"]["linear1"]["W"]
    for h, w, c in ((0, 0, 0), (1, 0, 5), (0, 0, 127), (1, 0, 127)):
        assert first[3, (c * H + h) * W + w] == ours[3, (h * W + w) * C + c]
    np.testing.assert_array_equal(theirs["classifier.6.weight"], params["classifier"]["W"])


def test_a_bias_before_a_batch_norm_is_subtracted_from_its_running_mean():
    net, shape, params, state = filled("se_small_vgg")
    arrays = interop.dump(net, shape, params, state)
    assert not arrays["features.0.bias"].any()  # PyTorch's module requires it
    bias = np.linspace(-1, 1, 32)
    back, statistics = interop.load({**arrays, "features.0.bias": bias}, net, shape)
    assert_same(back, params)
    of, before = statistics["stage1"], state["stage1"]
    np.testing.assert_array_equal(of["batchnorm1"]["mean"], before["batchnorm1"]["mean"] - bias)
    np.testing.assert_array_equal(of["batchnorm2"]["mean"], before["batchnorm2"]["mean"])
    with pytest.raises(ValueError, match=r"features\.0\.bias has shape \(3,\); expected \(32,\)"):
        interop.load({**arrays, "features.0.bias": np.zeros(3)}, net, shape)
    without = {name: a for name, a in arrays.items() if name != "features.0.bias"}
    assert_same(interop.load(without, net, shape)[1], state)


@pytest.mark.parametrize("prefix", ["module.", "model.", "module.model.", "_orig_mod."])
def test_wrapper_prefixes_and_batch_counters_are_ignored(prefix):
    net, shape, params, state = filled("se_resnet8")
    arrays = interop.dump(net, shape, params, state)
    wrapped = {prefix + name: a for name, a in arrays.items()} | {f"{prefix}bn1.num_batches_tracked": np.int64(7)}
    assert_same(interop.load(wrapped, net, shape)[0], params)


def test_matrices_and_1x1_convolutions_are_interchangeable():
    net, shape, params, state = filled("se_resnet8")
    arrays = interop.dump(net, shape, params, state, scheme="timm")
    flat = {name: a[:, :, 0, 0] if "se.fc" in name and a.ndim == 4 else a for name, a in arrays.items()}
    flat["fc.weight"] = flat["fc.weight"][:, :, None, None]
    assert_same(interop.load(flat, net, shape)[0], params)


def test_the_widest_dtype_is_used_and_the_source_is_not_modified():
    net, shape, params, state = filled("se_resnet8")
    arrays = interop.dump(net, shape, params, state)
    arrays["bn1.weight"] = arrays["bn1.weight"].astype(np.float16)
    loaded, _ = interop.load(arrays, net, shape)
    assert {a.dtype for _, a in tree.leaves(loaded)} == {np.dtype(np.float64)}
    before = arrays["fc.bias"].copy()
    loaded["classifier"]["b"] += 1
    np.testing.assert_array_equal(arrays["fc.bias"], before)
    half = {name: a.astype(np.float16) for name, a in arrays.items()}
    assert {a.dtype for _, a in tree.leaves(interop.load(half, net, shape)[0])} == {np.dtype(np.float32)}


def test_arrays_that_are_not_floating_point_are_refused():
    net, shape, params, state = filled("se_resnet8")
    arrays = interop.dump(net, shape, params, state)
    with pytest.raises(ValueError, match=r"fc\.weight is not floating-point \(int8\); quantised weights are not"):
        interop.load({**arrays, "fc.weight": arrays["fc.weight"].astype(np.int8)}, net, shape)
    with pytest.raises(ValueError, match=r"fc\.weight has dtype <U1; expected a numeric array"):
        interop.load({**arrays, "fc.weight": np.array(["a"])}, net, shape)


def test_dump_refuses_trees_of_another_network():
    net, shape, params, state = filled("se_resnet8")
    with pytest.raises(ValueError, match=r"classifier\.b is missing"):
        interop.dump(net, shape, {**params, "classifier": {"W": params["classifier"]["W"]}}, state)
    with pytest.raises(ValueError, match=r"extra is unexpected"):
        interop.dump(net, shape, {**params, "extra": np.ones(3)}, state)


@pytest.mark.parametrize(
    ("name", "scheme"), [("se_resnet8", "timm"), ("se_vgg16", "torchvision"), ("se_mobilenet", "se_numpy")]
)
def test_the_default_scheme_of_dump(name, scheme):
    net, shape, params, state = filled(name)
    assert detect(interop.dump(net, shape, params, state)).name == scheme


# ---------------------------------------------------------------------------------------------------------- mismatches


def test_all_differences_are_listed_at_once():
    net, shape, params, state = filled("se_resnet8")
    arrays = interop.dump(net, shape, params, state)
    del arrays["bn1.bias"]
    arrays["fc.bias"] = np.zeros(3)
    arrays["aux.0.weight"] = arrays["aux.1.weight"] = np.zeros(2)
    with pytest.raises(interop.StateDictMismatch) as caught:
        interop.load(arrays, net, shape)
    found = caught.value.comparison
    assert found.missing == ["bn1.bias"]
    assert found.unexpected == ["aux.0.weight", "aux.1.weight"]
    assert found.wrong_shape == [("fc.bias", (3,), (10,))]
    assert str(caught.value).splitlines() == [
        "the tensors (scheme timm) do not fit the network:",
        "  missing: bn1.bias",
        "  unexpected: 2 like aux.0.weight",
        "  wrong shape: fc.bias is (3,), expected (10,)",
    ]


_NET = models.build("se_resnet8")
WEIGHTS = interop.dump(_NET, (8, 8, 3), *layers.init(_NET, (8, 8, 3), np.random.default_rng(0)))


@pytest.mark.parametrize("shape", [(), (0,), (10,), (10, 64, 3, 3), (10, 64, 1), (64, 10), (0, 64), (1, 10, 64)])
@pytest.mark.parametrize("name", ["fc.weight", "layer1.0.se.fc1.weight", "conv1.weight", "bn1.running_mean"])
def test_every_wrong_shape_is_detected(name, shape):
    shapes = {n: a.shape for n, a in WEIGHTS.items()}
    found = compare({**shapes, name: shape}, tensors(_NET, (8, 8, 3), interop.SCHEMES["timm"]))
    assert found.wrong_shape == [(name, shape, shapes[name])]
    assert not found.missing + found.unexpected


@pytest.mark.parametrize("name", ["fc.weight", "layer1.0.se.fc1.weight", "conv1.weight"])
def test_a_scalar_instead_of_an_array(name):
    with pytest.raises(interop.StateDictMismatch, match=rf"{name} is \(\), expected"):
        interop.load({**WEIGHTS, name: np.float32(1)}, "se_resnet8")


def test_long_lists_are_shortened():
    net, shape, params, state = filled("se_resnet8")
    arrays = interop.dump(net, shape, params, state) | {f"odd{chr(97 + i)}.weight": np.zeros(1) for i in range(26)}
    with pytest.raises(interop.StateDictMismatch) as caught:
        interop.load(arrays, net, shape)
    assert "  unexpected: 18 more" in str(caught.value)
    assert len(str(caught.value).splitlines()) < 12


@pytest.mark.parametrize(
    ("file", "requested", "advice"),
    [
        (("se_resnet14", {"bias": True}), ("se_resnet14", {"bias": False}), r"build\('se_resnet14'.*bias=True"),
        (("se_resnet14", {"classes": 100}), ("se_resnet14", {"classes": 10}), r"classes=100"),
        (("se_resnet14", {"reduction": 8}), ("se_resnet14", {"reduction": 4}), r"reduction=8"),
        (("se_resnet14", {}), ("se_resnet20", {}), r"build\('se_resnet14'"),
        (("resnet14", {}), ("se_resnet14", {}), r"build\('resnet14', classes=10\)"),
        (("se_resnet14", {}), ("resnet14", {}), r"build\('se_resnet14'"),
        (("se_small_vgg", {"classes": 4}), ("small_vgg", {}), r"build\('se_small_vgg', classes=4"),
    ],
)
def test_the_network_that_fits_is_suggested(file, requested, advice):
    net = models.build(file[0], **file[1])
    arrays = interop.dump(net, (32, 32, 3), *layers.init(net, (32, 32, 3), np.random.default_rng(0)))
    with pytest.raises(interop.StateDictMismatch, match=advice):
        interop.load(arrays, models.build(requested[0], **requested[1]), (32, 32, 3))
    with pytest.raises(interop.StateDictMismatch, match=advice):
        interop.load(arrays, requested[0], **{"classes": 10, **requested[1]})
    interop.load(arrays, file[0])  # the settings are inferred


def test_the_network_that_fits_is_suggested_if_the_scheme_has_no_names():
    net = models.build("se_resnet14")
    arrays = interop.dump(net, (32, 32, 3), *layers.init(net, (32, 32, 3), np.random.default_rng(0)))
    with pytest.raises(ValueError, match=r"timm has no name for .*these are the tensors of build\('se_resnet14'"):
        interop.load(arrays, "se_mobilenet")


def test_hidden_units_that_fit_no_reduction_ratio():
    net = models.build("se_resnet14")
    arrays = interop.dump(net, (32, 32, 3), *layers.init(net, (32, 32, 3), np.random.default_rng(0)))
    wrong = {n: np.zeros((7, a.shape[1], 1, 1)) if "se.fc1" in n else a for n, a in arrays.items()}
    with pytest.raises(interop.StateDictMismatch, match=r"reduction ratio gives: 7 for 16, 7 for 32, 7 for 64"):
        interop.load(wrong, "se_resnet14")


def test_names_from_files_are_escaped_and_shortened():
    net, shape, params, state = filled("se_resnet8")
    arrays = interop.dump(net, shape, params, state)
    with pytest.raises(interop.StateDictMismatch) as caught:
        interop.load({**arrays, "\x1b[2J\n": np.zeros(1), "x" * 5000: np.zeros(1)}, net, shape)
    assert "\x1b" not in str(caught.value)
    assert max(map(len, str(caught.value).splitlines())) < 200
    with pytest.raises(ValueError, match="no known scheme") as caught:
        detect(["\x1b[2J", "y" * 5000])
    assert "\x1b" not in str(caught.value)
    assert len(str(caught.value)) < 500


def test_invalid_arguments_of_load():
    net, shape, params, state = filled("se_resnet8")
    arrays = interop.dump(net, shape, params, state)
    with pytest.raises(ValueError, match=r"shape is missing; expected the shape \(H, W, C\)"):
        interop.load(arrays, net)
    with pytest.raises(ValueError, match="bias cannot be changed in an existing network"):
        interop.load(arrays, net, shape, bias=True)
    with pytest.raises(ValueError, match="unknown model 'se_resnet9'"):
        interop.load(arrays, "se_resnet9")


def test_the_package_exports_its_names():
    assert all(hasattr(interop, name) for name in interop.__all__)
    with pytest.raises(AttributeError, match="has no attribute 'nothing'"):
        _ = interop.nothing
