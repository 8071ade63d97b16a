"""Say that the work goes on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta

from sqlalchemy import Connection, text

EXTEND = text(
    "SELECT queue_extend(CAST(:ids AS bigint[]), CAST(:seqs AS integer[]),"
    " CAST(:progress AS real[]), CAST(:messages AS text[]), :lease)"
)


@dataclass(frozen=True, slots=True)
class Beat:
    """A sign of life for one task."""

    id: int
    claim_seq: int
    progress: float | None = None
    """Share of the work that is done, in [0, 1]; None leaves the last one."""
    message: str | None = None


def extend(connection: Connection, beats: Sequence[Beat], *, lease_seconds: float) -> set[int]:
    """Extend the leases of all that this worker holds, in one statement.

    Returns the ids that are still ours. What does not come back was lost or cancelled: stop
    working on it, nothing of it can be recorded any more.
    """
    if not beats:
        return set()
    ordered = sorted(beats, key=lambda beat: beat.id)
    return set(
        connection.scalars(
            EXTEND,
            {
                "ids": [b.id for b in ordered],
                "seqs": [b.claim_seq for b in ordered],
                "progress": [b.progress for b in ordered],
                "messages": [b.message for b in ordered],
                "lease": timedelta(seconds=lease_seconds),
            },
        )
    )
