"""A run that is cut, anywhere and in any way, loses nothing that was written and ends in the same numbers."""

import csv
import errno
import io
import os
import random
import signal
import subprocess
import sys
import time
from dataclasses import asdict, replace
from pathlib import Path

import cupy_double
import numpy as np
import pytest
from training import LONG, numbers, run, settings, tiny

import se_numpy
from se_numpy import checkpoint, engine, models, optim, tree
from se_numpy.data.file_lock import lock_file
from se_numpy.train import Learner, NotFinite, Session, Trained, complete, loop, nan_check, resume, run_dir, train
from se_numpy.train.interrupt import GracefulInterrupt


@pytest.fixture(autouse=True)
def untimed(monkeypatch):
    monkeypatch.setattr(Session, "seconds_per_step", lambda self: 1.0)


@pytest.fixture(autouse=True)
def heard():
    """Ctrl-C is heard, even where who started the tests ignores it, as a shell does for what runs behind it."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


class Cut(Exception):
    """The power goes."""


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory):
    folder = tmp_path_factory.mktemp("whole") / "run"
    return folder, run(folder, **LONG)[0]


def cut(folder, monkeypatch, at, error=Cut):
    """Start the long run, and end it when step ``at`` (from 0) is to be taken."""
    steps, step = iter(range(10**6)), Learner.step

    def cut_step(self, *args, **more):
        if next(steps) == at:
            raise error
        return step(self, *args, **more)

    with monkeypatch.context() as patch:
        patch.setattr(Learner, "step", cut_step)
        out = io.StringIO()
        with pytest.raises(error):
            train(tiny(), settings(folder, **LONG), out)
    return out.getvalue()


def same(folder, uninterrupted):
    """Every number of the last and of the best network, and the history up to what a clock says."""
    other, result = uninterrupted
    for name in ("last.npz", "best.npz"):
        np.testing.assert_array_equal(numbers(folder, name), numbers(other, name))
    rows = []
    for path in (folder, other):
        with (path / "metrics.csv").open(newline="") as file:
            rows.append([[v for k, v in row.items() if "second" not in k] for row in csv.DictReader(file)])
    assert rows[0] == rows[1]
    done = run_dir.finished(folder).result
    assert {k: v for k, v in done.items() if k != "seconds"} == {
        k: v for k, v in result.result.items() if k != "seconds"
    }


@pytest.mark.parametrize("at", [1, 5, 6, 7, 15, 23])
def test_a_run_cut_at_a_step_ends_in_the_same_numbers(tmp_path, monkeypatch, uninterrupted, at):
    """Also inside an epoch: what was saved last is where it goes on, with its sums, its draws, its dropout."""
    monkeypatch.setattr(loop, "SAVE_EVERY", 0)
    cut(tmp_path / "run", monkeypatch, at)
    _, meta = checkpoint.load(tmp_path / "run" / "last.npz")
    assert (meta["position"]["epoch"], meta["position"]["step"]) == divmod(at, 6)
    out = io.StringIO()
    resume(tmp_path / "run", out, dataset=tiny())
    assert f"after {at // 6} of 4 epochs and {at % 6} of 6 steps" in out.getvalue()
    same(tmp_path / "run", uninterrupted)


@pytest.mark.parametrize("at", [7, 15])
def test_a_run_without_the_engine_is_cut_and_goes_on_without_it(tmp_path, monkeypatch, at):
    """Bit for bit, under the setting that it recorded; under the other one it is refused, and keeps what it has."""
    monkeypatch.setattr(loop, "SAVE_EVERY", 0)
    monkeypatch.setenv("SE_NUMPY_ENGINE", "off")
    whole = tmp_path / "whole", run(tmp_path / "whole", **LONG)[0]
    cut(tmp_path / "run", monkeypatch, at)
    before = numbers(tmp_path / "run")
    monkeypatch.setenv("SE_NUMPY_ENGINE", "on")
    with pytest.raises(ValueError, match=r"a run with the engine off, .* set SE_NUMPY_ENGINE=off to resume it"):
        resume(tmp_path / "run", io.StringIO(), dataset=tiny())
    np.testing.assert_array_equal(numbers(tmp_path / "run"), before)
    with engine.off():
        resume(tmp_path / "run", io.StringIO(), dataset=tiny())
    same(tmp_path / "run", whole)


def test_a_checkpoint_from_before_the_engine_could_be_off_is_one_of_the_engines(tmp_path, monkeypatch, uninterrupted):
    monkeypatch.setattr(loop, "SAVE_EVERY", 0)
    cut(tmp_path / "run", monkeypatch, 7)
    path = tmp_path / "run" / "last.npz"
    trees, meta = checkpoint.load(path)
    assert meta.pop("engine") == "on"
    checkpoint.save(path, trees, meta)
    resume(tmp_path / "run", io.StringIO(), dataset=tiny())
    same(tmp_path / "run", uninterrupted)


def test_without_saves_between_the_run_goes_on_from_the_last_epoch(tmp_path, monkeypatch, uninterrupted):
    cut(tmp_path / "run", monkeypatch, 16)
    assert checkpoint.load(tmp_path / "run" / "last.npz")[1]["position"]["epoch"] == 2
    resume(tmp_path / "run", io.StringIO(), dataset=tiny())
    same(tmp_path / "run", uninterrupted)


def test_cut_before_anything_was_saved_it_starts_again(tmp_path, monkeypatch, uninterrupted):
    cut(tmp_path / "run", monkeypatch, 5)
    assert not (tmp_path / "run" / "last.npz").exists()
    resume(tmp_path / "run", io.StringIO(), dataset=tiny())
    same(tmp_path / "run", uninterrupted)


@pytest.mark.parametrize("written", [1, 2, 3])
def test_cut_while_the_end_of_an_epoch_is_written(tmp_path, monkeypatch, uninterrupted, written):
    """Between the best network, the last one and the table."""
    writes, whole = iter(range(10**6)), checkpoint.whole

    def cut_whole(path):
        if Path(path).suffix in (".npz", ".csv") and next(writes) == written:
            raise Cut
        return whole(path)

    with monkeypatch.context() as patch:
        patch.setattr(checkpoint, "whole", cut_whole)
        with pytest.raises(Cut):
            train(tiny(), settings(tmp_path / "run", **LONG), io.StringIO())
    resume(tmp_path / "run", io.StringIO(), dataset=tiny())
    same(tmp_path / "run", uninterrupted)


def test_a_killed_process_loses_nothing(tmp_path, uninterrupted):
    """SIGKILL at random moments of a run that writes after every step; SE_NUMPY_KILLS says how many."""
    kills = int(os.environ.get("SE_NUMPY_KILLS", "4"))
    chance, done, writing = random.Random(0), 0, 0
    command = [sys.executable, str(Path(__file__).with_name("training.py"))]
    here = {**os.environ, "PYTHONPATH": str(Path(se_numpy.__file__).parents[1])}
    for number in range(10**6):
        folder = tmp_path / f"run{number}"
        while done < kills and not (folder / "result.json").exists():
            process = subprocess.Popen([*command, str(folder)], stdout=subprocess.PIPE, text=True, env=here)
            for line in process.stdout:
                if line.startswith("run "):  # it has begun; now a moment of its own
                    break
            time.sleep(chance.uniform(0.0, 0.5))
            process.send_signal(signal.SIGKILL)
            process.stdout.close()
            assert process.wait() in (0, -signal.SIGKILL)
            if process.returncode:
                done += 1
                writing += any(folder.glob("*.tmp"))
        complete(tiny(), settings(folder, **LONG), io.StringIO())
        same(folder, uninterrupted)
        if done == kills:
            print(f"{done} kills, {writing} while a file was written, {number + 1} runs, all numbers the same")
            return


def test_ctrl_c_ends_after_the_step_and_says_how_to_go_on(tmp_path, monkeypatch, uninterrupted):
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
    assert out.getvalue().rstrip().endswith(f"go on with: se-numpy train --resume {tmp_path / 'run'}")
    assert checkpoint.load(tmp_path / "run" / "last.npz")[1]["position"]["step"] == 9 - 6
    resume(tmp_path / "run", io.StringIO(), dataset=tiny())
    same(tmp_path / "run", uninterrupted)


def test_the_second_ctrl_c_ends_at_once():
    with GracefulInterrupt() as stop:
        os.kill(os.getpid(), signal.SIGINT)
        assert stop.requested
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGINT)


def test_a_process_told_to_ignore_ctrl_c_goes_on_ignoring_it():
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        with GracefulInterrupt() as stop:
            os.kill(os.getpid(), signal.SIGINT)
        assert not stop.requested
    finally:
        signal.signal(signal.SIGINT, before)


def test_an_interruption_before_anything_was_learned_leaves_nothing(tmp_path, monkeypatch):
    said = cut(tmp_path / "run", monkeypatch, 0, error=KeyboardInterrupt)
    assert "not come far enough to keep anything" in said
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("damage", ["truncated", "flipped", "empty"])
def test_a_damaged_checkpoint_is_named_left_alone_and_the_other_offered(tmp_path, monkeypatch, uninterrupted, damage):
    folder = tmp_path / "run"
    cut(folder, monkeypatch, 16)
    last = folder / "last.npz"
    good = last.read_bytes()
    flipped = bytearray(good)
    flipped[len(good) // 2] ^= 1
    last.write_bytes({"truncated": good[:-100], "flipped": bytes(flipped), "empty": b""}[damage])
    bad, best = last.read_bytes(), (folder / "best.npz").read_bytes()
    with pytest.raises(ValueError, match=r"last\.npz .* nothing was changed; best\.npz is whole, of epoch \d: se"):
        resume(folder, io.StringIO(), dataset=tiny())
    assert last.read_bytes() == bad
    assert (folder / "best.npz").read_bytes() == best
    resume(folder / "best.npz", io.StringIO(), dataset=tiny())
    same(folder, uninterrupted)


def test_a_checkpoint_of_something_else_is_refused_by_name(tmp_path, monkeypatch):
    folder = tmp_path / "run"
    cut(folder, monkeypatch, 16)
    trees, meta = checkpoint.load(folder / "last.npz")

    def refused(message, trees=trees, n_test=40, **changed):
        checkpoint.save(folder / "last.npz", trees, meta | changed)
        with pytest.raises(ValueError, match=message):
            resume(folder, io.StringIO(), dataset=tiny(n_test=n_test))

    older = {"format": 1, "se_numpy": "0.0.9"}
    refused(r"has format 1, written by se_numpy 0\.0\.9; this one, .* goes on from format 2", **older)
    refused("comes from other images than three colours", n_test=41)
    others = {k: v for k, v in trees["params"].items() if k != "stage2"} | {"stem": {"conv1": {"V": np.ones(3)}}}
    other = trees | {"params": others}
    refused("holds another network than se_resnet8: params: .* is missing; .* and [0-9]+ more", other)


def test_a_run_that_is_over_is_read_and_left_as_it_is(uninterrupted):
    folder, result = uninterrupted
    before = {path: path.read_bytes() for path in folder.iterdir()}
    out = io.StringIO()
    again = resume(folder, out)
    assert "is over" in out.getvalue()
    assert (again.result, again.config) == (result.result, result.config)
    assert [row["val_loss"] for row in again.history] == [row["val_loss"] for row in result.history]
    assert {path: path.read_bytes() for path in folder.iterdir()} == before


def test_last_is_the_newest_run_that_is_not_over(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    cut(tmp_path / "runs" / "a", monkeypatch, 7)
    cut(tmp_path / "runs" / "b", monkeypatch, 7)
    os.utime(tmp_path / "runs" / "a" / "last.npz", (time.time() + 9,) * 2)
    run(tmp_path / "runs" / "c", epochs=1)
    assert resume("last", io.StringIO(), dataset=tiny()).folder == Path("runs/a")
    assert resume("last", io.StringIO(), dataset=tiny()).folder == Path("runs/b")
    with pytest.raises(ValueError, match="no run in runs/ waits to be finished"):
        resume("last", io.StringIO(), dataset=tiny())


def test_complete_starts_goes_on_and_reads_but_never_mixes(tmp_path, monkeypatch):
    config = settings(tmp_path / "run", epochs=1)
    first = complete(tiny(), config, io.StringIO())
    assert complete(tiny(), config, io.StringIO()).result == first.result
    with pytest.raises(ValueError, match=r"was made with lr = 0\.1 and now 0\.2 is asked for"):
        complete(tiny(), replace(config, lr=0.2), io.StringIO())


def test_a_full_disk_is_said_and_what_was_written_stays(tmp_path, monkeypatch, uninterrupted):
    folder, writes, save = tmp_path / "run", iter(range(10**6)), np.savez

    def full(file, **arrays):
        if next(writes) >= 4:
            file.write(b"half of it")
            raise OSError(errno.ENOSPC, "No space left on device")
        return save(file, **arrays)

    with monkeypatch.context() as patch:
        patch.setattr(checkpoint.np, "savez", full)
        with pytest.raises(OSError, match=r"No space left on device; what it had reached .* --resume"):
            train(tiny(), settings(folder, **LONG), io.StringIO())
    assert not list(folder.glob("*.tmp"))
    resume(folder, io.StringIO(), dataset=tiny())
    same(folder, uninterrupted)


@pytest.mark.parametrize("watch", [True, False])
def test_a_loss_that_is_no_number_stops_the_run_and_says_where(tmp_path, monkeypatch, watch):
    """A GPU, which nobody makes wait, tells of it when the epoch ends; replayed, step and layer are found."""
    monkeypatch.setattr(Session, "watch", watch)
    monkeypatch.setitem(optim.SCHEDULES, "constant", lambda lr, total: lambda at: lr if at < 9 else 1e30)
    where = r"at step 11 \(epoch 4, batch 2 of 3\): the output of stage1\S+conv1 is the first that is not finite"
    with pytest.raises(NotFinite, match=where + r": try a smaller --lr than 0.1; the networks of 3 epochs before"):
        run(tmp_path / "run", epochs=9, schedule="constant")
    trees, meta = checkpoint.load(tmp_path / "run" / "last.npz")
    assert len(meta["history"]) == 3
    assert np.isfinite(tree.flatten(trees["params"])).all()
    assert Trained.load(tmp_path / "run" / "best.npz").classes == ("red", "green", "blue")


def test_where_numbers_were_lost_is_told_from_where_they_came():
    net = models.build("se_resnet8", classes=3)
    learner = Learner(net, (8, 9, 3), seed=0)
    X = np.random.default_rng(0).standard_normal((4, 8, 9, 3)).astype(np.float32)
    look = [learner.net, learner.params, learner.state]
    assert nan_check.first_not_finite(*look, X) == ""
    name, leaf = next(iter(tree.leaves(learner.params)))
    leaf.flat[0] = np.nan
    assert nan_check.first_not_finite(*look, X) == f"the parameter {name} is not finite"
    leaf.flat[0] = 0
    X[0, 0, 0, 0] = np.inf
    assert nan_check.first_not_finite(*look, X) == "the images are not finite"


def test_no_time_for_an_epoch_is_said_with_what_would_fit(tmp_path):
    """Three steps of a second and 9 images held out: 3.1 seconds an epoch."""
    result = train(tiny(), settings(tmp_path / "run"), io.StringIO(), time_budget=10)
    assert [row["epoch"] for row in result.history] == [1, 2, 3]
    with pytest.raises(ValueError, match="takes 3s, longer than the time budget of 2s; --subset 32 would fit"):
        train(tiny(), settings(tmp_path / "other"), io.StringIO(), time_budget=2)
    assert not (tmp_path / "other").exists()


def test_a_dry_run_says_everything_and_writes_nothing(tmp_path):
    out = io.StringIO()
    train(tiny(), settings(tmp_path / "run"), out, dry_run=True)
    for said in ("80,275 parameters", "1000 ms a step", "2 epochs in batches of 32", "nothing was written"):
        assert said in out.getvalue()
    assert not list(tmp_path.iterdir())


def test_a_run_on_a_device_goes_on_too(tmp_path, monkeypatch):
    """What is kept between steps lies on the device, what is written on the host; sums come back with their kind."""
    monkeypatch.setitem(sys.modules, "cupy", cupy_double.module)  # for this test alone, or "auto" would find a GPU
    dataset = tiny(n_train=18, n_test=4)
    config = replace(settings(tmp_path / "run", epochs=1, batch_size=8, model="resnet8"), device="gpu")
    monkeypatch.setattr(loop, "SAVE_EVERY", 0)
    steps, step = iter(range(10**6)), Learner.step

    def cut_step(self, *args, **more):
        if next(steps) == 1:
            raise Cut
        return step(self, *args, **more)

    with monkeypatch.context() as patch:
        patch.setattr(Learner, "step", cut_step)
        with pytest.raises(Cut):
            train(dataset, config, io.StringIO())
    resume(tmp_path / "run", io.StringIO(), dataset=dataset)
    train(dataset, replace(config, out=str(tmp_path / "other")), io.StringIO())
    np.testing.assert_array_equal(numbers(tmp_path / "run"), numbers(tmp_path / "other"))


def test_the_best_network_alone_is_kept_and_gone_on_from(tmp_path, monkeypatch, uninterrupted):
    """The disk is full between the two files of the first epoch: what is whole is not orphaned."""
    folder, writes, whole = tmp_path / "run", iter(range(10**6)), checkpoint.whole

    def full(path):
        if Path(path).suffix == ".npz" and next(writes) == 1:
            raise OSError(errno.ENOSPC, "No space left on device")
        return whole(path)

    with monkeypatch.context() as patch:
        patch.setattr(checkpoint, "whole", full)
        with pytest.raises(OSError, match="what it had reached is in"):
            train(tiny(), settings(folder, **LONG), io.StringIO())
    assert {path.name for path in folder.iterdir()} == {"config.json", "env.json", "best.npz"}
    resume(folder, io.StringIO(), dataset=tiny())
    same(folder, uninterrupted)


def test_the_checkpoint_of_another_run_is_refused(tmp_path, monkeypatch):
    for seed in (0, 1):
        cut(tmp_path / f"s{seed}", monkeypatch, 7)
    other = settings(tmp_path / "s1", **LONG, seed=1)
    run_dir.write_json(tmp_path / "s1" / "config.json", asdict(other))
    with pytest.raises(ValueError, match="is of a run with seed = 0; expected 1; nothing was changed"):
        resume(tmp_path / "s1", io.StringIO(), dataset=tiny())


def test_a_table_that_was_lost_is_written_again(tmp_path):
    folder = tmp_path / "run"
    run(folder, epochs=2)
    for name in ("result.json", "metrics.csv"):
        (folder / name).unlink()
    resume(folder, io.StringIO(), dataset=tiny())
    assert [row["epoch"] for row in resume(folder, io.StringIO()).history] == [1, 2]


def test_two_processes_do_not_write_to_one_run(tmp_path, monkeypatch):
    pytest.importorskip("fcntl")
    cut(tmp_path / "run", monkeypatch, 7)
    busy = pytest.raises(ValueError, match="is being written to by another run")
    with lock_file(tmp_path / "run", "written to"), busy:
        resume(tmp_path / "run", io.StringIO(), dataset=tiny())


def test_a_ctrl_c_while_the_test_set_is_looked_at_ends_after_it(tmp_path, monkeypatch):
    evaluate, calls = Learner.evaluate, iter(range(10))

    def press(self, images):
        if next(calls) == 1:
            os.kill(os.getpid(), signal.SIGINT)
        return evaluate(self, images)

    monkeypatch.setattr(Learner, "evaluate", press)
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path / "run", epochs=1)
    assert run_dir.finished(tmp_path / "run").result["epoch"] == 1


@pytest.mark.parametrize("name", ["position", "history", "data", "config"])
def test_a_checkpoint_that_does_not_say_all_is_refused(tmp_path, monkeypatch, name):
    folder = tmp_path / "run"
    cut(folder, monkeypatch, 7)
    trees, meta = checkpoint.load(folder / "last.npz")
    checkpoint.save(folder / "last.npz", trees, {k: v for k, v in meta.items() if k != name})
    with pytest.raises(ValueError, match="is not what se-numpy train writes"):
        resume(folder, io.StringIO(), dataset=tiny())


def test_a_reader_who_goes_does_not_end_the_run(tmp_path):
    class Gone(io.StringIO):
        def write(self, text):
            raise BrokenPipeError

    assert train(tiny(), settings(tmp_path / "run"), Gone()).result["epoch"] >= 1
