"""Durations in Python. What time it is, the database says."""

from __future__ import annotations

import time
from typing import Protocol


class Clock(Protocol):
    """What code that measures or waits is given, so that a test can move time."""

    def monotonic(self) -> float:
        """Seconds since some moment; never falls. Only differences mean anything."""
        ...


class SystemClock:
    """The machine's own."""

    def monotonic(self) -> float:
        """Seconds of the machine's monotonic clock."""
        return time.monotonic()
