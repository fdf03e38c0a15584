"""Readers for the official files of CIFAR-10 and CIFAR-100: https://www.cs.toronto.edu/~kriz/cifar.html."""

import pickletools
import shlex
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from se_numpy.arg_types import user_path
from se_numpy.data.dataset import Dataset

PIXELS = 3 * 32 * 32  # bytes of an image in a file: 1024 red, 1024 green, 1024 blue, each in row-major order


class DataError(ValueError):
    """A data set whose files are missing, damaged or not those expected."""


@dataclass(frozen=True)
class Layout:
    """One of the four official file layouts of the two data sets."""

    title: str
    form: str
    folder: str
    train: tuple[str, ...]
    test: str
    meta: str  # the file with the class names
    keys: tuple[str, str]  # pickle keys of the labels, and of the class names in the meta file
    classes: tuple[str, ...]  # class names to use if the meta file is missing
    rows: int  # images in each training file; the test file has 10,000

    @property
    def name(self) -> str:
        """The name of the data set in code: cifar10 or cifar100."""
        return self.title.replace("-", "").lower()


_BATCHES = tuple(f"data_batch_{i}" for i in range(1, 6))
_BINARIES = tuple(f"{name}.bin" for name in _BATCHES)
_10 = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
_100 = tuple(f"class {i}" for i in range(100))
_KEYS_10, _KEYS_100 = ("labels", "label_names"), ("fine_labels", "fine_label_names")
LAYOUTS = (  # in order of preference
    Layout(
        "CIFAR-10",
        "binary",
        "cifar-10-batches-bin",
        _BINARIES,
        "test_batch.bin",
        "batches.meta.txt",
        _KEYS_10,
        _10,
        10_000,
    ),
    Layout("CIFAR-10", "pickled", "cifar-10-batches-py", _BATCHES, "test_batch", "batches.meta", _KEYS_10, _10, 10_000),
    Layout(
        "CIFAR-100",
        "binary",
        "cifar-100-binary",
        ("train.bin",),
        "test.bin",
        "fine_label_names.txt",
        _KEYS_100,
        _100,
        50_000,
    ),
    Layout("CIFAR-100", "pickled", "cifar-100-python", ("train",), "test", "meta", _KEYS_100, _100, 50_000),
)
_FOLDERS = ", ".join(layout.folder for layout in LAYOUTS)


def load_cifar(folder: str | Path, *, rows: int | None = None, only: str | None = None) -> Dataset:
    """Load CIFAR-10, or CIFAR-100 with its 100 fine labels, from a local folder.

    The official files hold 50,000 training images and 10,000 test images.

    Parameters
    ----------
    folder
        The folder with the unpacked files, or one that contains it at most two levels down under its official name:
        cifar-10-batches-bin, cifar-10-batches-py, cifar-100-binary or cifar-100-python, in this order of preference.
    rows
        The number of images that every file must hold; None means the official numbers.
    only
        "cifar10" or "cifar100", to ignore the other data set.

    Returns
    -------
    Dataset
        Images (N, 32, 32, 3) uint8 in RGB and labels (N,) int64.

    Raises
    ------
    DataError
        If a file is missing, damaged or unreadable; the message names the file.

    References
    ----------
    Krizhevsky, "Learning Multiple Layers of Features from Tiny Images" (2009).
    """
    try:
        folder = user_path(folder)
        place, layout = _find(folder, only)
        train = [_read_batch(layout, place / name, rows or layout.rows) for name in layout.train]
        test = _read_batch(layout, place / layout.test, rows or 10_000)
        classes = _read_classes(layout, place / layout.meta)
    except OSError as error:
        raise DataError(
            f"{error.filename or folder} cannot be read ({error.strerror}); check the permissions and the disk."
        ) from error
    images, labels = (np.concatenate(parts) for parts in zip(*train, strict=True))
    source = f"{layout.title}, {layout.form} layout, {place}"
    loaded_from = str(folder.resolve()) if rows is None else ""
    return Dataset(layout.name, classes, images, labels, *test, augment=True, source=source, loaded_from=loaded_from)


