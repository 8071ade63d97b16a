"""Gathers everything about one project: from the cache, the catalogue and the model stores."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any, Final

from data_miner.catalog.owned import Row
from data_miner.catalog.progress import Progress
from data_miner.models import ModelStoreError
from data_miner_operator import labels, metrics
from data_miner_operator.api import CRON_JOBS, DEPLOYMENTS, PODS, PROJECTS, Api
from data_miner_operator.cache import Cache
from data_miner_operator.catalogue import AwayError, Catalogue
from data_miner_operator.credentials import Credentials
from data_miner_operator.facts import Key, ModelFact, PoolFact, Seen, Site
from data_miner_operator.jobs import MAX_MESSAGE_BYTES, TEMPLATE, is_for
from data_miner_operator.model_facts import Models
from data_miner_operator.model_jobs import ModelJobs
from data_miner_operator.reconcile import models_named
from data_miner_operator.reconcile.times import utc_now
from data_miner_operator.reconcile.wording import line
from data_miner_operator.scaling.pools import read_pools

AWAY_SECONDS: Final = 2.0
"""So long after PostgreSQL could not be asked, nobody asks it again for a single project: each
would wait for the same connection in vain."""
POOLS_SECONDS: Final = 2.0
TEMPLATE_SECONDS: Final = 30.0
REFUSED_SECONDS: Final = 60.0
"""So long after the API server refused a Job, nobody tries to make it again."""


@dataclass(slots=True)
class Observer:
    """Makes the facts of one key. Raises ApiError where the API server must be asked and cannot."""

    api: Api
    cache: Cache
    catalogue: Catalogue
    models: Models
    credentials: Credentials
    site: Site
    own_namespace: str
    synced: Callable[[], bool]
    """Whether everything in the cluster has been listed."""
    operator: str = ""
    """As pools name it that belong to it alone."""
    clock: Callable[[], float] = time.monotonic
    now: Callable[[], datetime] = utc_now
    waiting: dict[Key, frozenset[str]] = field(default_factory=dict)
    """Models that each project lacked when it was last looked at."""
    _refused: dict[str, tuple[float, str]] = field(default_factory=dict)
    """Models whose Job the API server would not have: until when that counts, and its words."""
    _away: str = "this replica has not taken office yet"
    _away_until: float = 0.0
    _pools: tuple[PoolFact, ...] = ()
    _pools_at: float | None = None
    _template: Mapping[str, Any] | None = None
    _template_at: float | None = None
    _jobs: ModelJobs = field(init=False)

    def __post_init__(self) -> None:
        self._jobs = ModelJobs(self.api, self.cache, self.operator, self.clock, self.now)

    async def observe(self, key: Key) -> Seen:
        """Everything about the key as of now."""
        found = self.cache.get(PROJECTS, key)
        row, progress, away = await self._ask(key)
        if row is not None and not row.deleted and row.owner_uid not in {None, _uid(found)}:
            # What follows may remove data: the API server itself must say that the row's object is
            # gone, or is another one by now. A cache that lags may hold the one before it.
            found = await self.api.get(PROJECTS, *key)
            if found is not None:
                self.cache.put(PROJECTS, found)
        named = models_named(found) if found is not None else ()
        facts = {name: await self._model(name) for name in named}
        self._remember(key, facts)
        return Seen(
            key=key,
            now=self.now(),
            site=replace(self.site, credentials=self.credentials.read()),
            object=found,
            away=away,
            row=row,
            progress=progress,
            models=facts,
            pools=self.pools() if self.synced() else None,
        )

    def known(self, key: Key) -> bool:
        """Whether the cluster has such an object, as far as has been told."""
        return self.cache.get(PROJECTS, key) is not None

    def pools(self, *, fresh: bool = False) -> tuple[PoolFact, ...]:
        """All worker pools, as of a moment ago."""
        if fresh or self._pools_at is None or self.clock() - self._pools_at > POOLS_SECONDS:
            found = read_pools(
                self.cache.all(DEPLOYMENTS).values(),
                self.cache.all(PODS).values(),
                self.now(),
                self.operator,
            )
            self._pools = tuple(pool.fact for pool in found)
            self._pools_at = self.clock()
        return self._pools

    def database_away(self, problem: str) -> None:
        """PostgreSQL could not be asked: believe it for a moment."""
        self._away = problem
        self._away_until = self.clock() + AWAY_SECONDS
        metrics.DATABASE_AWAY.inc()

    def database_back(self) -> None:
        self._away_until = 0.0

    def job_refused(self, model: str, problem: str) -> None:
        """The API server would not have the Job that makes a model: a quota, a policy, a right."""
        self._refused[model] = (self.clock() + REFUSED_SECONDS, problem)

    async def template(self) -> Mapping[str, Any] | None:
        """The CronJob that Jobs for models are made from; None when there is none."""
        if self._template_at is None or self.clock() - self._template_at > TEMPLATE_SECONDS:
            found = await self.api.list(
                CRON_JOBS, self.own_namespace, labels=f"{labels.TEMPLATE}={TEMPLATE}"
            )
            self._template = min(
                (each for each in found if is_for(each, self.operator)),
                key=lambda each: str(each["metadata"]["name"]),
                default=None,
            )
            self._template_at = self.clock()
        return self._template

    async def _ask(self, key: Key) -> tuple[Row | None, Progress | None, str]:
        if self.catalogue.epoch is None or self.clock() < self._away_until:
            return None, None, self._away
        try:
            return *await self.catalogue.standing(key), ""
        except AwayError as error:
            self.database_away(str(error))
            return None, None, str(error)

    async def _model(self, name: str) -> ModelFact:
        fact = await self._in_stores(name)
        if fact.info is not None:
            return fact
        template = await self.template()
        job = await self._jobs.fact(name, template)
        if job is not None and not job.active and not job.failed:
            # It may have published the model after the answer was given that is known here.
            self.models.forget(name)
            fact = await self._in_stores(name)
            if fact.info is not None:
                return fact
        until, problem = self._refused.get(name, (0.0, ""))
        if job is None and self.clock() < until:
            problem = line(
                f"no store has model {name}, and its Job is refused: {problem}", MAX_MESSAGE_BYTES
            )
            return replace(fact, problem=problem)
        return replace(fact, job=job, can_be_made=template is not None)

    async def _in_stores(self, name: str) -> ModelFact:
        """What the stores say of a model, as if nobody could make it."""
        away = False
        try:
            info, problem = await self.models.find(name)
        except ModelStoreError as error:
            info, problem, away = None, str(error), True
        return ModelFact(name, info, problem, None, can_be_made=False, away=away)

    def _remember(self, key: Key, facts: Mapping[str, ModelFact]) -> None:
        lacking = frozenset(name for name, fact in facts.items() if fact.info is None)
        if lacking:
            self.waiting[key] = lacking
        else:
            self.waiting.pop(key, None)


def _uid(found: Mapping[str, Any] | None) -> str | None:
    return str(found["metadata"]["uid"]) if found is not None else None
