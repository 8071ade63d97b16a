"""Take tasks back from workers that have vanished."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta

from sqlalchemy import Connection, text

RESCUE = text(
    "SELECT id, stage, worker_id, state FROM queue_rescue(:max_losses, :backoff, :most,"
    " :first_wave)"
)


@dataclass(frozen=True, slots=True)
class Lost:
    """A task whose lease ran out."""

    id: int
    stage: str
    worker_id: str
    """Who held it."""
    state: str
    """``waiting``, or ``failed`` when too many workers were lost with it."""


def rescue(
    connection: Connection,
    *,
    max_losses: int,
    backoff_seconds: float,
    backoff_max_seconds: float,
    first_wave: int,
) -> list[Lost]:
    """Put every task whose lease has run out back into the queue; uses a loss, not an attempt.

    It comes back after a delay that doubles with each loss. The last loss makes a dead letter, and
    what was waiting for its end is planned here.
    """
    rows = connection.execute(
        RESCUE,
        {
            "max_losses": max_losses,
            "backoff": timedelta(seconds=backoff_seconds),
            "most": timedelta(seconds=backoff_max_seconds),
            "first_wave": first_wave,
        },
    )
    return [Lost(*row) for row in rows]
