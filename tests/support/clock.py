"""A clock that a test moves."""

from __future__ import annotations


class ManualClock:
    """Stands still until it is advanced."""

    def __init__(self) -> None:
        self._now_seconds = 1000.0

    def monotonic(self) -> float:
        """Seconds, as `data_miner.clock.Clock` has it."""
        return self._now_seconds

    def advance(self, seconds: float) -> None:
        """Let `seconds` go by."""
        if seconds < 0:
            raise ValueError("a monotonic clock never falls")
        self._now_seconds += seconds
