"""Commands for whoever runs the installation: the schema, and who works."""

from __future__ import annotations

from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from data_miner.catalog import workers as catalogue
from data_miner.cli import options
from data_miner.cli.words import duration
from data_miner.db.engine import engine_for
from data_miner.db.patience import wait_for_schema, wait_until_reachable
from data_miner.errors import SpecError
from data_miner.local.home import prepare
from data_miner.postgres.server import embedded

db = typer.Typer(help="The database schema.", no_args_is_help=True)


@db.command("upgrade")
def db_upgrade(
    home: options.Home = None,
    revision: Annotated[str, typer.Option(help="Revision to go to.")] = "head",
    wait_seconds: Annotated[
        float, typer.Option(min=0, help="How long a database may take until it answers.")
    ] = 0,
    as_json: options.AsJson = False,
) -> None:
    """Bring the schema to this program's revision; safe to run twice and by two at once."""
    # Only this command needs Alembic, which takes long to import.
    from data_miner.db.migrate import upgrade  # noqa: PLC0415

    settings = options.settings(home)
    if settings.database_url:
        _wait(settings.database_url, wait_seconds)
        reached = upgrade(settings.database_url, revision)
    else:
        prepare(settings.home)
        with embedded(settings.home) as url:
            reached = upgrade(url, revision)
    if as_json:
        options.print_json({"revision": reached})
    else:
        typer.echo(f"the schema has revision {reached}")


@db.command("wait")
def db_wait(
    home: options.Home = None,
    seconds: Annotated[float, typer.Option(min=0, help="Give up after so long.")] = 3600,
) -> None:
    """Wait until the database answers and has this program's schema: before a worker starts."""
    settings = options.settings(home)
    if not settings.database_url:
        raise SpecError("DATA_MINER_DATABASE_URL: name the PostgreSQL to wait for")
    engine = engine_for(settings.database_url, pool_size=1, connect_timeout_seconds=5)
    try:
        wait_for_schema(engine, seconds, lambda line: typer.echo(line, err=True))
    finally:
        engine.dispose()


def _wait(url: str, seconds: float) -> None:
    if not seconds:
        return
    engine = engine_for(url, pool_size=1, connect_timeout_seconds=5)
    try:
        wait_until_reachable(engine, seconds, lambda line: typer.echo(line, err=True))
    finally:
        engine.dispose()


def workers(home: options.Home = None, as_json: options.AsJson = False) -> None:
    """Who works here: pool, slots, what each one does, when it was seen."""
    with options.opened(home) as (engine, settings), engine.begin() as conn:
        found = catalogue.workers(conn, lost_after_seconds=settings.lease_seconds)
    if as_json:
        options.print_json([options.plain(worker) for worker in found])
        return
    if not found:
        typer.echo("no worker runs; `data-miner run FILE` starts some")
        return
    table = Table(box=None, pad_edge=False)
    for title in ("worker", "state", "pool", "slots", "seen", "works on"):
        table.add_column(title, no_wrap=True)
    for worker in found:
        table.add_row(
            worker.worker_id,
            worker.liveness,
            worker.pool,
            f"{len(worker.tasks)}/{worker.slots}",
            f"{duration(worker.seen_seconds)} ago",
            "\n".join(f"{task.stage} {task.subject}" for task in worker.tasks),
        )
    Console().print(table, soft_wrap=True)
