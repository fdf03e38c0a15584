"""One request to one server: what it sends is added to a file, what it does wrong has a sentence."""

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

_PASSING = {408, 425, 429, 500, 502, 503, 504}  # answers that may be others in a moment
_AT_ONCE = 1 << 16


@dataclass(frozen=True)
class Patience:
    """How long to wait and how often to try again, in seconds and bytes a second."""

    silence: float = 30  # without a single byte
    slowest: float = 1000  # the makers' server gives 55,000; what is below this has stalled
    window: float = 60  # over which that speed is measured
    tries: int = 4  # in a row that bring nothing to speak of
    pause: float = 1  # before the second try; twice as long before each further one


class Fault(Exception):
    """Why a server did not give the file.

    passing: it may do so in a moment.  offline: it was not even reached.
    """

    def __init__(self, words: str, *, passing: bool = False, offline: bool = False, wait: float = 0) -> None:
        super().__init__(words)
        self.passing, self.offline, self.wait = passing, offline, wait


class NoRange(Fault):
    """The server sends another part of the file than the one it was asked for."""


def ask(
    url: str, part: Path, have: int, size: int, ranges: bool, patience: Patience, progress: Progress
) -> None:  # fmt: skip
    """One request; what it brings is added to ``part``."""
    headers = {"User-Agent": "se-numpy", "Accept-Encoding": "identity"}
    if have and ranges:
        headers["Range"] = f"bytes={have}-"
    try:
        with _opener().open(urllib.request.Request(url, headers=headers), timeout=patience.silence) as answer:
            skip = _check(answer, have if "Range" in headers else 0, have, size)
            progress.at(have)
            _pour(answer, part, skip, size - have, patience, progress)
    except DataError:
        raise  # of this machine's disk
    except urllib.error.HTTPError as error:
        raise _refusal(error, "Range" in headers) from error
    except urllib.error.URLError as error:
        raise _unreached(error.reason) from error
    except ssl.SSLError as error:
        raise Fault(f"breaks off the encryption ({error.reason})", passing=True) from error
    except TimeoutError as error:
        raise Fault(f"stalls: nothing for {patience.silence:g} seconds", passing=True) from error
    except (OSError, http.client.HTTPException) as error:
        raise Fault(f"breaks off ({_words(error)})", passing=True) from error
    except ValueError as error:
        raise Fault(f"answers in no way that HTTP knows ({_words(error)})") from error


def _words(error: Exception) -> str:
    """One line, whatever a server has put into it."""
    words = str(error) or type(error).__name__
    return "".join(letter if letter.isprintable() else " " for letter in words)[:100].strip()


def _check(answer: http.client.HTTPResponse, asked: int, have: int, size: int) -> int:
    """How many bytes of the answer to pass over; Fault if its headers already say that it is another file."""
    if answer.status == 206:
        found = re.fullmatch(r"bytes (\d+)-(\d+)/(\d+|\*)", answer.headers.get("Content-Range", "").strip())
        if not found or int(found[1]) != asked or not asked:
            raise NoRange("sends another part of the file than it was asked for", passing=True)
        if found[3] not in ("*", str(size)):
            raise Fault(f"has another file: {int(found[3]):,} bytes, not {size:,}")
        return 0
    if answer.status != 200:
        raise Fault(f"answers with status {answer.status}")
    # What Content-Encoding says is passed over: many a server calls a .gz file, sent as it is, gzip-encoded.
    if answer.length is not None and answer.length != size:
        page = answer.headers.get_content_type() == "text/html"
        raise Fault("answers with a web page" if page else f"has another file: {answer.length:,} bytes, not {size:,}")
    if answer.length is None and answer.headers.get_content_type() == "text/html":
        raise Fault("answers with a web page")
    return have  # it sends everything from the start; so what is there need not be thrown away


def _pour(
    answer: http.client.HTTPResponse, part: Path, skip: int, wanted: int, patience: Patience, progress: Progress
) -> None:  # fmt: skip
    """Add ``wanted`` bytes of an answer to a file, or fewer if it ends early; Fault if it is hardly moving."""
    begun, count = time.monotonic(), 0
    with part.open("ab", buffering=0) as file:
        while wanted:
            chunk = answer.read1(min(_AT_ONCE, skip or wanted))
            if not chunk:
                break
            count += len(chunk)
            if skip:
                skip -= len(chunk)
            else:
                wanted -= len(chunk)
                with _writing(part):
                    _write(file, chunk)
                progress.advance(len(chunk))
            if (seconds := time.monotonic() - begun) >= patience.window:
                if count < patience.slowest * seconds:
                    raise Fault(f"stalls: {count:,} bytes in {seconds:.0f} seconds", passing=True)
                begun, count = time.monotonic(), 0
        with _writing(part):
            os.fsync(file.fileno())


def _write(file: io.FileIO, chunk: bytes) -> None:
    left = memoryview(chunk)
    while left:  # nothing stands between this and the disk, so one call may write less than all
        left = left[file.write(left) :]


@contextmanager
def _writing(part: Path) -> Iterator[None]:
    """What goes wrong with the disk is no fault of a server."""
    try:
        yield
    except OSError as error:
        raise DataError(f"{part} cannot be written ({error.strerror}): make room or name another folder with --to; "
                        "the next run goes on from there.") from error


def _refusal(error: urllib.error.HTTPError, ranged: bool) -> Fault:
    """What an answer that is an error means."""
    error.close()
    if 300 <= error.code < 400:
        return Fault("redirects in a circle or nowhere")
    if error.code == 416 and ranged:
        return NoRange("refuses to go on from the middle of the file", passing=True)
    wait = error.headers.get("Retry-After", "")
    seconds = min(int(wait), 30) if wait.isascii() and wait.isdigit() else 0
    return Fault(f"answers with status {error.code}", passing=error.code in _PASSING, wait=seconds)


def _unreached(reason: object) -> Fault:
    """Why a connection was never made."""
    if isinstance(reason, ssl.SSLCertVerificationError):
        return Fault(f"shows a certificate that is not trusted ({reason.verify_message})")
    if isinstance(reason, socket.gaierror):
        return Fault("is unknown: no network, or no such name", offline=True)
    if isinstance(reason, TimeoutError):
        return Fault("does not answer", passing=True, offline=True)
    words = getattr(reason, "strerror", None) or str(reason)
    offline = isinstance(reason, OSError) and not isinstance(reason, ConnectionResetError | ssl.SSLError)
    return Fault(f"cannot be reached ({words})"[:200], passing=not isinstance(reason, str), offline=offline)


def _opener() -> urllib.request.OpenerDirector:
    """HTTP and HTTPS and proxies, and nothing that a redirect could turn into a file of this machine."""
    opener = urllib.request.OpenerDirector()
    for handler in (urllib.request.ProxyHandler, urllib.request.HTTPHandler, urllib.request.HTTPSHandler,
                    urllib.request.HTTPDefaultErrorHandler, urllib.request.HTTPRedirectHandler,
                    urllib.request.HTTPErrorProcessor, urllib.request.UnknownHandler):  # fmt: skip
        opener.add_handler(handler())
    return opener
