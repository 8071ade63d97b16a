"""Workers whose container was killed for want of memory, as the API server shows their pods."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

from data_miner_operator.scaling.annotations import POOL_LABEL

OUT_OF_MEMORY: Final = "OOMKilled"


@dataclass(frozen=True, slots=True)
class Death:
    """One end of a worker's container."""

    worker: str
    """Name of its pod, which is its id."""
    before: datetime
    """What it claimed before this it has lost. Kubernetes tells whole seconds, rounded down."""
    words: str
    """What it died of, for people."""


def out_of_memory(pods: Iterable[Mapping[str, Any]]) -> frozenset[Death]:
    """The last such end of each worker's container, of pods that are there."""
    return frozenset(
        death
        for pod in pods
        if (pod["metadata"].get("labels") or {}).get(POOL_LABEL)
        for death in _deaths(pod)
    )


def _deaths(pod: Mapping[str, Any]) -> Iterator[Death]:
    for container in (pod.get("status") or {}).get("containerStatuses") or ():
        for state in (container.get("state") or {}, container.get("lastState") or {}):
            ended = state.get("terminated") or {}
            if ended.get("reason") == OUT_OF_MEMORY and ended.get("finishedAt"):
                name = pod["metadata"]["name"]
                yield Death(
                    worker=name,
                    before=datetime.fromisoformat(ended["finishedAt"]) + timedelta(seconds=1),
                    words=f"the container of worker {name} was killed for want of memory"
                    f" ({OUT_OF_MEMORY}){_limit(pod, container.get('name', ''))}",
                )


def _limit(pod: Mapping[str, Any], container: str) -> str:
    for one in (pod.get("spec") or {}).get("containers") or ():
        limit = ((one.get("resources") or {}).get("limits") or {}).get("memory")
        if one.get("name") == container and limit:
            return f": its limit is {limit}"
    return ""
