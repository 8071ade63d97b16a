"""How long a failed task waits before it is tried again."""

from __future__ import annotations

import random


def backoff_seconds(
    failures: int, *, first_seconds: float, max_seconds: float, jitter: float | None = None
) -> float:
    """Delay after the `failures`-th failure in a row (from 1): doubles each time, up to the most.

    A quarter more or less by `jitter` in [0, 1], random when None, so that tasks which failed
    together do not come back together.
    """
    share = random.random() if jitter is None else jitter  # noqa: S311  # spreads load, no secret
    delay = min(max_seconds, first_seconds * 2.0 ** min(failures - 1, 60))
    return delay * (0.75 + 0.5 * share)
