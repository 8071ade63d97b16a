"""`pause`, `resume`, `cancel`, `retry`, `delete`: a project's life after it was applied."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Annotated

import typer
from sqlalchemy import Connection

from data_miner.catalog import lifecycle
from data_miner.catalog.find import find_project
from data_miner.catalog.retry import retry as retry_project
from data_miner.cli import options
from data_miner.cli.words import where


def _each(
    names: Sequence[str],
    namespace: str,
    home: options.Home,
    act: Callable[[Connection, int, int], str],
) -> None:
    with options.opened(home) as (engine, settings):
        for name in names:
            with engine.begin() as conn:
                project = find_project(conn, name, namespace)
                said = act(conn, project.project_id, settings.first_wave)
            typer.echo(f"{name}: {said}")


Names = Annotated[list[str], typer.Argument(help="Names of projects.", show_default=False)]


def pause(
    names: Names, namespace: options.Namespace = "default", home: options.Home = None
) -> None:
    """Hand out no more tasks of these projects; what runs ends."""

    def act(conn: Connection, project_id: int, _: int) -> str:
        return "paused" if lifecycle.suspend(conn, project_id) else "was paused already"

    _each(names, namespace, home, act)


def resume(
    names: Names, namespace: options.Namespace = "default", home: options.Home = None
) -> None:
    """Go on with paused or cancelled projects where they were."""

    def act(conn: Connection, project_id: int, first_wave: int) -> str:
        resumed = lifecycle.resume(conn, project_id, first_wave=first_wave)
        return "resumed" if resumed else "was not paused"

    _each(names, namespace, home, act)


def cancel(
    names: Names, namespace: options.Namespace = "default", home: options.Home = None
) -> None:
    """Pause projects and drop their live work; results stay."""

    def act(conn: Connection, project_id: int, _: int) -> str:
        return f"cancelled, {lifecycle.cancel(conn, project_id)} tasks dropped"

    _each(names, namespace, home, act)


def retry(
    names: Names,
    stage: Annotated[str | None, typer.Option(help="Only this stage's failures.")] = None,
    error_class: Annotated[str | None, typer.Option("--class", help="Only this class.")] = None,
    namespace: options.Namespace = "default",
    home: options.Home = None,
) -> None:
    """Try again what has failed."""

    def act(conn: Connection, project_id: int, first_wave: int) -> str:
        retried = retry_project(
            conn, project_id, stage=stage, error_class=error_class, first_wave=first_wave
        )
        return f"{retried.tasks} tasks are tried again"

    _each(names, namespace, home, act)


def delete(
    names: Names, namespace: options.Namespace = "default", home: options.Home = None
) -> None:
    """Forget projects. What other projects use stays, and so do published datasets."""

    def act(conn: Connection, project_id: int, _: int) -> str:
        left = lifecycle.delete(conn, project_id).dataset_uris
        kept = ", ".join(where(uri) for uri in left)
        return "deleted" + (f"; its datasets stay: {kept}" if kept else "")

    _each(names, namespace, home, act)
