"""The chart's own Job for a model on a real control plane: it waits, fails, tries again, works."""

from __future__ import annotations

import base64
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from support.chart import one, render
from support.cluster import condition_of, on_node
from support.controlplane import ControlPlane
from support.installation import Installation
from support.kube_client import KubeClient
from support.town import MODEL_SCRIPT, Town, frames, town_in
from support.users_cluster import UsersCluster
from support.waiting import eventually

LONG = 120.0
"""Seconds within which something shows, also on a machine that is busy with much else."""
TOKEN = "hf_" + "x" * 30
SCRIPT = f"""
import os, pathlib, sys
if not (pathlib.Path(os.environ["STORE"]) / "mended").exists():
    os.execv(sys.executable, [sys.executable, "-m", "data_miner.cli.main", *sys.argv[1:]])
{MODEL_SCRIPT}
"""
"""The command of the release, which here has no torch; once that is mended, what makes a model."""
ASKS: dict[str, Any] = {"filter": {"model": "team-siglip", "positive": ["a photo of a star"]}}


def template(node: str, store: Path) -> dict[str, Any]:
    """What the chart brings, to be run by a node that mounts nothing and knows no accounts."""
    export = {"enabled": True, "tokenSecret": "hub", "retrySeconds": 10}
    models = {"source": "claim", "claim": {"existingClaim": "models"}, "export": export}
    found = one(render({"models": models}), "CronJob", "data-miner-model")
    found["metadata"].pop("namespace")
    del found["metadata"]["annotations"]  # the operator here is no release's
    pod = found["spec"]["jobTemplate"]["spec"]["template"]["spec"]
    for name in ("serviceAccountName", "securityContext", "volumes"):
        del pod[name]
    pod |= on_node(node)
    [container] = pod["containers"]
    del container["volumeMounts"], container["resources"]
    container["command"] = ["python", "-c", SCRIPT]
    container["args"] = [
        each.replace("--out=/models", f"--out={store}").replace(
            "=/scratch", f"={store.parent}/work"
        )
        for each in container["args"]
    ]
    container["env"].append({"name": "STORE", "value": str(store)})
    return found


@pytest.fixture(scope="module")
def town(
    control_plane: ControlPlane | UsersCluster,
    api: KubeClient,
    crds: None,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Town]:
    """An installation of two namespaces whose models are made by the chart's Job."""
    with town_in(control_plane, api, tmp_path_factory.mktemp("town"), template) as made:
        yield made


@pytest.fixture(autouse=True)
def _operator_log(town: Town) -> Iterator[None]:
    """A test that fails shows what the operator said meanwhile."""
    before = len(town.operator.said())
    yield
    sys.stdout.write(town.operator.said()[before:][-6000:])


def told(here: Installation, reason: str, words: str) -> dict[str, Any]:
    """The project as soon as it waits for its model for this reason, with these words."""
    seen: list[dict[str, Any]] = []

    def says() -> bool:
        project = here.project("waits")
        found = condition_of(project, "ModelsReady")
        seen[:] = [project]
        return found.get("reason") == reason and words in found["message"]

    eventually(says, seconds=LONG, what=f"{reason}, {words}")
    return seen[0]


def uid_of(town: Town, name: str) -> str | None:
    """UID of the Job of this name, if there is one."""
    found = town.cluster.get("Job", name)
    return None if found is None else str(found["metadata"]["uid"])


def test_projects_of_two_namespaces_wait_for_one_job_until_it_works(town: Town) -> None:
    """While its pod cannot start, the condition says why; when it has failed, what the command has
    said; when it is gone, the next one tries; and when that has made the model, all complete. The
    token that it has is nowhere to be read."""
    both = (town.installation, town.elsewhere)
    for here in both:
        here.cluster.apply(frames("waits", **ASKS))
    for here in both:
        told(
            here,
            "MakingModels",
            'being made: team-siglip; CreateContainerConfigError: secret "hub"',
        )
    [first] = town.cluster.list("Job")
    assert first["metadata"]["annotations"]["data-miner.io/model-name"] == "team-siglip"

    town.cluster.apply(
        {
            "apiVersion": "v1",
            "kind": "Secret",
            "metadata": {"name": "hub"},
            "data": {"token": base64.b64encode(TOKEN.encode()).decode()},
        }
    )
    for here in both:
        words = "could not make model team-siglip: exporting needs torch"
        failed = told(here, "ModelJobFailed", words)
        assert condition_of(failed, "Stalled")["reason"] == "ModelJobFailed"
    name, uid = first["metadata"]["name"], first["metadata"]["uid"]
    eventually(
        lambda: uid_of(town, name) not in {None, uid},
        seconds=LONG,
        what="another Job in the place of the first",
    )
    assert not town.has_row("waits")

    town.models.mkdir(exist_ok=True)
    (town.models / "mended").touch()
    for here in both:
        here.wait("ModelsReady", name="waits", seconds=LONG)
        here.complete("waits")
    for here in both:
        said = [here.project("waits"), *here.cluster.list("Event"), *here.cluster.list("Job")]
        assert TOKEN not in json.dumps(said) + town.operator.said()
    town.told("waits", "MakingModels", "ModelsMissing", "Applied", "Completed")
