"""What happens to a pod on a real node."""

from __future__ import annotations

import time

import pytest

from support.kubectl import KubectlError
from support.realnode import OwnCluster
from support.realnode_pods import GROUP, USER, Namespace, pod
from support.waiting import eventually

pytestmark = pytest.mark.own_nodes


def _restarted(there: Namespace, name: str, times: int = 1) -> bool:
    return bool(there.pod(name)["status"]["containerStatuses"][0]["restartCount"] >= times)


def test_a_restricted_pod_has_no_rights_at_all(there: Namespace) -> None:
    there.apply(pod("plain"))
    there.ready("plain")
    rights = dict(
        line.split(":", 1) for line in there.probe("plain", "status").splitlines() if ":" in line
    )
    assert rights["Uid"].split() == [str(USER)] * 4
    assert str(GROUP) in rights["Groups"].split()
    assert int(rights["CapEff"], 16) == int(rights["CapBnd"], 16) == 0
    assert rights["NoNewPrivs"].strip() == "1"
    assert rights["Seccomp"].strip() == "2"
    with pytest.raises(KubectlError, match="read-only file system"):
        there.probe("plain", "text", "/written", "something")


def test_a_pod_that_asks_for_root_is_refused(there: Namespace) -> None:
    asking = pod("root")
    asking["spec"]["securityContext"] = {"runAsUser": 0}
    with pytest.raises(KubectlError, match='violates PodSecurity "restricted'):
        there.apply(asking)


def test_a_pod_is_asked_to_end_and_may_finish(there: Namespace) -> None:
    there.apply(pod("tidy", env={"DRAIN_SECONDS": "2"}, grace_seconds=60))
    there.ready("tidy")
    there("delete", "pod", "tidy", "--wait=false")
    eventually(lambda: "drained" in there("logs", "tidy"), what="it says that it is done")
    there.wait("pod/tidy", "delete", seconds=30)


def test_a_pod_that_does_not_end_in_its_grace_is_killed(there: Namespace) -> None:
    there.apply(pod("deaf", env={"DRAIN_SECONDS": "600"}, grace_seconds=3))
    there.ready("deaf")
    asked = time.monotonic()
    there("delete", "pod", "deaf", "--timeout=60s")
    assert 2.5 < time.monotonic() - asked < 30


def test_a_container_above_its_memory_limit_is_oom_killed_and_restarted(there: Namespace) -> None:
    there.apply(pod("greedy", limits={"memory": "64Mi"}))
    there.ready("greedy")
    with pytest.raises(KubectlError):
        there.probe("greedy", "get", "http://127.0.0.1:8080/eat?megabytes=400")
    eventually(
        lambda: _restarted(there, "greedy"), seconds=60, what="it is restarted", pause_seconds=0.3
    )
    ended = there.pod("greedy")["status"]["containerStatuses"][0]["lastState"]["terminated"]
    assert (ended["reason"], ended["exitCode"]) == ("OOMKilled", 137)


def test_a_container_that_is_killed_starts_again_in_its_pod(
    own_cluster: OwnCluster, there: Namespace
) -> None:
    there.apply(pod("victim"))
    there.ready("victim")
    before = there.pod("victim")["metadata"]["uid"]
    own_cluster.kill_container("victim", there.name)
    eventually(
        lambda: _restarted(there, "victim"), seconds=60, what="it is restarted", pause_seconds=0.3
    )
    there.ready("victim")
    assert there.pod("victim")["metadata"]["uid"] == before


def test_a_pod_above_its_ephemeral_storage_is_evicted(there: Namespace) -> None:
    there.apply(
        pod(
            "hoarder",
            *("write", "/scratch/file", "30"),
            limits={"ephemeral-storage": "10Mi"},
            env={"DRAIN_SECONDS": "600"},
            volumes={"/scratch": {"emptyDir": {}}},
        )
    )
    there.wait("pod/hoarder", "jsonpath={.status.phase}=Failed", seconds=120)
    # One that ends by itself in the second that it gets would be a pod that succeeded.
    status = there.pod("hoarder")["status"]
    assert status["reason"] == "Evicted"
    assert "ephemeral" in status["message"]


def test_an_image_that_no_node_has_is_said_to_be_missing(there: Namespace) -> None:
    wrong = pod("wrong")
    wrong["spec"]["containers"][0]["image"] = "localhost/no-such-image:test"
    there.apply(wrong)
    reason = "{.status.containerStatuses[0].state.waiting.reason}"
    there.wait("pod/wrong", f"jsonpath={reason}=ErrImageNeverPull")
