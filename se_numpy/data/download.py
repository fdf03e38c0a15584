"""Provide CIFAR on this machine: from a local copy, or else from the network."""

import urllib.parse
from collections.abc import Callable, Sequence
from pathlib import Path

from se_numpy.arg_types import user_path
from se_numpy.data.cifar import DataError
from se_numpy.data.fetch import Offline, fetch, partial_path
from se_numpy.data.progress import Progress
from se_numpy.data.search_paths import SearchPath, cache_folder, find_copies
from se_numpy.data.server import RetryPolicy
from se_numpy.data.sources import TITLES, Archive, archives
from se_numpy.data.unpack import unpack
from se_numpy.data.verify import check_files


def download(
    name: str, to: str | Path | None = None, source: str | None = None, *,
    policy: RetryPolicy | None = None, say: Callable[[str], None] = print,
) -> Path:  # fmt: skip
    """Return the folder with the files of "cifar10" or "cifar100", downloading them if there is no local copy.

    An archive is unpacked only if its size and SHA-256 match sources.json. A downloaded archive is kept next to
    the unpacked folder.

    Parameters
    ----------
    name
        "cifar10" or "cifar100".
    to
        The folder to write to, and the only one to search. By default all usual folders are searched, and downloads
        go to the cache folder of this library.
    source
        An HTTP(S) address or a local archive to use instead of the servers in sources.json.
    policy
        When to give up on a server.
    say
        A function that receives progress messages, line by line.

    Raises
    ------
    DataError
        If the files cannot be provided.
    """
    if name not in TITLES:
        raise DataError(f"unknown data set {name!r}; expected {' or '.join(TITLES)}.")
    parent = cache_folder() if to is None else user_path(to)
    if parent.exists() and not parent.is_dir():
        raise DataError(f"{parent} is a file; expected a folder, or a new name.")
    own = SearchPath(parent, "", direct=to is not None)
    if source is None and (folder := _local_copy(name, parent, None if to is None else [own], say)):
        return folder
    for archive in archives(name):
        if (existing := parent / archive.folder).exists():
            return _checked(existing, archive, say)
    path, archive = _archive(name, parent, source, policy, say)
    folder = unpack(path, archive, parent)
    say(f"unpacked {folder}")
    return folder


def _local_copy(
    name: str, parent: Path, where: Sequence[SearchPath] | None, say: Callable[[str], None]
) -> Path | None:  # fmt: skip
    """Return a copy on this machine, unpacking it if necessary, or None."""
    packed = []
    for place, copy in find_copies(name, where):
        if copy and copy.archive and copy.state == "complete":
            note = f" ({place.description})" if place.description else ""
            say(f"found    {copy.description} in {copy.path}{note}")
            return _checked(copy.path, copy.archive, say)
        if copy and copy.archive:
            packed.append((copy.path, copy.archive))
    for path, archive in packed:
        if mismatch := archive.mismatch(path):
            say(f"skipped  {path}, which has the size of {archive.file}: {mismatch}")
        elif not (parent / archive.folder).exists():
            say(f"found    {path}, {archive.title} packed, SHA-256 correct")
            folder = unpack(path, archive, parent)
            say(f"unpacked {folder}")
            return folder
    return None


def _checked(folder: Path, archive: Archive, say: Callable[[str], None]) -> Path:
    """Check an existing folder and return it unchanged; raise DataError if it is damaged."""
    checks = check_files(folder, archive)
    wrong = [check for check in checks if check.problem]
    if not wrong:
        say("checked  all files with a published checksum match it; nothing to download")
        return folder
    if all(check.repackaged for check in wrong):
        say("note     this copy was repackaged (its checksums differ from the published ones): do not compare results "
            "with published ones; to get the original files, choose another folder with --to")  # fmt: skip
        return folder
    raise DataError(
        f"{folder} is damaged: {wrong[0].path.name}: {wrong[0].problem}; move it away, then run this command again."
    )


def _archive(
    name: str, parent: Path, source: str | None, policy: RetryPolicy | None, say: Callable[[str], None]
) -> tuple[Path, Archive]:  # fmt: skip
    """Return an archive with the correct SHA-256, from ``source`` or from the first server that delivers it."""
    known = list(archives(name))
    if source is not None and user_path(source).is_file():
        return _local_archive(user_path(source), known)
    if source is not None:
        if urllib.parse.urlsplit(source).scheme not in ("http", "https"):
            raise DataError(f"--from {source!r} is neither an http:// or https:// address nor an existing file.")
        file = Path(urllib.parse.urlsplit(source).path).name
        known = [archive for archive in known if archive.file == file] or known
    failures, offline = [], True
    for archive in known:
        target = parent / archive.file
        say(f"download {archive.file}, {archive.size / 1e6:,.0f} MB, to {parent}")
        try:
            fetch(archive.mirrors if source is None else [source], target, archive.size, archive.sha256,
                  policy=policy, progress=Progress(archive.file, archive.size))  # fmt: skip
            return target, archive
        except KeyboardInterrupt:
            part = partial_path(target)
            kept = part.stat().st_size if part.exists() else 0
            say(
                f"stopped  {kept / 1e6:,.1f} of {archive.size / 1e6:,.1f} MB are kept in {part}; "
                "run the same command to resume"
            )
            raise
        except DataError as error:
            offline = offline and isinstance(error, Offline)
            failures.append(str(error))
        if offline:
            break  # the other archive is on the same servers
    instead = (f"use the built-in set (`se-numpy train`), or copy {known[0].file} from another machine into {parent} "
               "and run this command again")  # fmt: skip
    if offline:
        raise Offline(f"no server could be reached; without a network, {instead}.")
    raise DataError(f"{' '.join(failures)} Try again later, give another server with --from URL, {instead}.")


def _local_archive(path: Path, known: Sequence[Archive]) -> tuple[Path, Archive]:
    for archive in known:
        if path.stat().st_size == archive.size and not archive.mismatch(path):
            return path, archive
    names = " or ".join(f"{archive.file} ({archive.size:,} bytes)" for archive in known)
    raise DataError(f"{path} ({path.stat().st_size:,} bytes) is not {names}, by its size or SHA-256; copy it again.")
