"""A real control plane for the tests here; one a test process, started on first use."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from support.controlplane import ControlPlane, control_plane_in
from support.users_cluster import UsersCluster, users_cluster, wanted

OWN = "own_control_plane"


def pytest_configure(config: pytest.Config) -> None:
    """Tell pytest the marker."""
    config.addinivalue_line(
        "markers", f"{OWN}: needs a control plane that may be killed; left out on a user's cluster"
    )


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """On a user's cluster, leave out the tests that kill parts of it."""
    if not wanted():
        return
    killers = [item for item in items if item.get_closest_marker(OWN)]
    items[:] = [item for item in items if item not in killers]
    config.hook.pytest_deselected(items=killers)


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
def own_control_plane(control_plane: ControlPlane | UsersCluster) -> ControlPlane:
    """A control plane whose parts a test may kill; the test is marked `own_control_plane`."""
    assert isinstance(control_plane, ControlPlane)
    return control_plane
