"""Runs written by version 0.1.0 are loaded, evaluated and resumed.

The files are written here with NumPy and the standard library only, so that a change of the format makes a test fail.
"""

import io
import json

import numpy as np
import pytest

from se_numpy import data
from se_numpy.cli import main
from se_numpy.data import Dataset, digest
from se_numpy.train import Config, Trained, complete, resume, run_dir

PARAMETERS = {
    "conv.V": (3, 3, 3, 16),
    "norm.gamma": (16,),
    "norm.beta": (16,),
    "stage1.block1.unit.branch.conv1.V": (3, 3, 16, 16),
    "stage1.block1.unit.branch.batchnorm1.gamma": (16,),
    "stage1.block1.unit.branch.batchnorm1.beta": (16,),
    "stage1.block1.unit.branch.conv2.V": (3, 3, 16, 16),
    "stage1.block1.unit.branch.batchnorm2.gamma": (16,),
    "stage1.block1.unit.branch.batchnorm2.beta": (16,),
    "stage1.block1.unit.branch.se1.W1": (4, 16),
    "stage1.block1.unit.branch.se1.W2": (16, 4),
    "stage2.block1.unit.branch.conv1.V": (3, 3, 16, 32),
    "stage2.block1.unit.branch.batchnorm1.gamma": (32,),
    "stage2.block1.unit.branch.batchnorm1.beta": (32,),
    "stage2.block1.unit.branch.conv2.V": (3, 3, 32, 32),
    "stage2.block1.unit.branch.batchnorm2.gamma": (32,),
    "stage2.block1.unit.branch.batchnorm2.beta": (32,),
    "stage2.block1.unit.branch.se1.W1": (8, 32),
    "stage2.block1.unit.branch.se1.W2": (32, 8),
    "stage2.block1.unit.shortcut.conv1.V": (1, 1, 16, 32),
    "stage2.block1.unit.shortcut.batchnorm1.gamma": (32,),
    "stage2.block1.unit.shortcut.batchnorm1.beta": (32,),
    "stage3.block1.unit.branch.conv1.V": (3, 3, 32, 64),
    "stage3.block1.unit.branch.batchnorm1.gamma": (64,),
    "stage3.block1.unit.branch.batchnorm1.beta": (64,),
    "stage3.block1.unit.branch.conv2.V": (3, 3, 64, 64),
    "stage3.block1.unit.branch.batchnorm2.gamma": (64,),
    "stage3.block1.unit.branch.batchnorm2.beta": (64,),
    "stage3.block1.unit.branch.se1.W1": (16, 64),
    "stage3.block1.unit.branch.se1.W2": (64, 16),
    "stage3.block1.unit.shortcut.conv1.V": (1, 1, 32, 64),
    "stage3.block1.unit.shortcut.batchnorm1.gamma": (64,),
    "stage3.block1.unit.shortcut.batchnorm1.beta": (64,),
    "classifier.W": (3, 64),
    "classifier.b": (3,),
}
STATISTICS = {
    "norm.mean": (16,),
    "norm.var": (16,),
    "stage1.block1.unit.branch.batchnorm1.mean": (16,),
    "stage1.block1.unit.branch.batchnorm1.var": (16,),
    "stage1.block1.unit.branch.batchnorm2.mean": (16,),
    "stage1.block1.unit.branch.batchnorm2.var": (16,),
    "stage2.block1.unit.branch.batchnorm1.mean": (32,),
    "stage2.block1.unit.branch.batchnorm1.var": (32,),
    "stage2.block1.unit.branch.batchnorm2.mean": (32,),
    "stage2.block1.unit.branch.batchnorm2.var": (32,),
    "stage2.block1.unit.shortcut.batchnorm1.mean": (32,),
    "stage2.block1.unit.shortcut.batchnorm1.var": (32,),
    "stage3.block1.unit.branch.batchnorm1.mean": (64,),
    "stage3.block1.unit.branch.batchnorm1.var": (64,),
    "stage3.block1.unit.branch.batchnorm2.mean": (64,),
    "stage3.block1.unit.branch.batchnorm2.var": (64,),
    "stage3.block1.unit.shortcut.batchnorm1.mean": (64,),
    "stage3.block1.unit.shortcut.batchnorm1.var": (64,),
}
CLASSES = ["red", "green", "blue"]
DIGEST = "5a48b6f00a2f89fca72ecfe624aaf9a3de338738dd202d7cfd1dbaf3effb3239"
METRICS = (
    "epoch,lr,train_loss,train_accuracy,seconds,images_per_second,val_loss,val_accuracy\r\n"
    "1,0.02,1.25,0.5,0.75,72.0,1.125,0.5\r\n"
)
FIRST_EPOCH = {
    "epoch": 1, "lr": 0.02, "train_loss": 1.25, "train_accuracy": 0.5, "seconds": 0.75, "images_per_second": 72.0,
    "val_loss": 1.125, "val_accuracy": 0.5,
}  # fmt: skip
RESULT = {"test_loss": 1.125, "test_accuracy": 0.5, "test_images": 12, "seconds": 0.75, "epoch": 1}


