"""Volume claims of the default storage class."""

from __future__ import annotations

from pathlib import Path

import pytest

from support.kubectl import KubectlError
from support.realnode import OwnCluster
from support.realnode_pods import GROUP, Namespace, claim, pod
from support.waiting import eventually

pytestmark = pytest.mark.own_nodes


def _using(name: str, claim_name: str, node: str = "") -> dict[str, object]:
    volume = {"persistentVolumeClaim": {"claimName": claim_name}}
    return pod(name, node=node, volumes={"/data": volume})


def _folder(cluster: OwnCluster, there: Namespace, claim_name: str) -> Path:
    volume = there("get", "pvc", claim_name, "--output=jsonpath={.spec.volumeName}")
    return cluster.state / "volumes" / volume


def test_a_claim_is_bound_and_keeps_its_data_from_pod_to_pod(
    own_cluster: OwnCluster, there: Namespace
) -> None:
    there.apply(claim("data"), _using("first", "data"))
    there.ready("first")
    there.probe("first", "text", "/data/file", "kept")
    there("delete", "pod", "first")
    there.apply(_using("second", "data"))
    there.ready("second")
    assert there.probe("second", "text", "/data/file") == "kept\n"
    assert _folder(own_cluster, there, "data").stat().st_gid == GROUP


def test_a_claim_of_one_node_keeps_its_pods_there(
    own_cluster: OwnCluster, there: Namespace
) -> None:
    first, other = own_cluster.nodes()
    there.apply(claim("data"), _using("writer", "data", first))
    there.ready("writer")
    there.apply(_using("elsewhere", "data", other))
    there.wait("pod/elsewhere", "condition=PodScheduled=False")


def test_a_claim_for_many_nodes_is_one_folder_on_all_of_them(
    own_cluster: OwnCluster, there: Namespace
) -> None:
    first, other = own_cluster.nodes()
    there.apply(
        claim("shared", mode="ReadWriteMany"),
        _using("writer", "shared", first),
        _using("reader", "shared", other),
    )
    there.ready("writer")
    there.ready("reader")
    there.probe("writer", "text", "/data/file", "for both")
    assert there.probe("reader", "text", "/data/file") == "for both\n"


def test_a_folder_goes_with_its_claim(own_cluster: OwnCluster, there: Namespace) -> None:
    there.apply(claim("data"), _using("user", "data"))
    there.ready("user")
    folder = _folder(own_cluster, there, "data")
    assert folder.is_dir()
    there("delete", "pod/user", "pvc/data")
    eventually(lambda: not folder.exists(), what="the folder is gone")
    with pytest.raises(KubectlError, match="NotFound"):
        there("get", "persistentvolume", folder.name)
