"""Where copies of CIFAR are looked for, what is taken, what is said where there is none; and the check of a copy."""

import argparse
import dataclasses
import hashlib
from pathlib import Path

import numpy as np
import pytest
from cifar_archives import NAMES, contents, pack, whole, world  # noqa: F401
from cifar_files import BIN10, BIN100, FILES, PY10, PY100, write

from se_numpy import data
from se_numpy.data import commands, digest
from se_numpy.data.cifar import DataError
from se_numpy.data.search_paths import cache_folder, find, name_of, places
from se_numpy.data.verify import verify

# ---- places


def usual(home: Path) -> list[Path]:
    return [Path("data"), Path(), home / ".cache" / "se_numpy", home / "data", home / ".cache" / "torch",
            home / ".cache" / "torch" / "datasets", home / ".keras" / "datasets",
            home / "tensorflow_datasets" / "downloads" / "extracted"]  # fmt: skip


def test_the_order_of_places(world, monkeypatch):  # noqa: F811
    home = world()
    assert [place.path for place in places()] == usual(home)
    monkeypatch.setenv("SE_NUMPY_DATA", "~/mine")
    assert [place.path for place in places()] == [home / "mine", *usual(home)]
    monkeypatch.setenv("SE_NUMPY_DATA", str(home / "data"))  # one of the usual ones: it moves to the front
    assert [place.path for place in places()] == [home / "data", *(p for p in usual(home) if p != home / "data")]


def test_variables_of_others_are_heard(world, monkeypatch, tmp_path):  # noqa: F811
    world()
    for variable in ("XDG_CACHE_HOME", "TORCH_HOME", "KERAS_HOME"):
        monkeypatch.setenv(variable, str(tmp_path / variable))
    found = [place.path for place in places()]
    for expected in ("XDG_CACHE_HOME/se_numpy", "TORCH_HOME", "TORCH_HOME/datasets", "KERAS_HOME/datasets"):
        assert tmp_path / expected in found
    monkeypatch.setenv("XDG_CACHE_HOME", "relative")  # which its specification says to pass over
    assert cache_folder() == Path.home() / ".cache" / "se_numpy"


@pytest.mark.parametrize("layout", [PY10, BIN10, PY100, BIN100])
def test_found_in_each_place_and_the_first_wins(world, monkeypatch, layout):  # noqa: F811
    home = world()
    name = "cifar100" if "100" in layout else "cifar10"
    monkeypatch.setenv("SE_NUMPY_DATA", str(home / "mine"))
    for place in reversed([place.path for place in places()]):
        (place / layout).exists() or write(place, layout)
        assert find(name) == place / layout


def test_as_keras_3_unpacks_it(world):  # noqa: F811
    home = world()
    folder = write(home / ".keras" / "datasets" / "cifar-10-batches-py-target", PY10)
    assert find("cifar10") == folder


def test_a_folder_that_is_named_may_hold_the_files_themselves(world, monkeypatch, tmp_path):  # noqa: F811
    world()
    folder = write(tmp_path, PY100).rename(tmp_path / "mine")
    monkeypatch.setenv("SE_NUMPY_DATA", str(folder))
    assert find("cifar100") == folder


def test_files_called_train_and_test_are_no_cifar(world):  # noqa: F811
    world()
    Path("train").write_text("x")
    Path("test").write_text("x")
    with pytest.raises(DataError, match="is in none of the places that `se-numpy data where` lists: "):
        find("cifar100")


def test_each_name_gets_its_own(world):  # noqa: F811
    world()
    write(Path("data"), BIN10)
    write(Path("data"), PY100)
    assert (find("cifar10").name, find("cifar100").name) == (BIN10, PY100)


def test_a_part_is_passed_over(world):  # noqa: F811
    home = world()
    (write(Path("data"), PY10) / "test_batch").unlink()
    with pytest.raises(DataError, match=rf"\(data/{PY10} has only a part of it: no test_batch\): `se-numpy data dow"):
        find("cifar10")
    write(home / "data", BIN10)
    assert find("cifar10") == home / "data" / BIN10


