"""Download one file from the first of several servers that has it, and verify its checksum.

The received bytes are kept next to the target, in a file whose name ends in .part. It survives a failing server, a lost
connection and Ctrl-C; the next server, or the next run, resumes it. Servers are not trusted: only a file with the
correct size and SHA-256 is renamed to the target, and an existing target stays unchanged until then.
"""

import os
import shutil
import time
from collections.abc import Sequence
from pathlib import Path
from urllib.parse import urlsplit

from se_numpy.data.cifar import DataError
from se_numpy.data.file_lock import lock_file
from se_numpy.data.progress import Progress
from se_numpy.data.server import RangeError, RetryPolicy, ServerError, request
from se_numpy.data.sources import checksum


class Offline(DataError):
    """A download that failed because no server could be reached."""


def fetch(
    urls: Sequence[str], target: Path, size: int, sha256: str, *,
    policy: RetryPolicy | None = None, progress: Progress | None = None,
) -> None:  # fmt: skip
    """Download the file with this size and SHA-256 to ``target`` from the first of ``urls`` that delivers it.

    The received part of an incomplete download is kept, and the next call resumes it.

    Raises
    ------
    DataError
        If no server delivers the file; the message says what each of them did.
    Offline
        If no server could be reached.
    """
    policy = policy or RetryPolicy()
    progress = progress or Progress(target.name, size)
    target.parent.mkdir(parents=True, exist_ok=True)
    part = partial_path(target)
    errors: dict[str, ServerError] = {}
    part.touch()
    with lock_file(part, "written to"), progress:
        _check_free_space(part, size)
        for url in urls:
            try:
                _from_one(url, part, size, sha256, policy, progress)
                break
            except ServerError as error:
                errors[url] = error
                following = "; trying the next server" if url != urls[-1] else ""
                progress.write_line(f"{_host(url)} {error}{following}")
        else:
            _raise_failure(target, part, errors)
    os.replace(part, target)


def partial_path(target: Path) -> Path:
    """Return the path that holds the received bytes until the download is complete."""
    return target.with_name(target.name + ".part")


def _from_one(url: str, part: Path, size: int, sha256: str, policy: RetryPolicy, progress: Progress) -> None:
    """Complete ``part`` from one server, retrying as long as that makes progress; raise ServerError otherwise."""
    received = _size(part)
    if received > size:
        received = _empty(part)
    left, ranges, from_this_server = policy.attempts, True, received == 0
    while True:
        before = received
        problem: ServerError | None = None
        try:
            if received < size:
                request(url, part, received, size, ranges, policy, progress)
        except RangeError as error:
            ranges, problem = False, error
        except ServerError as error:
            if not error.transient:
                raise
            problem = error
        received = _size(part)
        if received == size:
            found = checksum(part)
            if found == sha256:
                return
            received = _empty(part)
            if from_this_server:
                raise ServerError(f"sends a different file: its SHA-256 is {found[:12]}…, not {sha256[:12]}…")
            from_this_server = True  # the bytes received earlier may be wrong: download the whole file once more
            continue
        left = policy.attempts if received - before >= max(size // 100, 1) else left - 1
        problem = problem or ServerError(f"breaks off after {received:,} of {size:,} bytes")
        if left <= 0:
            raise problem
        if left < policy.attempts:
            time.sleep(max(policy.backoff * 2 ** (policy.attempts - left - 1), problem.wait))


def _raise_failure(target: Path, part: Path, errors: dict[str, ServerError]) -> None:
    kept = _size(part)
    if not kept:
        part.unlink(missing_ok=True)
    reasons = "; ".join(f"{_host(url)} {error}" for url, error in errors.items())
    kind = Offline if all(error.offline for error in errors.values()) else DataError
    rest = f"; the {kept:,} bytes received are kept, and the next run resumes the download" if kept else ""
    raise kind(f"no server delivered {target.name}: {reasons}{rest}.")


def _check_free_space(part: Path, size: int) -> None:
    free = shutil.disk_usage(part.parent).free
    if free < size - _size(part):
        raise DataError(
            f"{part.parent} has {free / 1e6:,.0f} MB of free space, but {size / 1e6:,.0f} MB are needed; "
            "free some disk space or choose another folder with --to."
        )


def _host(url: str) -> str:
    return urlsplit(url).netloc


def _size(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0


def _empty(part: Path) -> int:
    os.truncate(part, 0)
    return 0
