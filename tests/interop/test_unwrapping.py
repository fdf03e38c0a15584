"""Tests of what training scripts and wrappers add to a state dict: entries, prefixes, averaged weights."""

import random
import warnings

import numpy as np
import pytest

from se_numpy import interop, layers, models
from se_numpy.interop.unwrapping import printed_choices, unwrap

ENTRIES = (
    "state_dict", "model", "model_state", "model_state_dict", "net", "weight", "weights", "params", "network", "module",
    "backbone", "anything",
)  # fmt: skip
AVERAGES = ("state_dict_ema", "model_ema", "ema_state_dict", "ema", "params_ema", "ema_model")
PREFIXES = (
    "module.", "_orig_mod.", "model.", "net.", "backbone.", "encoder.", "_forward_module.", "ema.", "student.",
    "teacher.", "_fsdp_wrapped_module.", "features.", "resnet.", "model.model.", "encoder_q.", "base_model.", "0.",
)  # fmt: skip
INSIDE = ("module", "_orig_mod", "_fsdp_wrapped_module", "_checkpoint_wrapped_module")
KINDS = {"se_resnet8": "timm", "small_vgg": "torchvision", "se_small_inception": "inception"}


def dumped(name, scheme):
    net, shape = models.build(name), (8, 8, 3)
    return interop.dump(net, shape, *layers.init(net, shape, np.random.default_rng(0)), scheme=scheme)


STATE_DICTS = [dumped(*item) for item in KINDS.items()] + [dumped("se_resnet8", "moskomule")]
OWN = dumped("se_resnet8", "se_numpy")
WEIGHTS = STATE_DICTS[0]
HALVED = {name: a / 2 for name, a in WEIGHTS.items()}


def assert_found(source, expected, **choice):
    found = unwrap(source, **choice)
    assert set(found) == set(expected)
    assert all(found[name] is expected[name] or np.array_equal(found[name], expected[name]) for name in expected)


def prefixed(prefix, arrays):
    return {prefix + name: a for name, a in arrays.items()}


def wrapped(seed):
    """Return a state dict and the same one, wrapped at random by prefixes, wrappers inside names, and entries."""
    chance = random.Random(seed)
    names = chance.choice(STATE_DICTS)
    expected = {name: np.zeros(1) for name in names}
    prefix = "".join(chance.choices(PREFIXES, k=chance.randrange(6)))
    inside, after = chance.choice(("", *INSIDE)), chance.randint(1, 3)
    source = {}
    for name, a in expected.items():
        parts = name.split(".")
        parts[after:after] = [inside] if inside and len(parts) > after else []
        source[prefix + ".".join(parts)] = a
    if chance.random() < 0.5:  # torch.optim.swa_utils.AveragedModel counts its updates
        source["n_averaged"] = np.array(3)
    if chance.random() < 0.5:
        source["epoch"] = 3
    for entry in chance.choices(ENTRIES, k=chance.randrange(4)):
        source = {entry: source}
        if chance.random() < 0.5:
            optimizer = {"state": {0: {"exp_avg": np.ones(3)}}, "param_groups": []}
            source |= {"epoch": 3, "best_acc1": np.array(70.5), "optimizer": optimizer, "arch": "seresnet50"}
    return expected, source


@pytest.mark.parametrize("first", range(0, 1000, 250))
def test_any_nesting_of_entries_and_prefixes_is_undone(first):
    for seed in range(first, first + 250):
        expected, source = wrapped(seed)
        with warnings.catch_warnings():
            warnings.simplefilter("error")  # nothing is chosen, so nothing is said
            found = unwrap(source)
        assert set(found) == set(expected), seed
        assert all(found[name] is expected[name] for name in expected), seed


@pytest.mark.parametrize("prefix", ["module.", "_orig_mod.module.", "module._orig_mod.", "model.", "net.", "ema."])
def test_prefixes_of_our_own_names(prefix):
    assert_found(prefixed(prefix, OWN), OWN)


@pytest.mark.parametrize("arrays", [*STATE_DICTS, OWN], ids=len)
def test_names_without_prefixes_are_kept(arrays):
    assert_found(arrays, arrays)
    for part in ("features.", "layer1.", "layer0.", "stage1.", "fc.", "classifier."):
        some = {name: a for name, a in arrays.items() if name.startswith(part)}
        if some:
            assert_found(some, some)


def test_names_that_would_become_equal_are_kept():
    both = {"module.fc.weight": np.ones(3), "fc.weight": np.zeros(3)}
    assert_found(both, both)


def test_a_classifier_outside_the_backbone():
    body = {name: a for name, a in WEIGHTS.items() if not name.startswith("fc.")}
    for head in ("fc.", "head.fc."):
        classifier = {f"{head}{name}": WEIGHTS[f"fc.{name}"] for name in ("weight", "bias")}
        assert_found({**prefixed("backbone.", body), **classifier}, WEIGHTS)


# ----------------------------------------------------------------------------------------------------- several networks


