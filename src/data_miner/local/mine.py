"""Mines one project to its end: applies it, keeps workers running, watches the catalogue."""

from __future__ import annotations

import dataclasses
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from sqlalchemy import Engine

from data_miner import queue, tracing
from data_miner.catalog import pointers
from data_miner.catalog.apply import Applied, apply_project
from data_miner.catalog.progress import Progress, progress
from data_miner.compiler import compile_project
from data_miner.db.engine import reachable, snapshot
from data_miner.errors import DatabaseError
from data_miner.local.database import Database
from data_miner.local.resolve import check_project_reach, resolve_paths
from data_miner.local.scrape import Scrape
from data_miner.local.workers import WorkerSet
from data_miner.models import model_lookup
from data_miner.settings import PREFIX, Settings
from data_miner.spec.project import MiningProject

RESTING = frozenset({"Complete", "Stalled", "Suspended", "Deleted"})
"""Phases in which nothing moves until somebody changes something."""
LOOK_SECONDS = 0.4
LOOK_SHARE = 10
"""A pause lasts at least this many times as long as the look before it."""
GRACE_SECONDS = 0.5
"""Ctrl-C shall not wait for tasks: they are handed back, and a later run does them."""

Observer = Callable[[Progress], None]
Answer = TypeVar("Answer")


def apply(engine: Engine, settings: Settings, project: MiningProject, folder: Path) -> Applied:
    """Write a project's rows; its relative paths count from `folder`.

    Raises DataMinerError for a model that is not there, a URI outside of what is allowed here, and
    a database that cannot be reached.
    """
    resolved = resolve_paths(project, folder)
    check_project_reach(resolved, settings.allowed_prefixes)
    compiled = compile_project(resolved.spec, model_lookup(settings.model_stores))
    named = f"{project.metadata.namespace}/{project.metadata.name}"
    with (
        tracing.start("apply", {"dataminer.project": named}) as span,
        reachable(engine),
        engine.begin() as conn,
    ):
        queue.trace(conn, span.traceparent)
        return apply_project(conn, resolved, compiled, first_wave=settings.first_wave)


def look(engine: Engine, project_id: int) -> Progress:
    """How a project stands now."""
    with reachable(engine), snapshot(engine) as conn:
        return progress(conn, project_id)


def follow_rows(engine: Engine) -> None:
    """Let what is found under the datasets' names be what was recorded last."""
    with reachable(engine), engine.connect() as conn:
        pointers.follow(conn)


def worker_set(
    settings: Settings, url: str, *, count: int, slots: int, scrape: Scrape | None = None
) -> WorkerSet:
    """Worker processes for this installation; nothing is started yet. With `scrape`, each of them
    tells its metrics there.
    """
    environment = dict(os.environ)
    for field in dataclasses.fields(settings):
        environment[PREFIX + field.name.upper()] = str(getattr(settings, field.name))
    environment[PREFIX + "DATABASE_URL"] = url
    environment[PREFIX + "GRACE_SECONDS"] = str(min(settings.grace_seconds, GRACE_SECONDS))
    return WorkerSet(
        arguments=["--slots", str(slots)],
        own_arguments=lambda number: (
            ["--metrics-socket", str(scrape.socket_of(number))] if scrape else []
        ),
        environment=environment,
        log_folder=settings.home / "logs",
        count=count,
    )


def patiently(database: Database, ask: Callable[[], Answer], *, patience_seconds: float) -> Answer:
    """What `ask` returns, as soon as the database is there; the embedded one is started again.

    Raises DatabaseError when it stays away for longer than `patience_seconds`.
    """
    away_since: float | None = None
    while True:
        try:
            if away_since is not None:
                database.revive()
            return ask()
        except DatabaseError:
            away_since = away_since or time.monotonic()
            if time.monotonic() - away_since > patience_seconds:
                raise
        time.sleep(LOOK_SECONDS)


def watch(
    database: Database,
    project_id: int,
    workers: WorkerSet,
    observe: Observer,
    *,
    patience_seconds: float,
) -> Progress:
    """Keep the workers running until the project rests; returns how it stands then.

    A database that goes away in the middle is waited for as in `patiently`: the work in flight
    is not lost.
    """
    while True:
        workers.poll()
        began = time.monotonic()
        state = patiently(
            database, lambda: look(database.engine, project_id), patience_seconds=patience_seconds
        )
        observe(state)
        if state.phase.name in RESTING:
            return state
        # Looking at a large project takes long: never more than a small part of the time.
        time.sleep(max(LOOK_SECONDS, LOOK_SHARE * (time.monotonic() - began)))
