"""A network value is trained; its run is resumed, loaded, evaluated and reported like any other."""

import io
import json
from dataclasses import dataclass

import numpy as np
import pytest
from test_resume import assert_same_results
from training import settings, tiny

from se_numpy import checkpoint, data, tree
from se_numpy.cli import main
from se_numpy.layers import SE, BatchNorm, Conv, GlobalAveragePool, Layer, Linear, ReLU, register, residual, serial
from se_numpy.layers.description import KINDS
from se_numpy.train import Learner, Session, Trained, final_test, loop, resume, train

NET = serial(
    Conv(8),
    BatchNorm(),
    ReLU(),
    residual(serial(Conv(8), BatchNorm(), SE(reduction=4))),
    GlobalAveragePool(),
    Linear(3),
)


@pytest.fixture(autouse=True)
def untimed(monkeypatch):
    monkeypatch.setattr(Session, "seconds_per_step", lambda self: 1.0)
    monkeypatch.setattr(final_test, "curves", lambda *args, **more: None)  # drawing takes longer than the training


def trained(folder, net=NET, **given):
    return train(tiny(), settings(folder, **{"epochs": 1, **given}), io.StringIO(), net=net)


def test_it_is_trained_and_loaded_back(tmp_path):
    run = trained(tmp_path / "run", model="se_resnet8", reduction=8)
    loaded = Trained.load(run.folder)
    assert loaded.net == NET
    p = loaded.probabilities(tiny().test_images)
    assert run.result["test_accuracy"] == (p.argmax(1) == tiny().test_labels).mean()
    assert (loaded.config["model"], loaded.config["reduction"]) == ("own", None)
    _, meta = checkpoint.load(run.folder / "best.npz")
    assert json.loads(meta["config"]["layers"])["layer"] == "Serial"
    assert {name for name, _ in tree.leaves(loaded.params)} == {
        name for name, _ in tree.leaves(NET.parameters((8, 9, 3)))
    }


def test_it_is_resumed_bit_for_bit(tmp_path, monkeypatch):
    monkeypatch.setattr(loop, "SAVE_EVERY", 0)
    whole = trained(tmp_path / "whole", epochs=2)
    steps, step = iter(range(100)), Learner.step

    def interrupted_step(self, *args, **more):
        if next(steps) == 4:
            raise KeyboardInterrupt
        return step(self, *args, **more)

    with monkeypatch.context() as patch:
        patch.setattr(Learner, "step", interrupted_step)
        with pytest.raises(KeyboardInterrupt):
            trained(tmp_path / "run", epochs=2)
    resume(tmp_path / "run", io.StringIO(), dataset=tiny())
    assert_same_results(tmp_path / "run", (tmp_path / "whole", whole))


def test_the_commands_work_on_its_run(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(data, "load", lambda source: tiny())
    folder = str(trained(tmp_path / "run").folder)
    once = ["--epochs", "1", "--out"]
    for command in (["evaluate", folder, "--json"], ["predict", folder, "test:1"], ["report", folder],
                    ["train", "--resume", folder], ["train", "--resume", folder, *once, folder + "2"],
                    ["train", "--init", folder, *once, folder + "3"]):  # fmt: skip
        code = main(command)
        captured = capsys.readouterr()
        assert code == 0, (command, captured.err)
    assert Trained.load(folder + "3").net == NET


@dataclass(frozen=True)
class Halve(Layer):
    def forward(self, params, state, X, *, train=False, rng=None):
        return X / 2, None

    def backward(self, params, cache, dY):
        return dY / 2, {}


def test_own_layers_have_to_be_registered(tmp_path, monkeypatch):
    monkeypatch.setattr("se_numpy.layers.description.KINDS", dict(KINDS))
    net = serial(Conv(4), Halve(), GlobalAveragePool(), Linear(3))
    with pytest.raises(TypeError, match="Halve is not a known kind of layer"):
        trained(tmp_path / "run", net)
    assert not (tmp_path / "run").exists()
    register(Halve)
    folder = trained(tmp_path / "run", net).folder
    assert Trained.load(folder).net == net
    monkeypatch.setattr("se_numpy.layers.description.KINDS", dict(KINDS))
    with pytest.raises(ValueError, match="a layer of kind 'Halve', which is not known; if it is your own, import it"):
        Trained.load(folder)


@pytest.mark.parametrize(
    ("net", "error", "message"),
    [
        (
            serial(GlobalAveragePool(), Linear(4)),
            ValueError,
            "returns 4 logits for each image; expected 3, one for each",
        ),
        (serial(Conv(3)), ValueError, "the network returns an array of shape"),
        ("se_resnet8", TypeError, "net is 'se_resnet8'; expected a network, as from serial"),
    ],
)
def test_a_network_that_does_not_fit_is_refused(tmp_path, net, error, message):
    with pytest.raises(error, match=message):
        trained(tmp_path / "run", net)
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("layers", ["no JSON", "[" * 100_000, '{"layer": "os.system"}'])
def test_a_damaged_description_is_refused(tmp_path, layers):
    folder = trained(tmp_path / "run").folder
    trees, meta = checkpoint.load(folder / "best.npz")
    meta["config"]["layers"] = layers
    checkpoint.save(folder / "best.npz", trees, meta)
    with pytest.raises(ValueError, match=r"best.npz does not describe its network \((layers is not|the network has)"):
        Trained.load(folder)


def test_weights_that_do_not_fit_the_description_are_refused(tmp_path):
    folder = trained(tmp_path / "run").folder
    trees, meta = checkpoint.load(folder / "best.npz")
    meta["config"]["layers"] = meta["config"]["layers"].replace('"C": 8', '"C": 9')
    checkpoint.save(folder / "best.npz", trees, meta)
    with pytest.raises(ValueError, match="does not fit the network own"):
        Trained.load(folder)
    assert np.isfinite(tree.flatten(trees["params"])).all()
