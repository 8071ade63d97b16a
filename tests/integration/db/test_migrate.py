"""Upgrades, downgrades, and what a program says about a schema that is not its own."""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import create_engine, text

from data_miner.db.engine import engine_for
from data_miner.db.migrate import MIGRATION_LOCK, MIGRATIONS, downgrade, head, upgrade
from data_miner.db.revision import REVISIONS, check_revision, needs_upgrade
from data_miner.db.tables import metadata
from data_miner.errors import DatabaseError
from support.database import Databases
from support.queue import World


def revisions(url: str) -> list[str]:
    """What the database says of itself."""
    engine = engine_for(url)
    with engine.connect() as c:
        found = list(c.scalars(text("SELECT version_num FROM alembic_version")))
    engine.dispose()
    return found


def objects(url: str) -> list[str]:
    """Tables, views, functions and types that the schema is made of."""
    engine = engine_for(url)
    with engine.connect() as c:
        found = list(
            c.scalars(
                text(
                    "SELECT relkind::text || relname::text FROM pg_class"
                    " WHERE relnamespace = 'public'::regnamespace"
                    " UNION ALL SELECT 'f' || proname::text FROM pg_proc"
                    " WHERE pronamespace = 'public'::regnamespace ORDER BY 1"
                )
            )
        )
    engine.dispose()
    return found


def test_autogenerate_finds_no_difference(migrated_url: str) -> None:
    """The SQL of the migrations and the tables of the program are the same schema."""
    engine = create_engine(migrated_url)
    with engine.connect() as c:
        context = MigrationContext.configure(
            c, opts={"compare_type": True, "compare_server_default": True}
        )
        assert compare_metadata(context, metadata) == []
    engine.dispose()


def test_check_constraints_are_the_same_on_both_sides(migrated_url: str, database_url: str) -> None:
    """What autogenerate does not compare: CHECKs, index definitions and storage settings."""
    query = text(
        "SELECT conrelid::regclass || ' ' || conname || ' ' || pg_get_constraintdef(oid)"
        " FROM pg_constraint WHERE connamespace = 'public'::regnamespace"
        " AND conrelid <> 0 AND conrelid::regclass::text <> 'alembic_version'"
        " UNION ALL SELECT indexdef FROM pg_indexes WHERE schemaname = 'public'"
        " AND tablename <> 'alembic_version'"
        " UNION ALL SELECT relname || reloptions::text FROM pg_class"
        " WHERE reloptions IS NOT NULL AND relnamespace = 'public'::regnamespace ORDER BY 1"
    )
    found = []
    for url in (migrated_url, database_url):
        engine = create_engine(url)
        with engine.begin() as c:
            if url == database_url:
                c.execute(
                    text(
                        "CREATE FUNCTION dataminer_now() RETURNS timestamptz LANGUAGE sql"
                        " STABLE RETURN now()"
                    )
                )
                metadata.create_all(c)
            found.append(list(c.scalars(query)))
        engine.dispose()
    assert found[0] == found[1]


def test_down_and_up_again_with_data(world: World, migrated_url: str) -> None:
    """A step down and up keeps every row; all the way down leaves nothing; up works again."""
    project = world.project()
    world.plan(project)
    world.drain("discover", "download")
    before = (world.tasks(), world.results())
    schema = objects(migrated_url)
    world.engine.dispose()

    assert downgrade(migrated_url, "0001") == "0001"
    assert upgrade(migrated_url) == head()
    assert (world.tasks(), world.results()) == before
    assert objects(migrated_url) == schema
    assert {t.stage for t in world.drain()} >= {"extract", "export"}

    world.engine.dispose()
    assert downgrade(migrated_url, "base") == "base"
    assert objects(migrated_url) == ["ialembic_version_pkc", "ralembic_version"]
    assert upgrade(migrated_url) == head()
    assert objects(migrated_url) == schema


def test_who_is_at_work_does_not_notice_that_tasks_get_a_trace(
    world: World, migrated_url: str
) -> None:
    """A session whose functions were planned on the schema before goes on through the migration."""

    def session() -> object:
        with world.engine.connect() as c:
            return c.scalar(text("SELECT pg_backend_pid()"))

    downgrade(migrated_url, "0006")
    world.engine.dispose()
    project = world.project(found=(("a", "b", "c", "d"),))
    world.plan(project)
    world.drain("discover", "download")
    (failing,) = world.claim("extract")
    assert world.fail(failing) == "waiting"
    before = session()

    upgrade(migrated_url)

    (failing,) = world.claim("extract")
    assert world.fail(failing) == "waiting"
    world.sweep()
    world.advance(3600)
    stages = {task.stage for task in world.drain()}
    assert stages >= {"extract", "dedup", "cut", "detect", "export"}
    assert session() == before


def test_each_step_down_undoes_its_step_up(migrated_url: str, database_url: str) -> None:
    """Going down one by one passes through the same schemas as going up one by one."""
    steps = ["0001", "0002", "0003", "0004", "0005", "0006", "0007"]
    assert steps[-1] == head()
    upwards = {}
    for step in steps:
        upgrade(database_url, step)
        upwards[step] = objects(database_url)
    for step in reversed(steps[:-1]):
        downgrade(migrated_url, step)
        assert objects(migrated_url) == upwards[step]


