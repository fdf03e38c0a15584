"""Write a report as JSON and read it back; ``schema.json`` describes the format, version 1.

Names are those in ``models.py``. JSON has no NaN or infinities: they are written as the strings "NaN", "Infinity" and
"-Infinity". An array is {"dtype", "shape", "values"}, flat and in C order, with "imaginary" if it is complex; an array
of more than 64 entries is {"dtype", "shape", "sha256"} and is read as an ``Outline``.
"""

import hashlib
import json
import math
from collections.abc import Mapping
from dataclasses import fields
from importlib import resources
from typing import Any

import numpy as np

import se_numpy
from se_numpy.grading.models import Check, Counterexample, Diagnosis, Report, TaskReport
from se_numpy.grading.report.arrays import Outline
from se_numpy.grading.report.text import SHORT, clean, line

SCHEMA, ENTRIES = 1, 64
_NAMES = {"name", "task", "mistake", "status", "level", "backend", "started", "seed_id", "sha256", "title",
          "visibility", "student"}  # fmt: skip
_NUMBERS = {"points", "max_points", "error", "seconds", "added", "by_hand", "hidden_points"}
_TEXTS = ("versions", "trees")  # text by name
# Not in reports of earlier versions:
_LATER = {"visibility", "extra", "comment", "student", "added", "by_hand", "hidden_points", "trees", "notes"}
_COUNTS = {"agreed", "of", "calls"}
_PARTS: dict[str, type] = {
    "counterexample": Counterexample,
    "diagnosis": Diagnosis,
    "checks": Check,
    "tasks": TaskReport,
}


def as_json(report: Report) -> str:
    """Return the report as JSON text."""
    return json.dumps(to_plain(report), indent=1, ensure_ascii=False, allow_nan=False) + "\n"


def to_plain(report: Report) -> dict[str, Any]:
    """Return the report as dicts, lists, strings and finite numbers."""
    total = {"points": _number(report.points), "max_points": _number(report.max_points), "passed": report.passed}
    return {"schema": SCHEMA, "tool": f"se_numpy {se_numpy.__version__}", **total, **_record(report)}


def load(text: str | bytes) -> Report:
    """Return the report that ``as_json`` wrote.

    Raises
    ------
    ValueError
        If the text is not such a report.
    """
    try:
        found = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"this is not a report: it is not JSON ({line(error)})") from None
    if not isinstance(found, dict) or found.get("schema") != SCHEMA:
        version = line(found.get("schema", "none")) if isinstance(found, dict) else "none"
        problem = f'its "schema" is {version}, expected {SCHEMA}'
        raise ValueError(f"this is not a report: {problem}; grade the submission again")
    try:
        return _build(Report, found)
    except (KeyError, TypeError, ValueError, AttributeError, OverflowError) as error:
        raise ValueError(f"this report is damaged ({type(error).__name__}: {line(error)}); write it again") from None


def schema() -> dict[str, Any]:
    """Return the JSON schema of reports."""
    return json.loads(resources.files("se_numpy.grading.report").joinpath("schema.json").read_text(encoding="utf-8"))


def _record(record: Any) -> dict[str, Any]:
    return {f.name: _field(f.name, getattr(record, f.name)) for f in fields(record)}


def _field(name: str, value: Any) -> Any:
    if value is None or isinstance(value, bool):
        return value
    if name in ("arguments", "expected", "got"):
        return {line(key, 60): _value(entry) for key, entry in value.items()}
    if name in _TEXTS:
        return {line(key, 60): line(entry) for key, entry in value.items()}
    if name in ("checks", "tasks"):
        return [_record(part) for part in value]
    if name in _PARTS:
        return _record(value)
    if name in _NUMBERS:
        return _number(value)
    if name in _COUNTS:
        return int(value)
    if isinstance(value, tuple):
        return [clean(entry) for entry in value]
    return line(value, SHORT) if name in _NAMES else clean(value)


