"""What tries have cost that gave no result."""

from __future__ import annotations

import json
from collections.abc import Mapping

from sqlalchemy import Connection, text

SPENT = text("SELECT spent FROM tasks WHERE id = :id")
SPEND = text("""
    UPDATE tasks SET spent = CAST(:spent AS jsonb)
    WHERE id = :id AND claim_seq = :seq AND claimed_by IS NOT NULL
""")


def spent(connection: Connection, task_id: int) -> Mapping[str, float]:
    """What the earlier tries of a task have cost, by counter; empty when there was none."""
    return connection.scalar(SPENT, {"id": task_id}) or {}


def spend(connection: Connection, token: tuple[int, int], costs: Mapping[str, float]) -> None:
    """Write down what all tries so far have cost, while the task is ours; else nothing happens."""
    connection.execute(SPEND, {"id": token[0], "seq": token[1], "spent": json.dumps(dict(costs))})
