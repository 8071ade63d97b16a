"""Which pods go when a pool shrinks, and what they cost to delete.

The ReplicaSet controller chooses: first pods without a node, then pending ones, then those that are
not ready, then those with the lowest deletion cost. So the choice here respects its first three
rules, and decides by the cost among pods that are ready.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from data_miner.catalog.pulse import WorkerFact
from data_miner_operator.scaling.pools import PodFact

FREE_COST: Final = -1000
"""Of a pod that goes and holds nothing."""
LEAVING_COST: Final = -100
"""Of a pod that goes as soon as it holds nothing."""
_STEPS: Final = (60.0, 300.0, 900.0, 3600.0)
"""Seconds of work at which a pod becomes dearer: coarse, since each change is a write."""


@dataclass(frozen=True, slots=True)
class Member:
    """A pod and the workers in it: none before it has registered, several after a restart."""

    pod: PodFact
    workers: tuple[WorkerFact, ...]

    @property
    def held(self) -> int:
        """Tasks that it holds."""
        return sum(worker.held for worker in self.workers)

    @property
    def busy_seconds(self) -> float:
        """For how long it has run the task that it has run for longest; 0 when it holds none."""
        return max((w.busiest_seconds for w in self.workers if w.held), default=0.0)

    @property
    def drained(self) -> bool:
        """All its workers are marked; also true for a pod without any."""
        return all(worker.drain for worker in self.workers)

    @property
    def coming(self) -> bool:
        """It runs, and no worker in it is known: one may have come, and taken work, since the queue
        was looked at."""
        return not self.workers and self.pod.running and not self.pod.crashing


def pod_names(worker: WorkerFact) -> set[str]:
    """What the pod may be called that the worker runs in. Its id is the pod's name where the chart
    starts it; the host's name is too, unless it is too long or the pod has its node's network.
    """
    return {worker.worker_id, worker.host}


def members(pool: str, pods: Iterable[PodFact], workers: Iterable[WorkerFact]) -> list[Member]:
    """The pods with their workers, by name. Workers of pods that are gone are left out."""
    inside: dict[str, list[WorkerFact]] = {}
    for worker in sorted(workers, key=lambda w: w.worker_id):
        if worker.pool == pool:
            for name in pod_names(worker):
                inside.setdefault(name, []).append(worker)
    return [
        Member(pod, tuple(inside.get(pod.name, ())))
        for pod in sorted(pods, key=lambda pod: pod.name)
    ]


def choose(candidates: Sequence[Member], count: int) -> list[Member]:
    """The `count` pods that go, first to go first. Once marked, a pod is preferred to its equals,
    so that the choice does not wander while workers drain.
    """
    newest = sorted(candidates, key=lambda m: (m.pod.created, m.pod.name), reverse=True)
    return sorted(newest, key=_rank)[: max(0, count)]


def _rank(member: Member) -> tuple[bool, bool, bool, bool, bool, float]:
    marked = bool(member.workers) and member.drained
    return (*_before_cost(member.pod), not marked, member.held > 0, member.busy_seconds)


def _before_cost(pod: PodFact) -> tuple[bool, bool, bool]:
    """What the ReplicaSet controller looks at before the cost; False goes first."""
    return pod.assigned, pod.running, pod.ready


def costs(
    everyone: Sequence[Member], leaving: Collection[str], free: Collection[str]
) -> Mapping[str, int]:
    """The deletion cost of every pod, by its name; `free` are those of `leaving` that may go."""
    return {m.pod.name: _cost(m, m.pod.name in leaving, m.pod.name in free) for m in everyone}


def _cost(member: Member, leaving: bool, free: bool) -> int:
    if leaving:
        return FREE_COST if free else LEAVING_COST
    if not member.held:
        return 0
    return 100 * (1 + sum(member.busy_seconds >= step for step in _STEPS))


def order(member: Member) -> tuple[bool, bool, bool, int]:
    """The pod with the lower one is deleted first; of equal ones nobody can say which."""
    return (*_before_cost(member.pod), member.pod.deletion_cost)
