"""Give dead letters another chance."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import Connection, text

RETRY = text("SELECT queue_retry(CAST(:ids AS bigint[]))")


def retry(connection: Connection, task_ids: Sequence[int]) -> set[int]:
    """Make failed tasks ready with both budgets anew; returns the ids that had failed.

    A member whose wave was gathered without it must leave that wave first (the catalogue's part):
    then its task is wanted again only when the next wave takes it in.
    """
    return set(connection.scalars(RETRY, {"ids": sorted(task_ids)}))
