"""The Kubernetes Pod Security Standard "restricted", as a judge of a pod's spec."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

VOLUMES = {
    "configMap", "csi", "downwardAPI", "emptyDir", "ephemeral", "image", "persistentVolumeClaim",
    "projected", "secret",
}  # fmt: skip


def problems(spec: Mapping[str, Any]) -> list[str]:
    """A line for each rule that a pod breaks."""
    return [*_of_pod(spec), *_of_containers(spec)]


def _of_pod(spec: Mapping[str, Any]) -> Iterator[str]:
    for name in ("hostNetwork", "hostPID", "hostIPC"):
        if spec.get(name):
            yield name
    for volume in spec.get("volumes") or ():
        if not VOLUMES & volume.keys():
            yield f"volume {volume['name']}"
    security = spec.get("securityContext") or {}
    if security.get("sysctls"):
        yield "sysctls"
    if security.get("runAsUser") == 0:
        yield "runAsUser 0"
    if (security.get("seccompProfile") or {}).get("type") not in {
        None,
        "RuntimeDefault",
        "Localhost",
    }:
        yield "seccompProfile of the pod"


def _of_containers(spec: Mapping[str, Any]) -> Iterator[str]:
    pod = spec.get("securityContext") or {}
    for container in [*(spec.get("initContainers") or ()), *spec["containers"]]:
        name, own = container["name"], container.get("securityContext") or {}
        capabilities = own.get("capabilities") or {}
        if own.get("privileged"):
            yield f"{name}: privileged"
        if own.get("allowPrivilegeEscalation") is not False:
            yield f"{name}: allowPrivilegeEscalation"
        if capabilities.get("drop") != ["ALL"]:
            yield f"{name}: capabilities are not dropped"
        if set(capabilities.get("add") or ()) - {"NET_BIND_SERVICE"}:
            yield f"{name}: capabilities are added"
        if own.get("runAsUser") == 0:
            yield f"{name}: runAsUser 0"
        if own.get("runAsNonRoot", pod.get("runAsNonRoot")) is not True:
            yield f"{name}: runAsNonRoot"
        profile = own.get("seccompProfile", pod.get("seccompProfile")) or {}
        if profile.get("type") not in {"RuntimeDefault", "Localhost"}:
            yield f"{name}: seccompProfile"
        if any(port.get("hostPort") for port in container.get("ports") or ()):
            yield f"{name}: hostPort"
