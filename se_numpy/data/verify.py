"""Is it CIFAR, all of it, and the makers' own?  Files, checksums, images by class, one digest."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from se_numpy.data.cifar import LAYOUTS, DataError, candidates, load_cifar
from se_numpy.data.dataset import Dataset, digest
from se_numpy.data.glyphs import builtin
from se_numpy.data.search_paths import copies, find, name_of
from se_numpy.data.sources import TITLES, Archive, archives


@dataclass(frozen=True)
class Verdict:
    """What was found of one file: what is wrong with it, or None; ``edition``: only its checksum is another."""

    path: Path
    known: bool
    wrong: str | None = None
    edition: bool = False


def verify(where: str, say: Callable[[str], None] = print) -> Dataset | None:
    """Check a data set, telling ``say`` line by line; the set as loaded, None for an archive that is sound.

    where: "cifar10" or "cifar100" (the copy that training would take), a folder, an archive, or "builtin".
    Raises DataError, one sentence that says what is wrong and what to do.
    """
    if where == "builtin":
        return _tell(builtin(), say)
    name = name_of(where)
    path = _found(name) if name else Path(where).expanduser()
    if path.is_file():
        _check_archive(path, say)
        return None
    if not path.is_dir():
        raise DataError(f"{where!r} is no folder, no archive and no name: expected one of them, such as cifar10; "
                        "`se-numpy data where` lists what is here.")
    place, layout, missing = next(candidates(path, name), (path, None, []))
    if layout is None or missing:
        load_cifar(path, only=name)  # which says what is missing
    assert layout is not None
    archive = next(archive for archive in archives(layout.name) if archive.form == layout.form)
    say(f"{layout.title}, {layout.form} layout, {place}")
    verdicts = check_files(place, archive)
    for verdict in verdicts:
        words = verdict.wrong or ("as the makers made it" if verdict.known else "there; no checksum is published")
        say(f"  {verdict.path.name:<22} {words}")
    wrong = [verdict for verdict in verdicts if verdict.wrong]
    if any(not verdict.edition for verdict in wrong):
        _damaged(place, wrong)
    dataset = _tell(load_cifar(place, rows=archive.rows, only=layout.name), say)
    if wrong:
        _damaged(place, wrong)
    return dataset


def check_files(folder: Path, archive: Archive) -> list[Verdict]:
    """Each file of an unpacked archive against its size and checksum.

    If every single file of images is another than the makers', it is another edition (packed in another order, or made
    again from JPEGs), which may well be sound: the reader decides. If only some are, those are damaged.
    """
    verdicts = []
    for name, known in archive.files.items():
        path = folder / name
        wrong = known.wrong(path) if path.is_file() else "missing"
        if wrong == "missing" and not known.known:
            continue  # names of classes; the reader knows them too
        verdicts.append(Verdict(path, known.known, wrong))
    layout = next(layout for layout in LAYOUTS if (layout.name, layout.form) == (archive.dataset, archive.form))
    images = [verdict for verdict in verdicts if verdict.path.name in (*layout.train, layout.test)]
    if all(verdict.wrong and verdict.path.is_file() for verdict in images):
        return [Verdict(v.path, v.known, v.wrong, edition=bool(v.wrong)) for v in verdicts]
    return verdicts


def _found(name: str) -> Path:
    try:
        return find(name)
    except DataError:
        for _, copy in copies(name):
            if copy and copy.state == "packed":
                return copy.path
        raise


def _check_archive(path: Path, say: Callable[[str], None]) -> None:
    known = [archive for name in TITLES for archive in archives(name)]
    for archive in known:
        if path.stat().st_size == archive.size:
            if wrong := archive.wrong(path):
                raise DataError(f"{path} is not {archive.file}: {wrong}; delete it and download it again.")
            say(f"{path}: {archive.title}, {archive.form} layout, packed; size and SHA-256 right")
            return
    raise DataError(f"{path} has {path.stat().st_size:,} bytes, and no archive of CIFAR has: download it again.")


def _damaged(place: Path, wrong: list[Verdict]) -> None:
    if all(verdict.edition for verdict in wrong):
        raise DataError(f"{place} is readable but not what the makers handed out (no file of images has its published "
                        "checksum): do not compare with published numbers; `se-numpy data download --to FOLDER` "
                        "gets theirs.")
    files = ", ".join(verdict.path.name for verdict in wrong)
    raise DataError(f"{place} is damaged ({files}): move it away and run `se-numpy data download`.")


def _tell(dataset: Dataset, say: Callable[[str], None]) -> Dataset:
    """Images by class, and the digest."""
    n = len(dataset.classes)
    train, test = (np.bincount(labels, minlength=n) for labels in (dataset.train_labels, dataset.test_labels))
    if len(set(train)) == len(set(test)) == 1:
        say(f"  {n} classes, each with {train[0]:,} images to train on and {test[0]:,} to test on")
    else:
        say(f"  {'class':<16} {'train':>7} {'test':>7}")
        for row in zip(dataset.classes, train, test, strict=True):
            say("  {:<16} {:>7,} {:>7,}".format(*row))
    say(f"  images {len(dataset.train_labels):,} + {len(dataset.test_labels):,}, digest {digest(dataset)}")
    return dataset
