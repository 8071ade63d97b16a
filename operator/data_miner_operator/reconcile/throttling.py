"""Whether a site makes a project wait, said calmly: it is not taken back within a minute."""

from __future__ import annotations

from datetime import timedelta
from typing import Final

from data_miner.catalog.progress import Progress
from data_miner_operator.facts import Seen
from data_miner_operator.reconcile.conditions import Check, check_of, condition
from data_miner_operator.reconcile.times import parse
from data_miner_operator.reconcile.wording import many

HOLD_SECONDS: Final = 60.0
"""A site that throttles lets some through in between: those are no news."""
CLASS: Final = "throttled"


def throttled(seen: Seen) -> Check:
    """What the condition says; PostgreSQL can be asked."""
    now = _now(seen.progress)
    if now is not None:
        return now
    before = check_of(_status(seen), "Throttled")
    if before is not None and hold_seconds(seen) is not None:
        return before
    return Check("False", "NotThrottled")


def hold_seconds(seen: Seen) -> float | None:
    """Seconds until the condition may be taken back; None when it need not be, or may be now."""
    before = condition(_status(seen), "Throttled")
    if before is None or before.get("status") != "True" or _now(seen.progress) is not None:
        return None
    since = parse(before.get("lastTransitionTime"))
    if since is None:
        return None
    left = (since + timedelta(seconds=HOLD_SECONDS) - seen.now).total_seconds()
    return min(left, HOLD_SECONDS) if left > 0 else None


def _now(progress: Progress | None) -> Check | None:
    if progress is None:
        return None
    waiting = [p for p in progress.put_off if p.error_class == CLASS]
    if not waiting:
        return None
    tasks = many(sum(p.count for p in waiting), "task waits", "tasks wait")
    return Check("True", "SiteLimit", f"{tasks}: {waiting[0].error or waiting[0].subject}")


def _status(seen: Seen) -> dict[str, object] | None:
    status = seen.object.get("status") if seen.object is not None else None
    return status if isinstance(status, dict) else None
