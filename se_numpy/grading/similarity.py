"""Submissions that are alike: the same file, the same code but for names, the same unusual mistakes.

Only what is rare in the class counts, and each thing counts by its rarity: log2 of the number of submissions that have
the function or attempted the task, divided by the number that share the code or the mistake. What students were given
is left out. Equal code is no evidence of who wrote it: pairs work together, sources are public, short code comes out
the same.
"""

import csv
import io
import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations

from se_numpy.grading.models import Report, TaskReport
from se_numpy.grading.report.table import cell
from se_numpy.grading.report.text import line

RARE = 0.1  # the largest share of the class, beyond two submissions, that may have something in common that counts
MISTAKES = 2  # the number of shared mistakes from which a pair is listed for them alone


@dataclass(frozen=True)
class Alike:
    """Two submissions with what they share; ``weight`` is in bits."""

    first: str
    second: str
    shared: tuple[str, ...]
    weight: float


def alike(reports: Sequence[Report], given: Iterable[str] = ()) -> tuple[Alike, ...]:
    """Return the pairs of submissions of different students that are alike, those with the largest weight first.

    ``given`` are the digests of the functions that students were given.
    """
    attempted = [report for report in reports if any(task.status != "missing" for task in report.tasks)]
    kinds = [_files(attempted), _functions(attempted, frozenset(given)), _mistakes(attempted)]
    pairs: dict[tuple[int, int], list[tuple[int, str, float]]] = {}
    for kind, found in enumerate(kinds):
        for about, (holders, of) in found.items():
            if len(holders) < 2 or (kind and len(holders) > max(2, RARE * of)):
                continue
            for a, b in combinations(holders, 2):
                if not _follows(kind, about, attempted[a], attempted[b]):
                    pairs.setdefault((a, b), []).append((kind, about, math.log2(of / len(holders))))
    rows = [
        Alike(line(attempted[a].name), line(attempted[b].name),
              tuple(about.partition("\0")[0] for _, about, _ in shared), sum(weight for *_, weight in shared))
        for (a, b), shared in pairs.items()
        if any(kind < 2 for kind, *_ in shared) or len(shared) >= MISTAKES
    ]  # fmt: skip
    return tuple(sorted(rows, key=lambda row: (-row.weight, row.first, row.second)))


def _follows(kind: int, about: str, a: Report, b: Report) -> bool:
    """Return True if sharing this says nothing new: one student, the same file, or a mistake in the same code."""
    if (a.student or a.name) == (b.student or b.name) or (kind and a.sha256 == b.sha256):
        return True
    task = about.partition(": ")[0]
    return kind == 2 and task in a.trees and a.trees[task] == b.trees.get(task)


def as_table(rows: Sequence[Alike]) -> str:
    """Return the pairs as CSV."""
    page = io.StringIO()
    writer = csv.writer(page, lineterminator="\n")
    writer.writerow(["submission", "other submission", "weight in bits", "in common"])
    for row in rows:
        writer.writerow([cell(row.first), cell(row.second), f"{row.weight:.1f}", cell("; ".join(row.shared))])
    return page.getvalue()


Found = Mapping[str, tuple[list[int], int]]  # what is shared -> who has it, and of how many


def _files(reports: Sequence[Report]) -> Found:
    return {f"the same file\0{digest}": (who, len(reports)) for digest, who in _index(
        (report.sha256, k) for k, report in enumerate(reports) if report.sha256).items()}  # fmt: skip


def _functions(reports: Sequence[Report], given: frozenset[str]) -> Found:
    """Return who shares the code of a function; a helper counts under any of its names."""
    named = [(name, digest, k) for k, report in enumerate(reports) for name, digest in report.trees.items()]
    names = {digest: name for name, digest, _ in reversed(named)}
    who = _index((digest, k) for _, digest, k in named if digest not in given)
    return {
        f"the code of {names[digest]}, names aside\0{digest}": (found, len(reports)) for digest, found in who.items()
    }


def _mistakes(reports: Sequence[Report]) -> Found:
    tasks = [(task, k) for k, report in enumerate(reports) for task in report.tasks if task.status != "missing"]
    of = {name: len(who) for name, who in _index((task.task, k) for task, k in tasks).items()}
    who = _index((f"{line(task.task)}: {kind}", k) for task, k in tasks if (kind := _kind(task)))
    return {about: (found, of[about.partition(": ")[0]]) for about, found in who.items()}


def _kind(task: TaskReport) -> str:
    """Return the kind of a mistake: its name, the sentences about it, or the exception; "" if it has none."""
    if task.diagnosis:
        return line(task.diagnosis.mistake)
    if task.features:
        return line("; ".join(task.features))
    return line(re.sub(r"\d+", "N", task.message), 80) if task.status == "error" else ""


def _index(pairs: Iterable[tuple[str, int]]) -> dict[str, list[int]]:
    index: dict[str, list[int]] = {}
    for key, k in pairs:
        if k not in index.setdefault(key, []):
            index[key].append(k)
    return index
