"""The operator's edge to PostgreSQL: blocking calls in threads, every write fenced by the epoch."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Collection, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final, TypeVar

from sqlalchemy import Connection, Engine
from sqlalchemy.exc import DBAPIError, ProgrammingError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError

from data_miner import telemetry, tracing
from data_miner.catalog import leadership, owned, progress, pulse, workers
from data_miner.catalog.apply import Applied
from data_miner.catalog.leadership import FencedError
from data_miner.catalog.owned import Row
from data_miner.catalog.progress import Progress
from data_miner.catalog.pulse import Pulse
from data_miner.compiler import CompiledStage
from data_miner.db.engine import engine_for, place, snapshot, unreachable
from data_miner.db.revision import check_revision
from data_miner.errors import DatabaseError, SchemaError
from data_miner.outside import shown
from data_miner.queue import Lost, lose, trace
from data_miner.settings import Settings
from data_miner.spec.project import MiningProject
from data_miner_operator import metrics
from data_miner_operator.listening import listen

THREADS: Final = 8
CONNECT_SECONDS: Final = 3.0
STATEMENT_SECONDS: Final = 30.0
LOCK_SECONDS: Final = 10.0
REVISION_SECONDS: Final = 30.0
"""How long a schema that was right is taken to be right still."""
MESSAGE_CHARACTERS: Final = 300

_log = telemetry.logger()

Answer = TypeVar("Answer")
Key = tuple[str, str]


class AwayError(Exception):
    """PostgreSQL cannot be asked now: nothing was committed, or the same call changes nothing.

    The message is one line for people, without a password.
    """


@dataclass(slots=True)
class Catalogue:
    """The database as one operator process sees it. All methods may raise AwayError.

    Those that write raise FencedError when another leader was elected since, or when this process
    has not taken office at all.
    """

    engine: Engine
    installation: str
    """UID of the namespace that the operator runs in."""
    first_wave: int
    """Videos in a project's first wave."""
    listen_url: str = ""
    """For LISTEN where the engine goes through a transaction pooler; empty: the engine's."""
    lost_after_seconds: float = 120
    """A worker that was not seen for longer is not alive."""
    max_losses: int = 10
    """So many lost workers make a dead letter of a task."""
    lost_backoff_seconds: float = 1
    """Delay after a worker was lost; doubles with each one."""
    lost_backoff_max_seconds: float = 60
    epoch: int | None = None
    """Of this process's office; None: it is on standby."""
    _threads: ThreadPoolExecutor = field(
        default_factory=lambda: ThreadPoolExecutor(THREADS, thread_name_prefix="catalogue")
    )
    _right_until: float = 0.0

    async def take_office(self, holder: str) -> int:
        """Become the leader; returns the epoch. `holder` is for people, such as the pod's name."""

        def take(conn: Connection) -> int:
            return leadership.take_office(conn, self.installation, holder)

        self.epoch = await self._run(lambda: self._transaction(take))
        return self.epoch

    async def rows(self) -> Sequence[Row]:
        """Rows that stand for an object of this installation."""
        installation = self.installation
        return await self._run(
            lambda: self._transaction(lambda conn: owned.rows_of(conn, installation))
        )

    async def standing(self, key: Key) -> tuple[Row | None, Progress | None]:
        """The row of a (namespace, name), deleted or not, and how its project stands, as of one
        moment; no progress of a deleted one."""

        def ask() -> tuple[Row | None, Progress | None]:
            with snapshot(self.engine) as conn:
                row = owned.find_row(conn, *key)
                if row is None or row.deleted:
                    return row, None
                return row, progress.progress(conn, row.project_id)

        return await self._run(ask)

    async def pulse(self) -> Pulse:
        """One look at the whole queue."""
        return await self._run(
            lambda: pulse.look(
                self.engine,
                installation=self.installation,
                lost_after_seconds=self.lost_after_seconds,
            )
        )

    async def apply(
        self, project: MiningProject, compiled: Sequence[CompiledStage], *, uid: str, digest: str
    ) -> Applied:
        """Bring the rows in line with an object. What is planned for it is one trace."""
        named = f"{project.metadata.namespace}/{project.metadata.name}"

        def write(conn: Connection) -> Applied:
            trace(conn, span.traceparent)
            return owned.apply_owned(
                conn,
                project,
                compiled,
                installation=self.installation,
                uid=uid,
                digest=digest,
                first_wave=self.first_wave,
            )

        with tracing.start("apply", {"dataminer.project": named}) as span:
            applied = await self._write(write)
        if span.trace_id:
            _log.info("applied", project=named, trace_id=span.trace_id)
        return applied

    async def suspend(self, project_id: int) -> bool:
        """Stop a project whose spec cannot be applied otherwise."""
        return await self._write(lambda conn: owned.suspend_owned(conn, project_id))

    async def release(self, project_id: int) -> bool:
        """The object is gone and its project is to be kept."""
        return await self._write(lambda conn: owned.release(conn, project_id))

    async def forget(self, project_id: int) -> None:
        """The object is gone and so shall be its project."""
        await self._write(lambda conn: owned.forget(conn, project_id))

    async def retry(self, project_id: int, token: str) -> int:
        """Make dead letters ready again, once for each token; returns how many."""
        return await self._write(
            lambda conn: owned.retry_once(conn, project_id, token, first_wave=self.first_wave)
        )

    async def drain(self, worker_ids: Collection[str]) -> Sequence[str]:
        """Ask workers to take nothing more; returns those that are there to hear it."""
        return await self._write(lambda conn: workers.drain(conn, worker_ids))

    async def undrain(self, worker_ids: Collection[str]) -> Sequence[str]:
        """Let workers go on that were asked to take nothing more; returns those that were."""
        return await self._write(lambda conn: workers.undrain(conn, worker_ids))

    async def lose(self, worker_id: str, before: datetime, words: str) -> Sequence[Lost]:
        """Take back what a worker had claimed before it ran out of memory; what that was."""
        return await self._write(
            lambda conn: lose(
                conn,
                worker_id=worker_id,
                before=before,
                error_class="out_of_memory",
                error=words,
                max_losses=self.max_losses,
                backoff_seconds=self.lost_backoff_seconds,
                backoff_max_seconds=self.lost_backoff_max_seconds,
                first_wave=self.first_wave,
            )
        )

    async def listen(self, on_change: Callable[[int | None], None]) -> None:
        """Call `on_change` with each project that changes, until cancelled; never raises AwayError.

        None means that any may have changed: with each new connection. It is called in the loop
        that runs this.
        """
        url = self.listen_url or self.engine.url.render_as_string(hide_password=False)
        await listen(url, on_change)

    async def close(self) -> None:
        """End all connections. What is under way in the database ends by itself."""
        self._threads.shutdown(wait=False, cancel_futures=True)
        self.engine.dispose()

    async def _write(self, act: Callable[[Connection], Answer]) -> Answer:
        epoch = self.epoch
        if epoch is None:
            raise FencedError(
                f"installation {self.installation}: this process has not taken office"
            )

        def fenced(conn: Connection) -> Answer:
            leadership.fence(conn, self.installation, epoch)
            return act(conn)

        return await self._run(lambda: self._transaction(fenced))

    def _transaction(self, act: Callable[[Connection], Answer]) -> Answer:
        with self.engine.begin() as conn:
            return act(conn)

    async def _run(self, call: Callable[[], Answer]) -> Answer:
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._threads, self._named, call)

    def _named(self, call: Callable[[], Answer]) -> Answer:
        """In a thread: the call, on the schema that this program knows."""
        with self._away_is_named():
            if time.monotonic() > self._right_until:
                check_revision(self.engine)
                metrics.SCHEMA_MATCHES.set(1)
                self._right_until = time.monotonic() + REVISION_SECONDS
            return call()

    @contextmanager
    def _away_is_named(self) -> Iterator[None]:
        try:
            yield
        except SchemaError as error:
            metrics.SCHEMA_MATCHES.set(0)
            raise self._away(str(error)) from error
        except DatabaseError as error:
            raise self._away(str(error)) from error
        except PoolTimeoutError as error:
            raise self._away(f"PostgreSQL at {place(self.engine.url)}: all busy") from error
        except DBAPIError as error:
            raise self._away(self._reason(error)) from error

    def _away(self, message: str) -> AwayError:
        self._right_until = 0.0
        return AwayError(shown(message)[:MESSAGE_CHARACTERS])

    def _reason(self, error: DBAPIError) -> str:
        """Why it failed; a statement that the schema does not know may be the wrong schema's."""
        if isinstance(error, ProgrammingError):
            try:
                check_revision(self.engine)
            except SchemaError as wrong:
                metrics.SCHEMA_MATCHES.set(0)
                return str(wrong)
            except DatabaseError as away:
                return str(away)
            raise error
        code = getattr(error.orig, "pgcode", None)
        if code is None:
            return str(unreachable(self.engine.url, error))
        if code.startswith(_DEFECTS):
            raise error
        first = str(error.orig).strip().splitlines()[0]
        return f"PostgreSQL at {place(self.engine.url)}: {first}"


_DEFECTS: Final = ("22", "23")
"""Classes of SQLSTATE that only a defect of this program explains: bad data, broken constraints."""


def open_catalogue(settings: Settings, installation: str) -> Catalogue:
    """The catalogue that the environment names; connects when it is first asked.

    Raises DatabaseError for a URL that is none.
    """
    engine = engine_for(
        settings.database_url,
        application_name="data-miner operator",
        pool_size=THREADS // 2,  # twice as many at most
        connect_timeout_seconds=CONNECT_SECONDS,
        statement_timeout_seconds=STATEMENT_SECONDS,
        lock_timeout_seconds=LOCK_SECONDS,
        idle_transaction_seconds=2 * STATEMENT_SECONDS,
    )
    return Catalogue(
        engine=engine,
        installation=installation,
        first_wave=settings.first_wave,
        listen_url=settings.database_listen_url,
        lost_after_seconds=settings.lease_seconds,
        max_losses=settings.max_losses,
        lost_backoff_seconds=settings.lost_backoff_seconds,
        lost_backoff_max_seconds=settings.lost_backoff_max_seconds,
    )
