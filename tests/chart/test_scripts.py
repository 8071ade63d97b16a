"""The scripts of the chart on a real PostgreSQL: first start, new password, dump, restore."""

from __future__ import annotations

import fcntl
import os
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import psycopg2
import pytest

from data_miner.postgres.account import current_account
from data_miner.postgres.programs import find_programs
from support.chart import CHART
from support.database import enterable_folder
from support.waiting import eventually

FILES = CHART / "files"
PASSWORD = "it's a pass$word"


class Pod:
    """What the chart's pods of PostgreSQL have: volumes, variables, scripts."""

    def __init__(self, home: Path) -> None:
        self.home = home
        self.account = current_account()
        self.programs = find_programs(self.account).folder
        for name in ("data", "backups", "scripts"):
            (home / name).mkdir()
        for script in FILES.rglob("*.sh"):
            shutil.copy(script, home / "scripts")
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        self.process: subprocess.Popen[str] | None = None
        self.database = "mining"
        self.password(PASSWORD)

    def password(self, text: str) -> None:
        """What the Secret holds from now on."""
        (self.home / "password").write_text(text)
        self._own()

    def start(self) -> None:
        """The container's command; returns when it answers."""
        self._own()
        self.process = self._begin("start.sh", "-p", str(self.port))
        eventually(self.answers, seconds=60, what="PostgreSQL answers")

    def stop(self, number: int = signal.SIGINT) -> None:
        """What preStop does, or a power cut."""
        if self.process is not None:
            self.process.send_signal(number)
            self.process.wait(60)
            self.process = None

    def answers(self) -> bool:
        """Whether the database takes a connection with the password of the Secret."""
        assert self.process is not None
        assert self.process.poll() is None, "PostgreSQL has ended"
        try:
            self.connect().close()
        except psycopg2.OperationalError:
            return False
        return True

    def connect(self, name: str = "", password: str = "") -> psycopg2.extensions.connection:
        """A connection as a pod of the operator has it."""
        return psycopg2.connect(
            host="127.0.0.1", port=self.port, user="data_miner",
            dbname=name or self.database,
            password=password or (self.home / "password").read_text(),
        )  # fmt: skip

    def run(self, script: str, **variables: str) -> subprocess.CompletedProcess[str]:
        """A script as its Job runs it."""
        return self.ended(self.begin(script, **variables))

    def begin(self, script: str, **variables: str) -> subprocess.Popen[str]:
        """A script as its Job runs it; beside what else runs."""
        self._own()
        return self._begin(script, pipe=subprocess.PIPE, **variables)

    def ended(self, begun: subprocess.Popen[str]) -> subprocess.CompletedProcess[str]:
        """What has become of a script that was begun."""
        with begun:
            try:
                out, err = begun.communicate(timeout=120)
            finally:
                begun.kill()
        return subprocess.CompletedProcess(begun.args, begun.returncode, out, err)

    def _begin(
        self, script: str, *arguments: str, pipe: int | None = None, **variables: str
    ) -> subprocess.Popen[str]:
        return subprocess.Popen(
            ["/bin/sh", str(self.home / "scripts" / script), *arguments],
            env={**self.environment(), **variables}, cwd="/", text=True,
            stdout=pipe, stderr=pipe, user=self._user, group=self._group,
        )  # fmt: skip

    def environment(self) -> dict[str, str]:
        """Variables of the containers."""
        return {
            "PATH": f"{self.programs}:/usr/bin:/bin",
            "PGDATA": str(self.home / "data" / "pgdata"),
            "DATABASE_NAME": self.database,
            "PASSWORD_FILE": str(self.home / "password"),
            "BACKUPS": str(self.home / "backups"),
            "KEEP_DAYS": "7",
            "PGHOST": "127.0.0.1",
            "PGPORT": str(self.port),
            "PGUSER": "data_miner",
            "PGDATABASE": self.database,
            "PGPASSWORD": (self.home / "password").read_text(),
            "HOME": "/tmp",
            "LC_ALL": "C.UTF-8",
        }

    def rows(self, query: str, name: str = "") -> list[tuple[object, ...]]:
        """Rows of a query, which is committed."""
        connection = self.connect(name)
        try:
            with connection, connection.cursor() as cursor:
                cursor.execute(query)
                return cursor.fetchall() if cursor.description else []
        finally:
            connection.close()

    def dumps(self) -> list[Path]:
        """What lies in the volume of backups, hidden files too; not the lock that all share."""
        return sorted(p for p in (self.home / "backups").iterdir() if p.name != ".lock")

    @property
    def _user(self) -> int | None:
        return self.account.uid if self.account.lent else None

    @property
    def _group(self) -> int | None:
        return self.account.gid if self.account.lent else None

    def _own(self) -> None:
        if self.account.lent:
            for path in (self.home, *self.home.rglob("*")):
                os.chown(path, self.account.uid, self.account.gid)


