"""The paper's tables as data: ``paper.json``, each number with its version and where it was read.

    number("10", "16", "top-1")     22.28, TPAMI, printed alike in v3 and v4
    table("10")                     rows and columns
"""

import json
from collections.abc import Iterator
from functools import cache
from importlib.resources import files
from typing import Any, NamedTuple


class Number(NamedTuple):
    """One cell of a table; ``version`` of the paper and ``source`` are keys of ``about()``."""

    table: str
    row: str
    column: str
    value: float
    version: str
    source: str
    digits: int  # printed behind the point


class Table(NamedTuple):
    """A table of the paper; ``rows`` hold Number, or None where the paper has none, by column."""

    name: str
    title: str
    unit: str
    rows: dict[str, dict[str, Number | None]]


def tables() -> tuple[str, ...]:
    """The names of all tables: "1" to "16" as in TPAMI, and a few that are not in it."""
    return tuple(_data()["tables"])


def table(name: str) -> Table:
    """The table of that name.  Raises ValueError where there is none."""
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
    """One printed number.  Raises ValueError, naming what there is, where there is none."""
    rows = table(name).rows
    if row not in rows:
        raise ValueError(f"table {name} has no row {row!r}; expected one of {', '.join(rows)}")
    if column not in rows[row]:
        raise ValueError(f"table {name} has no column {column!r}; expected one of {', '.join(rows[row])}")
    found = rows[row][column]
    if found is None:
        raise ValueError(f"table {name} prints nothing for {row}, {column}; expected another cell")
    return found


def numbers() -> Iterator[Number]:
    """Every number of every table."""
    for name in tables():
        for row in table(name).rows.values():
            yield from (n for n in row.values() if n is not None)


def about() -> dict[str, Any]:
    """What the versions and the sources are, and notes on numbers that contradict each other."""
    return {key: value for key, value in _data().items() if key != "tables"}


class _Printed(float):
    """A number that remembers how many digits behind the point it was printed with."""

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
