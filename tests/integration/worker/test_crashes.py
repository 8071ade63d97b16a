"""Whatever happens to workers and to the database: nothing is lost and nothing is done twice."""

from __future__ import annotations

import os
import random
import shutil
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from data_miner.db.migrate import upgrade
from data_miner.postgres import Server
from support.database import FAST, enterable_folder
from support.worker import Site, WorkerProcess, eventually, site

CATALOGUE = ("results", "artifacts", "tasks", "videos", "project_videos", "waves", "events")


def snapshot(here: Site) -> dict[str, list[dict[str, Any]]]:
    """All rows that a task may have written."""
    return {table: here.rows(f"SELECT * FROM {table} x ORDER BY x") for table in CATALOGUE}


def test_a_worker_that_sleeps_past_its_lease_changes_nothing(here: Site, tmp_path: Path) -> None:
    """Stopped after publishing and before recording; another worker finishes; then it goes on."""
    here.apply("a?unique=1")
    here.worker("--until-idle", "--stages", "discover").wait()
    held = tmp_path / "held"
    held.mkdir()
    os.mkfifo(held / "published_before_finish")
    sleeper = here.worker("--stages", "download", DATA_MINER_TEST_SIGNALS=str(held))
    eventually((held / "published_before_finish.reached").exists)
    published = here.objects()

    sleeper.signal(signal.SIGSTOP)
    other = here.worker("--until-idle")
    assert other.wait() == 0
    result = here.result("a")
    assert result is not None
    assert (result["processed_by"], result["attempts"]) == (other.name, 1)
    rows, files = snapshot(here), here.objects()
    sleeper.signal(signal.SIGCONT)
    (held / "published_before_finish").write_bytes(b"")  # open its gate
    eventually(lambda: sleeper.said("came_too_late"))

    assert snapshot(here) == rows
    assert here.objects() == files
    named = {row["sha256"] for row in rows["artifacts"]}
    leftovers = {name for name in files if name[:64] not in named}
    assert len(leftovers) == 2  # each run has made a file of its own that it did not tell of
    assert leftovers & set(published)
    sleeper.kill()
    here.worker(DATA_MINER_ORPHAN_SECONDS="0.5")
    eventually(lambda: {name[:64] for name in here.objects()} == named)


@pytest.fixture
def own_server(tmp_path: Path) -> Iterator[tuple[Site, Server]]:
    """A site on a database server of its own, which the test may stop."""
    folder = enterable_folder()
    try:
        with Server(folder, settings=FAST) as server:
            upgrade(server.url)
            with site(tmp_path, server.url) as made:
                yield made, server
    finally:
        shutil.rmtree(folder)


def test_tasks_go_on_while_the_database_is_away(own_server: tuple[Site, Server]) -> None:
    """What ends meanwhile is recorded afterwards: same run, no attempt, no loss, one line each."""
    here, server = own_server
    here.apply("a?gate=g", "b", "c?gate=never")
    worker = here.worker(DATA_MINER_LEASE_SECONDS="10", DATA_MINER_STALL_FACTOR="1")
    eventually(lambda: here.at_gate("g") and here.at_gate("never"))
    here.engine.dispose()

    _power_off(server)
    eventually(lambda: worker.said("database_away"))
    here.open_gate("g")
    eventually(lambda: len(worker.said("database_away")) == 1 and not server.process_id())
    server.ensure()

    eventually(here.done("a", "b"))
    result, running = here.result("a"), here.task("c")
    assert result is not None
    assert running is not None
    assert (result["attempts"], running["claim_seq"], running["lost_count"]) == (1, 1, 0)
    eventually(lambda: worker.said("database_back"))
    assert len(worker.said("database_away")) == 1


def _power_off(server: Server) -> None:
    """All its processes at once: a session that outlived another would answer in between."""
    pid = server.process_id()
    assert pid is not None
    first = psutil.Process(pid)
    for process in (first, *first.children(recursive=True)):
        process.kill()


def test_workers_that_are_killed_again_and_again_lose_nothing(here: Site) -> None:
    """Six times kill -9 in the middle of two stages of many tiny tasks: every result once."""
    count, kills, dice = 80, 6, random.Random(7)
    here.apply(*[f"v{n:03}" for n in range(count)], stages="extract")
    crew = [_started(here), _started(here)]

    for _ in range(kills):
        before = len(here.rows("SELECT FROM results"))
        eventually(
            lambda: len(here.rows("SELECT FROM results")) > before or not _work_left(here)  # noqa: B023
        )
        place = dice.randrange(2)
        crew[place].kill()
        crew[place] = _started(here)
    eventually(lambda: not _work_left(here), within_seconds=60)

    assert here.rows("SELECT * FROM tasks") == []
    counts = here.rows(
        "SELECT stage, count(*) AS n, count(DISTINCT subject) AS subjects, max(attempts) AS most"
        " FROM results GROUP BY stage ORDER BY stage"
    )
    assert [tuple(row.values()) for row in counts] == [
        ("discover", 1, 1, 1),
        ("download", count, count, 1),
        ("extract", count, count, 1),
    ]
    files = here.rows("SELECT subject, sha256, generation, deleted_at FROM artifacts")
    assert len(files) == 2 * count
    assert {(f["generation"], f["deleted_at"]) for f in files} == {(1, None)}
    assert {f["sha256"] for f in files} <= {name[:64] for name in here.objects()}


def _started(here: Site) -> WorkerProcess:
    return here.worker(DATA_MINER_MAX_LOSSES="100")


def _work_left(here: Site) -> bool:
    return bool(here.rows("SELECT FROM tasks WHERE state <> 'failed' LIMIT 1")) or not here.rows(
        "SELECT FROM results WHERE stage = 'extract' LIMIT 1"
    )
