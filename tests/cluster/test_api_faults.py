"""The operator between an API server and a network that misbehave: what it says comes right."""

from __future__ import annotations

import random
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from itertools import count, pairwise
from pathlib import Path
from secrets import token_hex
from typing import Any

import pytest
import urllib3
from sqlalchemy import Engine, text

from data_miner.db.engine import engine_for
from data_miner.db.migrate import upgrade
from support.api_proxy import ApiProxy
from support.api_requests import Request
from support.cluster import Cluster, condition_of, fresh_namespace
from support.controlplane import ControlPlane
from support.database import Databases
from support.installation import EXAMPLES, QUICK, installation_in
from support.kube_client import KubeClient
from support.node import ProcessNode
from support.operator_process import OperatorProcess, operator_in
from support.product import FAST, every
from support.users_cluster import UsersCluster
from support.waiting import eventually

_numbers = count(1)
COUNTS_SECONDS = 5.0


@dataclass(frozen=True)
class Scene:
    """An operator that reaches the API server through a proxy only; nobody works for it."""

    cluster: Cluster
    operator: OperatorProcess
    proxy: ApiProxy
    engine: Engine

    def rows(self, query: str, **values: Any) -> list[Any]:
        """Rows of its database."""
        with self.engine.begin() as conn:
            return list(conn.execute(text(query), values))

    def settled(self, name: str, condition: str, status: str) -> None:
        """Return when the status of a project says this of what the project is now."""

        def holds(seen: dict[str, Any] | None) -> bool:
            return (
                seen is not None
                and condition_of(seen, condition).get("status") == status
                and seen["status"].get("observedGeneration") == seen["metadata"]["generation"]
            )

        self.cluster.wait(
            "MiningProject", name, holds, seconds=60, what=f"{condition}={status}\n{self.tail}"
        )

    @property
    def tail(self) -> str:
        """The end of the operator's log."""
        return self.operator.said()[-3000:]


@pytest.fixture(scope="module")
def scene(
    control_plane: ControlPlane | UsersCluster,
    api: KubeClient,
    crds: None,
    databases: Databases,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Scene]:
    """One for all faults; it lists everything every three seconds."""
    home = tmp_path_factory.mktemp("faults")
    url = databases.create()
    upgrade(url)
    with ExitStack() as ends:
        ends.callback(databases.drop, url)
        engine = engine_for(url, pool_size=1)
        ends.callback(engine.dispose)
        namespace = ends.enter_context(fresh_namespace(api, f"faults-{token_hex(3)}"))
        cluster = Cluster(api, control_plane.kubectl, namespace)
        cluster.apply(_template())
        proxy = ends.enter_context(ApiProxy(api.access, home / "proxy"))
        times = {**QUICK, "DATA_MINER_OPERATOR_RESYNC_SECONDS": "3"}
        (operator,) = ends.enter_context(
            operator_in(
                cluster,
                home / "operator",
                url,
                folder=EXAMPLES,
                replicas=1,
                through=proxy,
                **{**FAST, **times},
            )
        )
        operator.start()
        operator.wait_for("/readyz", "leader")
        yield Scene(cluster, operator, proxy, engine)


def _template() -> dict[str, Any]:
    pod = {
        "restartPolicy": "Never",
        "nodeSelector": {"nobody": "here"},
        "containers": [{"name": "export", "image": "data-miner-export"}],
    }
    return {
        "apiVersion": "batch/v1",
        "kind": "CronJob",
        "metadata": {"name": "models", "labels": {"data-miner.io/template": "model"}},
        "spec": {
            "suspend": True,
            "schedule": "0 0 1 1 *",
            "jobTemplate": {"spec": {"template": {"spec": pod}}},
        },
    }


def _project(name: str, **spec: object) -> dict[str, Any]:
    return {
        "apiVersion": "data-miner.io/v1alpha1",
        "kind": "MiningProject",
        "metadata": {"name": name},
        "spec": {"sources": [{"files": {"uri": "demo/media"}}], **spec},
    }


