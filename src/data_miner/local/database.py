"""Opens the installation's PostgreSQL: the embedded one of the home folder, or the user's own."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from sqlalchemy import Engine

from data_miner.db.engine import engine_for
from data_miner.db.migrate import check_revision, upgrade
from data_miner.local.home import prepare
from data_miner.postgres.server import embedded
from data_miner.settings import Settings


@contextlib.contextmanager
def open_database(settings: Settings) -> Iterator[tuple[Engine, str]]:
    """An engine on a schema of this program's revision, and the URL for worker processes.

    The embedded server is started when nobody runs it yet, brought to this revision, and stopped
    by the last process that leaves. A database of the user's own is never migrated unasked.

    Raises DatabaseError in one line: not reachable, or another revision and the command for it.
    """
    with contextlib.ExitStack() as stack:
        url = settings.database_url
        if not url:
            prepare(settings.home)
            url = stack.enter_context(embedded(settings.home))
            upgrade(url)
        engine = engine_for(url)
        stack.callback(engine.dispose)
        check_revision(engine)
        yield engine, url
