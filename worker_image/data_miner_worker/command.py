"""The command ``data-miner worker``: from arguments and settings to a worker that runs."""

from __future__ import annotations

import contextlib
import os
import re
import secrets
import socket
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from socketserver import TCPServer
from typing import Annotated

import typer
from sqlalchemy import Engine

from data_miner import telemetry, tracing
from data_miner.db.engine import engine_for
from data_miner.db.revision import check_revision
from data_miner.errors import SpecError, StorageError
from data_miner.pipeline import NAMES, POOLS
from data_miner.postgres import embedded
from data_miner.settings import Settings
from data_miner.storage import open_store
from data_miner_worker.duties import database_duties, store_duties
from data_miner_worker.foreground import run_in_foreground
from data_miner_worker.housekeeping import DATABASE_LOCK, STORE_LOCK, Housekeeper
from data_miner_worker.ledger import Ledger
from data_miner_worker.listener import Listener
from data_miner_worker.liveness import Liveness
from data_miner_worker.machine import places, watch_disks, watch_gpus
from data_miner_worker.parent import end_with_parent
from data_miner_worker.pool import Pool
from data_miner_worker.runner import Worker
from data_miner_worker.scratch import base_folder, take_scratch
from data_miner_worker.stopping import StopSignals

STATEMENT_SECONDS = 30.0
"""Longest statement of the claim loop: shorter than what liveness allows."""
SWEEP_STATEMENT_SECONDS = 600.0
STORE_IDLE_SECONDS = 3600.0
"""Listing a large store between two questions to the database takes long."""
CONNECT_SECONDS = 5.0
_POOL = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9_.-]{0,61}[A-Za-z0-9])?")


def worker(
    *,
    pool: Annotated[
        str,
        typer.Option(
            help="Which stages to serve: default (all), cpu or gpu; with --stages, any name."
        ),
    ] = "default",
    stages: Annotated[
        str,
        typer.Option(
            help="Stages to serve, separated by commas; default, cpu and gpu stand for theirs."
        ),
    ] = "",
    slots: Annotated[
        int, typer.Option(min=1, help="Tasks at once, each in a process of its own.")
    ] = 1,
    home: Annotated[
        Path | None,
        typer.Option(
            help="Folder of the installation: database, store, datasets, logs.",
            envvar="DATA_MINER_HOME",
            show_default="~/.data-miner",
        ),
    ] = None,
    metrics_port: Annotated[
        int | None,
        typer.Option(min=0, max=65535, help="Serve /metrics and /healthz there; 0: a free port."),
    ] = None,
    metrics_socket: Annotated[
        Path | None,
        typer.Option(hidden=True, help="Serve them at the path of a socket instead."),
    ] = None,
    worker_id: Annotated[str, typer.Option(help="Name of this worker; one is made up.")] = "",
    task: Annotated[
        int | None, typer.Option(help="Run this one task in this process, then end.")
    ] = None,
    foreground: Annotated[
        bool, typer.Option("--foreground", help="With --task: no child process, for a debugger.")
    ] = False,
    until_idle: Annotated[
        bool, typer.Option("--until-idle", help="End when nothing is left to do.")
    ] = False,
) -> None:
    """Claim tasks and run them, until told to stop.

    The first SIGTERM lets running tasks finish for DATA_MINER_GRACE_SECONDS and hands the others
    back; a second one hands all back at once. No attempt is counted for either.
    """
    end_with_parent(os.environ)
    # In the foreground somebody looks on; a worker that serves is read by the cluster's collector.
    telemetry.configure_logging(stream=sys.stderr if foreground else sys.stdout)
    telemetry.route_libraries()
    settings = Settings.from_environment()
    if home is not None:
        settings = replace(settings, home=home.expanduser().absolute())
    served = served_stages(pool, stages)
    name = worker_id or f"{socket.gethostname()}-{os.getpid()}-{secrets.token_hex(2)}"
    if (task is not None) != foreground:
        raise SpecError("--task and --foreground go together")
    tracing.configure("data-miner-worker", name)
    with _database(settings) as url:
        engine = _engine(url, name, STATEMENT_SECONDS)
        check_revision(engine)
        try:
            if task is not None:
                run_in_foreground(task, settings, engine, name)
            else:
                _serve(
                    settings=settings,
                    engine=engine,
                    url=url,
                    name=name,
                    served=served,
                    pool=pool,
                    slots=slots,
                    metrics_at=metrics_socket or metrics_port,
                    until_idle=until_idle,
                )
        finally:
            engine.dispose()


