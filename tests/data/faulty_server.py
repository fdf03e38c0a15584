"""A web server on 127.0.0.1 that reproduces the faults of real servers.

The first part of a path selects the fault: ``/breaks-once/file`` sends the file, but the first response breaks off.
Every response closes its connection.
"""

import gzip
import re
import socket
import struct
import threading
import time
from collections import Counter
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

FAULTS = {}


def fault(function):
    """Register a fault under its name, with _ replaced by -."""
    FAULTS[function.__name__.strip("_").replace("_", "-")] = function
    return function


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        name = self.path.split("/")[1]
        self.before = self.server.counts[name]  # earlier requests for this fault
        self.server.counts[name] += 1
        self.server.ranges.append((name, self.headers.get("Range")))
        self.close_connection = True
        with suppress(ConnectionError):  # the client closed the connection
            FAULTS[name](self, self.server.content)

    def log_message(self, *_):
        pass

    def head(self, status, **headers):
        self.send_response(status)
        for key, value in headers.items():
            self.send_header(key.replace("_", "-"), str(value))
        self.send_header("Connection", "close")
        self.end_headers()

    def range_start(self):
        """Return where the requested range starts, or 0 if no range was requested."""
        found = re.fullmatch(r"bytes=(\d+)-", self.headers.get("Range", ""))
        return int(found[1]) if found else 0

    def begin(self, content):
        """Send the headers of a correct response and return its body."""
        start = self.range_start()
        if start:
            span = f"bytes {start}-{len(content) - 1}/{len(content)}"
            self.head(206, Content_Length=len(content) - start, Content_Range=span)
        else:
            self.head(200, Content_Length=len(content))
        return content[start:]

    def send(self, content, most=None):
        """Send a correct response, but close the connection after ``most`` bytes."""
        self.wfile.write(self.begin(content)[:most])

    def until_stopped(self, seconds=300):
        self.server.stopping.wait(seconds)


class FaultyServer:
    """A running server: ``server.url(fault)`` is an address, ``server.ranges`` holds the ranges requested."""

    def __init__(self, content: bytes) -> None:
        self.http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.http.daemon_threads = False  # so that closing waits for all threads
        self.http.content, self.http.counts, self.http.ranges = content, Counter(), []
        self.http.stopping = threading.Event()
        self.counts, self.ranges = self.http.counts, self.http.ranges
        self.thread = threading.Thread(target=self.http.serve_forever, kwargs={"poll_interval": 0.01})

    def url(self, name: str, file: str = "file.tar.gz") -> str:
        assert name in FAULTS, name
        return f"http://127.0.0.1:{self.http.server_port}/{name}/{file}"

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.http.stopping.set()
        self.http.shutdown()
        self.thread.join()
        self.http.server_close()


# ---- faults that a client can recover from


@fault
def good(self, content):
    self.send(content)


@fault
def refuses_range(self, content):
    self.head(200, Content_Length=len(content))
    self.wfile.write(content)


