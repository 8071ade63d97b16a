"""The program on databases that cost milliseconds, and a web server to mine from."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from data_miner.db.migrate import upgrade
from support.database import Databases, template_database
from support.media_server import MediaServer
from support.product import Product


@pytest.fixture(scope="session")
def migrated(databases: Databases) -> str:
    """Name of a database with the schema and no rows, to be copied."""

    def build(url: str) -> None:
        upgrade(url)

    return template_database(databases, "e2e_migrated", build)


@pytest.fixture(scope="module")
def new_product(
    databases: Databases, migrated: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Callable[[str], Product]]:
    """Call it with a name for the program with an empty home and an empty database."""
    made: list[str] = []

    def make(name: str) -> Product:
        made.append(databases.create(migrated))
        home: Path = tmp_path_factory.mktemp(name) / "home"
        return Product(home, {"DATA_MINER_DATABASE_URL": made[-1]})

    yield make
    for url in made:
        databases.drop(url)


@pytest.fixture(scope="module")
def media_server() -> Iterator[MediaServer]:
    """A web server on a port of this machine."""
    with MediaServer() as server:
        yield server
