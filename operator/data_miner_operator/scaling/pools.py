"""Worker pools as the API server shows them: a Deployment and its Pods, made into facts."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

from data_miner.outside import shown
from data_miner_operator.facts import PoolFact
from data_miner_operator.labels import OPERATOR
from data_miner_operator.scaling.annotations import POOL_LABEL, PoolSpec, parse

DELETION_COST: Final = "controller.kubernetes.io/pod-deletion-cost"
MESSAGE_LENGTH: Final = 200

STAYS: Final = timedelta(seconds=60)
"""A container that runs for so long has come up."""

Object = Mapping[str, Any]
PoolKey = tuple[str, str]
"""Namespace and name of a pool's Deployment."""

_STARTS_IN_VAIN: Final = frozenset({
    "CrashLoopBackOff",
    "CreateContainerConfigError",
    "CreateContainerError",
    "ErrImageNeverPull",
    "ErrImagePull",
    "ImagePullBackOff",
    "InvalidImageName",
    "RunContainerError",
})  # fmt: skip


@dataclass(frozen=True, slots=True)
class PodFact:
    """A pod of a pool that is not being deleted."""

    name: str
    """Also the id or the host name under which its worker registers."""
    assigned: bool
    """A node was found for it."""
    running: bool
    ready: bool
    crashing: bool
    """A container of it does not stay up."""
    created: str
    """As the API server writes it, which sorts by time; empty when it says nothing."""
    template: str
    """Hash of the pod template: two among the pods mean that a rollout is under way."""
    deletion_cost: int


@dataclass(frozen=True, slots=True)
class Pool:
    """A pool as of now."""

    spec: PoolSpec
    fact: PoolFact
    pods: tuple[PodFact, ...]
    """By name."""
    resource_version: str
    """Of the Deployment: fences the write of its scale."""
    uid: str
    counted: int
    """Pods that the Deployment's controller says are there."""
    rolling: bool
    """Pods of more than one template are there."""

    @property
    def key(self) -> PoolKey:
        """Namespace and name of the Deployment."""
        return self.fact.namespace, self.fact.name


def read_pools(
    deployments: Iterable[Object], pods: Iterable[Object], now: datetime, operator: str = ""
) -> tuple[Pool, ...]:
    """All pools of `operator` among `deployments`, by namespace and name.

    A Deployment that is being deleted, lacks the label, or names another operator is none. `now` is
    aware of its zone and is compared with the times that the API server writes.
    """
    homes: dict[tuple[str, str], list[Object]] = {}
    for pod in pods:
        meta = pod.get("metadata") or {}
        if not meta.get("deletionTimestamp") and not _ended(pod):
            place = (meta.get("namespace", ""), (meta.get("labels") or {}).get(POOL_LABEL, ""))
            homes.setdefault(place, []).append(pod)
    found = []
    for deployment in deployments:
        meta = deployment.get("metadata") or {}
        label = (meta.get("labels") or {}).get(POOL_LABEL, "")
        owner = (meta.get("annotations") or {}).get(OPERATOR, operator)
        if label and owner == operator and not meta.get("deletionTimestamp"):
            mine = [
                pod
                for pod in homes.get((meta.get("namespace", ""), label), ())
                if _selects(deployment, pod)
            ]
            found.append(_pool(label, deployment, mine, now))
    return tuple(sorted(found, key=lambda pool: pool.key))


def _pool(label: str, deployment: Object, pods: Sequence[Object], now: datetime) -> Pool:
    meta = deployment["metadata"]
    spec = parse(label, meta.get("annotations") or {})
    wanted = (deployment.get("spec") or {}).get("replicas", 1)
    waiting = [m for pod in pods if (m := _unschedulable(pod, spec, now)) is not None]
    crashing = [m for pod in pods if (m := _crashing(pod, now)) is not None]
    refused = _refused(deployment)
    missing = max(0, wanted - len(pods)) if refused else 0
    fact = PoolFact(
        namespace=meta.get("namespace", ""),
        name=meta["name"],
        pool=label,
        stages=spec.stages,
        replicas=wanted,
        ready=sum(_condition(pod, "Ready").get("status") == "True" for pod in pods),
        max_replicas=spec.max_replicas,
        unschedulable=len(waiting) + missing,
        crashing=len(crashing),
        message=shown(next(iter([*waiting, *([refused] if missing else []), *crashing]), ""))[
            :MESSAGE_LENGTH
        ],
        waiting=max(0, wanted - sum(bool((pod.get("spec") or {}).get("nodeName")) for pod in pods)),
    )
    facts = tuple(sorted((_pod(pod, now) for pod in pods), key=lambda pod: pod.name))
    return Pool(
        spec=spec,
        fact=fact,
        pods=facts,
        resource_version=meta.get("resourceVersion", ""),
        uid=meta.get("uid", ""),
        counted=(deployment.get("status") or {}).get("replicas", 0),
        rolling=len({pod.template for pod in facts}) > 1,
    )


