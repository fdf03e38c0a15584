"""Tests of the search for local copies of CIFAR, and of ``se-numpy data verify``."""

import argparse
import dataclasses
import hashlib
import sys
from pathlib import Path

import numpy as np
import pytest
from cifar_archives import NAMES, contents, pack, whole, world  # noqa: F401
from cifar_files import BIN10, BIN100, FILES, PY10, PY100, write

from se_numpy import data
from se_numpy.data import commands, digest
from se_numpy.data.cifar import DataError
from se_numpy.data.search_paths import cache_folder, dataset_name, find, search_paths
from se_numpy.data.verify import verify

# ---- search paths


def usual(home: Path) -> list[Path]:
    return [Path("data"), Path(), home / ".cache" / "se_numpy", home / "data", home / ".cache" / "torch",
            home / ".cache" / "torch" / "datasets", home / ".keras" / "datasets",
            home / "tensorflow_datasets" / "downloads" / "extracted"]  # fmt: skip


def test_the_order_of_search_paths(world, monkeypatch):  # noqa: F811
    home = world()
    assert [place.path for place in search_paths()] == usual(home)
    monkeypatch.setenv("SE_NUMPY_DATA", "~/mine")
    assert [place.path for place in search_paths()] == [home / "mine", *usual(home)]
    monkeypatch.setenv("SE_NUMPY_DATA", str(home / "data"))  # a folder that is searched anyway moves to the front
    assert [place.path for place in search_paths()] == [home / "data", *(p for p in usual(home) if p != home / "data")]


def test_environment_variables_of_other_libraries(world, monkeypatch, tmp_path):  # noqa: F811
    world()
    for variable in ("XDG_CACHE_HOME", "TORCH_HOME", "KERAS_HOME"):
        monkeypatch.setenv(variable, str(tmp_path / variable))
    found = [place.path for place in search_paths()]
    for expected in ("XDG_CACHE_HOME/se_numpy", "TORCH_HOME", "TORCH_HOME/datasets", "KERAS_HOME/datasets"):
        assert tmp_path / expected in found
    monkeypatch.setenv("XDG_CACHE_HOME", "relative")  # the XDG specification says to ignore relative paths
    assert cache_folder() == Path.home() / ".cache" / "se_numpy"


@pytest.mark.parametrize("layout", [PY10, BIN10, PY100, BIN100])
def test_every_folder_is_searched_and_the_first_copy_is_used(world, monkeypatch, layout):  # noqa: F811
    home = world()
    name = "cifar100" if "100" in layout else "cifar10"
    monkeypatch.setenv("SE_NUMPY_DATA", str(home / "mine"))
    for place in reversed([place.path for place in search_paths()]):
        (place / layout).exists() or write(place, layout)
        assert find(name) == place / layout


def test_the_layout_of_keras_3(world):  # noqa: F811
    home = world()
    folder = write(home / ".keras" / "datasets" / "cifar-10-batches-py-target", PY10)
    assert find("cifar10") == folder


def test_the_folder_in_the_environment_variable_may_hold_the_files(world, monkeypatch, tmp_path):  # noqa: F811
    world()
    folder = write(tmp_path, PY100).rename(tmp_path / "mine")
    monkeypatch.setenv("SE_NUMPY_DATA", str(folder))
    assert find("cifar100") == folder


def test_files_called_train_and_test_are_not_taken_for_cifar(world):  # noqa: F811
    world()
    Path("train").write_text("x")
    Path("test").write_text("x")
    with pytest.raises(DataError, match="is in none of the folders that `se-numpy data where` lists; "):
        find("cifar100")


def test_each_name_finds_its_own_data_set(world):  # noqa: F811
    world()
    write(Path("data"), BIN10)
    write(Path("data"), PY100)
    assert (find("cifar10").name, find("cifar100").name) == (BIN10, PY100)


def test_an_incomplete_copy_is_skipped(world):  # noqa: F811
    home = world()
    (write(Path("data"), PY10) / "test_batch").unlink()
    with pytest.raises(DataError, match=rf"\(data/{PY10}: incomplete, test_batch missing\); download it with `se"):
        find("cifar10")
    write(home / "data", BIN10)
    assert find("cifar10") == home / "data" / BIN10


def test_the_error_without_a_copy_suggests_alternatives(world):  # noqa: F811
    home = world()
    with pytest.raises(DataError) as caught:
        data.load("cifar10")
    error = str(caught.value)
    assert "\n" not in error
    assert "download it with `se-numpy data download cifar10`" in error
    assert "Without a network, use the built-in set (--data builtin)" in error
    assert f"or copy {NAMES[PY10]} into {home / '.cache' / 'se_numpy'} and run the same command" in error


def test_a_packed_archive_is_named(world):  # noqa: F811
    world()
    Path("data").mkdir()
    Path("data", "anything").write_bytes(pack(whole(PY100)))
    with pytest.raises(DataError, match="data/anything seems to be CIFAR-100, still packed; check and unpack it"):
        data.load("cifar100")


