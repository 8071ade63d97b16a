"""Keeps every project in line with its object: observe, decide, act, say how it stands.

Several workers take keys from one queue; only the leader's do. What is decided and what is said
are pure functions of what was observed, so a pass may be interrupted anywhere and repeated.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final, assert_never

from data_miner import telemetry
from data_miner.catalog.leadership import FencedError
from data_miner.project_metrics import PROJECT_METRICS
from data_miner_operator import metrics
from data_miner_operator.api import (
    JOBS,
    PROJECTS,
    AlreadyExists,
    Api,
    ApiError,
    Conflict,
    NotFound,
    Throttled,
)
from data_miner_operator.cache import Cache
from data_miner_operator.catalogue import AwayError, Catalogue
from data_miner_operator.events_out import Events
from data_miner_operator.facts import Key, Seen
from data_miner_operator.jobs import render_job
from data_miner_operator.keyed_queue import KeyedQueue
from data_miner_operator.observe import Observer
from data_miner_operator.reconcile import (
    Action,
    Apply,
    DeleteObject,
    Event,
    Forget,
    MakeModel,
    Performed,
    Release,
    Retry,
    Suspend,
    decide,
    defect,
    render,
    transitions,
    write_due,
)

PASS_SECONDS: Final = 300.0
"""A pass that takes longer is given up and begun again later."""
ROUNDS: Final = 4
"""Passes in a row over one key, when each finds something to do."""

_log = telemetry.logger()


@dataclass(slots=True)
class Controller:
    """Processes keys. `work` is one worker."""

    api: Api
    cache: Cache
    catalogue: Catalogue
    observer: Observer
    queue: KeyedQueue[Key]
    events: Events
    serves: Callable[[str], bool]
    """Whether a namespace is this operator's: of others it knows nothing, so that an object that
    it does not see there is none of its business."""
    clock: Callable[[], float] = time.monotonic
    _written: dict[Key, datetime] = field(default_factory=dict)
    """When the status of each object was last written."""
    _mean_seconds: float = 0.02

    @property
    def mean_seconds(self) -> float:
        """What a pass has taken of late."""
        return self._mean_seconds

    async def work(self) -> None:
        """Process keys until the queue is closed. Raises FencedError when another leads."""
        while (key := await self.queue.get()) is not None:
            try:
                await self._process(key)
            finally:
                self.queue.done(key)

    async def _process(self, key: Key) -> None:
        began = self.clock()
        result, again = "success", None
        try:
            async with asyncio.timeout(PASS_SECONDS):
                again = await self.reconcile(key)
        except FencedError:
            raise
        except AwayError:
            # Whoever looks at the queue says so once, not each project.
            self.queue.failed(key)
            metrics.RECONCILE_ERRORS.labels("database").inc()
            result = "error"
        except Conflict as error:
            result = self._failed(key, "conflict", str(error))
        except ApiError as error:
            result = self._failed(key, "api", str(error))
        except TimeoutError:
            result = self._failed(key, "timeout", f"a pass took more than {PASS_SECONDS:.0f} s")
        except Exception as error:  # noqa: BLE001 - one project's defect must not stop the others
            # Of a database's error the first line alone: what follows are statement and values.
            first = (str(error).strip().splitlines() or [""])[0]
            problem = f"{type(error).__name__}: {first}"
            result = self._failed(key, "defect", problem, unexpected=True)
        else:
            self.queue.forget(key)
            if again is not None:
                result = "requeue"
                self.queue.add_after(key, again)
        took = self.clock() - began
        self._mean_seconds += (took - self._mean_seconds) / 50
        metrics.RECONCILE_SECONDS.observe(took)
        metrics.RECONCILES.labels(result).inc()

    def _failed(self, key: Key, reason: str, problem: str, *, unexpected: bool = False) -> str:
        wait = self.queue.failed(key)
        metrics.RECONCILE_ERRORS.labels(reason).inc()
        found = self.cache.get(PROJECTS, key)
        if unexpected and found is not None and self.queue.failures(key) == 1:
            self._post(found, [defect(problem)])
        say = _log.error if unexpected else _log.warning
        say(
            "a project could not be reconciled",
            project="/".join(key),
            problem=problem,
            again_in_seconds=round(wait, 1),
            exc_info=unexpected,
        )
        return "error"

    async def reconcile(self, key: Key) -> float | None:
        """One pass; returns the seconds after which to look again, None to wait for news.

        Raises AwayError when PostgreSQL could not be asked, after the status says so.
        """
        if not self.serves(key[0]):
            return None
        seen = await self.observer.observe(key)
        owner = seen.row.owner_uid if seen.row else None
        decision = decide(seen)
        performed: list[Performed] = []
        for _ in range(ROUNDS):
            if not decision.actions:
                break
            try:
                for action in decision.actions:
                    done = await self._perform(seen, action)
                    performed.append(done)
            except AwayError as error:
                self.observer.database_away(str(error))
            seen = await self.observer.observe(key)
            decision = decide(seen)
        PROJECT_METRICS.tell_progress(key, seen.progress)
        again = await self._say(seen, performed, owner)
        if seen.away:
            raise AwayError(seen.away)
        if decision.actions:
            return 1.0  # more than one pass has hands for: others shall have their turn
        waits = [wait for wait in (decision.requeue_seconds, again) if wait is not None]
        return min(waits, default=None)

    async def _perform(self, seen: Seen, action: Action) -> Performed:
        metrics.ACTIONS.labels(type(action).__name__).inc()
        _log.info("action", project="/".join(seen.key), what=type(action).__name__)
        match action:
            case Apply():
                applied = await self.catalogue.apply(
                    action.project, action.compiled, uid=action.uid, digest=action.digest
                )
                return Performed(action, applied=applied)
            case Suspend():
                await self.catalogue.suspend(action.project_id)
            case Release():
                await self.catalogue.release(action.project_id)
            case Forget():
                await self.catalogue.forget(action.project_id)
            case Retry():
                retried = await self.catalogue.retry(action.project_id, action.token)
                return Performed(action, retried=retried)
            case MakeModel():
                await self._make_model(action.name)
            case DeleteObject():
                await self._delete(seen, action)
            case _:
                assert_never(action)
        return Performed(action)

    async def _delete(self, seen: Seen, action: DeleteObject) -> None:
        await self.api.delete(PROJECTS, *seen.key, uid=action.uid, version=action.resource_version)
        left = await self.api.get(PROJECTS, *seen.key)
        if left is not None:
            self.cache.put(PROJECTS, left)
        elif seen.object is not None:
            self.cache.remove(PROJECTS, seen.object)

    async def _make_model(self, name: str) -> None:
        template = await self.observer.template()
        if template is None:
            return
        body = render_job(name, template)
        try:
            made = await self.api.create(JOBS, body["metadata"]["namespace"], body)
        except AlreadyExists:
            found = await self.api.get(
                JOBS, body["metadata"]["namespace"], body["metadata"]["name"]
            )
            if found is None:
                return
            made = found
        except ApiError as error:
            if isinstance(error, Throttled) or not 400 <= error.status < 500:
                raise
            self.observer.job_refused(name, str(error))
            return
        self.cache.put(JOBS, made)

    async def _say(self, seen: Seen, performed: list[Performed], owner: str | None) -> float | None:
        """Write the status if it is time; returns the seconds until it will be.

        `owner` is the uid of the object that the row was of: what was done for an object that is
        gone is said of that one.
        """
        if seen.object is None:
            self._written.pop(seen.key, None)
            namespace, name = seen.key
            gone = {"metadata": {"namespace": namespace, "name": name, "uid": owner}}
            self._post(gone, transitions(None, None, performed))
            return None
        before = seen.object.get("status")
        wanted = render(seen, before)
        wait = None
        if wanted is not None:
            wait = write_due(before, wanted, now=seen.now, last_write=self._written.get(seen.key))
        if wanted is None or wait is None or wait > 0:
            self._post(seen.object, transitions(None, None, performed))
            return wait
        metadata = seen.object["metadata"]
        body: Mapping[str, Any] = {
            "apiVersion": PROJECTS.api_version,
            "kind": PROJECTS.kind,
            # The uid: an object that was made anew meanwhile is another one.
            "metadata": {
                "name": metadata["name"],
                "namespace": metadata["namespace"],
                "uid": metadata["uid"],
            },
            "status": wanted,
        }
        try:
            written = await self.api.apply(PROJECTS, *seen.key, body, subresource="status")
        except NotFound:
            return None  # deleted meanwhile
        metrics.STATUS_WRITES.inc()
        self._written[seen.key] = self.observer.now()
        self.cache.put(PROJECTS, written)
        self._post(seen.object, transitions(before, wanted, performed))
        return None

    def _post(self, regarding: Mapping[str, Any], events: Iterable[Event]) -> None:
        for event in events:
            self.events.post(
                PROJECTS,
                regarding,
                type=event.type,
                reason=event.reason,
                note=event.note,
                action=event.action,
            )
