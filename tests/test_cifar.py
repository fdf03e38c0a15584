"""CIFAR's readers: the official layouts round-trip, and no file, however broken, gives anything but a DataError."""

import pickle
import struct
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

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
    """The pixels (rows, 3072) and labels of one file, no two files alike; the highest label is among them."""
    rng = np.random.default_rng([count(layout), index])
    labels = rng.integers(0, count(layout), rows)
    labels[-1] = count(layout) - 1
    return rng.integers(0, 256, (rows, 3072), dtype=np.uint8), labels


def expected_images(pixels: np.ndarray) -> np.ndarray:
    """The same pixels one by one, by the words of the makers: 1024 red, 1024 green, 1024 blue, each row by row."""
    images = np.empty((len(pixels), 32, 32, 3), np.uint8)
    for channel in range(3):
        for row in range(32):
            for column in range(32):
                images[:, row, column, channel] = pixels[:, 1024 * channel + 32 * row + column]
    return images


def python2(value: object) -> bytes:
    """Opcodes of protocol 2 as Python 2 wrote them into the official files: str as SHORT_BINSTRING and BINSTRING."""
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
            return (b"cnumpy.core.multiarray\n_reconstruct\nq\x06cnumpy\nndarray\nq\x07K\x00\x85U\x01b\x87Rq\x08"
                    b"(K\x01" + python2(n) + python2(width) + b"\x86cnumpy\ndtype\nq\x09U\x02u1K\x00K\x01\x87R"
                    b"(K\x03U\x01|NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb\x89"
                    b"T" + struct.pack("<i", len(text)) + text + b"tb")
    raise TypeError(value)


def dump2(value: object) -> bytes:
    return b"\x80\x02" + python2(value) + b"."


def dump3(value: dict) -> bytes:
    """As Python 3 pickles bytes keys in protocol 2."""
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


# ---- what good files give


@pytest.mark.parametrize("dump", [dump2, dump3])
@pytest.mark.parametrize("layout", FOLDERS)
def test_round_trip(tmp_path, layout, dump):
    data = load(write(tmp_path, layout, dump=dump))
    *train, test = (content(layout, index) for index in range(len(FILES[layout])))
    for images, labels, parts in ((data.train_images, data.train_labels, train),
                                  (data.test_images, data.test_labels, [test])):
        np.testing.assert_array_equal(images, np.concatenate([expected_images(pixels) for pixels, _ in parts]))
        np.testing.assert_array_equal(labels, np.concatenate([labels for _, labels in parts]))
        assert images.dtype == np.uint8
        assert labels.dtype == np.int64
        assert images.flags.c_contiguous
        assert images.flags.writeable
        assert labels.flags.writeable
    assert data.classes == tuple(CLASSES[count(layout)])
    assert data.name == ("cifar100" if "100" in layout else "cifar10")
    form = "binary" if layout in (BIN10, BIN100) else "pickled"
    assert data.source == f"CIFAR-{count(layout)}, {form} layout, {tmp_path / layout}"
    assert data.augment is True
    assert data.image_shape == (32, 32, 3)


@pytest.mark.parametrize("layout", FOLDERS)
def test_one_image_in_a_file(tmp_path, layout):
    data = load(write(tmp_path, layout, rows=1), rows=1)
    assert len(data.test_labels) == 1
    np.testing.assert_array_equal(data.test_images, expected_images(content(layout, len(FILES[layout]) - 1, 1)[0]))


def test_column_major_array(tmp_path):
    """NumPy pickles such an array column by column and says so in one flag."""
    folder = write(tmp_path, PY10)
    pixels, labels = content(PY10, 5)
    (folder / "test_batch").write_bytes(dump3({"data": np.asfortranarray(pixels), "labels": labels.tolist()}))
    np.testing.assert_array_equal(load(folder).test_images, expected_images(pixels))


def test_keys_of_text(tmp_path):
    folder = write(tmp_path, PY10)
    pixels, labels = content(PY10, 5)
    (folder / "test_batch").write_bytes(pickle.dumps({"data": pixels, "labels": labels.tolist()}, protocol=2))
    np.testing.assert_array_equal(load(folder).test_labels, labels)


