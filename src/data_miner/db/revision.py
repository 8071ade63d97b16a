"""Which schema a database has, and whether this program can work on it.

Asked at every start, so it imports nothing that only a migration needs.
"""

from __future__ import annotations

from typing import Final

from sqlalchemy import Connection, Engine, text
from sqlalchemy.exc import OperationalError

from data_miner.db.engine import place, unreachable
from data_miner.errors import DatabaseError

REVISIONS: Final = ("0001", "0002", "0003", "0004", "0005")
"""All revisions that this program knows, oldest first; it works with the last."""


def found_revision(connection: Connection) -> str | None:
    """The schema's revision; None for a database without our schema."""
    if connection.scalar(text("SELECT to_regclass('alembic_version')")) is None:
        return None
    revision = connection.scalar(text("SELECT version_num FROM alembic_version"))
    return str(revision) if revision is not None else None


def is_current(engine: Engine) -> bool:
    """Whether the schema is this program's. Raises DatabaseError when it cannot be asked."""
    return _found(engine) == REVISIONS[-1]


def check_revision(engine: Engine) -> None:
    """Raise DatabaseError, naming what mends it, unless the schema is this program's."""
    found, wanted = _found(engine), REVISIONS[-1]
    if found == wanted:
        return
    where = f"the database {place(engine.url)}"
    if found is None:
        raise DatabaseError(f"{where} has no schema yet: run `data-miner db upgrade`")
    if found not in REVISIONS:
        raise DatabaseError(
            f"{where} has schema {found}, newer than this program's {wanted}:"
            " install the data-miner that made it"
        )
    raise DatabaseError(
        f"{where} has schema {found}, this program needs {wanted}: run `data-miner db upgrade`"
    )


def _found(engine: Engine) -> str | None:
    try:
        with engine.connect() as connection:
            return found_revision(connection)
    except OperationalError as error:
        raise unreachable(engine.url, error) from None
