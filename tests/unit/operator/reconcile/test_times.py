"""Times in a status."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone

import pytest

from data_miner_operator.reconcile.times import parse, stamp


def test_a_stamp_is_utc_in_whole_seconds() -> None:
    """As the API server and its clients write it."""
    moment = datetime(2026, 1, 2, 5, 4, 5, 999_999, tzinfo=timezone(timedelta(hours=2)))
    assert stamp(moment) == "2026-01-02T03:04:05Z"


def test_a_stamp_is_read_back() -> None:
    """What was written is the same moment."""
    moment = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
    assert parse(stamp(moment)) == moment


@pytest.mark.parametrize("value", [None, 7, "", "yesterday", "2026-01-02T03:04:05"])
def test_what_is_no_moment_is_none(value: object) -> None:
    """Also a time that does not say of which zone."""
    assert parse(value) is None