def _pod(pod: Object, now: datetime) -> PodFact:
    meta = pod["metadata"]
    cost = (meta.get("annotations") or {}).get(DELETION_COST, "0")
    try:
        deletion_cost = int(cost)
    except ValueError:
        deletion_cost = 0  # as the ReplicaSet controller takes it
    return PodFact(
        name=meta["name"],
        assigned=bool((pod.get("spec") or {}).get("nodeName")),
        running=(pod.get("status") or {}).get("phase") == "Running",
        ready=_condition(pod, "Ready").get("status") == "True",
        crashing=_crashing(pod, now) is not None,
        created=meta.get("creationTimestamp") or "",
        template=(meta.get("labels") or {}).get("pod-template-hash", ""),
        deletion_cost=deletion_cost,
    )


def _ended(pod: Object) -> bool:
    return (pod.get("status") or {}).get("phase") in {"Succeeded", "Failed"}


def _selects(deployment: Object, pod: Object) -> bool:
    """Whether the pod has every label that the Deployment's selector asks for."""
    selector = ((deployment.get("spec") or {}).get("selector") or {}).get("matchLabels") or {}
    labels = pod["metadata"].get("labels") or {}
    return all(labels.get(name) == value for name, value in selector.items())


def _condition(pod: Object, kind: str) -> Object:
    conditions = (pod.get("status") or {}).get("conditions") or ()
    return next((c for c in conditions if c.get("type") == kind), {})


def _unschedulable(pod: Object, spec: PoolSpec, now: datetime) -> str | None:
    """What the scheduler says of a pod that has waited for too long; None when all is well."""
    condition = _condition(pod, "PodScheduled")
    if condition.get("status") != "False" or condition.get("reason") != "Unschedulable":
        return None
    since = condition.get("lastTransitionTime") or pod["metadata"].get("creationTimestamp")
    if since and (now - _time(since)).total_seconds() < spec.unschedulable_seconds:
        return None
    return condition.get("message") or "no node takes it"


def _crashing(pod: Object, now: datetime) -> str | None:
    """Why a container of the pod does not stay up; None when it does, or has not tried enough."""
    for container in (pod.get("status") or {}).get("containerStatuses") or ():
        state = container.get("state") or {}
        waiting = state.get("waiting") or {}
        if waiting.get("reason") in _STARTS_IN_VAIN:
            return f"{waiting['reason']}: {waiting.get('message') or 'no message'}"
        # Between two waits of a crash loop the container runs for a moment, or has just ended.
        last = (container.get("lastState") or {}).get("terminated") or state.get("terminated")
        if last and container.get("restartCount", 0) > 1 and not _stays(container, last, now):
            return f"ended {container['restartCount']} times, last with {last['exitCode']}"
    return None


def _stays(container: Object, last: Object, now: datetime) -> bool:
    """Whether a container that has ended before is there to stay: ready, and either it has been for
    longer than a moment, or its last run was no matter of moments either."""
    if not container.get("ready"):
        return False
    running = (container.get("state") or {}).get("running") or {}
    times = running.get("startedAt"), last.get("startedAt"), last.get("finishedAt")
    if not all(times):
        return True
    started, began, ended = (_time(str(time)) for time in times)
    return now - started >= STAYS or ended - began >= STAYS


def _refused(deployment: Object) -> str:
    """Why pods cannot even be made, such as a quota; empty when they can."""
    failure = _condition(deployment, "ReplicaFailure")
    if failure.get("status") != "True":
        return ""
    return failure.get("message") or failure.get("reason") or "pods cannot be created"


def _time(text: str) -> datetime:
    """Raises ValueError for what no API server writes."""
    return datetime.fromisoformat(text)
