"""What the pods of a Job say: why one does not start, and with which words the last one failed.

Nothing here is fit to be shown yet; it may be anything that a container has written.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any, Final

from data_miner_operator.reconcile.times import parse

Pod = Mapping[str, Any]

LATE_SECONDS: Final = 600.0
"""What no container has begun in after so long is hindered; gigabytes of an image take minutes."""
_STARTING: Final = frozenset({"ContainerCreating", "PodInitializing"})
_SAID: Final = "error: "
"""How the product's programs begin the line in which they say why they end."""


def last_words(pods: Sequence[Pod]) -> str:
    """Why the pod that failed last has failed, as one line; empty when no pod is left to say."""
    failed = [pod for pod in pods if (pod.get("status") or {}).get("phase") == "Failed"]
    if not failed:
        return ""
    return _why(max(failed, key=_failed_at))


def hindrance(pods: Sequence[Pod], now: datetime) -> str:
    """Why a pod does not start that shall; empty when all is well, as far as has been told."""
    for pod in pods:
        if _late(pod, now):
            command = (
                f"kubectl describe pod {pod['metadata']['name']} -n {pod['metadata']['namespace']}"
            )
            return f"its pod waits long for a volume or its image: `{command}` says why"
        for container in _containers(pod):
            waiting = (container.get("state") or {}).get("waiting") or {}
            if waiting.get("reason", "ContainerCreating") not in _STARTING:
                return f"{waiting['reason']}: {waiting.get('message') or 'no message'}"
        for condition in (pod.get("status") or {}).get("conditions") or ():
            if (condition.get("type"), condition.get("status")) == ("PodScheduled", "False"):
                return str(condition.get("message") or "no node takes its pod")
    return ""


def _late(pod: Pod, now: datetime) -> bool:
    """Whether a node has had the pod for long, and no container of it has begun."""
    status = pod.get("status") or {}
    had = parse(str(status.get("startTime")))
    if (
        had is None
        or status.get("phase") != "Pending"
        or (now - had).total_seconds() < LATE_SECONDS
    ):
        return False
    waiting = [(each.get("state") or {}).get("waiting") or {} for each in _containers(pod)]
    return all(each.get("reason") == "ContainerCreating" for each in waiting)


def _why(pod: Pod) -> str:
    if said := (pod.get("status") or {}).get("message"):
        return str(said)  # of the node: evicted, over the limit of a volume
    for container in _ends(pod):
        end = container["state"]["terminated"]
        if end.get("reason") == "OOMKilled":
            return f"out of memory: its container may use {_memory_limit(pod, container)}"
        if end.get("exitCode"):
            return _words(str(end.get("message") or "")) or f"it ended with {end['exitCode']}"
    return ""


def _words(log: str) -> str:
    """Of the last lines of a log: the program's own word, else the last line."""
    lines = [line.strip() for line in log.splitlines() if line.strip()]
    for line in reversed(lines):
        if line.startswith(_SAID):
            return line.removeprefix(_SAID)
    return lines[-1] if lines else ""


def _memory_limit(pod: Pod, container: Mapping[str, Any]) -> str:
    for each in (pod.get("spec") or {}).get("containers") or ():
        if each.get("name") == container.get("name"):
            limits = (each.get("resources") or {}).get("limits") or {}
            return str(limits.get("memory") or "what its node has")
    return "no more"


def _failed_at(pod: Pod) -> str:
    ends = [str(each["state"]["terminated"].get("finishedAt") or "") for each in _ends(pod)]
    return max(ends, default=str(pod["metadata"].get("creationTimestamp") or ""))


def _ends(pod: Pod) -> Iterator[Mapping[str, Any]]:
    return (each for each in _containers(pod) if (each.get("state") or {}).get("terminated"))


def _containers(pod: Pod) -> list[Mapping[str, Any]]:
    status = pod.get("status") or {}
    return [
        *(status.get("initContainerStatuses") or ()),
        *(status.get("containerStatuses") or ()),
    ]
