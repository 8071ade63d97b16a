"""A project's life in a cluster, from `kubectl apply` to its last row."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml

from data_miner_operator import rbac
from support.cluster import condition_of, fresh_namespace
from support.controlplane import ControlPlane
from support.kube_client import KubeClient
from support.operator_process import OperatorProcess
from support.product import Product, write_project
from support.town import Town, demo, frames, town_in
from support.users_cluster import UsersCluster
from support.waiting import eventually

SQUARES = ["a photo of a star", "a photo of a square"]
LONG = 120.0
"""Seconds within which something shows, also on a machine that is busy with much else."""


@pytest.fixture(scope="module")
def town(
    control_plane: ControlPlane | UsersCluster,
    api: KubeClient,
    crds: None,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Town]:
    """One installation for this file; each test has projects of its own in it."""
    with town_in(control_plane, api, tmp_path_factory.mktemp("town")) as made:
        yield made


@pytest.fixture(autouse=True)
def _operator_log(town: Town) -> Iterator[None]:
    """A test that fails shows what the operator said meanwhile."""
    before = len(town.operator.said())
    yield
    sys.stdout.write(town.operator.said()[before:][-6000:])


# Suspend, complete, edit


def test_a_suspended_project_gets_no_worker_and_resumed_it_makes_the_same_dataset(
    town: Town,
) -> None:
    """Suspended from the start nobody takes its work, suspended on its way nobody takes more of
    it; resumed, it makes what an undisturbed project of its name in another namespace makes."""
    here = town.installation
    spec = {"sampling": {"strategy": "Time", "every": "400ms"}}
    town.cluster.apply(demo("pause", suspend=True, **spec))
    here.wait("Suspended", name="pause", seconds=LONG)
    town.cluster.apply(frames("busy-with-another"))
    here.complete("busy-with-another")
    assert all(claims == 0 for _, _, claims in town.claims("pause"))

    town.edit("pause", suspend=False)
    eventually(lambda: bool(town.results("pause", "extract")), seconds=LONG, what="frames")
    town.edit("pause", suspend=True)
    here.wait("Suspended", name="pause", seconds=LONG)
    eventually(lambda: not town.tasks("pause", "running"), seconds=LONG, what="tasks to end")
    claims = town.claims("pause")
    town.cluster.apply(frames("busy-again", sampling={"strategy": "Time", "every": "3s"}))
    here.complete("busy-again")
    assert town.claims("pause") == claims
    assert condition_of(here.project("pause"), "Complete")["reason"] == "Suspended"

    town.edit("pause", suspend=False)
    assert here.complete("pause")["status"]["phase"] == "Complete"
    town.elsewhere.cluster.apply(demo("pause", **spec))
    twin = town.elsewhere.complete("pause")
    assert here.digest("pause") == town.elsewhere.digest("pause") != ""
    assert twin["status"]["projectId"] != here.project("pause")["status"]["projectId"]
    town.told("pause", "Applied", "Suspended", "Resumed", "Suspended", "Resumed", "Completed")


def test_a_target_ends_a_project_and_an_edit_makes_it_go_on(town: Town) -> None:
    """Complete with as many images as were asked for; with a higher target and with other prompts
    it goes on, and `Complete` is said of the new generation."""
    here = town.installation
    town.cluster.apply(demo("enough", target={"images": 3}))
    first = here.wait("Complete", name="enough", reason="TargetReached", seconds=120)
    assert first["status"]["images"]["kept"] >= 3
    assert first["status"]["observedGeneration"] == 1

    town.edit("enough", target={"images": 6})
    second = here.wait("Complete", name="enough", seconds=120)
    assert second["status"]["observedGeneration"] == 2
    assert second["status"]["images"]["kept"] >= first["status"]["images"]["kept"]

    town.edit("enough", filter={**second["spec"]["filter"], "positive": SQUARES})
    third = here.wait("Complete", name="enough", seconds=120)
    assert third["status"]["observedGeneration"] == 3
    assert third["status"]["dataset"]["digest"] != second["status"]["dataset"]["digest"]


def test_other_prompts_run_the_filter_and_what_follows_alone(town: Town, tmp_path: Path) -> None:
    """Nothing is fetched, decoded or embedded again, and the dataset is that of a laptop which
    mines the edited file from nothing."""
    here = town.installation
    before = demo("edited")
    town.cluster.apply(before)
    here.complete("edited")
    early = ("discover", "download", "extract", "embed")
    late = ("filter", "dedup", "cut", "detect", "export")
    made, rest = town.results("edited", *early), town.results("edited", *late)
    downloads = here.number("SELECT count(*) FROM results WHERE stage = 'download'")

    after = demo("edited", filter={**before["spec"]["filter"], "positive": SQUARES})
    after["spec"]["sources"] = [{"files": {"uri": str(town.demo_media), "glob": "*"}}]
    laptop = Product(tmp_path / "home").mine(write_project(tmp_path, yaml.safe_dump(after)))
    town.edit("edited", filter=after["spec"]["filter"])
    done = here.complete("edited")

    assert done["status"]["dataset"]["digest"] == laptop["dataset"]["digest"]
    assert town.results("edited", *early) == made
    assert here.number("SELECT count(*) FROM results WHERE stage = 'download'") == downloads
    assert not rest.items() & town.results("edited", *late).items()
    town.told("edited", "Applied", "DatasetPublished", "Completed", "Replanned")


# Nothing to do


def test_whatever_rests_is_not_written_again(town: Town) -> None:
    """Applied twice, touched, and after the operator's restart: no write to the API server and
    none to the database for projects that rest in all their ways, and no Event is told again."""
    here, cluster = town.installation, town.cluster
    resting = [
        frames("rests-complete"),
        frames("rests-suspended", suspend=True),
        frames("rests-stalled", town.videos("nothing-here")),
        frames("rests-refused", "/etc"),
        frames("rests-disabled"),
    ]
    resting[-1]["metadata"]["annotations"] = {"data-miner.io/reconcile": "disabled"}
    names = [each["metadata"]["name"] for each in resting]
    town.kubectl_apply(*resting)
    here.complete(names[0])
    here.wait("Suspended", name=names[1], seconds=LONG)
    here.wait("Stalled", name=names[2], reason="NothingFound", seconds=LONG)
    here.wait("Ready", name=names[3], status="False", reason="NotAllowed", seconds=LONG)
    cluster.wait_condition("MiningProject", names[4], "Ready", status="Unknown", seconds=LONG)
    town.rest()
    rows = {name: town.written(name) for name in names[:3]}
    told = {name: town.events(name) for name in names}
    assert not town.has_row(names[3])
    assert not town.has_row(names[4])

    assert here.proxy is not None
    since = here.proxy.now()
    versions = [here.project(name)["metadata"]["resourceVersion"] for name in names]
    town.kubectl_apply(*resting)
    assert [here.project(name)["metadata"]["resourceVersion"] for name in names] == versions
    for name in names:
        cluster.patch("MiningProject", name, _LABEL)
    town.rest()
    town.restart()
    operator = town.operator
    eventually(
        lambda: operator.metric("dataminer_reconcile_total") >= len(names), what="it has looked"
    )
    town.rest()

    writes = here.proxy.writes(since=since)
    assert [w for w in writes if w.name in names or w.resource == "events"] == []
    assert [w for w in writes if w.resource == "leases"]  # the proxy does count
    assert {name: town.written(name) for name in names[:3]} == rows
    assert {name: town.events(name) for name in names} == told
    assert all(len(reasons) == len(set(reasons)) for reasons in told.values())
    assert told["rests-complete"] == ["Applied", "Completed"]


_LABEL = {"metadata": {"labels": {"touched": "yes"}}}


def test_a_project_that_asks_for_it_is_left_alone(town: Town) -> None:
    """With `data-miner.io/reconcile: disabled` neither an edit nor a suspension is taken up, and
    all of it is when the annotation goes."""
    here, cluster = town.installation, town.cluster
    cluster.apply(frames("alone"))
    here.wait("Ready", name="alone", seconds=LONG)
    here.complete("alone")
    cluster.annotate("MiningProject", "alone", reconcile="disabled")
    cluster.wait_condition("MiningProject", "alone", "Ready", status="Unknown", seconds=LONG)
    rows = town.written("alone")

    town.edit("alone", suspend=True, priority=7)
    town.rest()
    assert town.written("alone") == rows
    assert here.project("alone")["status"]["observedGeneration"] == 1

    cluster.annotate("MiningProject", "alone", reconcile=None)
    here.wait("Suspended", name="alone", seconds=LONG)
    assert town.row("alone", "priority") == 7
    assert town.written("alone") != rows
    town.told("alone", "Applied", "Completed", "ReconciliationDisabled", "ReconciliationEnabled")


# Refused, and mended


def test_a_spec_out_of_bounds_is_refused_with_its_path_and_the_last_good_one_goes_on(
    town: Town,
) -> None:
    """What the API server cannot see as wrong: the condition names the place, the workers go on
    with what was applied before, and mended the new spec is taken up."""
    here = town.installation
    node = here.node
    eventually(lambda: bool(node.pids("^all-")), seconds=LONG, what="a worker")
    good = frames("bounds", sampling={"strategy": "Time", "every": "1500ms"})
    node.freeze("^all-")
    try:
        town.cluster.apply(good)
        here.wait("Ready", name="bounds", seconds=LONG)
        town.edit("bounds", sources=[{"files": {"uri": "/etc/videos"}}])
        seen = here.wait("SpecValid", name="bounds", status="False", reason="NotAllowed")
        message = condition_of(seen, "SpecValid")["message"]
        assert message.startswith("spec.sources[0].files.uri: /etc/videos is outside")
        assert condition_of(seen, "Complete")["status"] == "False"
    finally:
        node.thaw("^all-")
    eventually(lambda: len(town.results("bounds", "extract")) == 1, seconds=LONG, what="frames")

    town.edit("bounds", sources=good["spec"]["sources"])
    here.wait("SpecValid", name="bounds")
    here.complete("bounds")


def test_a_credential_that_the_workers_lack_is_waited_for(town: Town) -> None:
    """The condition names it; nothing is applied until the installation's list has it."""
    here = town.installation
    town.cluster.apply(frames("secretive", download={"secretRef": {"name": "video-site"}}))
    seen = here.wait("CredentialsReady", name="secretive", status="False", seconds=LONG)
    assert "video-site" in condition_of(seen, "CredentialsReady")["message"]
    town.rest()
    assert not town.has_row("secretive")

    town.credentials.write_text("video-site: []\n")

    here.wait("CredentialsReady", name="secretive", reason="Mounted", seconds=LONG)
    here.wait("Ready", name="secretive", seconds=LONG)


