"""How many workers a pool shall have: one pure decision, and what it has to remember.

Up follows need at once, at most to twice as many (or four more) within one step's time. Down waits
until need has been lower for a whole window, goes in steps of a quarter, and to nothing only after
a time without work. What cannot be known, or cannot be helped by more pods, holds it where it is.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Final

from data_miner_operator.facts import PoolFact
from data_miner_operator.reconcile.wording import many
from data_miner_operator.scaling.annotations import Autoscaler, PoolSpec
from data_miner_operator.scaling.demand import Demand

UP_FACTOR: Final = 2
UP_PODS: Final = 4
"""Within the time of a step a pool grows to at most twice its size, or by four."""
DOWN_SHARE: Final = 4
"""A step down takes one in so many, and at least one."""
COOLDOWN_STEPS: Final = 2
"""No step down so soon after one up, in times of a step."""
TOLERANCE: Final = 0.1
"""Share of its size by which need must differ before a pool changes."""
SETTLE_SECONDS: Final = 15.0
"""How long our own write may take to be seen."""


class Reason(StrEnum):
    """Why a pool grows, shrinks or stays: a closed list, fit for a metric's label."""

    BACKLOG = "Backlog"
    MINIMUM = "Minimum"
    WARM = "Warm"
    SURPLUS = "Surplus"
    IDLE = "Idle"
    MAXIMUM = "Maximum"
    UNSCHEDULABLE = "Unschedulable"
    STEADY = "Steady"
    WITHIN_TOLERANCE = "WithinTolerance"
    PACED = "Paced"
    STABILIZING = "Stabilizing"
    IDLE_WAIT = "IdleWait"
    AT_MAXIMUM = "AtMaximum"
    THROTTLED = "Throttled"
    CRASH_LOOPING = "CrashLooping"
    DATABASE_AWAY = "DatabaseAway"
    SCALED_BY_HAND = "ScaledByHand"
    SETTLING = "Settling"
    OTHER_AUTOSCALER = "OtherAutoscaler"
    DRAINING = "Draining"
    ROLLING_OUT = "RollingOut"
    REFUSED = "Refused"


MEANINGS: Final[dict[Reason, str]] = {
    Reason.BACKLOG: "It grows: the work that is there takes longer than the target.",
    Reason.MINIMUM: "It grows to `min-replicas`.",
    Reason.WARM: "It grows to `warm-replicas`: work is coming.",
    Reason.SURPLUS: "It shrinks: need was lower for the whole window.",
    Reason.IDLE: "Its last worker goes: there was no work for `idle-seconds`.",
    Reason.MAXIMUM: "It shrinks to `max-replicas`.",
    Reason.UNSCHEDULABLE: "No node takes some of its pods, or a quota refuses them. It does not"
    " grow, and gives up all but one of the pods that wait.",
    Reason.STEADY: "It has what it needs.",
    Reason.WITHIN_TOLERANCE: "It needs a little more than it has, not enough to change it.",
    Reason.PACED: "It has just changed; the next step comes soon.",
    Reason.STABILIZING: "It needs less; whether that lasts is being watched.",
    Reason.IDLE_WAIT: "It has nothing to do; its last worker stays until `idle-seconds` are over.",
    Reason.AT_MAXIMUM: "It needs more than `max-replicas`.",
    Reason.THROTTLED: "A site puts tasks off; more workers would not make it faster.",
    Reason.CRASH_LOOPING: "Containers of its pods keep ending or cannot start. It does not grow.",
    Reason.DATABASE_AWAY: "The queue cannot be read, or the last look is too old. It stays.",
    Reason.SCALED_BY_HAND: "Somebody else has set its replicas. That stands for one window.",
    Reason.SETTLING: "The last change is not visible everywhere yet.",
    Reason.OTHER_AUTOSCALER: "The annotation `autoscaler` leaves it to somebody else.",
    Reason.DRAINING: "It shrinks as soon as the workers that go hold nothing.",
    Reason.ROLLING_OUT: "A new version of its pods is rolled out while they work. It shrinks"
    " afterwards.",
    Reason.REFUSED: "The API server has refused the change, or has not answered.",
}

BLOCKED: Final = frozenset({
    Reason.UNSCHEDULABLE,
    Reason.CRASH_LOOPING,
    Reason.AT_MAXIMUM,
    Reason.DATABASE_AWAY,
    Reason.SCALED_BY_HAND,
    Reason.ROLLING_OUT,
    Reason.REFUSED,
})  # fmt: skip
"""Reasons that keep a pool from what it needs."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """What shall be."""

    replicas: int
    """The present number when the pool stays as it is."""
    want: int
    """What the need of this moment comes to within the pool's bounds, before any pacing."""
    reason: Reason
    sentence: str


