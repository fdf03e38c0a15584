"""How far a download is: a bar on a terminal, elsewhere a plain line now and then."""

import sys
import time
from types import TracebackType
from typing import Self, TextIO

from tqdm import tqdm


class Progress:
    """Tells ``screen`` (stderr) how many of ``total`` bytes are there, how fast they come, how long it will take."""

    def __init__(self, title: str, total: int, screen: TextIO | None = None, every: float = 10) -> None:
        self.title, self.total, self.every = title, total, every
        self.screen = screen or sys.stderr
        self.bar: tqdm | None = None
        self.have = self.begun_with = 0
        self.started = self.told = time.monotonic()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if self.bar is not None:
            self.bar.close()

    def at(self, have: int) -> None:
        """So many bytes are there, some of them perhaps from an earlier run."""
        self.have = self.begun_with = have
        self.started = self.told = time.monotonic()
        if self.bar is not None:
            self.bar.reset(self.total)
            self.bar.initial = self.bar.n = have
        elif self.screen.isatty():
            self.bar = tqdm(total=self.total, initial=have, desc=self.title, file=self.screen, unit="B",
                            unit_scale=True, mininterval=0.5, dynamic_ncols=True)  # fmt: skip

    def advance(self, count: int) -> None:
        """So many more."""
        self.have += count
        if self.bar is not None:
            self.bar.update(count)
        elif time.monotonic() - self.told >= self.every:
            self.told = time.monotonic()
            self.say(self._line())

    def say(self, text: str) -> None:
        """A line of its own."""
        if self.bar is not None:
            tqdm.write(text, file=self.screen)
        else:
            print(text, file=self.screen, flush=True)

    def _line(self) -> str:
        speed = (self.have - self.begun_with) / max(time.monotonic() - self.started, 1e-9)
        left = (self.total - self.have) / max(speed, 1)
        return (f"{self.title}: {100 * self.have / self.total:.0f} % of {self.total / 1e6:,.0f} MB, "
                f"{speed / 1e6:.2f} MB/s, {tqdm.format_interval(left)} left")