@fault
def refuses_range_and_breaks_once(self, content):
    self.head(200, Content_Length=len(content))
    self.wfile.write(content[: None if self.before else len(content) // 2])


@fault
def slow(self, content):
    """Send slowly, but not slowly enough to count as a stall."""
    left, step = self.begin(content), len(content) // 20
    for at in range(0, len(left), step):
        self.wfile.write(left[at : at + step])
        self.wfile.flush()
        time.sleep(0.01)


@fault
def breaks_once(self, content):
    self.send(content, None if self.before else len(content) // 3)


@fault
def breaks_always(self, content):
    """Break off after a quarter of the file, so that each request adds a quarter."""
    self.send(content, len(content) // 4)


@fault
def resets_once(self, content):
    if self.before:
        return self.send(content)
    self.begin(content)
    self.wfile.write(content[:9999])
    self.wfile.flush()
    self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    self.connection.close()


@fault
def wrong_range_start(self, content):
    """Send the wrong range; requests for the whole file succeed after the first."""
    start = self.range_start()
    if not start:
        return self.send(content, len(content) // 2 if not self.before else None)
    span = f"bytes {start + 1}-{len(content) - 1}/{len(content)}"
    self.head(206, Content_Length=len(content) - start - 1, Content_Range=span)
    self.wfile.write(content[start + 1 :])


@fault
def range_without_content_range(self, content):
    """Respond with status 206 but without Content-Range."""
    start = self.range_start()
    if not start:
        return self.send(content, len(content) // 2 if not self.before else None)
    self.head(206, Content_Length=len(content) - start)
    self.wfile.write(content[start:])


@fault
def _416_on_range(self, content):
    if self.range_start():
        return self.head(416, Content_Length=0)
    self.send(content, len(content) // 2 if not self.before else None)


@fault
def range_lies_about_length(self, content):
    """Send fewer bytes than requested from the second response on."""
    start = self.range_start()
    if not start:
        return self.send(content, len(content) // 2)
    few = min(len(content) - start, len(content) // 5)
    self.head(206, Content_Length=few, Content_Range=f"bytes {start}-{start + few - 1}/*")
    self.wfile.write(content[start : start + few])


@fault
def _503_then_good(self, content):
    if self.before < 2:
        return self.head(503, Content_Length=0, Retry_After=0)
    self.send(content)


@fault
def _500_then_good(self, content):
    if not self.before:
        return self.head(500, Content_Length=0)
    self.send(content)


@fault
def _429_then_good(self, content):
    if not self.before:
        return self.head(429, Content_Length=0, Retry_After="soon")
    self.send(content)


@fault
def redirects(self, content):
    self.head(302, Location="/redirects-again/file", Content_Length=0)


@fault
def redirects_again(self, content):
    self.head(307, Location=f"http://127.0.0.1:{self.server.server_port}/good/file", Content_Length=0)


@fault
def no_length(self, content):
    self.head(200)
    self.wfile.write(content)


@fault
def no_length_and_too_much(self, content):
    """Send the right file, followed by endless zeros."""
    self.head(200)
    self.wfile.write(content)
    while not self.server.stopping.is_set():
        self.wfile.write(bytes(1 << 16))


@fault
def chunked(self, content):
    self.head(200, Transfer_Encoding="chunked")
    for at in range(0, len(content), 10_000):
        piece = content[at : at + 10_000]
        self.wfile.write(f"{len(piece):x}\r\n".encode() + piece + b"\r\n")
    self.wfile.write(b"0\r\n\r\n")


@fault
def chunked_and_breaks_once(self, content):
    if self.before:
        return self.send(content)
    self.head(200, Transfer_Encoding="chunked")
    self.wfile.write(f"{len(content):x}\r\n".encode() + content[: len(content) // 2])


@fault
def says_gzip_but_is_not(self, content):
    """Declare the content encoding gzip for a .gz file that is sent unchanged, as many servers do."""
    self.head(200, Content_Length=len(content), Content_Encoding="x-gzip", Content_Type="text/html")
    self.wfile.write(content)


@fault
def gzips_on_request(self, content):
    """Compress the response unless the client declines it."""
    content = gzip.compress(content) if "gzip" in self.headers.get("Accept-Encoding", "gzip") else content
    self.head(200, Content_Length=len(content))
    self.wfile.write(content)


@fault
def stalls_once(self, content):
    if self.before:
        return self.send(content)
    self.head(200, Content_Length=len(content))
    self.wfile.write(content[: len(content) // 2])
    self.wfile.flush()
    self.until_stopped()


# ---- faults that a client cannot recover from


@fault
def length_too_short(self, content):
    self.head(200, Content_Length=len(content) - 10)
    self.wfile.write(content)


@fault
def length_too_long(self, content):
    self.head(200, Content_Length=len(content) + 10)
    self.wfile.write(content)


@fault
def length_is_not_a_number(self, content):
    self.head(200, Content_Length="many")
    self.wfile.write(content[:-1])


@fault
def wrong_file(self, content):
    """Send a file of the right length that differs in one bit."""
    self.send(content[:-1] + bytes([content[-1] ^ 1]))


@fault
def wrong_file_that_breaks(self, content):
    """Send half of a different file, which corrupts what the next server appends."""
    if self.range_start():
        return self.head(404, Content_Length=0)
    self.send(bytes(len(content)), len(content) // 2)


@fault
def wrong_total(self, content):
    start = self.range_start()
    if not start:
        return self.send(content, len(content) // 2)
    self.head(206, Content_Length=9, Content_Range=f"bytes {start}-{start + 8}/{len(content) + 1}")
    self.wfile.write(bytes(9))


@fault
def unrequested_range(self, content):
    self.head(206, Content_Length=9, Content_Range=f"bytes 0-8/{len(content)}")
    self.wfile.write(content[:9])


@fault
def no_progress(self, content):
    """Always send the same first bytes, whatever range was requested."""
    self.head(200, Content_Length=len(content))
    self.wfile.write(content[: len(content) // 2])


@fault
def _404(self, content):
    self.head(404, Content_Length=0)


@fault
def _403(self, content):
    self.head(403, Content_Length=0)


@fault
def _500(self, content):
    self.head(500, Content_Length=0)


@fault
def _204(self, content):
    self.head(204)


@fault
def redirect_loop(self, content):
    self.head(302, Location="/redirect-loop/file", Content_Length=0)


@fault
def redirects_to_a_file(self, content):
    self.head(302, Location="file:///etc/passwd", Content_Length=0)


@fault
def redirects_nowhere(self, content):
    self.head(302, Content_Length=0)


@fault
def endless(self, content):
    self.head(200)
    while not self.server.stopping.is_set():
        self.wfile.write(bytes(1 << 16))


@fault
def empty(self, content):
    self.head(200, Content_Length=0)


@fault
def empty_without_length(self, content):
    self.head(200)


@fault
def web_page(self, content):
    page = b"<html>Sorry, this page has moved</html>"
    self.head(200, Content_Length=len(page), Content_Type="text/html; charset=utf-8")
    self.wfile.write(page)


@fault
def web_page_without_length(self, content):
    self.head(200, Content_Type="text/html")
    self.wfile.write(b"<html>" * 99_999)


@fault
def gzipped(self, content):
    """Compress the file once more, as some proxies do."""
    packed = gzip.compress(content)
    self.head(200, Content_Length=len(packed), Content_Encoding="gzip")
    self.wfile.write(packed)


@fault
def stalls(self, content):
    self.head(200, Content_Length=len(content))
    self.wfile.flush()
    self.until_stopped()


@fault
def never_answers(self, content):
    self.until_stopped()


@fault
def drips(self, content):
    """Send single bytes with short pauses, so that no read times out, for a few seconds at most."""
    left = self.begin(content)
    for at in range(min(len(left), 100)):
        self.wfile.write(left[at : at + 1])
        self.wfile.flush()
        if self.server.stopping.wait(0.03):
            return


@fault
def hangs_up(self, content):
    pass


@fault
def not_http(self, content):
    self.wfile.write(b"220 mail.example.org ready\r\n" * 3)


@fault
def endless_headers(self, content):
    self.wfile.write(b"HTTP/1.1 200 OK\r\n")
    for at in range(100_000):
        self.wfile.write(b"X-%d: y\r\n" % at)
