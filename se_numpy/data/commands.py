"""The command line of data: ``se-numpy data where``, ``data download`` and ``data verify``."""

import argparse
import sys
from typing import Any

NAMES = ("cifar10", "cifar100")


def _name(text: str) -> str:
    """A set's name however it is written, as everywhere else: CIFAR-10 is cifar10."""
    return text.lower().replace("-", "").replace("_", "")


def add(commands: Any) -> None:
    """The parser of the command and of its three actions."""
    p = commands.add_parser("data", help="find, download and check CIFAR-10 and CIFAR-100", description=(
        "CIFAR-10 and CIFAR-100 on this machine. The built-in set needs none of this."))  # fmt: skip
    p.set_defaults(parser=p)
    actions = p.add_subparsers(required=True, metavar="ACTION", parser_class=type(p))
    p = actions.add_parser("where", help="the places that are looked at, and what is there", description=(
        "Lists the places in the order in which `--data cifar10` looks at them; the first with all files is taken."))
    p.set_defaults(run=_where, parser=p)
    p.add_argument("name", metavar="NAME", nargs="?", type=_name, choices=NAMES,
                   help="cifar10 or cifar100 (default: both)")  # fmt: skip
    p = actions.add_parser("download", help="get a data set, unless it is here", description=(
        "Looks for a copy on this machine, then asks several servers in turn. What has arrived is kept: the same "
        "command goes on where it stopped. Nothing is unpacked whose size and SHA-256 are not right."))  # fmt: skip
    p.set_defaults(run=_download, parser=p)
    p.add_argument("name", metavar="NAME", nargs="?", default="cifar10", type=_name, choices=NAMES,
                   help="cifar10 or cifar100 (default: cifar10)")  # fmt: skip
    p.add_argument("--to", metavar="DIR", help="where to put it (default: this library's folder in the user's cache)")
    p.add_argument("--from", dest="source", metavar="URL", help="this server, or an archive that is a file here")
    p = actions.add_parser("verify", help="check a copy: files, checksums, classes", description=(
        "Checks every file of a copy, counts its images by class and prints one digest of them all; exit code 2 if "
        "anything is wrong."))  # fmt: skip
    p.set_defaults(run=_verify, parser=p)
    p.add_argument("where", metavar="PATH", nargs="?", default="cifar10",
                   help="a folder, an archive, cifar10, cifar100 or builtin (default: cifar10)")  # fmt: skip


def _where(args: argparse.Namespace) -> None:
    from se_numpy.data.search_paths import VARIABLE, copies
    from se_numpy.data.sources import TITLES

    for name in [args.name] if args.name else TITLES:
        print(f"{TITLES[name]}: looked for in this order")
        taken = None
        seen = list(copies(name))
        width = max(len(str(place.path)) for place, _ in seen)
        for place, copy in seen:
            mark = "*" if copy and copy.state == "whole" and taken is None else " "
            if mark == "*" and copy:
                taken = copy.path
            found = f"{copy.words}: {copy.path}" if copy else "nothing" if place.path.is_dir() else "no such folder"
            print(f" {mark} {place.path!s:<{width}}  {place.why:<27}  {found}")
        print(f"   `--data {name}` takes {taken}" if taken else f"   not here: `se-numpy data download {name}`")
    print(f"The environment variable {VARIABLE} names a folder that comes before all of these.")


def _download(args: argparse.Namespace) -> None:
    from se_numpy.data.download import download

    folder = download(args.name, args.to, args.source, say=_say)
    option = args.name if args.to is None else folder
    print(f"train    se-numpy train --data {option}")


def _verify(args: argparse.Namespace) -> None:
    from se_numpy.data.verify import verify

    verify(args.where, say=_say)


def _say(text: str) -> None:
    print(text, file=sys.stdout, flush=True)
