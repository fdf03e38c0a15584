"""The command line of ablations: ``se-numpy ablate --table NAME``."""

import argparse
import os
import re
import shlex
import sys
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

from tqdm import tqdm

from se_numpy.arg_types import int_list, user_path
from se_numpy.install_hints import install_command
from se_numpy.wrapping import plural, terminal_width, wrap_text

START = 3.0  # seconds, for starting the workers, which import the package and load the data
TABLES = "reduction, squeeze, gate, stages, placement, networks"


def add(commands: Any) -> None:
    """Add the parser of the command."""
    p = commands.add_parser("ablate", help="run the paper's ablations", description=(
        "Train every run of a table, several at a time, and write the results next to the paper's numbers and in the "
        "paper's layout, as Markdown, CSV, JSON and a figure. Finished runs are never repeated, so repeating an "
        "interrupted command continues it. Tables in one folder share their runs."))  # fmt: skip
    p.set_defaults(run=_ablate, parser=p)
    p.add_argument("--table", required=True, metavar="NAME", help=f"{TABLES}, or all")
    p.add_argument("--data", metavar="PATH", help="cifar10, cifar100, or a data set of your own, as in "
                   "se-numpy train (default: the built-in set)")  # fmt: skip
    p.add_argument("--size", type=int, metavar="N", help="resize the images to NxN pixels, as in se-numpy train")
    p.add_argument("--channels", type=int, metavar="C", help="1 (grey) or 3 (colour), as in se-numpy train")
    p.add_argument("--note", default="", metavar="TEXT", help="a remark on the data set, for the heading of the table")
    p.add_argument("--model", default="se_resnet8", metavar="NAME", help="a network with SE (default: se_resnet8)")
    p.add_argument("--seeds", type=int_list, default=(0, 1, 2), metavar="0,1,2",
                   help="seeds for the runs of each row (default: 0,1,2)")  # fmt: skip
    p.add_argument("--out", default="ablations", metavar="FOLDER", help="output folder (default: ablations)")
    p.add_argument("--dry-run", action="store_true", help="list the runs, estimate the time and exit")
    p.add_argument("--report", action="store_true", help="train nothing; write the table of the finished runs")
    how = p.add_argument_group("training (defaults as in se-numpy train)")
    how.add_argument("--epochs", type=int, metavar="N", help="passes over the training images")
    how.add_argument("--subset", type=int, metavar="N", help="train on N of the training images (default: all)")
    how.add_argument("--batch-size", type=int, metavar="N", help="images per step")
    how.add_argument("--lr", type=float, metavar="X", help="peak learning rate of the schedule")
    how.add_argument("--schedule", metavar="NAME", help="constant, step, cosine or one-cycle")
    where = p.add_argument_group("execution")
    where.add_argument("--jobs", type=int, metavar="N",
                       help="number of runs at a time (default: 1 per core; 1 on a GPU)")  # fmt: skip
    where.add_argument("--dask", metavar="ADDRESS", help="a Dask scheduler, tcp://HOST:PORT, whose workers see FOLDER "
                       "and the data under the same paths (needs the extra cluster)")  # fmt: skip
    where.add_argument("--device", choices=["auto", "cpu", "gpu"], default="auto", help="default: auto")


SHARED = ("size", "channels", "epochs", "subset", "batch_size", "lr", "schedule")  # options that all runs share