@pytest.fixture
def pod() -> Iterator[Pod]:
    home = enterable_folder()
    made = Pod(home)
    try:
        yield made
    finally:
        made.stop(signal.SIGQUIT)
        shutil.rmtree(home)


def test_the_first_start_makes_the_database_and_later_ones_find_it(pod: Pod) -> None:
    """Also after a power cut."""
    pod.start()
    pod.rows("CREATE TABLE t AS SELECT 1 AS x")
    assert pod.rows("SHOW server_encoding") == [("UTF8",)]
    assert pod.rows("SHOW data_checksums") == [("on",)]
    pod.stop(signal.SIGKILL)
    pod.start()
    assert pod.rows("SELECT x FROM t") == [(1,)]


def test_a_start_that_was_cut_off_leaves_nothing_behind(pod: Pod) -> None:
    """What initdb had made until then is no database."""
    half = pod.home / "data" / "pgdata.new"
    half.mkdir()
    (half / "PG_VERSION").write_text("18\n")
    pod._own()
    pod.start()
    assert not half.exists()
    assert pod.rows("SELECT 1") == [(1,)]


def test_the_database_may_be_called_as_sql_calls_something_else(pod: Pod) -> None:
    """Also when it is dumped and restored."""
    pod.database = "user"
    pod.start()
    pod.rows("CREATE TABLE t AS SELECT 1 AS x")
    for script in ("backup.sh", "restore.sh"):
        ended = pod.run(script)
        assert ended.returncode == 0, ended.stderr
    assert pod.rows("SELECT x FROM t") == [(1,)]


def test_a_first_start_without_the_database_is_none(pod: Pod) -> None:
    """It would be taken for a whole one for good; the next start begins anew."""
    pod.database = 'no "name'
    ended = pod.run("start.sh")
    assert ended.returncode != 0
    assert 'the database no "name could not be made' in ended.stderr
    assert not (pod.home / "data" / "pgdata").exists()
    pod.database = "mining"
    pod.start()
    assert pod.rows("SELECT 1") == [(1,)]


def test_only_who_knows_the_password_is_let_in(pod: Pod) -> None:
    pod.start()
    with pytest.raises(psycopg2.OperationalError, match="password authentication failed"):
        pod.connect(password="another one")


def test_the_password_of_the_secret_counts_from_the_next_start_on(pod: Pod) -> None:
    pod.start()
    pod.stop()
    pod.password("an'other; one")
    pod.start()
    with pytest.raises(psycopg2.OperationalError, match="password authentication failed"):
        pod.connect(password=PASSWORD)
    assert pod.rows("SELECT 1") == [(1,)]


def test_a_backup_is_restored_and_counted_before_it_counts_as_one(pod: Pod) -> None:
    """Restored, it has the rows of that moment; what came later is set aside, not lost."""
    pod.start()
    pod.rows("CREATE TABLE videos AS SELECT g AS id FROM generate_series(1, 1000) g")
    made = pod.run("backup.sh")
    assert made.returncode == 0, made.stderr
    assert "1 tables restored and counted" in made.stdout
    assert [path.suffix for path in pod.dumps()] == [".dump"]
    pod.rows("DELETE FROM videos WHERE id > 10")

    restored = pod.run("restore.sh")
    assert restored.returncode == 0, restored.stderr
    assert pod.rows("SELECT count(*) FROM videos") == [(1000,)]
    aside = restored.stdout.split()[-1]
    assert pod.rows("SELECT count(*) FROM videos", aside) == [(10,)]
    assert not pod.rows("SELECT datname FROM pg_database WHERE datname LIKE '%proof'")


