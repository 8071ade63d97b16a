"""A worker's rounds through stages and projects."""

from __future__ import annotations

from data_miner.queue.claim import Cursor


def test_every_stage_has_its_turn_to_be_first() -> None:
    """Whatever the number of stages, the first one moves on by one with each turn."""
    cursor = Cursor()
    orders = []
    for turn in range(4):
        cursor.turn = turn
        orders.append(cursor.order(["a", "b", "c"]))
    assert orders == [["a", "b", "c"], ["b", "c", "a"], ["c", "a", "b"], ["a", "b", "c"]]
    assert cursor.order([]) == []


def test_a_project_keeps_its_turn_for_its_weight() -> None:
    """With weight 3 the third grant ends the turn; with weight 1 or less the first one does."""
    cursor = Cursor()
    places = []
    for _ in range(4):
        cursor.note("filter", 7, 3)
        places.append(cursor.after("filter"))
    assert places == [6, 6, 7, 7]
    cursor.note("filter", 9, 0.5)
    assert cursor.after("filter") == 9
    assert cursor.after("embed") == 0
