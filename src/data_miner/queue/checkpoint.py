"""Keep what a later run of the same task may continue from."""

from __future__ import annotations

import json
from typing import Any

from sqlalchemy import Connection, text

CHECKPOINT = text("SELECT queue_checkpoint(:id, :seq, CAST(:value AS jsonb))")


def checkpoint(connection: Connection, task_id: int, claim_seq: int, value: Any) -> bool:
    """Store a JSON value with the task; False when the task is not ours any more."""
    parameters = {"id": task_id, "seq": claim_seq, "value": json.dumps(value)}
    return bool(connection.scalar(CHECKPOINT, parameters))
