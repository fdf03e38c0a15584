"""The command line of finished runs: ``evaluate``, ``predict``, ``plot``, ``report``; and ``info``."""

import argparse
import json
import sys
from pathlib import Path
from typing import Any

from se_numpy.install_hints import install_command
from se_numpy.wrapping import wrap_text

DATA = "builtin, cifar10, cifar100 or a folder (default: what it was trained on)"
DEVICES = ["auto", "cpu", "gpu"]


def add(commands: Any) -> None:
    """The parsers of these commands."""
    p = commands.add_parser("evaluate", help="how good a trained network is, class by class", description=(
        "Looks at the test set with a trained network: loss, accuracy with its 95 % interval, each class, what is "
        "taken for what."))  # fmt: skip
    p.add_argument("run_", metavar="RUN", help="the folder of a run, or a checkpoint")
    p.add_argument("--data", metavar="PATH", help=DATA)
    p.add_argument("--device", choices=DEVICES, default="auto", help="default: auto, a GPU where CuPy finds one")
    p.add_argument("--json", action="store_true", help="as JSON")
    p.set_defaults(run=_evaluate, parser=p)
    _add_predict(commands)
    p = commands.add_parser("plot", help="the curves of several runs in one figure", description=(
        "Draws held-out and training loss and accuracy of runs, named by what differs between their settings. Runs "
        "that differ by their seeds alone are drawn as their mean, in a band of one standard deviation."))  # fmt: skip
    p.add_argument("runs", nargs="+", metavar="RUN", help="folders of runs, or a folder that holds some")
    p.add_argument("--out", default="compare.png", metavar="FILE.png", help="default: compare.png")
    p.set_defaults(run=_plot, parser=p)
    p = commands.add_parser("report", help="a run as one page to look at", description=(
        "Writes one HTML page that needs no network: what the run shows, its curves, each class, what is taken for "
        "what, the worst mistakes, the gates, the settings and the machine."))  # fmt: skip
    p.add_argument("run_", metavar="RUN", help="the folder of a run")
    p.add_argument("--data", metavar="PATH", help=DATA)
    p.add_argument("--device", choices=DEVICES, default="auto", help="default: auto, a GPU where CuPy finds one")
    p.add_argument("--out", metavar="FILE.html", help="default: report.html in the run's folder")
    p.set_defaults(run=_report, parser=p)
    p = commands.add_parser("info", help="what this machine and installation have, what is missing", description=(
        "Versions, BLAS and how fast it is, processor, memory, GPU, where CIFAR is found; which optional libraries are "
        "missing and how to get them."))  # fmt: skip
    p.add_argument("--json", action="store_true", help="as JSON")
    p.set_defaults(run=_info, parser=p)


class _Weights(argparse.Action):
    """With --weights there is no run to name, so the one word that is left is the image."""

    def __call__(self, parser: Any, namespace: Any, values: Any, option_string: str | None = None) -> None:
        namespace.weights = values
        for action in parser._actions:
            if action.dest in ("run_", "image"):
                action.required, action.nargs = False, "?"


def _add_predict(commands: Any) -> None:
    p = commands.add_parser("predict", help="what a network says of an image", description=(
        "The five likeliest classes of one image, and by --figure a picture of it as the network sees it with its "
        "gates. Either RUN IMAGE, or --weights FILE --model NAME IMAGE for a network with weights from "
        "elsewhere."))  # fmt: skip
    p.add_argument("run_", metavar="RUN", help="the folder of a run, or a checkpoint")
    p.add_argument("image", metavar="IMAGE", help="an image file, or test:123 for a test image")
    p.add_argument("--figure", metavar="FILE.png", help="draw it there; takes matplotlib")
    p.add_argument("--data", metavar="PATH", help=f"for test:123 and mean gates: {DATA}")
    p.add_argument("--weights", metavar="FILE", action=_Weights, help="weights from elsewhere instead of a run")
    p.add_argument("--model", metavar="NAME", help="the network these are for, such as seresnet50")
    p.add_argument("--json", action="store_true", help="as JSON")
    p.set_defaults(run=_predict, parser=p)


def _dataset(network: Any, given: str | None) -> Any:
    from se_numpy import data

    return data.load(given if given is not None else network.config["data"])


def _evaluate(args: argparse.Namespace) -> None:
    from tqdm import tqdm

    from se_numpy.analysis.evaluation import evaluate
    from se_numpy.analysis.network import load
    from se_numpy.analysis.run_summaries import as_text
    from se_numpy.train import choose_device
    from se_numpy.train.run_dir import existing

    network = load(existing(args.run_))
    dataset = _dataset(network, args.data)
    with tqdm(total=len(dataset.test_labels), unit="image", leave=False, disable=not sys.stderr.isatty()) as bar:
        found = evaluate(network, dataset, device=choose_device(args.device)[0], progress=bar.update)
    if args.json:
        print(json.dumps({"model": network.config["model"], **found.as_json()}, indent=2))
    else:
        print(as_text(network.config["model"], found))