def test_load_by_name(world, monkeypatch):  # noqa: F811
    write(world() / "data", PY10)
    seen = []
    found = data.builtin(train=1, test=1)
    monkeypatch.setattr(data, "load_cifar", lambda *args, **options: seen.append((args, options)) or found)
    for name in ("cifar10", "CIFAR-10", "cifar_10"):
        assert data.load(name).loaded_from == "cifar10"
    assert seen == [((Path.home() / "data" / PY10,), {"only": "cifar10"})] * 3
    monkeypatch.setattr("se_numpy.data.formats.load_cifar", data.load_cifar)
    data.load(str(Path.home() / "data"))
    assert seen[-1] == ((Path.home() / "data",), {})


def test_names_and_folders_of_the_same_name(world):  # noqa: F811
    world()
    assert dataset_name("CIFAR-100") == "cifar100"
    assert dataset_name("cifar1000") is dataset_name("./cifar10") is dataset_name("builtin") is None
    Path("CIFAR-10").mkdir()
    Path("cifar10").mkdir()
    assert dataset_name("CIFAR-10") is None  # there is a folder with that name
    assert dataset_name("cifar10") == "cifar10"  # the exact name takes precedence; ./cifar10 is the folder


def test_an_unreadable_folder_is_skipped(world, monkeypatch):  # noqa: F811
    world()
    Path("data").mkdir()
    write(Path.home() / "data", PY10)
    real = Path.iterdir

    def closed(path):
        if path == Path("data"):
            raise PermissionError(13, "Permission denied", str(path))
        return real(path)

    monkeypatch.setattr(Path, "iterdir", closed)
    assert find("cifar10") == Path.home() / "data" / PY10


# ---- verify


def report(source) -> str:
    lines = []
    verify(str(source), lines.append)
    return "\n".join(lines)


def failure(source) -> str:
    lines = []
    with pytest.raises(DataError) as caught:
        verify(str(source), lines.append)
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize("layout", [PY10, BIN10, PY100, BIN100])
def test_an_intact_copy(world, layout):  # noqa: F811
    world()
    folder = write(Path("data"), layout)
    output = report("cifar100" if "100" in layout else "cifar10")
    assert f"layout, {folder}" in output
    assert output.count("  original") == len(contents(layout))
    dataset = data.load_cifar(folder, rows=3)
    assert f"digest {digest(dataset)}" in output
    counts = np.bincount(dataset.train_labels, minlength=len(dataset.classes))
    rows = [line.split() for line in output.splitlines() if line.startswith("  ten-") or line.startswith("  hundred-")]
    assert [int(row[1]) for row in rows] == list(counts)
    assert report(folder) == output