def _ablate(args: argparse.Namespace) -> None:
    from se_numpy.ablation.report import Report
    from se_numpy.ablation.study import DONE, Study, state
    from se_numpy.ablation.tables import NAMES, table
    from se_numpy.data import full_name, load, reading
    from se_numpy.data.file_lock import lock_file
    from se_numpy.train import configure
    from se_numpy.train.run_dir import check_creatable

    names = NAMES if args.table == "all" else (args.table,)
    tables = [table(name, args.model) for name in names]
    source = full_name(args.data or "builtin")
    dataset = load(source, **reading(vars(args)))
    given = {name: getattr(args, name) for name in SHARED if getattr(args, name) is not None}
    base = configure(dataset, **given, model=args.model, data=source, device=args.device)
    out = user_path(args.out).resolve()
    study = Study.of(out, base, args.seeds, dataset)
    configs = study.runs(tables)
    missing = [config for config in configs if state(config) != DONE]
    done = len(configs) - len(missing)
    print(wrap_text(f"{plural(len(configs), 'run')} for {', '.join(names)}, {done} of them finished"), flush=True)
    check_creatable(out)
    for name in names:
        _check_owner(out / f"{name}.json", name)
    jobs, share = _jobs(args, len(missing))
    if not args.report:
        _check_runs(study, dataset, missing, 0 if args.dask else jobs)
    if args.dry_run:
        with lock_file(out, "filled") if out.is_dir() else nullcontext():
            _preview(study, dataset, configs, jobs, share)
        return
    failed: dict[str, str] = {}
    if missing and not args.report:
        out.mkdir(parents=True, exist_ok=True)
        with lock_file(out, "filled"):
            failed = _run(args, study, missing, jobs, share)
    out.mkdir(parents=True, exist_ok=True)
    for one in tables:
        _show(Report(one, study, command(args, one.name), args.note), out, args.out)
    if failed:
        which = ", ".join(sorted(failed)[:5]) + (", ..." if len(failed) > 5 else "")
        raise RuntimeError(f"{len(failed)} of {len(missing)} runs failed: {which}; the tables give the reasons. Repeat "
                           "the command to try these runs again")  # fmt: skip


