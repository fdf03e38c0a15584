"""Archives that mean harm, or are broken: one sentence, and not a byte outside, or inside, the folder."""

import gzip
import io
import os
import shutil
import tarfile
import tracemalloc
from contextlib import suppress

import numpy as np
import pytest
from cifar_archives import contents, entry, folder_entry, known, pack, whole
from cifar_files import FOLDERS, PY10
from hypothesis import given, settings
from hypothesis import strategies as st

from se_numpy.data.cifar import DataError
from se_numpy.data.sources import Archive, File
from se_numpy.data.unpack import unpack


def described(layout: str) -> Archive:
    told = known(layout)
    files = {name: File(**fields) for name, fields in told["files"].items()}
    keys = ("dataset", "form", "file", "folder", "size", "sha256")
    return Archive(*(told[key] for key in keys), files)


@pytest.fixture(scope="module")
def archive() -> Archive:
    return described(PY10)


def everything(folder):
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*"))


def refused(tmp_path, archive, raw: bytes) -> str:
    """What ``unpack`` says of these bytes; nothing may be left of them anywhere."""
    path, inside = tmp_path / "archive.tar.gz", tmp_path / "in" / "side"
    path.write_bytes(raw)
    inside.mkdir(parents=True, exist_ok=True)
    before = everything(tmp_path)
    with pytest.raises(DataError) as caught:
        unpack(path, archive, inside)
    assert everything(tmp_path) == before
    said = str(caught.value)
    assert said.startswith(f"{path} is damaged or not {archive.file}: ")
    assert said.endswith("nothing was unpacked, download it again.")
    assert "\n" not in said
    assert len(said) < 500
    return said


@pytest.mark.parametrize("layout", FOLDERS)
@pytest.mark.parametrize("format", [tarfile.GNU_FORMAT, tarfile.USTAR_FORMAT, tarfile.PAX_FORMAT])
def test_good_archive(tmp_path, layout, format):
    path = tmp_path / "archive.tar.gz"
    path.write_bytes(pack(whole(layout), format))
    folder = unpack(path, described(layout), tmp_path / "new")
    assert folder == tmp_path / "new" / layout
    assert {file.name: file.read_bytes() for file in folder.iterdir()} == contents(layout)
    assert not [file for file in folder.iterdir() if file.stat().st_mode & 0o111]
    assert everything(tmp_path / "new")[0] == layout


def test_written_by_tar_itself(tmp_path, archive):
    """With pax headers and times in fractions of a second, as Python and BSD tar write them today."""
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
HARM = {  # what is put into an otherwise good archive, and what is said of it
    "absolute": (entry("/evil", b"x"), "'/evil' in it leads out of"),
    "parent": (entry(f"{PY10}/../evil", b"x"), "leads out of"),
    "parents": (entry("../../evil", b"x"), "leads out of"),
    "parent in the middle": (entry(f"{PY10}/a/../../evil", b"x"), "leads out of"),
    "dots": (entry(f"{PY10}/..", b"x"), "leads out of"),
    "backslash": (entry(f"{PY10}/..\\evil", b"x"), "leads out of"),
    "drive": (entry(f"{PY10}/C:evil", b"x"), "leads out of"),
    "other folder": (entry("elsewhere/data_batch_1", b"x"), "leads out of"),
    "no folder": (entry("data_batch_1", b"x"), "leads out of"),
    "deeper": (entry(f"{PY10}/deeper/data_batch_1", b"x"), "leads out of"),
    "folder beside": (folder_entry("evil"), "is no plain file"),
    "folder inside": (folder_entry(f"{PY10}/evil"), "is no plain file"),
    "link": (entry(f"{PY10}/link", **LINK), "is no plain file"),
    "link for a file": (entry(FIRST, **LINK), "is no plain file"),
    "link for the folder": (entry(PY10, **LINK), "is no plain file"),
    "hard link": (entry(f"{PY10}/link", type=tarfile.LNKTYPE, linkname="../../victim"), "is no plain file"),
    "device": (entry(f"{PY10}/null", type=tarfile.CHRTYPE, devmajor=1, devminor=3), "is no plain file"),
    "block device": (entry(f"{PY10}/disk", type=tarfile.BLKTYPE, devmajor=8), "is no plain file"),
    "pipe": (entry(f"{PY10}/pipe", type=tarfile.FIFOTYPE), "is no plain file"),
    "contiguous": (entry(f"{PY10}/cont", b"x", type=tarfile.CONTTYPE), "is no plain file"),
    "unknown type": (entry(f"{PY10}/odd", b"x", type=b"Q"), "is no plain file"),
    "sparse": (entry(f"{PY10}/sparse", type=tarfile.GNUTYPE_SPARSE), "is no plain file"),
    "huge": (entry(FIRST, size=1 << 36), "has 68,719,476,736 bytes, not"),
    "huge and skipped": (entry(f"{PY10}/readme", size=1 << 36), "claims to hold more than"),
    "negative": (entry(f"{PY10}/readme", size=-1024), ""),
    "one byte more": (entry(FIRST, GOOD["data_batch_1"] + b"x"), "bytes, not"),
    "one byte less": (entry(FIRST, GOOD["data_batch_1"][:-1]), "bytes, not"),
    "one bit": (entry(FIRST, bytes([GOOD["data_batch_1"][0] ^ 1]) + GOOD["data_batch_1"][1:]), "its sha256 is"),
    "huge name": (entry("x", size=1 << 33, type=tarfile.GNUTYPE_LONGNAME), "claims a header of"),
    "huge pax": (entry("x", size=1 << 33, type=tarfile.XHDTYPE), "claims a header of"),
    "huge global pax": (entry("x", size=1 << 33, type=tarfile.XGLTYPE), "claims a header of"),
}


