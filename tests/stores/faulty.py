"""A server between a command and a store that answers wrongly now and then: for tests and for the trial."""

from __future__ import annotations

import http.client
import random
import socket
import struct
import threading
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import urlsplit

KINDS = ("500", "503", "reset", "cut", "short", "late")
# 500, 503: an answer of that state     reset: the connection breaks before any answer
# cut: it breaks in the middle of one   short: an answer that says that half of it is all
# late: no answer within the time that is waited for one
LATE = 3.0  # seconds; more than the time-outs that are set where this is used
HOP = {"connection", "keep-alive", "transfer-encoding", "te", "upgrade", "expect", "content-length", "host"}


class Faults:
    """Decides which requests go wrong, and counts them.

    Args:
        rate: share of the requests.
        seed: of chance.
        kinds: of KINDS, or any state of HTTP.
        only: requests that have this in method and path ("GET /bucket/results.json"); "" for all.
    """

    def __init__(self, rate: float, seed: int = 0, kinds: Sequence[str] = KINDS, only: str = "") -> None:
        self.rate, self.kinds, self.only = rate, kinds, only
        self.requests = 0
        self.counts: Counter[str] = Counter()
        self._rng, self._lock = random.Random(seed), threading.Lock()

    def draw(self, request: str) -> str | None:
        """The kind of what goes wrong; None: all goes well."""
        with self._lock:
            self.requests += 1
            if self.only not in request or self._rng.random() >= self.rate:
                return None
            kind = self._rng.choice(list(self.kinds))
            self.counts[kind] += 1
            return kind


@contextmanager
def faulty_server(target: str, faults: Faults) -> Iterator[str]:
    """The address of a server that hands all on to another one, but for the faults."""
    handler = type("Handler", (_Handler,), {"target": urlsplit(target).netloc, "faults": faults})
    with _Server(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
        yield f"http://127.0.0.1:{server.server_address[1]}"
        server.shutdown()


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False

    def handle_error(self, request: object, client_address: object) -> None:
        """Connections that a client gives up are none of ours."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    target: str
    faults: Faults

    def log_message(self, *arguments: object) -> None:
        pass

    def _answer(self) -> None:
        body = self._body()
        kind = self.faults.draw(f"{self.command} {self.path}")
        if kind is not None and kind.isdigit():
            code = "AccessDenied" if kind == "403" else "InternalError"
            self._send(int(kind), [], f"<Error><Code>{code}</Code></Error>".encode())
            return
        if kind == "reset":
            self._break()
            return
        if kind == "late":
            time.sleep(LATE)
            self._break()
            return
        there = http.client.HTTPConnection(self.target, timeout=60)
        headers = {name: value for name, value in self.headers.items() if name.lower() not in HOP}
        there.request(self.command, self.path, body or None, headers)
        answer = there.getresponse()
        data = answer.read()
        kept = [(name, value) for name, value in answer.getheaders() if name.lower() not in HOP]
        length = int(answer.getheader("Content-Length") or len(data)) if self.command == "HEAD" else len(data)
        there.close()
        if kind == "short":
            data, length = data[: len(data) // 2], length // 2 if self.command == "GET" else length
        self._send(answer.status, kept, data[: len(data) // 2] if kind == "cut" else data, length)
        if kind == "cut":
            self._break()

    do_GET = do_HEAD = do_PUT = do_POST = do_DELETE = _answer

    def _body(self) -> bytes:
        if "chunked" in self.headers.get("Transfer-Encoding", ""):
            parts = []
            while size := int(self.rfile.readline().split(b";")[0], 16):
                parts.append(self.rfile.read(size))
                self.rfile.readline()
            self.rfile.readline()
            return b"".join(parts)
        return self.rfile.read(int(self.headers.get("Content-Length") or 0))

    def _send(self, status: int, headers: Sequence[tuple[str, str]], data: bytes, length: int | None = None) -> None:
        self.send_response_only(status)
        for name, value in headers:
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(data) if length is None else length))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(data)
            self.wfile.flush()

    def _break(self) -> None:
        """End the connection as a crash does, not as an end of data."""
        self.close_connection = True
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.connection.close()
