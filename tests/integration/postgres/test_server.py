"""The embedded server, as whoever runs the tests and, where that is root, as an ordinary user."""

from __future__ import annotations

import importlib
import os
import shutil
import signal
import stat
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from pathlib import Path

import psycopg2
import pytest

from data_miner.errors import DatabaseError
from data_miner.postgres import Server, embedded, folders
from data_miner.postgres.account import current_account
from data_miner.postgres.place import read_record
from data_miner.postgres.postmaster import read_pid_file
from data_miner.postgres.programs import find_programs
from support.database import enterable_folder, libpq
from support.forked import NOBODY, Talk, forked
from support.waiting import eventually

USERS = ["root", "ordinary user"] if os.geteuid() == 0 else ["ordinary user"]
Scenario = Callable[[Path], None]
Play = Callable[[Scenario], None]


@pytest.fixture(params=USERS)
def play(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[Play]:
    """Runs a scenario as one user, in a process of its own, with a home folder of its own."""
    drop = os.geteuid() == 0 and request.param == "ordinary user"
    folder = enterable_folder()
    roots = folder / "roots"
    monkeypatch.setattr(folders, "ROOTS", (roots,))
    if drop:
        programs = find_programs(current_account())
        monkeypatch.setenv("DATA_MINER_PG_BIN", str(programs.folder))
        os.chown(folder, NOBODY, -1)

    def act(scenario: Scenario) -> None:
        with forked(lambda _: scenario(folder / "home"), uid=NOBODY if drop else None) as child:
            child.join()

    try:
        yield act
    finally:
        shutil.rmtree(folder)


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


@pytest.mark.parametrize(
    "name", ["a b", 'it\'s "quoted" $HOME `id` \\', "😀 ünï", "d" * 200 + "/" + "e" * 200]
)
def test_any_home_folder_will_do(play: Play, name: str) -> None:
    """Spaces, quotes, emoji and paths longer than a socket's may be."""

    def scenario(home: Path) -> None:
        with Server(home / name) as server:
            assert answers(server.url)
            place = read_record(home / name / "postgres")
            assert place
            assert len(os.fsencode(place.sockets / ".s.PGSQL.5432.lock")) <= 100

    play(scenario)


def test_a_long_tmpdir_is_not_used_for_the_socket(
    play: Play, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A TMPDIR too long for a socket is passed over."""
    monkeypatch.setattr(tempfile, "tempdir", "/tmp/" + "x" * 90)

    def scenario(home: Path) -> None:
        with Server(home) as server:
            assert answers(server.url)

    play(scenario)


def test_a_home_that_only_its_owner_may_enter(play: Play) -> None:
    """It works, its data stays private, it may be moved, and a copy does not share its data."""

    def scenario(home: Path) -> None:
        home.mkdir(mode=0o700)
        with embedded(home) as url:
            query(url, "CREATE TABLE t AS SELECT 43 AS x")
        assert stat.S_IMODE(home.stat().st_mode) == 0o700
        place = read_record(home / "postgres")
        assert place
        assert place.data.is_relative_to(home) == (not current_account().lent)
        moved = home.rename(home.with_name("moved"))
        with embedded(moved) as url:
            assert query(url, "SELECT x FROM t") == [(43,)]
        if current_account().lent:
            shutil.copytree(moved, home)
            with pytest.raises(DatabaseError, match="is a copy of"), embedded(home):
                pass

    play(scenario)


def test_programs_that_only_their_owner_may_read(play: Play) -> None:
    """An installation in a private folder serves: root's server runs from a copy, made once."""

    def scenario(home: Path) -> None:
        installed = home.with_name("private")
        installed.mkdir(mode=0o700)
        wheel = find_programs(current_account()).folder.parents[1]
        os.environ.pop("DATA_MINER_PG_BIN", None)
        for name in ("pginstall18/bin", "pginstall18/lib", "pginstall18/share"):
            shutil.copytree(wheel / name, installed / wheel.name / name)
        shutil.copytree(f"{wheel}.libs", installed / f"{wheel.name}.libs")
        (installed / wheel.name / "__init__.py").touch()
        sys.path.insert(0, str(installed))
        importlib.invalidate_caches()
        before = set(folders.ROOTS[0].glob("programs-*"))
        for _ in range(2):
            with Server(home) as server:
                assert answers(server.url)
                runs = Path(f"/proc/{server.process_id()}/exe").resolve()
        assert runs.is_relative_to(installed) == (not current_account().lent)
        copies = set(folders.ROOTS[0].glob("programs-*"))
        assert len(copies) == 1 if current_account().lent else copies == before
        assert all(c.stat().st_uid == 0 and not c.stat().st_mode & 0o022 for c in copies)

    play(scenario)


def test_a_copied_home_has_a_server_of_its_own(play: Play) -> None:
    """A copy of a home in use neither shares nor disturbs the original's server."""

    def scenario(home: Path) -> None:
        with Server(home) as original:
            query(original.url, "CREATE TABLE t AS SELECT 44 AS x")
            query(original.url, "CHECKPOINT")
            copy = home.with_name("copy")
            subprocess.run(["cp", "-a", home, copy], check=True)
            with Server(copy) as other:
                assert other.process_id() != original.process_id()
                assert other.url != original.url
                query(other.url, "DROP TABLE t")
            assert query(original.url, "SELECT x FROM t") == [(44,)]

    play(scenario)


def test_a_strangers_socket_folder_is_not_used(play: Play) -> None:
    """What others could have put in the recorded place is passed over."""

    def scenario(home: Path) -> None:
        with Server(home):
            before = read_record(home / "postgres")
        assert before
        before.sockets.mkdir(mode=0o777)
        before.sockets.chmod(0o777)
        with Server(home) as server:
            after = read_record(home / "postgres")
            assert after
            assert after.sockets != before.sockets
            assert answers(server.url)
        before.sockets.rmdir()
        before = after
        before.sockets.symlink_to("/tmp")
        with Server(home):
            after = read_record(home / "postgres")
            assert after
            assert after.sockets != before.sockets
        before.sockets.unlink()

    play(scenario)


def test_a_database_of_another_version_is_left_alone(play: Play) -> None:
    """It says which version made it and what to do."""

    def scenario(home: Path) -> None:
        with Server(home):
            place = read_record(home / "postgres")
        assert place
        (place.data / "PG_VERSION").write_text("12\n")
        with (
            pytest.raises(DatabaseError, match=r"made by PostgreSQL 12 .*pg_upgrade"),
            Server(home),
        ):
            pass

    play(scenario)


def test_a_server_that_does_not_start_says_why(play: Play) -> None:
    """The server's own reason is in the one line, with the log's path."""

    def scenario(home: Path) -> None:
        with (
            pytest.raises(DatabaseError, match=r"server\.log.*shared_buffers") as caught,
            Server(home, settings={"shared_buffers": "nonsense"}),
        ):
            pass
        assert "\n" not in str(caught.value)

    play(scenario)


def test_a_home_that_is_a_file_gives_one_line(play: Play) -> None:
    """A home folder that cannot be made names the path and the way out."""

    def scenario(home: Path) -> None:
        home.write_text("not a folder")
        with pytest.raises(DatabaseError, match=r"cannot be used: .*--home"), Server(home):
            pass

    play(scenario)


def test_a_damaged_record_gives_one_line(play: Play) -> None:
    """A location that cannot be read is not guessed."""

    def scenario(home: Path) -> None:
        with Server(home):
            pass
        (home / "postgres" / "location").write_text("{")
        with pytest.raises(DatabaseError, match="is damaged"), Server(home):
            pass

    play(scenario)


def test_a_pid_file_of_a_running_server_is_read(play: Play) -> None:
    """The file names the process and that it is ready."""

    def scenario(home: Path) -> None:
        with Server(home) as server:
            place = read_record(home / "postgres")
            assert place
            file = read_pid_file(place.data)
            assert file
            assert (file.pid, file.status) == (running_pid(server), "ready")

    play(scenario)
