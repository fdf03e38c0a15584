"""Write a report as Markdown (in the paper's layout), CSV, JSON and a figure."""

import csv
import io
import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from se_numpy.ablation.report import Line, Report
from se_numpy.ablation.tables import paper_pairs
from se_numpy.models import paper
from se_numpy.models.paper import Number
from se_numpy.wrapping import plural


def markdown(report: Report) -> str:
    """Return the table in the paper's layout, with notes and the command, as Markdown."""
    base = report.study.base
    head = ("", "test error %", "by seed", "difference, points", "conclusion", "parameters", "M multiply-adds",
            "paper: error %")  # fmt: skip
    rules = ("---", "--:", "--:", "--:", "---", "--:", "--:", "--:")
    rows = [head, rules, *(_cells(line, report.study.seeds) for line in report.lines)]
    trained = f"{base.subset:,} of the training images" if base.subset else "all training images"
    text = [
        f"# {report.table.title}",
        "",
        f"{report.data}. Trained for {base.epochs} epoch{'s' * (base.epochs != 1)} on {trained} except the held-out "
        f"ones, {base.schedule} schedule, lr {base.lr:g}, batch size {base.batch_size}. "
        f"Tested on {plural(report.study.test_images, 'image')}, "
        f"with the network of the best epoch on the held-out images.",
        "",
        *(f"| {' | '.join(row)} |" for row in rows),
        "",
        *(f"- {sentence}" for sentence in notes(report)),
    ]
    if report.table.name == "networks":
        text += ["", *_pairs()]
    return "\n".join([*text, "", "```sh", report.command, "```", ""])


def notes(report: Report) -> list[str]:
    """Return the notes on the table: statistics, impossible, failed and missing runs, and the paper's sources."""
    seeds = len(report.study.seeds)
    baselines = [line for line in report.lines if line.row.against is None]
    named = "the row without SE above it" if report.table.name == "networks" else f"“{baselines[0].row.label}”"
    found = [
        f"Mean ± standard deviation over {seeds} seed{'s' * (seeds > 1)}. The difference from {named} is paired by "
        "seed and given with its 95 % interval (Student's t); above 0 is worse. The interval covers variation between "
        "seeds, not between test images, and one in twenty intervals misses the true value by chance."
    ]
    found += [f"{line.row.label}: not run: {line.cost}." for line in report.lines if isinstance(line.cost, str)]
    for line in report.lines:
        lr = report.study.config(line.row, report.study.seeds[0]).lr
        if lr != report.study.base.lr:
            found.append(f"{line.row.label}: lr {lr:g}, because it does not learn at {report.study.base.lr:g}.")
    for line in report.lines:
        found += [f"{line.row.label}, seed {seed}: failed: {why}" for seed, why in line.failures.items()]
    if report.missing:
        found.append(f"Unfinished: {report.missing} run{'s' * (report.missing != 1)} still to train.")
    versions = sorted({(n.version, n.source) for line in report.lines for n in line.row.printed})
    sources = "; ".join(f"{paper.about()['versions'][v]} ({paper.about()['sources'][s]})" for v, s in versions)
    where = "networks and data sets as named below" if report.table.name == "networks" else "ResNet-50 on ImageNet"
    return [*found, f"The paper's numbers: top-1 error, {where}; {sources}.", *report.table.notes]


def as_csv(report: Report) -> str:
    """Return the table as CSV, one row per setting, with errors in % and differences in percentage points."""
    seeds = [f"error_seed_{seed}" for seed in report.study.seeds]
    names = ["setting", "error_mean", "error_sd", *seeds, "baseline", "difference", "low", "high", "seeds_compared",
             "says", "parameters", "multiply_adds", "paper_error", "paper_table", "paper_row"]  # fmt: skip
    text = io.StringIO(newline="")
    writer = csv.DictWriter(text, names, lineterminator="\n")
    writer.writeheader()
    for line in report.lines:
        d, printed = line.difference, next(iter(line.row.printed), None)
        writer.writerow({
            "setting": line.row.label, "error_mean": _plain(line.mean), "error_sd": _plain(line.spread),
            **{f"error_seed_{seed}": _plain(line.errors.get(seed)) for seed in report.study.seeds},
            "baseline": line.row.against or "", "difference": _plain(d and d.mean), "low": _plain(d and d.low),
            "high": _plain(d and d.high), "seeds_compared": d.seeds if d else "", "says": line.conclusion,
            **_costs(line), "paper_error": printed.value if printed else "",
            "paper_table": printed.table if printed else "", "paper_row": printed.row if printed else "",
        })  # fmt: skip
    return text.getvalue()


