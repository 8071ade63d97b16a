"""A task as the worker that holds it knows it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from sqlalchemy import RowMapping


@dataclass(frozen=True, slots=True)
class Claimed:
    """A task in this worker's hands. `(id, claim_seq)` is the fencing token of every write."""

    id: int
    claim_seq: int
    """Rises at every claim and never falls: an older holder's writes change nothing."""
    stage: str
    recipe_id: int
    subject: str
    project_id: int
    """The sponsor: of a shared task, the most urgent project that wants it."""
    video_id: str | None
    wave_id: int | None
    attempt: int
    """Failures of the stage so far."""
    lost_count: int
    """Workers that vanished while they held it."""
    checkpoint: Any
    """What an earlier run left with `checkpoint`; None when there is nothing."""


def claimed(row: RowMapping) -> Claimed:
    """A row of SQL's claimed_task."""
    return Claimed(**{name: row[name] for name in Claimed.__slots__})
