"""The whole wanted status of an object."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from data_miner.catalog.estimate import arrival, percent, seconds_left
from data_miner.catalog.phase import PhaseName
from data_miner.catalog.progress import Progress
from data_miner_operator.facts import Seen
from data_miner_operator.reconcile import counts, lifecycle
from data_miner_operator.reconcile.asked import Asked, asked
from data_miner_operator.reconcile.conditions import ALWAYS, Check, check_of, merge
from data_miner_operator.reconcile.fit import fit
from data_miner_operator.reconcile.gates import PASSING, STORE_AWAY, Gates, gates
from data_miner_operator.reconcile.lifecycle import Standing
from data_miner_operator.reconcile.throttling import throttled
from data_miner_operator.reconcile.times import parse, stamp
from data_miner_operator.reconcile.workforce import workforce

FIELDS: Final = (
    "observedGeneration",
    "phase",
    "reason",
    "conditions",
    "projectId",
    "images",
    "videos",
    "progress",
    "eta",
    "stages",
    "funnel",
    "dataset",
    "completedAt",
    "retried",
)
"""Everything that a status may hold, in the order in which it is written."""

Fields = dict[str, Any]


def render(seen: Seen, before: Mapping[str, Any] | None) -> Fields | None:
    """The status that the object shall have, given the one that it has now.

    None means that there is nothing to write it to. While the facts stay the same, so does the
    status, whatever the time is, but for an `eta` that has passed; it has at most 2048 bytes of
    JSON, whatever the project is.
    """
    if seen.object is None:
        return None
    wish = asked(seen.object)
    if wish.deleting:
        return None
    before = before if isinstance(before, Mapping) else {}
    if wish.disabled:
        fields, checks = _disabled(seen, before)
    elif seen.away:
        fields, checks = _away(seen, before, gates(seen))
    else:
        fields, checks = _present(seen, before, gates(seen))
    fields["conditions"] = merge(before, checks, seen.now)
    return fit({name: fields[name] for name in FIELDS if fields.get(name) is not None})


def _disabled(seen: Seen, before: Mapping[str, Any]) -> tuple[Fields, dict[str, Check]]:
    """All stays as it was said last, but nobody vouches for it."""
    message = "the annotation data-miner.io/reconcile is set to disabled"
    unknown = Check("Unknown", "ReconciliationDisabled", message)
    silent = Check("Unknown", "ReconciliationDisabled")
    checks = {type_: check_of(before, type_) or silent for type_ in ALWAYS}
    checks["Ready"] = unknown
    checks["DatabaseReachable"] = _database(seen)
    fields = _kept(before)
    return {**fields, "reason": unknown.reason}, checks


def _away(seen: Seen, before: Mapping[str, Any], judged: Gates) -> tuple[Fields, dict[str, Check]]:
    """PostgreSQL cannot be asked: what it has said last stays, for the generation it was about."""
    seen_before = before.get("observedGeneration") == judged.asked.generation
    unknown = Check("Unknown", "DatabaseUnreachable", "PostgreSQL cannot be asked")
    checks = {
        type_: check_of(before, type_) or Check("Unknown", unknown.reason)
        for type_ in ("WorkersAvailable", "Throttled", "Suspended")
    }
    checks |= _own_checks(seen, judged)
    refused = judged.refused
    checks["Ready"] = refused or unknown
    complete = check_of(before, "Complete")
    if complete is None or not seen_before:
        complete = Check("False", "NotApplied" if refused else "Applying")
    checks["Complete"] = complete
    if refused is not None:
        checks["Stalled"] = _true(refused)
    elif not seen_before:
        checks["Reconciling"] = _true(unknown)
    elif (stalled := check_of(before, "Stalled")) is not None:
        checks["Stalled"] = stalled
    fields = _kept(before)
    if complete.status != "True":
        fields.pop("completedAt", None)
        _never_complete(fields)
    return {**fields, "reason": checks["Ready"].reason}, checks


def _present(
    seen: Seen, before: Mapping[str, Any], judged: Gates
) -> tuple[Fields, dict[str, Check]]:
    """PostgreSQL was asked: everything is known."""
    now = _known(seen, before, judged)
    checks = _own_checks(seen, judged)
    checks["Ready"] = ready = _ready(now)
    checks["Throttled"] = throttled(seen)
    checks["Complete"] = complete = _complete(now)
    checks["Suspended"] = _suspended(now)
    checks["WorkersAvailable"] = workers = _workers(seen, now)
    if now.refused is not None or (now.applied and now.stall is not None):
        checks["Stalled"] = _true(ready)
    elif not now.applied:
        checks["Reconciling"] = _true(ready)
    fields: Fields = {
        "observedGeneration": _observed(before, now),
        "phase": _phase(now),
        "reason": _reason(now, ready, workers, checks["Throttled"]),
        "completedAt": _completed_at(before, complete, seen.now),
    }
    if now.owned:
        assert seen.row is not None
        fields |= {"projectId": seen.row.project_id, "retried": seen.row.retried or None}
    if now.progress is not None:
        fields |= _numbers(before, now, complete, seen.now)
    return fields, checks


@dataclass(frozen=True, slots=True)
class _Known:
    """What follows from the facts when PostgreSQL was asked."""

    judged: Gates
    asked: Asked
    owned: bool
    """Whether the row stands for this object."""
    applied: bool
    """Whether the catalogue holds this generation."""
    suspended: bool
    progress: Progress | None
    """Only of a row that stands for this object."""

    @property
    def refused(self) -> Check | None:
        """The gate that somebody must open."""
        shut = self.judged.shut
        return None if shut is None or shut.reason in PASSING else shut

    @property
    def stall(self) -> Check | None:
        """Why the catalogue says that it gets no further."""
        if self.progress is None or self.progress.phase.name is not PhaseName.STALLED:
            return None
        return Check("False", self.progress.phase.reason, _with_failure(self.progress))

    @property
    def complete(self) -> bool:
        return (
            self.applied
            and self.progress is not None
            and self.progress.phase.name is PhaseName.COMPLETE
        )


def _with_failure(progress: Progress) -> str:
    """What the phase says, and of what has failed for good the first, as `data-miner run` does."""
    message = progress.phase.message
    if not progress.failures:
        return message
    first = progress.failures[0]
    return f"{message}; {first.stage} {first.error_class}: {first.error}"


def _known(seen: Seen, before: Mapping[str, Any], judged: Gates) -> _Known:
    wish = judged.asked
    owned = lifecycle.standing(seen.row, seen.site, wish.uid) is Standing.OURS
    if judged.shut is not None and judged.shut.reason == STORE_AWAY:
        applied = owned and _was_applied(before, wish.generation)
    else:
        applied = (
            judged.shut is None
            and judged.wanted is not None
            and lifecycle.applied(seen.row, seen.site, wish, judged.wanted)
        )
    suspended = owned and seen.row is not None and seen.row.suspended
    progress = seen.progress if owned else None
    return _Known(judged, wish, owned, applied, suspended, progress)


def _was_applied(before: Mapping[str, Any], generation: int) -> bool:
    """Whether the status says that the catalogue holds this very generation."""
    complete = check_of(before, "Complete")
    said = complete is not None and complete.reason not in {"NotApplied", "Applying"}
    return said and before.get("observedGeneration") == generation


def _own_checks(seen: Seen, judged: Gates) -> dict[str, Check]:
    """What is known of the object and the installation alone."""
    return {
        "SpecValid": judged.spec,
        "CredentialsReady": judged.credentials,
        "ModelsReady": judged.models,
        "DatabaseReachable": _database(seen),
    }


def _database(seen: Seen) -> Check:
    if seen.away:
        return Check("False", "Unreachable", seen.away)
    return Check("True", "Connected")


def _true(ready: Check) -> Check:
    """What keeps a project from being ready, as a condition of its own."""
    return Check("True", ready.reason, ready.message)


def _ready(now: _Known) -> Check:
    if now.judged.shut is not None:
        return now.judged.shut
    if not now.applied:
        return Check("False", "Applying", "being written to the catalogue")
    message = now.progress.phase.message if now.progress is not None else ""
    return now.stall or Check("True", "Applied", message)


def _complete(now: _Known) -> Check:
    if not now.applied:
        return Check("False", "NotApplied" if now.refused else "Applying")
    if now.progress is None:
        return Check("False", "InProgress")
    phase = now.progress.phase
    if now.complete:
        return Check("True", phase.reason, _with_failure(now.progress))
    if now.stall is not None:
        return Check("False", "Stalled")
    if phase.name is PhaseName.SUSPENDED:
        return Check("False", "Suspended")
    return Check("False", "InProgress")


def _suspended(now: _Known) -> Check:
    if not now.suspended:
        if now.asked.suspend and not now.owned:
            return Check("True", "Suspended", "it has not begun")
        return Check("False", "Active")
    if not now.asked.suspend:
        return Check("True", "Suspended", "until the spec can be applied")
    message = now.progress.phase.message if now.progress is not None else ""
    return Check("True", "Suspended", message)


def _workers(seen: Seen, now: _Known) -> Check:
    progress = now.progress
    ended = progress is not None and progress.phase.settled
    if now.complete or now.suspended or now.asked.suspend or ended:
        return Check("True", "NotNeeded")
    if progress is not None:
        busy = [stage.stage for stage in progress.stages if stage.left]
        return workforce([stage.stage for stage in progress.stages], busy, seen.pools)
    wanted = now.judged.wanted
    stages = [stage.stage for stage in wanted.compiled] if wanted is not None else []
    return workforce(stages, stages[:1], seen.pools)


def _observed(before: Mapping[str, Any], now: _Known) -> int | None:
    """The generation that has been decided on: applied, or refused until somebody mends it."""
    if now.applied or now.refused is not None:
        return now.asked.generation
    earlier = before.get("observedGeneration")
    return earlier if isinstance(earlier, int) else None


def _phase(now: _Known) -> str:
    # Who waits for something that comes by itself shall not look like who must be helped.
    waiting = PhaseName.PENDING if now.refused is None else PhaseName.STALLED
    if now.progress is None:
        return (PhaseName.SUSPENDED if now.asked.suspend else waiting).value
    name = now.progress.phase.name
    if name is PhaseName.COMPLETE and not now.applied:
        return waiting.value
    return name.value


def _reason(now: _Known, ready: Check, workers: Check, slowed: Check) -> str:
    """The one word that helps most: what stands in the way, or else what is being done."""
    if ready.status != "True" or now.progress is None:
        return ready.reason
    if workers.status == "False":
        return workers.reason
    reason = now.progress.phase.reason
    if reason == "WaitingToRetry" and slowed.status == "True":
        return "Throttled"
    return reason


def _completed_at(before: Mapping[str, Any], complete: Check, now: datetime) -> str | None:
    if complete.status != "True":
        return None
    earlier = check_of(before, "Complete")
    since = before.get("completedAt")
    if earlier is not None and earlier.status == "True" and parse(since) is not None:
        return str(since)
    return stamp(now)


def _numbers(before: Mapping[str, Any], now: _Known, complete: Check, moment: datetime) -> Fields:
    assert now.progress is not None, "numbers without progress"
    target = _target(before, now)
    done = complete.status == "True"
    eta = None
    if now.progress.phase.name not in (PhaseName.COMPLETE, PhaseName.STALLED, PhaseName.SUSPENDED):
        left = seconds_left(now.progress, target)
        eta = arrival(left, parse(before.get("eta")), moment)
    return {
        **counts.numbers(now.progress, target),
        "progress": percent(now.progress, target, complete=done),
        "eta": stamp(eta) if eta is not None else None,
    }


def _target(before: Mapping[str, Any], now: _Known) -> int | None:
    """Images that the applied spec asks for; remembered while a later one is refused."""
    if now.applied and now.judged.wanted is not None:
        target = now.judged.wanted.project.spec.target
        return target.images if target is not None else None
    images = before.get("images")
    earlier = images.get("target") if isinstance(images, Mapping) else None
    return earlier if isinstance(earlier, int) else None


def _kept(before: Mapping[str, Any]) -> Fields:
    """What the status says already, but for its conditions."""
    fields = {name: before[name] for name in FIELDS if name in before and name != "conditions"}
    fields.setdefault("phase", PhaseName.PENDING.value)
    return fields


def _never_complete(fields: Fields) -> None:
    """A generation that is not applied shows no completion of the one before."""
    if fields.get("phase") == PhaseName.COMPLETE:
        fields["phase"] = PhaseName.PENDING.value
    if fields.get("progress") == 100:
        fields["progress"] = 99
