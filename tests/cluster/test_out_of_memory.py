"""A worker's container that Kubernetes says was killed for want of memory."""

from __future__ import annotations

from pathlib import Path

from support.controlplane import ControlPlane
from support.kube_client import KubeClient
from support.users_cluster import UsersCluster
from support.waiting import eventually
from support.workshop import LONG, workshop_in

HELD = "SELECT id, claim_seq, claimed_by FROM tasks WHERE stage = 'download' AND state = 'running'"


def test_a_worker_that_was_oom_killed_loses_its_task_at_once_and_the_task_says_why(
    control_plane: ControlPlane | UsersCluster, api: KubeClient, crds: None, tmp_path: Path
) -> None:
    """Long before its lease is over; a loss, no attempt. The worker that is started again in the
    same pod keeps what it claims from then on."""
    with workshop_in(control_plane, api, tmp_path) as workshop:
        installation = workshop.installation
        leases = {"DATA_MINER_LEASE_SECONDS": "600"}
        workshop.pool("all", "default", env=leases, min_replicas="1", max_replicas="1")
        workshop.apply("one", 1, "gate=shut")
        eventually(lambda: workshop.at_gate("shut") == 1, seconds=LONG, what="it is at work")
        (task,) = installation.rows(HELD)

        assert installation.node.kill(f"^{task.claimed_by}$", reason="OOMKilled")

        eventually(lambda: workshop.at_gate("shut") == 2, seconds=LONG, what="it is tried again")
        (again,) = installation.rows(f"SELECT * FROM tasks WHERE id = {task.id}")
        assert (again.claim_seq, again.claimed_by) == (task.claim_seq + 1, task.claimed_by)
        assert (again.lost_count, again.attempt) == (1, 0)
        assert again.error_class == "out_of_memory"
        assert task.claimed_by in again.error
        assert "OOMKilled" in again.error
        workshop.open("shut")
        installation.wait("Complete", name="one", seconds=LONG)
