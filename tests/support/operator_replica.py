"""A replica of the operator in a test's hands: all of it is real but for what it crosses.

Whatever the operator awaits, it awaits at a `Port`: before and after each request to the API
server and each transaction. There it can be killed, made to step down, frozen, refused an answer,
or let its request take effect only after it has given up.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from datetime import datetime
from enum import StrEnum
from pathlib import Path
from typing import Any, Protocol, TypeVar

from sqlalchemy import Engine

from data_miner.catalog.leadership import FencedError
from data_miner.catalog.pulse import Pulse
from data_miner.compiler import ModelInfo
from data_miner.model_stores import ModelStores
from data_miner_operator import labels
from data_miner_operator.api import (
    DEPLOYMENTS,
    JOBS,
    PODS,
    PROJECTS,
    Api,
    ApiError,
    Away,
    Body,
    Resource,
)
from data_miner_operator.cache import Cache
from data_miner_operator.catalogue import AwayError, Catalogue
from data_miner_operator.controller import Controller
from data_miner_operator.credentials import Credentials
from data_miner_operator.events_out import Events
from data_miner_operator.facts import Key, Site
from data_miner_operator.keyed_queue import KeyedQueue
from data_miner_operator.model_facts import Models
from data_miner_operator.observe import Observer
from data_miner_operator.pulse_loop import PulseLoop
from data_miner_operator.resync import Resync
from data_miner_operator.routing import Router
from data_miner_operator.scale_loop import ScaleLoop
from data_miner_operator.scaling.annotations import POOL_LABEL
from data_miner_operator.scaling.scaler import Scaler
from data_miner_operator.term import Term
from data_miner_operator.watch import Subject
from support.api_model import Happened, Object, Server
from support.catalog import FIRST_WAVE, models
from support.virtual_loop import VirtualLoop

T = TypeVar("T")

HERE = "installation-1"
OWN_NAMESPACE = "own"
RESYNC_SECONDS = 20.0
SUBJECTS = (
    Subject(PROJECTS, None),
    Subject(DEPLOYMENTS, None, POOL_LABEL),
    Subject(PODS, None, POOL_LABEL),
    Subject(JOBS, (OWN_NAMESPACE,), labels.MODEL),
)


class Fault(StrEnum):
    """What happens to a replica at one of its awaits."""

    KILLED = "killed"
    STEPPED_DOWN = "stepped down"
    """Everything that only a leader does is cancelled."""
    LATE = "late"
    """The same, but the request is under way and takes effect later."""
    FROZEN = "frozen"
    REFUSED = "refused"
    """No answer: before the await, the request is lost as well."""
    CUT = "cut"
    """PostgreSQL ends the session just before the next commit."""
    OVERTAKEN = "overtaken"
    """Another is elected while the next transaction that writes is open."""


class Watcher(Protocol):
    """Judges what replicas do, at the moment at which it takes effect."""

    def status(self, replica: Replica, key: Key, body: Body) -> None: ...
    def delete(self, replica: Replica, key: Key, uid: str | None, version: str | None) -> None: ...
    def patch(
        self, replica: Replica, resource: Resource, key: Key, body: Body, subresource: str
    ) -> None: ...
    def create(self, replica: Replica, resource: Resource, body: Body) -> None: ...
    @contextmanager
    def transaction(self, replica: Replica, epoch: int | None) -> Iterator[None]: ...


@dataclass(slots=True)
class Planned:
    """A fault, or what a user does, at the n-th point from now."""

    points: int
    fault: Fault | Callable[[], None]


class Port:
    """Between a replica and everything else."""

    def __init__(self, replica: Replica) -> None:
        self._replica = replica
        self.planned: Planned | None = None
        self.armed: Fault | None = None
        """CUT or OVERTAKEN, for the next transaction that writes."""
        self.dead = False
        self.frozen: asyncio.Future[None] | None = None
        self.late: list[Callable[[], object]] = []
        """Requests that nobody waits for any more, and that are yet to take effect."""

    async def cross(self, effect: Callable[[], T], refused: Callable[[], Exception]) -> T:
        """Have a request take effect, unless something comes in between."""
        await self._point(effect, refused)
        result = effect()
        await self._point(None, refused)
        return result

    def thaw(self) -> None:
        if self.frozen is not None:
            self.frozen.set_result(None)
            self.frozen = None

    def arrive(self) -> None:
        """All late requests take effect."""
        for effect in self.late:
            with suppress(ApiError, AwayError, FencedError):
                effect()
        self.late.clear()

    async def _point(
        self, effect: Callable[[], object] | None, refused: Callable[[], Exception]
    ) -> None:
        await asyncio.sleep(0)
        if self.dead:
            raise asyncio.CancelledError
        if self.planned is not None:
            self.planned.points -= 1
            if self.planned.points < 0:
                fault, self.planned = self.planned.fault, None
                if self._strike(fault, effect, refused):
                    await asyncio.get_running_loop().create_future()
        while self.frozen is not None:
            await asyncio.shield(self.frozen)
        if self.dead:
            raise asyncio.CancelledError
        # A task that was cancelled at this very point ends here.
        await asyncio.sleep(0)

    def _strike(
        self,
        fault: Fault | Callable[[], None],
        effect: Callable[[], object] | None,
        refused: Callable[[], Exception],
    ) -> bool:
        """Whether what is awaited here will be cancelled in a moment."""
        match fault:
            case Fault.KILLED:
                self._replica.die()
                raise asyncio.CancelledError
            case Fault.LATE | Fault.STEPPED_DOWN:
                stops = self._replica.stops_here()
                if stops and fault is Fault.LATE and effect is not None:
                    self.late.append(effect)
                self._replica.step_down()
                return stops
            case Fault.FROZEN:
                self.frozen = asyncio.get_running_loop().create_future()
            case Fault.REFUSED:
                raise refused()
            case Fault.CUT | Fault.OVERTAKEN:
                self.armed = fault
            case _:
                fault()
        return False


@dataclass(slots=True)
class PortCatalogue(Catalogue):
    """The real one; its transactions run where the loop runs, one at a time."""

    replica: Replica = field(kw_only=True)

    async def _run(self, call: Callable[[], T]) -> T:
        epoch = self.epoch

        def effect() -> T:
            with self.replica.watcher.transaction(self.replica, epoch):
                return self._named(call)

        return await self.replica.port.cross(effect, lambda: AwayError("no answer"))

    async def pulse(self) -> Pulse:
        # How long it takes on this machine must not decide when it is repeated.
        return replace(await Catalogue.pulse(self), took_seconds=0.01)

    async def listen(self, on_change: Callable[[int | None], None]) -> None:
        on_change(None)
        self.replica.tell = on_change
        await asyncio.get_running_loop().create_future()


class Line(Api):
    """A replica's way to the API server."""

    def __init__(self, replica: Replica, server: Server) -> None:
        self._replica = replica
        self._server = server

    async def list(
        self, resource: Resource, namespace: str | None, *, labels: str = ""
    ) -> list[Object]:
        return await self._cross(lambda: self._server.list(resource, namespace, labels))

    async def get(self, resource: Resource, namespace: str | None, name: str) -> Object | None:
        return await self._cross(lambda: self._server.get(resource, (namespace or "", name)))

    async def create(self, resource: Resource, namespace: str | None, body: Body) -> Object:
        def effect() -> Object:
            self._replica.watcher.create(self._replica, resource, body)
            return self._server.create(resource, body)

        return await self._cross(effect)

    async def delete(
        self,
        resource: Resource,
        namespace: str | None,
        name: str,
        *,
        uid: str | None,
        version: str | None = None,
    ) -> bool:
        key = (namespace or "", name)

        def effect() -> bool:
            self._replica.watcher.delete(self._replica, key, uid, version)
            return self._server.delete(resource, key, uid, version)

        return await self._cross(effect)

    async def apply(
        self,
        resource: Resource,
        namespace: str | None,
        name: str,
        body: Body,
        *,
        subresource: str = "",
    ) -> Object:
        assert subresource == "status", "only a status is applied"
        key = (namespace or "", name)

        def effect() -> Object:
            self._replica.watcher.status(self._replica, key, body)
            return self._server.apply_status(resource, key, body)

        return await self._cross(effect)

    async def merge_patch(
        self,
        resource: Resource,
        namespace: str | None,
        name: str,
        body: Body,
        *,
        subresource: str = "",
    ) -> Object:
        key = (namespace or "", name)

        def effect() -> Object:
            self._replica.watcher.patch(self._replica, resource, key, body, subresource)
            return self._server.patch(resource, key, body, subresource)

        return await self._cross(effect)

    async def replace(
        self, resource: Resource, namespace: str | None, name: str, body: Body
    ) -> Object:
        raise AssertionError("nothing but the Lease is replaced")

    async def _cross(self, effect: Callable[[], T]) -> T:
        return await self._replica.port.cross(effect, lambda: Away(0, "Away", "no answer"))


