"""CIFAR-10 and CIFAR-100, read from the files of their makers: https://www.cs.toronto.edu/~kriz/cifar.html."""

import pickletools
import shlex
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from se_numpy.data.dataset import Dataset

PIXELS = 3 * 32 * 32  # one image in a file: 1024 bytes of red, then of green, then of blue, each row by row


class DataError(ValueError):
    """Files of a data set that are missing, damaged or not what they should be: one sentence for people."""


@dataclass(frozen=True)
class Layout:
    """One of the four forms in which the two data sets are handed out."""

    title: str
    form: str
    folder: str
    train: tuple[str, ...]
    test: str
    meta: str  # the file that names the classes
    keys: tuple[str, str]  # in a pickle: of the labels, and of the classes in the meta file
    classes: tuple[str, ...]  # their names where that file is missing
    rows: int  # images in each file for training; the one for the test has 10,000

    @property
    def name(self) -> str:
        """How the data set is called in code: cifar10 or cifar100."""
        return self.title.replace("-", "").lower()


_BATCHES = tuple(f"data_batch_{i}" for i in range(1, 6))
_BINARIES = tuple(f"{name}.bin" for name in _BATCHES)
_10 = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
_100 = tuple(f"class {i}" for i in range(100))
_KEYS_10, _KEYS_100 = ("labels", "label_names"), ("fine_labels", "fine_label_names")
LAYOUTS = (  # the first that is found wins
    Layout("CIFAR-10", "binary", "cifar-10-batches-bin", _BINARIES, "test_batch.bin", "batches.meta.txt",
           _KEYS_10, _10, 10_000),
    Layout("CIFAR-10", "pickled", "cifar-10-batches-py", _BATCHES, "test_batch", "batches.meta",
           _KEYS_10, _10, 10_000),
    Layout("CIFAR-100", "binary", "cifar-100-binary", ("train.bin",), "test.bin", "fine_label_names.txt",
           _KEYS_100, _100, 50_000),
    Layout("CIFAR-100", "pickled", "cifar-100-python", ("train",), "test", "meta", _KEYS_100, _100, 50_000),
)
_FOLDERS = ", ".join(layout.folder for layout in LAYOUTS)


def load_cifar(folder: str | Path, *, rows: int | None = None, only: str | None = None) -> Dataset:
    """CIFAR-10, or else CIFAR-100 with its 100 fine labels, from a folder on this machine.

    folder: one with the unpacked files, or one that has them, up to two levels down, under their official name:
        cifar-10-batches-bin, cifar-10-batches-py, cifar-100-binary or cifar-100-python, the first of these wins.
    rows: how many images every file must hold; None means the official numbers, another is for small files.
    only: "cifar10" or "cifar100": pass over the other, should it be there too.

    Returns images (N, 32, 32, 3) uint8, red, green and blue from 0 to 255, and labels (N,) int64; the official files
    have 50,000 images to train on and 10,000 to test on.
    Raises DataError, which names the file and what to do, where one is missing, damaged or cannot be read.
    Source: Krizhevsky, "Learning Multiple Layers of Features from Tiny Images" (2009).
    """
    try:
        place, layout = _find(Path(folder), only)
        train = [_read_batch(layout, place / name, rows or layout.rows) for name in layout.train]
        test = _read_batch(layout, place / layout.test, rows or 10_000)
        classes = _read_classes(layout, place / layout.meta)
    except OSError as error:
        raise DataError(f"{error.filename or folder} cannot be read ({error.strerror}): check the permissions "
                        "and the disk.") from error
    images, labels = (np.concatenate(parts) for parts in zip(*train, strict=True))
    source = f"{layout.title}, {layout.form} layout, {place}"
    return Dataset(layout.name, classes, images, labels, *test, augment=True, source=source)


def candidates(folder: Path, only: str | None = None) -> Iterator[tuple[Path, Layout, list[str]]]:
    """Each folder, up to two levels down, that has files of CIFAR; their layout; and which of them are missing."""
    for layout in LAYOUTS:
        if only in (None, layout.name):
            for place in (folder, folder / layout.folder, *sorted(folder.glob(f"*/{layout.folder}"))):
                files = (*layout.train, layout.test)
                missing = [name for name in files if not (place / name).is_file()]
                if len(missing) < len(files):
                    yield place, layout, missing


