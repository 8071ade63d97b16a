"""Wakes the claim loop when somebody says that there is work: PostgreSQL's LISTEN."""

from __future__ import annotations

import contextlib
import select
import time
from collections.abc import Sequence
from typing import Any

import psycopg2
from psycopg2 import sql

from data_miner.db.engine import KEEPALIVE

CONNECT_SECONDS = 5
RETRY_SECONDS = 5.0


class Listener:
    """A connection that only listens. Without it work is found by polling, a little later."""

    def __init__(self, url: str, channels: Sequence[str], name: str = "") -> None:
        """`url` is SQLAlchemy's or libpq's; it must not lead through a transaction pooler.

        `name`: what is said with a payload counts only when the payload is this.
        """
        self._dsn = url.replace("+psycopg2", "", 1)
        self._channels = tuple(channels)
        self._name = name
        self.called = False
        """Whether this name was called; set it back once that is dealt with."""
        self._connection: Any = None
        self._not_before = 0.0

    def fileno(self) -> int | None:
        """Readable when something was said; None while there is no connection."""
        return None if self._connection is None else int(self._connection.fileno())

    def heard(self) -> bool:
        """Whether anything was said since the last call. Connects when it is not connected.

        A new connection counts as news: what was said before it is not known.
        """
        if self._connection is None:
            return self._connect()
        try:
            if not select.select([self._connection], [], [], 0)[0]:
                return False
            self._connection.poll()
        except (psycopg2.Error, OSError):
            self.close()
            return True
        said = [n.payload for n in self._connection.notifies if n.payload in {"", self._name}]
        self._connection.notifies.clear()
        self.called = self.called or bool(self._name and self._name in said)
        return bool(said)

    def close(self) -> None:
        """End the connection."""
        if self._connection is not None:
            with contextlib.suppress(psycopg2.Error):
                self._connection.close()
        self._connection = None

    def _connect(self) -> bool:
        if time.monotonic() < self._not_before:
            return False
        self._not_before = time.monotonic() + RETRY_SECONDS
        try:
            connection = psycopg2.connect(
                self._dsn,
                connect_timeout=CONNECT_SECONDS,
                application_name="data-miner listener",
                **KEEPALIVE,
            )
        except psycopg2.Error:
            return False  # the claim loop meets the same database and says so
        connection.autocommit = True
        with connection.cursor() as cursor:
            for channel in self._channels:
                cursor.execute(sql.SQL("LISTEN {}").format(sql.Identifier(channel)))
        self._connection = connection
        return True
