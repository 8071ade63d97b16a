"""What the other controllers and the kubelets do for worker pools, with workers that really claim.

Pods come and go as the Deployments say, in the order in which a ReplicaSet picks them; each ready
pod has a worker with a row of its own, and what it claims are real tasks.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from data_miner import queue
from data_miner.catalog import workers
from data_miner.queue import Beat, Claimed, Cursor
from data_miner_operator.api import DEPLOYMENTS, PODS
from data_miner_operator.facts import Key
from data_miner_operator.scaling.annotations import POOL_LABEL, PREFIX, parse
from data_miner_operator.scaling.pools import DELETION_COST
from support.api_model import Object, Server
from support.catalog import FIRST_WAVE, LEASE_SECONDS, World

NAMESPACE = "own"
POOLS: Mapping[str, Mapping[str, str]] = {
    "gpu": {"stages": "gpu", "max-replicas": "3"},
    "rest": {"stages": "cpu", "min-replicas": "1", "max-replicas": "4", "slots": "2"},
}
QUICK = {
    "target-drain-seconds": "10",
    "scale-down-stabilization-seconds": "10",
    "step-seconds": "5",
    "idle-seconds": "10",
    "drain-timeout-seconds": "60",
    "unschedulable-seconds": "5",
}


@dataclass(slots=True)
class Fleet:
    """`keep` is one look of all controllers; `work` is what the workers do."""

    server: Server
    world: World
    trouble: dict[str, str] = field(default_factory=dict)
    """By pool: what becomes of pods that are not ready yet: "pending" or "crashing"."""
    held: dict[str, list[Claimed]] = field(default_factory=dict)
    """By worker (its pod's name): tasks that it runs."""
    registered: set[str] = field(default_factory=set)
    cursor: Cursor = field(default_factory=Cursor)
    _names: int = 0

    def install(self) -> None:
        """The pools, and a Deployment that is none."""
        for name, said in POOLS.items():
            self.server.put(
                DEPLOYMENTS,
                (NAMESPACE, name),
                spec={"replicas": 1, "selector": {"matchLabels": {POOL_LABEL: name}}},
                status={"replicas": 0},
                labels={POOL_LABEL: name},
                annotations={PREFIX + k: v for k, v in {**QUICK, **said}.items()},
            )
        self.server.put(DEPLOYMENTS, (NAMESPACE, "foreign"), spec={"replicas": 7})

    def bounds(self, deployment: Object) -> tuple[int, int]:
        """Fewest and most replicas that its annotations allow."""
        spec = parse("any", deployment["metadata"]["annotations"])
        return spec.min_replicas, spec.max_replicas

    def keep(self, *, database: bool) -> None:
        """Bring pods in line with Deployments; workers of new pods register if they can."""
        for name in POOLS:
            deployment = self.server.find(DEPLOYMENTS, (NAMESPACE, name))
            assert deployment is not None
            pods = self.pods(name)
            for pod in sorted(pods, key=_first)[: max(0, len(pods) - self._replicas(name))]:
                self._end(pod, database=database)
            for _ in range(self._replicas(name) - len(pods)):
                self._names += 1
                self.server.put(
                    PODS,
                    (NAMESPACE, f"{name}-{self._names}"),
                    labels={POOL_LABEL: name, "pod-template-hash": "1"},
                )
            for pod in self.pods(name):
                self._kubelet(name, pod, database=database)
            status = {"replicas": len(self.pods(name))}
            self.server.put(DEPLOYMENTS, (NAMESPACE, name), status=status)

    def pods(self, pool: str) -> list[Object]:
        return [
            pod
            for pod in self.server.all(PODS).values()
            if pod["metadata"]["labels"][POOL_LABEL] == pool
        ]

    def beat(self) -> None:
        """All workers say that they are there, and keep what they hold."""
        with self.world.begin() as conn:
            for worker in sorted(self.registered):
                workers.seen(conn, worker)
                beats = [Beat(t.id, t.claim_seq, 0.5) for t in self.held.get(worker, ())]
                if beats:
                    ours = queue.extend(conn, beats, lease_seconds=LEASE_SECONDS)
                    self.held[worker] = [t for t in self.held[worker] if t.id in ours]

    def claim(self) -> int:
        """Each worker takes what it has room for, unless it was asked to drain."""
        taken = 0
        for worker in sorted(self.registered):
            pool = worker.rpartition("-")[0]
            held = self.held.setdefault(worker, [])
            with self.world.begin() as conn:
                queue.promote(conn)
                if not workers.may_claim(conn, worker):
                    continue
                found = (
                    queue.claim(
                        conn,
                        stages=self._spec(pool).stages,
                        worker_id=worker,
                        limit=max(0, self._spec(pool).slots - len(held)),
                        lease_seconds=LEASE_SECONDS,
                        cursor=self.cursor,
                    )
                    if len(held) < self._spec(pool).slots
                    else []
                )
            held += found
            taken += len(found)
        return taken

    def finish(self, how: str = "done") -> None:
        """Everything that is held ends: done, failed, or put off by its site."""
        for worker, held in self.held.items():
            for task in held:
                self._end_task(task, how if task.stage != "discover" else "done")
            self.held[worker] = []

    def work(self, rounds: int) -> None:
        """What the workers do all day."""
        for _ in range(rounds):
            if not self.claim():
                return
            self.finish()

    def crash(self) -> None:
        """Every worker that holds something ends without a word and is started again."""
        for worker, held in self.held.items():
            if held:
                held.clear()
                self._register(worker)

    def house(self) -> None:
        """The duties that any worker does now and then."""
        with self.world.begin() as conn:
            queue.rescue(
                conn,
                max_losses=10,
                backoff_seconds=1,
                backoff_max_seconds=5,
                first_wave=FIRST_WAVE,
            )
            queue.promote(conn)
        with self.world.begin() as conn:
            queue.sweep(conn, first_wave=FIRST_WAVE)

    def _spec(self, pool: str) -> Any:
        deployment = self.server.find(DEPLOYMENTS, (NAMESPACE, pool))
        assert deployment is not None
        return parse(pool, deployment["metadata"]["annotations"])

    def _replicas(self, pool: str) -> int:
        deployment = self.server.find(DEPLOYMENTS, (NAMESPACE, pool))
        assert deployment is not None
        replicas = deployment["spec"]["replicas"]
        assert isinstance(replicas, int)
        return replicas

    def _kubelet(self, pool: str, pod: Object, *, database: bool) -> None:
        name = pod["metadata"]["name"]
        trouble = self.trouble.get(pool, "")
        key: Key = (NAMESPACE, name)
        if trouble == "pending" and "nodeName" not in pod["spec"]:
            waits = {"reason": "Unschedulable", "message": "0/3 nodes are available"}
            condition = _condition("PodScheduled", False, self._since(pod), **waits)
            self.server.put(PODS, key, status={"phase": "Pending", "conditions": [condition]})
            return
        if trouble == "crashing" and name not in self.registered:
            state = {"waiting": {"reason": "CrashLoopBackOff", "message": "back-off"}}
            status = {"phase": "Running", "conditions": [_condition("Ready", False, "")]}
            self.server.put(
                PODS,
                key,
                spec={"nodeName": "n"},
                status={**status, "containerStatuses": [{"state": state, "restartCount": 3}]},
            )
            return
        ready = {"phase": "Running", "conditions": [_condition("Ready", True, "")]}
        containers = [{"state": {"running": {}}, "restartCount": 0, "ready": True}]
        self.server.put(
            PODS, key, spec={"nodeName": "n"}, status={**ready, "containerStatuses": containers}
        )
        if database and name not in self.registered:
            self._register(name)

    def _since(self, pod: Object) -> str:
        for condition in pod.get("status", {}).get("conditions", ()):
            if condition["type"] == "PodScheduled":
                return str(condition["lastTransitionTime"])
        return self.server.now().isoformat(timespec="seconds")

    def _register(self, worker: str) -> None:
        pool = worker.rpartition("-")[0]
        spec = self._spec(pool)
        with self.world.begin() as conn:
            workers.register(
                conn,
                worker_id=worker,
                host=worker,
                pid=1,
                pool=pool,
                stages=spec.stages,
                slots=spec.slots,
                version="model",
                keep_drain=True,
            )
        self.registered.add(worker)

    def _end(self, pod: Object, *, database: bool) -> None:
        """SIGTERM: what it holds is handed back; without the database it just goes."""
        worker = pod["metadata"]["name"]
        held = self.held.pop(worker, [])
        if database and worker in self.registered:
            with self.world.begin() as conn:
                if held:
                    queue.hand_back(conn, [(t.id, t.claim_seq) for t in held])
                workers.stopped(conn, worker)
        self.registered.discard(worker)
        self.server.drop(PODS, (NAMESPACE, worker))

    def _end_task(self, task: Claimed, how: str) -> None:
        if how == "throttled":
            with self.world.begin() as conn:
                queue.later(conn, task, seconds=30, error_class="throttled", reason="429")
        elif how == "failed":
            with self.world.begin() as conn:
                queue.fail(
                    conn,
                    task,
                    error_class="broken",
                    error="it broke",
                    permanent=True,
                    max_attempts=1,
                    backoff_seconds=1,
                    backoff_max_seconds=1,
                    first_wave=FIRST_WAVE,
                )
        elif self._still_ours(task):
            self.world.do(task)

    def _still_ours(self, task: Claimed) -> bool:
        rows: Sequence[Any] = self.world.rows(
            "SELECT 1 FROM tasks WHERE id = :id AND claim_seq = :seq AND state = 'running'",
            id=task.id,
            seq=task.claim_seq,
        )
        return bool(rows)


def _condition(type_: str, true: bool, since: str, **more: str) -> dict[str, str]:
    times = {"lastTransitionTime": since} if since else {}
    return {"type": type_, "status": str(true), **times, **more}


def _first(pod: Object) -> tuple[bool, bool, int, int]:
    """As a ReplicaSet picks who goes."""
    ready = any(
        c["type"] == "Ready" and c["status"] == "True"
        for c in pod.get("status", {}).get("conditions", ())
    )
    cost = int(pod["metadata"].get("annotations", {}).get(DELETION_COST, "0"))
    number = int(pod["metadata"]["name"].rpartition("-")[2])
    return "nodeName" in pod["spec"], ready, cost, -number