def _predict(args: argparse.Namespace) -> None:
    from se_numpy.analysis.prediction import TEST, image_file, numbered_image, predict
    from se_numpy.analysis.run_summaries import said

    figure = None if args.figure is None else _png(args.figure, "--figure", "se-numpy predict")
    if args.weights is not None:
        network, shown = _from_elsewhere(args)
    elif args.model is not None:
        raise ValueError("--model is for --weights; a run knows its own network")
    else:
        from se_numpy.analysis.network import load
        from se_numpy.train.run_dir import existing

        network = load(existing(args.run_))
        asked = args.image.startswith(TEST)
        shown = numbered_image(network, args.image, args.data) if asked else image_file(args.image, network.shape)
    found = predict(network, shown)
    print(json.dumps(found.as_json(), indent=2) if args.json else said(found, sys.stdout.encoding))
    if figure is not None:
        _draw(args, network, found, figure)


def _from_elsewhere(args: argparse.Namespace) -> tuple[Any, Any]:
    """The network of --weights, and the image as networks of its kind are shown it."""
    from se_numpy.analysis.network import Network
    from se_numpy.analysis.prediction import TEST, Shown, model_name
    from se_numpy.interop import prepare, pretrained

    words = [word for word in (args.run_, args.image) if word is not None]
    if len(words) != 1:
        raise ValueError(f"--weights takes one IMAGE and no RUN; got {' and '.join(words) if words else 'none'}")
    if args.model is None:
        raise ValueError("--weights does not say which network they are for; expected --model NAME, such as seresnet50")
    if words[0].startswith(TEST):
        raise ValueError(f"{words[0]} is a test image of a run's data; with --weights expected an image file")
    network = Network(**vars(pretrained(args.weights, model_name(args.model))))
    how = network.config.get("prepare", {})  # whichever resizing these weights are used to
    return network, Shown(prepare(words[0], network.shape, **how), words[0])


def _draw(args: argparse.Namespace, network: Any, found: Any, path: Path) -> None:
    """The figure of a prediction, beside the mean gates where the network's data set is at hand."""
    from se_numpy.analysis.prediction import mean_gates

    means = {}
    if network.blocks and args.weights is None:
        try:
            means = mean_gates(network, _dataset(network, args.data))
        except (ValueError, OSError) as error:
            print(f"figure   without mean gates: {error}", file=sys.stderr)
    with _matplotlib():
        from se_numpy.analysis.run_pictures import prediction

        prediction(found, means).savefig(path, dpi=130, metadata={"Software": "se-numpy predict"})
    print(f"figure   {path}", file=sys.stderr if args.json else sys.stdout)


def _plot(args: argparse.Namespace) -> None:
    from se_numpy.analysis.runs import alike, read_run, runs_below, together

    path = _png(args.out, "--out", "se-numpy plot")
    runs = [read_run(folder) for given in args.runs for folder in runs_below(given)]
    groups = together(runs)
    for label, members in groups.items():
        best = ", ".join(f"{100 * run.chosen['val_accuracy']:.1f}" for run in members)
        print(wrap_text(f"{label}: {len(members)} run{'s' if len(members) > 1 else ''}, held out {best} %", 2))
    title = " on ".join(str(Path(shared).name) for name in ("model", "data") if (shared := alike(runs, name)))
    named = {f"{label} ({len(m)} runs)" if len(m) > 1 else label: [r.history for r in m] for label, m in groups.items()}
    with _matplotlib():
        from se_numpy.train.figures import draw_together

        draw_together(named, title=title).savefig(path, dpi=130, metadata={"Software": "se-numpy plot"})
    print(f"figure   {path}")


def _report(args: argparse.Namespace) -> None:
    from se_numpy.analysis.network import load
    from se_numpy.analysis.output_path import output_path
    from se_numpy.analysis.runs import read_run
    from se_numpy.train import choose_device

    read_run(args.run_)  # a checkpoint alone has no curves to show, and that is said first
    out = None if args.out is None else output_path(args.out, "--out", ".html", "se-numpy report")
    dataset = _dataset(load(args.run_), args.data)
    with _matplotlib():
        from se_numpy.analysis.run_page import write_report

        path = write_report(args.run_, dataset, out, device=choose_device(args.device)[0])
    print(f"report   {path}")


def _info(args: argparse.Namespace) -> None:
    from se_numpy.analysis.info import info, told

    found = info()
    print(json.dumps(found, indent=2) if args.json else told(found))


def _png(name: str, option: str, maker: str) -> Path:
    from se_numpy.analysis.output_path import output_path

    return output_path(name, option, ".png", maker)


class _matplotlib:  # noqa: N801 - reads as what it is: with _matplotlib():
    """Around whatever draws: a sentence for people where matplotlib is missing."""

    def __enter__(self) -> None: ...

    def __exit__(self, kind: Any, error: Any, trace: Any) -> None:
        if isinstance(error, ImportError) and (error.name or "").partition(".")[0] == "matplotlib":
            raise RuntimeError(f"figures need matplotlib, which is missing: {install_command('plot')}") from None
