"""Of two leaders only the one that was elected last writes."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
from sqlalchemy import Engine, text
from sqlalchemy.exc import OperationalError

from data_miner.catalog.leadership import FencedError, fence, take_office
from data_miner.db.engine import engine_for
from support.catalog import World
from support.waiting import eventually


def _office(engine: Engine, holder: str = "pod-a", installation: str = "here") -> int:
    with engine.begin() as conn:
        return take_office(conn, installation, holder)


def _write(engine: Engine, epoch: int, priority: int) -> None:
    with engine.begin() as conn:
        fence(conn, "here", epoch)
        conn.execute(text("UPDATE projects SET priority = :n"), {"n": priority})


def _priority(world: World) -> int:
    return int(world.rows("SELECT priority FROM projects")[0].priority)


def _project(world: World) -> None:
    world.rows("INSERT INTO projects (name, spec) VALUES ('p', '{}') RETURNING 1")


def test_each_election_gives_the_next_number(world: World) -> None:
    """Of each installation for itself, whoever is elected."""
    assert [_office(world.engine), _office(world.engine, "pod-b")] == [1, 2]
    assert _office(world.engine, installation="elsewhere") == 1
    assert world.rows("SELECT holder FROM leaders WHERE installation = 'here'") == [("pod-b",)]


def test_a_leader_that_was_replaced_writes_nothing(world: World) -> None:
    """Its next transaction fails at its beginning; the new leader's goes through."""
    _project(world)
    old = _office(world.engine)
    _write(world.engine, old, 1)
    new = _office(world.engine, "pod-b")

    with pytest.raises(FencedError, match="pod-b leads with epoch 2"):
        _write(world.engine, old, 2)

    assert _priority(world) == 1
    _write(world.engine, new, 3)
    assert _priority(world) == 3


def test_who_never_took_office_writes_nothing(world: World) -> None:
    """An installation without a leader has no epoch that fits."""
    with pytest.raises(FencedError, match="nobody leads"), world.begin() as conn:
        fence(conn, "here", 1)


def test_an_election_waits_for_the_transaction_of_the_leader_before(world: World) -> None:
    """Nothing that was fenced under the old number is committed after the new one is known."""
    _project(world)
    old = _office(world.engine)
    elected = threading.Event()

    def elect() -> int:
        epoch = _office(world.engine, "pod-b")
        elected.set()
        return epoch

    with ThreadPoolExecutor(1) as pool:
        with world.begin() as conn:
            fence(conn, "here", old)
            election = pool.submit(elect)
            eventually(lambda: bool(_waiting(world)), what="the election to wait")
            assert not elected.is_set()
            conn.execute(text("UPDATE projects SET priority = 7"))
        assert election.result(20) == 2
    assert _priority(world) == 7


def _waiting(world: World) -> list[object]:
    return world.rows(
        "SELECT pid FROM pg_stat_activity WHERE wait_event_type = 'Lock'"
        " AND query LIKE '%INSERT INTO leaders%' AND datname = current_database()"
    )


def test_an_election_gives_up_on_a_transaction_that_does_not_end(world: World) -> None:
    """Within the connection's lock timeout: the next try may find it gone."""
    old = _office(world.engine)
    hasty = engine_for(world.engine.url, lock_timeout_seconds=0.2)
    with world.begin() as conn:
        fence(conn, "here", old)
        with pytest.raises(OperationalError, match="lock timeout"):
            _office(hasty, "pod-b")
    hasty.dispose()
    assert _office(world.engine, "pod-c") == 2


def test_of_two_that_are_elected_at_once_one_is_the_last(world: World) -> None:
    """All epochs differ, and only the highest one writes."""
    _project(world)
    start = threading.Barrier(2)

    def elect(name: str) -> list[int]:
        start.wait(20)
        return [_office(world.engine, name) for _ in range(20)]

    with ThreadPoolExecutor(2) as pool:
        epochs = [e for result in pool.map(elect, ["a", "b"]) for e in result]

    assert sorted(epochs) == list(range(1, 41))
    for epoch in range(1, 40):
        with pytest.raises(FencedError):
            _write(world.engine, epoch, 9)
    _write(world.engine, 40, 5)
    assert _priority(world) == 5
