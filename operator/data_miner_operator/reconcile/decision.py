"""What is to be done about one key: the first rule that holds decides."""

from __future__ import annotations

from typing import Final

from data_miner.catalog.phase import PhaseName
from data_miner_operator.facts import Seen
from data_miner_operator.reconcile import lifecycle, throttling
from data_miner_operator.reconcile.actions import (
    Action,
    Apply,
    Decision,
    Forget,
    MakeModel,
    Suspend,
)
from data_miner_operator.reconcile.asked import asked
from data_miner_operator.reconcile.gates import MAKING, Gates, gates
from data_miner_operator.reconcile.lifecycle import Standing

AWAY_SECONDS: Final = 5.0
"""First wait for a database that cannot be asked; whoever waits may wait longer each time."""


def decide(seen: Seen) -> Decision:
    """What to do now. Performing it and asking again gives no action, if nothing else changed."""
    wish = asked(seen.object) if seen.object is not None else None
    if wish is not None and wish.disabled:
        return Decision(frozen=True)
    if seen.away:
        return Decision(requeue_seconds=AWAY_SECONDS)
    if wish is None or wish.deleting:
        return Decision(lifecycle.gone(seen.row, seen.site, wish))
    judged = gates(seen)
    if judged.owner.status != "True":
        return Decision()
    actions = _held_up(seen, judged) if judged.shut is not None else _through(seen, judged)
    if not actions:
        return _quiet(seen, judged)
    new = any(isinstance(a, Apply) for a in actions) and _begins(seen, judged)
    # A row that is made just now has no id to retry in yet.
    return Decision(actions, 0.0 if new and judged.asked.retry_token else None)


def _through(seen: Seen, judged: Gates) -> tuple[Action, ...]:
    """Every gate is open: the catalogue is brought in line."""
    row, wish, wanted = seen.row, judged.asked, judged.wanted
    assert wanted is not None, "open gates without anything wanted"
    if lifecycle.applied(row, seen.site, wish, wanted):
        assert row is not None
        return lifecycle.retry(row, wish)
    apply = Apply(wanted.project, wanted.compiled, wish.uid, wanted.digest)
    if not _begins(seen, judged):
        assert row is not None
        return (apply, *lifecycle.retry(row, wish))
    if row is not None and not row.deleted:
        return (Forget(row.project_id), apply)
    return (apply,)


def _begins(seen: Seen, judged: Gates) -> bool:
    """Whether applying begins a project's life instead of going on with one."""
    stands = lifecycle.standing(seen.row, seen.site, judged.asked.uid)
    if stands is Standing.PREDECESSORS:
        assert seen.row is not None
        return seen.row.deletion_policy == "Delete"
    return stands is Standing.FREE


def _held_up(seen: Seen, judged: Gates) -> tuple[Action, ...]:
    """A gate is shut: what was applied last goes on, but for what is honoured always."""
    row, wish = seen.row, judged.asked
    actions: list[Action] = []
    stands = lifecycle.standing(row, seen.site, wish.uid)
    if row is not None and stands is Standing.PREDECESSORS:
        actions += lifecycle.gone(row, seen.site, None)
    elif row is not None and stands is Standing.OURS:
        if wish.suspend and not row.suspended:
            actions.append(Suspend(row.project_id))
        actions += lifecycle.retry(row, wish)
    if judged.shut is not None and judged.shut.reason == MAKING:
        actions += [MakeModel(name) for name in judged.missing]
    return tuple(actions)


def _quiet(seen: Seen, judged: Gates) -> Decision:
    """Nothing to do now; it may be that time alone brings something."""
    actions: tuple[Action, ...] = ()
    waits = [throttling.hold_seconds(seen)]
    ttl = judged.wanted.project.spec.ttl_seconds_after_finished if judged.wanted else None
    complete = seen.progress is not None and seen.progress.phase.name is PhaseName.COMPLETE
    if judged.shut is None and ttl is not None and complete:
        actions, left = lifecycle.expiry(seen, judged.asked, ttl)
        waits.append(left)
    return Decision(actions, min((w for w in waits if w is not None), default=None))
