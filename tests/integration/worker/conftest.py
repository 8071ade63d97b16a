"""A site for workers: a migrated database, a home folder, and an end to every process."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from data_miner.db.migrate import upgrade
from support.database import Databases, template_database
from support.worker import Site, site


def _migrate(url: str) -> None:
    upgrade(url)


@pytest.fixture
def here(
    tmp_path: Path, databases: Databases, fresh_database: Callable[..., str]
) -> Iterator[Site]:
    """A site of this test's own."""
    template = template_database(databases, "worker", _migrate)
    with site(tmp_path, fresh_database(template)) as made:
        yield made
