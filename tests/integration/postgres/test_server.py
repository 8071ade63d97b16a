"""The life of the embedded server: start, join, stop, and every way to be killed."""

from __future__ import annotations

import os
import shutil
import stat
import threading
from contextlib import ExitStack, closing
from pathlib import Path

import psycopg2
import pytest

from data_miner.postgres import Server, embedded
from data_miner.postgres.place import read_record
from support.database import libpq
from support.embedded import Play, answers, hold, kill_hard, process_is_gone, query, running_pid
from support.forked import forked
from support.waiting import eventually


def test_it_starts_with_the_settings_of_a_laptop_and_stops(play: Play) -> None:
    """C.UTF-8, UTC, checksums, no port; afterwards no process and no socket is left."""

    def scenario(home: Path) -> None:
        with Server(home) as server:
            pid = running_pid(server)
            for name, value in {
                "listen_addresses": "", "TimeZone": "UTC", "data_checksums": "on", "fsync": "on",
                "server_encoding": "UTF8", "max_connections": "200", "autovacuum": "on",
            }.items():  # fmt: skip
                assert query(server.url, f"SHOW {name}") == [(value,)], name
            assert query(server.url, "SELECT 'É' ~* 'é', lower('Ä')") == [(True, "ä")]
            place = read_record(home / "postgres")
            assert place
            assert stat.S_IMODE(place.sockets.stat().st_mode) == 0o700
            assert stat.S_IMODE(place.data.stat().st_mode) == 0o700
            log = home / "postgres/server.log"  # it quotes statements and their values
            assert stat.S_IMODE(log.stat().st_mode) == 0o600
            for path in [place.data, *place.data.rglob("*"), home / "postgres"]:
                assert not path.stat().st_mode & stat.S_IWOTH, path
        assert process_is_gone(pid)
        assert not place.sockets.exists()

    play(scenario)


def test_it_does_not_share_the_terminal(play: Play) -> None:
    """The server is in a session of its own, so that a Ctrl-C does not reach it."""

    def scenario(home: Path) -> None:
        with Server(home) as server:
            pid = running_pid(server)
            assert os.getsid(pid) != os.getsid(0)
            assert os.getpgid(pid) != os.getpgid(0)

    play(scenario)


def test_what_was_committed_is_there_the_next_time(play: Play) -> None:
    """A stop and a start lose nothing."""

    def scenario(home: Path) -> None:
        with embedded(home) as url:
            query(url, "CREATE TABLE t AS SELECT 41 AS x")
        with embedded(home) as url:
            assert query(url, "SELECT x FROM t") == [(41,)]

    play(scenario)


def test_processes_join_one_server_and_the_last_one_stops_it(play: Play) -> None:
    """Who leaves first takes nothing from the others."""

    def scenario(home: Path) -> None:
        with forked(hold(home)) as first, forked(hold(home)) as second:
            pids = {first.talk.hear(), second.talk.hear()}
            assert len(pids) == 1
            pid = int(pids.pop())
            first.talk.say("leave")
            first.join()
            assert not process_is_gone(pid)
            second.talk.say("leave")
            second.join()
            assert process_is_gone(pid)

    play(scenario)


def test_many_that_start_at_once_get_one_server(play: Play) -> None:
    """A race to make and start the database has one outcome."""

    def scenario(home: Path) -> None:
        with ExitStack() as stack:
            children = [stack.enter_context(forked(hold(home))) for _ in range(4)]
            assert len({child.talk.hear() for child in children}) == 1
            for child in children:
                child.talk.say("leave")
            for child in children:
                child.join()
        assert Server(home).process_id() is None

    play(scenario)


def test_a_killed_server_is_started_again_with_its_data(play: Play) -> None:
    """After kill -9 `ensure` brings back what was committed, under the same URL."""

    def scenario(home: Path) -> None:
        with Server(home) as server:
            url = server.url
            query(url, "CREATE TABLE t AS SELECT 42 AS x")
            kill_hard(server)
            server.ensure()
            assert server.url == url
            assert query(url, "SELECT x FROM t") == [(42,)]
            kill_hard(server)
        with Server(home) as server:
            assert query(server.url, "SELECT x FROM t") == [(42,)]

    play(scenario)


def test_a_client_waits_through_a_restart(play: Play) -> None:
    """Whoever keeps trying the URL while the server is down gets through once it is back."""

    def scenario(home: Path) -> None:
        with Server(home) as server:
            with closing(psycopg2.connect(libpq(server.url))) as connection:
                kill_hard(server)
                with connection.cursor() as cursor, pytest.raises(psycopg2.OperationalError):
                    cursor.execute("SELECT 1")
            refused, through = threading.Event(), threading.Event()

            def insist() -> None:
                while not answers(server.url):
                    refused.set()
                through.set()

            client = threading.Thread(target=insist)
            client.start()
            assert refused.wait(30)
            server.ensure()
            assert through.wait(30)
            client.join()

    play(scenario)


def test_a_killed_holder_leaves_no_claim(play: Play) -> None:
    """The server of a process that was killed is joined by the next one, and stopped by it."""

    def scenario(home: Path) -> None:
        with forked(hold(home)) as holder:
            pid = int(holder.talk.hear())
            holder.kill()
        assert not process_is_gone(pid)
        with Server(home) as server:
            assert server.process_id() == pid
        assert process_is_gone(pid)

    play(scenario)


def test_a_kill_while_the_database_is_made_leaves_a_clean_start(play: Play) -> None:
    """Half a data folder is never taken for a whole one."""

    def scenario(home: Path) -> None:
        with Server(home):
            pass  # decides where the data lies
        place = read_record(home / "postgres")
        assert place
        shutil.rmtree(place.data)
        with forked(hold(home)) as maker:
            eventually(lambda: any(place.data.parent.glob("data.new-*/base")), what="initdb's work")
            maker.kill()
        assert not place.data.exists()
        with Server(home) as server:
            assert query(server.url, "SELECT 1") == [(1,)]

        def swept() -> bool:
            with Server(home):
                return not list(place.data.parent.glob("data.new-*"))

        eventually(swept, what="the leftovers to be removed")

    play(scenario)


def test_a_recycled_process_id_is_not_taken_for_the_server(play: Play) -> None:
    """After a loss of power the recorded process id may be anybody's, even our own."""

    def scenario(home: Path) -> None:
        with Server(home) as server:
            place = read_record(home / "postgres")
            assert place
            whole = (place.data / "postmaster.pid").read_text()
            pid = running_pid(server)
        recycled = whole.replace(str(pid), str(os.getpid()), 1)
        (place.data / "postmaster.pid").write_text(recycled)
        assert Server(home).process_id() is None
        with Server(home) as server:
            assert answers(server.url)
        (place.data / "postmaster.pid").write_text("")
        with Server(home) as server:
            assert answers(server.url)

    play(scenario)
