"""A whole installation in one thread: two replicas, an API server, PostgreSQL, pools and workers.

Time stands still until `go` moves it, and every clock (the operator's, the API server's, the
database's) may be set forward and back. What replicas do is judged when it takes effect, against
what the test itself knows of every object that there ever was.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import psycopg2
from sqlalchemy import Engine, text

from data_miner.db.engine import engine_for
from data_miner.db.migrate import upgrade
from data_miner.settings import Settings
from data_miner_operator import metrics
from data_miner_operator.api import CRON_JOBS, DEPLOYMENTS, PROJECTS
from data_miner_operator.facts import Key
from data_miner_operator.labels import TEMPLATE
from data_miner_operator.listening import CHANNEL
from data_miner_operator.routing import SLICES
from data_miner_operator.scaling.annotations import PREFIX
from support.api_model import FOREIGN, Server
from support.catalog import World
from support.database import Databases, libpq
from support.operator_fleet import NAMESPACE as POOLS_NAMESPACE
from support.operator_fleet import POOLS, Fleet
from support.operator_judge import TERMINATE, Judge, scaled_elsewhere
from support.operator_replica import OWN_NAMESPACE, RESYNC_SECONDS, Fault, Planned, Replica
from support.virtual_loop import VirtualLoop

BASE = datetime(2026, 11, 21, 12, 0, tzinfo=UTC)
KEYS: tuple[Key, ...] = (("team", "a"), ("team", "b"), ("other", "a"))
MODELS = ("tiny-clip", "tiny-dino", "tiny-detector")
QUIET_LOOKS = 4
MOST_LOOKS = 80


class Town:
    """One history's; `close` it."""

    def __init__(self, databases: Databases, template: str, folder: Path) -> None:
        random.seed(0)  # what the operator leaves to chance, such as jitter
        self.databases = databases
        self.folder = folder
        self.url = databases.create(template)
        self.loop = VirtualLoop()
        self.shifts = {"operator": 0.0, "database": 0.0}
        self.server = Server(self._now_of("server"))
        self.world = World(engine_for(self.url, pool_size=2), Settings(home=folder))
        self._admin = psycopg2.connect(libpq(databases.server.url))
        self._admin.autocommit = True
        self._listener = psycopg2.connect(libpq(self.url))
        self._listener.autocommit = True
        self._listener.cursor().execute(f"LISTEN {CHANNEL}")
        self.fleet = Fleet(self.server, self.world)
        self.judge = Judge(self.server, self.world, self.fleet, self._sql, self.url, folder)
        self.missing: set[str] = set()
        """Models that no store has."""
        self.database = True
        self._count = 0
        self._defects = _defects()
        self._engines: list[Engine] = []
        self.server.put(
            CRON_JOBS, (OWN_NAMESPACE, "template"), labels={TEMPLATE: "model"},
            spec={"jobTemplate": {"spec": {"template": {"spec": {"containers": [{}]}}}}},
        )  # fmt: skip
        self.fleet.install()
        self._set_database_clock(0)
        for videos in (("ada", "bo", "cy"), ("bo", "di")):
            self.world.find(*videos, source=len(self.world.listings))
        self.replicas = [self._replica(), self._replica()]
        self.replicas[0].elect()
        self.go(0)

    def close(self) -> None:
        """Everything ends, whatever state it is in."""
        for replica in self.replicas:
            replica.close()
        self.loop.run()
        self.loop.close()
        self.database_up()
        for engine in (*self._engines, self.world.engine):
            engine.dispose()
        self._admin.close()
        self._listener.close()
        self.databases.drop(self.url)

    # Time

    def _now_of(self, clock: str) -> Callable[[], datetime]:
        return lambda: BASE + timedelta(seconds=self.loop.now + self.shifts.get(clock, 0.0))

    def operator_now(self) -> datetime:
        return self._now_of("operator")()

    def go(self, seconds: float) -> None:
        """Let time go by in one leap, and everybody do what he can do by then."""
        if self.database:
            self._set_database_clock(seconds)
            self.fleet.beat()
        self.fleet.keep(database=self.database)
        self.loop.now += seconds
        self.judge.latest = max(self.judge.latest, self.operator_now())
        for _ in range(6):
            self._notify()
            for replica in self.replicas:
                if not replica.lags and not replica.port.dead:
                    self.loop.call_soon(replica.hear)
            self.loop.run()
            if all(r.lags or r.port.dead or not r.feed for r in self.replicas):
                break
        self._after()

    def _notify(self) -> None:
        """Pass on what PostgreSQL tells of projects; who lags misses it."""
        self._listener.cursor().execute("SELECT 1")
        told = {int(found.payload) for found in self._listener.notifies}
        self._listener.notifies.clear()
        for replica in self.replicas:
            if replica.leads and self.database and not replica.lags:
                for project_id in sorted(told):
                    self.loop.call_soon(replica.tell, project_id)

    def _set_database_clock(self, seconds: float) -> None:
        shift = self._now_of("database")() - BASE + timedelta(seconds=seconds)
        with self.world.begin() as conn:
            conn.execute(text("UPDATE clock SET shift = :shift"), {"shift": shift})

    def _after(self) -> None:
        for number, replica in enumerate(self.replicas):
            self.judge.violations += replica.ended()
            if replica.port.dead:
                # The pod is started again: another process with empty hands.
                replica.close()
                self.server.feeds = [f for f in self.server.feeds if f is not replica.feed]
                fresh = self._replica()
                fresh.port.late = replica.port.late
                self.replicas[number] = fresh
        self.judge.violations += self.loop.problems
        self.loop.problems.clear()
        if _defects() != self._defects:
            self._defects = _defects()
            self.judge.violations.append("a pass has ended with a defect: see the log")

    # Users

    def create(self, key: Key, spec: Mapping[str, Any], annotations: Mapping[str, str]) -> None:
        found = self.server.put(
            PROJECTS, key, spec=spec, annotations={PREFIX + k: v for k, v in annotations.items()}
        )
        self.judge.note(found)

    def edit(self, key: Key, spec: Mapping[str, Any]) -> None:
        if self.server.find(PROJECTS, key) is not None:
            self.judge.note(self.server.put(PROJECTS, key, spec=spec))

    def annotate(self, key: Key, annotations: Mapping[str, str]) -> None:
        if self.server.find(PROJECTS, key) is not None:
            said = {PREFIX + k: v for k, v in annotations.items()}
            self.judge.note(self.server.put(PROJECTS, key, annotations=said))

    def delete(self, key: Key) -> None:
        self.server.drop(PROJECTS, key)

    def finalize(self, key: Key) -> None:
        """Somebody else holds the object."""
        if self.server.find(PROJECTS, key) is not None:
            self.server.put(PROJECTS, key, finalizers=["else.where/it"])

    def comment(self, key: Key) -> None:
        """Somebody else has a condition of his own in the status."""
        found = self.server.find(PROJECTS, key)
        if found is not None and found.get("status"):
            others = [c for c in found["status"]["conditions"] if c["type"] != "Elsewhere"]
            mine = {"type": "Elsewhere", "status": "True", "reason": "R", "message": FOREIGN}
            self.server.put(PROJECTS, key, status={"conditions": [*others, mine]})

    def resize(self, pool: str, replicas: int) -> None:
        """By hand."""
        self.server.put(DEPLOYMENTS, (POOLS_NAMESPACE, pool), spec=self._pool(pool, replicas))

    def _pool(self, pool: str, replicas: int) -> dict[str, Any]:
        found = self.server.find(DEPLOYMENTS, (POOLS_NAMESPACE, pool))
        assert found is not None
        return {**found["spec"], "replicas": replicas}

    def bound(self, pool: str, annotations: Mapping[str, str]) -> None:
        """Other annotations of a pool."""
        found = self.server.find(DEPLOYMENTS, (POOLS_NAMESPACE, pool))
        assert found is not None
        said = {PREFIX + k: v for k, v in annotations.items()}
        kept = found["metadata"]["annotations"]
        self.server.put(DEPLOYMENTS, (POOLS_NAMESPACE, pool), annotations={**kept, **said})

    # The database

    def database_down(self) -> None:
        """No connection is taken any more, and the operator's own end."""
        self.database = False
        self._sql(f'ALTER DATABASE "{self._name}" ALLOW_CONNECTIONS false')
        self._sql(f"{TERMINATE} datname = '{self._name}' AND application_name = 'replica'")

    def database_up(self) -> None:
        self.database = True
        self._sql(f'ALTER DATABASE "{self._name}" ALLOW_CONNECTIONS true')

    @property
    def _name(self) -> str:
        return urlsplit(self.url).path[1:]

    def _sql(self, statement: str) -> list[tuple[Any, ...]]:
        with closing(self._admin.cursor()) as cursor:
            cursor.execute(statement)
            return list(cursor.fetchall()) if cursor.description else []

    # Replicas

    def _replica(self) -> Replica:
        self._count += 1
        engine = engine_for(self.url, application_name="replica", lock_timeout_seconds=5)
        self._engines.append(engine)
        self.judge.watch(engine)
        return Replica(
            f"replica-{self._count}", self.loop, self.server, engine, self.judge,
            now=self.operator_now, missing=self.missing, folder=self.folder,
        )  # fmt: skip

    def plan(self, replica: int, points: int, fault: Fault | Callable[[], None]) -> None:
        """Let something happen at a replica's n-th point from now."""
        self.replicas[replica].port.planned = Planned(points, fault)

    def disturb(self, replica: int, how: str) -> None:
        """The watch of a replica does what watches do."""
        target = self.replicas[replica]
        feed = target.feed
        match how:
            case "lag":
                target.lags = True
            case "catch up":
                target.lags = False
            case "lose":
                del feed[:1]
            case "twice":
                feed.extend(feed[:2])
            case "swap":
                feed[:2] = reversed(feed[:2])
            case "gone":  # 410: what was not heard is found by listing
                feed.clear()
                self.loop.call_soon(target.resync.soon)

    # The end

    def settle(self, leader: int) -> None:
        """All trouble ends, and everybody works until there is nothing left to do."""
        self.server.away = False
        self.database_up()
        # What was put off before a clock was set back waits for so much longer, as it should.
        self.shifts["database"] = max(0.0, self.shifts["database"])
        self.fleet.trouble.clear()
        self.missing.clear()
        for number, replica in enumerate(self.replicas):
            replica.port.planned = replica.port.armed = None
            replica.lags = False
            replica.port.thaw()
            replica.port.arrive()
            if number != leader:
                replica.step_down()
        for key in KEYS:
            self.server.let_go(PROJECTS, key)
        for name in POOLS:
            found = self.server.find(DEPLOYMENTS, (POOLS_NAMESPACE, name))
            if found is not None and not found["spec"]["replicas"] and scaled_elsewhere(found):
                self.resize(name, 1)
        self.replicas[leader].elect()
        for _ in range(SLICES + 1):  # news that nobody was told of are found in the rounds
            self.go(RESYNC_SECONDS + 2)
        quiet = 0
        for _ in range(MOST_LOOKS):
            self.replicas[leader].elect()
            before = self._mark()
            self.go(6)
            self.fleet.house()
            self.fleet.finish()
            self.fleet.work(50)
            same = before == self._mark()
            quiet = quiet + 1 if same and self.replicas[leader].leads else 0
            if quiet == QUIET_LOOKS or self.judge.violations:
                return
        self.judge.violations.append(f"it never comes to rest: {self.server.writes}")

    def _mark(self) -> object:
        """Changes whenever something is written that matters."""
        return self.server.writes.total(), self.judge.last_write()

    def second_look(self, leader: int) -> None:
        """A full pass over everything, and a minute more: nothing is written."""
        writes, image = self.server.writes.copy(), self.judge.image()
        self.loop.call_soon(self.replicas[leader].router.everything)
        for _ in range(3):
            self.go(30)
        if self.server.writes != writes:
            self.judge.violations.append(
                f"a quiet cluster is written to: {self.server.writes - writes}"
            )
        changed = self.judge.image() ^ image
        if changed:
            wrong = f"a quiet database is written to: {sorted(changed)}"
            self.judge.violations.append(wrong)


def build(url: str) -> None:
    """The schema, with a clock that stands still: what a slow machine takes must not count."""
    upgrade(url)
    engine = engine_for(url)
    with engine.begin() as conn:
        conn.execute(
            text(
                "CREATE OR REPLACE FUNCTION dataminer_now() RETURNS timestamptz LANGUAGE sql STABLE"
                f" PARALLEL SAFE RETURN timestamptz '{BASE.isoformat()}'"
                " + coalesce((SELECT shift FROM clock), interval '0')"
            )
        )
    engine.dispose()


def _defects() -> float:
    """How many passes have ended with an exception that nobody expects."""
    return float(metrics.RECONCILE_ERRORS.labels("defect")._value.get())
