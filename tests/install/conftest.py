"""One installation of the chart for the tests here, on the cluster with real nodes."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from support.realnode import OwnCluster, running
from support.release import Release, archives


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
    hasty = {
        "targetDrainSeconds": 10,
        "scaleDownStabilizationSeconds": 5,
        "stepSeconds": 2,
        "idleSeconds": 5,
    }
    made = Release(
        real_nodes,
        tmp_path_factory.mktemp("release"),
        values={"workers": {"defaults": {"scaling": hasty}}},
    )
    made.prepare()
    seconds = made.install()
    print(f"\ninstalled and Ready after {seconds:.0f} s")  # noqa: T201 - for who measures
    yield made
    made.helm("uninstall", made.name, "--wait")
    made.kubectl("delete", "namespace", made.namespace, "--wait", seconds=180)
