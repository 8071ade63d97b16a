"""Watches, by kopf: it lists and streams, follows bookmarks, and begins again after 410 or silence.

Only its raw events are used: no change handlers, no finalizer, no annotation, nothing that it
writes to any object. It runs in a thread with an event loop of its own, because it takes all
tasks of its loop down with it when it ends; then it is begun anew, and the operator lives on.
"""

from __future__ import annotations

import asyncio
import random
import threading
import time
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import kopf
from kopf._cogs.structs.references import Insights
from kubernetes import client

from data_miner import telemetry
from data_miner_operator import metrics
from data_miner_operator.api import Resource
from data_miner_operator.backoff import Backoff
from data_miner_operator.cluster_api import authorization

Told = Callable[[Resource, str, Mapping[str, Any]], None]
"""What happened ("ADDED", "MODIFIED", "DELETED", or "" for what was there before), to what."""

_STOP_SECONDS: Final = 5.0
_FIND_SECONDS: Final = 30.0
"""So long an API server may take to tell of its resources; kopf gives up the search for good when
it is once refused, and goes on without."""
_log = telemetry.logger()


@dataclass(frozen=True, slots=True)
class Subject:
    """What is watched, and where."""

    resource: Resource
    namespaces: tuple[str, ...] | None
    """None for the whole cluster."""
    selector: str = ""
    """Of labels, judged by the server."""


class _Patience:
    """Pauses between a request's attempts, without an end: an API server may be away for long."""

    def __iter__(self) -> Iterator[float]:
        pauses = Backoff(first_seconds=0.5, most_seconds=15.0)
        for failures in range(1, 1_000_000):
            yield pauses.seconds(failures)


class Watch:
    """Watches subjects that share their namespaces. `run` is to be a task of its own."""

    def __init__(
        self, configuration: client.Configuration, subjects: Sequence[Subject], told: Told
    ) -> None:
        self._configuration = configuration
        self._subjects = subjects
        self._told = told
        self._ready = threading.Event()
        self._problem = ""

    @property
    def running(self) -> bool:
        """Whether the streams have been begun and have not ended since."""
        return self._ready.is_set()

    async def run(self, on_restart: Callable[[], None]) -> None:
        """Watch until cancelled. `on_restart` is called when events may have been missed."""
        pauses = Backoff(first_seconds=1.0, most_seconds=30.0)
        failures = 0
        while True:
            began = time.monotonic()
            await self._once()
            failures = 1 if time.monotonic() - began > 120 else failures + 1
            wait = pauses.seconds(failures)
            _log.warning("the watches have ended", problem=self._problem, again_in_seconds=wait)
            metrics.WATCH_RESTARTS.inc()
            await asyncio.sleep(wait)
            on_restart()

    async def _once(self) -> None:
        """One life of kopf; returns when it has ended."""
        loop = asyncio.get_running_loop()
        ended = asyncio.Event()
        stop = threading.Event()

        def live() -> None:
            try:
                self._problem = ""
                asyncio.run(self._kopf(loop, stop))
            except BaseException as error:  # noqa: BLE001 - whatever ended it, it begins anew
                self._problem = f"{type(error).__name__}: {error}"[:500]
            finally:
                self._ready.clear()
                _call(loop, ended.set)

        thread = threading.Thread(target=live, name="watch", daemon=True)
        thread.start()
        try:
            await ended.wait()
        except asyncio.CancelledError:
            stop.set()
            await asyncio.to_thread(thread.join, _STOP_SECONDS)
            raise

    async def _kopf(self, home: asyncio.AbstractEventLoop, stop: threading.Event) -> None:
        registry = kopf.OperatorRegistry()
        settings = kopf.OperatorSettings()
        _configure(settings, self._subjects)

        @kopf.on.login(registry=registry)
        def login(**_: Any) -> kopf.ConnectionInfo:
            return connection(self._configuration)

        for subject in self._subjects:
            self._listen(registry, subject.resource, home)
        where = self._subjects[0].namespaces
        insights = Insights()
        # Begun before kopf, which ends all tasks of its loop that are younger than itself.
        found = asyncio.create_task(self._found(insights, stop))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # kopf's own, about what it runs on
            await kopf.operator(
                registry=registry,
                settings=settings,
                standalone=True,
                clusterwide=where is None,
                namespaces=list(where or ()),
                stop_flag=stop,
                insights=insights,
            )
        found.cancel()
        if not self._problem:
            self._problem = "they ended by themselves"

    async def _found(self, insights: Insights, stop: threading.Event) -> None:
        """See to it that the server has told of every resource: one that has just begun may tell
        only of some, and kopf would never watch the others."""
        try:
            async with asyncio.timeout(_FIND_SECONDS):
                await insights.ready_resources.wait()
        except TimeoutError:
            self._problem = f"the API server told of no resources for {_FIND_SECONDS:g} s"
            stop.set()
            return
        told = {(found.group, found.plural) for found in insights.watched_resources}
        lacking = [
            subject.resource.plural
            for subject in self._subjects
            if (subject.resource.group, subject.resource.plural) not in told
        ]
        if lacking:
            self._problem = f"the API server does not tell of {', '.join(lacking)}"
            stop.set()
        else:
            self._ready.set()

    def _listen(
        self, registry: kopf.OperatorRegistry, resource: Resource, home: asyncio.AbstractEventLoop
    ) -> None:
        last = metrics.WATCH_LAST_EVENT.labels(resource.plural)

        @kopf.on.event(
            group=resource.group,
            version=resource.version,
            plural=resource.plural,
            id=resource.plural,
            registry=registry,
        )
        async def seen(event: Mapping[str, Any], **_: Any) -> None:
            last.set(time.time())
            _call(home, self._told, resource, event["type"] or "", event["object"])


