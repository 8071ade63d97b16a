"""When a status is worth a write."""

from __future__ import annotations

from copy import deepcopy
from datetime import timedelta
from typing import Any

import pytest

from data_miner.catalog.phase import Phase, PhaseName
from data_miner.pipeline import NAMES
from data_miner_operator.reconcile import render, write_due
from support.reconciling import (
    DONE,
    NOW,
    a_dataset,
    an_object,
    applied,
    seen,
    stage,
)

LATER = NOW + timedelta(seconds=2)


def status(**changes: Any) -> dict[str, Any]:
    """Of a project at work."""
    rendered = render(applied(seen(), **changes), None)
    assert rendered is not None
    return rendered


def due(before: Any, wanted: Any, *, last: Any = NOW) -> float | None:
    """Two seconds after the last write."""
    return write_due(before, wanted, now=LATER, last_write=last)


def test_the_first_status_is_written_at_once() -> None:
    """Whether there is none or an empty one."""
    assert due(None, status()) == 0
    assert due({}, status()) == 0


def test_an_equal_status_is_never_written() -> None:
    """Also when the order of a list is another one, and null stands for what is absent."""
    before = status()
    before["conditions"] = list(reversed(before["conditions"]))
    before["dataset"] = None
    assert due(before, status()) is None
    assert due(before, status(), last=None) is None


def test_what_others_have_put_there_does_not_count() -> None:
    """Another controller's condition, or a field of another version."""
    before = status()
    before["conditions"].append({"type": "Approved", "status": "True"})
    before["note"] = "hello"
    assert due(before, status()) is None


@pytest.mark.parametrize(
    "changes",
    [
        {"found": 9},
        {"stages": [stage(name, 9, done=3) for name in NAMES]},
        {"phase": Phase(PhaseName.MINING, "Working", "4 of 8 videos through")},
        {"phase": Phase(PhaseName.MINING, "OpeningWave", "3 videos are next")},
    ],
)
def test_numbers_and_sentences_wait_for_five_seconds(changes: dict[str, Any]) -> None:
    """Counted from the last write."""
    assert due(status(), status(**changes)) == 3
    late = NOW + timedelta(seconds=5)
    assert write_due(status(), status(**changes), now=late, last_write=NOW) == 0


def test_a_process_that_has_not_written_yet_writes_at_once() -> None:
    """Nobody knows when another one wrote."""
    assert due(status(), status(found=9), last=None) == 0


def test_a_clock_that_was_set_back_holds_nothing_up() -> None:
    """The last write seems to be in the future."""
    assert due(status(), status(found=9), last=NOW + timedelta(hours=1)) == 0


@pytest.mark.parametrize(
    "wanted",
    [
        status(phase=Phase(PhaseName.EXPORTING, "WritingDataset", "being written")),
        status(phase=DONE),
        status(dataset=a_dataset()),
        render(applied(seen(object=an_object(generation=2))), None),
        render(seen(away="no answer"), None),
    ],
)
def test_a_transition_is_written_at_once(wanted: dict[str, Any]) -> None:
    """Phase, completion, version, generation, condition."""
    assert due(status(), wanted) == 0


def test_a_longer_name_of_a_place_is_no_transition() -> None:
    """The version and its digest are."""
    one = status(dataset=a_dataset())
    other = deepcopy(one)
    other["dataset"]["uri"] = "elsewhere"
    assert due(one, other) == 3
    other["dataset"]["version"] = 2
    assert due(one, other) == 0


def test_a_condition_that_ends_is_a_transition() -> None:
    """Stalled is there only while it is true."""
    stalled = status(phase=Phase(PhaseName.STALLED, "NothingFound", "no video"))
    ended = {**stalled, "conditions": [c for c in stalled["conditions"] if c["type"] != "Stalled"]}
    assert due(stalled, ended) == 0


def test_a_status_that_makes_no_sense_is_replaced() -> None:
    """Somebody has edited it by hand."""
    assert due({"conditions": "none", "stages": 7}, status()) == 0
