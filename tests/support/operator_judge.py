"""Judges what replicas of the operator do, at the moment at which it takes effect.

It knows every object that there ever was, and looks at each transaction just before its commit.
"""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, NamedTuple

from sqlalchemy import Connection, Engine, event

from data_miner.catalog import leadership
from data_miner.db.engine import engine_for
from data_miner.errors import SpecError
from data_miner_operator.api import DEPLOYMENTS, EVENTS, JOBS, PODS, PROJECTS, Body, Resource
from data_miner_operator.facts import Key, ModelFact, Site
from data_miner_operator.reconcile.asked import asked
from data_miner_operator.reconcile.fit import LIMIT_BYTES, size
from data_miner_operator.reconcile.times import parse
from data_miner_operator.reconcile.wanted import compiled, models_named, read
from data_miner_operator.scaling.annotations import POOL_LABEL, PREFIX
from data_miner_operator.scaling.pools import DELETION_COST
from support.api_model import Object, Server
from support.catalog import World, models
from support.operator_fleet import NAMESPACE as POOLS_NAMESPACE
from support.operator_fleet import POOLS, Fleet
from support.operator_replica import HERE, Fault, Replica


@dataclass(slots=True)
class Life:
    """An object from its first day on, as the test knows it."""

    key: Key
    specs: dict[int, Any] = field(default_factory=dict)
    """By generation."""
    adopts: bool = False
    """It has ever had the annotation."""

    @property
    def policies(self) -> set[str]:
        """What it has ever said of its data."""
        return {str(spec.get("deletionPolicy", "Retain")) for spec in self.specs.values()}


class Line(NamedTuple):
    """A project's row, as far as it is judged."""

    key: Key
    installation: str | None
    uid: str | None
    digest: str | None
    suspended: bool
    policy: str
    deleted: bool
    datasets: int


_LINES = """
    SELECT project_id, namespace, name, owner_installation, owner_uid, applied_digest, suspended,
           coalesce(spec ->> 'deletionPolicy', 'Retain'), deleted_at IS NOT NULL,
           (SELECT count(*) FROM datasets d WHERE d.project_id = p.project_id)
    FROM projects p
"""


