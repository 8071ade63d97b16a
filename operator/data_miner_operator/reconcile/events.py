"""Which Events tell of what changed: on transitions alone, each with a word that stays the same."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from data_miner_operator.reconcile.actions import (
    Apply,
    DeleteObject,
    Forget,
    Performed,
    Release,
    Retry,
)
from data_miner_operator.reconcile.conditions import Check, check_of
from data_miner_operator.reconcile.reasons import EVENTS, STALLS
from data_miner_operator.reconcile.wording import line, many

NOTE_BYTES: Final = 1000


@dataclass(frozen=True, slots=True)
class Event:
    """An Event to post about the object."""

    type: str
    """``Normal`` or ``Warning``."""
    reason: str
    """One of `reasons.EVENTS`."""
    note: str
    """One line, at most 1000 bytes of UTF-8."""
    action: str
    """What the operator was doing: one CamelCase word."""


def transitions(
    before: Mapping[str, Any] | None,
    wanted: Mapping[str, Any] | None,
    performed: Sequence[Performed] = (),
) -> tuple[Event, ...]:
    """What happened from one status to the next, and by the actions in between.

    Numbers and messages are no transitions. Without a status to write, the actions alone count.
    """
    found = [*_actions(performed)]
    if wanted is not None:
        found += _dataset(before or {}, wanted)
        found += _conditions(before or {}, wanted)
    return tuple(found)


def defect(problem: str) -> Event:
    """Of a pass that failed for a reason that nobody has thought of."""
    return _event("InternalError", f"tried again later; please report it: {problem}", "Reconcile")


def _event(reason: str, note: str, action: str) -> Event:
    return Event(EVENTS[reason][0], reason, line(note, NOTE_BYTES), action)


def _actions(performed: Sequence[Performed]) -> Iterator[Event]:
    for done in performed:
        match done.action:
            case Apply():
                yield _applied(done)
            case Release():
                yield _event("Released", "its rows and data stay", "Delete")
            case Forget():
                yield _event("Forgotten", "what no other project uses is removed", "Delete")
            case Retry():
                tasks = many(done.retried, "failed task is", "failed tasks are")
                yield _event("Retried", f"{tasks} ready again", "Retry")
            case DeleteObject():
                yield _event("Expired", "ttlSecondsAfterFinished is over", "Delete")
            case _:
                pass  # Their conditions tell.


def _applied(done: Performed) -> Event:
    applied = done.applied
    if applied is None or not applied.changed:
        return _event("Applied", "taken over as it is", "Apply")
    if applied.created:
        stages = ", ".join(applied.changed_stages)
        return _event("Applied", f"begun with the stages {stages}", "Apply")
    changed = [
        text
        for text in (
            f"changed: {', '.join(applied.changed_stages)}" if applied.changed_stages else "",
            f"removed: {', '.join(applied.removed_stages)}" if applied.removed_stages else "",
            "the sources are listed anew" if applied.rediscovers else "",
        )
        if text
    ]
    if changed:
        return _event("Replanned", "; ".join(changed), "Apply")
    return _event("Applied", "no stage has changed", "Apply")


def _conditions(before: Mapping[str, Any], wanted: Mapping[str, Any]) -> Iterator[Event]:
    for type_, tell in _TELLS.items():
        after = check_of(wanted, type_)
        earlier = check_of(before, type_)
        if (earlier and (earlier.status, earlier.reason)) != (
            after and (after.status, after.reason)
        ):
            yield from tell(earlier, after)


def _ready(before: Check | None, after: Check | None) -> Iterator[Event]:
    disabled = "ReconciliationDisabled"
    if before is not None and before.reason == disabled:
        yield _event("ReconciliationEnabled", "taken care of again", "Check")
    if after is not None and after.reason == disabled:
        yield _event(disabled, after.message, "Check")
    elif after is not None and after.reason == "NotOwner":
        yield _event("NotOwner", after.message, "Apply")


def _false(reason: str, action: str) -> Any:
    """Tells that a condition has become False, for whatever reason."""

    def tell(before: Check | None, after: Check | None) -> Iterator[Event]:
        if after is not None and after.status == "False":
            yield _event(reason, after.message or after.reason, action)

    return tell


def _models(before: Check | None, after: Check | None) -> Iterator[Event]:
    if after is not None and after.status == "False":
        reason = "MakingModels" if after.reason == "MakingModels" else "ModelsMissing"
        yield _event(reason, after.message or after.reason, "Check")


def _database(before: Check | None, after: Check | None) -> Iterator[Event]:
    if after is not None and after.status == "False":
        yield _event("DatabaseUnreachable", after.message, "Check")
    elif before is not None and before.status == "False":
        yield _event("DatabaseReachable", "PostgreSQL answers again", "Check")


def _workers(before: Check | None, after: Check | None) -> Iterator[Event]:
    if after is not None and after.status == "False":
        yield _event("WorkersUnavailable", f"{after.reason}: {after.message}", "Mine")
    elif after is not None and after.status == "True" and before and before.status == "False":
        yield _event("WorkersAvailable", "nothing is in the workers' way any more", "Mine")


def _throttled(before: Check | None, after: Check | None) -> Iterator[Event]:
    if after is not None and after.status == "True":
        yield _event("Throttled", after.message, "Mine")


def _suspended(before: Check | None, after: Check | None) -> Iterator[Event]:
    if after is not None and after.status == "True":
        yield _event("Suspended", after.message or "no more work is handed out", "Suspend")
    elif after is not None and after.status == "False" and before and before.status == "True":
        yield _event("Resumed", "work is handed out again", "Suspend")


def _complete(before: Check | None, after: Check | None) -> Iterator[Event]:
    already = before is not None and before.status == "True"
    if after is not None and after.status == "True" and not already:
        yield _event("Completed", after.message or after.reason, "Mine")


def _stalled(before: Check | None, after: Check | None) -> Iterator[Event]:
    # A refusal tells of itself where it is said.
    if after is not None and after.reason in STALLS:
        yield _event("Stalled", f"{after.reason}: {after.message}", "Mine")


def _dataset(before: Mapping[str, Any], wanted: Mapping[str, Any]) -> Iterator[Event]:
    after, earlier = wanted.get("dataset"), before.get("dataset")
    if not isinstance(after, Mapping):
        return
    if isinstance(earlier, Mapping) and earlier.get("version") == after.get("version"):
        return
    images = many(int(after.get("images") or 0), "image", "images")
    note = f"version {after.get('version')} with {images}: {after.get('uri', '')}"
    yield _event("DatasetPublished", note, "Mine")


_TELLS: Final[Mapping[str, Any]] = {
    "SpecValid": _false("SpecInvalid", "Check"),
    "CredentialsReady": _false("CredentialsMissing", "Check"),
    "ModelsReady": _models,
    "Ready": _ready,
    "DatabaseReachable": _database,
    "WorkersAvailable": _workers,
    "Throttled": _throttled,
    "Suspended": _suspended,
    "Complete": _complete,
    "Stalled": _stalled,
}
