"""How much work there is for each pool, out of one look at the queue.

Only work that can run now counts: ready and running tasks of active projects. Work of a project
that a site puts off is no reason for more workers: it counts for no more than what is running.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from data_miner.catalog.pulse import Depth, Pulse
from data_miner.pipeline import NAMES
from data_miner_operator.scaling.annotations import Autoscaler
from data_miner_operator.scaling.pools import Pool, PoolKey
from data_miner_operator.scaling.victims import pod_names

USUAL_SECONDS: Final[Mapping[str, float]] = {
    "discover": 20,
    "download": 60,
    "extract": 60,
    "embed": 60,
    "filter": 5,
    "dedup_embed": 30,
    "dedup": 30,
    "cut": 30,
    "detect": 30,
    "export": 60,
}
"""Time of one task as long as nothing was measured."""

THROTTLE_LINGER_SECONDS: Final = 300.0
"""How long a project's stage still counts as put off after its last task came due: tasks that
were put off together are ready together, and are no fresh demand."""


STALE_SECONDS: Final = 15.0
STALE_LOOKS: Final = 20.0
"""A look decides nothing once it is older than so many seconds, and so many times what it took: it
is repeated the less often the longer it takes."""


@dataclass(frozen=True, slots=True)
class Experience:
    """What earlier looks have shown, and the next one may not."""

    put_off: Mapping[tuple[int, str], float] = field(default_factory=dict)
    """When a project's stage was last seen put off, by project id and stage, in monotonic
    seconds."""
    seconds: Mapping[str, float] = field(default_factory=dict)
    """The last measured mean time of one task, by stage."""


@dataclass(frozen=True, slots=True)
class Demand:
    """What one pool is needed for."""

    at: float
    """When the queue was looked at, monotonic seconds."""
    lasts_seconds: float = STALE_SECONDS
    """How long it may be acted on."""
    runnable: int = 0
    """Tasks for it that are ready or running."""
    backlog_seconds: float = 0.0
    """What those take one after another, running ones in full."""
    slots: float = 0.0
    """How many tasks at the same time clear the backlog within the pool's target."""
    throttled: bool = False
    """Some ready work is left out because its site puts tasks off."""
    work_ahead: bool = False
    """An active project has unfinished work in a stage of the pool or before one."""
    held: int = 0
    """Tasks that the workers of its pods hold, also those of projects that do not count."""


@dataclass(slots=True)
class _Share:
    tasks: dict[str, int] = field(default_factory=lambda: defaultdict(int))
    throttled: dict[str, int] = field(default_factory=lambda: defaultdict(int))


def remember(before: Experience, pulse: Pulse, now: float) -> Experience:
    """The experience after this look; what was put off too long ago is forgotten."""
    kept = {k: at for k, at in before.put_off.items() if now - at < THROTTLE_LINGER_SECONDS}
    kept |= {(d.project_id, d.stage): now for d in pulse.depths if d.throttled}
    return Experience(kept, {**before.seconds, **pulse.stage_seconds})


def measure(
    pools: Sequence[Pool], pulse: Pulse, experience: Experience, at: float
) -> dict[PoolKey, Demand]:
    """The demand of each pool. Tasks are dealt out whole, so the pools together are never asked
    to run more than there are.

    A stage that several pools serve is dealt out first over the slots that are ready in them, and
    what is left over in proportion to what each may grow to. Stages that few pools serve go first.
    """
    free, held_back = _runnable(pulse, experience)
    shares = {pool.key: _Share() for pool in pools}
    room = {pool.key: pool.fact.ready * pool.spec.slots for pool in pools}
    for stage in sorted(NAMES, key=lambda name: _servers(pools, name)):
        serving = [pool for pool in pools if stage in pool.spec.stages]
        for counts, kind in ((free, "tasks"), (held_back, "throttled")):
            for key, tasks in _deal(counts.get(stage, 0), serving, room).items():
                getattr(shares[key], kind)[stage] += tasks
                room[key] = max(0, room[key] - tasks)
    seconds = {stage: _task_seconds(stage, pools, pulse, experience) for stage in NAMES}
    ahead = _ahead(pulse)
    return {
        pool.key: _demand(pool, shares[pool.key], pulse, seconds, held_back, ahead, at)
        for pool in pools
    }