def test_nothing_found_says_what_to_do(world):  # noqa: F811
    home = world()
    with pytest.raises(DataError) as caught:
        data.load("cifar10")
    said = str(caught.value)
    assert "\n" not in said
    assert "`se-numpy data download cifar10` gets it" in said
    assert "without a network, use the built-in set (--data builtin)" in said
    assert f"or copy {NAMES[PY10]} into {home / '.cache' / 'se_numpy'} and run the same" in said


def test_packed_is_said(world):  # noqa: F811
    world()
    Path("data").mkdir()
    Path("data", "anything").write_bytes(pack(whole(PY100)))
    with pytest.raises(DataError, match="data/anything seems to be CIFAR-100, still packed: `se-numpy data download"):
        data.load("cifar100")


def test_load_by_name(world, monkeypatch):  # noqa: F811
    write(world() / "data", PY10)
    seen = []
    monkeypatch.setattr(data, "load_cifar", lambda *args, **options: seen.append((args, options)))
    for name in ("cifar10", "CIFAR-10", "cifar_10"):
        data.load(name)
    assert seen == [((Path.home() / "data" / PY10,), {"only": "cifar10"})] * 3
    data.load(str(Path.home() / "data"))
    assert seen[-1] == ((str(Path.home() / "data"),), {})


def test_what_is_a_name(world):  # noqa: F811
    world()
    assert name_of("CIFAR-100") == "cifar100"
    assert name_of("cifar1000") is name_of("./cifar10") is name_of("builtin") is None
    Path("CIFAR-10").mkdir()
    Path("cifar10").mkdir()
    assert name_of("CIFAR-10") is None  # a folder that is called so is meant
    assert name_of("cifar10") == "cifar10"  # the name itself is always the name; ./cifar10 is the folder


def test_a_place_that_cannot_be_read(world, monkeypatch):  # noqa: F811
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


def told(where) -> str:
    lines = []
    verify(str(where), lines.append)
    return "\n".join(lines)


def why(where) -> str:
    lines = []
    with pytest.raises(DataError) as caught:
        verify(str(where), lines.append)
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize("layout", [PY10, BIN10, PY100, BIN100])
def test_a_good_copy(world, layout):  # noqa: F811
    world()
    folder = write(Path("data"), layout)
    said = told("cifar100" if "100" in layout else "cifar10")
    assert f"layout, {folder}" in said
    assert said.count("as the makers made it") == len(contents(layout))
    dataset = data.load_cifar(folder, rows=3)
    assert f"digest {digest(dataset)}" in said
    counts = np.bincount(dataset.train_labels, minlength=len(dataset.classes))
    rows = [line.split() for line in said.splitlines() if line.startswith("  ten-") or line.startswith("  hundred-")]
    assert [int(row[1]) for row in rows] == list(counts)
    assert told(folder) == said


