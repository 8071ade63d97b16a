"""The worker: claims tasks, watches over them, records how they ended. Runs no stage itself.

One thread does all of it, so that its order is the order in this file. A round reads what the
task processes said, records what is over, extends what goes on and claims what there is room
for; then it waits for the next thing to happen. When the database is away the tasks run on.
"""

from __future__ import annotations

import math
import random
import selectors
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from data_miner import telemetry
from data_miner.catalog.workers import Told
from data_miner.queue import Claimed
from data_miner.settings import Settings
from data_miner.stage import Assignment, Later
from data_miner_worker import signals, traces
from data_miner_worker.about import about, about_claimed
from data_miner_worker.database import Backoff, DatabaseAwayError
from data_miner_worker.ledger import Ledger
from data_miner_worker.listener import Listener
from data_miner_worker.liveness import Liveness
from data_miner_worker.messages import Ended, Stopped
from data_miner_worker.pool import STOP_SECONDS, Pool
from data_miner_worker.running import Order, Running
from data_miner_worker.scratch import Scratch
from data_miner_worker.stopping import StopSignals

HAND_BACK_SECONDS = 1.0
"""How long tasks of a stopping worker may take to their next tick before they are killed."""
LEAVE_SECONDS = 2.0
"""How long a stopping worker tries to reach a database that is away."""
ROUND_SECONDS = 0.2
"""Longest wait while tasks run: their memory is watched."""

log = telemetry.logger()