def test_two_processes_that_migrate_at_once_do_not_collide(database_url: str) -> None:
    """Both wait for the lock at once; then one migrates, the other finds nothing to do."""
    engine = create_engine(database_url)
    program = "import sys; from data_miner.db.migrate import upgrade; print(upgrade(sys.argv[1]))"
    with engine.connect() as holder:
        holder.execute(text("SELECT pg_advisory_lock(:k)"), {"k": MIGRATION_LOCK})
        migrating = [
            subprocess.Popen([sys.executable, "-c", program, database_url], stdout=subprocess.PIPE)
            for _ in range(2)
        ]
        waiting = text("SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND NOT granted")
        deadline = time.monotonic() + 60
        while holder.scalar(waiting) != 2:
            assert time.monotonic() < deadline
        holder.execute(text("SELECT pg_advisory_unlock(:k)"), {"k": MIGRATION_LOCK})
        ends = [process.communicate(timeout=60)[0].decode().strip() for process in migrating]
    engine.dispose()
    assert ends == [head(), head()]
    assert revisions(database_url) == [head()]


def test_two_threads_that_migrate_at_once_do_not_collide(database_url: str) -> None:
    """Within a process they take turns."""
    start = threading.Barrier(2)

    def migrate() -> str:
        start.wait(20)
        return upgrade(database_url)

    with ThreadPoolExecutor(2) as pool:
        ends = [pool.submit(migrate) for _ in range(2)]
        assert [end.result(60) for end in ends] == [head(), head()]
    assert revisions(database_url) == [head()]


def test_a_failed_migration_leaves_nothing(database_url: str) -> None:
    """All steps are one transaction: an error in the middle leaves the database as it was."""
    engine = create_engine(database_url)
    with engine.begin() as c:
        c.execute(text("CREATE VIEW video_status AS SELECT 1 AS video_id"))
    with pytest.raises(Exception, match="video_status"):
        upgrade(database_url)
    with engine.begin() as c:
        assert c.scalar(text("SELECT to_regclass('tasks')")) is None
        c.execute(text("DROP VIEW video_status"))
    engine.dispose()
    assert upgrade(database_url) == head()


@pytest.mark.parametrize(
    ("prepare", "message"),
    [
        (lambda url: None, "has no schema yet: run `data-miner db upgrade`"),
        (lambda url: upgrade(url, "0002"), "has schema 0002, this program needs 0007: run `data-m"),
        (lambda url: _claim_to_be(url, "0999"), "has schema 0999, newer than this program's 0007"),
    ],
)
def test_a_wrong_revision_is_refused_with_its_remedy(
    database_url: str, prepare: Callable[[str], object], message: str
) -> None:
    """One line says what the database has, what is needed and what to run."""
    prepare(database_url)
    engine = engine_for(database_url)
    with pytest.raises(DatabaseError) as error:
        check_revision(engine)
    engine.dispose()
    assert message in str(error.value)
    assert "\n" not in str(error.value)


def test_the_right_revision_is_accepted(migrated_url: str) -> None:
    """Nothing is raised for this program's own schema, and upgrading again changes nothing."""
    engine = engine_for(migrated_url)
    check_revision(engine)
    assert upgrade(migrated_url) == head()
    check_revision(engine)
    engine.dispose()


def test_a_newer_schema_is_not_migrated(database_url: str) -> None:
    """`upgrade` says in one line that it does not know the revision."""
    _claim_to_be(database_url, "0999", oldest_program="0998")
    with pytest.raises(DatabaseError, match="0999"):
        upgrade(database_url)


def test_a_newer_schema_that_supports_this_program_is_worked_on_and_left_alone(
    database_url: str,
) -> None:
    """As it is in the middle of an upgrade of an installation, and after a rollback."""
    _claim_to_be(database_url, "0999", oldest_program=head())
    engine = engine_for(database_url)
    check_revision(engine)
    assert not needs_upgrade(engine)
    engine.dispose()

    assert upgrade(database_url) == "0999"
    assert revisions(database_url) == ["0999"]


def test_a_schema_needs_an_upgrade_as_long_as_this_program_has_one_for_it(
    database_url: str,
) -> None:
    """Empty, old, current, and newer without support."""
    found = []
    engine = engine_for(database_url)
    found.append(needs_upgrade(engine))
    for revision in ("0003", "0005", "head"):
        upgrade(database_url, revision)
        found.append(needs_upgrade(engine))
    _claim_to_be(database_url, "0999", oldest_program="0998")
    found.append(needs_upgrade(engine))
    engine.dispose()

    assert found == [True, True, True, False, False]


def _claim_to_be(url: str, revision: str, *, oldest_program: str = "0998") -> None:
    upgrade(url)
    engine = create_engine(url)
    with engine.begin() as c:
        c.execute(text("UPDATE alembic_version SET version_num = :r"), {"r": revision})
        c.execute(text("UPDATE schema_support SET oldest_program = :r"), {"r": oldest_program})
    engine.dispose()


def test_migrations_read_the_database_that_they_are_given(
    databases: Databases, database_url: str
) -> None:
    """Migrating one database leaves its neighbour empty."""
    neighbour = databases.create()
    upgrade(database_url)
    assert objects(neighbour) == []
    databases.drop(neighbour)


def test_the_list_of_revisions_is_the_list_of_migrations() -> None:
    """The revisions that a start compares with are those that the migrations make, in order."""
    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS))
    scripts = ScriptDirectory.from_config(config)

    assert tuple(s.revision for s in reversed(list(scripts.walk_revisions()))) == REVISIONS
