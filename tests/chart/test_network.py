"""Who may reach whom: every pod of the chart and all around it, evaluated from what is rendered.

A policy that no plugin of the cluster enforces says the same; whether one does is the cluster's.
"""

from __future__ import annotations

from collections.abc import Mapping

import pytest

from support.chart import NAMES, Object, of_kind, pods, render
from support.network_policy import End, allowed

PORTS = {"operator": 8080, "worker": 8080, "database": 5432, "store": 7070}
OUTSIDE = (
    (End("dns", "10.96.0.10", "kube-system", {"k8s-app": "kube-dns"}), 53),
    (End("api server", "172.18.0.2"), 6443),
    (End("internet", "93.184.216.34"), 443),
    (End("internet over IPv6", "2606:2800:220:1::1"), 443),
    (End("mail server", "93.184.216.34"), 25),
    (End("private network", "192.168.1.20"), 443),
    (End("private IPv6", "fd00::1"), 443),
    (End("metadata of the cloud", "169.254.169.254"), 80),
    (End("other pod", "10.244.3.9", "mining", {"app": "other"}), 8080),
    (End("foreign pod", "10.244.4.9", "elsewhere", {"app": "other"}), 443),
)
STRANGERS = (
    End("other pod", "10.244.3.9", "mining", {"app": "other"}),
    End("foreign pod", "10.244.4.9", "elsewhere", {"app": "other"}),
    # Of another release, which has the same components.
    End(
        "foreign worker",
        "10.244.5.9",
        "elsewhere",
        {"app.kubernetes.io/name": "data-miner", "app.kubernetes.io/component": "worker"},
    ),
)


def ends(objects: list[Object]) -> dict[str, End]:
    """The chart's pods by component."""
    found = {}
    for number, pod in enumerate(pods(objects)):
        ports = {
            port["name"]: port["containerPort"]
            for container in pod.containers
            for port in container.get("ports", ())
        }
        address = f"10.244.1.{number + 1}"
        found[pod.component] = End(pod.component, address, "mining", pod.labels, ports)
    return found


def reach(objects: list[Object]) -> dict[str, str]:
    """For each of the chart's pods, everything that it may reach."""
    policies, known = of_kind(objects, "NetworkPolicy"), ends(objects)
    targets = [(known[name], port) for name, port in PORTS.items() if name in known] + list(OUTSIDE)
    return {
        name: ", ".join(
            target.name
            for target, port in targets
            if target.name != name
            and allowed(policies, source, target, port, udp=target.name == "dns")
        )
        for name, source in sorted(known.items())
    }


def reached(objects: list[Object]) -> dict[str, str]:
    """For each of the chart's ports, which strangers may reach it."""
    policies, known = of_kind(objects, "NetworkPolicy"), ends(objects)
    return {
        name: ", ".join(
            source.name for source in STRANGERS if allowed(policies, source, known[name], port)
        )
        for name, port in PORTS.items()
        if name in known
    }


WEB = "internet, internet over IPv6"
# Nobody can say from outside where a cluster's API server is: its ports are open to any address
# until `networkPolicy.apiServerCidrs` names it.
API = f"dns, api server, {WEB}, private network, private IPv6, foreign pod"
TABLE: tuple[tuple[str, Mapping[str, str]], ...] = (
    (
        "default",
        {
            "database": "",
            "migrate": "database, dns",
            "operator": f"database, {API}",
            "store": "",
            "test": API,
            "worker": f"database, store, dns, {WEB}",
        },
    ),
    (
        "backup",
        {
            "backup": "database, dns",
            "database": "",
            "migrate": "database, dns",
            "model": f"dns, {WEB}",
            "operator": f"database, {API}",
            "store": "",
            "test": API,
            "worker": f"database, store, dns, {WEB}",
        },
    ),
    (
        "store",
        {
            "database": "",
            "migrate": "database, dns",
            "model": f"store, dns, {WEB}",
            "operator": f"database, store, {API}",
            "store": "",
            "test": API,
            "worker": f"database, store, dns, {WEB}",
        },
    ),
    (
        # Its API server, database and bucket are elsewhere: none of what is listed here.
        "external",
        {"migrate": "dns", "operator": "dns", "test": "dns", "worker": "dns"},
    ),
    (
        "namespaced",
        {
            "database": "",
            "migrate": "database, dns",
            "operator": f"database, {API}",
            "storage": "",
            "worker": f"database, dns, {WEB}",
        },
    ),
)


@pytest.mark.parametrize(("name", "expected"), TABLE, ids=[name for name, _ in TABLE])
def test_pods_reach_what_they_need_and_nothing_else(name: str, expected: Mapping[str, str]) -> None:
    assert reach(render(name)) == expected


