"""Conditions as Kubernetes has them: merged by type, their time moving only with their status."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final, Literal

from data_miner_operator.reconcile.times import parse, stamp
from data_miner_operator.reconcile.wording import cut, line

Status = Literal["True", "False", "Unknown"]

ALWAYS: Final = (
    "Ready",
    "SpecValid",
    "DatabaseReachable",
    "CredentialsReady",
    "ModelsReady",
    "WorkersAvailable",
    "Throttled",
    "Complete",
    "Suspended",
)
"""Types that every status has, in the order in which they are shown."""
WHILE_TRUE: Final = ("Reconciling", "Stalled")
"""Types that are there only while they are true, as kstatus wants it."""
TYPES: Final = (*ALWAYS, *WHILE_TRUE)
MESSAGE_BYTES: Final = 400
REASON_BYTES: Final = 64


@dataclass(frozen=True, slots=True)
class Check:
    """What a condition says, without its time."""

    status: Status
    reason: str
    """One CamelCase word of `reasons.CONDITIONS`."""
    message: str = ""


def condition(status: Mapping[str, Any] | None, type_: str) -> Mapping[str, Any] | None:
    """The condition of a type in a status; None when it is not there."""
    found = status.get("conditions") if status is not None else None
    if not isinstance(found, list):
        return None
    return next((c for c in found if isinstance(c, Mapping) and c.get("type") == type_), None)


def check_of(status: Mapping[str, Any] | None, type_: str) -> Check | None:
    """What a status says of a type; None when it says nothing that can be understood."""
    found = condition(status, type_)
    if found is None or found.get("status") not in ("True", "False", "Unknown"):
        return None
    return Check(found["status"], str(found.get("reason") or ""), str(found.get("message") or ""))


def merge(
    before: Mapping[str, Any] | None, checks: Mapping[str, Check], now: datetime
) -> list[dict[str, Any]]:
    """The conditions for these checks, in the order of `TYPES`.

    A time is kept where the status of its condition stays, whatever becomes of its reason.
    """
    return [
        {
            "type": type_,
            "status": check.status,
            "reason": cut(check.reason, REASON_BYTES),
            "message": line(check.message, MESSAGE_BYTES),
            "lastTransitionTime": _since(condition(before, type_), check, now),
        }
        for type_ in TYPES
        if (check := checks.get(type_)) is not None
    ]


def _since(before: Mapping[str, Any] | None, check: Check, now: datetime) -> str:
    if before is not None and before.get("status") == check.status:
        kept = before.get("lastTransitionTime")
        if isinstance(kept, str) and parse(kept) is not None:
            return kept
    return stamp(now)
