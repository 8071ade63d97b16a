"""A namespace of a test's own in a real cluster, and short words for what tests do there."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import urllib3
import yaml

from data_miner.pipeline import POOLS
from support.kube_client import APPLY, MERGE, KubeClient, KubeError
from support.kubectl import Kubectl
from support.node import LABEL

CRDS = Path(__file__).parents[2] / "crds"
FIELD_MANAGER = "data-miner-tests"
PATHS = {
    "Namespace": "/api/v1/namespaces",
    "Node": "/api/v1/nodes",
    "Pod": "/api/v1/namespaces/{}/pods",
    "Event": "/apis/events.k8s.io/v1/namespaces/{}/events",
    "ConfigMap": "/api/v1/namespaces/{}/configmaps",
    "ResourceQuota": "/api/v1/namespaces/{}/resourcequotas",
    "Secret": "/api/v1/namespaces/{}/secrets",
    "ServiceAccount": "/api/v1/namespaces/{}/serviceaccounts",
    "Deployment": "/apis/apps/v1/namespaces/{}/deployments",
    "ReplicaSet": "/apis/apps/v1/namespaces/{}/replicasets",
    "Job": "/apis/batch/v1/namespaces/{}/jobs",
    "CronJob": "/apis/batch/v1/namespaces/{}/cronjobs",
    "Lease": "/apis/coordination.k8s.io/v1/namespaces/{}/leases",
    "Role": "/apis/rbac.authorization.k8s.io/v1/namespaces/{}/roles",
    "RoleBinding": "/apis/rbac.authorization.k8s.io/v1/namespaces/{}/rolebindings",
    "ClusterRole": "/apis/rbac.authorization.k8s.io/v1/clusterroles",
    "ClusterRoleBinding": "/apis/rbac.authorization.k8s.io/v1/clusterrolebindings",
    "CustomResourceDefinition": "/apis/apiextensions.k8s.io/v1/customresourcedefinitions",
    "MiningProject": "/apis/data-miner.io/v1alpha1/namespaces/{}/miningprojects",
}
"""Where the objects of a kind are; {} is the namespace."""


@dataclass(frozen=True)
class Cluster:
    """A cluster as an administrator, with one namespace as the default."""

    api: KubeClient
    kubectl: Kubectl
    namespace: str
    node: str = "process-node"
    """The process node that runs this test's pods."""

    def path(self, kind: str, name: str = "", *, namespace: str = "") -> str:
        """Path of the objects of a kind, or of one of them."""
        path = PATHS[kind].format(namespace or self.namespace)
        return f"{path}/{name}" if name else path

    def apply(self, *objects: Mapping[str, Any] | str) -> list[dict[str, Any]]:
        """Server-side apply of objects, or of YAML with any number of them; what became of each.

        Without a namespace an object goes into the default one. Raises KubeError when refused.
        """
        return [self._apply(one) for item in objects for one in _documents(item)]

    def add_pool(self, name: str, replicas: int = 0, **options: Any) -> dict[str, Any]:
        """Apply `pool_deployment(name, replicas, **options)` for this test's node."""
        return self.apply(pool_deployment(name, replicas, node=self.node, **options))[0]

    def get(self, kind: str, name: str, *, namespace: str = "") -> dict[str, Any] | None:
        """An object, or None when there is none."""
        return self.api.get(self.path(kind, name, namespace=namespace))

    def list(self, kind: str, *, labels: str = "", namespace: str = "") -> list[dict[str, Any]]:
        """The objects of a kind in the namespace."""
        query = {"labelSelector": labels} if labels else {}
        return self.api.items(self.path(kind, namespace=namespace), **query)

    def patch(
        self, kind: str, name: str, body: object, *, subresource: str = "", namespace: str = ""
    ) -> dict[str, Any]:
        """JSON merge patch, as `kubectl patch --type=merge` does it."""
        path = self.path(kind, name, namespace=namespace)
        path += f"/{subresource}" if subresource else ""
        return self.api.request("PATCH", path, body, kind=MERGE, fieldManager=FIELD_MANAGER)

    def annotate(self, kind: str, name: str, **annotations: str | None) -> dict[str, Any]:
        """Set annotations; None removes one. `retry_failed` means `data-miner.io/retry-failed`."""
        return self.patch(kind, name, {"metadata": {"annotations": _ours(annotations)}})

    def scale(self, name: str, replicas: int) -> None:
        """Set a Deployment's replicas as a user does."""
        self.patch("Deployment", name, {"spec": {"replicas": replicas}}, subresource="scale")

    def delete(
        self, kind: str, name: str, *, namespace: str = "", grace_seconds: int | None = None
    ) -> bool:
        """Delete an object in the background; False when there was none."""
        body: dict[str, Any] = {"propagationPolicy": "Background"}
        if grace_seconds is not None:
            body["gracePeriodSeconds"] = grace_seconds
        try:
            self.api.request("DELETE", self.path(kind, name, namespace=namespace), body)
        except KubeError as error:
            if error.status == 404:
                return False
            raise
        return True

    def wait(
        self,
        kind: str,
        name: str,
        holds: Callable[[dict[str, Any] | None], bool],
        *,
        seconds: float = 30,
        what: str = "",
        namespace: str = "",
    ) -> dict[str, Any] | None:
        """The object as soon as `holds` says so, seen through a watch; None: when there is none.

        Raises AssertionError with the object's last state when it does not come in time.
        """
        path = self.path(kind, namespace=namespace)
        deadline = time.monotonic() + seconds
        seen: dict[str, Any] | None = None
        while (left := deadline - time.monotonic()) > 0:
            with suppress(urllib3.exceptions.HTTPError):
                seen = self.api.get(f"{path}/{name}")
                if holds(seen):
                    return seen
                query = {"fieldSelector": f"metadata.name={name}"}
                if seen:
                    query["resourceVersion"] = seen["metadata"]["resourceVersion"]
                with self.api.watch(path, seconds=max(0.05, min(left, 5)), **query) as events:
                    for event in events:
                        if event["type"] == "ERROR":
                            break
                        seen = None if event["type"] == "DELETED" else event["object"]
                        if holds(seen):
                            return seen
                        if time.monotonic() > deadline:
                            break
        raise AssertionError(f"{kind} {name}: not within {seconds:g} s: {what}\n{_shown(seen)}")

    def wait_condition(
        self,
        kind: str,
        name: str,
        condition: str,
        *,
        status: str = "True",
        reason: str | None = None,
        seconds: float = 30,
        namespace: str = "",
    ) -> dict[str, Any]:
        """The object as soon as a condition of its status has this status and, if given, reason."""

        def holds(seen: dict[str, Any] | None) -> bool:
            found = condition_of(seen, condition)
            return found.get("status") == status and reason in {None, found.get("reason")}

        what = f"{condition}={status} {reason or ''}"
        found = self.wait(kind, name, holds, seconds=seconds, what=what, namespace=namespace)
        assert found is not None
        return found

    def wait_gone(self, kind: str, name: str, *, seconds: float = 30, namespace: str = "") -> None:
        """Return when there is no such object."""
        self.wait(
            kind, name, lambda seen: seen is None, seconds=seconds, what="gone", namespace=namespace
        )

    def _apply(self, one: Mapping[str, Any]) -> dict[str, Any]:
        metadata = dict(one["metadata"])
        path = self.path(one["kind"], metadata["name"], namespace=metadata.get("namespace", ""))
        if "/namespaces/" in PATHS[one["kind"]]:
            metadata.setdefault("namespace", self.namespace)
        return self.api.request(
            "PATCH",
            path,
            {**one, "metadata": metadata},
            kind=APPLY,
            fieldManager=FIELD_MANAGER,
            force="true",
            fieldValidation="Strict",
        )


