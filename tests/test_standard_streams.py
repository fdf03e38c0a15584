"""Output that cannot be written is reported in one sentence, and no file replaces a closed stream."""

import io
import os
import subprocess
import sys
from pathlib import Path

import pytest

from se_numpy.cli import main
from se_numpy.standard_streams import Output

LOST = "se-numpy: standard output: {}; the output is incomplete, files are not\n"


class Full(io.StringIO):
    """A stream on a full disk; it loses what it is given, as a stream does whose own buffer is exceeded."""

    def write(self, text):
        raise OSError(28, "No space left on device")


class Gone(io.StringIO):
    def write(self, text):
        raise BrokenPipeError(32, "Broken pipe")


COMMANDS = [["tasks"], ["show", "squeeze"], ["summary", "se_resnet8"], ["--help"], ["grade", "--help"], ["--version"]]


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_a_full_disk_is_reported_in_one_sentence(command, monkeypatch, capsys):
    monkeypatch.setattr(sys, "stdout", Full())
    assert main(command) == 2
    assert capsys.readouterr().err == LOST.format("No space left on device")


def test_a_reader_that_has_exited_is_not_an_error(monkeypatch, capsys):
    monkeypatch.setattr(sys, "stdout", Gone())
    assert main(["tasks"]) == 0
    assert capsys.readouterr().err == ""


def test_errors_of_other_files_keep_their_name(monkeypatch, capsys, tmp_path):
    assert main(["grade", str(tmp_path / "absent.py")]) == 2
    assert "absent.py does not exist" in capsys.readouterr().err
    output = Output(Full())
    with pytest.raises(OSError, match="No space left on device: 'standard output'"):
        output.write("x")
    assert output.close() is output.error


@pytest.mark.parametrize("closed", ["<&-", ">&-", "2>&-", "<&- >&- 2>&-"])
def test_closed_streams(closed):
    """Without a remedy, the first files that are opened would be standard input, output and error."""
    code = "import os, sys; from se_numpy.cli import main; code = main(['tasks'])\n"
    code += "sys.exit(code + 100 * (os.open(os.devnull, os.O_RDONLY) > 2))"
    words = ["sh", "-c", f'exec "$@" {closed}', "sh", sys.executable, "-c", code]
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[1])}
    done = subprocess.run(words, check=False, capture_output=True, text=True, env=environment)
    assert done.returncode == (102 if " >&-" in f" {closed}" else 100)  # 100: a new file has another number
    if closed == ">&-":
        assert done.stderr == LOST.format("Bad file descriptor")
