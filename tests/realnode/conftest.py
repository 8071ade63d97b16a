"""The real cluster for the tests here: one that is up, or one for this run; root starts it.

It is one for all: these tests break its nodes, so they run one after the other.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from support.realnode import OwnCluster, RealCluster, running
from support.realnode_build import programs
from support.realnode_pods import Namespace, restricted_namespace
from support.suites import build_first, leave_out_on_a_users_cluster, mark

HERE = Path(__file__).parent
OWN = "own_nodes"


def pytest_configure(config: pytest.Config) -> None:
    """Tell pytest the marker."""
    mark(config, OWN, "breaks a node or needs the probe image")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """On a user's cluster, nothing is broken."""
    leave_out_on_a_users_cluster(config, items, OWN)


def pytest_collection_finish(session: pytest.Session) -> None:
    """Build the programs, if need be."""
    build_first(session, HERE, programs)


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