def condition_of(thing: Mapping[str, Any] | None, kind: str) -> dict[str, Any]:
    """One condition of an object's status; empty when it is not there."""
    conditions = ((thing or {}).get("status") or {}).get("conditions")
    return next((dict(c) for c in conditions or () if c["type"] == kind), {})


def pool_deployment(
    name: str,
    replicas: int = 0,
    *,
    args: list[str] | None = None,
    command: list[str] | None = None,
    env: Mapping[str, str] | None = None,
    gpus: int = 0,
    grace_seconds: int = 30,
    node: str = "process-node",
    **annotations: str,
) -> dict[str, Any]:
    """A worker pool as the chart renders it: a Deployment with the labels that the operator reads.

    Annotations come without their prefix, `max_replicas="3"` for `data-miner.io/max-replicas`.
    Without `command` it runs `data-miner worker` under the pool's name. It lands only on `node`.
    """
    labels = {"data-miner.io/pool": name, "app.kubernetes.io/component": "worker"}
    served = annotations.get("stages", "default")
    stages = ",".join(POOLS.get(served, (served,)))
    container: dict[str, Any] = {
        "name": "worker",
        "image": "data-miner-worker",
        "command": command or ["data-miner"],
        "args": args
        if args is not None
        else [
            *("worker", "--pool", name, "--worker-id", "$(POD_NAME)"),
            *("--slots", annotations.get("slots", "1"), "--stages", stages),
        ],
        "env": [
            {"name": "POD_NAME", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}},
            *({"name": key, "value": value} for key, value in (env or {}).items()),
        ],
    }
    if gpus:
        container["resources"] = {"limits": {"nvidia.com/gpu": str(gpus)}}
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": name, "labels": labels, "annotations": _ours(annotations)},
        "spec": {
            "replicas": replicas,
            "selector": {"matchLabels": labels},
            "template": {
                "metadata": {"labels": labels},
                "spec": {**on_node(node, grace_seconds=grace_seconds), "containers": [container]},
            },
        },
    }


