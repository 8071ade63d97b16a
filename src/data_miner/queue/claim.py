"""Take ready work, fairly between projects."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import timedelta

from sqlalchemy import Connection, RowMapping, text

from data_miner.queue.task import Claimed, claimed

LOOK_AHEAD = 32
"""Projects with ready work that one claim looks at."""

CLAIM = text(
    "SELECT * FROM queue_claim(CAST(:stages AS text[]), CAST(:after AS integer[]), :limit,"
    " :worker, :lease, :look)"
)
CLAIM_SUSPECT = text("SELECT * FROM queue_claim_suspect(CAST(:stages AS text[]), :worker, :lease)")


@dataclass(slots=True)
class Cursor:
    """Where one worker is in its rounds: through the stages, and in each through the projects.

    Kept by the worker from claim to claim, in memory only. A project keeps its turn for up to
    `weight` grants (a tenth of a weight counts as one grant), then the next one has its turn.
    """

    turn: int = 0
    """Which stage is asked first next time."""
    served: dict[str, tuple[int, int]] = field(default_factory=dict)
    """By stage: the project served last, and how many grants in a row it has had."""
    weights: dict[int, float] = field(default_factory=dict)

    def order(self, stages: Sequence[str]) -> list[str]:
        """The stages, beginning with the one whose turn it is, so that none waits for another."""
        if not stages:
            return []
        first = self.turn % len(stages)
        return [*stages[first:], *stages[:first]]

    def after(self, stage: str) -> int:
        """The project id behind which the next claim begins: one less keeps the same project."""
        project, grants = self.served.get(stage, (0, 0))
        return project - 1 if 0 < grants < self.weights.get(project, 1) else project

    def note(self, stage: str, project: int, weight: float) -> None:
        """Remember one grant."""
        last, grants = self.served.get(stage, (0, 0))
        self.served[stage] = (project, grants + 1 if project == last else 1)
        self.weights[project] = weight


def claim(
    connection: Connection,
    *,
    stages: Sequence[str],
    worker_id: str,
    limit: int,
    lease_seconds: float,
    cursor: Cursor,
) -> list[Claimed]:
    """Take up to `limit` ready tasks of `stages`, never more; commit before the work begins.

    Within a stage the project with the least running work for its weight comes first, then the
    cursor's order; within a project the more urgent, then the older task. Tasks that others are
    claiming are passed over, never waited for. Suspended projects and tasks that have lost two
    workers (`claim_suspect`) are left alone.
    """
    order = cursor.order(stages)
    rows = (
        connection.execute(
            CLAIM,
            {
                "stages": order,
                "after": [cursor.after(stage) for stage in order],
                "limit": limit,
                "worker": worker_id,
                "lease": timedelta(seconds=lease_seconds),
                "look": LOOK_AHEAD,
            },
        )
        .mappings()
        .all()
    )
    cursor.turn += 1
    for row in _by_turn(rows, cursor):
        cursor.note(row["stage"], row["project_id"], row["weight"])
    return [claimed(row) for row in rows]


def claim_suspect(
    connection: Connection, *, stages: Sequence[str], worker_id: str, lease_seconds: float
) -> Claimed | None:
    """Take one task that has lost two workers or more; None while this worker holds anything.

    Whoever gets one claims nothing else until it has ended: if the input is poison, it then harms
    no neighbour.
    """
    row = (
        connection.execute(
            CLAIM_SUSPECT,
            {
                "stages": list(stages),
                "worker": worker_id,
                "lease": timedelta(seconds=lease_seconds),
            },
        )
        .mappings()
        .first()
    )
    return None if row is None else claimed(row)


def _by_turn(rows: Sequence[RowMapping], cursor: Cursor) -> list[RowMapping]:
    """The rows in the order in which the projects had their turns."""
    starts = {row["stage"]: cursor.after(row["stage"]) for row in rows}
    return sorted(
        rows,
        key=lambda r: (r["stage"], r["project_id"] <= starts[r["stage"]], r["project_id"], r["id"]),
    )
