"""Who acts: one replica, elected through a coordination.k8s.io Lease as client-go does it.

Another's claim is judged by when its last change was seen here, on this machine's monotonic
clock, never by the times written in it: clocks of two machines differ. Every write carries the
resourceVersion that it was decided on. The Lease only elects; what protects the database is the
epoch in it (see data_miner.catalog.leadership).
"""

from __future__ import annotations

import asyncio
import contextlib
import random
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from data_miner import telemetry
from data_miner_operator.api import LEASES, AlreadyExists, Api, ApiError, Conflict, NotFound

_log = telemetry.logger()


@dataclass(frozen=True, slots=True)
class Times:
    duration_seconds: float = 15.0
    """How long a leader that says nothing is respected."""
    deadline_seconds: float = 10.0
    """A leader that could not renew for so long stops acting; less than the duration."""
    retry_seconds: float = 2.0
    """Between two renewals, and between two looks of those that wait."""


class SupersededError(Exception):
    """Another replica holds the Lease by now."""


class Lease:
    """One replica's part in the election."""

    def __init__(
        self,
        api: Api,
        namespace: str,
        name: str,
        identity: str,
        times: Times | None = None,
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._api = api
        self._namespace = namespace
        self._name = name
        self._identity = identity
        self._times = times or Times()
        self._clock = clock
        self._seen: dict[str, Any] | None = None
        """The Lease as it was last read or written."""
        self._seen_spec: dict[str, Any] = {}
        self._changed_at = clock()
        """When `_seen_spec` was first seen like this."""
        self._renewed_at: float | None = None
        """When our last renewal was sent; None while we do not lead."""
        self._said: tuple[str, str] | None = None

    @property
    def holder(self) -> str:
        """Who leads as far as is known here; empty for nobody."""
        return str(self._seen_spec.get("holderIdentity") or "")

    @property
    def valid(self) -> bool:
        """Whether this replica leads, so that no other one may: also right after a long sleep."""
        return self._renewed_at is not None and self._left() > 0

    async def acquire(self) -> None:
        """Wait until this replica leads."""
        while True:
            try:
                if await self._claim():
                    return
            except (Conflict, AlreadyExists):
                pass  # another was faster
            except ApiError as error:
                self._say("the Lease cannot be asked", str(error))
            await asyncio.sleep(self._jittered())

    async def hold(self) -> None:
        """Renew for as long as it goes. Returns when the deadline has passed without an answer
        of the API server: act no more. Raises SupersededError when another leads."""
        while True:
            await asyncio.sleep(self._times.retry_seconds)
            left = self._left()
            if left <= 0:
                return
            try:
                async with asyncio.timeout(left):
                    leads = await self._claim()
            except TimeoutError:
                return
            except (Conflict, AlreadyExists, NotFound):
                continue  # somebody has touched it: look again
            except ApiError as error:
                self._say("the Lease cannot be renewed", str(error))
            else:
                if not leads:
                    raise SupersededError(f"{self.holder} leads now")

    async def release(self) -> None:
        """Let another lead at once, if this replica leads. Never raises ApiError."""
        if self._renewed_at is None:
            return
        self._renewed_at = None
        try:
            # A renewal that was under way when its task was cancelled is done all the same.
            for _ in range(3):
                self._observe(await self._api.get(LEASES, self._namespace, self._name))
                if self.holder != self._identity:
                    return
                with contextlib.suppress(Conflict):
                    await self._write(self._let_go())
                    return
        except ApiError as error:
            _log.warning("the Lease cannot be released", problem=str(error))

    def _let_go(self) -> dict[str, Any]:
        return {
            "holderIdentity": "",
            "leaseDurationSeconds": 1,
            "renewTime": _now(),
            "leaseTransitions": self._seen_spec.get("leaseTransitions", 0),
        }

    def _say(self, what: str, problem: str) -> None:
        """Log a problem, once for as long as it stays the same."""
        if (what, problem) != self._said:
            self._said = (what, problem)
            _log.warning(what, problem=problem)

    def _left(self) -> float:
        assert self._renewed_at is not None, "holds only what it has acquired"
        return self._renewed_at + self._times.deadline_seconds - self._clock()

    async def _claim(self) -> bool:
        """Take or renew the Lease; False when another has a claim that is not over."""
        sent = self._clock()
        if self._renewed_at is not None and self._seen is not None:
            try:
                await self._write(self._claimed())
            except (Conflict, NotFound):
                self._seen = None  # not as we left it: look below
            else:
                self._renewed_at = sent
                return True
        found = await self._api.get(LEASES, self._namespace, self._name)
        if found is not None:
            self._observe(found)
        if self.holder not in ("", self._identity) and not self._over():
            # Also where the Lease was deleted: who held it acts until it sees that.
            self._renewed_at = None
            return False
        if found is None:
            self._observe(None)
            await self._make()
        else:
            await self._write(self._claimed())
        self._renewed_at = sent
        return True

    def _over(self) -> bool:
        duration = float(
            self._seen_spec.get("leaseDurationSeconds") or self._times.duration_seconds
        )
        return self._clock() >= self._changed_at + duration

    def _claimed(self) -> dict[str, Any]:
        now = _now()
        ours = self.holder == self._identity
        changes = int(self._seen_spec.get("leaseTransitions") or 0)
        return {
            "holderIdentity": self._identity,
            "leaseDurationSeconds": max(1, round(self._times.duration_seconds)),
            "acquireTime": self._seen_spec.get("acquireTime", now) if ours else now,
            "renewTime": now,
            "leaseTransitions": changes if ours else changes + 1,
        }

    async def _make(self) -> None:
        body = {
            "apiVersion": LEASES.api_version,
            "kind": LEASES.kind,
            "metadata": {"name": self._name, "namespace": self._namespace},
            "spec": self._claimed(),
        }
        self._observe(await self._api.create(LEASES, self._namespace, body))

    async def _write(self, spec: dict[str, Any]) -> None:
        assert self._seen is not None, "a Lease is read before it is written"
        body = {**self._seen, "spec": spec}
        self._observe(await self._api.replace(LEASES, self._namespace, self._name, body))

    def _observe(self, found: dict[str, Any] | None) -> None:
        spec = {} if found is None else dict(found.get("spec") or {})
        self._said = None
        if spec != self._seen_spec:
            self._changed_at = self._clock()
        self._seen, self._seen_spec = found, spec

    def _jittered(self) -> float:
        return self._times.retry_seconds * random.uniform(0.8, 1.2)  # noqa: S311 - spreads looks


def _now() -> str:
    """As metav1.MicroTime. For people alone: nobody here judges by it."""
    return datetime.now(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")