class Judge:
    """`violations` is to be empty."""

    def __init__(
        self,
        server: Server,
        world: World,
        fleet: Fleet,
        admin: Callable[[str], list[tuple[Any, ...]]],
        url: str,
        folder: Path,
    ) -> None:
        self.violations: list[str] = []
        self.lives: dict[str, Life] = {}
        """By uid."""
        self.applied: set[tuple[str, str]] = set()
        """Uid and digest of all that was ever written for an object."""
        self.latest = server.now()
        """The furthest that the operator's clock has ever been."""
        self._server = server
        self._world = world
        self._fleet = fleet
        self._admin = admin
        self._url = url
        self._site = Site(HERE, str(folder), "", None)
        self._digests: dict[str, str | None] = {}
        self._open: dict[int, tuple[Replica, int | None]] = {}
        self._third: threading.Thread | None = None

    # What is known

    def note(self, found: Object) -> None:
        metadata = found["metadata"]
        key = (metadata["namespace"], metadata["name"])
        life = self.lives.setdefault(metadata["uid"], Life(key))
        life.specs[metadata["generation"]] = found["spec"]
        life.adopts |= metadata.get("annotations", {}).get(f"{PREFIX}adopt") == "true"

    def lines(self) -> dict[int, Line]:
        """All rows, as they are committed."""
        return _lines(self._world.rows(_LINES))

    def image(self) -> set[tuple[str, ...]]:
        """Every row of every table with the transaction that wrote it."""
        parts = (
            f"SELECT '{name}', ctid::text, xmin::text, t::text FROM \"{name}\" t"
            for name in self._tables()
        )
        return {tuple(row) for row in self._world.rows(" UNION ALL ".join(parts))}

    def last_write(self) -> object:
        """Another one whenever a row was written or deleted."""
        parts = (
            f'SELECT count(*) AS n, max(xmin::text::bigint) AS x FROM "{name}"'
            for name in self._tables()
        )
        rows = self._world.rows(" UNION ALL ".join(parts))
        return [tuple(row) for row in rows]

    def _tables(self) -> list[str]:
        """All but those that workers and clocks write to while nothing happens."""
        rows = self._world.rows(
            "SELECT relname FROM pg_class"
            " WHERE relkind = 'r' AND relnamespace = 'public'::regnamespace ORDER BY 1"
        )
        return [name for (name,) in rows if name not in {"clock", "workers"}]

    def wanted_digest(self, spec: Any, key: Key) -> str | None:
        """What applying the spec would write; None when it is not valid."""
        known = json.dumps([spec, key], sort_keys=True)
        if known not in self._digests:
            self._digests[known] = self._digest(spec, key)
        return self._digests[known]

    def _digest(self, spec: Any, key: Key) -> str | None:
        found = {
            "apiVersion": PROJECTS.api_version,
            "kind": PROJECTS.kind,
            "metadata": {"namespace": key[0], "name": key[1]},
            "spec": spec,
        }
        try:
            project = read(found, self._site)
        except SpecError:
            return None
        facts = {
            name: ModelFact(name, models(name), "", None, can_be_made=False)
            for name in models_named(found)
        }
        return compiled(project, facts).digest

    def alive(self, uid: str | None, key: Key) -> bool:
        """Whether this very object is there and not going."""
        found = self._server.find(PROJECTS, key)
        if found is None or found["metadata"]["uid"] != uid:
            return False
        return "deletionTimestamp" not in found["metadata"]

    # Transactions

    def watch(self, engine: Engine) -> None:
        """Look at each transaction of a replica's engine just before it is committed."""
        event.listen(engine, "commit", self._commits)

    @contextmanager
    def transaction(self, replica: Replica, epoch: int | None) -> Iterator[None]:
        """Around each call of a replica's catalogue."""
        self._open[id(replica.catalogue.engine)] = (replica, epoch)
        try:
            yield
        finally:
            if self._third is not None:
                self._third.join(20)
                if self._third.is_alive():
                    self.violations.append("nobody can take office")
                self._third = None

    def _commits(self, conn: Connection) -> None:
        """Just before a replica's transaction is committed."""
        replica, epoch = self._open[id(conn.engine)]
        dbapi: Any = conn.connection
        with closing(dbapi.cursor()) as cursor:
            cursor.execute("SELECT pg_current_xact_id_if_assigned()::text, pg_backend_pid()")
            xid, pid = cursor.fetchone()
            if xid is None:
                return
            cursor.execute("SELECT epoch FROM leaders WHERE installation = %s", (HERE,))
            (found,) = cursor.fetchone() or (None,)
            before = self._world.rows("SELECT epoch FROM leaders WHERE installation = :h", h=HERE)
            if (before and found != before[0].epoch) or not before:
                return  # it takes office
            cursor.execute(_LINES)
            after = _lines(cursor.fetchall())
        fault, replica.port.armed = replica.port.armed, None
        if fault is Fault.OVERTAKEN:
            self._overtake()
        elif fault is Fault.CUT:
            self._admin(f"{TERMINATE} pid = {pid}")
            return
        if epoch != found:
            self.violations.append(
                f"{replica.name} writes with epoch {epoch}, {found} is in office"
            )
        self._judge(replica, self.lines(), after)

    def _overtake(self) -> None:
        """Another is elected right now, as soon as the open transaction lets it."""

        def take() -> None:
            engine = engine_for(self._url, application_name="third", lock_timeout_seconds=15)
            with engine.begin() as conn:
                leadership.take_office(conn, HERE, "third")
            engine.dispose()

        self._third = threading.Thread(target=take, name="third")
        self._third.start()
        deadline = time.monotonic() + 10
        while self._third.is_alive() and time.monotonic() < deadline:
            waits = "SELECT 1 FROM pg_stat_activity WHERE application_name = 'third'"
            if self._admin(f"{waits} AND wait_event_type = 'Lock'"):
                return
            time.sleep(0.002)
        self.violations.append("another took office while a leader's transaction was open")

    # Judgement

    def _judge(self, replica: Replica, before: dict[int, Line], after: dict[int, Line]) -> None:
        for project_id, new in after.items():
            old = before.get(project_id)
            if new.uid is not None and new.digest is not None:
                self.applied.add((new.uid, new.digest))
            if old is not None and old != new:
                for problem in self._wrong(old, new):
                    self.violations.append(f"{replica.name}: {old} became {new}: {problem}")
        owners = [line.uid for line in after.values() if line.uid and not line.deleted]
        if len(owners) != len(set(owners)):
            self.violations.append(f"two rows of one object: {owners}")

    def _wrong(self, old: Line, new: Line) -> Iterator[str]:
        life = self.lives.get(old.uid or "")
        heir = self.lives.get(new.uid or "")
        if not old.deleted and old.installation != HERE and not (heir and heir.adopts):
            yield "it is not ours, and nobody said adopt"
        if new.uid is not None and (heir is None or heir.key != new.key):
            yield "there never was such an object of this name"
        if new.deleted and not old.deleted:
            if self.alive(old.uid, old.key):
                yield "its object is there"
            if old.policy != "Delete" or life is None or "Delete" not in life.policies:
                yield "nobody said that its data may go"
        elif new.datasets < old.datasets:
            yield "published versions are gone"
        if old.uid is not None and new.uid != old.uid and not new.deleted:
            if old.installation == HERE and self.alive(old.uid, old.key):
                yield "its object is there"
            if old.installation == HERE and old.policy == "Delete" and new.uid is not None:
                yield "the data of the object before were to go first"

    def status(self, replica: Replica, key: Key, body: Body) -> None:
        """A status is about to be written."""
        found = self._server.find(PROJECTS, key)
        if found is None or found["metadata"]["uid"] != body["metadata"].get("uid"):
            if found is not None and "uid" not in body["metadata"]:
                self.violations.append(f"{replica.name}: a status for whatever object is there")
            return  # refused
        status = body["status"]
        said = {c["type"]: c["status"] for c in status["conditions"]}
        generation = status.get("observedGeneration")
        uid = found["metadata"]["uid"]
        if generation is not None and generation > found["metadata"]["generation"]:
            self.violations.append(f"{replica.name}: generation {generation} is in the future")
        if said["Ready"] == "True":
            digest = self.wanted_digest(self.lives[uid].specs.get(generation), key)
            if digest is None or (uid, digest) not in self.applied:
                self.violations.append(f"{replica.name}: {key} is ready and was never applied")
        if size(status) > LIMIT_BYTES:
            self.violations.append(f"{replica.name}: a status of {size(status)} bytes")

    def _expiry_problem(self, found: Object, now: datetime) -> str:
        """What is wrong with deleting this object now; empty when nothing is."""
        status, spec = found.get("status", {}), found["spec"]
        said = {c["type"]: c["status"] for c in status.get("conditions", ())}
        done, ttl = parse(status.get("completedAt")), spec.get("ttlSecondsAfterFinished")
        if ttl is None or done is None or said.get("Complete") != "True":
            return "it is not complete, or shall stay"
        if status["observedGeneration"] != found["metadata"]["generation"]:
            return "it was edited since"
        return "" if now >= done + timedelta(seconds=ttl) else "its time is not over"

    def delete(self, replica: Replica, key: Key, uid: str | None, version: str | None) -> None:
        found = self._server.find(PROJECTS, key)
        if found is None:
            return
        metadata = found["metadata"]
        if (uid or metadata["uid"]) != metadata["uid"] or (
            version or metadata["resourceVersion"]
        ) != metadata["resourceVersion"]:
            return  # refused
        if problem := self._expiry_problem(found, self.latest):
            self.violations.append(f"{replica.name} deletes {key}: {problem}")

    def patch(
        self, replica: Replica, resource: Resource, key: Key, body: Body, subresource: str
    ) -> None:
        """Pods and Deployments are about to be written."""
        found = self._server.find(resource, key)
        if found is None:
            return
        labels = found["metadata"].get("labels") or {}
        if POOL_LABEL not in labels:
            self.violations.append(f"{replica.name} writes to {key}, which is no pool's")
        elif resource == DEPLOYMENTS and subresource == "scale":
            version = body["metadata"].get("resourceVersion")
            if version in {None, found["metadata"]["resourceVersion"]}:
                self._scaled(replica, key, found, body["spec"]["replicas"])
        elif resource != PODS or set(body["metadata"]["annotations"]) != {DELETION_COST}:
            self.violations.append(f"{replica.name} writes {body} to {key}")

    def _scaled(self, replica: Replica, key: Key, found: Object, replicas: int) -> None:
        least, most = self._fleet.bounds(found)
        now = found["spec"]["replicas"]
        if (replicas > now and replicas > most) or (replicas < now and replicas < least):
            self.violations.append(f"{replica.name}: {key} from {now} to {replicas}")
        if scaled_elsewhere(found):
            self.violations.append(f"{replica.name}: {key} is scaled by somebody else")

    def create(self, replica: Replica, resource: Resource, body: Body) -> None:
        if resource not in {JOBS, EVENTS}:
            self.violations.append(f"{replica.name} creates {resource.kind}")

    # The end

    def problems(self, replica: Replica) -> Iterator[str]:
        """What is not as it should be once everything has settled."""
        if replica.idle() is not None or not replica.leads:
            yield f"the leader rests with {replica.idle()}"
        for line in self.lines().values():
            yield from self._row_problems(line)
        for key, found in self._server.all(PROJECTS).items():
            yield from self._object_problems(key, found, replica.now())
        left = self._world.rows(_LEFT)
        if left:
            yield f"work is left: {left}"
        for name in POOLS:
            yield from self._pool_problems((POOLS_NAMESPACE, name))

    def _row_problems(self, line: Line) -> Iterator[str]:
        if line.installation != HERE or line.deleted or line.uid is None:
            return
        found = self._server.find(PROJECTS, line.key)
        disabled = found is not None and asked(found).disabled
        if not disabled and not self.alive(line.uid, line.key):
            yield f"{line} stands for an object that is gone"

    def _object_problems(self, key: Key, found: Object, now: datetime) -> Iterator[str]:
        wish, status = asked(found), found.get("status") or {}
        said = {c["type"]: c for c in status.get("conditions", ())}
        if not said:
            yield f"{key} has no status"
            return
        ready = said["Ready"]
        if wish.disabled:
            if ready["reason"] != "ReconciliationDisabled":
                yield f"{key} is disabled, and does not say so: {ready}"
            return
        if said["DatabaseReachable"]["status"] != "True":
            yield f"{key} says that the database is away"
        if status.get("observedGeneration") != wish.generation:
            yield f"{key} was not observed: {status.get('observedGeneration')}/{wish.generation}"
        lines = [line for line in self.lines().values() if line.key == key and not line.deleted]
        digest = self.wanted_digest(found["spec"], key)
        if lines and lines[0].installation != HERE:
            refused = ready["reason"] in {"NotOwner", "SpecInvalid"}
            if not refused or (wish.adopt and digest):
                yield f"{key} is not ours, and says {ready}"
        elif digest is None:
            if said["SpecValid"]["status"] != "False" or ready["status"] != "False":
                yield f"{key} is not valid, and does not say so"
            if wish.suspend and lines and lines[0].uid and not lines[0].suspended:
                yield f"{key} shall stand still, and works"
        else:
            yield from self._applied_problems(key, found, lines, digest)
            if said["Complete"]["status"] == "True" and not self._expiry_problem(found, now):
                yield f"{key} is complete, and its time is over"

    def _applied_problems(
        self, key: Key, found: Object, lines: list[Line], digest: str
    ) -> Iterator[str]:
        wish = asked(found)
        if len(lines) != 1 or lines[0].uid != wish.uid or lines[0].digest != digest:
            yield f"{key} is not in the catalogue as it says: {lines}"
            return
        policy = found["spec"].get("deletionPolicy", "Retain")
        if lines[0].suspended != wish.suspend or lines[0].policy != policy:
            yield f"{key} is not as its row says: {lines[0]}"
        yield from self._number_problems(key, found["status"])

    def _number_problems(self, key: Key, status: Mapping[str, Any]) -> Iterator[str]:
        progress = self._world.progress(status.get("projectId", 0))
        if (progress.namespace, progress.name) != key:
            yield f"{key} names the project {status.get('projectId')}"
        if status["phase"] != progress.phase.name:
            yield f"{key} says {status['phase']}, the catalogue says {progress.phase}"
        told = status.get("images", {})
        if told.get("kept", 0) != progress.funnel.unique:
            yield f"{key} says {told}, the catalogue says {progress.funnel}"
        if (status.get("dataset") or {}).get("version") != (
            progress.dataset.version if progress.dataset else None
        ):
            yield f"{key} says {status.get('dataset')}, the catalogue says {progress.dataset}"

    def _pool_problems(self, key: Key) -> Iterator[str]:
        found = self._server.find(DEPLOYMENTS, key)
        assert found is not None
        least, most = self._fleet.bounds(found)
        if not scaled_elsewhere(found) and not least <= found["spec"]["replicas"] <= most:
            yield f"{key} has {found['spec']['replicas']} replicas, not {least} to {most}"


# A project that stands still keeps its tasks; one whose object is gone has none.
_LEFT = """
    SELECT t.stage, t.state, p.namespace, p.name FROM tasks t JOIN projects p USING (project_id)
    WHERE t.state <> 'failed'
      AND (NOT p.suspended
           OR EXISTS (SELECT FROM task_wishes w WHERE w.id = t.id AND NOT w.suspended))
"""
"""What a stopped project alone wants may wait, also what another that is gone has left to it."""


def scaled_elsewhere(deployment: Object) -> bool:
    """Whether a pool is left to another autoscaler."""
    said = deployment["metadata"]["annotations"].get(f"{PREFIX}autoscaler", "operator")
    return bool(said != "operator")


TERMINATE = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE"


def _lines(rows: Any) -> dict[int, Line]:
    return {row[0]: Line((row[1], row[2]), *row[3:]) for row in rows}
