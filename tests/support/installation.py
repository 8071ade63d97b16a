"""A whole installation in a cluster: database, operator, worker pools, and what they make."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from sqlalchemy import Engine, text

from data_miner.db.engine import engine_for
from data_miner.db.migrate import upgrade
from data_miner.postgres import Server
from support.api_proxy import ApiProxy
from support.cluster import Cluster, condition_of
from support.database import enterable_folder
from support.kube_client import KubeError
from support.node import ProcessNode
from support.operator_process import OperatorProcess, operator_in
from support.product import DEMO_PROJECT, FAST
from support.waiting import eventually

EXAMPLES = DEMO_PROJECT.parent
WORKER = {**FAST, "DATA_MINER_WAIT_WHEN_DRAINED": "1", "DATA_MINER_GRACE_SECONDS": "2"}
QUICK = {
    # Elections and looks in seconds; the rules are those of a real installation.
    "DATA_MINER_OPERATOR_LEASE_SECONDS": "6",
    "DATA_MINER_OPERATOR_LEASE_DEADLINE_SECONDS": "4",
    "DATA_MINER_OPERATOR_LEASE_RETRY_SECONDS": "1",
    "DATA_MINER_OPERATOR_RESYNC_SECONDS": "10",
    "DATA_MINER_OPERATOR_SCALE_SECONDS": "1",
}

KILLABLE = {"fsync": "off", "full_page_writes": "off"}
"""Of a PostgreSQL that tests kill: what is committed survives its death, as the kernel has it. It
does not survive the machine's."""


@dataclass
class Installation:
    """What `helm install` leaves behind, as processes of this machine."""

    cluster: Cluster
    node: ProcessNode
    home: Path
    server: Server | None
    """The installation's own PostgreSQL; None when it uses a database of the shared one."""
    database_url: str
    operators: list[OperatorProcess]
    proxy: ApiProxy | None
    engine: Engine

    # Pools

    def pool(self, name: str = "all", replicas: int = 0, **options: Any) -> None:
        """A worker pool whose pods use this installation's database and store."""
        environment = {**self.worker_environment(), **options.pop("env", {})}
        self.cluster.add_pool(name, replicas, env=environment, **options)

    def worker_environment(self) -> dict[str, str]:
        """What the chart sets in a worker's container."""
        return {
            **WORKER,
            "DATA_MINER_HOME": str(self.home / "data"),
            "DATA_MINER_DATABASE_URL": self.database_url,
            "PATH": os.environ["PATH"],
        }

    # Projects

    def apply_demo(self, name: str = "demo", **spec: Any) -> dict[str, Any]:
        """`kubectl apply` of the demo project, with other sections where some are given."""
        project = yaml.safe_load(DEMO_PROJECT.read_text())
        project["metadata"]["name"] = name
        project["spec"].update(spec)
        return self.cluster.apply(project)[0]

    def project(self, name: str = "demo") -> dict[str, Any]:
        """The object; it must be there."""
        found = self.cluster.get("MiningProject", name)
        assert found is not None, name
        return found

    def wait(
        self, condition: str, *, name: str = "demo", status: str = "True",
        reason: str | None = None, seconds: float = 120,
    ) -> dict[str, Any]:  # fmt: skip
        """The project as soon as a condition holds, for the generation that it has now."""

        def holds(seen: dict[str, Any] | None) -> bool:
            found = condition_of(seen, condition)
            return (
                seen is not None
                and found.get("status") == status
                and reason in {None, found.get("reason")}
                and seen["status"].get("observedGeneration") == seen["metadata"]["generation"]
            )

        found = self.cluster.wait(
            "MiningProject", name, holds, seconds=seconds, what=f"{condition}={status} {reason}"
        )
        assert found is not None
        return found

    def complete(self, name: str = "demo", *, seconds: float = 180) -> dict[str, Any]:
        """The project as soon as it is Complete."""
        return self.wait("Complete", name=name, seconds=seconds)

    def digest(self, name: str = "demo") -> str:
        """Digest of the newest dataset version that the catalogue has of a project."""
        rows = self.rows(
            "SELECT d.digest FROM datasets d JOIN projects p USING (project_id)"
            " WHERE p.namespace = :ns AND p.name = :name ORDER BY d.version DESC LIMIT 1",
            ns=self.cluster.namespace,
            name=name,
        )
        return str(rows[0].digest) if rows else ""

    # Rows

    def rows(self, query: str, **values: Any) -> list[Any]:
        """Rows of a query on the installation's database."""
        with self.engine.begin() as conn:
            result = conn.execute(text(query), values)
            return list(result) if result.returns_rows else []

    def number(self, query: str, **values: Any) -> int:
        """The one number that a query gives."""
        return int(self.rows(query, **values)[0][0])

    def used_attempts(self) -> int:
        """Attempts that work has cost beyond its first one, and losses, over live tasks."""
        return self.number(
            "SELECT coalesce(sum(attempt + lost_count), 0) FROM tasks"
        ) + self.number("SELECT coalesce(sum(attempts - 1), 0) FROM results")

    # Faults

    def kill_database(self) -> None:
        """End PostgreSQL as a power cut would; it stays away until `start_database`."""
        assert self.server is not None
        pid = self.server.process_id()
        assert pid is not None
        os.kill(pid, signal.SIGKILL)
        eventually(lambda: self.server is not None and self.server.process_id() is None,
                   what="PostgreSQL to be gone")  # fmt: skip

    def start_database(self) -> None:
        """Let PostgreSQL come back with its data."""
        assert self.server is not None
        self.server.ensure()

    @property
    def leader(self) -> OperatorProcess | None:
        """The replica that leads, if any says so."""
        return next(
            (each for each in self.operators if each.probe("/readyz")[1].startswith("leader")), None
        )

    def quiet(self, *, seconds: float = 30) -> None:
        """Return when the operator has asked nothing but the usual of the API server for 2 s."""
        proxy = self.proxy
        assert proxy is not None
        eventually(
            lambda: not proxy.writes(since=proxy.now() - 2.0, besides=("leases",)),
            seconds=seconds,
            what="the operator to write nothing",
        )


