"""Jobs that make models, as they are now: their own state from the cache, their pods when asked."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final

from data_miner import telemetry
from data_miner_operator.api import JOBS, PODS, Api, ApiError
from data_miner_operator.cache import Cache
from data_miner_operator.facts import JobFact
from data_miner_operator.jobs import counting_job, fact_of, is_for
from data_miner_operator.reconcile.times import utc_now

PODS_SECONDS: Final = 20.0
"""So long what the pods of a Job that is not done have said is not asked for again."""
OWNER: Final = "batch.kubernetes.io/controller-uid"
"""Label that the Job controller puts onto its pods."""

_log = telemetry.logger()


@dataclass(frozen=True, slots=True)
class _Said:
    job: str
    """resourceVersion of the Job, whose pods change with it."""
    until: float
    pods: list[dict[str, Any]]


@dataclass(slots=True)
class ModelJobs:
    """What the Jobs of this installation say; their pods are asked once for all who wait."""

    api: Api
    cache: Cache
    operator: str = ""
    """Whose Jobs these are, by its namespace and Lease."""
    clock: Callable[[], float] = time.monotonic
    now: Callable[[], datetime] = utc_now
    _said: dict[str, _Said] = field(default_factory=dict)
    """By uid of the Job."""

    async def fact(self, model: str, template: Mapping[str, Any] | None) -> JobFact | None:
        """How the Job that makes a model fares; None when there is none that counts."""
        jobs = [each for each in self.cache.all(JOBS).values() if is_for(each, self.operator)]
        job = counting_job(model, jobs, template)
        if job is None:
            return None
        there = {str(each["metadata"]["uid"]) for each in jobs}
        self._said = {uid: said for uid, said in self._said.items() if uid in there}
        plain = fact_of(job)
        if not plain.active and not plain.failed:
            return plain
        return fact_of(job, await self._pods(job, ended=not plain.active), self.now())

    async def _pods(self, job: Mapping[str, Any], *, ended: bool) -> list[dict[str, Any]] | None:
        metadata = job["metadata"]
        uid, version = str(metadata["uid"]), str(metadata.get("resourceVersion"))
        known = self._said.get(uid)
        if known is not None and known.job == version and self.clock() < known.until:
            return known.pods
        try:
            found = await self.api.list(PODS, metadata["namespace"], labels=f"{OWNER}={uid}")
        except ApiError as error:
            # The Job's own words must do.
            _log.warning("pods of a Job cannot be listed", job=metadata["name"], error=str(error))
            return None
        # Pods of a Job that has ended stay as they are, and go with it.
        until = float("inf") if ended else self.clock() + PODS_SECONDS
        self._said[uid] = _Said(version, until, found)
        return found
