"""`pause`, `resume`, `cancel`, `retry`, `delete`: a project's life after it was applied."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Annotated, Any

import typer
from sqlalchemy import Connection

from data_miner.catalog import lifecycle
from data_miner.catalog.find import find_project
from data_miner.catalog.owned import refuse_owned
from data_miner.catalog.retry import retry as retry_project
from data_miner.cli import options
from data_miner.cli.words import many, where
from data_miner.errors import NotFoundError
from data_miner.pipeline import NAMES


@dataclass(frozen=True, slots=True)
class _Said:
    """What came of one project: for people, and for scripts."""

    words: str
    facts: dict[str, Any]


def _each(
    names: Sequence[str],
    namespace: str,
    home: options.Home,
    act: Callable[[Connection, int, int], _Said],
    *,
    as_json: bool,
    force: bool = False,
) -> None:
    done = []
    with options.opened(home) as (engine, settings):
        for name in names:
            with engine.begin() as conn:
                project = find_project(conn, name, namespace)
                if not force:
                    refuse_owned(conn, project.project_id)
                said = act(conn, project.project_id, settings.first_wave)
            done.append({"namespace": namespace, "name": name, **said.facts})
            if not as_json:
                typer.echo(f"{name}: {said.words}")
    if as_json:
        options.print_json(done)


Names = Annotated[list[str], typer.Argument(help="Names of projects.", show_default=False)]


def pause(
    names: Names,
    namespace: options.Namespace = "default",
    home: options.Home = None,
    as_json: options.AsJson = False,
) -> None:
    """Hand out no more tasks of these projects; what runs ends. `resume` or `run` goes on."""

    def act(conn: Connection, project_id: int, _: int) -> _Said:
        changed = lifecycle.suspend(conn, project_id)
        return _Said("paused" if changed else "was paused already", {"changed": changed})

    _each(names, namespace, home, act, as_json=as_json)


def resume(
    names: Names,
    namespace: options.Namespace = "default",
    home: options.Home = None,
    as_json: options.AsJson = False,
) -> None:
    """Let paused or cancelled projects go on where they were; a `run` or a worker does the work."""

    def act(conn: Connection, project_id: int, first_wave: int) -> _Said:
        changed = lifecycle.resume(conn, project_id, first_wave=first_wave)
        return _Said("resumed" if changed else "was not paused", {"changed": changed})

    _each(names, namespace, home, act, as_json=as_json)


def cancel(
    names: Names,
    namespace: options.Namespace = "default",
    home: options.Home = None,
    as_json: options.AsJson = False,
) -> None:
    """Pause projects and drop their live work, running or not; results stay."""

    def act(conn: Connection, project_id: int, _: int) -> _Said:
        dropped = lifecycle.cancel(conn, project_id)
        words = f"cancelled, {many(dropped, 'task', 'tasks')} dropped"
        return _Said(words, {"dropped_tasks": dropped})

    _each(names, namespace, home, act, as_json=as_json)


def retry(
    names: Names,
    stage: Annotated[
        str | None, typer.Option(help="Only failures of this stage, such as download.")
    ] = None,
    error_class: Annotated[
        str | None,
        typer.Option("--class", help="Only failures of this class, as `status` names them."),
    ] = None,
    namespace: options.Namespace = "default",
    home: options.Home = None,
    as_json: options.AsJson = False,
) -> None:
    """Make what has failed ready again; a `run` or a worker does the work.

    Work that projects share is tried again for all of them.
    """
    if stage is not None and stage not in NAMES:
        raise NotFoundError(f"--stage {stage}: there are {', '.join(NAMES)}")

    def act(conn: Connection, project_id: int, first_wave: int) -> _Said:
        retried = retry_project(
            conn, project_id, stage=stage, error_class=error_class, first_wave=first_wave
        ).tasks
        words = "nothing of that kind has failed"
        if retried:
            words = f"{many(retried, 'task is', 'tasks are')} ready again"
        return _Said(words, {"retried_tasks": retried})

    _each(names, namespace, home, act, as_json=as_json)


def delete(
    names: Names,
    force: Annotated[
        bool,
        typer.Option(
            "--force", help="Also those of a cluster; one that still has the object makes it anew."
        ),
    ] = False,
    namespace: options.Namespace = "default",
    home: options.Home = None,
    as_json: options.AsJson = False,
) -> None:
    """Forget projects. What other projects use stays, and so do published datasets."""

    def act(conn: Connection, project_id: int, _: int) -> _Said:
        left = lifecycle.delete(conn, project_id).dataset_uris
        kept = ", ".join(dict.fromkeys(where(uri) for uri in left))
        words = "deleted" + (f"; its datasets stay: {kept}" if kept else "")
        return _Said(words, {"dataset_uris": left})

    _each(names, namespace, home, act, as_json=as_json, force=force)