@contextlib.contextmanager
def installation_in(
    cluster: Cluster,
    node: ProcessNode,
    home: Path,
    *,
    database_url: str = "",
    replicas: int = 1,
    proxied: bool = False,
    start: bool = True,
    served: Sequence[str] | None = None,
    **variables: str,
) -> Iterator[Installation]:
    """An installation in the test's namespace; without `database_url` with its own PostgreSQL.

    It serves that namespace, or those in `served`; none there means the whole cluster.
    """
    with contextlib.ExitStack() as ends:
        server = None
        if not database_url:
            folder = enterable_folder()
            ends.callback(shutil.rmtree, folder, ignore_errors=True)
            server = ends.enter_context(Server(folder, settings=KILLABLE))
            database_url = server.url
            upgrade(database_url)
        proxy = None
        if proxied:
            proxy = ends.enter_context(ApiProxy(cluster.api.access, home / "proxy"))
        engine = engine_for(database_url, pool_size=2)
        ends.callback(engine.dispose)
        operators = ends.enter_context(
            operator_in(
                cluster,
                home / "operator",
                database_url,
                folder=EXAMPLES,
                replicas=replicas,
                through=proxy,
                served=served,
                **{**FAST, **QUICK, "DATA_MINER_HOME": str(home / "data"), **variables},
            )
        )
        made = Installation(cluster, node, home, server, database_url, operators, proxy, engine)
        if start:
            for each in operators:
                each.start()
        try:
            yield made
        finally:
            # Pods first: a worker that loses its database would only complain about it.
            for pool in cluster.list("Deployment"):
                with contextlib.suppress(KubeError):
                    cluster.delete("Deployment", pool["metadata"]["name"], grace_seconds=0)


def with_prompts(project: Mapping[str, Any], *prompts: str) -> dict[str, Any]:
    """A patch that makes the filter ask for these things."""
    return {"spec": {"filter": {**project["spec"]["filter"], "positive": list(prompts)}}}