class Shelf(Models):
    """Stores that have every model but those that are missing."""

    def __init__(self, missing: set[str]) -> None:
        super().__init__(ModelStores())
        self._missing = missing

    async def find(self, name: str) -> tuple[ModelInfo | None, str]:
        if name in self._missing:
            return None, f"no store has model {name}"
        return models(name), ""


class Replica:
    """One process of the operator, from its start to its end."""

    def __init__(
        self,
        name: str,
        loop: VirtualLoop,
        server: Server,
        engine: Engine,
        watcher: Watcher,
        *,
        now: Callable[[], datetime],
        missing: set[str],
        folder: Path,
    ) -> None:
        self.name = name
        self.watcher = watcher
        self.now = now
        self.port = Port(self)
        self.feed: list[Happened] = []
        self.lags = False
        self.tell: Callable[[int | None], None] = lambda project_id: None
        """What LISTEN would call."""
        self._loop = loop
        self._term: asyncio.Task[None] | None = None
        self._build(server, engine, missing, folder)
        server.feeds.append(self.feed)
        self._tasks = [
            loop.create_task(self.resync.run(self.router.some), name="resync"),
            loop.create_task(self.events.run(), name="events"),
        ]

    def _build(self, server: Server, engine: Engine, missing: set[str], folder: Path) -> None:
        """Wired as in `data_miner_operator.app`."""
        clock = self._loop.time
        api = Line(self, server)
        self.cache = Cache()
        self.queue: KeyedQueue[Key] = KeyedQueue("model", clock=clock)
        self.catalogue = PortCatalogue(engine, HERE, FIRST_WAVE, replica=self)
        self.events = Events(api, self.name, clock=clock)
        self.observer = Observer(
            api=api,
            cache=self.cache,
            catalogue=self.catalogue,
            models=Shelf(missing),
            credentials=Credentials(None),
            site=Site(HERE, str(folder), "", None),
            own_namespace=OWN_NAMESPACE,
            synced=self._synced,
            clock=clock,
            now=self.now,
        )
        self.controller = Controller(
            api=api,
            cache=self.cache,
            catalogue=self.catalogue,
            observer=self.observer,
            queue=self.queue,
            events=self.events,
            serves=lambda namespace: True,
            clock=clock,
        )
        self.router = Router(self.cache, self.queue, self.observer, RESYNC_SECONDS)
        self.pulses = PulseLoop(
            catalogue=self.catalogue,
            cache=self.cache,
            queue=self.queue,
            mean_seconds=lambda: self.controller.mean_seconds,
            hands=2,
            on_back=self._back,
            clock=clock,
        )
        scaling = ScaleLoop(
            scaler=Scaler(api, self.catalogue),
            cache=self.cache,
            catalogue=self.catalogue,
            pulses=self.pulses,
            events=self.events,
            synced=self._synced,
            every_seconds=5.0,
            clock=clock,
            now=self.now,
        )
        self.term = Term(
            identity=self.name,
            catalogue=self.catalogue,
            observer=self.observer,
            controller=self.controller,
            queue=self.queue,
            router=self.router,
            pulses=self.pulses,
            scaling=scaling,
            workers=2,
        )
        self.resync = Resync(
            api, self.cache, SUBJECTS, self.router.changed, every_seconds=RESYNC_SECONDS
        )

    def _synced(self) -> bool:
        return self.resync.rounds > 0

    def _back(self) -> None:
        self.observer.database_back()
        self.router.everything()

    @property
    def leads(self) -> bool:
        """Whether it believes so."""
        return self._term is not None and not self._term.done()

    def elect(self) -> None:
        """Its Lease says that it leads."""
        if not self.leads and not self.port.dead:
            self._term = self._loop.create_task(self.term.serve(), name="term")

    def step_down(self) -> None:
        """It could not renew its Lease."""
        if self._term is not None:
            self._term.cancel()

    def stops_here(self) -> bool:
        """Whether what runs now is something that only a leader does."""
        return self.leads and asyncio.current_task() not in self._tasks

    def die(self) -> None:
        """kill -9: nothing that it does from now on has any effect."""
        self.port.dead = True
        for task in (*self._tasks, *([self._term] if self._term else [])):
            task.cancel()

    def close(self) -> None:
        self.port.thaw()
        self.die()
        self.observer.models.close()

    def hear(self, count: int | None = None) -> None:
        """Be told of the next events of the watch; within the loop."""
        for _ in range(len(self.feed) if count is None else count):
            if not self.feed:
                return
            happened = self.feed.pop(0)
            self.router.told(happened.resource, happened.kind, happened.object)

    def ended(self) -> list[str]:
        """What has ended that should not have. A fenced leader ends its process: it dies."""
        problems = []
        for task in (*self._tasks, *([self._term] if self._term else [])):
            if not task.done() or task.cancelled() or self.port.dead:
                continue
            error = task.exception()
            if isinstance(error, FencedError):
                self.die()
            else:
                problems.append(f"{self.name}: {task.get_name()} ended with {error!r}")
        return problems

    def idle(self) -> Any:
        """None, or what it has in hand although nothing goes on."""
        held = self.queue.held_seconds()
        return None if not held and not len(self.queue) else (held, len(self.queue))
