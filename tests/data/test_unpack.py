"""Tests of malicious and damaged archives: a one-line error, and no file written anywhere."""

import gzip
import io
import os
import shutil
import tarfile
import tracemalloc
from contextlib import suppress

import numpy as np
import pytest
from cifar_archives import contents, description, entry, folder_entry, pack, whole
from cifar_files import FOLDERS, PY10
from hypothesis import given, settings
from hypothesis import strategies as st

from se_numpy.data.cifar import DataError
from se_numpy.data.sources import Archive, File
from se_numpy.data.unpack import unpack


def described(layout: str) -> Archive:
    entry = description(layout)
    files = {name: File(**fields) for name, fields in entry["files"].items()}
    keys = ("dataset", "form", "file", "folder", "size", "sha256")
    return Archive(*(entry[key] for key in keys), files)


@pytest.fixture(scope="module")
def archive() -> Archive:
    return described(PY10)


def everything(folder):
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*"))


def refused(tmp_path, archive, raw: bytes) -> str:
    """Return the error that ``unpack`` raises for these bytes, and check that it leaves no files."""
    path, inside = tmp_path / "archive.tar.gz", tmp_path / "in" / "side"
    path.write_bytes(raw)
    inside.mkdir(parents=True, exist_ok=True)
    before = everything(tmp_path)
    with pytest.raises(DataError) as caught:
        unpack(path, archive, inside)
    assert everything(tmp_path) == before
    error = str(caught.value)
    assert error.startswith(f"{path} is damaged or not {archive.file}: ")
    assert error.endswith("nothing was unpacked, download it again.")
    assert "\n" not in error
    assert len(error) < 500
    return error


@pytest.mark.parametrize("layout", FOLDERS)
@pytest.mark.parametrize("format", [tarfile.GNU_FORMAT, tarfile.USTAR_FORMAT, tarfile.PAX_FORMAT])
def test_a_valid_archive(tmp_path, layout, format):
    path = tmp_path / "archive.tar.gz"
    path.write_bytes(pack(whole(layout), format))
    folder = unpack(path, described(layout), tmp_path / "new")
    assert folder == tmp_path / "new" / layout
    assert {file.name: file.read_bytes() for file in folder.iterdir()} == contents(layout)
    assert not [file for file in folder.iterdir() if file.stat().st_mode & 0o111]
    assert everything(tmp_path / "new")[0] == layout


def test_an_archive_written_by_tar(tmp_path, archive):
    """Python and BSD tar write pax headers, with times in fractions of a second."""
    raw = io.BytesIO()
    with tarfile.open(fileobj=raw, mode="w:gz", format=tarfile.PAX_FORMAT) as tar:
        for info, content in whole(PY10):
            info.mtime = 1.25
            info.pax_headers = {"comment": "x" * 5000}
            tar.addfile(info, io.BytesIO(content))
    path = tmp_path / "archive.tar.gz"
    path.write_bytes(raw.getvalue())
    assert unpack(path, archive, tmp_path).name == PY10


FIRST = f"{PY10}/data_batch_1"
GOOD = dict(contents(PY10))
LINK = {"type": tarfile.SYMTYPE, "linkname": "/etc/passwd"}
MALICIOUS = {  # an entry added to a valid archive, and part of the error message
    "absolute": (entry("/evil", b"x"), "'/evil' is outside"),
    "parent": (entry(f"{PY10}/../evil", b"x"), "is outside"),
    "parents": (entry("../../evil", b"x"), "is outside"),
    "parent in the middle": (entry(f"{PY10}/a/../../evil", b"x"), "is outside"),
    "dots": (entry(f"{PY10}/..", b"x"), "is outside"),
    "backslash": (entry(f"{PY10}/..\\evil", b"x"), "is outside"),
    "drive": (entry(f"{PY10}/C:evil", b"x"), "is outside"),
    "other folder": (entry("elsewhere/data_batch_1", b"x"), "is outside"),
    "no folder": (entry("data_batch_1", b"x"), "is outside"),
    "deeper": (entry(f"{PY10}/deeper/data_batch_1", b"x"), "is outside"),
    "folder next to it": (folder_entry("evil"), "is not a regular file"),
    "folder inside": (folder_entry(f"{PY10}/evil"), "is not a regular file"),
    "link": (entry(f"{PY10}/link", **LINK), "is not a regular file"),
    "link for a file": (entry(FIRST, **LINK), "is not a regular file"),
    "link for the folder": (entry(PY10, **LINK), "is not a regular file"),
    "hard link": (entry(f"{PY10}/link", type=tarfile.LNKTYPE, linkname="../../victim"), "is not a regular file"),
    "device": (entry(f"{PY10}/null", type=tarfile.CHRTYPE, devmajor=1, devminor=3), "is not a regular file"),
    "block device": (entry(f"{PY10}/disk", type=tarfile.BLKTYPE, devmajor=8), "is not a regular file"),
    "pipe": (entry(f"{PY10}/pipe", type=tarfile.FIFOTYPE), "is not a regular file"),
    "contiguous": (entry(f"{PY10}/cont", b"x", type=tarfile.CONTTYPE), "is not a regular file"),
    "unknown type": (entry(f"{PY10}/odd", b"x", type=b"Q"), "is not a regular file"),
    "sparse": (entry(f"{PY10}/sparse", type=tarfile.GNUTYPE_SPARSE), "is not a regular file"),
    "huge": (entry(FIRST, size=1 << 36), "has 68,719,476,736 bytes, not"),
    "huge and skipped": (entry(f"{PY10}/readme", size=1 << 36), "claims to contain more than"),
    "negative": (entry(f"{PY10}/readme", size=-1024), ""),
    "one byte more": (entry(FIRST, GOOD["data_batch_1"] + b"x"), "bytes, not"),
    "one byte less": (entry(FIRST, GOOD["data_batch_1"][:-1]), "bytes, not"),
    "one bit": (entry(FIRST, bytes([GOOD["data_batch_1"][0] ^ 1]) + GOOD["data_batch_1"][1:]), "its SHA-256 is"),
    "huge name": (entry("x", size=1 << 33, type=tarfile.GNUTYPE_LONGNAME), "claims a header of"),
    "huge pax": (entry("x", size=1 << 33, type=tarfile.XHDTYPE), "claims a header of"),
    "huge global pax": (entry("x", size=1 << 33, type=tarfile.XGLTYPE), "claims a header of"),
}


