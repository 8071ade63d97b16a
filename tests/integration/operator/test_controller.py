"""One pass over a project: real PostgreSQL, and an API server made of a dictionary."""

from __future__ import annotations

import asyncio
import copy
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from data_miner.catalog.leadership import FencedError
from data_miner.model_stores import ModelStores
from data_miner.settings import Settings
from data_miner_operator.api import PROJECTS, Api, Body, Conflict, NotFound, Resource
from data_miner_operator.cache import Cache
from data_miner_operator.catalogue import AwayError, Catalogue, open_catalogue
from data_miner_operator.controller import Controller
from data_miner_operator.credentials import Credentials
from data_miner_operator.events_out import Events
from data_miner_operator.facts import Key, Site
from data_miner_operator.keyed_queue import KeyedQueue
from data_miner_operator.model_facts import Models
from data_miner_operator.observe import Observer
from support.cluster import condition_of

KEY = ("team", "demo")


class Objects(Api):
    """MiningProjects by key; every write is counted, and one may be made to fail."""

    def __init__(self) -> None:
        self.kept: dict[Key, dict[str, Any]] = {}
        self.writes = 0
        self.before_write: Callable[[], None] = lambda: None
        self._version = 0

    def put(self, uid: str = "u1", **spec: Any) -> dict[str, Any]:
        before = self.kept.get(KEY)
        same = before is not None and before["metadata"]["uid"] == uid
        metadata: dict[str, Any] = {
            "namespace": KEY[0],
            "name": KEY[1],
            "uid": uid,
            "generation": before["metadata"]["generation"] + 1 if same and before else 1,
            "resourceVersion": self._next(),
            "annotations": {},
        }
        spec = {"sources": [{"files": {"uri": "videos"}}], **spec}
        status = before.get("status") if same and before else None
        self.kept[KEY] = {
            "apiVersion": PROJECTS.api_version,
            "kind": PROJECTS.kind,
            "metadata": metadata,
            "spec": spec,
            **({"status": status} if status else {}),
        }
        return copy.deepcopy(self.kept[KEY])

    async def get(
        self, resource: Resource, namespace: str | None, name: str
    ) -> dict[str, Any] | None:
        return copy.deepcopy(self.kept.get((namespace or "", name)))

    async def list(
        self, resource: Resource, namespace: str | None, *, labels: str = ""
    ) -> list[dict[str, Any]]:
        return []

    async def apply(
        self,
        resource: Resource,
        namespace: str | None,
        name: str,
        body: Body,
        *,
        subresource: str = "",
    ) -> dict[str, Any]:
        self.before_write()
        found = self.kept.get((namespace or "", name))
        if found is None:
            raise NotFound(404, "NotFound", "gone")
        if body["metadata"]["uid"] != found["metadata"]["uid"]:
            raise Conflict(409, "Conflict", "another object")
        self.writes += 1
        found["status"] = copy.deepcopy(body["status"])
        found["metadata"]["resourceVersion"] = self._next()
        return copy.deepcopy(found)

    async def delete(
        self,
        resource: Resource,
        namespace: str | None,
        name: str,
        *,
        uid: str | None,
        version: str | None = None,
    ) -> bool:
        return self.kept.pop((namespace or "", name), None) is not None

    def _next(self) -> str:
        self._version += 1
        return str(self._version)


class Told(Events):
    """Events as they are posted: reason, and uid of the object."""

    def __init__(self, api: Api) -> None:
        super().__init__(api, "test")
        self.said: list[tuple[str, str]] = []

    def post(self, resource: Resource, regarding: Body, **about: str) -> None:
        self.said.append((about["reason"], regarding["metadata"]["uid"]))
        super().post(resource, regarding, **about)


@dataclass
class Scene:
    api: Objects
    events: Told
    cache: Cache
    catalogue: Catalogue
    queue: KeyedQueue[Key]
    controller: Controller

    def see(self) -> None:
        """The watch brings the object as it is."""
        self.cache.put(PROJECTS, copy.deepcopy(self.api.kept[KEY]))

    async def settle(self) -> None:
        """Pass until nothing is left to do; the database away is passed over."""
        for _ in range(5):
            again = await self.controller.reconcile(KEY)
            if again is None or again > 0:
                return

    @property
    def status(self) -> dict[str, Any]:
        return dict(self.api.kept[KEY].get("status") or {})


