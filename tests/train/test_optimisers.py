"""AdamW, clipping and averaged weights in the trainer: every run resumes bit for bit, on a device as well."""

import io
import json

import numpy as np
import pytest
from test_resume import assert_same_results, interrupt
from training import LONG, numbers, run, settings, tiny

from se_numpy import checkpoint, optim, to_host, tree
from se_numpy.analysis.run_page import write_report
from se_numpy.cli import main
from se_numpy.data.batches import Images
from se_numpy.layers import Conv, Dropout, GlobalAveragePool, Linear, ReLU, serial
from se_numpy.train import Config, Learner, Session, Trained, configure, final_test, loop, resume, train

ALL = {"optimiser": "adamw", "lr": 0.01, "clip_norm": 0.5, "ema": 0.9}


@pytest.fixture(autouse=True)
def untimed(monkeypatch):
    monkeypatch.setattr(Session, "seconds_per_step", lambda self: 1.0)
    monkeypatch.setattr(final_test, "curves", lambda *args, **more: None)  # drawing takes longer than the training


@pytest.mark.parametrize("at", [1, 15])
def test_a_run_with_adamw_clipping_and_ema_is_resumed_bit_for_bit(tmp_path, monkeypatch, at):
    monkeypatch.setattr(loop, "SAVE_EVERY", 0)
    monkeypatch.setitem(LONG, "epochs", 3)
    for name, value in ALL.items():
        monkeypatch.setitem(LONG, name, value)
    whole = tmp_path / "whole", run(tmp_path / "whole", **LONG)[0]
    interrupt(tmp_path / "run", monkeypatch, at)
    resume(tmp_path / "run", io.StringIO(), dataset=tiny())
    assert_same_results(tmp_path / "run", whole)
    kinds = set(checkpoint.load(tmp_path / "run" / "last.npz")[0])
    assert kinds == {"params", "state", "velocity", "square", "average_params", "average_state", "counts", "sums"}


def test_the_settings_are_used(tmp_path, monkeypatch):
    seen, step = [], Learner.step

    def spy(self, X, labels, optimiser, lr, **more):
        seen.append((optimiser, more["clip_norm"], more["ema"]))
        return step(self, X, labels, optimiser, lr, **more)

    monkeypatch.setattr(Learner, "step", spy)
    found, text = run(tmp_path / "run", epochs=1, momentum=0.8, weight_decay=0.03, **ALL)
    assert set(seen) == {(optim.AdamW(beta1=0.8, weight_decay=0.03), 0.5, optim.EMA(0.9))}
    assert "AdamW, one-cycle schedule with lr 0.01, no augmentation" in text
    assert "gradients clipped at norm 0.5, EMA of the weights" in " ".join(text.split())
    assert list(found.history[0])[-2:] == ["raw_val_loss", "raw_val_accuracy"]
    page = (write_report(tmp_path / "run", tiny())).read_text()
    assert all(word in page for word in ("adamw", "clip norm", "ema"))


def test_the_averaged_network_is_evaluated_and_loaded(tmp_path):
    """The held-out and the test accuracy are those of the averages, and so is what Trained loads."""
    found, _ = run(tmp_path / "run", epochs=2, ema=0.9)
    trees, meta = checkpoint.load(tmp_path / "run" / "best.npz")
    trained = Trained.load(tmp_path / "run")
    np.testing.assert_array_equal(tree.flatten(trained.params), tree.flatten(trees["average_params"]))
    np.testing.assert_array_equal(tree.flatten(trained.state), tree.flatten(trees["average_state"]))
    assert (tree.flatten(trained.params) != tree.flatten(trees["params"])).any()
    p = trained.probabilities(tiny().test_images)
    assert found.result["test_accuracy"] == (p.argmax(1) == tiny().test_labels).mean()
    loss = -np.log(p[np.arange(len(p)), tiny().test_labels]).mean()
    np.testing.assert_allclose(found.result["test_loss"], loss, rtol=1e-5)
    raw = found.history[meta["history"][-1]["epoch"] - 1]
    assert raw["raw_val_loss"] != raw["val_loss"]


def test_a_run_without_them_is_the_same_as_before(tmp_path):
    """The columns and the arrays of a run with SGD alone; test_older_runs.py compares the whole format."""
    found, text = run(tmp_path / "run", epochs=1)
    assert not any("raw" in name for name in found.history[0])
    assert set(checkpoint.load(tmp_path / "run" / "last.npz")[0]) == {"params", "state", "velocity", "sums"}
    assert "EMA" not in text


def test_a_checkpoint_without_the_moments_is_refused(tmp_path, monkeypatch):
    interrupt(tmp_path / "run", monkeypatch, at=7)
    path = tmp_path / "run" / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"optimiser": "adamw"}))
    before = numbers(tmp_path / "run")
    with pytest.raises(ValueError, match="belongs to a run with optimiser = sgd; expected adamw"):
        resume(tmp_path / "run", io.StringIO(), dataset=tiny())
    np.testing.assert_array_equal(numbers(tmp_path / "run"), before)


def learners(*devices):
    net = serial(Conv(4), ReLU(), GlobalAveragePool(), Dropout(0.2), Linear(3))
    return [Learner(net, (8, 9, 3), seed=0, device=device) for device in devices]