def _runnable(pulse: Pulse, experience: Experience) -> tuple[dict[str, int], dict[str, int]]:
    """Runnable tasks by stage: those that count in full, and those whose site puts tasks off."""
    free: dict[str, int] = defaultdict(int)
    held_back: dict[str, int] = defaultdict(int)
    for depth in pulse.depths:
        if not _counts(pulse, depth):
            continue
        runnable = depth.ready + depth.running
        if (depth.project_id, depth.stage) in experience.put_off:
            # One at least: somebody has to find out whether the site has relented.
            held_back[depth.stage] += min(runnable, max(depth.running, 1))
        else:
            free[depth.stage] += runnable
    return free, held_back


def _counts(pulse: Pulse, depth: Depth) -> bool:
    return depth.project_id in pulse.active and depth.stage in USUAL_SECONDS


def _servers(pools: Sequence[Pool], stage: str) -> int:
    return sum(stage in pool.spec.stages for pool in pools)


def _deal(tasks: int, serving: Sequence[Pool], room: Mapping[PoolKey, int]) -> dict[PoolKey, int]:
    """Deal `tasks` out over the ready room of the pools, the rest by what they may grow to."""
    if not serving or not tasks:
        return {}
    present = {pool.key: room[pool.key] for pool in serving}
    now = min(tasks, sum(present.values()))
    dealt = _apportion(now, present)
    later = _apportion(tasks - now, {pool.key: _capacity(pool) for pool in serving})
    return {pool.key: dealt.get(pool.key, 0) + later.get(pool.key, 0) for pool in serving}


def _capacity(pool: Pool) -> int:
    """Slots that the pool may come to; at least one that is dealt to when there is no other."""
    fact = pool.fact
    stuck = fact.unschedulable + fact.crashing
    if pool.spec.autoscaler is not Autoscaler.OPERATOR:
        replicas = fact.replicas
    elif stuck:
        replicas = max(0, fact.replicas - stuck) + 1
    else:
        replicas = pool.spec.max_replicas
    return replicas * pool.spec.slots


def _apportion(tasks: int, weights: Mapping[PoolKey, int]) -> dict[PoolKey, int]:
    """Whole numbers in proportion to the weights that sum up to `tasks`; ties go by name.

    Empty when no pool has any weight.
    """
    total = sum(weights.values())
    if not total:
        return {}
    parts = {key: tasks * weight // total for key, weight in weights.items()}
    rests = sorted(weights, key=lambda key: (-(tasks * weights[key] % total), key))
    for key in rests[: tasks - sum(parts.values())]:
        parts[key] += 1
    return parts


def _ahead(pulse: Pulse) -> int | None:
    """Place in the pipeline of the first stage in which an active project has unfinished work."""
    places = [
        NAMES.index(depth.stage)
        for depth in pulse.depths
        if _counts(pulse, depth) and depth.ready + depth.running + depth.waiting
    ]
    return min(places, default=None)


def _demand(
    pool: Pool,
    share: _Share,
    pulse: Pulse,
    seconds: Mapping[str, float],
    held_back: Mapping[str, int],
    ahead: int | None,
    at: float,
) -> Demand:
    spec = pool.spec
    free = _sum(share.tasks, seconds)
    slow = _sum(share.throttled, seconds)
    throttled_tasks = sum(share.throttled.values())
    pods = {pod.name for pod in pool.pods}
    return Demand(
        at=at,
        lasts_seconds=STALE_SECONDS + STALE_LOOKS * pulse.took_seconds,
        runnable=sum(share.tasks.values()) + throttled_tasks,
        backlog_seconds=free + slow,
        # The site sets the pace of what it puts off: as many slots as run it now, never more.
        slots=free / spec.target_drain_seconds + throttled_tasks,
        throttled=any(held_back.get(stage) for stage in spec.stages),
        work_ahead=ahead is not None and ahead <= NAMES.index(spec.stages[-1]),
        held=sum(
            worker.held
            for worker in pulse.workers
            if worker.pool == spec.pool and pods & pod_names(worker)
        ),
    )


def _task_seconds(stage: str, pools: Sequence[Pool], pulse: Pulse, experience: Experience) -> float:
    """Expected time of one task: measured, else as it last was, else by a table; then tasks that
    are running already tell when they take longer.
    """
    known = pulse.stage_seconds.get(stage) or experience.seconds.get(stage)
    if known is not None:
        return known
    serving = {pool.spec.pool for pool in pools if stage in pool.spec.stages}
    busy = [w.busiest_seconds for w in pulse.workers if w.pool in serving and w.held]
    return max(USUAL_SECONDS[stage], sum(busy) / len(busy) if busy else 0.0)


def _sum(tasks: Mapping[str, int], seconds: Mapping[str, float]) -> float:
    return sum(count * seconds[stage] for stage, count in tasks.items())
