"""The parts of a page as plain data: tables, figures, bar charts."""

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Table:
    """A table of text; the first ``text_columns`` columns are left-aligned, the others (numbers) right-aligned."""

    head: Sequence[str]
    rows: Sequence[Sequence[str]]
    text_columns: int = 1


@dataclass(frozen=True)
class Figure:
    """A figure as PNG files, for wide and narrow screens in light and dark colours, with its alternative text."""

    alt: str
    wide: bytes
    narrow: bytes
    wide_dark: bytes
    narrow_dark: bytes

    @property
    def width(self) -> int:
        """The width of the wide figure on a page, in CSS pixels, which gives the text of all figures the same size."""
        return round(0.72 * int.from_bytes(self.wide[16:20]))  # a PNG file stores its width there


@dataclass(frozen=True)
class Bar:
    """A row of a bar chart: a name, the value as text, the share (0 to 1) that is filled, and a note below the name.

    ``link`` is the address of a file below the page's folder.
    """

    name: str
    value: str
    share: float
    note: str = ""
    link: str = ""
