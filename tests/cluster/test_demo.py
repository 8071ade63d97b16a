"""`kubectl apply` of the demo project, as in the documentation."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from support.cluster import Cluster
from support.installation import Installation, installation_in
from support.node import ProcessNode
from support.product import DEMO_PROJECT, Product


@pytest.fixture
def installation(
    cluster: Cluster, node: ProcessNode, tmp_path: Path, migrated_url: str
) -> Iterator[Installation]:
    with installation_in(cluster, node, tmp_path, database_url=migrated_url) as running:
        yield running


@pytest.fixture
def laptop_digest(tmp_path: Path) -> str:
    """What `data-miner run` makes of the same file."""
    mined = Product(tmp_path / "laptop").mine(DEMO_PROJECT)
    return str(mined["dataset"]["digest"])


def test_applied_as_documented_it_gives_the_dataset_of_a_laptop(
    installation: Installation, laptop_digest: str
) -> None:
    """Applied, waited for, and the digest is that of `data-miner run`; then an unchanged apply
    writes nothing, and an edited prompt runs nothing before the filter."""
    cluster = installation.cluster
    kubectl = cluster.kubectl
    installation.pool(max_replicas="2", idle_seconds="1", target_drain_seconds="5")
    namespace = ("-n", cluster.namespace)

    kubectl("apply", *namespace, "-f", str(DEMO_PROJECT))
    kubectl(
        "wait", *namespace, "--for=condition=Complete", "--timeout=240s", "mp/demo", seconds=250
    )

    done = installation.project()
    assert done["status"]["dataset"]["digest"] == laptop_digest == installation.digest()
    assert done["status"]["images"]["kept"] == 6
    assert done["status"]["progress"] == 100
