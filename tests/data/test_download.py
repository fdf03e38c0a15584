"""Tests of downloads from faulty servers: the file arrives complete, or the error message says why not."""

import hashlib
import io
import json
import os
import signal
import subprocess
import sys
import threading
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from cifar_archives import NAMES, contents, pack, whole, world  # noqa: F401
from cifar_files import BIN10, PY10, PY100, ROWS
from faulty_server import FAULTS, FaultyServer

from se_numpy.data import fetch as fetching
from se_numpy.data import sources
from se_numpy.data.cifar import DataError, load_cifar
from se_numpy.data.download import download
from se_numpy.data.fetch import Offline, fetch, partial_path
from se_numpy.data.progress import Progress
from se_numpy.data.server import RetryPolicy

CONTENT = np.random.default_rng(0).bytes(60_000)
SHA = hashlib.sha256(CONTENT).hexdigest()
POLICY = RetryPolicy(timeout=120, min_speed=1, window=120, attempts=3, backoff=0.001)  # also for a busy machine
IMPATIENT = replace(POLICY, timeout=0.5, min_speed=20_000, window=0.4)
STALLS = ("stalls-once", "stalls", "never-answers", "drips")  # faults that only a short timeout ends

ARRIVES = None
TABLE = {  # fault: ARRIVES, or part of the error message
    "good": ARRIVES,
    "slow": ARRIVES,
    "breaks-once": ARRIVES,
    "breaks-always": ARRIVES,
    "resets-once": ARRIVES,
    "stalls-once": ARRIVES,
    "refuses-range": ARRIVES,
    "refuses-range-and-breaks-once": ARRIVES,
    "wrong-range-start": ARRIVES,
    "range-without-content-range": ARRIVES,
    "416-on-range": ARRIVES,
    "range-lies-about-length": ARRIVES,
    "500-then-good": ARRIVES,
    "503-then-good": ARRIVES,
    "429-then-good": ARRIVES,
    "redirects": ARRIVES,
    "redirects-again": ARRIVES,
    "no-length": ARRIVES,
    "no-length-and-too-much": ARRIVES,
    "chunked": ARRIVES,
    "chunked-and-breaks-once": ARRIVES,
    "says-gzip-but-is-not": ARRIVES,
    "gzips-on-request": ARRIVES,
    "length-too-short": "has a different file: 59,990 bytes, not 60,000",
    "length-too-long": "has a different file: 60,010 bytes, not 60,000",
    "length-is-not-a-number": "breaks off after 59,999 of 60,000 bytes",
    "wrong-file": "sends a different file: its SHA-256 is",
    "wrong-file-that-breaks": "responds with status 404",
    "wrong-total": "has a different file: 60,001 bytes",
    "unrequested-range": "sends a range that was not requested",
    "no-progress": "breaks off after 30,000 of 60,000 bytes",
    "404": "responds with status 404",
    "403": "responds with status 403",
    "500": "responds with status 500",
    "204": "responds with status 204",
    "redirect-loop": "redirects in a loop",
    "redirects-to-a-file": "redirects in a loop or to an invalid address",
    "redirects-nowhere": "redirects in a loop or to an invalid address",
    "endless": "sends a different file",
    "empty": "has a different file: 0 bytes",
    "empty-without-length": "breaks off after 0 of 60,000 bytes",
    "web-page": "responds with a web page",
    "web-page-without-length": "responds with a web page",
    "gzipped": "has a different file: 60,0",
    "stalls": "stalls: no data for 0.5 seconds",
    "never-answers": "stalls: no data for 0.5 seconds",
    "drips": "stalls: ",
    "hangs-up": "breaks off (Remote end closed connection",
    "not-http": "breaks off (220 mail.example.org ready)",
    "endless-headers": "breaks off (got more than 100 headers)",
}


def get(urls, target, policy=POLICY):
    """Run ``fetch`` and return its output."""
    screen = io.StringIO()
    fetch(urls, target, len(CONTENT), SHA, policy=policy, progress=Progress("file", len(CONTENT), screen))
    return screen.getvalue()


def policy_for(fault):
    return IMPATIENT if fault in STALLS else POLICY


def test_every_fault_has_a_row():
    assert set(TABLE) == set(FAULTS)


