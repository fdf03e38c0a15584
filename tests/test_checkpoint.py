"""Checkpoints come back as they went, survive a save that fails, and are named when they are none."""

import numpy as np
import pytest

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
