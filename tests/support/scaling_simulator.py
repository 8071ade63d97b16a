"""A cluster, a queue and its workers in discrete time, scaled by the operator's own scaler.

Nothing of the scaler is imitated: it is given Deployments and Pods as an API server has them, a
pulse as the catalogue tells it, and writes marks, deletion costs and scales, which take effect here
as they do there. Time moves in ticks; one tick is the time between two looks of the scaler.
"""

from __future__ import annotations

import asyncio
import math
from collections import Counter, defaultdict, deque
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from itertools import pairwise
from typing import Any, cast

from data_miner.catalog.pulse import Depth, Pulse, WorkerFact
from data_miner_operator.api import DEPLOYMENTS, PODS, Api, Away, Conflict, NotFound, Resource
from data_miner_operator.scaling.annotations import POOL_LABEL, PREFIX, parse
from data_miner_operator.scaling.pools import DELETION_COST, Object, read_pools
from data_miner_operator.scaling.report import PoolReport, ScalingEvent, ScalingReport
from data_miner_operator.scaling.scaler import Scaler

TICK_SECONDS = 5.0
GRACE_SECONDS = 25.0
PUT_OFF_SECONDS = 300.0
MEASURED_SECONDS = 900.0
MIDNIGHT = datetime(2026, 1, 1, tzinfo=UTC)
NAMESPACE = "mining"


@dataclass(slots=True, eq=False)
class Task:
    """A task of the queue."""

    project: int
    stage: str
    seconds: float
    left: float
    claimed_at: float = 0.0
    due: float = 0.0
    """When a task that was put off is ready again."""


@dataclass(slots=True, eq=False)
class SimPod:
    """A pod with its worker."""

    name: str
    pool: str
    created_at: float
    template: int = 0
    scheduled_at: float | None = None
    ready_at: float = math.inf
    ended_at: float | None = None
    """When it was asked to end."""
    cost: int = 0
    crashing: bool = False
    drain: bool = False
    running: list[Task] = field(default_factory=list)

    def ready(self, now: float) -> bool:
        return not self.crashing and now >= self.ready_at


@dataclass(slots=True)
class SimPool:
    """A Deployment."""

    name: str
    annotations: dict[str, str]
    replicas: int = 0
    places: int = 1_000_000
    """Pods that nodes take."""
    start_seconds: float = 20.0
    crashes: bool = False
    """Containers that start now keep ending."""
    resource_version: int = 1
    template: int = 0
    slots: int = 1
    status_replicas: int = 0


@dataclass(frozen=True, slots=True)
class Sample:
    """One pool after one tick."""

    at: float
    replicas: int
    ready: int
    runnable: int
    report: PoolReport