def grouped(subjects: Sequence[Subject]) -> list[list[Subject]]:
    """The subjects by their namespaces: each group is one Watch's."""
    groups: dict[tuple[str, ...] | None, list[Subject]] = {}
    for subject in subjects:
        groups.setdefault(subject.namespaces, []).append(subject)
    return list(groups.values())


def connection(configuration: client.Configuration) -> kopf.ConnectionInfo:
    """The account and the server of our own client, for kopf; a rotated token is read again."""
    scheme, _, token = (authorization(configuration) or "").partition(" ")
    return kopf.ConnectionInfo(
        server=configuration.host,
        ca_path=configuration.ssl_ca_cert,
        insecure=not configuration.verify_ssl,
        scheme=scheme or None,
        token=token or None,
        certificate_path=configuration.cert_file,
        private_key_path=configuration.key_file,
    )


def _configure(settings: kopf.OperatorSettings, subjects: Sequence[Subject]) -> None:
    settings.scanning.disabled = True  # asks for no right to list CRDs or namespaces
    settings.posting.enabled = False
    settings.watching.server_timeout = 600
    settings.watching.connect_timeout = 10
    settings.watching.inactivity_timeout = 70
    settings.watching.chunk_size = 200
    settings.networking.request_timeout = 30
    settings.networking.connect_timeout = 5
    settings.networking.enforce_retry_after = True
    settings.networking.error_backoffs = _Patience()
    settings.queueing.idle_timeout = 1.0
    settings.queueing.exit_timeout = 1.0
    settings.execution.max_workers = 2
    settings.process.ultimate_exiting_timeout = None
    for subject in subjects:
        if subject.selector:
            resource = subject.resource
            settings.watching.label_selectors[resource.group, resource.plural] = subject.selector


def _call(loop: asyncio.AbstractEventLoop, function: Callable[..., None], *values: Any) -> None:
    try:
        loop.call_soon_threadsafe(function, *values)
    except RuntimeError:
        return  # the operator's loop has ended meanwhile: nobody is left to tell


def jittered(seconds: float, share: float = 0.2) -> float:
    """The time, give or take a share of it, so that replicas do not ask in step."""
    return seconds * random.uniform(1 - share, 1 + share)  # noqa: S311 - no secret depends on it
