"""The command line of ablations: ``se-numpy ablate --table NAME``."""

import argparse
import re
import shlex
from contextlib import suppress
from pathlib import Path
from typing import Any

from se_numpy.arg_types import int_list
from se_numpy.install_hints import install_command
from se_numpy.wrapping import wrap_text

TABLES = "reduction, squeeze, gate, stages, placement, networks"


def add(commands: Any) -> None:
    """The parser of the command."""
    p = commands.add_parser("ablate", help="run the paper's ablations", description=(
        "Makes every run of a table, several at a time, and writes the table in the paper's layout beside the paper's "
        "numbers: Markdown, CSV, JSON and a figure. A run that is finished is never repeated, so the same command "
        "goes on where it was stopped, and tables in one folder share their runs."))  # fmt: skip
    p.set_defaults(run=_ablate, parser=p)
    p.add_argument("--table", required=True, metavar="NAME", help=f"{TABLES}, or all")
    p.add_argument("--data", metavar="PATH", help="cifar10, cifar100, or a folder (default: the built-in set)")
    p.add_argument("--note", default="", metavar="TEXT", help="what else should be told about the data")
    p.add_argument("--model", default="se_resnet8", metavar="NAME", help="which has SE (default: se_resnet8)")
    p.add_argument("--seeds", type=int_list, default=(0, 1, 2), metavar="0,1,2",
                   help="one run each of every row (default: 0,1,2)")  # fmt: skip
    p.add_argument("--out", default="ablations", metavar="FOLDER", help="default: ablations")
    p.add_argument("--dry-run", action="store_true", help="say what would be made and how long it takes, and end")
    p.add_argument("--report", action="store_true", help="only write what the runs that are done say")
    how = p.add_argument_group("how (defaults as of se-numpy train)")
    how.add_argument("--epochs", type=int, metavar="N", help="passes over the training images")
    how.add_argument("--subset", type=int, metavar="N", help="learn from N of the training images (default: all)")
    how.add_argument("--batch-size", type=int, metavar="N", help="images a step")
    how.add_argument("--lr", type=float, metavar="X", help="highest learning rate of the schedule")
    how.add_argument("--schedule", metavar="NAME", help="constant, step, cosine or one-cycle")
    where = p.add_argument_group("where")
    where.add_argument("--jobs", type=int, metavar="N", help="runs at a time (default: one for each core, on a GPU 1)")
    where.add_argument("--dask", metavar="ADDRESS", help="a Dask scheduler, tcp://HOST:PORT, whose workers see FOLDER "
                       "and the data under the same paths (extra cluster)")  # fmt: skip
    where.add_argument("--device", choices=["auto", "cpu", "gpu"], default="auto", help="default: auto")


SHARED = ("epochs", "subset", "batch_size", "lr", "schedule")  # options that go into every run


def _ablate(args: argparse.Namespace) -> None:
    from se_numpy.ablation.report import Report
    from se_numpy.ablation.study import DONE, Study, state
    from se_numpy.ablation.tables import NAMES, table
    from se_numpy.data import full_name, load
    from se_numpy.data.file_lock import lock_file
    from se_numpy.train import configure

    names = NAMES if args.table == "all" else (args.table,)
    tables = [table(name, args.model) for name in names]
    source = full_name(args.data or "builtin")
    dataset = load(source)
    given = {name: getattr(args, name) for name in SHARED if getattr(args, name) is not None}
    base = configure(dataset, **given, model=args.model, data=source, device=args.device)
    out = Path(args.out).resolve()
    study = Study.of(out, base, args.seeds, dataset)
    configs = study.runs(tables)
    missing = [config for config in configs if state(config) != DONE]
    print(wrap_text(f"{len(configs)} runs for {', '.join(names)}: {len(configs) - len(missing)} are done"), flush=True)
    if args.dry_run:
        _foretell(study, dataset, configs)
        return
    for name in names:
        _own(out / f"{name}.json", name)
    failed: dict[str, str] = {}
    if missing and not args.report:
        out.mkdir(parents=True, exist_ok=True)
        with lock_file(out, "filled"):
            failed = _make(args, study, missing)
    out.mkdir(parents=True, exist_ok=True)
    for one in tables:
        _show(Report(one, study, command(args, one.name), args.note), out, args.out)
    if failed:
        which = ", ".join(sorted(failed)[:5]) + (", ..." if len(failed) > 5 else "")
        raise RuntimeError(f"{len(failed)} of {len(missing)} runs failed, and the tables say why: {which}; the same "
                           "command tries them again")  # fmt: skip


