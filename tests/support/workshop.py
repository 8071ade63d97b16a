"""An installation whose pools are to be scaled: quick rules, and work that lasts as told."""

from __future__ import annotations

import contextlib
import json
import threading
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from secrets import token_hex
from typing import Any

import urllib3

from support.cluster import Cluster, condition_of, fresh_namespace
from support.controlplane import ControlPlane
from support.installation import Installation, installation_in
from support.kube_client import KubeClient
from support.node import NodeSpec, ProcessNode
from support.operator_process import OperatorProcess
from support.users_cluster import UsersCluster, wanted
from support.waiting import eventually

LONG = 90.0
"""Seconds within which something shows, also on a machine that is busy with much else."""
QUICK: dict[str, Any] = {
    # The rules of a real pool, in seconds instead of minutes.
    "target_drain_seconds": "10",
    "scale_down_stabilization_seconds": "1",
    "step_seconds": "1",
    "idle_seconds": "1",
    "unschedulable_seconds": "2",
}


@dataclass
class Sizes:
    """Every number of replicas that a Deployment was given, each with its moment."""

    seen: list[tuple[float, int]] = field(default_factory=list)

    def __iter__(self) -> Iterator[int]:
        return (size for _, size in self.seen)

    @property
    def shrinks(self) -> int:
        """How often it was given fewer."""
        return sum(later < earlier for earlier, later in pairwise(self))

    def add(self, size: int) -> None:
        """Enter what it has now, if that is new."""
        if not self.seen or self.seen[-1][1] != size:
            self.seen.append((time.monotonic(), size))