@dataclass(slots=True)
class Worker:
    """One worker process; `run` returns when it was told to stop."""

    settings: Settings
    ledger: Ledger
    pool: Pool
    scratch: Scratch
    listener: Listener
    stops: StopSignals
    liveness: Liveness
    until_idle: bool = False
    """End when no task of its stages is left; for tests and one-off runs."""
    _over: list[tuple[Running, Ended]] = field(default_factory=list)
    """Runs that have ended and are not recorded yet; they are still ours, and extended."""
    _backoff: Backoff = field(default_factory=Backoff)
    _claim_at: float = 0.0
    _beat_at: float = 0.0
    _suspects_at: float = 0.0
    _quiet: bool = False
    """No claims until the worker is idle: a suspect waits to be run alone."""
    _alone: bool = False
    """A suspect runs."""
    _stop_at: float | None = None
    """When tasks are handed back; set by the first stop signal."""
    _told: bool = False
    """The first stop signal was seen."""
    _drained: bool = False
    """Takes nothing more until it is told that it may go on; what it holds it finishes."""
    _handed_back: bool = False
    _idle: bool = False

    def run(self) -> None:
        """Work until told otherwise."""
        while not self._finished():
            self.liveness.beat()
            started = time.monotonic()
            self._over += self.pool.poll()
            self._obey()
            if not self._backoff.wait_seconds:
                self._talk()
            telemetry.WORKER_LOOP_SECONDS.observe(time.monotonic() - started)
            self._show()
            if not self._finished():
                self._wait()

    def _talk(self) -> None:
        """Everything that needs the database, dearest first; what fails is tried again later."""
        try:
            self._record()
            heard = self.listener.heard()
            self._heartbeat()
            self._claim(heard=heard)
            self.ledger.notify()
        except DatabaseAwayError as error:
            self._backoff.failed(error)
        else:
            self._backoff.worked()

    # Stopping

    @property
    def _stopping(self) -> bool:
        return self._stop_at is not None

    def _obey(self) -> None:
        """Follow stop signals: first the tasks may finish, after the grace they are handed back."""
        now = time.monotonic()
        if self.stops.count and not self._told:
            self._told = True
            self._stop_at = min(self._stop_at or math.inf, now + self.settings.grace_seconds)
            log.info("stopping", running=len(self.pool.runs), grace=self.settings.grace_seconds)
        if self.stops.count > 1 and self._stop_at is not None:
            self._stop_at = min(self._stop_at, now)
        if self._stop_at is not None and now >= self._stop_at and not self._handed_back:
            self._handed_back = True
            self.pool.stop(self.pool.runs, Order.HAND_BACK, HAND_BACK_SECONDS)

    def _finished(self) -> bool:
        if self.pool.runs:
            return False
        if not self._stopping:
            return self._idle and not self._over
        away_too_long = (
            self._stop_at is not None and time.monotonic() > self._stop_at + LEAVE_SECONDS
        )
        return not self._over or away_too_long

    # Recording

    def _record(self) -> None:
        """Tell the database about every run that is over, in the order in which they ended."""
        while self._over:
            run, ended = self._over[0]
            signals.at(signals.PUBLISHED_BEFORE_FINISH)
            self.ledger.settle(run, ended)
            self._over.pop(0)
            self._alone = False
            self._claim_at = 0.0  # there is room, and perhaps more to do

    # Leases

    def _heartbeat(self) -> None:
        """One statement for all tasks; those that are not ours any more are told to end."""
        now = time.monotonic()
        if now < self._beat_at and not self.listener.called:
            return
        self._follow(self.ledger.refresh_worker())
        self.listener.called = False
        moving = [run for run in self.pool.runs if run.order is not Order.FORGET]
        ended = [run for run, _ in self._over]
        ours = self.ledger.extend([*moving, *ended])
        lost = [run for run in moving if run.claimed.id not in ours]
        for run in lost:
            telemetry.QUEUE_LEASES_LOST.labels(run.claimed.stage).inc()
            log.warning("lease_lost", **run.about)
        self.pool.stop(lost, Order.FORGET, STOP_SECONDS)
        self._beat_at = now + self.settings.heartbeat_seconds

    def _follow(self, told: Told) -> None:
        """A worker that is drained takes nothing more; then it ends, unless it is to wait."""
        drained = told is Told.DRAIN
        if drained != self._drained:
            self._claim_at = 0.0
            log.info("drained" if drained else "undrained", running=len(self.pool.runs))
        self._drained = drained
        goes = told is Told.GO or (drained and not self.settings.wait_when_drained)
        if goes and self._stop_at is None:
            self._stop_at = math.inf
            log.info("draining")

    # Claiming

    def _claim(self, *, heard: bool) -> None:
        if self._stopping or self._alone or self._drained:
            return
        now = time.monotonic()
        if heard:
            self._claim_at = 0.0
        if now >= self._suspects_at:
            self._suspects_at = now + self.settings.rescue_seconds * random.uniform(1, 2)  # noqa: S311
            self._quiet = self._quiet or self.ledger.suspects_wait()
        if self._quiet:
            self._claim_alone()
        elif self.pool.free and now >= self._claim_at:
            claimed = self.ledger.claim(self.pool.free)
            if claimed is None:
                self._beat_at = 0.0  # to learn why
                self._claim_at = now + self.settings.poll_seconds
                return
            self._start(claimed)
            if not claimed:
                self._nothing_there(now)

    def _claim_alone(self) -> None:
        if self.pool.runs or self._over:
            return
        suspect = self.ledger.claim_suspect()
        if suspect is None:
            self._quiet = False
            self._claim_at = 0.0
            return
        self._alone = True
        self._start([suspect])
        for run in self.pool.runs:
            log.info("running_alone", **run.about)

    def _nothing_there(self, now: float) -> None:
        """Sleep until something is due, unless a suspect waits or there is nothing left at all."""
        if not self.pool.runs and self.ledger.suspects_wait():
            self._quiet = True
            return
        if self.ledger.admit():
            return  # and claim at once
        due = self.ledger.next_due_seconds()
        self._claim_at = now + min(self.settings.poll_seconds, max(0.0, due))
        if self.until_idle and not self.pool.runs:
            self._idle = self.ledger.nothing_left()

    def _start(self, claimed: Sequence[Claimed]) -> None:
        if claimed:
            signals.at(signals.CLAIMED)
        for place, task in enumerate(claimed):
            try:
                self._start_one(task)
            except DatabaseAwayError:
                self._not_started(claimed[place:])
                raise

    def _start_one(self, task: Claimed) -> None:
        folder = self.scratch.task(task.id, task.claim_seq)
        assignment = self.ledger.assign(task)
        if not isinstance(assignment, Assignment):
            self._over.append((_unstarted(task, folder), Ended(assignment)))
            return
        try:
            span = traces.begin(task, assignment, self.ledger.worker_id, self.ledger.claim_ns)
            self.pool.start(task, assignment, folder, span)
        except OSError as error:  # no more processes or memory: the task is not to blame
            reason = f"no_process: a task process cannot be started: {error.strerror}"
            log.error("no_process", **about(assignment, None), error=error.strerror)
            put_off = Later(self.settings.backoff_seconds, reason)
            self._over.append((_unstarted(task, folder), Ended(put_off)))

    def _not_started(self, tasks: Sequence[Claimed]) -> None:
        """The database went away between claim and start: hand back when it is there again."""
        for task in tasks:
            folder = self.scratch.task(task.id, task.claim_seq)
            self._over.append((_unstarted(task, folder), Ended(Stopped())))

    # Waiting

    def _wait(self) -> None:
        """Sleep until a task says something, a signal or a notification comes, or time is up."""
        with selectors.DefaultSelector() as selector:
            selector.register(self.stops, selectors.EVENT_READ)
            for process in self.pool.files():
                selector.register(process, selectors.EVENT_READ)
            listening = self.listener.fileno()
            if listening is not None:
                selector.register(listening, selectors.EVENT_READ)
            selector.select(self._wait_seconds(time.monotonic()))
        self.stops.drain()

    def _wait_seconds(self, now: float) -> float:
        if self._over or self._backoff.wait_seconds:
            return min(max(self._backoff.wait_seconds, 0.01), ROUND_SECONDS)
        due = [self._beat_at, now + self.settings.poll_seconds]
        resting = self._stopping or self._alone or self._quiet or self._drained
        if self.pool.free and not resting:
            due.append(self._claim_at)
        if self.pool.runs:
            due.append(now + ROUND_SECONDS)
        return min(max(min(due) - now, 0.01), ROUND_SECONDS if self._stopping else 60.0)

    def _show(self) -> None:
        for stage in self.ledger.stages:
            busy = sum(1 for run in self.pool.runs if run.claimed.stage == stage)
            telemetry.WORKER_BUSY.labels(stage).set(busy)


def _unstarted(task: Claimed, folder: Path) -> Running:
    now = time.monotonic()
    said = about_claimed(task)
    return Running(task, folder, stall_seconds=0.0, started=now, last_sign=now, about=said)
