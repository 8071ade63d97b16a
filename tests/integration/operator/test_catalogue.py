"""The operator's edge to PostgreSQL: fenced writes, one line when it is away, and what it hears."""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import signal
import socket
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path
from typing import TypeVar

import pytest
from sqlalchemy import text

from data_miner import tracing
from data_miner.catalog import events, owned, workers
from data_miner.catalog.leadership import FencedError
from data_miner.db.engine import engine_for
from data_miner.db.migrate import downgrade, upgrade
from data_miner.db.revision import REVISIONS
from data_miner.postgres import Server
from data_miner.settings import Settings
from data_miner.spec.project import MiningProject
from data_miner_operator import listening, metrics
from data_miner_operator.catalogue import AwayError, Catalogue, open_catalogue
from support.catalog import FIRST_WAVE, World, project, world
from support.database import enterable_folder
from support.otlp import receiving

__all__ = ["world"]

Answer = TypeVar("Answer")
Play = Callable[[Catalogue], Awaitable[Answer]]


def _play(url: str, act: Play[Answer], **changes: str) -> Answer:
    """Run `act` with a catalogue of its own."""

    async def whole() -> Answer:
        catalogue = open_catalogue(
            Settings(database_url=url, first_wave=FIRST_WAVE, **changes),  # type: ignore[arg-type]
            "cluster",
        )
        try:
            return await asyncio.wait_for(act(catalogue), 60)
        finally:
            await catalogue.close()

    return asyncio.run(whole())


def _url(world: World) -> str:
    return world.engine.url.render_as_string(hide_password=False)


async def _apply(catalogue: Catalogue, wanted: MiningProject | None = None, uid: str = "u") -> int:
    wanted = wanted or project()
    compiled = World.compiled(wanted)
    digest = owned.wanted_digest(wanted, compiled)
    return (await catalogue.apply(wanted, compiled, uid=uid, digest=digest)).project_id


def test_a_projects_whole_life(world: World) -> None:
    """Applied, looked at, stopped, released, taken up again, forgotten."""

    async def life(catalogue: Catalogue) -> None:
        assert await catalogue.standing(("default", "balls")) == (None, None)
        assert await catalogue.take_office("pod-a") == 1
        p = await _apply(catalogue)
        row, progress = await catalogue.standing(("default", "balls"))
        assert row is not None
        assert progress is not None
        assert progress.project_id == p
        assert (row.owner_installation, row.owner_uid) == ("cluster", "u")
        assert [r.project_id for r in await catalogue.rows()] == [p]
        assert (await catalogue.pulse()).keys == {p: ("default", "balls")}
        assert await catalogue.suspend(p)
        assert await catalogue.release(p)
        assert list(await catalogue.rows()) == []
        assert await _apply(catalogue, uid="v") == p
        assert await catalogue.retry(p, "token") == 0
        await catalogue.forget(p)
        row, progress = await catalogue.standing(("default", "balls"))
        assert row is not None
        assert row.deleted
        assert progress is None

    _play(_url(world), life)


