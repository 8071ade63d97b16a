"""A real Prometheus beside a real installation: what goes wrong is told, and that it is over.

The rules' durations are divided; what they speak of is real: a file that is no video, a site that
refuses, a worker that hangs, a database and a disk that are not there for anybody.
"""

from __future__ import annotations

import json
import math
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from support.controlplane import ControlPlane
from support.dashboards import queries
from support.disk import small_disk
from support.http import WebServer
from support.kube_client import KubeClient
from support.monitored import LONG, Monitored, monitored_in
from support.product import DEMO_MEDIA
from support.users_cluster import UsersCluster
from support.waiting import eventually

DIVISOR = 40.0
CLIP = DEMO_MEDIA / "meadow.mp4"
NO_GPU_HERE = ("dataminer_gpu_", "_gpu_seconds")
"""Parts of metrics that only a machine with a GPU has."""

pytestmark = pytest.mark.timeout(900)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("monitored")


@pytest.fixture(scope="module")
def disk(folder: Path) -> Iterator[Path | None]:
    """The disk of the store, small enough to be filled; None where none may be mounted."""
    place = folder / "data" / "store"
    with small_disk(place, kilobytes=300 << 10) as mounted:
        yield place if mounted else None


@pytest.fixture(scope="module")
def watched(
    control_plane: ControlPlane | UsersCluster,
    api: KubeClient,
    crds: None,
    folder: Path,
    disk: Path | None,
) -> Iterator[Monitored]:
    """One installation with two operators and a worker, and Prometheus, for this file."""
    with monitored_in(control_plane, api, folder, divisor=DIVISOR) as made:
        made.pool(1, env={"DATA_MINER_ALLOW_PRIVATE_ADDRESSES": "1"})
        eventually(lambda: len(made.pods) >= 1, seconds=LONG, what="a worker's pod")
        yield made


@pytest.fixture(scope="module")
def mined(watched: Monitored, folder: Path) -> dict[str, Any]:
    """The demo project, Complete, and another one that took longer; all of it was scraped."""
    installation = watched.installation
    many = folder / "many"
    many.mkdir()
    # So many that it is under way for several looks at it, however fast the machine is.
    for number in range(200):
        # Each its own video: a file's id is its content's.
        (many / f"{number}.mp4").write_bytes(CLIP.read_bytes() + bytes([number]))
    (many / "large.mp4").write_bytes(CLIP.read_bytes() + bytes(2 << 20))
    files = {"files": {"uri": str(many)}}
    installation.cluster.apply(project("long", files, download={"maxBytes": 1 << 20}))
    watched.prometheus.wait_for('dataminer_project_eta_timestamp_seconds{project="long"} > 0')
    installation.apply_demo(target={"images": 6})
    done = installation.complete(seconds=300)
    installation.apply_demo("twin")
    installation.complete("twin")
    installation.complete("long")
    watched.prometheus.wait_for('dataminer_project_phase{project="demo", phase="Complete"} == 1')
    return done


def project(name: str, *sources: dict[str, Any], **spec: Any) -> dict[str, Any]:
    """One that only looks for frames."""
    return {
        "apiVersion": "data-miner.io/v1alpha1",
        "kind": "MiningProject",
        "metadata": {"name": name},
        "spec": {"sources": [*sources], "sampling": {"strategy": "Keyframe"}, **spec},
    }


def test_a_healthy_project_is_mined_and_nobody_is_called(
    watched: Monitored, mined: dict[str, Any]
) -> None:
    """Even with rules that are forty times as quick to complain; what only waits is told of."""
    # What the machine has left on its own disk is nothing that this test could say.
    firing = {
        alert.name
        for alert in watched.prometheus.alert_list()
        if alert.state == "firing" and alert.labels.get("place") != "scratch"
    }
    assert not firing
    health = watched.prometheus.rule_health()
    assert {*health.values()} == {"ok"}, health


def test_status_kubectl_and_prometheus_tell_the_same(
    watched: Monitored, mined: dict[str, Any]
) -> None:
    """Of images, funnel, tasks and progress, once all of it rests."""
    installation, namespace = watched.installation, watched.installation.cluster.namespace
    status = mined["status"]
    told = _status(watched)
    mine = f'{{namespace="{namespace}", project="demo"'

    def value(metric: str, **labels: str) -> float | None:
        more = "".join(f', {name}="{wanted}"' for name, wanted in labels.items())
        return watched.prometheus.value(f"max({metric}{mine}{more}}})")

    assert status["images"]["kept"] == 6
    assert value("dataminer_project_images", kind="kept") == 6
    assert status["progress"] == 100
    assert value("dataminer_project_progress_ratio") == 1
    assert told["phase"]["name"] == status["phase"] == "Complete"
    for step, count in told["funnel"].items():
        assert status["funnel"].get(step, 0) == count
        assert (value("dataminer_project_funnel", step=step) or 0) == count
    by_stage = {stage["name"]: stage for stage in status["stages"]}
    for stage in told["stages"]:
        for state in ("done", "failed", "skipped"):
            name = stage["stage"]
            assert by_stage[name].get(state, 0) == stage[state]
            found = value("dataminer_project_tasks", stage=name, state=state) or 0
            assert found == stage[state]
    for stage, costs in told["stage_costs"].items():
        told_cost = value("dataminer_project_cpu_seconds", stage=stage)
        assert told_cost == pytest.approx(costs["cpu_seconds"])
    line = installation.cluster.kubectl("get", "-n", namespace, "mp", "demo", "--no-headers")
    assert "Complete" in line
    assert "100" in line


