"""A run interrupted at any point keeps its saved files and gives the same results when it is resumed."""

import csv
import errno
import io
import os
import signal
import time
from dataclasses import asdict, replace
from pathlib import Path

import kills
import numpy as np
import pytest
from training import LONG, numbers, run, settings, tiny

from se_numpy import checkpoint, engine, models, optim, tree
from se_numpy.data.file_lock import lock_file
from se_numpy.train import Learner, NotFinite, Session, Trained, complete, loop, nan_check, resume, run_dir, train
from se_numpy.train.interrupt import GracefulInterrupt


@pytest.fixture(autouse=True)
def untimed(monkeypatch):
    monkeypatch.setattr(Session, "seconds_per_step", lambda self: 1.0)


@pytest.fixture(autouse=True)
def sigint_handled():
    """Handle Ctrl-C even if the parent process ignores it, as a shell does for background jobs."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


class Interrupted(Exception):
    """A simulated power cut."""


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory):
    folder = tmp_path_factory.mktemp("whole") / "run"
    return folder, run(folder, **LONG)[0]


def interrupt(folder, monkeypatch, at, error=Interrupted):
    """Start the long run and interrupt it before step ``at`` (from 0); return its output."""
    steps, step = iter(range(10**6)), Learner.step

    def interrupted_step(self, *args, **more):
        if next(steps) == at:
            raise error
        return step(self, *args, **more)

    with monkeypatch.context() as patch:
        patch.setattr(Learner, "step", interrupted_step)
        out = io.StringIO()
        with pytest.raises(error):
            train(tiny(), settings(folder, **LONG), out)
    return out.getvalue()


def assert_same_results(folder, uninterrupted):
    """Compare both checkpoints, the history without times, and the test result."""
    other, result = uninterrupted
    for name in ("last.npz", "best.npz"):
        np.testing.assert_array_equal(numbers(folder, name), numbers(other, name))
    rows = []
    for path in (folder, other):
        with (path / "metrics.csv").open(newline="") as file:
            rows.append([[v for k, v in row.items() if "second" not in k] for row in csv.DictReader(file)])
    assert rows[0] == rows[1]
    resumed, expected = run_dir.finished(folder).result, result.result
    assert {**resumed, "seconds": 0} == {**expected, "seconds": 0}


@pytest.mark.parametrize("at", [1, 5, 6, 7, 15, 23])
def test_a_run_interrupted_at_a_step_gives_the_same_results(tmp_path, monkeypatch, uninterrupted, at):
    """This also holds within an epoch: sums, order, crops and dropout continue from the last checkpoint."""
    monkeypatch.setattr(loop, "SAVE_EVERY", 0)
    interrupt(tmp_path / "run", monkeypatch, at)
    _, meta = checkpoint.load(tmp_path / "run" / "last.npz")
    assert (meta["position"]["epoch"], meta["position"]["step"]) == divmod(at, 6)
    out = io.StringIO()
    resume(tmp_path / "run", out, dataset=tiny())
    assert f"after {at // 6} of 4 epochs and {at % 6} of 6 steps" in out.getvalue()
    assert_same_results(tmp_path / "run", uninterrupted)


@pytest.mark.parametrize("at", [7, 15])
def test_a_run_without_the_engine_is_resumed_without_it(tmp_path, monkeypatch, at):
    """Resuming with the recorded setting gives the same results; resuming with the other setting is refused."""
    monkeypatch.setattr(loop, "SAVE_EVERY", 0)
    monkeypatch.setenv("SE_NUMPY_ENGINE", "off")
    whole = tmp_path / "whole", run(tmp_path / "whole", **LONG)[0]
    interrupt(tmp_path / "run", monkeypatch, at)
    before = numbers(tmp_path / "run")
    monkeypatch.setenv("SE_NUMPY_ENGINE", "on")
    with pytest.raises(ValueError, match=r"a run with the engine off, .* set SE_NUMPY_ENGINE=off to resume it"):
        resume(tmp_path / "run", io.StringIO(), dataset=tiny())
    np.testing.assert_array_equal(numbers(tmp_path / "run"), before)
    with engine.off():
        resume(tmp_path / "run", io.StringIO(), dataset=tiny())
    assert_same_results(tmp_path / "run", whole)


def test_a_checkpoint_without_an_engine_setting_was_made_with_the_engine(tmp_path, monkeypatch, uninterrupted):
    monkeypatch.setattr(loop, "SAVE_EVERY", 0)
    interrupt(tmp_path / "run", monkeypatch, 7)
    path = tmp_path / "run" / "last.npz"
    trees, meta = checkpoint.load(path)
    assert meta.pop("engine") == "on"
    checkpoint.save(path, trees, meta)
    resume(tmp_path / "run", io.StringIO(), dataset=tiny())
    assert_same_results(tmp_path / "run", uninterrupted)


def test_without_a_save_within_the_epoch_the_run_resumes_from_the_last_epoch(tmp_path, monkeypatch, uninterrupted):
    interrupt(tmp_path / "run", monkeypatch, 16)
    assert checkpoint.load(tmp_path / "run" / "last.npz")[1]["position"]["epoch"] == 2
    resume(tmp_path / "run", io.StringIO(), dataset=tiny())
    assert_same_results(tmp_path / "run", uninterrupted)


def test_a_run_interrupted_before_its_first_checkpoint_starts_again(tmp_path, monkeypatch, uninterrupted):
    interrupt(tmp_path / "run", monkeypatch, 5)
    assert not (tmp_path / "run" / "last.npz").exists()
    resume(tmp_path / "run", io.StringIO(), dataset=tiny())
    assert_same_results(tmp_path / "run", uninterrupted)


@pytest.mark.parametrize("written", [1, 2, 3])
def test_a_run_interrupted_while_an_epoch_is_saved(tmp_path, monkeypatch, uninterrupted, written):
    """Interrupt between best.npz, last.npz and metrics.csv."""
    writes, atomic_write = iter(range(10**6)), checkpoint.atomic_write

    def interrupted_write(path):
        if Path(path).suffix in (".npz", ".csv") and next(writes) == written:
            raise Interrupted
        return atomic_write(path)

    with monkeypatch.context() as patch:
        patch.setattr(checkpoint, "atomic_write", interrupted_write)
        with pytest.raises(Interrupted):
            train(tiny(), settings(tmp_path / "run", **LONG), io.StringIO())
    resume(tmp_path / "run", io.StringIO(), dataset=tiny())
    assert_same_results(tmp_path / "run", uninterrupted)


@pytest.mark.parametrize(
    "kind", ["resume", "final test", *(pytest.param(kind, marks=pytest.mark.slow) for kind in ("seeds", "ablate"))]
)
def test_a_killed_process_loses_nothing(tmp_path, kind):
    """Send SIGKILL at random moments, SE_NUMPY_KILLS times."""
    kills.kill_and_compare(kind, tmp_path, int(os.environ.get("SE_NUMPY_KILLS", "1")))


def test_ctrl_c_stops_after_the_step_and_prints_how_to_resume(tmp_path, monkeypatch, uninterrupted):
    steps, step = iter(range(10**6)), Learner.step

    def press(self, *args, **more):
        if next(steps) == 8:
            os.kill(os.getpid(), signal.SIGINT)
        return step(self, *args, **more)

    before = signal.getsignal(signal.SIGINT)
    with monkeypatch.context() as patch:
        patch.setattr(Learner, "step", press)
        out = io.StringIO()
        with pytest.raises(KeyboardInterrupt):
            train(tiny(), settings(tmp_path / "run", **LONG), out)
    assert signal.getsignal(signal.SIGINT) is before
    assert out.getvalue().rstrip().endswith(f"resume with:\n         se-numpy train --resume {tmp_path / 'run'}")
    assert checkpoint.load(tmp_path / "run" / "last.npz")[1]["position"]["step"] == 9 - 6
    resume(tmp_path / "run", io.StringIO(), dataset=tiny())
    assert_same_results(tmp_path / "run", uninterrupted)


def test_the_second_ctrl_c_stops_at_once():
    with GracefulInterrupt() as stop:
        os.kill(os.getpid(), signal.SIGINT)
        assert stop.requested
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGINT)


def test_a_process_that_ignores_ctrl_c_keeps_ignoring_it():
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        with GracefulInterrupt() as stop:
            os.kill(os.getpid(), signal.SIGINT)
        assert not stop.requested
    finally:
        signal.signal(signal.SIGINT, before)


def test_an_interruption_before_the_first_step_leaves_nothing(tmp_path, monkeypatch):
    output = interrupt(tmp_path / "run", monkeypatch, 0, error=KeyboardInterrupt)
    assert "no checkpoint had been written yet" in output
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("damage", ["truncated", "flipped", "empty"])
def test_a_damaged_checkpoint_is_kept_and_the_other_one_suggested(tmp_path, monkeypatch, uninterrupted, damage):
    folder = tmp_path / "run"
    interrupt(folder, monkeypatch, 16)
    last = folder / "last.npz"
    good = last.read_bytes()
    flipped = bytearray(good)
    flipped[len(good) // 2] ^= 1
    last.write_bytes({"truncated": good[:-100], "flipped": bytes(flipped), "empty": b""}[damage])
    bad, best = last.read_bytes(), (folder / "best.npz").read_bytes()
    with pytest.raises(ValueError, match=r"last\.npz .* nothing was changed; best\.npz, from epoch \d, is intact: se"):
        resume(folder, io.StringIO(), dataset=tiny())
    assert last.read_bytes() == bad
    assert (folder / "best.npz").read_bytes() == best
    resume(folder / "best.npz", io.StringIO(), dataset=tiny())
    assert_same_results(folder, uninterrupted)


def test_a_checkpoint_that_does_not_fit_is_refused(tmp_path, monkeypatch):
    folder = tmp_path / "run"
    interrupt(folder, monkeypatch, 16)
    trees, meta = checkpoint.load(folder / "last.npz")

    def refused(message, trees=trees, n_test=40, **changed):
        checkpoint.save(folder / "last.npz", trees, meta | changed)
        with pytest.raises(ValueError, match=message):
            resume(folder, io.StringIO(), dataset=tiny(n_test=n_test))

    older = {"format": 1, "se_numpy": "0.0.9"}
    refused(r"has format 1, written by se_numpy 0\.0\.9; expected format 2, which se_numpy .* can resume", **older)
    refused("belongs to a run on a data set other than three colours", n_test=41)
    others = {k: v for k, v in trees["params"].items() if k != "stage2"} | {"stem": {"conv1": {"V": np.ones(3)}}}
    other = trees | {"params": others}
    refused("does not fit the network se_resnet8: params: .* is missing; .* and [0-9]+ more", other)


def test_a_finished_run_is_read_and_not_changed(uninterrupted):
    folder, result = uninterrupted
    before = {path: path.read_bytes() for path in folder.iterdir()}
    out = io.StringIO()
    again = resume(folder, out)
    assert "is finished" in out.getvalue()
    assert (again.result, again.config) == (result.result, result.config)
    assert [row["val_loss"] for row in again.history] == [row["val_loss"] for row in result.history]
    assert {path: path.read_bytes() for path in folder.iterdir()} == before


def test_last_is_the_newest_unfinished_run(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    interrupt(tmp_path / "runs" / "a", monkeypatch, 7)
    interrupt(tmp_path / "runs" / "b", monkeypatch, 7)
    os.utime(tmp_path / "runs" / "a" / "last.npz", (time.time() + 9,) * 2)
    run(tmp_path / "runs" / "c", epochs=1)
    assert resume("last", io.StringIO(), dataset=tiny()).folder == Path("runs/a")
    assert resume("last", io.StringIO(), dataset=tiny()).folder == Path("runs/b")
    with pytest.raises(ValueError, match="runs/ has no unfinished run"):
        resume("last", io.StringIO(), dataset=tiny())


def test_complete_refuses_a_folder_with_other_settings(tmp_path, monkeypatch):
    config = settings(tmp_path / "run", epochs=1)
    first = complete(tiny(), config, io.StringIO())
    assert complete(tiny(), config, io.StringIO()).result == first.result
    with pytest.raises(ValueError, match=r"contains a run with lr = 0\.1, not 0\.2"):
        complete(tiny(), replace(config, lr=0.2), io.StringIO())


def test_a_full_disk_is_reported_and_the_checkpoints_are_kept(tmp_path, monkeypatch, uninterrupted):
    folder, writes, save = tmp_path / "run", iter(range(10**6)), np.savez

    def full(file, **arrays):
        if next(writes) >= 4:
            file.write(b"half of it")
            raise OSError(errno.ENOSPC, "No space left on device")
        return save(file, **arrays)

    with monkeypatch.context() as patch:
        patch.setattr(checkpoint.np, "savez", full)
        with pytest.raises(OSError, match=r"No space left on device; the progress is saved in .* --resume"):
            train(tiny(), settings(folder, **LONG), io.StringIO())
    assert not list(folder.glob("*.tmp"))
    resume(folder, io.StringIO(), dataset=tiny())
    assert_same_results(folder, uninterrupted)


@pytest.mark.parametrize("watch", [True, False])
def test_a_nan_loss_stops_the_run_and_the_layer_is_named(tmp_path, monkeypatch, watch):
    """Without ``watch``, as on a GPU, the NaN is found after the epoch, and repeating the epoch finds the layer."""
    monkeypatch.setattr(Session, "watch", watch)
    monkeypatch.setitem(optim.SCHEDULES, "constant", lambda lr, total: lambda at: lr if at < 9 else 1e30)
    where = r"the loss became NaN or infinite at step 11 \(epoch 4, batch 2 of 3\): the output of stage1\S+conv1 is "
    advice = r"the first that is not finite; try a smaller --lr than 0.1; the last and the best checkpoint "
    with pytest.raises(NotFinite, match=where + advice + r"are kept in .* \(3 epochs completed\)"):
        run(tmp_path / "run", epochs=9, schedule="constant")
    trees, meta = checkpoint.load(tmp_path / "run" / "last.npz")
    assert len(meta["history"]) == 3
    assert np.isfinite(tree.flatten(trees["params"])).all()
    assert Trained.load(tmp_path / "run" / "best.npz").classes == ("red", "green", "blue")


def test_the_first_array_that_is_not_finite_is_named():
    net = models.build("se_resnet8", classes=3)
    learner = Learner(net, (8, 9, 3), seed=0)
    X = np.random.default_rng(0).standard_normal((4, 8, 9, 3)).astype(np.float32)
    network = [learner.net, learner.params, learner.state]
    assert nan_check.first_not_finite(*network, X) == ""
    name, leaf = next(iter(tree.leaves(learner.params)))
    leaf.flat[0] = np.nan
    assert nan_check.first_not_finite(*network, X) == f"the parameter {name} is not finite"
    leaf.flat[0] = 0
    X[0, 0, 0, 0] = np.inf
    assert nan_check.first_not_finite(*network, X) == "the images are not finite"


def test_a_time_budget_below_one_epoch_is_refused_with_a_suggestion(tmp_path):
    """Three steps of 1 second and 9 held-out images take 3.1 seconds per epoch."""
    result = train(tiny(), settings(tmp_path / "run"), io.StringIO(), time_budget=10)
    assert [row["epoch"] for row in result.history] == [1, 2, 3]
    with pytest.raises(ValueError, match="takes 3s, longer than the time budget of 2s; try --subset 32"):
        train(tiny(), settings(tmp_path / "other"), io.StringIO(), time_budget=2)
    assert not (tmp_path / "other").exists()


def test_a_dry_run_prints_the_settings_and_writes_nothing(tmp_path):
    out = io.StringIO()
    train(tiny(), settings(tmp_path / "run"), out, dry_run=True)
    for text in ("80,275 parameters", "1000 ms per step", "2 epochs, batch size 32", "nothing was written"):
        assert text in out.getvalue()
    assert not list(tmp_path.iterdir())


def test_a_run_is_resumed_from_best_npz_if_it_is_the_only_checkpoint(tmp_path, monkeypatch, uninterrupted):
    """The disk fills up between the two files of the first epoch."""
    folder, writes, atomic_write = tmp_path / "run", iter(range(10**6)), checkpoint.atomic_write

    def full(path):
        if Path(path).suffix == ".npz" and next(writes) == 1:
            raise OSError(errno.ENOSPC, "No space left on device")
        return atomic_write(path)

    with monkeypatch.context() as patch:
        patch.setattr(checkpoint, "atomic_write", full)
        with pytest.raises(OSError, match="the progress is saved in"):
            train(tiny(), settings(folder, **LONG), io.StringIO())
    assert {path.name for path in folder.iterdir()} == {"config.json", "env.json", "best.npz"}
    resume(folder, io.StringIO(), dataset=tiny())
    assert_same_results(folder, uninterrupted)


def test_the_checkpoint_of_another_run_is_refused(tmp_path, monkeypatch):
    for seed in (0, 1):
        interrupt(tmp_path / f"s{seed}", monkeypatch, 7)
    other = settings(tmp_path / "s1", **LONG, seed=1)
    run_dir.write_json(tmp_path / "s1" / "config.json", asdict(other))
    with pytest.raises(ValueError, match="belongs to a run with seed = 0; expected 1; nothing was changed"):
        resume(tmp_path / "s1", io.StringIO(), dataset=tiny())


def test_a_missing_metrics_csv_is_written_again(tmp_path):
    folder = tmp_path / "run"
    run(folder, epochs=2)
    for name in ("result.json", "metrics.csv"):
        (folder / name).unlink()
    resume(folder, io.StringIO(), dataset=tiny())
    assert [row["epoch"] for row in resume(folder, io.StringIO()).history] == [1, 2]


def test_two_processes_cannot_write_to_the_same_run(tmp_path, monkeypatch):
    pytest.importorskip("fcntl")
    interrupt(tmp_path / "run", monkeypatch, 7)
    busy = pytest.raises(ValueError, match="is being written to by another run")
    with lock_file(tmp_path / "run", "written to"), busy:
        resume(tmp_path / "run", io.StringIO(), dataset=tiny())


def test_ctrl_c_during_the_final_test_stops_after_it(tmp_path, monkeypatch):
    measure, calls = Learner.measure, iter(range(10))

    def press(self, images):
        if next(calls) == 1:
            os.kill(os.getpid(), signal.SIGINT)
        return measure(self, images)

    monkeypatch.setattr(Learner, "measure", press)
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path / "run", epochs=1)
    assert run_dir.finished(tmp_path / "run").result["epoch"] == 1


@pytest.mark.parametrize("name", ["position", "history", "data", "config"])
def test_a_checkpoint_with_missing_metadata_is_refused(tmp_path, monkeypatch, name):
    folder = tmp_path / "run"
    interrupt(folder, monkeypatch, 7)
    trees, meta = checkpoint.load(folder / "last.npz")
    checkpoint.save(folder / "last.npz", trees, {k: v for k, v in meta.items() if k != name})
    with pytest.raises(ValueError, match="is not a checkpoint written by se-numpy train"):
        resume(folder, io.StringIO(), dataset=tiny())


def test_a_closed_pipe_does_not_stop_the_run(tmp_path):
    class ClosedPipe(io.StringIO):
        def write(self, text):
            raise BrokenPipeError

    assert train(tiny(), settings(tmp_path / "run"), ClosedPipe()).result["epoch"] >= 1
