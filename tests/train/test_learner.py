"""Copies, pickles and assignments keep a Learner consistent; invalid values and batches are refused."""

import copy
import pickle

import cupy_double
import numpy as np
import pytest

from se_numpy import optim, to_host, tree
from se_numpy.data.batches import Images, Normalisation
from se_numpy.layers import BatchNorm, Conv, Dropout, Flatten, GlobalAveragePool, Linear, ReLU, residual, serial
from se_numpy.train import Learner, Trained

SHAPE, SGD = (6, 5, 3), optim.SGD(weight_decay=1e-3)
NET = serial(
    Conv(4), BatchNorm(), ReLU(), residual(serial(Conv(4), BatchNorm())), GlobalAveragePool(), Dropout(0.3), Linear(5)
)
COPIES = {
    "deepcopy": copy.deepcopy,
    "copy": copy.copy,
    "pickle": lambda thing: pickle.loads(pickle.dumps(thing)),
    "deepcopy of a pickle": lambda thing: copy.deepcopy(pickle.loads(pickle.dumps(thing))),
}


def batch(seed=0, N=8, dtype=np.float32):
    rng = np.random.default_rng(seed)
    return rng.standard_normal((N, *SHAPE)).astype(dtype), rng.integers(0, 5, N)


def trained(steps=3, device="cpu"):
    """Return a Learner after some steps, and the random generator for its dropout."""
    learner, rng = Learner(NET, SHAPE, seed=0, device=device), np.random.default_rng(7)
    train(learner, rng, steps)
    return learner, rng


def train(learner, rng, steps=3):
    """Train for some steps on the learner's device and return the losses."""
    to = cupy_double.asarray if learner.device == "gpu" else np.asarray
    return [float(learner.step(*map(to, batch(seed)), SGD, 0.1, rng=rng)[0]) for seed in range(steps)]


def numbers(learner):
    return {name: to_host(getattr(learner, name)).copy() for name in ("w", "running", "v", "g")}


def assert_equal(found, wanted):
    for name, vector in wanted.items():
        np.testing.assert_array_equal(found[name], vector, err_msg=name)


def assert_consistent(learner):
    """Check that the trees are views into the vectors."""
    for vector, views in ((learner.w, learner.params), (learner.running, learner.state)):
        vector[...] = np.arange(vector.size)
        np.testing.assert_array_equal(tree.flatten(views), np.arange(vector.size))


@pytest.mark.parametrize("copied", COPIES.values(), ids=COPIES)
def test_a_copy_trains_exactly_as_the_original(copied):
    learner, rng = trained()
    other, other_rng = copied(learner), copy.deepcopy(rng)
    before = numbers(learner)
    assert_equal(numbers(other), before)
    losses = train(other, other_rng)
    assert len(set(losses)) == 3
    assert_equal(numbers(learner), before)  # the original is unchanged
    assert train(learner, rng) == losses
    assert_equal(numbers(other), numbers(learner))
    images = Images(np.full((4, *SHAPE), 99, np.uint8), np.arange(4), Normalisation(np.zeros(3), np.ones(3)))
    assert other.evaluate(images) == learner.evaluate(images)
    assert_consistent(other)


def test_a_copy_keeps_the_class_and_other_attributes():
    class Named(Learner):
        pass

    learner = Named(Linear(5), (3,), seed=0)
    learner.history = [1, 2]
    other = copy.deepcopy(learner)
    assert type(other) is Named
    assert (other.history, other.net, other.shape, other.classes) == ([1, 2], Linear(5), (3,), 5)
    assert other.history is not learner.history


def test_a_copy_stays_on_the_device(double):
    learner, rng = trained(device="gpu")
    other = copy.deepcopy(learner)
    assert isinstance(other.w, double.ndarray)
    assert train(other, copy.deepcopy(rng)) == train(learner, rng)
    assert_equal(numbers(other), numbers(learner))


def scaled(learner, name, by=0.5):
    value = getattr(learner, name)
    return tree.map_leaves(lambda leaf: by * leaf, value) if isinstance(value, dict) else by * value


