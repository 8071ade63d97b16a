"""Many projects and a long queue: what an operator of a large installation wakes up to."""

from __future__ import annotations

import os
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from support.cluster import condition_of
from support.installation import Installation
from support.operator_process import OperatorProcess
from support.waiting import eventually

SETTLE_SECONDS = 900.0
VIDEOS = 10
"""Of each settled project."""

_NUMBER = "CASE WHEN p.name LIKE 'active-%' THEN :many ELSE :few END"
_VIDEO = "p.name || '-' || i"
_HISTORY = (
    "INSERT INTO waves (project_id, epoch, n) SELECT project_id, wave_epoch, 1 FROM projects",
    f"""INSERT INTO videos (video_id, url, source_type)
        SELECT {_VIDEO}, 'https://x.test/' || {_VIDEO}, 'URL'
        FROM projects p, generate_series(1, {_NUMBER}) i""",
    f"""INSERT INTO project_videos (project_id, video_id, wave_id, wave_position)
        SELECT project_id, {_VIDEO}, wave_id, i
        FROM projects p JOIN waves w USING (project_id), generate_series(1, {_NUMBER}) i""",
    f"""INSERT INTO project_sources (project_id, recipe_id, source_index, video_id, rank)
        SELECT project_id, recipe_id, 0, {_VIDEO}, i
        FROM projects p JOIN project_stages s USING (project_id),
             generate_series(1, {_NUMBER}) i
        WHERE s.stage = 'discover'""",
    """INSERT INTO results (recipe_id, subject, stage, project_id, outcome, frames, started_at)
       SELECT recipe_id, subject, stage, project_id, 'done', 1, now() - interval '1 s'
       FROM tasks WHERE stage = 'discover'""",
    "DELETE FROM tasks WHERE stage = 'discover'",
    f"""INSERT INTO results (recipe_id, subject, stage, project_id, video_id, outcome, frames,
                             started_at)
        SELECT recipe_id, {_VIDEO}, s.stage, project_id, {_VIDEO}, 'done', 1,
               now() - interval '1 s'
        FROM projects p JOIN project_stages s USING (project_id), generate_series(1, :few) i
        WHERE p.name LIKE 'settled-%' AND s.stage IN ('download', 'extract')""",
    """INSERT INTO tasks (stage, recipe_id, subject, project_id, video_id, state, run_at,
                          error_class, error, claimed_by, claimed_at, lease_until, heartbeat_at)
       SELECT stage, recipe_id, video_id, project_id, video_id, state,
              CASE WHEN state = 'waiting' THEN now() + interval '9 h' END,
              CASE WHEN state IN ('waiting', 'failed') THEN 'throttled' END,
              CASE WHEN state IN ('waiting', 'failed') THEN 'HTTP 429' END,
              CASE WHEN state = 'running' THEN 'gone' END,
              CASE WHEN state = 'running' THEN now() END,
              CASE WHEN state = 'running' THEN now() + interval '9 h' END,
              CASE WHEN state = 'running' THEN now() END
       FROM (SELECT pv.*, CASE WHEN wave_position % 1000 = 0 THEN 'running'
                               WHEN wave_position % 10 = 0 THEN 'waiting'
                               WHEN wave_position % 100 = 1 THEN 'failed' ELSE 'ready' END AS state
             FROM project_videos pv JOIN projects p USING (project_id)
             WHERE p.name LIKE 'active-%') v
       JOIN project_stages s USING (project_id) WHERE s.stage = 'download'""",
)
"""SQL, in this order, on projects that have just been applied."""


