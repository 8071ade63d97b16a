"""The control plane that the other tests here stand on."""

from __future__ import annotations

import pytest

from support.controlplane import COMPONENTS, ControlPlane, server_version
from support.controlplane_build import kubernetes_version
from support.users_cluster import UsersCluster

own_control_plane = pytest.mark.own_control_plane


@own_control_plane
def test_every_program_says_its_version(own_control_plane: ControlPlane) -> None:
    """The API server and kubectl say the release that the sources name."""
    said = own_control_plane.kubectl.json("version")
    assert server_version(own_control_plane.kubectl) == f"v{kubernetes_version()}"
    assert said["clientVersion"]["gitVersion"] == f"v{kubernetes_version()}"
    assert said["serverVersion"]["gitVersion"] == f"v{kubernetes_version()}"
    for name in COMPONENTS[1:]:
        assert kubernetes_version() in own_control_plane.logs(name)


def test_a_service_account_is_nobody_else(control_plane: ControlPlane | UsersCluster) -> None:
    """A service account's kubeconfig may do nothing that no role gives it."""
    account = control_plane.kubectl.signed_in(control_plane.kubeconfig_for("default", "default"))
    assert account.run("auth", "can-i", "list", "pods").stdout.strip() == "no"
    assert control_plane.kubectl("auth", "can-i", "list", "pods").strip() == "yes"


@own_control_plane
def test_what_is_written_survives_the_api_server(own_control_plane: ControlPlane) -> None:
    """An object is there after the API server and etcd were killed and started again."""
    kubectl = own_control_plane.kubectl
    kubectl("create", "configmap", "kept", "--from-literal=a=b")
    own_control_plane.kill("kube-apiserver")
    assert "refused" in kubectl.run("get", "configmaps").stderr
    own_control_plane.kill("etcd")
    own_control_plane.start("etcd")
    own_control_plane.start("kube-apiserver")
    assert kubectl.json("get", "configmap", "kept")["data"] == {"a": "b"}
