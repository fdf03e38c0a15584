"""The command line of analysis: ``se-numpy excitations RUN``, and what ``run_commands`` adds to it."""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from se_numpy.analysis import run_commands
from se_numpy.install_hints import install_command
from se_numpy.wrapping import wrap_text


def add(commands: Any) -> None:
    """The parsers of all commands."""
    run_commands.add(commands)
    p = commands.add_parser("excitations", help="what the gates of a trained network do", description=(
        "Records the gates of every SE block on test images, puts other gates in their place and counts what that "
        "costs, and writes figures, numbers (CSV, JSON) and one page, index.html, to look at."))  # fmt: skip
    p.add_argument("run_", metavar="RUN", help="the folder of a run, or a checkpoint")
    p.add_argument("--data", metavar="PATH", help="folder with CIFAR, or builtin (default: what it was trained on)")
    p.add_argument("--images", type=int, default=2000, metavar="N", help="test images to look at (default: 2000)")
    p.add_argument("--classes", metavar="A,B", help="classes to draw as lines (default: four, evenly over the list)")
    p.add_argument("--seed", type=int, default=0, metavar="N", help="decides whose gates are exchanged (default: 0)")
    p.add_argument("--out", metavar="DIR", help="default: the folder excitations in the run's folder")
    p.set_defaults(run=_excitations, parser=p)


def _excitations(args: argparse.Namespace) -> None:
    from se_numpy import data
    from se_numpy.analysis.network import load_gated
    from se_numpy.analysis.study import study, write_numbers
    from se_numpy.analysis.summaries import findings
    from se_numpy.train.run_dir import existing

    network = load_gated(existing(args.run_))
    if args.seed < 0:
        raise ValueError(f"--seed is {args.seed}; expected 0 or more")
    picked = _picked(args.classes, network.classes)
    dataset = data.load(args.data if args.data is not None else network.config["data"])
    out = _folder(args.out, args.run_)
    print(wrap_text(f"{network.config['model']}, {len(network.blocks)} SE blocks; {dataset.source}"), flush=True)
    found = study(network, dataset, args.images, seed=args.seed, quiet=not sys.stderr.isatty())
    files = write_numbers(found, out)
    page = _page(found, out, _indices(picked, found.groupings[0].names))
    for sentence in findings(found):
        print(wrap_text(f"- {sentence}", 2))
    print(wrap_text(f"numbers  {', '.join(path.name for path in files)} in {out}", 9))
    print(wrap_text(f"page     {page}", 9))


def _picked(names: str | None, classes: Sequence[str]) -> list[str]:
    """The classes asked for.  Raises ValueError for one that the network does not know."""
    picked = [name.strip() for name in names.split(",") if name.strip()] if names else []
    for name in picked:
        if name not in classes:
            raise ValueError(f"--classes names {name!r}; expected some of: {', '.join(classes)}")
    return picked


def _indices(picked: Sequence[str], seen: Sequence[str]) -> list[int] | None:
    """Where the classes asked for stand among those that the images show; None if nothing is left to draw."""
    return [seen.index(name) for name in picked if name in seen] or None


def _folder(out: str | None, run: str) -> Path:
    """Where to write; an earlier study that lies there is written over, nothing else is touched."""
    path = Path(run)
    folder = Path(out) if out else (path if path.is_dir() else path.parent) / "excitations"
    if folder.exists() and not folder.is_dir():
        raise ValueError(f"--out {out!r} is a file; expected a folder, or a name that is not taken")
    if folder.is_dir() and any(folder.iterdir()) and not (folder / "study.json").is_file():
        raise ValueError(f"{folder} holds something else than a study; expected an empty folder: give another --out")
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def _page(found: Any, out: Path, picked: list[int] | None) -> str:
    """Write the page and return its path, or say what is missing: the numbers need neither matplotlib nor Jinja2."""
    from se_numpy.pages import missing_library

    if missing := missing_library("plot"):
        return f"not written: {missing}"
    from se_numpy.analysis.page import write_page

    try:
        return str(write_page(found, out, picked))
    except ImportError:
        return f"not written: the figures need matplotlib, which is missing: {install_command('plot')}"
