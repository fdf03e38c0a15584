"""The tables of the paper as data (``paper.json``); every number states its source and the version of the paper.

``number("10", "16", "top-1")`` is 22.28, from TPAMI, printed in both v3 and v4; ``table("10")`` has rows and columns.
"""

import json
from collections.abc import Iterator
from functools import cache
from importlib.resources import files
from typing import Any, NamedTuple


class Number(NamedTuple):
    """A cell of a table; ``version`` and ``source`` are keys of the dicts in ``about()``."""

    table: str
    row: str
    column: str
    value: float
    version: str
    source: str
    digits: int  # number of decimals printed


class Table(NamedTuple):
    """A table of the paper; ``rows`` maps row and column to a Number, or to None for an empty cell."""

    name: str
    title: str
    unit: str
    rows: dict[str, dict[str, Number | None]]


def tables() -> tuple[str, ...]:
    """Return the names of all tables: "1" to "16" as in TPAMI, and those from other sources."""
    return tuple(_data()["tables"])


def table(name: str) -> Table:
    """Return the table called ``name``.

    Raises
    ------
    ValueError
        If the table does not exist.
    """
    if name not in _data()["tables"]:
        raise ValueError(f"there is no table {name!r}; expected one of {', '.join(tables())}")
    found = _data()["tables"][name]
    rows: dict[str, dict[str, Number | None]] = {}
    for row in found["rows"]:
        own = row if isinstance(row, dict) else {"cells": row}
        label, *values = own["cells"]
        version, source = (own.get(key, found[key]) for key in ("version", "source"))
        rows[label] = {
            column: None if v is None else Number(name, label, column, float(v), version, source, _digits(v))
            for column, v in zip(found["columns"], values, strict=True)
        }
    return Table(name, found["title"], found["unit"], rows)


def number(name: str, row: str, column: str) -> Number:
    """Return a printed number.

    Raises
    ------
    ValueError
        If the cell does not exist or is empty; the message lists the possible names.
    """
    rows = table(name).rows
    if row not in rows:
        raise ValueError(f"table {name} has no row {row!r}; expected one of {', '.join(rows)}")
    if column not in rows[row]:
        raise ValueError(f"table {name} has no column {column!r}; expected one of {', '.join(rows[row])}")
    found = rows[row][column]
    if found is None:
        raise ValueError(f"table {name} has no number for {row}, {column}; expected another cell")
    return found


def numbers() -> Iterator[Number]:
    """Yield every number of every table."""
    for name in tables():
        for row in table(name).rows.values():
            yield from (n for n in row.values() if n is not None)


def about() -> dict[str, Any]:
    """Return the descriptions of versions and sources, and notes on contradictory numbers."""
    return {key: value for key, value in _data().items() if key != "tables"}


class _Printed(float):
    """A float that stores its number of printed decimals."""

    digits: int

    def __new__(cls, text: str) -> "_Printed":
        made = super().__new__(cls, text)
        made.digits = len(text.partition(".")[2])
        return made


def _digits(value: float) -> int:
    return getattr(value, "digits", 0)


@cache
def _data() -> dict[str, Any]:
    text = files("se_numpy.models").joinpath("paper.json").read_text(encoding="utf-8")
    return json.loads(text, parse_float=_Printed)
