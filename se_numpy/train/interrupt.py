"""Graceful Ctrl-C: the first stops the run after the current step, the second at once."""

import signal
import threading
from types import FrameType
from typing import Any, Self


class GracefulInterrupt:
    """A context manager in which the first Ctrl-C sets ``requested`` and the second raises KeyboardInterrupt."""

    def __init__(self) -> None:
        self.requested = False
        self._before: Any = signal.SIG_IGN

    def __enter__(self) -> Self:
        # Only the main thread receives signals, and the parent process may have set SIGINT to be ignored.
        if threading.current_thread() is threading.main_thread():
            self._before = signal.getsignal(signal.SIGINT)
            if self._before is not signal.SIG_IGN:
                signal.signal(signal.SIGINT, self._ask)
        return self

    def _ask(self, number: int, frame: FrameType | None) -> None:
        self.requested = True
        signal.signal(signal.SIGINT, signal.default_int_handler)

    def __exit__(self, *error: object) -> None:
        if self._before is not signal.SIG_IGN:
            signal.signal(signal.SIGINT, self._before)
