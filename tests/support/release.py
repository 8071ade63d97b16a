"""A release of the chart on a cluster with real nodes: as a user installs it, with our images."""

from __future__ import annotations

import json
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from support.chart import CHART, run_helm
from support.kubectl import Kubectl
from support.realnode import OwnCluster
from support.waiting import eventually

ROOT: Final = Path(__file__).parents[2]
IMAGES: Final = ("worker", "operator", "postgres", "versitygw")
PROJECT: Final = "MiningProject"
LONG: Final = 180.0
OURS: Final = {
    # Built here, under names that no registry has.
    "images": {
        "operator": {"registry": "localhost", "tag": "test"},
        "worker": {"registry": "localhost", "tag": "test"},
        "postgres": {"registry": "localhost", "tag": "test"},
        "s3": {"registry": "localhost", "repository": "versitygw", "tag": "test"},
    }
}
"""Values that name the images of this checkout; nothing else differs from the chart's."""
HASTY: Final = {
    "targetDrainSeconds": 10,
    "scaleDownStabilizationSeconds": 5,
    "stepSeconds": 2,
    "idleSeconds": 5,
}
"""Scaling by which a pool makes up its mind in seconds."""
CRD: Final = "miningprojects.data-miner.io"


def archives() -> list[Path]:
    """Archives of the images that an installation needs, of the present sources; built if need be.

    Raises CalledProcessError; the reason is on stderr.
    """
    done = subprocess.run(
        [str(ROOT / "scripts/images"), "tar", *IMAGES], check=True, capture_output=True, text=True
    )
    return [Path(line) for line in done.stdout.splitlines() if line.strip()]


def merged(*values: Mapping[str, Any]) -> dict[str, Any]:
    """Values upon values, as helm merges files."""
    made: dict[str, Any] = {}
    for each in values:
        for key, value in each.items():
            known = made.get(key)
            both = isinstance(known, dict) and isinstance(value, Mapping)
            made[key] = merged(known, value) if both else value  # type: ignore[arg-type]
    return made


@dataclass(slots=True)
class Release:
    """One installation in a namespace of its own, that enforces Pod Security "restricted"."""

    cluster: OwnCluster
    home: Path
    namespace: str = "data-miner"
    name: str = "data-miner"
    values: Mapping[str, Any] = field(default_factory=dict)
    fullname: str = ""
    """How its objects' names begin; absent: as the release's."""

    @property
    def kubectl(self) -> Kubectl:
        return self.cluster.kubectl

    def k(self, *arguments: str, seconds: float = 90) -> str:
        """kubectl in the release's namespace."""
        return self.kubectl(f"--namespace={self.namespace}", *arguments, seconds=seconds)

    def prepare(self) -> None:
        """The namespace."""
        self.kubectl.run("create", "namespace", self.namespace)
        label = "pod-security.kubernetes.io/enforce=restricted"
        self.kubectl("label", "--overwrite", "namespace", self.namespace, label)

    def helm(self, *arguments: str, seconds: float = 600) -> str:
        """What helm says. Raises AssertionError with its own words when it fails."""
        ended = run_helm(
            *arguments,
            f"--namespace={self.namespace}",
            env={"KUBECONFIG": str(self.cluster.kubeconfig)},
            seconds=seconds,
        )
        assert not ended.returncode, f"helm {arguments[0]}: {ended.stdout}{ended.stderr}"
        return ended.stdout

    def install(self, *arguments: str, chart: Path = CHART, **values: Any) -> float:
        """Install or upgrade, and wait until all is Ready; returns the seconds."""
        began = time.monotonic()
        file = self.home / "values.json"
        file.write_text(json.dumps(merged(OURS, self.values, values)))
        self.helm(
            "upgrade", "--install", self.name, str(chart), f"--values={file}", "--wait",
            "--timeout=300s", *arguments,
        )  # fmt: skip
        return time.monotonic() - began

    def apply(self, file: Path, *, namespace: str = "") -> None:
        """`kubectl apply` of a file with a project."""
        self.kubectl("apply", f"--namespace={namespace or self.namespace}", f"--filename={file}")

    def project(self, name: str, *, namespace: str = "") -> dict[str, Any]:
        """A project as it stands."""
        found = self.kubectl.json("get", "mp", name, f"--namespace={namespace or self.namespace}")
        assert isinstance(found, dict)
        return found

    def complete(self, name: str, *, namespace: str = "", seconds: float = LONG) -> dict[str, Any]:
        """The project, as soon as it is Complete."""
        where = f"--namespace={namespace or self.namespace}"
        limit = f"--timeout={seconds:.0f}s"
        what = ("wait", f"mp/{name}", "--for=condition=Complete", limit, where)
        self.kubectl(*what, seconds=seconds + 30)
        return self.project(name, namespace=namespace)

    def pods(self, component: str = "") -> list[dict[str, Any]]:
        """Pods of the release that are not being deleted, of one component or of all."""
        chosen = f"app.kubernetes.io/instance={self.name}"
        if component:
            chosen += f",app.kubernetes.io/component={component}"
        found = self.kubectl.json(
            "get", "pods", f"--namespace={self.namespace}", f"--selector={chosen}"
        )["items"]
        return [p for p in found if "deletionTimestamp" not in p["metadata"]]

    def leader(self) -> str:
        """Name of the operator's pod that leads; empty when none does."""
        leases = self.kubectl.json("get", "leases", f"--namespace={self.namespace}")["items"]
        holders = [str(one["spec"].get("holderIdentity") or "") for one in leases]
        return next((holder.partition("_")[0] for holder in holders if holder), "")

    def replicas(self, deployment: str) -> int:
        """What a Deployment asks for."""
        found = self.kubectl.json("get", "deployment", deployment, f"--namespace={self.namespace}")
        return int(found["spec"]["replicas"])

    def sized(self, deployment: str, number: int, *, seconds: float = LONG) -> None:
        """Return when a Deployment asks for so many."""
        eventually(
            lambda: self.replicas(deployment) == number,
            seconds=seconds,
            what=f"{deployment} has {number} replicas",
        )

    def sql(self, statement: str) -> Sequence[str]:
        """Rows of the release's own database, one text each."""
        ask = (
            'PGPASSWORD=$(cat "$PASSWORD_FILE") exec psql --host=127.0.0.1 --username=data_miner'
            ' --dbname="$DATABASE_NAME" --tuples-only --no-align --command="$1"'
        )
        pod = f"pod/{self.fullname or self.name}-database-0"
        told = self.k("exec", pod, "--", "sh", "-c", ask, "sh", statement)
        return [line for line in told.splitlines() if line]


@contextmanager
def alone(cluster: OwnCluster, home: Path, namespace: str, **values: Any) -> Iterator[Release]:
    """A namespace for a release of a test's own; when the block ends, nothing of either is left.

    Nothing is installed yet. A namespace has one operator, and the definition of projects one
    owner: no other release may be there that serves all.
    """
    made = Release(cluster, home, namespace, values=values)
    made.prepare()
    try:
        yield made
    finally:
        with ExitStack() as ends:  # whatever of it fails, the rest goes too
            ends.callback(made.kubectl, "delete", "namespace", namespace, "--wait", seconds=180)
            ends.callback(made.kubectl, "delete", "crd", CRD, "--ignore-not-found", seconds=120)
            whole = ("--deployed", "--failed", "--pending", "--uninstalling")
            for name in json.loads(made.helm("list", "--short", "--output=json", *whole)):
                made.helm("uninstall", name, "--wait")
