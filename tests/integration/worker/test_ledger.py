"""What a worker says to a database that refuses for a moment."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from data_miner.db.engine import engine_for
from data_miner.settings import Settings
from data_miner.stage import Done
from data_miner_worker.database import DatabaseAwayError
from data_miner_worker.ledger import Ledger
from data_miner_worker.messages import Ended
from data_miner_worker.running import Running
from support.worker import Site, eventually

END = Ended(Done(facts={"found": 0}, records={"videos": []}))


@pytest.fixture
def ledger(here: Site) -> Iterator[Ledger]:
    """What a worker uses to talk to the database."""
    engine = engine_for(here.url, lock_timeout_seconds=20)
    made = Ledger(engine, Settings(home=here.home), "w1", ("discover",))
    made.register(pool="default", slots=1)
    yield made
    engine.dispose()


def _run(ledger: Ledger) -> Running:
    (task,) = ledger.claim(1) or []
    return Running(task, Path("none"), stall_seconds=9, started=0, last_sign=0)


def test_a_finish_that_ends_in_a_deadlock_is_said_again(here: Site, ledger: Ledger) -> None:
    """Nothing of it is kept, no attempt is counted, and the same words work afterwards."""
    here.apply("a")
    run = _run(ledger)
    refused: list[Exception] = []

    def finish() -> None:
        try:
            ledger.settle(run, END)
        except DatabaseAwayError as error:
            refused.append(error)

    finishing = threading.Thread(target=finish)
    with here.engine.begin() as other:
        other.exec_driver_sql("SET LOCAL deadlock_timeout = '60s'")  # the worker is the victim
        other.exec_driver_sql("SELECT FROM tasks FOR UPDATE")
        finishing.start()
        waiting = "SELECT FROM pg_stat_activity WHERE wait_event_type = 'Lock'"
        eventually(lambda: here.rows(waiting), what="the finish waits for the task")
        other.exec_driver_sql("SELECT FROM projects FOR UPDATE")
        finishing.join(20)

    assert "deadlock" in str(refused[0])
    (task,) = here.rows("SELECT state, attempt FROM tasks")
    assert task == {"state": "running", "attempt": 0}

    ledger.settle(run, END)

    assert [r["outcome"] for r in here.rows("SELECT outcome FROM results")] == ["done"]
    ledger.settle(run, END)  # said once more: it is not ours any more, and nothing changes
    assert len(here.rows("SELECT FROM results")) == 1