def candidates(folder: Path, only: str | None = None) -> Iterator[tuple[Path, Layout, list[str]]]:
    """Yield each folder with CIFAR files, at most two levels down, its layout and the names of its missing files."""
    for layout in LAYOUTS:
        if only in (None, layout.name):
            for place in (folder, folder / layout.folder, *sorted(folder.glob(f"*/{layout.folder}"))):
                files = (*layout.train, layout.test)
                missing = [name for name in files if not (place / name).is_file()]
                if len(missing) < len(files):
                    yield place, layout, missing


def _find(folder: Path, only: str | None) -> tuple[Path, Layout]:
    """Return the folder with a complete set of files, and its layout."""
    packed = (".tar.gz", ".tgz", ".tar")
    if not folder.exists():
        raise DataError(f"folder {folder} does not exist; give a folder that contains one of {_FOLDERS}.")
    if not folder.is_dir() and not folder.name.endswith(packed):
        raise DataError(f"{folder} is a file; give the folder that contains one of {_FOLDERS}.")
    for place, layout, missing in candidates(folder, only) if folder.is_dir() else ():
        if missing:  # searching further might find the other data set
            raise DataError(
                f"{place} holds an incomplete copy of {layout.title}, {layout.form} layout: "
                f"{', '.join(missing)} missing; unpack its archive again."
            )
        return place, layout
    for path in sorted(folder.iterdir()) if folder.is_dir() else [folder]:
        if path.name.endswith(packed) and (path.name.startswith("cifar") or path == folder):
            command = shlex.join(["tar", "-xf", str(path), "-C", str(path.parent)])
            raise DataError(f"{path} is still packed; unpack it with `{command}`, then give the folder {path.parent}.")
    raise DataError(
        f"{folder} does not contain CIFAR; expected one of {_FOLDERS}, at most two levels down. "
        f"Download it with `se-numpy data download {only or 'cifar10'}`, or run `se-numpy train` without "
        "--data to use the built-in set."
    )


def _read_batch(layout: Layout, path: Path, rows: int) -> tuple[np.ndarray, np.ndarray]:
    """Read the images (rows, 32, 32, 3) uint8 and labels (rows,) int64 of one file."""
    with _describing_errors(path, layout):
        raw = _read(path, rows)
        if raw.startswith(b"\x1f\x8b"):
            raise ValueError("it looks like a gzip archive")
        if raw[:1] >= b" " and raw[:200].isascii():  # a data file starts with a label or with byte 128
            raise ValueError("it looks like text, perhaps a saved web page")
        pixels, labels = (_parse_binary if layout.form == "binary" else _parse_pickled)(layout, raw, rows)
        wrong = np.flatnonzero((labels < 0) | (labels >= len(layout.classes)))
        if wrong.size:
            raise ValueError(
                f"row {wrong[0]} (counting from 0) has the label {labels[wrong[0]]}; "
                f"expected 0 to {len(layout.classes) - 1}"
            )
    images = pixels.reshape(rows, 3, 32, 32).transpose(0, 2, 3, 1)
    return np.ascontiguousarray(images), labels.astype(np.int64)


def _parse_binary(layout: Layout, raw: bytes, rows: int) -> tuple[np.ndarray, np.ndarray]:
    """Parse rows of one label byte (in CIFAR-100 a coarse and a fine label) followed by the pixels."""
    width = PIXELS + (2 if layout.title == "CIFAR-100" else 1)
    if len(raw) != rows * width:
        whole, left = divmod(len(raw), width)
        raise ValueError(f"it has {whole:,} rows of {width:,} bytes and {left:,} more bytes; expected {rows:,} rows")
    table = np.frombuffer(raw, np.uint8).reshape(rows, width)
    return table[:, -PIXELS:], table[:, -PIXELS - 1]


def _parse_pickled(layout: Layout, raw: bytes, rows: int) -> tuple[np.ndarray, np.ndarray]:
    """Parse a pickled dictionary with the pixels, an array (rows, 3072), and the labels, a list."""
    batch = _unpickle(raw, rows)
    _, shape, dtype, fortran, text = batch["data"].state
    if shape != (rows, PIXELS) or dtype.arguments[0] != "u1":
        raise ValueError(f"its array is {shape} of {dtype.arguments[0]!r}; expected {(rows, PIXELS)} of 'u1'")
    labels = batch[layout.keys[0]]
    if len(labels) != rows or not all(type(label) is int for label in labels):
        raise ValueError(f"its {len(labels):,} labels should be {rows:,} integers")
    pixels = np.frombuffer(text.encode("latin1"), np.uint8).reshape(shape, order="F" if fortran else "C")
    return pixels, np.array(labels)


