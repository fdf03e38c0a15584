"""Check a data set: the files and checksums of CIFAR, every image of others, images per class, and one digest."""

import shlex
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from se_numpy.arg_types import user_path
from se_numpy.arrays import occurrences
from se_numpy.data.built_in import BUILT_IN
from se_numpy.data.cifar import LAYOUTS, DataError, candidates, load_cifar
from se_numpy.data.dataset import Dataset, digest
from se_numpy.data.formats import load_any_size
from se_numpy.data.idx_files import find_idx
from se_numpy.data.search_paths import dataset_name, find, find_copies
from se_numpy.data.sources import TITLES, Archive, archives
from se_numpy.data.summary import describe, imbalance
from se_numpy.wrapping import plural


@dataclass(frozen=True)
class FileCheck:
    """The result of checking one file: what is wrong with it, or None.

    repackaged: the file has the wrong checksum because the whole copy was repackaged; it may be undamaged.
    """

    path: Path
    has_checksum: bool
    problem: str | None = None
    repackaged: bool = False


def verify(source: str, say: Callable[[str], None] = print) -> Dataset | None:
    """Check a data set and report to ``say`` line by line; return the loaded set, or None for an intact archive.

    ``source`` is "cifar10" or "cifar100" (the copy that training would use), a folder, an archive, "builtin", "scenes",
    or the path of a data set of another format, whose images are all read.

    Raises
    ------
    DataError
        If anything is wrong; the message says what to do.
    """
    if source in BUILT_IN:
        return _report(BUILT_IN[source](), say)
    name = dataset_name(source)
    path = _path_of(name) if name else user_path(source)
    if _is_own(path):
        return _check_own(path, say)
    if path.is_file():
        _check_archive(path, say)
        return None
    if not path.is_dir():
        raise DataError(
            f"{source!r} is not a folder, an archive or the name of a data set, such as cifar10; "
            "`se-numpy data where` lists the local copies."
        )
    place, layout, missing = next(candidates(path, name), (path, None, []))
    if layout is None or missing:
        load_cifar(path, only=name)  # raises the DataError
    assert layout is not None
    archive = next(archive for archive in archives(layout.name) if archive.form == layout.form)
    say(f"{layout.title}, {layout.form} layout, {place}")
    checks = check_files(place, archive)
    width = max(len(check.path.name) for check in checks)
    for check in checks:
        status = check.problem or ("original" if check.has_checksum else "no published checksum")
        say(f"  {check.path.name:<{width}}  {status}")
    wrong = [check for check in checks if check.problem]
    if any(not check.repackaged for check in wrong):
        _raise_damaged(place, archive, wrong)
    dataset = _report(load_cifar(place, rows=archive.rows, only=layout.name), say)
    if wrong:
        _raise_damaged(place, archive, wrong)
    return dataset


def _is_own(path: Path) -> bool:
    """Return True for a path that holds, or seems to be meant to hold, another data set than CIFAR."""
    if path.is_dir():
        packed = any(file.name.startswith("cifar") for file in path.iterdir())
        return not packed and next(candidates(path), None) is None
    return path.is_file() and (path.suffix.lower() == ".npz" or bool(find_idx(path)))


def _check_own(path: Path, say: Callable[[str], None]) -> Dataset:
    """Read all images of a data set and name those that cannot be read.

    Raises
    ------
    DataError
        If it cannot be loaded, or some of its images cannot.
    """
    dataset = load_any_size(path)
    say(dataset.source)
    say(f"  {describe(dataset)}")
    for row in dataset.unreadable:
        say(f"  unreadable: {row}")
    if note := imbalance(dataset):
        say(f"  {note}")
    _report(dataset, say)
    if dataset.unreadable:
        raise DataError(f"{plural(len(dataset.unreadable), 'image')} of {path} cannot be read; training leaves "
                        f"{'it' if len(dataset.unreadable) == 1 else 'them'} out")  # fmt: skip
    return dataset


def check_files(folder: Path, archive: Archive) -> list[FileCheck]:
    """Check the size and checksum of each file of an unpacked archive.

    If every image file differs from the original, the copy was repackaged (for example in another order, or from
    JPEGs) and may well be intact, so its files are marked as such. If only some differ, those are damaged.
    """
    checks = []
    for name, expected in archive.files.items():
        path = folder / name
        problem = expected.mismatch(path) if path.is_file() else "missing"
        if problem == "missing" and not expected.has_checksum:
            continue  # class names, for which the reader has defaults
        checks.append(FileCheck(path, expected.has_checksum, problem))
    layout = next(layout for layout in LAYOUTS if (layout.name, layout.form) == (archive.dataset, archive.form))
    images = [check for check in checks if check.path.name in (*layout.train, layout.test)]
    if all(check.problem and check.path.is_file() for check in images):
        return [FileCheck(c.path, c.has_checksum, c.problem, repackaged=bool(c.problem)) for c in checks]
    return checks


def _path_of(name: str) -> Path:
    try:
        return find(name)
    except DataError:
        for _, copy in find_copies(name):
            if copy and copy.state == "packed":
                return copy.path
        raise


def _check_archive(path: Path, say: Callable[[str], None]) -> None:
    for archive in (archive for name in TITLES for archive in archives(name)):
        if path.stat().st_size == archive.size:
            if mismatch := archive.mismatch(path):
                raise DataError(f"{path} is not {archive.file}: {mismatch}; delete it and download it again.")
            say(f"{path}: {archive.title}, {archive.form} layout, packed; size and SHA-256 correct")
            return
    raise DataError(
        f"{path} has {path.stat().st_size:,} bytes, which is not the size of any CIFAR archive; download it again."
    )


def _raise_damaged(place: Path, archive: Archive, wrong: list[FileCheck]) -> None:
    command = ["se-numpy", "data", "download", archive.dataset]
    if all(check.repackaged for check in wrong):
        command += ["--to", str(place.parent / "original")]
        raise DataError(
            f"{place} is readable but was repackaged: no image file has its published checksum. Do not "
            f"compare results with published ones; download the original files with "
            f"`{shlex.join(command)}`."
        )
    files = ", ".join(check.path.name for check in wrong)
    raise DataError(f"{place} is damaged ({files}); move it away, then run `{shlex.join(command)}`.")


def _report(dataset: Dataset, say: Callable[[str], None]) -> Dataset:
    """Report the number of images in each class, and the digest."""
    n = len(dataset.classes)
    train, test = (occurrences(labels, n) for labels in (dataset.train_labels, dataset.test_labels))
    if len(set(train)) == len(set(test)) == 1:
        say(f"  {n} classes, each with {train[0]:,} training and {plural(int(test[0]), 'test image')}")
    else:
        say(f"  {'class':<16} {'train':>7} {'test':>7}")
        for row in zip(dataset.classes, train, test, strict=True):
            say("  {:<16} {:>7,} {:>7,}".format(*row))
    say(f"  {len(dataset.train_labels):,} training and {plural(len(dataset.test_labels), 'test image')}")
    say(f"  digest {digest(dataset)}")
    return dataset
