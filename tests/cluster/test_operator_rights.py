"""What the operator's account may do: the table, asked of a real API server."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

import pytest

from data_miner_operator import rbac
from support.cluster import Cluster, fresh_namespace
from support.waiting import eventually

PROJECTS = (
    ("get list watch delete", "miningprojects.data-miner.io"),
    ("get patch", "miningprojects.data-miner.io/status"),
    ("create patch", "events.events.k8s.io"),
)
POOLS = (
    ("get list watch", "deployments.apps"),
    ("get patch update", "deployments.apps/scale"),
    ("get list watch patch", "pods"),
)
ALLOWED_AT_HOME = (
    ("get create update", "leases.coordination.k8s.io"),
    ("get list watch create", "jobs.batch"),
    ("get list", "cronjobs.batch"),
)
DENIED = (
    ("create update patch", "miningprojects.data-miner.io"),
    ("create update patch delete", "deployments.apps"),
    ("create delete update", "pods"),
    ("create get", "pods/exec"),
    ("get list watch create", "secrets"),
    ("get list watch", "configmaps"),
    ("create", "serviceaccounts/token"),
    ("delete update patch", "jobs.batch"),
    ("delete list watch", "leases.coordination.k8s.io"),
    ("create update patch delete", "cronjobs.batch"),
    ("list watch", "namespaces"),
    ("get list", "nodes"),
    ("list watch get", "customresourcedefinitions.apiextensions.k8s.io"),
    ("create update patch escalate bind", "roles.rbac.authorization.k8s.io"),
    ("impersonate", "users"),
)


@pytest.fixture
def elsewhere(cluster: Cluster) -> Iterator[str]:
    """Another namespace."""
    with fresh_namespace(cluster.api, f"{cluster.namespace}-other") as name:
        yield name


def _can(cluster: Cluster, verb: str, resource: str, namespace: str) -> bool:
    review = cluster.api.request(
        "POST",
        "/apis/authorization.k8s.io/v1/subjectaccessreviews",
        {
            "apiVersion": "authorization.k8s.io/v1",
            "kind": "SubjectAccessReview",
            "spec": {
                "user": f"system:serviceaccount:{cluster.namespace}:{rbac.NAME}",
                "groups": ["system:serviceaccounts", "system:authenticated"],
                "resourceAttributes": {
                    "verb": verb,
                    "namespace": namespace,
                    "group": resource.partition("/")[0].partition(".")[2],
                    "resource": resource.partition("/")[0].partition(".")[0],
                    "subresource": resource.partition("/")[2],
                },
            },
        },
    )
    return bool(review["status"]["allowed"])


def _answers(
    cluster: Cluster, table: tuple[tuple[str, str], ...], namespace: str
) -> dict[str, bool]:
    return {
        f"{verb} {resource}": _can(cluster, verb, resource, namespace)
        for verbs, resource in table
        for verb in verbs.split()
    }


def _may_all(cluster: Cluster, table: tuple[tuple[str, str], ...], namespace: str) -> bool:
    """Whether the table is granted: an API server learns of its own roles by a watch."""
    return all(_answers(cluster, table, namespace).values())


def test_for_the_cluster_the_rights_are_the_table_and_no_more(
    cluster: Cluster, elsewhere: str
) -> None:
    objects = rbac.render(cluster.namespace)
    cluster.apply(*objects)
    try:
        at_home = (*PROJECTS, *POOLS, *ALLOWED_AT_HOME)
        for namespace, table in ((cluster.namespace, at_home), (elsewhere, PROJECTS)):
            eventually(partial(_may_all, cluster, table, namespace), what="its rights")
            denied = _answers(cluster, DENIED, namespace)
            assert not [name for name, allowed in denied.items() if allowed]
        assert not any(_answers(cluster, (*POOLS, *ALLOWED_AT_HOME), elsewhere).values())
    finally:
        for found in objects:
            cluster.delete(found["kind"], found["metadata"]["name"])


def test_for_one_namespace_nothing_is_granted_elsewhere(cluster: Cluster, elsewhere: str) -> None:
    cluster.apply(*rbac.render(cluster.namespace, [cluster.namespace]))

    # An API server learns of its own roles by a watch.
    asked = (*PROJECTS, *POOLS, *ALLOWED_AT_HOME)
    eventually(partial(_may_all, cluster, asked, cluster.namespace), what="its rights")
    assert not any(_answers(cluster, asked, elsewhere).values())
    denied = _answers(cluster, DENIED, cluster.namespace)
    assert not [name for name, allowed in denied.items() if allowed]


def test_kubectl_says_the_same_as_the_account(cluster: Cluster) -> None:
    cluster.apply(*rbac.render(cluster.namespace, [cluster.namespace]))
    signed_in = cluster.kubectl.signed_in(
        cluster.kubectl.kubeconfig_for(rbac.NAME, cluster.namespace)
    )

    def says(*question: str) -> str:
        return signed_in.run("auth", "can-i", *question).stdout.strip()

    assert says("patch", "miningprojects.data-miner.io", "--subresource=status") == "yes"
    assert says("patch", "miningprojects.data-miner.io") == "no"
    assert says("get", f"namespaces/{cluster.namespace}") == "yes"
    assert says("list", "secrets") == "no"
