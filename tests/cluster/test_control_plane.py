"""The control plane that the other tests here stand on."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from support.cluster import Cluster, on_node
from support.controlplane import COMPONENTS, ControlPlane, server_version
from support.controlplane_build import kubernetes_version
from support.node import ProcessNode
from support.users_cluster import UsersCluster
from support.waiting import eventually
from support.worker import alive

ROOT = Path(__file__).parents[2]

own_control_plane = pytest.mark.own_control_plane


def phase(pod: dict[str, Any] | None) -> str:
    return str((pod or {}).get("status", {}).get("phase"))


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


@own_control_plane
def test_pods_go_on_without_the_api_server(
    own_control_plane: ControlPlane, cluster: Cluster, node: ProcessNode
) -> None:
    """While the API server is away processes run and end; afterwards it learns how."""
    code = "import pathlib, time\nwhile not pathlib.Path('go').exists(): time.sleep(0.01)"
    container = {"name": "main", "image": "none", "command": ["python", "-c", code]}
    cluster.apply(
        {
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {"name": "alone"},
            "spec": {"restartPolicy": "Never", "containers": [container], **on_node(node.name)},
        }
    )
    eventually(lambda: "alone" in node.pids(), what="it runs")
    own_control_plane.kill("kube-apiserver")
    try:
        (folder,) = node.folder.glob("*/alone.*")
        (folder / "go").touch()
        eventually(lambda: node.pids() == {}, what="it has ended")
    finally:
        own_control_plane.start("kube-apiserver")
    cluster.wait("Pod", "alone", lambda pod: phase(pod) == "Succeeded", what="told")


def test_nothing_outlives_who_started_it(tmp_path: Path) -> None:
    """What a killed test process had started is killed with it."""
    code = (
        "import sys, pathlib; sys.path.insert(0, 'tests'); from support import processes;"
        "log = pathlib.Path(sys.argv[1]);"
        "child = processes.start(['sleep', '600'], environment={'PATH': '/usr/bin:/bin'}, log=log);"
        "print(child.pid, flush=True); sys.stdin.read()"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code, str(tmp_path / "log")],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as parent:
        assert parent.stdout
        child = int(parent.stdout.readline())
        name = Path(f"/proc/{child}/comm")
        eventually(lambda: name.read_text() == "sleep\n", what="it is started for good")
        parent.kill()
    eventually(lambda: not alive(child), what="the child is gone")


def test_without_go_one_line_says_what_to_do() -> None:
    """Where Go is missing or too old, the line names what is needed and how to name another."""
    said = subprocess.run(
        ["scripts/controlplane"],
        cwd=ROOT,
        env={**os.environ, "GO": "/bin/false"},
        capture_output=True,
        text=True,
    )
    assert said.returncode == 1
    assert said.stdout == ""
    assert len(said.stderr.splitlines()) == 1
    assert "Go 1.26 or newer is needed" in said.stderr
    assert "GO=/bin/false is not" in said.stderr
