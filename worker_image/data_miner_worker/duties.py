"""The duties of whoever keeps house, one small class each."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field

from sqlalchemy import Connection, text

from data_miner import queue, telemetry
from data_miner.catalog import garbage, pointers, removals, workers
from data_miner.catalog.removals import Removal
from data_miner.errors import SpecError
from data_miner.pipeline import NAMES
from data_miner.queue import Notifier
from data_miner.settings import Settings
from data_miner.stage import StageError
from data_miner.storage import Store
from data_miner.storage.reach import check_reach
from data_miner_worker.database import RETRY_SECONDS
from data_miner_worker.housekeeping import Duty
from data_miner_worker.unpublish import unpublish

GAUGE_SECONDS = 15.0
REMOVAL_SECONDS = 15.0
STORE_SWEEPS_PER_AGE = 24
"""The store is swept this often in the time that an orphan may live."""
WORKER_ROW_SECONDS = 7 * 86400.0
STATES = ("ready", "waiting", "running", "failed")

log = telemetry.logger()


def database_duties(settings: Settings) -> Sequence[Duty]:
    """What keeps the queue right, most urgent first."""
    return (Rescue(settings), Sweep(settings), Gauges(), ForgetWorkers())


def store_duties(settings: Settings, store: Store) -> Sequence[Duty]:
    """What keeps files in line with the rows."""
    return (Removals(settings), Pointers(settings), StoreSweep(settings, store))


@dataclass(slots=True)
class Rescue:
    """Takes back the tasks of workers that have vanished."""

    settings: Settings
    name: str = "rescue"

    @property
    def every_seconds(self) -> float:
        return max(0.05, self.settings.rescue_seconds)

    @property
    def after_outage_seconds(self) -> float:
        """The living extend their leases first: all of them ran out while nobody could.

        Each asks again after its longest pause at most, and then has two heartbeats of time.
        """
        return RETRY_SECONDS[-1] + 2 * self.settings.heartbeat_seconds

    def run(self, conn: Connection) -> None:
        rescued = queue.rescue(
            conn,
            max_losses=self.settings.max_losses,
            backoff_seconds=self.settings.lost_backoff_seconds,
            backoff_max_seconds=self.settings.lost_backoff_max_seconds,
            first_wave=self.settings.first_wave,
        )
        if rescued:
            telemetry.QUEUE_RESCUED.inc(len(rescued))
            log.warning(
                "rescued", tasks=len(rescued), workers=sorted({x.worker_id for x in rescued})
            )

    def given_up(self) -> None:
        """Nothing is told by this duty alone."""


@dataclass(slots=True)
class Sweep:
    """Plans whatever is missing: what the transactions that end tasks did not see."""

    settings: Settings
    notify: Notifier = field(default_factory=Notifier)
    name: str = "sweep"
    after_outage_seconds: float = 0

    @property
    def every_seconds(self) -> float:
        return max(0.05, self.settings.sweep_seconds)

    def run(self, conn: Connection) -> None:
        swept = queue.sweep(conn, first_wave=self.settings.first_wave)
        conn.commit()
        if swept is None or not swept.changed:
            return
        telemetry.QUEUE_PLANNED.inc(sum(swept.planned.values()))
        self.notify(conn, [*swept.planned, *(["download"] if swept.waves else [])])

    def given_up(self) -> None:
        """Nothing is told by this duty alone."""


@dataclass(slots=True)
class Gauges:
    """Tells how much work there is; only one worker does, so that sums are right."""

    name: str = "gauges"
    every_seconds: float = GAUGE_SECONDS
    after_outage_seconds: float = 0

    def run(self, conn: Connection) -> None:
        counts = {
            (row.stage, row.state): row.tasks
            for row in conn.execute(
                text("SELECT stage, state, count(*) AS tasks FROM tasks GROUP BY stage, state")
            )
        }
        ages = {
            row.stage: row.age
            for row in conn.execute(
                text(
                    "SELECT stage, extract(epoch FROM dataminer_now() - min(created_at))::float"
                    " AS age FROM tasks WHERE state = 'ready' GROUP BY stage"
                )
            )
        }
        for stage in NAMES:
            telemetry.QUEUE_OLDEST_SECONDS.labels(stage).set(ages.get(stage, 0.0))
            for state in STATES:
                telemetry.QUEUE_TASKS.labels(stage, state).set(counts.get((stage, state), 0))

    def given_up(self) -> None:
        telemetry.QUEUE_TASKS.clear()
        telemetry.QUEUE_OLDEST_SECONDS.clear()


@dataclass(slots=True)
class ForgetWorkers:
    """Removes the rows of workers that are long gone."""

    name: str = "forget_workers"
    every_seconds: float = 3600.0
    after_outage_seconds: float = 60.0

    def run(self, conn: Connection) -> None:
        workers.forget(conn, older_than_seconds=WORKER_ROW_SECONDS)

    def given_up(self) -> None:
        """Nothing is told by this duty alone."""


@dataclass(slots=True)
class Pointers:
    """Lets the names of datasets lead to the versions that were recorded last."""

    settings: Settings
    name: str = "pointers"
    after_outage_seconds: float = 0

    @property
    def every_seconds(self) -> float:
        return max(0.05, self.settings.sweep_seconds)

    def run(self, conn: Connection) -> None:
        pointers.follow(conn)

    def given_up(self) -> None:
        """Nothing is told by this duty alone."""


@dataclass(slots=True)
class Removals:
    """Removes published versions whose project is gone and was to take them along."""

    settings: Settings
    name: str = "removals"
    after_outage_seconds: float = 0

    @property
    def every_seconds(self) -> float:
        return max(0.05, min(REMOVAL_SECONDS, self.settings.sweep_seconds))

    def run(self, conn: Connection) -> None:
        found = removals.waiting(conn)
        conn.commit()  # no transaction stays open while files are looked at
        for one in found:
            problem = self._remove(conn, one)
            if problem is None:
                removals.finish(conn, one.uri)
            else:
                removals.put_off(conn, one.uri, problem)
            conn.commit()
            if problem and problem != one.error:
                log.warning("dataset_not_removed", uri=one.uri, error=problem)

    def _remove(self, conn: Connection, one: Removal) -> str | None:
        """Why the version is still there; None when there is nothing left to do."""
        try:
            check_reach(one.uri, self.settings.allowed_prefixes, what="dataset")
        except SpecError as error:
            return str(error)
        # From here on no export begins in this place; those that did before are seen below.
        removals.start(conn, one.uri)
        conn.commit()
        wanted, busy = removals.is_wanted(conn, one.uri), removals.is_busy(conn, one.uri)
        conn.commit()
        if wanted:
            return None
        if busy:
            return "an export runs in the same place"
        try:
            files = unpublish(one.uri, one.digest)
        except StageError as error:
            return str(error)
        log.info("dataset_removed", uri=one.uri, files=files)
        return None

    def given_up(self) -> None:
        """Nothing is told by this duty alone."""


@dataclass(slots=True)
class StoreSweep:
    """Removes the files of the store that no row names."""

    settings: Settings
    store: Store
    name: str = "store_sweep"
    after_outage_seconds: float = 0

    @property
    def every_seconds(self) -> float:
        return max(1.0, self.settings.orphan_seconds / STORE_SWEEPS_PER_AGE)

    def run(self, conn: Connection) -> None:
        def referenced(digests: Collection[str]) -> Collection[str]:
            found = garbage.referenced(conn, digests)
            conn.commit()  # no transaction stays open while files are looked at
            return found

        swept = self.store.sweep(referenced, older_than_seconds=self.settings.orphan_seconds)
        telemetry.STORE_SWEPT.labels("object").inc(swept.objects)
        telemetry.STORE_SWEPT.labels("temporary").inc(swept.temporary)
        telemetry.STORE_SWEPT_BYTES.inc(swept.bytes)
        if swept.objects or swept.temporary:
            log.info(
                "store_swept",
                objects=swept.objects,
                temporary=swept.temporary,
                bytes=swept.bytes,
            )

    def given_up(self) -> None:
        """Nothing is told by this duty alone."""
