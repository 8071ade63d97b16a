"""Enforces NetworkPolicies on a node of the real cluster, by the node's packet filter.

Each packet between pods passes the node's FORWARD chain after a Service's address was replaced, so
what a policy says about pods and ports can be said there. A connection that is open stays open.
IPv4 only; a port has a number or a name.

Run as `python -m support.realnode_policies KUBECONFIG NODE`, in the node's network namespace.
"""

from __future__ import annotations

import hashlib
import ipaddress
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import urllib3

from support.kube_client import KubeClient, KubeError, access_of

LOOK_SECONDS = 1.0
CHAIN = "DM-POLICIES"
POLICIES = "/apis/networking.k8s.io/v1/networkpolicies"
PEER_FLAG = {"Ingress": "-s", "Egress": "-d"}
OWN_FLAG = {"Ingress": "-d", "Egress": "-s"}
RULES = {"Ingress": ("ingress", "from"), "Egress": ("egress", "to")}

Thing = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Facts:
    """All that decides who may speak to whom."""

    policies: Sequence[Thing]
    pods: Sequence[Thing]
    namespaces: Sequence[Thing]


def chains(facts: Facts, node: str) -> dict[str, list[str]]:
    """The rules of each chain for a node's pods: CHAIN sends a packet to those it concerns.

    To RETURN from a pod's chain is to be allowed; its end refuses.
    """
    found: dict[str, list[str]] = {
        CHAIN: ["-m conntrack --ctstate ESTABLISHED,RELATED -j RETURN"],
    }
    for pod in filter(_has_address, facts.pods):
        if pod["spec"].get("nodeName") != node:
            continue
        for direction in ("Egress", "Ingress"):
            chosen = [p for p in facts.policies if _concerns(p, pod, direction)]
            if chosen:
                name = _chain(pod, direction)
                allowed = {rule for p in chosen for rule in _allowed(p, pod, direction, facts)}
                found[name] = [*(f"{rule} -j RETURN" for rule in sorted(allowed)), "-j REJECT"]
                found[CHAIN].append(f"{OWN_FLAG[direction]} {pod['status']['podIP']} -j {name}")
    return found


def restore_input(wanted: Mapping[str, Sequence[str]], gone: set[str]) -> str:
    """For `iptables-restore --noflush`: these chains as a whole; those that are gone go."""
    lines = ["*filter", *(f":{name} - [0:0]" for name in (*wanted, *sorted(gone)))]
    lines += [f"-A {name} {rule}" for name, rules in wanted.items() for rule in rules]
    lines += [f"-X {name}" for name in sorted(gone)]
    return "\n".join([*lines, "COMMIT", ""])


def _has_address(pod: Thing) -> bool:
    done = pod["status"].get("phase") in {"Succeeded", "Failed"}
    return bool(pod["status"].get("podIP")) and not pod["spec"].get("hostNetwork") and not done


def _chain(pod: Thing, direction: str) -> str:
    digest = hashlib.sha256(pod["metadata"]["uid"].encode()).hexdigest()[:12]
    return f"DM-{direction[0]}-{digest}"


def _concerns(policy: Thing, pod: Thing, direction: str) -> bool:
    return (
        policy["metadata"]["namespace"] == pod["metadata"]["namespace"]
        and direction in policy["spec"].get("policyTypes", ["Ingress"])
        and matches(policy["spec"].get("podSelector"), pod)
    )


def matches(selector: Thing | None, thing: Thing) -> bool:
    """Whether a label selector chooses an object; an empty one chooses all."""
    labels = thing["metadata"].get("labels") or {}
    asked = selector or {}
    if any(labels.get(key) != value for key, value in (asked.get("matchLabels") or {}).items()):
        return False
    for one in asked.get("matchExpressions") or ():
        there, values = labels.get(one["key"]), one.get("values") or ()
        holds = {
            "In": there in values,
            "NotIn": there not in values,
            "Exists": there is not None,
            "DoesNotExist": there is None,
        }
        if not holds[one["operator"]]:
            return False
    return True


