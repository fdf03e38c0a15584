"""Ctrl-C, heard: the first asks for an end after this step, the second ends at once."""

import signal
import threading
from types import FrameType
from typing import Any, Self


class GracefulInterrupt:
    """A context: the first Ctrl-C sets ``requested``, the second one raises KeyboardInterrupt as usual."""

    def __init__(self) -> None:
        self.requested = False
        self._before: Any = signal.SIG_IGN

    def __enter__(self) -> Self:
        # Signals reach the main thread alone; and who started this process may have chosen that it ignores them.
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
