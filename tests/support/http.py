"""A web server for tests: it counts, and misbehaves as it is told."""

from __future__ import annotations

import re
import socket
import struct
import threading
from collections import Counter
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import TracebackType
from typing import Any, Self
from urllib.parse import unquote, urlsplit


@dataclass(frozen=True, slots=True)
class Reply:
    """What the server says under a path."""

    body: bytes = b""
    status: int = 200
    content_type: str = "application/octet-stream"
    headers: dict[str, str] = field(default_factory=dict)
    cut_after: int | None = None
    """Break the first connection after so many bytes of the body."""
    silent: bool = False
    """Accept the request and say nothing until the server stops."""
    ranges: bool = True
    """Whether it answers with parts of the body."""


class WebServer:
    """Replies by path on a port of this machine. A context manager."""

    def __init__(self) -> None:
        self.replies: dict[str, Reply] = {}
        self.gets: Counter[str] = Counter()
        """How often each path was asked for with GET."""
        self.heads: Counter[str] = Counter()
        self.bytes_sent: Counter[str] = Counter()
        self.headers: dict[str, list[dict[str, str]]] = {}
        """Headers of the requests, by path."""
        self.stopping = threading.Event()
        self._lock = threading.Lock()
        self._server = _Server(("127.0.0.1", 0), _Handler)
        self._server.owner = self
        self._thread = threading.Thread(
            target=self._server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True
        )

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, _: type[BaseException] | None, __: BaseException | None, ___: TracebackType | None
    ) -> None:
        self.stopping.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def put(self, path: str, body: bytes | Path = b"", **how: Any) -> str:
        """Serve a body, or a file's content, under `path` (it begins with /); returns the URL."""
        content = body.read_bytes() if isinstance(body, Path) else body
        self.replies[path] = Reply(content, **how)
        return self.url(path)

    def url(self, path: str, host: str = "127.0.0.1") -> str:
        """Address of a path, whether something is there or not."""
        return f"http://{host}:{self._server.server_address[1]}{path}"

    def note(self, method: str, path: str, headers: dict[str, str]) -> int:
        """Count a request; returns how many came before it."""
        with self._lock:
            counts = self.gets if method == "GET" else self.heads
            counts[path] += 1
            self.headers.setdefault(path, []).append(headers)
            return counts[path] - 1

    def sent(self, path: str, amount: int) -> None:
        """Count bytes of a body."""
        with self._lock:
            self.bytes_sent[path] += amount


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    owner: WebServer

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that goes away in the middle is what some tests are about."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: _Server

    def do_GET(self) -> None:
        self._answer("GET")

    def do_HEAD(self) -> None:
        self._answer("HEAD")

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the base's name
        """Say nothing."""

    def _answer(self, method: str) -> None:
        owner, path = self.server.owner, unquote(urlsplit(self.path).path)
        before = owner.note(method, path, dict(self.headers))
        reply = owner.replies.get(path) or Reply(b"not here\n", 404, "text/plain")
        if reply.silent:
            owner.stopping.wait()
            self.close_connection = True
            return
        start, status = self._start(reply)
        part = reply.body[start:]
        self.send_response(status)
        for name, value in {"Content-Type": reply.content_type, **reply.headers}.items():
            self.send_header(name, value)
        if status == 206:
            end, whole = len(reply.body) - 1, len(reply.body)
            self.send_header("Content-Range", f"bytes {start}-{end}/{whole}")
        self.send_header("Content-Length", str(len(part)))
        self.end_headers()
        if method == "HEAD":
            return
        if reply.cut_after is not None and before == 0:
            self.wfile.write(part[: reply.cut_after])
            self._hang_up()
        else:
            # Counted before the client can know that it has all.
            self.wfile.write(part[:-1])
            owner.sent(path, len(part))
            self.wfile.write(part[-1:])

    def _start(self, reply: Reply) -> tuple[int, int]:
        asked = re.fullmatch(r"bytes=(\d+)-", self.headers.get("Range", ""))
        if asked is None or not reply.ranges or reply.status != 200:
            return 0, reply.status
        return int(asked[1]), 206

    def _hang_up(self) -> None:
        """Break the connection, as a crash does: no orderly end, but a reset."""
        self.wfile.flush()
        self.close_connection = True
        self.connection.shutdown(socket.SHUT_WR)
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
