"""Brings a database to this program's schema."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.script import ScriptDirectory
from alembic.util import CommandError
from sqlalchemy import Connection, text
from sqlalchemy.exc import OperationalError

from data_miner.db.engine import engine_for, place, unreachable
from data_miner.db.revision import found_schema
from data_miner.errors import DatabaseError

MIGRATIONS = Path(__file__).parent / "migrations"
ONE_AT_A_TIME = threading.Lock()
"""Alembic keeps its context in globals: threads take turns here, processes in the database."""

OLDEST_SERVER = 15
MIGRATION_LOCK = 0x646D_6967
"""Advisory lock of the one that migrates; others wait, and then find nothing to do."""


def upgrade(url: str, revision: str = "head") -> str:
    """Migrate the database at `url` and return the revision it then has.

    Two at once do not collide: the second waits and finds nothing to do. A newer schema that
    supports this program stays as it is. Raises DatabaseError when PostgreSQL cannot be reached, is
    too old, or has a schema that this program does not know.
    """

    def act(config: Config) -> None:
        schema = found_schema(config.attributes["connection"])
        if schema.known or not schema.usable:
            command.upgrade(config, revision)

    return _run(url, act)


def downgrade(url: str, revision: str) -> str:
    """Go back to `revision` (``base`` is an empty database); returns the revision it then has."""
    return _run(url, lambda config: command.downgrade(config, revision))


def head() -> str:
    """The revision that this program works with."""
    return str(_scripts().get_current_head())


def _run(url: str, action: Callable[[Config], object]) -> str:
    # A migration may rightly wait long: for another one, for a lock, for a big table.
    engine = engine_for(
        url,
        application_name="data-miner db upgrade",
        pool_size=1,
        statement_timeout_seconds=0,
        lock_timeout_seconds=0,
        idle_transaction_seconds=0,
    )
    try:
        with engine.connect() as connection:
            _refuse_old(connection, url)
            config = Config()
            config.set_main_option("script_location", str(MIGRATIONS).replace("%", "%%"))
            config.attributes["connection"] = connection
            with ONE_AT_A_TIME:
                action(config)
            connection.commit()
            return found_schema(connection).revision or "base"
    except OperationalError as error:
        raise unreachable(url, error) from None
    except CommandError as error:
        raise DatabaseError(f"the database {place(url)} cannot be migrated: {error}") from None
    finally:
        engine.dispose()


def _refuse_old(connection: Connection, url: str) -> None:
    version = int(connection.scalar(text("SHOW server_version_num")) or 0) // 10_000
    if version < OLDEST_SERVER:
        raise DatabaseError(
            f"PostgreSQL {version} at {place(url)} is too old: {OLDEST_SERVER} or newer is needed"
        )
    connection.rollback()


def _scripts() -> ScriptDirectory:
    return ScriptDirectory(str(MIGRATIONS))
