"""The API server as the process node talks to it: asyncio, and patient while it is away."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import suppress
from typing import Any, TypeVar

import aiohttp

from support.kube_client import STRATEGIC, Access, KubeError

T = TypeVar("T")
RETRY_SECONDS = (0.05, 0.1, 0.2, 0.5, 1.0)
WATCH_SECONDS = 240
"""How long the server keeps one watch open."""


class AsyncKube:
    """Requests to one API server from one event loop."""

    def __init__(self, access: Access) -> None:
        self._access = access
        self._session = aiohttp.ClientSession(
            headers=access.headers,
            connector=aiohttp.TCPConnector(ssl=access.trust, limit=64),
            timeout=aiohttp.ClientTimeout(total=30),
        )

    async def close(self) -> None:
        """Close the connections."""
        await self._session.close()
        await goodbyes()

    async def request(
        self, method: str, path: str, body: object = None, *, kind: str = "application/json"
    ) -> dict[str, Any]:
        """The answer's object. Raises KubeError when it is an error, aiohttp's when none comes."""
        async with self._session.request(
            method,
            self._access.server + path,
            data=None if body is None else json.dumps(body),
            headers={"Content-Type": kind},
        ) as answer:
            said = await answer.text()
            if answer.status >= 400:
                found = json.loads(said) if said.startswith("{") else {}
                reason, message = str(found.get("reason")), str(found.get("message", said[:300]))
                raise KubeError(answer.status, reason, message)
            result: dict[str, Any] = json.loads(said)
            return result

    async def get(self, path: str) -> dict[str, Any] | None:
        """An object, or None when there is none."""
        return await missing_is_none(self.request("GET", path))

    async def patch(self, path: str, body: object) -> dict[str, Any] | None:
        """Merge into an object as its schema says how; None when it is gone or is another one."""
        return await missing_is_none(self.request("PATCH", path, body, kind=STRATEGIC))

    async def watch(self, path: str) -> AsyncIterator[dict[str, Any]]:
        """The events of a watch until the server ends it."""
        async with self._session.get(
            self._access.server + path, timeout=aiohttp.ClientTimeout(sock_read=WATCH_SECONDS + 60)
        ) as answer:
            answer.raise_for_status()
            try:
                async for line in lines_of(answer):
                    yield json.loads(line)
            finally:
                abandon(answer)


async def lines_of(answer: aiohttp.ClientResponse) -> AsyncIterator[bytes]:
    """The lines of an answer as they come, without their ends."""
    rest = b""
    async for part in answer.content.iter_any():
        *lines, rest = (rest + part).split(b"\n")
        for line in lines:
            yield line


def abandon(answer: aiohttp.ClientResponse) -> None:
    """Drop the connection of an answer that nobody reads on, without TLS' slow goodbye."""
    connection = answer.connection
    if connection is not None and isinstance(connection.transport, asyncio.WriteTransport):
        connection.transport.abort()


async def goodbyes() -> None:
    """Let connections that were given up end: a loop that stops before them leaks their sockets."""
    await asyncio.sleep(0.05)


async def missing_is_none(request: Awaitable[dict[str, Any]]) -> dict[str, Any] | None:
    """The answer, or None for an object that is gone (404) or was replaced by another (409)."""
    try:
        return await request
    except KubeError as error:
        if error.status in {404, 409}:
            return None
        raise


async def insistently(attempt: Callable[[], Awaitable[T]]) -> T:
    """The result of `attempt`, tried again for as long as the API server is away or overloaded."""
    for number in range(10**9):
        with suppress(aiohttp.ClientError, TimeoutError, OSError):
            try:
                return await attempt()
            except KubeError as error:
                if error.status < 429:
                    raise
        await asyncio.sleep(RETRY_SECONDS[min(number, len(RETRY_SECONDS) - 1)])
    raise AssertionError
