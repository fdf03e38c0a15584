"""Malicious and corrupt CIFAR files: nothing worse than a DataError, no code executed, little memory used."""

import os
import pickle
import struct
import sys
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
from cifar_files import FILES, FOLDERS, META, PIXELS, PY10, count, load, message, python2, write
from hypothesis import given, settings
from hypothesis import strategies as st

from se_numpy.data.cifar import DataError

# ---- malicious pickles


class Call:
    """An object whose pickle calls a function with these arguments."""

    def __init__(self, function, *arguments):
        self.call = (function, arguments)

    def __reduce__(self):
        return self.call


def canary(*_):
    raise AssertionError("a pickle was executed")


ARRAY_HEAD = b"\x80\x02}(U\x06labels](K\x00K\x00K\x00eU\x04data"
MALICIOUS = {
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
    "self-reference": b"\x80\x02]q\x00h\x00a.",
    "state of a list": b"\x80\x02]Nb.",
    "state of a name": b"\x80\x02cnumpy\nndarray\n}U\x0c__setstate__Nsb.",
    "nothing": b"\x80\x02.",
    "mark": b"\x80\x02(.",
    "empty stack": b"\x80\x020.",
    "extension": b"\x80\x02\x82\x01.",
    "persistent": b"\x80\x02Pabc\n.",
}


@pytest.mark.parametrize("name", MALICIOUS)
@pytest.mark.parametrize("file", ["data_batch_1", "batches.meta"])
def test_malicious_pickle(tmp_path, name, file, monkeypatch):
    path = write(tmp_path, PY10) / file
    path.write_bytes(MALICIOUS[name])
    monkeypatch.setattr("os.system", canary)
    monkeypatch.setattr("builtins.eval", canary)
    tracemalloc.start()
    try:
        error = message(tmp_path)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert error.startswith(f"{path} is damaged")
    assert len(error) < 1000
    assert peak < 4 << 20


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("os.system", "uses GLOBAL 'os system'"),
        ("eval", "uses GLOBAL '__builtin__ eval'"),
        ("eval by INST", "uses INST"),
        ("codecs.decode", "uses GLOBAL '_codecs decode'"),
        ("giant array", "not enough values"),
        ("giant state", "(268435455, 3072)"),
        ("many dictionaries", "more than 2,060 steps"),
        ("deep key", "more than 2,060 steps"),
        ("deep key, few steps", "a key of its dictionary is not a string"),  # hashing a deep key crashes Python
    ],
)
def test_malicious_pickle_error_gives_the_reason(tmp_path, name, words):
    (write(tmp_path, PY10) / "test_batch").write_bytes(MALICIOUS[name])
    assert words in message(tmp_path)


def test_malicious_pickles_execute_code_if_unpickled():
    """Python's own unpickler does call the functions, so the tests above are meaningful."""
    with pytest.raises(AssertionError, match="executed"):
        pickle.loads(MALICIOUS["canary"])
    assert pickle.loads(MALICIOUS["eval"], encoding="latin1") == 2


# ---- random damage


@pytest.fixture(scope="module")
def folders(tmp_path_factory) -> dict[str, Path]:
    parent = tmp_path_factory.mktemp("fuzz")
    return {layout: write(parent, layout, rows=1) for layout in FOLDERS}


HARMFUL = ("os.system", "os.exec", "os.posix_spawn", "os.fork", "subprocess.Popen", "socket.", "ctypes.", "exec",
           "compile", "pickle.find_class", "os.remove", "os.rename", "shutil.")  # fmt: skip
WATCH: dict = {"on": False, "seen": []}


def watch(event: str, arguments: tuple) -> None:
    if WATCH["on"] and event.startswith(HARMFUL):
        source = {"exec": lambda: arguments[0].co_filename, "compile": lambda: arguments[1]}.get(event, str)()
        if not os.path.exists(str(source or "")):  # if the source is a file, this is an ordinary import
            WATCH["seen"].append(event)


sys.addaudithook(watch)  # an audit hook cannot be removed, so a flag turns it on and off


def test_the_audit_hook_records_events():
    WATCH.update(on=True, seen=[])
    pickle.loads(pickle.dumps(Call(len, "abc")))
    eval("1 + 1")
    WATCH["on"] = False
    assert {"pickle.find_class", "compile", "exec"} <= set(WATCH["seen"])


def load_changed(folder: Path, name: str, raw: bytes) -> None:
    """Change one file and load the folder: the result is a valid Dataset or a DataError that names the file.

    No code is executed, no file is removed, and the memory used is proportional to the size of the files.
    """
    original = (folder / name).read_bytes()
    (folder / name).write_bytes(raw)
    size = sum(path.stat().st_size for path in folder.iterdir())
    tracemalloc.start()
    WATCH.update(on=True, seen=[])
    try:
        data = load(folder, rows=1)
    except DataError as error:
        text = str(error)
        if str(folder / name) not in text or "\n" in text or len(text) > 600:
            raise AssertionError("the error is not one line that names the file") from error
    else:
        assert data.train_images.shape == (len(FILES[folder.name]) - 1, 32, 32, 3)
        assert data.train_images.dtype == np.uint8
        assert data.train_labels.dtype == np.int64
        assert 0 <= data.train_labels.min() <= data.train_labels.max() < len(data.classes) == count(folder.name)
        assert all(isinstance(name, str) for name in data.classes)
    finally:
        WATCH["on"] = False
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        (folder / name).write_bytes(original)
    assert not WATCH["seen"]
    assert peak < 8 * size + (1 << 18)


# SE_NUMPY_FUZZ=1000 runs 1000 cases of each of the thirteen tests.
CASES = int(os.environ.get("SE_NUMPY_FUZZ", 0))
FUZZ = settings(max_examples=CASES or 40, deadline=None)


@pytest.mark.parametrize("which", ["batch", "meta"])
@pytest.mark.parametrize("layout", FOLDERS)
@FUZZ
@given(data=st.data())
def test_fuzz(folders, layout, which, data):
    folder = folders[layout]
    name = FILES[layout][0] if which == "batch" else META[layout]
    raw = bytearray((folder / name).read_bytes())
    # Most bytes are pixels, where changes rarely matter, so half of the changes are in the 250 bytes at each end.
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


# Programs of valid opcodes reach more of the stack machine than random bytes.
OPCODES = [
    b"}",
    b"]",
    b")",
    b"(",
    b"t",
    b"\x85",
    b"\x86",
    b"\x87",
    b"a",
    b"e",
    b"s",
    b"u",
    b"R",
    b"b",
    b"N",
    b"\x88",
    b"0",
    b"K\x01",
    b"M\x00\x0c",
    b"U\x04data",
    b"U\x06labels",
    b"U\x02u1",
    b"q\x01",
    b"h\x01",
    b"2",
    b".",
    b"cnumpy\ndtype\n",
    b"cnumpy\nndarray\n",
    b"c_codecs\nencode\n",
]


@settings(FUZZ, max_examples=CASES or 150)
@given(program=st.lists(st.sampled_from(OPCODES), max_size=40))
def test_random_programs(folders, program):
    load_changed(folders[PY10], "data_batch_1", b"\x80\x02" + b"".join(program) + b".")
