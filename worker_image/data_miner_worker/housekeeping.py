"""What somebody has to do for all, done by whichever worker holds the lock: one class per duty."""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol

from sqlalchemy import Connection, Engine, text

from data_miner import telemetry
from data_miner_worker.database import DatabaseAwayError, away_is_named

LOCK_KEY = 7301
"""Key of the session's advisory lock: who holds it keeps house."""
LOOK_SECONDS = 5.0
"""How often a worker without the lock asks for it."""

log = telemetry.logger()


class Duty(Protocol):
    """Something that is due every so often."""

    @property
    def name(self) -> str:
        """What the log calls it."""

    @property
    def every_seconds(self) -> float:
        """Time between two runs."""

    def run(self, conn: Connection) -> None:
        """Do it; the caller commits. May commit in between."""

    def given_up(self) -> None:
        """Another worker keeps house now: forget what only a housekeeper may tell."""


@dataclass(slots=True)
class Housekeeper:
    """A thread that asks for the lock, and does the duties in turn while it holds it."""

    engine: Engine
    duties: Sequence[Duty]
    _stop: threading.Event = field(default_factory=threading.Event)
    _thread: threading.Thread | None = None

    def start(self) -> None:
        """Begin in a thread of its own: a slow sweep must not delay a heartbeat."""
        self._thread = threading.Thread(target=self._keep, name="housekeeping", daemon=True)
        self._thread.start()

    def stop(self, within_seconds: float = 2.0) -> None:
        """End after the duty in hand; what does not end in time is left to the process's end."""
        self._stop.set()
        if self._thread is not None:
            self._thread.join(within_seconds)

    def _keep(self) -> None:
        look = min([LOOK_SECONDS, *(duty.every_seconds for duty in self.duties)])
        while not self._stop.is_set():
            try:
                with away_is_named(), self.engine.connect() as conn:
                    self._hold(conn, look)
            except DatabaseAwayError as error:
                log.info("housekeeping_without_database", error=str(error))
            for duty in self.duties:
                duty.given_up()
            self._stop.wait(max(look, 0.05))

    def _hold(self, conn: Connection, look: float) -> None:
        """Do duties for as long as the session, and with it the lock, lasts."""
        while not self._stop.is_set() and not self._locked(conn):
            self._stop.wait(max(look, 0.05))
        due = dict.fromkeys((duty.name for duty in self.duties), time.monotonic())
        while not self._stop.is_set():
            for duty in self.duties:
                if time.monotonic() >= due[duty.name] and not self._stop.is_set():
                    self._do(duty, conn)
                    due[duty.name] = time.monotonic() + duty.every_seconds
            self._stop.wait(max(0.02, min(due.values()) - time.monotonic()))

    def _do(self, duty: Duty, conn: Connection) -> None:
        """One duty in a transaction; one that fails by its own fault does not keep the others."""
        try:
            with away_is_named():
                duty.run(conn)
                conn.commit()
        except DatabaseAwayError:
            conn.rollback()
            conn.execute(text("SELECT 1"))  # a lost session ends the holding, a deadlock does not
            conn.rollback()
        except Exception:
            conn.rollback()
            log.exception("housekeeping_failed", duty=duty.name)

    def _locked(self, conn: Connection) -> bool:
        held = conn.execute(text("SELECT pg_try_advisory_lock(:key)"), {"key": LOCK_KEY}).scalar()
        conn.commit()
        return bool(held)