@pytest.mark.parametrize("average", AVERAGES)
@pytest.mark.parametrize("other", ["state_dict", "model", "net", "module"])
def test_averaged_weights_are_chosen_as_in_timm_and_said(average, other):
    source = {"epoch": 7, other: prefixed("module.", WEIGHTS), average: prefixed("module.", HALVED)}
    with pytest.warns(
        interop.ChosenWeights, match=rf"\(EMA\) in {average} are used, as timm does, not those in {other}"
    ):
        assert_found(source, HALVED)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert_found(source, WEIGHTS, ema=False)
        assert_found(source, WEIGHTS, part=other)
        assert_found(source, HALVED, part=average)


def test_the_order_of_timm():
    """timm's load_state_dict looks for state_dict_ema, model_ema, state_dict and model, in this order."""
    names = ["model", "state_dict", "model_ema", "state_dict_ema"]
    for i, last in enumerate(names):
        source = {name: {"fc.weight": np.full(2, float(k))} for k, name in enumerate(names[: i + 1])}
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", interop.ChosenWeights)
            assert unwrap(source)["fc.weight"][0] == i, last
    assert unwrap(source, ema=False)["fc.weight"][0] == 1
    assert unwrap({"state_dict_ema": None, "model": WEIGHTS}).keys() == WEIGHTS.keys()


def test_averaged_weights_beside_others_in_one_state_dict():
    source = {**prefixed("online_model.", WEIGHTS), **prefixed("ema_model.", HALVED), "initted": np.array(True)}
    with pytest.warns(interop.ChosenWeights, match="in ema_model are used"):
        assert_found(source, HALVED)
    assert_found(source, WEIGHTS, ema=False)
    with pytest.warns(interop.ChosenWeights, match="not the others"):
        assert_found({**WEIGHTS, **prefixed("ema.", HALVED)}, HALVED)


def test_a_file_with_averaged_weights_alone():
    assert_found({"model_ema": WEIGHTS, "epoch": 3}, WEIGHTS)
    with pytest.raises(ValueError, match=r"contains averaged weights \(EMA\) alone, as model_ema"):
        unwrap({"model_ema": WEIGHTS}, ema=False)


@pytest.mark.parametrize("flat", [False, True])
def test_several_networks_without_a_rule_are_listed(flat):
    source = {"teacher": WEIGHTS, "student": HALVED}
    if flat:
        source = {**prefixed("teacher.", WEIGHTS), **prefixed("student.", HALVED), "student.head.0.weight": np.ones(2)}
        expected = {**HALVED, "head.0.weight": np.ones(2)}
    else:
        expected = HALVED
    with pytest.raises(
        ValueError, match="several networks: teacher, student; choose one with --part NAME or part=NAME"
    ):
        unwrap(source)
    assert_found(source, WEIGHTS, part="teacher")
    assert_found(source, expected, part="student")
    with pytest.raises(ValueError, match="it has no part 'pupil'; expected one of: teacher, student"):
        unwrap(source, part="pupil")


def test_a_part_that_does_not_exist():
    with pytest.raises(ValueError, match="it has no part 'teacher'; expected one of: state_dict, model"):
        unwrap({"state_dict": WEIGHTS, "model": WEIGHTS}, part="teacher")
    with pytest.raises(ValueError, match="it has no part 'teacher'; expected one of: nothing to choose from"):
        unwrap(WEIGHTS, part="teacher")


# --------------------------------------------------------------------------------------------------------- odd contents


@pytest.mark.parametrize("source", [{}, {"epoch": 3}, {"optimizer": {"state": {0: {"exp_avg": np.ones(2)}}}}, [1, 2]])
def test_sources_without_weights(source):
    with pytest.raises(ValueError, match="state dict"):
        unwrap(source)


def test_a_dict_that_contains_itself():
    source = {}
    source["model"] = source["state_dict"] = source
    with pytest.raises(ValueError, match="state dict"):
        unwrap(source)
    source["net"] = WEIGHTS
    source["model"] = {"again": source}
    with pytest.raises(ValueError, match="state dict"):
        unwrap(source)


def test_other_objects_and_names_that_differ_in_case_alone():
    source = {**WEIGHTS, "epoch": 3, "classes": ["a"], "arch": "x", "FC.weight": np.ones(2), "state": None}
    found = unwrap(source)
    assert set(found) == {*WEIGHTS, "FC.weight"}
    np.testing.assert_array_equal(found["fc.weight"], WEIGHTS["fc.weight"])


def test_dtypes():
    kinds = (np.float16, np.float32, np.float64, np.int64, np.int8, np.bool_, ">f4")
    found = unwrap({f"a.{i}": np.ones(2, kind) for i, kind in enumerate(kinds)})
    assert [a.dtype for a in found.values()][:3] == [np.float32, np.float32, np.float64]
    with pytest.raises(ValueError, match="a has dtype complex64; expected a numeric array"):
        unwrap({"a": np.ones(2, np.complex64)})
    wide = {name: a.astype(np.longdouble) for name, a in WEIGHTS.items()}
    assert interop.load(wide, "se_resnet8")[0]["classifier"]["W"].dtype == np.float64


def test_choices_are_printed_without_a_traceback_of_warnings():
    said = []
    with printed_choices(said.append):
        unwrap({"state_dict": WEIGHTS, "model_ema": HALVED})
    assert len(said) == 1
    assert said[0].count("EMA") == 1
