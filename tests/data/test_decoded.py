"""The cache of decoded images: used again, continued after an interruption, made anew if files or the cache changed."""

import builtins
import os
import sys
from types import ModuleType

import numpy as np
import pytest
from image_folders import CLASSES, pixels, save, write_folders

from se_numpy import data
from se_numpy.data import DataError, Dataset, decoded, digest, file_lock
from se_numpy.train import Session, configure

TRAIN = pixels(150)


@pytest.fixture
def photos(tmp_path, monkeypatch):
    pytest.importorskip("PIL")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(decoded, "CHUNK", 16)
    write_folders(tmp_path / "photos" / "train", *TRAIN)
    (tmp_path / "photos" / "train" / "ant" / "7x.png").write_bytes(b"damaged")
    write_folders(tmp_path / "photos" / "test", *pixels(9, seed=1))
    return tmp_path / "photos"


@pytest.fixture
def reads(monkeypatch):
    """Count the images that are decoded."""
    count, read = [], decoded.read_image
    monkeypatch.setattr(decoded, "read_image", lambda path, shape: count.append(path) or read(path, shape))
    return count


EXPECTED = digest(Dataset("x", CLASSES, *TRAIN, *pixels(9, seed=1), True, "arrays"))


def stop_after(monkeypatch, n, error=KeyboardInterrupt):
    read, left = decoded.read_image, iter(range(n))

    def stopping(path, shape):
        if next(left, None) is None:
            raise error
        return read(path, shape)

    monkeypatch.setattr(decoded, "read_image", stopping)


def test_images_are_decoded_once_and_mapped(photos, reads):
    first, second = data.load(photos), data.load(photos)
    assert len(reads) == 160
    assert digest(first) == digest(second) == EXPECTED
    assert not first.train_images.flags.writeable
    for images in (second.train_images, second.test_images):
        while images.base is not None and not isinstance(images, np.memmap):
            images = images.base
        assert isinstance(images, np.memmap)
    assert second.unreadable == first.unreadable
    assert "7x.png" in second.found


def test_interrupted_decoding_continues(photos, reads, monkeypatch, capsys):
    with monkeypatch.context() as patch:
        stop_after(patch, 70)
        with pytest.raises(KeyboardInterrupt):
            data.load(photos)
    assert "decoding stopped after 64 of 160 images; the same command continues it" in capsys.readouterr().err
    done = len(reads)
    assert digest(data.load(photos)) == EXPECTED
    assert len(reads) == done + 160 - 64


@pytest.mark.parametrize("damage", ["half an image", "no log", "half a line", "no pixels", "text", "nothing"])
def test_a_cache_in_any_state_gives_the_same_images(photos, reads, damage):
    data.load(photos)
    (place,) = decoded.caches_of(photos)
    pixels, log, about = (place / name for name in (decoded.PIXELS, decoded.LOG, decoded.ABOUT))
    if damage == "half an image":
        os.truncate(pixels, pixels.stat().st_size - 10)
    elif damage == "no log":
        log.unlink()
    elif damage == "half a line":
        os.truncate(log, log.stat().st_size - 2)
    elif damage == "no pixels":
        pixels.write_bytes(b"")
    elif damage == "text":
        about.write_text("[]")
    else:
        about.unlink()
    reads.clear()
    assert digest(data.load(photos)) == EXPECTED
    assert len(reads) == (1 if damage.startswith("half") else 160)


def test_changed_files_are_decoded_again(photos, reads):
    data.load(photos)
    save(photos / "train" / CLASSES[TRAIN[1][0]] / "0.png", 255 - TRAIN[0][0])
    found = data.load(photos)
    assert (found.train_images[0] == 255 - TRAIN[0][0]).all()
    assert len(reads) == 320
    data.load(photos, size=4)
    assert len(decoded.caches_of(photos)) == 3


def test_without_a_place_to_write_images_are_decoded_into_memory(photos, monkeypatch, tmp_path):
    (tmp_path / "file").write_text("x")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    assert digest(data.load(photos)) == EXPECTED


def test_a_full_disk_costs_nothing_that_was_decoded(photos, monkeypatch, reads):
    opened = builtins.open
    usage = decoded.shutil.disk_usage
    monkeypatch.setattr(decoded.shutil, "disk_usage", lambda place: usage(place)._replace(free=100))
    with pytest.raises(DataError, match=r"the decoded images need 0\.0 GB in .*give a smaller --size"):
        data.load(photos)
    monkeypatch.setattr(decoded.shutil, "disk_usage", usage)

    class Full:
        def __init__(self, file):
            self.file, self.left = file, 3

        def __getattr__(self, name):
            return getattr(self.file, name)

        def __enter__(self):
            return self

        def __exit__(self, *error):
            self.file.close()

        def write(self, data):
            self.left -= 1
            if self.left < 0:
                raise OSError(28, "No space left on device")
            return self.file.write(data)

    with monkeypatch.context() as patch:
        patch.setattr(
            decoded,
            "open",
            lambda path, mode, **more: (Full if mode == "ab" else lambda f: f)(opened(path, mode, **more)),
            raising=False,
        )
        with pytest.raises(
            DataError, match=r"cannot be written to .*No space left on device.*what was decoded is kept"
        ):
            data.load(photos)
    done = len(reads)
    assert digest(data.load(photos)) == EXPECTED
    assert len(reads) == done + 160 - 48


def test_two_processes_do_not_decode_into_one_cache(photos, monkeypatch):
    data.load(photos)
    (place,) = decoded.caches_of(photos)
    (place / decoded.LOG).unlink()
    with file_lock.lock_file(place, "written to"), pytest.raises(file_lock.Busy, match="wait for it to finish"):
        data.load(photos)


@pytest.mark.parametrize("module", [ModuleType("fcntl"), None], ids=["as in Pyodide", "as on Windows"])
def test_a_folder_is_decoded_without_locks(module, photos, monkeypatch):
    monkeypatch.setitem(sys.modules, "fcntl", module)
    assert digest(data.load(photos)) == EXPECTED


def test_a_session_on_a_large_set_holds_no_copy_of_it(photos, monkeypatch, tmp_path):
    """Its numbers are those of a session in memory, bit for bit."""
    import tracemalloc

    from se_numpy.data import batches

    few = data.load(photos)
    rng = np.random.default_rng(0)
    pixels = np.lib.format.open_memmap(tmp_path / "big.npy", "w+", np.uint8, (3000, 32, 32, 3))
    pixels[...] = rng.integers(0, 256, pixels.shape, np.uint8)
    labels = np.arange(3000) % 3
    big = Dataset("big", CLASSES, np.asarray(pixels), labels, np.asarray(pixels[:40]), labels[:40], True, "mapped")
    config = configure(big, model="se_resnet8", epochs=1, batch_size=32, augment="crop,flip,cutout")
    rows = []
    for limit in (batches.IN_MEMORY, 2**20):
        monkeypatch.setattr(batches, "IN_MEMORY", limit)
        tracemalloc.start()
        session = Session(big, config, "cpu")
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        draws = batches.draw(np.random.default_rng(0), len(session.training), augment=config.augment)
        X, y = session.training.batch(draws, slice(64, 96))
        V, _ = session.validation.in_order(slice(10, 30))
        rows.append((peak, X, y, V, session.normalise.mean))
    assert rows[1][0] < pixels.nbytes / 2 < rows[0][0]
    for a, b in zip(rows[0][1:], rows[1][1:], strict=True):
        np.testing.assert_array_equal(a, b)
    assert few.image_shape == (8, 8, 3)
