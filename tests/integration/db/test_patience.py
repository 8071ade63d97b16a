"""What starts before its database waits for it, and says what it waits for."""

from __future__ import annotations

import os
import subprocess
import sys
import threading

import pytest
from sqlalchemy import text

from data_miner.db.engine import engine_for
from data_miner.db.migrate import upgrade
from data_miner.db.patience import wait_for_schema, wait_until_reachable
from data_miner.db.revision import REVISIONS
from data_miner.errors import DatabaseError
from support.database import Databases

NOWHERE = "postgresql://127.0.0.1:1/none"


def program(url: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    """`data-miner db ...` on this database."""
    return subprocess.run(
        [sys.executable, "-m", "data_miner.cli.main", "db", *arguments],
        env={**os.environ, "DATA_MINER_DATABASE_URL": url},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )


def test_a_wait_ends_when_somebody_else_has_made_the_schema(databases: Databases) -> None:
    """The waiter says why it waits, once, and goes on by itself."""
    url = databases.create()
    engine, said = engine_for(url), list[str]()
    heard = threading.Event()

    def say(line: str) -> None:
        said.append(line)
        heard.set()

    waiting = threading.Thread(target=lambda: wait_for_schema(engine, 60, say))
    waiting.start()
    assert heard.wait(30)
    upgrade(url)
    waiting.join(30)
    assert not waiting.is_alive()
    engine.dispose()
    databases.drop(url)
    assert len(said) == 1
    assert "no schema yet" in said[0]


def test_a_wait_gives_up_with_the_reason() -> None:
    engine = engine_for(NOWHERE, connect_timeout_seconds=2)
    with pytest.raises(DatabaseError, match=r"cannot reach PostgreSQL at 127\.0\.0\.1:1/none"):
        wait_until_reachable(engine, 0, print)
    engine.dispose()


def test_the_command_waits_and_says_in_one_line_that_it_gives_up() -> None:
    ended = program(NOWHERE, "wait", "--seconds", "0")
    assert ended.returncode != 0
    assert ended.stderr.strip().count("\n") == 0
    assert "cannot reach PostgreSQL" in ended.stderr


def test_a_newer_schema_is_left_alone_if_it_supports_the_program(databases: Databases) -> None:
    """After a rollback the migration of the older release may run once more, and must end well."""
    url = databases.create()
    assert program(url, "upgrade", "--wait-seconds", "30").returncode == 0
    engine = engine_for(url)
    with engine.begin() as conn:
        assert conn.scalar(text("SELECT version_num FROM alembic_version")) == REVISIONS[-1]
        conn.execute(text("UPDATE alembic_version SET version_num = '9999'"))
    kept = program(url, "upgrade")
    with engine.begin() as conn:
        conn.execute(text("UPDATE schema_support SET oldest_program = '9999'"))
    engine.dispose()
    refused = program(url, "upgrade")
    databases.drop(url)
    assert (kept.returncode, kept.stdout) == (0, "the schema has revision 9999\n")
    assert refused.returncode != 0
