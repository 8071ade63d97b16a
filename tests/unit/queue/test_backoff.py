"""Delays after failures."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from data_miner.queue.backoff import backoff_seconds


def test_the_delay_doubles_up_to_the_most() -> None:
    """In the middle of the jitter: a minute, two, four … and never more than an hour."""
    delays = [
        backoff_seconds(n, first_seconds=60, max_seconds=3600, jitter=0.5) for n in range(1, 9)
    ]
    assert delays == [60, 120, 240, 480, 960, 1920, 3600, 3600]


@given(failures=st.integers(1, 10_000), jitter=st.none() | st.floats(0, 1))
def test_jitter_is_a_quarter_either_way(failures: int, jitter: float | None) -> None:
    """Whatever the count of failures, the delay stays within a quarter of what it should be."""
    middle = backoff_seconds(failures, first_seconds=60, max_seconds=3600, jitter=0.5)
    delay = backoff_seconds(failures, first_seconds=60, max_seconds=3600, jitter=jitter)
    assert 0.75 * middle <= delay <= 1.25 * middle