def _read_classes(layout: Layout, path: Path) -> tuple[str, ...]:
    """Read the class names from the meta file, or return the default ones if it is missing."""
    if not path.is_file():
        return layout.classes
    with _describing_errors(path, layout):
        raw = _read(path, rows=0)
        binary, count = layout.form == "binary", len(layout.classes)
        names = raw.decode("ascii").split() if binary else _unpickle(raw, count)[layout.keys[1]]
        if len(names) != count or not all(isinstance(name, str) for name in names):
            raise ValueError(f"expected the names of {count} classes")
    return tuple(names)


def _read(path: Path, rows: int) -> bytes:
    """Read a whole file, after checking its size: a wrong file may not fit in memory."""
    size, most = path.stat().st_size, 65_536 + rows * 3 * PIXELS  # Python 3 pickles some bytes as two
    if size > most:
        raise ValueError(f"it has {size:,} bytes; expected at most {most:,}")
    return path.read_bytes()


@contextmanager
def _describing_errors(path: Path, layout: Layout) -> Iterator[None]:
    """Turn any error into a DataError that names the file; a damaged pickle can raise almost any exception."""
    try:
        yield
    except OSError:
        raise
    except Exception as error:
        reason = str(error) if isinstance(error, ValueError) else f"its content is invalid: {error!r}"
        raise DataError(
            f"{path} is damaged or not a {layout.title} file: {reason[:300]}; download and unpack its archive again."
        ) from error


@dataclass(slots=True)
class _PickledObject:
    """A NumPy object as described in a pickle: the function to call, its arguments, and the state to set."""

    function: str
    arguments: tuple
    state: tuple = ()


_NUMPY_GLOBALS = ("numpy.core.multiarray _reconstruct", "numpy._core.multiarray _reconstruct", "numpy ndarray",
                  "numpy dtype")  # fmt: skip
_PUSH_VALUE = ("BININT", "BININT1", "BININT2", "LONG1", "SHORT_BINSTRING", "BINSTRING", "BINUNICODE")


def _unpickle(raw: bytes, rows: int) -> dict:
    """Return the dictionary in a pickle of protocol 2, its arrays as _PickledObject, its bytes as Latin-1 text.

    A pickle is a program for a small stack machine. Python's unpickler calls the functions that a file names, and a
    few bytes can crash it or exhaust memory even if it refuses to call any of them. This one supports only the opcodes
    in the official files, and calls nothing.
    """
    stack: list = []
    marks: list[int] = []
    memo: dict = {}

    def cut(start: int) -> list:
        items = stack[start:]
        del stack[start:]
        return items

    for step, (opcode, arg, _) in enumerate(pickletools.genops(raw)):
        if step > 2_000 + 20 * rows:  # twice what Python 3 needs for this number of images
            raise ValueError(f"its pickle takes more than {step - 1:,} steps")
        match opcode.name:
            case "PROTO" | "STOP":
                pass
            case name if name in _PUSH_VALUE or (name == "GLOBAL" and arg in (*_NUMPY_GLOBALS, "_codecs encode")):
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
                if not all(isinstance(key, str) for key in items[::2]):  # a deeply nested tuple could crash hash()
                    raise ValueError("a key of its dictionary is not a string")
                stack[-1].update(zip(items[::2], items[1::2], strict=True))
            case "REDUCE":  # Python 3 pickles bytes as a call that encodes text; only the text is needed
                function, arguments = cut(-2)
                stack.append(arguments[0] if function == "_codecs encode" else _PickledObject(function, arguments))
            case "BUILD":
                state = stack.pop()
                stack[-1].state = state
            case name:
                raise ValueError(f"its pickle uses {name} {arg!r:.100}, which the official files never do")
    return stack.pop()
