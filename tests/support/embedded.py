"""What the tests of the embedded server share."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import psycopg2

from data_miner.postgres import Server
from support.database import libpq
from support.forked import Talk
from support.waiting import eventually

Scenario = Callable[[Path], None]
Play = Callable[[Scenario], None]


def query(url: str, statement: str) -> list[tuple[object, ...]]:
    with closing(psycopg2.connect(libpq(url))) as connection:
        connection.autocommit = True
        with connection.cursor() as cursor:
            cursor.execute(statement)
            return cursor.fetchall() if cursor.description else []


def answers(url: str) -> bool:
    try:
        return query(url, "SELECT 1") == [(1,)]
    except psycopg2.OperationalError:
        return False


def process_is_gone(pid: int) -> bool:
    """True also for a zombie: whether it is buried is up to the machine's init."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except (FileNotFoundError, ProcessLookupError):
        return True


def running_pid(server: Server) -> int:
    pid = server.process_id()
    assert pid
    return pid


def hold(home: Path) -> Callable[[Talk], None]:
    """A process that joins, says the server's process id, and leaves when it is told."""

    def body(talk: Talk) -> None:
        with Server(home) as server:
            talk.say(str(server.process_id()))
            talk.hear()

    return body


def kill_hard(server: Server) -> None:
    pid = running_pid(server)
    os.kill(pid, signal.SIGKILL)
    eventually(lambda: server.process_id() is None, what="the killed server to be seen as dead")
