"""The trainer: results, reproducibility, the use of the test set, and the files of a run."""

import csv
import json
import sys
from dataclasses import dataclass

import cupy_double
import host_kernels
import numpy as np
import pytest
from training import numbers, run, tiny

from se_numpy import checkpoint, models, ops, optim, tree
from se_numpy.data.batches import Images, Normalisation, draw
from se_numpy.layers import Layer, Linear, Parameter, residual, serial
from se_numpy.train import Learner, Session, Trained, configure, learner, session, split, wilson
from se_numpy.train.console import remark


def test_a_run_learns_and_writes_all_files(tmp_path):
    result, text = run(tmp_path / "run", epochs=6)
    folder = tmp_path / "run"
    assert result.result["test_accuracy"] > 0.8
    assert json.loads((folder / "config.json").read_text())["model"] == "se_resnet8"
    assert json.loads((folder / "result.json").read_text()) == result.result
    with (folder / "metrics.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [int(row["epoch"]) for row in rows] == [1, 2, 3, 4, 5, 6]
    assert [float(row["val_loss"]) for row in rows] == [row["val_loss"] for row in result.history]
    for part in ("80,275 parameters", "three colours", "cpu", "ms per step", "on 40 images", "95 % interval"):
        assert part in text


def test_the_test_set_is_used_once_after_the_epoch_is_chosen(tmp_path, monkeypatch):
    seen = []
    measure = Learner.measure
    monkeypatch.setattr(Learner, "measure", lambda self, images: seen.append(len(images)) or measure(self, images))
    result, _ = run(tmp_path / "run", epochs=3)
    assert seen == [9, 9, 9, 40]  # held-out training images after each epoch, then the test set
    best = max(row["val_accuracy"] for row in result.history)
    assert result.history[int(result.result["epoch"]) - 1]["val_accuracy"] == best


def loss_and_accuracy(checkpoint_file, images, labels):
    """Evaluate a saved network without the trainer."""
    p = Trained.load(checkpoint_file).probabilities(images).astype(np.float64)
    return -np.log(p[np.arange(len(labels)), labels] + 1e-300).mean(), (p.argmax(1) == labels).mean()


@pytest.fixture
def a_good_epoch_then_bad_ones(monkeypatch):
    monkeypatch.setitem(optim.SCHEDULES, "constant", lambda lr, total: lambda at: 0.1 if at < 9 else -0.1)
    monkeypatch.setattr(learner, "EVALUATION_BATCH", 7)  # so that 9 and 40 images end with a smaller batch


def test_the_result_belongs_to_the_chosen_network(tmp_path, a_good_epoch_then_bad_ones):
    result, _ = run(tmp_path / "run", epochs=6, schedule="constant")
    data = tiny()
    assert result.result["epoch"] < 6
    expected = loss_and_accuracy(tmp_path / "run" / "best.npz", data.test_images, data.test_labels)
    np.testing.assert_allclose((result.result["test_loss"], result.result["test_accuracy"]), expected, rtol=1e-4)
    last = loss_and_accuracy(tmp_path / "run" / "last.npz", data.test_images, data.test_labels)
    assert abs(last[0] - expected[0]) > 0.1  # otherwise the test could not distinguish them
    held_out = split(data, seed=0)[1]
    row = result.history[-1]
    images, labels = data.train_images[held_out], data.train_labels[held_out]
    expected = loss_and_accuracy(tmp_path / "run" / "last.npz", images, labels)
    np.testing.assert_allclose((row["val_loss"], row["val_accuracy"]), expected, rtol=1e-4)


def test_the_epoch_is_chosen_by_held_out_accuracy(tmp_path, monkeypatch):
    accuracies = iter([0.2, 0.9, 0.5, 0.0])  # three epochs, then the test set
    monkeypatch.setattr(Learner, "measure", lambda self, images: {"loss": 1.0, "accuracy": next(accuracies)})
    result, _ = run(tmp_path / "run", epochs=3)
    assert result.result["epoch"] == 2
    assert checkpoint.load(tmp_path / "run" / "best.npz")[1]["history"][-1]["epoch"] == 2


def test_normalisation_uses_only_the_training_images(tmp_path):
    run(tmp_path / "run", epochs=1)
    data = tiny()
    expected = Normalisation.of(data.train_images[split(data, seed=0)[0]])
    _, meta = checkpoint.load(tmp_path / "run" / "last.npz")
    np.testing.assert_allclose(meta["mean"], expected.mean)
    np.testing.assert_allclose(meta["std"], expected.std)
    assert (np.abs(meta["mean"] - Normalisation.of(data.train_images).mean) > 0).all()


def test_every_setting_is_used(tmp_path, monkeypatch):
    seen = {"draws": [], "steps": []}
    step, draw = Learner.step, session.draw

    def spy_step(self, X, labels, optimiser, lr, **more):
        loss, right = step(self, X, labels, optimiser, lr, **more)
        seen["steps"].append((len(labels), float(loss), optimiser, lr, more.get("smoothing")))
        return loss, right

    def spy_draw(rng, n, *, augment):
        seen["draws"].append((draws := draw(rng, n, augment=augment), augment))
        return draws

    monkeypatch.setattr(Session, "seconds_per_step", lambda self: 1.0)
    monkeypatch.setattr(Learner, "step", spy_step)
    monkeypatch.setattr(session, "draw", spy_draw)
    settings = {"momentum": 0.7, "weight_decay": 0.03, "label_smoothing": 0.2, "augment": True, "schedule": "cosine"}
    result, _ = run(tmp_path / "run", **settings)
    sizes, losses, optimisers, rates, smoothings = zip(*seen["steps"], strict=True)
    assert sizes == (32, 32, 17) * 2
    np.testing.assert_allclose(result.history[0]["train_loss"], np.dot(sizes[:3], losses[:3]) / 81, rtol=1e-5)
    assert set(optimisers) == {optim.SGD(momentum=0.7, weight_decay=0.03, nesterov=True)}
    np.testing.assert_allclose(rates, [optim.cosine(0.1, 6)(at) for at in range(6)])
    assert set(smoothings) == {0.2}
    (first, augment), (second, _) = seen["draws"]
    assert augment
    assert (first.order != second.order).any()
    assert (first.top != second.top).any()


def test_equal_seeds_give_equal_results_and_other_seeds_do_not(tmp_path):
    for name, seed in (("a", 5), ("b", 5), ("c", 6)):
        run(tmp_path / name, seed=seed)
    a, b, c = (numbers(tmp_path / name) for name in "abc")
    np.testing.assert_array_equal(a, b)
    assert (a != c).any()


def test_timing_the_first_steps_does_not_change_the_results(tmp_path, monkeypatch):
    run(tmp_path / "timed")
    monkeypatch.setattr(Session, "seconds_per_step", lambda self: 1.0)
    run(tmp_path / "untimed")
    np.testing.assert_array_equal(numbers(tmp_path / "timed"), numbers(tmp_path / "untimed"))


def test_training_and_held_out_images_do_not_overlap():
    training, held_out = split(tiny(), seed=3)
    assert sorted([*training, *held_out]) == list(range(90))
    assert len(held_out) == 9
    assert (split(tiny(), seed=4)[1] != held_out).any()


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"epochs": 0}, "epochs is 0"),
        ({"batch_size": -1}, "batch_size is -1"),
        ({"lr": float("nan")}, "lr is nan"),
        ({"weight_decay": -1.0}, "weight_decay is -1.0"),
        ({"schedule": "linear"}, "schedule is 'linear'; expected one of constant"),
        ({"seed": -1}, "seed is -1"),
        ({"momentum": 1.0}, "momentum is 1.0"),
        ({"label_smoothing": 1.5}, "label_smoothing is 1.5"),
    ],
)
def test_invalid_settings_are_refused(settings, message):
    with pytest.raises(ValueError, match=message):
        configure(tiny(), **settings)


