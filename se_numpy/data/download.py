"""CIFAR on this machine: from a copy that is here already, or else from the network."""

import urllib.parse
from collections.abc import Callable, Sequence
from pathlib import Path

from se_numpy.data.cifar import DataError
from se_numpy.data.fetch import Offline, fetch, part_of
from se_numpy.data.progress import Progress
from se_numpy.data.search_paths import Place, cache_folder, copies
from se_numpy.data.server import Patience
from se_numpy.data.sources import TITLES, Archive, archives
from se_numpy.data.unpack import unpack
from se_numpy.data.verify import check_files


def download(
    name: str, to: str | Path | None = None, source: str | None = None, *,
    patience: Patience | None = None, say: Callable[[str], None] = print,
) -> Path:  # fmt: skip
    """The folder with the files of "cifar10" or "cifar100", which are here already or come from the network.

    to: the folder to put them in, and the only one to look in; by default every usual place is looked at, and the
        files go to this library's own folder for data.
    source: an http(s) address or an archive on this machine, to be used instead of the servers of sources.json.

    Raises DataError, one sentence, if they cannot be had. An archive is unpacked only if its size and its SHA-256 are
    those of sources.json; what comes over the network stays beside what was unpacked from it.
    """
    if name not in TITLES:
        raise DataError(f"{name!r} is no data set to download: expected {' or '.join(TITLES)}.")
    parent = cache_folder() if to is None else Path(to).expanduser()
    if parent.exists() and not parent.is_dir():
        raise DataError(f"{parent} is a file: expected a folder, or a name that is not taken.")
    own = Place(parent, "", direct=to is not None)
    if source is None and (folder := _here(name, parent, None if to is None else [own], say)):
        return folder
    for archive in archives(name):
        if (taken := parent / archive.folder).exists():
            return _taken(taken, archive, say)
    path, archive = _archive(name, parent, source, patience, say)
    folder = unpack(path, archive, parent)
    say(f"unpacked {folder}")
    return folder


def _here(name: str, parent: Path, where: Sequence[Place] | None, say: Callable[[str], None]) -> Path | None:
    """A copy that is on this machine, unpacked if it was not."""
    packed = []
    for place, copy in copies(name, where):
        if copy and copy.archive and copy.state == "whole":
            say(f"found    {copy.words} in {copy.path}" + (f" ({place.why})" if place.why else ""))
            return _taken(copy.path, copy.archive, say)
        if copy and copy.archive:
            packed.append((copy.path, copy.archive))
    for path, archive in packed:
        if wrong := archive.wrong(path):
            say(f"passed   {path}, which looks like {archive.file}: {wrong}")
        elif not (parent / archive.folder).exists():
            say(f"found    {path}, {archive.title} packed, SHA-256 right")
            folder = unpack(path, archive, parent)
            say(f"unpacked {folder}")
            return folder
    return None


def _taken(folder: Path, archive: Archive, say: Callable[[str], None]) -> Path:
    """A folder that is there is used as it is, or stays as it is; it is never written into."""
    verdicts = check_files(folder, archive)
    wrong = [verdict for verdict in verdicts if verdict.wrong]
    if not wrong:
        say("checked  every file that has a published checksum has it; nothing to download")
        return folder
    if all(verdict.edition for verdict in wrong):
        say("note     these are not the makers' files (other checksums): numbers measured on them are not to be "
            "compared with published ones; another --to FOLDER gets the makers' own")  # fmt: skip
        return folder
    raise DataError(f"{folder} is damaged: {wrong[0].path.name}: {wrong[0].wrong}; move it away, then run this again.")


def _archive(
    name: str, parent: Path, source: str | None, patience: Patience | None, say: Callable[[str], None]
) -> tuple[Path, Archive]:  # fmt: skip
    """An archive on this machine whose SHA-256 is right, from ``source`` or from the first server that gives it."""
    known = list(archives(name))
    if source is not None and Path(source).expanduser().is_file():
        return _local(Path(source).expanduser(), known)
    if source is not None:
        if urllib.parse.urlsplit(source).scheme not in ("http", "https"):
            raise DataError(f"--from {source!r} is neither an http:// or https:// address nor a file that is here.")
        file = Path(urllib.parse.urlsplit(source).path).name
        known = [archive for archive in known if archive.file == file] or known
    said, offline = [], True
    for archive in known:
        target = parent / archive.file
        say(f"download {archive.file}, {archive.size / 1e6:,.0f} MB, to {parent}")
        try:
            fetch(archive.mirrors if source is None else [source], target, archive.size, archive.sha256,
                  patience=patience, progress=Progress(archive.file, archive.size))  # fmt: skip
            return target, archive
        except KeyboardInterrupt:
            kept = part_of(target).stat().st_size if part_of(target).exists() else 0
            say(f"stopped; {kept / 1e6:,.1f} of {archive.size / 1e6:,.1f} MB are kept in {part_of(target)}: "
                "the same command goes on from there")
            raise
        except DataError as error:
            offline = offline and isinstance(error, Offline)
            said.append(str(error))
        if offline:
            break  # the other archive lies on the same servers
    instead = (f"train on the built-in set (`se-numpy train`), or copy {known[0].file} from another machine into "
               f"{parent} and run this again")  # fmt: skip
    if offline:
        raise Offline(f"no server could be reached, so there seems to be no network: {instead}.")
    raise DataError(f"{' '.join(said)} Try again later, name another server with --from URL, {instead}.")


def _local(path: Path, known: Sequence[Archive]) -> tuple[Path, Archive]:
    for archive in known:
        if path.stat().st_size == archive.size and not archive.wrong(path):
            return path, archive
    names = " or ".join(f"{archive.file} ({archive.size:,} bytes)" for archive in known)
    raise DataError(f"{path} has {path.stat().st_size:,} bytes and is, by its SHA-256, not {names}: copy it again.")
