"""A finished run is trained longer in a new folder; the finished one is not changed."""

import io
import re

import numpy as np
import pytest
from test_resume import assert_same_results
from training import numbers, run, tiny

from se_numpy import checkpoint, data, optim
from se_numpy.cli import main
from se_numpy.train import Learner, Session, Trained, configure, extend, final_test, loop, resume, train


@pytest.fixture(autouse=True)
def untimed(monkeypatch):
    monkeypatch.setattr(Session, "seconds_per_step", lambda self: 1.0)
    monkeypatch.setattr(final_test, "curves", lambda *args, **more: None)  # drawing takes longer than the training


@pytest.fixture
def finished(tmp_path):
    return run(tmp_path / "finished", epochs=2, ema=0.5, patience=2)[0]


def content(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_the_run_is_trained_for_more_epochs_in_a_new_folder(tmp_path, monkeypatch, finished):
    before, rates, step = content(finished.folder), [], Learner.step

    def spy(self, X, labels, optimiser, lr, **more):
        if not rates:
            np.testing.assert_array_equal(self.w, numbers_of(finished.folder, "params"))
            np.testing.assert_array_equal(self.v, numbers_of(finished.folder, "velocity"))
        rates.append(lr)
        return step(self, X, labels, optimiser, lr, **more)

    monkeypatch.setattr(Learner, "step", spy)
    out = io.StringIO()
    longer = extend(finished.folder, 3, out, dataset=tiny(), folder=str(tmp_path / "longer"))
    assert [row["epoch"] for row in longer.history] == [1, 2, 3, 4, 5]
    assert longer.history[:2] == finished.history
    np.testing.assert_allclose(rates, [optim.one_cycle(0.01, 9)(k) for k in range(9)])
    assert (longer.config.epochs, longer.config.continued) == (5, 2)
    words = " ".join(out.getvalue().split())
    assert f"continue {finished.folder} after 2 epochs recipe 3 more epochs, batch size 32, one-cycle schedule" in words
    assert content(finished.folder) == before
    assert Trained.load(longer.folder).config["continued"] == 2
    again = extend(longer.folder, 1, io.StringIO(), dataset=tiny(), folder=str(tmp_path / "again"), lr=0.2,
                   schedule="cosine")  # fmt: skip
    assert [row["epoch"] for row in again.history] == [1, 2, 3, 4, 5, 6]
    np.testing.assert_allclose(rates[9:], [optim.cosine(0.2, 3)(k) for k in range(3)])


def numbers_of(folder, kind):
    from se_numpy import tree

    return tree.flatten(checkpoint.load(folder / "last.npz")[0][kind])


@pytest.mark.parametrize("at", [0, 4])
def test_an_interrupted_extension_is_resumed_bit_for_bit(tmp_path, monkeypatch, finished, at):
    monkeypatch.setattr(loop, "SAVE_EVERY", 0)
    whole = extend(finished.folder, 2, io.StringIO(), dataset=tiny(), folder=str(tmp_path / "whole"))
    steps, step = iter(range(100)), Learner.step

    def interrupted_step(self, *args, **more):
        if next(steps) == at:
            raise KeyboardInterrupt
        return step(self, *args, **more)

    with monkeypatch.context() as patch:
        patch.setattr(Learner, "step", interrupted_step)
        with pytest.raises(KeyboardInterrupt):
            extend(finished.folder, 2, io.StringIO(), dataset=tiny(), folder=str(tmp_path / "run"))
    resume(tmp_path / "run", io.StringIO(), dataset=tiny())
    assert_same_results(tmp_path / "run", (tmp_path / "whole", whole))


def test_patience_counts_the_added_epochs(tmp_path, monkeypatch):
    """The best epoch is the first of the finished run; the added epochs are not charged for those after it."""
    monkeypatch.setattr(Session, "validate", lambda self, terminal: {
        "val_loss": 1.0, "val_accuracy": 0.9 if self.position.epoch == 0 else 0.5})  # fmt: skip
    finished = run(tmp_path / "finished", epochs=2, patience=2)[0]
    longer = extend(finished.folder, 5, io.StringIO(), dataset=tiny(), folder=str(tmp_path / "longer"))
    assert len(longer.history) == 4
    assert longer.result["epoch"] == 1  # best.npz is that of the finished run


def test_the_command_line(tmp_path, monkeypatch, finished, capsys):
    monkeypatch.setattr(data, "load", lambda source: tiny())
    folder = str(tmp_path / "longer")
    assert main(["train", "--resume", str(finished.folder)]) == 0
    hint = re.search(r"to train longer: se-numpy (train .*) --epochs N", " ".join(capsys.readouterr().out.split()))[1]
    assert main([*hint.split(), "--epochs", "1", "--lr", "0.02", "--schedule", "constant", "--out", folder]) == 0
    assert "1 more epoch, batch size 32, constant schedule with lr 0.02" in " ".join(capsys.readouterr().out.split())
    assert main([*hint.split(), "--epochs", "1", "--out", folder]) == 2
    assert "is not an empty folder" in capsys.readouterr().err
    assert main([*hint.split(), "--epochs", "0"]) == 2
    assert "epochs is 0; expected a whole number, at least 1" in capsys.readouterr().err


def test_an_unfinished_run_is_refused(tmp_path, finished):
    (finished.folder / "result.json").unlink()
    with pytest.raises(ValueError, match="finished is not finished; finish it before it is trained longer: se-numpy"):
        extend(finished.folder, 2, io.StringIO(), dataset=tiny())


def test_a_run_that_continues_another_one_cannot_start_by_itself(tmp_path):
    config = configure(tiny(), epochs=3, continued=1, out=str(tmp_path / "run"))
    with pytest.raises(ValueError, match=r"the first 1 epochs of this run .* continue that run with --resume"):
        train(tiny(), config, io.StringIO())
    assert not (tmp_path / "run").exists()
    with pytest.raises(ValueError, match="continued is 3; expected at least 0 and less than epochs, 3"):
        configure(tiny(), epochs=3, continued=3)


def test_a_damaged_run_is_refused_and_nothing_is_written(tmp_path, finished):
    (finished.folder / "best.npz").write_bytes(b"damaged")
    with pytest.raises(ValueError, match="is not a se_numpy checkpoint, or is damaged"):
        extend(finished.folder, 1, io.StringIO(), dataset=tiny(), folder=str(tmp_path / "longer"))
    assert not (tmp_path / "longer").exists()
    assert numbers(finished.folder).size