def test_what_is_planned_for_an_object_is_one_trace(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The rows name the span of the apply that planned them; without a receiver, none."""

    async def apply(catalogue: Catalogue) -> None:
        await catalogue.take_office("pod-a")
        await _apply(catalogue)

    planned = text("SELECT DISTINCT traceparent FROM tasks")
    with receiving() as receiver:
        for name, value in receiver.environment.items():
            monkeypatch.setenv(name, value)
        tracing.configure("data-miner-operator")
        _play(_url(world), apply)
        tracing.close()
        (span,) = receiver.named("apply")

    with world.begin() as conn:
        assert list(conn.scalars(planned)) == [f"00-{span.trace}-{span.id}-01"]
        conn.execute(text("DELETE FROM tasks"))
    assert (span.service, span.parent) == ("data-miner-operator", "")
    assert span.attributes == {"dataminer.project": "default/balls"}
    _play(_url(world), _retaken)
    with world.begin() as conn:
        assert list(conn.scalars(planned)) == [None]


async def _retaken(catalogue: Catalogue) -> None:
    await catalogue.take_office("pod-b")
    await _apply(catalogue, project(priority=9))


def test_every_write_is_fenced(world: World) -> None:
    """Before an office is taken, and once another leader has taken it, nothing is written."""
    with world.begin() as conn:
        for name in ("w1", "w2"):
            workers.register(
                conn,
                worker_id=name,
                host="h",
                pid=1,
                pool="default",
                stages=[],
                slots=1,
                version="1",
            )

    async def writes(catalogue: Catalogue, p: int) -> None:
        for act in (
            lambda: _apply(catalogue, project(priority=9)),
            lambda: catalogue.suspend(p),
            lambda: catalogue.release(p),
            lambda: catalogue.forget(p),
            lambda: catalogue.retry(p, "token"),
            lambda: catalogue.drain(["w1"]),
            lambda: catalogue.undrain(["w2"]),
        ):
            with pytest.raises(FencedError):
                await act()

    async def replaced(catalogue: Catalogue) -> None:
        await catalogue.take_office("pod-a")
        p = await _apply(catalogue)
        assert list(await catalogue.drain(["w2"])) == ["w2"]
        old = catalogue.epoch
        await catalogue.take_office("pod-b")
        catalogue.epoch = old
        before = world.rows("SELECT xmin::text, ctid::text FROM projects")
        await writes(catalogue, p)
        catalogue.epoch = None
        await writes(catalogue, p)
        assert world.rows("SELECT xmin::text, ctid::text FROM projects") == before
        drained = world.rows("SELECT worker_id FROM workers WHERE drain")
        assert drained == [("w2",)]
        assert (await catalogue.standing(("default", "balls")))[0] is not None

    _play(_url(world), replaced)


def _closed_port() -> int:
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        return int(held.getsockname()[1])


def test_a_database_that_is_away_is_one_line_without_a_password() -> None:
    """For reads, writes and the look at everything alike."""
    port = _closed_port()

    async def ask(catalogue: Catalogue) -> list[str]:
        said = []
        for act in (
            lambda: catalogue.standing(("default", "balls")),
            catalogue.pulse,
            lambda: catalogue.take_office("pod-a"),
        ):
            with pytest.raises(AwayError) as error:
                await act()
            said.append(str(error.value))
        return said

    for line in _play(f"postgresql://me:s3cret@127.0.0.1:{port}/dm", ask):
        assert line.startswith(f"cannot reach PostgreSQL at 127.0.0.1:{port}/dm: ")
        assert "\n" not in line
        assert "s3cret" not in line


def test_a_wrong_schema_is_away_until_somebody_mends_it(world: World) -> None:
    """The line says what to run; afterwards the same catalogue goes on by itself."""
    url = _url(world)
    downgrade(url, "0004")

    async def wait(catalogue: Catalogue) -> None:
        with pytest.raises(AwayError, match="run `data-miner db upgrade`"):
            await catalogue.pulse()
        assert _matches() == 0
        await asyncio.to_thread(upgrade, url)
        await catalogue.take_office("pod-a")
        assert _matches() == 1
        await _apply(catalogue)
        # A schema that goes away under a program that has just found it right.
        await asyncio.to_thread(_rename, world, "projects", "elsewhere")
        await asyncio.to_thread(_claim_revision, world, "0004")
        with pytest.raises(AwayError, match="run `data-miner db upgrade`"):
            await catalogue.rows()
        assert _matches() == 0
        await asyncio.to_thread(_rename, world, "elsewhere", "projects")
        await asyncio.to_thread(_claim_revision, world, REVISIONS[-1])
        assert len(await catalogue.rows()) == 1

    _play(url, wait)


def _matches() -> float | None:
    return metrics.REGISTRY.get_sample_value("dataminer_schema_revision_matches")


def _rename(world: World, old: str, new: str) -> None:
    with world.begin() as conn:
        conn.exec_driver_sql(f"ALTER TABLE {old} RENAME TO {new}")


def _claim_revision(world: World, revision: str) -> None:
    with world.begin() as conn:
        conn.execute(text("UPDATE alembic_version SET version_num = :r"), {"r": revision})


def test_a_lock_that_is_not_given_in_time_is_away_too(world: World) -> None:
    """Somebody holds the row: the same call may work in a moment."""

    async def blocked(catalogue: Catalogue) -> str:
        await catalogue.take_office("pod-a")
        p = await _apply(catalogue)
        hasty = Catalogue(engine_for(_url(world), lock_timeout_seconds=0.2), "cluster", FIRST_WAVE)
        hasty.epoch = catalogue.epoch
        with world.begin() as conn:
            conn.exec_driver_sql("SELECT FROM projects FOR UPDATE")
            with pytest.raises(AwayError) as error:
                await hasty.suspend(p)
        assert await hasty.suspend(p)
        await hasty.close()
        return str(error.value)

    line = _play(_url(world), blocked)
    assert "lock timeout" in line
    assert "\n" not in line


class Heard:
    """What a listener was told, in order."""

    def __init__(self) -> None:
        self.said: list[int | None] = []
        self.news = asyncio.Event()

    def __call__(self, project_id: int | None) -> None:
        self.said.append(project_id)
        self.news.set()

    async def until(self, condition: Callable[[list[int | None]], bool]) -> None:
        """Wait for what was said since the last call to fulfil a condition; then forget it."""
        async with asyncio.timeout(45):
            while not condition(self.said):
                self.news.clear()
                await self.news.wait()
        self.said.clear()


@contextlib.asynccontextmanager
async def _listening(catalogue: Catalogue) -> AsyncIterator[Heard]:
    heard = Heard()
    task = asyncio.create_task(catalogue.listen(heard))
    try:
        yield heard
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task


def _listeners(world: World) -> list[int]:
    rows = world.rows(
        "SELECT pid FROM pg_stat_activity WHERE application_name = 'data-miner operator listener'"
        " AND datname = current_database()"
    )
    return [row.pid for row in rows]


def test_transitions_are_heard_and_steps_are_not(world: World) -> None:
    """An apply, a stop, a dead letter, a published version: each names its project."""
    world.find("a")

    async def hear(catalogue: Catalogue) -> None:
        async with _listening(catalogue) as heard:
            await heard.until(lambda said: said == [None])
            await catalogue.take_office("pod-a")
            p = await _apply(catalogue)
            await heard.until(lambda said: p in said)
            await asyncio.to_thread(world.work, "discover")
            await heard.until(lambda said: p in said)
            held = await asyncio.to_thread(world.claim, "download")
            await asyncio.to_thread(world.do, held[0])
            await asyncio.to_thread(world.work, "extract", "embed", "filter", "dedup_embed")
            await asyncio.to_thread(_say, world, 4711)  # comes after all that these said
            await heard.until(lambda said: 4711 in said and p not in said)
            await asyncio.to_thread(world.work)
            await heard.until(lambda said: p in said)
            await catalogue.suspend(p)
            await heard.until(lambda said: p in said)

    _play(_url(world), hear)


def _say(world: World, project_id: int) -> None:
    with world.begin() as conn:
        events.write(conn, "project.test", project_id=project_id)
        events.write(conn, "task.skipped", project_id=project_id + 1)


def test_a_dead_letter_is_heard(world: World) -> None:
    """Whoever made it."""
    world.find("a")
    p = world.apply(project()).project_id
    world.work("discover")
    held = world.claim("download")

    async def hear(catalogue: Catalogue) -> None:
        async with _listening(catalogue) as heard:
            await heard.until(lambda said: said == [None])
            await asyncio.to_thread(_fail, world, held[0].id)
            await heard.until(lambda said: said == [p])

    _play(_url(world), hear)


def _fail(world: World, task_id: int) -> None:
    with world.begin() as conn:
        conn.execute(
            text(
                "UPDATE tasks SET state = 'failed', error_class = 'x', claimed_by = NULL,"
                " claimed_at = NULL, lease_until = NULL, heartbeat_at = NULL WHERE id = :id"
            ),
            {"id": task_id},
        )


def test_a_lost_connection_is_made_again_and_counts_as_news(world: World) -> None:
    """What was said in between is not known: anything may have changed."""

    async def hear(catalogue: Catalogue) -> None:
        async with _listening(catalogue) as heard:
            await heard.until(lambda said: said == [None])
            (pid,) = await asyncio.to_thread(_listeners, world)
            await asyncio.to_thread(world.rows, "SELECT pg_terminate_backend(:pid)", pid=pid)
            await heard.until(lambda said: None in said)
            await asyncio.to_thread(_say, world, 5)
            await heard.until(lambda said: said == [5])

    _play(_url(world), hear)


def test_a_server_that_says_nothing_any_more_is_left(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its machine still answers, but it does not: it is asked, and connected to anew."""
    monkeypatch.setattr(listening, "QUIET_SECONDS", 0.2)
    monkeypatch.setattr(listening, "ANSWER_SECONDS", 2.0)

    async def hear(catalogue: Catalogue) -> None:
        async with _listening(catalogue) as heard:
            await heard.until(lambda said: said == [None])
            (pid,) = await asyncio.to_thread(_listeners, world)
            os.kill(pid, signal.SIGSTOP)
            try:
                await heard.until(lambda said: said == [None])
            finally:
                os.kill(pid, signal.SIGCONT)

    _play(_url(world), hear)


def test_listening_ends_with_its_task(world: World) -> None:
    """No connection is left behind."""

    async def hear(catalogue: Catalogue) -> None:
        async with _listening(catalogue) as heard:
            await heard.until(lambda said: said == [None])
        async with asyncio.timeout(20):
            while await asyncio.to_thread(_listeners, world):
                await asyncio.sleep(0.02)

    _play(_url(world), hear)


@pytest.fixture
def own_server() -> Iterator[Callable[[], Server]]:
    """A server of the test's own in a folder that outlives it: call it to start one."""
    home: Path = enterable_folder()
    try:
        yield lambda: Server(home)
    finally:
        shutil.rmtree(home)


def test_a_server_that_comes_back_is_used_again(own_server: Callable[[], Server]) -> None:
    """The same catalogue: away while it is gone, and right again afterwards, the listener too."""

    async def life(catalogue: Catalogue, server: Server) -> None:
        async with _listening(catalogue) as heard:
            await heard.until(lambda said: said == [None])
            await catalogue.take_office("pod-a")
            await asyncio.to_thread(server.__exit__, None, None, None)
            with pytest.raises(AwayError):
                await catalogue.pulse()
            with own_server():
                async with asyncio.timeout(60):
                    while True:
                        try:
                            assert await catalogue.take_office("pod-a") == 2
                            break
                        except AwayError:
                            await asyncio.sleep(0.1)
                await heard.until(lambda said: None in said)

    server = own_server().__enter__()
    upgrade(server.url)
    _play(server.url, lambda catalogue: life(catalogue, server))


def test_the_address_to_listen_at_may_be_another(world: World) -> None:
    """Where the other one leads through a pooler, which knows no LISTEN."""

    async def hear(catalogue: Catalogue) -> None:
        async with _listening(catalogue) as heard:
            await heard.until(lambda said: said == [None])

    away = f"postgresql://me@127.0.0.1:{_closed_port()}/dm"
    _play(away, hear, database_listen_url=_url(world))
