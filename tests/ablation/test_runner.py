"""Tests of the runs of a table: repeats, resuming, failures, executors, and the command ``se-numpy ablate``."""

import argparse
import json
import multiprocessing
import os
import signal
import time
from concurrent.futures import Executor, Future
from dataclasses import asdict
from functools import partial
from pathlib import Path

import pytest

from se_numpy.ablation import commands, runner
from se_numpy.ablation.runner import prepare, run_all, run_one
from se_numpy.ablation.study import Study, failure, state
from se_numpy.ablation.tables import table
from se_numpy.data import builtin
from se_numpy.data.file_lock import lock_file
from se_numpy.train import configure
from se_numpy.workers import terminate_on_error, workers

TINY = builtin(train=40, test=20)


class InlineExecutor(Executor):
    """An executor that runs each function immediately, in this process, and counts the calls."""

    def __init__(self):
        self.count = 0

    def submit(self, fn, /, *args, **kwargs):
        self.count += 1
        future = Future()
        try:
            future.set_result(fn(*args, **kwargs))
        except BaseException as error:
            future.set_exception(error)
        return future


@pytest.fixture
def tiny(monkeypatch):
    """Make every run in this process train on forty images."""
    monkeypatch.setattr(runner, "_dataset", lambda source: TINY)
    monkeypatch.setattr("se_numpy.data.load", lambda source: TINY)


@pytest.fixture
def trained(monkeypatch, tiny):
    """Replace training with a stub (accuracy 0.5; reduction 8 fails) and return the names of the trained runs."""
    names = []

    def complete(dataset, config, out):
        names.append(Path(config.out).name)
        folder = Path(config.out)
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "config.json").write_text(json.dumps(asdict(config)))
        if config.reduction == 8:
            raise FloatingPointError("the loss became NaN")
        (folder / "result.json").write_text(json.dumps({"test_accuracy": 0.5, "seconds": 1.0}))

    monkeypatch.setattr(runner, "complete", complete)
    return names


@pytest.fixture
def inline_pool(monkeypatch):
    """Make the command use an inline executor, and return it."""
    pool = InlineExecutor()
    monkeypatch.setattr("se_numpy.workers.workers", lambda *args: pool)
    return pool


def study(folder, seeds=(0, 1), **given):
    return Study.of(Path(folder), configure(TINY, epochs=1, **given), seeds, TINY)


def ablate(*words):
    """Run ``se-numpy ablate`` with these arguments."""
    parser = argparse.ArgumentParser(prog="se-numpy")
    commands.add(parser.add_subparsers())
    args = parser.parse_args(["ablate", *map(str, words)])
    args.run(args)


def test_the_runs_of_a_table_are_trained(tiny, inline_pool, tmp_path, capsys):
    ablate("--table", "squeeze", "--seeds", "0", "--epochs", 1, "--out", tmp_path)
    out = capsys.readouterr().out
    assert inline_pool.count == 4
    assert out.count("accuracy ") == 4
    assert "4/4" in out
    assert "without SE" in out  # the table itself is printed
    record = json.loads((tmp_path / "squeeze.json").read_text())
    assert [len(row["errors"]) for row in record["rows"]] == [1] * 4
    assert all(row["errors"]["0"] % 5 == pytest.approx(0, abs=1e-9) for row in record["rows"])  # of 20 images
    assert "recipe" in (tmp_path / "runs" / "se_resnet8-s0" / "log.txt").read_text()
    assert (tmp_path / "runs" / "se_resnet8-squeeze_max-s0" / "best.npz").exists()


def test_a_finished_run_is_never_repeated(trained, inline_pool, tmp_path, capsys):
    ablate("--table", "squeeze", "--seeds", "0,1", "--epochs", 1, "--out", tmp_path)
    assert len(trained) == 8
    ablate("--table", "squeeze", "--seeds", "0,1", "--epochs", 1, "--out", tmp_path)
    assert (len(trained), inline_pool.count) == (8, 8)
    ablate("--table", "squeeze", "--seeds", "0,1,2", "--epochs", 1, "--out", tmp_path)
    assert trained[8:] == ["se_resnet8-s2", "se_resnet8-squeeze_max-s2", "se_resnet8-squeeze_none-s2", "resnet8-s2"]
    ablate("--table", "gate", "--seeds", "0,1", "--epochs", 1, "--out", tmp_path)
    assert sorted(trained[12:]) == [f"se_resnet8-gate_{g}-s{s}" for g in ("relu", "tanh") for s in (0, 1)]
    assert "8 runs for gate, 4 of them finished" in capsys.readouterr().out