def images(n):
    """Return images (n, 8, 9, 3) and labels without random numbers; the brightest channel is the class."""
    labels = np.arange(n) % 3
    at = np.arange(n * 8 * 9 * 3).reshape(n, 8, 9, 3)
    return (at * 31 % 97 + 100 * (np.arange(3) == labels[:, None, None, None])).astype(np.uint8), labels


DATASET = Dataset("builtin", tuple(CLASSES), *images(60), *images(12), False, "three colours")


def config(folder, **changed):
    """Return the content of config.json as written by version 0.1.0."""
    return {
        "model": "se_resnet8", "epochs": 2, "lr": 0.02, "augment": False, "data": "builtin", "reduction": None,
        "bias": False, "gate": "sigmoid", "squeeze": "avg", "stages": None, "placement": "standard", "subset": None,
        "batch_size": 32, "schedule": "one-cycle", "momentum": 0.9, "weight_decay": 0.0005, "label_smoothing": 0.0,
        "seed": 0, "device": "cpu", "out": str(folder), **changed,
    }  # fmt: skip


def arrays():
    """Return the parameters, running statistics and velocity of se_resnet8 for three classes by name."""
    found = {}
    for i, (name, shape) in enumerate(PARAMETERS.items()):
        x = np.sin(np.arange(np.prod(shape)) * (1 + i / 7)).reshape(shape)
        if name.endswith((".V", ".W", ".W1", ".W2")):
            inputs = np.prod(shape[:-1]) if name.endswith(".V") else shape[-1]
            found[f"params/{name}"] = x * np.sqrt(2 / inputs) * (4 if name == "classifier.W" else 1)
        else:
            found[f"params/{name}"] = 0.1 * x + name.endswith(".gamma")
    for name, shape in STATISTICS.items():
        found[f"state/{name}"] = np.full(shape, 0.125 if name.endswith(".mean") else 1.5)
    for name, shape in PARAMETERS.items():
        found[f"velocity/{name}"] = np.full(shape, 0.01)
    return {name: x.astype(np.float32) for name, x in found.items()}


def write_checkpoint(path, settings, *, step=0, **changed):
    """Write best.npz or last.npz; ``step`` is the number of steps in the second epoch."""
    sums = {"sums/loss": np.float64(0), "sums/right": np.int64(0)}
    if step:
        sums = {"sums/loss": np.float32(40), "sums/right": np.int64(16)}
    meta = {
        "format": 2, "se_numpy": "0.1.0", "config": settings,
        "position": {"epoch": 1, "step": step, "seconds": 0.25 * step}, "engine": "on", "history": [FIRST_EPOCH],
        "classes": CLASSES, "data": DIGEST, "image_shape": [8, 9, 3],
        "mean": [0.3125, 0.3125, 0.3125], "std": [0.25, 0.25, 0.25],
    } | changed  # fmt: skip
    np.savez(path, **arrays(), **sums, meta=np.array(json.dumps(meta)))


def write_run(folder, *, step=0, finished=False):
    """Write the folder of a run after the first of two epochs or, if ``finished``, after its only epoch."""
    folder.mkdir()
    settings = config(folder, epochs=1 if finished else 2)
    (folder / "config.json").write_text(json.dumps(settings, indent=2) + "\n")
    (folder / "env.json").write_text(json.dumps([{"seed": 0, "epoch": 0, "versions": {"se_numpy": "0.1.0"}}]) + "\n")
    (folder / "metrics.csv").write_bytes(METRICS.encode())
    write_checkpoint(folder / "best.npz", settings)
    write_checkpoint(folder / "last.npz", settings, step=step)
    if finished:
        (folder / "result.json").write_text(json.dumps(RESULT, indent=2) + "\n")
    return folder


def test_the_digest_of_a_data_set_is_unchanged():
    assert digest(DATASET) == DIGEST


