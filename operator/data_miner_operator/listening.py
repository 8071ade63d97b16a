"""PostgreSQL's LISTEN for an asyncio program: a thread that only listens, and connects again.

The connection is asynchronous, so that nothing in the thread waits for longer than it says: a
server that stands still is noticed as well as one that is gone.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import random
import select
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

import psycopg2
from psycopg2 import extensions

from data_miner import telemetry
from data_miner.outside import shown

CHANNEL: Final = "dataminer_projects"
ANSWER_SECONDS: Final = 10.0
"""How long connecting, or the answer to a question, may take."""
QUIET_SECONDS: Final = 15.0
"""After so long without a word, the server is asked whether it is there."""
RETRY_SECONDS: Final = (0.2, 0.5, 1.0, 2.0, 5.0)
"""Pauses between tries to connect; the last one stays."""
KEEPALIVE: Final[Mapping[str, Any]] = {
    "keepalives": 1,
    "keepalives_idle": 10,
    "keepalives_interval": 5,
    "keepalives_count": 2,
    "tcp_user_timeout": 20_000,
}

log = telemetry.logger()


async def listen(url: str, on_change: Callable[[int | None], None]) -> None:
    """Call `on_change` in this loop with the project of each notification, until cancelled.

    None means that any project may have changed: after each connection, and for a notification
    that names none. `url` is SQLAlchemy's or libpq's; no transaction pooler may be in between.
    """
    loop = asyncio.get_running_loop()

    def tell(project_id: int | None) -> None:
        with contextlib.suppress(RuntimeError):  # the loop has ended, and nobody is there to hear
            loop.call_soon_threadsafe(on_change, project_id)

    listener = _Listener(url.replace("+psycopg2", "", 1), tell)
    listener.start()
    try:
        await loop.create_future()
    finally:
        listener.stop()


class _SilentError(Exception):
    """The server did not answer in time."""


@dataclass(slots=True)
class _Listener:
    dsn: str
    tell: Callable[[int | None], None]
    _stopped: threading.Event = field(default_factory=threading.Event)
    _wake: tuple[int, int] = field(default_factory=os.pipe)

    def start(self) -> None:
        threading.Thread(target=self._run, name="listener", daemon=True).start()

    def stop(self) -> None:
        """Ask the thread to end; it does so by itself, at once."""
        self._stopped.set()
        os.close(self._wake[1])  # makes the other end readable

    def _run(self) -> None:
        failures = 0
        try:
            while not self._stopped.is_set():
                began = time.monotonic()
                try:
                    self._listen()
                except (psycopg2.Error, OSError, _SilentError) as error:
                    if time.monotonic() - began > RETRY_SECONDS[-1]:
                        failures = 0
                    if not failures and not self._stopped.is_set():
                        log.warning("not_listening", error=_line(error))
                pause = RETRY_SECONDS[min(failures, len(RETRY_SECONDS) - 1)]
                failures += 1
                self._stopped.wait(pause * random.uniform(0.8, 1.2))  # noqa: S311
        finally:
            os.close(self._wake[0])

    def _listen(self) -> None:
        """One connection's life; returns when this shall stop, raises when the connection ends."""
        connection: Any = psycopg2.connect(
            self.dsn, async_=True, application_name="data-miner operator listener", **KEEPALIVE
        )
        try:
            self._settle(connection)
            cursor = connection.cursor()
            cursor.execute(f"LISTEN {CHANNEL}")
            self._settle(connection)
            log.info("listening", channel=CHANNEL)
            self.tell(None)
            while not self._stopped.is_set():
                if select.select([connection, self._wake[0]], [], [], QUIET_SECONDS)[0]:
                    connection.poll()
                else:
                    cursor.execute("SELECT 1")
                    self._settle(connection)
                self._pass_on(connection)
        finally:
            connection.close()

    def _settle(self, connection: Any) -> None:
        """Wait until the connection has done what it was told, or this shall stop."""
        deadline = time.monotonic() + ANSWER_SECONDS
        while (state := connection.poll()) != extensions.POLL_OK:
            writing = [connection] if state == extensions.POLL_WRITE else []
            reading = [self._wake[0], *([] if writing else [connection])]
            left = deadline - time.monotonic()
            if left <= 0:
                raise _SilentError(f"no answer for {ANSWER_SECONDS:g} s")
            select.select(reading, writing, [], left)
            if self._stopped.is_set():
                raise _SilentError("stopped")

    def _pass_on(self, connection: Any) -> None:
        said = {notification.payload for notification in connection.notifies}
        connection.notifies.clear()
        for payload in sorted(said):
            self.tell(int(payload) if payload.isdecimal() else None)


def _line(error: BaseException) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return shown(lines[-1] if lines else type(error).__name__)[:300]