@pytest.mark.parametrize("name", MALICIOUS)
def test_malicious_entries(tmp_path, archive, name):
    """The malicious entry comes first, so it causes the error."""
    bad, words = MALICIOUS[name]
    others = [(info, content) for info, content in whole(PY10) if info.name != bad[0].name]
    assert words in refused(tmp_path, archive, pack([bad, *others]))


@pytest.mark.parametrize("name", ["absolute", "parents", "link", "device"])
def test_a_malicious_last_entry_leaves_no_files(tmp_path, archive, name):
    bad, words = MALICIOUS[name]
    assert words in refused(tmp_path, archive, pack([*whole(PY10), bad]))


def test_pax_names_are_checked(tmp_path, archive):
    """A pax header before the entry can replace its name."""
    info = entry(FIRST, b"x")[0]
    info.pax_headers = {"path": "../../evil"}
    assert "is outside" in refused(tmp_path, archive, pack([(info, b"x")], tarfile.PAX_FORMAT))


def test_sparse_by_pax_header(tmp_path, archive):
    """A pax header can declare an entry sparse although its type says regular file."""
    info = entry(FIRST)[0]
    info.pax_headers = {"GNU.sparse.size": str(archive.files["data_batch_1"].size), "GNU.sparse.map": "0,0"}
    assert "is not a regular file" in refused(tmp_path, archive, pack([(info, b"")], tarfile.PAX_FORMAT))


@pytest.mark.parametrize("name", [FIRST, f"{PY10}/readme.html", PY10])
def test_duplicate_entries(tmp_path, archive, name):
    again = next(item for item in whole(PY10) if item[0].name == name)
    assert f"it contains {name!r} twice" in refused(tmp_path, archive, pack([*whole(PY10), again]))


def test_too_many_entries(tmp_path, archive):
    entries = [entry(f"{PY10}/{i}") for i in range(70)]
    assert "more than 64 entries" in refused(tmp_path, archive, pack([*entries, *whole(PY10)]))


@pytest.mark.parametrize("left_out", ["data_batch_3", "batches.meta"])
def test_missing_files(tmp_path, archive, left_out):
    entries = [item for item in whole(PY10) if not item[0].name.endswith(left_out)]
    assert f"it does not contain {left_out}" in refused(tmp_path, archive, pack(entries))


DAMAGED = {
    "empty": b"", "two bytes": b"\x1f\x8b", "text": b"<html>", "gzip of nothing": gzip.compress(b""),
    "gzip of text": gzip.compress(b"x" * 5000), "no members": pack([]), "truncated": pack(whole(PY10))[:-3000],
    "one third": pack(whole(PY10))[:20_000],
}  # fmt: skip


@pytest.mark.parametrize("name", DAMAGED)
def test_damaged_archives(tmp_path, archive, name):
    refused(tmp_path, archive, DAMAGED[name])


@pytest.mark.parametrize("bomb", ["file", "header", "zeros"])
def test_a_decompression_bomb(tmp_path, archive, bomb):
    """300 MB of zeros in 300 kB are refused after a few MB, with little memory."""
    zeros = bytes(300 << 20)
    if bomb == "file":
        info = entry(f"{PY10}/readme")[0]
        info.size = len(zeros)
        raw = info.tobuf(tarfile.GNU_FORMAT) + zeros
    elif bomb == "header":
        info = entry("x", type=tarfile.XHDTYPE)[0]
        info.size = 1 << 20
        raw = (info.tobuf(tarfile.GNU_FORMAT) + zeros[: 1 << 20]) * 20
    else:
        raw = zeros
    raw = gzip.compress(raw, 1)
    assert len(raw) < 2 << 20
    tracemalloc.start()
    try:
        refused(tmp_path, archive, raw)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 12 << 20


