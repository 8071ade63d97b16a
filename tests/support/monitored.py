"""An installation that a real Prometheus watches, with its rules in a hurry."""

from __future__ import annotations

import contextlib
import json
import re
import threading
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from secrets import token_hex
from typing import Any, Final

from support.alert_rules import RULES, hurried
from support.cluster import Cluster, fresh_namespace
from support.controlplane import ControlPlane
from support.installation import Installation, installation_in
from support.kube_client import KubeClient
from support.node import NodeSpec, ProcessNode
from support.product import every
from support.prometheus import Prometheus, scrape_of_file
from support.users_cluster import UsersCluster, wanted
from support.waiting import eventually

SCRAPE_SECONDS: Final = 0.5
LONG: Final = 150.0
"""Seconds within which something shows, also on a machine that is busy with much else."""
_PORT: Final = re.compile(r'"event": "metrics"[^\n]*|[^\n]*"event": "metrics"')


@dataclass
class Monitored:
    """What runs, and who watches it."""

    installation: Installation
    prometheus: Prometheus

    def fires(self, alert: str, **labels: str) -> None:
        """Return as soon as the alert fires, with these labels among its own."""
        eventually(
            lambda: "firing" in self._states(alert, labels),
            seconds=LONG,
            what=f"{alert} fires",
            pause_seconds=0.2,
        )

    def ceases(self, alert: str, **labels: str) -> None:
        """Return as soon as there is nothing of the alert with these labels any more."""
        eventually(
            lambda: not self._states(alert, labels),
            seconds=LONG,
            what=f"{alert} ceases",
            pause_seconds=0.2,
        )

    def _states(self, name: str, labels: Mapping[str, str]) -> set[str]:
        return {
            alert.state
            for alert in self.prometheus.alert_list()
            if alert.name == name and labels.items() <= alert.labels.items()
        }

    @property
    def pods(self) -> list[str]:
        """Names of the pods of workers that are there to stay."""
        return [
            pod["metadata"]["name"]
            for pod in self.installation.cluster.list("Pod", labels="data-miner.io/pool")
            if "deletionTimestamp" not in pod["metadata"]
        ]

    def pool(self, replicas: int = 1, **options: Any) -> None:
        """A pool for all stages whose workers tell their metrics; it soon has so many, or more."""
        name = "all"
        self.installation.pool(
            name,
            0,
            min_replicas=str(replicas),
            max_replicas="2",
            args=[
                *("worker", "--pool", name, "--worker-id", "$(POD_NAME)"),
                *("--slots", "1", "--stages", "default", "--metrics-port", "0"),
            ],
            **options,
        )


@contextlib.contextmanager
def monitored_in(
    plane: ControlPlane | UsersCluster,
    api: KubeClient,
    home: Path,
    *,
    divisor: float,
    replicas: int = 2,
) -> Iterator[Monitored]:
    """An installation of its own in a namespace of its own. Durations of the rules are divided."""
    mark = token_hex(3)
    spec = NodeSpec(f"process-node-{mark}", tainted=wanted())
    rules = home / "rules.yaml"
    rules.write_text(hurried(RULES, divisor))
    targets = _Targets(home / "operators.json", home / "workers.json")
    targets.write([], [])
    with (
        ProcessNode(api.access, home / "node", spec) as node,
        fresh_namespace(api, f"monitored-{mark}") as namespace,
        installation_in(
            Cluster(api, plane.kubectl, namespace, node.name),
            node,
            home,
            replicas=replicas,
            DATA_MINER_OPERATOR_RESYNC_SECONDS="3",
        ) as installation,
        Prometheus(
            home / "prometheus",
            [
                # As the chart's monitors have them scraped.
                {**scrape_of_file("data-miner-operator", targets.operators), "honor_labels": True},
                scrape_of_file("data-miner-worker", targets.workers),
            ],
            [rules],
            interval_seconds=SCRAPE_SECONDS,
        ) as prometheus,
        every(0.5, lambda: targets.follow(installation)),
    ):
        yield Monitored(installation, prometheus)


@dataclass
class _Targets:
    """What the API server would tell the Prometheus operator."""

    operators: Path
    workers: Path

    def follow(self, installation: Installation) -> None:
        """Whoever lives now."""
        namespace = installation.cluster.namespace
        running = installation.node.pids("^all-")
        self.write(
            [
                _target(namespace, each.name, each.said())
                for each in installation.operators
                if each.ended is None
            ],
            [
                _target(
                    namespace, path.parent.name.rpartition(".")[0], path.read_text(), pool="all"
                )
                for path in sorted(installation.node.folder.glob("*/all-*/worker.log"))
                if path.parent.name.rpartition(".")[0] in running
            ],
        )

    def write(
        self, operators: list[dict[str, Any] | None], workers: list[dict[str, Any] | None]
    ) -> None:
        """Both files, each at once."""
        for path, found in ((self.operators, operators), (self.workers, workers)):
            content = json.dumps([target for target in found if target])
            if not path.exists() or path.read_text() != content:
                fresh = path.with_suffix(f".{threading.get_ident()}")
                fresh.write_text(content)
                fresh.replace(path)


def _target(namespace: str, pod: str, said: str, **labels: str) -> dict[str, Any] | None:
    """Where a process serves its metrics in its present life; None before it does."""
    lines = _PORT.findall(said)
    if not lines:
        return None
    port = re.search(r'"port": (\d+)', lines[-1])
    assert port is not None
    return {
        "targets": [f"127.0.0.1:{port[1]}"],
        "labels": {"namespace": namespace, "pod": pod, **labels},
    }
