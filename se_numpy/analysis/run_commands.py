"""Commands for finished runs (``evaluate``, ``plot`` and ``report``), and ``info``."""

import argparse
import json
import sys
from pathlib import Path
from typing import Any

from se_numpy.arg_types import int_list, user_path
from se_numpy.install_hints import install_command
from se_numpy.wrapping import plural, wrap_text

DATA = "builtin, scenes, cifar10, cifar100 or a folder (default: the run's data set)"
DEVICES = ["auto", "cpu", "gpu"]
DEVICE = "default: auto, which uses a GPU if CuPy finds one"


def add(commands: Any) -> None:
    """Add the parsers of these commands."""
    p = commands.add_parser("evaluate", help="evaluate a trained network on the test set", description=(
        "Evaluate a trained network on the test set. Prints the loss, the accuracy with its 95 % interval, the "
        "accuracy by class, the most frequent confusions and the confusion matrix. Of a network that detects, prints "
        "the average precision by class and by size."))  # fmt: skip
    p.add_argument("run_", metavar="RUN", help="folder of a run, or a checkpoint")
    p.add_argument("--data", metavar="PATH", help=DATA)
    p.add_argument("--device", choices=DEVICES, default="auto", help=DEVICE)
    p.add_argument("--json", action="store_true", help="print JSON")
    found = p.add_argument_group("networks that detect")
    found.add_argument("--areas", type=int_list, metavar="A,B", help="objects up to AxA pixels are small, up to BxB "
                       "medium (default: 32,96 as in COCO; 11,15 for the built-in scenes)")  # fmt: skip
    found.add_argument("--figure", metavar="FILE.png", help="also draw precision against recall (needs matplotlib)")
    found.add_argument("--results", metavar="FILE.json", help="also write all detections as COCO's results")
    p.set_defaults(run=_evaluate, parser=p)
    p = commands.add_parser("plot", help="draw the training curves of several runs", description=(
        "Draw the training and held-out loss and accuracy of several runs in one figure. Curves are labelled by the "
        "settings that differ. Runs that differ only in their seeds are drawn as their mean with a band of one "
        "standard deviation."))  # fmt: skip
    p.add_argument("runs", nargs="+", metavar="RUN", help="folders of runs, or a folder that contains runs")
    p.add_argument("--out", default="compare.png", metavar="FILE.png", help="output file (default: compare.png)")
    p.set_defaults(run=_plot, parser=p)
    p = commands.add_parser("report", help="write an HTML report of a run", description=(
        "Write a self-contained HTML page about a run: its findings, training curves, accuracy by class, confusion "
        "matrix, most confident mistakes, gates, settings and environment."))  # fmt: skip
    p.add_argument("run_", metavar="RUN", help="folder of a run")
    p.add_argument("--data", metavar="PATH", help=DATA)
    p.add_argument("--device", choices=DEVICES, default="auto", help=DEVICE)
    p.add_argument("--out", metavar="FILE.html", help="output file (default: report.html in the run's folder)")
    p.set_defaults(run=_report, parser=p)
    p = commands.add_parser("info", help="describe this machine and installation", description=(
        "Print the versions, the BLAS and its speed, the processor, memory, GPU and location of CIFAR, and say how to "
        "install the optional libraries that are missing."))  # fmt: skip
    p.add_argument("--json", action="store_true", help="print JSON")
    p.set_defaults(run=_info, parser=p)


def load_data(run: str, network: Any, given: str | None) -> Any:
    """Load the data set that --data names, or else the one that a run was trained on.

    Raises
    ------
    ValueError
        If the run's data set cannot be loaded, or has changed since.
    """
    from se_numpy import data
    from se_numpy.train.run_dir import data_digest

    if given is not None:
        return data.load(given, size=tuple(network.shape[:2]), channels=network.shape[2])
    source, hint = network.config["data"], "give --data a data set, or use se_numpy.analysis in Python"
    if source.startswith(data.OWN):
        raise ValueError(f"{run} was trained on {data.short_name(source)!r}, arrays given in Python, which no command "
                         f"can load; {hint}")  # fmt: skip
    dataset, path = data.load(source, **data.reading(network.config)), user_path(run)
    recorded = data_digest(path if path.is_dir() else path.parent)
    if recorded is not None and recorded != data.digest(dataset):
        raise ValueError(f"{run} was trained on other data than {dataset.source} (another SHA-256); {hint}")
    return dataset


