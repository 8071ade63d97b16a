"""Events for people: bounded, in the background, never in the way."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from data_miner_operator.api import PROJECTS, Api, Away, Body, Resource
from data_miner_operator.events_out import Events, cut
from support.clock import ManualClock

REGARDING = {"metadata": {"namespace": "team", "name": "demo", "uid": "u1", "resourceVersion": "3"}}


class Posted(Api):
    """Takes Events, or refuses them."""

    def __init__(self) -> None:
        self.bodies: list[Body] = []
        self.away = False

    async def create(self, resource: Resource, namespace: str | None, body: Body) -> dict[str, Any]:
        if self.away:
            raise Away(503, "ServiceUnavailable", "later")
        self.bodies.append(body)
        return dict(body)


def _scene(act: Callable[[Events, Posted], None], clock: ManualClock | None = None) -> Posted:
    async def within() -> Posted:
        api = Posted()  # type: ignore[abstract]
        events = Events(api, "pod-1", clock=(clock or ManualClock()).monotonic)
        running = asyncio.create_task(events.run())
        act(events, api)
        while not events.idle:
            await asyncio.sleep(0.001)
        await asyncio.sleep(0.01)
        running.cancel()
        return api

    return asyncio.run(within())


def _post(events: Events, note: str = "begun", uid: str = "u1") -> None:
    regarding = {"metadata": {**REGARDING["metadata"], "uid": uid}}
    events.post(PROJECTS, regarding, type="Normal", reason="Applied", note=note, action="Apply")


def test_an_event_names_the_object_and_who_says_so() -> None:
    (body,) = _scene(lambda events, _: _post(events)).bodies

    assert body["regarding"]["kind"] == "MiningProject"
    assert body["regarding"]["uid"] == "u1"
    assert body["metadata"]["namespace"] == "team"
    assert body["reportingController"] == "data-miner.io/operator"
    assert body["eventTime"].endswith("Z")


def test_names_come_in_the_order_of_what_happened() -> None:
    """kubectl lists Events of this kind by name: `describe` shall tell a story."""

    def act(events: Events, _: Posted) -> None:
        for number in range(20):
            _post(events, str(number))

    bodies = sorted(_scene(act).bodies, key=lambda body: str(body["metadata"]["name"]))

    assert [body["note"] for body in bodies] == [str(number) for number in range(20)]
    assert all(body["metadata"]["name"].startswith("demo.") for body in bodies)


def test_one_object_gets_twenty_five_at_once_and_then_one_in_five_minutes() -> None:
    clock = ManualClock()

    def storm(events: Events, _: Posted) -> None:
        for _each in range(60):
            _post(events)
        clock.advance(301)
        for _each in range(3):
            _post(events)
        _post(events, uid="another")

    posted = _scene(storm, clock).bodies

    assert len(posted) == 25 + 1 + 1
    assert posted[-1]["regarding"]["uid"] == "another"


def test_a_note_is_one_line_without_secrets_and_fits() -> None:
    secret = "line\nhttps://u:hunter2@host/ "
    (body,) = _scene(lambda events, _: _post(events, secret + "ü" * 3000)).bodies

    assert "\n" not in body["note"]
    assert "hunter2" not in body["note"]
    assert len(body["note"].encode()) <= 1024


def test_a_server_that_refuses_events_stops_nothing() -> None:
    def scene(events: Events, api: Posted) -> None:
        api.away = True
        _post(events)

    assert _scene(scene).bodies == []


def test_a_cut_never_splits_a_character() -> None:
    assert cut("üüü", 5) == "ü…"
    assert cut("abc", 3) == "abc"
