"""What `helm uninstall` leaves, and that it is found again: the story of one installation."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import pytest

from support.product import DEMO_PROJECT
from support.realnode import OwnCluster
from support.release import CRD, HASTY, Release, alone, merged
from support.waiting import eventually

POOL: Final = "data-miner-worker-default"
CRD_KIND: Final = "CustomResourceDefinition"
KEPT: Final = {
    CRD_KIND: [CRD],
    "PersistentVolumeClaim": ["data-miner-database", "data-miner-store"],
    "Secret": ["data-miner-database", "data-miner-store"],
}
KINDS: Final = (
    "deployments,statefulsets,jobs,cronjobs,configmaps,services,serviceaccounts,roles,rolebindings,"
    "networkpolicies,poddisruptionbudgets,secrets,persistentvolumeclaims"
)


@pytest.fixture
def mined(real_nodes: OwnCluster, tmp_path: Path) -> Iterator[tuple[Release, dict[str, Any]]]:
    """An installation that has mined the demo, and the project."""
    scaling = {"workers": {"defaults": {"scaling": HASTY}}}
    with alone(real_nodes, tmp_path, "kept", **scaling) as release:
        release.install()
        release.apply(DEMO_PROJECT)
        yield release, release.complete("demo", seconds=300)


def said_to_stay(told: str) -> dict[str, list[str]]:
    """Names of what helm says that it keeps, by kind."""
    found: dict[str, list[str]] = {}
    for kind, name in re.findall(r"^\[(\w+)\] (\S+)$", told, re.MULTILINE):
        found.setdefault(kind, []).append(name)
    return {kind: sorted(names) for kind, names in sorted(found.items())}


def there(release: Release) -> dict[str, list[str]]:
    """Names of what the namespace holds of the release, by kind."""
    chosen = "--selector=app.kubernetes.io/part-of=data-miner"
    found: dict[str, list[str]] = {}
    for one in release.kubectl.json("get", KINDS, f"--namespace={release.namespace}", chosen)[
        "items"
    ]:
        found.setdefault(one["kind"], []).append(one["metadata"]["name"])
    return {kind: sorted(names) for kind, names in sorted(found.items())}


def made(release: Release) -> list[str]:
    """Every result and every version of a dataset, with when it was made."""
    return [
        *release.sql("SELECT recipe_id, subject, finished_at FROM results ORDER BY 1, 2"),
        *release.sql("SELECT version, digest, uri, created_at FROM datasets ORDER BY 1"),
    ]


def rests(release: Release, before: dict[str, Any], rows: list[str]) -> None:
    """The project is Complete with its dataset; nothing was made anew, and no worker started."""
    # An edit that changes nothing of the dataset: who answers it is the operator that is there now.
    # Each time another value, since the last edit of the test before stands.
    current = release.project("demo")
    priority = current["spec"].get("priority", 0) + 1
    release.k("patch", "mp/demo", "--type=merge", f'--patch={{"spec": {{"priority": {priority}}}}}')
    seen = f"--for=jsonpath={{.status.observedGeneration}}={current['metadata']['generation'] + 1}"
    release.k("wait", "mp/demo", seen, "--timeout=120s", seconds=150)
    now = release.complete("demo")
    assert now["metadata"]["uid"] == before["metadata"]["uid"]
    assert now["status"]["dataset"] == before["status"]["dataset"]
    assert made(release) == rows
    release.sized(POOL, 0)
    assert made(release) == rows


@pytest.mark.timeout(1200)
def test_what_uninstalling_leaves_is_named_and_is_found_again_also_under_another_name(
    mined: tuple[Release, dict[str, Any]],
) -> None:
    release, project = mined
    rows = made(release)
    assert rows

    told = release.helm("uninstall", release.name, "--wait")
    assert said_to_stay(told) == KEPT
    assert there(release) == {kind: names for kind, names in KEPT.items() if kind != CRD_KIND}
    assert not release.pods()
    assert release.project("demo")["status"]["dataset"] == project["status"]["dataset"]

    # The same name: nothing has to be said.
    seconds = release.install()
    print(f"\nagain after {seconds:.0f} s")  # noqa: T201
    rests(release, project, rows)
    release.helm("uninstall", release.name, "--wait")

    # Another name: Helm asks for a word, and the notes had said which.
    other = Release(
        release.cluster, release.home, release.namespace, "other",
        values=merged(release.values, {"fullnameOverride": "data-miner"}), fullname="data-miner",
    )  # fmt: skip
    with pytest.raises(AssertionError, match="invalid ownership metadata"):
        other.install()
    other.install("--take-ownership")
    rests(other, project, rows)
    assert "--take-ownership" in other.helm("get", "notes", other.name)

    # Told otherwise, the definition goes as well, and every project with it.
    other.install(crds={"keep": False})
    assert CRD not in said_to_stay(other.helm("uninstall", other.name, "--wait")).get(CRD_KIND, [])
    eventually(lambda: release.kubectl.run("get", "crd", CRD).returncode == 1, what="it is gone")
