"""Checkpoints are read back unchanged, survive a failed save, and are refused if they are damaged."""

import io
import tracemalloc
import zipfile

import numpy as np
import pytest
from damage import FUZZ, damaged
from hypothesis import given
from hypothesis import strategies as st

from se_numpy import checkpoint, tree


@pytest.fixture
def saved(tmp_path):
    trees = {"params": {"a": {"V": np.arange(6.0).reshape(2, 3)}, "b": np.float32([1, 2])}, "state": {"m": np.ones(1)}}
    checkpoint.save(tmp_path / "x.npz", trees, {"epoch": 3})
    return tmp_path / "x.npz", trees


def test_checkpoints_are_read_back_unchanged(saved):
    path, trees = saved
    back, meta = checkpoint.load(path)
    assert meta == {"epoch": 3}
    assert [n for n, _ in tree.leaves(back)] == [n for n, _ in tree.leaves(trees)]
    for (_, a), (_, b) in zip(tree.leaves(back), tree.leaves(trees), strict=True):
        np.testing.assert_array_equal(a, b)
        assert a.dtype == b.dtype
    assert [p.name for p in path.parent.iterdir()] == ["x.npz"]


def test_a_failed_save_keeps_the_old_file(saved, monkeypatch):
    path, _ = saved
    before = path.read_bytes()

    def full(fd):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(checkpoint.os, "fsync", full)
    with pytest.raises(OSError, match="No space left"):
        checkpoint.save(path, {"params": {"a": np.ones(3)}}, {})
    assert path.read_bytes() == before
    assert [p.name for p in path.parent.iterdir()] == ["x.npz"]


@pytest.mark.parametrize("damage", ["truncated", "empty", "text", "pickle", "flipped"])
def test_a_file_that_is_not_a_checkpoint_is_refused(saved, damage):
    path, _ = saved
    good = path.read_bytes()
    if damage == "pickle":
        np.savez(path, meta=np.array({"a": 1}, dtype=object))
    else:
        flipped = bytearray(good)
        flipped[len(good) // 3] ^= 0xFF
        path.write_bytes({"truncated": good[:-50], "empty": b"", "text": b"hello", "flipped": bytes(flipped)}[damage])
    with pytest.raises(ValueError, match=r"x\.npz is not a se_numpy checkpoint, or is damaged"):
        checkpoint.load(path)


def test_a_missing_checkpoint_is_refused(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"checkpoint .*none\.npz does not exist"):
        checkpoint.load(tmp_path / "none.npz")


@FUZZ
@given(st.data())
def test_a_damaged_file_is_refused_or_read_correctly_with_little_memory(saved, data):
    """The checksums of the archive detect changed data; other changes, such as one to a date, have no effect."""
    path, trees = saved
    path = path.with_name("damaged.npz")
    content = data.draw(damaged(saved[0].read_bytes()))
    path.write_bytes(content)
    tracemalloc.start()
    try:
        back, _ = checkpoint.load(path)
    except ValueError as error:
        back, message = None, str(error)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 20 * len(content) + 1_000_000
    if back is None:
        assert "damaged.npz is not a se_numpy checkpoint, or is damaged" in message
        assert len(message.splitlines()) <= 2
        return
    for name, leaf in tree.leaves(back):
        expected = dict(tree.leaves(trees)).get(name)
        if expected is not None:
            np.testing.assert_array_equal(leaf, expected)


def write_archive(path, header=None, data=b"", compression=zipfile.ZIP_STORED, name="params/a.npy"):
    """Write an archive of one array with any header and data."""
    if header is None:
        header = {"descr": "<f8", "fortran_order": False, "shape": (2,)}
    content = io.BytesIO()
    np.lib.format.write_array_header_1_0(content, header)
    with zipfile.ZipFile(path, "w", compression) as archive:
        archive.writestr(name, content.getvalue() + data)


@pytest.mark.parametrize(
    ("archive", "message"),
    [
        ({"header": {"descr": "<f8", "fortran_order": False, "shape": (10**12,)}}, "has 0 bytes of data; its header"),
        ({"header": {"descr": "|O", "fortran_order": False, "shape": (1,)}, "data": b"x" * 8}, "has 8 bytes of data"),
        ({"data": bytes(10**6), "compression": zipfile.ZIP_DEFLATED}, "its arrays would be larger than the file"),
        ({"data": bytes(16)}, "'meta'"),
        ({"name": "../../outside.npy", "data": bytes(16)}, "'meta'"),
    ],
)
def test_a_file_with_a_false_size_does_not_allocate_memory(tmp_path, archive, message):
    write_archive(tmp_path / "x.npz", **archive)
    tracemalloc.start()
    with pytest.raises(ValueError, match=message):
        checkpoint.load(tmp_path / "x.npz")
    assert tracemalloc.get_traced_memory()[1] < 3_000_000
    tracemalloc.stop()
    assert [p.name for p in tmp_path.iterdir()] == ["x.npz"]
