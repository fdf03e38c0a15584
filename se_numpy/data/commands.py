"""The ``data`` command: ``se-numpy data where``, ``data download`` and ``data verify``."""

import argparse
import shlex
import shutil
import sys
from typing import Any

from se_numpy.wrapping import wrap_text

NAMES = ("cifar10", "cifar100")


def _name(text: str) -> str:
    """Normalise the spelling of a data set's name: CIFAR-10 is cifar10.  Other names are kept, for the message."""
    name = text.lower().replace("-", "").replace("_", "")
    return name if name in NAMES else text


def add(commands: Any) -> None:
    """Add the parser of the command and of its three actions."""
    p = commands.add_parser("data", help="find, download and check CIFAR-10 and CIFAR-100", description=(
        "Find, download and check CIFAR-10 and CIFAR-100. The built-in data set needs none of this."))  # fmt: skip
    p.set_defaults(parser=p)
    actions = p.add_subparsers(required=True, metavar="ACTION", parser_class=type(p))
    p = actions.add_parser("where", help="list the folders that are searched", description=(
        "List the folders that --data cifar10 searches, in order, and the copies in them. The first complete copy is "
        "used."))  # fmt: skip
    p.set_defaults(run=_where, parser=p)
    p.add_argument("name", metavar="NAME", nargs="?", type=_name, choices=NAMES,
                   help="cifar10 or cifar100 (default: both)")  # fmt: skip
    p = actions.add_parser(
        "download",
        help="download a data set",
        description=(
            "Download a data set, unless this machine has a copy. Several servers are tried in turn. The same command "
            "resumes an interrupted download. An archive is unpacked only if its size and SHA-256 are correct."
        ),
    )
    p.set_defaults(run=_download, parser=p)
    p.add_argument("name", metavar="NAME", nargs="?", default="cifar10", type=_name, choices=NAMES,
                   help="cifar10 or cifar100 (default: cifar10)")  # fmt: skip
    p.add_argument("--to", metavar="DIR", help="folder for the files (default: se_numpy in the user's cache)")
    p.add_argument("--from", dest="source", metavar="URL", help="use this server, or a local archive")
    p = actions.add_parser("verify", help="check the files, checksums and classes of a copy", description=(
        "Check every file of a copy, count its images by class, and print a digest of its data. The exit code is 2 if "
        "anything is wrong."))  # fmt: skip
    p.set_defaults(run=_verify, parser=p)
    p.add_argument("where", metavar="PATH", nargs="?", default="cifar10",
                   help="a folder, an archive, cifar10, cifar100 or builtin (default: cifar10)")  # fmt: skip


def _where(args: argparse.Namespace) -> None:
    from se_numpy.data.search_paths import VARIABLE, find_copies
    from se_numpy.data.sources import TITLES

    for name in [args.name] if args.name else TITLES:
        print(f"{TITLES[name]}: folders searched, in order")
        used, rows = None, []
        for place, copy in find_copies(name):
            mark = "*" if copy and copy.state == "complete" and used is None else " "
            if mark == "*" and copy:
                used = copy.path
            absent = "nothing found" if place.path.is_dir() else "no such folder"
            found = f"{copy.path}: {copy.description}" if copy else absent
            rows.append((mark, str(place.path), place.description, found))
        _print_rows(rows)
        if used:
            print(wrap_text(f"   --data {name} uses {used}", 3))
        else:
            print(f"   not found; download it with\n   se-numpy data download {name}")
    print(wrap_text(f"The folder in the environment variable {VARIABLE} is searched before all others."))


def _print_rows(rows: list[tuple[str, str, str, str]]) -> None:
    """Print a table; on a terminal that is too narrow for it, print each row on several lines."""
    widths = [max(len(row[i]) for row in rows) for i in range(3)]
    lines = [" " + " ".join((mark, f"{path:<{widths[1]}}", f" {description:<{widths[2]}}", f" {found}"))
             for mark, path, description, found in rows]  # fmt: skip
    if sys.stdout.isatty() and max(map(len, lines)) >= shutil.get_terminal_size().columns:
        lines = [f" {mark} {path}\n" + wrap_text(f"     {description}: {found}", 5)
                 for mark, path, description, found in rows]  # fmt: skip
    print("\n".join(lines))


def _download(args: argparse.Namespace) -> None:
    from se_numpy.data.download import download

    folder = download(args.name, args.to, args.source, say=lambda text: _say(text, 9))
    option = args.name if args.to is None else str(folder)
    print(f"train    {shlex.join(['se-numpy', 'train', '--data', option])}")


def _verify(args: argparse.Namespace) -> None:
    from se_numpy.data.verify import verify

    verify(args.where, say=lambda text: _say(text, 4))


def _say(text: str, indent: int) -> None:
    print(wrap_text(text, indent), flush=True)