@dataclass(frozen=True, slots=True)
class Memory:
    """What one decision hands to the next. Times are monotonic seconds."""

    since: float = -math.inf
    """When the window of uninterrupted looks began."""
    looked: float | None = None
    """When need was last judged."""
    needs: tuple[tuple[float, int], ...] = ()
    """Time and size that was needed, falling: only what may still be a window's greatest."""
    idle_since: float = math.inf
    """Since when there was nothing to do; infinite while there is something."""
    expected: int | None = None
    """Replicas as we last saw or wrote them; None before the first look."""
    previous: int | None = None
    """Replicas before our last write."""
    written_at: float = -math.inf
    ups: tuple[tuple[float, int], ...] = ()
    """Our steps up within the time of one: when, and from how many."""
    up_at: float = -math.inf
    down_at: float = -math.inf
    by_hand_at: float = -math.inf
    """When somebody else was last seen to have set the replicas."""


def decide(
    spec: PoolSpec, fact: PoolFact, demand: Demand | None, memory: Memory, now: float
) -> tuple[Verdict, Memory]:
    """What the pool shall have now. `demand` is None when the queue cannot be read.

    Nothing is assumed about whether the verdict is carried out: say so with `scaled`.
    """
    if spec.autoscaler is not Autoscaler.OPERATOR:
        text = f"the annotation autoscaler is {spec.autoscaler}"
        return _stay(fact, fact.replicas, Reason.OTHER_AUTOSCALER, text), Memory()
    if demand is None or now - demand.at > demand.lasts_seconds:
        age = "cannot be read" if demand is None else f"was last read {now - demand.at:.0f} s ago"
        verdict = _stay(fact, fact.replicas, Reason.DATABASE_AWAY, f"the queue {age}")
        return verdict, _adopted(fact, memory, now)
    memory = _looked(spec, demand, _adopted(fact, memory, now), now)
    want = _clamped(spec, demand, math.ceil(_need(spec, demand)))
    return _choose(spec, fact, demand, memory, want, now), memory


def scaled(memory: Memory, before: int, after: int, now: float) -> Memory:
    """The memory once the replicas were written."""
    written = replace(memory, expected=after, previous=before, written_at=now)
    if after > before:
        return replace(written, ups=(*memory.ups, (now, before)), up_at=now)
    return replace(written, down_at=now)


def _need(spec: PoolSpec, demand: Demand) -> float:
    """Workers that clear the backlog in time; never more than have something to run."""
    return min(demand.slots / spec.slots, math.ceil(demand.runnable / spec.slots))


def _floor(spec: PoolSpec, demand: Demand) -> int:
    return max(spec.min_replicas, spec.warm_replicas if demand.work_ahead else 0)


def _clamped(spec: PoolSpec, demand: Demand, need: int) -> int:
    least = 1 if demand.runnable else 0  # however short the tasks are
    return min(spec.max_replicas, max(least, need, _floor(spec, demand)))


def _low(spec: PoolSpec, demand: Demand) -> int:
    """The size to which this look would let the pool shrink: a tenth above the need."""
    roomy = math.ceil(_need(spec, demand) / (1 - TOLERANCE))
    return _clamped(spec, demand, min(roomy, math.ceil(demand.runnable / spec.slots)))


# Remembering


def _adopted(fact: PoolFact, memory: Memory, now: float) -> Memory:
    """Take the replicas as they are; somebody else's write is noted."""
    if memory.expected is None:
        return replace(memory, expected=fact.replicas)
    if fact.replicas == memory.expected or _settling(fact, memory, now):
        return memory
    return replace(memory, expected=fact.replicas, by_hand_at=now, ups=())


def _settling(fact: PoolFact, memory: Memory, now: float) -> bool:
    """Whether what we see is what was there before our own last write."""
    late = now - memory.written_at < SETTLE_SECONDS
    return late and fact.replicas != memory.expected and fact.replicas == memory.previous


def _looked(spec: PoolSpec, demand: Demand, memory: Memory, now: float) -> Memory:
    """Enter this look's need; after a gap nothing of what was before counts."""
    if memory.looked is None or now - memory.looked > demand.lasts_seconds:
        memory = replace(memory, since=now, needs=(), idle_since=math.inf)
    low = _low(spec, demand)
    begin = now - spec.stabilization_seconds
    kept = (entry for entry in memory.needs if entry[0] >= begin and entry[1] > low)
    idle = not demand.runnable and not demand.held
    return replace(
        memory,
        looked=now,
        needs=(*kept, (now, low)),
        idle_since=min(memory.idle_since, now) if idle else math.inf,
        ups=tuple(up for up in memory.ups if now - up[0] < spec.step_seconds),
    )


# Choosing


