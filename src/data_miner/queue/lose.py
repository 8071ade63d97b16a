"""Take tasks back from a worker that is known to have died, with what it died of."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import Connection, text

from data_miner.queue.rescue import Lost, rescue

# In the order of ids, as everyone who locks more than one task and waits for it.
_EXPIRE = text("""
    UPDATE tasks SET lease_until = '-infinity' WHERE id = ANY (ARRAY(
        SELECT id FROM tasks
        WHERE state = 'running' AND claimed_by = :worker_id AND claimed_at < :before
        ORDER BY id FOR UPDATE))
    RETURNING id
""")

_SAY = text("""
    UPDATE tasks SET error_class = :error_class, error = :error
    WHERE id = ANY (:ids) AND claimed_by IS NULL
""")


def lose(
    connection: Connection,
    *,
    worker_id: str,
    before: datetime,
    error_class: str,
    error: str,
    max_losses: int,
    backoff_seconds: float,
    backoff_max_seconds: float,
    first_wave: int,
) -> list[Lost]:
    """`rescue` what this worker claimed before it died, whatever the lease; the record says why.

    A worker of the same name that was started again keeps what it has claimed since `before`.
    """
    values = {"worker_id": worker_id, "before": before}
    ids = set(connection.scalars(_EXPIRE, values))
    if not ids:
        return []
    lost = rescue(
        connection,
        max_losses=max_losses,
        backoff_seconds=backoff_seconds,
        backoff_max_seconds=backoff_max_seconds,
        first_wave=first_wave,
    )
    connection.execute(_SAY, {"ids": sorted(ids), "error_class": error_class, "error": error})
    return [one for one in lost if one.id in ids]
