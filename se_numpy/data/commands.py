"""The ``data`` command: ``se-numpy data where``, ``download``, ``verify``, ``show`` and ``clean``."""

import argparse
import shlex
import shutil
import sys
from typing import Any

from se_numpy.arg_types import user_path
from se_numpy.install_hints import install_command
from se_numpy.wrapping import plural, wrap_text

NAMES = ("cifar10", "cifar100")


def _name(text: str) -> str:
    """Normalise the spelling of a data set's name: CIFAR-10 is cifar10.  Other names are kept, for the message."""
    name = text.lower().replace("-", "").replace("_", "")
    return name if name in NAMES else text


def add(commands: Any) -> None:
    """Add the parser of the command and of its three actions."""
    p = commands.add_parser("data", help="find, download, check and show data sets", description=(
        "Find, download and check CIFAR-10 and CIFAR-100; check and show data sets of your own."))  # fmt: skip
    p.set_defaults(parser=p)
    actions = p.add_subparsers(required=True, metavar="ACTION", parser_class=type(p))
    p = actions.add_parser("where", help="list the folders that are searched, or the cache of a data set", description=(
        "List the folders that --data cifar10 searches, in order, and the copies in them. The first complete copy is "
        "used. With PATH, say where the decoded images of a data set are."))  # fmt: skip
    p.set_defaults(run=_where, parser=p)
    p.add_argument("name", metavar="NAME|PATH", nargs="?", type=_name,
                   help="cifar10, cifar100, or the path of a data set (default: cifar10 and cifar100)")  # fmt: skip
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
    p = actions.add_parser("verify", help="check the files and classes of a data set", description=(
        "Check every file of a data set, count its images by class, and print a digest of its data. Files of CIFAR are "
        "compared with their checksums, other images are read. The exit code is 2 if anything is wrong."))  # fmt: skip
    p.set_defaults(run=_verify, parser=p)
    p.add_argument("where", metavar="PATH", nargs="?", default="cifar10",
                   help="a folder, a file, cifar10, cifar100, builtin or scenes (default: cifar10)")  # fmt: skip
    p = actions.add_parser("show", help="draw a sheet of images of each class", description=(
        "Draw the first training images of each class to a PNG file."))  # fmt: skip
    p.set_defaults(run=_show, parser=p)
    p.add_argument("where", metavar="PATH", help="a data set, as for se-numpy train --data")
    p.add_argument("--out", metavar="FILE.png", default="samples.png", help="the figure (default: samples.png)")
    p.add_argument("--size", type=int, metavar="N", help="resize the images to NxN pixels (default: 32 if they differ "
                   "in size)")  # fmt: skip
    p = actions.add_parser("clean", help="remove decoded images from the cache", description=(
        "Remove the decoded images of a data set from the user's cache folder, or those of all data sets. They are "
        "decoded again when they are needed; the image files are not touched."))  # fmt: skip
    p.set_defaults(run=_clean, parser=p)
    p.add_argument("where", metavar="PATH", nargs="?", help="the folder of a data set (default: all)")


def _where(args: argparse.Namespace) -> None:
    from se_numpy.data.search_paths import VARIABLE, find_copies
    from se_numpy.data.sources import TITLES

    if args.name is not None and args.name not in NAMES:
        _where_decoded(args.name)
        return
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


def _where_decoded(source: str) -> None:
    """Print where a data set is, and where its decoded images are."""
    from se_numpy.data.cifar import DataError
    from se_numpy.data.decoded import bytes_in, caches, caches_of

    path = user_path(source)
    if not path.exists():
        raise DataError(f"{source!r} is neither cifar10, cifar100 nor an existing path")
    print(f"data     {path.resolve()}")
    places = caches_of(path)
    for place in places:
        print(f"decoded  {place}, {bytes_in(place) / 1e6:,.1f} MB")
    if not places:
        print(f"decoded  nothing in {caches()}")


def _show(args: argparse.Namespace) -> None:
    from se_numpy import data
    from se_numpy.data.decoded import DifferentSizes
    from se_numpy.data.formats import SIDE
    from se_numpy.data.sheet import check_output, write_sheet
    from se_numpy.data.summary import describe

    path = user_path(args.out)
    check_output(path)
    try:
        dataset = data.load(args.where, size=args.size)
    except DifferentSizes:
        dataset = data.load(args.where, size=SIDE)
    _say(f"data     {dataset.source}\n         {describe(dataset)}", 9)
    try:
        write_sheet(dataset, path)
    except ImportError:
        raise RuntimeError(f"figures need matplotlib, which is not installed: {install_command('plot')}") from None
    print(f"figure   {path}")


def _clean(args: argparse.Namespace) -> None:
    from se_numpy.data.decoded import caches_of, remove

    places = caches_of(None if args.where is None else user_path(args.where))
    print(f"removed  {plural(len(places), 'set')} of decoded images, {remove(places) / 1e6:,.1f} MB")


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
