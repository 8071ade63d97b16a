"""Nodes that are drained, lost and broken, and what their pods see of it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from support.kubectl import KubectlError
from support.realnode import OwnCluster
from support.realnode_pods import Namespace, deployment, pod, service
from support.waiting import eventually

pytestmark = [pytest.mark.own_nodes, pytest.mark.timeout(600)]


@pytest.fixture
def first(own_cluster: OwnCluster) -> str:
    """A node that nothing happens to."""
    return own_cluster.nodes()[0]


@pytest.fixture
def broken(own_cluster: OwnCluster) -> Iterator[str]:
    """A node to break; whatever was done to it, it is mended afterwards."""
    node = own_cluster.nodes()[1]
    yield node
    if own_cluster.pid(node) is None:
        own_cluster.start(node) if own_cluster.is_on(node) else own_cluster.power_on(node)
    own_cluster.reconnect(node)
    own_cluster.uncordon(node)
    own_cluster.wait_ready(node)


def _places(there: Namespace, app: str = "app") -> dict[str, str]:
    """Node of each running pod, by name."""
    return {
        one["metadata"]["name"]: one["spec"]["nodeName"]
        for one in there.pods(app)
        if any(c["type"] == "Ready" and c["status"] == "True" for c in one["status"]["conditions"])
    }


def _all_on(there: Namespace, node: str, count: int) -> bool:
    return list(_places(there).values()).count(node) == count


def _container(there: Namespace, name: str) -> dict[str, Any]:
    found = there.pod(name)["status"]["containerStatuses"][0]
    return {key: found[key] for key in ("containerID", "restartCount")}


def test_a_drain_moves_pods_one_by_one_where_a_budget_says_so(
    own_cluster: OwnCluster, there: Namespace, first: str, broken: str
) -> None:
    there.apply(deployment("app", 2), service("app"), pod("client", node=first))
    there.rolled_out("app")
    there("create", "poddisruptionbudget", "app", "--selector=app=app", "--min-available=1")
    own_cluster.drain(broken)
    there.rolled_out("app")
    assert set(_places(there).values()) == {first}
    assert there.get("client", "http://app/ok")


def test_a_budget_that_spares_nobody_holds_a_drain_up(
    own_cluster: OwnCluster, there: Namespace, broken: str
) -> None:
    there.apply(deployment("app", 1, node=broken))
    there.rolled_out("app")
    there("create", "poddisruptionbudget", "app", "--selector=app=app", "--min-available=1")
    with pytest.raises(KubectlError, match=r"disruption budget|timeout"):
        own_cluster.drain(broken, seconds=8)
    assert set(_places(there).values()) == {broken}


@pytest.mark.parametrize("loss", ["power", "cable"])
def test_the_pods_of_a_lost_node_come_up_elsewhere_and_it_comes_back(
    own_cluster: OwnCluster, there: Namespace, first: str, broken: str, loss: str
) -> None:
    there.apply(deployment("app", 2), service("app"), pod("client", node=first))
    there.rolled_out("app")
    there.ready("client")
    assert set(_places(there).values()) == {first, broken}
    (own_cluster.power_off if loss == "power" else own_cluster.cut_off)(broken)
    own_cluster.wait_silent(broken)
    eventually(
        lambda: _all_on(there, first, 2),
        seconds=120,
        what="both pods are on one node",
        pause_seconds=0.3,
    )
    assert there.get("client", "http://app/ok")
    (own_cluster.power_on if loss == "power" else own_cluster.reconnect)(broken)
    own_cluster.wait_ready(broken)
    there.apply(pod("after", node=broken))
    there.ready("after", seconds=120)
    assert there.get("after", "http://app/ok")


def test_gpus_are_given_out_one_by_one_and_who_finds_none_waits(
    own_cluster: OwnCluster, there: Namespace
) -> None:
    for number in (1, 2, 3):
        there.apply(pod(f"gpu-{number}", limits={"nvidia.com/gpu": "1"}))
        if number < 3:
            there.ready(f"gpu-{number}")
    nodes = {there.pod(f"gpu-{number}")["spec"]["nodeName"] for number in (1, 2)}
    assert sorted(nodes) == own_cluster.nodes()
    there.wait("pod/gpu-3", "condition=PodScheduled=False")
    conditions = there.pod("gpu-3")["status"]["conditions"]
    assert any("Insufficient nvidia.com/gpu" in c.get("message", "") for c in conditions)
    there("delete", "pod", "gpu-1")
    there.ready("gpu-3")


@pytest.mark.parametrize("program", ["kubelet", "containerd"])
def test_a_pod_does_not_notice_that_a_program_of_its_node_is_killed(
    own_cluster: OwnCluster, there: Namespace, broken: str, program: str
) -> None:
    there.apply(pod("calm", node=broken), service("calm"))
    there.ready("calm")
    before = _container(there, "calm")
    killed = own_cluster.pid(broken, program)
    own_cluster.kill(broken, program)
    eventually(
        lambda: own_cluster.pid(broken, program) not in {None, killed},
        what=f"another {program} runs",
    )
    there.apply(pod("after", node=broken))
    there.ready("after", seconds=120)
    assert there.get("after", "http://calm/ok").split() == ["calm"]
    assert _container(there, "calm") == before


def test_gpus_are_still_there_after_the_kubelet_was_killed(
    own_cluster: OwnCluster, there: Namespace, broken: str
) -> None:
    own_cluster.stop(broken)
    own_cluster.wait_silent(broken)
    own_cluster.start(broken)
    own_cluster.wait_ready(broken)
    there.apply(pod("gpu", node=broken, limits={"nvidia.com/gpu": "1"}))
    there.ready("gpu")


def test_a_node_whose_kubelet_is_dead_is_not_ready_and_its_pods_go_on(
    own_cluster: OwnCluster, there: Namespace, first: str, broken: str
) -> None:
    there.apply(pod("calm", node=broken), pod("client", node=first))
    there.ready("calm")
    there.ready("client")
    address = there.pod("calm")["status"]["podIP"]
    own_cluster.stop(broken)
    own_cluster.wait_silent(broken)
    assert there.get("client", f"http://{address}:8080/ok").split() == ["calm"]
    own_cluster.start(broken)
    own_cluster.wait_ready(broken)


def test_a_pod_whose_shim_is_killed_is_started_again(
    own_cluster: OwnCluster, there: Namespace, broken: str
) -> None:
    there.apply(pod("orphan", node=broken), service("orphan"), pod("client"))
    there.ready("orphan")
    there.ready("client")
    before = _container(there, "orphan")
    own_cluster.kill_shim("orphan", there.name)
    eventually(lambda: _container(there, "orphan") != before, seconds=90, what="it is restarted")
    there.ready("orphan", seconds=90)
    assert there.get("client", "http://orphan/ok").split() == ["orphan"]
