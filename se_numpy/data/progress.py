"""Progress of a download, or of reading images: a progress bar on a terminal, otherwise an occasional line of text."""

import sys
import time
from types import TracebackType
from typing import Self, TextIO

from tqdm import tqdm


class Progress:
    """A display of the bytes received, the speed and the time left, on ``screen`` (default: stderr).

    With another ``unit`` than "B", such as "images", these are counted instead of bytes.
    """

    def __init__(
        self, title: str, total: int, screen: TextIO | None = None, every: float = 10, unit: str = "B"
    ) -> None:  # fmt: skip
        self.title, self.total, self.every, self.unit = title, total, every, unit
        self.screen = screen or sys.stderr
        self.bar: tqdm | None = None
        self.received = self.resumed_at = 0
        self.started = self.last_line = time.monotonic()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if self.bar is not None:
            self.bar.close()

    def restart(self, received: int) -> None:
        """Restart the measurement with ``received`` bytes already on disk, perhaps from an earlier run."""
        self.received = self.resumed_at = received
        self.started = self.last_line = time.monotonic()
        if self.bar is not None:
            self.bar.reset(self.total)
            self.bar.initial = self.bar.n = received
        elif self.screen.isatty():
            self.bar = tqdm(total=self.total, initial=received, desc=self.title, file=self.screen, unit=self.unit,
                            unit_scale=True, mininterval=0.5, dynamic_ncols=True, leave=self.unit == "B")  # fmt: skip

    def advance(self, count: int) -> None:
        """Add ``count`` bytes to those received."""
        self.received += count
        if self.bar is not None:
            self.bar.update(count)
        elif time.monotonic() - self.last_line >= self.every:
            self.last_line = time.monotonic()
            self.write_line(self._status())

    def write_line(self, text: str) -> None:
        """Print a line without disturbing the progress bar."""
        if self.bar is not None:
            tqdm.write(text, file=self.screen)
        else:
            print(text, file=self.screen, flush=True)

    def _status(self) -> str:
        speed = (self.received - self.resumed_at) / max(time.monotonic() - self.started, 1e-9)
        left = (self.total - self.received) / max(speed, 1)
        if self.unit == "B":
            total, rate = f"{self.total / 1e6:,.0f} MB", f"{speed / 1e6:.2f} MB/s"
        else:
            total, rate = f"{self.total:,} {self.unit}", f"{speed:,.0f} {self.unit}/s"
        return (
            f"{self.title}: {100 * self.received / self.total:.0f} % of {total}, {rate}, "
            f"{tqdm.format_interval(left)} left"
        )
