"""Runs that start from trained weights: what fits is taken and the rest is named; frozen and slower parameters."""

import io
import json
from dataclasses import replace

import numpy as np
import pytest
from test_resume import assert_same_results, interrupt
from training import LONG, run, settings, tiny

from se_numpy import checkpoint, models, tree
from se_numpy.cli import main
from se_numpy.interop import dump, load_into, write
from se_numpy.train import Session, Trained, configure, final_test, loop, resume, train


@pytest.fixture(autouse=True)
def untimed(monkeypatch):
    monkeypatch.setattr(Session, "seconds_per_step", lambda self: 1.0)
    monkeypatch.setattr(final_test, "curves", lambda *args, **more: None)  # drawing takes longer than the training


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    """Return the folder of a run, made once."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(final_test, "curves", lambda *args, **more: None)
        return run(tmp_path_factory.mktemp("runs") / "source", epochs=1)[0].folder


def two_classes():
    """Return a data set with two of the classes."""
    data = tiny()
    train_, test = data.train_labels < 2, data.test_labels < 2
    return replace(
        data, classes=data.classes[:2], train_images=data.train_images[train_], train_labels=data.train_labels[train_],
        test_images=data.test_images[test], test_labels=data.test_labels[test],
    )  # fmt: skip


def started(init, dataset=None, **given):
    session = Session(dataset or tiny(), settings("x", init=str(init), **given), "cpu")
    session.start()
    return session


def leaves(params):
    return dict(tree.leaves(params))


def test_all_arrays_of_the_same_network_are_taken(source):
    for path in (source, source / "best.npz"):
        session = started(path)
        trained = Trained.load(source)
        np.testing.assert_array_equal(session.learner.w, tree.flatten(trained.params))
        np.testing.assert_array_equal(session.learner.running, tree.flatten(trained.state))
        assert session.init_note == f"53 of 53 arrays from {path}"


def test_the_averages_of_a_run_are_taken(tmp_path):
    folder = run(tmp_path / "ema", epochs=1, ema=0.9)[0].folder
    session = started(folder, ema=0.5)
    averages = tree.flatten(checkpoint.load(folder / "best.npz")[0]["average_params"])
    np.testing.assert_array_equal(session.learner.w, averages)
    np.testing.assert_array_equal(session.learner.average[: averages.size], averages)


def test_the_classifier_is_new_where_the_classes_differ(source):
    """Also if there are as many."""
    few, renamed = two_classes(), replace(tiny(), classes=("red", "green", "yellow"))
    for data, words in ((few, "3x64 there, 2x64 here"), (renamed, "other classes")):
        session = started(source, data)
        assert f"51 of 53 arrays from {source}; new: classifier.W ({words}), classifier.b (" in session.init_note
        old, new = leaves(Trained.load(source).params), leaves(session.learner.params)
        fresh = leaves(Session(data, settings("x"), "cpu").learner.params)
        for name, leaf in new.items():
            np.testing.assert_array_equal(leaf, (fresh if name.startswith("classifier") else old)[name], err_msg=name)


@pytest.mark.parametrize("scheme", ["torchvision", "timm", "moskomule", "se_numpy"])
def test_weights_files_under_any_scheme(tmp_path, scheme):
    """The blocks of a plain network fit the one with SE blocks, whose excitations are new."""
    name = "resnet8" if scheme == "torchvision" else "se_resnet8"
    net = models.build(name, classes=7, **({"bias": True} if scheme == "timm" else {}))
    from se_numpy.layers import init

    params, state = init(net, (8, 9, 3), np.random.default_rng(5))
    write(tmp_path / "weights.npz", dump(net, (8, 9, 3), params, state, scheme=scheme))
    session = started(tmp_path / "weights.npz", bias=scheme == "timm")
    new, old = leaves(session.learner.params), leaves(params)
    for leaf_name in ("conv.V", "stage3.block1.unit.branch.conv2.V", "stage2.block1.unit.shortcut.batchnorm1.gamma"):
        np.testing.assert_array_equal(new[leaf_name], old[leaf_name])
    assert "classifier.W (7x64 there, 3x64 here)" in session.init_note or "more" in session.init_note
    se = [n for n in new if ".se1." in n]
    assert se
    assert all((n in session.loaded) == (scheme != "torchvision") for n in se)


def test_a_network_that_does_not_fit_is_refused_before_anything_is_written(tmp_path, source, capsys):
    arrays = {"layer1.0.conv1.weight": np.ones((2, 2, 5, 5), np.float32)}
    write(tmp_path / "odd.npz", arrays)
    args = ["train", "--epochs", "1", "--subset", "40", "--out", str(tmp_path / "run"), "--init"]
    assert main([*args, str(tmp_path / "odd.npz")]) == 2
    assert "none of its 1 array fits this network (scheme timm); give --model" in capsys.readouterr().err
    assert main([*args, str(tmp_path / "nowhere")]) == 2
    assert "nowhere does not exist; expected a checkpoint or the folder of a run" in capsys.readouterr().err
    (tmp_path / "text.pth").write_text("not weights")
    assert main([*args, str(tmp_path / "text.pth")]) == 2
    assert "not a weights file" in capsys.readouterr().err
    assert not (tmp_path / "run").exists()


def test_weights_that_are_not_finite_are_refused(tmp_path):
    session = Session(tiny(), settings("x"), "cpu")
    arrays = dump(session.net, (8, 9, 3), session.learner.params, session.learner.state)
    name = next(iter(arrays))
    arrays[name] = arrays[name] * np.nan
    write(tmp_path / "nan.npz", arrays)
    before = session.learner.w.copy()
    with pytest.raises(ValueError, match=f"{name} is not made of finite floating-point numbers"):
        load_into(session.learner, tmp_path / "nan.npz", tiny().classes)
    np.testing.assert_array_equal(session.learner.w, before)


def test_frozen_stages_stay_and_loaded_parameters_move_slower(tmp_path, source):
    """After one step without momentum, the loaded parameters have moved a tenth as far."""
    given = {"epochs": 1, "batch_size": 90, "init": str(source), "momentum": 0.0, "weight_decay": 0.0}
    moved = {}
    for name, more in (("plain", {}), ("slow", {"lr_scale": 0.1, "freeze": (0, 2)})):
        folder = train(two_classes(), settings(tmp_path / name, **given, **more), io.StringIO()).folder
        old = leaves(Session(two_classes(), settings("x"), "cpu").learner.params)
        old |= {k: v for k, v in leaves(Trained.load(source).params).items() if not k.startswith("classifier")}
        moved[name] = {k: v - old[k] for k, v in leaves(Trained.load(folder).params).items()}
    for name, d in moved["slow"].items():
        frozen = name.startswith(("stage2.", "conv.", "norm."))
        factor = 0 if frozen else 1 if name.startswith("classifier") else 0.1
        np.testing.assert_allclose(d, factor * moved["plain"][name], rtol=1e-2, atol=2e-6, err_msg=name)


def test_a_run_from_weights_is_resumed_bit_for_bit_without_them(tmp_path, monkeypatch, source):
    init = tmp_path / "init.npz"
    init.write_bytes((source / "best.npz").read_bytes())
    monkeypatch.setattr(loop, "SAVE_EVERY", 0)
    given = {"init": str(init), "freeze": (1,), "lr_scale": 0.5, "clip_norm": 1.0, "epochs": 2}
    for name, value in given.items():
        monkeypatch.setitem(LONG, name, value)
    whole = tmp_path / "whole", run(tmp_path / "whole", **LONG)[0]
    interrupt(tmp_path / "run", monkeypatch, 8)
    init.unlink()  # its values are in the checkpoint
    resume(tmp_path / "run", io.StringIO(), dataset=tiny())
    assert_same_results(tmp_path / "run", whole)
    (path,) = [tmp_path / "run" / "last.npz"]
    trees, meta = checkpoint.load(path)
    assert len(meta["loaded"]) == 35
    meta["loaded"] = 3
    checkpoint.save(path, trees, meta)
    session = Session(tiny(), settings("x", **{**LONG, "out": None}), "cpu")
    with pytest.raises(ValueError, match="loaded is 3; expected a list of names"):
        session.read(path)


def test_the_network_of_the_run_is_the_default(source, capsys, tmp_path):
    other = run(tmp_path / "other", epochs=1, reduction=8, gate="tanh")[0].folder
    assert main(["train", "--init", str(other), "--gate", "relu", "--print-config"]) == 0
    text = capsys.readouterr().out
    for line in ('model = "se_resnet8"', "reduction = 8", 'gate = "relu"', f"init = {json.dumps(str(other))}"):
        assert line in text


def test_the_output_and_the_settings_say_it(tmp_path, source):
    _, text = run(tmp_path / "run", epochs=1, init=str(source), freeze=(0, 1), lr_scale=0.1)
    words = " ".join(text.split())
    assert "init 53 of 53 arrays from" in words
    assert "loaded weights at 0.1 of the learning rate, stages 0, 1 frozen" in words


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (
            {"freeze": (4,)},
            r"freeze names stage 4; the network has stages 0, 1, 2, 3 \(0 is what comes before stage 1\)",
        ),
        ({"freeze": ("a",)}, "freeze is .*; expected whole numbers"),
        ({"lr_scale": 0.1}, "lr_scale is 0.1, but init names no weights to load"),
        ({"lr_scale": -1.0, "init": "x"}, "lr_scale is -1.0; expected 0 to"),
    ],
)
def test_wrong_settings_are_refused(given, message):
    with pytest.raises(ValueError, match=message):
        Session(tiny(), configure(tiny(), **given), "cpu")
