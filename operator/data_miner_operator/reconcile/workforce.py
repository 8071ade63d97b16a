"""Whether somebody can do a project's work: which pools serve its stages, how their pods fare."""

from __future__ import annotations

from collections.abc import Sequence

from data_miner_operator.facts import PoolFact
from data_miner_operator.reconcile.conditions import Check
from data_miner_operator.reconcile.wording import some


def workforce(
    stages: Sequence[str], busy: Sequence[str], pools: Sequence[PoolFact] | None
) -> Check:
    """What the condition says of a project that has work left.

    `stages` are all that it has, `busy` those with something to do; a pool in trouble counts only
    for these. `pools` is None as long as they have not been listed.
    """
    if pools is None:
        return Check("Unknown", "NotListed", "the worker pools have not been listed yet")
    open_pools = [pool for pool in pools if pool.max_replicas > 0]
    served = {stage for pool in open_pools for stage in pool.stages}
    alone = [stage for stage in stages if stage not in served]
    if alone:
        return Check("False", "NoPool", f"no worker pool serves {some(alone)}")
    needed = [pool for pool in open_pools if set(busy) & set(pool.stages)]
    for pool in needed:
        if pool.unschedulable:
            return Check("False", "Unschedulable", _trouble(pool, "fit on no node"))
    for pool in needed:
        if pool.crashing:
            return Check("False", "CrashLooping", _trouble(pool, "keep crashing"))
    return Check("True", "Available")


def _trouble(pool: PoolFact, what: str) -> str:
    number = pool.unschedulable or pool.crashing
    text = f"pool {pool.pool}: {number} of {max(number, pool.replicas)} pods {what}"
    return f"{text}: {pool.message}" if pool.message else text
