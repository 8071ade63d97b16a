"""An installation that a whole file of tests shares: two namespaces, one pool, one database."""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from secrets import token_hex
from typing import Any

import yaml

from support.cluster import Cluster, fresh_namespace, on_node
from support.controlplane import ControlPlane
from support.installation import EXAMPLES, Installation, installation_in
from support.kube_client import KubeClient
from support.node import NodeSpec, ProcessNode
from support.operator_process import OperatorProcess
from support.product import DEMO_MEDIA, DEMO_PROJECT
from support.users_cluster import UsersCluster, wanted
from support.waiting import eventually

MODEL_SCRIPT = """
import os, pathlib, shutil, sys, data_miner_models.cards as cards
name, store = os.environ["DATA_MINER_MODEL"], pathlib.Path(os.environ["STORE"])
if not name.startswith("team-"):
    sys.exit(f"nobody here knows how to make {name}")
store.mkdir(parents=True, exist_ok=True)
shutil.copytree(cards.BUNDLED / "tiny", store / "tiny", dirs_exist_ok=True)
text = (cards.BUNDLED / "tiny-siglip.toml").read_text()
card = store / f".{name}.making"
card.write_text(text.replace('"tiny-siglip"', f'"{name}"', 1))
card.rename(store / f"{name}.toml")
"""
"""Makes any model of the team's: the bundled one under another name."""

PROJECT_TABLES = (
    "projects", "project_stages", "project_sources", "project_videos", "waves", "tasks", "results",
    "datasets", "events",
)  # fmt: skip


@dataclass
class Town:
    """The installation, seen from its first namespace."""

    installation: Installation
    elsewhere: Installation
    """The same one, seen from the other namespace that it serves."""
    home: Path

    @property
    def cluster(self) -> Cluster:
        return self.installation.cluster

    @property
    def credentials(self) -> Path:
        """The file with the names of what workers have."""
        return self.home / "credentials.yaml"

    @property
    def models(self) -> Path:
        """A store of models that operator and workers look into."""
        return self.home / "models"

    def videos(self, name: str, *clips: str) -> Path:
        """A folder within reach with these clips of the demo."""
        folder = self.home / "videos" / name
        folder.mkdir(parents=True, exist_ok=True)
        for clip in clips:
            shutil.copyfile(DEMO_MEDIA / clip, folder / clip)
        return folder

    @property
    def demo_media(self) -> Path:
        """The demo's clips, under an absolute path."""
        return DEMO_MEDIA

    @property
    def operator(self) -> OperatorProcess:
        """Its only replica."""
        (only,) = self.installation.operators
        return only

    def edit(self, name: str, **spec: Any) -> None:
        """`kubectl patch` of some fields of a spec."""
        self.cluster.patch("MiningProject", name, {"spec": spec})

    def delete(self, name: str) -> None:
        """`kubectl delete`, which has to end at once: nothing may hold the object."""
        assert "finalizers" not in self.installation.project(name)["metadata"]
        self.kubectl("delete", f"mp/{name}", "--timeout=10s")

    def kubectl(self, *arguments: str, stdin: str = "") -> str:
        """What kubectl prints, in the first namespace."""
        namespace = f"--namespace={self.cluster.namespace}"
        verb, *rest = arguments
        given = [] if verb == "explain" else [namespace]
        return self.cluster.kubectl(verb, *given, *rest, stdin=stdin, seconds=200)

    def kubectl_apply(self, *projects: Mapping[str, Any]) -> None:
        """`kubectl apply -f`, as people do it."""
        self.kubectl("apply", "-f", "-", stdin=yaml.safe_dump_all(projects))

    def restart(self) -> None:
        """SIGTERM to the operator, and a new life; returns when that leads."""
        assert self.operator.terminate() == 0
        self.operator.start()
        self.operator.wait_for("/readyz", "leader")

    def rest(self) -> None:
        """Return when the operator has done what it was told of and has nothing in hand."""
        operator = self.operator

        def idle() -> bool:
            return all(
                operator.metric(series) == 0
                for series in ("workqueue_depth", "workqueue_unfinished_work_seconds")
            )

        eventually(idle, seconds=90, what="the operator to rest")
        since = operator.metric("dataminer_last_resync")
        eventually(
            lambda: operator.metric("dataminer_last_resync") > since and idle(),
            seconds=90,
            what="the operator to rest after another look at everything",
        )

    # Rows

    def row(self, name: str, column: str) -> Any:
        """A column of a project's row in the first namespace; it must be there."""
        ((value,),) = self.installation.rows(
            f"SELECT {column} FROM projects WHERE namespace = :ns AND name = :name",
            ns=self.cluster.namespace,
            name=name,
        )
        return value

    def project_id(self, name: str) -> int:
        """Of the row in the first namespace."""
        return int(self.row(name, "project_id"))

    def has_row(self, name: str) -> bool:
        """Whether the catalogue has such a project, and not as a deleted one."""
        return bool(
            self.installation.number(
                "SELECT count(*) FROM projects"
                " WHERE namespace = :ns AND name = :name AND deleted_at IS NULL",
                ns=self.cluster.namespace,
                name=name,
            )
        )

    def released(self, name: str) -> None:
        """Return when a project's row stands for no object any more, and nobody works on it."""
        eventually(
            lambda: self.row(name, "owner_uid") is None and self.row(name, "suspended"),
            seconds=120,
            what=f"{name} to be let go",
        )

    def tasks(self, name: str, *states: str) -> list[str]:
        """Stages of a project's live work, in these states or in any."""
        rows = self.installation.rows(
            "SELECT stage FROM tasks WHERE project_id = :p"
            " AND (state = ANY (:states) OR :states = '{}') ORDER BY id",
            p=self.project_id(name),
            states=list(states),
        )
        return [row.stage for row in rows]

    def claims(self, name: str) -> list[tuple[str, str, int]]:
        """How often each of a project's tasks was taken by a worker."""
        rows = self.installation.rows(
            "SELECT stage, subject, claim_seq FROM tasks WHERE project_id = :p ORDER BY id",
            p=self.project_id(name),
        )
        return [(row.stage, row.subject, row.claim_seq) for row in rows]

    def written(self, name: str) -> dict[str, list[str]]:
        """Which transaction wrote each row of a project last: equal means that nobody has since."""
        number = self.project_id(name)
        return {
            table: [
                str(row[0])
                for row in self.installation.rows(
                    f"SELECT xmin FROM {table} WHERE project_id = :p ORDER BY ctid", p=number
                )
            ]
            for table in PROJECT_TABLES
        }

    def results(self, name: str, *stages: str) -> dict[tuple[str, str], str]:
        """When each result was made that a project's present recipes have, of some stages."""
        rows = self.installation.rows(
            "SELECT r.stage, r.subject, r.finished_at FROM results r JOIN project_stages s"
            " USING (recipe_id) WHERE s.project_id = :p AND r.stage = ANY (:stages)",
            p=self.project_id(name),
            stages=list(stages),
        )
        return {(row.stage, row.subject): str(row.finished_at) for row in rows}

    def events(self, name: str) -> list[str]:
        """Reasons of a project's Events, oldest first, each as often as it was told."""
        found = [
            event
            for event in self.cluster.list("Event")
            if event["regarding"].get("name") == name
            and event["regarding"].get("kind") == "MiningProject"
        ]
        found.sort(key=lambda event: str(event["eventTime"]))
        return [
            event["reason"]
            for event in found
            for _ in range((event.get("series") or {}).get("count", 1))
        ]

    def told(self, name: str, *reasons: str) -> None:
        """Return when these Events of a project were told in this order, whatever others between.

        Events are posted in the background: the last ones may come a moment after the status.
        """

        def all_there() -> bool:
            told = iter(self.events(name))
            return all(reason in told for reason in reasons)

        eventually(
            all_there, seconds=60, what=f"{name}: Events {', '.join(reasons)}; {self.events(name)}"
        )


