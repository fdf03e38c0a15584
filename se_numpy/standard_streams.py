"""Standard streams that are closed, on a full disk, or a pipe whose reader has exited."""

import contextlib
import os
import sys
from collections.abc import Callable
from functools import partial
from typing import Any, TextIO

NAME = "standard output"


def open_closed() -> None:
    """Open standard streams that are closed, so that no other file takes their numbers.

    Writing to a standard output that was closed still fails.
    """
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_WRONLY if name == "stderr" else os.O_RDONLY)  # takes the lowest free number
            os.set_inheritable(number, True)
            if getattr(sys, name) is None:
                setattr(sys, name, os.fdopen(number, "r" if name == "stdin" else "w", encoding="utf-8", closefd=False))


class Output:
    """Standard output, whose errors name it as their file and are remembered in ``error``."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self.error: OSError | None = None

    def write(self, text: str) -> int:
        return self._attempt(partial(self._stream.write, text))

    def flush(self) -> None:
        self._attempt(self._stream.flush)

    def close(self) -> OSError | None:
        """Write what is left; return the first error, after which everything that is left is discarded."""
        with contextlib.suppress(OSError):
            self.flush()
        if self.error is not None:
            with contextlib.suppress(OSError, ValueError):
                null = os.open(os.devnull, os.O_WRONLY)
                os.dup2(null, self._stream.fileno())
                os.close(null)
        return self.error

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    def _attempt(self, action: Callable[[], Any]) -> Any:
        try:
            return action()
        except OSError as error:
            self.error = self.error or error
            raise OSError(error.errno, error.strerror, NAME) from None


def say(sentence: str) -> None:
    """Write a message to standard error, if that is possible."""
    with contextlib.suppress(OSError, ValueError):
        print(f"se-numpy: {sentence}", file=sys.stderr, flush=True)
