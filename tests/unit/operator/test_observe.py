"""What is seen of a project whose models are missing, and of the Jobs that make them."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, cast

import pytest

from data_miner.model_stores import ModelStores
from data_miner.settings import Settings
from data_miner_models.cards import BUNDLED
from data_miner_operator.api import CRON_JOBS, JOBS, PODS, PROJECTS, Api, Resource
from data_miner_operator.cache import Cache
from data_miner_operator.catalogue import open_catalogue
from data_miner_operator.credentials import Credentials
from data_miner_operator.facts import ModelFact, Site
from data_miner_operator.jobs import render_job
from data_miner_operator.labels import OPERATOR, TEMPLATE
from data_miner_operator.model_facts import Models
from data_miner_operator.observe import Observer
from support.api_model import Object, Server
from support.reconciling import an_object

NOW = datetime(2026, 11, 22, tzinfo=UTC)
MODEL = "team-siglip"
KEYS = (("team", "one"), ("other", "two"))


class Cluster:
    """A cluster in which a project of each of two namespaces names a model that no store has."""

    def __init__(self, folder: Path) -> None:
        self.server = Server(lambda: NOW)
        self.cache = Cache()
        self.store = folder / "models"
        self.store.mkdir()
        self.asked: list[Resource] = []
        self.seconds = 0.0
        self.server.put(
            CRON_JOBS, ("own", "template"), labels={TEMPLATE: "model"},
            spec={"jobTemplate": {"spec": {"template": {"spec": {"containers": [{}]}}}}},
        )  # fmt: skip
        for namespace, name in KEYS:
            project = an_object(spec={
                "sources": [{"files": {"uri": "clips"}}],
                "filter": {"model": MODEL, "positive": ["a star"]},
            })  # fmt: skip
            self.cache.put(
                PROJECTS,
                self.server.put(PROJECTS, (namespace, name), spec=project["spec"]),
            )
        self.models = Models(ModelStores(folders=(self.store,)), clock=lambda: self.seconds)
        self.parts: dict[str, Any] = {
            "api": cast(Api, self),
            "cache": self.cache,
            # Not in office: it asks no database.
            "catalogue": open_catalogue(Settings(database_url="postgresql://nowhere/x"), "uid"),
            "models": self.models,
            "credentials": Credentials(None),
            "site": Site("uid", "/", "", None),
            "own_namespace": "own",
            "synced": lambda: False,
            "clock": lambda: self.seconds,
            "now": lambda: NOW,
        }
        self.observer = Observer(**self.parts)

    async def list(
        self, resource: Resource, namespace: str | None, *, labels: str = ""
    ) -> list[Object]:
        """Of the API: all that is asked here."""
        self.asked.append(resource)
        return self.server.list(resource, namespace, labels)

    def make_job(self) -> Object:
        """As the operator does it."""
        template = self.server.all(CRON_JOBS)["own", "template"]
        made = self.server.create(JOBS, render_job(MODEL, template))
        self.cache.put(JOBS, made)
        return made

    def job_is(self, job: Object, **condition: str) -> None:
        """The Job controller says how it stands, and the operator is told."""
        key = ("own", job["metadata"]["name"])
        status = {"conditions": [{"status": "True", **condition}]}
        self.cache.put(JOBS, self.server.put(JOBS, key, status=status))

    def pod(self, job: Object, **status: Any) -> None:
        """A pod of the Job, as the kubelet describes it."""
        labels = {"batch.kubernetes.io/controller-uid": job["metadata"]["uid"]}
        self.server.put(PODS, ("own", f"pod-of-{len(self.asked)}"), labels=labels, status=status)

    def see(self, which: int = 0) -> ModelFact:
        """What the operator sees of the model at a look at one of the projects."""
        return asyncio.run(self.observer.observe(KEYS[which])).models[MODEL]

    def publish(self) -> None:
        """The model is in the store."""
        shutil.copytree(BUNDLED / "tiny", self.store / "tiny")
        text = (BUNDLED / "tiny-siglip.toml").read_text()
        card = text.replace('"tiny-siglip"', f'"{MODEL}"', 1)
        (self.store / f"{MODEL}.toml").write_text(card)


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[Cluster]:
    made = Cluster(tmp_path)
    yield made
    made.models.close()


def test_a_model_is_seen_as_soon_as_its_job_has_ended(cluster: Cluster) -> None:
    """Whoever was told of the end looks at once: time stands still, and an answer that was given
    a moment before would be given again."""
    assert cluster.see().can_be_made
    job = cluster.make_job()
    assert cluster.see().job is not None
    cluster.publish()
    assert cluster.see().info is None

    cluster.job_is(job, type="Complete")

    assert [cluster.see(which).info is None for which in (0, 1)] == [False, False]


def test_the_last_words_of_a_failed_job_are_asked_for_once_for_all_who_wait(
    cluster: Cluster,
) -> None:
    job = cluster.make_job()
    end = {"exitCode": 6, "message": "error: the hub does not answer\n"}
    ended = [{"name": "export", "state": {"terminated": end}}]
    cluster.pod(job, phase="Failed", containerStatuses=ended)
    cluster.job_is(job, type="Failed", message="exit code 6 matches a rule")
    for which in (0, 1, 0, 1):
        seen = cluster.see(which).job
        assert seen is not None
        assert (seen.failed, seen.message) == (True, "the hub does not answer")
        cluster.seconds += 3600
    assert cluster.asked.count(PODS) == 1


def test_why_a_pod_does_not_start_is_asked_again_only_after_a_while(cluster: Cluster) -> None:
    job = cluster.make_job()
    waiting = {"reason": "CreateContainerConfigError", "message": 'secret "hub" not found'}
    for _ in range(3):
        seen = cluster.see().job
        assert seen is not None
        assert (seen.active, seen.message) == (True, "")
        cluster.pod(job, containerStatuses=[{"name": "export", "state": {"waiting": waiting}}])
    assert cluster.asked.count(PODS) == 1

    cluster.seconds += 60

    seen = cluster.see().job
    assert seen is not None
    assert seen.message == 'CreateContainerConfigError: secret "hub" not found'
    assert cluster.asked.count(PODS) == 2


def test_an_api_server_that_does_not_tell_of_pods_leaves_the_jobs_own_words(
    cluster: Cluster,
) -> None:
    """And is asked again at the next look."""
    job = cluster.make_job()
    assert cluster.see().job is not None
    cluster.job_is(job, type="Failed", message="exit code 6 matches a rule")
    cluster.server.away = True
    for _ in range(2):
        seen = cluster.see().job
        assert seen is not None
        assert seen.message == "exit code 6 matches a rule"
    assert cluster.asked.count(PODS) == 3


def test_another_releases_template_and_job_are_not_ours(cluster: Cluster) -> None:
    """Both are in our namespace, and theirs comes first by name."""
    cluster.observer = Observer(**{**cluster.parts, "operator": "own/ours"})
    theirs = cluster.server.put(
        CRON_JOBS, ("own", "a-template"), labels={TEMPLATE: "model"},
        annotations={OPERATOR: "own/theirs"}, spec={"jobTemplate": {"spec": {"template": {}}}},
    )  # fmt: skip
    cluster.cache.put(JOBS, cluster.server.create(JOBS, render_job(MODEL, theirs)))

    assert cluster.see().job is None
    found = asyncio.run(cluster.observer.template())
    assert found is not None
    assert found["metadata"]["name"] == "template"


def test_a_job_that_is_refused_is_said_and_tried_again_after_a_while(cluster: Cluster) -> None:
    cluster.observer.job_refused(MODEL, "exceeded quota: jobs")
    seen = cluster.see()
    assert not seen.can_be_made
    assert seen.problem.endswith("and its Job is refused: exceeded quota: jobs")

    cluster.seconds += 61

    assert cluster.see().can_be_made
