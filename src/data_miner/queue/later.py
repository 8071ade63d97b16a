"""Put work off."""

from __future__ import annotations

from datetime import timedelta

from sqlalchemy import Connection, text

from data_miner.queue.task import Claimed

LATER = text("SELECT queue_later(:id, :seq, :delay, :error_class, :reason)")


def later(
    connection: Connection, task: Claimed, *, seconds: float, error_class: str, reason: str
) -> bool:
    """Wait `seconds` before the task is tried again; uses no attempt. False when it was not ours.

    `error_class` is the name of what is in the way (``throttled``), `reason` says it in words.
    """
    return bool(
        connection.scalar(
            LATER,
            {
                "id": task.id,
                "seq": task.claim_seq,
                "delay": timedelta(seconds=seconds),
                "error_class": error_class,
                "reason": reason,
            },
        )
    )
