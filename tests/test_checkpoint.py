"""Checkpoints come back as they went, survive a save that fails, and are named when they are none."""

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


def test_checkpoints_come_back_as_they_went(saved):
    path, trees = saved
    back, meta = checkpoint.load(path)
    assert meta == {"epoch": 3}
    assert [n for n, _ in tree.leaves(back)] == [n for n, _ in tree.leaves(trees)]
    for (_, a), (_, b) in zip(tree.leaves(back), tree.leaves(trees), strict=True):
        np.testing.assert_array_equal(a, b)
        assert a.dtype == b.dtype
    assert [p.name for p in path.parent.iterdir()] == ["x.npz"]


def test_a_save_that_fails_leaves_the_old_file(saved, monkeypatch):
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
def test_what_is_no_checkpoint_is_named(saved, damage):
    path, _ = saved
    good = path.read_bytes()
    if damage == "pickle":
        np.savez(path, meta=np.array({"a": 1}, dtype=object))
    else:
        flipped = bytearray(good)
        flipped[len(good) // 3] ^= 0xFF
        path.write_bytes({"truncated": good[:-50], "empty": b"", "text": b"hello", "flipped": bytes(flipped)}[damage])
    with pytest.raises(ValueError, match=r"x\.npz is not a se_numpy checkpoint, or a damaged one"):
        checkpoint.load(path)


def test_a_missing_checkpoint_is_missing(tmp_path):
    with pytest.raises(FileNotFoundError, match="no such checkpoint"):
        checkpoint.load(tmp_path / "none.npz")


@FUZZ
@given(st.data())
def test_a_damaged_file_is_refused_or_as_good_as_new_and_costs_no_memory(saved, data):
    """Changes that matter are found by the archive's checksums; the rest (a date, an attribute) change nothing."""
    path, trees = saved
    path = path.with_name("damaged.npz")
    content = data.draw(damaged(saved[0].read_bytes()))
    path.write_bytes(content)
    tracemalloc.start()
    try:
        back, _ = checkpoint.load(path)
    except ValueError as error:
        back, said = None, str(error)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 20 * len(content) + 1_000_000
    if back is None:
        assert "damaged.npz is not a se_numpy checkpoint, or a damaged one" in said
        assert len(said.splitlines()) <= 2
        return
    for name, leaf in tree.leaves(back):
        expected = dict(tree.leaves(trees)).get(name)
        if expected is not None:
            np.testing.assert_array_equal(leaf, expected)


def hostile(path, header=None, data=b"", compression=zipfile.ZIP_STORED, name="params/a.npy"):
    """An archive with one array whose header says what it likes."""
    if header is None:
        header = {"descr": "<f8", "fortran_order": False, "shape": (2,)}
    content = io.BytesIO()
    np.lib.format.write_array_header_1_0(content, header)
    with zipfile.ZipFile(path, "w", compression) as archive:
        archive.writestr(name, content.getvalue() + data)


@pytest.mark.parametrize(
    ("lie", "message"),
    [
        ({"header": {"descr": "<f8", "fortran_order": False, "shape": (10**12,)}}, "says .* and holds 0 bytes"),
        ({"header": {"descr": "|O", "fortran_order": False, "shape": (1,)}, "data": b"x" * 8}, "says .* and holds"),
        ({"data": bytes(10**6), "compression": zipfile.ZIP_DEFLATED}, "promises more than it holds"),
        ({"data": bytes(16)}, "'meta'"),
        ({"name": "../../outside.npy", "data": bytes(16)}, "'meta'"),
    ],
)
def test_a_file_that_lies_about_its_size_costs_nothing(tmp_path, lie, message):
    hostile(tmp_path / "x.npz", **lie)
    tracemalloc.start()
    with pytest.raises(ValueError, match=message):
        checkpoint.load(tmp_path / "x.npz")
    assert tracemalloc.get_traced_memory()[1] < 3_000_000
    tracemalloc.stop()
    assert [p.name for p in tmp_path.iterdir()] == ["x.npz"]
