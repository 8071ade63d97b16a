"""When the database cannot be reached: which errors mean that, and how long to wait."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from sqlalchemy.exc import DBAPIError, InterfaceError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError

from data_miner import telemetry
from data_miner.errors import DatabaseError
from data_miner.outside import shown

RETRY_SECONDS = (0.1, 0.3, 1.0, 2.0, 5.0)
"""Pauses between tries; the last one stays."""

log = telemetry.logger()


class DatabaseAwayError(DatabaseError):
    """The database did not do it, and the same may work in a moment: nothing was committed."""


@contextmanager
def away_is_named() -> Iterator[None]:
    """Turn every sign that the database is away, busy or in a deadlock into DatabaseAwayError."""
    try:
        yield
    except (OperationalError, InterfaceError, PoolTimeoutError, DatabaseError) as error:
        raise DatabaseAwayError(first_line(error)) from error
    except DBAPIError as error:
        if not error.connection_invalidated:
            raise
        raise DatabaseAwayError(first_line(error)) from error


def first_line(error: BaseException) -> str:
    """What happened, without the statement, its values or a password."""
    cause = getattr(error, "orig", None) or error
    return shown((str(cause).strip().splitlines() or [type(cause).__name__])[0])


@dataclass(slots=True)
class Backoff:
    """Whether it is time to ask the database again."""

    failures: int = 0
    _not_before: float = 0.0

    @property
    def wait_seconds(self) -> float:
        """Time until the next try; 0 when one may be made."""
        return max(0.0, self._not_before - time.monotonic())

    def failed(self, error: DatabaseAwayError) -> None:
        """Note a failure; only the first one in a row is worth a line in the log."""
        if not self.failures:
            telemetry.WORKER_DATABASE_LOST.inc()
            log.warning("database_away", error=str(error))
        pause = RETRY_SECONDS[min(self.failures, len(RETRY_SECONDS) - 1)]
        self.failures += 1
        self._not_before = time.monotonic() + pause

    def worked(self) -> None:
        """Note that the database answered."""
        if self.failures:
            log.info("database_back", tries=self.failures)
        self.failures, self._not_before = 0, 0.0
