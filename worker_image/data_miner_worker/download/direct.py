"""A file behind a plain web address, fetched once."""

from __future__ import annotations

import errno
import http.client
import urllib.error
import urllib.request
from dataclasses import dataclass
from http.cookiejar import LoadError, MozillaCookieJar
from pathlib import Path
from typing import IO, Any, Final

import data_miner
from data_miner.stage import StageError
from data_miner.storage.store import failure
from data_miner_worker.download.failures import for_status, too_large
from data_miner_worker.download.limits import Limits, Progress
from data_miner_worker.download.reach import Guard, guarded

_CHUNK_BYTES: Final = 1 << 18
_AGENT: Final = f"data-miner/{data_miner.__version__}"
_FULL: Final = frozenset({errno.ENOSPC, errno.EDQUOT})
_RESUMES: Final = 5
"""How often a connection that broke off is taken up again within one attempt."""
_PAGES: Final = ("text/html", "application/xhtml+xml")
_PLAYLISTS: Final = ("mpegurl", "application/dash+xml")
_PAGE_STARTS: Final = (b"<!doctype", b"<html", b"<head", b"<?xml", b"#extm3u", b"<mpd", b"<rss")


class NoMediaError(Exception):
    """The address leads to a page or a playlist, which a site's extractor may understand."""


def fetch(url: str, target: Path, limits: Limits, progress: Progress) -> int:
    """Fetch `url` into the file `target`; returns its size in bytes.

    A connection that breaks off goes on where it stopped. Redirects are followed, over http and
    https alone.

    Raises:
        NoMediaError: it is a page or a playlist; no more than its beginning was read.
        StageError: ``not_found``, ``denied``, ``timeout``, ``unreachable``, ``server_error``,
            ``refused``, ``forbidden_address``, ``connection_lost``, ``disk_full``.
        Instead: it is too large, or the site wants us to come later.
    """
    transfer = _Transfer(url, target, limits, progress, _opener(limits.cookies))
    with guarded() as guard:
        for tries in range(_RESUMES + 1):
            before = transfer.size
            try:
                transfer.request(guard)
            except StageError as error:
                # What never began, and what will not go better, is not tried again here.
                if transfer.size == before or error.permanent or tries == _RESUMES:
                    raise
                continue
            if transfer.is_whole:
                return transfer.size
    raise StageError(
        "connection_lost", f"{url}: broke off after {transfer.size} of {transfer.expected} bytes"
    )


@dataclass(slots=True)
class _Transfer:
    """One file on its way, over as many requests as it takes."""

    url: str
    target: Path
    limits: Limits
    progress: Progress
    opener: urllib.request.OpenerDirector
    size: int = 0
    """Bytes on disk."""
    expected: int | None = None
    validator: str | None = None
    """What proves that the server still has the same file, for If-Range."""

    @property
    def is_whole(self) -> bool:
        """Whether all has come, as far as the server said how much that is."""
        return self.expected is None or self.size >= self.expected

    def request(self, guard: Guard) -> None:
        """Ask for what is missing and append what comes; that may be less."""
        headers = {"User-Agent": _AGENT, "Accept-Encoding": "identity"}
        if self.size:
            headers["Range"] = f"bytes={self.size}-"
            if self.validator:
                headers["If-Range"] = self.validator
        request = urllib.request.Request(self.url, headers=headers)  # noqa: S310 - see _opener
        self.limits.asked()
        try:
            with self.opener.open(request, timeout=self.limits.timeout_seconds) as response:
                self._begin(response)
                with self.target.open("ab" if self.size else "wb") as file:
                    self._copy(response, file)
        except urllib.error.HTTPError as error:
            with error:
                raise for_status(error.code, dict(error.headers), self.url) from error
        except (http.client.HTTPException, OSError) as error:
            guard.check()
            raise _network_failure(error, self.url) from error

    def _begin(self, response: Any) -> None:
        """Learn from the headers what comes."""
        if response.status != 206:
            headers = response.headers
            kind = (headers.get("Content-Type") or "").lower()
            if kind.startswith(_PAGES) or any(name in kind for name in _PLAYLISTS):
                raise NoMediaError(kind)
            self.size = 0  # the server begins anew
            length = headers.get("Content-Length")
            self.expected = int(length) if length and length.isdigit() else None
            etag = headers.get("ETag")
            strong = etag if etag and not etag.startswith("W/") else None
            self.validator = strong or headers.get("Last-Modified")
        most = self.limits.max_bytes
        if most is not None and (self.expected or 0) > most:
            raise too_large(self.expected or 0, most)

    def _copy(self, response: Any, file: IO[bytes]) -> None:
        most = self.limits.max_bytes
        while chunk := response.read1(_CHUNK_BYTES):
            if not self.size and chunk.lstrip()[:9].lower().startswith(_PAGE_STARTS):
                raise NoMediaError("a page")
            file.write(chunk)
            self.size += len(chunk)
            if most is not None and self.size > most:
                raise too_large(self.size, most)
            self.progress(self.size / self.expected if self.expected else None)


def _opener(cookies: Path | None) -> urllib.request.OpenerDirector:
    opener = urllib.request.OpenerDirector()
    handlers: list[urllib.request.BaseHandler] = [
        urllib.request.ProxyHandler(),
        urllib.request.UnknownHandler(),
        urllib.request.HTTPHandler(),
        urllib.request.HTTPSHandler(),
        urllib.request.HTTPDefaultErrorHandler(),
        urllib.request.HTTPRedirectHandler(),
        urllib.request.HTTPErrorProcessor(),
    ]
    if cookies is not None:
        handlers.append(urllib.request.HTTPCookieProcessor(read_cookies(cookies)))
    for handler in handlers:
        opener.add_handler(handler)
    return opener


def read_cookies(path: Path) -> MozillaCookieJar:
    """The cookies in a file. Raises StageError("credential_unusable")."""
    jar = MozillaCookieJar(str(path))
    try:
        jar.load(ignore_discard=True, ignore_expires=True)
    except (LoadError, OSError, UnicodeDecodeError) as error:
        raise StageError(
            "credential_unusable",
            f"{path.name}: this is no file of cookies in Netscape's format",
            permanent=True,
        ) from error
    for cookie in jar:
        if cookie.expires == 0:  # how exporters write "until the browser closes"
            cookie.expires, cookie.discard = None, True
    return jar


def _network_failure(error: Exception, url: str) -> StageError:
    cause = error.reason if isinstance(error, urllib.error.URLError) else error
    if isinstance(cause, TimeoutError):
        return StageError("timeout", f"{url}: no answer in time")
    of_file = isinstance(error, OSError) and (error.filename is not None or error.errno in _FULL)
    if isinstance(error, OSError) and of_file:
        return failure(error, f"download of {url}", "storage")
    return StageError("unreachable", f"{url}: {cause or type(error).__name__}")