def _build(kind: type, found: Mapping[str, Any]) -> Any:
    given: dict[str, Any] = {}
    for f in fields(kind):
        if f.name not in found and f.name in _LATER:
            continue
        value = found[f.name]
        if value is None or isinstance(value, bool):
            given[f.name] = value
        elif f.name in ("arguments", "expected", "got"):
            given[f.name] = {str(key): _back(entry) for key, entry in value.items()}
        elif f.name in _TEXTS:
            given[f.name] = {str(key): str(entry) for key, entry in value.items()}
        elif f.name in ("checks", "tasks"):
            given[f.name] = tuple(_build(_PARTS[f.name], part) for part in value)
        elif f.name in _PARTS:
            given[f.name] = _build(_PARTS[f.name], value)
        elif f.name in _NUMBERS:
            given[f.name] = float(value)
        elif f.name in _COUNTS:
            given[f.name] = int(value)
        else:
            given[f.name] = tuple(str(v) for v in value) if isinstance(value, list) else str(value)
    return kind(**given)


def _number(value: float) -> float | str:
    value = float(value)
    return value if math.isfinite(value) else "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"


def _value(value: Any) -> Any:
    """Return an argument or a result in JSON form."""
    value = value.item() if isinstance(value, np.generic) else value
    if isinstance(value, np.ndarray | Outline):
        return _array(value)
    if value is None or isinstance(value, bool | int):
        return value
    if isinstance(value, float):
        number = _number(value)
        return {"number": number} if isinstance(number, str) else number
    if isinstance(value, list | tuple):
        return [_value(entry) for entry in value]
    return clean(value)


def _back(value: Any) -> Any:
    if isinstance(value, list):
        return tuple(_back(entry) for entry in value)
    if not isinstance(value, dict):
        return value
    if "number" in value:
        return float(value["number"])
    shape = tuple(int(size) for size in value["shape"])
    if "sha256" in value:
        return Outline(shape, str(value["dtype"]), str(value["sha256"]))
    dtype = np.dtype(value["dtype"])
    if dtype.kind not in "fiubcU" or dtype.itemsize > 4 * SHORT or len(value["values"]) > ENTRIES:
        raise ValueError(f"an array of {dtype} with {len(value['values'])} entries")
    if dtype.kind not in "fc":
        return np.array(value["values"], dtype).reshape(shape)
    array = np.array([float(entry) for entry in value["values"]], np.float64).astype(dtype)
    if "imaginary" in value:
        array.imag = [float(entry) for entry in value["imaginary"]]
    return array.reshape(shape)


def _array(array: np.ndarray | Outline) -> dict[str, Any]:
    if isinstance(array, Outline):
        return {"dtype": line(array.dtype, 40), "shape": list(array.shape), "sha256": line(array.sha256, 64)}
    array = np.asarray(array)
    about: dict[str, Any] = {"dtype": array.dtype.str if array.dtype.kind == "U" else array.dtype.name}
    about["shape"] = list(array.shape)
    kind = array.dtype.kind
    if kind not in "fiubc":  # strings, objects, dates
        texts = [clean(entry, SHORT) for entry in array.reshape(-1)[:ENTRIES].tolist()]
        return {**about, "dtype": f"<U{SHORT}", **({"values": texts} if array.size <= ENTRIES else _digest(array))}
    if array.size > ENTRIES:
        return {**about, **_digest(array)}
    flat = array.reshape(-1)
    if kind in "iub":
        return {**about, "values": flat.tolist()}
    with np.errstate(all="ignore"):
        values = {"values": [_number(entry) for entry in flat.real]}
        return {**about, **values, **({"imaginary": [_number(entry) for entry in flat.imag]} if kind == "c" else {})}


def _digest(array: np.ndarray) -> dict[str, str]:
    data = array.tobytes() if not array.dtype.hasobject else clean(array).encode()
    return {"sha256": hashlib.sha256(data).hexdigest()}
