"""Any home folder will do, and nobody else's data or socket is touched."""

from __future__ import annotations

import importlib
import os
import shutil
import stat
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from data_miner.errors import DatabaseError
from data_miner.postgres import Server, embedded, folders
from data_miner.postgres.account import current_account
from data_miner.postgres.place import read_record
from data_miner.postgres.postmaster import read_pid_file
from data_miner.postgres.programs import find_programs
from support.embedded import Play, answers, query, running_pid


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
