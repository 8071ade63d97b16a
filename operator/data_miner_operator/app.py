"""The operator's process: every replica watches, the elected one acts."""

from __future__ import annotations

import asyncio
import contextlib
import os
import secrets
import signal
import socket
from collections.abc import Coroutine, Sequence
from dataclasses import dataclass
from pathlib import Path
from socketserver import TCPServer
from typing import Any, Final

from kubernetes import client

from data_miner import telemetry
from data_miner.catalog.leadership import FencedError
from data_miner.errors import SpecError, StorageError
from data_miner.project_metrics import PROJECT_METRICS
from data_miner.settings import Settings
from data_miner_operator import labels, metrics
from data_miner_operator.api import DEPLOYMENTS, JOBS, NAMESPACES, PODS, PROJECTS, Api, ApiError
from data_miner_operator.backoff import Backoff
from data_miner_operator.cache import Cache
from data_miner_operator.catalogue import open_catalogue
from data_miner_operator.cluster_api import ClusterApi, own_namespace
from data_miner_operator.config import OperatorSettings
from data_miner_operator.controller import Controller
from data_miner_operator.credentials import Credentials
from data_miner_operator.events_out import Events
from data_miner_operator.facts import Key, Site
from data_miner_operator.health import Health
from data_miner_operator.keyed_queue import KeyedQueue
from data_miner_operator.lease import Lease, SupersededError
from data_miner_operator.model_facts import Models
from data_miner_operator.observe import Observer
from data_miner_operator.pulse_loop import PulseLoop
from data_miner_operator.resync import Resync
from data_miner_operator.routing import Router
from data_miner_operator.scale_loop import ScaleLoop
from data_miner_operator.scaling.annotations import POOL_LABEL
from data_miner_operator.scaling.scaler import Scaler
from data_miner_operator.term import Term
from data_miner_operator.watch import Subject, Watch, grouped

CALM_SHARE: Final = 4
"""Of the workers one in so many may be busy with looks that nobody waits for: the others, and the
database, are for what people do."""

_log = telemetry.logger()


@dataclass(frozen=True, slots=True)
class Place:
    """Where this process works."""

    own: str
    """Namespace that it runs in."""
    served: tuple[str, ...]
    """Namespaces whose projects are its own; none: all."""

    def serves(self, namespace: str) -> bool:
        return not self.served or namespace in self.served

    def subjects(self) -> list[Subject]:
        """What is watched. Pools are looked for here, and in the namespaces that are named."""
        pools = tuple(dict.fromkeys((*self.served, self.own)))
        return [
            Subject(PROJECTS, self.served or None),
            Subject(DEPLOYMENTS, pools, POOL_LABEL),
            Subject(PODS, pools, POOL_LABEL),
            Subject(JOBS, (self.own,), labels.MODEL),
        ]


def place_of(settings: OperatorSettings) -> Place:
    """Where the settings and the account say. Raises SpecError when neither does."""
    own = settings.own_namespace or own_namespace()
    if not own:
        raise SpecError("--own-namespace: cannot be told here; name the namespace to run in")
    return Place(own, settings.served)


async def run(
    settings: Settings,
    own: OperatorSettings,
    configuration: client.Configuration,
    metrics_port: int | None,
) -> int:
    """Work until SIGTERM or SIGINT; returns the exit status: 1 when another replica took over."""
    place = place_of(own)
    credentials = Credentials(Path(own.credentials_file) if own.credentials_file else None)
    identity = f"{socket.gethostname()}_{os.getpid()}_{secrets.token_hex(4)}"
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    health = Health()
    async with contextlib.AsyncExitStack() as ends:
        if metrics_port is not None:
            ends.callback(_serve(metrics_port, health).shutdown)
        # Of its own, so that no queue of other requests ever holds up a renewal.
        hurried = ClusterApi(configuration, threads=1, timeout_seconds=4.0, attempts=1)
        ends.callback(hurried.close)
        lease = Lease(hurried, place.own, own.lease_name, identity, own.times)
        api = ClusterApi(configuration, may_write=lambda: lease.valid)
        ends.callback(api.close)
        ticking = loop.create_task(health.tick())
        ends.callback(ticking.cancel)
        installation = await _unless(stop, _installation(api, place.own))
        if installation is None:
            return 0
        operator = Operator(
            settings, own, place, identity, installation, api, lease, health, credentials
        )
        ends.push_async_callback(operator.close)
        return await operator.run(configuration, stop)
    raise AssertionError("unreachable")