@pytest.mark.parametrize("layout", FOLDERS)
def test_names_without_meta_file(tmp_path, layout):
    folder = write(tmp_path, layout)
    (folder / META[layout]).unlink()
    classes = load(folder).classes
    assert len(classes) == count(layout)
    assert (classes[0], classes[9]) == (("class 0", "class 9") if "100" in layout else ("airplane", "truck"))


@pytest.mark.parametrize("deep", ["", "data"])
def test_found_from_above_in_order_of_preference(tmp_path, deep):
    for layout in reversed(FOLDERS):
        write(tmp_path / deep, layout)
        assert load(tmp_path).source.endswith(str(tmp_path / deep / layout))


def test_folder_may_have_another_name(tmp_path):
    assert load(write(tmp_path, PY100).rename(tmp_path / "mine")).name == "cifar100"
    assert load_cifar(str(tmp_path / "mine"), rows=ROWS).name == "cifar100"


# ---- what broken ones say


def test_no_folder(tmp_path):
    said = message(tmp_path / "none")
    assert f"{tmp_path / 'none'} is no folder that exists" in said
    assert all(layout in said for layout in FOLDERS)


def test_a_file_for_a_folder(tmp_path):
    (tmp_path / "notes").write_text("hello")
    assert "notes is no folder" in message(tmp_path / "notes")


def test_folder_without_cifar(tmp_path):
    said = message(tmp_path)
    assert f"{tmp_path} holds no CIFAR" in said
    assert all(layout in said for layout in FOLDERS)


@pytest.mark.parametrize("layout", FOLDERS)
def test_missing_file(tmp_path, layout):
    folder = write(tmp_path, layout)
    (folder / FILES[layout][-1]).unlink()
    said = message(folder)
    assert f"{folder} has only a part of CIFAR-{count(layout)}" in said
    assert f": {FILES[layout][-1]} missing" in said


def test_partial_set_never_yields_to_another_set(tmp_path):
    (write(tmp_path, BIN10) / "test_batch.bin").unlink()
    write(tmp_path, BIN100)
    assert "test_batch.bin missing" in message(tmp_path)


def test_packed_archive(tmp_path):
    archive = tmp_path / "cifar-10-binary.tar.gz"
    archive.write_bytes(b"\x1f\x8b")
    for given_path in (tmp_path, archive):
        assert f"`tar -xf {archive} -C {tmp_path}`" in message(given_path)


@pytest.mark.parametrize("layout", FOLDERS)
def test_official_number_of_rows_unless_told(tmp_path, layout):
    folder = write(tmp_path, layout)
    said = message(folder, rows=None)
    assert str(folder / FILES[layout][0]) in said
    assert ("50,000" in said or "50000" in said) if "100" in layout else ("10,000" in said or "10000" in said)
    assert "too" not in said
    message(folder, rows=ROWS - 1)
    message(folder, rows=ROWS + 1)


