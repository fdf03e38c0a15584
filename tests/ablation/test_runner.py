"""Runs of a table: made once, gone on with, failing alone, through any executor, and the command that starts them."""

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
from se_numpy.ablation.runner import make, make_all, prepare
from se_numpy.ablation.study import Study, failure, state
from se_numpy.ablation.tables import table
from se_numpy.data import builtin
from se_numpy.data.file_lock import lock_file
from se_numpy.train import configure
from se_numpy.workers import ended_with, workers

TINY = builtin(train=40, test=20)


class Here(Executor):
    """Runs what it is given at once, in this process, and counts."""

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
    """Forty images to learn from, for runs in this process."""
    monkeypatch.setattr(runner, "_dataset", lambda source: TINY)
    monkeypatch.setattr("se_numpy.data.load", lambda source: TINY)


@pytest.fixture
def made(monkeypatch, tiny):
    """The runs that were made, none of them really: the accuracy is 0.5, a wish for reduction 8 fails."""
    names = []

    def complete(dataset, config, out):
        names.append(Path(config.out).name)
        folder = Path(config.out)
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "config.json").write_text(json.dumps(asdict(config)))
        if config.reduction == 8:
            raise FloatingPointError("the loss is no number any more")
        (folder / "result.json").write_text(json.dumps({"test_accuracy": 0.5, "seconds": 1.0}))

    monkeypatch.setattr(runner, "complete", complete)
    return names


@pytest.fixture
def here(monkeypatch):
    """The executor that the command gets."""
    pool = Here()
    monkeypatch.setattr("se_numpy.workers.workers", lambda *args: pool)
    return pool


def study(folder, seeds=(0, 1), **given):
    return Study.of(Path(folder), configure(TINY, epochs=1, **given), seeds, TINY)


def ablate(*words):
    """The command line, as far as ``add`` makes it."""
    parser = argparse.ArgumentParser(prog="se-numpy")
    commands.add(parser.add_subparsers())
    args = parser.parse_args(["ablate", *map(str, words)])
    args.run(args)


def test_a_table_is_trained_in_earnest(tiny, here, tmp_path, capsys):
    ablate("--table", "squeeze", "--seeds", "0", "--epochs", 1, "--out", tmp_path)
    told = capsys.readouterr().out
    assert here.count == 4
    assert told.count("% right") == 4
    assert "4/4" in told
    assert "without SE" in told  # the table itself, not only where it lies
    record = json.loads((tmp_path / "squeeze.json").read_text())
    assert [len(row["errors"]) for row in record["rows"]] == [1] * 4
    assert all(row["errors"]["0"] % 5 == pytest.approx(0, abs=1e-9) for row in record["rows"])  # of 20 images
    assert "recipe" in (tmp_path / "runs" / "se_resnet8-s0" / "log.txt").read_text()
    assert (tmp_path / "runs" / "se_resnet8-squeeze_max-s0" / "best.npz").exists()


def test_a_finished_run_is_never_repeated(made, here, tmp_path, capsys):
    ablate("--table", "squeeze", "--seeds", "0,1", "--epochs", 1, "--out", tmp_path)
    assert len(made) == 8
    ablate("--table", "squeeze", "--seeds", "0,1", "--epochs", 1, "--out", tmp_path)
    assert (len(made), here.count) == (8, 8)
    ablate("--table", "squeeze", "--seeds", "0,1,2", "--epochs", 1, "--out", tmp_path)
    assert made[8:] == ["se_resnet8-s2", "se_resnet8-squeeze_max-s2", "se_resnet8-squeeze_none-s2", "resnet8-s2"]
    ablate("--table", "gate", "--seeds", "0,1", "--epochs", 1, "--out", tmp_path)
    assert sorted(made[12:]) == [f"se_resnet8-gate_{g}-s{s}" for g in ("relu", "tanh") for s in (0, 1)]
    assert "8 runs for gate: 4 are done" in capsys.readouterr().out


