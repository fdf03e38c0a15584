"""Files of a run that were edited or damaged are refused in one sentence, with exit code 2, and not changed."""

import json

import numpy as np
import pytest
from training import settings, tiny

from se_numpy import checkpoint, data
from se_numpy.cli import main
from se_numpy.train import Session, complete, run_dir

FILES = ("config.json", "env.json", "result.json", "metrics.csv", "last.npz", "best.npz")


@pytest.fixture(autouse=True)
def loaded(monkeypatch):
    monkeypatch.setattr(data, "load", lambda source: tiny())


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """Return the folder of a finished run of two epochs."""
    folder = tmp_path_factory.mktemp("trained") / "run"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Session, "seconds_per_step", lambda self: 1.0)
        complete(tiny(), settings(folder))
    return folder


@pytest.fixture
def unfinished(tmp_path, trained):
    """Return a copy of the run that lacks its final test."""
    folder = tmp_path / "run"
    folder.mkdir()
    for name in FILES:
        if name != "result.json":
            (folder / name).write_bytes((trained / name).read_bytes())
    return folder


def refused(capsys, folder, *commands):
    """Check that these commands refuse the run in one sentence; return what they said last."""
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    for words in commands or [["train", "--resume", str(folder)]]:
        assert main(words) == 2, words
        error = capsys.readouterr().err
        assert error.startswith("se-numpy: ")
        assert len(error.splitlines()) == 1, error
        assert "Error" not in error
        assert {path.name: path.read_bytes() for path in folder.iterdir()} == before
    return error


def change(folder, name, edit):
    """Change the description of a checkpoint, or its trees."""
    trees, meta = checkpoint.load(folder / name)
    edit(meta, trees)
    checkpoint.save(folder / name, trees, meta)


def put(*path):
    """Return a function that sets a value in the description: put("position", "epoch", 1.5)."""

    def edit(meta, trees):
        *parents, name, value = path
        for parent in parents:
            meta = meta[parent]
        meta[name] = value

    return edit


def rename(kind, old, new):
    def edit(meta, trees):
        trees[kind][new] = trees[kind].pop(old)

    return edit


@pytest.mark.parametrize(
    "edit",
    [
        put("position", "epoch", 1.5),
        put("position", "epoch", 10**9),
        put("position", "epoch", -1),
        put("position", "epoch", True),
        put("position", "epoch", "2"),
        put("position", "step", 1),
        put("position", "seconds", float("nan")),
        put("position", "more", 1),
        put("position", None),
        put("history", "text"),
        put("history", []),
        put("history", 0, "text"),
        put("history", 0, "epoch", 2),
        put("history", 0, "val_loss", "low"),
        put("history", 0, "val_accuracy", 1.5),
        put("history", 0, "train_loss", float("inf")),
        put("history", 1, "more", 1),
        put("config", "lr", float("nan")),
        put("config", "epochs", 1.5),
        put("config", "model", 3),
        put("config", "more", 1),
        put("config", [1]),
        put("format", "2"),
        put("engine", "maybe"),
        put("data", 5),
        put("classes", ["red", "green", "green-blue"]),
        put("more", 1),
        lambda meta, trees: meta.pop("history"),
        lambda meta, trees: meta["position"].pop("step"),
        lambda meta, trees: meta["history"][0].pop("seconds"),
        lambda meta, trees: trees.pop("velocity"),
        lambda meta, trees: trees["params"].pop("classifier"),
        lambda meta, trees: trees["params"].update(more=np.ones(3)),
        lambda meta, trees: trees.update(more={"a": np.ones(3)}),
        lambda meta, trees: trees["params"]["classifier"].update(b=np.ones(4, np.float32)),
        lambda meta, trees: trees["params"]["classifier"].update(b=np.array(["a", "b", "c"])),
        lambda meta, trees: trees["params"]["classifier"].update(b=np.ones(3, complex)),
        lambda meta, trees: trees["params"]["classifier"].update(b=np.full(3, np.nan, np.float32)),
        lambda meta, trees: trees["velocity"]["classifier"].update(b=np.ones((3, 1), np.float32)),
        lambda meta, trees: trees["sums"].update(loss=np.ones(2)),
        lambda meta, trees: trees["sums"].update(right=np.array("many")),
        rename("sums", "loss", "lost"),
    ],
)
def test_a_checkpoint_made_by_hand_is_refused(unfinished, capsys, edit):
    change(unfinished, "last.npz", edit)
    message = refused(capsys, unfinished)
    assert "last.npz" in message
    assert f"nothing was changed; best.npz, from epoch 2, is intact: se-numpy train --resume {unfinished}" in message
    change(unfinished, "best.npz", edit)
    assert "intact" not in refused(capsys, unfinished)  # neither file points to the other
    assert "intact" not in refused(capsys, unfinished, ["train", "--resume", str(unfinished / "best.npz")])


