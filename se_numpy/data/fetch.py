"""One file from the first of several servers that has it: goes on where it stopped, believes only the checksum.

What has arrived lies beside the target in a file that ends in .part. It stays there when a server fails, the network
goes or somebody presses Ctrl-C, and the next run, or the next server, goes on from it. A server may say and send what
it likes: only a file of the right size and SHA-256 gets its name, and what has that name is never touched before.
"""

import os
import shutil
import time
from collections.abc import Sequence
from pathlib import Path
from urllib.parse import urlsplit

from se_numpy.data.cifar import DataError
from se_numpy.data.file_lock import lock_file
from se_numpy.data.progress import Progress
from se_numpy.data.server import Fault, NoRange, Patience, ask
from se_numpy.data.sources import checksum


class Offline(DataError):
    """No server could be reached at all."""


def fetch(
    urls: Sequence[str], target: Path, size: int, sha256: str, *,
    patience: Patience | None = None, progress: Progress | None = None,
) -> None:  # fmt: skip
    """Bring the file of this size and SHA-256 to ``target``, from the first of ``urls`` that gives it.

    Raises DataError, one sentence that names every server and what it did, if none does (Offline if none was reached);
    what has arrived by then stays in a file beside the target, and the next call goes on from there.
    """
    patience = patience or Patience()
    progress = progress or Progress(target.name, size)
    target.parent.mkdir(parents=True, exist_ok=True)
    part = part_of(target)
    faults: dict[str, Fault] = {}
    part.touch()
    with lock_file(part, "filled"), progress:
        _need_room(part, size)
        for url in urls:
            try:
                _from_one(url, part, size, sha256, patience, progress)
                break
            except Fault as fault:
                faults[url] = fault
                progress.say(f"{_host(url)} {fault}" + ("; trying the next server" if url != urls[-1] else ""))
        else:
            _give_up(target, part, faults)
    os.replace(part, target)


def part_of(target: Path) -> Path:
    """Where what has arrived of a file lies until all of it is there."""
    return target.with_name(target.name + ".part")


def _from_one(url: str, part: Path, size: int, sha256: str, patience: Patience, progress: Progress) -> None:
    """Fill ``part`` from one server, trying again as long as that brings anything.  Raises Fault."""
    have = _size(part)
    if have > size:
        have = _empty(part)
    left, ranges, own = patience.tries, True, have == 0  # own: all of it comes from this server
    while True:
        before = have
        fault: Fault | None = None
        try:
            if have < size:
                ask(url, part, have, size, ranges, patience, progress)
        except NoRange as odd:
            ranges, fault = False, odd
        except Fault as passing:
            if not passing.passing:
                raise
            fault = passing
        have = _size(part)
        if have == size:
            found = checksum(part)
            if found == sha256:
                return
            have = _empty(part)
            if own:
                raise Fault(f"sends another file: its SHA-256 is {found[:12]}…, not {sha256[:12]}…")
            own = True  # the fault may lie in what was there before: once more, all of it from here
            continue
        left = patience.tries if have - before >= max(size // 100, 1) else left - 1
        fault = fault or Fault(f"breaks off after {have:,} of {size:,} bytes")
        if left <= 0:
            raise fault
        time.sleep(max(patience.pause * 2 ** (patience.tries - left - 1), fault.wait) if left < patience.tries else 0)


def _give_up(target: Path, part: Path, faults: dict[str, Fault]) -> None:
    kept = _size(part)
    if not kept:
        part.unlink(missing_ok=True)
    what = "; ".join(f"{_host(url)} {fault}" for url, fault in faults.items())
    kind = Offline if all(fault.offline for fault in faults.values()) else DataError
    rest = f"; {kept:,} bytes of it are kept and the next run goes on from there" if kept else ""
    raise kind(f"{target.name} came from no server: {what}{rest}.")


def _need_room(part: Path, size: int) -> None:
    free = shutil.disk_usage(part.parent).free
    if free < size - _size(part):
        raise DataError(f"{part.parent} has room for {free / 1e6:,.0f} MB and {size / 1e6:,.0f} are needed: "
                        "make room or name another folder with --to.")


def _host(url: str) -> str:
    return urlsplit(url).netloc


def _size(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0


def _empty(part: Path) -> int:
    os.truncate(part, 0)
    return 0
