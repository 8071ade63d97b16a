"""The real cluster for the tests here: one that is up, or one for this run; root starts it.

It is one for all: these tests break its nodes, so they run one after the other.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import nullcontext, suppress
from pathlib import Path

import pytest

from support.controlplane_build import BuildError
from support.realnode import OwnCluster, RealCluster, running
from support.realnode_build import programs
from support.realnode_pods import Namespace, restricted_namespace
from support.users_cluster import wanted

HERE = Path(__file__).parent
OWN = "own_nodes"


def pytest_configure(config: pytest.Config) -> None:
    """Tell pytest the marker."""
    config.addinivalue_line(
        "markers", f"{OWN}: breaks a node or needs the probe image; left out on a user's cluster"
    )


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """On a user's cluster, leave out what breaks its nodes."""
    if not wanted():
        return
    breaking = [item for item in items if item.get_closest_marker(OWN)]
    items[:] = [item for item in items if item not in breaking]
    config.hook.pytest_deselected(items=breaking)


def pytest_collection_finish(session: pytest.Session) -> None:
    """Build the programs, if need be, where no test's time limit runs and progress is seen."""
    if session.config.option.collectonly or not any(
        HERE in item.path.parents for item in session.items
    ):
        return
    capture = session.config.pluginmanager.getplugin("capturemanager")
    with capture.global_and_fixture_disabled() if capture else nullcontext(), suppress(BuildError):
        programs()  # what fails here fails the tests, with its one line


@pytest.fixture(scope="session")
def real_cluster() -> Iterator[RealCluster]:
    """A cluster with real nodes."""
    with running() as cluster:
        yield cluster


@pytest.fixture
def own_cluster(real_cluster: RealCluster) -> OwnCluster:
    """A cluster whose nodes a test may break, and mends again; the test is marked `own_nodes`."""
    assert isinstance(real_cluster, OwnCluster)
    return real_cluster


@pytest.fixture
def there(own_cluster: OwnCluster) -> Iterator[Namespace]:
    """A namespace of this test's own, that enforces Pod Security "restricted"."""
    with restricted_namespace(own_cluster.kubectl) as namespace:
        yield namespace
