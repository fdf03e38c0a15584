"""The output of a run fits the terminal and keeps its full width in a file or a pipe."""

import io
import os
import re
import struct
import subprocess
import sys
from pathlib import Path

import pytest
from training import run, settings, tiny

import se_numpy
from se_numpy.train import train
from se_numpy.train.console import BEST, COLUMNS, EpochTable, duration

ROW = {
    "epoch": 7, "lr": 0.25, "train_loss": 2.34567, "train_accuracy": 0.125, "val_loss": 2.2, "val_accuracy": 0.1,
    "images_per_second": 4321.0, "seconds": 65.0,
}  # fmt: skip
DIVERGED = ROW | {"lr": 12.5, "train_loss": 3e30, "val_loss": 12345.678, "train_accuracy": 1.0, "val_accuracy": 1.0}


class Terminal(io.StringIO):
    """A stream that claims to be a terminal."""

    def isatty(self):
        return True


@pytest.mark.parametrize("epochs", [1, 30, 999, 1000, 12345])
@pytest.mark.parametrize("row", [ROW, DIVERGED], ids=["usual", "diverged"])
@pytest.mark.parametrize("columns", [119, 79, 59, 39, 31, 27])
@pytest.mark.parametrize("ema", [False, True])
def test_the_epoch_table_fits_the_terminal(columns, row, epochs, ema):
    table = EpochTable(epochs, columns, ema=ema)
    lines = [*table.header().split("\n"), table.row(row | {"epoch": epochs}, 36000.0, True)]
    assert max(map(len, lines)) <= columns
    assert lines[-1].endswith(BEST)


def test_the_epoch_table_has_all_columns_in_a_file_and_in_80_columns():
    assert EpochTable(30, None).header() == EpochTable(30, 79).header()
    assert EpochTable(30, None).row(ROW, 600.0, True) == (
        "  7/30   0.25000  2.3457   12.50  2.2000    10.00   4,321   1m05s  10m00s  best"
    )
    headings = EpochTable(30, None, ema=True).header().split("\n")[1].split()
    assert headings == ["epoch", *" ".join(heading for _, heading, _ in COLUMNS.values()).split()]


def test_the_epoch_table_of_a_run_with_averaged_weights():
    table = EpochTable(30, None, ema=True)
    assert table.header().split("\n")[0].rstrip().split()[-2:] == ["no", "EMA"]
    assert "   10.00     8.00   4,321" in table.row(ROW | {"raw_val_accuracy": 0.08}, 600.0, True)


def test_the_epoch_table_in_40_columns():
    table = EpochTable(30, 39)
    assert table.header() == "       training held out\n  epoch    loss    acc %    left"
    assert table.row(ROW, 600.0, True) == "  7/30   2.3457    10.00  10m00s  best"
    assert table.row(ROW, 600.0, False) == "  7/30   2.3457    10.00  10m00s"


@pytest.mark.parametrize("columns", [80, 40])
def test_a_run_fits_the_terminal(tmp_path, monkeypatch, columns):
    """This includes the rows of the best epochs and every state of the progress bar."""
    monkeypatch.setenv("COLUMNS", str(columns))
    monkeypatch.setattr("sys.stdout.isatty", lambda: True)
    monkeypatch.chdir(tmp_path)
    out = Terminal()
    train(tiny(), settings("run", epochs=2), out)
    text = re.sub(r"\x1b\[[0-9;]*[A-Za-z]", "", out.getvalue())
    lines = [line.rstrip() for line in re.split(r"[\r\n]+", text)]
    assert max(map(len, lines)) < columns
    assert any("best" in line for line in lines)
    assert any(re.match(r"epoch 1/2: .*%\|", line) for line in lines)


def test_a_run_has_its_full_width_in_a_file(tmp_path, monkeypatch):
    monkeypatch.setenv("COLUMNS", "40")
    _, text = run(tmp_path / "run", epochs=1)
    assert EpochTable(1, None).header() in text


@pytest.mark.parametrize("columns", [80, 40])
def test_the_command_fits_a_pseudo_terminal(tmp_path, columns):
    pty, fcntl, termios = (pytest.importorskip(name) for name in ("pty", "fcntl", "termios"))
    parent, child = pty.openpty()
    fcntl.ioctl(child, termios.TIOCSWINSZ, struct.pack("HHHH", 50, columns, 0, 0))
    env = {name: value for name, value in os.environ.items() if name not in ("COLUMNS", "LINES")}
    env["PYTHONPATH"] = str(Path(se_numpy.__file__).parents[1])
    command = [sys.executable, "-m", "se_numpy", "train", "--preset", "smoke", "--subset", "64", "--out", "run"]
    process = subprocess.Popen(command, cwd=tmp_path, env=env, stdin=child, stdout=child, stderr=child)
    os.close(child)
    output = b""
    try:
        while block := os.read(parent, 65536):
            output += block
    except OSError:  # this is how Linux reports the end of the output
        pass
    os.close(parent)
    assert process.wait() == 0
    lines = re.split(r"[\r\n]+", re.sub(r"\x1b\[[0-9;]*[A-Za-z]", "", output.decode()))
    assert [line for line in lines if len(line.rstrip()) >= columns] == []
    assert any(line.rstrip().endswith(BEST) for line in lines)


@pytest.mark.parametrize(("seconds", "text"), [(0.4, "0s"), (48, "48s"), (185, "3m05s"), (7800, "2h10m")])
def test_duration(seconds, text):
    assert duration(seconds) == text