def test_a_dry_run_tells_what_is_done_and_what_is_left(made, here, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr("se_numpy.train.Session.seconds_per_step", lambda self: 60.0)
    ablate("--out", tmp_path, "--table", "gate", "--seeds", "0")
    capsys.readouterr()
    before = sorted(tmp_path.rglob("*"))
    made.clear()
    ablate("--out", tmp_path, "--table", "gate", "--seeds", "0,1", "--dry-run")
    out = capsys.readouterr().out
    assert "8 runs for gate: 4 are done" in out
    assert "  done   se_resnet8-s0\n" in out
    assert "  new    resnet8-s1\n" in out
    assert "time     about " in out
    assert not made
    assert sorted(tmp_path.rglob("*")) == before


def test_somebody_elses_file_is_not_written_over(made, here, tmp_path):
    (tmp_path / "gate.json").write_text("[1]")
    with pytest.raises(ValueError, match=r"gate\.json exists already, and se-numpy ablate did not make it"):
        ablate("--out", tmp_path, "--table", "gate", "--seeds", "0")
    assert (tmp_path / "gate.json").read_text() == "[1]"
    assert not made


def test_an_interrupted_run_is_gone_on_with(made, tmp_path):
    config = study(tmp_path).config(table("gate", "se_resnet8").row("tanh"), 0)
    Path(config.out).mkdir(parents=True)
    (Path(config.out) / "config.json").write_text(json.dumps(asdict(config)))
    assert state(config) == "begun"
    assert make(asdict(config)) == {"accuracy": 0.5}
    assert make(asdict(config)) == {"accuracy": 0.5}
    assert made == ["se_resnet8-gate_tanh-s0"]


def test_a_run_that_is_cut_and_gone_on_with_is_trained_to_its_end(tiny, tmp_path, monkeypatch):
    config = study(tmp_path).config(table("gate", "se_resnet8").row("tanh"), 0)

    def cut(dataset, config, out):
        raise KeyboardInterrupt

    whole = runner.complete
    monkeypatch.setattr(runner, "complete", cut)
    with pytest.raises(KeyboardInterrupt):
        make(asdict(config))
    Path(config.out).mkdir(parents=True)
    (Path(config.out) / "config.json").write_text(json.dumps(asdict(config)))  # as far as it came
    monkeypatch.setattr(runner, "complete", whole)
    assert 0 <= make(asdict(config))["accuracy"] <= 1
    assert state(config) == "done"


def test_other_settings_in_its_place_are_refused_before_anything_runs(made, here, tmp_path):
    ablate("--table", "gate", "--seeds", "0", "--epochs", 1, "--out", tmp_path)
    with pytest.raises(ValueError, match="contains a run with epochs = 1, not 2; expected the same"):
        ablate("--table", "squeeze", "--seeds", "0", "--epochs", 2, "--out", tmp_path)
    assert len(made) == 4


def test_a_run_that_fails_does_not_end_the_others(made, here, tmp_path, capsys):
    with pytest.raises(RuntimeError, match=r"1 of 5 runs failed.*se_resnet8-reduction_8-s0"):
        ablate("--table", "reduction", "--seeds", "0", "--epochs", 1, "--out", tmp_path)
    assert len(made) == 5
    assert "failed: the loss is no number any more" in capsys.readouterr().out
    text = (tmp_path / "reduction.md").read_text()
    assert "r = 8, seed 0: failed; the loss is no number any more" in text
    assert text.count("50.00") >= 4
    ablate("--table", "reduction", "--seeds", "0", "--epochs", 1, "--out", tmp_path, "--report")
    assert len(made) == 5  # a report makes nothing
    assert (tmp_path / "reduction.md").read_text() == text


def test_a_failure_leaves_word_and_a_later_success_takes_it_back(made, tmp_path, monkeypatch):
    config = study(tmp_path).config(table("reduction", "se_resnet8").row("r = 8"), 0)
    assert make(asdict(config)) == {"failed": "the loss is no number any more"}
    assert failure(config) == "the loss is no number any more"
    assert "FloatingPointError" in (Path(config.out) / "log.txt").read_text()

    def complete(dataset, config, out):
        (Path(config.out) / "result.json").write_text('{"test_accuracy": 1.0, "seconds": 1.0}')

    monkeypatch.setattr(runner, "complete", complete)
    assert make(asdict(config)) == {"accuracy": 1.0}
    assert failure(config) is None


def test_a_mistake_of_the_program_is_a_failure_with_its_name(made, tmp_path, monkeypatch):
    config = study(tmp_path).config(table("gate", "se_resnet8").row("tanh"), 0)
    monkeypatch.setattr(runner, "complete", lambda *args: {}["absent"])
    assert make(asdict(config)) == {"failed": "KeyError: 'absent'"}


def test_a_run_that_nobody_here_can_see_has_failed(tmp_path, monkeypatch):
    config = study(tmp_path).config(table("gate", "se_resnet8").row("tanh"), 0)
    monkeypatch.setattr(runner, "make", lambda settings: {"accuracy": 1.0})
    lines = []
    failed = make_all([config], Here(), lines.append)
    assert "a folder that all workers share" in failed["se_resnet8-gate_tanh-s0"]
    assert "failed" in lines[0]


def test_ctrl_c_says_how_to_go_on(made, here, tmp_path, capsys, monkeypatch):
    whole = runner.complete

    def complete(dataset, config, out):
        if config.squeeze == "none":
            raise KeyboardInterrupt
        whole(dataset, config, out)

    monkeypatch.setattr(runner, "complete", complete)
    with pytest.raises(KeyboardInterrupt):
        ablate("--table", "squeeze", "--seeds", "0", "--epochs", 1, "--out", tmp_path)
    assert "3 of 4 runs are done and kept; the same command goes on" in capsys.readouterr().out


def test_ctrl_c_ends_the_workers_at_once():
    """They have ten minutes of work; whoever waits for that waits that long."""

    def interrupted():
        with ended_with(lambda: workers(1, None, partial(prepare, 1))) as pool:
            sleeping = pool.submit(time.sleep, 600)
            while not sleeping.running():
                time.sleep(0.01)
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert not multiprocessing.active_children()


def test_workers_are_started_deaf_to_ctrl_c():
    """From their first moment: who is still importing when it comes would end in a traceback."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        with workers(2) as pool:
            assert [pool.submit(signal.getsignal, signal.SIGINT).result() for _ in "12"] == [signal.SIG_IGN] * 2
        assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    finally:
        signal.signal(signal.SIGINT, before)


def test_ctrl_c_does_not_wait_for_a_cluster():
    asked = []

    class Cluster(Here):
        def shutdown(self, wait=True):  # as Dask has it
            asked.append(wait)

    def interrupted():
        with ended_with(Cluster):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert asked[0] is False


def test_a_process_of_this_machine_carries_runs(tmp_path):
    here = Study.of(tmp_path, configure(TINY, epochs=1, subset=32, batch_size=32), (0,), TINY)
    config = here.config(table("gate", "se_resnet8").row("without SE"), 0)
    with ended_with(lambda: workers(1, None, partial(prepare, 1))) as pool:
        assert pool.submit(os.getenv, "SE_NUMPY_THREADS").result() == "1"
        assert make_all([config], pool, print) == {}
    assert state(config) == "done"


def test_a_dask_cluster_carries_runs(tmp_path):
    distributed = pytest.importorskip("distributed")
    here = Study.of(tmp_path, configure(TINY, epochs=1, subset=32, batch_size=32), (0,), TINY)
    config = here.config(table("gate", "se_resnet8").row("tanh"), 0)
    small = {"n_workers": 1, "threads_per_worker": 1, "host": "127.0.0.1", "dashboard_address": None}
    with distributed.LocalCluster(**small) as cluster, workers(1, cluster.scheduler_address) as pool:
        assert make_all([config], pool, print) == {}
    assert state(config) == "done"


def test_a_worker_that_is_killed_is_told_in_a_sentence(tmp_path):
    config = study(tmp_path).config(table("gate", "se_resnet8").row("tanh"), 0)
    with workers(1, None) as pool:
        pool.submit(os._exit, 1)
        with pytest.raises(RuntimeError, match="ended from outside"):
            make_all([config], pool, print)


def test_two_at_once_in_one_folder_are_refused_but_a_report_is_written(made, here, tmp_path):
    pytest.importorskip("fcntl")
    with lock_file(tmp_path, "filled"):
        ablate("--table", "gate", "--seeds", "0", "--epochs", 1, "--out", tmp_path, "--report")
        with pytest.raises(ValueError, match="is being filled by another run"):
            ablate("--table", "gate", "--seeds", "0", "--epochs", 1, "--out", tmp_path)
    assert (tmp_path / "gate.md").exists()
    assert made == []


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--seeds", "0,0"], "expected different numbers"),
        (["--table", "gates"], "no table 'gates'"),
        (["--model", "resnet8"], "no network with SE"),
        (["--jobs", "0"], "--jobs is 0; expected 1 or more"),
        (["--epochs", "0"], "epochs is 0"),
    ],
)
def test_what_cannot_be_is_refused(words, message, tiny, here, tmp_path):
    given = {"--table": "gate", "--out": tmp_path, **dict(zip(words[::2], words[1::2], strict=True))}
    with pytest.raises(ValueError, match=message):
        ablate(*(word for pair in given.items() for word in pair))


def test_the_command_at_the_foot_names_no_path(made, here, tmp_path):
    ablate("--table", "gate", "--data", tmp_path, "--note", "as JPEG", "--seeds", "0", "--epochs", 1, "--lr", 0.1,
           "--out", tmp_path / "out")  # fmt: skip
    text = (tmp_path / "out" / "gate.md").read_text()
    assert ("se-numpy ablate --table gate --data FOLDER --note 'as JPEG' --model se_resnet8 --seeds 0 --epochs 1 "
            "--lr 0.1\n") in text  # fmt: skip
    assert str(tmp_path) not in text
    ablate("--table", "gate", "--data", "cifar10", "--seeds", "0", "--out", tmp_path / "named", "--report")
    assert "se-numpy ablate --table gate --data cifar10 --model" in (tmp_path / "named" / "gate.md").read_text()


def test_all_tables_at_once(made, here, tmp_path):
    ablate("--table", "all", "--seeds", "3", "--epochs", 1, "--out", tmp_path, "--report")
    assert made == []
    assert {path.stem for path in tmp_path.glob("*.md")} == set(commands.TABLES.split(", "))
