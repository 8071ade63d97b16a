"""`run` and `demo`: mine a project on this machine, from its file to its dataset."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import signal
import sys
import threading
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from types import FrameType
from typing import Annotated

import typer
from sqlalchemy import Engine

from data_miner.catalog.progress import Progress
from data_miner.catalog.spent import now, results_since, spent_since
from data_miner.cli import options
from data_miner.cli.display import progress_display, summary
from data_miner.db.engine import reachable, snapshot
from data_miner.errors import NotFoundError, StalledError
from data_miner.local.database import open_database
from data_miner.local.home import only_runner, prepare
from data_miner.local.mine import RESTING, apply, follow_rows, look, patiently, watch, worker_set
from data_miner.local.scrape import scraped
from data_miner.settings import Settings
from data_miner.spec import MiningProject, load_project

EXIT_INTERRUPTED = 130
STOP_SECONDS = 3.5
"""How long workers may take to hand back after Ctrl-C; leaves time for the database to stop."""

Workers = Annotated[int, typer.Option(min=1, max=64, help="Worker processes.")]
Slots = Annotated[
    int | None,
    typer.Option(min=1, max=256, help="Tasks at once in each worker; default: the cores, shared."),
]
MetricsPort = Annotated[
    int | None,
    typer.Option(
        min=0, max=65535, help="Serve the project's and all workers' metrics for Prometheus there."
    ),
]


@dataclass(frozen=True, slots=True)
class Spent:
    """What this run did itself; all else it found done."""

    costs: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    """By stage and counter."""
    results: Mapping[str, int] = field(default_factory=dict)
    """By stage."""


def run(
    file: options.ProjectFile,
    home: options.Home = None,
    workers: Workers = 1,
    slots: Slots = None,
    metrics_port: MetricsPort = None,
    as_json: options.AsJson = False,
) -> None:
    """Mine a project until it is complete. Ctrl-C stops it; the next run continues."""
    project = load_project(file)
    settings = options.settings(home)
    mine(project, file.absolute().parent, settings, workers, slots, metrics_port, as_json=as_json)


def demo(
    out: Annotated[Path, typer.Option(help="Folder for the dataset and the home.")] = Path(
        "out/demo"
    ),
    workers: Workers = 1,
    as_json: options.AsJson = False,
) -> None:
    """Mine the bundled clips with the bundled models: a dataset in a minute."""
    file = Path("examples/demo.yaml")
    if not file.is_file():
        raise NotFoundError(
            "examples/demo.yaml is not here: run `data-miner demo` in a checkout of the repository"
        )
    out = out.absolute()
    project = load_project(file)
    export = project.spec.export
    assert export is not None, "the demo exports"
    project = project.model_copy(
        update={
            "spec": project.spec.model_copy(
                update={"export": export.model_copy(update={"uri": str(out)})}
            )
        }
    )
    mine(
        project,
        file.absolute().parent,
        options.settings(out / "home"),
        workers,
        None,
        None,
        as_json=as_json,
    )


def mine(
    project: MiningProject,
    folder: Path,
    settings: Settings,
    workers: int,
    slots: int | None,
    metrics_port: int | None,
    *,
    as_json: bool,
) -> None:
    """Apply, work, watch, sum up; the exit code says how it ended."""
    prepare(settings.home)
    options.traced()
    with contextlib.ExitStack() as stack:
        stack.enter_context(only_runner(settings.home))
        stack.enter_context(_interruptible())
        database = stack.enter_context(open_database(settings))
        engine = database.engine
        with engine.begin() as conn:
            since = now(conn)
        applied = apply(engine, settings, project, folder)
        before = look(engine, applied.project_id)
        if before.phase.name in RESTING and not applied.changed:
            follow_rows(engine)
            _finish(before, Spent(), settings, as_json=as_json, worked=False)
            return
        count = slots or max(1, (os.cpu_count() or 1) // workers)
        target = project.spec.target.images if project.spec.target else None
        scrape = stack.enter_context(scraped(metrics_port, target))
        if scrape is not None:
            sys.stderr.write(f"metrics: http://localhost:{scrape.port}/metrics\n")
        team = worker_set(settings, database.url, count=workers, slots=count, scrape=scrape)
        stack.callback(team.stop, grace_seconds=STOP_SECONDS)
        show = stack.enter_context(progress_display(project.metadata.name, as_json=as_json))

        def observe(state: Progress) -> None:
            if scrape is not None:
                scrape.observe(state)
            show(state)

        state = watch(
            database,
            applied.project_id,
            team,
            observe,
            patience_seconds=settings.patience_seconds,
        )
        team.stop(grace_seconds=STOP_SECONDS)
        patience = settings.patience_seconds
        patiently(database, lambda: follow_rows(engine), patience_seconds=patience)
        spent = patiently(
            database,
            lambda: _spent(engine, applied.project_id, since),
            patience_seconds=settings.patience_seconds,
        )
    _finish(state, spent, settings, as_json=as_json, worked=True)


def _spent(engine: Engine, project_id: int, since: datetime) -> Spent:
    with reachable(engine), snapshot(engine) as conn:
        return Spent(spent_since(conn, project_id, since), results_since(conn, project_id, since))


def _finish(
    state: Progress, spent: Spent, settings: Settings, *, as_json: bool, worked: bool
) -> None:
    if as_json:
        options.print_json(
            {"worked": worked, "this_run": dataclasses.asdict(spent), **options.plain(state)}
        )
    else:
        summary(state, settings, worked=worked)
    if state.phase.name == "Stalled":
        why = f"{state.phase.reason}: {state.phase.message}"
        if state.failures:
            first = state.failures[0]
            why += f"; {first.stage} {first.error_class}: {first.error}"
        raise StalledError(f"{state.name} is stalled: {why}")


@contextlib.contextmanager
def _interruptible() -> Iterator[None]:
    """SIGTERM ends a run as Ctrl-C does; while it stops, further ones are not needed."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def interrupt(_number: int, _frame: FrameType | None) -> None:
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        raise KeyboardInterrupt

    old = {s: signal.signal(s, interrupt) for s in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    except KeyboardInterrupt:
        sys.stderr.write("stopped; nothing is lost, the next run continues here\n")
        raise typer.Exit(EXIT_INTERRUPTED) from None
    finally:
        for number, handler in old.items():
            signal.signal(number, handler)
