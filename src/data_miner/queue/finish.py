"""End tasks with a result."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import Connection, text

FINISH = text(
    "SELECT queue_finish(CAST(:ids AS bigint[]), CAST(:seqs AS integer[]),"
    " CAST(:outcomes AS text[]), CAST(:reasons AS text[]), CAST(:facts AS jsonb[]),"
    " CAST(:costs AS jsonb[]))"
)


@dataclass(frozen=True, slots=True)
class Finished:
    """The end of one run: done, or skipped when there is a reason."""

    id: int
    claim_seq: int
    reason: str | None = None
    """Why there was nothing to do; None means done."""
    facts: Mapping[str, Any] = field(default_factory=dict)
    """JSON; the planner reads ``frames`` (int) and dedup's ``kept_by_video`` (video id → int)."""
    cost: Mapping[str, Any] = field(default_factory=dict)


def finish(connection: Connection, finished: Sequence[Finished]) -> set[int]:
    """Delete the tasks and keep their results; returns the ids that were still this worker's.

    What does not come back was lost, cancelled or finished by another, and nothing of it may be
    recorded. Plans nothing: call `plan_after` once, after the catalogue has its records, in the
    same transaction.
    """
    if not finished:
        return set()
    rows = connection.scalars(
        FINISH,
        {
            "ids": [f.id for f in finished],
            "seqs": [f.claim_seq for f in finished],
            "outcomes": ["done" if f.reason is None else "skipped" for f in finished],
            "reasons": [f.reason for f in finished],
            "facts": [json.dumps(dict(f.facts)) for f in finished],
            "costs": [json.dumps(dict(f.cost)) for f in finished],
        },
    )
    return set(rows)