def test_strangers_reach_metrics_alone() -> None:
    assert reached(render()) == {
        "operator": "other pod, foreign pod, foreign worker",
        "worker": "other pod, foreign pod, foreign worker",
        "database": "",
        "store": "",
    }


def test_metrics_can_be_kept_to_a_namespace() -> None:
    peers = [{"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "monitoring"}}}]
    objects = render({"networkPolicy": {"metricsFrom": peers}})
    policies, known = of_kind(objects, "NetworkPolicy"), ends(objects)
    prometheus = End("prometheus", "10.244.9.9", "monitoring")
    assert reached(objects) == {"operator": "", "worker": "", "database": "", "store": ""}
    assert allowed(policies, prometheus, known["worker"], 8080)
    assert not allowed(policies, prometheus, known["database"], 5432)
    assert reached(render("namespaced"))["worker"] == ""


def test_what_is_elsewhere_is_reached_at_the_addresses_that_are_named() -> None:
    objects = render("external")
    policies, known = of_kind(objects, "NetworkPolicy"), ends(objects)
    database, api = End("database", "192.0.2.10"), End("api", "198.51.100.1")
    bucket, neighbour = End("bucket", "203.0.113.7"), End("neighbour", "192.0.2.11")
    assert allowed(policies, known["worker"], database, 5432)
    assert allowed(policies, known["migrate"], database, 5432)
    assert allowed(policies, known["operator"], api, 443)
    assert allowed(policies, known["worker"], bucket, 443)
    assert not allowed(policies, known["worker"], neighbour, 5432)
    assert not allowed(policies, known["worker"], api, 443)
    assert not allowed(policies, known["operator"], bucket, 443)


BUCKET_OF_MODELS = {
    "storage": {"mode": "s3", "s3": {"uri": "s3://mining"}},
    "models": {"source": "store", "export": {"enabled": True}},
}


def test_a_bucket_of_models_is_reached_by_who_reads_and_who_makes_them() -> None:
    """On the internet, or where it is named; a hub that is not on the internet likewise."""
    found = reach(render(BUCKET_OF_MODELS))
    assert found["model"] == f"dns, {WEB}"
    rule = {"to": [{"ipBlock": {"cidr": "192.168.1.0/24"}}], "ports": [{"port": 443}]}
    inside = {"models": {"internet": False, "extraEgress": [rule]}, "apiServerCidrs": ["::1/128"]}
    found = reach(render({**BUCKET_OF_MODELS, "networkPolicy": inside}))
    assert found["model"] == "dns, private network"
    assert found["operator"] == "database, dns, private network"
    assert found["worker"] == f"database, dns, {WEB}"


def test_the_operator_is_kept_to_the_api_server_where_its_address_is_known() -> None:
    found = reach(render({"networkPolicy": {"apiServerCidrs": ["172.18.0.2/32"]}}))
    assert found["operator"] == "database, dns, api server"
    assert found["test"] == "dns, api server"


def test_with_all_egress_denied_workers_still_have_database_and_store() -> None:
    """The demo needs no more."""
    found = reach(render({"networkPolicy": {"workers": {"internet": False}}}))
    assert found["worker"] == "database, store, dns"


def test_names_are_resolved_whatever_port_the_name_servers_pods_have() -> None:
    """A policy is about the pods behind the Service, which need not listen on port 53."""
    objects = render()
    policies, known = of_kind(objects, "NetworkPolicy"), ends(objects)
    dns = End("dns", "10.244.0.2", "kube-system", {"k8s-app": "kube-dns"})
    for pod in ("operator", "worker", "migrate", "test"):
        for port in (53, 5353):
            assert allowed(policies, known[pod], dns, port, udp=True)
            assert allowed(policies, known[pod], dns, port)


def test_without_ports_of_name_servers_no_name_is_resolved_and_nothing_else_is_opened() -> None:
    """A rule whose list of ports is empty would be a rule for every port of every address."""
    found = reach(render({"networkPolicy": {"dnsPorts": []}}))
    assert found["worker"] == f"database, store, {WEB}"
    assert found["migrate"] == "database"


def test_every_pod_is_under_a_policy_in_both_directions() -> None:
    for name in NAMES:
        objects = render(name)
        policies = of_kind(objects, "NetworkPolicy")
        for pod in pods(objects):
            mine = [
                policy["spec"]
                for policy in policies
                if policy["spec"]["podSelector"]["matchLabels"].items() <= pod.labels.items()
            ]
            ways = {way for spec in mine for way in spec["policyTypes"]}
            assert ways == {"Ingress", "Egress"}, f"{name}: {pod.owner}"


def test_policies_can_be_left_to_somebody_else() -> None:
    assert of_kind(render({"networkPolicy": {"enabled": False}}), "NetworkPolicy") == []
