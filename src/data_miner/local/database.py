"""Opens the installation's PostgreSQL: the embedded one of the home folder, or the user's own."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass

from sqlalchemy import Engine

from data_miner.db.engine import engine_for, reachable
from data_miner.db.revision import check_revision, needs_upgrade
from data_miner.local.home import prepare
from data_miner.postgres.server import Server
from data_miner.settings import Settings


@dataclass(frozen=True, slots=True)
class Database:
    """An open database of an installation."""

    engine: Engine
    url: str
    """For worker processes; holds the password if there is one."""
    server: Server | None
    """The embedded server; None when the database is the user's own."""

    def revive(self) -> None:
        """Start the embedded server again if it died; the user's own is left alone."""
        if self.server is not None:
            self.server.ensure()


@contextlib.contextmanager
def open_database(settings: Settings) -> Iterator[Database]:
    """A database with a schema of this program's revision.

    The embedded server is started when nobody runs it yet, brought to this revision, and stopped
    by the last process that leaves. A database of the user's own is never migrated unasked.

    Raises DatabaseError in one line: not reachable, or another revision and the command for it.
    """
    with contextlib.ExitStack() as stack:
        url, server = settings.database_url, None
        if not url:
            prepare(settings.home)
            server = stack.enter_context(Server(settings.home))
            url = server.url
        engine = engine_for(url)
        stack.callback(engine.dispose)
        if server is not None and needs_upgrade(engine):
            # Alembic takes longer to import than all else here, and is needed once in a release.
            from data_miner.db.migrate import upgrade  # noqa: PLC0415

            upgrade(url)
        check_revision(engine)
        with reachable(engine):
            yield Database(engine, url, server)
