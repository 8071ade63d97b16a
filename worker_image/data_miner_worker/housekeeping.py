"""What somebody has to do for all, done by whichever worker holds the lock: one class per duty."""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol

from sqlalchemy import Connection, Engine, text

from data_miner import telemetry
from data_miner.stage import StageError
from data_miner_worker.database import DatabaseAwayError, away_is_named

DATABASE_LOCK = 1684892011
"""Key of the advisory lock of whoever keeps the database in order."""
STORE_LOCK = 1684892012
"""Key of the advisory lock of whoever sweeps the store."""
time_of_day = time.time
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

    @property
    def after_outage_seconds(self) -> float:
        """Time that the others get to come back too, before this is done again."""

    def run(self, conn: Connection) -> None:
        """Do it; the caller commits. May commit in between."""

    def given_up(self) -> None:
        """Another worker keeps house now: forget what only a housekeeper may tell."""


@dataclass(slots=True)
class Housekeeper:
    """A thread that asks for a lock, and does its duties in turn while it holds it.

    The lock belongs to a database session that may not be idle for longer than `idle_seconds`: a
    worker that was stopped, or whose machine hangs, does not keep everybody's house untidy.
    """

    engine: Engine
    duties: Sequence[Duty]
    lock: int
    idle_seconds: float
    _stop: threading.Event = field(default_factory=threading.Event)
    _thread: threading.Thread | None = None
    _outage: bool = False

    def start(self) -> None:
        """Begin in a thread of its own: a slow sweep must not delay a heartbeat."""
        self._thread = threading.Thread(target=self._keep, name="housekeeping", daemon=True)
        self._thread.start()

    def ask_to_stop(self) -> None:
        """Begin no further duty."""
        self._stop.set()

    def stop(self, within_seconds: float = 0.5) -> None:
        """End after the duty in hand; what does not end in time is left to the process's end."""
        self.ask_to_stop()
        if self._thread is not None:
            self._thread.join(within_seconds)

    def _keep(self) -> None:
        look = max(0.05, min([LOOK_SECONDS, *(duty.every_seconds for duty in self.duties)]))
        while not self._stop.is_set():
            try:
                with away_is_named(), self.engine.connect() as conn:
                    self._hold(conn, look)
            except DatabaseAwayError as error:
                if not self._outage:  # one line for an outage, not one for each try
                    log.info("housekeeping_interrupted", error=str(error))
                self._outage = True
            for duty in self.duties:
                duty.given_up()
            self._stop.wait(look)

    def _hold(self, conn: Connection, look: float) -> None:
        """Do duties for as long as the session, and with it the lock, lasts."""
        for setting in ("idle_session_timeout", "idle_in_transaction_session_timeout"):
            limit = {"name": setting, "value": f"{round(self.idle_seconds * 1000)}ms"}
            conn.execute(text("SELECT set_config(:name, :value, false)"), limit)
        while not self._locked(conn):
            if self._stop.wait(look):
                return
        now = time.monotonic()
        due = {d.name: now + (d.after_outage_seconds if self._outage else 0) for d in self.duties}
        self._outage = False
        while not self._stop.is_set():
            for duty in self.duties:
                if time.monotonic() >= due[duty.name] and not self._stop.is_set():
                    self._do(duty, conn)
                    due[duty.name] = time.monotonic() + duty.every_seconds
            conn.execute(text("SELECT 1"))  # the session is alive, and so is its lock
            conn.commit()
            pause = min(min(due.values()) - time.monotonic(), self.idle_seconds / 3)
            if self._slept(max(0.02, pause)):
                now = time.monotonic()
                due = {d.name: max(due[d.name], now + d.after_outage_seconds) for d in self.duties}

    def _slept(self, seconds: float) -> bool:
        """Wait; whether the whole machine slept meanwhile, and with it everybody's heartbeats.

        Leases go by the time of day, waiting does not: a laptop that wakes is as one whose
        database was away.
        """
        day, ran = time_of_day(), time.monotonic()
        self._stop.wait(seconds)
        return time_of_day() - day - (time.monotonic() - ran) > self.idle_seconds

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
        except StageError as error:  # a store that is away, or full: the next round asks again
            conn.rollback()
            log.warning("housekeeping_put_off", duty=duty.name, error=str(error))
        except Exception:
            conn.rollback()
            log.exception("housekeeping_failed", duty=duty.name)

    def _locked(self, conn: Connection) -> bool:
        held = conn.execute(text("SELECT pg_try_advisory_lock(:key)"), {"key": self.lock}).scalar()
        conn.commit()
        return bool(held)
