"""The command line of ablations: ``se-numpy ablate --table NAME``."""

import argparse
import shlex
from pathlib import Path
from typing import Any

from se_numpy.options import numbers

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
    p.add_argument("--seeds", type=numbers, default=(0, 1, 2), metavar="0,1,2",
                   help="one run each of every row (default: 0,1,2)")  # fmt: skip
    p.add_argument("--out", default="ablations", metavar="FOLDER", help="default: ablations")
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
    from se_numpy.ablation.written import write
    from se_numpy.data import full_name, load
    from se_numpy.data.alone import alone
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
    print(f"{len(configs)} runs for {', '.join(names)}: {len(configs) - len(missing)} are done", flush=True)
    failed: dict[str, str] = {}
    if missing and not args.report:
        out.mkdir(parents=True, exist_ok=True)
        with alone(out, "filled"):
            failed = _make(args, study, missing)
    out.mkdir(parents=True, exist_ok=True)
    for one in tables:
        files = write(Report(one, study, command(args, one.name), args.note), out)
        print(f"{one.name:10s} {', '.join(path.name for path in files)} in {args.out}")
        if not files[-1].name.endswith("png"):
            print(f"           no figure: matplotlib is missing; {pip_line('plot')}")
    if failed:
        which = ", ".join(sorted(failed)[:5]) + (", ..." if len(failed) > 5 else "")
        raise RuntimeError(f"{len(failed)} of {len(missing)} runs failed, and the tables say why: {which}; the same "
                           "command tries them again")  # fmt: skip


def _make(args: argparse.Namespace, study: Any, missing: list[Any]) -> dict[str, str]:
    """The missing runs, by as many workers as are asked for; Ctrl-C ends them and tells how to go on."""
    from functools import partial

    from se_numpy.ablation.runner import make_all, prepare
    from se_numpy.ablation.study import state
    from se_numpy.backend import threads
    from se_numpy.backend.workers import ended_with, workers
    from se_numpy.complexity import cost
    from se_numpy.train import choose_device

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
        with ended_with(lambda: workers(jobs, args.dask, start)) as pool:
            return make_all(missing, pool, partial(print, flush=True), weights)
    except KeyboardInterrupt:
        done = sum(state(config) == "done" for config in missing)
        cluster = "; the cluster's workers first end the runs they are at" if args.dask else ""
        print(f"stopped  {done} of {len(missing)} runs are done and kept; the same command goes on, and with --report "
              f"it only writes what there is{cluster}", flush=True)  # fmt: skip
        raise


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