@pytest.mark.parametrize("name", FILES[PY10])
def test_one_bit(world, name):  # noqa: F811
    """In the pixels, where no reader could see it."""
    world()
    path = write(Path("data"), PY10) / name
    raw = bytearray(path.read_bytes())
    raw[len(raw) // 2] ^= 1
    path.write_bytes(raw)
    assert f"data/{PY10} is damaged ({name}): move it away and run `se-numpy data download`" in why("data")


def test_a_missing_file_and_a_short_one(world):  # noqa: F811
    world()
    folder = write(Path("data"), BIN10)
    path = folder / "data_batch_2.bin"
    path.write_bytes(path.read_bytes()[:-1])
    assert "is damaged (data_batch_2.bin)" in why("cifar10")
    path.unlink()
    assert "data_batch_2.bin missing" in why("data")
    assert "no data_batch_2.bin" in why("cifar10")


def test_names_of_classes_may_be_missing_where_no_checksum_is_known(world):  # noqa: F811
    world()
    folder = write(Path("data"), BIN10)
    (folder / "batches.meta.txt").unlink()
    assert "is damaged (batches.meta.txt)" in why("data")  # this sources.json knows its checksum; the real one does not


def test_another_edition(world):  # noqa: F811
    """Every file of images has another checksum, and reads well: counted, but not taken for the makers' own."""
    world()
    folder = write(Path("data"), BIN10)
    for name in FILES[BIN10]:
        raw = bytearray((folder / name).read_bytes())
        raw[5] ^= 1
        (folder / name).write_bytes(raw)
    lines = []
    with pytest.raises(DataError, match="is readable but not what the makers handed out"):
        verify("data", lines.append)
    assert lines[-1].startswith("  images 15 + 3, digest ")


def test_an_archive(world, tmp_path):  # noqa: F811
    world()
    path = tmp_path / "x"
    raw = pack(whole(PY100))
    path.write_bytes(raw)
    assert told(path) == f"{path}: CIFAR-100, pickled layout, packed; size and SHA-256 right"
    path.write_bytes(raw[:-1] + b"\xff")
    assert f"is not {NAMES[PY100]}: its sha256 is" in why(path)
    path.write_bytes(raw[:-1])
    assert "and no archive of CIFAR has: download it again" in why(path)
    Path("data").mkdir()
    (Path("data") / "packed").write_bytes(raw)
    assert "packed; size and SHA-256 right" in told("cifar100")


def test_neither_folder_nor_name(world):  # noqa: F811
    world()
    assert "'cifar11' is no folder, no archive and no name: expected one of them" in why("cifar11")
    Path("empty").mkdir()
    assert "empty holds no CIFAR" in why("empty")


# ---- digest

SMALL = data.builtin(train=6, test=2)


def test_digest_of_the_same_is_the_same():
    copy = dataclasses.replace(SMALL, train_images=np.asfortranarray(SMALL.train_images),
                               train_labels=SMALL.train_labels.astype(">i4"), source="elsewhere")  # fmt: skip
    assert digest(copy) == digest(SMALL) == digest(data.builtin(train=6, test=2))
    assert len(digest(SMALL)) == 64


@pytest.mark.parametrize("field", ["train_images", "train_labels", "test_images", "test_labels"])
def test_digest_of_another_is_another(field):
    array = getattr(SMALL, field).copy()
    array.flat[-1] ^= 1
    assert digest(dataclasses.replace(SMALL, **{field: array})) != digest(SMALL)


def test_digest_sees_where_one_part_ends():
    moved = dataclasses.replace(
        SMALL, train_images=SMALL.train_images.reshape(12, 16, 32, 3), train_labels=SMALL.train_labels)  # fmt: skip
    assert digest(moved) != digest(SMALL)


def test_digest_is_written_down():
    """It goes into run folders, so it may not change from one version to the next."""
    n = np.arange(12, dtype=np.uint8).reshape(1, 2, 2, 3)
    one = np.array([3])
    dataset = data.Dataset("x", ("a",), n, one, n[:0], one[:0], False, "")
    said = (b"train_images 1 2 2 3\n" + bytes(range(12)) + b"train_labels 1\n" + bytes([3, 0, 0, 0, 0, 0, 0, 0])
            + b"test_images 0 2 2 3\n" + b"test_labels 0\n")  # fmt: skip
    assert digest(dataset) == hashlib.sha256(said).hexdigest()


# ---- the command line


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
    assert "has only a part of it: no test_batch.bin" in lines[1]
    assert [line for line in lines if line.startswith(" *")] == [lines[4]]
    assert str(folder) in lines[4]
    assert f"`--data cifar10` takes {folder}" in lines[-1]
    assert "not here: `se-numpy data download cifar100`" in second
    assert "SE_NUMPY_DATA" in second
    assert "CIFAR-100" not in run(capsys, "where", "cifar10")


def test_download_and_verify(world, capsys, tmp_path):  # noqa: F811
    world()
    archive = tmp_path / "packed"
    archive.write_bytes(pack(whole(PY10)))
    out = run(capsys, "download", "cifar10", "--from", str(archive))
    assert out.splitlines()[-1] == "train    se-numpy train --data cifar10"
    out = run(capsys, "download", "--to", str(tmp_path / "to"), "--from", str(archive))
    assert out.splitlines()[-1] == f"train    se-numpy train --data {tmp_path / 'to' / PY10}"
    assert "as the makers made it" in run(capsys, "verify")
    assert "digest" in run(capsys, "verify", "builtin")


@pytest.mark.parametrize("words", [["download", "mnist"], ["where", "x"], ["fly"], []])
def test_mistakes(world, capsys, words):  # noqa: F811
    with pytest.raises(SystemExit) as stop:
        run(capsys, *words)
    assert stop.value.code == 2
