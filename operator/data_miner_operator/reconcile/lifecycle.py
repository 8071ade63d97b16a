"""From the first object of a name to its last: whose row it is, and what is done when one goes.

There are no finalizers. The row remembers the object that it stands for and what shall become of
it, so an object goes at once, and the rest is done whenever operator and database are there.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any

from data_miner.catalog.owned import Row
from data_miner_operator.facts import Seen, Site
from data_miner_operator.reconcile.actions import Action, DeleteObject, Forget, Release, Retry
from data_miner_operator.reconcile.asked import Asked
from data_miner_operator.reconcile.conditions import condition
from data_miner_operator.reconcile.times import parse
from data_miner_operator.reconcile.wanted import Wanted


class Standing(StrEnum):
    """What a row is to an object of its name."""

    FREE = "free"
    """There is none."""
    OURS = "ours"
    """It stands for this very object."""
    VACANT = "vacant"
    """It was kept when the object before this one went."""
    PREDECESSORS = "predecessors"
    """It still stands for the object before this one."""
    FOREIGN = "foreign"
    """Another cluster's, or the command line's."""


def standing(row: Row | None, site: Site, uid: str) -> Standing:
    """What the row is to the object with this uid."""
    if row is None or row.deleted:
        return Standing.FREE
    if row.owner_installation != site.installation:
        return Standing.FOREIGN
    if row.owner_uid is None:
        return Standing.VACANT
    return Standing.OURS if row.owner_uid == uid else Standing.PREDECESSORS


def may_write(row: Row | None, site: Site, wish: Asked) -> bool:
    """Whether the object may have the row, now or after its predecessor is cleared away."""
    return wish.adopt or standing(row, site, wish.uid) is not Standing.FOREIGN


def applied(row: Row | None, site: Site, wish: Asked, wanted: Wanted) -> bool:
    """Whether the catalogue holds just what the object asks for.

    Also the parts that somebody may have changed by hand count: they are put right again.
    """
    if row is None or standing(row, site, wish.uid) is not Standing.OURS:
        return False
    return (
        row.applied_digest == wanted.digest
        and row.suspended == wanted.project.spec.suspend
        and row.deletion_policy == wanted.project.spec.deletion_policy
    )


def gone(row: Row | None, site: Site, wish: Asked | None) -> tuple[Action, ...]:
    """What is left to do for a row whose object is gone, or going if `wish` is not None.

    What it has made is removed only if the row says so and the object, as far as it can still be
    read, does not say otherwise: an edit that was never applied may have changed it.
    """
    if row is None or row.deleted or row.owner_installation != site.installation:
        return ()
    if row.owner_uid is None:
        return ()
    if row.deletion_policy == "Delete" and not (wish and wish.keeps and wish.uid == row.owner_uid):
        return (Forget(row.project_id),)
    return (Release(row.project_id),)


def retry(row: Row, wish: Asked) -> tuple[Action, ...]:
    """What the annotation asks for that has not been done yet."""
    if wish.retry_token and wish.retry_token != row.retried:
        return (Retry(row.project_id, wish.retry_token),)
    return ()


def expiry(seen: Seen, wish: Asked, ttl_seconds: int) -> tuple[tuple[Action, ...], float | None]:
    """Of a complete project: deletes its object when its time is over, or seconds until then."""
    done = completed_at(seen.object, wish.generation)
    if done is None:
        return (), float(ttl_seconds)
    left = (done + timedelta(seconds=ttl_seconds) - seen.now).total_seconds()
    if left > 0:
        return (), left
    return (DeleteObject(wish.uid, wish.resource_version),), None


def completed_at(obj: Mapping[str, Any] | None, generation: int) -> datetime | None:
    """When the status says that this very generation was completed; None if it does not."""
    status = obj.get("status") if obj is not None else None
    if not isinstance(status, Mapping) or status.get("observedGeneration") != generation:
        return None
    complete = condition(status, "Complete")
    if complete is None or complete.get("status") != "True":
        return None
    return parse(status.get("completedAt"))
