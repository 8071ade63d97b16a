"""Kubernetes Events: what happened to a project, for `kubectl describe`.

A convenience that nothing waits for: posted in the background, a few for each object, and
dropped where the API server does not want them now.
"""

from __future__ import annotations

import asyncio
import secrets
import time
from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

from data_miner import telemetry
from data_miner.outside import shown
from data_miner_operator import metrics
from data_miner_operator.api import EVENTS, Api, ApiError, Resource

CONTROLLER: Final = "data-miner.io/operator"
MAX_NOTE: Final = 1024
"""Bytes that the API server takes."""
_MAX_PENDING: Final = 200
_MAX_BUCKETS: Final = 5_000

_log = telemetry.logger()


@dataclass(slots=True)
class _Bucket:
    tokens: float
    at: float


class Events:
    """Posts Events in the background; `run` is to be a task of its own."""

    def __init__(
        self,
        api: Api,
        instance: str,
        *,
        burst: int = 25,
        refill_seconds: float = 300.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._api = api
        self._instance = instance
        self._burst = burst
        self._refill_seconds = refill_seconds
        self._clock = clock
        self._buckets: OrderedDict[str, _Bucket] = OrderedDict()
        self._pending: asyncio.Queue[Mapping[str, Any]] = asyncio.Queue(_MAX_PENDING)

    def post(
        self,
        resource: Resource,
        regarding: Mapping[str, Any],
        *,
        type: str,  # noqa: A002 - the field's name
        reason: str,
        note: str,
        action: str,
    ) -> None:
        """Say that something has happened to the object. Never waits, never raises."""
        metadata = regarding["metadata"]
        if not self._allowed(str(metadata.get("uid"))):
            metrics.EVENTS.labels("limited").inc()
            return
        name = metadata["name"]
        namespace = metadata.get("namespace")
        body = {
            "apiVersion": EVENTS.api_version,
            "kind": EVENTS.kind,
            "metadata": {
                # By time: kubectl shows them in the order of their names.
                "name": f"{name[:200]}.{time.time_ns():016x}{secrets.token_hex(2)}",
                "namespace": namespace or "default",
            },
            "eventTime": datetime.now(UTC).isoformat(timespec="microseconds")[:26] + "Z",
            "reportingController": CONTROLLER,
            "reportingInstance": self._instance[:128],
            "type": type,
            "reason": reason[:128],
            "action": action[:128],
            "note": cut(shown(note), MAX_NOTE),
            "regarding": {
                "apiVersion": resource.api_version,
                "kind": resource.kind,
                "name": name,
                "namespace": namespace,
                "uid": metadata.get("uid"),
                "resourceVersion": metadata.get("resourceVersion"),
            },
        }
        try:
            self._pending.put_nowait(body)
        except asyncio.QueueFull:
            metrics.EVENTS.labels("dropped").inc()

    @property
    def idle(self) -> bool:
        """Nothing is pending."""
        return self._pending.empty()

    async def run(self) -> None:
        """Post what is pending, until cancelled."""
        while True:
            body = await self._pending.get()
            try:
                await self._api.create(EVENTS, body["metadata"]["namespace"], body)
            except ApiError as error:
                metrics.EVENTS.labels("failed").inc()
                _log.info("an Event was not posted", reason=body["reason"], problem=str(error))
            else:
                metrics.EVENTS.labels("posted").inc()

    def _allowed(self, uid: str) -> bool:
        now = self._clock()
        bucket = self._buckets.pop(uid, None) or _Bucket(self._burst, now)
        gained = (now - bucket.at) / self._refill_seconds
        tokens = min(float(self._burst), bucket.tokens + gained)
        allowed = tokens >= 1
        self._buckets[uid] = _Bucket(tokens - 1 if allowed else tokens, now)
        if len(self._buckets) > _MAX_BUCKETS:
            self._buckets.popitem(last=False)
        return allowed


def cut(text: str, most: int) -> str:
    """The text in at most so many bytes of UTF-8, with an ellipsis where it was cut."""
    data = text.encode()
    if len(data) <= most:
        return text
    return data[: most - 3].decode(errors="ignore") + "…"