@pytest.mark.parametrize("fault", TABLE)
def test_one_server(tmp_path, fault):
    """Either only the complete file is left, or there is a one-line error and the existing file is unchanged."""
    target = tmp_path / "file.tar.gz"
    target.write_bytes(b"old")
    with FaultyServer(CONTENT) as server:
        if TABLE[fault] is ARRIVES:
            get([server.url(fault)], target, policy_for(fault))
            assert target.read_bytes() == CONTENT
            assert list(tmp_path.iterdir()) == [target]
            return
        with pytest.raises(DataError) as caught:
            get([server.url(fault)], target, policy_for(fault))
    error = str(caught.value)
    assert f"127.0.0.1:{server.http.server_port} {TABLE[fault]}" in error
    assert error.startswith("no server delivered file.tar.gz: ")
    assert "\n" not in error
    assert target.read_bytes() == b"old"
    kept = partial_path(target).stat().st_size if partial_path(target).exists() else 0
    assert kept < len(CONTENT)
    assert (f"the {kept:,} bytes received are kept" in error) == bool(kept)
    assert set(tmp_path.iterdir()) <= {target, partial_path(target)}
    assert server.counts[fault] <= 12


@pytest.mark.parametrize("fault", [fault for fault, words in TABLE.items() if words is not ARRIVES])
def test_the_next_server_is_tried(tmp_path, fault):
    target = tmp_path / "file.tar.gz"
    with FaultyServer(CONTENT) as server:
        output = get([server.url(fault), server.url("good")], target, policy_for(fault))
    assert target.read_bytes() == CONTENT
    assert list(tmp_path.iterdir()) == [target]
    assert TABLE[fault] in output
    assert "trying the next server" in output


def test_the_next_run_resumes_the_download(tmp_path):
    target = tmp_path / "file.tar.gz"
    partial_path(target).write_bytes(CONTENT[:54_321])
    with FaultyServer(CONTENT) as server:
        get([server.url("good")], target)
        assert server.ranges == [("good", "bytes=54321-")]
    assert target.read_bytes() == CONTENT


def test_received_bytes_are_kept_if_a_server_ignores_ranges(tmp_path):
    """The server sends the whole file again and breaks off early; the bytes received before are not lost."""
    target = tmp_path / "file.tar.gz"
    partial_path(target).write_bytes(CONTENT[:50_000])
    with FaultyServer(CONTENT) as server, pytest.raises(DataError, match="breaks off after 50,000 of"):
        get([server.url("no-progress")], target)
    assert partial_path(target).read_bytes() == CONTENT[:50_000]


@pytest.mark.parametrize("part", [bytes(100), bytes(60_000), bytes(60_001), CONTENT[:-1] + b"x", CONTENT])
def test_a_partial_file_that_is_wrong_too_long_or_complete(tmp_path, part):
    target = tmp_path / "file.tar.gz"
    partial_path(target).write_bytes(part)
    with FaultyServer(CONTENT) as server:
        get([server.url("good")], target)
        assert len(server.ranges) == (0 if part == CONTENT else 2 if len(part) == 100 else 1)
    assert target.read_bytes() == CONTENT


def test_a_wrong_partial_file_and_a_wrong_server(tmp_path):
    """The partial file is discarded once; then the client gives up on the server."""
    target = tmp_path / "file.tar.gz"
    partial_path(target).write_bytes(bytes(100))
    with FaultyServer(CONTENT) as server, pytest.raises(DataError, match="sends a different file"):
        get([server.url("wrong-file")], target)
    assert server.ranges == [("wrong-file", "bytes=100-"), ("wrong-file", None)]
    assert not list(tmp_path.iterdir())


def test_a_server_is_given_up_after_attempts_without_progress(tmp_path):
    with FaultyServer(CONTENT) as server, pytest.raises(DataError):
        get([server.url("500")], tmp_path / "file.tar.gz")
    assert server.counts["500"] == POLICY.attempts
    with FaultyServer(CONTENT) as server, pytest.raises(DataError):
        get([server.url("404")], tmp_path / "file.tar.gz")
    assert server.counts["404"] == 1


def test_pauses_between_attempts_double(tmp_path, monkeypatch):
    slept = []
    monkeypatch.setattr(fetching.time, "sleep", slept.append)
    with FaultyServer(CONTENT) as server, pytest.raises(DataError):
        get([server.url("500")], tmp_path / "file.tar.gz", RetryPolicy(attempts=4, backoff=1))
    assert slept == [1, 2, 4]


