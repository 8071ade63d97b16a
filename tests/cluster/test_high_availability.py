"""Two replicas: one leads, and whatever happens to it, the other goes on where it was."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from signal import SIGCONT, SIGSTOP
from typing import Any

from support import processes
from support.chaos import POOL
from support.cluster import Cluster
from support.installation import EXAMPLES, QUICK, Installation, installation_in
from support.node import ProcessNode
from support.operator_process import OperatorProcess, operator_in
from support.product import FAST
from support.waiting import eventually

LEASE = "data-miner-operator"
DEFAULT_TIMES = {
    "DATA_MINER_OPERATOR_LEASE_SECONDS": "15",
    "DATA_MINER_OPERATOR_LEASE_DEADLINE_SECONDS": "10",
    "DATA_MINER_OPERATOR_LEASE_RETRY_SECONDS": "2",
}


def epoch(installation: Installation) -> int:
    """Elections so far."""
    return installation.number("SELECT epoch FROM leaders")


def pair(installation: Installation) -> tuple[OperatorProcess, OperatorProcess]:
    """Who leads and who stands by, both ready."""
    eventually(lambda: installation.leader is not None, what="somebody leads")
    leader = installation.leader
    assert leader is not None
    (other,) = [each for each in installation.operators if each is not leader]
    other.wait_for("/readyz", "standby")
    return leader, other


def holder(cluster: Cluster) -> str:
    """Who has the Lease; empty for nobody."""
    lease = cluster.get("Lease", LEASE)
    return "" if lease is None else str(lease["spec"].get("holderIdentity") or "")


def suspend(installation: Installation, suspended: bool, *, seconds: float = 30) -> float:
    """Edit the project and wait until its status says so; returns the seconds that it took."""
    began = time.monotonic()
    installation.cluster.patch("MiningProject", "demo", {"spec": {"suspend": suspended}})
    installation.wait("Suspended", status=str(suspended), seconds=seconds)
    return time.monotonic() - began


def what_is_kept(installation: Installation) -> list[Any]:
    """Every row that an operator writes, with the transaction that wrote it."""
    return installation.rows(
        "SELECT 'project', p.xmin::text, to_jsonb(p) FROM projects p"
        " UNION ALL SELECT 'stage', s.xmin::text, to_jsonb(s) FROM project_stages s"
        " UNION ALL SELECT 'task', t.xmin::text, to_jsonb(t) FROM tasks t"
        " UNION ALL SELECT 'leader', l.xmin::text, to_jsonb(l) FROM leaders l ORDER BY 1, 3"
    )


def test_with_the_times_of_a_real_installation_a_killed_leader_is_replaced_within_20_seconds(
    cluster: Cluster,
    node: ProcessNode,
    tmp_path: Path,
    migrated_url: str,
) -> None:
    """The next one reconciles an edit, and hands over at once when it is told to stop."""
    with installation_in(
        cluster,
        node,
        tmp_path,
        database_url=migrated_url,
        replicas=2,
        proxied=False,
        start=True,
        **DEFAULT_TIMES,
    ) as installation:
        first, second = pair(installation)
        installation.apply_demo()
        installation.wait("Suspended", status="False")

        first.kill()
        took = suspend(installation, True, seconds=40)  # 20 s on a machine that is not busy
        sys.stdout.write(f"killed: an edit was reconciled after {took:.1f} s\n")
        assert second.probe("/readyz") == (200, "leader")
        assert epoch(installation) == 2
        first.start()
        first.wait_for("/readyz", "standby")
        assert first.probe("/livez") == first.probe("/startupz") == (200, "ok")

        assert second.terminate() == 0
        # Who waits for the claim to end has to wait for 15 s.
        took = suspend(installation, False, seconds=14)
        sys.stdout.write(f"stopped: an edit was reconciled after {took:.1f} s\n")
        assert first.probe("/readyz") == (200, "leader")
        assert epoch(installation) == 3


@contextmanager
def observed_pair(
    cluster: Cluster, node: ProcessNode, home: Path, url: str
) -> Iterator[tuple[Installation, OperatorProcess]]:
    """An installation whose only replica is behind a proxy, and a second one that is not: what
    the proxy counts is the first one's."""
    with (
        installation_in(cluster, node, home, database_url=url, proxied=True) as installation,
        operator_in(
            cluster,
            home / "second",
            url,
            folder=EXAMPLES,
            replicas=1,
            through=None,
            **{**FAST, **QUICK, "DATA_MINER_HOME": str(home / "data")},
        ) as (second,),
    ):
        installation.operators[0].wait_for("/readyz", "leader")
        second.start()
        second.wait_for("/readyz", "standby")
        yield installation, second


