"""`plan`, `apply` and `status`: what a project would do, does and has done."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Annotated

import typer
from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.table import Table
from rich.text import Text
from sqlalchemy import Engine

from data_miner.catalog.find import find_project, projects
from data_miner.catalog.plan_preview import preview
from data_miner.catalog.progress import Progress, progress
from data_miner.cli import options
from data_miner.cli.display import UNKNOWN, funnel_table, stage_now
from data_miner.cli.words import amount, dataset_folder, duration, many
from data_miner.compiler import compile_project
from data_miner.db.engine import snapshot
from data_miner.local import mine
from data_miner.local.resolve import resolve_paths
from data_miner.models import model_lookup
from data_miner.spec import load_project

WATCH_SECONDS = 1.0
_STYLES = {"Complete": "green", "Stalled": "red", "Suspended": "yellow"}


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
    table = Table("stage", box=None, pad_edge=False)
    for title in ("reused", "to do", "takes about"):
        table.add_column(title, justify="right", no_wrap=True)
    table.add_column("")
    for stage in found.stages:
        to_run = amount(stage.to_run) if stage.known else UNKNOWN
        takes = duration(max(1, stage.seconds)) if stage.to_run and stage.seconds else ""
        table.add_row(stage.stage, amount(stage.reused), to_run, takes, stage.note)
    console = Console()
    console.print(Text(found.headline, style="bold"), soft_wrap=True)
    console.print(table)


def apply(
    file: options.ProjectFile, home: options.Home = None, as_json: options.AsJson = False
) -> None:
    """Write a project's rows only; a `run` on the same home, or any worker, picks them up."""
    project = load_project(file)
    options.traced()
    with options.opened(home) as (engine, settings):
        applied = mine.apply(engine, settings, project, file.absolute().parent)
    if as_json:
        options.print_json(applied)
        return
    if not applied.changed:
        typer.echo(f"{project.metadata.name}: unchanged")
        return
    verb = "created" if applied.created else "changed"
    stages = ", ".join(applied.changed_stages) or "none"
    typer.echo(f"{project.metadata.name}: {verb}; stages with other work than before: {stages}")
    typer.echo(f"`data-miner run {file}` mines it, unless workers do so already")


def status(
    name: Annotated[str | None, typer.Argument(help="Project; all when left out.")] = None,
    namespace: options.Namespace = "default",
    watch: Annotated[
        bool, typer.Option("--watch", "-w", help="Look again every second until Ctrl-C.")
    ] = False,
    home: options.Home = None,
    as_json: options.AsJson = False,
) -> None:
    """How far projects are: phase, funnel, stages, failures, dataset."""
    with options.opened(home) as (engine, _):
        if as_json:
            options.print_json([options.plain(p) for p in _look(engine, name, namespace)])
            while watch:
                time.sleep(WATCH_SECONDS)
                options.print_json([options.plain(p) for p in _look(engine, name, namespace)])
            return
        console = Console(highlight=False)
        if not watch:
            console.print(_page(_look(engine, name, namespace)), soft_wrap=not console.is_terminal)
            return
        with Live(console=console, auto_refresh=False, vertical_overflow="crop") as live:
            while True:
                live.update(_page(_look(engine, name, namespace)), refresh=True)
                time.sleep(WATCH_SECONDS)


def _look(engine: Engine, name: str | None, namespace: str) -> Sequence[Progress]:
    with snapshot(engine) as conn:
        if name is not None:
            return [progress(conn, find_project(conn, name, namespace).project_id)]
        return [progress(conn, project.project_id) for project in projects(conn)]


def _page(states: Sequence[Progress]) -> RenderableType:
    if not states:
        return Text("no projects; `data-miner run FILE` starts one")
    return Group(*(_project(state) for state in states))


def _project(state: Progress) -> RenderableType:
    stages = Table("stage", box=None, pad_edge=False)
    for title in ("done", "of"):
        stages.add_column(title, justify="right", no_wrap=True)
    stages.add_column("")
    moving = state.phase.name not in mine.RESTING
    for stage in state.stages:
        ended = amount(stage.done + stage.skipped) if stage.total else ""
        total = amount(stage.total) if stage.total else UNKNOWN
        stages.add_row(stage.stage, ended, total, stage_now(stage, moving=moving))
    lines: list[RenderableType] = [
        Text.assemble(
            (f"{state.namespace}/{state.name}", "bold"),
            "  ",
            (state.phase.name, _STYLES.get(state.phase.name, "cyan")),
            f"  {state.phase.message}",
        ),
        funnel_table(state),
        stages,
    ]
    lines += [
        Text(f"{f.count}x {f.stage} {f.error_class}: {f.subject}: {f.error}", "red")
        for f in state.failures
    ]
    lines += [
        Text(f"{p.count}x {p.stage} put off, {p.error_class}: {p.subject}: {p.error}", "yellow")
        for p in state.put_off
    ]
    lines += [
        Text(f"{s.count}x {s.stage} skipped: {s.subject}: {s.message}", "yellow")
        for s in state.skipped
    ]
    if state.dataset is not None:
        lines.append(
            Text(
                f"dataset: {dataset_folder(state.dataset.uri)}"
                f" (version {state.dataset.version}, {state.dataset.digest[:16]},"
                f" {many(state.dataset.images, 'image', 'images')})"
            )
        )
    lines.append(Text(""))
    return Group(*lines)