class Simulation:
    """Everything at one moment; `run` moves it on."""

    def __init__(
        self,
        pools: Mapping[str, Mapping[str, object]],
        *,
        lag: bool = False,
        late: bool = False,
        start_seconds: float = 20.0,
        places: int = 1_000_000,
    ) -> None:
        """`pools`: annotations by pool, without their prefix. `lag`: the scaler sees Deployments
        and Pods a tick late; `late`: the queue and its workers."""
        self.now = 0.0
        self.pools = {
            name: SimPool(
                name,
                {PREFIX + key: str(value) for key, value in said.items()},
                slots=int(str(said.get("slots", 1))),
                start_seconds=start_seconds,
                places=places,
            )
            for name, said in pools.items()
        }
        self.pods: list[SimPod] = []
        self.ready: dict[str, deque[Task]] = defaultdict(deque)
        self._ready_counts: Counter[tuple[int, str]] = Counter()
        self.put_off: list[Task] = []
        self.suspended: set[int] = set()
        self.database_away = False
        self.api_away = False
        self.throttles: Callable[[Task], bool] = lambda task: False
        """Asked when a task begins: whether its site says later."""
        self.finished: Counter[str] = Counter()
        self.interrupted: list[tuple[float, str]] = []
        """When a pod was asked to end while it held work, and its name."""
        self.samples: dict[str, list[Sample]] = defaultdict(list)
        self.events: list[tuple[float, ScalingEvent]] = []
        self.api_writes: Counter[str] = Counter()
        self.report = ScalingReport()
        self._names = 0
        self._lag = lag
        self._late = late
        self._seen: tuple[float, Pulse | None] | None = None
        self._measured: deque[tuple[float, str, float]] = deque()
        self._view: tuple[list[Object], list[Object]] | None = None
        self._stages = {pool: parse(pool, at.annotations).stages for pool, at in self.pools.items()}
        self._loop = asyncio.new_event_loop()
        self.scaler = self._elect()

    def close(self) -> None:
        self._loop.close()

    def elect(self) -> None:
        """Another leader: all that was remembered is gone."""
        self.scaler = self._elect()

    def _elect(self) -> Scaler:
        return Scaler(cast(Api, self), self)

    # Load

    def add(self, stage: str, count: int, seconds: float, project: int = 1) -> None:
        """New tasks that are ready."""
        for _ in range(count):
            self._put(Task(project, stage, seconds, seconds))

    def _put(self, task: Task, *, first: bool = False) -> None:
        queue = self.ready[task.stage]
        if first:
            queue.appendleft(task)
        else:
            queue.append(task)
        self._ready_counts[task.project, task.stage] += 1

    def runnable(self, stages: Collection[str] | None = None) -> int:
        """Ready and running tasks of active projects."""
        waiting = sum(
            count
            for (project, stage), count in self._ready_counts.items()
            if project not in self.suspended and (stages is None or stage in stages)
        )
        running = (t for pod in self.pods for t in pod.running)
        return waiting + sum(
            t.project not in self.suspended and (stages is None or t.stage in stages)
            for t in running
        )

    # Time

    def run(
        self, seconds: float, each: Callable[[float], None] | None = None, looks: bool = True
    ) -> None:
        """Let `seconds` go by; `each` is called at the beginning of every tick with the time."""
        end = self.now + seconds
        while self.now < end - 1e-9:
            if each is not None:
                each(self.now)
            self._cluster()
            self._work()
            if looks:
                self._look()
            self.now += TICK_SECONDS

    def _cluster(self) -> None:
        """What the Deployment controller, the scheduler and the kubelets do."""
        for pod in list(self.pods):
            if pod.ended_at is not None and (
                not pod.running or self.now - pod.ended_at >= GRACE_SECONDS
            ):
                for task in pod.running:
                    self._put(task, first=True)  # handed back
                self.pods.remove(pod)
        for pool in self.pools.values():
            live = self.live(pool.name)
            if len(live) > pool.replicas:
                for pod in sorted(live, key=self._deletion_order)[: len(live) - pool.replicas]:
                    pod.ended_at = self.now
                    if pod.running:
                        self.interrupted.append((self.now, pod.name))
            for _ in range(pool.replicas - len(live)):
                self._names += 1
                self.pods.append(SimPod(f"{pool.name}-{self._names:05}", pool.name, self.now))
            taken = sum(p.scheduled_at is not None for p in self.pods if p.pool == pool.name)
            for pod in self.live(pool.name):
                if pod.scheduled_at is None and taken < pool.places:
                    taken += 1
                    pod.scheduled_at = self.now
                    pod.ready_at = self.now + pool.start_seconds
                if pod.scheduled_at is not None and not pod.running:
                    pod.crashing = pool.crashes
            status = len(self.live(pool.name))
            if status != pool.status_replicas:
                pool.status_replicas = status
                pool.resource_version += 1

    def _deletion_order(self, pod: SimPod) -> tuple[bool, bool, bool, int, float]:
        running = pod.scheduled_at is not None and pod.ready_at <= self.now
        return (
            pod.scheduled_at is not None, running, pod.ready(self.now), pod.cost, -pod.created_at,
        )  # fmt: skip

    def live(self, pool: str) -> list[SimPod]:
        """Pods of a pool that nobody has asked to end."""
        return [pod for pod in self.pods if pod.pool == pool and pod.ended_at is None]

    # Workers

    def _work(self) -> None:
        if self.database_away:
            return  # what ends now is recorded later, and nothing can be claimed
        for task in [task for task in self.put_off if task.due <= self.now]:
            self.put_off.remove(task)
            self._put(task)
        for pod in self.pods:
            if pod.ready(self.now):
                self._worker(pod)
        while self._measured and self._measured[0][0] < self.now - MEASURED_SECONDS:
            self._measured.popleft()

    def _worker(self, pod: SimPod) -> None:
        """One tick of one worker; what it ends within the tick makes room for more at once."""
        pool = self.pools[pod.pool]
        lanes: list[Task | None] = [*pod.running, *[None] * (pool.slots - len(pod.running))]
        for lane in lanes:
            task = lane
            budget = TICK_SECONDS
            while budget > 0:
                task = task or self._claim(pod, self._stages[pod.pool])
                if task is None:
                    break
                spent = min(budget, task.left)
                task.left -= spent
                budget -= spent
                if task.left > 1e-9:
                    break
                pod.running.remove(task)
                self.finished[task.stage] += 1
                self._measured.append((self.now, task.stage, task.seconds))
                task = None

    def _claim(self, pod: SimPod, stages: Sequence[str]) -> Task | None:
        if pod.drain or pod.ended_at is not None:
            return None
        for stage in stages:
            queue = self.ready[stage]
            for _ in range(len(queue)):
                task = queue.popleft()
                self._ready_counts[task.project, task.stage] -= 1
                if task.project in self.suspended:
                    self._put(task)
                elif self.throttles(task):
                    task.due = self.now + PUT_OFF_SECONDS
                    self.put_off.append(task)
                else:
                    task.claimed_at = self.now
                    pod.running.append(task)
                    return task
        return None

    # What the scaler sees

    def pulse(self) -> Pulse | None:
        """The queue as the catalogue tells it; None while the database is away."""
        if self.database_away:
            return None
        states: dict[tuple[int, str], Counter[str]] = defaultdict(Counter)
        for key, count in self._ready_counts.items():
            states[key]["ready"] = count
        for task in self.put_off:
            states[task.project, task.stage]["waiting"] += 1
        for pod in self.pods:
            for task in pod.running:
                states[task.project, task.stage]["running"] += 1
        seconds: dict[str, list[float]] = defaultdict(list)
        for _, stage, took in self._measured:
            seconds[stage].append(took)
        active = frozenset({project for project, _ in states} - self.suspended)
        return Pulse(
            depths=tuple(
                Depth(
                    recipe_id=1, project_id=project, stage=stage, ready=n["ready"],
                    running=n["running"], waiting=n["waiting"], throttled=n["waiting"], failed=0,
                    oldest_ready_seconds=None, claims=0,
                )
                for (project, stage), n in sorted(states.items())
            ),
            workers=tuple(
                WorkerFact(
                    worker_id=f"w-{pod.name}", host=pod.name, pool=pod.pool,
                    slots=self.pools[pod.pool].slots, drain=pod.drain, seen_seconds=1.0,
                    held=len(pod.running),
                    busiest_seconds=max((self.now - t.claimed_at for t in pod.running), default=0),
                )
                for pod in self.pods
                if pod.ready(self.now)
            ),
            stage_seconds={stage: sum(all_) / len(all_) for stage, all_ in seconds.items()},
            finished_per_second={s: len(all_) / MEASURED_SECONDS for s, all_ in seconds.items()},
            wants={project: frozenset({1}) for project in active},
            keys={}, active=active, moved={}, took_seconds=0.0,
        )  # fmt: skip

    def objects(self) -> tuple[list[Object], list[Object]]:
        """Deployments and Pods as the API server has them."""
        return (
            [self._deployment(pool) for pool in self.pools.values()],
            [self._pod(pod) for pod in self.pods],
        )

    def _deployment(self, pool: SimPool) -> Object:
        return {
            "metadata": {
                "namespace": NAMESPACE, "name": f"{pool.name}-workers", "uid": f"uid-{pool.name}",
                "labels": {POOL_LABEL: pool.name}, "annotations": dict(pool.annotations),
                "resourceVersion": str(pool.resource_version),
            },
            "spec": {
                "replicas": pool.replicas,
                "selector": {"matchLabels": {POOL_LABEL: pool.name}},
            },
            "status": {"replicas": pool.status_replicas},
        }  # fmt: skip

    def _pod(self, pod: SimPod) -> Object:
        ready = pod.ready(self.now)
        created = _written(pod.created_at)
        conditions = [{"type": "Ready", "status": str(ready)}]
        scheduled = pod.scheduled_at is not None
        condition = {"type": "PodScheduled", "status": str(scheduled)}
        if not scheduled:
            condition |= {
                "reason": "Unschedulable", "lastTransitionTime": created,
                "message": "0/3 nodes are available: 3 Insufficient nvidia.com/gpu.",
            }  # fmt: skip
        status: dict[str, Any] = {
            "phase": "Running" if scheduled and pod.ready_at <= self.now else "Pending",
            "conditions": [*conditions, condition],
        }
        if pod.crashing:
            waiting = {"reason": "CrashLoopBackOff", "message": "back-off 40s"}
            status["containerStatuses"] = [{"state": {"waiting": waiting}, "restartCount": 3}]
        meta = {
            "namespace": NAMESPACE, "name": pod.name, "creationTimestamp": created,
            "labels": {POOL_LABEL: pod.pool, "pod-template-hash": str(pod.template)},
            "annotations": {DELETION_COST: str(pod.cost)} if pod.cost else {},
        }  # fmt: skip
        if pod.ended_at is not None:
            meta["deletionTimestamp"] = _written(pod.ended_at)
        return {
            "metadata": meta,
            "spec": {"nodeName": "node-1"} if scheduled else {},
            "status": status,
        }

    def _look(self) -> None:
        objects = self.objects()
        view = self._view if self._lag and self._view is not None else objects
        self._view = objects
        pools = read_pools(*view, MIDNIGHT + timedelta(seconds=self.now))
        newest = self.now, self.pulse()
        looked_at, pulse = self._seen if self._late and self._seen is not None else newest
        self._seen = newest
        step = self.scaler.step(pools, pulse, looked_at, self.now)
        self.report = self._loop.run_until_complete(step)
        self.events += [(self.now, event) for event in self.report.events]
        for report in self.report.pools:
            pool = self.pools[report.pool]
            self.samples[report.pool].append(
                Sample(
                    self.now,
                    pool.replicas,
                    sum(pod.ready(self.now) for pod in self.live(pool.name)),
                    report.runnable,
                    report,
                )
            )

    # What the scaler writes

    async def drain(self, worker_ids: Collection[str]) -> None:
        self._mark(worker_ids, drain=True)

    async def undrain(self, worker_ids: Collection[str]) -> None:
        self._mark(worker_ids, drain=False)

    def _mark(self, worker_ids: Collection[str], *, drain: bool) -> None:
        self.api_writes["mark"] += 1
        for pod in self.pods:
            if f"w-{pod.name}" in worker_ids:
                pod.drain = drain

    async def merge_patch(
        self,
        resource: Resource,
        namespace: str | None,
        name: str,
        body: Mapping[str, Any],
        *,
        subresource: str = "",
    ) -> dict[str, Any]:
        """The two writes that the scaler makes."""
        if self.api_away:
            raise Away(503, "ServiceUnavailable", "the API server is away")
        if resource is PODS:
            pod = next((pod for pod in self.pods if pod.name == name), None)
            if pod is None:
                raise NotFound(404, "NotFound", f"no pod {name}")
            pod.cost = int(body["metadata"]["annotations"][DELETION_COST])
            self.api_writes["cost"] += 1
            return {}
        assert (resource, subresource, namespace) == (DEPLOYMENTS, "scale", NAMESPACE)
        pool = self.pools[name.removesuffix("-workers")]
        if body["metadata"]["resourceVersion"] != str(pool.resource_version):
            self.api_writes["conflict"] += 1
            raise Conflict(409, "Conflict", "the object has been modified")
        self.scale(pool.name, body["spec"]["replicas"])
        self.api_writes["scale"] += 1
        return {}

    def scale(self, pool: str, replicas: int) -> None:
        """Write the replicas, as the scaler does and as a person may."""
        self.pools[pool].replicas = replicas
        self.pools[pool].resource_version += 1


@lru_cache(maxsize=4096)
def _written(at: float) -> str:
    return (MIDNIGHT + timedelta(seconds=at)).strftime("%Y-%m-%dT%H:%M:%SZ")


def turns(samples: Sequence[Sample]) -> int:
    """How often the size has changed its direction."""
    sizes = [s.replicas for s in samples]
    steps = [b - a for a, b in pairwise(sizes) if b != a]
    return sum((a > 0) != (b > 0) for a, b in pairwise(steps))