@contextmanager
def what_people_do(scene: Scene) -> Iterator[None]:
    """Projects are there; in the block the fault begins; then a project is made, one is edited
    twice, one is deleted and one lacks its model, and all of it comes right, once."""
    cluster, number = scene.cluster, next(_numbers)
    made, edited, gone, lacks = (f"{w}-{number}" for w in ("made", "edited", "gone", "lacks"))
    model = f"model-{number}"
    cluster.apply(_project(edited), _project(gone))
    for name in (edited, gone):
        scene.settled(name, "Suspended", "False")

    yield
    try:
        cluster.apply(
            _project(made),
            _project(lacks, filter={"model": model, "positive": ["a star"]}),
        )
        cluster.patch("MiningProject", edited, {"spec": {"priority": 3}})
        cluster.patch("MiningProject", edited, {"spec": {"suspend": True}})
        uid = cluster.get("MiningProject", gone)["metadata"]["uid"]  # type: ignore[index]
        assert cluster.delete("MiningProject", gone)

        scene.settled(made, "Suspended", "False")
        scene.settled(edited, "Suspended", "True")
        cluster.wait_condition(
            "MiningProject",
            lacks,
            "ModelsReady",
            status="False",
            reason="MakingModels",
            seconds=60,
        )
        eventually(lambda: released(scene, gone), seconds=60, what=f"{gone}\n{scene.tail}")
        eventually(lambda: jobs(scene, model) == 1, seconds=60, what=f"a Job\n{scene.tail}")
    finally:
        scene.proxy.heal()
    ids = {cluster.get("MiningProject", n)["status"].get("projectId") for n in (made, edited)}  # type: ignore[index]
    assert ids == {r.project_id for r in scene.rows(
        "SELECT project_id FROM projects WHERE name IN (:a, :b)", a=made, b=edited
    )}  # fmt: skip
    eventually(
        lambda: not scene.proxy.writes(since=scene.proxy.now() - 2, besides=("leases",)),
        what="the operator has come to rest",
    )
    assert jobs(scene, model) == 1
    told = Counter(
        (e["regarding"]["uid"], e["reason"], e["note"])
        for e in cluster.list("Event")
        if e["regarding"]["name"] in {made, edited, lacks} or e["regarding"]["uid"] == uid
    )
    # The two edits may be taken up one after the other, and both change no stage.
    assert [each for each, n in told.items() if n > (2 if each[1] == "Applied" else 1)] == []


def released(scene: Scene, name: str) -> bool:
    """Whether the row of a project whose object was deleted belongs to nobody and rests."""
    return bool(
        scene.rows(
            "SELECT 1 FROM projects WHERE name = :n AND suspended AND owner_uid IS NULL", n=name
        )
    )


def jobs(scene: Scene, model: str) -> int:
    """Jobs that make a model."""
    return sum(
        {"name": "DATA_MINER_MODEL", "value": model} in container["env"]
        for job in scene.cluster.list("Job")
        for container in job["spec"]["template"]["spec"]["containers"]
    )


@pytest.mark.parametrize("what", ["drop", "duplicate", "reorder", "gone", "cut", "freeze"])
def test_whatever_becomes_of_the_events_the_status_comes_right(scene: Scene, what: str) -> None:
    """All events of all watches are lost, doubled, told in another order, answered with 410 or a
    cut, or nothing comes at all: a list finds what no watch tells, deletions too."""
    with what_people_do(scene):
        fault = scene.proxy.disturb(what, times=None)
    if what not in {"gone", "cut"}:  # these may hit before anything is told
        assert fault.hits > 0


WRITES = ("create", "update", "patch", "delete")
FAULTS: dict[str, Callable[[ApiProxy], object]] = {
    "cut before": lambda proxy: proxy.cut(*WRITES, times=6),
    "cut after": lambda proxy: proxy.cut(*WRITES, times=6, after=True),
    "500": lambda proxy: proxy.answer(500, *WRITES, "list", "get", times=8),
    "503": lambda proxy: proxy.answer(503, *WRITES, "list", "get", times=8),
    "slow": lambda proxy: proxy.delay(0.7, times=30),
}


@pytest.mark.parametrize("name", FAULTS)
def test_whatever_becomes_of_the_requests_the_status_comes_right(scene: Scene, name: str) -> None:
    """Connections end before or after a write was carried out, the server fails, is overloaded
    or slow: what was asked for is there in the end, once."""
    with what_people_do(scene):
        FAULTS[name](scene.proxy)


def test_an_overloaded_server_is_given_the_time_that_it_asks_for(scene: Scene) -> None:
    """Nothing that was answered 429 is asked again before Retry-After has passed, however often
    that happens and whatever happens meanwhile."""
    began = scene.proxy.now()
    with what_people_do(scene):
        for path in ("miningprojects", "leases", "jobs", "events"):
            scene.proxy.answer(429, path=path, times=5, retry_after_seconds=2)

    asked: dict[tuple[str, str, str, str], list[Request]] = {}
    for request in scene.proxy.requests(since=began):
        same = (request.verb, request.resource, request.name, request.subresource)
        asked.setdefault(same, []).append(request)
    waits = [
        after.at - before.at
        for requests in asked.values()
        for before, after in pairwise(sorted(requests, key=lambda r: r.at))
        if before.code == 429
    ]
    assert len(waits) >= 6
    assert min(waits) >= 2