def test_a_refused_connection_is_offline(tmp_path):
    with FaultyServer(CONTENT) as server:
        url = server.url("good")
    with pytest.raises(Offline, match="cannot be reached \\(Connection refused\\)"):
        get([url, url], tmp_path / "file.tar.gz")
    assert not list(tmp_path.iterdir())


def test_unknown_host_is_offline(tmp_path):
    with pytest.raises(Offline, match="cannot be resolved: no network, or no such host"):
        get(["http://no-such-host.invalid/file"], tmp_path / "file.tar.gz")


def test_free_space_is_checked_first(tmp_path, monkeypatch):
    usage = type("Usage", (), {"free": 1_000_000})
    monkeypatch.setattr(fetching.shutil, "disk_usage", lambda _: usage)
    with pytest.raises(DataError, match=r"has 1 MB of free space, but 5 MB are needed; free some disk space"):
        fetch(["http://127.0.0.1:1/x"], tmp_path / "file", 5_000_000, SHA)


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full")
def test_a_disk_that_becomes_full(tmp_path, monkeypatch):
    target = tmp_path / "file.tar.gz"
    real = Path.open
    monkeypatch.setattr(Path, "open", lambda self, mode="r", **k: real(
        Path("/dev/full") if self == partial_path(target) and k else self, mode, **k))  # fmt: skip
    with FaultyServer(CONTENT) as server, pytest.raises(DataError, match=r"cannot be written .No space left"):
        get([server.url("good"), server.url("good")], target)
    assert server.counts["good"] == 1
    assert not target.exists()


def test_two_runs_do_not_write_to_the_same_file(tmp_path):
    fcntl = pytest.importorskip("fcntl")
    target = tmp_path / "file.tar.gz"
    with FaultyServer(CONTENT) as server, partial_path(target).open("ab") as other:
        fcntl.flock(other, fcntl.LOCK_EX)
        with pytest.raises(DataError, match="is being written to by another run"):
            get([server.url("good")], target)
        assert not server.ranges


# ---- progress


class Terminal(io.StringIO):
    def isatty(self):
        return True


def test_a_progress_bar_on_a_terminal_and_lines_elsewhere(tmp_path):
    for screen, words in ((Terminal(), "60.0k"), (io.StringIO(), "file: ")):
        with FaultyServer(CONTENT) as server:
            progress = Progress("file", len(CONTENT), screen, every=0)
            fetch([server.url("slow")], tmp_path / "file", len(CONTENT), SHA, policy=POLICY, progress=progress)
        assert words in screen.getvalue()
        assert ("\r" in screen.getvalue()) == screen.isatty()
    lines = screen.getvalue().splitlines()
    assert "100 % of 0 MB" in lines[-1]
    assert lines[0].endswith("left")


def test_progress_lines_are_infrequent(tmp_path):
    with FaultyServer(CONTENT) as server:
        assert get([server.url("slow")], tmp_path / "file") == ""


# ---- archives


@pytest.fixture
def archive():
    return pack(whole(PY10))


def test_download_unpacks_the_archive(world, archive, capsys):  # noqa: F811
    with FaultyServer(archive) as server:
        home = world(PY10=[server.url("404"), server.url("breaks-once")])
        folder = download("cifar10", policy=POLICY)
        assert server.counts["breaks-once"] == 2
    assert folder == home / ".cache" / "se_numpy" / PY10
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == contents(PY10)
    assert load_cifar(folder, rows=ROWS, only="cifar10").name == "cifar10"
    assert {path.name for path in folder.parent.iterdir()} == {PY10, NAMES[PY10]}
    with FaultyServer(archive) as server:  # not downloaded again
        world(PY10=[server.url("good")])
        assert download("cifar10", policy=POLICY) == folder
        assert not server.ranges
    assert "nothing to download" in capsys.readouterr().out


def test_the_other_archive_is_used_if_no_server_has_the_first(world):  # noqa: F811
    with FaultyServer(pack(whole(BIN10))) as server:
        world(PY10=[server.url("404")], BIN10=[server.url("good")])
        assert download("cifar10", policy=POLICY).name == BIN10


