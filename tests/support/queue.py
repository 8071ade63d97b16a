"""A migrated database, and a small world of projects to drive the queue with."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
from sqlalchemy import Engine

from data_miner.db.engine import engine_for
from data_miner.db.migrate import upgrade
from support.database import Databases, template_database

TEMPLATE = "migrated"


def _migrate(url: str) -> None:
    upgrade(url)


@pytest.fixture
def migrated_url(databases: Databases, fresh_database: Callable[..., str]) -> str:
    """SQLAlchemy URL of a new database with the newest schema and no rows."""
    return fresh_database(template=template_database(databases, TEMPLATE, _migrate))


@pytest.fixture
def engine(migrated_url: str) -> Iterator[Engine]:
    """Connections to a migrated database; a lock that is waited for too long is an error."""
    engine = engine_for(migrated_url, pool_size=20, lock_timeout_seconds=20)
    yield engine
    engine.dispose()
