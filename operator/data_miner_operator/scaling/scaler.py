"""The scaler: what the pure decisions say is done, a step at a time, by the leader alone."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Protocol

from data_miner.catalog.pulse import Pulse
from data_miner.outside import shown
from data_miner_operator.api import DEPLOYMENTS, PODS, Api, ApiError, Conflict, NotFound
from data_miner_operator.scaling.demand import Demand, Experience, measure, remember
from data_miner_operator.scaling.policy import (
    Memory,
    Reason,
    Verdict,
    decide,
    scaled,
)
from data_miner_operator.scaling.pools import DELETION_COST, Pool, PoolKey
from data_miner_operator.scaling.report import (
    REPEAT_SECONDS,
    TOLD,
    Direction,
    PoolReport,
    ScalingEvent,
    ScalingReport,
    bad_annotations,
    transition,
)
from data_miner_operator.scaling.shrinking import Marks, Plan, plan, seen
from data_miner_operator.scaling.victims import Member, members


class Drains(Protocol):
    """The marks of workers in the catalogue. Both raise AwayError and FencedError."""

    async def drain(self, worker_ids: Collection[str]) -> object:
        """Ask workers to take nothing more."""
        ...

    async def undrain(self, worker_ids: Collection[str]) -> object:
        """Take that back."""
        ...


@dataclass(slots=True)
class _Of:
    """What is remembered of one pool."""

    memory: Memory = field(default_factory=Memory)
    marks: Marks = field(default_factory=dict)
    marked_at: float = float("-inf")
    """When marks were last changed: older looks at the queue do not show it."""
    told: Reason | None = None
    """What its last event was about."""
    told_at: dict[Reason, float] = field(default_factory=dict)
    problems: tuple[str, ...] = ()
    last: PoolReport | None = None


@dataclass(frozen=True, slots=True)
class _Done:
    """How a pool's step ended."""

    replicas: int
    reason: Reason
    sentence: str