def test_a_model_that_no_store_has_is_made_by_one_job(town: Town) -> None:
    """Two projects name it, one Job of the suspended CronJob makes it, and both complete; a model
    that cannot be made is reported with its Job."""
    here, cluster = town.installation, town.cluster
    asks = {"model": "team-siglip", "positive": ["a photo of a star"]}
    cluster.apply(frames("model-one", filter=asks), frames("model-two", filter=asks))
    for name in ("model-one", "model-two"):
        here.complete(name)
        town.told(name, "MakingModels", "Applied", "Completed")
    assert [job["metadata"]["annotations"]["data-miner.io/model-name"] for job in
            cluster.list("Job")] == ["team-siglip"]  # fmt: skip
    assert (town.models / "team-siglip.toml").exists()

    cluster.apply(frames("model-none", filter={**asks, "model": "their-siglip"}))
    seen = here.wait("Stalled", name="model-none", reason="ModelJobFailed", seconds=LONG)
    assert "could not make model their-siglip" in condition_of(seen, "ModelsReady")["message"]
    assert not town.has_row("model-none")
    town.told("model-none", "MakingModels", "ModelsMissing")


def test_what_has_failed_is_retried_once_for_each_word(town: Town) -> None:
    """A dead letter is tried again when the annotation says something new, and only then."""
    here, cluster = town.installation, town.cluster
    folder = town.home / "videos" / "late"
    cluster.apply(frames("again", folder))
    here.wait("Stalled", name="again", reason="SourcesFailed", seconds=LONG)
    failed = town.claims("again")

    cluster.annotate("MiningProject", "again", retry_failed="first")
    cluster.wait("MiningProject", "again", lambda p: _retried(p) == "first", seconds=LONG)
    eventually(
        lambda: town.claims("again") > failed and len(town.tasks("again", "failed")) == 1,
        seconds=LONG,
        what="it has failed again",
    )
    failed = town.claims("again")
    town.videos("late", "harbour.webm")
    cluster.patch("MiningProject", "again", _LABEL)
    town.rest()
    assert town.claims("again") == failed

    cluster.annotate("MiningProject", "again", retry_failed="second")
    here.complete("again")
    assert here.project("again")["status"]["retried"] == "second"
    town.told("again", "Applied", "Stalled", "Retried", "Stalled", "Retried", "Completed")