def _allowed(policy: Thing, pod: Thing, direction: str, facts: Facts) -> Iterator[str]:
    """What a policy allows to or from a pod, as matches of the packet filter."""
    rules, peers = RULES[direction]
    flag = PEER_FLAG[direction]
    for rule in policy["spec"].get(rules) or ():
        for peer in rule.get(peers) or [None]:
            for address, other in _addresses(peer, policy, facts):
                owner = pod if direction == "Ingress" else other
                for port in _ports(rule.get("ports") or (), owner):
                    yield f"{flag} {address} {port}".strip()


def _addresses(
    peer: Thing | None, policy: Thing, facts: Facts
) -> Iterator[tuple[str, Thing | None]]:
    """Networks of a peer, with the pod that an address belongs to; None: everybody."""
    if peer is None:
        yield "0.0.0.0/0", None
    elif "ipBlock" in peer:
        block = peer["ipBlock"]
        for network in without(block["cidr"], block.get("except") or ()):
            yield network, None
    else:
        for pod in filter(_has_address, facts.pods):
            if _is_peer(peer, pod, policy, facts):
                yield f"{pod['status']['podIP']}/32", pod


def _is_peer(peer: Thing, pod: Thing, policy: Thing, facts: Facts) -> bool:
    own = pod["metadata"]["namespace"]
    if "namespaceSelector" in peer:
        chosen = (n for n in facts.namespaces if matches(peer["namespaceSelector"], n))
        if own not in {n["metadata"]["name"] for n in chosen}:
            return False
    elif own != policy["metadata"]["namespace"]:
        return False
    return matches(peer.get("podSelector"), pod)


def without(whole: str, parts: Sequence[str]) -> list[str]:
    """A network less some of its parts, as networks; IPv6 is left out."""
    if ":" in whole:
        return []
    left = [ipaddress.IPv4Network(whole, strict=False)]
    for part in parts:
        taken = ipaddress.IPv4Network(part, strict=False)
        left = [
            piece
            for network in left
            for piece in (
                network.address_exclude(taken)
                if taken.subnet_of(network)
                else [network] * (not network.subnet_of(taken))
            )
        ]
    return [str(network) for network in sorted(left)]


def _ports(ports: Sequence[Thing], owner: Thing | None) -> Iterator[str]:
    """`owner` is the pod whose container ports have names."""
    if not ports:
        yield ""
    for one in ports:
        protocol = one.get("protocol", "TCP").lower()
        port = one.get("port")
        if port is None:
            yield f"-p {protocol}"
        elif isinstance(port, int):
            yield f"-p {protocol} --dport {port}:{one.get('endPort', port)}"
        else:
            for named in _named(owner, port, protocol):
                yield f"-p {protocol} --dport {named}:{named}"


def _named(pod: Thing | None, name: str, protocol: str) -> Iterator[int]:
    for container in pod["spec"]["containers"] if pod else ():
        for port in container.get("ports") or ():
            if port.get("name") == name and port.get("protocol", "TCP").lower() == protocol:
                yield int(port["containerPort"])


def serve(api: KubeClient, node: str) -> None:
    """Never returns; while the API server is away the last word stands."""
    written: dict[str, list[str]] = {}
    while True:
        with suppress(KubeError, urllib3.exceptions.HTTPError):
            wanted = chains(_facts(api), node)
            if wanted != written:
                _run(
                    "iptables-restore",
                    "--noflush",
                    text=restore_input(wanted, {*written} - {*wanted}),
                )
                written = wanted
        if written:
            _come_first()
        time.sleep(LOOK_SECONDS)


def _facts(api: KubeClient) -> Facts:
    policies = api.items(POLICIES)
    if not policies:
        return Facts((), (), ())
    return Facts(policies, api.items("/api/v1/pods"), api.items("/api/v1/namespaces"))


def _come_first() -> None:
    """Before kube-proxy's rules, which let through what it has marked."""
    jump = f"-A FORWARD -j {CHAIN}"
    rules = [line for line in _run("iptables", "-S", "FORWARD").splitlines() if line[:2] == "-A"]
    if rules[:1] == [jump]:
        return
    _run("iptables", "-I", "FORWARD", "-j", CHAIN)
    if jump in rules:
        _run("iptables", "-D", "FORWARD", str(rules.index(jump) + 2))


def _run(*command: str, text: str = "") -> str:
    done = subprocess.run(
        [command[0], "--wait", *command[1:]],
        input=text,
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    return done.stdout


if __name__ == "__main__":
    serve(KubeClient(access_of(Path(sys.argv[1]))), sys.argv[2])
