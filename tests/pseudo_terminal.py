"""Run ``se-numpy`` in a pseudo-terminal of a given width."""

import os
import select
import struct
import subprocess
import sys

import pytest

fcntl, pty, termios = (pytest.importorskip(name) for name in ("fcntl", "pty", "termios"))


def run_at_width(columns, *words, cwd=None):
    """Run the command with stdout and stderr in pseudo-terminals of this width; return both outputs as text."""
    (out, child_out), (err, child_err) = pty.openpty(), pty.openpty()
    for end in (child_out, child_err):
        fcntl.ioctl(end, termios.TIOCSWINSZ, struct.pack("HHHH", 50, columns, 0, 0))
    environment = {name: value for name, value in os.environ.items() if name not in ("COLUMNS", "LINES")}
    process = subprocess.Popen([sys.executable, "-m", "se_numpy", *map(str, words)], cwd=cwd, env=environment,
                               stdin=subprocess.DEVNULL, stdout=child_out, stderr=child_err)  # fmt: skip
    os.close(child_out)
    os.close(child_err)
    output = {out: bytearray(), err: bytearray()}
    waiting = {out, err}
    while waiting:
        for end in select.select(list(waiting), [], [])[0]:
            try:
                piece = os.read(end, 1 << 16)
            except OSError:  # Linux reports the end of a pseudo-terminal as an error
                piece = b""
            output[end] += piece
            if not piece:
                waiting.remove(end)
                os.close(end)
    text, errors = (output[end].decode().replace("\r\n", "\n") for end in (out, err))
    assert process.wait() == 0, errors
    return text, errors
