"""A real control plane for the tests here; one a test process, started on first use."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from support.api_proxy import ApiProxy
from support.cluster_fixtures import api, cluster, control_plane, crds, namespace, node, node_spec
from support.controlplane import ControlPlane
from support.controlplane_build import binaries
from support.kube_client import KubeClient
from support.suites import build_first, leave_out_on_a_users_cluster, mark
from support.users_cluster import UsersCluster

__all__ = ["api", "cluster", "control_plane", "crds", "namespace", "node", "node_spec"]

HERE = Path(__file__).parent
OWN = "own_control_plane"


def pytest_configure(config: pytest.Config) -> None:
    """Tell pytest the marker."""
    mark(config, OWN, "needs a control plane that may be killed")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """On a user's cluster, nothing is broken."""
    leave_out_on_a_users_cluster(config, items, OWN)


def pytest_collection_finish(session: pytest.Session) -> None:
    """Build the programs, if need be."""
    build_first(session, HERE, binaries)


@pytest.fixture(scope="session")
def own_control_plane(control_plane: ControlPlane | UsersCluster) -> ControlPlane:
    """A control plane whose parts a test may kill; the test is marked `own_control_plane`."""
    assert isinstance(control_plane, ControlPlane)
    return control_plane


@pytest.fixture
def proxy(api: KubeClient, tmp_path: Path) -> Iterator[ApiProxy]:
    """A proxy between one client and the API server."""
    with ApiProxy(api.access, tmp_path / "proxy") as running:
        yield running
