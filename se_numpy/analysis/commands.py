"""The command line of the analysis: ``se-numpy excitations RUN`` and the commands of other modules."""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from se_numpy.analysis import predict_command, run_commands
from se_numpy.arg_types import user_path
from se_numpy.install_hints import install_command
from se_numpy.wrapping import wrap_text


def add(commands: Any) -> None:
    """Add the parsers of all commands of the analysis."""
    run_commands.add(commands)
    predict_command.add(commands)
    p = commands.add_parser("excitations", help="analyse the gates of a trained network", description=(
        "Record the gates of every SE block on test images, replace them with other gates and measure how much "
        "accuracy that costs. Writes figures, tables (CSV, JSON) and an HTML page, index.html."))  # fmt: skip
    p.add_argument("run_", metavar="RUN", help="folder of a run, or a checkpoint")
    p.add_argument(
        "--data", metavar="PATH", help="builtin, scenes, or a folder with CIFAR (default: the run's data set)"
    )
    p.add_argument("--images", type=int, default=2000, metavar="N", help="number of test images (default: 2000)")
    p.add_argument("--classes", metavar="A,B", help="classes to draw as lines (default: four, evenly spaced)")
    p.add_argument("--seed", type=int, default=0, metavar="N",
                   help="seed for shuffling gates between images (default: 0)")  # fmt: skip
    p.add_argument("--out", metavar="DIR", help="output folder (default: excitations in the run's folder)")
    p.set_defaults(run=_excitations, parser=p)


def _excitations(args: argparse.Namespace) -> None:
    from se_numpy.analysis.detection_commands import study_gates
    from se_numpy.analysis.network import load_gated
    from se_numpy.analysis.study import study, write_numbers
    from se_numpy.analysis.summaries import findings
    from se_numpy.train.detecting import Detection
    from se_numpy.train.run_dir import existing

    network = load_gated(existing(args.run_))
    if args.seed < 0:
        raise ValueError(f"--seed is {args.seed}; expected 0 or more")
    detects = network.task.name == Detection.name
    if detects and args.classes:
        raise ValueError(f"--classes is for networks that classify, and {args.run_} was trained to detect")
    picked = _selected_classes(args.classes, network.classes)
    dataset = run_commands.load_data(args.run_, network, args.data)
    out = _output_folder(args.out, args.run_)
    blocks = len(network.blocks)
    print(wrap_text(f"{network.config['model']}, {blocks} SE block{'s' * (blocks != 1)}; {dataset.source}"), flush=True)
    if detects:
        study_gates(network, dataset, out, images=args.images, seed=args.seed)
        return
    found = study(network, dataset, args.images, seed=args.seed, quiet=not sys.stderr.isatty())
    files = write_numbers(found, out)
    page = _write_page(found, out, _indices(picked, found.groupings[0].names))
    for sentence in findings(found):
        print(wrap_text(f"- {sentence}", 2))
    print(wrap_text(f"tables   {', '.join(path.name for path in files)} in {out}", 9))
    print(wrap_text(f"page     {page}", 9))


def _selected_classes(names: str | None, classes: Sequence[str]) -> list[str]:
    """Return the classes given by --classes.  Raises ValueError for a class that the network does not have."""
    picked = [name.strip() for name in names.split(",") if name.strip()] if names else []
    for name in picked:
        if name not in classes:
            raise ValueError(f"--classes contains {name!r}; expected names from: {', '.join(classes)}")
    return picked


def _indices(picked: Sequence[str], seen: Sequence[str]) -> list[int] | None:
    """Return the indices of the picked classes among those seen in the images; None if none of them was seen."""
    return [seen.index(name) for name in picked if name in seen] or None


def _output_folder(out: str | None, run: str) -> Path:
    """Return the folder to write to.  An earlier study there is overwritten; a folder with other files is refused."""
    path = user_path(run)
    folder = user_path(out) if out else (path if path.is_dir() else path.parent) / "excitations"
    if folder.exists() and not folder.is_dir():
        raise ValueError(f"--out {out!r} is a file; expected a folder, or a name that does not exist yet")
    if folder.is_dir() and any(folder.iterdir()) and not (folder / "study.json").is_file():
        raise ValueError(f"folder {folder} is not empty and holds no study; give --out an empty or new folder")
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def _write_page(found: Any, out: Path, picked: list[int] | None) -> str:
    """Write the page and return its path; without matplotlib or Jinja2, return the reason why none was written."""
    from se_numpy.pages import missing_library

    if missing := missing_library("plot"):
        return f"not written: {missing}"
    from se_numpy.analysis.page import write_page

    try:
        return str(write_page(found, out, picked))
    except ImportError:
        return f"not written: the figures need matplotlib, which is not installed: {install_command('plot')}"
