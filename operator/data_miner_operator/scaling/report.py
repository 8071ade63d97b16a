"""What scaling has to tell: a snapshot for metrics and conditions, and events for Deployments."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final

from data_miner_operator.scaling.policy import BLOCKED, Reason


class Direction(StrEnum):
    """Which way a pool was scaled."""

    UP = "up"
    DOWN = "down"


@dataclass(frozen=True, slots=True)
class PoolReport:
    """One pool after one step."""

    namespace: str
    name: str
    """Of the Deployment."""
    uid: str
    pool: str
    desired: int
    """What its need comes to within its bounds."""
    current: int
    """Replicas, as written last."""
    ready: int
    reason: Reason
    sentence: str
    runnable: int
    """Tasks for it that are ready or running; 0 when the queue cannot be read."""
    backlog_seconds: float
    draining: int
    """Workers of it that are marked."""
    problems: tuple[str, ...]
    """Annotations that were not taken as they stand."""

    @property
    def blocked(self) -> bool:
        """Something keeps it from what it needs: `reason` says what."""
        return self.reason in BLOCKED


@dataclass(frozen=True, slots=True)
class ScalingEvent:
    """A Kubernetes Event to be posted for a pool's Deployment."""

    namespace: str
    name: str
    uid: str
    type: str
    """"Normal" or "Warning"."""
    reason: str
    note: str
    action: str


@dataclass(frozen=True, slots=True)
class ScalingReport:
    """All pools after one step."""

    pools: tuple[PoolReport, ...] = ()
    scaled: Mapping[tuple[Direction, Reason], int] = field(default_factory=dict)
    """Changes of replicas since this process began, by direction and reason."""
    stopped_busy: int = 0
    """Workers that were stopped with work in hand since this process began: their time was over."""
    events: tuple[ScalingEvent, ...] = ()
    """What this step adds."""

    @property
    def blocked(self) -> Mapping[Reason, int]:
        """Number of pools that each reason keeps from what they need."""
        return Counter(pool.reason for pool in self.pools if pool.blocked)


WARNINGS: Final = frozenset({Reason.UNSCHEDULABLE, Reason.CRASH_LOOPING, Reason.REFUSED})
TOLD: Final = WARNINGS | {
    Reason.BACKLOG,
    Reason.MINIMUM,
    Reason.WARM,
    Reason.SURPLUS,
    Reason.IDLE,
    Reason.MAXIMUM,
    Reason.AT_MAXIMUM,
    Reason.THROTTLED,
    Reason.SCALED_BY_HAND,
    Reason.OTHER_AUTOSCALER,
}
"""Reasons worth an event when a pool comes to them. The others pass by between two of these, and a
database that is away is told about once, by the projects."""


REPEAT_SECONDS: Final = 600.0
"""A state that comes and goes is told about once in this time; each change of size is told."""


def transition(
    before: PoolReport | None, now: PoolReport, told: Reason | None, lately: Collection[Reason]
) -> ScalingEvent | None:
    """The event of a pool's step, None when there is nothing new to tell.

    `told` is the reason of the pool's last event, `lately` are those of its recent ones.
    """
    if now.reason not in TOLD or now.reason is told:
        return None
    if before is not None and before.current != now.current:
        note = f"{before.current} → {now.current}: {now.sentence}"
    elif now.reason not in lately:
        note = now.sentence
    else:
        return None
    return event(now, now.reason, note, "Scale", warning=now.reason in WARNINGS)


def bad_annotations(pool: PoolReport) -> ScalingEvent:
    """The event that names a pool's mistaken annotations."""
    return event(pool, "BadAnnotation", "; ".join(pool.problems), "Read", warning=True)


def event(pool: PoolReport, reason: str, note: str, action: str, *, warning: bool) -> ScalingEvent:
    """An event for the pool's Deployment. The note is cut to what an Event may hold."""
    return ScalingEvent(
        namespace=pool.namespace,
        name=pool.name,
        uid=pool.uid,
        type="Warning" if warning else "Normal",
        reason=str(reason),
        note=note[:1000],
        action=action,
    )
