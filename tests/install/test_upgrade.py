"""The version before, this one, one after it, and back, while one project is mined.

The version before is the last commit without a chart: its code in images of its own, installed by
this chart. The one after is this checkout with a migration that adds to the schema and a field
more in the definition of projects: what a release brings. So the version before ends up on a
schema that is newer than it is.

The release serves its own namespace alone: for the whole cluster, the version before asked for
more rights than this chart gives.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import pytest

from support.chart import CHART
from support.realnode import OwnCluster
from support.release import CRD, HASTY, Release, alone, merged
from support.release_chaos import Mined
from support.release_versions import EXPANSION, NEW_FIELD, Version, definition, earlier, later

POOL: Final = "data-miner-worker-default"
WORKERS: Final = 2
NAMESPACE: Final = "upgrades"
VALUES: Final[dict[str, Any]] = {
    "operator": {"namespaces": [NAMESPACE]},
    "workers": {
        "defaults": {
            "scaling": {**HASTY, "warmReplicas": WORKERS, "maxReplicas": WORKERS},
            # Little processor: the project is there for all that happens.
            "resources": {
                "requests": {"cpu": "50m", "memory": "256Mi"},
                "limits": {"cpu": "120m", "memory": "1Gi"},
            },
            "taskMemoryMb": 768,
            "graceSeconds": 5,
        }
    },
}


def work(mined: Mined) -> frozenset[str]:
    """Stage and subject of all that the project ever had to do, as the tables say now."""
    mine = f"WHERE p.namespace = '{mined.namespace}'"
    rows = mined.release.sql(
        f"SELECT stage || ' ' || subject FROM tasks JOIN projects p USING (project_id) {mine}"
        f" UNION SELECT stage || ' ' || subject FROM results JOIN projects p USING (project_id)"
        f" {mine}"
    )
    return frozenset(rows)


def images(version: Version, *which: str) -> Mapping[str, Any]:
    """Values that take these images from a version."""
    return {"images": {name: {"tag": version.tag} for name in which}}


def workers(release: Release) -> dict[str, int]:
    """UIDs of the pool's pods with the restarts of each."""
    return {
        pod["metadata"]["uid"]: sum(s["restartCount"] for s in pod["status"]["containerStatuses"])
        for pod in release.pods("worker")
        if pod["status"].get("containerStatuses")
    }


def properties(release: Release) -> set[str]:
    """Fields of a project's spec that the cluster knows."""
    crd = release.kubectl.json("get", "crd", CRD)
    spec = crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"]
    return set(spec["properties"])


def revision(release: Release) -> str:
    """Of the database's schema."""
    return release.sql("SELECT version_num FROM alembic_version")[0]


@pytest.mark.timeout(1500)
def test_a_project_goes_on_through_upgrades_and_back(
    real_nodes: OwnCluster, struck_project: Path, struck_digest: str, tmp_path: Path
) -> None:
    before, after = earlier(tmp_path), later(tmp_path)
    real_nodes.load(*before.archives, *after.archives)

    with alone(real_nodes, tmp_path, NAMESPACE, **VALUES) as release:
        old = images(before, "operator", "worker")
        seconds = release.install(chart=before.chart, **old)
        print(f"\nthe version before is Ready after {seconds:.0f} s")  # noqa: T201
        assert properties(release) == set(definition(before.chart))
        now = time.monotonic()
        mined = Mined(release, NAMESPACE, struck_project, "upgrade", began=now, struck=now)
        release.apply(struck_project)
        mined.in_the_middle()
        known = work(mined)

        def goes_on(what: str, seconds: float) -> None:
            """All that was planned is still known, and the project is not through yet."""
            nonlocal known
            now = work(mined)
            print(f"{what}: {seconds:.0f} s, {mined.results()} of {len(now)} done")  # noqa: T201
            assert known <= now, f"{what}: lost {sorted(known - now)}"
            known = now
            conditions = release.project("struck", namespace=mined.namespace)["status"]
            complete = {one["type"]: one["status"] for one in conditions["conditions"]}["Complete"]
            assert complete == "False", f"{what}: the project was through too early"

        # Its operator alone: no worker is restarted, and goes on under an operator that is newer.
        there = workers(release)
        seconds = release.install(**merged(images(before, "worker")))
        goes_on("this operator", seconds)
        assert workers(release) == there

        # Its workers: each makes room for one of this version.
        seconds = release.install()
        goes_on("these workers", seconds)
        assert not set(workers(release)) & set(there)
        assert properties(release) == set(definition(CHART))
        assert revision(release) < EXPANSION

        # The version after: the schema grows before anything else changes, the definition too.
        seconds = release.install(chart=after.chart, **images(after, "operator", "worker"))
        goes_on("the version after", seconds)
        assert revision(release) == EXPANSION
        assert properties(release) == {*definition(CHART), NEW_FIELD}

        # And back to the first: its code works on a schema that it has never seen.
        release.helm("rollback", release.name, "1", "--wait", "--timeout=300s")
        goes_on("back", 0)
        assert revision(release) == EXPANSION
        assert properties(release) == set(definition(before.chart))
        found = {
            container["image"]
            for pod in (*release.pods("worker"), *release.pods("operator"))
            for container in pod["spec"]["containers"]
        }
        assert found == {
            f"localhost/data-miner-{name}:{before.tag}" for name in ("operator", "worker")
        }

        mined.complete(struck_digest)
        assert known <= work(mined)
        assert set(mined.attempts().values()) == {1}
        assert release.sql("SELECT count(*) FROM tasks") == ["0"]