def _retried(project: dict[str, Any] | None) -> str:
    return str(((project or {}).get("status") or {}).get("retried", ""))


# Whose it is


def test_a_row_of_somebody_else_is_left_alone_until_it_is_adopted(
    town: Town, tmp_path: Path
) -> None:
    """A project that the command line has begun, and one of another cluster: refused, untouched,
    and taken over with the annotation."""
    here, cluster = town.installation, town.cluster
    line = frames("from-a-laptop", town.demo_media / "harbour.webm")
    line["metadata"]["namespace"] = cluster.namespace
    laptop = Product(tmp_path / "home", {"DATA_MINER_DATABASE_URL": here.database_url})
    done = laptop.do("apply", write_project(tmp_path, yaml.safe_dump(line)))
    assert done.code == 0, done.err
    cluster.apply(frames("from-a-cluster"))
    here.complete("from-a-cluster")
    cluster.annotate("MiningProject", "from-a-cluster", reconcile="disabled")
    cluster.wait_condition("MiningProject", "from-a-cluster", "Ready", status="Unknown")
    here.rows(
        "UPDATE projects SET owner_installation = 'another' WHERE project_id = :p",
        p=town.project_id("from-a-cluster"),
    )
    names = ("from-a-laptop", "from-a-cluster")
    eventually(lambda: not town.tasks("from-a-laptop"), seconds=LONG, what="it to be mined")
    rows = {name: town.written(name) for name in names}

    cluster.apply(frames("from-a-laptop", priority=5))
    cluster.annotate("MiningProject", "from-a-cluster", reconcile=None)
    town.edit("from-a-cluster", priority=5)
    for name, whose in zip(names, ("the command line", "another cluster"), strict=True):
        seen = here.wait("Ready", name=name, status="False", reason="NotOwner", seconds=LONG)
        assert f"from {whose}" in condition_of(seen, "Ready")["message"]
    assert {name: town.written(name) for name in names} == rows

    for name in names:
        cluster.annotate("MiningProject", name, adopt="true")
        here.complete(name)
        assert town.row(name, "owner_uid") == here.project(name)["metadata"]["uid"]
        assert town.row(name, "priority") == 5