@pytest.mark.parametrize("name", ["params", "state", "w", "running", "v", "g"])
def test_training_continues_from_assigned_values(name):
    """Assigning is equivalent to writing into the arrays; the given arrays are not changed."""
    (learner, rng), (expected, expected_rng) = trained(), trained()
    given = scaled(learner, name)
    setattr(learner, name, given)
    vector = getattr(expected, {"params": "w", "state": "running"}.get(name, name))
    vector *= 0.5
    assert_equal(numbers(learner), numbers(expected))
    before = copy.deepcopy(given)
    losses = train(learner, rng)
    assert losses == train(expected, expected_rng)
    assert_equal(numbers(learner), numbers(expected))
    np.testing.assert_array_equal(given if not isinstance(given, dict) else tree.flatten(given),
                                  before if not isinstance(before, dict) else tree.flatten(before))  # fmt: skip
    assert_consistent(learner)


def test_an_assigned_copy_of_the_state_is_still_trained():
    learner, rng = trained()
    learner.state = copy.deepcopy(learner.state)
    learner.w = learner.w.copy()
    before = tree.map_leaves(np.copy, {"params": learner.params, "state": learner.state})
    train(learner, rng)
    for kind in ("params", "state"):
        for (name, leaf), (_, old) in zip(tree.leaves(getattr(learner, kind)), tree.leaves(before[kind]), strict=True):
            assert (leaf != old).any(), name


def test_training_continues_from_an_array_assigned_to_a_part():
    learner, rng = trained()
    learner.params["linear1"]["b"] = np.full(5, 3.0)
    assert (learner.w[-5:] == 3).all()
    train(learner, rng)
    assert (learner.params["linear1"]["b"] != 3).all()
    assert_consistent(learner)


@pytest.mark.parametrize(
    ("name", "value", "error", "message"),
    [
        ("params", {"conv1": {"V": np.ones(3)}}, ValueError, r"params.batchnorm1.gamma is missing.* and \d more"),
        ("params", np.ones(3), ValueError, "params.conv1.V is missing"),
        ("state", {}, ValueError, "state.batchnorm1.mean is missing"),
        ("w", np.ones(3), ValueError, r"w has shape \(3,\), expected \(293,\)"),
        ("w", [1.0], TypeError, "w is a list"),
        ("w", np.ones(293, int), TypeError, "w has dtype int64; expected float32 or float64"),
        ("w", np.ones(293, complex), TypeError, "w is complex128; expected an array of real numbers"),
        ("v", np.ones(3), ValueError, r"v has shape \(3,\), expected \(293,\)"),
        ("running", np.ones((16, 1)), ValueError, r"running has shape \(16, 1\), expected \(16,\)"),
        ("net", Linear(5), AttributeError, "net of a Learner is fixed; create a new Learner"),
        ("device", "gpu", AttributeError, "device of a Learner is fixed"),
    ],
)  # fmt: skip
def test_invalid_values_are_refused_and_change_nothing(name, value, error, message):
    learner, _ = trained()
    before = numbers(learner)
    with pytest.raises(error, match=message):
        setattr(learner, name, value)
    assert_equal(numbers(learner), before)


def test_w_determines_the_dtype_and_the_device(double):
    learner = Learner(NET, SHAPE, seed=0)
    start, rng = learner.w.copy(), np.random.default_rng(7)
    learner.w = start.astype(np.float64) + 1e-12
    assert {vector.dtype for vector in numbers(learner).values()} == {np.dtype(np.float64)}
    np.testing.assert_array_equal(learner.w, start.astype(np.float64) + 1e-12)
    loss, _ = learner.step(*batch(dtype=np.float64), SGD, 0.1, rng=rng)
    assert loss.dtype == np.float64
    learner.w = double.asarray(start)
    assert learner.device == "gpu"
    train(learner, rng)
    assert isinstance(learner.params["conv1"]["V"], double.ndarray)
    learner.w = start
    assert (learner.device, learner.w.dtype) == ("cpu", np.float32)
    assert_consistent(learner)


def test_a_checkpoint_without_velocity_starts_with_velocity_0():
    learner, _ = trained()
    trees = tree.map_leaves(np.copy, learner.trees())
    train(learner, np.random.default_rng(0))
    del trees["velocity"]
    learner.restore(trees)
    assert not learner.v.any()
    np.testing.assert_array_equal(learner.w, tree.flatten(trees["params"]))
    for kind in ("params", "state"):
        with pytest.raises(ValueError, match=f"{kind}.* is missing"):
            learner.restore({name: t for name, t in trees.items() if name != kind})
    np.testing.assert_array_equal(learner.w, tree.flatten(trees["params"]))


