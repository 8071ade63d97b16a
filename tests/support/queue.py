"""A migrated database, and a small world of projects to drive the queue with."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import Connection, Engine, text

from data_miner import queue
from data_miner.db.engine import engine_for
from data_miner.db.migrate import upgrade
from data_miner.pipeline import BY_NAME, NAMES, Scope, upstream
from data_miner.queue import Claimed, Cursor, Finished
from support.database import Databases, template_database

TEMPLATE = "migrated"
VIDEO_STAGES = tuple(name for name in NAMES if BY_NAME[name].scope is Scope.VIDEO)
FIRST_WAVE = 2


def _migrate(url: str) -> None:
    upgrade(url)


@pytest.fixture
def migrated_url(databases: Databases, fresh_database: Callable[..., str]) -> str:
    """SQLAlchemy URL of a new database with the newest schema and no rows."""
    return fresh_database(template=template_database(databases, TEMPLATE, _migrate))


@pytest.fixture
def engine(migrated_url: str) -> Iterator[Engine]:
    """Connections to a migrated database; a lock that is waited for too long is an error."""
    engine = engine_for(migrated_url, pool_size=20, lock_timeout_seconds=20)
    yield engine
    engine.dispose()


@pytest.fixture
def world(engine: Engine) -> World:
    """Projects, videos and a worker in a migrated database."""
    return World(engine)


@dataclass
class World:
    """What a catalogue and workers would do, in as few lines as the queue's tests need."""

    engine: Engine
    found: dict[tuple[int, int], list[str]] = field(default_factory=dict)
    """What discovery will find: video ids by project and source index."""
    cursor: Cursor = field(default_factory=Cursor)

    def project(
        self,
        name: str = "doors",
        *,
        stages: Iterable[str] = NAMES,
        found: Sequence[Sequence[str]] = (("a", "b"),),
        variants: Mapping[str, str] | None = None,
        **columns: Any,
    ) -> int:
        """Insert a project with these stages and sources; `variants` are parameters by stage."""
        with self.engine.begin() as c:
            row = c.execute(
                text("INSERT INTO projects (name, spec) VALUES (:n, '{}') RETURNING project_id"),
                {"n": name},
            )
            project: int = row.scalar_one()
        for index, videos in enumerate(found):
            self.found[project, index] = list(videos)
        self.compile(project, stages, len(found), variants or {})
        if columns:
            self.update(project, **columns)
        return project

    def compile(
        self, project: int, stages: Iterable[str], sources: int, variants: Mapping[str, str]
    ) -> None:
        """Write the recipes of a project, as the compiler would: shared when nothing differs."""
        present = frozenset(stages)
        ends = [s for s in VIDEO_STAGES if s in present][-1]
        fingerprints: dict[str, str] = {}
        with self.engine.begin() as c:
            c.execute(text("DELETE FROM project_stages WHERE project_id = :p"), {"p": project})
            for stage in (s for s in NAMES if s in present):
                reads = upstream(stage, present)
                before = fingerprints[reads] if reads not in {None, "discover"} else ""
                own = f"{project}/{sources}" if stage == "discover" else ""
                basis = f"{stage}|{variants.get(stage, '')}|{before}|{own}"
                fingerprints[stage] = hashlib.sha256(basis.encode()).hexdigest()
                c.execute(
                    text(
                        "INSERT INTO recipes (stage, fingerprint, reuse_key, params)"
                        " VALUES (:s, :f, :f, jsonb_build_object('sources',"
                        " (SELECT coalesce(jsonb_agg(i), '[]') FROM generate_series(1, :n) i)))"
                        " ON CONFLICT (fingerprint) DO NOTHING"
                    ),
                    {"s": stage, "f": fingerprints[stage], "n": sources},
                )
                c.execute(
                    text(
                        "INSERT INTO project_stages (project_id, stage, recipe_id, reads,"
                        " ends_member) SELECT :p, :s, recipe_id, :r, :e FROM recipes"
                        " WHERE fingerprint = :f"
                    ),
                    {
                        "p": project,
                        "s": stage,
                        "r": reads,
                        "e": stage == ends,
                        "f": fingerprints[stage],
                    },
                )

    def update(self, project: int, **columns: Any) -> None:
        """Update columns of a project."""
        assignments = ", ".join(f"{name} = :{name}" for name in columns)
        with self.engine.begin() as c:
            c.execute(
                text(f"UPDATE projects SET {assignments} WHERE project_id = :project"),
                {**columns, "project": project},
            )

    def plan(self, project: int) -> dict[str, int]:
        """Plan one project."""
        with self.engine.begin() as c:
            return queue.plan_project(c, project, first_wave=FIRST_WAVE)

    def sweep(self) -> queue.Swept:
        """Sweep; nobody else does."""
        with self.engine.begin() as c:
            swept = queue.sweep(c, first_wave=FIRST_WAVE)
        assert swept is not None
        return swept

    def claim(
        self,
        *stages: str,
        limit: int = 1,
        worker: str = "w",
        lease_seconds: float = 120,
        cursor: Cursor | None = None,
    ) -> list[Claimed]:
        """Claim in a transaction of its own."""
        with self.engine.begin() as c:
            return queue.claim(
                c,
                stages=stages or NAMES,
                worker_id=worker,
                limit=limit,
                lease_seconds=lease_seconds,
                cursor=cursor or self.cursor,
            )

    def finish(self, *ends: tuple[Claimed, Finished]) -> set[int]:
        """Finish, record what discovery found, and plan, in one transaction."""
        with self.engine.begin() as c:
            return self.finish_in(c, *ends)

    def finish_in(self, c: Connection, *ends: tuple[Claimed, Finished]) -> set[int]:
        """The same in the caller's transaction."""
        ours = queue.finish(c, [finished for _, finished in ends])
        kept = [task for task, _ in ends if task.id in ours]
        for task in kept:
            if task.stage == "discover":
                self.record_found(c, task)
        queue.plan_after(c, kept, first_wave=FIRST_WAVE)
        return ours

    def record_found(self, c: Connection, task: Claimed) -> None:
        """The rows that the catalogue writes for a discovery."""
        index = int(task.subject.split("/")[1])
        for rank, video in enumerate(self.found[task.project_id, index]):
            row = {"p": task.project_id, "r": task.recipe_id, "i": index, "v": video, "k": rank}
            c.execute(
                text(
                    "INSERT INTO videos (video_id, url, source_type) VALUES (:v, :v, 'URL')"
                    " ON CONFLICT DO NOTHING"
                ),
                row,
            )
            c.execute(
                text(
                    "INSERT INTO project_videos (project_id, video_id) VALUES (:p, :v)"
                    " ON CONFLICT DO NOTHING"
                ),
                row,
            )
            c.execute(
                text(
                    "INSERT INTO project_sources (project_id, recipe_id, source_index, video_id,"
                    " rank) VALUES (:p, :r, :i, :v, :k) ON CONFLICT DO NOTHING"
                ),
                row,
            )

    def done(self, task: Claimed, **facts: Any) -> tuple[Claimed, Finished]:
        """An ordinary success: every video yields two frames, and dedup keeps one of each."""
        return task, Finished(task.id, task.claim_seq, facts={**self.facts(task), **facts})

    def skip(self, task: Claimed, reason: str = "Nothing: to do") -> tuple[Claimed, Finished]:
        """Nothing to do."""
        return task, Finished(task.id, task.claim_seq, reason=reason)

    def facts(self, task: Claimed) -> dict[str, Any]:
        """Facts of an ordinary success."""
        if task.stage == "discover":
            return {"found": len(self.found[task.project_id, int(task.subject.split("/")[1])])}
        if task.stage != "dedup":
            return {} if task.stage == "download" else {"frames": 2}
        rows = self.rows(
            "SELECT m.video_id FROM project_videos m WHERE m.wave_id = :w AND EXISTS (SELECT FROM"
            " project_stages s JOIN results r ON r.recipe_id = s.recipe_id AND r.subject ="
            " m.video_id WHERE s.project_id = m.project_id AND s.stage = 'filter' AND r.frames > 0)"
            " ORDER BY m.video_id",
            w=task.wave_id,
        )
        return {"frames": len(rows), "kept_by_video": {row["video_id"]: 1 for row in rows}}

    def drain(
        self,
        *stages: str,
        end: Callable[[Claimed], tuple[Claimed, Finished]] | None = None,
        limit: int = 4,
    ) -> list[Claimed]:
        """Claim and finish until nothing of `stages` (all by default) is ready."""
        everything: list[Claimed] = []
        while tasks := self.claim(*stages, limit=limit):
            self.finish(*[(end or self.done)(task) for task in tasks])
            everything += tasks
        return everything

    def fail(self, task: Claimed, *, permanent: bool = False, max_attempts: int = 3) -> str | None:
        """Fail a task with the usual budgets."""
        with self.engine.begin() as c:
            return queue.fail(
                c,
                task,
                error_class="broken",
                error="it broke",
                permanent=permanent,
                max_attempts=max_attempts,
                backoff_seconds=60,
                backoff_max_seconds=3600,
                first_wave=FIRST_WAVE,
            )

    def rescue(self, *, max_losses: int = 10) -> list[queue.Lost]:
        """Look for expired leases."""
        with self.engine.begin() as c:
            return queue.rescue(
                c,
                max_losses=max_losses,
                backoff_seconds=1,
                backoff_max_seconds=60,
                first_wave=FIRST_WAVE,
            )

    def advance(self, seconds: float) -> None:
        """Move the time of this database, for all its sessions."""
        with self.engine.begin() as c:
            c.execute(
                text("UPDATE clock SET shift = shift + :d"), {"d": timedelta(seconds=seconds)}
            )

    def rows(self, query: str, **parameters: Any) -> list[dict[str, Any]]:
        """Rows of a query as dictionaries."""
        with self.engine.connect() as c:
            return [dict(row) for row in c.execute(text(query), parameters).mappings()]

    def tasks(self) -> set[tuple[str, str, str]]:
        """Live tasks as ``(stage, subject, state)``."""
        return {
            (r["stage"], r["subject"], r["state"])
            for r in self.rows("SELECT stage, subject, state FROM tasks")
        }

    def results(self) -> set[tuple[str, str]]:
        """Results as ``(stage, subject)``."""
        return {(r["stage"], r["subject"]) for r in self.rows("SELECT stage, subject FROM results")}