def test_a_dry_run_lists_the_runs_and_writes_nothing(trained, inline_pool, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr("se_numpy.train.Session.seconds_per_step", lambda self: 60.0)
    ablate("--out", tmp_path, "--table", "gate", "--seeds", "0")
    capsys.readouterr()
    before = sorted(tmp_path.rglob("*"))
    trained.clear()
    ablate("--out", tmp_path, "--table", "gate", "--seeds", "0,1", "--dry-run")
    out = capsys.readouterr().out
    assert "8 runs for gate, 4 of them finished" in out
    assert "  done     se_resnet8-s0\n" in out
    assert "  new      resnet8-s1\n" in out
    assert "time     about " in out
    assert not trained
    assert sorted(tmp_path.rglob("*")) == before


def test_other_files_are_not_overwritten(trained, inline_pool, tmp_path):
    (tmp_path / "gate.json").write_text("[1]")
    with pytest.raises(ValueError, match=r"gate\.json exists and was not written by se-numpy ablate"):
        ablate("--out", tmp_path, "--table", "gate", "--seeds", "0")
    assert (tmp_path / "gate.json").read_text() == "[1]"
    assert not trained


def test_an_interrupted_run_is_trained_once(trained, tmp_path):
    config = study(tmp_path).config(table("gate", "se_resnet8").row("tanh"), 0)
    Path(config.out).mkdir(parents=True)
    (Path(config.out) / "config.json").write_text(json.dumps(asdict(config)))
    assert state(config) == "started"
    assert run_one(asdict(config)) == {"accuracy": 0.5}
    assert run_one(asdict(config)) == {"accuracy": 0.5}
    assert trained == ["se_resnet8-gate_tanh-s0"]


def test_an_interrupted_run_is_resumed(tiny, tmp_path, monkeypatch):
    config = study(tmp_path).config(table("gate", "se_resnet8").row("tanh"), 0)

    def interrupt(dataset, config, out):
        raise KeyboardInterrupt

    complete = runner.complete
    monkeypatch.setattr(runner, "complete", interrupt)
    with pytest.raises(KeyboardInterrupt):
        run_one(asdict(config))
    Path(config.out).mkdir(parents=True)
    (Path(config.out) / "config.json").write_text(json.dumps(asdict(config)))  # the only file written so far
    monkeypatch.setattr(runner, "complete", complete)
    assert 0 <= run_one(asdict(config))["accuracy"] <= 1
    assert state(config) == "done"


def test_existing_runs_with_other_settings_are_refused_before_training(trained, inline_pool, tmp_path):
    ablate("--table", "gate", "--seeds", "0", "--epochs", 1, "--out", tmp_path)
    with pytest.raises(ValueError, match="contains a run with epochs = 1, not 2; expected the same"):
        ablate("--table", "squeeze", "--seeds", "0", "--epochs", 2, "--out", tmp_path)
    assert len(trained) == 4


def test_a_failed_run_does_not_stop_the_others(trained, inline_pool, tmp_path, capsys):
    with pytest.raises(RuntimeError, match=r"1 of 5 runs failed.*se_resnet8-reduction_8-s0"):
        ablate("--table", "reduction", "--seeds", "0", "--epochs", 1, "--out", tmp_path)
    assert len(trained) == 5
    assert "failed: the loss became NaN" in capsys.readouterr().out
    text = (tmp_path / "reduction.md").read_text()
    assert "r = 8, seed 0: failed: the loss became NaN" in text
    assert text.count("50.00") >= 4
    ablate("--table", "reduction", "--seeds", "0", "--epochs", 1, "--out", tmp_path, "--report")
    assert len(trained) == 5  # --report trains nothing
    assert (tmp_path / "reduction.md").read_text() == text


def test_a_failure_is_recorded_and_removed_by_a_later_success(trained, tmp_path, monkeypatch):
    config = study(tmp_path).config(table("reduction", "se_resnet8").row("r = 8"), 0)
    assert run_one(asdict(config)) == {"failed": "the loss became NaN"}
    assert failure(config) == "the loss became NaN"
    assert "FloatingPointError" in (Path(config.out) / "log.txt").read_text()

    def complete(dataset, config, out):
        (Path(config.out) / "result.json").write_text('{"test_accuracy": 1.0, "seconds": 1.0}')

    monkeypatch.setattr(runner, "complete", complete)
    assert run_one(asdict(config)) == {"accuracy": 1.0}
    assert failure(config) is None


def test_an_unexpected_error_is_reported_with_its_type(trained, tmp_path, monkeypatch):
    config = study(tmp_path).config(table("gate", "se_resnet8").row("tanh"), 0)
    monkeypatch.setattr(runner, "complete", lambda *args: {}["absent"])
    assert run_one(asdict(config)) == {"failed": "KeyError: 'absent'"}


def test_a_run_whose_folder_is_not_shared_has_failed(tmp_path, monkeypatch):
    config = study(tmp_path).config(table("gate", "se_resnet8").row("tanh"), 0)
    monkeypatch.setattr(runner, "run_one", lambda settings: {"accuracy": 1.0})
    lines = []
    failed = run_all([config], InlineExecutor(), lines.append)
    assert "a folder that all workers share" in failed["se_resnet8-gate_tanh-s0"]
    assert "failed" in lines[0]


def test_ctrl_c_says_how_to_continue(trained, inline_pool, tmp_path, capsys, monkeypatch):
    complete = runner.complete

    def interrupted(dataset, config, out):
        if config.squeeze == "none":
            raise KeyboardInterrupt
        complete(dataset, config, out)

    monkeypatch.setattr(runner, "complete", interrupted)
    with pytest.raises(KeyboardInterrupt):
        ablate("--table", "squeeze", "--seeds", "0", "--epochs", 1, "--out", tmp_path)
    assert "3 of 4 runs are finished and kept; repeat the command to continue" in capsys.readouterr().out


def test_ctrl_c_ends_the_workers_at_once():
    """The worker has ten minutes of work, so the test would time out if Ctrl-C waited for it."""

    def interrupted():
        with terminate_on_error(lambda: workers(1, None, partial(prepare, 1))) as pool:
            sleeping = pool.submit(time.sleep, 600)
            while not sleeping.running():
                time.sleep(0.01)
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert not multiprocessing.active_children()


def test_workers_ignore_ctrl_c_from_the_start():
    """Without this, Ctrl-C during their imports would print a traceback."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        with workers(2) as pool:
            assert [pool.submit(signal.getsignal, signal.SIGINT).result() for _ in "12"] == [signal.SIG_IGN] * 2
        assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    finally:
        signal.signal(signal.SIGINT, before)


def test_ctrl_c_does_not_wait_for_a_cluster():
    waits = []

    class Cluster(InlineExecutor):
        def shutdown(self, wait=True):  # the signature of Dask's executor
            waits.append(wait)

    def interrupted():
        with terminate_on_error(Cluster):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert waits[0] is False


@pytest.mark.slow
def test_runs_work_in_a_process_pool(tmp_path):
    small_study = Study.of(tmp_path, configure(TINY, epochs=1, subset=32, batch_size=32), (0,), TINY)
    config = small_study.config(table("gate", "se_resnet8").row("without SE"), 0)
    with terminate_on_error(lambda: workers(1, None, partial(prepare, 1))) as pool:
        assert pool.submit(os.getenv, "SE_NUMPY_THREADS").result() == "1"
        assert run_all([config], pool, print) == {}
    assert state(config) == "done"


@pytest.mark.slow
def test_runs_work_on_a_dask_cluster(tmp_path):
    distributed = pytest.importorskip("distributed")
    small_study = Study.of(tmp_path, configure(TINY, epochs=1, subset=32, batch_size=32), (0,), TINY)
    config = small_study.config(table("gate", "se_resnet8").row("tanh"), 0)
    small = {"n_workers": 1, "threads_per_worker": 1, "host": "127.0.0.1", "dashboard_address": None}
    with distributed.LocalCluster(**small) as cluster, workers(1, cluster.scheduler_address) as pool:
        assert run_all([config], pool, print) == {}
    assert state(config) == "done"


def test_a_killed_worker_is_reported(tmp_path):
    config = study(tmp_path).config(table("gate", "se_resnet8").row("tanh"), 0)
    with workers(1, None) as pool:
        pool.submit(os._exit, 1)
        with pytest.raises(RuntimeError, match="a worker was killed"):
            run_all([config], pool, print)


def test_two_commands_in_one_folder_are_refused_but_reports_are_not(trained, inline_pool, tmp_path):
    pytest.importorskip("fcntl")
    with lock_file(tmp_path, "filled"):
        ablate("--table", "gate", "--seeds", "0", "--epochs", 1, "--out", tmp_path, "--report")
        with pytest.raises(ValueError, match="is being filled by another run"):
            ablate("--table", "gate", "--seeds", "0", "--epochs", 1, "--out", tmp_path)
    assert (tmp_path / "gate.md").exists()
    assert trained == []


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--seeds", "0,0"], "expected different integers"),
        (["--table", "gates"], "no table 'gates'"),
        (["--model", "resnet8"], "not a network with SE"),
        (["--jobs", "0"], "--jobs is 0; expected 1 or more"),
        (["--epochs", "0"], "epochs is 0"),
    ],
)
def test_invalid_options_are_refused(words, message, tiny, inline_pool, tmp_path):
    given = {"--table": "gate", "--out": tmp_path, **dict(zip(words[::2], words[1::2], strict=True))}
    with pytest.raises(ValueError, match=message):
        ablate(*(word for pair in given.items() for word in pair))


def test_the_command_in_the_report_has_no_local_paths(trained, inline_pool, tmp_path):
    ablate("--table", "gate", "--data", tmp_path, "--note", "as JPEG", "--seeds", "0", "--epochs", 1, "--lr", 0.1,
           "--out", tmp_path / "out")  # fmt: skip
    text = (tmp_path / "out" / "gate.md").read_text()
    assert ("se-numpy ablate --table gate --data FOLDER --note 'as JPEG' --model se_resnet8 --seeds 0 --epochs 1 "
            "--lr 0.1\n") in text  # fmt: skip
    assert str(tmp_path) not in text
    ablate("--table", "gate", "--data", "cifar10", "--seeds", "0", "--out", tmp_path / "named", "--report")
    assert "se-numpy ablate --table gate --data cifar10 --model" in (tmp_path / "named" / "gate.md").read_text()


def test_all_tables_can_be_written_at_once(trained, inline_pool, tmp_path):
    ablate("--table", "all", "--seeds", "3", "--epochs", 1, "--out", tmp_path, "--report")
    assert trained == []
    assert {path.stem for path in tmp_path.glob("*.md")} == set(commands.TABLES.split(", "))
