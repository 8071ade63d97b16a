"""The task processes of one worker: who is free, who runs what, who must end."""

from __future__ import annotations

import shutil
import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from data_miner import telemetry
from data_miner.queue import Claimed
from data_miner.settings import Settings
from data_miner.stage import Assignment, Later
from data_miner.tracing import Span
from data_miner_worker import running
from data_miner_worker.about import about
from data_miner_worker.messages import Ended, Failure, Hello, Run, Stopped, Usage
from data_miner_worker.running import Order, Running
from data_miner_worker.share import cpu_limit, threads_each
from data_miner_worker.task_process import TaskProcess
from data_miner_worker.usage import oom_kills, tree_rss_mb

WATCH_SECONDS = 0.2
"""How often the memory of running tasks is looked at."""
STOP_SECONDS = 5.0
"""How long a run that was told to stop may take to its next tick."""


@dataclass(slots=True)
class Pool:
    """At most `slots` task processes, each with one run or idle."""

    settings: Settings
    slots: int
    scratch: Path
    environment: Mapping[str, str]
    _idle: list[TaskProcess] = field(default_factory=list)
    _busy: dict[TaskProcess, Running] = field(default_factory=dict)
    _watched: float = 0.0

    @property
    def runs(self) -> list[Running]:
        """What runs now."""
        return list(self._busy.values())

    @property
    def free(self) -> int:
        """How many more tasks can be started."""
        return self.slots - len(self._busy)

    def files(self) -> list[TaskProcess]:
        """What to wait on for messages of running tasks."""
        return list(self._busy)

    def start(
        self, claimed: Claimed, assignment: Assignment, folder: Path, span: Span | None = None
    ) -> None:
        """Run a task, best in a process that has the models of its stage in memory already."""
        process = self._take(claimed.stage)
        now = time.monotonic()
        limit = running.stall_seconds(claimed.stage, self.settings.stall_factor)
        span = span or Span(assignment.traceparent)
        self._busy[process] = Running(
            claimed,
            folder,
            limit,
            started=now,
            last_sign=now,
            oom_kills=oom_kills(),
            span=span,
            about=about(assignment, span.trace_id),
        )
        process.give(Run(assignment, folder, span.trace_id, span.sampled))

    def poll(self) -> list[tuple[Running, Ended]]:
        """Read what the processes said, end what must end; the runs that are over."""
        now = time.monotonic()
        over = [(run, end) for process in list(self._busy) for run, end in self._read(process, now)]
        if now - self._watched >= WATCH_SECONDS:
            self._watched = now
            over += [
                (run, end) for process in list(self._busy) for run, end in self._watch(process)
            ]
        over += [(run, end) for process in list(self._busy) for run, end in self._limit(process)]
        return over

    def stop(self, runs: Iterable[Running], order: Order, within_seconds: float) -> None:
        """Tell runs to end; those that do not in time are killed."""
        now = time.monotonic()
        wanted = {run.token for run in runs}
        for process, run in self._busy.items():
            if run.token in wanted:
                run.stop(order, now, within_seconds)
                process.stop()

    def close(self) -> None:
        """End all processes, whatever they do."""
        for process in [*self._idle, *self._busy]:
            process.end()
        self._idle.clear()
        self._busy.clear()

    def _take(self, stage: str) -> TaskProcess:
        """An idle process that ran this stage last, else a new one if there is room, else any."""
        for process in list(self._idle):
            if not _alive(process):  # it died while nobody needed it
                process.end()
                self._idle.remove(process)
        for process in self._idle:
            if process.last_stage == stage:
                self._idle.remove(process)
                return process
        if len(self._idle) + len(self._busy) < self.slots or not self._idle:
            threads = threads_each(self.slots, cpu_limit())
            hello = Hello(_without_database(self.settings), self.scratch, threads)
            return TaskProcess(hello, _environment(self.environment))
        return self._idle.pop(0)

    def _read(self, process: TaskProcess, now: float) -> Iterator[tuple[Running, Ended]]:
        run = self._busy[process]
        try:
            said = process.messages()
        except EOFError:
            yield from self._gone(process, None)
            return
        for message in said:
            if isinstance(message, Ended):
                del self._busy[process]
                process.cpu_seconds_told += message.usage.cpu_seconds
                self._keep(process, run)
                yield run, _with_peak(message, run)
            else:
                run.heard(message, now)

    def _keep(self, process: TaskProcess, run: Running) -> None:
        """Keep a process for the next task, unless it was told to stop or has served its time."""
        if run.order is not None or process.tasks_given >= max(1, self.settings.tasks_per_child):
            process.end()
        else:
            self._idle.append(process)

    def _watch(self, process: TaskProcess) -> Iterator[tuple[Running, Ended]]:
        run = self._busy[process]
        rss_mb = tree_rss_mb(process.pid)
        run.peak_rss_mb = max(run.peak_rss_mb, rss_mb)
        limit_mb = self.settings.task_memory_mb
        if limit_mb and rss_mb > limit_mb:
            yield from self._gone(process, running.too_big(rss_mb, limit_mb))

    def _limit(self, process: TaskProcess) -> Iterator[tuple[Running, Ended]]:
        run, now = self._busy[process], time.monotonic()
        if run.kill_at is not None and now >= run.kill_at:
            yield from self._gone(process, Stopped())
        elif run.kill_at is None and run.stalled(now):
            yield from self._gone(process, running.stalled(run))

    def _own_end(self, run: Running, code: int) -> Failure | Later | Stopped:
        """What the end of a process means that nobody had ended."""
        if run.order is not None:
            return Stopped()
        if run.begun:
            return running.died(code, out_of_memory=oom_kills() > run.oom_kills)
        # It cannot have been the task's fault. Put off, so that a broken machine does not spin.
        reason = f"no_process: the task process ended (status {code}) before the task began"
        return Later(self.settings.backoff_seconds, reason)

    def _gone(
        self, process: TaskProcess, verdict: Failure | Stopped | None
    ) -> Iterator[tuple[Running, Ended]]:
        """End a process in the middle of a run; without a verdict it has ended by itself."""
        run = self._busy.pop(process)
        code = process.end()
        result = verdict or self._own_end(run, code)
        if isinstance(result, Failure):
            telemetry.WORKER_CHILD_DEATHS.labels(result.error_class).inc()
        shutil.rmtree(run.scratch, ignore_errors=True)
        usage = Usage(
            cpu_seconds=round(max(0.0, process.cpu_seconds - process.cpu_seconds_told), 3),
            wall_seconds=round(time.monotonic() - run.started, 3),
            max_rss_mb=run.peak_rss_mb,
        )
        yield run, Ended(result, usage)


def _environment(environment: Mapping[str, str]) -> dict[str, str]:
    """What a task process may know: it reads what strangers made, and needs neither a database nor
    a receiver of traces."""
    urls = {"DATA_MINER_DATABASE_URL", "DATA_MINER_DATABASE_LISTEN_URL"}
    return {
        name: value
        for name, value in environment.items()
        if name not in urls and not name.startswith(("PG", "OTEL_"))
    }


def _without_database(settings: Settings) -> Settings:
    return replace(settings, database_url="", database_listen_url="")


def _with_peak(ended: Ended, run: Running) -> Ended:
    """The processes below the task's own were seen from here alone."""
    peak_mb = round(max(ended.usage.max_rss_mb, run.peak_rss_mb), 1)
    return replace(ended, usage=replace(ended.usage, max_rss_mb=peak_mb))


def _alive(process: TaskProcess) -> bool:
    try:
        process.messages()
    except EOFError:
        return False
    return True