def _find(folder: Path, only: str | None) -> tuple[Path, Layout]:
    """The folder that holds the files, every one of them, and their layout."""
    packed = (".tar.gz", ".tgz", ".tar")
    if not folder.is_dir() and not (folder.is_file() and folder.name.endswith(packed)):
        raise DataError(f"{folder} is no folder that exists: name the one that holds one of {_FOLDERS}.")
    for place, layout, missing in candidates(folder, only) if folder.is_dir() else ():
        if missing:  # looking on might find the other data set, which nobody asked for
            raise DataError(f"{place} has only a part of {layout.title}, {layout.form} layout: "
                            f"{', '.join(missing)} missing; unpack its archive again.")
        return place, layout
    for path in sorted(folder.iterdir()) if folder.is_dir() else [folder]:
        if path.name.endswith(packed) and (path.name.startswith("cifar") or path == folder):
            command = shlex.join(["tar", "-xf", str(path), "-C", str(path.parent)])
            raise DataError(f"{path} is still packed: unpack it with `{command}`, then name the folder {path.parent}.")
    raise DataError(f"{folder} holds no CIFAR: looked in it and two levels down for one of {_FOLDERS}; "
                    "`se-numpy data download cifar10` gets one, `se-numpy train` without --data needs none.")


def _read_batch(layout: Layout, path: Path, rows: int) -> tuple[np.ndarray, np.ndarray]:
    """The images (rows, 32, 32, 3) uint8 and labels (rows,) int64 of one file."""
    with _naming(path, layout):
        raw = _read(path, rows)
        if raw.startswith(b"\x1f\x8b"):
            raise ValueError("it looks like a packed .gz file")
        if raw[:1] >= b" " and raw[:200].isascii():  # a true file begins with a label or the opcode 128
            raise ValueError("it looks like text, perhaps a saved web page")
        pixels, labels = (_parse_binary if layout.form == "binary" else _parse_pickled)(layout, raw, rows)
        wrong = np.flatnonzero((labels < 0) | (labels >= len(layout.classes)))
        if wrong.size:
            raise ValueError(f"row {wrong[0]}, counted from 0, has the label {labels[wrong[0]]}, "
                             f"and labels go from 0 to {len(layout.classes) - 1}")
    images = pixels.reshape(rows, 3, 32, 32).transpose(0, 2, 3, 1)
    return np.ascontiguousarray(images), labels.astype(np.int64)


def _parse_binary(layout: Layout, raw: bytes, rows: int) -> tuple[np.ndarray, np.ndarray]:
    """Each row is a label (in CIFAR-100 the coarse one and the fine one), a byte each, and then the pixels."""
    width = PIXELS + (2 if layout.title == "CIFAR-100" else 1)
    if len(raw) != rows * width:
        whole, left = divmod(len(raw), width)
        raise ValueError(f"it has {whole:,} rows of {width:,} bytes and {left:,} bytes over, not {rows:,} rows")
    table = np.frombuffer(raw, np.uint8).reshape(rows, width)
    return table[:, -PIXELS:], table[:, -PIXELS - 1]


def _parse_pickled(layout: Layout, raw: bytes, rows: int) -> tuple[np.ndarray, np.ndarray]:
    """A dictionary of the pixels, an array (rows, 3072), and the labels, a list."""
    batch = _unpickle(raw, rows)
    _, shape, dtype, fortran, text = batch["data"].state
    if shape != (rows, PIXELS) or dtype.arguments[0] != "u1":
        raise ValueError(f"its array is {shape} of {dtype.arguments[0]!r}, not {(rows, PIXELS)} of 'u1'")
    labels = batch[layout.keys[0]]
    if len(labels) != rows or not all(type(label) is int for label in labels):
        raise ValueError(f"its {len(labels):,} labels are not {rows:,} whole numbers")
    pixels = np.frombuffer(text.encode("latin1"), np.uint8).reshape(shape, order="F" if fortran else "C")
    return pixels, np.array(labels)


def _read_classes(layout: Layout, path: Path) -> tuple[str, ...]:
    """The names that come with the files, or the well-known ones."""
    if not path.is_file():
        return layout.classes
    with _naming(path, layout):
        raw = _read(path, rows=0)
        binary, count = layout.form == "binary", len(layout.classes)
        names = raw.decode("ascii").split() if binary else _unpickle(raw, count)[layout.keys[1]]
        if len(names) != count or not all(isinstance(name, str) for name in names):
            raise ValueError(f"it does not have the names of {count} classes")
    return tuple(names)


