"""A web server for tests: it counts what it sends, and can hold, refuse or never answer."""

from __future__ import annotations

import contextlib
import re
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import unquote, urlsplit

HELD_SECONDS = 120.0
"""A held answer goes on after this, so that a broken test ends."""


@dataclass(slots=True)
class Page:
    """What the server has under one path, and what was asked of it."""

    body: bytes
    content_type: str
    status: int
    asked: threading.Event = field(default_factory=threading.Event)
    """Set as soon as somebody has asked for the body."""
    open: threading.Event = field(default_factory=threading.Event)
    """While it is not set, nobody gets an answer."""
    bytes_sent: int = 0

    @property
    def times_sent(self) -> float:
        """How often the body went out, counted in bytes: a range counts as its share."""
        return self.bytes_sent / max(len(self.body), 1)


class MediaServer:
    """Pages by path on a port of this machine; a context manager."""

    def __init__(self) -> None:
        self.pages: dict[str, Page] = {}
        self._lock = threading.Lock()
        self._server = _Server(("127.0.0.1", 0), _Handler)
        self._server.owner = self
        self._thread = threading.Thread(
            target=self._server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True
        )

    def __enter__(self) -> MediaServer:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        for page in self.pages.values():
            page.open.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def add(
        self, path: str, body: bytes, *, content_type: str = "video/mp4", status: int = 200
    ) -> str:
        """Serve `body` under `path` (it starts with /); returns the URL."""
        page = Page(body, content_type, status)
        page.open.set()
        self.pages[path] = page
        return self.url(path)

    def url(self, path: str) -> str:
        """Address of a path, whether something is there or not."""
        return f"http://127.0.0.1:{self._server.server_address[1]}{path}"

    def forget_counts(self) -> None:
        """Count from zero, and let the next test wait for `asked` anew."""
        for page in self.pages.values():
            page.bytes_sent = 0
            page.asked.clear()

    @contextlib.contextmanager
    def hold(self, path: str) -> Iterator[Page]:
        """Nobody gets an answer for `path` before the block ends or its `open` is set."""
        page = self.pages[path]
        page.asked.clear()
        page.open.clear()
        try:
            yield page
        finally:
            page.open.set()

    def sent(self, page: Page, amount: int) -> None:
        """Note that bytes of a body went out."""
        with self._lock:
            page.bytes_sent += amount


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False
    owner: MediaServer

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that went away in the middle is what these tests are about."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: _Server

    def do_HEAD(self) -> None:
        self._answer(with_body=False)

    def do_GET(self) -> None:
        self._answer(with_body=True)

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the base's name
        """Say nothing."""

    def _answer(self, *, with_body: bool) -> None:
        owner = self.server.owner
        page = owner.pages.get(unquote(urlsplit(self.path).path))
        if page is None:
            page = Page(b"not here\n", "text/plain", HTTPStatus.NOT_FOUND)
            page.open.set()
        if with_body:
            page.asked.set()
            page.open.wait(HELD_SECONDS)
        first, last, status = self._range(page)
        part = page.body[first : last + 1]
        self.send_response(status)
        self.send_header("Content-Type", page.content_type)
        self.send_header("Content-Length", str(len(part)))
        self.send_header("Accept-Ranges", "bytes")
        if status == HTTPStatus.PARTIAL_CONTENT:
            self.send_header("Content-Range", f"bytes {first}-{last}/{len(page.body)}")
        self.end_headers()
        if with_body:
            # Counted before the client can know that it has all.
            self.wfile.write(part[:-1])
            owner.sent(page, len(part))
            self.wfile.write(part[-1:])

    def _range(self, page: Page) -> tuple[int, int, int]:
        """First and last byte wanted, and the status that goes with it."""
        whole = 0, len(page.body) - 1, page.status
        asked = re.fullmatch(r"bytes=(\d+)-(\d*)", self.headers.get("Range", ""))
        if asked is None or page.status != HTTPStatus.OK or int(asked[1]) >= len(page.body):
            return whole
        last = min(int(asked[2] or len(page.body) - 1), len(page.body) - 1)
        return int(asked[1]), last, HTTPStatus.PARTIAL_CONTENT