def _progress_bar(total: int) -> Any:
    """Return a progress bar on stderr that counts images; it is drawn only in a terminal."""
    from tqdm import tqdm

    return tqdm(total=total, unit="image", desc="test", leave=False, dynamic_ncols=True,
                disable=not sys.stderr.isatty())  # fmt: skip


def _evaluate(args: argparse.Namespace) -> None:
    from se_numpy.analysis.detection_commands import evaluate_run, refuse_detection_options
    from se_numpy.analysis.evaluation import evaluate
    from se_numpy.analysis.network import load
    from se_numpy.analysis.run_summaries import as_text
    from se_numpy.train import choose_device
    from se_numpy.train.detecting import Detection
    from se_numpy.train.run_dir import existing

    network = load(existing(args.run_))
    detects = network.task.name == Detection.name
    if not detects:
        refuse_detection_options(args, "evaluate")
    dataset = load_data(args.run_, network, args.data)
    with _progress_bar(len(dataset.test_labels)) as bar:
        if detects:
            evaluate_run(args, network, dataset, choose_device(args.device)[0], bar.update)
            return
        found = evaluate(network, dataset, device=choose_device(args.device)[0], progress=bar.update)
    if args.json:
        print(json.dumps({"model": network.config["model"], **found.as_json()}, indent=2))
    else:
        print(as_text(network.config["model"], found))


def _plot(args: argparse.Namespace) -> None:
    from se_numpy.analysis.runs import common_setting, comparable, find_runs, read_run
    from se_numpy.data import short_name

    path = png_path(args.out, "--out", "se-numpy plot")
    runs = [read_run(folder) for given in args.runs for folder in find_runs(given)]
    groups, notes = comparable(runs)
    for label, members in groups.items():
        best = ", ".join(f"{100 * run.chosen[f'val_{run.task.metric}']:.1f}" for run in members)
        print(wrap_text(f"{label}: {plural(len(members), 'run')}, held-out {members[0].task.words[0]} {best} %", 2))
    for note in notes:
        print(wrap_text(note, 2))
    title = " on ".join(short_name(shared) for name in ("model", "data") if (shared := common_setting(runs, name)))
    named = {f"{label} ({len(m)} runs)" if len(m) > 1 else label: [r.history for r in m] for label, m in groups.items()}
    with matplotlib_needed():
        from se_numpy.train.figures import draw_together

        draw_together(named, title=title).savefig(path, dpi=130, metadata={"Software": "se-numpy plot"})
    print(f"figure   {path}")


def _report(args: argparse.Namespace) -> None:
    from se_numpy.analysis.network import load
    from se_numpy.analysis.output_path import output_path
    from se_numpy.analysis.runs import read_run
    from se_numpy.train import choose_device

    read_run(args.run_)  # first, because a checkpoint alone has no training curves
    out = None if args.out is None else output_path(args.out, "--out", ".html", "se-numpy report")
    dataset = load_data(args.run_, load(args.run_), args.data)
    with matplotlib_needed(), _progress_bar(len(dataset.test_labels)) as bar:
        from se_numpy.analysis.run_page import write_report

        device = choose_device(args.device)[0]
        path = write_report(args.run_, dataset, out, device=device, progress=bar.update)
    print(f"report   {path}")


def _info(args: argparse.Namespace) -> None:
    from se_numpy.analysis.info import as_text, info

    found = info()
    print(json.dumps(found, indent=2) if args.json else as_text(found))


def png_path(name: str, option: str, maker: str) -> Path:
    """Return the path of a .png file that the command ``maker`` may write, as ``output_path`` does."""
    from se_numpy.analysis.output_path import output_path

    return output_path(name, option, ".png", maker)


class matplotlib_needed:  # noqa: N801 - used as a function: with matplotlib_needed():
    """A context manager that turns a missing matplotlib into an error that says how to install it."""

    def __enter__(self) -> None: ...

    def __exit__(self, kind: Any, error: Any, trace: Any) -> None:
        if isinstance(error, ImportError) and (error.name or "").partition(".")[0] == "matplotlib":
            raise RuntimeError(f"figures need matplotlib, which is not installed: {install_command('plot')}") from None