def served_stages(pool: str, stages: str) -> tuple[str, ...]:
    """The stages that the options ask for, in pipeline order. Raises SpecError with what there is.

    Without `stages`, the pool's name says which; with them, it is only what the pool is called.
    """
    if not stages:
        if pool not in POOLS:
            raise SpecError(f"--pool {pool}: there are {', '.join(POOLS)}")
        return POOLS[pool]
    if not _POOL.fullmatch(pool):
        raise SpecError(
            f"--pool {pool!r}: a name has letters, digits, '-', '_' and '.', 63 of them at most"
        )
    named = [name.strip() for name in stages.split(",") if name.strip()]
    wanted = [stage for name in named for stage in POOLS.get(name, (name,))]
    unknown = [name for name in wanted if name not in NAMES]
    if unknown or not wanted:
        raise SpecError(f"--stages {stages}: there are {', '.join([*NAMES, *POOLS])}")
    return tuple(name for name in NAMES if name in wanted)


def _serve(
    *,
    settings: Settings,
    engine: Engine,
    url: str,
    name: str,
    served: tuple[str, ...],
    pool: str,
    slots: int,
    metrics_at: int | Path | None,
    until_idle: bool,
) -> None:
    with contextlib.ExitStack() as ends:
        scratch = take_scratch(base_folder(settings), name)
        ends.callback(scratch.remove)
        liveness = Liveness()
        telemetry.WORKER_SLOTS.set(slots)
        telemetry.begin(served)
        if metrics_at is not None:
            watch_disks(places(scratch.folder, settings.storage))
            watch_gpus()
            ends.callback(_metrics(metrics_at, liveness).shutdown)
        ledger = Ledger(engine, settings, name, served)
        # LISTEN and the housekeepers' locks need a session: no transaction pooler may be there.
        session_url = settings.database_listen_url or url
        listener = Listener(session_url, ledger.channels, name)
        ends.callback(listener.close)
        house = _engine(session_url, f"{name} housekeeping", SWEEP_STATEMENT_SECONDS)
        ends.callback(house.dispose)
        store = open_store(settings.storage, scratch=scratch.folder)
        housekeepers = (
            Housekeeper(house, database_duties(settings), DATABASE_LOCK, idle_seconds(settings)),
            Housekeeper(house, store_duties(settings, store), STORE_LOCK, STORE_IDLE_SECONDS),
        )
        tasks = Pool(settings, slots, scratch.folder, os.environ)
        ends.callback(tasks.close)
        stops = ends.enter_context(StopSignals())
        ledger.register(pool=pool, slots=slots)
        for housekeeper in housekeepers:
            housekeeper.start()
            ends.callback(housekeeper.stop)
        Worker(settings, ledger, tasks, scratch, listener, stops, liveness, until_idle).run()
        for housekeeper in housekeepers:
            housekeeper.ask_to_stop()
        ledger.sign_off()


def idle_seconds(settings: Settings) -> float:
    """How long whoever rescues lost tasks may be silent before another worker takes over."""
    return max(2.0, 4 * settings.rescue_seconds)


def _metrics(at: int | Path, liveness: Liveness) -> TCPServer:
    try:
        server = telemetry.serve(at, liveness.problem)
    except OSError as error:
        option = "--metrics-socket" if isinstance(at, Path) else "--metrics-port"
        raise StorageError(f"{option} {at}: {error.strerror or error}") from None
    if not isinstance(at, Path):
        telemetry.logger().info("metrics", port=server.server_address[1])
    return server


@contextlib.contextmanager
def _database(settings: Settings) -> Iterator[str]:
    if settings.database_url:
        yield settings.database_url
    else:
        with embedded(settings.home) as url:
            yield url


def _engine(url: str, name: str, statement_seconds: float) -> Engine:
    return engine_for(
        url,
        application_name=f"data-miner worker {name}",
        pool_size=2,
        connect_timeout_seconds=CONNECT_SECONDS,
        statement_timeout_seconds=statement_seconds,
        lock_timeout_seconds=statement_seconds / 2,
    )