@pytest.mark.parametrize(
    "edit",
    [
        put("classes", "red"),
        put("classes", [1, 2, 3]),
        put("classes", []),
        put("image_shape", [8, 9]),
        put("image_shape", [8, -9, 3]),
        put("mean", [0.5]),
        put("std", [0.5, 0.5, 0.0]),
        put("mean", [0.5, "a", 0.5]),
        put("config", "model", "resnet9"),
        put("config", "lr", float("nan")),
        put("config", "gate", "step"),
        put("config", "more", 1),
        lambda meta, trees: meta.pop("std"),
        lambda meta, trees: meta["config"].pop("model"),
        lambda meta, trees: trees.pop("params"),
        lambda meta, trees: trees["params"].pop("classifier"),
        lambda meta, trees: trees["params"]["classifier"].update(W=np.ones((3, 65), np.float32)),
        lambda meta, trees: trees["state"]["norm"].update(mean=np.array(["a"] * 16)),
    ],
)
def test_a_network_made_by_hand_is_not_evaluated(unfinished, capsys, edit):
    change(unfinished, "best.npz", edit)
    run = str(unfinished)
    assert "best.npz" in refused(
        capsys, unfinished, ["evaluate", run], ["predict", run, "test:1"], ["excitations", run]
    )


def test_an_image_shape_other_than_that_of_the_data_is_refused(unfinished, capsys):
    change(unfinished, "best.npz", put("image_shape", [8, 10, 3]))
    assert "the data set has 8x9x3 images" in refused(capsys, unfinished, ["evaluate", str(unfinished)])


TEXTS = {
    "empty": lambda text: b"",
    "cut": lambda text: text[: len(text) // 2],
    "UTF-16": lambda text: text.decode().encode("utf-16"),
    "another type": lambda text: b"[3]",
    "a number": lambda text: b"3",
    "null": lambda text: b"null",
    "nested": lambda text: b"[" * 10_000,
    "binary": lambda text: bytes(range(256)),
    "long number": lambda text: b'{"epochs": ' + b"9" * 5000 + b"}",
}


@pytest.mark.parametrize("damage", TEXTS)
@pytest.mark.parametrize("name", ["config.json", "result.json", "metrics.csv", "env.json"])
def test_a_damaged_text_file_is_refused(unfinished, trained, capsys, name, damage):
    (unfinished / "result.json").write_bytes((trained / "result.json").read_bytes())
    path, run = unfinished / name, str(unfinished)
    path.write_bytes(TEXTS[damage](path.read_bytes()))
    commands = [["train", "--resume", run], ["plot", run, "--out", str(unfinished.parent / "a.png")]]
    if name == "env.json":  # a finished run does not need it
        commands = commands[1:]
    if (name, damage) == ("metrics.csv", "cut"):
        path.write_bytes(path.read_bytes().rpartition(b",")[0])  # whole lines are a shorter history
    assert name in refused(capsys, unfinished, *commands)


@pytest.mark.parametrize("name", ["config.json", "result.json", "metrics.csv", "env.json"])
def test_a_mark_of_the_encoding_is_ignored(unfinished, trained, name):
    """Some editors write it at the beginning of a file."""
    (unfinished / "result.json").write_bytes((trained / "result.json").read_bytes())
    (unfinished / name).write_bytes(b"\xef\xbb\xbf" + (unfinished / name).read_bytes())
    assert main(["train", "--resume", str(unfinished)]) == 0
    assert run_dir.read_starts(unfinished)


@pytest.mark.parametrize(
    ("key", "value"),
    [("test_accuracy", 1.5), ("test_accuracy", "high"), ("test_loss", float("nan")), ("epoch", 1.5), ("seconds", None)],
)
def test_a_result_made_by_hand_is_refused(unfinished, trained, capsys, key, value):
    result = json.loads((trained / "result.json").read_text())
    (unfinished / "result.json").write_text(json.dumps(result | {key: value}))
    assert f"result.json is not a result written by se-numpy train ({key} in the result is" in refused(
        capsys, unfinished
    )
    (unfinished / "result.json").write_text(json.dumps({k: v for k, v in result.items() if k != key}))
    assert f"the result lacks {key}" in refused(capsys, unfinished)


@pytest.mark.parametrize(
    ("key", "value"), [("lr", float("nan")), ("epochs", 1.5), ("epochs", 10**10), ("more", 1), ("stages", "1")]
)
def test_a_config_made_by_hand_is_refused(unfinished, capsys, key, value):
    config = json.loads((unfinished / "config.json").read_text())
    (unfinished / "config.json").write_text(json.dumps(config | {key: value}))
    assert "config.json does not contain the settings of a run" in refused(capsys, unfinished)


@pytest.mark.parametrize("epochs", ["1\r\n3", "1.5\r\n2", "2\r\n1"])
def test_epochs_out_of_order_are_refused(unfinished, trained, capsys, epochs):
    (unfinished / "result.json").write_bytes((trained / "result.json").read_bytes())
    header, *rows = (unfinished / "metrics.csv").read_bytes().decode().splitlines()
    rows = [epoch + row[1:] for epoch, row in zip(epochs.split(), rows, strict=True)]
    (unfinished / "metrics.csv").write_text("\r\n".join([header, *rows]))
    assert "row" in refused(capsys, unfinished, ["train", "--resume", str(unfinished)], ["plot", str(unfinished)])
