"""What the probes are told."""

from __future__ import annotations

import asyncio
import urllib.error
import urllib.request
from collections.abc import Iterator

import pytest

from data_miner import telemetry
from data_miner_operator.health import Health
from support.clock import ManualClock


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def health(clock: ManualClock) -> Health:
    return Health(clock=clock.monotonic)


@pytest.fixture
def address(health: Health) -> Iterator[str]:
    server = telemetry.serve(0, health.not_alive, health.routes())
    yield f"http://127.0.0.1:{server.server_address[1]}"
    server.shutdown()
    server.server_close()


def _get(url: str) -> tuple[int, str]:
    try:
        with urllib.request.urlopen(url, timeout=10) as answer:
            return answer.status, answer.read().decode().strip()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read().decode().strip()


def test_it_is_started_and_ready_once_the_cluster_has_been_listed(
    health: Health, address: str
) -> None:
    assert _get(f"{address}/startupz")[0] == 503
    assert _get(f"{address}/readyz")[0] == 503

    health.synced = True

    assert _get(f"{address}/startupz") == (200, "ok")
    assert _get(f"{address}/readyz") == (200, "standby")
    health.leading = True
    assert _get(f"{address}/readyz") == (200, "leader")


def test_whoever_stops_is_not_ready_and_lives(health: Health, address: str) -> None:
    health.synced = health.stopping = True

    assert _get(f"{address}/readyz") == (503, "stopping")
    assert _get(f"{address}/livez") == (200, "ok")


def test_a_stuck_event_loop_is_seen(health: Health, address: str, clock: ManualClock) -> None:
    clock.advance(59)
    assert _get(f"{address}/livez") == (200, "ok")
    clock.advance(2)
    assert _get(f"{address}/livez") == (503, "the event loop has been stuck for 61 s")
    assert _get(f"{address}/healthz")[0] == 503


def test_a_loop_that_turns_lives(health: Health, clock: ManualClock) -> None:
    async def scene() -> None:
        ticking = asyncio.create_task(health.tick())
        clock.advance(61)
        assert health.not_alive() is not None
        await asyncio.sleep(1.2)
        assert health.not_alive() is None
        ticking.cancel()

    asyncio.run(scene())


def test_a_project_that_is_never_put_down_is_seen(health: Health) -> None:
    health.longest_work_seconds = lambda: 601.0

    assert health.not_alive() == "a project has been in hand for 601 s"


def test_metrics_are_served_beside_the_probes(address: str) -> None:
    status, text = _get(f"{address}/metrics")

    assert status == 200
    assert "dataminer_build_info" in text
    assert _get(f"{address}/elsewhere")[0] == 404