@pytest.mark.parametrize("seed", [1])
def test_everything_at_once_comes_right_too(scene: Scene, seed: int) -> None:
    """A mix that the seed decides, begun anew again and again while people work."""
    chance, times = random.Random(seed), iter(range(50, -1, -1))
    what = ["drop", "duplicate", "reorder", "gone", "cut"]

    def disturb() -> None:
        left = next(times, -1)
        if not left:
            # What is left over would last for minutes: who steps down asks once in a second.
            scene.proxy.heal()
        if left <= 0:
            return
        scene.proxy.disturb(chance.choice(what), times=chance.randrange(1, 4))
        FAULTS[chance.choice(list(FAULTS))](scene.proxy)
        scene.proxy.answer(429, times=1, retry_after_seconds=1)
        if chance.random() < 0.2:
            scene.proxy.cut_all()

    for _ in range(2):
        with ExitStack() as ends, what_people_do(scene):
            disturb()
            ends.enter_context(every(0.2, disturb))
    scene.proxy.heal()


def test_in_a_quiet_run_changes_show_soon_and_numbers_are_written_once_in_five_seconds(
    cluster: Cluster,
    node: ProcessNode,
    tmp_path: Path,
    migrated_url: str,
    api: KubeClient,
) -> None:
    """Each write of the status is one that somebody may wait for, or comes five seconds after the
    one before; no status says what the catalogue did not have, and the last one says all of it."""
    with installation_in(
        cluster, node, tmp_path, database_url=migrated_url, proxied=True
    ) as installation:
        proxy = installation.proxy
        assert proxy is not None
        installation.pool(max_replicas="1", target_drain_seconds="5")
        applied = installation.apply_demo()
        with _told(api, cluster, applied["metadata"]["resourceVersion"]) as told:
            installation.complete()
            eventually(lambda: bool(told) and _says(told[-1][1], "Complete"), what="it is told")
        writes = [r for r in proxy.writes() if r.subresource == "status" and r.code == 200]
        assert len(writes) >= len(told) >= 3

        statuses: list[Any] = [None, *(status for _, status in told)]
        for number, (before, after) in enumerate(pairwise(statuses)):
            if number and len(writes) == len(told) and _gist(before) == _gist(after):
                assert writes[number].at - writes[number - 1].at >= COUNTS_SECONDS

        finished = sorted(
            row.at.timestamp() for row in installation.rows("SELECT finished_at AS at FROM results")
        )
        (published,) = installation.rows("SELECT created_at AS at FROM datasets")
        complete = next(at for at, status in told if _says(status, "Complete"))
        lags = [_shown_at(told, n) - at for n, at in enumerate(finished, start=1)]
        sys.stdout.write(
            f"{len(writes)} writes of the status; Complete after"
            f" {complete - published.at.timestamp():.2f} s, counts after {max(lags):.2f} s at most"
        )
        assert complete > published.at.timestamp()
        assert min(lags) > 0
        assert _done(told[-1][1]) == len(finished)


@contextmanager
def _told(api: KubeClient, cluster: Cluster, version: str) -> Iterator[list[tuple[float, Any]]]:
    """The statuses of the demo project as a watch tells them, each with the time of day."""
    told: list[tuple[float, Any]] = []
    stop = threading.Event()
    client = KubeClient(api.access)
    path = cluster.path("MiningProject")
    query = {"fieldSelector": "metadata.name=demo", "resourceVersion": version}

    def follow() -> None:
        while not stop.is_set():
            with (
                suppress(urllib3.exceptions.HTTPError),
                client.watch(path, seconds=2, **query) as events,
            ):
                for event in events:
                    query["resourceVersion"] = event["object"]["metadata"]["resourceVersion"]
                    status = event["object"].get("status")
                    if status and (not told or told[-1][1] != status):
                        told.append((time.time(), status))

    thread = threading.Thread(target=follow, daemon=True)
    thread.start()
    try:
        yield told
    finally:
        stop.set()
        thread.join()
        client.close()


def _says(status: dict[str, Any], condition: str) -> bool:
    return condition_of({"status": status}, condition).get("status") == "True"


def _gist(status: dict[str, Any]) -> Any:
    """What somebody may be waiting for."""
    fields = ("observedGeneration", "phase", "projectId", "completedAt", "retried", "dataset")
    conditions = [(c["type"], c["status"], c["reason"]) for c in status["conditions"]]
    return [sorted(conditions), *(status.get(field) for field in fields)]


def _done(status: dict[str, Any]) -> int:
    return sum(stage.get("done", 0) for stage in status.get("stages", ()))


def _shown_at(told: list[tuple[float, Any]], results: int) -> float:
    """When a status has first said that so many results are there."""
    return next(at for at, status in told if _done(status) >= results)