def test_a_network_is_loaded(tmp_path):
    trained = Trained.load(write_run(tmp_path / "run") / "best.npz")
    assert trained.classes == tuple(CLASSES)
    assert trained.shape == (8, 9, 3)
    assert trained.config == config(tmp_path / "run")
    np.testing.assert_array_equal(trained.normalise.mean, [0.3125] * 3)
    np.testing.assert_array_equal(trained.normalise.std, [0.25] * 3)
    for name, x in arrays().items():
        kind, _, path = name.partition("/")
        if kind != "velocity":
            leaf = {"params": trained.params, "state": trained.state}[kind]
            for part in path.split("."):
                leaf = leaf[part]
            np.testing.assert_array_equal(leaf, x, err_msg=name)
    p = trained.probabilities(DATASET.test_images[:2])
    np.testing.assert_allclose(p, [[0.34638, 0.33236, 0.32127], [0.35393, 0.33316, 0.31292]], atol=1e-4)


def test_a_run_is_evaluated(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(data, "load", lambda source: DATASET)
    write_run(tmp_path / "run", finished=True)
    assert main(["evaluate", str(tmp_path / "run"), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["accuracy"] == pytest.approx(4 / 12)


@pytest.mark.parametrize(
    ("step", "expected"),
    [
        (0, (0.952607, 0.555556, 1.093737)),
        (1, (1.302514, 0.481481, 1.101698)),
    ],
)
def test_an_interrupted_run_is_resumed(tmp_path, step, expected):
    """The second epoch continues from the saved parameters, velocity and sums, and gives version 0.1.0's results."""
    folder = write_run(tmp_path / "run", step=step)
    run = resume(folder, io.StringIO(), dataset=DATASET)
    assert run.history[0] == FIRST_EPOCH
    assert [row["epoch"] for row in run.history] == [1, 2]
    found = [run.history[1][name] for name in ("train_loss", "train_accuracy", "val_loss")]
    np.testing.assert_allclose(found, expected, rtol=1e-3)
    assert (folder / "metrics.csv").read_bytes().startswith(METRICS.encode())
    starts = json.loads((folder / "env.json").read_text())
    assert [start["epoch"] for start in starts] == [0, 1]


def test_a_finished_run_is_read(tmp_path):
    folder = write_run(tmp_path / "run", finished=True)
    run = resume(folder, io.StringIO())
    assert run.result == RESULT
    assert run.history == [FIRST_EPOCH]
    assert complete(DATASET, Config(**config(folder, epochs=1)), io.StringIO()).result == RESULT


def test_a_checkpoint_written_before_the_engine_was_recorded_is_resumed(tmp_path):
    folder = write_run(tmp_path / "run")
    with np.load(folder / "last.npz") as file:
        content = dict(file)
    meta = json.loads(str(content.pop("meta")))
    del meta["engine"]
    np.savez(folder / "last.npz", **content, meta=np.array(json.dumps(meta)))
    assert resume(folder, io.StringIO(), dataset=DATASET).history[-1]["epoch"] == 2


def test_the_format_of_a_new_run_is_the_same(tmp_path):
    """Compare the files of a new run with those above: keys, names, shapes and dtypes."""
    folder = write_run(tmp_path / "run")
    with np.load(folder / "last.npz") as file:
        old = dict(file)
    resume(folder, io.StringIO(), dataset=DATASET)
    with np.load(folder / "last.npz") as file:
        new = dict(file)
    assert list(new) == list(old)
    for name, x in new.items():
        if name != "meta":
            assert (x.shape, x.dtype) == (old[name].shape, old[name].dtype), name
    assert list(json.loads(str(new["meta"]))) == list(json.loads(str(old["meta"])))
    assert list(json.loads(str(new["meta"]))["position"]) == ["epoch", "step", "seconds"]
    assert list(json.loads((folder / "result.json").read_text())) == list(RESULT)
    fresh = complete(DATASET, Config(**config(tmp_path / "new", epochs=1)), io.StringIO())
    settings = json.loads((fresh.folder / "config.json").read_text())
    added = {
        "task": "classify",
        "divisor": 1,
        "size": None,
        "channels": None,
        "optimiser": "sgd",
        "class_weights": None,
        "clip_norm": None,
        "ema": None,
        "patience": None,
        "init": None,
        "lr_scale": 1.0,
        "freeze": None,
        "continued": 0,
        "layers": None,
    }  # not in version 0.1.0
    assert {name: settings.pop(name) for name in added} == added
    assert settings == config(tmp_path / "new", epochs=1)
    assert list(settings) == list(config(tmp_path / "new"))
    assert run_dir.finished(fresh.folder).result == fresh.result
