"""The worker's words to the database: one short transaction each, none while a stage runs.

Every method may raise DatabaseAwayError; then nothing was committed, or it was and saying it once
more changes nothing: all writes about a task are fenced by (id, claim_seq).
"""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import timedelta

from sqlalchemy import Connection, Engine, text

from data_miner import __version__, queue, telemetry
from data_miner.catalog import removals, workers
from data_miner.catalog.assign import PlaceTakenError, assign
from data_miner.catalog.costs import totals
from data_miner.catalog.facts import InputGoneError, mark_gone
from data_miner.catalog.record import record
from data_miner.catalog.workers import Told
from data_miner.errors import NotFoundError
from data_miner.queue import Beat, Claimed, Cursor, Finished, Notifier
from data_miner.settings import Settings
from data_miner.stage import Assignment, Done, Later, Skip
from data_miner.storage.store import NOBODYS_FAILURE
from data_miner_worker import traces
from data_miner_worker.about import about_claimed
from data_miner_worker.database import DatabaseAwayError, away_is_named, first_line
from data_miner_worker.messages import Ended, Failure, Stopped
from data_miner_worker.running import Order, Running

PLACE_SECONDS = 2.0
"""How long an export waits for the files of an earlier project in its place to be gone."""

log = telemetry.logger()

_SUSPECTS = text("""
    SELECT EXISTS (
        SELECT FROM tasks t JOIN projects p USING (project_id)
        WHERE t.state = 'ready' AND t.lost_count >= 2 AND t.stage = ANY (:stages)
          AND NOT p.suspended AND p.deleted_at IS NULL)
""")

_MAKERS = text("""
    SELECT DISTINCT recipe_id, subject FROM artifacts
    WHERE sha256 = ANY(:digests) AND deleted_at IS NULL
""")

_LIVE = text("""
    SELECT EXISTS (
        SELECT FROM tasks t JOIN projects p USING (project_id)
        WHERE t.state <> 'failed' AND t.stage = ANY (:stages)
          AND NOT p.suspended AND p.deleted_at IS NULL)
""")

_CLAIM_ONE = text("""
    SELECT g.* FROM (
        SELECT id FROM tasks WHERE id = :id AND state <> 'running' FOR UPDATE) t
    CROSS JOIN LATERAL queue_grant(ARRAY[t.id], :worker_id, :lease) g
""")


