"""Worker pools on a real control plane, with real workers in them."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from support.controlplane import ControlPlane
from support.kube_client import KubeClient
from support.node import LABEL, ProcessNode
from support.product import DEMO_PROJECT, Product
from support.users_cluster import UsersCluster
from support.waiting import eventually
from support.workshop import LONG, QUICK, Workshop, workshop_in

SHRINKS = int(os.environ.get("DATA_MINER_TEST_SHRINKS", "8"))
"""How often the pool of the last test shrinks while it works."""


@pytest.fixture(scope="module")
def shared(
    control_plane: ControlPlane | UsersCluster,
    api: KubeClient,
    crds: None,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Workshop]:
    """One installation for this file."""
    with workshop_in(control_plane, api, tmp_path_factory.mktemp("workshop")) as made:
        yield made


@pytest.fixture
def workshop(shared: Workshop) -> Iterator[Workshop]:
    """It, empty: without pools and projects."""
    yield shared
    shared.clear()


def test_a_gpu_pool_goes_from_nothing_to_what_its_backlog_needs_and_back(
    workshop: Workshop, tmp_path: Path
) -> None:
    """Two pools share the demo, one of them on GPUs: it is there only while it has work, and the
    dataset is that of a laptop."""
    installation = workshop.installation
    installation.pool("cpu", stages="cpu", max_replicas="2", **QUICK)
    installation.pool("gpu", stages="gpu", max_replicas="2", gpus=1, **QUICK)

    with workshop.sizes("gpu") as sizes:
        installation.apply_demo()
        installation.complete()
        workshop.sized("gpu", 0)

    assert next(iter(sizes)) == 0
    assert 1 <= max(sizes) <= 2
    assert workshop.notes("gpu", "Backlog")[0].startswith("0 → ")
    assert workshop.notes("gpu", "Idle")[0].startswith("1 → 0: ")
    ran = installation.rows("SELECT DISTINCT stage, processed_by FROM results ORDER BY 1")
    assert {row.stage for row in ran if row.processed_by.startswith("gpu-")} == {
        "embed", "dedup_embed", "detect"
    }  # fmt: skip
    laptop = Product(tmp_path / "laptop").mine(DEMO_PROJECT)
    assert installation.digest() == laptop["dataset"]["digest"]


def test_pods_that_find_no_gpu_are_reported_and_not_multiplied_until_there_is_one(
    workshop: Workshop, api: KubeClient, tmp_path: Path
) -> None:
    """Four are wanted where two GPUs are: two work, one waits, the project and an Event say why.
    With more GPUs it goes on."""
    workshop.pool("helpers", "discover,extract")
    workshop.pool("gpu", "download", max_replicas="4", gpus=1)

    with workshop.sizes("gpu") as sizes:
        workshop.apply("many", 8, "gate=many")
        message = workshop.told("many", "WorkersAvailable", "False", "Unschedulable")
        workshop.sized("gpu", 3)
        eventually(lambda: len(workshop.pods("gpu")) == 3, seconds=LONG, what="one gives up")
        eventually(lambda: workshop.at_gate("many") == 2, seconds=LONG, what="two at work")
        waiting = {pod["metadata"]["name"] for pod in workshop.pods("gpu")}
        workshop.steps(5)

        assert "nvidia.com/gpu" in message
        assert workshop.blocked("Unschedulable") == 1
        assert any("nvidia.com/gpu" in note for note in workshop.notes("gpu", "Unschedulable"))
        assert {pod["metadata"]["name"] for pod in workshop.pods("gpu")} == waiting
        assert list(sizes) == [0, 4, 3]

        more = replace(workshop.installation.node.spec, name=f"{workshop.cluster.node}-more",
                       labels={LABEL: workshop.cluster.node})  # fmt: skip
        with ProcessNode(api.access, tmp_path / "more", more):
            workshop.told("many", "WorkersAvailable", "True", "Available")
            eventually(lambda: workshop.at_gate("many") == 4, seconds=LONG, what="four at work")
            eventually(lambda: list(sizes) == [0, 4, 3, 4], what="four wanted")
            workshop.open("many")
            workshop.installation.complete("many")
            workshop.sized("gpu", 0)


def test_workers_that_crash_are_reported_and_not_multiplied_until_they_are_mended(
    workshop: Workshop,
) -> None:
    """A worker that cannot start keeps ending: the pool stays as it is and says so. Mended, its
    new pods do the work."""
    workshop.pool("broken", "default", max_replicas="3", command=["sh", "-c", "exit 3"], args=[])

    with workshop.sizes("broken") as sizes:
        workshop.apply("one", 1, "gate=one")
        workshop.told("one", "WorkersAvailable", "False", "CrashLooping")
        names = {pod["metadata"]["name"] for pod in workshop.pods("broken")}
        workshop.steps(5)

        assert workshop.blocked("CrashLooping") == 1
        assert workshop.notes("broken", "CrashLooping")
        assert {pod["metadata"]["name"] for pod in workshop.pods("broken")} == names
        assert list(sizes) == [0, 1]

    workshop.pool("broken", "default", replicas=1, max_replicas="3")
    workshop.told("one", "WorkersAvailable", "True", "Available")
    workshop.open("one")
    workshop.installation.complete("one")


def test_what_nobody_can_count_changes_no_pool(workshop: Workshop) -> None:
    """PostgreSQL is away: busy pools and idle ones stay as they are. It is back: they work on."""
    workshop.pool("busy", "default", max_replicas="2")
    workshop.apply("some", 2, "gate=some")
    eventually(lambda: workshop.at_gate("some") == 2, seconds=LONG, what="two at work")

    with workshop.sizes("busy") as sizes:
        workshop.installation.kill_database()
        workshop.told("some", "DatabaseReachable", "False", "Unreachable")
        eventually(lambda: workshop.blocked("DatabaseAway") == 1, seconds=LONG)
        workshop.steps(5)
        workshop.installation.start_database()
        eventually(lambda: workshop.blocked("DatabaseAway") == 0, seconds=LONG)
        workshop.told("some", "DatabaseReachable", "True", "Connected")
        workshop.steps(5)

        assert list(sizes) == [2]
    workshop.open("some")
    workshop.installation.complete("some")


def test_a_pool_of_another_autoscaler_is_left_alone_and_a_users_scale_stands_for_a_window(
    workshop: Workshop,
) -> None:
    """One pool belongs to an HPA, and is neither scaled nor marked. The other one is scaled by
    hand: its workers hand their work back unharmed, and after a window need decides again."""
    workshop.pool("theirs", "download", replicas=1, max_replicas="4", autoscaler="hpa")
    workshop.pool("ours", "default", max_replicas="4", scale_down_stabilization_seconds="6")

    with workshop.sizes("theirs") as theirs, workshop.sizes("ours") as ours:
        workshop.apply("five", 5, "gate=five")
        eventually(lambda: workshop.at_gate("five") == 5, seconds=LONG, what="five at work")
        workshop.cluster.scale("ours", 2)
        eventually(lambda: workshop.blocked("ScaledByHand") == 1, seconds=LONG)
        workshop.sized("ours", 4)

        eventually(lambda: list(ours)[-2:] == [2, 4], what="both changes")
        (_, (by_hand, _), (need, _)) = ours.seen[-3:]
        assert need - by_hand >= 6.0
        assert workshop.notes("ours", "ScaledByHand")
        assert list(theirs) == [1]
        assert workshop.notes("theirs", "OtherAutoscaler")
        (pod,) = workshop.pods("theirs")
        assert not any("deletion-cost" in name for name in pod["metadata"].get("annotations", {}))

    workshop.open("five")
    workshop.installation.complete("five")
    assert workshop.installation.used_attempts() == 0


@pytest.mark.timeout(300 + 30 * SHRINKS)
def test_a_pool_that_shrinks_under_load_harms_no_work(workshop: Workshop) -> None:
    """Need falls and rises again and again while all workers are busy: none is stopped with work
    in hand, no attempt is used, and nothing is begun twice."""
    installation = workshop.installation
    before = installation.used_attempts()
    workshop.pool("helpers", "discover", max_replicas="1")
    workshop.pool("crew", "download,extract", max_replicas="5")
    videos = 60 + 20 * SHRINKS
    workshop.apply("long", videos, "last=0.5:hurry&extract-last=0.5:hurry")

    with workshop.sizes("crew") as sizes:
        while sizes.shrinks < SHRINKS:
            workshop.ready("crew", 5)
            workshop.cluster.annotate("Deployment", "crew", target_drain_seconds="86400")
            workshop.sized("crew", 1)
            workshop.cluster.annotate("Deployment", "crew", target_drain_seconds="10")
        assert workshop.interrupted("crew") == 0
        left = videos * 2 - sum(workshop.begun("hurry").values())

    assert left > 10, "the work ended before the pool had shrunk often enough under it"
    workshop.open("hurry")
    installation.complete("long", seconds=600)
    assert installation.used_attempts() == before
    assert set(workshop.begun("hurry").values()) == {1}
    assert len(workshop.begun("hurry")) == 2 * videos
    assert workshop.operator.metric("dataminer_scale_stopped_busy") == 0
    print(f"{sizes.shrinks} shrinks, {2 * videos} tasks")  # noqa: T201