def test_a_leader_that_was_frozen_for_longer_than_its_lease_writes_nothing_when_it_thaws(
    cluster: Cluster, node: ProcessNode, tmp_path: Path, migrated_url: str
) -> None:
    """Frozen in the middle of a run, it wakes to a catalogue and a cluster that have moved on:
    neither hears of it, and it leads no more."""
    with observed_pair(cluster, node, tmp_path, migrated_url) as (installation, second):
        first, proxy = installation.operators[0], installation.proxy
        assert proxy is not None
        installation.pool(**POOL)
        installation.apply_demo()
        eventually(
            lambda: installation.number("SELECT count(*) FROM results") > 2,
            seconds=90,
            what="the run is under way",
        )

        first.freeze()
        second.wait_for("/readyz", "leader", seconds=60)
        installation.complete()
        suspend(installation, True)
        suspend(installation, False)
        installation.apply_demo("late", suspend=True)
        installation.wait("Suspended", name="late")
        cluster.wait(
            "Deployment", "all", lambda seen: seen is not None and not seen["spec"]["replicas"],
            seconds=60, what="the pool has gone to zero",
        )  # fmt: skip
        eventually(lambda: not cluster.list("Pod"), seconds=60, what="the workers are gone")
        kept, objects = what_is_kept(installation), cluster.list("MiningProject")
        thawed = proxy.now()
        first.thaw()
        eventually(
            lambda: first.ended == 1 or first.probe("/readyz") == (200, "standby"),
            what="it has seen that another leads",
        )

        # It may ask for the Lease as it knew it: it is refused, and learns that it leads no more.
        asked = {(r.resource, r.code) for r in proxy.writes(since=thawed)}
        assert asked <= {("leases", 409)}
        assert what_is_kept(installation) == kept
        assert cluster.list("MiningProject") == objects
        assert epoch(installation) == 2
        assert second.probe("/readyz") == (200, "leader")


def test_a_lease_that_is_deleted_again_and_again_changes_no_leader_and_locks_nobody_out(
    cluster: Cluster, node: ProcessNode, tmp_path: Path, migrated_url: str
) -> None:
    """Its holder makes it again; who waits respects the claim, so that no two act at once."""
    with installation_in(
        cluster, node, tmp_path, database_url=migrated_url, replicas=2
    ) as installation:
        first, second = pair(installation)
        installation.apply_demo()
        installation.wait("Suspended", status="False")
        leads = holder(cluster)

        for number in range(3):
            cluster.delete("Lease", LEASE)
            suspend(installation, number % 2 == 0)
            cluster.wait("Lease", LEASE, lambda seen: seen is not None, what="made again")
            assert holder(cluster) == leads
        assert (first.ended, second.ended, epoch(installation)) == (None, None, 1)

        first.kill()
        cluster.delete("Lease", LEASE)
        suspend(installation, False, seconds=60)
        assert holder(cluster) not in {"", leads}


def test_probes_and_elections_do_not_depend_on_postgresql(
    cluster: Cluster, node: ProcessNode, tmp_path: Path
) -> None:
    """It hangs: both replicas live and are ready, a third life starts, another one leads, and the
    status says what is the matter. It goes on: so does the project."""
    with installation_in(cluster, node, tmp_path, replicas=2) as installation:
        first, second = pair(installation)
        installation.apply_demo()
        installation.wait("Suspended", status="False")
        assert installation.server is not None
        postgresql = installation.server.process_id()
        assert postgresql is not None

        processes.signal_tree(postgresql, SIGSTOP)
        try:
            first.kill()
            first.start()
            second.wait_for("/readyz", "leader")
            installation.wait("DatabaseReachable", status="False", seconds=60)
            for replica, stands in ((first, "standby"), (second, "leader")):
                assert replica.probe("/readyz") == (200, stands)
                assert replica.probe("/livez") == replica.probe("/startupz") == (200, "ok")
        finally:
            processes.signal_tree(postgresql, SIGCONT)

        installation.wait("DatabaseReachable", seconds=90)
        suspend(installation, True)
        # The one that leads now has taken office; who died in between may have too.
        assert epoch(installation) >= 2
