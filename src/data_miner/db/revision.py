"""Which schema a database has, and whether this program can work on it.

Asked at every start, so it imports nothing that only a migration needs.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from sqlalchemy import Connection, Engine, text
from sqlalchemy.exc import OperationalError

from data_miner.db.engine import place, unreachable
from data_miner.errors import SchemaError

REVISIONS: Final = ("0001", "0002", "0003", "0004", "0005", "0006", "0007")
"""All revisions that this program knows, oldest first; it works with the last, and with later ones
that say that they support it."""


@dataclass(frozen=True, slots=True)
class Schema:
    """What a database says of its schema. Revisions are four digits, and count up."""

    revision: str | None
    """None for a database without our schema."""
    oldest_program: str | None
    """Programs whose own revision is this one or a later one can work on it; None if it is older
    than this piece of knowledge."""

    @property
    def known(self) -> bool:
        """Whether this program has the migration that made it."""
        return self.revision in REVISIONS

    @property
    def usable(self) -> bool:
        """Whether this program can work on it."""
        if self.revision is None or self.known:
            return self.revision == REVISIONS[-1]
        return self.oldest_program is not None and self.oldest_program <= REVISIONS[-1]


def found_schema(connection: Connection) -> Schema:
    """The schema of a database."""
    if connection.scalar(text("SELECT to_regclass('alembic_version')")) is None:
        return Schema(None, None)
    revision = connection.scalar(text("SELECT version_num FROM alembic_version"))
    oldest = None
    if connection.scalar(text("SELECT to_regclass('schema_support')")) is not None:
        oldest = connection.scalar(text("SELECT oldest_program FROM schema_support"))
    return Schema(str(revision) if revision is not None else None, oldest)


def needs_upgrade(engine: Engine) -> bool:
    """Whether this program has a migration for it. Raises DatabaseError when it cannot be asked."""
    schema = _found(engine)
    return not schema.usable and (schema.revision is None or schema.known)


def check_revision(engine: Engine) -> None:
    """Raise SchemaError, naming what mends it, unless this program can work on the schema."""
    schema, wanted = _found(engine), REVISIONS[-1]
    if schema.usable:
        return
    where = f"the database {place(engine.url)}"
    if schema.revision is None:
        raise SchemaError(f"{where} has no schema yet: run `data-miner db upgrade`")
    if not schema.known:
        raise SchemaError(
            f"{where} has schema {schema.revision}, newer than this program's {wanted}:"
            " install the data-miner that made it"
        )
    raise SchemaError(
        f"{where} has schema {schema.revision}, this program needs {wanted}:"
        " run `data-miner db upgrade`"
    )


def _found(engine: Engine) -> Schema:
    try:
        with engine.connect() as connection:
            return found_schema(connection)
    except OperationalError as error:
        raise unreachable(engine.url, error) from None