def _play(url: str, tmp_path: Path, act: Callable[[Scene], Awaitable[None]]) -> Scene:
    async def within() -> Scene:
        catalogue = open_catalogue(Settings(database_url=url), "here")
        api, cache = Objects(), Cache()  # type: ignore[abstract]
        events = Told(api)
        observer = Observer(
            api=api,
            cache=cache,
            catalogue=catalogue,
            models=Models(ModelStores((tmp_path,))),
            credentials=Credentials(None),
            site=Site("here", str(tmp_path), "", None),
            own_namespace="own",
            synced=lambda: True,
        )
        queue: KeyedQueue[Key] = KeyedQueue("controller-test")
        controller = Controller(
            api=api,
            cache=cache,
            catalogue=catalogue,
            observer=observer,
            queue=queue,
            events=events,
            serves=lambda namespace: namespace == KEY[0],
        )
        scene = Scene(api, events, cache, catalogue, queue, controller)
        await catalogue.take_office("test")
        try:
            await asyncio.wait_for(act(scene), 60)
        finally:
            observer.models.close()
            await catalogue.close()
        return scene

    return asyncio.run(within())


def test_a_project_is_applied_and_a_second_pass_writes_nothing(
    migrated_url: str, tmp_path: Path
) -> None:
    async def act(scene: Scene) -> None:
        scene.api.put()
        scene.see()
        await scene.settle()
        row = (await scene.catalogue.standing(KEY))[0]
        assert row is not None
        assert row.owner_uid == "u1"
        assert condition_of(scene.api.kept[KEY], "Ready")["status"] == "True"
        writes = scene.api.writes
        for _ in range(3):
            await scene.settle()
        assert scene.api.writes == writes

    _play(migrated_url, tmp_path, act)


def test_our_own_write_is_known_before_any_watch_tells_of_it(
    migrated_url: str, tmp_path: Path
) -> None:
    async def act(scene: Scene) -> None:
        scene.api.put()
        scene.see()
        await scene.settle()
        known = scene.cache.get(PROJECTS, KEY)
        assert known is not None
        assert known["status"] == scene.api.kept[KEY]["status"]

    _play(migrated_url, tmp_path, act)


def test_what_a_cache_has_lost_is_not_taken_for_deleted(migrated_url: str, tmp_path: Path) -> None:
    """Data would go with it: the API server itself is asked first."""

    async def act(scene: Scene) -> None:
        scene.api.put(deletionPolicy="Delete")
        scene.see()
        await scene.settle()
        scene.cache.replace(PROJECTS, None, [], scene.cache.mark())
        await scene.settle()
        row = (await scene.catalogue.standing(KEY))[0]
        assert row is not None
        assert not row.deleted

    _play(migrated_url, tmp_path, act)


def test_an_object_that_is_gone_takes_its_project_along_as_its_policy_says(
    migrated_url: str, tmp_path: Path
) -> None:
    async def act(scene: Scene) -> None:
        scene.api.put(deletionPolicy="Delete")
        scene.see()
        await scene.settle()
        scene.cache.remove(PROJECTS, scene.api.kept.pop(KEY))
        await scene.settle()
        row = (await scene.catalogue.standing(KEY))[0]
        assert row is None or row.deleted

    _play(migrated_url, tmp_path, act)


def test_a_cache_that_lags_behind_the_row_costs_no_data(migrated_url: str, tmp_path: Path) -> None:
    """A new leader may still hold the object before the one that was applied."""

    async def leader(scene: Scene) -> None:
        scene.api.put(uid="u2", deletionPolicy="Delete")
        scene.see()
        await scene.settle()

    async def next_leader(scene: Scene) -> None:
        scene.cache.put(PROJECTS, scene.api.put(uid="u1", deletionPolicy="Delete"))
        scene.api.put(uid="u2", deletionPolicy="Delete")
        before = (await scene.catalogue.standing(KEY))[0]
        await scene.settle()
        assert before is not None
        assert (before.owner_uid, before.deleted) == ("u2", False)
        assert before == (await scene.catalogue.standing(KEY))[0]

    _play(migrated_url, tmp_path, leader)
    _play(migrated_url, tmp_path, next_leader)


