"""Small archives in the official layouts, and a sources.json that describes them."""

import gzip
import hashlib
import io
import json
import tarfile
from pathlib import Path

import pytest
from cifar_files import BIN10, BIN100, FILES, FOLDERS, META, PY10, PY100, ROWS, batch_bytes, meta_bytes

from se_numpy.data import sources

NAMES = {PY10: "cifar-10-python.tar.gz", BIN10: "cifar-10-binary.tar.gz",
         PY100: "cifar-100-python.tar.gz", BIN100: "cifar-100-binary.tar.gz"}  # fmt: skip


def contents(layout: str) -> dict[str, bytes]:
    """Return the content of every file in a layout, by name."""
    files = {name: batch_bytes(layout, index) for index, name in enumerate(FILES[layout])}
    return {**files, META[layout]: meta_bytes(layout)}


def entry(name: str, content: bytes = b"", **fields) -> tuple[tarfile.TarInfo, bytes]:
    """Return one member of an archive; ``fields`` override its header fields."""
    info = tarfile.TarInfo(name)
    info.size = len(content)
    for key, value in fields.items():
        setattr(info, key, value)
    return info, content


def folder_entry(name: str) -> tuple[tarfile.TarInfo, bytes]:
    return entry(name, type=tarfile.DIRTYPE, mode=0o755)


def pack(entries, format=tarfile.GNU_FORMAT) -> bytes:
    """Return a reproducible .tar.gz of these entries, with their headers unchanged."""
    raw = io.BytesIO()
    for info, content in entries:
        raw.write(info.tobuf(format))
        raw.write(content + bytes(-len(content) % 512))
    raw.write(bytes(1024))
    return gzip.compress(raw.getvalue(), mtime=0)


def whole(layout: str) -> list:
    """Return the entries of a valid archive, which also contains a readme."""
    files = [entry(f"{layout}/{name}", content) for name, content in contents(layout).items()]
    return [folder_entry(layout), entry(f"{layout}/readme.html", b"<html>"), *files]


def description(layout: str, mirrors=(), archive: bytes | None = None) -> dict:
    """Return an archive's entry in sources.json."""
    archive = pack(whole(layout)) if archive is None else archive
    files = {name: {"size": len(content), "sha256": hashlib.sha256(content).hexdigest()}
             for name, content in contents(layout).items()}  # fmt: skip
    return {
        "dataset": "cifar100" if "100" in layout else "cifar10", "form": "pickled" if "py" in layout else "binary",
        "file": NAMES[layout], "folder": layout, "size": len(archive), "rows": ROWS,
        "sha256": hashlib.sha256(archive).hexdigest(), "files": files,
        "mirrors": [{"url": url, "provenance": "a test"} for url in mirrors],
    }  # fmt: skip


@pytest.fixture
def world(tmp_path, monkeypatch):
    """An isolated home, cache, current folder and sources.json; ``world(PY10=[urls])`` sets the mirrors."""
    for variable in ("SE_NUMPY_DATA", "XDG_CACHE_HOME", "TORCH_HOME", "KERAS_HOME",
                     "http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):  # fmt: skip
        monkeypatch.delenv(variable, raising=False)
    home, here = tmp_path / "home", tmp_path / "here"
    home.mkdir()
    here.mkdir()
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.setenv("USERPROFILE", str(home))
    monkeypatch.chdir(here)

    def configure(**mirrors) -> Path:
        layouts = {"PY10": PY10, "BIN10": BIN10, "PY100": PY100, "BIN100": BIN100}
        entries = [description(layout, mirrors.get(name, ())) for name, layout in layouts.items()]
        path = tmp_path / "sources.json"
        path.write_text(json.dumps({"archives": entries}))
        monkeypatch.setattr(sources, "SOURCES", path)
        sources.archives.cache_clear()
        return home

    configure()
    assert len(FOLDERS) == 4
    yield configure
    monkeypatch.undo()
    sources.archives.cache_clear()