def test_another_address(world, archive, tmp_path):  # noqa: F811
    with FaultyServer(archive) as server:
        folder = download("cifar10", tmp_path / "to", server.url("good", "any-name"), policy=POLICY)
        assert folder == tmp_path / "to" / PY10
    binary = pack(whole(BIN10))
    with FaultyServer(binary) as server:
        folder = download("cifar10", tmp_path / "to2", server.url("good", NAMES[BIN10]), policy=POLICY)
        assert folder.name == BIN10
        assert server.counts["good"] == 1
        with pytest.raises(DataError, match="has a different file"):
            download("cifar100", tmp_path / "to3", server.url("good"), policy=POLICY)
    assert not [path for path in (tmp_path / "to3").iterdir()]


@pytest.mark.parametrize("address", ["ftp://x/y", "file:///etc/passwd", "cifar.tar.gz", ""])
def test_invalid_addresses_are_refused(world, address, tmp_path):  # noqa: F811
    with pytest.raises(DataError, match="neither an http:// or https:// address nor an existing file"):
        download("cifar10", tmp_path / "to", address)


def test_a_local_archive(world, archive, tmp_path):  # noqa: F811
    path = tmp_path / "stick.bin"
    path.write_bytes(archive)
    assert download("cifar10", tmp_path / "to", str(path)).name == PY10
    path.write_bytes(archive[:-1] + b"x")
    with pytest.raises(DataError, match=f"is not {NAMES[PY10]}"):
        download("cifar10", tmp_path / "to2", str(path))
    with pytest.raises(DataError, match=NAMES[PY100]):
        download("cifar100", tmp_path / "to2", str(path))


def test_an_archive_in_a_search_path(world, archive):  # noqa: F811
    home = world()
    (home / ".keras" / "datasets").mkdir(parents=True)
    (home / ".keras" / "datasets" / "cifar-10-batches-py-target_archive").write_bytes(archive)
    assert download("cifar10") == home / ".cache" / "se_numpy" / PY10


def test_a_run_that_was_killed_before_the_final_rename(world, archive):  # noqa: F811
    to = world() / ".cache" / "se_numpy"
    to.mkdir(parents=True)
    partial_path(to / NAMES[PY10]).write_bytes(archive)
    with FaultyServer(archive) as server:
        world(PY10=[server.url("good")])
        download("cifar10", policy=POLICY)
        assert not server.ranges
    assert {path.name for path in to.iterdir()} == {NAMES[PY10], PY10}


def test_an_archive_of_the_right_size_and_wrong_content_is_skipped(world, archive, capsys):  # noqa: F811
    Path("data").mkdir()
    Path("data", NAMES[PY10]).write_bytes(archive[:-9] + bytes(9))
    with FaultyServer(archive) as server:
        world(PY10=[server.url("good")])
        download("cifar10", policy=POLICY)
    assert f"skipped  data/{NAMES[PY10]}, which has the size of" in capsys.readouterr().out
    assert Path("data", NAMES[PY10]).read_bytes() == archive[:-9] + bytes(9)


def test_a_wrong_archive_is_never_unpacked(world, tmp_path):  # noqa: F811
    """The length is right but the content is not, so nothing is unpacked and nothing is kept."""
    good = pack(whole(PY10))
    evil = bytes(len(good))
    with FaultyServer(evil) as server:
        world(PY10=[server.url("good")], BIN10=[server.url("404")])
        with pytest.raises(DataError) as caught:
            download("cifar10", tmp_path / "to", policy=POLICY)
    assert "sends a different file" in str(caught.value)
    assert not list((tmp_path / "to").iterdir())


def test_the_offline_error_suggests_alternatives(world, tmp_path):  # noqa: F811
    with FaultyServer(b"") as server:
        url = server.url("good")
    world(PY10=[url], BIN10=[url])
    lines = []
    with pytest.raises(Offline) as caught:
        download("cifar10", tmp_path / "to", policy=POLICY, say=lines.append)
    assert [line.split()[:2] for line in lines] == [["download", f"{NAMES[PY10]},"]]  # the other archive is not tried
    error = str(caught.value)
    assert "\n" not in error
    assert "without a network, use the built-in set (`se-numpy train`)" in error
    assert f"copy {NAMES[PY10]} from another machine into {tmp_path / 'to'} and run this command again" in error