@pytest.mark.parametrize("settings", [{"reduction": 64}, {"model": "resnet9"}, {"device": "gpu"}])
def test_a_run_that_fails_to_start_leaves_no_files(tmp_path, monkeypatch, settings):
    monkeypatch.setitem(sys.modules, "cupy", None)
    with pytest.raises((ValueError, RuntimeError)):
        run(tmp_path / "run", **settings)
    assert not list(tmp_path.iterdir())


def test_an_invalid_number_of_threads_is_refused_before_anything_is_written(tmp_path, monkeypatch):
    monkeypatch.setenv("SE_NUMPY_THREADS", "many")
    with pytest.raises(ValueError, match="SE_NUMPY_THREADS is 'many'"):
        run(tmp_path / "run")
    assert not list(tmp_path.iterdir())


def test_an_interruption_during_timing_leaves_no_files(tmp_path, monkeypatch):
    def interrupted(*args):
        raise KeyboardInterrupt

    monkeypatch.setattr(Session, "seconds_per_step", interrupted)
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path / "run")
    assert not list(tmp_path.iterdir())


def test_a_folder_that_is_not_empty_is_refused_and_not_changed(tmp_path):
    (tmp_path / "precious.txt").write_text("mine")
    with pytest.raises(ValueError, match="not an empty folder"):
        run(tmp_path)
    assert (tmp_path / "precious.txt").read_text() == "mine"