def on_node(node: str = "process-node", *, grace_seconds: int = 30) -> dict[str, Any]:
    """The part of a pod's spec that brings it to a process node and to no other."""
    return {
        "nodeSelector": {LABEL: node},
        "tolerations": [{"key": LABEL, "operator": "Exists"}],
        "terminationGracePeriodSeconds": grace_seconds,
        "automountServiceAccountToken": False,
    }


@contextmanager
def fresh_namespace(api: KubeClient, name: str) -> Iterator[str]:
    """A namespace for the length of a block; at its end what runs in it is killed outright.

    It may still be terminating afterwards: nothing can be made in it any more.
    """
    body = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}}
    api.request("POST", PATHS["Namespace"], body)
    try:
        yield name
    finally:
        api.request("DELETE", f"{PATHS['Namespace']}/{name}")
        pods = PATHS["Pod"].format(name)
        deadline = time.monotonic() + 30
        while api.items(pods):
            assert time.monotonic() < deadline, f"pods stay in {name}"
            api.request("DELETE", pods, {"gracePeriodSeconds": 0})


def install_crds(cluster: Cluster, *, seconds: float = 30) -> None:
    """Apply what is in `crds/`; the API serves it when this returns."""
    for file in sorted(CRDS.glob("*.yaml")):
        for one in cluster.apply(file.read_text()):
            cluster.wait_condition(
                "CustomResourceDefinition",
                one["metadata"]["name"],
                "Established",
                seconds=seconds,
            )


def _documents(item: Mapping[str, Any] | str) -> list[Mapping[str, Any]]:
    if not isinstance(item, str):
        return [item]
    return [one for one in yaml.safe_load_all(item) if one]


def _ours(annotations: Mapping[str, str | None]) -> dict[str, str | None]:
    return {f"data-miner.io/{k.replace('_', '-')}": v for k, v in annotations.items()}


def _shown(seen: Mapping[str, Any] | None) -> str:
    if seen is None:
        return "there is none"
    return yaml.safe_dump({k: seen.get(k) for k in ("metadata", "spec", "status")})[-4000:]