def _read(path: Path, rows: int) -> bytes:
    """A whole file, its size asked first, for a wrong one may be larger than the memory."""
    size, most = path.stat().st_size, 65_536 + rows * 3 * PIXELS  # Python 3 pickles many a byte as two
    if size > most:
        raise ValueError(f"it has {size:,} bytes, and should have no more than {most:,}")
    return path.read_bytes()


@contextmanager
def _naming(path: Path, layout: Layout) -> Iterator[None]:
    """Whatever is wrong with a file becomes one sentence that names it; a broken pickle fails in nearly any way."""
    try:
        yield
    except OSError:
        raise
    except Exception as error:
        reason = str(error) if isinstance(error, ValueError) else f"its content makes no sense, {error!r}"
        raise DataError(f"{path} is damaged or no file of {layout.title}: {reason[:300]}; "
                        "download and unpack its archive again.") from error


@dataclass(slots=True)
class _Stated:
    """A NumPy object as a pickle states it: the function to call, its arguments, and what to set afterwards."""

    function: str
    arguments: tuple
    state: tuple = ()


_STATED = ("numpy.core.multiarray _reconstruct", "numpy._core.multiarray _reconstruct", "numpy ndarray", "numpy dtype")
_NUMBERS_AND_TEXT = ("BININT", "BININT1", "BININT2", "LONG1", "SHORT_BINSTRING", "BINSTRING", "BINUNICODE")


def _unpickle(raw: bytes, rows: int) -> dict:
    """The dictionary that a pickle of protocol 2 describes, its arrays as _Stated, its bytes as Latin-1 text.

    A pickle is a program for a small stack machine. Python's own machine calls the functions that a file names; even
    one that refuses them all can be crashed, or made to fill the memory, by a few bytes. This one knows only what the
    official files use, and calls nothing.
    """
    stack: list = []
    marks: list[int] = []
    memo: dict = {}

    def cut(start: int) -> list:
        items = stack[start:]
        del stack[start:]
        return items

    for step, (opcode, arg, _) in enumerate(pickletools.genops(raw)):
        if step > 2_000 + 20 * rows:  # twice what Python 3 needs; so a file cannot list more than it has images for
            raise ValueError(f"its pickle takes more than {step - 1:,} steps")
        match opcode.name:
            case "PROTO" | "STOP":
                pass
            case name if name in _NUMBERS_AND_TEXT or (name == "GLOBAL" and arg in (*_STATED, "_codecs encode")):
                stack.append(arg)
            case "NONE" | "NEWTRUE" | "NEWFALSE" as name:
                stack.append({"NONE": None, "NEWTRUE": True, "NEWFALSE": False}[name])
            case "EMPTY_DICT" | "EMPTY_LIST" as name:
                stack.append({} if name == "EMPTY_DICT" else [])
            case "MARK":
                marks.append(len(stack))
            case "BINPUT" | "LONG_BINPUT":
                memo[arg] = stack[-1]
            case "BINGET" | "LONG_BINGET":
                stack.append(memo[arg])
            case "TUPLE" | "TUPLE1" | "TUPLE2" | "TUPLE3" as name:
                stack.append(tuple(cut(marks.pop() if name == "TUPLE" else -int(name[-1]))))
            case "APPEND" | "APPENDS" as name:
                items = cut(marks.pop() if name == "APPENDS" else -1)
                stack[-1].extend(items)
            case "SETITEM" | "SETITEMS" as name:
                items = cut(marks.pop() if name == "SETITEMS" else -2)
                if not all(isinstance(key, str) for key in items[::2]):  # hashing a deep tuple would crash Python
                    raise ValueError("a key of its dictionary is no text")
                stack[-1].update(zip(items[::2], items[1::2], strict=True))
            case "REDUCE":  # Python 3 wraps each bytes object in a call: encode this text; the text is all we need
                function, arguments = cut(-2)
                stack.append(arguments[0] if function == "_codecs encode" else _Stated(function, arguments))
            case "BUILD":
                state = stack.pop()
                stack[-1].state = state
            case name:
                raise ValueError(f"its pickle asks for {name} {arg!r:.100}, which the official files never do")
    return stack.pop()
