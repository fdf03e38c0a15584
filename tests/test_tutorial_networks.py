"""The trained networks of the tutorials: their accuracy, their contents, and the script that makes them."""

import importlib.util
import io
import json
from pathlib import Path

import numpy as np
import pytest

from se_numpy import checkpoint, tree
from se_numpy.analysis.network import load_gated
from se_numpy.analysis.study import study, write_numbers
from se_numpy.data import builtin
from se_numpy.train import Trained, configure, train

FOLDER = Path(__file__).parent.parent / "tutorials" / "networks"
NAMES = sorted(path.name for path in FOLDER.glob("*.npz"))
spec = importlib.util.spec_from_file_location("make_networks", FOLDER / "make.py")
make = importlib.util.module_from_spec(spec)
spec.loader.exec_module(make)


@pytest.mark.parametrize("name", [name for name in NAMES if "builtin" in name])
def test_accuracy_of_the_glyph_networks_on_new_images(name):
    data = builtin(train=1, test=120)
    predictions = Trained.load(FOLDER / name).probabilities(data.test_images).argmax(1)
    assert (predictions == data.test_labels).mean() > 0.99


def test_the_saved_gates_belong_to_the_saved_network():
    network = load_gated(FOLDER / "se_resnet20_cifar10.npz")
    saved, meta = checkpoint.load(FOLDER / "se_resnet20_cifar10_gates.npz")
    assert [row["block"] for row in meta["blocks"]] == list(network.blocks.values())
    assert tuple(meta["groups"]["class"]) == network.classes
    means, counts = saved["mean"]["stage3"]["block2"], list(meta["groups"]["class"].values())
    assert np.allclose(np.average(means[1:], axis=0, weights=counts), means[0], atol=1e-5)


@pytest.mark.parametrize("name", NAMES)
def test_each_file_is_small_documented_and_without_local_paths(name):
    content = (FOLDER / name).read_bytes()
    assert len(content) < 1_200_000
    assert b"/tmp" not in content
    assert b"/home" not in content
    assert f"| `{name}` |" in (FOLDER / "README.md").read_text(encoding="utf-8")
    _, meta = checkpoint.load(FOLDER / name)
    assert meta["config"]["out"] is None
    assert meta["config"]["data"] in ("builtin", "FOLDER")


def test_the_results_of_a_tutorial_can_be_recorded(tmp_path, monkeypatch):
    (tmp_path / "98_try.py").write_text(
        "import numpy as np\n"
        "from se_numpy.grading.lessons.recorded import computed\n"
        "found = computed(98, lambda: {'a b': np.arange(3), 'c': np.eye(2)})\n"
        "assert found['c'].shape == (2, 2)\n"
    )
    monkeypatch.setattr(make, "HERE", tmp_path / "networks")
    monkeypatch.setattr(make.recorded, "computed", make.recorded.computed)  # restored afterwards
    make.results("98", tmp_path)
    with np.load(tmp_path / "recorded_98.npz") as kept:
        assert {name: kept[name].tolist() for name in kept} == {"a b": [0, 1, 2], "c": [[1, 0], [0, 1]]}


def test_the_files_can_be_made_from_a_run(tmp_path):
    data = builtin(train=40, test=12)
    run = train(data, configure(data, epochs=1, out=str(tmp_path / "run")), out=io.StringIO())
    made = tmp_path / "network.npz"
    make.network(run.folder, made, "a few")
    trees, meta = checkpoint.load(made)
    whole, _ = checkpoint.load(run.folder / "best.npz")
    assert np.array_equal(tree.flatten(trees["params"]), tree.flatten(whole["params"]))
    assert sorted(trees) == ["params", "state"]
    assert meta["config"]["out"] is None
    assert str(tmp_path) not in str(meta)
    assert "seconds" not in meta["history"][0]

    curves = tmp_path / "recorded.json"
    make.curves("a few", "train", str(run.folder), target=curves)
    make.curves("again", "train", str(run.folder), target=curves)
    recorded = json.loads(curves.read_text(encoding="utf-8"))
    assert list(recorded) == ["a few", "again"]
    (row,) = recorded["a few"]["runs"]
    assert row["validation"] == [round(meta["history"][0]["val_accuracy"], 4)]
    assert row["test"] == run.result["test_accuracy"]

    found = study(load_gated(made), data, images=12)
    folder = tmp_path / "study"
    folder.mkdir()
    write_numbers(found, folder)
    make.gates(folder, tmp_path / "gates.npz", "a few")
    saved, meta = checkpoint.load(tmp_path / "gates.npz")
    s = found.gates["stage2"]
    assert np.allclose(saved["mean"]["stage2"][0], s.mean(0), atol=1e-6)
    assert np.allclose(saved["std"]["stage2"][0], s.std(0), atol=1e-5)
    assert meta["accuracy"] == found.accuracy
