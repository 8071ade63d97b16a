"""The databases that tests get."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import closing

import psycopg2

from support.database import Databases, libpq, template_database


def _run(url: str, statement: str) -> list[tuple[object, ...]]:
    with closing(psycopg2.connect(libpq(url))) as connection:
        connection.autocommit = True
        with connection.cursor() as cursor:
            cursor.execute(statement)
            return cursor.fetchall() if cursor.description else []


def test_a_fresh_database_is_empty_and_of_its_own(fresh_database: Callable[..., str]) -> None:
    """What one database holds is not in the next."""
    first, second = fresh_database(), fresh_database()
    _run(first, "CREATE TABLE t (x int)")
    assert _run(first, "SELECT to_regclass('t')::text") == [("t",)]
    assert _run(second, "SELECT to_regclass('t')::text") == [(None,)]


def test_a_template_is_built_once(databases: Databases, fresh_database: Callable[..., str]) -> None:
    """Databases made from a template hold what it was filled with, and it is filled once."""
    built: list[str] = []

    def build(url: str) -> None:
        built.append(url)
        _run(url, "CREATE TABLE filled AS SELECT 7 AS x")

    for _ in range(2):
        url = fresh_database(template_database(databases, "filled_once", build))
        assert _run(url, "SELECT x FROM filled") == [(7,)]
    assert len(built) == 1