@pytest.mark.parametrize("name", HARM)
def test_harm(tmp_path, archive, name):
    """Put first, so that it meets nothing that would stop it, and its words are those of its own fault."""
    bad, words = HARM[name]
    others = [(info, content) for info, content in whole(PY10) if info.name != bad[0].name]
    assert words in refused(tmp_path, archive, pack([bad, *others]))


@pytest.mark.parametrize("name", ["absolute", "parents", "link", "device"])
def test_harm_at_the_end_leaves_nothing_either(tmp_path, archive, name):
    assert HARM[name][1] in refused(tmp_path, archive, pack([*whole(PY10), HARM[name][0]]))


def test_pax_names_are_looked_at_too(tmp_path, archive):
    """A name of any length may hide in a header before the header."""
    info = entry(FIRST, b"x")[0]
    info.pax_headers = {"path": "../../evil"}
    assert "leads out of" in refused(tmp_path, archive, pack([(info, b"x")], tarfile.PAX_FORMAT))


def test_sparse_by_pax_header(tmp_path, archive):
    """A plain file by its type, that a header before it declares to be mostly holes."""
    info = entry(FIRST)[0]
    info.pax_headers = {"GNU.sparse.size": str(archive.files["data_batch_1"].size), "GNU.sparse.map": "0,0"}
    assert "is no plain file" in refused(tmp_path, archive, pack([(info, b"")], tarfile.PAX_FORMAT))


@pytest.mark.parametrize("name", [FIRST, f"{PY10}/readme.html", PY10])
def test_twice(tmp_path, archive, name):
    again = next(item for item in whole(PY10) if item[0].name == name)
    assert f"it has {name!r} twice" in refused(tmp_path, archive, pack([*whole(PY10), again]))


def test_too_many(tmp_path, archive):
    entries = [entry(f"{PY10}/{i}") for i in range(70)]
    assert "more than 64 entries" in refused(tmp_path, archive, pack([*entries, *whole(PY10)]))


@pytest.mark.parametrize("left_out", ["data_batch_3", "batches.meta"])
def test_missing(tmp_path, archive, left_out):
    entries = [item for item in whole(PY10) if not item[0].name.endswith(left_out)]
    assert f"it has no {left_out}" in refused(tmp_path, archive, pack(entries))


BROKEN = {
    "nothing": b"", "two bytes": b"\x1f\x8b", "text": b"<html>", "gzip of nothing": gzip.compress(b""),
    "gzip of text": gzip.compress(b"x" * 5000), "no members": pack([]), "without its end": pack(whole(PY10))[:-3000],
    "a third": pack(whole(PY10))[:20_000],
}  # fmt: skip