def _make(args: argparse.Namespace, study: Any, missing: list[Any]) -> dict[str, str]:
    """The missing runs, by as many workers as are asked for; Ctrl-C ends them and tells how to go on."""
    from functools import partial

    from se_numpy.ablation.runner import make_all, prepare
    from se_numpy.ablation.study import state
    from se_numpy.complexity import cost
    from se_numpy.engine import threads
    from se_numpy.train import choose_device
    from se_numpy.workers import terminate_on_error, workers

    jobs = args.jobs
    if jobs is None:
        jobs = threads() if args.dask or choose_device(args.device)[0] == "cpu" else 1
    if jobs < 1:
        raise ValueError(f"--jobs is {jobs}; expected 1 or more")
    jobs = min(jobs, len(missing))
    weights = [float(cost(c.network(study.classes), study.shape).products) for c in missing]
    share = max(1, threads() // jobs)
    where = f"on {args.dask}" if args.dask else f"{jobs} at a time, with {share} thread{'s' * (share > 1)} each"
    print(f"{len(missing)} to make, {where}", flush=True)
    start = partial(prepare, share)
    try:
        with terminate_on_error(lambda: workers(jobs, args.dask, start)) as pool:
            return make_all(missing, pool, partial(print, flush=True), weights)
    except KeyboardInterrupt:
        done = sum(state(config) == "done" for config in missing)
        cluster = "; the cluster's workers first end the runs they are at" if args.dask else ""
        print(f"stopped  {done} of {len(missing)} runs are done and kept; the same command goes on, and with --report "
              f"it only writes what there is{cluster}", flush=True)  # fmt: skip
        raise


def _show(report: Any, out: Path, said: str) -> None:
    """Write the files of a table to ``out``, which was ``said`` so, and print the table and their names."""
    from se_numpy.ablation.render import write

    files = write(report, out)
    print(f"\n{in_text(report)}\n")
    print(wrap_text(f"{report.table.name:10s} {', '.join(path.name for path in files)} in {said}", 11))
    if not files[-1].name.endswith("png"):
        print(f"           no figure: matplotlib is missing; {install_command('plot')}")


def in_text(report: Any) -> str:
    """A table for a terminal: its title, what all runs share, and in a row for each setting the error and what it says.

    The words of a verdict that explain it are left to the file.
    """
    from se_numpy.complexity import ruled

    base, n = report.study.base, len(report.study.seeds)
    shared = (f"{report.data}, {base.epochs} epoch{'s' * (base.epochs != 1)}, {n} seed{'s' * (n > 1)}; test error in %"
              f"{', mean ± s.d.' if n > 1 else ''}")  # fmt: skip
    rows = []
    for line in report.lines:
        spread = "" if line.spread is None else f" ± {line.spread:.2f}"
        error = "–" if line.mean is None else f"{line.mean:.2f}{spread}"
        moved = f"{line.difference.mean:+.2f}" if line.difference else ""
        says = re.split(r"[;:(,]", line.said)[0].strip() + ", or these images" * ("may be these" in line.said)
        rows.append((line.row.label, error, moved, says))
    wide = max(len(says) for *_, says in rows)
    table = ruled(("", "error", "difference", ""), [[(*row[:3], row[3].ljust(wide)) for row in rows]], None, left=1)
    return f"{wrap_text(report.table.title)}\n{wrap_text(shared)}\n\n{table}"


def _own(path: Path, table: str) -> None:
    """ValueError where the file of a table's numbers is there and no table of this name."""
    from se_numpy.train.run_dir import read_json

    if not path.exists():
        return
    with suppress(ValueError):
        found = read_json(path)
        if isinstance(found, dict) and found.get("table") == table:
            return
    raise ValueError(f"{path} exists already, and se-numpy ablate did not make it; nothing is overwritten: name "
                     "another --out")  # fmt: skip


def _foretell(study: Any, dataset: Any, configs: list[Any]) -> None:
    """Each run and whether it is done, and about how long the others take, from a few steps of one of them."""
    from se_numpy.ablation.study import DONE, run_name, state
    from se_numpy.complexity import cost
    from se_numpy.train import Session, choose_device
    from se_numpy.train.console import duration, seconds_per_epoch

    for config in configs:
        print(f"  {state(config):<6} {run_name(config)}")
    missing = [config for config in configs if state(config) != DONE]
    if missing:
        session = Session(dataset, missing[0], choose_device(missing[0].device)[0])
        one = missing[0].epochs * seconds_per_epoch(session, session.seconds_per_step())
        work = [float(cost(c.network(study.classes), study.shape).products) for c in missing]
        print(f"time     about {duration(one * sum(work) / work[0])} of training on this machine")
    print("dry run  nothing was trained, nothing was written")


def command(args: argparse.Namespace, table: str) -> str:
    """The command for one table, without paths of this machine."""
    from se_numpy.data import full_name

    words = ["se-numpy", "ablate", "--table", table]
    source = full_name(args.data or "builtin")
    if source != "builtin":
        words += ["--data", "FOLDER" if source != args.data or Path(source).is_absolute() else source]
    if args.note:
        words += ["--note", args.note]
    words += ["--model", args.model, "--seeds", ",".join(map(str, args.seeds))]
    for name in SHARED:
        if (value := getattr(args, name)) is not None:
            words += [f"--{name.replace('_', '-')}", f"{value:g}" if isinstance(value, float) else str(value)]
    return shlex.join(words)