@dataclass(slots=True)
class Ledger:
    """The database as one worker sees it."""

    engine: Engine
    settings: Settings
    worker_id: str
    stages: tuple[str, ...]
    _cursor: Cursor = field(default_factory=Cursor)
    _notifier: Notifier = field(default_factory=Notifier)
    claim_ns: tuple[int, int] = (0, 0)
    """From when to when the last claim took, by the clock of `time.time_ns`."""
    _held: set[str] = field(default_factory=set)
    """Stages with new work that were announced too lately to be announced again."""

    @property
    def channels(self) -> tuple[str, ...]:
        """What to listen on."""
        return (*(queue.channel(stage) for stage in self.stages), workers.CHANNEL)

    # The worker's own row

    def register(self, *, pool: str, slots: int) -> None:
        """Say that this worker is there."""
        with self._transaction() as conn:
            workers.register(
                conn,
                worker_id=self.worker_id,
                host=socket.gethostname(),
                pid=os.getpid(),
                pool=pool,
                stages=self.stages,
                slots=slots,
                version=__version__,
                keep_drain=bool(self.settings.wait_when_drained),
            )

    def refresh_worker(self) -> Told:
        """Say that this worker is still there; what it is told."""
        with self._transaction() as conn:
            return workers.seen(conn, self.worker_id)

    def sign_off(self) -> None:
        """Say that this worker has ended, if the database can be told."""
        try:
            with self._transaction() as conn:
                workers.stopped(conn, self.worker_id)
        except DatabaseAwayError as error:
            log.info("left_without_saying_so", error=str(error))

    # Claiming

    def claim(self, limit: int) -> list[Claimed] | None:
        """Take up to `limit` ready tasks, in fair order; None when this worker may take none."""
        started, began = time.monotonic(), time.time_ns()
        with self._transaction() as conn:
            if not workers.may_claim(conn, self.worker_id):
                return None
            claimed = queue.claim(
                conn,
                stages=self.stages,
                worker_id=self.worker_id,
                limit=limit,
                lease_seconds=self.settings.lease_seconds,
                cursor=self._cursor,
            )
        self.claim_ns = (began, time.time_ns())
        telemetry.QUEUE_CLAIM_SECONDS.observe(time.monotonic() - started)
        for task in claimed:
            telemetry.QUEUE_CLAIMS.labels(task.stage).inc()
        return claimed

    def claim_suspect(self) -> Claimed | None:
        """Take one task that has lost workers before; only while this worker holds nothing."""
        began = time.time_ns()
        with self._transaction() as conn:
            if not workers.may_claim(conn, self.worker_id):
                return None
            suspect = queue.claim_suspect(
                conn,
                stages=self.stages,
                worker_id=self.worker_id,
                lease_seconds=self.settings.lease_seconds,
            )
        self.claim_ns = (began, time.time_ns())
        return suspect

    def claim_one(self, task_id: int) -> Claimed:
        """Take one task by its id, whatever its budgets. Raises NotFoundError."""
        values = {
            "id": task_id,
            "worker_id": self.worker_id,
            "lease": timedelta(seconds=self.settings.lease_seconds),
        }
        began = time.time_ns()
        with self._transaction() as conn:
            row = conn.execute(_CLAIM_ONE, values).mappings().first()
        self.claim_ns = (began, time.time_ns())
        if row is None:
            raise NotFoundError(f"task {task_id}: there is none, or a worker runs it now")
        return Claimed(**{name: row[name] for name in Claimed.__slots__})

    def admit(self) -> bool:
        """Let found videos in where nothing else is left to do; whether any were."""
        with self._transaction() as conn:
            return queue.admit(conn, first_wave=self.settings.first_wave) > 0

    def suspects_wait(self) -> bool:
        """Whether a task of these stages waits to be run alone."""
        with self._transaction() as conn:
            return bool(conn.execute(_SUSPECTS, {"stages": list(self.stages)}).scalar())

    def next_due_seconds(self) -> float:
        """Time until the next put-off task is due; infinite when there is none."""
        with self._transaction() as conn:
            seconds = queue.seconds_to_next_run(conn)
        return float("inf") if seconds is None else seconds

    def nothing_left(self) -> bool:
        """Whether no task of these stages is live, also after a look at all that is wanted."""
        with self._transaction() as conn:
            queue.sweep(conn, first_wave=self.settings.first_wave)
        with self._transaction() as conn:
            return not conn.execute(_LIVE, {"stages": list(self.stages)}).scalar()

    def assign(self, task: Claimed) -> Assignment | Failure | Later:
        """What a claimed task needs to know; or why it cannot be run now."""
        try:
            with self._transaction() as conn:
                return assign(conn, task, self.settings)
        except InputGoneError as error:
            with self._transaction() as conn:
                mark_gone(conn, error.keys)
            return Later(self.settings.backoff_seconds, f"input_missing: {error}")
        except PlaceTakenError as error:
            return Later(PLACE_SECONDS, f"place_taken: {error}")
        except DatabaseAwayError:
            raise
        except Exception as error:
            log.exception("not_assigned", **about_claimed(task))
            return Failure("unexpected", f"{type(error).__name__}: {first_line(error)}")

    # Leases

    def extend(self, runs: Sequence[Running]) -> set[int]:
        """Hold on to these runs; the ids of those that are still ours. One statement."""
        if not runs:
            return set()
        with self._transaction() as conn:
            ours = queue.extend(
                conn,
                [Beat(*run.token, run.progress, run.message) for run in runs],
                lease_seconds=self.settings.lease_seconds,
            )
            for run in runs:
                if run.checkpoint_changed:
                    queue.checkpoint(conn, *run.token, run.checkpoint)
        for run in runs:
            run.checkpoint_changed = False
        return ours

    # Ends

    def settle(self, run: Running, ended: Ended) -> None:
        """Record how a run ended, unless it is not ours any more."""
        traces.ran(run, ended)
        with traces.recording(run):
            self._settle(run, ended)
        run.span.end()

    def _settle(self, run: Running, ended: Ended) -> None:
        result = ended.result
        if run.order is Order.FORGET:
            traces.settled(run, ended, "lost")
            _tell_use(run.claimed.stage, ended)
            self._left_behind(run, result)
            return
        if run.checkpoint_changed:
            self.extend([run])
        if isinstance(result, Stopped) or (
            run.order is Order.HAND_BACK and isinstance(result, Failure)
        ):
            self._hand_back(run, ended)
        elif isinstance(result, Later):
            self._later(run, ended, result)
        elif isinstance(result, Failure) and (put_off := self._put_off(run, ended, result)):
            self._later(run, ended, put_off)
        elif isinstance(result, Failure):
            self._fail(run, ended, result)
        else:
            self._finish(run, ended, result)

    def _finish(self, run: Running, ended: Ended, outcome: Done | Skip) -> None:
        """Result, files, rows and what follows from them: one transaction."""
        task = run.claimed
        finished = Finished(
            *run.token,
            reason=outcome.reason if isinstance(outcome, Skip) else None,
            facts=outcome.facts if isinstance(outcome, Done) else {},
        )
        planned: Collection[str] = ()
        try:
            with self._transaction() as conn:
                queue.trace(conn, run.span.traceparent)
                finished = replace(finished, cost=self._cost_so_far(conn, run, ended))
                ours = task.id in queue.finish(conn, [finished])
                if ours:
                    record(conn, task, outcome)
                    planned = queue.plan_after(conn, [task], first_wave=self.settings.first_wave)
        except DatabaseAwayError:
            raise
        except Exception as error:
            # The stage gave what cannot be recorded; its task must not stand still over it.
            log.exception("not_recorded", **run.about)
            failure = Failure("unexpected", f"not recorded: {first_line(error)}")
            self._fail(run, ended, failure)
            return
        name = "done" if isinstance(outcome, Done) else "skipped"
        self._ended(run, ended, name if ours else "lost")
        if ours:
            self.notify(planned)
        else:
            self._left_behind(run, outcome)

    def _left_behind(self, run: Running, result: object) -> None:
        """A version that came too late to be recorded goes, if its project went with its files."""
        made = result.records.get("dataset") if isinstance(result, Done) else None
        if isinstance(made, Mapping):
            uri, digest = str(made["uri"]), str(made["digest"])
            with self._transaction() as conn:
                removals.ask_one(conn, run.claimed.project_id, uri=uri, digest=digest)

    def _put_off(self, run: Running, ended: Ended, failure: Failure) -> Later | None:
        """What is not the task's failure: no room, no store, an input that must be made again."""
        reason = f"{failure.error_class}: {failure.message}"
        if failure.error_class in NOBODYS_FAILURE:
            log.warning(failure.error_class, **run.about, error=failure.message)
            return Later(self.settings.backoff_seconds, reason)
        if not ended.missing:
            return None
        with self._transaction() as conn:
            found = conn.execute(_MAKERS, {"digests": list(ended.missing)})
            gone = mark_gone(conn, [(row.recipe_id, row.subject) for row in found])
        log.warning("input_lost", **run.about, error=failure.message, results=gone)
        return Later(self.settings.backoff_seconds, reason) if gone else None

    def _fail(self, run: Running, ended: Ended, failure: Failure) -> None:
        with self._transaction() as conn:
            queue.trace(conn, run.span.traceparent)
            queue.spend(conn, run.token, self._cost_so_far(conn, run, ended))
            state = queue.fail(
                conn,
                run.claimed,
                error_class=failure.error_class,
                error=failure.message,
                permanent=failure.permanent,
                max_attempts=self.settings.max_attempts,
                backoff_seconds=self.settings.backoff_seconds,
                backoff_max_seconds=self.settings.backoff_max_seconds,
                first_wave=self.settings.first_wave,
            )
        log.warning(
            "task_failed",
            **run.about,
            error_class=failure.error_class,
            error=failure.message,
            state=state or "lost",
        )
        self._ended(run, ended, "failed" if state else "lost", failure.error_class)

    def _later(self, run: Running, ended: Ended, outcome: Later) -> None:
        error_class, _, words = outcome.reason.partition(":")
        with self._transaction() as conn:
            queue.spend(conn, run.token, self._cost_so_far(conn, run, ended))
            ours = queue.later(
                conn,
                run.claimed,
                seconds=outcome.seconds,
                error_class=error_class.strip(),
                reason=words.strip() or outcome.reason,
            )
        self._ended(run, ended, "later" if ours else "lost", error_class)

    def _cost_so_far(self, conn: Connection, run: Running, ended: Ended) -> Mapping[str, float]:
        """Of this try and of those before it; the first one has none before it."""
        first = run.claimed.claim_seq == 1
        return totals([{} if first else queue.spent(conn, run.claimed.id), cost(ended)])

    def _hand_back(self, run: Running, ended: Ended) -> None:
        with self._transaction() as conn:
            queue.spend(conn, run.token, self._cost_so_far(conn, run, ended))
            queue.hand_back(conn, [run.token])
        traces.settled(run, Ended(Stopped()), "handed_back")
        self.notify([run.claimed.stage])
        _tell_use(run.claimed.stage, ended)
        log.info("handed_back", **run.about)

    def _ended(self, run: Running, ended: Ended, outcome: str, error_class: str = "") -> None:
        stage = run.claimed.stage
        label = telemetry.bounded_class(error_class) if error_class else ""
        telemetry.STAGE_OUTCOMES.labels(stage, outcome, label).inc()
        seen = {"trace_id": run.span.trace_id or ""} if run.span.sampled else None
        telemetry.STAGE_SECONDS.labels(stage, outcome).observe(ended.usage.wall_seconds, seen)
        traces.settled(run, ended, outcome, error_class)
        _tell_use(stage, ended)
        if outcome == "lost":
            telemetry.QUEUE_LEASES_LOST.labels(stage).inc()
            log.warning("came_too_late", **run.about)

    def notify(self, stages: Collection[str] = ()) -> None:
        """Wake listening workers, after the commit; what is lost here is found by polling."""
        wanted = self._held | set(stages)
        if not wanted:
            return
        with self._transaction() as conn:
            self._held = self._notifier(conn, sorted(wanted))

    @contextmanager
    def _transaction(self) -> Iterator[Connection]:
        with away_is_named(), self.engine.begin() as conn:
            yield conn


def cost(ended: Ended) -> dict[str, float]:
    """What a result cost: its use of the machine, and what its stage counted."""
    usage = ended.usage
    gpu_seconds = usage.models.gpu_seconds
    return {
        **({"gpu_seconds": round(gpu_seconds, 3)} if gpu_seconds else {}),
        "cpu_seconds": usage.cpu_seconds,
        "wall_seconds": usage.wall_seconds,
        "max_rss_mb": usage.max_rss_mb,
        **ended.counters,
    }


def _tell_use(stage: str, ended: Ended) -> None:
    """Whatever becomes of the run, this was used."""
    usage = ended.usage
    telemetry.counted(stage, ended.counters)
    telemetry.STAGE_CPU_SECONDS.labels(stage).inc(usage.cpu_seconds)
    if usage.models.gpu_seconds:
        telemetry.STAGE_GPU_SECONDS.labels(stage).inc(usage.models.gpu_seconds)
    for device, seconds in usage.models.loads:
        telemetry.MODEL_LOAD_SECONDS.labels(device).observe(seconds)
    for inputs, runs in usage.models.runs.items():
        batches = telemetry.MODEL_BATCH_SIZE.labels(stage)
        for _ in range(runs):
            batches.observe(inputs)
