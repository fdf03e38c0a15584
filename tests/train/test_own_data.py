"""A run records its data set; a run on arrays that were given in Python says how to resume it there."""

import io
import json
import re
from dataclasses import replace

import numpy as np
import pytest
from training import numbers, tiny

import se_numpy
from se_numpy import data
from se_numpy.cli import main
from se_numpy.data import builtin, digest
from se_numpy.train import Config, Learner, Session, configure, resume, run_dir, train

OWN = replace(tiny(), name="my flowers", loaded_from="")


@pytest.fixture(autouse=True)
def untimed(monkeypatch):
    monkeypatch.setattr(Session, "seconds_per_step", lambda self: 1.0)


def config(folder, dataset=OWN, **given):
    return configure(dataset, **{"epochs": 2, "batch_size": 32, "lr": 0.1, "out": str(folder), **given})


def interrupt(folder, monkeypatch, at=4, error=KeyboardInterrupt, dataset=OWN):
    """Train and interrupt the run before a step; return its output."""
    steps, step, out = iter(range(10**6)), Learner.step, io.StringIO()

    def interrupted_step(self, *args, **more):
        if next(steps) == at:
            raise error
        return step(self, *args, **more)

    with monkeypatch.context() as patch:
        patch.setattr(Learner, "step", interrupted_step)
        with pytest.raises(error):
            train(dataset, config(folder, dataset), out)
    return out.getvalue()


@pytest.mark.parametrize(
    ("dataset", "recorded"),
    [(OWN, "python:my flowers"), (replace(OWN, name="cifar10"), "python:cifar10"), (tiny(), "builtin"),
     (replace(OWN, name="cifar10", loaded_from="/data/cifar"), "/data/cifar")],
)  # fmt: skip
def test_the_name_and_the_digest_of_the_data_are_recorded(tmp_path, dataset, recorded):
    """Also if the settings were made for another data set."""
    for name, settings in (("a", config(tmp_path / "a", dataset)), ("b", Config("se_resnet8", 1, 0.1, False))):
        train(dataset, replace(settings, out=str(tmp_path / name), epochs=1, batch_size=90), io.StringIO())
        assert json.loads((tmp_path / name / "config.json").read_text())["data"] == recorded
        (start,) = json.loads((tmp_path / name / "env.json").read_text())
        assert (start["data"], start["data_sha256"]) == (dataset.name, digest(dataset))
        assert run_dir.data_digest(tmp_path / name) == digest(dataset)
        (tmp_path / name / "env.json").unlink()
        assert run_dir.data_digest(tmp_path / name) == digest(dataset)


def test_the_built_in_set_of_another_size_cannot_be_loaded_by_name():
    assert builtin().loaded_from == "builtin"
    assert builtin(train=10).loaded_from == builtin(seed=1).loaded_from == ""


def test_an_interrupted_run_on_own_arrays_says_how_to_resume_it(tmp_path, monkeypatch, capsys):
    """The words work when they are run."""
    folder = tmp_path / "a run"
    output = interrupt(folder, monkeypatch)
    call = re.search(r"resume in Python, with the same arrays: (se_numpy\.train\.resume\(.*\))", output)[1]
    assert main(["train", "--resume", str(folder)]) == 2
    error = capsys.readouterr().err
    assert error.startswith(
        "se-numpy: the data set 'my flowers' was given as arrays in Python, so no command can load it"
    )
    assert call in error
    run = eval(call, {"se_numpy": se_numpy, "dataset": OWN})
    assert run.result["epoch"] >= 1
    text = capsys.readouterr().out
    assert "se-numpy report" not in text
    assert f"se_numpy.analysis.run_page.write_report({str(folder)!r}, dataset)" in text
    train(OWN, config(tmp_path / "whole"), io.StringIO())
    np.testing.assert_array_equal(numbers(folder), numbers(tmp_path / "whole"))


@pytest.mark.parametrize("at", [1, 4])
def test_other_data_are_refused(tmp_path, monkeypatch, capsys, at):
    """Also before the first checkpoint, and by the commands, for data of the same name."""
    folder = tmp_path / "run"
    interrupt(folder, monkeypatch, at, error=ZeroDivisionError)
    assert (folder / "last.npz").exists() == (at == 4)
    other = replace(OWN, train_labels=OWN.train_labels[::-1].copy())
    files = {path: path.read_bytes() for path in folder.iterdir()}
    for dataset in (other, replace(other, name="builtin"), tiny(n_test=41)):
        with pytest.raises(
            ValueError, match=r"belongs to a run on a data set other than three colours .*nothing was ch"
        ):
            resume(folder, io.StringIO(), dataset=dataset)
    monkeypatch.setattr(data, "load", lambda source: other)
    assert main(["train", "--resume", str(folder), "--data", "cifar10"]) == 2
    assert len(capsys.readouterr().err.splitlines()) == 1
    assert {path: path.read_bytes() for path in folder.iterdir()} == files
    resume(folder, io.StringIO(), dataset=OWN)
    with pytest.raises(ValueError, match="belongs to a run on a data set other than three colours"):
        resume(folder, io.StringIO(), dataset=other)  # also of a finished run


def test_other_class_names_are_refused(tmp_path, monkeypatch):
    interrupt(tmp_path / "run", monkeypatch)
    with pytest.raises(ValueError, match=r"a data set with other classes than three colours; nothing was changed$"):
        resume(tmp_path / "run", io.StringIO(), dataset=replace(OWN, classes=("a", "b", "c")))


def test_the_commands_do_not_evaluate_a_run_on_other_data(tmp_path, monkeypatch, capsys):
    train(OWN, config(tmp_path / "own", epochs=1), io.StringIO())
    train(tiny(), config(tmp_path / "named", tiny(), epochs=1), io.StringIO())
    monkeypatch.setattr(data, "load", lambda source, **options: tiny(n_test=41))
    for name, message in (("own", "was trained on 'my flowers', arrays given in Python"),
                          ("named", "was trained on other data than three colours")):  # fmt: skip
        for command in ("evaluate", "report", "excitations"):
            assert main([command, str(tmp_path / name)]) == 2
            error = capsys.readouterr().err
            assert message in error
            assert "give --data a data set, or use se_numpy.analysis in Python" in error
    assert main(["evaluate", str(tmp_path / "own"), "--data", "builtin"]) == 0


def test_a_setting_that_does_not_exist_is_refused_with_a_hint():
    with pytest.raises(ValueError, match=r"unknown setting 'epoch'; did you mean epochs\?"):
        configure(OWN, epoch=3)


@pytest.mark.parametrize("figure", ["missing", "cut"])
def test_missing_curves_of_a_finished_run_are_drawn(tmp_path, monkeypatch, figure):
    """With test images if the data are at hand."""
    pytest.importorskip("matplotlib")
    folder = tmp_path / "run"
    train(OWN, config(folder, epochs=1), io.StringIO())
    whole = (folder / "curves.png").read_bytes()
    (folder / "curves.png").unlink()
    if figure == "cut":
        (folder / "curves.png.tmp").write_bytes(whole[:100])
    result = (folder / "result.json").read_bytes()
    out = io.StringIO()
    resume(folder, out, dataset=OWN)
    assert f"curves   {folder / 'curves.png'}" in out.getvalue()
    assert (folder / "curves.png").read_bytes() == whole
    (folder / "curves.png").unlink()
    assert main(["train", "--resume", str(folder)]) == 0  # these arrays cannot be loaded
    assert 0 < len((folder / "curves.png").read_bytes()) != len(whole)
    assert not list(folder.glob("*.tmp"))
    assert (folder / "result.json").read_bytes() == result