def test_what_is_done_for_an_object_that_is_gone_is_said_of_it(
    migrated_url: str, tmp_path: Path
) -> None:
    async def act(scene: Scene) -> None:
        scene.api.put()
        scene.see()
        await scene.settle()
        scene.cache.remove(PROJECTS, scene.api.kept.pop(KEY))
        await scene.settle()
        assert ("Released", "u1") in scene.events.said

    _play(migrated_url, tmp_path, act)


def test_a_namespace_that_is_not_served_is_none_of_its_business(
    migrated_url: str, tmp_path: Path
) -> None:
    """Nobody watches there: that no object is seen means nothing."""

    async def act(scene: Scene) -> None:
        scene.api.put()
        scene.see()
        await scene.settle()
        scene.controller.serves = lambda namespace: False
        scene.cache.remove(PROJECTS, scene.api.kept.pop(KEY))
        assert await scene.controller.reconcile(KEY) is None
        row = (await scene.catalogue.standing(KEY))[0]
        assert row is not None
        assert row.owner_uid == "u1"

    _play(migrated_url, tmp_path, act)


def test_an_object_made_anew_while_a_pass_runs_gets_no_status_of_the_old_one(
    migrated_url: str, tmp_path: Path
) -> None:
    async def act(scene: Scene) -> None:
        scene.api.put()
        scene.see()

        def make_anew() -> None:
            scene.api.put(uid="u2")

        scene.api.before_write = make_anew
        with pytest.raises(Conflict):
            await scene.settle()
        assert scene.status == {}
        scene.api.before_write = lambda: None
        scene.see()
        await scene.settle()
        row = (await scene.catalogue.standing(KEY))[0]
        assert row is not None
        assert row.owner_uid == "u2"

    _play(migrated_url, tmp_path, act)


def test_a_fenced_leader_stops_at_once(migrated_url: str, tmp_path: Path) -> None:
    async def act(scene: Scene) -> None:
        other = open_catalogue(Settings(database_url=migrated_url), "here")
        await other.take_office("another")
        await other.close()
        scene.api.put()
        scene.see()
        scene.queue.add(KEY)
        with pytest.raises(FencedError, match="another leads"):
            await scene.controller.work()
        assert (await scene.catalogue.standing(KEY))[0] is None
        assert scene.api.writes == 0

    _play(migrated_url, tmp_path, act)


def test_without_office_the_database_is_away_and_nothing_is_written_there(
    migrated_url: str, tmp_path: Path
) -> None:
    async def act(scene: Scene) -> None:
        scene.catalogue.epoch = None
        scene.api.put()
        scene.see()
        with pytest.raises(AwayError):
            await scene.controller.reconcile(KEY)
        found = condition_of(scene.api.kept[KEY], "DatabaseReachable")
        assert found["status"] == "False"
        assert (await scene.catalogue.standing(KEY))[0] is None

    _play(migrated_url, tmp_path, act)


def test_a_defect_in_one_project_stops_no_other(migrated_url: str, tmp_path: Path) -> None:
    async def act(scene: Scene) -> None:
        scene.api.put()
        scene.see()

        def broken() -> None:
            raise RuntimeError("a defect")

        scene.api.before_write = broken
        scene.queue.add(KEY)
        worker = asyncio.create_task(scene.controller.work())
        while scene.queue.held_seconds() or len(scene.queue):
            await asyncio.sleep(0.01)
        assert not worker.done()
        scene.api.before_write = lambda: None
        scene.queue.add(KEY)
        while not scene.status:
            await asyncio.sleep(0.01)
        scene.queue.close()
        await worker

    _play(migrated_url, tmp_path, act)


def test_a_defect_is_told_of_its_project_once_and_tried_again(
    migrated_url: str, tmp_path: Path
) -> None:
    """What nobody has thought of is in the project's Events, its first line alone."""

    async def act(scene: Scene) -> None:
        passes = []

        def broken(_: str) -> bool:
            passes.append(1)
            raise RuntimeError("out of ideas\n[parameters: 'secret']")

        scene.api.put()
        scene.see()
        scene.controller.serves = broken
        scene.queue.add(KEY)
        working = asyncio.create_task(scene.controller.work())
        while len(passes) < 3:
            await asyncio.sleep(0.01)
        scene.queue.close()
        await working

    scene = _play(migrated_url, tmp_path, act)

    assert scene.events.said == [("InternalError", "u1")]
