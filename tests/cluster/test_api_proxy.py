"""The proxy through which a client meets what networks and API servers do to it."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import pytest
import urllib3

from support.api_proxy import ApiProxy
from support.api_requests import named
from support.cluster import Cluster
from support.kube_client import KubeClient, KubeError, access_of
from support.waiting import eventually

MAPS = "/api/v1/namespaces/{}/configmaps"


@pytest.fixture
def client(api: KubeClient, proxy: ApiProxy) -> Iterator[KubeClient]:
    """The administrator, through the proxy."""
    reached = KubeClient(access_of(proxy.kubeconfig(api.access.token)))
    yield reached
    reached.close()


def config_map(name: str) -> dict[str, Any]:
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}}


def names_told(client: KubeClient, cluster: Cluster, *names: str) -> list[str]:
    """What a watch tells while these are made, until it ends or the last of them was told."""
    path = MAPS.format(cluster.namespace)
    version = client.request("GET", path)["metadata"]["resourceVersion"]
    told: list[str] = []
    with client.watch(path, seconds=5, resourceVersion=version) as events:
        for name in names:
            cluster.apply(config_map(name))
        for event in events:
            told.append(event["object"].get("metadata", {}).get("name") or event["type"])
            if told[-1] == names[-1]:
                break
    return told


@pytest.mark.parametrize(
    ("method", "path", "verb", "resource", "subresource", "name"),
    [
        ("GET", "/api/v1/pods?limit=500", "list", "pods", "", ""),
        ("GET", "/api/v1/namespaces/n/pods?watch=true", "watch", "pods", "", ""),
        ("GET", "/api/v1/namespaces/n", "get", "namespaces", "", "n"),
        ("PATCH", "/apis/a.io/v1/namespaces/n/mps/x/status", "patch", "mps", "status", "x"),
        ("PUT", "/apis/apps/v1/namespaces/n/things/d/scale", "update", "things", "scale", "d"),
        ("DELETE", "/api/v1/namespaces/n/pods", "deletecollection", "pods", "", ""),
        ("GET", "/version", "get", "/version", "", ""),
    ],
)  # fmt: skip
def test_requests_are_named_as_kubernetes_names_them(
    method: str, path: str, verb: str, resource: str, subresource: str, name: str
) -> None:
    """Verb, resource, subresource and name follow from method and path."""
    found = named(method, path, {})
    assert (found.verb, found.resource, found.subresource, found.name) == (
        verb, resource, subresource, name,
    )  # fmt: skip


def test_every_request_is_counted(cluster: Cluster, client: KubeClient, proxy: ApiProxy) -> None:
    """Reads and writes are told apart, with the status that they got."""
    path = MAPS.format(cluster.namespace)
    client.request("POST", path, config_map("a"))
    began = proxy.now()
    assert client.get(f"{path}/a") is not None
    assert client.get(f"{path}/b") is None
    assert proxy.writes(since=began) == []
    assert proxy.counts() == {
        ("create", "configmaps", "", 201): 1,
        ("get", "configmaps", "", 200): 1,
        ("get", "configmaps", "", 404): 1,
    }
    assert [w.verb for w in proxy.writes()] == ["create"]


def test_answers_are_replaced_as_often_as_asked(
    cluster: Cluster, client: KubeClient, proxy: ApiProxy
) -> None:
    """A 429 says when to come back; the API server hears nothing of it; then all is well."""
    path = MAPS.format(cluster.namespace)
    fault = proxy.answer(429, "create", path="configmaps", retry_after_seconds=7)
    with pytest.raises(KubeError, match="429 TooManyRequests"):
        client.request("POST", path, config_map("a"))
    assert cluster.get("ConfigMap", "a") is None
    client.request("POST", path, config_map("a"))
    assert fault.hits == 1


def test_a_request_may_be_late(cluster: Cluster, client: KubeClient, proxy: ApiProxy) -> None:
    """A delayed request is answered, later."""
    proxy.delay(0.3, "list")
    began = time.monotonic()
    client.request("GET", MAPS.format(cluster.namespace))
    assert time.monotonic() - began >= 0.3


@pytest.mark.parametrize("after", [False, True])
def test_a_cut_connection_tells_nothing(
    cluster: Cluster, client: KubeClient, proxy: ApiProxy, *, after: bool
) -> None:
    """The client cannot know whether what it asked for was done; both can be made to happen."""
    proxy.cut("create", after=after)
    with pytest.raises(urllib3.exceptions.HTTPError):
        client.request("POST", MAPS.format(cluster.namespace), config_map("a"))
    assert (cluster.get("ConfigMap", "a") is not None) == after


@pytest.mark.parametrize(
    ("what", "told"),
    [
        ("drop", ["b", "c"]),
        ("duplicate", ["a", "a", "b", "c"]),
        ("reorder", ["b", "a", "c"]),
        ("gone", ["ERROR"]),
    ],
)
def test_watches_are_disturbed(
    cluster: Cluster, client: KubeClient, proxy: ApiProxy, what: str, told: list[str]
) -> None:
    """Events are lost, told twice, told in the wrong order, or said to be too old."""
    proxy.disturb(what, path="configmaps")
    assert names_told(client, cluster, "a", "b", "c") == told


def test_a_frozen_watch_is_silent_until_it_is_healed(
    cluster: Cluster, client: KubeClient, proxy: ApiProxy
) -> None:
    """Nothing comes and nothing ends; healed, the connection is cut."""
    fault = proxy.disturb("freeze", path="configmaps")
    with pytest.raises(urllib3.exceptions.ReadTimeoutError):
        names_told(client, cluster, "a")
    assert fault.hits == 1
    path = MAPS.format(cluster.namespace)
    proxy.disturb("freeze", path="configmaps")
    with client.watch(path) as events:
        cluster.apply(config_map("b"))
        eventually(lambda: len(proxy.requests()) > 2)
        proxy.heal()
        with pytest.raises(urllib3.exceptions.HTTPError):
            list(events)