class Operator:
    """Everything, wired."""

    def __init__(
        self,
        settings: Settings,
        own: OperatorSettings,
        place: Place,
        identity: str,
        installation: str,
        api: Api,
        lease: Lease,
        health: Health,
        credentials: Credentials,
    ) -> None:
        self._own = own
        self._place = place
        self._health = health
        self._identity = identity
        self.cache = Cache()
        calm = max(1, int(own.workers) // CALM_SHARE)
        self.queue: KeyedQueue[Key] = KeyedQueue("miningproject", most_calm=calm)
        health.longest_work_seconds = lambda: max(self.queue.held_seconds(), default=0.0)
        self.catalogue = open_catalogue(settings, installation)
        self._events = Events(api, identity)
        name = f"{place.own}/{own.lease_name}"
        observer = Observer(
            api=api,
            cache=self.cache,
            catalogue=self.catalogue,
            models=Models(settings.model_stores),
            credentials=credentials,
            site=Site(
                installation=installation,
                folder=own.folder or str(settings.home),
                allowed_prefixes=settings.allowed_prefixes,
                credentials=None,
            ),
            own_namespace=place.own,
            synced=lambda: health.synced,
            operator=name,
        )
        controller = Controller(
            api=api,
            cache=self.cache,
            catalogue=self.catalogue,
            observer=observer,
            queue=self.queue,
            events=self._events,
            serves=place.serves,
        )
        self._router = Router(self.cache, self.queue, observer, own.resync_seconds)
        pulses = PulseLoop(
            catalogue=self.catalogue,
            cache=self.cache,
            queue=self.queue,
            mean_seconds=lambda: controller.mean_seconds,
            hands=calm,
            on_back=self._back,
        )
        self._observer = observer
        scaling = ScaleLoop(
            scaler=Scaler(api, self.catalogue),
            cache=self.cache,
            catalogue=self.catalogue,
            pulses=pulses,
            events=self._events,
            synced=lambda: health.synced,
            every_seconds=own.scale_seconds,
            operator=name,
        )
        self._term = Term(
            identity=identity,
            catalogue=self.catalogue,
            observer=observer,
            controller=controller,
            queue=self.queue,
            router=self._router,
            pulses=pulses,
            scaling=scaling,
            workers=int(own.workers),
        )
        self._lease = lease
        self._resync = Resync(
            api,
            self.cache,
            place.subjects(),
            self._router.changed,
            every_seconds=own.resync_seconds,
        )

    async def run(self, configuration: client.Configuration, stop: asyncio.Event) -> int:
        """Watch, compete, act; returns the exit status."""
        watches = [
            Watch(configuration, subjects, self._router.told)
            for subjects in grouped(self._place.subjects())
        ]
        background: list[asyncio.Task[Any]] = [
            asyncio.create_task(self._resync.run(self._router.some), name="resync"),
            asyncio.create_task(self._events.run(), name="events"),
            asyncio.create_task(self._look_after(watches), name="health"),
            *(asyncio.create_task(watch.run(self._resync.soon), name="watch") for watch in watches),
        ]
        stopping: asyncio.Task[Any] = asyncio.create_task(stop.wait(), name="stop")
        acting = asyncio.create_task(self._compete(), name="leader")
        try:
            done, _ = await asyncio.wait(
                {stopping, acting, *background}, return_when=asyncio.FIRST_COMPLETED
            )
            if stopping in done:
                await self._finish(acting)
                return 0
            for task in done:
                _ended(task)
            return 1
        finally:
            await _cancelled([stopping, acting])
            await self._lease.release()  # at once: ending the watches takes a moment
            await _cancelled(background)

    async def close(self) -> None:
        """Put away what is held open, after `run` has ended."""
        self._observer.models.close()
        await self.catalogue.close()

    async def _compete(self) -> None:
        """Lead whenever elected. Ends by raising: SupersededError or FencedError."""
        while not self._health.synced:
            await asyncio.sleep(0.05)
        while True:
            self._leads(False)
            await self._lease.acquire()
            _log.info("elected", identity=self._identity)
            self._leads(True)
            term = asyncio.create_task(self._term.serve(), name="term")
            hold = asyncio.create_task(self._lease.hold(), name="lease")
            try:
                await asyncio.wait({term, hold}, return_when=asyncio.FIRST_COMPLETED)
                if term.done():
                    await term
                    return
                await hold
                _log.warning("the Lease could not be renewed in time: this replica steps down")
            finally:
                await _cancelled([term, hold])

    async def _finish(self, acting: asyncio.Task[None]) -> None:
        """Take no more keys, and put down those in hand, for as long as there is time."""
        _log.info("stopping", in_hand=len(self.queue.held_seconds()))
        self._health.stopping = True
        self.queue.close()
        if self._health.leading:
            await asyncio.wait({acting}, timeout=self._own.stop_seconds)

    async def _look_after(self, watches: list[Watch]) -> None:
        while True:
            if self._resync.rounds and all(watch.running for watch in watches):
                if not self._health.synced:
                    _log.info("synced", projects=len(self.cache.all(PROJECTS)))
                self._health.synced = True
            await asyncio.sleep(0.1 if not self._health.synced else 1.0)

    def _leads(self, leads: bool) -> None:
        self._health.leading = leads
        metrics.LEADER.set(int(leads))
        if not leads:
            metrics.forget_office()

    def _back(self) -> None:
        self._observer.database_back()
        self._router.everything()


async def _installation(api: Api, namespace: str) -> str:
    """UID of the own namespace; asks until the API server says it."""
    pauses = Backoff(first_seconds=0.5, most_seconds=10.0)
    failures = 0
    while True:
        try:
            found = await api.get(NAMESPACES, None, namespace)
        except ApiError as error:
            problem = str(error)
        else:
            if found is not None:
                return str(found["metadata"]["uid"])
            problem = f"there is no namespace {namespace}"
        failures += 1
        _log.warning("the own namespace cannot be read", namespace=namespace, problem=problem)
        await asyncio.sleep(pauses.seconds(failures))


async def _unless(stop: asyncio.Event, asked: Coroutine[Any, Any, str]) -> str | None:
    """What is asked for, or None when the process is to stop first."""
    task = asyncio.create_task(asked)
    stopping = asyncio.create_task(stop.wait())
    try:
        await asyncio.wait({task, stopping}, return_when=asyncio.FIRST_COMPLETED)
        return task.result() if task.done() else None
    finally:
        await _cancelled([task, stopping])


async def _cancelled(tasks: Sequence[asyncio.Task[Any]]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


def _ended(task: asyncio.Task[Any]) -> None:
    """Say why a task has ended that never should."""
    error = None if task.cancelled() else task.exception()
    if isinstance(error, FencedError | SupersededError):
        _log.error("another replica leads: this one ends", problem=str(error))
    else:
        _log.error("a part of the operator has ended", part=task.get_name(), exc_info=error)


def _serve(port: int, health: Health) -> TCPServer:
    try:
        server = telemetry.serve(
            port, health.not_alive, health.routes(), metrics.REGISTRY, PROJECT_METRICS.blocks
        )
    except OSError as error:
        raise StorageError(f"--metrics-port {port}: {error.strerror}") from None
    _log.info("metrics", port=server.server_address[1])
    return server
