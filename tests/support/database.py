"""PostgreSQL for tests: one server per test process, and a new database in milliseconds."""

from __future__ import annotations

import itertools
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from urllib.parse import urlsplit

import psycopg2
import pytest

from data_miner.postgres import Server

FAST = {"fsync": "off", "synchronous_commit": "off", "full_page_writes": "off"}
"""Nothing in a test's server has to survive a loss of power."""


class Databases:
    """Creates and drops databases in one running server."""

    def __init__(self, server: Server) -> None:
        self.server = server
        self._numbers = itertools.count(1)
        self._templates: set[str] = set()

    def create(self, template: str = "template0") -> str:
        """Make a database like `template`, empty by default; returns its SQLAlchemy URL."""
        name = f"test_{next(self._numbers)}"
        self._execute(f'CREATE DATABASE "{name}" TEMPLATE "{template}"')
        return self.url(name)

    def drop(self, url: str) -> None:
        """Drop a database, ending the sessions that still use it."""
        self._execute(f'DROP DATABASE "{urlsplit(url).path[1:]}" WITH (FORCE)')

    def template(self, name: str, build: Callable[[str], None]) -> str:
        """Make the database `name` once with `build(url)`; returns the name for `create`.

        `build` must close its connections: PostgreSQL copies only a database that nobody uses.
        """
        if name not in self._templates:
            self._execute(f'CREATE DATABASE "{name}" TEMPLATE template0')
            build(self.url(name))
            self._templates.add(name)
        return name

    def url(self, name: str) -> str:
        """SQLAlchemy URL of a database of this server."""
        return urlsplit(self.server.url)._replace(path=f"/{name}").geturl()

    def _execute(self, statement: str) -> None:
        with closing(psycopg2.connect(libpq(self.server.url))) as connection:
            connection.autocommit = True
            with connection.cursor() as cursor:
                cursor.execute(statement)


def libpq(url: str) -> str:
    """The same address for psycopg2 itself, which knows no driver name."""
    return url.replace("+psycopg2", "", 1)


def enterable_folder() -> Path:
    """A temporary folder that the account which runs the server for root may pass through."""
    folder = Path(tempfile.mkdtemp(prefix="dm-test-"))
    folder.chmod(0o711)
    return folder


@pytest.fixture(scope="session")
def databases() -> Iterator[Databases]:
    """This test process's own server; it stops, and its folder goes, when the process ends."""
    home = enterable_folder()
    try:
        with Server(home, settings=FAST) as server:
            yield Databases(server)
    finally:
        shutil.rmtree(home)


@pytest.fixture
def fresh_database(databases: Databases) -> Iterator[Callable[..., str]]:
    """Call it for the URL of a new database (`template=` names one); all go when the test ends."""
    made: list[str] = []

    def create(template: str = "template0") -> str:
        made.append(databases.create(template))
        return made[-1]

    yield create
    for url in made:
        databases.drop(url)


@pytest.fixture
def database_url(fresh_database: Callable[..., str]) -> str:
    """SQLAlchemy URL of an empty database of this test's own."""
    return fresh_database()


def template_database(databases: Databases, name: str, build: Callable[[str], None]) -> str:
    """Name of a database that `build(url)` fills once per test process, for `fresh_database`."""
    return databases.template(name, build)