@pytest.mark.own_control_plane
def test_for_the_whole_cluster_it_serves_every_namespace(town: Town, api: KubeClient) -> None:
    """The same installation without --namespace and with the rights for the cluster takes up what
    is elsewhere and finds nothing to write for what it had before."""
    here, cluster = town.installation, town.cluster
    cluster.apply(frames("before"))
    here.complete("before")
    town.rest()
    rows = town.written("before")
    (narrow,) = here.operators
    assert narrow.terminate() == 0
    granted = rbac.render(cluster.namespace)
    wide = OperatorProcess(
        narrow.home, narrow.environment, ("--own-namespace", cluster.namespace), "operator-wide"
    )
    with fresh_namespace(api, f"{cluster.namespace}-far") as far:
        there = replace(here, cluster=replace(cluster, namespace=far))
        try:
            cluster.apply(*granted)
            wide.start()
            there.cluster.apply(frames("before"))
            there.complete("before")
            assert town.written("before") == rows
            assert wide.terminate() == 0
        finally:
            wide.kill()
            for each in granted:
                if each["kind"].startswith("Cluster"):
                    cluster.delete(each["kind"], each["metadata"]["name"])
            served = [cluster.namespace, town.elsewhere.cluster.namespace]
            cluster.apply(*rbac.render(cluster.namespace, served))
            narrow.start()
            narrow.wait_for("/readyz", "leader")


# The end


def test_a_deleted_object_leaves_its_data_unless_it_says_otherwise(town: Town) -> None:
    """Retain: rows and dataset stay, and an object of its name goes on without fetching anything.
    Delete: the rows go, and a worker removes the dataset and the link to it."""
    here = town.installation
    for name, policy in (("keeps", "Retain"), ("clears", "Delete")):
        town.cluster.apply(demo(name, deletionPolicy=policy))
    datasets = {name: Path(_dataset(here.complete(name))) for name in ("keeps", "clears")}
    links = {name: folder.parents[1] / "dataset" for name, folder in datasets.items()}
    assert all(link.is_symlink() for link in links.values())
    number, downloads = town.project_id("keeps"), town.results("keeps", "download", "extract")

    for name in datasets:
        town.delete(name)

    town.released("keeps")
    assert (datasets["keeps"] / "manifest.json").exists()
    eventually(lambda: not town.has_row("clears"), seconds=LONG, what="the rows to go")
    eventually(
        lambda: not datasets["clears"].exists() and not links["clears"].is_symlink(),
        seconds=LONG,
        what="the dataset to go",
    )
    town.cluster.apply(demo("keeps"))
    again = here.complete("keeps")
    assert again["status"]["projectId"] == number
    assert _dataset(again) == str(datasets["keeps"])
    assert town.results("keeps", "download", "extract") == downloads


def _dataset(project: dict[str, Any]) -> str:
    return str(project["status"]["dataset"]["uri"])