def model_template(node: str, store: Path) -> dict[str, Any]:
    """The suspended CronJob that the chart brings, with a script instead of an export."""
    container = {
        "name": "export",
        "image": "data-miner-worker",
        "command": ["python", "-c", MODEL_SCRIPT],
        "env": [{"name": "STORE", "value": str(store)}],
    }
    pod = {**on_node(node), "restartPolicy": "Never", "containers": [container]}
    return {
        "apiVersion": "batch/v1",
        "kind": "CronJob",
        "metadata": {"name": "models", "labels": {"data-miner.io/template": "model"}},
        "spec": {
            "suspend": True,
            "schedule": "0 0 1 1 *",
            "jobTemplate": {"spec": {"backoffLimit": 0, "template": {"spec": pod}}},
        },
    }


@contextlib.contextmanager
def town_in(
    plane: ControlPlane | UsersCluster,
    api: KubeClient,
    home: Path,
    template: Callable[[str, Path], dict[str, Any]] = model_template,
) -> Iterator[Town]:
    """An installation with its own PostgreSQL, behind a proxy that counts, one worker at work.

    `template`: what Jobs that make models are made of, for a node and a store.
    """
    mark = token_hex(3)
    credentials = home / "credentials.yaml"
    credentials.write_text("{}\n")
    node_spec = NodeSpec(f"process-node-{mark}", tainted=wanted())
    with (
        ProcessNode(api.access, home / "node", node_spec) as node,
        fresh_namespace(api, f"town-{mark}") as first,
        fresh_namespace(api, f"suburb-{mark}") as other,
    ):
        cluster = Cluster(api, plane.kubectl, first, node.name)
        store = home / "models"
        with installation_in(
            cluster,
            node,
            home,
            proxied=True,
            served=[first, other],
            DATA_MINER_ALLOWED_PREFIXES=f"{EXAMPLES} {home}",
            DATA_MINER_OPERATOR_CREDENTIALS_FILE=str(credentials),
            DATA_MINER_OPERATOR_RESYNC_SECONDS="3",
            DATA_MINER_MODELS_DIRS=str(store),
        ) as installation:
            cluster.apply(template(node.name, store))
            installation.pool(
                "all",
                min_replicas="1",
                max_replicas="2",
                env={"DATA_MINER_MODELS_DIRS": str(store)},
            )
            suburb = replace(installation, cluster=replace(cluster, namespace=other))
            yield Town(installation, suburb, home)


def demo(name: str, **spec: Any) -> dict[str, Any]:
    """The demo's project under another name, with other sections where some are given."""
    project: dict[str, Any] = yaml.safe_load(DEMO_PROJECT.read_text())
    project["metadata"]["name"] = name
    project["spec"].update(spec)
    return project


def frames(name: str, uri: str | Path = "demo/media/harbour.webm", **spec: Any) -> dict[str, Any]:
    """A project that only cuts clips into frames: what is quickest to complete."""
    return {
        "apiVersion": "data-miner.io/v1alpha1",
        "kind": "MiningProject",
        "metadata": {"name": name},
        "spec": {
            "sources": [{"files": {"uri": str(uri)}}],
            "sampling": {"strategy": "Time", "every": "2s"},
            **spec,
        },
    }