# ---------------------------------------------------------------------------------------------------- invalid inputs

X, LABELS = batch()


@pytest.mark.parametrize(
    ("images", "labels", "error", "message"),
    [
        (X.transpose(0, 3, 1, 2), LABELS, ValueError,
         r"images have shape \(8, 3, 6, 5\); expected \(N, 6, 5, 3\), channels last: images.transpose\(0, 2, 3, 1\)"),
        (X[0], LABELS, ValueError, r"images have shape \(6, 5, 3\); expected \(N, 6, 5, 3\)"),
        (X[..., :1], LABELS, ValueError, r"images have shape \(8, 6, 5, 1\); expected"),
        (X.astype(np.uint8), LABELS, TypeError, "images has dtype uint8; expected float32 or float64"),
        (X.tolist(), LABELS, TypeError, "images is a list"),
        (X, LABELS[:5], ValueError, r"labels have shape \(5,\); expected \(8,\), one for each image$"),
        (X, LABELS[:, None], ValueError, r"labels have shape \(8, 1\); expected \(8,\)"),
        (X, np.eye(5, dtype=int)[LABELS], ValueError, r"\(8, 5\); .* one for each image: labels.argmax\(1\)"),
        (X, LABELS.astype(np.float32), TypeError, "labels are float32; expected an array of integers, 0 to 4"),
        (X, LABELS.astype(str), TypeError, "labels are <U21; expected an array of integers"),
        (X, LABELS.tolist(), TypeError, "labels are list; expected an array of integers"),
        (X, np.where(np.arange(8) == 6, 5, 0), ValueError, r"labels\[6\] is 5; expected 0 to 4, for the net"),
        (X, np.where(np.arange(8) == 2, -1, 0), ValueError, r"labels\[2\] is -1"),
        (X, np.ma.array(LABELS), TypeError, "labels is a masked array"),
    ],
)  # fmt: skip
def test_an_invalid_batch_is_refused_and_changes_nothing(images, labels, error, message):
    learner, rng = trained()
    before = numbers(learner)
    with pytest.raises(error, match=message):
        learner.step(images, labels, SGD, 0.1, rng=rng)
    assert_equal(numbers(learner), before)


def test_evaluation_refuses_invalid_images():
    learner, plain = Learner(NET, SHAPE, seed=0), Normalisation(np.zeros(3), np.ones(3))
    with pytest.raises(ValueError, match=r"images has shape \(4, 3, 6, 5\); .*channels last: images.transpose"):
        Images(np.zeros((4, 3, 6, 5), np.uint8), np.zeros(4, int), plain)
    with pytest.raises(ValueError, match=r"images have shape \(4, 6, 5, 4\); expected \(N, 6, 5, 3\)"):
        learner.evaluate(Images(np.zeros((4, 6, 5, 4), np.uint8), np.zeros(4, int), Normalisation([0] * 4, [1] * 4)))
    with pytest.raises(ValueError, match=r"labels\[3\] is 5"):
        learner.evaluate(Images(np.zeros((4, *SHAPE), np.uint8), np.array([0, 1, 2, 5]), plain))
    with pytest.raises(ValueError, match="got 0 images; expected at least 1"):
        learner.evaluate(Images(np.zeros((0, *SHAPE), np.uint8), np.zeros(0, int), plain))
    with pytest.raises(TypeError, match=r"images are ndarray; expected Images\(images, labels, normalise\)"):
        learner.evaluate(X)


def test_a_channels_first_shape_is_refused():
    with pytest.raises(ValueError, match=r"shape is \(3, 32, 32\); expected \(H, W, C\), channels last: \(32, 32, 3\)"):
        Learner(NET, (3, 32, 32), seed=0)


def test_images_of_another_size_are_accepted_if_the_network_accepts_them():
    learner, rng = trained()
    loss, _ = learner.step(np.ones((4, 9, 7, 3), np.float32), np.arange(4), SGD, 0.1, rng=rng)
    assert np.isfinite(loss)


