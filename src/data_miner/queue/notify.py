"""Wake workers that listen. A hint only: who misses one still polls."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable

from sqlalchemy import Connection, text

NOTIFY = text("SELECT pg_notify(:channel, '')")


def channel(stage: str) -> str:
    """The channel on which new work of a stage is announced."""
    return f"dataminer_{stage}"


class Notifier:
    """Announces new work, for each stage at most once in `interval_seconds`.

    In every commit it would cost more than the work itself. One per process; call it in a
    transaction of its own after the commit that made the work.
    """

    def __init__(
        self, interval_seconds: float = 0.1, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._interval = interval_seconds
        self._clock = clock
        self._last: dict[str, float] = {}

    def __call__(self, connection: Connection, stages: Iterable[str]) -> set[str]:
        """Announce these stages; returns those that were announced too lately and must wait."""
        now = self._clock()
        held: set[str] = set()
        for stage in stages:
            if now - self._last.get(stage, float("-inf")) < self._interval:
                held.add(stage)
            else:
                connection.execute(NOTIFY, {"channel": channel(stage)})
                self._last[stage] = now
        return held
