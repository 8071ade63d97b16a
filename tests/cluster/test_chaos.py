"""Everything is killed at some moment of a run, and the run ends as if nothing had happened."""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path

import pytest

from support.chaos import POOL, Chaos
from support.cluster import Cluster
from support.controlplane import ControlPlane
from support.installation import installation_in
from support.node import ProcessNode
from support.product import DEMO_PROJECT, Product
from support.waiting import eventually

FIRST_SEED = int(os.environ.get("DATA_MINER_TEST_SEED") or 1)
ROUNDS = int(os.environ.get("DATA_MINER_TEST_ROUNDS") or 2)
LOG = os.environ.get("DATA_MINER_TEST_LOG", "")
"""`make soak` sets them: more rounds, and a file for a line of each."""
ABSENCE_SECONDS = float(os.environ.get("DATA_MINER_TEST_ABSENCE") or 0)
"""So long no operator is there, at least."""


@pytest.fixture(scope="module")
def expected_digest(tmp_path_factory: pytest.TempPathFactory) -> str:
    """What an undisturbed run of the same file gives."""
    mined = Product(tmp_path_factory.mktemp("undisturbed") / "home").mine(DEMO_PROJECT)
    return str(mined["dataset"]["digest"])


@pytest.mark.own_control_plane
@pytest.mark.parametrize("seed", range(FIRST_SEED, FIRST_SEED + ROUNDS))
def test_killed_at_any_moment_everything_comes_back_and_the_dataset_is_the_same(
    seed: int,
    own_control_plane: ControlPlane,
    cluster: Cluster,
    node: ProcessNode,
    tmp_path: Path,
    expected_digest: str,
) -> None:
    """The leader, a worker, the API server and PostgreSQL: the project is Complete all the same,
    nothing is given up, and nothing is left over."""
    with installation_in(cluster, node, tmp_path, replicas=2) as installation:
        chaos = Chaos(installation, own_control_plane, seed)
        began, digest = time.monotonic(), ""
        try:
            chaos.run()
            digest = installation.digest()
            chaos.settled()
        finally:
            if LOG:
                line = chaos.line(time.monotonic() - began, digest, expected_digest)
                with Path(LOG).open("a") as log:
                    log.write(line + "\n")

        assert len(chaos.fallen) == 4
        assert installation.project()["status"]["dataset"]["digest"] == digest == expected_digest
        assert "Traceback" not in "".join(each.said() for each in installation.operators)


def test_workers_finish_what_is_there_while_no_operator_is(
    cluster: Cluster, node: ProcessNode, tmp_path: Path, migrated_url: str, expected_digest: str
) -> None:
    """Right after a project was taken up one replica freezes and the other ends: the workers make
    its dataset without them, and the first one that is back says so."""
    with installation_in(
        cluster, node, tmp_path, database_url=migrated_url, replicas=2
    ) as installation:
        leader, other = installation.operators
        installation.pool(replicas=1, **{**POOL, "min_replicas": "1"})
        eventually(
            lambda: installation.number("SELECT count(*) FROM workers") > 0,
            seconds=60,
            what="a worker is there",
        )
        installation.apply_demo()
        eventually(
            lambda: installation.number("SELECT count(*) FROM projects") == 1, what="it is taken up"
        )
        leader.freeze()
        assert other.terminate() == 0
        went = time.monotonic()

        eventually(
            lambda: bool(installation.digest()) and not installation.rows("SELECT 1 FROM tasks"),
            seconds=180,
            what="the workers have made the dataset",
        )
        assert installation.digest() == expected_digest
        time.sleep(max(0.0, ABSENCE_SECONDS - (time.monotonic() - went)))
        back = time.monotonic()
        other.start()
        done = installation.complete(seconds=60)
        took = time.monotonic() - back
        sys.stdout.write(f"away for {back - went:.0f} s, Complete {took:.1f} s after a start\n")
        leader.thaw()
        eventually(
            lambda: leader.ended == 1 or leader.probe("/readyz") == (200, "standby"),
            what="the frozen one has seen that another leads",
        )

        assert done["status"]["dataset"]["digest"] == expected_digest
        assert done["status"]["progress"] == 100
