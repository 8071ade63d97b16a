"""What the operator may do in a cluster, as one table: ``python -m data_miner_operator.rbac``.

The table is all that it needs and is what its manifests are made of. kopf is run so that it needs
nothing of its own: no right to list namespaces, CRDs, or anything else.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from data_miner_operator.facts import GROUP, PLURAL

NAME: Final = "data-miner-operator"


@dataclass(frozen=True, slots=True)
class Rule:
    """Verbs on resources of one API group."""

    group: str
    resources: tuple[str, ...]
    verbs: tuple[str, ...]
    names: tuple[str, ...] = ()
    """Only objects of these names; none: all."""

    def render(self) -> dict[str, Any]:
        """As a PolicyRule."""
        rule: dict[str, Any] = {
            "apiGroups": [self.group],
            "resources": list(self.resources),
            "verbs": list(self.verbs),
        }
        return {**rule, "resourceNames": list(self.names)} if self.names else rule


PROJECTS: Final = (
    # Deletes what has outlived its ttlSecondsAfterFinished.
    Rule(GROUP, (PLURAL,), ("get", "list", "watch", "delete")),
    Rule(GROUP, (f"{PLURAL}/status",), ("get", "patch")),
    Rule("events.k8s.io", ("events",), ("create", "patch")),
)
"""Where projects are."""
POOLS: Final = (
    Rule("apps", ("deployments",), ("get", "list", "watch")),
    Rule("apps", ("deployments/scale",), ("get", "patch", "update")),
    # Patches the deletion cost of pods that shall go first; reads the last words of a Job's.
    Rule("", ("pods",), ("get", "list", "watch", "patch")),
    Rule("events.k8s.io", ("events",), ("create", "patch")),
)
"""Where worker pools are: in the operator's own namespace, and with the projects where their
namespaces are named. Not in all of a cluster: whoever may patch any pod may become anybody."""
OWN: Final = (
    Rule("coordination.k8s.io", ("leases",), ("get", "create", "update")),
    Rule("batch", ("jobs",), ("get", "list", "watch", "create")),
    Rule("batch", ("cronjobs",), ("get", "list")),
)
"""In the operator's own namespace, besides."""


def own_name(namespace: str) -> Rule:
    """Reads the UID of its own namespace, which tells its installation from others. A Role in that
    namespace is enough for that."""
    return Rule("", ("namespaces",), ("get",), (namespace,))


def render(namespace: str, served: Sequence[str] = (), name: str = NAME) -> list[dict[str, Any]]:
    """The account and its rights: for the whole cluster, or for the served namespaces only."""
    account = {
        "apiVersion": "v1",
        "kind": "ServiceAccount",
        "metadata": _metadata(name, namespace),
    }
    found = [account]
    if not served:
        found += _cluster(f"{name}-{namespace}", name, namespace, PROJECTS)
    for each in dict.fromkeys((*served, namespace)):
        rules = [
            *(PROJECTS if each in served else ()),
            *POOLS,
            *((*OWN, own_name(namespace)) if each == namespace else ()),
        ]
        found += _bound(name, namespace, each, _merged(rules))
    return found


def _merged(rules: Sequence[Rule]) -> list[Rule]:
    return list(dict.fromkeys(rules))


def _cluster(role: str, name: str, namespace: str, rules: Sequence[Rule]) -> list[dict[str, Any]]:
    api = "rbac.authorization.k8s.io"
    return [
        {
            "apiVersion": f"{api}/v1",
            "kind": "ClusterRole",
            "metadata": _metadata(role),
            "rules": [rule.render() for rule in rules],
        },
        {
            "apiVersion": f"{api}/v1",
            "kind": "ClusterRoleBinding",
            "metadata": _metadata(role),
            "roleRef": {"apiGroup": api, "kind": "ClusterRole", "name": role},
            "subjects": [_subject(name, namespace)],
        },
    ]


def _bound(name: str, namespace: str, where: str, rules: Sequence[Rule]) -> list[dict[str, Any]]:
    api = "rbac.authorization.k8s.io"
    # Another installation with the same name may be at home there.
    role = name if where == namespace else f"{name}-{namespace}"
    return [
        {
            "apiVersion": f"{api}/v1",
            "kind": "Role",
            "metadata": _metadata(role, where),
            "rules": [rule.render() for rule in rules],
        },
        {
            "apiVersion": f"{api}/v1",
            "kind": "RoleBinding",
            "metadata": _metadata(role, where),
            "roleRef": {"apiGroup": api, "kind": "Role", "name": role},
            "subjects": [_subject(name, namespace)],
        },
    ]


def _subject(name: str, namespace: str) -> dict[str, Any]:
    return {"kind": "ServiceAccount", "name": name, "namespace": namespace}


def _metadata(name: str, namespace: str | None = None) -> dict[str, Any]:
    metadata: dict[str, Any] = {
        "name": name,
        "labels": {
            "app.kubernetes.io/name": "data-miner",
            "app.kubernetes.io/component": "operator",
        },
    }
    return {**metadata, "namespace": namespace} if namespace is not None else metadata


def main() -> None:
    """Print the manifests as one List that `kubectl apply -f -` takes."""
    parser = argparse.ArgumentParser(prog="python -m data_miner_operator.rbac")
    parser.add_argument("--namespace", required=True, help="where the operator runs")
    parser.add_argument(
        "--serve", action="append", default=[], help="serve this namespace only; may be repeated"
    )
    parser.add_argument("--name", default=NAME, help="of the account and its roles")
    given = parser.parse_args()
    items = render(given.namespace, given.serve, given.name)
    document = {"apiVersion": "v1", "kind": "List", "items": items}
    sys.stdout.write(json.dumps(document, indent=2) + "\n")


if __name__ == "__main__":
    main()