@pytest.mark.parametrize("layout", FOLDERS)
@pytest.mark.parametrize("change", [lambda raw: raw[:-1], lambda raw: raw[: len(raw) // 2], lambda raw: b""])
def test_truncated_file(tmp_path, layout, change):
    path = write(tmp_path, layout) / FILES[layout][-1]
    path.write_bytes(change(path.read_bytes()))
    assert message(tmp_path).startswith(f"{path} is damaged or no file of CIFAR-{count(layout)}: ")


def test_truncated_binary_says_how_much_is_there(tmp_path):
    path = write(tmp_path, BIN10) / "data_batch_3.bin"
    path.write_bytes(path.read_bytes()[:-1])
    assert "2 rows of 3,073 bytes and 3,072 bytes over, not 3 rows" in message(tmp_path)
    path.write_bytes(path.read_bytes()[: 2 * 3073])
    assert "2 rows of 3,073 bytes and 0 bytes over, not 3 rows" in message(tmp_path)


@pytest.mark.parametrize("layout", FOLDERS)
def test_giant_file_is_not_read(tmp_path, layout):
    path = write(tmp_path, layout) / FILES[layout][0]
    with path.open("r+b") as file:
        file.truncate(1 << 40)  # sparse: no disk is used
    assert "1,099,511,627,776 bytes" in message(tmp_path)


@pytest.mark.parametrize("layout", FOLDERS)
def test_label_out_of_range(tmp_path, layout):
    path = write(tmp_path, layout) / FILES[layout][0]
    pixels, labels = content(layout, 0)
    labels[1] = count(layout)
    if layout in (BIN10, BIN100):
        columns = [labels] if layout == BIN10 else [0 * labels, labels]
        path.write_bytes(np.column_stack([*columns, pixels]).astype(np.uint8).tobytes())
    else:
        path.write_bytes(dump2({"data": pixels, "labels": labels.tolist(), "fine_labels": labels.tolist()}))
    expected = f"row 1, counted from 0, has the label {count(layout)}, and labels go from 0 to {count(layout) - 1}"
    assert str(path) in message(tmp_path)
    assert expected in message(tmp_path)


@pytest.mark.parametrize("layout", FOLDERS)
@pytest.mark.parametrize(("raw", "words"), [(b"\x1f\x8b\x08" + bytes(99), "packed .gz file"),
                                            (b"<html>404 not found</html>", "looks like text")])
def test_foreign_file(tmp_path, layout, raw, words):
    path = write(tmp_path, layout) / FILES[layout][0]
    path.write_bytes(raw)
    said = message(tmp_path)
    assert str(path) in said
    assert words in said


@pytest.mark.parametrize("layout", FOLDERS)
def test_meta_file_with_too_few_names(tmp_path, layout):
    path = write(tmp_path, layout) / META[layout]
    pickled = dump2({"label_names": ["a"], "fine_label_names": []})
    path.write_bytes(b"cat\ndog\n" if layout in (BIN10, BIN100) else pickled)
    assert f"{path} is damaged" in message(tmp_path)
    assert f"the names of {count(layout)} classes" in message(tmp_path)


@pytest.mark.parametrize("layout", FOLDERS)
def test_unreadable_file(tmp_path, layout, monkeypatch):
    folder = write(tmp_path, layout)

    def refuse(path):
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(Path, "read_bytes", refuse)
    assert f"{folder / FILES[layout][0]} cannot be read (Permission denied)" in message(folder)


PIXELS, LABELS = content(PY10, 5)


@pytest.mark.parametrize(("batch", "words"), [
    ([1, 2], "no sense"),
    ({"labels": [1, 2, 3]}, "'data'"),
    ({"data": PIXELS}, "'labels'"),
    ({"data": [[0] * 32] * 3, "labels": [1, 2, 3]}, "no sense"),
    ({"data": PIXELS[:2], "labels": [1, 2, 3]}, "(2, 3072)"),
    ({"data": PIXELS.reshape(-1), "labels": [1, 2, 3]}, "(9216,)"),
    ({"data": PIXELS.astype(np.int16), "labels": [1, 2, 3]}, "'i2'"),
    ({"data": PIXELS.astype(object), "labels": [1, 2, 3]}, "steps"),
    ({"data": np.array([[None]]), "labels": [1, 2, 3]}, "'O8'"),
    ({"data": PIXELS, "labels": [1, 2]}, "2 labels"),
    ({"data": PIXELS, "labels": [1, 2, True]}, "whole numbers"),
    ({"data": PIXELS, "labels": [1, 2, "3"]}, "whole numbers"),
    ({"data": PIXELS, "labels": [1, 2, -1]}, "the label -1"),
    ({"data": PIXELS, "labels": [1, 2, 1 << 70]}, f"the label {1 << 70}"),
    ({"data": PIXELS, "labels": [1, 2, 3.0]}, "BINFLOAT"),
    ({"data": PIXELS, "labels": 7}, "no sense"),
])
def test_pickle_of_other_content(tmp_path, batch, words):
    path = write(tmp_path, PY10) / "test_batch"
    path.write_bytes(pickle.dumps(batch, protocol=2))
    said = message(tmp_path)
    assert said.startswith(f"{path} is damaged")
    assert words in said


# ---- pickles that mean harm


class Call:
    """Pickles as a call of any function with any arguments."""

    def __init__(self, function, *arguments):
        self.call = (function, arguments)

    def __reduce__(self):
        return self.call


def canary(*_):
    raise AssertionError("a pickle was executed")


ARRAY_HEAD = b"\x80\x02}(U\x06labels](K\x00K\x00K\x00eU\x04data"
HARM = {
    "os.system": b"\x80\x02cos\nsystem\nU\x04true\x85R.",
    "posix.system": b"\x80\x02cposix\nsystem\nU\x04true\x85R.",
    "eval": b"\x80\x02c__builtin__\neval\nU\x031+1\x85R.",
    "eval by INST": b"\x80\x02(U\x031+1i__builtin__\neval\n.",
    "canary": pickle.dumps(Call(canary), protocol=2),
    "canary, protocol 4": pickle.dumps(Call(canary), protocol=4),
    "numpy loads": b"\x80\x02cnumpy.core.multiarray\nloads\nU\x01.\x85R.",
    "numpy.load": b"\x80\x02cnumpy\nload\nU\x01x\x85R.",
    "codecs.decode": b"\x80\x02c_codecs\ndecode\nU\x01xU\x05zlib_\x86R.",
    "giant array": ARRAY_HEAD + b"cnumpy\nndarray\nJ\xff\xff\xff\x0fJ\x00\x0c\x00\x00\x86\x85Ru.",
    "giant state": python2(PIXELS).replace(b"K\x03J\x00\x0c", b"J\xff\xff\xff\x0fJ\x00\x0c").join([ARRAY_HEAD, b"u."]),
    "giant text": b"\x80\x02T\xff\xff\xff\x7fabc.",
    "giant unicode": b"\x80\x02X\xff\xff\xff\x7fabc.",
    "giant bytes": b"\x80\x04\x8e" + struct.pack("<Q", 1 << 40) + b"abc.",
    "giant bytearray": b"\x80\x05\x96" + struct.pack("<Q", 1 << 40) + b"abc.",
    "giant frame": b"\x80\x04\x95" + struct.pack("<Q", 1 << 40) + b"abc.",
    "giant memo": b"\x80\x02}r\x00\x00\x00\x08.",
    "deep key": b"\x80\x02}U\x01a" + b"\x85" * 60_000 + b"K\x01s.",
    "deep key, few steps": b"\x80\x02}U\x01a" + b"\x85" * 1_500 + b"K\x01s.",
    "deep shape": ARRAY_HEAD + b"cnumpy\nndarray\nU\x01a\x85R(K\x01U\x01a" + b"\x85" * 1_500 + b"tbu.",
    "many dictionaries": b"\x80\x02" + b"}" * 60_000 + b".",
    "itself": b"\x80\x02]q\x00h\x00a.",
    "state of a list": b"\x80\x02]Nb.",
    "state of a name": b"\x80\x02cnumpy\nndarray\n}U\x0c__setstate__Nsb.",
    "nothing": b"\x80\x02.",
    "mark": b"\x80\x02(.",
    "empty stack": b"\x80\x020.",
    "extension": b"\x80\x02\x82\x01.",
    "persistent": b"\x80\x02Pabc\n.",
}


@pytest.mark.parametrize("name", HARM)
@pytest.mark.parametrize("file", ["data_batch_1", "batches.meta"])
def test_harmful_pickle(tmp_path, name, file, monkeypatch):
    path = write(tmp_path, PY10) / file
    path.write_bytes(HARM[name])
    monkeypatch.setattr("os.system", canary)
    monkeypatch.setattr("builtins.eval", canary)
    tracemalloc.start()
    try:
        said = message(tmp_path)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert said.startswith(f"{path} is damaged")
    assert len(said) < 1000
    assert peak < 4 << 20


@pytest.mark.parametrize(("name", "words"), [
    ("os.system", "asks for GLOBAL 'os system'"),
    ("eval", "asks for GLOBAL '__builtin__ eval'"),
    ("eval by INST", "asks for INST"),
    ("codecs.decode", "asks for GLOBAL '_codecs decode'"),
    ("giant array", "not enough values"),
    ("giant state", "(268435455, 3072)"),
    ("many dictionaries", "more than 2,060 steps"),
    ("deep key", "more than 2,060 steps"),
    ("deep key, few steps", "a key of its dictionary is no text"),  # hashing one of a million levels crashes Python
])
def test_harmful_pickle_says_why(tmp_path, name, words):
    (write(tmp_path, PY10) / "test_batch").write_bytes(HARM[name])
    assert words in message(tmp_path)


def test_harmful_pickles_are_harmful():
    """The pickles above do call, where they are let: else the test of them would prove nothing."""
    with pytest.raises(AssertionError, match="executed"):
        pickle.loads(HARM["canary"])
    assert pickle.loads(HARM["eval"], encoding="latin1") == 2


# ---- chance


@pytest.fixture(scope="module")
def folders(tmp_path_factory) -> dict[str, Path]:
    parent = tmp_path_factory.mktemp("fuzz")
    return {layout: write(parent, layout, rows=1) for layout in FOLDERS}


def load_changed(folder: Path, name: str, raw: bytes) -> None:
    """One file is changed; what comes is a Dataset that keeps every promise, or a DataError that names the file."""
    original = (folder / name).read_bytes()
    (folder / name).write_bytes(raw)
    try:
        data = load(folder, rows=1)
    except DataError as error:
        if str(folder / name) not in str(error):
            raise AssertionError("the error does not name the file") from error
    else:
        assert data.train_images.shape == (len(FILES[folder.name]) - 1, 32, 32, 3)
        assert data.train_images.dtype == np.uint8
        assert data.train_labels.dtype == np.int64
        assert 0 <= data.train_labels.min() <= data.train_labels.max() < len(data.classes) == count(folder.name)
        assert all(isinstance(name, str) for name in data.classes)
    finally:
        (folder / name).write_bytes(original)


FUZZ = settings(max_examples=40, deadline=None)


@pytest.mark.parametrize("which", ["batch", "meta"])
@pytest.mark.parametrize("layout", FOLDERS)
@FUZZ
@given(data=st.data())
def test_fuzz(folders, layout, which, data):
    folder = folders[layout]
    name = FILES[layout][0] if which == "batch" else META[layout]
    raw = bytearray((folder / name).read_bytes())
    # The pixels are most of a file and seldom matter: half of the flips go to the 250 bytes at each end.
    ends = st.one_of(st.integers(0, min(250, len(raw) - 1)), st.integers(max(0, len(raw) - 250), len(raw) - 1))
    places = st.one_of(ends, st.integers(0, len(raw) - 1))
    for place, byte in data.draw(st.lists(st.tuples(places, st.integers(0, 255)), max_size=5)):
        raw[place] = byte
    load_changed(folder, name, bytes(raw[: data.draw(st.one_of(st.just(len(raw)), places))]))


@pytest.mark.parametrize("layout", FOLDERS)
@FUZZ
@given(raw=st.one_of(st.binary(max_size=300), st.binary(max_size=60).map(lambda tail: b"\x80\x02" + tail)))
def test_random_bytes(folders, layout, raw):
    load_changed(folders[layout], FILES[layout][0], raw)


# Programs made of true opcodes go far deeper into the stack machine than random bytes do.
OPCODES = [b"}", b"]", b")", b"(", b"t", b"\x85", b"\x86", b"\x87", b"a", b"e", b"s", b"u", b"R", b"b", b"N", b"\x88",
           b"0", b"K\x01", b"M\x00\x0c", b"U\x04data", b"U\x06labels", b"U\x02u1", b"q\x01", b"h\x01", b"2", b".",
           b"cnumpy\ndtype\n", b"cnumpy\nndarray\n", b"c_codecs\nencode\n"]


@settings(FUZZ, max_examples=150)
@given(program=st.lists(st.sampled_from(OPCODES), max_size=40))
def test_random_programs(folders, program):
    load_changed(folders[PY10], "data_batch_1", b"\x80\x02" + b"".join(program) + b".")
