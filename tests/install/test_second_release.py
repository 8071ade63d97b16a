"""Two releases in one cluster: each has projects, rows, pods and pools of its own."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import pytest

from support.product import DEMO_PROJECT, Product
from support.realnode import OwnCluster
from support.release import HASTY, Release, alone

POOL: Final = "data-miner-worker-default"
FIRST: Final = "first"
SECOND: Final = "second"
CLIENTS: Final = "clients-of-second"
SCALING: Final = {"workers": {"defaults": {"scaling": HASTY}}}


@pytest.fixture(scope="module")
def both(
    real_nodes: OwnCluster, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[Release, Release]]:
    """The first serves its own namespace and, though the second is installed there, the second's;
    the second serves one of its clients.
    """
    homes = [tmp_path_factory.mktemp(name) for name in (FIRST, SECOND)]
    for namespace in (SECOND, CLIENTS):
        real_nodes.kubectl("create", "namespace", namespace)
    served = {"namespaces": [FIRST, SECOND]}
    with alone(real_nodes, homes[0], FIRST, operator=served, **SCALING) as first:
        first.install()
        beside = {"crds": {"enabled": False}, "operator": {"namespaces": [CLIENTS]}}
        with alone(real_nodes, homes[1], SECOND, **beside, **SCALING) as second:
            second.install()
            yield first, second
    real_nodes.kubectl("delete", "namespace", CLIENTS, "--wait=false")


@pytest.fixture(scope="module")
def expected_digest(tmp_path_factory: pytest.TempPathFactory) -> str:
    """What a laptop makes of the demo."""
    mined = Product(tmp_path_factory.mktemp("laptop") / "home").mine(DEMO_PROJECT)
    return str(mined["dataset"]["digest"])


def generation(release: Release) -> int:
    """Of the pool's Deployment: it counts the changes of its spec, replicas included."""
    found = release.kubectl.json("get", "deployment", POOL, f"--namespace={release.namespace}")
    return int(found["metadata"]["generation"])


def rows(release: Release) -> list[str]:
    """Namespaces of the projects that its database knows."""
    return list(release.sql("SELECT DISTINCT namespace FROM projects ORDER BY 1"))


def miners(release: Release) -> set[str]:
    """Pools' pods that made the results in its database."""
    return set(release.sql("SELECT DISTINCT processed_by FROM results"))


def worked(release: Release) -> set[str]:
    """Names of all pods that its pool's ReplicaSets have made."""
    found = release.kubectl.json("get", "events", f"--namespace={release.namespace}")["items"]
    return {
        str(event["message"]).rpartition(" ")[2]
        for event in found
        if event["reason"] == "SuccessfulCreate" and POOL in event["involvedObject"]["name"]
    }


@pytest.mark.timeout(900)
@pytest.mark.parametrize("who", [0, 1], ids=["the first", "the second"])
def test_a_release_mines_its_own_projects_with_its_own_pool_and_leaves_the_other_alone(
    both: tuple[Release, Release], who: int, expected_digest: str
) -> None:
    """The project of the first lies where the second is installed: its operator sees that pool."""
    mine, other = both[who], both[1 - who]
    namespace = (SECOND, CLIENTS)[who]
    for release in both:
        release.sized(POOL, 0)
    before, known = generation(other), rows(other)

    mine.apply(DEMO_PROJECT, namespace=namespace)
    done = mine.complete("demo", namespace=namespace, seconds=300)
    mine.sized(POOL, 0)

    assert done["status"]["dataset"]["digest"] == expected_digest
    assert generation(other) == before, "the other's pool was scaled"
    assert rows(other) == known
    assert rows(mine) == [namespace]
    assert miners(mine) <= worked(mine)
    assert not miners(mine) & worked(other)


def refused(release: Release, *arguments: str) -> str:
    """What helm says of an installation that it refuses."""
    with pytest.raises(AssertionError) as told:
        release.install(*arguments)
    return str(told.value)


@pytest.mark.timeout(300)
@pytest.mark.parametrize(
    ("namespace", "served", "said"),
    [
        ("third", [], f"{FIRST}/data-miner-operator serves {FIRST}, {SECOND} already"),
        ("third", [CLIENTS], f"{SECOND}/data-miner-operator serves {CLIENTS} already"),
        (FIRST, [FIRST], f"{FIRST}/data-miner-operator serves {FIRST} already"),
    ],
    ids=["everything", "a client of another", "beside another in one namespace"],
)
def test_a_release_that_would_serve_what_another_serves_is_refused(
    both: tuple[Release, Release], tmp_path: Path, namespace: str, served: list[str], said: str
) -> None:
    values: dict[str, Any] = {"crds": {"enabled": False}, "operator": {"namespaces": served}}
    third = Release(both[0].cluster, tmp_path, namespace, "third-data-miner", values)

    assert said in refused(third, "--create-namespace", "--dry-run=server")
