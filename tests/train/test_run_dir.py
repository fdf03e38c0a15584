"""The folder of a run: one process writes to it, paths may contain ~ and links, and dry runs check what runs check."""

import io
import os
import shlex
import stat
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest
from training import run, settings, tiny

import se_numpy
from se_numpy import data
from se_numpy.cli import main
from se_numpy.data.file_lock import lock_file
from se_numpy.train import Config, Session, Trained, complete, configure, environment, estimate, loop, read_toml, resume

from se_numpy.train import run_dir, train  # isort: skip


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    monkeypatch.setattr(Session, "seconds_per_step", lambda self: 1.0)
    monkeypatch.setattr(data, "load", lambda source: tiny())


def content(folder):
    return {path.relative_to(folder): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


# ------------------------------------------------------------------------------------------------ the lock


@pytest.mark.parametrize("second", [train, complete])
def test_of_two_runs_in_one_folder_one_is_refused_before_it_writes(tmp_path, monkeypatch, second):
    """The second starts when the first is about to write its first file."""
    pytest.importorskip("fcntl")
    write_json, refused = run_dir.write_json, []

    def start_another(path, found):
        if path.name == "config.json" and not refused:
            refused.append(None)
            before = list(path.parent.iterdir())
            with pytest.raises(ValueError, match="is being written to by another run") as error:
                second(tiny(), settings(tmp_path / "run", seed=1), io.StringIO())
            assert list(path.parent.iterdir()) == before == []
            refused[0] = str(error.value)
        write_json(path, found)

    monkeypatch.setattr(run_dir, "write_json", start_another)
    run(tmp_path / "run", epochs=1)
    assert refused[0]
    assert run_dir.settings_of(tmp_path / "run").seed == 0


def test_a_run_that_ended_between_the_check_and_the_lock_is_kept(tmp_path, monkeypatch):
    locked = run_dir.locked

    def late(folder):
        monkeypatch.setattr(run_dir, "locked", locked)
        run(folder, epochs=1)
        return locked(folder)

    monkeypatch.setattr(run_dir, "locked", late)
    with pytest.raises(ValueError, match="is not an empty folder"):
        run(tmp_path / "run", epochs=1, seed=1)
    assert run_dir.settings_of(tmp_path / "run").seed == 0


def test_resuming_holds_the_lock_before_the_checkpoint_is_read(tmp_path, monkeypatch):
    """Otherwise it could continue from a checkpoint that another process has replaced since."""
    pytest.importorskip("fcntl")
    folder = tmp_path / "run"
    run(folder, epochs=1)
    (folder / "result.json").unlink()
    seen, restore = [], loop._restore

    def check(session, file):
        with pytest.raises(ValueError, match="is being written to"), lock_file(folder, "written to"):
            pass
        seen.append(restore(session, file))

    monkeypatch.setattr(loop, "_restore", check)
    resume(folder, io.StringIO())
    assert seen


def test_a_folder_that_was_replaced_is_not_locked(tmp_path, monkeypatch):
    fcntl = pytest.importorskip("fcntl")
    (tmp_path / "run").mkdir()
    flock = fcntl.flock

    def replaced(handle, how):
        (tmp_path / "run").rename(tmp_path / "gone")
        (tmp_path / "run").mkdir()
        flock(handle, how)

    monkeypatch.setattr(fcntl, "flock", replaced)
    with pytest.raises(ValueError, match="was replaced by another run"), lock_file(tmp_path / "run", "written to"):
        pass


def test_many_processes_start_the_same_run_and_one_of_them_trains(tmp_path):
    pytest.importorskip("fcntl")
    code = (
        "import sys; from training import run\n"
        "try: run(sys.argv[1], seed=int(sys.argv[2]))\n"
        "except ValueError as error: sys.exit(f'refused: {error}')\n"
    )
    env = {**os.environ, "PYTHONPATH": f"{Path(se_numpy.__file__).parents[1]}{os.pathsep}{Path(__file__).parent}"}
    started = [
        subprocess.Popen([sys.executable, "-c", code, str(tmp_path / "run"), str(seed)], stderr=subprocess.PIPE,
                         text=True, env=env) for seed in range(3)
    ]  # fmt: skip
    errors = [process.communicate()[1] for process in started]
    codes = [process.returncode for process in started]
    assert sorted(codes) == [0, 1, 1], errors
    assert all(error.startswith("refused: ") for code, error in zip(codes, errors, strict=True) if code)
    assert run_dir.settings_of(tmp_path / "run").seed == codes.index(0)
    assert run_dir.finished(tmp_path / "run")


def test_what_a_killed_process_leaves_is_no_obstacle(tmp_path):
    """It may be killed while it writes its first file, or any later one."""
    folder = tmp_path / "run"
    folder.mkdir()
    (folder / "config.json.tmp").write_text("{")
    complete(tiny(), settings(folder, epochs=1), io.StringIO())
    (folder / "result.json").unlink()
    (folder / "last.npz.tmp").write_text("half")
    complete(tiny(), settings(folder, epochs=1), io.StringIO())
    assert not list(folder.glob("*.tmp"))


# ------------------------------------------------------------------------------------------------ paths


def test_a_link_to_a_run_is_resumed(tmp_path):
    run(tmp_path / "run", epochs=1)
    (tmp_path / "run" / "result.json").unlink()
    (tmp_path / "link").symlink_to(tmp_path / "run")
    assert main(["train", "--resume", str(tmp_path / "link")]) == 0
    assert run_dir.finished(tmp_path / "run")
    (tmp_path / "empty").mkdir()
    (tmp_path / "to-empty").symlink_to(tmp_path / "empty")
    run(tmp_path / "to-empty", epochs=1)
    assert run_dir.finished(tmp_path / "empty")


@pytest.fixture
def home(tmp_path, monkeypatch):
    """Make an empty folder the home folder, and another the current one."""
    for name in ("home", "here"):
        (tmp_path / name).mkdir()
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("USERPROFILE", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path / "here")
    yield tmp_path / "home"
    assert not list((tmp_path / "here").iterdir())


@pytest.mark.slow
def test_a_tilde_is_the_home_folder_in_every_option(home, capsys):
    few = ["--epochs", "1", "--batch-size", "90", "--device", "cpu"]
    (home / "a.toml").write_text('data = "~/cifar"\nout = "~/from toml"\n')
    for words in (["train", *few, "--out", "~/a"], ["train", *few, "--out=~/b"], ["train", *few, "--config=~/a.toml"],
                  ["evaluate", "~/a"], ["train", "--resume=~/b"], ["plot", "~/a", "--out=~/c.png"],
                  ["report", "~/a", "--out", "~/c.html"],
                  ["ablate", "--table", "gate", "--out=~/cells", "--report"]):  # fmt: skip
        assert main(words) == 0, capsys.readouterr().err
    assert {path.name for path in home.iterdir()} >= {"a", "b", "from toml", "c.png", "c.html", "cells"}
    assert read_toml("~/a.toml")["data"] == "~/cifar"
    assert configure(tiny(), **read_toml("~/a.toml")).data == str(home / "cifar")
    assert Config("se_resnet8", 1, 0.1, False, out="~/x").out == str(home / "x")
    assert Trained.load("~/a").classes == Trained.load(home / "a" / "best.npz").classes == ("red", "green", "blue")
    assert resume("~/a", io.StringIO()).result
    assert data.full_name("~/cifar") == str(home / "cifar")
    assert data.full_name("~no-such-user") == str(Path("~no-such-user").resolve())


def test_links_in_the_path_of_a_data_set_are_followed(tmp_path):
    (tmp_path / "cifar").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "cifar")
    assert data.full_name(str(tmp_path / "link")) == str(tmp_path / "cifar")


