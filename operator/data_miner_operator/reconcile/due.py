"""When a status is worth a write: a transition at once, a number now and then, the same never."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any, Final

from data_miner_operator.reconcile.conditions import TYPES
from data_miner_operator.reconcile.status import FIELDS

COUNTS_SECONDS: Final = 5.0
"""Shortest time between two writes that only bring numbers."""
_AT_ONCE: Final = ("observedGeneration", "phase", "projectId", "completedAt", "retried")


def write_due(
    before: Mapping[str, Any] | None,
    wanted: Mapping[str, Any],
    *,
    now: datetime,
    last_write: datetime | None,
) -> float | None:
    """Seconds until `wanted` is to be written over `before`: 0 at once, None never.

    `last_write` is when the status of this object was written last by this process; None if it has
    not yet. What others have put into the status does not count.
    """
    if not before:
        return 0.0
    if _all(before) == _all(wanted):
        return None
    if last_write is None or _transition(before) != _transition(wanted):
        return 0.0
    since = (now - last_write).total_seconds()
    # A clock that was set back must not hold writes up.
    return max(0.0, COUNTS_SECONDS - since) if since >= 0 else 0.0


def _all(status: Mapping[str, Any]) -> dict[str, Any]:
    """All of the status that is ours, lists as maps by their keys."""
    fields = {name: status[name] for name in FIELDS if status.get(name) is not None}
    fields["conditions"] = {
        type_: value for type_, value in _by(status, "conditions", "type").items() if type_ in TYPES
    }
    fields["stages"] = _by(status, "stages", "name")
    return fields


def _transition(status: Mapping[str, Any]) -> dict[str, Any]:
    """What somebody may be waiting for."""
    fields = {name: status.get(name) for name in _AT_ONCE}
    fields["conditions"] = {
        type_: (value.get("status"), value.get("reason"))
        for type_, value in _by(status, "conditions", "type").items()
        if type_ in TYPES
    }
    dataset = status.get("dataset")
    fields["dataset"] = (
        [dataset.get(name) for name in ("version", "digest")]
        if isinstance(dataset, Mapping)
        else None
    )
    return fields


def _by(status: Mapping[str, Any], field: str, key: str) -> dict[str, Mapping[str, Any]]:
    items = status.get(field)
    if not isinstance(items, list):
        return {}
    return {str(item.get(key)): item for item in items if isinstance(item, Mapping)}