def test_a_learner_refuses_batch_norm_on_one_value():
    learner = Learner(serial(Linear(4), BatchNorm(), Linear(5)), (3,), seed=0)
    before = numbers(learner)
    with pytest.raises(ValueError, match=r"BatchNorm got maps of shape \(1, 4\) in training, 1 value per channel"):
        learner.step(np.ones((1, 3), np.float32), np.array([0]), SGD, 0.1)
    assert_equal(numbers(learner), before)


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"optimiser": None}, TypeError, r"the optimiser is None; expected one such as optim.SGD\(\)"),
        ({"lr": None}, ValueError, "lr is None; expected a finite number"),
        ({"lr": "0.1"}, ValueError, "lr is '0.1'; expected a finite number"),
        ({"lr": float("nan")}, ValueError, "lr is nan; expected a finite number"),
        ({"lr": True}, ValueError, "lr is True; expected a finite number"),
        ({"smoothing": "x"}, ValueError, "smoothing is 'x'; expected 0 <= smoothing <= 1"),
        ({"smoothing": 1.5}, ValueError, "smoothing is 1.5; expected 0 <= smoothing <= 1"),
    ],
)  # fmt: skip
def test_an_invalid_setting_of_a_step_changes_nothing(change, error, message):
    learner, rng = trained()
    before = numbers(learner)
    settings = {"optimiser": SGD, "lr": 0.1, **change}
    with pytest.raises(error, match=message):
        learner.step(X, LABELS, **settings, rng=rng)
    assert_equal(numbers(learner), before)


@pytest.mark.parametrize(
    ("net", "shape", "seed", "message"),
    [
        (None, SHAPE, 0, "got None; expected a network: a Layer"), ((Conv(3), ReLU()), SHAPE, 0, "expected a network"),
        (Conv, SHAPE, 0, "expected a network: a Layer"),
        (Conv(3), SHAPE, 0, r"the network returns an array of shape \(6, 5, 3\) for each image; expected one of"),
        (NET, None, 0, "shape is None; expected the sizes of one input"),
        (NET, 32, 0, "shape is 32; expected the sizes of one input"),
        (NET, (6.0, 5, 3), 0, r"shape\[0\] is 6.0; expected a whole number"),
        (NET, (6, 0, 3), 0, r"shape\[1\] is 0; expected a whole number, at least 1"),
        (NET, SHAPE, None, "seed is None; expected a whole number, at least 0"),
        (NET, SHAPE, -1, "seed is -1; expected a whole number, at least 0"),
        (NET, SHAPE, 2.5, "seed is 2.5; expected a whole number, at least 0"),
    ],
)  # fmt: skip
def test_what_a_learner_is_made_of_is_checked(net, shape, seed, message):
    with pytest.raises((TypeError, ValueError), match=message):
        Learner(net, shape, seed=seed)


def test_images_of_a_size_that_the_parameters_do_not_fit_are_refused():
    net = serial(Flatten(), Linear(5))
    learner = Learner(net, SHAPE, seed=0)
    message = r"images have shape \(N, 6, 4, 3\); expected \(N, 6, 5, 3\), the only size that fits the parameters"
    with pytest.raises(ValueError, match=message):
        learner.step(X[:, :, :4], LABELS, SGD, 0.1)
    plain = Normalisation(np.zeros(3), np.ones(3))
    network = Trained(net, learner.params, learner.state, plain, tuple("abcde"), SHAPE, {})
    with pytest.raises(ValueError, match=message):
        network.probabilities(np.zeros((2, 6, 4, 3), np.uint8))


@pytest.mark.parametrize("value", [-0.1, float("nan"), float("inf"), True, "x", None])
def test_an_optimiser_has_numbers_as_settings(value):
    for name in ("momentum", "weight_decay"):
        with pytest.raises(ValueError, match=f"{name} of SGD is .*; expected a number, at least 0"):
            optim.SGD(**{name: value})
    with pytest.raises(ValueError, match="momentum of SGD is 1; expected"):
        optim.SGD(momentum=1)
    with pytest.raises(TypeError, match="nesterov of SGD is 'yes'; expected True or False"):
        optim.SGD(nesterov="yes")
