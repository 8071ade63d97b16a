"""One task in this process, for a debugger: the same context, the same recording, no child."""

from __future__ import annotations

import shutil
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

from sqlalchemy import Engine

from data_miner import telemetry
from data_miner.errors import StalledError
from data_miner.settings import Settings
from data_miner.stage import Assignment
from data_miner.storage import open_store
from data_miner_worker import traces
from data_miner_worker.about import about
from data_miner_worker.child import run_task
from data_miner_worker.context import TaskContext
from data_miner_worker.database import DatabaseAwayError
from data_miner_worker.ledger import Ledger
from data_miner_worker.messages import Begun, Checkpoint, Ended, Failure, Run, Tick
from data_miner_worker.running import Running
from data_miner_worker.scratch import base_folder, take_scratch
from data_miner_worker.steps import Steps
from data_miner_worker.usage import Meter

log = telemetry.logger()


def run_in_foreground(task_id: int, settings: Settings, engine: Engine, worker_id: str) -> None:
    """Claim this one task, whatever its state, run it here and record how it ended.

    There is no stall limit and no memory limit: somebody may be looking at it. Raises NotFoundError
    when there is no such task or somebody runs it, StalledError when it fails.
    """
    ledger = Ledger(engine, settings, worker_id, ())
    task = ledger.claim_one(task_id)
    scratch = take_scratch(base_folder(settings), worker_id)
    folder = scratch.task(task.id, task.claim_seq)
    now = time.monotonic()
    run = Running(task, folder, stall_seconds=0.0, started=now, last_sign=now)
    try:
        assignment = ledger.assign(task)
        if not isinstance(assignment, Assignment):
            ledger.settle(run, Ended(assignment))
            raise StalledError(f"task {task_id}: {assignment}")
        run.span = traces.begin(task, assignment, worker_id, ledger.claim_ns)
        run.about = about(assignment, run.span.trace_id)
        telemetry.always_say(run.about)
        steps = Steps(wanted=run.span.sampled)
        stopped = threading.Event()
        context = TaskContext(
            assignment,
            scratch=folder,
            store=open_store(settings.storage, scratch=scratch.folder),
            settings=settings,
            send=lambda message: _heard(run, message),
            stopped=stopped,
            steps=steps,
        )
        meter = Meter()
        meter.begin()
        alive = _kept_alive(ledger, run, stopped, settings.heartbeat_seconds)
        with alive, steps.step("run"):
            result = run_task(Run(assignment, folder), context)
        used = meter.read()
        missing = tuple(context.missing)
        ended = Ended(result, used, dict(context.counters), missing, steps.told)
        ledger.settle(run, ended)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        scratch.remove()
    if isinstance(result, Failure):
        raise StalledError(f"task {task_id} {result.error_class}: {result.message}")


def _heard(run: Running, message: Begun | Tick | Checkpoint) -> None:
    run.heard(message, time.monotonic())
    if isinstance(message, Tick) and message.message:
        log.info("tick", progress=message.progress, message=message.message)


@contextmanager
def _kept_alive(
    ledger: Ledger, run: Running, stopped: threading.Event, every_seconds: float
) -> Iterator[None]:
    """Extend the lease from a thread; a lease that is lost stops the run at its next tick."""
    over = threading.Event()

    def extend() -> None:
        while not over.wait(every_seconds):
            try:
                ours = ledger.extend([run])
            except DatabaseAwayError as error:
                log.warning("database_away", error=str(error))
                continue
            if not ours:
                log.warning("lease_lost")
                stopped.set()
                return

    thread = threading.Thread(target=extend, name="heartbeat", daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()
