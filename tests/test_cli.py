"""Tests of the command line: its output and its error messages."""

import json
import re
import subprocess
import sys
from dataclasses import asdict

import numpy as np
import pytest

from se_numpy import data
from se_numpy.cli import main
from se_numpy.data import builtin
from se_numpy.interop import commands as interop
from se_numpy.interop.schemes import SCHEMES
from se_numpy.models import NAMES
from se_numpy.train import commands, configure
from se_numpy.train.console import duration
from se_numpy.train.estimate import DRAWING


def run(capsys, *args):
    """Run the command line and return the exit code, stdout and stderr."""
    try:
        code = main(list(args))
    except SystemExit as stop:
        code = stop.code
    captured = capsys.readouterr()
    return code, captured.out, captured.err


def test_version_and_help(capsys):
    assert run(capsys, "--version")[:2] == (0, "se-numpy 0.1.0\n")
    code, out, _ = run(capsys, "train", "--help")
    assert code == 0
    for option in ("data", "model", "reduction", "epochs", "batch-size", "lr", "seed", "device", "out"):
        assert f"--{option}" in out


def test_without_arguments_the_help_is_printed(capsys, monkeypatch):
    assert run(capsys) == run(capsys, "--help")
    assert run(capsys)[0] == 0
    monkeypatch.setattr(sys, "argv", ["se-numpy"])
    assert main_from_shell(capsys) == run(capsys, "--help")


def main_from_shell(capsys):
    """Run ``main()`` with sys.argv."""
    with pytest.raises(SystemExit) as stop:
        main()
    captured = capsys.readouterr()
    return stop.value.code, captured.out, captured.err


HELP = [(), ("train",), ("summary",), ("complexity",), ("data",), ("data", "where"), ("data", "show"),
        ("data", "clean"), ("data", "download"),
        ("data", "verify"), ("weights",), ("export",), ("help",)]  # fmt: skip


@pytest.mark.parametrize("columns", [80, 40])
@pytest.mark.parametrize("command", HELP, ids=" ".join)
def test_help_fits_the_terminal(capsys, monkeypatch, command, columns):
    monkeypatch.setenv("COLUMNS", str(columns))
    out = run(capsys, *command, "--help")[1]
    assert max(map(len, out.splitlines())) <= columns
    assert "se-\n" not in out  # words are not broken at hyphens


def test_summary(capsys):
    code, out, _ = run(capsys, "summary", "se_resnet20", "--reduction", "16")
    assert code == 0
    assert out.splitlines()[-1].split()[:2] == ["total", "274,490"]


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (["train", "--epoch-count", "3"], "unrecognized arguments"),
        (["train", "--modle", "resnet8"], "did you mean --model?"),
        (["train", "--resume", "last", "--momentum", "0"], "--momentum cannot be given with it"),
        (["train", "--resume", "nowhere"], "--resume nowhere: this is not the folder of a run"),
        (["train", "--resume", "last"], "runs/ has no unfinished run"),
        (["train", "--seeds", "0,0"], "contains a seed twice"),
        (["train", "--seeds", "0,1", "--seed", "2"], "--seed cannot be given with it"),
        (["train", "--print-config", "--time-budget", "9m"], "--time-budget cannot be given with it"),
        (["train", "--epochs", "3", "--time-budget", "9m"], "--epochs cannot be given with it"),
        (["train", "--config", "x.toml", "--preset", "smoke"], "--preset cannot be given with it"),
        (["train", "--epochs", "9" * 400], "expected 1 to 1,000,000,000"),
        (["train", "--seeds", "a,b"], "expected whole numbers separated by commas"),
        (["train", "--seeds", "0,1", "--time-budget", "1m"], "--time-budget cannot be given with it"),
        (["train", "--time-budget", "soon"], "'soon' is not a duration; expected, for example, 90s, 10m or 1h30m"),
        (["train", "--preset", "huge"], "preset is 'huge'; expected one of smoke, quick, full"),
        (["train", "--subset", "0"], "subset is 0; expected 1 to 1,000,000,000"),
        (["ablate", "--table", "gate", "--seeds", "0,x"], "'0,x'; expected whole numbers separated by commas"),
        (["train", "--config", "none.toml"], "none.toml: No such file"),
        (["train", "--epochs", "many"], "invalid int value: 'many'"),
        (["train", "--epochs", "0"], "epochs is 0; expected 1 to 1,000,000,000"),
        (["train", "--model", "se_resnet21"], "unknown model 'se_resnet21'; did you mean 'se_resnet20' or"),
        (["train", "--model", "resnet8", "--reduction", "4"], "did you mean 'se_resnet8'?"),
        (["train", "--reduction", "64"], "16 channels with reduction ratio r = 64 leave no hidden unit"),
        (["train", "--data", "/no/such/folder"], "/no/such/folder"),
        (["train", "--device", "tpu"], "invalid choice: 'tpu'"),
        (["train", "--schedule", "linear"], "schedule is 'linear'"),
        (["summary", "resnet9"], "unknown model 'resnet9'; did you mean 'resnet"),
        (["summary", "xyz"], "unknown model 'xyz'; `se-numpy summary` lists all"),
        (["fly"], "unknown command 'fly'"),
        (["trian"], "unknown command 'trian'; did you mean train?"),
        (["help", "trian"], "unknown command 'trian'; did you mean train?"),
        (["data", "were"], "unknown action 'were'; did you mean where?"),
        (["data", "where", "My_CIFAR"], "'My_CIFAR' is neither cifar10, cifar100 nor an existing path"),
        (["train", "--resume", "last", "--lr", "3"], "to train a finished run longer, give --epochs"),
        (["train", "--resume", "last", "--epochs", "3"], "--resume last: runs/ has no unfinished run"),
        (["train", "--resume", "last", "--seeds", "0"], "--seeds cannot be given with it\n"),
        (["evaluate", "nope"], "nope does not exist; expected a checkpoint or the folder of a run, such"),
        (["predict", "nope", "test:0"], "nope does not exist"),
        (["excitations", "nope"], "nope does not exist"),
        (["report", "nope"], "nope does not exist"),
        (["plot", "nope"], "nope does not exist"),
        (["weights", "."], ". contains no best.npz; expected the folder of a run or a checkpoint"),
        (["plot", "nope", "--out", "no/c.png"], "--out no/c.png: folder no does not exist; create it first"),
        (["student-template", "--out", "no/s.py"], "no/s.py: No such file or directory; folder no does not exist"),
        (["data"], "required"),
    ],
)
def test_errors_are_one_line_with_exit_code_2(capsys, tmp_path, monkeypatch, args, message):
    monkeypatch.chdir(tmp_path)
    code, _, err = run(capsys, *args)
    assert code == 2
    assert message in err
    assert "Traceback" not in err
    assert len(err.strip().splitlines()) <= 2
    assert not list(tmp_path.rglob("*"))  # no run was started


