"""What a kubelet says of a pod: pure functions from containers to `status`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any


@dataclass(slots=True)
class Container:
    """One container of one pod, as of now."""

    spec: Mapping[str, Any]
    state: dict[str, Any] = field(
        default_factory=lambda: {"waiting": {"reason": "ContainerCreating"}}
    )
    last: dict[str, Any] = field(default_factory=dict)
    """How its previous run ended; empty before the first end."""
    restarts: int = 0
    ready: bool = False

    @property
    def name(self) -> str:
        """Its name in the pod."""
        return str(self.spec["name"])

    @property
    def running(self) -> bool:
        """Whether its process is there."""
        return "running" in self.state

    @property
    def exit_code(self) -> int | None:
        """How it ended, when it has ended and will not run again; None otherwise."""
        ended = self.state.get("terminated")
        return None if ended is None else int(ended["exitCode"])


def timestamp(moment: datetime | None = None) -> str:
    """RFC 3339 in whole seconds, as Kubernetes writes it."""
    return (moment or datetime.now(UTC)).strftime("%Y-%m-%dT%H:%M:%SZ")


def restarts(policy: str, exit_code: int) -> bool:
    """Whether a container that ended so is started again."""
    return policy == "Always" or (policy == "OnFailure" and exit_code != 0)


def back_off_seconds(ends: int, first_seconds: float, longest_seconds: float) -> float:
    """Pause before the next start after so many ends: none, then doubling up to the longest."""
    if ends <= 1:
        return 0.0
    return float(min(longest_seconds, first_seconds * 2.0 ** min(ends - 2, 30)))


def terminated(
    code: int, started_at: str, *, reason: str = "", message: str = ""
) -> dict[str, Any]:
    """The state of a container that ended; `code` as Python gives it, -N for signal N."""
    exit_code = 128 - code if code < 0 else code
    ended = {
        "exitCode": exit_code,
        "reason": reason or ("Completed" if exit_code == 0 else "Error"),
        "startedAt": started_at,
        "finishedAt": timestamp(),
    }
    return {"terminated": {**ended, "message": message} if message else ended}


def last_words(container: Mapping[str, Any], code: int, log: Path, since: int) -> str:
    """What is told of a container's end besides its code: what its log ends with since a byte, if
    its spec says so; the file that it may write instead is not looked for."""
    if container.get("terminationMessagePolicy") != "FallbackToLogsOnError" or code == 0:
        return ""
    lines = log.read_bytes()[since:].splitlines(keepends=True)[-80:]
    return b"".join(lines)[-2048:].decode(errors="replace")


def phase(policy: str, init: Sequence[Container], containers: Sequence[Container]) -> str:
    """The pod's phase by the kubelet's rules."""
    for container in init:
        code = container.exit_code
        if code not in {None, 0} and policy == "Never":
            return "Failed"
        if code != 0:
            return "Pending"
    if any("waiting" in c.state and not c.last for c in containers):
        return "Pending"
    codes = [c.exit_code for c in containers]
    if policy == "Always" or any(code is None for code in codes):
        return "Running"
    if all(code == 0 for code in codes):
        return "Succeeded"
    return "Failed" if policy == "Never" else "Running"


def status(
    policy: str,
    init: Sequence[Container],
    containers: Sequence[Container],
    *,
    ip: str,
    started_at: str,
    before: Mapping[str, Any],
) -> dict[str, Any]:
    """The whole status that the node owns; times of unchanged conditions come from `before`."""
    now = phase(policy, init, containers)
    ended = now in {"Succeeded", "Failed"}
    initialized = all(c.exit_code == 0 for c in init)
    ready = not ended and all(c.ready for c in containers)
    reason = "PodCompleted" if now == "Succeeded" else "PodFailed" if now == "Failed" else ""
    if not reason and not ready:
        reason = "ContainersNotReady"
    conditions = {
        "PodReadyToStartContainers": (not ended, ""),
        "Initialized": (initialized, "" if initialized else "ContainersNotInitialized"),
        "ContainersReady": (ready, reason),
        "Ready": (ready, reason),
    }
    old = {c["type"]: c for c in before.get("conditions", ())}
    return {
        "phase": now,
        "hostIP": "127.0.0.1",
        "hostIPs": [{"ip": "127.0.0.1"}],
        "podIP": ip,
        "podIPs": [{"ip": ip}],
        "startTime": started_at,
        "conditions": [_condition(t, ok, why, old.get(t)) for t, (ok, why) in conditions.items()],
        "initContainerStatuses": [_container_status(c) for c in init],
        "containerStatuses": [_container_status(c) for c in containers],
    }


def _condition(
    kind: str, holds: bool, reason: str, before: Mapping[str, Any] | None
) -> dict[str, Any]:
    said = "True" if holds else "False"
    same = before is not None and before["status"] == said
    return {
        "type": kind,
        "status": said,
        "reason": reason or None,
        "lastProbeTime": None,
        "lastTransitionTime": before["lastTransitionTime"] if same and before else timestamp(),
    }


def _container_status(container: Container) -> dict[str, Any]:
    return {
        "name": container.name,
        "image": container.spec.get("image", ""),
        "imageID": "",
        "state": container.state,
        "lastState": container.last,
        "restartCount": container.restarts,
        "ready": container.ready or container.exit_code == 0,
        "started": container.running,
    }
