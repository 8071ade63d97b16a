"""What the tests of real nodes put on them: pods of the probe image, as restricted as ours."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from secrets import token_hex
from typing import Any

from support.kubectl import Kubectl, KubectlError
from support.realnode_build import PROBE
from support.waiting import eventually

HOSTNAME = "kubernetes.io/hostname"
USER = 65532
GROUP = 4711


@dataclass(frozen=True, slots=True)
class Namespace:
    """A namespace that enforces Pod Security "restricted", and short words for what is in it."""

    kubectl: Kubectl
    name: str

    def __call__(self, *arguments: str, seconds: float = 90) -> str:
        """kubectl in this namespace; raises KubectlError when it fails."""
        return self.kubectl(f"--namespace={self.name}", *arguments, seconds=seconds)

    def apply(self, *objects: Mapping[str, Any]) -> None:
        """Make or change objects."""
        listed = {"apiVersion": "v1", "kind": "List", "items": list(objects)}
        self.kubectl(f"--namespace={self.name}", "apply", "--filename=-", stdin=json.dumps(listed))

    def pod(self, name: str) -> dict[str, Any]:
        """A pod as it stands."""
        found = self.kubectl.json(f"--namespace={self.name}", "get", "pod", name)
        assert isinstance(found, dict)
        return found

    def pods(self, app: str) -> list[dict[str, Any]]:
        """The pods of a Deployment that are not being deleted."""
        found = self.kubectl.json(
            f"--namespace={self.name}", "get", "pods", f"--selector=app={app}"
        )
        return [p for p in found["items"] if "deletionTimestamp" not in p["metadata"]]

    def wait(self, what: str, condition: str, *, seconds: float = 60) -> None:
        """`kubectl wait`: "pod/a", "jsonpath={.status.phase}=Failed"."""
        limit = f"--timeout={seconds:.0f}s"
        self("wait", what, f"--for={condition}", limit, seconds=seconds + 30)

    def ready(self, name: str, *, seconds: float = 60) -> None:
        """Return when a pod is Ready."""
        self.wait(f"pod/{name}", "condition=Ready", seconds=seconds)

    def rolled_out(self, name: str, *, seconds: float = 120) -> None:
        """Return when all of a Deployment's pods are the newest ones and available."""
        limit = f"--timeout={seconds:.0f}s"
        self("rollout", "status", f"deployment/{name}", limit, seconds=seconds + 30)

    def probe(self, pod: str, *arguments: str, seconds: float = 90) -> str:
        """Run the probe in a pod; what it prints."""
        return self("exec", pod, "--", "/probe", *arguments, seconds=seconds)

    def get(self, pod: str, url: str, *, seconds: float = 30) -> str:
        """What a pod gets from a URL, as soon as it gets anything: a Service takes a moment."""
        found: list[str] = []

        def answered() -> bool:
            with suppress(KubectlError):
                found.append(self.probe(pod, "get", url))
            return bool(found)

        eventually(answered, seconds=seconds, what=f"{url} answers {pod}")
        return found[0]


@contextmanager
def restricted_namespace(kubectl: Kubectl) -> Iterator[Namespace]:
    """A namespace for the length of a block; at its end no pod is left in it."""
    name = f"real-{token_hex(3)}"
    labels = {"pod-security.kubernetes.io/enforce": "restricted"}
    made = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": labels}}
    kubectl("apply", "--filename=-", stdin=json.dumps(made))
    try:
        yield Namespace(kubectl, name)
    finally:
        kubectl("delete", "namespace", name, "--wait=false")
        gone = ("wait", "pods", "--all", "--for=delete", f"--namespace={name}", "--timeout=120s")
        kubectl(*gone, seconds=150)


def pod(
    name: str,
    *arguments: str,
    node: str = "",
    grace_seconds: int = 2,
    limits: Mapping[str, str] | None = None,
    env: Mapping[str, str] | None = None,
    volumes: Mapping[str, Mapping[str, Any]] | None = None,
    restart: str = "Always",
) -> dict[str, Any]:
    """A pod that runs the probe with these arguments, "serve" without any.

    `volumes` by the path where each is mounted. A serving one is Ready when it answers.
    """
    metadata = {"name": name, "labels": {"app": name}}
    spec = _spec(arguments, node, grace_seconds, limits, env, volumes)
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": metadata,
        "spec": {**spec, "restartPolicy": restart},
    }


def deployment(
    name: str,
    replicas: int,
    *,
    node: str = "",
    grace_seconds: int = 2,
    limits: Mapping[str, str] | None = None,
    env: Mapping[str, str] | None = None,
) -> dict[str, Any]:
    """Serving probes, spread over the nodes, that leave a Service before they end."""
    labels = {"app": name}
    spec = _spec((), node, grace_seconds + 2, limits, env, None)
    spec["containers"][0]["lifecycle"] = {"preStop": {"sleep": {"seconds": 2}}}
    spec["topologySpreadConstraints"] = [
        {
            "maxSkew": 1,
            "topologyKey": HOSTNAME,
            "whenUnsatisfiable": "ScheduleAnyway",
            "labelSelector": {"matchLabels": labels},
        }
    ]
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": name},
        "spec": {
            "replicas": replicas,
            "selector": {"matchLabels": labels},
            "strategy": {"rollingUpdate": {"maxUnavailable": 0, "maxSurge": 1}},
            "template": {"metadata": {"labels": labels}, "spec": spec},
        },
    }


def service(name: str) -> dict[str, Any]:
    """Port 80 of the pods of this name."""
    ports = [{"port": 80, "targetPort": 8080}]
    spec = {"selector": {"app": name}, "ports": ports}
    return {"apiVersion": "v1", "kind": "Service", "metadata": {"name": name}, "spec": spec}


def claim(name: str, *, mode: str = "ReadWriteOnce") -> dict[str, Any]:
    """A volume claim of the default storage class."""
    resources = {"requests": {"storage": "1Gi"}}
    return {
        "apiVersion": "v1",
        "kind": "PersistentVolumeClaim",
        "metadata": {"name": name},
        "spec": {"accessModes": [mode], "resources": resources},
    }


def _spec(
    arguments: Sequence[str],
    node: str,
    grace_seconds: int,
    limits: Mapping[str, str] | None,
    env: Mapping[str, str] | None,
    volumes: Mapping[str, Mapping[str, Any]] | None,
) -> dict[str, Any]:
    mounted = dict(enumerate((volumes or {}).items()))
    container: dict[str, Any] = {
        "name": "probe",
        "image": PROBE,
        "imagePullPolicy": "Never",
        "args": list(arguments) or ["serve"],
        "env": [{"name": key, "value": value} for key, value in (env or {}).items()],
        "resources": {"requests": {"cpu": "10m"}, "limits": {"memory": "64Mi", **(limits or {})}},
        "securityContext": {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        },
        "volumeMounts": [{"name": f"v{n}", "mountPath": path} for n, (path, _) in mounted.items()],
    }
    if not arguments:
        container["readinessProbe"] = {"httpGet": {"path": "/ok", "port": 8080}, "periodSeconds": 1}
    return {
        **({"nodeSelector": {HOSTNAME: node}} if node else {}),
        "terminationGracePeriodSeconds": grace_seconds,
        "automountServiceAccountToken": False,
        "securityContext": {
            "runAsNonRoot": True,
            "runAsUser": USER,
            "fsGroup": GROUP,
            "seccompProfile": {"type": "RuntimeDefault"},
        },
        "containers": [container],
        "volumes": [{"name": f"v{n}", **source} for n, (_, source) in mounted.items()],
    }
