"""How far a project is and when it may be done."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from data_miner.catalog.estimate import (
    TOLERANCE,
    arrival,
    images_kept,
    percent,
    seconds_left,
    videos_ended,
)
from data_miner.catalog.progress import Progress
from support.reconciling import NOW, a_progress, stage


def mining(ended: int, *, selected: int = 100, unique: int = 0, running: int = 4) -> Progress:
    """A project of which so many videos have ended, each at a cost of 10 s."""
    return a_progress(
        stages=(
            stage("discover", 1, done=1),
            stage("download", selected, done=ended, mean_seconds=4.0),
            stage("extract", selected, done=ended, mean_seconds=6.0, running=running),
            stage("filter", selected, done=ended),
            stage("dedup", 1),
        ),
        selected=selected,
        unique=unique,
        passed=unique + 1,
    )


def test_images_are_those_of_the_last_stage_that_picks_some() -> None:
    """Dedup, or else the filter; a project that only downloads has none."""
    assert images_kept(mining(3, unique=7)) == 7
    assert images_kept(a_progress(stages=[stage("filter")], passed=5)) == 5
    assert images_kept(a_progress(stages=[stage("download")])) is None


def test_videos_end_in_whatever_stage() -> None:
    """Of ten, two were skipped and one has failed on the way, and three went through."""
    progress = a_progress(
        stages=(
            stage("download", 10, done=7, skipped=2),
            stage("extract", 8, done=4, failed=1),
            stage("filter", 7, done=3),
        )
    )
    assert videos_ended(progress) == 6
    assert videos_ended(a_progress(stages=())) == 0


def test_progress_is_the_greater_share() -> None:
    """Either the videos run out or the target is reached."""
    assert percent(mining(0, selected=0), None, complete=False) == 0
    assert percent(mining(25), None, complete=False) == 25
    assert percent(mining(25, unique=40), 50, complete=False) == 80
    assert percent(mining(25, unique=1), 50, complete=False) == 25
    assert percent(a_progress(stages=[stage("download")]), 50, complete=False) == 0


@given(st.integers(0, 300), st.integers(0, 300), st.integers(0, 90), st.integers(0, 90))
def test_progress_rises_with_the_work(ended: int, more: int, kept: int, better: int) -> None:
    """And 100 is for a complete project alone."""
    before = percent(mining(ended, selected=300, unique=kept), 60, complete=False)
    after = percent(mining(ended + more, selected=300, unique=kept + better), 60, complete=False)
    assert 0 <= before <= after <= 99
    assert percent(mining(ended), 60, complete=True) == 100


def test_what_is_left_costs_what_was_spent_so_far() -> None:
    """Ten seconds a video, four at a time."""
    assert seconds_left(mining(20), None) == 80 * 10 / 4


def test_a_target_ends_the_work_before_the_videos_do() -> None:
    """Half of the images took 20 videos, so 20 more are to come; what has begun is ended anyway."""
    begun = replace(mining(20, selected=30, unique=50), funnel=mining(20, unique=50).funnel)
    assert seconds_left(begun, None) == 80 * 10 / 4
    assert seconds_left(begun, 100) == 20 * 10 / 4
    assert seconds_left(begun, 51) == 10 * 10 / 4


@pytest.mark.parametrize(
    "progress",
    [
        mining(20, running=0),
        mining(0),
        a_progress(stages=[stage("download", 9, done=3, running=1)]),
    ],
)
def test_nothing_is_said_of_what_is_not_known(progress: Progress) -> None:
    """Nothing runs, nothing has ended, or nothing was timed."""
    assert seconds_left(progress, None) is None


def test_a_time_of_arrival_is_rounded_up() -> None:
    """To minutes when it is near, to hours when it is far."""
    assert arrival(90, None, NOW) == NOW + timedelta(minutes=2)
    assert arrival(3_000, None, NOW) == NOW + timedelta(minutes=50)
    assert arrival(3_001, None, NOW) == NOW + timedelta(minutes=55)
    assert arrival(10_000, None, NOW) == NOW + timedelta(hours=3)
    assert arrival(100_000, None, NOW) == NOW + timedelta(hours=28)


def test_while_nothing_runs_the_time_of_arrival_stays_until_it_has_passed() -> None:
    """An idle project is written once more, and then never."""
    shown = NOW + timedelta(minutes=5)
    assert arrival(None, shown, NOW) == shown
    assert arrival(None, shown, shown) is None
    assert arrival(None, None, NOW) is None


@given(st.floats(1, 1e6), st.floats(-0.99, 3.0))
def test_a_time_of_arrival_is_rewritten_only_when_it_has_moved(left: float, drift: float) -> None:
    """By more than a tenth of what is left."""
    shown = arrival(left, None, NOW)
    assert shown is not None
    now_left = left * (1 + drift)
    again = arrival(now_left, shown, NOW)
    moved = abs((NOW + timedelta(seconds=now_left) - shown).total_seconds())
    if again != shown:
        assert moved > TOLERANCE * now_left
    assert again is not None


@given(st.lists(st.floats(0, 50_000), min_size=1, max_size=20))
def test_the_time_of_arrival_shown_is_near_the_estimate(estimates: list[float]) -> None:
    """Never further off than a tenth, or one step of rounding either way."""
    shown: datetime | None = None
    for left in estimates:
        shown = arrival(left, shown, NOW)
        assert shown is not None
        off = abs((NOW + timedelta(seconds=left) - shown).total_seconds())
        assert off <= max(TOLERANCE * left, 2 * 1_800)
