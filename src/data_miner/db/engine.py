"""The door to PostgreSQL: how a process connects, and what it says when it cannot."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Final

from sqlalchemy import URL, Connection, Engine, create_engine, make_url
from sqlalchemy.exc import ArgumentError, DBAPIError, OperationalError

from data_miner.errors import DatabaseError

KEEPALIVE: Final[Mapping[str, Any]] = {
    "keepalives": 1,
    "keepalives_idle": 20,
    "keepalives_interval": 5,
    "keepalives_count": 3,
    "tcp_user_timeout": 35_000,
}
"""For libpq: a connection whose other end has vanished without a word (a node lost, a firewall
that forgot it) is an error after 35 s. Without them a worker would wait for hours, and lose its
leases; a statement that takes long is not affected."""


def engine_for(
    url: str | URL,
    *,
    application_name: str = "data-miner",
    pool_size: int = 5,
    connect_timeout_seconds: float = 10,
    statement_timeout_seconds: float = 300,
    lock_timeout_seconds: float = 60,
    idle_transaction_seconds: float = 300,
) -> Engine:
    """An engine whose sessions are READ COMMITTED, in UTC, and give up rather than hang.

    Nothing is connected yet. A timeout of 0 is no timeout. `application_name` is what an operator
    sees in pg_stat_activity. Raises DatabaseError when `url` is no PostgreSQL URL.
    """
    address = _parsed(url)
    options = " ".join(
        f"-c {name}={value}"
        for name, value in {
            "timezone": "UTC",
            "statement_timeout": round(statement_timeout_seconds * 1000),
            "lock_timeout": round(lock_timeout_seconds * 1000),
            "idle_in_transaction_session_timeout": round(idle_transaction_seconds * 1000),
        }.items()
    )
    return create_engine(
        address,
        isolation_level="READ COMMITTED",
        pool_pre_ping=True,
        pool_size=pool_size,
        max_overflow=pool_size,
        connect_args={
            "application_name": application_name[:63],
            "connect_timeout": max(2, round(connect_timeout_seconds)),
            "options": options,
            **KEEPALIVE,
        },
    )


def place(url: str | URL) -> str:
    """``host:port/database`` of a URL, for people; never a user name or a password."""
    address = _parsed(url)
    host = address.host or str(address.query.get("host", "localhost"))
    return f"{host}:{address.port or 5432}/{address.database or ''}"


@contextmanager
def snapshot(engine: Engine) -> Iterator[Connection]:
    """A read-only connection whose queries all see the database as of one moment.

    What is put together from several queries needs it: between two of them, the last task of a
    project may end, and the sum would show a project that has neither work nor a result.
    """
    with engine.connect() as connection:
        frozen = connection.execution_options(
            isolation_level="REPEATABLE READ", postgresql_readonly=True
        )
        with frozen.begin():
            yield frozen


@contextmanager
def reachable(engine: Engine) -> Iterator[None]:
    """Turn a lost or refused connection inside the block into a DatabaseError of one line."""
    try:
        yield
    except OperationalError as error:
        raise unreachable(engine.url, error) from None


def unreachable(url: str | URL, error: DBAPIError) -> DatabaseError:
    """The one line for an error of the connection: where, and PostgreSQL's own last words."""
    password = _parsed(url).password
    lines = [line.strip() for line in str(error.orig).splitlines() if line.strip()]
    reason = lines[-1] if lines else "the connection was refused"
    if password:
        reason = reason.replace(str(password), "***")
    return DatabaseError(f"cannot reach PostgreSQL at {place(url)}: {reason}")


def _parsed(url: str | URL) -> URL:
    try:
        address = make_url(url)
    except (ArgumentError, ValueError):
        raise DatabaseError(
            "the database URL cannot be read: expected postgresql://user@host:port/database"
        ) from None
    if address.get_backend_name() not in {"postgresql", "postgres"}:
        raise DatabaseError(
            f"the database URL starts with {address.drivername}: expected postgresql://"
        )
    return address.set(drivername="postgresql+psycopg2")
