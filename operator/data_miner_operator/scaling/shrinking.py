"""How a pool gets smaller without harm: mark workers, wait until they hold nothing, then scale.

The marks are in the database and the costs in the pods' annotations, so a new leader goes on where
the old one stopped. Only how long a worker has been marked is counted anew.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Final

from data_miner_operator.scaling.annotations import Autoscaler
from data_miner_operator.scaling.policy import Reason, Verdict
from data_miner_operator.scaling.pools import Pool
from data_miner_operator.scaling.victims import Member, choose, costs, order

GRACE_SECONDS: Final = 90.0
GRACE_STEPS: Final = 3
"""How long a marked worker that nobody wants to remove stays marked, at least in seconds and in
times of a step: longer than the pause between two steps down, so that what was drained for the next
one is not taken back."""
COMING_SECONDS: Final = 60.0
"""How long a pod that shall go may run without a worker, until it counts as one that has none.
Longer than a look at the queue is old."""


@dataclass(frozen=True, slots=True)
class Mark:
    """What is remembered of a marked worker, in monotonic seconds."""

    since: float
    """When we marked it, or first saw it marked."""
    ours: bool
    """We have marked it."""
    unwanted_since: float | None = None
    """Since when nobody has wanted it to go; None while somebody does."""


Marks = Mapping[str, Mark]
"""By worker id; by its name for a pod that shall go and whose worker is still to come."""


@dataclass(frozen=True, slots=True)
class Plan:
    """What is to be done about a pool in this step, in this order."""

    undrain: tuple[str, ...] = ()
    drain: tuple[str, ...] = ()
    wanted: frozenset[str] = frozenset()
    """Workers that shall go, marked or not, and pods whose worker is still to come."""
    costs: Mapping[str, int] = field(default_factory=dict)
    """Deletion costs to write, by pod: only those that differ from what the pods have."""
    replicas: int | None = None
    """To be written to the scale; None when nothing is."""
    timed_out: tuple[str, ...] = ()
    """Workers that are stopped although they hold something: their time is over."""
    reason: Reason | None = None
    """Why the verdict is not carried out now; None when it is, or asks for nothing."""
    sentence: str = ""


def plan(
    pool: Pool, verdict: Verdict, everyone: Iterable[Member], marks: Marks, now: float
) -> Plan:
    """What to do so that the verdict becomes true. `everyone` and the pool are of one look."""
    everyone = list(everyone)
    if verdict.replicas >= pool.fact.replicas:
        # What is there beyond the scale is about to be deleted: it must not take up work again.
        stays = sorted(everyone, key=order)[max(0, len(everyone) - verdict.replicas) :]
        grown = verdict.replicas if verdict.replicas > pool.fact.replicas else None
        return Plan(undrain=_unwanted(pool, verdict, stays, marks, now), replicas=grown)
    if pool.counted > len(everyone):
        text = f"{pool.counted} pods are there, {len(everyone)} of them are known"
        return Plan(reason=Reason.SETTLING, sentence=text)
    if pool.rolling and any(member.held for member in everyone):
        # Two ReplicaSets share the loss by rules of their own: nobody could say who goes.
        text = f"it shrinks to {verdict.replicas} once its pods are all of one version"
        return Plan(reason=Reason.ROLLING_OUT, sentence=text)
    leaving = choose(everyone, len(everyone) - verdict.replicas)
    return _shrink(pool, verdict, everyone, leaving, marks, now)


def seen(marks: Marks, everyone: Iterable[Member], wanted: Collection[str], now: float) -> Marks:
    """The marks of a pool after this look: `wanted` is that of its plan.

    Workers that are marked by others or by an earlier leader are taken up. What is gone, or not
    marked any more, is forgotten.
    """
    kept = {}
    for member in everyone:
        for worker in member.workers:
            if worker.drain or worker.worker_id in wanted:
                mark = marks.get(worker.worker_id) or Mark(now, worker.worker_id in wanted)
                unwanted = None if worker.worker_id in wanted else mark.unwanted_since or now
                kept[worker.worker_id] = replace(mark, unwanted_since=unwanted)
        if member.coming and member.pod.name in wanted:
            kept[member.pod.name] = marks.get(member.pod.name) or Mark(now, ours=True)
    return kept


def _shrink(
    pool: Pool,
    verdict: Verdict,
    everyone: list[Member],
    leaving: list[Member],
    marks: Marks,
    now: float,
) -> Plan:
    late = {m.pod.name for m in leaving if m.held and _timed_out(pool, m, marks, now)}
    coming = {m.pod.name for m in leaving if m.coming}
    free = {m.pod.name for m in leaving if m.drained and not m.held} - coming | late
    free |= {name for name in coming if _overdue(marks.get(name), now)}
    names = {member.pod.name for member in leaving}
    rest = [member for member in everyone if member.pod.name not in names]
    wanted = frozenset(worker.worker_id for member in leaving for worker in member.workers)
    wanted |= coming
    # A pod without a node goes first whatever it costs; one that starts may soon be ready.
    cost = costs(everyone, names, free)
    changed = {
        m.pod.name: cost[m.pod.name]
        for m in everyone
        if m.pod.assigned and cost[m.pod.name] != m.pod.deletion_cost
    }
    # Which of several pods without a worker goes makes no difference.
    stays = (m for m in everyone if m.pod.name not in free and (m.pod.ready or m.workers))
    busy = min(map(order, stays), default=None)
    going = sum(m.pod.name in free and (busy is None or order(m) < busy) for m in everyone)
    fewer = max(verdict.replicas, min(pool.fact.replicas, len(everyone) - going))
    waits = fewer >= pool.fact.replicas
    text = f"{len(leaving) - len(free)} of the {len(leaving)} pods that go may still hold work"
    return Plan(
        undrain=_unwanted(pool, verdict, rest, marks, now),
        drain=tuple(w.worker_id for m in leaving for w in m.workers if not w.drain),
        wanted=wanted,
        costs=changed,
        replicas=None if waits else fewer,
        timed_out=tuple(w.worker_id for m in leaving if m.pod.name in late for w in m.workers),
        reason=Reason.DRAINING if waits else None,
        sentence=text if waits else "",
    )


def _timed_out(pool: Pool, member: Member, marks: Marks, now: float) -> bool:
    """Whether each worker of the pod has been marked for longer than the pool allows."""
    return all(
        w.worker_id in marks
        and now - marks[w.worker_id].since >= pool.spec.drain_timeout_seconds
        for w in member.workers
        if w.held
    )  # fmt: skip


def _overdue(mark: Mark | None, now: float) -> bool:
    """Whether the pod has been waited for long enough for its worker to come."""
    return mark is not None and now - mark.since >= COMING_SECONDS


def _unwanted(
    pool: Pool,
    verdict: Verdict,
    everyone: Iterable[Member],
    marks: Marks,
    now: float,
) -> tuple[str, ...]:
    """Marked workers that shall work again: at once when the pool needs them, else after a grace.

    A pool that somebody else scales gets back only what we have marked.
    """
    ours_alone = pool.spec.autoscaler is not Autoscaler.OPERATOR
    needed = verdict.want >= pool.fact.replicas
    grace = max(GRACE_SECONDS, GRACE_STEPS * pool.spec.step_seconds)
    back = []
    for member in everyone:
        for worker in member.workers:
            mark = marks.get(worker.worker_id)
            if not worker.drain or mark is None:
                continue
            idle = 0.0 if mark.unwanted_since is None else now - mark.unwanted_since
            if (mark.ours or not ours_alone) and (needed or idle >= grace):
                back.append(worker.worker_id)
    return tuple(back)