@pytest.mark.parametrize(
    ("model", "accuracy", "expected"),
    [
        ("resnet8", 0.17, "this network cannot exceed 60 % on this data set"),
        ("se_resnet8", 0.99, "without SE blocks this network cannot exceed 60 % on this data set"),
        ("se_resnet8", 0.13, ""),
        ("resnet20", 0.17, ""),
    ],
)
def test_the_note_depends_on_the_network_and_the_accuracy(model, accuracy, expected):
    note = remark("builtin", model, accuracy)
    assert expected in note
    assert bool(note) == bool(expected)
    assert remark("cifar10", model, accuracy) == ""


def test_a_training_step_on_a_device_neither_waits_nor_uploads(double):
    """A step needs no synchronisation, and the number of kernel launches is limited."""
    learner = Learner(models.build("se_resnet20"), (8, 8, 3), seed=0, device="gpu")
    X = double.asarray(np.random.default_rng(0).standard_normal((4, 8, 8, 3)).astype(np.float32))
    labels = double.asarray(np.array([0, 1, 2, 9]))
    with cupy_double.counting() as (launches, syncs):
        loss, right = learner.step(X, labels, optim.SGD(weight_decay=5e-4), 0.1)
    assert syncs == cupy_double.uploads == []
    assert loss.shape == right.shape == ()
    if host_kernels.available():  # without the kernels, NumPy-style operations would be counted
        assert len(launches) <= 256


def test_a_step_updates_the_running_statistics():
    learner = Learner(models.build("se_resnet8", classes=3), (8, 9, 3), seed=0)
    net, state = learner.net, tree.map_leaves(np.copy, learner.state)
    X = np.random.default_rng(0).standard_normal((5, 8, 9, 3)).astype(np.float32)
    _, cache = net.forward(learner.params, state, X, train=True)
    net.update_running(state, cache)
    learner.step(X, np.arange(5) % 3, optim.SGD(), 0.1)
    np.testing.assert_allclose(learner.running, tree.flatten(state), rtol=1e-3, atol=1e-5)


def test_interval_of_a_proportion():
    low, high = wilson(0.82, 10_000)
    np.testing.assert_allclose([low, high], [0.8124, 0.8274], atol=2e-4)
    assert wilson(1.0, 10)[1] == 1.0
    assert wilson(0.0, 10)[0] == 0.0


def test_a_trained_network_is_loaded_with_its_se_settings(tmp_path):
    """Every ablation setting is preserved from the configuration through training to the checkpoint."""
    gates = {"model": "se_resnet8", "reduction": 2, "bias": True, "gate": "tanh", "squeeze": "max", "stages": (1, 3),
             "placement": "pre"}  # fmt: skip
    run(tmp_path / "run", epochs=1, **gates)
    trained = Trained.load(tmp_path / "run" / "best.npz")
    given = dict(gates)
    assert trained.net == models.build(given.pop("model"), classes=3, **given)
    assert {name: trained.config[name] for name in given} == {**given, "stages": [1, 3]}


def test_a_subset_reduces_the_training_images_only(tmp_path):
    whole, part = run(tmp_path / "a", epochs=1), run(tmp_path / "b", epochs=1, subset=40)
    assert "81 training images, 9 held out" in whole[1]
    assert "40 training images, 9 held out" in part[1]


