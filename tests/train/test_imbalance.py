"""Class weights, the note about imbalanced classes, and runs that end early."""

import io
import json
from dataclasses import replace

import numpy as np
import pytest
from test_resume import interrupt
from training import LONG, run, settings, tiny

from se_numpy import optim, to_host
from se_numpy.analysis.runs import comparable, read_run
from se_numpy.layers import GlobalAveragePool, Linear, serial
from se_numpy.train import Learner, Session, configure, final_test, loop, resume, train


@pytest.fixture(autouse=True)
def untimed(monkeypatch):
    monkeypatch.setattr(Session, "seconds_per_step", lambda self: 1.0)
    monkeypatch.setattr(final_test, "curves", lambda *args, **more: None)  # drawing takes longer than the training


def imbalanced():
    """Return a data set with 60, 20 and 10 training images of its classes."""
    labels = np.repeat([0, 1, 2], [60, 20, 10])
    return replace(tiny(), train_labels=labels)


@pytest.mark.parametrize("device", ["cpu", "gpu"])
def test_the_gradient_is_that_of_pytorch_with_class_weights(request, device):
    torch = pytest.importorskip("torch")
    to = request.getfixturevalue("double").asarray if device == "gpu" else np.asarray
    learner = Learner(serial(GlobalAveragePool(), Linear(3)), (8, 9, 4), seed=0, device=device)
    rng = np.random.default_rng(0)
    X, labels = rng.standard_normal((7, 8, 9, 4)).astype(np.float32), rng.integers(0, 3, 7)
    weights = np.array([0.5, 1.0, 4.0], np.float32)
    W, b = (torch.from_numpy(to_host(p).copy()).requires_grad_() for p in learner.params["linear1"].values())
    logits = torch.from_numpy(X.mean((1, 2))) @ W.T + b
    plain = torch.nn.functional.cross_entropy(logits, torch.from_numpy(labels))
    loss = torch.nn.functional.cross_entropy(
        logits, torch.from_numpy(labels), weight=torch.from_numpy(weights), reduction="sum"
    )
    (loss / 7).backward()
    found, _ = learner.step(to(X), to(labels), optim.SGD(momentum=0), 0.0, class_weights=to(weights))
    np.testing.assert_allclose(float(found), plain.item(), rtol=1e-5)
    expected = np.concatenate([W.grad.numpy().ravel(), b.grad.numpy()])
    np.testing.assert_allclose(to_host(learner.g), expected, rtol=1e-4, atol=1e-6)


def test_balanced_weights_give_every_class_the_same_influence():
    session = Session(imbalanced(), settings("x", class_weights="balanced"), "cpu")
    weights, labels = session.class_weights, session.training.labels
    shares = np.bincount(labels, weights[labels])
    np.testing.assert_allclose(shares, shares.mean(), rtol=1e-5)
    np.testing.assert_allclose(weights[labels].mean(), 1, rtol=1e-5)
    given = Session(imbalanced(), settings("x", class_weights="1,2,0.5"), "cpu").class_weights
    np.testing.assert_array_equal(given, [1, 2, 0.5])
    assert Session(imbalanced(), settings("x"), "cpu").class_weights is None


def test_a_class_without_training_images_has_a_weight():
    config = configure(tiny(), class_weights="balanced")
    np.testing.assert_allclose(config.weights_of_classes(np.array([0, 0, 0, 2]), 3), [4 / 6, 2, 2])


def test_class_weights_change_what_is_learned(tmp_path):
    plain, weighted = (
        train(imbalanced(), settings(tmp_path / name, epochs=1, class_weights=name), io.StringIO())
        for name in ("1,1,1", "balanced")
    )
    assert plain.history[0]["train_loss"] != weighted.history[0]["train_loss"]


@pytest.mark.parametrize("given", ["1,2", "1,2,x", "1,2,-1", "1,2,0", "1,2,nan", "1,2,inf", "", "even"])
def test_wrong_class_weights_are_refused_before_anything_is_written(tmp_path, given):
    with pytest.raises(ValueError, match="expected balanced, or 3 numbers above 0, one for each class"):
        run(tmp_path / "run", class_weights=given)
    assert not (tmp_path / "run").exists()


def test_imbalanced_classes_are_said(tmp_path):
    outs = []
    for data, more in ((imbalanced(), {}), (imbalanced(), {"class_weights": "balanced"}), (tiny(), {})):
        out = io.StringIO()
        train(data, settings(tmp_path / "x", **more), out, dry_run=True)
        outs.append(" ".join(out.getvalue().split()))
    note = "the classes are imbalanced: 10 training images of blue to 60 of red"
    assert [note in out for out in outs] == [True, True, False]
    assert ["--class-weights balanced weights them" in out for out in outs] == [True, False, False]
    assert "balanced class weights" in outs[1]


def rows(monkeypatch, accuracies):
    """Let the held-out accuracies of the epochs be these."""
    monkeypatch.setattr(Session, "validate", lambda self, terminal: {
        "val_loss": 1.0, "val_accuracy": accuracies[self.position.epoch]})  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize(("patience", "epochs"), [(1, 3), (2, 4), (5, 7), (None, 7)])
def test_a_run_ends_after_epochs_without_a_better_accuracy(tmp_path, monkeypatch, patience, epochs):
    rows(monkeypatch, [0.5, 0.5, 0.4, 0.3, 0.4, 0.3, 0.9])
    found, text = run(tmp_path / "run", epochs=7, patience=patience)
    assert len(found.history) == epochs
    assert ("stopped  early" in text) == (epochs < 7)
    assert json.loads((tmp_path / "run" / "result.json").read_text())["epoch"] == (2 if epochs < 7 else 7)
    assert read_run(tmp_path / "run").left == 0  # for figures and averages over seeds, it is complete
    assert resume(tmp_path / "run", io.StringIO(), dataset=tiny()).result == found.result


def test_runs_of_different_lengths_are_not_averaged(tmp_path, monkeypatch):
    folders = []
    for seed, accuracies in enumerate(([0.5, 0.4], [0.5, 0.6, 0.4])):
        rows(monkeypatch, accuracies)
        folders.append(run(tmp_path / f"s{seed}", epochs=5, patience=1, seed=seed)[0].folder)
    groups, notes = comparable([read_run(folder) for folder in folders])
    assert [len(members) for members in groups.values()] == [1, 1]
    assert notes == [f"ended early: {path}, {n} of 5 epochs: drawn on its own, not part of a mean"
                     for path, n in zip(folders, (2, 3), strict=True)]  # fmt: skip


def test_an_interrupted_run_still_ends_early(tmp_path, monkeypatch):
    monkeypatch.setitem(LONG, "patience", 1)
    rows(monkeypatch, [0.5, 0.4, 0.3, 0.2])
    monkeypatch.setattr(loop, "SAVE_EVERY", 0)
    interrupt(tmp_path / "run", monkeypatch, 8)
    assert len(resume(tmp_path / "run", io.StringIO(), dataset=tiny()).history) == 2


@pytest.mark.parametrize("patience", [0, -1, 2.5])
def test_a_wrong_patience_is_refused(patience):
    with pytest.raises(ValueError, match=f"patience is {patience}; expected"):
        configure(tiny(), patience=patience)
