"""An HTTPS proxy in front of the API server: it counts every request, and breaks some on demand."""

from __future__ import annotations

import asyncio
import json
import re
import ssl
import threading
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeVar

import aiohttp
from aiohttp import web

from support.api_requests import READS, Request, named
from support.certificates import Authority
from support.kube_async import abandon, goodbyes, lines_of
from support.kube_client import Access
from support.kubectl import write_kubeconfig

T = TypeVar("T")
_HOP = frozenset({"connection", "transfer-encoding", "content-length", "host"})


@dataclass(slots=True, eq=False)
class Fault:
    """What happens to the requests that it matches, until `times` is used up (None: for ever)."""

    verbs: frozenset[str]
    path: re.Pattern[str]
    times: int | None
    status: int = 0
    retry_after_seconds: int | None = None
    delay_seconds: float = 0.0
    cut: str = ""
    """"before": the connection ends and the API server never hears of it; "after": it has carried
    it out, and nobody is told."""
    hits: int = 0

    def takes(self, verb: str, path: str) -> bool:
        """Whether it happens to this request; counts it."""
        if self.verbs and verb not in self.verbs:
            return False
        if not self.path.search(path) or self.times == 0:
            return False
        self.times = None if self.times is None else self.times - 1
        self.hits += 1
        return True


@dataclass(slots=True, eq=False)
class WatchFault:
    """What happens to the events of watches that match, until `times` is used up.

    "drop": an event is never told; "duplicate": told twice; "reorder": told after the next one;
    "gone": instead of it an ERROR with status 410, and the watch ends; "cut": the connection ends;
    "freeze": silence from there on, bookmarks included, with the connection open.
    """

    what: str
    path: re.Pattern[str]
    times: int | None
    hits: int = 0


