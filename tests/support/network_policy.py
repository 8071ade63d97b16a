"""What NetworkPolicies allow, as the API describes it: a pod that some policy selects may do only
what one of those policies names; traffic needs a yes at both ends."""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

Policy = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class End:
    """A pod, or an address outside of the cluster."""

    name: str
    address: str
    namespace: str = ""
    """Empty for what is no pod."""
    labels: Mapping[str, str] = field(default_factory=dict)
    ports: Mapping[str, int] = field(default_factory=dict)
    """Names of its ports."""


def allowed(
    policies: Sequence[Policy], source: End, target: End, port: int, udp: bool = False
) -> bool:
    """Whether `source` may open a connection to this port of `target`."""
    protocol = "UDP" if udp else "TCP"
    return _one_way(policies, source, "Egress", target, target, port, protocol) and _one_way(
        policies, target, "Ingress", source, target, port, protocol
    )


def _one_way(
    policies: Sequence[Policy], end: End, way: str, peer: End, target: End, port: int, protocol: str
) -> bool:
    if not end.namespace:
        return True
    mine = [
        policy["spec"]
        for policy in policies
        if policy["metadata"]["namespace"] == end.namespace
        and _selects(policy["spec"]["podSelector"], end.labels)
        and way in policy["spec"]["policyTypes"]
    ]
    if not mine:
        return True
    key, where = ("egress", "to") if way == "Egress" else ("ingress", "from")
    return any(
        _peers(rule.get(where), peer, policies, end.namespace)
        and _ports(rule.get("ports"), target, port, protocol)
        for spec in mine
        for rule in spec.get(key) or ()
    )


def _peers(peers: Sequence[Any] | None, end: End, policies: Sequence[Policy], own: str) -> bool:
    return not peers or any(_peer(peer, end, own) for peer in peers)


def _peer(peer: Mapping[str, Any], end: End, own: str) -> bool:
    if "ipBlock" in peer:
        block = peer["ipBlock"]
        address = ipaddress.ip_address(end.address)
        return _inside(address, block["cidr"]) and not any(
            _inside(address, each) for each in block.get("except") or ()
        )
    if not end.namespace:
        return False
    if "namespaceSelector" in peer:
        names = {"kubernetes.io/metadata.name": end.namespace}
        if not _selects(peer["namespaceSelector"], names):
            return False
    elif end.namespace != own:
        return False
    return _selects(peer.get("podSelector") or {}, end.labels)


def _inside(address: Any, network: str) -> bool:
    known = ipaddress.ip_network(network)
    return address.version == known.version and address in known


def _ports(ports: Sequence[Any] | None, target: End, port: int, protocol: str) -> bool:
    return not ports or any(
        each.get("protocol", "TCP") == protocol
        and ("port" not in each or target.ports.get(each["port"], each["port"]) == port)
        for each in ports
    )


def _selects(selector: Mapping[str, Any], labels: Mapping[str, str]) -> bool:
    assert not selector.keys() - {"matchLabels"}, "the chart uses matchLabels alone"
    return (selector.get("matchLabels") or {}).items() <= labels.items()
