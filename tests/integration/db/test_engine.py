"""How a process connects, and what it says when it cannot."""

from __future__ import annotations

import os
import select
import socket
import threading

import psycopg2
import psycopg2.extensions
import pytest
from sqlalchemy import text
from sqlalchemy.exc import OperationalError

from data_miner.db.engine import KEEPALIVE, engine_for, place, reachable
from data_miner.db.migrate import upgrade
from data_miner.db.revision import check_revision
from data_miner.errors import DatabaseError


def test_sessions_are_as_the_queue_needs_them(database_url: str) -> None:
    """READ COMMITTED, UTC, a name that an operator recognises, and timeouts."""
    engine = engine_for(database_url, application_name="worker 7", statement_timeout_seconds=12)
    with engine.connect() as c:
        shown = {
            name: c.scalar(text(f"SHOW {name}"))
            for name in (
                "transaction_isolation",
                "timezone",
                "application_name",
                "statement_timeout",
                "lock_timeout",
            )
        }
    engine.dispose()
    assert shown == {
        "transaction_isolation": "read committed",
        "timezone": "UTC",
        "application_name": "worker 7",
        "statement_timeout": "12s",
        "lock_timeout": "1min",
    }


def test_a_server_that_vanishes_without_a_word_is_noticed() -> None:
    """Over TCP the kernel asks after the other end, and gives up on what is not acknowledged."""
    asked = threading.Event()

    def answer(server: socket.socket) -> None:
        peer, _ = server.accept()
        peer.recv(1024)
        asked.wait(20)
        peer.close()

    with socket.create_server(("127.0.0.1", 0)) as server:
        talking = threading.Thread(target=answer, args=(server,))
        talking.start()
        raw = psycopg2.connect(
            f"host=127.0.0.1 port={server.getsockname()[1]} sslmode=disable gssencmode=disable",
            async_=1,
            **KEEPALIVE,
        )
        while raw.poll() == psycopg2.extensions.POLL_WRITE:
            select.select([], [raw], [], 10)
        with socket.socket(fileno=os.dup(raw.fileno())) as ours:
            kept = ours.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)
            idle = ours.getsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE)
            unacknowledged = ours.getsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT)
        asked.set()
        talking.join()
        raw.close()

    assert (kept, idle, unacknowledged) == (1, 20, 35_000)


def test_every_session_asks_after_its_server(database_url: str) -> None:
    """The engine's connections have the kernel's questions switched on."""
    engine = engine_for(database_url)
    with engine.connect() as c:
        driver = c.connection.driver_connection
        assert driver is not None
        given = driver.info.dsn_parameters
    engine.dispose()
    assert {name: given[name] for name in KEEPALIVE} == {
        name: str(value) for name, value in KEEPALIVE.items()
    }


def test_a_statement_that_takes_too_long_ends(database_url: str) -> None:
    """The statement timeout is an error of the statement, not a hang."""
    engine = engine_for(database_url, statement_timeout_seconds=0.05)
    with engine.connect() as c, pytest.raises(OperationalError, match="statement timeout"):
        c.execute(text("SELECT pg_sleep(20)"))
    engine.dispose()


@pytest.mark.parametrize("action", [upgrade, lambda url: check_revision(engine_for(url))])
def test_no_server_is_one_line_without_the_password(action: object) -> None:
    """The line names host, port and database, and never the password."""
    assert callable(action)
    with pytest.raises(DatabaseError) as error:
        action("postgresql://someone:s3cret@127.0.0.1:1/mine")
    message = str(error.value)
    assert message.startswith("cannot reach PostgreSQL at 127.0.0.1:1/mine: ")
    assert "s3cret" not in message
    assert "\n" not in message
    assert error.value.exit_code == 4


def test_a_server_that_goes_away_is_one_line(database_url: str) -> None:
    """A session that was ended from outside is a DatabaseError inside `reachable`."""
    engine = engine_for(database_url)

    def ended_in_the_middle() -> None:
        with reachable(engine), engine.connect() as c:
            mine = c.scalar(text("SELECT pg_backend_pid()"))
            with engine.connect() as other:
                other.execute(text("SELECT pg_terminate_backend(:p, 5000)"), {"p": mine})
            c.execute(text("SELECT 1"))

    with pytest.raises(DatabaseError, match="cannot reach PostgreSQL at"):
        ended_in_the_middle()
    with engine.connect() as c:
        assert c.scalar(text("SELECT 1")) == 1
    engine.dispose()


@pytest.mark.parametrize(
    "url", ["mysql://u:s3cret@h/d", "not a url", "postgresql://u:s3cret@h:port/d"]
)
def test_what_is_no_postgresql_url_is_said_without_repeating_it(url: str) -> None:
    """The error says what is expected and shows no part that may be secret."""
    with pytest.raises(DatabaseError) as error:
        engine_for(url)
    assert "postgresql://" in str(error.value)
    assert "s3cret" not in str(error.value)


def test_a_plain_postgresql_url_is_enough(database_url: str) -> None:
    """The driver need not be named."""
    engine = engine_for(database_url.replace("+psycopg2", ""))
    with engine.connect() as c:
        assert c.scalar(text("SELECT 1")) == 1
    engine.dispose()
    assert place("postgresql://u:p@db.example/x") == "db.example:5432/x"
