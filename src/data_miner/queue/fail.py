"""End a run that went wrong."""

from __future__ import annotations

from datetime import timedelta

from sqlalchemy import Connection, text

from data_miner.queue.backoff import backoff_seconds as delay_after
from data_miner.queue.task import Claimed

FAIL = text(
    "SELECT queue_fail(:id, :seq, :error_class, :error, :trace, :permanent, :max_attempts,"
    " :delay, :first_wave)"
)


def fail(
    connection: Connection,
    task: Claimed,
    *,
    error_class: str,
    error: str,
    trace: str | None = None,
    permanent: bool = False,
    max_attempts: int,
    backoff_seconds: float,
    backoff_max_seconds: float,
    first_wave: int,
) -> str | None:
    """Use up an attempt; returns ``waiting``, ``failed``, or None when the task was not ours.

    It is tried again after a delay that doubles with each failure; the last attempt, and a failure
    that another try cannot mend (`permanent`), makes it a dead letter. A dead letter ends its
    video or its cut, so what was only waiting for that is planned here, in this transaction.
    """
    delay = delay_after(
        task.attempt + 1, first_seconds=backoff_seconds, max_seconds=backoff_max_seconds
    )
    state = connection.scalar(
        FAIL,
        {
            "id": task.id,
            "seq": task.claim_seq,
            "error_class": error_class,
            "error": error,
            "trace": trace,
            "permanent": permanent,
            "max_attempts": max_attempts,
            "delay": timedelta(seconds=delay),
            "first_wave": first_wave,
        },
    )
    return None if state is None else str(state)