@pytest.mark.parametrize(("words", "advice"), [
    (["weights", "w.npz"], "not enough memory (20 GiB); close other programs, or use a machine with more memory"),
    (["train"], "not enough memory (20 GiB); try a smaller --batch-size"),
])  # fmt: skip
def test_only_training_is_advised_a_smaller_batch(capsys, monkeypatch, words, advice):
    def fail(*args):
        raise MemoryError("20 GiB")

    monkeypatch.setattr(interop, "_weights", fail)
    monkeypatch.setattr(commands, "run_train", fail)
    assert run(capsys, *words)[::2] == (2, f"se-numpy: {advice}\n")


def test_the_help_command(capsys):
    code, out, _ = run(capsys, "help", "data", "where")
    assert (code, out.split()[:4]) == (0, ["usage:", "se-numpy", "data", "where"])
    assert run(capsys, "help")[1] == run(capsys, "--help")[1]


@pytest.mark.parametrize(("error", "message"), [
    (PermissionError(13, "Permission denied", "runs"),
     "runs: Permission denied; choose another location with --out, or change to another folder"),
    (OSError(30, "Read-only file system", "runs"), "Read-only file system; choose another location with --out, or"),
    (OSError(28, "No space left on device", "runs"), "device; free some disk space, or choose another location with"),
    (IsADirectoryError(21, "Is a directory", "sub"), "sub: Is a directory; expected a file name"),
])  # fmt: skip
def test_errors_of_the_operating_system_come_with_advice(capsys, monkeypatch, error, message):
    def fail(*args, **options):
        raise error

    monkeypatch.setattr(commands, "train", fail)
    code, _, err = run(capsys, "train")
    assert code == 2
    assert message in err


def test_summary_lists_all_networks(capsys):
    out = run(capsys, "summary")[1]
    assert {word.strip(",") for line in out.splitlines() if line[0] == " " for word in line.split()} == set(NAMES)
    assert json.loads(run(capsys, "summary", "--json")[1]) == list(NAMES)


def test_prose_and_tables_fit_the_terminal(capsys, monkeypatch):
    wide, table = run(capsys, "summary", "se_resnet8")[1].split("\n\n")
    assert len(wide.splitlines()[0]) > 120  # to a file
    monkeypatch.setenv("COLUMNS", "60")
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    narrow, stacked = run(capsys, "summary", "se_resnet8")[1].split("\n\n")
    assert narrow.split() == wide.split()
    assert max(map(len, f"{narrow}\n{stacked}".splitlines())) <= 60
    for number in re.findall(r"\d[\d,]*$", table, re.M):
        assert number in stacked