@pytest.mark.parametrize("name", BROKEN)
def test_broken(tmp_path, archive, name):
    refused(tmp_path, archive, BROKEN[name])


@pytest.mark.parametrize("bomb", ["file", "header", "zeros"])
def test_a_small_file_that_is_large_inside(tmp_path, archive, bomb):
    """300 MB of zeros in 300 kB: refused after a few MB of them, and with little memory."""
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


def test_a_folder_that_is_there_stays(tmp_path, archive):
    (tmp_path / PY10).mkdir()
    (tmp_path / PY10 / "mine").write_text("mine")
    path = tmp_path / "archive.tar.gz"
    path.write_bytes(pack(whole(PY10)))
    with pytest.raises(DataError, match="is there already: move it away"):
        unpack(path, archive, tmp_path)
    assert everything(tmp_path / PY10) == ["mine"]


def test_what_a_killed_run_left_is_cleared_away(tmp_path, archive):
    hidden = tmp_path / f".{PY10}.unpacking"
    hidden.mkdir()
    (hidden / "data_batch_1").write_bytes(b"half")
    (hidden / "other").write_bytes(b"x")
    path = tmp_path / "archive.tar.gz"
    path.write_bytes(pack(whole(PY10)))
    folder = unpack(path, archive, tmp_path)
    assert {file.name: file.read_bytes() for file in folder.iterdir()} == GOOD
    assert not hidden.exists()


def test_a_link_that_somebody_laid_is_not_followed(tmp_path, archive):
    victim = tmp_path / "victim"
    victim.mkdir()
    (victim / "mine").write_text("mine")
    (tmp_path / f".{PY10}.unpacking").symlink_to(victim)
    path = tmp_path / "archive.tar.gz"
    path.write_bytes(pack(whole(PY10)))
    with pytest.raises(OSError, match=r"\.unpacking"):
        unpack(path, archive, tmp_path)
    assert (victim / "mine").read_text() == "mine"


def test_two_runs_do_not_unpack_into_one_folder(tmp_path, archive):
    fcntl = pytest.importorskip("fcntl")
    hidden = tmp_path / f".{PY10}.unpacking"
    hidden.mkdir()
    (hidden / "data_batch_1").write_bytes(b"half")
    path = tmp_path / "archive.tar.gz"
    path.write_bytes(pack(whole(PY10)))
    handle = os.open(hidden, os.O_RDONLY)
    fcntl.flock(handle, fcntl.LOCK_EX)
    with pytest.raises(DataError, match="is being filled by another run: wait for that one"):
        unpack(path, archive, tmp_path)
    os.close(handle)
    assert everything(hidden) == ["data_batch_1"]


def test_a_disk_that_is_full(tmp_path, archive, monkeypatch):
    path = tmp_path / "archive.tar.gz"
    path.write_bytes(pack(whole(PY10)))

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("shutil.copyfileobj", full)
    with pytest.raises(DataError, match="No space left on device"):
        unpack(path, archive, tmp_path / "to")
    assert not list((tmp_path / "to").iterdir())


# ---- chance

KNOWN = described(PY10)
PLAIN = gzip.decompress(pack(whole(PY10)))
HEADS = np.flatnonzero([PLAIN[at : at + 5] == b"cifar" for at in range(0, len(PLAIN), 512)]) * 512


@settings(max_examples=int(os.environ.get("SE_NUMPY_FUZZ", 0)) or 100, deadline=None)
@given(data=st.data())
def test_fuzz(tmp_path_factory, data):
    """Bytes of an archive changed, mostly in its headers: unpacked as it should be, or refused, and nothing else."""
    raw = bytearray(PLAIN)
    places = st.one_of(st.tuples(st.sampled_from(list(HEADS)), st.integers(0, 511)).map(sum),
                       st.integers(0, len(raw) - 1))  # fmt: skip
    for place, byte in data.draw(st.lists(st.tuples(places, st.integers(0, 255)), min_size=1, max_size=4)):
        raw[place] = byte
    fix = data.draw(st.booleans())
    for head in HEADS if fix else ():  # else hardly a change gets past the headers' checksums
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
