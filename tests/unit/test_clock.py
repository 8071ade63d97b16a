"""The clock that code measures durations with."""

from __future__ import annotations

import pytest

from data_miner.clock import Clock, SystemClock
from support.clock import ManualClock


def test_the_systems_clock_never_falls() -> None:
    """Later readings are not smaller than earlier ones."""
    clock: Clock = SystemClock()
    readings = [clock.monotonic() for _ in range(1000)]
    assert readings == sorted(readings)


def test_a_manual_clock_moves_only_when_told() -> None:
    """A test decides how much time goes by, and none goes by backwards."""
    manual = ManualClock()
    clock: Clock = manual
    before = clock.monotonic()
    assert clock.monotonic() == before
    manual.advance(2.5)
    assert clock.monotonic() - before == 2.5
    with pytest.raises(ValueError, match="never falls"):
        manual.advance(-1)