def as_json(report: Report) -> str:
    """Return the whole report as JSON."""
    base, study = report.study.base, report.study
    shared = ("epochs", "lr", "augment", "subset", "batch_size", "schedule", "momentum", "weight_decay",
              "label_smoothing")  # fmt: skip
    return json.dumps({
        "table": report.table.name, "title": report.table.title, "command": report.command,
        "data": study.data, "note": report.note, "test_images": study.test_images, "seeds": list(study.seeds),
        "settings": {name: getattr(base, name) for name in shared}, "notes": notes(report),
        "rows": [_record(report, line) for line in report.lines],
    }, indent=1, ensure_ascii=False) + "\n"  # fmt: skip


def _record(report: Report, line: Line) -> dict[str, Any]:
    return {
        "setting": line.row.label, "config": line.row.settings, "errors": line.errors, "mean": line.mean,
        "sd": line.spread, "test_images_95": report.sampling(line) if line.errors else None,
        "baseline": line.row.against, "difference": line.difference and line.difference._asdict(),
        "says": line.conclusion, "failed": line.failures, **_costs(line), "seconds": round(line.seconds, 1),
        "paper": [n._asdict() for n in line.row.printed],
    }  # fmt: skip


def write(report: Report, folder: Path) -> list[Path]:
    """Write NAME.md, NAME.csv, NAME.json and, if matplotlib is installed, NAME.png; return their paths."""
    files = []
    for suffix, text in (("md", markdown(report)), ("csv", as_csv(report)), ("json", as_json(report))):
        files.append(folder / f"{report.table.name}.{suffix}")
        files[-1].write_text(text, encoding="utf-8")
    try:
        from se_numpy.ablation.figure import draw

        draw(report, folder / f"{report.table.name}.png")
    except ImportError:
        return files
    return [*files, folder / f"{report.table.name}.png"]


def _cells(line: Line, seeds: Iterable[int]) -> tuple[str, ...]:
    printed = ", ".join(_with_source(n) for n in line.row.printed) or "–"
    if isinstance(line.cost, str):
        return (line.row.label, "–", "–", "–", "not run: see below", "–", "–", printed)
    spread = f" ± {line.spread:.2f}" if line.spread is not None else ""
    each = " / ".join(f"{line.errors[s]:.2f}" if s in line.errors else "–" for s in seeds)
    d = line.difference
    between = f" ({d.low:+.2f} to {d.high:+.2f})" if d and d.low is not None else ""
    return (
        line.row.label, "–" if line.mean is None else f"{line.mean:.2f}{spread}", each,
        f"{d.mean:+.2f}{between}" if d else "", line.conclusion, f"{line.cost.parameters:,}",
        f"{line.cost.products / 1e6:.3f}", printed,
    )  # fmt: skip


def _with_source(n: Number) -> str:
    return f"{n.value:.{n.digits}f} (T{n.table})"


def _costs(line: Line) -> dict[str, Any]:
    if isinstance(line.cost, str):
        return {"parameters": "", "multiply_adds": ""}
    return {"parameters": line.cost.parameters, "multiply_adds": line.cost.products}


def _plain(value: float | None) -> str:
    return "" if value is None else f"{value:.4f}"


def _pairs() -> list[str]:
    """Return the paper's own pairs of networks without and with SE as lines of Markdown."""
    rows = [
        f"| {with_.row} | {data} | {before.value:.{before.digits}f} | {with_.value:.{with_.digits}f} "
        f"| {with_.value - before.value:+.2f} | {before.table} |"
        for data, before, with_ in paper_pairs()
    ]
    head = ["| paper's network | data | error % | with SE | difference | Table |", "|---|---|--:|--:|--:|--:|"]
    return ["The paper's networks without and with SE (one run each, so without a standard deviation):", "", *head,
            *rows]  # fmt: skip