def test_the_figure_shows_test_images_with_predictions(tmp_path, monkeypatch, a_good_epoch_then_bad_ones):
    """The predictions are those of the best epoch, not of the last."""
    pytest.importorskip("matplotlib")
    from matplotlib.figure import Figure

    drawn, save = [], Figure.savefig
    monkeypatch.setattr(Figure, "savefig", lambda self, *args, **more: drawn.append(self) or save(self, *args, **more))
    result, _ = run(tmp_path / "run", epochs=6, schedule="constant")
    assert result.result["epoch"] < 6
    data = tiny()
    p = Trained.load(tmp_path / "run" / "best.npz").probabilities(data.test_images[:8])
    panels = drawn[0].subfigs[1].axes
    assert [axes.get_title() for axes in panels] == [data.classes[k] for k in p.argmax(1)]
    for axes, k, label in zip(panels, p.argmax(1), data.test_labels, strict=False):
        assert axes.get_xlabel() == ("correct" if k == label else f"true: {data.classes[label]}")


@pytest.mark.parametrize("net", [residual(Linear(4), Linear(4)), Linear(3), serial(residual(Linear(4)))], ids=str)
def test_a_step_follows_the_gradient_of_the_plain_network(net):
    """This also holds for a network that is a residual or a single layer."""
    rng = np.random.default_rng(0)
    X, labels = rng.standard_normal((6, 4), np.float32), np.array([0, 1, 2, 0, 1, 2])
    learned = Learner(net, (4,), seed=0)
    before = learned.w.copy()
    logits, cache = net.forward(learned.params, learned.state, X, train=True)
    _, grads = net.backward(learned.params, cache, ops.softmax_cross_entropy_backward(1.0, logits, labels))
    loss, _ = learned.step(X, labels, optim.SGD(momentum=0, nesterov=False), 0.5)
    np.testing.assert_allclose(loss, ops.softmax_cross_entropy(logits, labels), rtol=1e-6)
    np.testing.assert_allclose(learned.w, before - 0.5 * tree.flatten(grads), rtol=1e-5, atol=1e-6)


@dataclass(frozen=True)
class TwoOrders(Layer):
    """y = a x + b, with gradients in a different order from the parameters."""

    def parameters(self, shape):
        return {"a": Parameter(shape, 1.0), "b": Parameter(shape)}

    def forward(self, params, state, X, *, train=False, rng=None):
        return params["a"] * X + params["b"], X

    def backward(self, params, cache, dY):
        return params["a"] * dY, {"b": dY.sum(0), "a": (dY * cache).sum(0)}


def test_gradients_are_matched_to_parameters_by_name():
    X, labels = np.random.default_rng(0).standard_normal((6, 4), np.float32), np.array([0, 1, 2, 0, 1, 2])
    learned = Learner(TwoOrders(), (4,), seed=0)
    _, grads = learned.compiled.backward(
        learned.params, learned.compiled.forward(learned.params, {}, X)[1],
        ops.softmax_cross_entropy_backward(1.0, X, labels),
    )  # fmt: skip
    learned.step(X, labels, optim.SGD(momentum=0, nesterov=False), 0.5)
    np.testing.assert_allclose(learned.params["a"], 1 - 0.5 * grads["a"], rtol=1e-5)
    np.testing.assert_allclose(learned.params["b"], -0.5 * grads["b"], rtol=1e-5, atol=1e-7)


def test_reprs_are_short():
    data = tiny()
    normalise = Normalisation.of(data.train_images)
    network = Trained(models.build("se_resnet8"), {}, {}, normalise, data.classes, data.image_shape, {})
    learner = Learner(models.build("se_resnet8"), data.image_shape, 0)
    predictor = learner.compiled.predictor(learner.params, learner.state)
    images = Images(data.train_images, data.train_labels, normalise)
    draws = draw(np.random.default_rng(0), 5000, augment=True)
    for thing in (data, normalise, network, draws, images, learner, learner.compiled, predictor):
        assert len(repr(thing)) < 140
    learned = Trained(learner.net, learner.params, learner.state, normalise, data.classes, data.image_shape,
                      {"model": "se_resnet8"})  # fmt: skip
    parameters = f"{learner.w.size:,} parameters"
    size = "x".join(map(str, data.image_shape))
    assert repr(learned) == f"<Trained se_resnet8: {parameters}, images {size}, {len(data.classes)} classes>"
    assert repr(learner) == f"<Learner: {parameters} float32 on cpu, input {size}, 10 classes>"
    assert repr(predictor).endswith(" parameters, batch norm folded>")
    assert repr(learner.compiled).startswith("<Compiled Serial of ")
