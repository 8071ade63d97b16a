"""Fixtures of a real control plane; one a test process, started on first use.

A suite that wants them imports them into its conftest.py.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import count
from pathlib import Path
from secrets import token_hex

import pytest

from support.cluster import Cluster, fresh_namespace, install_crds
from support.controlplane import ControlPlane, control_plane_in
from support.kube_client import KubeClient, access_of
from support.node import NodeSpec, ProcessNode
from support.users_cluster import UsersCluster, users_cluster, wanted

_numbers = count(1)


@pytest.fixture(scope="session")
def control_plane(
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[ControlPlane | UsersCluster]:
    """This test process's own control plane, or the user's cluster where one is named.

    Without Go it fails with the line that installs it.
    """
    home: Path = tmp_path_factory.mktemp("control-plane")
    with users_cluster(home) if wanted() else control_plane_in(home) as plane:
        yield plane


@pytest.fixture(scope="session")
def api(control_plane: ControlPlane | UsersCluster) -> Iterator[KubeClient]:
    """The API server, as an administrator."""
    client = KubeClient(access_of(control_plane.kubeconfig))
    yield client
    client.close()


@pytest.fixture(scope="session")
def crds(control_plane: ControlPlane | UsersCluster, api: KubeClient) -> None:
    """The API server knows what is in `crds/`."""
    install_crds(Cluster(api, control_plane.kubectl, "default"))


@pytest.fixture
def node_spec() -> NodeSpec:
    """What this test's node offers; a test file overrides it for another one."""
    name = f"process-node-{token_hex(4)}" if wanted() else "process-node"
    return NodeSpec(name, tainted=wanted())


@pytest.fixture
def node(api: KubeClient, node_spec: NodeSpec, tmp_path: Path) -> Iterator[ProcessNode]:
    """A node that runs this test's pods as processes; the only one on a control plane of ours."""
    with ProcessNode(api.access, tmp_path / "node", node_spec) as running:
        yield running


@pytest.fixture
def namespace(api: KubeClient, node: ProcessNode) -> Iterator[str]:
    """A namespace of this test's own."""
    with fresh_namespace(api, f"test-{next(_numbers)}-{token_hex(3)}") as name:
        yield name


@pytest.fixture
def cluster(
    control_plane: ControlPlane | UsersCluster,
    api: KubeClient,
    crds: None,
    node: ProcessNode,
    namespace: str,
) -> Cluster:
    """The cluster with this test's namespace and node, and our own kinds of objects."""
    return Cluster(api, control_plane.kubectl, namespace, node.name)
