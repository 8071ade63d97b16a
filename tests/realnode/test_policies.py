"""NetworkPolicies, tried with connections."""

from __future__ import annotations

from typing import Any

import pytest

from support.kubectl import KubectlError
from support.realnode import OwnCluster
from support.realnode_pods import Namespace, pod, service
from support.realnode_policies import Facts, chains, without
from support.waiting import eventually

pytestmark = pytest.mark.own_nodes


def _policy(name: str, chosen: dict[str, str], **rules: list[dict[str, Any]]) -> dict[str, Any]:
    types = [key.capitalize() for key in rules]
    spec = {"podSelector": {"matchLabels": chosen}, "policyTypes": types, **rules}
    kind = {"apiVersion": "networking.k8s.io/v1", "kind": "NetworkPolicy"}
    return {**kind, "metadata": {"name": name}, "spec": spec}


def _from(app: str) -> dict[str, Any]:
    return {"from": [{"podSelector": {"matchLabels": {"app": app}}}], "ports": [{"port": 8080}]}


def _reaches(there: Namespace, client: str, url: str) -> bool:
    try:
        there.probe(client, "get", url)
    except KubectlError:
        return False
    return True


def _is_kept_out(there: Namespace, client: str, url: str) -> None:
    eventually(
        lambda: not _reaches(there, client, url),
        what=f"{client} does not reach {url}",
        pause_seconds=0.3,
    )


def test_a_policy_lets_in_whom_it_names_from_either_node_and_nobody_else(
    own_cluster: OwnCluster, there: Namespace
) -> None:
    first, other = own_cluster.nodes()
    there.apply(
        *(pod("server", node=first), service("server")),
        *(pod("near", node=first), pod("far", node=other), pod("friend", node=other)),
    )
    for name in ("server", "near", "far", "friend"):
        there.ready(name)
    for name in ("near", "far", "friend"):
        assert there.get(name, "http://server/ok")
    there.apply(_policy("server", {"app": "server"}, ingress=[_from("friend")]))
    for name in ("near", "far"):
        _is_kept_out(there, name, "http://server/ok")
    assert there.probe("friend", "get", "http://server/ok")
    assert there.pod("server")["status"]["containerStatuses"][0]["ready"], "its probes come through"
    there("delete", "networkpolicy", "server")
    for name in ("near", "far"):
        assert there.get(name, "http://server/ok")


def test_a_pod_that_may_speak_to_nobody_finds_names_only_when_it_may(there: Namespace) -> None:
    there.apply(pod("server"), service("server"), pod("client"))
    there.ready("server")
    there.ready("client")
    assert there.get("client", "http://server/ok")
    there.apply(_policy("client", {"app": "client"}, egress=[]))
    _is_kept_out(there, "client", "http://server/ok")
    names: dict[str, Any] = {
        "to": [{"namespaceSelector": {}, "podSelector": {"matchLabels": {"k8s-app": "kube-dns"}}}],
        "ports": [{"protocol": "UDP", "port": 5353}],
    }
    server = {"to": [{"podSelector": {"matchLabels": {"app": "server"}}}]}
    there.apply(_policy("client", {"app": "client"}, egress=[names, server]))
    assert there.get("client", "http://server/ok")


def test_a_block_less_its_exceptions_is_made_of_whole_networks() -> None:
    assert without("10.0.0.0/8", []) == ["10.0.0.0/8"]
    assert without("10.0.0.0/30", ["10.0.0.0/32"]) == ["10.0.0.1/32", "10.0.0.2/31"]
    assert without("10.0.0.0/30", ["10.0.0.0/29"]) == []
    assert without("::/0", []) == []


def test_a_port_with_a_name_is_the_one_of_the_pod_that_listens() -> None:
    def made(name: str, port: int) -> dict[str, Any]:
        ports = [{"name": "http", "containerPort": port}]
        return {
            "metadata": {"name": name, "namespace": "n", "uid": name, "labels": {"app": name}},
            "spec": {"nodeName": "here", "containers": [{"ports": ports}]},
            "status": {"podIP": f"10.0.0.{port}", "phase": "Running"},
        }

    rule = {"ports": [{"port": "http"}]}
    policies = [
        {**_policy("in", {"app": "one"}, ingress=[rule]), "metadata": {"namespace": "n"}},
        {
            **_policy("out", {"app": "one"}, egress=[{**rule, "to": [{"podSelector": {}}]}]),
            "metadata": {"namespace": "n"},
        },
    ]
    found = chains(Facts(policies, [made("one", 1), made("two", 2)], []), "here")
    rules = [rule for name, rules in found.items() if name != "DM-POLICIES" for rule in rules]
    assert rules == [
        "-d 10.0.0.1/32 -p tcp --dport 1:1 -j RETURN",
        "-d 10.0.0.2/32 -p tcp --dport 2:2 -j RETURN",
        "-j REJECT",
        "-s 0.0.0.0/0 -p tcp --dport 1:1 -j RETURN",
        "-j REJECT",
    ]
