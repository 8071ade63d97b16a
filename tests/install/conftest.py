"""One installation of the chart for the tests here, on the cluster with real nodes."""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from pathlib import Path

import pytest

from support.product import Product
from support.realnode import OwnCluster, running
from support.release import HASTY, Release, archives
from support.release_chaos import BRITTLE, Mined, long_project


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Who installs for himself comes first: the shared release serves every namespace, and a
    namespace has one operator."""
    items.sort(key=lambda item: "release" in getattr(item, "fixturenames", ()))


@pytest.fixture(scope="session")
def real_nodes() -> Iterator[OwnCluster]:
    """A cluster of our own, with the images of this checkout on both nodes."""
    with running() as cluster:
        assert isinstance(cluster, OwnCluster)
        cluster.load(*archives())
        yield cluster


@pytest.fixture(scope="session")
def release(real_nodes: OwnCluster, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Release]:
    """The chart, installed with pools that make up their minds in seconds."""
    # What lies on one node's disk lies on the first one's, so that tests may break the second.
    there = {"embedded": {"nodeSelector": {"kubernetes.io/hostname": real_nodes.nodes()[0]}}}
    made = Release(
        real_nodes,
        tmp_path_factory.mktemp("release"),
        values={
            "workers": {"defaults": {"scaling": HASTY}},
            "database": there,
            "storage": there,
        },
    )
    made.prepare()
    seconds = made.install()
    print(f"\ninstalled and Ready after {seconds:.0f} s")  # noqa: T201 - for who measures
    yield made
    made.helm("uninstall", made.name, "--wait")
    made.kubectl("delete", "namespace", made.namespace, "--wait", seconds=180)


@pytest.fixture(scope="session")
def struck_project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project that is long enough to be hit in the middle."""
    return long_project(tmp_path_factory.mktemp("struck"))


@pytest.fixture(scope="session")
def struck_digest(struck_project: Path, tmp_path_factory: pytest.TempPathFactory) -> str:
    """What a laptop, to which nothing happens, makes of it."""
    mined = Product(tmp_path_factory.mktemp("calm") / "home").mine(struck_project)
    return str(mined["dataset"]["digest"])


@pytest.fixture(scope="module")
def brittle(release: Release) -> Iterator[Release]:
    """The release, with short leases and two slow workers on each node."""
    release.install(**BRITTLE)
    yield release
    release.install()


@pytest.fixture
def waiting(
    brittle: Release, struck_project: Path, struck_digest: str, request: pytest.FixtureRequest
) -> Iterator[Mined]:
    """The project in a namespace of this test's own, not applied yet."""
    case = request.node.name.removeprefix("test_")
    there = Mined(brittle, f"struck-{zlib.crc32(case.encode()):x}", struck_project, case)
    yield there
    there.end()


@pytest.fixture
def mined(waiting: Mined) -> Mined:
    """The project, just applied."""
    waiting.begin()
    return waiting


@pytest.fixture
def keeper(real_nodes: OwnCluster) -> Iterator[str]:
    """The node with the database and the store; whatever was done to it, it is mended."""
    yield from _mended(real_nodes, real_nodes.nodes()[0])


@pytest.fixture
def other(real_nodes: OwnCluster) -> Iterator[str]:
    """A node whose disk has nothing of its own; whatever was done to it, it is mended."""
    yield from _mended(real_nodes, real_nodes.nodes()[1])


def _mended(cluster: OwnCluster, node: str) -> Iterator[str]:
    yield node
    if cluster.pid(node) is None:
        cluster.start(node) if cluster.is_on(node) else cluster.power_on(node)
    cluster.reconnect(node)
    cluster.uncordon(node)
    cluster.wait_ready(node)