def test_a_dry_run_of_several_seeds_writes_nothing(capsys, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(commands.Session, "seconds_per_step", lambda self: 10.0)
    args = ("train", "--seeds", "0,1,2", "--subset", "64", "--batch-size", "1000", "--epochs", "1", "--out", "x")
    out = run(capsys, *args, "--dry-run")[1]
    one = 10 * (1 + 0.35 * 640 / 64) + 10 * 0.35 * 2000 / 64 + DRAWING  # an epoch, the final test and the curves
    assert "recipe   1 epoch, all 64 images in one batch, one-cycle schedule with lr 0.3" in out
    assert f"seeds    3 runs, about {duration(one)} each: {duration(3 * one)} in total\ndry run" in out
    assert not list(tmp_path.iterdir())
    config = configure(builtin(), subset=64, batch_size=1000, epochs=1, seed=1)
    (tmp_path / "x" / "s1").mkdir(parents=True)
    (tmp_path / "x" / "s1" / "config.json").write_text(json.dumps(asdict(config)))
    (tmp_path / "x" / "s1" / "result.json").write_text("{}")
    out = run(capsys, *args, "--dry-run")[1]
    assert f"3 runs, 1 finished; the others about {duration(one)} each: {duration(2 * one)} in total" in out
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["config.json", "result.json", "s1", "x"]
    for name, other in (("s1", "--lr=0.5"), ("s2", "--lr=0.3")):  # what the run would refuse
        (tmp_path / "x" / name / "mine.txt").parent.mkdir(exist_ok=True)
        (tmp_path / "x" / name / "mine.txt").write_text("mine")
        code, _, error = run(capsys, *args, "--dry-run", other)
        assert (code, error) == (2, run(capsys, *args, other)[2])
        assert name in error


def test_other_spellings_of_data_set_names(capsys, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    assert run(capsys, "data", "where", "CIFAR-10") == run(capsys, "data", "where", "cifar10")


def test_the_error_for_a_folder_of_runs_lists_them(capsys, tmp_path):
    for seed in (0, 1):
        (tmp_path / f"s{seed}").mkdir()
        (tmp_path / f"s{seed}" / "config.json").write_text("{}")
    for command in ("evaluate", "report", "excitations", "weights"):
        code, _, err = run(capsys, command, str(tmp_path))
        assert code == 2
        assert f"{tmp_path} contains several runs; expected one of {tmp_path / 's0'}, {tmp_path / 's1'}\n" in err


def test_the_help_lists_all_schemes(capsys):
    assert set(SCHEMES) == set(interop.SCHEMES.replace(" or ", ", ").split(", "))
    assert "torchvision or timm" in " ".join(run(capsys, "weights", "--help")[1].split())


def test_a_missing_gpu_is_an_error(capsys, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setitem(sys.modules, "cupy", None)
    code, _, err = run(capsys, "train", "--device", "gpu")
    assert code == 2
    assert "--device gpu: CuPy is not installed" in err


def test_ctrl_c_exits_with_code_130(capsys, monkeypatch):
    def interrupted(*args, **options):
        raise KeyboardInterrupt

    monkeypatch.setattr(commands, "train", interrupted)
    code, _, err = run(capsys, "train")
    assert code == 130
    assert "stopped" in err


def test_the_command_trains_on_cifar(capsys, tmp_path, monkeypatch):
    """The command reads files in the official layout and writes a complete run folder."""
    pytest.importorskip("matplotlib")
    folder = tmp_path / "data" / "cifar-10-batches-bin"
    folder.mkdir(parents=True)
    rng = np.random.default_rng(0)
    for name in [f"data_batch_{i}.bin" for i in range(1, 6)] + ["test_batch.bin"]:
        rows = rng.integers(0, 256, (30, 3073), np.uint8)
        rows[:, 0] %= 10
        (folder / name).write_bytes(rows.tobytes())
    monkeypatch.setattr(data, "load", lambda source: data.load_cifar(source, rows=30))
    folder = tmp_path / "run"
    args = ["--data", str(tmp_path / "data"), "--model", "resnet8", "--epochs", "2", "--out", str(folder)]
    code, out, err = run(capsys, "train", *args)
    assert (code, err) == (0, "")
    assert "135 training images, 15 held out" in out
    files = {"config.json", "env.json", "metrics.csv", "last.npz", "best.npz", "result.json", "curves.png"}
    assert {path.name for path in folder.iterdir()} == files
    assert (folder / "curves.png").read_bytes().startswith(b"\x89PNG")


def test_the_package_runs_as_a_module():
    out = subprocess.run([sys.executable, "-m", "se_numpy", "--version"], capture_output=True, text=True, check=True)
    assert out.stdout == "se-numpy 0.1.0\n"


def test_a_closed_pipe_is_not_an_error():
    words = f"{sys.executable} -m se_numpy summary se_resnet110"
    done = subprocess.run(f"{words} | head -1", shell=True, capture_output=True, text=True, check=True)
    assert done.stderr == ""
    assert len(done.stdout.splitlines()) == 1