def test_an_incomplete_folder_is_not_modified(world, archive):  # noqa: F811
    folder = world() / ".cache" / "se_numpy" / PY10
    folder.mkdir(parents=True)
    (folder / "data_batch_1").write_bytes(b"mine")
    with FaultyServer(archive) as server:
        world(PY10=[server.url("good")])
        with pytest.raises(DataError, match=r"is damaged: data_batch_1: it has 4 bytes.*move it away"):
            download("cifar10", policy=POLICY)
        assert not server.ranges
    assert [path.read_bytes() for path in folder.iterdir()] == [b"mine"]


def test_a_file_instead_of_a_folder(world, tmp_path):  # noqa: F811
    (tmp_path / "file").write_text("x")
    with pytest.raises(DataError, match="is a file; expected a folder"):
        download("cifar10", tmp_path / "file")


def test_unknown_name(world):  # noqa: F811
    with pytest.raises(DataError, match="unknown data set 'mnist'; expected cifar10 or cifar100"):
        download("mnist")


SCRIPT = """
import signal, sys
from pathlib import Path
from se_numpy.data import sources
from se_numpy.data.download import download
from se_numpy.data.server import RetryPolicy
sources.SOURCES = Path(sys.argv[1])
signal.signal(signal.SIGINT, signal.default_int_handler)  # some shells ignore it in background jobs
try:
    download("cifar10", sys.argv[2], policy=RetryPolicy(timeout=60))
except KeyboardInterrupt:
    sys.exit(130)
"""


def test_after_ctrl_c_the_same_command_resumes(world, archive, tmp_path):  # noqa: F811
    to = tmp_path / "to"
    part = partial_path(to / NAMES[PY10])
    with FaultyServer(archive) as server:
        world(PY10=[server.url("stalls-once")])
        run = subprocess.Popen([sys.executable, "-c", SCRIPT, str(sources.SOURCES), str(to)], text=True,
                               stdout=subprocess.PIPE, stderr=subprocess.PIPE, cwd=tmp_path,
                               env={**os.environ, "PYTHONPATH": str(Path(sources.__file__).parents[2])})  # fmt: skip
        wait_for(lambda: part.exists() and part.stat().st_size)
        run.send_signal(signal.SIGINT)
        out, err = run.communicate(timeout=300)
        kept = part.stat().st_size
        assert run.returncode == 130, err
        assert f"MB are kept in {part}; run the same command to resume" in out
        assert "Traceback" not in err
        assert {path.name for path in to.iterdir()} == {part.name}
        assert download("cifar10", to, policy=POLICY) == to / PY10
        assert server.ranges[-1] == ("stalls-once", f"bytes={kept}-")


def wait_for(ready, seconds=300):
    end = time.monotonic() + seconds
    while not ready():
        assert time.monotonic() < end
        time.sleep(0.01)


# ---- sources.json


@pytest.mark.parametrize("name", ["cifar10", "cifar100"])
def test_sources(name):
    known = sources.archives(name)
    assert {archive.form for archive in known} == {"pickled", "binary"}
    for archive in known:
        assert 168e6 < archive.size < 171e6
        assert len(archive.sha256) == 64
        assert archive.mirrors
        assert archive.mirrors[-1].startswith("https://www.cs.toronto.edu/~kriz/")
        assert all(url.startswith("https://") and archive.file in url for url in archive.mirrors)
        rows = [file.size % (3073 if name == "cifar10" else 3074) for file in archive.files.values()
                if archive.form == "binary" and file.size]  # fmt: skip
        assert not any(rows)
        assert sum(file.has_checksum for file in archive.files.values()) >= 2


def test_sources_have_provenance():
    content = json.loads(sources.SOURCES.read_text(encoding="utf-8"))
    assert set(content["provenance"]) == {"size", "md5", "sha256", "files"}
    assert all(mirror["provenance"] for entry in content["archives"] for mirror in entry["mirrors"])
    digits = [entry[key] for entry in content["archives"] for key in ("sha256", "md5")]
    assert len(set(digits)) == 8
    assert all(set(digest) <= set("0123456789abcdef") for digest in digits)


def test_the_test_server_leaves_no_thread():
    before = threading.active_count()
    with FaultyServer(b"x"):
        pass
    assert threading.active_count() == before