@dataclass
class Workshop:
    """The installation, its node, and the folder that its test stages look into."""

    installation: Installation
    folder: Path

    @property
    def cluster(self) -> Cluster:
        return self.installation.cluster

    @property
    def operator(self) -> OperatorProcess:
        """The only replica."""
        return self.installation.operators[0]

    @property
    def environment(self) -> dict[str, str]:
        """Has a worker run the test stages."""
        return {
            "DATA_MINER_STAGE_MODULES": "support.stages",
            "DATA_MINER_TEST_GATES": str(self.folder),
            "PYTHONPATH": str(Path(__file__).parents[1]),
        }

    def pool(self, name: str, stages: str, replicas: int = 0, **options: Any) -> None:
        """A pool of test workers by the quick rules."""
        env = {**self.environment, **options.pop("env", {})}
        self.installation.pool(name, replicas, env=env, stages=stages, **{**QUICK, **options})

    def apply(self, name: str, videos: int, behaviour: str) -> None:
        """A project over so many videos, each of which behaves as its URL says."""
        urls = [f"https://x.test/{name}-{number}?{behaviour}" for number in range(videos)]
        self.cluster.apply(
            {
                "apiVersion": "data-miner.io/v1alpha1",
                "kind": "MiningProject",
                "metadata": {"name": name},
                "spec": {
                    "sources": [{"urls": {"items": urls}}],
                    "sampling": {"strategy": "Keyframe"},
                },
            }
        )

    def open(self, gate: str) -> None:
        """Let the work go on that waits there."""
        (self.folder / gate).touch()

    def at_gate(self, gate: str) -> int:
        """How often work has come to the gate."""
        return len(self._lines(f"{gate}.waiting"))

    def begun(self, gate: str) -> Counter[str]:
        """How often each piece of work was begun that lasts until this gate is open."""
        return Counter(self._lines(f"{gate}.begun"))

    def replicas(self, pool: str) -> int:
        """What a pool's Deployment asks for."""
        found = self.cluster.get("Deployment", pool)
        assert found is not None
        return int(found["spec"]["replicas"])

    def pods(self, pool: str) -> list[dict[str, Any]]:
        """Pods of a pool that are there to stay."""
        found = self.cluster.list("Pod", labels=f"data-miner.io/pool={pool}")
        return [pod for pod in found if "deletionTimestamp" not in pod["metadata"]]

    def ready(self, pool: str, number: int) -> None:
        """Return when the pool has so many pods, and their workers are at work."""
        self.sized(pool, number)
        eventually(
            lambda: len(self.pods(pool)) == number == self._working(pool),
            seconds=LONG,
            what=f"{number} workers of {pool}",
        )

    def sized(self, pool: str, number: int) -> None:
        """Return when the pool's Deployment asks for so many."""
        self.cluster.wait(
            "Deployment",
            pool,
            lambda seen: seen is not None and seen["spec"]["replicas"] == number,
            seconds=LONG,
            what=f"{number} replicas",
        )

    def interrupted(self, pool: str) -> int:
        """Workers of a pool that were told to end while they ran something."""
        logs = self.installation.node.folder.glob(f"*/{pool}-*/worker.log")
        told = [
            line for log in logs for line in log.read_text().splitlines() if '"stopping"' in line
        ]
        return sum(json.loads(line)["running"] > 0 for line in told)

    def blocked(self, reason: str) -> float:
        """Pools that the operator's metrics count as kept from what they need, for this reason."""
        return self.operator.metric(f'dataminer_scale_blocked{{reason="{reason}"}}')

    def notes(self, pool: str, reason: str) -> list[str]:
        """What the Events of a pool's Deployment say with this reason."""
        return [
            event["note"]
            for event in self.cluster.list("Event")
            if event["reason"] == reason
            and event["regarding"].get("kind") == "Deployment"
            and event["regarding"].get("name") == pool
            and event.get("reportingController", "").startswith("data-miner")
        ]

    def steps(self, number: int, *, seconds: float = LONG) -> None:
        """Return when the scaler has decided so many times more."""
        begin = self.operator.metric("dataminer_scale_steps_total")
        eventually(
            lambda: self.operator.metric("dataminer_scale_steps_total") >= begin + number,
            seconds=seconds,
            what=f"{number} steps of the scaler",
        )

    @contextlib.contextmanager
    def sizes(self, pool: str) -> Iterator[Sizes]:
        """The sizes of a pool while the block runs, none left out."""
        found, stop = Sizes(), threading.Event()
        deployment = self.cluster.get("Deployment", pool)
        assert deployment is not None
        found.add(deployment["spec"]["replicas"])
        thread = threading.Thread(target=self._follow, args=(deployment, found, stop), daemon=True)
        thread.start()
        try:
            yield found
        finally:
            stop.set()
            thread.join()

    def clear(self) -> None:
        """Take all pools and projects away, so that the next test finds an empty workshop."""
        pools = [pool["metadata"]["name"] for pool in self.cluster.list("Deployment")]
        for project in self.cluster.list("MiningProject"):
            self.cluster.delete("MiningProject", project["metadata"]["name"])
        for pool in pools:
            self.cluster.delete("Deployment", pool, grace_seconds=0)
        eventually(
            lambda: (
                not any(self.pods(pool) for pool in pools)
                and not self.installation.number(
                    "SELECT count(*) FROM projects"
                    " WHERE owner_uid IS NOT NULL AND deleted_at IS NULL"
                )
            ),
            seconds=LONG,
            what="an empty workshop",
        )
        # What work has taken decides what work to come calls for: a minute, as in real life.
        self.installation.rows("UPDATE results SET started_at = finished_at - interval '1 min'")

    def told(self, project: str, condition: str, status: str, reason: str) -> str:
        """The message of a project's condition, as soon as it says so."""
        seen = self.installation.wait(
            condition, name=project, status=status, reason=reason, seconds=LONG
        )
        return str(condition_of(seen, condition).get("message", ""))

    def _working(self, pool: str) -> int:
        return self.installation.number(
            "SELECT count(*) FROM workers WHERE pool = :pool AND stopped_at IS NULL AND NOT drain"
            " AND worker_id = ANY (:pods)",
            pool=pool,
            pods=[pod["metadata"]["name"] for pod in self.pods(pool)],
        )

    def _lines(self, name: str) -> list[str]:
        path = self.folder / name
        return path.read_text().splitlines() if path.exists() else []

    def _follow(self, deployment: dict[str, Any], found: Sizes, stop: threading.Event) -> None:
        name, version = (deployment["metadata"][key] for key in ("name", "resourceVersion"))
        path = self.cluster.path("Deployment")
        while not stop.is_set():
            query = {"fieldSelector": f"metadata.name={name}", "resourceVersion": version}
            with (
                contextlib.suppress(urllib3.exceptions.HTTPError),
                self.cluster.api.watch(path, seconds=1.0, **query) as events,
            ):
                for event in events:
                    version = event["object"]["metadata"]["resourceVersion"]
                    found.add(event["object"]["spec"]["replicas"])


@contextlib.contextmanager
def workshop_in(
    plane: ControlPlane | UsersCluster, api: KubeClient, home: Path, *, gpus: int = 2
) -> Iterator[Workshop]:
    """A workshop on a node with so many GPUs, with its own PostgreSQL."""
    mark = token_hex(3)
    folder = home / "gates"
    folder.mkdir()
    spec = NodeSpec(f"process-node-{mark}", gpus=gpus, tainted=wanted())
    with (
        ProcessNode(api.access, home / "node", spec) as node,
        fresh_namespace(api, f"workshop-{mark}") as namespace,
    ):
        cluster = Cluster(api, plane.kubectl, namespace, node.name)
        with installation_in(cluster, node, home) as installation:
            yield Workshop(installation, folder)