class ApiProxy:
    """A proxy between one client and the API server. Its methods may be called from any thread.

    The client's own credentials go through. Only HTTP/1.1 and JSON: what Python clients speak.
    """

    def __init__(self, access: Access, home: Path) -> None:
        """Listen on a free port of loopback; `home` gets certificates and kubeconfigs."""
        home.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._home = home
        self._upstream = access
        self._requests: list[Request] = []
        self._faults: list[Fault] = []
        self._watch_faults: list[WatchFault] = []
        self._authority = Authority(home)
        pair = self._authority.server("api-proxy")
        self._tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self._tls.load_cert_chain(pair.certificate, pair.key)
        self._loop = asyncio.new_event_loop()
        self._stopping = asyncio.Event()
        started = threading.Event()
        self._port = 0
        self._thread = threading.Thread(
            target=lambda: self._loop.run_until_complete(self._serve(started)), daemon=True
        )
        self._thread.start()
        assert started.wait(30), "the proxy did not start"

    @property
    def url(self) -> str:
        """What the client calls."""
        return f"https://127.0.0.1:{self._port}"

    def kubeconfig(self, token: str, *, namespace: str = "default") -> Path:
        """A kubeconfig that goes through here with this token."""
        path = self._home / f"kubeconfig.{namespace}"
        authority = str(self._authority.certificate)
        cluster = {"server": self.url, "certificate-authority": authority}
        write_kubeconfig(path, cluster=cluster, token=token, namespace=namespace)
        return path

    def answer(
        self,
        status: int,
        *verbs: str,
        path: str = "",
        times: int | None = 1,
        retry_after_seconds: int | None = None,
    ) -> Fault:
        """Answer with this status (429, 500, 503 …) instead of asking the API server."""
        return self._add(
            Fault(
                frozenset(verbs),
                re.compile(path),
                times,
                status=status,
                retry_after_seconds=retry_after_seconds,
            )
        )

    def delay(self, seconds: float, *verbs: str, path: str = "", times: int | None = 1) -> Fault:
        """Hold requests back for so long before the API server gets them."""
        return self._add(Fault(frozenset(verbs), re.compile(path), times, delay_seconds=seconds))

    def cut(self, *verbs: str, path: str = "", times: int | None = 1, after: bool = False) -> Fault:
        """Cut the connection: before the API server hears of it, or `after` it has done it."""
        kind = "after" if after else "before"
        return self._add(Fault(frozenset(verbs), re.compile(path), times, cut=kind))

    def disturb(self, what: str, *, path: str = "", times: int | None = 1) -> WatchFault:
        """Disturb the events of watches; see `WatchFault` for what there is."""
        assert what in {"drop", "duplicate", "reorder", "gone", "cut", "freeze"}, what
        fault = WatchFault(what, re.compile(path), times)
        self._do(lambda: self._watch_faults.append(fault))
        return fault

    def heal(self) -> None:
        """Take all faults back; frozen watches are cut, so that their clients notice."""

        def take_back() -> None:
            self._faults.clear()
            frozen = [f for f in self._watch_faults if f.what == "freeze" and f.hits]
            self._watch_faults.clear()
            if frozen:
                self._abort_all()

        self._do(take_back)

    def cut_all(self) -> None:
        """Cut every connection that is open now, watches included."""
        self._do(self._abort_all)

    def requests(self, *, since: float = 0.0) -> list[Request]:
        """What was asked, in the order of the answers; watches count when they begin."""
        return self._do(lambda: [r for r in self._requests if r.at >= since])

    def writes(self, *, since: float = 0.0, besides: tuple[str, ...] = ()) -> list[Request]:
        """Requests that change something, dry runs included; `besides` leaves resources out."""
        return [
            r
            for r in self.requests(since=since)
            if r.verb not in READS and r.resource not in besides
        ]

    def counts(self, *, since: float = 0.0) -> Counter[tuple[str, str, str, int]]:
        """Requests by (verb, resource, subresource, code)."""
        return Counter(
            (r.verb, r.resource, r.subresource, r.code) for r in self.requests(since=since)
        )

    def now(self) -> float:
        """The moment for `since`."""
        return time.monotonic()

    def forget(self) -> None:
        """Count from here."""
        self._do(self._requests.clear)

    def stop(self) -> None:
        """Cut everything and end."""
        if self._thread.is_alive():
            self._loop.call_soon_threadsafe(self._stopping.set)
            self._thread.join(30)
            self._loop.close()

    def __enter__(self) -> ApiProxy:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def _add(self, fault: Fault) -> Fault:
        self._do(lambda: self._faults.append(fault))
        return fault

    def _do(self, work: Callable[[], T]) -> T:
        async def call() -> T:
            return work()

        return asyncio.run_coroutine_threadsafe(call(), self._loop).result(30)

    async def _serve(self, started: threading.Event) -> None:
        application = web.Application(client_max_size=64 * 1024**2)
        application.router.add_route("*", "/{path:.*}", self._handle)
        self._runner = web.AppRunner(application, shutdown_timeout=0.1, access_log=None)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", 0, ssl_context=self._tls)
        await site.start()
        self._port = self._runner.addresses[0][1]
        async with aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(ssl=self._upstream.trust, limit=0),
            timeout=aiohttp.ClientTimeout(total=None, sock_connect=10),
            auto_decompress=False,
            skip_auto_headers=("Content-Type", "User-Agent"),
        ) as self._client:
            started.set()
            await self._stopping.wait()
            self._abort_all()
            await self._runner.cleanup()
        held_up = asyncio.all_tasks() - {asyncio.current_task()}
        for task in held_up:  # such as requests that are being delayed
            task.cancel()
        await asyncio.gather(*held_up, return_exceptions=True)
        await goodbyes()

    def _abort_all(self) -> None:
        assert self._runner.server
        for connection in self._runner.server.connections:
            if isinstance(connection.transport, asyncio.WriteTransport):
                connection.transport.abort()  # without TLS' goodbye, to which idle clients are deaf

    async def _handle(self, request: web.Request) -> web.StreamResponse:
        asked = named(request.method, request.raw_path, request.headers)
        transport = request.transport
        assert isinstance(transport, asyncio.Transport)
        return await self._pass_on(request, asked, transport)

    async def _pass_on(
        self, request: web.Request, asked: Request, transport: asyncio.Transport
    ) -> web.StreamResponse:
        fault = next((f for f in self._faults if f.takes(asked.verb, asked.path)), None)
        if fault is not None:
            await asyncio.sleep(fault.delay_seconds)
            if fault.cut == "before":
                self._note(asked, 0)
                transport.abort()
                return web.Response()
            if fault.status:
                self._note(asked, fault.status)
                return _refusal(fault)
        body = await request.read() or None
        headers = {k: v for k, v in request.headers.items() if k.lower() not in _HOP}
        headers["Accept-Encoding"] = "identity"  # events are looked at
        try:
            async with self._client.request(
                request.method, self._upstream.server + request.raw_path, data=body, headers=headers
            ) as answer:
                if fault is not None and fault.cut == "after":
                    await answer.read()
                    self._note(asked, 0)
                    transport.abort()
                    return web.Response()
                self._note(asked, answer.status)
                return await self._give_back(request, asked, answer, transport)
        except (aiohttp.ClientError, OSError):
            # The API server is away: so is this.
            self._note(asked, 0)
            transport.abort()
            return web.Response()

    async def _give_back(
        self,
        request: web.Request,
        asked: Request,
        answer: aiohttp.ClientResponse,
        transport: asyncio.Transport,
    ) -> web.StreamResponse:
        streaming = asked.verb == "watch" and answer.status == 200
        kept = {k: v for k, v in answer.headers.items() if k.lower() not in _HOP}
        if not streaming:
            return web.Response(status=answer.status, headers=kept, body=await answer.read())
        response = web.StreamResponse(status=200, headers=kept)
        await response.prepare(request)
        with suppress(ConnectionError):
            try:
                async for line in self._events(asked, answer, transport):
                    await response.write(line + b"\n")
            except (aiohttp.ClientError, OSError):
                transport.abort()
            finally:
                abandon(answer)
        return response

    async def _events(
        self, asked: Request, answer: aiohttp.ClientResponse, transport: asyncio.Transport
    ) -> AsyncIterator[bytes]:
        """The lines of a watch, disturbed as wanted."""
        held: list[bytes] = []
        async for line in lines_of(answer):
            what = self._disturbance(asked, line)
            match what:
                case "drop":
                    continue
                case "reorder" if not held:
                    held.append(line)
                    continue
                case "duplicate":
                    yield line
                case "gone":
                    yield _gone()
                    return
                case "cut":
                    transport.abort()
                    return
                case "freeze":
                    while not transport.is_closing():
                        await asyncio.sleep(0.05)
                    return
            yield line
            while held:
                yield held.pop()

    def _disturbance(self, asked: Request, line: bytes) -> str:
        if not self._watch_faults or b'"type":"BOOKMARK"' in line[:40]:
            return ""
        for fault in self._watch_faults:
            if fault.times != 0 and fault.path.search(asked.path):
                fault.times = None if fault.times is None else fault.times - 1
                fault.hits += 1
                return fault.what
        return ""

    def _note(self, asked: Request, code: int) -> None:
        self._requests.append(replace(asked, code=code))


def _refusal(fault: Fault) -> web.Response:
    reasons = {429: "TooManyRequests", 500: "InternalError", 503: "ServiceUnavailable"}
    after = fault.retry_after_seconds
    status: dict[str, Any] = {
        "kind": "Status",
        "apiVersion": "v1",
        "status": "Failure",
        "message": "the proxy of the tests says so",
        "reason": reasons.get(fault.status, ""),
        "code": fault.status,
    }
    headers = {} if after is None else {"Retry-After": str(after)}
    return web.json_response(status, status=fault.status, headers=headers)


def _gone() -> bytes:
    status = {
        "kind": "Status",
        "apiVersion": "v1",
        "metadata": {},
        "status": "Failure",
        "message": "too old resource version: 1 (2)",
        "reason": "Expired",
        "code": 410,
    }
    return json.dumps({"type": "ERROR", "object": status}).encode()