def _jobs(args: argparse.Namespace, runs: int) -> tuple[int, int]:
    """Return the number of runs at a time and the number of threads of each."""
    from se_numpy.engine import threads
    from se_numpy.train import choose_device

    jobs = args.jobs
    if jobs is None:
        jobs = threads() if args.dask or choose_device(args.device)[0] == "cpu" else 1
    if jobs < 1:
        raise ValueError(f"--jobs is {jobs}; expected 1 or more")
    jobs = max(1, min(jobs, runs))
    return jobs, max(1, threads() // jobs)


def _check_runs(study: Any, dataset: Any, missing: list[Any], jobs: int) -> None:
    """Check that the runs can be started or resumed, ``jobs`` of them at a time.  Nothing is written.

    Raises
    ------
    ValueError
        If a folder holds a run on other data, or if the memory is not enough.
    """
    from se_numpy.train import choose_device, split
    from se_numpy.train.estimate import check_memory
    from se_numpy.train.loop import check_completable

    for config in missing:
        check_completable(dataset, config)
    if missing and jobs and choose_device(missing[0].device)[0] == "cpu":
        images = len(split(dataset, 0)[0][: missing[0].subset])
        for config in missing:
            check_memory(config.network(study.classes), study.shape, min(config.batch_size, images), jobs)


def _run(args: argparse.Namespace, study: Any, missing: list[Any], jobs: int, share: int) -> dict[str, str]:
    """Train the missing runs on the requested number of workers; on Ctrl-C, stop them and say how to continue."""
    from functools import partial

    from se_numpy.ablation.runner import prepare, run_all
    from se_numpy.ablation.study import state
    from se_numpy.complexity import cost
    from se_numpy.workers import terminate_on_error, workers

    weights = [float(cost(c.network(study.classes), study.shape).products) for c in missing]
    where = f"on {args.dask}" if args.dask else f"{jobs} at a time, with {share} thread{'s' * (share > 1)} each"
    print(wrap_text(f"training {plural(len(missing), 'run')}, {where}", 9), flush=True)
    start = partial(prepare, share)
    try:
        with terminate_on_error(lambda: workers(jobs, args.dask, start)) as pool:
            return run_all(missing, pool, partial(print, flush=True), weights)
    except KeyboardInterrupt:
        done = sum(state(config) == "done" for config in missing)
        cluster = "; the workers of the cluster first finish the runs they have started" if args.dask else ""
        print(wrap_text(f"stopped  {done} of {len(missing)} runs are finished and kept; repeat the command to "
                        f"continue, or add --report to write the table of the finished runs{cluster}", 9),
              flush=True)  # fmt: skip
        raise


def _show(report: Any, out: Path, folder: str) -> None:
    """Write the files of a table to ``out`` and print the table and the files' names; ``folder`` is --out as given."""
    from se_numpy.ablation.render import write

    files = write(report, out)
    print(f"\n{as_text(report)}\n")
    print(wrap_text(f"{report.table.name:10s} {', '.join(path.name for path in files)} in {folder}", 11))
    if not files[-1].name.endswith("png"):
        print(wrap_text(f"{'':10s} no figure: matplotlib is not installed: {install_command('plot')}", 11))


def as_text(report: Any) -> str:
    """Format a table for a terminal: title, shared settings, and a row with the test error of each setting.

    Verdicts are shortened; the files hold the full sentences. If the terminal is too narrow for the table, each
    setting takes several lines.
    """
    from se_numpy.complexity import ruled

    base, n = report.study.base, len(report.study.seeds)
    shared = (f"{report.data}, {base.epochs} epoch{'s' * (base.epochs != 1)}, {n} seed{'s' * (n > 1)}; test error in %"
              f"{', mean ± s.d.' if n > 1 else ''}")  # fmt: skip
    rows = []
    for line in report.lines:
        spread = "" if line.spread is None else f" ± {line.spread:.2f}"
        error = "–" if line.mean is None else f"{line.mean:.2f}{spread}"
        difference = f"{line.difference.mean:+.2f}" if line.difference else ""
        verdict = re.split(r"[;:(,]", line.conclusion)[0].strip()
        verdict += " (uncertain)" * ("may be" in line.conclusion)
        rows.append((line.row.label, error, difference, verdict))
    widest = max(len(verdict) for *_, verdict in rows)
    table = ruled(("", "error", "difference", ""), [[(*row[:3], row[3].ljust(widest)) for row in rows]], None, left=1)
    width = terminal_width()
    if width is not None and max(map(len, table.splitlines())) > width:
        table = "\n".join(_stacked_row(*row) for row in rows)
    return f"{wrap_text(report.table.title)}\n{wrap_text(shared)}\n\n{table}"


def _stacked_row(label: str, error: str, difference: str, verdict: str) -> str:
    """Return a row of the table as indented lines below its label."""
    numbers = f"{error}, difference {difference}" if difference else error
    return "\n".join([label, f"  {numbers}", wrap_text(f"  {verdict}", 4)])


def _check_owner(path: Path, table: str) -> None:
    """Raise ValueError if the JSON file of the table exists and holds anything other than a table of this name."""
    from se_numpy.train.run_dir import read_json

    if not path.exists():
        return
    with suppress(ValueError):
        found = read_json(path)
        if isinstance(found, dict) and found.get("table") == table:
            return
    raise ValueError(f"{path} exists and was not written by se-numpy ablate; give --out another folder")


def _preview(study: Any, dataset: Any, configs: list[Any], jobs: int, share: int) -> None:
    """Print the state of each run, and the time for the missing ones, estimated from a few steps of each network."""
    from se_numpy.ablation.study import DONE, run_name, state
    from se_numpy.train.console import duration

    for config in configs:
        print(f"  {state(config):<8} {run_name(config)}")
    missing = [config for config in configs if state(config) != DONE]
    if missing:
        seconds = _seconds(dataset, missing, share)
        total = START + max(*seconds, sum(seconds) / jobs)
        print(wrap_text(f"time     about {duration(total)} on this machine, {plural(jobs, 'run')} at a time", 9))
    print("dry run  nothing was trained or written")


def _seconds(dataset: Any, missing: list[Any], share: int) -> list[float]:
    """Estimate the duration of each run, with this number of threads; runs that differ only in the seed are equal."""
    from se_numpy.ablation.study import run_name
    from se_numpy.train import Session, choose_device
    from se_numpy.train.estimate import seconds_in_total

    names = [run_name(replace(config, seed=0)) for config in missing]
    distinct = dict(zip(names, missing, strict=True))
    found = {}
    print(wrap_text(f"timing   a few steps of {plural(len(distinct), 'network')}", 9), flush=True)
    device = choose_device(missing[0].device)[0]
    with _threads(share), tqdm(distinct.items(), unit="network", desc="timing", disable=not sys.stderr.isatty(),
                               leave=False, dynamic_ncols=True) as bar:  # fmt: skip
        for name, config in bar:
            session = Session(dataset, config, device)
            found[name] = seconds_in_total(session, session.seconds_per_step())
    return [found[name] for name in names]


@contextmanager
def _threads(share: int) -> Iterator[None]:
    """Use this number of threads, as each worker does."""
    before = os.environ.get("SE_NUMPY_THREADS")
    os.environ["SE_NUMPY_THREADS"] = str(share)
    try:
        yield
    finally:
        if before is None:
            del os.environ["SE_NUMPY_THREADS"]
        else:
            os.environ["SE_NUMPY_THREADS"] = before


def command(args: argparse.Namespace, table: str) -> str:
    """Return the command that produces one table, with FOLDER in place of local paths."""
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