class Scaler:
    """Keeps every pool at its size. One `step` at a time; it may be dropped between any two."""

    def __init__(self, api: Api, drains: Drains) -> None:
        self._api = api
        self._drains = drains
        self._of: dict[PoolKey, _Of] = {}
        self._experience = Experience()
        self._scaled: Counter[tuple[Direction, Reason]] = Counter()
        self._stopped_busy = 0

    async def step(
        self, pools: Sequence[Pool], pulse: Pulse | None, looked_at: float, now: float
    ) -> ScalingReport:
        """Decide and act once for every pool.

        `pulse` is None when the database cannot be asked; `looked_at` is when that look began.
        Both times are monotonic seconds. Raises what `Drains` raises, having done nothing that a
        repetition would not do; what the API server refuses is reported as a reason.
        """
        self._of = {pool.key: self._of.get(pool.key) or _Of() for pool in pools}
        demands: Mapping[PoolKey, Demand] = {}
        if pulse is not None:
            self._experience = remember(self._experience, pulse, looked_at)
            demands = measure(pools, pulse, self._experience, looked_at)
        reports: list[PoolReport] = []
        events: list[ScalingEvent] = []
        for pool in pools:
            of = self._of[pool.key]
            demand = demands.get(pool.key)
            verdict, of.memory = decide(pool.spec, pool.fact, demand, of.memory, now)
            done = _Done(pool.fact.replicas, verdict.reason, verdict.sentence)
            if pulse is not None and demand and now - looked_at <= demand.lasts_seconds:
                everyone = members(pool.spec.pool, pool.pods, pulse.workers)
                done = await self._carry_out(pool, verdict, everyone, looked_at, now)
            report = _report(pool, demand, verdict, done, len(of.marks))
            events += self._tell(of, report, now)
            reports.append(report)
        return ScalingReport(
            pools=tuple(reports),
            scaled=dict(self._scaled),
            stopped_busy=self._stopped_busy,
            events=tuple(events),
        )

    async def _carry_out(
        self, pool: Pool, verdict: Verdict, everyone: list[Member], looked_at: float, now: float
    ) -> _Done:
        of = self._of[pool.key]
        if looked_at <= of.marked_at and verdict.replicas < pool.fact.replicas:
            text = "the workers that go were marked a moment ago"
            return _Done(pool.fact.replicas, Reason.DRAINING, text)
        todo = plan(pool, verdict, everyone, of.marks, now)
        if looked_at <= of.marked_at:
            todo = replace(todo, undrain=())
        await self._mark(of, todo, now)
        of.marks = seen(of.marks, everyone, todo.wanted, now)
        try:
            await self._price(pool, todo)
            if todo.replicas is None:
                reason, text = verdict.reason, verdict.sentence
                if todo.reason is not None:
                    reason, text = todo.reason, todo.sentence
                return _Done(pool.fact.replicas, reason, text)
            await self._write(pool, todo.replicas)
        except (Conflict, NotFound):
            text = "the Deployment has just changed: the next step looks again"
            return _Done(pool.fact.replicas, Reason.SETTLING, text)
        except ApiError as error:
            return _Done(pool.fact.replicas, Reason.REFUSED, shown(error.message))
        of.memory = scaled(of.memory, pool.fact.replicas, todo.replicas, now)
        up = todo.replicas > pool.fact.replicas
        self._scaled[Direction.UP if up else Direction.DOWN, verdict.reason] += 1
        self._stopped_busy += len(todo.timed_out)
        return _Done(todo.replicas, verdict.reason, verdict.sentence)

    async def _mark(self, of: _Of, todo: Plan, now: float) -> None:
        if todo.undrain:
            await self._drains.undrain(todo.undrain)
            # Its grace begins anew, in case the mark is not ours to take away.
            of.marks = {
                worker: replace(mark, unwanted_since=now) if worker in todo.undrain else mark
                for worker, mark in of.marks.items()
            }
        if todo.drain:
            await self._drains.drain(todo.drain)
        if todo.undrain or todo.drain:
            of.marked_at = now

    async def _price(self, pool: Pool, todo: Plan) -> None:
        """Write deletion costs; a pod that is gone by now needs none."""
        answers = await asyncio.gather(
            *(
                self._api.merge_patch(
                    PODS,
                    pool.fact.namespace,
                    name,
                    {"metadata": {"annotations": {DELETION_COST: str(cost)}}},
                )
                for name, cost in todo.costs.items()
            ),
            return_exceptions=True,
        )
        for answer in answers:
            if isinstance(answer, BaseException) and not isinstance(answer, NotFound):
                raise answer

    async def _write(self, pool: Pool, replicas: int) -> None:
        body = {
            "metadata": {"resourceVersion": pool.resource_version},
            "spec": {"replicas": replicas},
        }
        await self._api.merge_patch(
            DEPLOYMENTS, pool.fact.namespace, pool.fact.name, body, subresource="scale"
        )

    def _tell(self, of: _Of, report: PoolReport, now: float) -> list[ScalingEvent]:
        """The events of this step: only what is new since the last one."""
        found = []
        if report.problems and report.problems != of.problems:
            found.append(bad_annotations(report))
        of.problems = report.problems
        lately = [r for r, at in of.told_at.items() if now - at < REPEAT_SECONDS]
        happened = transition(of.last, report, of.told, lately)
        if happened is not None:
            found.append(happened)
            of.told_at[report.reason] = now
        if report.reason in TOLD or report.reason is Reason.STEADY:
            of.told = report.reason
        of.last = report
        return found


def _report(
    pool: Pool, demand: Demand | None, verdict: Verdict, done: _Done, draining: int
) -> PoolReport:
    return PoolReport(
        namespace=pool.fact.namespace,
        name=pool.fact.name,
        uid=pool.uid,
        pool=pool.spec.pool,
        desired=verdict.want,
        current=done.replicas,
        ready=pool.fact.ready,
        reason=done.reason,
        sentence=done.sentence,
        runnable=demand.runnable if demand else 0,
        backlog_seconds=demand.backlog_seconds if demand else 0.0,
        draining=draining,
        problems=pool.spec.problems,
    )
