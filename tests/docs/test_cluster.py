"""The commands of the documents on two real nodes, from the quickstart to the end of it all.

The documents are one journey: each begins with what the one before it has left. Nothing in them is
changed: the nodes have the images of this checkout under the names that the chart uses.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from support.chart import run_helm
from support.document_runs import chart_images, cluster_environment, renamed
from support.documents import documents, run, script
from support.go_programs import ROOT
from support.kubectl import Kubectl
from support.realnode import OwnCluster, running
from support.release import IMAGES, archives

RUNNER = "cluster"
JOURNEY = (
    "docs/quickstart.md",
    "docs/operator.md",
    "docs/troubleshooting.md",
    *sorted(f"docs/runbooks/{path.name}" for path in (ROOT / "docs/runbooks").glob("Data*.md")),
    "helm/data-miner/README.md",
    "docs/upgrade.md",
)
"""The last one takes the installation away."""
CRD = "miningprojects.data-miner.io"
RESTRICTED = "pod-security.kubernetes.io/enforce"
LEFT = ("--selector=app.kubernetes.io/instance=data-miner", "--namespace=default")


@dataclass(slots=True)
class Journey:
    """A cluster, and how far the documents have come on it."""

    kubectl: Kubectl
    environment: dict[str, str]
    folder: Path
    ended: list[str] = field(default_factory=list)


@pytest.fixture(scope="module")
def journey(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Journey]:
    """A cluster that has the images, and in which Pod Security refuses what is not restricted."""
    with running() as cluster:
        assert isinstance(cluster, OwnCluster)
        place, names = tmp_path_factory.mktemp("images"), chart_images()
        for image, archive in zip(IMAGES, archives(), strict=True):
            copy = renamed(archive, names[image], place / f"{image}.tar")
            cluster.load(copy)
            copy.unlink()
        kubectl = cluster.kubectl
        kubectl("label", "--overwrite", "namespace", "default", f"{RESTRICTED}=restricted")
        home = tmp_path_factory.mktemp("home")
        yield Journey(kubectl, cluster_environment(kubectl, home), folder)
        _take_away(kubectl)


def _take_away(kubectl: Kubectl) -> None:
    """What is left when a document did not come to its end."""
    run_helm(
        *("uninstall", "data-miner", "--namespace=default", "--ignore-not-found", "--wait"),
        env={"KUBECONFIG": str(kubectl.kubeconfig)},
    )
    kubectl.run("delete", "pvc,secret,job", *LEFT, seconds=120)
    kubectl.run("delete", "crd", CRD, "--ignore-not-found", seconds=120)
    kubectl.run("label", "namespace", "default", f"{RESTRICTED}-")


def test_every_document_that_needs_a_cluster_is_on_the_journey() -> None:
    """And none is on it that has no commands for one."""
    assert {name for name in documents() if script(name, RUNNER)} == set(JOURNEY)


@pytest.mark.timeout(900)
@pytest.mark.parametrize("document", JOURNEY)
def test_the_commands_do_what_the_document_says(journey: Journey, document: str) -> None:
    """Literally, in their order, in one shell."""
    before = list(JOURNEY[: JOURNEY.index(document)])
    if journey.ended[: len(before)] != before:
        pytest.fail(f"this one follows {before[-1]}, which did not come to its end")
    print(run(script(document, RUNNER), journey.folder, journey.environment))  # noqa: T201
    journey.ended.append(document)


def test_the_journey_leaves_nothing_behind(journey: Journey) -> None:
    """Neither volumes nor Secrets nor the definition are left when the last document has ended."""
    assert journey.ended == list(JOURNEY)
    assert not journey.kubectl("get", "pvc,secret,all", *LEFT, "--output=name")
    assert CRD not in journey.kubectl("get", "crd", "--output=name")