def test_a_device_gives_the_same_results(double):
    host, device = learners("cpu", "gpu")
    for learner in (host, device):
        learner.rates = np.linspace(0, 1, learner.w.size).astype(np.float32)
        images = Images(tiny().train_images, tiny().train_labels, Session(tiny(), settings("x"), "cpu").normalise,
                        learner.device)  # fmt: skip
        for k in range(3):
            batch = images.in_order(slice(30 * k, 30 * k + 30))
            learner.step(*batch, optim.AdamW(), 0.01, clip_norm=0.1, ema=optim.EMA(0.5), rng=np.random.default_rng(k))
    for name in ("w", "v", "s", "average"):
        np.testing.assert_allclose(to_host(getattr(device, name)), getattr(host, name), rtol=1e-3, atol=1e-6)
    assert host.counts == device.counts == {"s": 3, "average": 3}
    assert host.evaluate(images_of(host), average=True)[0] != host.evaluate(images_of(host))[0]


def images_of(learner):
    return Images(tiny().test_images, tiny().test_labels, Session(tiny(), settings("x"), "cpu").normalise)


def test_frozen_parameters_do_not_count_for_clipping():
    """The norm is that of the parameters that are trained, as in PyTorch."""
    free, frozen = learners("cpu", "cpu")
    frozen.rates = np.r_[np.zeros(frozen.w.size - 15), np.ones(15)].astype(np.float32)
    before = frozen.w.copy()
    X, labels = np.random.default_rng(0).standard_normal((6, 8, 9, 3)).astype(np.float32), np.arange(6) % 3
    for learner in (free, frozen):
        learner.step(X, labels, optim.SGD(), 0.1, clip_norm=0.01, rng=np.random.default_rng(0))
    np.testing.assert_array_equal(frozen.w[:-15], before[:-15])
    np.testing.assert_allclose(np.linalg.norm(frozen.g[-15:] / 1.9), 0.01, rtol=1e-3)  # Nesterov: g + 0.9 g
    assert np.linalg.norm(free.g[-15:] / 1.9) < 0.0099


def test_without_an_average_there_is_nothing_to_evaluate():
    (learner,) = learners("cpu")
    with pytest.raises(ValueError, match="the Learner holds no average"):
        learner.evaluate(images_of(learner), average=True)


@pytest.mark.parametrize(
    ("given", "error", "message"),
    [
        ({"clip_norm": 0}, ValueError, "clip_norm is 0; expected a number above 0, or None"),
        ({"ema": 0.9}, TypeError, r"ema is 0.9; expected optim.EMA\(decay\), or None"),
    ],
)
def test_invalid_settings_of_a_step_change_nothing(given, error, message):
    (learner,) = learners("cpu")
    before = learner.w.copy()
    with pytest.raises(error, match=message):
        learner.step(np.ones((2, 8, 9, 3), np.float32), np.arange(2), optim.SGD(), 0.1, **given)
    np.testing.assert_array_equal(learner.w, before)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"optimiser": "adam"}, "optimiser is 'adam'; expected one of sgd, adamw"),
        ({"clip_norm": 0.0}, "clip_norm is 0.0; expected a number above 0"),
        ({"ema": 1.0}, "ema is 1.0; expected a decay above 0 and less than 1, such as 0.999"),
        ({"ema": "0.9"}, "ema is '0.9'; expected a number"),
    ],
)
def test_invalid_settings_are_refused(given, message):
    with pytest.raises(ValueError, match=message):
        configure(tiny(), **given)


def test_the_options_become_settings(capsys):
    assert main(["train", "--optimiser", "adamw", "--clip-norm", "2", "--ema", "0.99", "--print-config"]) == 0
    text = capsys.readouterr().out
    for line in ('optimiser = "adamw"', "clip_norm = 2.0", "ema = 0.99", "lr = 0.003", "weight_decay = 0.05"):
        assert line in text
    assert configure(tiny(), clip_norm=1).clip_norm == 1  # a whole number is a number
    assert Config("se_resnet8", 1, 0.1, False).optimiser == "sgd"


def test_a_copied_learner_continues_with_its_moments_and_averages():
    import copy
    import pickle

    X, labels = np.random.default_rng(0).standard_normal((6, 8, 9, 3)).astype(np.float32), np.arange(6) % 3

    def step(learner):
        learner.step(X, labels, optim.AdamW(), 0.1, ema=optim.EMA(0.9), rng=np.random.default_rng(1))

    (learner,) = learners("cpu")
    step(learner)
    others = [copy.copy(learner), copy.deepcopy(learner), pickle.loads(pickle.dumps(learner))]
    step(learner)
    for other in others:
        assert other.counts == {"s": 1, "average": 1}
        step(other)
        for name in ("w", "v", "s", "average"):
            np.testing.assert_array_equal(getattr(other, name), getattr(learner, name))


def test_timing_the_first_steps_changes_nothing(monkeypatch):
    monkeypatch.undo()  # the real seconds_per_step
    session = Session(tiny(), settings("x", **ALL), "cpu")
    before = tree.map_leaves(np.copy, session.learner.trees())
    session.seconds_per_step()
    for (name, found), (_, old) in zip(tree.leaves(session.learner.trees()), tree.leaves(before), strict=True):
        np.testing.assert_array_equal(found, old, err_msg=name)


def test_own_data_with_all_of_them(tmp_path):
    """A run started from Python; its report and its network."""
    found = train(tiny(), settings(tmp_path / "run", epochs=1, **ALL), io.StringIO())
    assert Trained.load(found.folder).config["ema"] == 0.9