@pytest.mark.parametrize("name", FILES[PY10])
def test_a_single_wrong_bit(world, name):  # noqa: F811
    """The flipped bit is in a pixel, where the reader cannot detect it."""
    world()
    path = write(Path("data"), PY10) / name
    raw = bytearray(path.read_bytes())
    raw[len(raw) // 2] ^= 1
    path.write_bytes(raw)
    error = failure("data")
    assert f"data/{PY10} is damaged ({name}); move it away, then run `se-numpy data download cifar10`" in error


def test_a_missing_and_a_truncated_file(world):  # noqa: F811
    world()
    folder = write(Path("data"), BIN10)
    path = folder / "data_batch_2.bin"
    path.write_bytes(path.read_bytes()[:-1])
    assert "is damaged (data_batch_2.bin)" in failure("cifar10")
    path.unlink()
    assert "data_batch_2.bin missing" in failure("data")
    assert "incomplete, data_batch_2.bin missing" in failure("cifar10")


def test_a_missing_file_with_a_checksum_is_damage(world):  # noqa: F811
    world()
    folder = write(Path("data"), BIN10)
    (folder / "batches.meta.txt").unlink()
    assert "is damaged (batches.meta.txt)" in failure("data")  # the real sources.json has no checksum for it


def test_a_repackaged_copy(world):  # noqa: F811
    """Every image file is readable but has the wrong checksum: the images are counted, but the check fails."""
    world()
    folder = write(Path("data"), BIN10)
    for name in FILES[BIN10]:
        raw = bytearray((folder / name).read_bytes())
        raw[5] ^= 1
        (folder / name).write_bytes(raw)
    lines = []
    command = "`se-numpy data download cifar10 --to data/original`"
    with pytest.raises(DataError, match=f"is readable but was repackaged.*{command}"):
        verify("data", lines.append)
    assert lines[-2] == "  15 training and 3 test images"
    assert lines[-1].startswith("  digest ")


def test_an_archive(world, tmp_path):  # noqa: F811
    world()
    path = tmp_path / "x"
    raw = pack(whole(PY100))
    path.write_bytes(raw)
    assert report(path) == f"{path}: CIFAR-100, pickled layout, packed; size and SHA-256 correct"
    path.write_bytes(raw[:-1] + b"\xff")
    assert f"is not {NAMES[PY100]}: its SHA-256 is" in failure(path)
    path.write_bytes(raw[:-1])
    assert "which is not the size of any CIFAR archive; download it again" in failure(path)
    Path("data").mkdir()
    (Path("data") / "packed").write_bytes(raw)
    assert "packed; size and SHA-256 correct" in report("cifar100")


def test_neither_folder_nor_name(world):  # noqa: F811
    world()
    assert "'cifar11' is not a folder, an archive or the name of a data set" in failure("cifar11")
    Path("empty").mkdir()
    assert "empty is empty; expected a folder with CIFAR" in failure("empty")


# ---- digest

SMALL = data.builtin(train=6, test=2)


def test_equal_data_sets_have_equal_digests():
    copy = dataclasses.replace(SMALL, train_images=np.asfortranarray(SMALL.train_images),
                               train_labels=SMALL.train_labels.astype(">i4"), source="elsewhere")  # fmt: skip
    assert digest(copy) == digest(SMALL) == digest(data.builtin(train=6, test=2))
    assert len(digest(SMALL)) == 64


@pytest.mark.parametrize("field", ["train_images", "train_labels", "test_images", "test_labels"])
def test_the_digest_depends_on_every_array(field):
    array = getattr(SMALL, field).copy()
    array.flat[-1] ^= 1
    assert digest(dataclasses.replace(SMALL, **{field: array})) != digest(SMALL)


def test_the_digest_depends_on_the_shapes():
    shape = (-1, 16, 64, 3)
    moved = dataclasses.replace(
        SMALL, train_images=SMALL.train_images.reshape(shape), test_images=SMALL.test_images.reshape(shape)
    )
    assert digest(moved) != digest(SMALL)


def test_the_digest_is_stable():
    """The digest is stored in run folders, so its definition must not change."""
    n = np.arange(12, dtype=np.uint8).reshape(1, 2, 2, 3)
    dataset = data.Dataset("x", tuple("abcd"), n, np.array([3]), n[..., ::-1], np.array([1]), False, "")
    encoded = (b"train_images 1 2 2 3\n" + bytes(range(12)) + b"train_labels 1\n" + bytes([3, 0, 0, 0, 0, 0, 0, 0])
               + b"test_images 1 2 2 3\n" + bytes([2, 1, 0, 5, 4, 3, 8, 7, 6, 11, 10, 9])
               + b"test_labels 1\n" + bytes([1, 0, 0, 0, 0, 0, 0, 0]))  # fmt: skip
    assert digest(dataset) == hashlib.sha256(encoded).hexdigest()


# ---- commands


def run(capsys, *words: str) -> str:
    parser = argparse.ArgumentParser(prog="se-numpy")
    commands.add(parser.add_subparsers(required=True))
    args = parser.parse_args(["data", *words])
    args.run(args)
    return capsys.readouterr().out


def test_where(world, capsys):  # noqa: F811
    home = world()
    folder = write(Path.home() / "data", PY10)
    (write(Path("data"), BIN10) / "test_batch.bin").unlink()
    out = run(capsys, "where")
    first, second = out.split("CIFAR-100: ")
    lines = first.splitlines()
    assert len(lines) == 1 + len(usual(home)) + 1
    assert "incomplete, test_batch.bin missing" in lines[1]
    assert [line for line in lines if line.startswith(" *")] == [lines[4]]
    assert str(folder) in lines[4]
    assert f"--data cifar10 uses {folder}" in lines[-1]
    assert "not found; download it with\n   se-numpy data download cifar100\n" in second
    assert "SE_NUMPY_DATA" in second
    assert "CIFAR-100" not in run(capsys, "where", "cifar10")


@pytest.mark.parametrize("columns", [80, 40])
def test_where_fits_a_narrow_terminal(world, capsys, monkeypatch, columns):  # noqa: F811
    world()
    write(Path("data"), PY10)
    monkeypatch.setenv("COLUMNS", str(columns))
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    lines = run(capsys, "where").splitlines()
    assert all(len(line) < columns for line in lines if str(Path.home()) not in line)
    assert lines[1].startswith(" * data")


def test_download_and_verify(world, capsys, tmp_path):  # noqa: F811
    world()
    archive = tmp_path / "packed"
    archive.write_bytes(pack(whole(PY10)))
    out = run(capsys, "download", "cifar10", "--from", str(archive))
    assert out.splitlines()[-1] == "train    se-numpy train --data cifar10"
    out = run(capsys, "download", "--to", str(tmp_path / "to"), "--from", str(archive))
    assert out.splitlines()[-1] == f"train    se-numpy train --data {tmp_path / 'to' / PY10}"
    out = run(capsys, "download", "--to", str(tmp_path / "my data"), "--from", str(archive))
    assert out.splitlines()[-1] == f"train    se-numpy train --data '{tmp_path / 'my data' / PY10}'"
    assert "  original" in run(capsys, "verify")
    assert "digest" in run(capsys, "verify", "builtin")


@pytest.mark.parametrize("words", [["download", "mnist"], ["fly"], []])
def test_invalid_arguments_exit_with_code_2(world, capsys, words):  # noqa: F811
    with pytest.raises(SystemExit) as stop:
        run(capsys, *words)
    assert stop.value.code == 2
