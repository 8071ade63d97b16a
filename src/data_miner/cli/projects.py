"""Commands about projects that somebody else mines, or that lie still: status, life, plan."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.table import Table
from rich.text import Text
from sqlalchemy import Connection, Engine

from data_miner.catalog import lifecycle
from data_miner.catalog.explain import explain as explain_image
from data_miner.catalog.find import find_project, projects
from data_miner.catalog.plan_preview import preview
from data_miner.catalog.progress import Progress, progress
from data_miner.catalog.retry import retry as retry_project
from data_miner.cli import options
from data_miner.cli.display import funnel_table, stage_now
from data_miner.cli.words import amount, where
from data_miner.compiler import compile_project
from data_miner.local.mine import apply as apply_rows
from data_miner.local.resolve import resolve_paths
from data_miner.models import model_lookup
from data_miner.spec import load_project
from data_miner.storage import open_store

WATCH_SECONDS = 1.0


def plan(
    file: options.ProjectFile, home: options.Home = None, as_json: options.AsJson = False
) -> None:
    """What `run` would do with this file: what runs, what is reused. Changes nothing."""
    project = load_project(file)
    with options.opened(home) as (engine, settings):
        resolved = resolve_paths(project, file.absolute().parent)
        compiled = compile_project(resolved.spec, model_lookup(settings.model_stores))
        with engine.connect() as conn:
            found = preview(conn, resolved, compiled, first_wave=settings.first_wave)
    if as_json:
        options.print_json(found)
        return
    table = Table("stage", "reused", "to do", "", box=None)
    for stage in found.stages:
        table.add_row(stage.stage, amount(stage.reused), amount(stage.to_run), stage.note)
    console = Console()
    console.print(Text(found.headline, style="bold"))
    console.print(table)


def apply(
    file: options.ProjectFile, home: options.Home = None, as_json: options.AsJson = False
) -> None:
    """Write a project's rows only; a `run` on the same home, or any worker, picks them up."""
    project = load_project(file)
    with options.opened(home) as (engine, settings):
        applied = apply_rows(engine, settings, project, file.absolute().parent)
    if as_json:
        options.print_json(applied)
        return
    if not applied.changed:
        typer.echo(f"{project.metadata.name}: unchanged")
        return
    verb = "created" if applied.created else "changed"
    stages = ", ".join(applied.changed_stages) or "none"
    typer.echo(f"{project.metadata.name}: {verb}; stages with other work than before: {stages}")


def status(
    name: Annotated[str | None, typer.Argument(help="Project; all when left out.")] = None,
    namespace: options.Namespace = "default",
    watch: Annotated[bool, typer.Option("--watch", "-w", help="Keep looking.")] = False,
    home: options.Home = None,
    as_json: options.AsJson = False,
) -> None:
    """How far projects are: phase, funnel, stages, failures, dataset."""
    with options.opened(home) as (engine, _):
        if as_json:
            options.print_json([options.plain(p) for p in _look(engine, name, namespace)])
            return
        console = Console()
        if not watch:
            console.print(_page(_look(engine, name, namespace)))
            return
        with Live(console=console, auto_refresh=False) as live:
            while True:
                live.update(_page(_look(engine, name, namespace)), refresh=True)
                time.sleep(WATCH_SECONDS)


def _look(engine: Engine, name: str | None, namespace: str) -> Sequence[Progress]:
    with engine.begin() as conn:
        if name is not None:
            return [progress(conn, find_project(conn, name, namespace).project_id)]
        return [progress(conn, project.project_id) for project in projects(conn)]


def _page(states: Sequence[Progress]) -> RenderableType:
    if not states:
        return Text("no projects; `data-miner run FILE` starts one")
    return Group(*(_project(state) for state in states))


def _project(state: Progress) -> RenderableType:
    stages = Table("stage", "done", "of", "", box=None, pad_edge=False)
    for stage in state.stages:
        ended = stage.done + stage.skipped
        stages.add_row(stage.stage, amount(ended), amount(stage.total), stage_now(stage))
    lines: list[RenderableType] = [
        Text(f"{state.namespace}/{state.name}  {state.phase.name}: {state.phase.message}", "bold"),
        funnel_table(state),
        stages,
    ]
    lines += [
        Text(f"{f.count} × {f.stage} {f.error_class}: {f.subject}: {f.error}", "red")
        for f in state.failures
    ]
    lines += [
        Text(f"{p.count} × {p.stage} put off, {p.error_class}: {p.subject}: {p.error}", "yellow")
        for p in state.put_off
    ]
    lines += [
        Text(f"{s.count} × {s.stage} skipped: {s.subject}: {s.message}", "yellow")
        for s in state.skipped
    ]
    if state.dataset is not None:
        lines.append(
            Text(
                f"dataset v{state.dataset.version} {state.dataset.digest[:16]},"
                f" {state.dataset.images} images: {where(state.dataset.uri)}"
            )
        )
    lines.append(Text(""))
    return Group(*lines)


def explain(
    image: Annotated[str, typer.Argument(help="Name of an image of a dataset.")],
    home: options.Home = None,
    as_json: options.AsJson = False,
) -> None:
    """Where an image comes from, why it was kept, and what else it stands for."""
    with options.opened(home) as (engine, settings), tempfile.TemporaryDirectory() as folder:
        scratch = Path(folder)
        store = open_store(settings.storage, scratch=scratch)
        with engine.begin() as conn:
            found = explain_image(conn, image, lambda a: store.fetch(a, scratch).read_bytes())
    if as_json:
        options.print_json(found)
        return
    Console().print(found.text(), soft_wrap=True, highlight=False)


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


def pause(names: Names, namespace: options.Namespace = "default", home: options.Home = None) -> None:
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


def register(app: typer.Typer) -> None:
    """Add the commands of this module."""
    for command in (plan, apply, status, explain, pause, resume, cancel, retry, delete):
        app.command()(command)