@dataclass
class Crowd:
    """Projects of one installation: most have nothing to do, some have work that never ends."""

    installation: Installation
    settled: int
    active: int

    @property
    def operator(self) -> OperatorProcess:
        """The only replica."""
        return self.installation.operators[0]

    @property
    def names(self) -> list[str]:
        return [*self._names("settled", self.settled), *self._names("active", self.active)]

    def create(self) -> None:
        """The objects, as users apply them."""
        with ThreadPoolExecutor(4) as pool:
            for _ in pool.map(self._apply, self.names):
                pass

    def settle(self, tasks: int) -> None:
        """What years of work leave behind: the settled projects have a result for every video, the
        active ones have so many tasks in the queue: most ready, some put off, failed or running.
        """
        per_project = tasks // self.active
        for statement in _HISTORY:
            # Nobody needs a million rows checked of which each is known to be right.
            unchecked = f"SET LOCAL session_replication_role = replica; {statement}"
            self.installation.rows(unchecked, few=VIDEOS, many=per_project)
        with self.installation.engine.connect().execution_options(
            isolation_level="AUTOCOMMIT"
        ) as conn:
            conn.exec_driver_sql("VACUUM ANALYZE")

    def start(self) -> float:
        """Start the operator; seconds until each project was looked at once and it rests."""
        began = time.monotonic()
        self.operator.start(ready=False)
        self.operator.wait_for("/readyz", "leader", seconds=SETTLE_SECONDS)
        self.rest()
        return time.monotonic() - began

    def rest(self) -> None:
        """Return when every project was looked at and none is in hand."""
        eventually(self._rests, seconds=SETTLE_SECONDS, what="the operator to rest")

    def edit(self, name: str, priority: int) -> float:
        """Edit a project; seconds until its status says that the edit has been dealt with."""
        began = time.monotonic()
        edited = self.installation.cluster.patch(
            "MiningProject", name, {"spec": {"priority": priority}}
        )
        generation = edited["metadata"]["generation"]
        self.installation.cluster.wait(
            "MiningProject",
            name,
            lambda seen: (
                seen is not None and seen["status"].get("observedGeneration") == generation
            ),
            seconds=60,
        )
        return time.monotonic() - began

    def move(self, place: int) -> None:
        """Have one task of each active project claimed and given back, as workers do."""
        self.installation.rows(
            "UPDATE tasks SET claim_seq = claim_seq + 1 WHERE subject = ANY (:subjects)",
            subjects=[f"{name}-{place}" for name in self._names("active", self.active)],
        )

    def transactions(self) -> int:
        """Transactions that the database has ended, those that counted them included."""
        return self.installation.number(
            "SELECT xact_commit + xact_rollback FROM pg_stat_database"
            " WHERE datname = current_database()"
        )

    def peak_bytes(self) -> int:
        """The most memory that the operator's present life has had."""
        text = Path(f"/proc/{self.operator.pid}/status").read_text()
        line = next(line for line in text.splitlines() if line.startswith("VmHWM:"))
        return int(line.split()[1]) * 1024

    def cpu_seconds(self) -> float:
        """Processor time of the operator's present life so far."""
        parts = Path(f"/proc/{self.operator.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(parts[11]) + int(parts[12])) / os.sysconf("SC_CLK_TCK")

    def requests(self, resource: str = "", verb: str = "") -> int:
        """Requests to the API server of the operator's present life, answered with 200 where a
        resource is named; watches are not counted.
        """
        only = f'{{code="200",resource="{resource}"' if resource else ""
        only += f',verb="{verb}"' if verb else ""
        return int(self.operator.metric(f"dataminer_api_requests_total{only}"))

    def resyncs(self, number: int) -> None:
        """Return when the operator has listed everything so many times more."""
        begin = self.requests("miningprojects", "list")
        eventually(
            lambda: self.requests("miningprojects", "list") >= begin + number,
            seconds=SETTLE_SECONDS,
            what=f"{number} looks at everything",
        )

    def looks(self) -> int:
        """Passes over a project, of the operator's present life."""
        return int(self.operator.metric("dataminer_reconcile_total"))

    def writes(self) -> int:
        """Status writes of the operator's present life."""
        return int(self.operator.metric("dataminer_status_writes_total"))

    def _names(self, kind: str, number: int) -> list[str]:
        return [f"{kind}-{place}" for place in range(number)]

    def _apply(self, name: str) -> None:
        self.installation.cluster.apply(
            {
                "apiVersion": "data-miner.io/v1alpha1",
                "kind": "MiningProject",
                "metadata": {"name": name},
                "spec": {
                    "sources": [{"urls": {"items": [f"https://x.test/{name}"]}}],
                    "sampling": {"strategy": "Keyframe"},
                },
            }
        )

    @property
    def complete(self) -> int:
        """Objects whose status says that they are Complete."""
        return sum(
            condition_of(project, "Complete").get("status") == "True"
            for project in self.installation.cluster.list("MiningProject")
        )

    def _rests(self) -> bool:
        operator = self.operator
        return (
            self.looks() >= self.settled + self.active
            and operator.metric("workqueue_depth") == 0
            and operator.metric("workqueue_unfinished_work_seconds") == 0
        )