def test_a_file_is_not_a_data_set(tmp_path, monkeypatch, capsys):
    monkeypatch.undo()
    (tmp_path / "x_y.npy").write_text("")
    for words in (["train"], ["ablate", "--table", "gate"]):
        assert main([*words, "--data", str(tmp_path / "x_y.npy")]) == 2
        assert (
            f"{tmp_path / 'x_y.npy'} is a file of another kind; expected a folder with CIFAR" in capsys.readouterr().err
        )


@pytest.mark.parametrize("name", ["two words", "it's", "$HOME", "a;b", "(x)", "-x"])
def test_suggested_commands_are_quoted_for_the_shell(tmp_path, name):
    """Split as a shell does, the command has the path as one word."""
    for words in (run_dir.how_to_resume(tmp_path / name, tiny()), run(tmp_path / name, epochs=1)[1]):
        line = next(line for line in words.splitlines() if "se-numpy" in line)
        assert shlex.split(line.partition("se-numpy ")[2])[-1] == str(tmp_path / name)


# ------------------------------------------------------------------------------------------------ dry runs


def occupied(folder):
    (folder / "mine.txt").parent.mkdir()
    (folder / "mine.txt").write_text("mine")


def a_file(folder):
    folder.write_text("mine")


def below_a_file(folder):
    folder.parent.rmdir()
    folder.parent.write_text("mine")


def not_writable(folder):
    folder.parent.chmod(stat.S_IRUSR | stat.S_IXUSR)
    if os.access(folder.parent, os.W_OK):
        folder.parent.chmod(0o700)
        pytest.skip("this user may write everywhere")


COMMANDS = {
    "train": ["train"],
    "seeds": ["train", "--seeds", "0,1"],
    "ablate": ["ablate", "--table", "gate", "--seeds", "0", "--jobs", "1"],
}


