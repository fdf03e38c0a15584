"""Small files in CIFAR's official layouts, byte for byte as the original programs write them."""

import pickle
import struct
from pathlib import Path

import numpy as np
import pytest

from se_numpy.data.cifar import DataError, load_cifar
from se_numpy.data.dataset import Dataset

ROWS = 3
BIN10, PY10, BIN100, PY100 = "cifar-10-batches-bin", "cifar-10-batches-py", "cifar-100-binary", "cifar-100-python"
FOLDERS = (BIN10, PY10, BIN100, PY100)
BATCHES = [f"data_batch_{i}" for i in range(1, 6)]
FILES = {
    BIN10: [f"{name}.bin" for name in (*BATCHES, "test_batch")],
    PY10: [*BATCHES, "test_batch"],
    BIN100: ["train.bin", "test.bin"],
    PY100: ["train", "test"],
}
META = {BIN10: "batches.meta.txt", PY10: "batches.meta", BIN100: "fine_label_names.txt", PY100: "meta"}
CLASSES = {10: [f"ten-{i}" for i in range(10)], 100: [f"hundred-{i}" for i in range(100)]}


def count(layout: str) -> int:
    return 100 if "100" in layout else 10


def content(layout: str, index: int, rows: int = ROWS) -> tuple[np.ndarray, np.ndarray]:
    """Return one file's own pixels (rows, 3072) and labels; the highest label is among them."""
    rng = np.random.default_rng([count(layout), index])
    labels = rng.integers(0, count(layout), rows)
    labels[-1] = count(layout) - 1
    return rng.integers(0, 256, (rows, 3072), dtype=np.uint8), labels


def expected_images(pixels: np.ndarray) -> np.ndarray:
    """Decode pixels one by one, as documented: 1024 red, 1024 green, 1024 blue, each in row-major order."""
    images = np.empty((len(pixels), 32, 32, 3), np.uint8)
    for channel in range(3):
        for row in range(32):
            for column in range(32):
                images[:, row, column, channel] = pixels[:, 1024 * channel + 32 * row + column]
    return images


def python2(value: object) -> bytes:
    """Pickle with the Python 2 opcodes found in the official files: str as SHORT_BINSTRING and BINSTRING."""
    match value:
        case dict():
            return b"}(" + b"".join(python2(key) + python2(item) for key, item in value.items()) + b"u"
        case list():
            return b"](" + b"".join(map(python2, value)) + b"e"
        case int():
            return b"K" + bytes([value]) if value < 256 else b"J" + struct.pack("<i", value)
        case str():
            return b"U" + bytes([len(value)]) + value.encode()
        case np.ndarray():
            n, width = value.shape
            text = value.tobytes()
            return (
                b"cnumpy.core.multiarray\n_reconstruct\nq\x06cnumpy\nndarray\nq\x07K\x00\x85U\x01b\x87Rq\x08"
                b"(K\x01" + python2(n) + python2(width) + b"\x86cnumpy\ndtype\nq\x09U\x02u1K\x00K\x01\x87R"
                b"(K\x03U\x01|NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb\x89"
                b"T" + struct.pack("<i", len(text)) + text + b"tb"
            )
    raise TypeError(value)


def dump2(value: object) -> bytes:
    return b"\x80\x02" + python2(value) + b"."


def dump3(value: dict) -> bytes:
    """Pickle a dictionary with bytes keys as Python 3 does in protocol 2."""
    return pickle.dumps({key.encode(): item for key, item in value.items()}, protocol=2)


def batch_bytes(layout: str, index: int, rows: int = ROWS, dump=dump2) -> bytes:
    pixels, labels = content(layout, index, rows)
    if layout == BIN10:
        return np.column_stack([labels.astype(np.uint8), pixels]).tobytes()
    if layout == BIN100:
        return np.column_stack([labels.astype(np.uint8) // 5, labels.astype(np.uint8), pixels]).tobytes()
    names = {"filenames": [f"image_{i}.png" for i in range(rows)], "batch_label": "a batch"}
    if layout == PY10:
        return dump({**names, "labels": labels.tolist(), "data": pixels})
    return dump({**names, "coarse_labels": (labels // 5).tolist(), "fine_labels": labels.tolist(), "data": pixels})


def meta_bytes(layout: str, dump=dump2) -> bytes:
    names = CLASSES[count(layout)]
    if layout in (BIN10, BIN100):
        return ("\n".join(names) + "\n\n").encode()
    return dump({"fine_label_names" if layout == PY100 else "label_names": names, "num_vis": 3072})


def write(parent: Path, layout: str, rows: int = ROWS, dump=dump2) -> Path:
    folder = parent / layout
    folder.mkdir(parents=True)
    for index, name in enumerate(FILES[layout]):
        (folder / name).write_bytes(batch_bytes(layout, index, rows, dump))
    (folder / META[layout]).write_bytes(meta_bytes(layout, dump))
    return folder


def load(folder: Path, rows: int = ROWS) -> Dataset:
    return load_cifar(folder, rows=rows)


def message(folder: Path | str, rows: int | None = ROWS) -> str:
    with pytest.raises(DataError) as caught:
        load_cifar(folder, rows=rows)
    return str(caught.value)


PIXELS, LABELS = content(PY10, 5)  # the contents of one file, for tests that modify it