def test_an_existing_folder_is_not_modified(tmp_path, archive):
    (tmp_path / PY10).mkdir()
    (tmp_path / PY10 / "mine").write_text("mine")
    path = tmp_path / "archive.tar.gz"
    path.write_bytes(pack(whole(PY10)))
    with pytest.raises(DataError, match="already exists; move it away"):
        unpack(path, archive, tmp_path)
    assert everything(tmp_path / PY10) == ["mine"]


def test_files_of_a_killed_run_are_removed(tmp_path, archive):
    hidden = tmp_path / f".{PY10}.unpacking"
    hidden.mkdir()
    (hidden / "data_batch_1").write_bytes(b"half")
    (hidden / "other").write_bytes(b"x")
    path = tmp_path / "archive.tar.gz"
    path.write_bytes(pack(whole(PY10)))
    folder = unpack(path, archive, tmp_path)
    assert {file.name: file.read_bytes() for file in folder.iterdir()} == GOOD
    assert not hidden.exists()


def test_a_symbolic_link_is_not_followed(tmp_path, archive):
    victim = tmp_path / "victim"
    victim.mkdir()
    (victim / "mine").write_text("mine")
    (tmp_path / f".{PY10}.unpacking").symlink_to(victim)
    path = tmp_path / "archive.tar.gz"
    path.write_bytes(pack(whole(PY10)))
    with pytest.raises(OSError, match=r"\.unpacking"):
        unpack(path, archive, tmp_path)
    assert (victim / "mine").read_text() == "mine"


def test_two_runs_do_not_unpack_to_the_same_folder(tmp_path, archive):
    fcntl = pytest.importorskip("fcntl")
    hidden = tmp_path / f".{PY10}.unpacking"
    hidden.mkdir()
    (hidden / "data_batch_1").write_bytes(b"half")
    path = tmp_path / "archive.tar.gz"
    path.write_bytes(pack(whole(PY10)))
    handle = os.open(hidden, os.O_RDONLY)
    fcntl.flock(handle, fcntl.LOCK_EX)
    with pytest.raises(DataError, match="is being written to by another run; wait for it to finish"):
        unpack(path, archive, tmp_path)
    os.close(handle)
    assert everything(hidden) == ["data_batch_1"]


def test_a_full_disk(tmp_path, archive, monkeypatch):
    path = tmp_path / "archive.tar.gz"
    path.write_bytes(pack(whole(PY10)))

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("shutil.copyfileobj", full)
    with pytest.raises(DataError, match="No space left on device"):
        unpack(path, archive, tmp_path / "to")
    assert not list((tmp_path / "to").iterdir())


# ---- random damage

KNOWN = described(PY10)
PLAIN = gzip.decompress(pack(whole(PY10)))
HEADS = np.flatnonzero([PLAIN[at : at + 5] == b"cifar" for at in range(0, len(PLAIN), 512)]) * 512


@settings(max_examples=int(os.environ.get("SE_NUMPY_FUZZ", 0)) or 100, deadline=None)
@given(data=st.data())
def test_fuzz(tmp_path_factory, data):
    """Change random bytes, mostly in headers: the archive is unpacked correctly or refused."""
    raw = bytearray(PLAIN)
    places = st.one_of(st.tuples(st.sampled_from(list(HEADS)), st.integers(0, 511)).map(sum),
                       st.integers(0, len(raw) - 1))  # fmt: skip
    for place, byte in data.draw(st.lists(st.tuples(places, st.integers(0, 255)), min_size=1, max_size=4)):
        raw[place] = byte
    fix = data.draw(st.booleans())
    for head in HEADS if fix else ():  # otherwise the header checksums catch nearly every change
        raw[head + 148 : head + 156] = b" " * 8
        raw[head + 148 : head + 156] = b"%06o\0 " % sum(raw[head : head + 512])
    zipped = bytearray(gzip.compress(bytes(raw), 1))
    if data.draw(st.booleans()) and not fix:
        zipped[data.draw(st.integers(0, len(zipped) - 1))] ^= 1 << data.draw(st.integers(0, 7))
    folder = tmp_path_factory.mktemp("fuzz")
    path = folder / "archive.tar.gz"
    path.write_bytes(zipped)
    found = None
    with suppress(DataError):
        found = unpack(path, KNOWN, folder / "to")
    inside = [] if found is None else [f"to/{PY10}", *sorted(f"to/{PY10}/{name}" for name in GOOD)]
    assert everything(folder) == ["archive.tar.gz", "to", *inside]
    assert found is None or {file.name: file.read_bytes() for file in found.iterdir()} == GOOD
    shutil.rmtree(folder)