def test_what_goes_while_operator_or_database_are_away_is_cleared_when_they_are_back(
    town: Town,
) -> None:
    """`kubectl delete` ends at once, also while workers have the project's tasks in hand; nobody
    works for it any more once operator and database are there."""
    here = town.installation
    steps = {"strategy": "Time", "every": "40ms"}
    for name, policy in (("orphan", "Retain"), ("ghost", "Delete")):
        town.cluster.apply(frames(name, "demo/media", sampling=steps, deletionPolicy=policy))
        here.wait("Ready", name=name, seconds=LONG)
    eventually(
        lambda: bool(town.tasks("orphan", "running")), seconds=LONG, what="a worker has some of it"
    )
    assert town.operator.terminate() == 0
    town.delete("orphan")
    assert town.row("orphan", "owner_uid") is not None

    here.kill_database()
    try:
        town.operator.start()
        town.delete("ghost")
        town.cluster.apply(frames("born-without"))
        cluster = town.cluster
        cluster.wait_condition(
            "MiningProject", "born-without", "DatabaseReachable", status="False", seconds=LONG
        )
    finally:
        here.start_database()

    town.released("orphan")
    eventually(lambda: not town.has_row("ghost"), seconds=LONG, what="the ghost to go")
    # What the ghost leaves may be the orphan's now, as of any project that is stopped: it waits.
    eventually(lambda: not town.tasks("orphan", "running"), seconds=LONG, what="nobody works on it")
    here.complete("born-without")


def test_a_project_that_is_finished_long_enough_goes_by_itself(town: Town) -> None:
    """`ttlSecondsAfterFinished` after completion the object is deleted; with Retain what it has
    made stays."""
    town.cluster.apply(demo("fleeting", ttlSecondsAfterFinished=1))
    town.cluster.wait_gone("MiningProject", "fleeting", seconds=120)
    town.released("fleeting")
    (row,) = town.installation.rows(
        "SELECT uri FROM datasets WHERE project_id = :p", p=town.project_id("fleeting")
    )
    assert (Path(row.uri.removeprefix("file://")) / "manifest.json").exists()
    town.told("fleeting", "Applied", "DatasetPublished", "Completed")


# What people see


def test_kubectl_says_how_each_project_stands(town: Town) -> None:
    """The columns of `get`, the sentences of its wide form, the Events of `describe` in their
    order, and what `explain` says of a field."""
    here, kubectl = town.installation, town.kubectl
    town.cluster.apply(
        demo("shown-complete"),
        frames("shown-refused", "/etc/videos"),
        frames("shown-suspended", suspend=True, target={"images": 500}),
    )
    here.wait("Ready", name="shown-refused", status="False", seconds=LONG)
    here.wait("Suspended", name="shown-suspended", seconds=LONG)
    kubectl("wait", "mp/shown-complete", "--for=condition=Complete", "--timeout=120s")
    town.told("shown-complete", "Applied", "DatasetPublished", "Completed")

    table = _table(kubectl("get", "mp"))
    assert list(table["shown-complete"]) == COLUMNS
    assert {k: v for k, v in table["shown-complete"].items() if k != "AGE"} == {
        "NAME": "shown-complete", "PHASE": "Complete", "IMAGES": "6", "TARGET": "",
        "DONE%": "100", "ETA": "", "REASON": "AllDone",
    }  # fmt: skip
    assert table["shown-refused"]["REASON"] == "NotAllowed"
    assert table["shown-suspended"]["PHASE"] == "Suspended"
    assert table["shown-suspended"]["TARGET"] == "500"

    wide = _table(kubectl("get", "data-miner", "-o", "wide"))
    assert list(wide["shown-refused"]) == [*COLUMNS, *WIDE_COLUMNS]
    assert wide["shown-refused"]["MESSAGE"].startswith("spec.sources[0].files.uri: /etc/videos is")
    assert wide["shown-complete"]["MESSAGE"] == "complete: 6 images"

    events = kubectl("describe", "mp/shown-complete").partition("Events:")[2]
    assert events.index("Applied") < events.index("DatasetPublished") < events.index("Completed")
    said = " ".join(kubectl("explain", "mp.spec.filter.positive").split())
    assert "What a good frame shows, as a phrase." in said


COLUMNS = ["NAME", "PHASE", "IMAGES", "TARGET", "DONE%", "ETA", "REASON", "AGE"]
WIDE_COLUMNS = ["SUSPENDED", "PRIORITY", "VERSION", "MESSAGE"]


def _table(text: str) -> dict[str, dict[str, str]]:
    """Rows of kubectl's table by name, each as a map from column to cell."""
    head, *lines = text.splitlines()
    starts = [found.start() for found in re.finditer(r"\S+", head)]
    ends = [*starts[1:], None]
    names = head.split()
    cells = [[line[a:b].strip() for a, b in zip(starts, ends, strict=True)] for line in lines]
    return {row[0]: dict(zip(names, row, strict=True)) for row in cells}
