"""Which packets are decoded for which frames."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from data_miner_worker.media.runs import Run, Starts, plan

# Two closed groups of I P B B, stored in that order, shown as I B B P.
PTS_STORED = np.array([0, 3, 1, 2, 4, 7, 5, 6], np.int64)
POSITIONS = np.array([0, 2, 3, 1, 4, 6, 7, 5], np.int64)
SHOWN = np.arange(8, dtype=np.int64)
CLOSED = Starts(np.array([0, 4], np.int64), np.array([0, 4], np.int64))


def test_a_frame_needs_its_group_up_to_itself() -> None:
    """Frame 5 is stored as packet 6: packets 4 to 6 are decoded, and none of the first group."""
    assert plan([5], POSITIONS, SHOWN, CLOSED) == [Run(4, 6, (5,))]


def test_a_keyframe_needs_nothing_else() -> None:
    """Two keyframes are two runs of one packet each."""
    assert plan([0, 4], POSITIONS, SHOWN, CLOSED) == [Run(0, 0, (0,)), Run(4, 4, (4,))]


def test_frames_of_one_group_share_a_run() -> None:
    """The run goes to the packet that is stored last."""
    assert plan([1, 3], POSITIONS, SHOWN, CLOSED) == [Run(0, 2, (1, 3))]


def test_a_frame_shown_before_the_keyframe_it_follows_belongs_to_the_group_before() -> None:
    """Open group: I P, then I stored before two frames that are shown first and refer to P."""
    stored_pts = np.array([0, 1, 4, 2, 3], np.int64)
    positions = np.argsort(stored_pts).astype(np.int64)
    starts = Starts(np.array([0, 2], np.int64), np.array([0, 4], np.int64))
    assert plan([2], positions, np.arange(5, dtype=np.int64), starts) == [Run(0, 3, (2,))]
    assert plan([2, 4], positions, np.arange(5, dtype=np.int64), starts) == [Run(0, 3, (2, 4))]


def test_going_back_stops_at_the_beginning() -> None:
    """There is no start before the first: decoding begins with the file."""
    starts = Starts(np.array([3, 9, 20], np.int64), np.array([3, 9, 20], np.int64))
    assert [starts.earlier(20, steps) for steps in (1, 2, 3)] == [9, 3, 0]


@given(st.data())
def test_runs_hold_every_wanted_frame_once_and_never_overlap(data: st.DataObject) -> None:
    """For any order of storing and any choice of keyframes."""
    count = data.draw(st.integers(1, 40))
    positions = np.array(data.draw(st.permutations(range(count))), np.int64)
    keys = sorted(data.draw(st.sets(st.integers(0, count - 1))))
    shown_at = np.argsort(positions)
    starts = Starts(np.array(keys, np.int64), shown_at[keys].astype(np.int64))
    wanted = sorted(data.draw(st.sets(st.integers(0, count - 1))))
    runs = plan(wanted, positions, np.arange(count, dtype=np.int64), starts)
    assert sorted(frame for run in runs for frame in run.frames) == wanted
    for run in runs:
        assert all(run.start <= positions[frame] <= run.end for frame in run.frames)
        assert run.start == 0 or run.start in keys
    assert all(a.end < b.start for a, b in pairwise(runs))