def test_a_backup_is_of_one_moment_while_work_goes_on(pod: Pod) -> None:
    """The rows that are counted are those that are dumped."""
    pod.start()
    pod.rows("CREATE TABLE videos (id int)")
    busy = subprocess.Popen(
        [
            *(sys.executable, "-c"),
            (
                "import psycopg2, sys\n"
                "c = psycopg2.connect(sys.argv[1]); c.autocommit = True; k = c.cursor()\n"
                "while True: k.execute('INSERT INTO videos VALUES (1)')"
            ),
            f"host=127.0.0.1 port={pod.port} user=data_miner dbname=mining",
        ],
        env={**os.environ, "PGPASSWORD": PASSWORD},
    )
    try:
        eventually(lambda: pod.rows("SELECT count(*) FROM videos") != [(0,)], what="work goes on")
        made = pod.run("backup.sh")
    finally:
        busy.kill()
        busy.wait(30)
    assert made.returncode == 0, made.stderr


def test_two_backups_at_once_are_two_backups(pod: Pod) -> None:
    """As when somebody asks for one more while the first or the nightly one is made."""
    pod.start()
    pod.rows("CREATE TABLE videos AS SELECT g AS id FROM generate_series(1, 100000) g")
    begun = [pod.begin("backup.sh") for _ in range(3)]
    for each in [pod.ended(one) for one in begun]:
        assert each.returncode == 0, each.stderr
        assert "1 tables restored and counted" in each.stdout
    assert [path.suffix for path in pod.dumps()] == [".dump"] * 3


@pytest.mark.parametrize("script", ["backup.sh", "restore.sh"])
def test_a_backup_in_hand_is_left_alone(pod: Pod, script: str) -> None:
    """Who comes later waits, and says so."""
    pod.start()
    pod.rows("CREATE TABLE videos (id int)")
    assert pod.run("backup.sh").returncode == 0
    part = pod.home / "backups" / ".20200101T000000Z.part.dump"
    part.write_text("half of it")
    with (pod.home / "backups" / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        later = pod.begin(script)
        assert later.stdout is not None
        said, left = later.stdout.readline(), part.exists()
        fcntl.flock(lock, fcntl.LOCK_UN)
    ended = pod.ended(later)
    assert "waits for" in said
    assert left
    assert ended.returncode == 0, ended.stderr


def test_a_backup_that_fails_is_none_and_leaves_nothing(pod: Pod) -> None:
    pod.start()
    empty = pod.run("backup.sh")
    assert empty.returncode != 0
    assert "there are no tables" in empty.stderr
    assert pod.dumps() == []
    pod.stop()
    away = pod.run("backup.sh")
    assert away.returncode != 0
    assert pod.dumps() == []


def test_old_backups_go_but_never_the_newest(pod: Pod) -> None:
    pod.start()
    pod.rows("CREATE TABLE videos (id int)")
    old = pod.home / "backups" / "20200101T000000Z.dump"
    old.write_text("x")
    os.utime(old, (0, 0))
    assert pod.run("backup.sh").returncode == 0
    [newest] = pod.dumps()
    assert newest != old
    os.utime(newest, (0, 0))
    older = pod.home / "backups" / "20190101T000000Z.dump"
    older.write_text("x")
    pod.rows("DROP TABLE videos")
    assert pod.run("backup.sh").returncode != 0
    assert newest in pod.dumps()


def test_nothing_is_restored_from_a_dump_that_is_not_there(pod: Pod) -> None:
    pod.start()
    pod.rows("CREATE TABLE videos (id int)")
    ended = pod.run("restore.sh", BACKUP="none.dump")
    assert ended.returncode != 0
    assert "there is no" in ended.stderr
    assert pod.rows("SELECT count(*) FROM videos") == [(0,)]
