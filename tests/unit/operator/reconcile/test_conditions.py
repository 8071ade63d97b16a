"""Conditions: merged by type, their time moving only with their status."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from data_miner_operator.reconcile.conditions import (
    ALWAYS,
    MESSAGE_BYTES,
    Check,
    Status,
    check_of,
    condition,
    merge,
)
from data_miner_operator.reconcile.times import stamp
from support.reconciling import NOW

LATER = NOW + timedelta(minutes=5)
STATUSES: st.SearchStrategy[Status] = st.sampled_from(["True", "False", "Unknown"])
CHECKS = st.fixed_dictionaries(
    {
        type_: st.builds(Check, STATUSES, st.sampled_from(["One", "Two"]), st.text(max_size=9))
        for type_ in ALWAYS
    }
)


@given(CHECKS, CHECKS)
def test_the_time_of_a_condition_moves_with_its_status_alone(
    first: dict[str, Check], second: dict[str, Check]
) -> None:
    """Another reason or message is no transition."""
    before = {"conditions": merge(None, first, NOW)}
    after = merge(before, second, LATER)
    assert [c["type"] for c in after] == list(ALWAYS)
    for each in after:
        flipped = first[each["type"]].status != second[each["type"]].status
        assert each["lastTransitionTime"] == stamp(LATER if flipped else NOW)


def test_a_condition_that_is_there_only_while_true_goes() -> None:
    """Without a check there is no condition."""
    before = {"conditions": merge(None, {"Stalled": Check("True", "NothingFound")}, NOW)}
    assert merge(before, {"Ready": Check("True", "Applied")}, NOW)[0]["type"] == "Ready"


def test_a_message_is_bounded() -> None:
    """A stranger's error may be a book."""
    (ready,) = merge(None, {"Ready": Check("False", "SpecInvalid", "x" * 9999)}, NOW)
    assert len(ready["message"].encode()) == MESSAGE_BYTES


def test_a_time_that_is_none_is_replaced() -> None:
    """Somebody has edited the status by hand."""
    for time in (None, "soon"):
        odd: dict[str, Any] = {"type": "Ready", "status": "True", "lastTransitionTime": time}
        (ready,) = merge({"conditions": [odd]}, {"Ready": Check("True", "Applied")}, NOW)
        assert ready["lastTransitionTime"] == stamp(NOW)


def test_a_status_without_conditions_says_nothing() -> None:
    """Neither does one that cannot be understood."""
    for status in (None, {}, {"conditions": "all well"}, {"conditions": ["Ready"]}):
        assert condition(status, "Ready") is None
    assert check_of({"conditions": [{"type": "Ready", "status": "Maybe"}]}, "Ready") is None
    assert check_of({"conditions": [{"type": "Ready", "status": "True"}]}, "Ready") == Check(
        "True", "", ""
    )