def test_what_workers_say_that_they_used_is_what_is_recorded(
    watched: Monitored, mined: dict[str, Any]
) -> None:
    """Within 2 %: the one is summed over processes, the other over results and tries."""
    (row,) = watched.installation.rows("""
        SELECT sum(CAST(cost ->> 'cpu_seconds' AS float8)) FROM (
            SELECT cost FROM results UNION ALL SELECT spent FROM tasks) AS each""")
    counted = watched.prometheus.value("sum(dataminer_stage_cpu_seconds_total)")
    assert row[0] > 1
    assert counted == pytest.approx(row[0], rel=0.02)


def test_a_file_that_is_no_video_stalls_its_project_and_somebody_is_called(
    watched: Monitored, folder: Path
) -> None:
    """Put in order and tried again, it ends, and so does the alert."""
    source = folder / "videos"
    source.mkdir()
    (source / "a.mp4").write_text("no video")
    watched.installation.cluster.apply(project("stuck", {"files": {"uri": str(source)}}))

    watched.fires("DataMinerProjectStalled")

    shutil.copyfile(CLIP, source / "a.mp4")
    watched.installation.cluster.annotate(
        "MiningProject", "stuck", retry_failed=str(time.monotonic())
    )
    watched.installation.complete("stuck")
    watched.ceases("DataMinerProjectStalled")


def test_a_site_that_refuses_everybody_is_told_of(watched: Monitored) -> None:
    """It lets nobody in, then everybody."""
    with WebServer() as web:
        paths = [f"/{number}.webm" for number in range(6)]
        refusing = {"status": 429, "headers": {"Retry-After": "1"}}
        urls = [web.put(path, b"", **refusing) for path in paths]
        watched.installation.cluster.apply(project("blocked", {"urls": {"items": urls}}))

        watched.fires("DataMinerDownloadsBlocked")

        for path in paths:
            web.put(path, CLIP)
        watched.installation.complete("blocked")
        watched.ceases("DataMinerDownloadsBlocked")


def test_a_worker_that_hangs_is_missed(watched: Monitored) -> None:
    """It is there and says nothing; then it goes on."""
    node = watched.installation.node
    assert node.freeze("^all-")

    watched.fires("DataMinerHeartbeatsMissing")

    node.thaw("^all-")
    watched.ceases("DataMinerHeartbeatsMissing")


def test_a_database_that_is_away_is_told_of(watched: Monitored) -> None:
    """By the operator, which can ask it nothing, until it is back."""
    watched.installation.kill_database()

    watched.fires("DataMinerDatabaseUnreachable")

    watched.installation.start_database()
    watched.ceases("DataMinerDatabaseUnreachable")


def test_a_model_that_nobody_has_is_told_of(watched: Monitored) -> None:
    """Until the project names one that is there."""
    filtered = {"filter": {"model": "no-such-model", "positive": ["a ball"]}}
    files = {"files": {"uri": str(DEMO_MEDIA)}}
    watched.installation.cluster.apply(project("modelless", files, **filtered))

    watched.fires("DataMinerModelsNotReady", project="modelless")

    filtered["filter"]["model"] = "tiny-siglip"
    watched.installation.cluster.apply(project("modelless", files, **filtered))
    watched.ceases("DataMinerModelsNotReady")


def test_operators_that_are_gone_are_missed(watched: Monitored) -> None:
    """Both at once; one that comes back is enough."""
    for each in watched.installation.operators:
        each.kill()

    watched.fires("DataMinerOperatorDown")

    for each in watched.installation.operators:
        each.start()
    watched.ceases("DataMinerOperatorDown")


@pytest.mark.skipif(os.geteuid() != 0, reason="an ordinary user may mount no disk to fill")
def test_a_disk_that_fills_up_is_told_of(watched: Monitored, disk: Path | None) -> None:
    """Until there is room again."""
    assert disk is not None
    room = shutil.disk_usage(disk).free
    hog = disk / "hog"
    with hog.open("wb") as file:
        os.posix_fallocate(file.fileno(), 0, int(room * 0.95))

    watched.fires("DataMinerDiskLow", place="store")

    hog.unlink()
    watched.ceases("DataMinerDiskLow", place="store")


def test_every_panel_of_every_dashboard_shows_something(
    watched: Monitored, mined: dict[str, Any]
) -> None:
    """Asked of what was scraped during all of the above."""
    empty = []
    for query in queries(rate_interval="10s"):
        if any(part in query.expression for part in NO_GPU_HERE):
            continue
        found = watched.prometheus.query_range(query.expression, seconds=1800, step_seconds=1)
        shown = [value for series in found for _, value in series.values if math.isfinite(value)]
        if not shown:
            empty.append(f"{query.dashboard}: {query.panel}: {query.expression}")
    assert not empty, "\n".join(empty)


def test_everybody_is_scraped(watched: Monitored, mined: dict[str, Any]) -> None:
    """Both operators and the workers, without an error."""
    found = watched.prometheus.targets()
    assert {target["health"] for target in found} == {"up"}
    assert {target["labels"]["job"] for target in found} == {
        "data-miner-operator",
        "data-miner-worker",
    }


def _status(watched: Monitored) -> dict[str, Any]:
    """What `data-miner status` prints of the demo project."""
    environment = {**os.environ, **watched.installation.worker_environment()}
    said = subprocess.run(
        [sys.executable, "-m", "data_miner.cli.main", "status", "--json"],
        env=environment,
        check=True,
        capture_output=True,
        text=True,
    )
    found: list[dict[str, Any]] = json.loads(said.stdout)
    return next(each for each in found if each["name"] == "demo")
