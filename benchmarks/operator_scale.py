"""An operator with a thousand projects and a million tasks: start, edits, memory, idleness.

Needs Go for the control plane. `python benchmarks/operator_scale.py [PROJECTS TASKS]`.
"""

# ruff: noqa: E402
from __future__ import annotations

import sys
import tempfile
import time
from collections.abc import Sequence
from itertools import count
from pathlib import Path

# Instead of this folder, whose queue.py would hide the library's.
sys.path[0] = str(Path(__file__).parents[1] / "tests")

from support.cluster import Cluster, fresh_namespace, install_crds
from support.controlplane import control_plane_in
from support.crowd import Crowd
from support.installation import installation_in
from support.kube_client import KubeClient, access_of
from support.node import NodeSpec, ProcessNode

EDITS = 20
IDLE_SECONDS = 60.0
USUAL = {
    # As a real installation has them; tests are in a hurry.
    "DATA_MINER_OPERATOR_RESYNC_SECONDS": "60",
    "DATA_MINER_OPERATOR_SCALE_SECONDS": "5",
    "DATA_MINER_OPERATOR_LEASE_SECONDS": "15",
    "DATA_MINER_OPERATOR_LEASE_DEADLINE_SECONDS": "10",
    "DATA_MINER_OPERATOR_LEASE_RETRY_SECONDS": "2",
}


def percentile(values: Sequence[float], share: float) -> float:
    """The smallest value that is not exceeded by so large a share of them."""
    return sorted(values)[max(0, round(share * len(values) + 0.499) - 1)]


def idle(crowd: Crowd) -> None:
    """One minute in which nobody does anything."""
    cpu, requests, looks = crowd.cpu_seconds(), crowd.requests(), crowd.looks()
    transactions, writes = crowd.transactions(), crowd.writes()
    time.sleep(IDLE_SECONDS)
    print(
        f"  an idle minute        {crowd.requests() - requests} API requests,"
        f" {crowd.writes() - writes} status writes, {crowd.looks() - looks} looks at projects,"
        f" {crowd.transactions() - transactions} transactions,"
        f" {crowd.cpu_seconds() - cpu:.1f} s of CPU"
    )


def edits(crowd: Crowd, what: str, *, moving: bool = False) -> None:
    """Edits one after another, of active and of settled projects in turn."""
    took = []
    for number in range(EDITS):
        if moving:
            crowd.move(2 + number)
        kind = "active" if number % 2 else "settled"
        took.append(crowd.edit(f"{kind}-{number % min(crowd.active, crowd.settled)}", next(_edit)))
    print(
        f"  {what:<21} p50 {percentile(took, 0.5):5.2f} s  p95 {percentile(took, 0.95):5.2f} s"
        f"  most {max(took):5.2f} s"
    )


_edit = count(1)


def measure(crowd: Crowd, tasks: int) -> None:
    """Fill, start, edit, rest; a line for each."""
    began = time.monotonic()
    crowd.create()
    print(f"  objects created       {time.monotonic() - began:6.1f} s")
    print(f"  first start           {crowd.start():6.1f} s, {crowd.requests()} API requests")
    crowd.operator.terminate()
    began = time.monotonic()
    crowd.settle(tasks)
    print(f"  rows made             {time.monotonic() - began:6.1f} s")
    for number in (1, 2):  # the first one writes what the rows have brought
        begin = crowd.transactions()
        took = crowd.start()
        print(
            f"  start {number}               {took:6.1f} s, {crowd.requests()} API requests,"
            f" {crowd.transactions() - begin} transactions, {crowd.looks()} looks,"
            f" {crowd.writes()} status writes, {crowd.cpu_seconds():.1f} s of CPU,"
            f" look at the queue {crowd.operator.metric('dataminer_pulse_seconds'):.2f} s"
        )
        if number == 1:
            crowd.operator.terminate()
    edits(crowd, "edits")
    edits(crowd, "edits, queue moving", moving=True)
    crowd.rest()
    idle(crowd)
    print(f"  peak memory           {crowd.peak_bytes() / 2**20:6.0f} MiB")


def main() -> None:
    projects, tasks = (int(text) for text in (sys.argv[1:] or ("1000", "1000000")))
    with (
        tempfile.TemporaryDirectory(prefix="dm-scale-") as folder,
        control_plane_in(Path(folder) / "plane") as plane,
    ):
        home = Path(folder)
        api = KubeClient(access_of(plane.kubeconfig))
        install_crds(Cluster(api, plane.kubectl, "default"))
        with (
            ProcessNode(api.access, home / "node", NodeSpec()) as node,
            fresh_namespace(api, "scale") as namespace,
        ):
            cluster = Cluster(api, plane.kubectl, namespace, node.name)
            with installation_in(cluster, node, home, start=False, **USUAL) as installation:
                active = projects // 10
                crowd = Crowd(installation, projects - active, active)
                print(f"operator, {projects:,} projects ({active} active), {tasks:,} tasks")
                measure(crowd, tasks)


if __name__ == "__main__":
    main()