@pytest.mark.parametrize("obstacle", [occupied, a_file, below_a_file, not_writable])
@pytest.mark.parametrize("command", COMMANDS)
def test_a_dry_run_refuses_what_the_run_refuses(tmp_path, capsys, command, obstacle):
    folder = tmp_path / "above" / "run"
    folder.parent.mkdir()
    inner = {"train": "", "seeds": "s1", "ablate": "runs/se_resnet8-s0"}[command]
    if obstacle is occupied and inner:
        (folder / inner).parent.mkdir(parents=True)
    obstacle(folder / inner if obstacle is occupied else folder)
    before = content(tmp_path)
    errors = []
    for more in ([], ["--dry-run"]):
        assert main([*COMMANDS[command], "--epochs", "1", "--out", str(folder), *more]) == 2
        errors.append(capsys.readouterr().err)
    assert errors[0] == errors[1]
    assert len(errors[0].splitlines()) == 1
    assert content(tmp_path) == before


@pytest.mark.parametrize("command", COMMANDS)
def test_too_little_memory_is_refused_at_once(tmp_path, monkeypatch, capsys, command):
    monkeypatch.undo()
    monkeypatch.setattr(data, "load", lambda source: tiny())
    monkeypatch.setattr(estimate, "available_memory", lambda: 20_000)
    for more in ([], ["--dry-run"]):
        assert main([*COMMANDS[command], "--batch-size", "100000", "--out", str(tmp_path / "run"), *more]) == 2
        error = capsys.readouterr().err
        assert "training on 81 images in one batch needs about 0." in error
        assert "of memory, but only 0.0 GB are available; use a smaller network" in error
    assert not list(tmp_path.iterdir())


def test_the_suggested_batch_size_fits(monkeypatch):
    net = settings("x").network(3)
    monkeypatch.setattr(estimate, "available_memory", lambda: 10**9)
    with pytest.raises(ValueError, match=r"in each of 2 runs at a time needs .*; try --batch-size (\d+)$") as error:
        estimate.check_memory(net, (8, 9, 3), 10**6, runs=2)
    batch = int(str(error.value).rpartition(" ")[2])
    assert batch > 1000
    estimate.check_memory(net, (8, 9, 3), batch, runs=2)
    monkeypatch.setattr(estimate, "available_memory", lambda: None)
    estimate.check_memory(net, (8, 9, 3), 10**9)


@pytest.mark.parametrize("module", [ModuleType("resource"), None], ids=["as in Pyodide", "as on Windows"])
def test_the_available_memory_needs_no_limits_of_processes(module, monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "resource", module)
    monkeypatch.setattr(environment, "PROC", tmp_path)
    monkeypatch.setattr(environment, "_cgroups", lambda name: [])
    assert environment.available_memory() is None


def test_the_available_memory_respects_a_limit_of_the_process():
    resource = pytest.importorskip("resource")
    if not sys.platform.startswith("linux"):
        pytest.skip("needs /proc")
    free = environment.available_memory()
    assert free > 2**20
    limits = resource.getrlimit(resource.RLIMIT_AS)
    used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    try:
        resource.setrlimit(resource.RLIMIT_AS, (used + 2**28, limits[1]))
        assert environment.available_memory() <= 2**28 + 2**26
    finally:
        resource.setrlimit(resource.RLIMIT_AS, limits)


@pytest.mark.parametrize(
    ("per_image", "batch", "most"),
    [(1e-5, 128, 128), (0.01, 100_000, 64), (10.0, 100_000, 16), (0.001, 5, 5)],
)
def test_the_time_of_a_long_step_is_extrapolated(monkeypatch, per_image, batch, most):
    """With a clock that is moved by the steps: the estimate is right and no step is larger than needed."""
    clock, sizes = [0.0], []

    def step(size):
        sizes.append(size)
        clock[0] += per_image * size

    monkeypatch.setattr(estimate.time, "perf_counter", lambda: clock[0])
    assert estimate.time_per_step(step, batch) == pytest.approx(per_image * batch)
    assert max(sizes) == most


def test_the_estimate_covers_epochs_test_and_curves(monkeypatch):
    """One of 100,000 images at a time is as long as one of all 81."""
    one, all_at_once = (Session(tiny(), settings("x", batch_size=n), "cpu") for n in (81, 100_000))
    assert (one.batch, all_at_once.batch) == (81, 81)
    for session in (one, all_at_once):
        monkeypatch.setattr(estimate, "find_spec", lambda name: None)
        expected = 2 * 3.0 * (1 + 0.35 * 9 / 81) + 3.0 * 0.35 * 40 / 81
        assert estimate.seconds_in_total(session, 3.0) == pytest.approx(expected)
        monkeypatch.setattr(estimate, "find_spec", lambda name: "found")
        assert estimate.seconds_in_total(session, 3.0) == pytest.approx(expected + estimate.DRAWING)
