"""One HTTP request: append what the server sends to a file, and report what the server does wrong."""

import http.client
import io
import os
import re
import socket
import ssl
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from se_numpy.data.cifar import DataError
from se_numpy.data.progress import Progress

_TRANSIENT = {408, 425, 429, 500, 502, 503, 504}
_CHUNK = 1 << 16


@dataclass(frozen=True)
class RetryPolicy:
    """Limits after which a download gives up on a server, in seconds and bytes per second."""

    timeout: float = 30  # without receiving a byte
    min_speed: float = 1000  # the original server delivers 55,000; below this, the connection has stalled
    window: float = 60  # seconds over which the speed is measured
    attempts: int = 4  # how many in a row may make no progress
    backoff: float = 1  # wait before the second attempt; doubled before each further one


class ServerError(Exception):
    """The reason why a server did not deliver the file.

    transient: another attempt may succeed.  offline: the server was not reached.  wait: seconds to wait before it.
    """

    def __init__(self, reason: str, *, transient: bool = False, offline: bool = False, wait: float = 0) -> None:
        super().__init__(reason)
        self.transient, self.offline, self.wait = transient, offline, wait


class RangeError(ServerError):
    """A response that is not the requested range of the file."""


def request(
    url: str, part: Path, received: int, size: int, ranges: bool, policy: RetryPolicy, progress: Progress
) -> None:  # fmt: skip
    """Request the rest of a file, after its first ``received`` bytes, and append it to ``part``.

    Raises
    ------
    ServerError
        If the server does not deliver it.
    DataError
        If ``part`` cannot be written.
    """
    headers = {"User-Agent": "se-numpy", "Accept-Encoding": "identity"}
    if received and ranges:
        headers["Range"] = f"bytes={received}-"
    try:
        with _opener().open(urllib.request.Request(url, headers=headers), timeout=policy.timeout) as response:
            skip = _check(response, received if "Range" in headers else 0, received, size)
            progress.restart(received)
            _append(response, part, skip, size - received, policy, progress)
    except DataError:
        raise  # a local error, not the server's
    except urllib.error.HTTPError as error:
        raise _http_error(error, "Range" in headers) from error
    except urllib.error.URLError as error:
        raise _connection_error(error.reason) from error
    except ssl.SSLError as error:
        raise ServerError(f"breaks off the encrypted connection ({error.reason})", transient=True) from error
    except TimeoutError as error:
        raise ServerError(f"stalls: no data for {policy.timeout:g} seconds", transient=True) from error
    except (OSError, http.client.HTTPException) as error:
        raise ServerError(f"breaks off ({_one_line(error)})", transient=True) from error
    except ValueError as error:
        raise ServerError(f"sends an invalid HTTP response ({_one_line(error)})") from error


def _one_line(error: Exception) -> str:
    """Return the message of an error, which may hold any text from the server, as one printable line."""
    text = str(error) or type(error).__name__
    return "".join(letter if letter.isprintable() else " " for letter in text)[:100].strip()


def _check(response: http.client.HTTPResponse, start: int, received: int, size: int) -> int:
    """Return the number of bytes to skip; raise ServerError if the headers describe a different file."""
    if response.status == 206:
        found = re.fullmatch(r"bytes (\d+)-(\d+)/(\d+|\*)", response.headers.get("Content-Range", "").strip())
        if not found or int(found[1]) != start or not start:
            raise RangeError("sends a range that was not requested", transient=True)
        if found[3] not in ("*", str(size)):
            raise ServerError(f"has a different file: {int(found[3]):,} bytes, not {size:,}")
        return 0
    if response.status != 200:
        raise ServerError(f"responds with status {response.status}")
    # Content-Encoding is ignored: many servers declare gzip for a .gz file that they send unchanged.
    if response.length is not None and response.length != size:
        page = response.headers.get_content_type() == "text/html"
        raise ServerError(
            "responds with a web page" if page else f"has a different file: {response.length:,} bytes, not {size:,}"
        )
    if response.length is None and response.headers.get_content_type() == "text/html":
        raise ServerError("responds with a web page")
    return received  # the server sends the whole file; skip the part that is already on disk


def _append(
    response: http.client.HTTPResponse, part: Path, skip: int, wanted: int, policy: RetryPolicy, progress: Progress
) -> None:  # fmt: skip
    """Append up to ``wanted`` bytes of a response to a file; raise ServerError if the transfer is too slow."""
    begun, count = time.monotonic(), 0
    with part.open("ab", buffering=0) as file:
        while wanted:
            chunk = response.read1(min(_CHUNK, skip or wanted))
            if not chunk:
                break
            count += len(chunk)
            if skip:
                skip -= len(chunk)
            else:
                wanted -= len(chunk)
                with _disk_errors(part):
                    _write(file, chunk)
                progress.advance(len(chunk))
            if (seconds := time.monotonic() - begun) >= policy.window:
                if count < policy.min_speed * seconds:
                    raise ServerError(f"stalls: {count:,} bytes in {seconds:.0f} seconds", transient=True)
                begun, count = time.monotonic(), 0
        with _disk_errors(part):
            os.fsync(file.fileno())


def _write(file: io.FileIO, chunk: bytes) -> None:
    left = memoryview(chunk)
    while left:  # an unbuffered write may be partial
        left = left[file.write(left) :]


@contextmanager
def _disk_errors(part: Path) -> Iterator[None]:
    """Raise a DataError, which names no server, for a local disk error."""
    try:
        yield
    except OSError as error:
        raise DataError(
            f"{part} cannot be written ({error.strerror}); free some disk space or choose another folder "
            "with --to. The next run resumes the download."
        ) from error


def _http_error(error: urllib.error.HTTPError, ranged: bool) -> ServerError:
    """Translate an HTTP error status."""
    error.close()
    if 300 <= error.code < 400:
        return ServerError("redirects in a loop or to an invalid address")
    if error.code == 416 and ranged:
        return RangeError("refuses to resume a download", transient=True)
    wait = error.headers.get("Retry-After", "")
    seconds = min(int(wait), 30) if wait.isascii() and wait.isdigit() else 0
    return ServerError(f"responds with status {error.code}", transient=error.code in _TRANSIENT, wait=seconds)


def _connection_error(reason: object) -> ServerError:
    """Return a ServerError that says why a connection could not be made."""
    if isinstance(reason, ssl.SSLCertVerificationError):
        return ServerError(f"has an untrusted certificate ({reason.verify_message})")
    if isinstance(reason, socket.gaierror):
        return ServerError("cannot be resolved: no network, or no such host", offline=True)
    if isinstance(reason, TimeoutError):
        return ServerError("does not respond", transient=True, offline=True)
    text = getattr(reason, "strerror", None) or str(reason)
    offline = isinstance(reason, OSError) and not isinstance(reason, ConnectionResetError | ssl.SSLError)
    return ServerError(f"cannot be reached ({text})"[:200], transient=not isinstance(reason, str), offline=offline)


def _opener() -> urllib.request.OpenerDirector:
    """Return an opener for HTTP, HTTPS and proxies only, so that no redirect can read a local file."""
    opener = urllib.request.OpenerDirector()
    for handler in (urllib.request.ProxyHandler, urllib.request.HTTPHandler, urllib.request.HTTPSHandler,
                    urllib.request.HTTPDefaultErrorHandler, urllib.request.HTTPRedirectHandler,
                    urllib.request.HTTPErrorProcessor, urllib.request.UnknownHandler):  # fmt: skip
        opener.add_handler(handler())
    return opener