def _choose(
    spec: PoolSpec, fact: PoolFact, demand: Demand, memory: Memory, want: int, now: float
) -> Verdict:
    if _settling(fact, memory, now):
        return _stay(fact, want, Reason.SETTLING, f"{memory.expected} were asked for a moment ago")
    if now - memory.by_hand_at < spec.stabilization_seconds:
        text = f"somebody else has set {fact.replicas}, which stands for a while"
        return _stay(fact, want, Reason.SCALED_BY_HAND, text)
    # One stays as a probe. What runs is sound, however old the count of the pods that wait is.
    sound = max(fact.ready, fact.replicas - fact.unschedulable)
    fewer = max(sound + 1, spec.min_replicas)
    if fact.unschedulable > 1 and fewer < fact.replicas and _paced_down(spec, memory, now):
        text = f"{fact.unschedulable} pods find no place: {fact.message}"
        return Verdict(fewer, want, Reason.UNSCHEDULABLE, text)
    if want > fact.replicas:
        return _grow(spec, fact, demand, memory, want, now)
    return _shrink(spec, fact, demand, memory, want, now)


def _grow(
    spec: PoolSpec, fact: PoolFact, demand: Demand, memory: Memory, want: int, now: float
) -> Verdict:
    if fact.unschedulable:
        text = f"{fact.unschedulable} pods find no place: {fact.message}"
        return _stay(fact, want, Reason.UNSCHEDULABLE, text)
    if fact.crashing:
        text = f"{fact.crashing} pods do not stay up: {fact.message}"
        return _stay(fact, want, Reason.CRASH_LOOPING, text)
    if fact.waiting:  # more pods would only wait as well
        return _stay(fact, want, Reason.PACED, f"{fact.waiting} pods have no node yet")
    floor = min(_floor(spec, demand), spec.max_replicas)
    if fact.replicas >= max(floor, 1) and _need(spec, demand) <= fact.replicas * (1 + TOLERANCE):
        text = f"the work would keep {_need(spec, demand):.1f} busy"
        return _stay(fact, want, Reason.WITHIN_TOLERANCE, text)
    base = min((before for _, before in memory.ups), default=fact.replicas)
    most = max(base * UP_FACTOR, base + UP_PODS)
    if most <= fact.replicas:
        text = f"it needs {want}, and has just grown from {base}"
        return _stay(fact, want, Reason.PACED, text)
    reason = Reason.BACKLOG
    if want == floor:
        reason = Reason.MINIMUM if want == spec.min_replicas else Reason.WARM
    return Verdict(min(want, most), want, reason, _work(spec, demand))


def _shrink(
    spec: PoolSpec, fact: PoolFact, demand: Demand, memory: Memory, want: int, now: float
) -> Verdict:
    above = fact.replicas > spec.max_replicas
    low = spec.max_replicas if above else max(need for _, need in memory.needs)
    if low >= fact.replicas:
        return _enough(spec, fact, demand, want)
    if not above and now - memory.since < spec.stabilization_seconds:
        return _stay(fact, want, Reason.STABILIZING, f"it needs {low} if that lasts")
    if now - memory.up_at < COOLDOWN_STEPS * spec.step_seconds or not _paced_down(
        spec, memory, now
    ):
        return _stay(fact, want, Reason.PACED, f"it needs {low}, and has just changed")
    reason, text = Reason.SURPLUS, f"{low} were enough for a while"
    fewer = max(low, fact.replicas - max(1, fact.replicas // DOWN_SHARE))
    if above:
        reason, text = Reason.MAXIMUM, f"at most {spec.max_replicas} are allowed"
    elif not fewer:
        idle = now - memory.idle_since
        reason, text = Reason.IDLE, f"it has had nothing to do for {max(idle, 0):.0f} s"
        if idle < spec.idle_seconds:
            return _stay(fact, want, Reason.IDLE_WAIT, text)
    return Verdict(fewer, want, reason, text)


def _paced_down(spec: PoolSpec, memory: Memory, now: float) -> bool:
    return now - memory.down_at >= spec.step_seconds


def _enough(spec: PoolSpec, fact: PoolFact, demand: Demand, want: int) -> Verdict:
    """A pool that neither grows nor shrinks: what is to be known about it."""
    if fact.unschedulable:
        text = f"{fact.unschedulable} pods find no place: {fact.message}"
        return _stay(fact, want, Reason.UNSCHEDULABLE, text)
    if fact.crashing:
        text = f"{fact.crashing} pods do not stay up: {fact.message}"
        return _stay(fact, want, Reason.CRASH_LOOPING, text)
    if _need(spec, demand) > spec.max_replicas * (1 + TOLERANCE):
        return _stay(fact, want, Reason.AT_MAXIMUM, _work(spec, demand))
    if demand.throttled:
        return _stay(fact, want, Reason.THROTTLED, "a site puts tasks off")
    return _stay(fact, want, Reason.STEADY, _work(spec, demand))


def _work(spec: PoolSpec, demand: Demand) -> str:
    tasks = many(demand.runnable, "task", "tasks")
    return (
        f"{tasks}, {demand.backlog_seconds:.0f} s of work, for"
        f" {many(math.ceil(_need(spec, demand)), 'pod', 'pods')} with {spec.slots} at a time"
    )


def _stay(fact: PoolFact, want: int, reason: Reason, sentence: str) -> Verdict:
    return Verdict(fact.replicas, want, reason, sentence)
