"""The operator's process on a real control plane: it starts, acts, hands over, and survives."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from signal import SIGCONT, SIGSTOP
from typing import Any

import psycopg2
import pytest

from data_miner.db.migrate import upgrade
from support.cluster import Cluster, condition_of
from support.controlplane import ControlPlane
from support.database import Databases, libpq
from support.operator_process import OperatorProcess, operator_in
from support.waiting import eventually

EXAMPLES = Path(__file__).parents[2] / "examples"
QUICK = {
    "DATA_MINER_OPERATOR_LEASE_SECONDS": "6",
    "DATA_MINER_OPERATOR_LEASE_DEADLINE_SECONDS": "4",
    "DATA_MINER_OPERATOR_LEASE_RETRY_SECONDS": "0.5",
    "DATA_MINER_OPERATOR_RESYNC_SECONDS": "5",
}
"""For elections within seconds."""
LEASE = "data-miner-operator"


def _project(name: str = "demo", **spec: object) -> dict[str, Any]:
    return {
        "apiVersion": "data-miner.io/v1alpha1",
        "kind": "MiningProject",
        "metadata": {"name": name},
        "spec": {"sources": [{"files": {"uri": "demo/media"}}], **spec},
    }


def _template() -> dict[str, Any]:
    pod = {
        "restartPolicy": "Never",
        "nodeSelector": {"nobody": "here"},
        "containers": [{"name": "export", "image": "data-miner-export"}],
    }
    return {
        "apiVersion": "batch/v1",
        "kind": "CronJob",
        "metadata": {"name": "models", "labels": {"data-miner.io/template": "model"}},
        "spec": {
            "suspend": True,
            "schedule": "0 0 1 1 *",
            "jobTemplate": {"spec": {"template": {"spec": pod}}},
        },
    }


@pytest.fixture
def two(cluster: Cluster, migrated_url: str, tmp_path: Path) -> Iterator[list[OperatorProcess]]:
    """Two replicas, not started."""
    with operator_in(
        cluster,
        tmp_path / "operator",
        migrated_url,
        folder=EXAMPLES,
        replicas=2,
        through=None,
        **QUICK,
    ) as replicas:
        yield replicas


def _ready(cluster: Cluster, name: str = "demo", seconds: float = 30) -> dict[str, Any]:
    return cluster.wait_condition("MiningProject", name, "Ready", seconds=seconds)


def test_a_project_is_taken_up_and_a_second_life_writes_nothing(
    cluster: Cluster, two: list[OperatorProcess]
) -> None:
    operator, _ = two
    operator.start()
    operator.wait_for("/readyz", "leader")
    cluster.apply(_project())
    seen = _ready(cluster)
    eventually(lambda: operator.metric("workqueue_depth") == 0, what="it has come to rest")
    seen = cluster.get("MiningProject", "demo") or {}
    assert "finalizers" not in seen["metadata"]
    assert "annotations" not in seen["metadata"]

    assert operator.terminate() == 0
    lease = cluster.get("Lease", LEASE) or {}
    assert lease["spec"]["holderIdentity"] == ""

    operator.start()
    operator.wait_for("/readyz", "leader")
    eventually(lambda: operator.metric("dataminer_reconcile_total") >= 1, what="it has looked")
    assert operator.metric("dataminer_status_writes_total") == 0
    after = cluster.get("MiningProject", "demo") or {}
    assert after["metadata"]["resourceVersion"] == seen["metadata"]["resourceVersion"]


def test_an_edit_shows_within_two_seconds(cluster: Cluster, two: list[OperatorProcess]) -> None:
    operator, _ = two
    operator.start()
    operator.wait_for("/readyz", "leader")
    cluster.apply(_project())
    _ready(cluster)

    began = time.monotonic()
    cluster.patch("MiningProject", "demo", {"spec": {"suspend": True}})
    cluster.wait_condition("MiningProject", "demo", "Suspended", seconds=20)

    assert time.monotonic() - began < 5  # 2 s on a machine that does nothing else


def test_another_takes_over_when_the_leader_is_killed_or_goes(
    cluster: Cluster, two: list[OperatorProcess]
) -> None:
    first, second = two
    first.start()
    first.wait_for("/readyz", "leader")
    second.start()
    second.wait_for("/readyz", "standby")

    first.kill()
    second.wait_for("/readyz", "leader", seconds=20)
    cluster.apply(_project())
    _ready(cluster)

    first.start()
    first.wait_for("/readyz", "standby")
    assert second.terminate() == 0
    first.wait_for("/readyz", "leader", seconds=10)
    cluster.patch("MiningProject", "demo", {"spec": {"suspend": True}})
    cluster.wait_condition("MiningProject", "demo", "Suspended")


def test_a_deleted_lease_locks_nobody_out(cluster: Cluster, two: list[OperatorProcess]) -> None:
    operator, _ = two
    operator.start()
    operator.wait_for("/readyz", "leader")

    cluster.delete("Lease", LEASE)

    cluster.wait("Lease", LEASE, lambda seen: seen is not None, seconds=15, what="made again")
    cluster.apply(_project())
    _ready(cluster)
    assert operator.ended is None


def test_without_a_database_it_is_ready_says_so_and_goes_on_when_there_is_one(
    cluster: Cluster,
    databases: Databases,
    tmp_path: Path,
) -> None:
    url = databases.create()
    databases.drop(url)
    name = url.rpartition("/")[2].partition("?")[0]
    with operator_in(
        cluster, tmp_path / "operator", url, folder=EXAMPLES, through=None, replicas=1, **QUICK
    ) as (operator,):
        operator.start()
        operator.wait_for("/readyz", "leader")
        cluster.apply(_project(), _project("goes"))
        for each in ("demo", "goes"):
            cluster.wait_condition("MiningProject", each, "DatabaseReachable", status="False")
        assert operator.probe("/livez") == (200, "ok")

        assert cluster.delete("MiningProject", "goes")
        cluster.wait_gone("MiningProject", "goes", seconds=10)

        databases._execute(f'CREATE DATABASE "{name}"')
        upgrade(url)
        cluster.wait_condition("MiningProject", "demo", "DatabaseReachable", seconds=60)
        _ready(cluster, seconds=60)
        assert operator.terminate() == 0
    databases.drop(url)


@pytest.mark.own_control_plane
def test_an_api_server_that_dies_and_comes_back_is_waited_for(
    own_control_plane: ControlPlane, cluster: Cluster, two: list[OperatorProcess]
) -> None:
    operator, _ = two
    operator.start()
    operator.wait_for("/readyz", "leader")
    cluster.apply(_project())
    _ready(cluster)

    own_control_plane.kill("kube-apiserver")
    eventually(lambda: operator.probe("/readyz") == (200, "standby"), what="it has stopped acting")
    assert operator.probe("/livez") == (200, "ok")
    own_control_plane.start("kube-apiserver")

    operator.wait_for("/readyz", "leader", seconds=60)
    cluster.patch("MiningProject", "demo", {"spec": {"suspend": True}})
    cluster.wait_condition("MiningProject", "demo", "Suspended", seconds=60)
    assert operator.ended is None


def test_a_leader_that_another_was_elected_over_writes_nothing_and_ends(
    cluster: Cluster, migrated_url: str, two: list[OperatorProcess]
) -> None:
    operator, _ = two
    operator.start()
    eventually(lambda: "took office" in operator.said(), what="it has taken office")
    with closing(psycopg2.connect(libpq(migrated_url))) as conn, conn, conn.cursor() as cursor:
        cursor.execute("UPDATE leaders SET epoch = epoch + 1, holder = 'another'")

    cluster.apply(_project())

    eventually(lambda: operator.ended is not None, what="it has ended")
    assert operator.ended == 1
    assert "another leads with epoch" in operator.said()
    with closing(psycopg2.connect(libpq(migrated_url))) as conn, conn.cursor() as cursor:
        cursor.execute("SELECT count(*) FROM projects")
        assert cursor.fetchone() == (0,)


def test_a_leader_that_sleeps_for_long_leads_no_more_when_it_wakes(
    cluster: Cluster, two: list[OperatorProcess]
) -> None:
    first, second = two
    first.start()
    first.wait_for("/readyz", "leader")
    second.start()
    first.signal(SIGSTOP)
    second.wait_for("/readyz", "leader", seconds=30)
    cluster.apply(_project())
    _ready(cluster)

    first.signal(SIGCONT)

    eventually(
        lambda: first.ended == 1 or first.probe("/readyz") == (200, "standby"),
        what="it has seen that another leads",
    )
    assert second.probe("/readyz") == (200, "leader")


def test_a_missing_model_has_one_job_made_from_the_template(
    cluster: Cluster, two: list[OperatorProcess]
) -> None:
    operator, _ = two
    cluster.apply(_template())
    operator.start()
    operator.wait_for("/readyz", "leader")
    named = {"filter": {"model": "team-siglip", "positive": ["a star"]}}

    cluster.apply(_project("one", **named), _project("two", **named))

    for each in ("one", "two"):
        cluster.wait_condition("MiningProject", each, "ModelsReady", status="False")
    cluster.wait_condition(
        "MiningProject", "one", "ModelsReady", status="False", reason="MakingModels"
    )
    (job,) = cluster.list("Job")
    (container,) = job["spec"]["template"]["spec"]["containers"]
    assert container["env"] == [{"name": "DATA_MINER_MODEL", "value": "team-siglip"}]
    assert job["metadata"]["ownerReferences"][0]["kind"] == "CronJob"
    assert cluster.delete("CronJob", "models")


def test_a_job_that_the_api_server_refuses_is_said_on_the_condition(
    cluster: Cluster, two: list[OperatorProcess]
) -> None:
    """Here by a quota; the project has a status, and nobody has to read a log."""
    quota = {
        "apiVersion": "v1",
        "kind": "ResourceQuota",
        "metadata": {"name": "no-jobs"},
        "spec": {"hard": {"count/jobs.batch": "0"}},
    }
    cluster.apply(_template(), quota)
    cluster.wait("ResourceQuota", "no-jobs", lambda q: bool(q and q.get("status", {}).get("hard")))
    operator, _ = two
    operator.start()
    try:
        cluster.apply(_project(filter={"model": "team-siglip", "positive": ["a star"]}))
        seen = cluster.wait_condition(
            "MiningProject", "demo", "ModelsReady", status="False", reason="ModelsMissing"
        )
        assert "its Job is refused" in condition_of(seen, "ModelsReady")["message"]
        assert "exceeded quota: no-jobs" in condition_of(seen, "ModelsReady")["message"]
        assert cluster.list("Job") == []
    finally:
        cluster.delete("ResourceQuota", "no-jobs")
        cluster.delete("CronJob", "models")


def test_an_object_that_went_while_nobody_watched_is_noticed(
    cluster: Cluster, two: list[OperatorProcess]
) -> None:
    operator, _ = two
    operator.start()
    operator.wait_for("/readyz", "leader")
    cluster.apply(_project())
    _ready(cluster)
    operator.kill()

    cluster.delete("MiningProject", "demo")
    cluster.wait_gone("MiningProject", "demo", seconds=10)
    operator.start()

    eventually(
        lambda: operator.metric('dataminer_operator_actions_total{action="Release"}') == 1,
        what="it has let the project go",
    )


def test_projects_of_other_namespaces_are_left_alone(
    cluster: Cluster, two: list[OperatorProcess]
) -> None:
    operator, _ = two
    operator.start()
    operator.wait_for("/readyz", "leader")
    other = {**_project("elsewhere"), "metadata": {"name": "elsewhere", "namespace": "default"}}
    cluster.apply(other, _project())
    try:
        _ready(cluster)
        seen = cluster.get("MiningProject", "elsewhere", namespace="default")
        assert condition_of(seen, "Ready") == {}
    finally:
        cluster.delete("MiningProject", "elsewhere", namespace="default")


def _fails(environment: dict[str, str], *arguments: str) -> tuple[int, str]:
    done = subprocess.run(
        [sys.executable, "-m", "data_miner_operator", *arguments],
        env={"PATH": os.environ["PATH"], **environment},
        capture_output=True,
        text=True,
        timeout=120,
    )
    return done.returncode, done.stderr


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"DATA_MINER_DATABASE_URL": ""}, "DATA_MINER_DATABASE_URL"),
        ({"KUBECONFIG": "/nothing"}, "no Kubernetes cluster"),
        ({"DATA_MINER_OPERATOR_WORKERS": "x"}, "DATA_MINER_OPERATOR_WORKERS"),
        ({"DATA_MINER_OPERATOR_CREDENTIALS_FILE": "/nothing"}, "/nothing"),
    ],
)
def test_bad_settings_are_one_line(
    cluster: Cluster, tmp_path: Path, change: dict[str, str], said: str
) -> None:
    environment = {
        "HOME": str(tmp_path),
        "KUBECONFIG": str(cluster.kubectl.kubeconfig),
        "DATA_MINER_DATABASE_URL": "postgresql://nobody@127.0.0.1:1/none",
        **change,
    }

    code, stderr = _fails(environment, "--own-namespace", cluster.namespace)

    assert code == 2
    assert said in stderr
    assert len(stderr.splitlines()) == 1
