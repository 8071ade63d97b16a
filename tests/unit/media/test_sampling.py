"""Which frames a sampling takes."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from data_miner_worker.media.sampling import by_interval, by_keyframe, by_time, spread


def test_interval_takes_every_nth_frame_from_the_first() -> None:
    """Of 10 frames, every third one is 0, 3, 6, 9."""
    assert by_interval(10, 3).tolist() == [0, 3, 6, 9]


def test_time_follows_the_clock_and_not_the_count() -> None:
    """Where frames come faster for a while, no more of them are taken."""
    slow, fast = range(0, 4000, 500), range(4000, 6000, 50)
    pts = np.array([*slow, *fast], np.int64)
    taken = pts[by_time(pts, Fraction(1, 1000), 2.0)]
    assert taken.tolist() == [0, 2000, 4000]


def test_time_counts_from_the_first_frame() -> None:
    """A stream whose clock begins at an hour is sampled as one that begins at zero."""
    pts = np.arange(0, 300, dtype=np.int64) * 3000
    moved = pts + 3600 * 90_000
    tick = Fraction(1, 90_000)
    assert (
        by_time(pts, tick, 2.0).tolist()
        == by_time(moved, tick, 2.0).tolist()
        == [
            0,
            60,
            120,
            180,
            240,
        ]
    )


def test_time_does_not_drift_over_a_long_film() -> None:
    """After ten hours at 0.1 s the frames are still the exact ones."""
    pts = np.arange(0, 36_000 * 30, dtype=np.int64)
    assert np.array_equal(by_time(pts, Fraction(1, 30), 0.1), np.arange(0, 36_000 * 30, 3))


def test_time_forgives_a_millisecond_of_rounding_but_not_a_frame() -> None:
    """WebM rounds to milliseconds: 1.999 s counts as 2 s; a clock in frames forgives nothing."""
    rounded = np.array([0, 1000, 1999, 2040], np.int64)
    assert by_time(rounded, Fraction(1, 1000), 2.0).tolist() == [0, 2]
    assert by_time(np.arange(60, dtype=np.int64), Fraction(1, 30), 1.0).tolist() == [0, 30]


def test_time_takes_a_frame_once_when_nothing_is_shown_for_a_while() -> None:
    """The frame after a gap answers for all the moments in it."""
    pts = np.array([0, 10_000, 10_100], np.int64)
    assert by_time(pts, Fraction(1, 1000), 1.0).tolist() == [0, 1]


def test_keyframes_are_those_that_are_flagged() -> None:
    """Nothing but the flag counts."""
    assert by_keyframe([True, False, False, True]).tolist() == [0, 3]


@given(count=st.integers(0, 400), most=st.integers(1, 60))
def test_spread_reaches_every_part_of_the_video(count: int, most: int) -> None:
    """At most `most` frames, rising, without doubles, and equally far apart."""
    candidates = np.arange(count, dtype=np.int64) * 7
    taken = spread(candidates, most)
    assert len(taken) == min(count, most)
    assert np.array_equal(np.unique(taken), taken)
    if count > most > 1:
        steps = np.diff(np.searchsorted(candidates, taken))
        assert steps.max() - steps.min() <= 1


@pytest.mark.parametrize("most", [1, 2, 9])
def test_spread_does_not_favour_an_end(most: int) -> None:
    """What is left out before the first taken frame is as much as after the last one."""
    taken = spread(np.arange(1000, dtype=np.int64), most)
    assert abs(int(taken[0]) - (999 - int(taken[-1]))) <= 1
