"""Services, names and what no pod can reach, on a real network."""

from __future__ import annotations

import re
from concurrent.futures import ThreadPoolExecutor

import pytest

from support.kubectl import KubectlError
from support.realnode import OwnCluster
from support.realnode_config import HOST_ADDRESS
from support.realnode_pods import Namespace, deployment, pod, service

pytestmark = pytest.mark.own_nodes


def test_a_service_is_found_by_name_and_answers_from_both_nodes(
    own_cluster: OwnCluster, there: Namespace
) -> None:
    there.apply(deployment("app", 2), service("app"), pod("client"))
    there.rolled_out("app")
    there.ready("client")
    serving = {one["spec"]["nodeName"]: one["metadata"]["name"] for one in there.pods("app")}
    assert sorted(serving) == own_cluster.nodes()
    for address in ("app", f"app.{there.name}.svc.cluster.local"):
        there.get("client", f"http://{address}/ok")
        answers = {
            there.probe("client", "get", f"http://{address}/ok").split()[0] for _ in "x" * 12
        }
        assert answers == set(serving.values())


def test_a_pod_reaches_itself_through_its_service(there: Namespace) -> None:
    there.apply(pod("alone"), service("alone"))
    there.ready("alone")
    # Its bare name is its own address: /etc/hosts says so.
    assert there.get("alone", f"http://alone.{there.name}/ok").split() == ["alone"]


def test_a_rolling_update_loses_no_request(there: Namespace) -> None:
    there.apply(deployment("app", 2, env={"VERSION": "1"}), service("app"), pod("client"))
    there.rolled_out("app")
    there.ready("client")
    assert there.get("client", "http://app/ok").split()[1] == "1"
    with ThreadPoolExecutor(1) as beside:
        load = beside.submit(there.probe, "client", "load", "http://app/ok", "25")
        there.apply(deployment("app", 2, env={"VERSION": "2"}))
        there.rolled_out("app", seconds=60)
        answered, failed = map(int, load.result().split())
    assert there.probe("client", "get", "http://app/ok").split()[1] == "2"
    assert answered > 100
    assert failed == 0


@pytest.mark.parametrize("address", ["198.51.100.1:80", "1.1.1.1:53", f"{HOST_ADDRESS}:22"])
def test_a_pod_has_no_way_out(there: Namespace, address: str) -> None:
    there.apply(pod("inside"))
    there.ready("inside")
    refused = re.compile("unreachable|refused|timeout")
    with pytest.raises(KubectlError, match=refused):
        there.probe("inside", "dial", address)


def test_names_outside_the_cluster_do_not_exist(there: Namespace) -> None:
    there.apply(pod("inside"))
    there.ready("inside")
    with pytest.raises(KubectlError, match="no such host"):
        there.probe("inside", "get", "http://example.org/")
