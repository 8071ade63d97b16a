"""Pools, pods and looks at the queue, with everything that a test does not care about filled in."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from data_miner.catalog.pulse import Depth, Pulse, WorkerFact
from data_miner_operator.facts import PoolFact
from data_miner_operator.scaling.annotations import POOL_LABEL, PREFIX, PoolSpec, parse
from data_miner_operator.scaling.pools import DELETION_COST, Pool, read_pools

NOW = datetime(2026, 1, 1, 12, tzinfo=UTC)
Object = dict[str, Any]


def spec(pool: str = "all", **said: object) -> PoolSpec:
    """What the annotations `said` come to; underscores stand for dashes."""
    return parse(pool, prefixed(**said))


def prefixed(**said: object) -> dict[str, str]:
    return {PREFIX + name.replace("_", "-"): str(value) for name, value in said.items()}


def fact(replicas: int = 1, **other: Any) -> PoolFact:
    """A pool whose pods are all ready unless said otherwise."""
    plain = PoolFact(
        namespace="mining", name="all-workers", pool="all", stages=("download",),
        replicas=replicas, ready=replicas, max_replicas=100, unschedulable=0, crashing=0,
        message="",
    )  # fmt: skip
    return replace(plain, **other)


def deployment(pool: str = "all", replicas: int = 1, **said: object) -> Object:
    return {
        "metadata": {
            "namespace": "mining", "name": f"{pool}-workers", "uid": f"uid-{pool}",
            "resourceVersion": "7", "labels": {POOL_LABEL: pool},
            "annotations": prefixed(**said),
        },
        "spec": {"replicas": replicas, "selector": {"matchLabels": {POOL_LABEL: pool}}},
        "status": {"replicas": replicas},
    }  # fmt: skip


def pod(
    name: str,
    pool: str = "all",
    *,
    ready: bool = True,
    node: bool = True,
    cost: int | str = 0,
    created: str = "2026-01-01T10:00:00Z",
    template: str = "1",
) -> Object:
    return {
        "metadata": {
            "namespace": "mining", "name": name, "creationTimestamp": created,
            "labels": {POOL_LABEL: pool, "pod-template-hash": template},
            "annotations": {DELETION_COST: str(cost)} if cost else {},
        },
        "spec": {"nodeName": "node-1"} if node else {},
        "status": {
            "phase": "Running" if node else "Pending",
            "conditions": [{"type": "Ready", "status": str(ready and node)}],
        },
    }  # fmt: skip


def read_pool(deployed: Object, *pods: Object) -> Pool:
    """The one pool that there is."""
    (found,) = read_pools([deployed], pods, NOW)
    return found


def depth(stage: str = "download", project: int = 1, **counts: int) -> Depth:
    """`counts`: ready, running, waiting, throttled."""
    plain = Depth(
        recipe_id=1, project_id=project, stage=stage, ready=0, running=0, waiting=0, throttled=0,
        failed=0, oldest_ready_seconds=None, claims=0,
    )  # fmt: skip
    return replace(plain, **counts)  # type: ignore[arg-type]


def worker(
    host: str, held: int = 0, *, pool: str = "all", busy: float = 0.0, drain: bool = False
) -> WorkerFact:
    """The worker in the pod `host`; its id is `w-` and that name."""
    return WorkerFact(
        worker_id=f"w-{host}", host=host, pool=pool, slots=1, drain=drain, seen_seconds=1.0,
        held=held, busiest_seconds=busy,
    )  # fmt: skip


def pulse(*seen: Depth | WorkerFact, active: set[int] | None = None, **seconds: float) -> Pulse:
    """A look; `seconds` are measured means by stage. Every project is active unless said."""
    depths = tuple(s for s in seen if isinstance(s, Depth))
    return Pulse(
        depths=depths,
        workers=tuple(s for s in seen if isinstance(s, WorkerFact)),
        stage_seconds=seconds, finished_per_second={}, wants={}, keys={},
        active=frozenset({d.project_id for d in depths} if active is None else active),
        moved={}, took_seconds=0.0,
    )  # fmt: skip
